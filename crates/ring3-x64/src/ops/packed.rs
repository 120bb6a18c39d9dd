//! Packed integer instructions that compilers make of loops, on hosts that have them too: a handler each, where
//! the others share one and a table. On other hosts all of them go through the table.

use std::arch::x86_64::{
    __m128i, _mm_add_epi8, _mm_add_epi16, _mm_add_epi32, _mm_add_epi64, _mm_and_si128,
    _mm_andnot_si128, _mm_cmpeq_epi8, _mm_cmpeq_epi16, _mm_cmpeq_epi32, _mm_cmpgt_epi8,
    _mm_cmpgt_epi16, _mm_cmpgt_epi32, _mm_cvtsi32_si128, _mm_max_epi16, _mm_max_epu8,
    _mm_min_epi16, _mm_min_epu8, _mm_mul_epu32, _mm_mullo_epi16, _mm_or_si128, _mm_sll_epi16,
    _mm_sll_epi32, _mm_sll_epi64, _mm_sra_epi16, _mm_sra_epi32, _mm_srl_epi16, _mm_srl_epi32,
    _mm_srl_epi64, _mm_sub_epi8, _mm_sub_epi16, _mm_sub_epi32, _mm_sub_epi64, _mm_unpackhi_epi8,
    _mm_unpackhi_epi16, _mm_unpackhi_epi32, _mm_unpackhi_epi64, _mm_unpacklo_epi8,
    _mm_unpacklo_epi16, _mm_unpacklo_epi32, _mm_unpacklo_epi64, _mm_xor_si128,
};

use iced_x86::Code;

use crate::op::{Handler, Next, Op};
use crate::ops::sse::{misaligned, set_wide, wide};
use crate::ops::wide::from_u128;
use crate::vm::{Vm, with_load};

/// What an instruction computes from two registers.
trait Packed {
    fn compute(a: __m128i, b: __m128i) -> __m128i;
}

/// The handlers for `dst` from `base` and `src`, and for `dst` from itself and memory.
pub(crate) type Pair = (Handler, Handler);

fn rr<P: Packed>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let result = P::compute(wide(vm, op.base), wide(vm, op.src));
    set_wide(vm, op.dst, result);
    op.then(vm, held)
}

fn rm<P: Packed>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let va = vm.address(op);
    if !va.is_multiple_of(16) {
        return misaligned(vm, op);
    }
    with_load::<u128, false>(vm, op, va, held, |vm, op, b, held| {
        let result = P::compute(wide(vm, op.dst), from_u128(b));
        set_wide(vm, op.dst, result);
        op.then(vm, held)
    })
}

/// Shifts of `base` by a constant, into `dst`. Counts too large give what the instruction gives: the host does the same
/// with a count in a register.
fn shift<P: Packed>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    // SAFETY: SSE2 is part of every x86-64 processor.
    let count = unsafe { _mm_cvtsi32_si128(i32::from(op.extra)) };
    let result = P::compute(wide(vm, op.base), count);
    set_wide(vm, op.dst, result);
    op.then(vm, held)
}

/// The handlers of an instruction with the meaning of a function of the host.
macro_rules! pair {
    ($function:ident) => {{
        struct This;
        impl Packed for This {
            #[inline(always)]
            fn compute(a: __m128i, b: __m128i) -> __m128i {
                // SAFETY: SSE2 is part of every x86-64 processor.
                unsafe { $function(a, b) }
            }
        }
        (rr::<This> as Handler, rm::<This> as Handler)
    }};
}

/// The handler of a shift by a constant.
macro_rules! by_constant {
    ($function:ident) => {{
        struct This;
        impl Packed for This {
            #[inline(always)]
            fn compute(a: __m128i, b: __m128i) -> __m128i {
                // SAFETY: SSE2 is part of every x86-64 processor.
                unsafe { $function(a, b) }
            }
        }
        shift::<This> as Handler
    }};
}

