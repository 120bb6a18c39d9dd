//! Translators of the SSE family.

use iced_x86::{Code, Instruction, OpKind};

use super::Then;
use super::builder::{Builder, NONE, Note, general, xmm_number};
use super::system::sse_exception;
use crate::op::Handler;
use crate::ops::sse;
use crate::vector::{Destination, Source, VectorOp, lookup};

/// Translates an instruction, or says that it is not modelled.
pub(super) fn lower(b: &mut Builder, i: &Instruction) -> Then {
    let Some(vector) = lookup(i.code()) else {
        return b.not_modelled();
    };
    if vector.sse
        && let Some(then) = sse_exception(b)
    {
        return then;
    }
    if let Some(handler) = short_cut(i) {
        let mut op = b.op(handler);
        op.dst = (if i.op0_register().is_gpr() {
            general(i, 0)
        } else {
            xmm_number(i.op0_register())
        })
        .into();
        op.src = (if i.op1_register().is_gpr() {
            general(i, 1)
        } else {
            xmm_number(i.op1_register())
        })
        .into();
        b.address(&mut op, i);
        if i.op0_kind() == OpKind::Memory || i.op1_kind() == OpKind::Memory {
            b.keeps(NONE);
            return b.more(op);
        }
        if i.op0_register().is_xmm() && i.op1_register().is_xmm() {
            if i.op0_register() != i.op1_register() {
                b.note_vector_copy(op.dst, op.src);
            }
            b.keeps(NONE);
            return b.more_noted(op, Note::PASSES);
        }
        return b.more(op);
    }
    if let Some(then) = packed(b, i) {
        return then;
    }
    match plain(i, &vector) {
        Some(handler) => b.vector(i, handler, vector),
        None => b.vector_general(i, vector),
    }
}

/// An instruction with a handler of its own. A move between registers before it may become part of it.
#[cfg(target_arch = "x86_64")]
fn packed(b: &mut Builder, i: &Instruction) -> Option<Then> {
    let dst = xmm_number(i.op0_register());
    if let Some(handler) = crate::ops::packed::by_constant(i.code()) {
        let mut op = b.op(handler);
        op.dst = dst.into();
        op.base = b.take_vector_copy(dst).unwrap_or(dst).into();
        op.extra = i.immediate(1) as u8;
        b.keeps(NONE);
        return Some(b.more_noted(op, Note::PASSES));
    }
    let (rr, rm) = crate::ops::packed::two(i.code())?;
    let memory = i.op1_kind() == OpKind::Memory;
    let mut op = b.op(if memory { rm } else { rr });
    op.dst = dst.into();
    b.keeps(NONE);
    if memory {
        b.address(&mut op, i);
        return Some(b.more(op));
    }
    op.base = b.take_vector_copy(dst).unwrap_or(dst).into();
    op.src = xmm_number(i.op1_register()).into();
    if op.src == op.dst {
        op.src = op.base;
    }
    Some(b.more_noted(op, Note::PASSES))
}

#[cfg(not(target_arch = "x86_64"))]
fn packed(_: &mut Builder, _: &Instruction) -> Option<Then> {
    None
}

/// The handler for an operation on whole registers without side effects.
fn plain(i: &Instruction, vector: &VectorOp) -> Option<Handler> {
    let simple = vector.destination == Destination::Operand0
        && vector.sse
        && !vector.float
        && vector.flags == 0
        && i.op0_register().is_xmm()
        && !uses_xmm0(i.code());
    if !simple {
        return None;
    }
    if vector.source == Source::None {
        return Some(sse::plain_r);
    }
    if vector.source != Source::Operand(1) || vector.memory != 16 || !vector.aligned {
        return None;
    }
    match i.op1_kind() {
        OpKind::Register if i.op1_register().is_xmm() => Some(sse::plain_rr),
        OpKind::Memory => Some(sse::plain_rm),
        _ => None,
    }
}

/// Whether XMM0 is an operand that does not show.
fn uses_xmm0(code: Code) -> bool {
    matches!(
        code,
        Code::Pblendvb_xmm_xmmm128
            | Code::Blendvps_xmm_xmmm128
            | Code::Blendvpd_xmm_xmmm128
            | Code::Sha256rnds2_xmm_xmmm128
    )
}

/// The handler of a common move.
fn short_cut(i: &Instruction) -> Option<Handler> {
    use Code::*;
    let registers = i.op0_kind() == OpKind::Register && i.op1_kind() == OpKind::Register;
    let load = i.op1_kind() == OpKind::Memory;
    Some(match i.code() {
        Movaps_xmm_xmmm128 | Movapd_xmm_xmmm128 | Movdqa_xmm_xmmm128 | Movups_xmm_xmmm128
        | Movupd_xmm_xmmm128 | Movdqu_xmm_xmmm128 | Movaps_xmmm128_xmm | Movapd_xmmm128_xmm
        | Movdqa_xmmm128_xmm | Movups_xmmm128_xmm | Movupd_xmmm128_xmm | Movdqu_xmmm128_xmm
            if registers =>
        {
            sse::mov_rr
        }
        Movaps_xmm_xmmm128 | Movapd_xmm_xmmm128 | Movdqa_xmm_xmmm128 => sse::mov_rm::<true>,
        Movups_xmm_xmmm128 | Movupd_xmm_xmmm128 | Movdqu_xmm_xmmm128 => sse::mov_rm::<false>,
        Movaps_xmmm128_xmm | Movapd_xmmm128_xmm | Movdqa_xmmm128_xmm | Movntps_m128_xmm
        | Movntpd_m128_xmm | Movntdq_m128_xmm => sse::mov_mr::<true>,
        Movups_xmmm128_xmm | Movupd_xmmm128_xmm | Movdqu_xmmm128_xmm => sse::mov_mr::<false>,
        Movss_xmm_xmmm32 if load => sse::mov_low_rm::<u32>,
        Movsd_xmm_xmmm64 | Movq_xmm_xmmm64 if load => sse::mov_low_rm::<u64>,
        Movss_xmmm32_xmm if !registers => sse::mov_low_mr::<u32>,
        Movsd_xmmm64_xmm | Movq_xmmm64_xmm | Movlps_m64_xmm | Movlpd_m64_xmm if !registers => {
            sse::mov_low_mr::<u64>
        }
        Movd_xmm_rm32 if registers => sse::mov_low_from_gpr::<u32>,
        Movq_xmm_rm64 if registers => sse::mov_low_from_gpr::<u64>,
        Movd_rm32_xmm if registers => sse::mov_low_to_gpr::<u32>,
        Movq_rm64_xmm if registers => sse::mov_low_to_gpr::<u64>,
        Xorps_xmm_xmmm128 | Xorpd_xmm_xmmm128 | Pxor_xmm_xmmm128
            if registers && i.op0_register() == i.op1_register() =>
        {
            sse::zero
        }
        _ => return None,
    })
}
