//! Packed integer addition, subtraction, comparison, minimum and maximum.

use iced_x86::Code;

use super::VectorOp;
use super::lanes::{from_u16s, from_u32s, u8s, u16s, u32s, zip8, zip16, zip32, zip64};

/// One row: an operation on each pair of lanes.
macro_rules! each {
    ($zip:ident, $a:ident, $b:ident => $result:expr) => {
        VectorOp::xmm(|_, a, b, _| $zip(a, b, |$a, $b| $result))
    };
}

/// All ones or all zeros.
macro_rules! truth {
    ($lane:ty, $condition:expr) => {
        if $condition { <$lane>::MAX } else { 0 }
    };
}

/// The rows of this file.
pub fn lookup(code: Code) -> Option<VectorOp> {
    let op = match code {
        Code::Paddb_xmm_xmmm128 => each!(zip8, a, b => a.wrapping_add(b)),
        Code::Paddw_xmm_xmmm128 => each!(zip16, a, b => a.wrapping_add(b)),
        Code::Paddd_xmm_xmmm128 => each!(zip32, a, b => a.wrapping_add(b)),
        Code::Paddq_xmm_xmmm128 => each!(zip64, a, b => a.wrapping_add(b)),
        Code::Psubb_xmm_xmmm128 => each!(zip8, a, b => a.wrapping_sub(b)),
        Code::Psubw_xmm_xmmm128 => each!(zip16, a, b => a.wrapping_sub(b)),
        Code::Psubd_xmm_xmmm128 => each!(zip32, a, b => a.wrapping_sub(b)),
        Code::Psubq_xmm_xmmm128 => each!(zip64, a, b => a.wrapping_sub(b)),
        Code::Paddsb_xmm_xmmm128 => each!(zip8, a, b => (a as i8).saturating_add(b as i8) as u8),
        Code::Paddsw_xmm_xmmm128 => {
            each!(zip16, a, b => (a as i16).saturating_add(b as i16) as u16)
        }
        Code::Paddusb_xmm_xmmm128 => each!(zip8, a, b => a.saturating_add(b)),
        Code::Paddusw_xmm_xmmm128 => each!(zip16, a, b => a.saturating_add(b)),
        Code::Psubsb_xmm_xmmm128 => each!(zip8, a, b => (a as i8).saturating_sub(b as i8) as u8),
        Code::Psubsw_xmm_xmmm128 => {
            each!(zip16, a, b => (a as i16).saturating_sub(b as i16) as u16)
        }
        Code::Psubusb_xmm_xmmm128 => each!(zip8, a, b => a.saturating_sub(b)),
        Code::Psubusw_xmm_xmmm128 => each!(zip16, a, b => a.saturating_sub(b)),
        Code::Pavgb_xmm_xmmm128 => {
            each!(zip8, a, b => ((u16::from(a) + u16::from(b) + 1) >> 1) as u8)
        }
        Code::Pavgw_xmm_xmmm128 => {
            each!(zip16, a, b => ((u32::from(a) + u32::from(b) + 1) >> 1) as u16)
        }
        Code::Pcmpeqb_xmm_xmmm128 => each!(zip8, a, b => truth!(u8, a == b)),
        Code::Pcmpeqw_xmm_xmmm128 => each!(zip16, a, b => truth!(u16, a == b)),
        Code::Pcmpeqd_xmm_xmmm128 => each!(zip32, a, b => truth!(u32, a == b)),
        Code::Pcmpeqq_xmm_xmmm128 => each!(zip64, a, b => truth!(u64, a == b)),
        Code::Pcmpgtb_xmm_xmmm128 => each!(zip8, a, b => truth!(u8, a as i8 > b as i8)),
        Code::Pcmpgtw_xmm_xmmm128 => each!(zip16, a, b => truth!(u16, a as i16 > b as i16)),
        Code::Pcmpgtd_xmm_xmmm128 => each!(zip32, a, b => truth!(u32, a as i32 > b as i32)),
        Code::Pcmpgtq_xmm_xmmm128 => each!(zip64, a, b => truth!(u64, a as i64 > b as i64)),
        Code::Pminub_xmm_xmmm128 => each!(zip8, a, b => a.min(b)),
        Code::Pminuw_xmm_xmmm128 => each!(zip16, a, b => a.min(b)),
        Code::Pminud_xmm_xmmm128 => each!(zip32, a, b => a.min(b)),
        Code::Pminsb_xmm_xmmm128 => each!(zip8, a, b => (a as i8).min(b as i8) as u8),
        Code::Pminsw_xmm_xmmm128 => each!(zip16, a, b => (a as i16).min(b as i16) as u16),
        Code::Pminsd_xmm_xmmm128 => each!(zip32, a, b => (a as i32).min(b as i32) as u32),
        Code::Pmaxub_xmm_xmmm128 => each!(zip8, a, b => a.max(b)),
        Code::Pmaxuw_xmm_xmmm128 => each!(zip16, a, b => a.max(b)),
        Code::Pmaxud_xmm_xmmm128 => each!(zip32, a, b => a.max(b)),
        Code::Pmaxsb_xmm_xmmm128 => each!(zip8, a, b => (a as i8).max(b as i8) as u8),
        Code::Pmaxsw_xmm_xmmm128 => each!(zip16, a, b => (a as i16).max(b as i16) as u16),
        Code::Pmaxsd_xmm_xmmm128 => each!(zip32, a, b => (a as i32).max(b as i32) as u32),
        Code::Pabsb_xmm_xmmm128 => each!(zip8, _a, b => (b as i8).unsigned_abs()),
        Code::Pabsw_xmm_xmmm128 => each!(zip16, _a, b => (b as i16).unsigned_abs()),
        Code::Pabsd_xmm_xmmm128 => each!(zip32, _a, b => (b as i32).unsigned_abs()),
        Code::Psignb_xmm_xmmm128 => each!(zip8, a, b => a.wrapping_mul((b as i8).signum() as u8)),
        Code::Psignw_xmm_xmmm128 => {
            each!(zip16, a, b => a.wrapping_mul((b as i16).signum() as u16))
        }
        Code::Psignd_xmm_xmmm128 => {
            each!(zip32, a, b => a.wrapping_mul((b as i32).signum() as u32))
        }
        Code::Phaddw_xmm_xmmm128 => VectorOp::xmm(|_, a, b, _| pairs16(a, b, u16::wrapping_add)),
        Code::Phsubw_xmm_xmmm128 => VectorOp::xmm(|_, a, b, _| pairs16(a, b, u16::wrapping_sub)),
        Code::Phaddd_xmm_xmmm128 => VectorOp::xmm(|_, a, b, _| pairs32(a, b, u32::wrapping_add)),
        Code::Phsubd_xmm_xmmm128 => VectorOp::xmm(|_, a, b, _| pairs32(a, b, u32::wrapping_sub)),
        Code::Phaddsw_xmm_xmmm128 => VectorOp::xmm(|_, a, b, _| {
            pairs16(a, b, |x, y| (x as i16).saturating_add(y as i16) as u16)
        }),
        Code::Phsubsw_xmm_xmmm128 => VectorOp::xmm(|_, a, b, _| {
            pairs16(a, b, |x, y| (x as i16).saturating_sub(y as i16) as u16)
        }),
        Code::Psadbw_xmm_xmmm128 => VectorOp::xmm(|_, a, b, _| sum_of_differences(a, b)),
        Code::Mpsadbw_xmm_xmmm128_imm8 => {
            VectorOp::xmm(|_, a, b, n| sliding_differences(a, b, n)).imm()
        }
        Code::Phminposuw_xmm_xmmm128 => VectorOp::xmm(|_, _, b, _| smallest_word(b)),
        _ => return None,
    };
    Some(op)
}

