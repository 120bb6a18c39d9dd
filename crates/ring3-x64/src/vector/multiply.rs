//! Packed integer multiplication.

use iced_x86::Code;

use super::VectorOp;
use super::lanes::{from_u16s, from_u32s, u8s, u16s, zip16, zip32, zip64};

/// The rows of this file.
pub fn lookup(code: Code) -> Option<VectorOp> {
    let op = match code {
        Code::Pmullw_xmm_xmmm128 => VectorOp::xmm(|_, a, b, _| zip16(a, b, u16::wrapping_mul)),
        Code::Pmulld_xmm_xmmm128 => VectorOp::xmm(|_, a, b, _| zip32(a, b, u32::wrapping_mul)),
        Code::Pmulhw_xmm_xmmm128 => {
            VectorOp::xmm(|_, a, b, _| zip16(a, b, |x, y| (signed(x, y) >> 16) as u16))
        }
        Code::Pmulhuw_xmm_xmmm128 => VectorOp::xmm(|_, a, b, _| {
            zip16(a, b, |x, y| ((u32::from(x) * u32::from(y)) >> 16) as u16)
        }),
        Code::Pmulhrsw_xmm_xmmm128 => {
            VectorOp::xmm(|_, a, b, _| zip16(a, b, |x, y| (((signed(x, y) >> 14) + 1) >> 1) as u16))
        }
        Code::Pmuludq_xmm_xmmm128 => VectorOp::xmm(|_, a, b, _| {
            zip64(a, b, |x, y| u64::from(x as u32) * u64::from(y as u32))
        }),
        Code::Pmuldq_xmm_xmmm128 => VectorOp::xmm(|_, a, b, _| {
            zip64(a, b, |x, y| {
                (i64::from(x as i32) * i64::from(y as i32)) as u64
            })
        }),
        Code::Pmaddwd_xmm_xmmm128 => VectorOp::xmm(|_, a, b, _| {
            let (a, b) = (u16s(a), u16s(b));
            // The one sum that does not fit, 2 * (-32768)^2, wraps to 0x80000000 as the manual says.
            from_u32s(std::array::from_fn(|i| {
                signed(a[2 * i], b[2 * i]).wrapping_add(signed(a[2 * i + 1], b[2 * i + 1])) as u32
            }))
        }),
        Code::Pmaddubsw_xmm_xmmm128 => VectorOp::xmm(|_, a, b, _| {
            let (a, b) = (u8s(a), u8s(b));
            let product = |i: usize| i32::from(a[i]) * i32::from(b[i] as i8);
            from_u16s(std::array::from_fn(|i| {
                (product(2 * i) + product(2 * i + 1))
                    .clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as u16
            }))
        }),
        _ => return None,
    };
    Some(op)
}

fn signed(a: u16, b: u16) -> i32 {
    i32::from(a as i16) * i32::from(b as i16)
}