/// The handlers of an instruction with two operands, if it has some.
pub(crate) fn two(code: Code) -> Option<Pair> {
    use Code::*;
    Some(match code {
        Pand_xmm_xmmm128 | Andps_xmm_xmmm128 | Andpd_xmm_xmmm128 => pair!(_mm_and_si128),
        Pandn_xmm_xmmm128 | Andnps_xmm_xmmm128 | Andnpd_xmm_xmmm128 => pair!(_mm_andnot_si128),
        Por_xmm_xmmm128 | Orps_xmm_xmmm128 | Orpd_xmm_xmmm128 => pair!(_mm_or_si128),
        Pxor_xmm_xmmm128 | Xorps_xmm_xmmm128 | Xorpd_xmm_xmmm128 => pair!(_mm_xor_si128),
        Paddb_xmm_xmmm128 => pair!(_mm_add_epi8),
        Paddw_xmm_xmmm128 => pair!(_mm_add_epi16),
        Paddd_xmm_xmmm128 => pair!(_mm_add_epi32),
        Paddq_xmm_xmmm128 => pair!(_mm_add_epi64),
        Psubb_xmm_xmmm128 => pair!(_mm_sub_epi8),
        Psubw_xmm_xmmm128 => pair!(_mm_sub_epi16),
        Psubd_xmm_xmmm128 => pair!(_mm_sub_epi32),
        Psubq_xmm_xmmm128 => pair!(_mm_sub_epi64),
        Pcmpeqb_xmm_xmmm128 => pair!(_mm_cmpeq_epi8),
        Pcmpeqw_xmm_xmmm128 => pair!(_mm_cmpeq_epi16),
        Pcmpeqd_xmm_xmmm128 => pair!(_mm_cmpeq_epi32),
        Pcmpgtb_xmm_xmmm128 => pair!(_mm_cmpgt_epi8),
        Pcmpgtw_xmm_xmmm128 => pair!(_mm_cmpgt_epi16),
        Pcmpgtd_xmm_xmmm128 => pair!(_mm_cmpgt_epi32),
        Pminub_xmm_xmmm128 => pair!(_mm_min_epu8),
        Pmaxub_xmm_xmmm128 => pair!(_mm_max_epu8),
        Pminsw_xmm_xmmm128 => pair!(_mm_min_epi16),
        Pmaxsw_xmm_xmmm128 => pair!(_mm_max_epi16),
        Pmullw_xmm_xmmm128 => pair!(_mm_mullo_epi16),
        Pmuludq_xmm_xmmm128 => pair!(_mm_mul_epu32),
        Punpcklbw_xmm_xmmm128 => pair!(_mm_unpacklo_epi8),
        Punpcklwd_xmm_xmmm128 => pair!(_mm_unpacklo_epi16),
        Punpckldq_xmm_xmmm128 => pair!(_mm_unpacklo_epi32),
        Punpcklqdq_xmm_xmmm128 => pair!(_mm_unpacklo_epi64),
        Punpckhbw_xmm_xmmm128 => pair!(_mm_unpackhi_epi8),
        Punpckhwd_xmm_xmmm128 => pair!(_mm_unpackhi_epi16),
        Punpckhdq_xmm_xmmm128 => pair!(_mm_unpackhi_epi32),
        Punpckhqdq_xmm_xmmm128 => pair!(_mm_unpackhi_epi64),
        _ => return None,
    })
}

/// The handler of a shift by a constant, if it is one.
pub(crate) fn by_constant(code: Code) -> Option<Handler> {
    use Code::*;
    Some(match code {
        Psllw_xmm_imm8 => by_constant!(_mm_sll_epi16),
        Pslld_xmm_imm8 => by_constant!(_mm_sll_epi32),
        Psllq_xmm_imm8 => by_constant!(_mm_sll_epi64),
        Psrlw_xmm_imm8 => by_constant!(_mm_srl_epi16),
        Psrld_xmm_imm8 => by_constant!(_mm_srl_epi32),
        Psrlq_xmm_imm8 => by_constant!(_mm_srl_epi64),
        Psraw_xmm_imm8 => by_constant!(_mm_sra_epi16),
        Psrad_xmm_imm8 => by_constant!(_mm_sra_epi32),
        _ => return None,
    })
}