/// Combines neighbours: the low half of the result from `a`, the high half from `b`.
fn pairs16(a: u128, b: u128, f: impl Fn(u16, u16) -> u16) -> u128 {
    let (a, b) = (u16s(a), u16s(b));
    from_u16s(std::array::from_fn(|i| {
        let from = if i < 4 { &a } else { &b };
        f(from[i % 4 * 2], from[i % 4 * 2 + 1])
    }))
}

/// The same for doublewords.
fn pairs32(a: u128, b: u128, f: impl Fn(u32, u32) -> u32) -> u128 {
    let (a, b) = (u32s(a), u32s(b));
    from_u32s([f(a[0], a[1]), f(a[2], a[3]), f(b[0], b[1]), f(b[2], b[3])])
}

/// `psadbw`: one sum per half.
fn sum_of_differences(a: u128, b: u128) -> u128 {
    let (a, b) = (u8s(a), u8s(b));
    let sum = |from: usize| {
        (from..from + 8)
            .map(|i| u128::from(a[i].abs_diff(b[i])))
            .sum::<u128>()
    };
    sum(0) | sum(8) << 64
}

/// `mpsadbw`: bits 1:0 of the immediate choose the four source bytes, bit 2 the start in the destination.
fn sliding_differences(a: u128, b: u128, imm: u8) -> u128 {
    let (a, b) = (u8s(a), u8s(b));
    let (start, fixed) = (usize::from(imm >> 2 & 1) * 4, usize::from(imm & 3) * 4);
    from_u16s(std::array::from_fn(|i| {
        (0..4)
            .map(|k| u16::from(a[start + i + k].abs_diff(b[fixed + k])))
            .sum()
    }))
}

/// `phminposuw`: the smallest word in bits 15:0, the index of its first occurrence in bits 18:16.
fn smallest_word(b: u128) -> u128 {
    let lanes = u16s(b);
    let (index, value) = lanes
        .iter()
        .enumerate()
        .min_by_key(|&(i, &value)| (value, i))
        .unwrap_or((0, &0));
    u128::from(*value) | (index as u128) << 16
}
