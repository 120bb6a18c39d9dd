//! Moves between XMM registers, memory and general registers, with and without an element index.

use iced_x86::Code;

use super::lanes::{from_u32s, from_u64s, merge32, merge64, u8s, u16s, u32s, u64s};
use super::{VectorContext, VectorOp};

/// The rows of this file.
pub fn lookup(code: Code) -> Option<VectorOp> {
    let op = match code {
        Code::Movaps_xmm_xmmm128
        | Code::Movapd_xmm_xmmm128
        | Code::Movdqa_xmm_xmmm128
        | Code::Movaps_xmmm128_xmm
        | Code::Movapd_xmmm128_xmm
        | Code::Movdqa_xmmm128_xmm
        | Code::Movntps_m128_xmm
        | Code::Movntpd_m128_xmm
        | Code::Movntdq_m128_xmm
        | Code::Movntdqa_xmm_m128 => VectorOp::xmm(copy),
        Code::Movups_xmm_xmmm128
        | Code::Movupd_xmm_xmmm128
        | Code::Movdqu_xmm_xmmm128
        | Code::Movups_xmmm128_xmm
        | Code::Movupd_xmmm128_xmm
        | Code::Movdqu_xmmm128_xmm
        | Code::Lddqu_xmm_m128 => VectorOp::xmm(copy).memory(16),
        Code::Movss_xmm_xmmm32 => VectorOp::xmm(load_single).memory(4),
        Code::Movsd_xmm_xmmm64 => VectorOp::xmm(load_double).memory(8),
        Code::Movss_xmmm32_xmm => VectorOp::xmm(|_, a, b, _| merge32(a, b as u32)).memory(4),
        Code::Movsd_xmmm64_xmm => VectorOp::xmm(low).memory(8),
        Code::Movlps_xmm_m64 | Code::Movlpd_xmm_m64 => VectorOp::xmm(low).memory(8),
        Code::Movlps_m64_xmm | Code::Movlpd_m64_xmm => VectorOp::xmm(copy).memory(8),
        Code::Movhps_xmm_m64 | Code::Movhpd_xmm_m64 | Code::Movlhps_xmm_xmm => {
            VectorOp::xmm(|_, a, b, _| from_u64s([a as u64, b as u64])).memory(8)
        }
        Code::Movhps_m64_xmm | Code::Movhpd_m64_xmm => {
            VectorOp::xmm(|_, _, b, _| b >> 64).memory(8)
        }
        Code::Movhlps_xmm_xmm => VectorOp::xmm(|_, a, b, _| merge64(a, (b >> 64) as u64)),
        Code::Movsldup_xmm_xmmm128 => VectorOp::xmm(|_, _, b, _| {
            let b = u32s(b);
            from_u32s([b[0], b[0], b[2], b[2]])
        }),
        Code::Movshdup_xmm_xmmm128 => VectorOp::xmm(|_, _, b, _| {
            let b = u32s(b);
            from_u32s([b[1], b[1], b[3], b[3]])
        }),
        Code::Movddup_xmm_xmmm64 => VectorOp::xmm(|_, _, b, _| from_u64s([b as u64; 2])).memory(8),
        Code::Movq_xmm_xmmm64
        | Code::Movq_xmmm64_xmm
        | Code::Movq_xmm_rm64
        | Code::Movq_rm64_xmm => VectorOp::xmm(|_, _, b, _| u128::from(b as u64)).memory(8),
        Code::Movd_xmm_rm32 | Code::Movd_rm32_xmm => {
            VectorOp::xmm(|_, _, b, _| u128::from(b as u32)).memory(4)
        }
        Code::Movmskps_r32_xmm | Code::Movmskps_r64_xmm => {
            VectorOp::xmm(|_, _, b, _| mask(u32s(b).map(|lane| lane >> 31 != 0))).memory(0)
        }
        Code::Movmskpd_r32_xmm | Code::Movmskpd_r64_xmm => {
            VectorOp::xmm(|_, _, b, _| mask(u64s(b).map(|lane| lane >> 63 != 0))).memory(0)
        }
        Code::Pmovmskb_r32_xmm | Code::Pmovmskb_r64_xmm => VectorOp::xmm(sign_mask).memory(0),
        Code::Maskmovdqu_rDI_xmm_xmm => VectorOp::xmm(sign_mask)
            .memory(16)
            .from(super::Source::Operand(2))
            .to(super::Destination::MaskedStore),
        Code::Pextrb_r32m8_xmm_imm8 | Code::Pextrb_r64m8_xmm_imm8 => {
            VectorOp::xmm(|_, _, b, n| u128::from(u8s(b)[usize::from(n & 15)]))
                .memory(1)
                .imm()
        }
        Code::Pextrw_r32m16_xmm_imm8 | Code::Pextrw_r64m16_xmm_imm8 => {
            VectorOp::xmm(extract_word).memory(2).imm()
        }
        Code::Pextrw_r32_xmm_imm8 | Code::Pextrw_r64_xmm_imm8 => {
            VectorOp::xmm(extract_word).memory(0).imm()
        }
        Code::Pextrd_rm32_xmm_imm8
        | Code::Extractps_rm32_xmm_imm8
        | Code::Extractps_r64m32_xmm_imm8 => {
            VectorOp::xmm(|_, _, b, n| u128::from(u32s(b)[usize::from(n & 3)]))
                .memory(4)
                .imm()
        }
        Code::Pextrq_rm64_xmm_imm8 => {
            VectorOp::xmm(|_, _, b, n| u128::from(u64s(b)[usize::from(n & 1)]))
                .memory(8)
                .imm()
        }
        Code::Pinsrb_xmm_r32m8_imm8 | Code::Pinsrb_xmm_r64m8_imm8 => {
            VectorOp::xmm(|_, a, b, n| insert(a, b, n & 15, 8))
                .memory(1)
                .imm()
        }
        Code::Pinsrw_xmm_r32m16_imm8 | Code::Pinsrw_xmm_r64m16_imm8 => {
            VectorOp::xmm(|_, a, b, n| insert(a, b, n & 7, 16))
                .memory(2)
                .imm()
        }
        Code::Pinsrd_xmm_rm32_imm8 => VectorOp::xmm(|_, a, b, n| insert(a, b, n & 3, 32))
            .memory(4)
            .imm(),
        Code::Pinsrq_xmm_rm64_imm8 => VectorOp::xmm(|_, a, b, n| insert(a, b, n & 1, 64))
            .memory(8)
            .imm(),
        Code::Insertps_xmm_xmmm32_imm8 => VectorOp::xmm(insert_single).memory(4).imm(),
        _ => return None,
    };
    Some(op)
}

