//! Floating-point comparison: into masks (`cmpps`) and into RFLAGS (`comiss`, `ucomiss`).

use std::cmp::Ordering;

use iced_x86::Code;

use super::lanes::{from_u32s, from_u64s, merge32, merge64, u32s, u64s};
use super::softfloat::{DOUBLE, Env, Format, SINGLE};
use super::{CF, Destination, PF, STATUS, VectorContext, VectorOp, ZF};

/// The rows of this file.
pub fn lookup(code: Code) -> Option<VectorOp> {
    let op = match code {
        Code::Cmpps_xmm_xmmm128_imm8 => VectorOp::xmm(packed_single).imm(),
        Code::Cmppd_xmm_xmmm128_imm8 => VectorOp::xmm(packed_double).imm(),
        Code::Cmpss_xmm_xmmm32_imm8 => VectorOp::xmm(scalar_single).memory(4).imm(),
        Code::Cmpsd_xmm_xmmm64_imm8 => VectorOp::xmm(scalar_double).memory(8).imm(),
        Code::Comiss_xmm_xmmm32 => {
            to_flags(VectorOp::xmm(|c, a, b, _| single_flags(c, a, b, true)).memory(4))
        }
        Code::Ucomiss_xmm_xmmm32 => {
            to_flags(VectorOp::xmm(|c, a, b, _| single_flags(c, a, b, false)).memory(4))
        }
        Code::Comisd_xmm_xmmm64 => {
            to_flags(VectorOp::xmm(|c, a, b, _| double_flags(c, a, b, true)).memory(8))
        }
        Code::Ucomisd_xmm_xmmm64 => {
            to_flags(VectorOp::xmm(|c, a, b, _| double_flags(c, a, b, false)).memory(8))
        }
        _ => return None,
    };
    Some(op.float())
}

const fn to_flags(op: VectorOp) -> VectorOp {
    op.flags(STATUS).to(Destination::Flags)
}

/// Whether a predicate (bits 2:0 of the immediate) holds.
///
/// Bit 2 negates; of the four relations `lt` and `le` are invalid for quiet NaNs too.
fn holds(env: &mut Env, format: Format, a: u64, b: u64, predicate: u8) -> bool {
    let relation = predicate & 3;
    let order = env.compare(format, a, b, relation == 1 || relation == 2);
    let truth = match relation {
        0 => order == Some(Ordering::Equal),
        1 => order == Some(Ordering::Less),
        2 => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        _ => order.is_none(),
    };
    truth != (predicate & 4 != 0)
}

fn packed_single(context: &mut VectorContext, a: u128, b: u128, imm: u8) -> u128 {
    let mut env = Env::new(context.mxcsr);
    let (a, b) = (u32s(a), u32s(b));
    let result = std::array::from_fn(|i| {
        if holds(&mut env, SINGLE, a[i].into(), b[i].into(), imm) {
            u32::MAX
        } else {
            0
        }
    });
    env.finish(context);
    from_u32s(result)
}

fn packed_double(context: &mut VectorContext, a: u128, b: u128, imm: u8) -> u128 {
    let mut env = Env::new(context.mxcsr);
    let (a, b) = (u64s(a), u64s(b));
    let result = std::array::from_fn(|i| {
        if holds(&mut env, DOUBLE, a[i], b[i], imm) {
            u64::MAX
        } else {
            0
        }
    });
    env.finish(context);
    from_u64s(result)
}

fn scalar_single(context: &mut VectorContext, a: u128, b: u128, imm: u8) -> u128 {
    let mut env = Env::new(context.mxcsr);
    let truth = holds(
        &mut env,
        SINGLE,
        u64::from(a as u32),
        u64::from(b as u32),
        imm,
    );
    env.finish(context);
    merge32(a, if truth { u32::MAX } else { 0 })
}

fn scalar_double(context: &mut VectorContext, a: u128, b: u128, imm: u8) -> u128 {
    let mut env = Env::new(context.mxcsr);
    let truth = holds(&mut env, DOUBLE, a as u64, b as u64, imm);
    env.finish(context);
    merge64(a, if truth { u64::MAX } else { 0 })
}

fn single_flags(context: &mut VectorContext, a: u128, b: u128, any_nan_is_invalid: bool) -> u128 {
    to_rflags(
        context,
        SINGLE,
        u64::from(a as u32),
        u64::from(b as u32),
        any_nan_is_invalid,
    );
    a
}

fn double_flags(context: &mut VectorContext, a: u128, b: u128, any_nan_is_invalid: bool) -> u128 {
    to_rflags(context, DOUBLE, a as u64, b as u64, any_nan_is_invalid);
    a
}

fn to_rflags(
    context: &mut VectorContext,
    format: Format,
    a: u64,
    b: u64,
    any_nan_is_invalid: bool,
) {
    let mut env = Env::new(context.mxcsr);
    context.flags = match env.compare(format, a, b, any_nan_is_invalid) {
        None => ZF | PF | CF,
        Some(Ordering::Less) => CF,
        Some(Ordering::Equal) => ZF,
        Some(Ordering::Greater) => 0,
    };
    env.finish(context);
}
