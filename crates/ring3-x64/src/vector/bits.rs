//! Bitwise logic, `ptest` and the blends.

use iced_x86::Code;

use super::lanes::{from_u8s, from_u16s, from_u32s, from_u64s, u8s, u16s, u32s, u64s};
use super::{CF, Destination, STATUS, VectorContext, VectorOp, ZF};

/// The rows of this file.
pub fn lookup(code: Code) -> Option<VectorOp> {
    let op = match code {
        Code::Pand_xmm_xmmm128 | Code::Andps_xmm_xmmm128 | Code::Andpd_xmm_xmmm128 => {
            VectorOp::xmm(|_, a, b, _| a & b)
        }
        Code::Pandn_xmm_xmmm128 | Code::Andnps_xmm_xmmm128 | Code::Andnpd_xmm_xmmm128 => {
            VectorOp::xmm(|_, a, b, _| !a & b)
        }
        Code::Por_xmm_xmmm128 | Code::Orps_xmm_xmmm128 | Code::Orpd_xmm_xmmm128 => {
            VectorOp::xmm(|_, a, b, _| a | b)
        }
        Code::Pxor_xmm_xmmm128 | Code::Xorps_xmm_xmmm128 | Code::Xorpd_xmm_xmmm128 => {
            VectorOp::xmm(|_, a, b, _| a ^ b)
        }
        Code::Ptest_xmm_xmmm128 => VectorOp::xmm(test).flags(STATUS).to(Destination::Flags),
        Code::Pblendw_xmm_xmmm128_imm8 => VectorOp::xmm(|_, a, b, n| {
            let (a, b) = (u16s(a), u16s(b));
            from_u16s(std::array::from_fn(|i| {
                if n >> i & 1 != 0 { b[i] } else { a[i] }
            }))
        })
        .imm(),
        Code::Blendps_xmm_xmmm128_imm8 => VectorOp::xmm(|_, a, b, n| {
            let (a, b) = (u32s(a), u32s(b));
            from_u32s(std::array::from_fn(|i| {
                if n >> i & 1 != 0 { b[i] } else { a[i] }
            }))
        })
        .imm(),
        Code::Blendpd_xmm_xmmm128_imm8 => VectorOp::xmm(|_, a, b, n| {
            let (a, b) = (u64s(a), u64s(b));
            from_u64s(std::array::from_fn(|i| {
                if n >> i & 1 != 0 { b[i] } else { a[i] }
            }))
        })
        .imm(),
        Code::Pblendvb_xmm_xmmm128 => VectorOp::xmm(|context, a, b, _| {
            let (a, b, mask) = (u8s(a), u8s(b), u8s(context.xmm0));
            from_u8s(std::array::from_fn(|i| {
                if mask[i] >> 7 != 0 { b[i] } else { a[i] }
            }))
        }),
        Code::Blendvps_xmm_xmmm128 => VectorOp::xmm(|context, a, b, _| {
            let (a, b, mask) = (u32s(a), u32s(b), u32s(context.xmm0));
            from_u32s(std::array::from_fn(|i| {
                if mask[i] >> 31 != 0 { b[i] } else { a[i] }
            }))
        }),
        Code::Blendvpd_xmm_xmmm128 => VectorOp::xmm(|context, a, b, _| {
            let (a, b, mask) = (u64s(a), u64s(b), u64s(context.xmm0));
            from_u64s(std::array::from_fn(|i| {
                if mask[i] >> 63 != 0 { b[i] } else { a[i] }
            }))
        }),
        _ => return None,
    };
    Some(op)
}

/// `ptest`: ZF when no bit is common, CF when the source has no bit outside the destination; the other status flags are cleared.
fn test(context: &mut VectorContext, dst: u128, src: u128, _: u8) -> u128 {
    context.flags = if dst & src == 0 { ZF } else { 0 } | if !dst & src == 0 { CF } else { 0 };
    dst
}
