//! `roundps`, `roundpd`, `roundss`, `roundsd`.

use iced_x86::Code;

use super::lanes::{from_u32s, from_u64s, merge32, merge64, u32s, u64s};
use super::softfloat::{DOUBLE, Env, Format, Rounding, SINGLE};
use super::{VectorContext, VectorOp};

/// The rows of this file.
pub fn lookup(code: Code) -> Option<VectorOp> {
    let op = match code {
        Code::Roundps_xmm_xmmm128_imm8 => VectorOp::xmm(|c, _, b, n| {
            let mut env = Env::new(c.mxcsr);
            let result = u32s(b).map(|lane| lane_of(&mut env, SINGLE, lane.into(), n) as u32);
            finish(env, c, from_u32s(result))
        }),
        Code::Roundpd_xmm_xmmm128_imm8 => VectorOp::xmm(|c, _, b, n| {
            let mut env = Env::new(c.mxcsr);
            let result = u64s(b).map(|lane| lane_of(&mut env, DOUBLE, lane, n));
            finish(env, c, from_u64s(result))
        }),
        Code::Roundss_xmm_xmmm32_imm8 => VectorOp::xmm(|c, a, b, n| {
            let mut env = Env::new(c.mxcsr);
            let result = lane_of(&mut env, SINGLE, u64::from(b as u32), n);
            finish(env, c, merge32(a, result as u32))
        })
        .memory(4),
        Code::Roundsd_xmm_xmmm64_imm8 => VectorOp::xmm(|c, a, b, n| {
            let mut env = Env::new(c.mxcsr);
            let result = lane_of(&mut env, DOUBLE, b as u64, n);
            finish(env, c, merge64(a, result))
        })
        .memory(8),
        _ => return None,
    };
    Some(op.imm().float())
}

fn finish(env: Env, context: &mut VectorContext, result: u128) -> u128 {
    env.finish(context);
    result
}

/// Bit 2 of the immediate: MXCSR.RC instead of bits 1:0; bit 3: no precision exception.
fn lane_of(env: &mut Env, format: Format, lane: u64, imm: u8) -> u64 {
    let rounding = if imm & 4 != 0 {
        env.rounding
    } else {
        Rounding::from_bits(imm.into())
    };
    env.round_to_integral(format, lane, rounding, imm & 8 != 0)
}