fn copy(_: &mut VectorContext, _: u128, src: u128, _: u8) -> u128 {
    src
}

fn low(context: &mut VectorContext, dst: u128, src: u128, imm: u8) -> u128 {
    let _ = (context, imm);
    merge64(dst, src as u64)
}

/// The register form keeps the upper bits, the load clears them.
fn load_single(context: &mut VectorContext, dst: u128, src: u128, _: u8) -> u128 {
    if context.from_memory {
        u128::from(src as u32)
    } else {
        merge32(dst, src as u32)
    }
}

/// The register form keeps the upper half, the load clears it.
fn load_double(context: &mut VectorContext, dst: u128, src: u128, _: u8) -> u128 {
    if context.from_memory {
        u128::from(src as u64)
    } else {
        merge64(dst, src as u64)
    }
}

fn mask<const N: usize>(lanes: [bool; N]) -> u128 {
    lanes
        .iter()
        .rev()
        .fold(0, |sum, &bit| sum << 1 | u128::from(bit))
}

fn sign_mask(_: &mut VectorContext, _: u128, src: u128, _: u8) -> u128 {
    mask(u8s(src).map(|lane| lane >> 7 != 0))
}

fn extract_word(_: &mut VectorContext, _: u128, src: u128, imm: u8) -> u128 {
    u128::from(u16s(src)[usize::from(imm & 7)])
}

fn insert(dst: u128, src: u128, index: u8, bits: u32) -> u128 {
    let lane = (1u128 << bits) - 1;
    let shift = u32::from(index) * bits;
    dst & !(lane << shift) | (src & lane) << shift
}

/// `insertps`: bits 7:6 select the source lane (register form only), 5:4 the destination lane, 3:0 lanes to clear afterwards.
fn insert_single(context: &mut VectorContext, dst: u128, src: u128, imm: u8) -> u128 {
    let from = if context.from_memory {
        0
    } else {
        usize::from(imm >> 6)
    };
    let mut lanes = u32s(dst);
    lanes[usize::from(imm >> 4 & 3)] = u32s(src)[from];
    from_u32s(std::array::from_fn(|i| {
        if imm >> i & 1 != 0 { 0 } else { lanes[i] }
    }))
}
