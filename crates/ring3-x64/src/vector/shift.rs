//! Packed shifts, by an immediate or by the low quadword of the source, and byte shifts of the whole register.

use iced_x86::Code;

use super::lanes::{u64s, zip16, zip32, zip64};
use super::{Source, VectorOp};

/// The row pair of one shift: the count is the immediate or the low quadword of the source.
macro_rules! by_immediate {
    ($shift:ident) => {
        VectorOp::xmm(|_, a, _, n| $shift(a, u64::from(n)))
            .memory(0)
            .imm()
            .from(Source::None)
    };
}

macro_rules! by_source {
    ($shift:ident) => {
        VectorOp::xmm(|_, a, b, _| $shift(a, u64s(b)[0]))
    };
}

/// The rows of this file.
pub fn lookup(code: Code) -> Option<VectorOp> {
    let op = match code {
        Code::Psllw_xmm_imm8 => by_immediate!(left16),
        Code::Pslld_xmm_imm8 => by_immediate!(left32),
        Code::Psllq_xmm_imm8 => by_immediate!(left64),
        Code::Psrlw_xmm_imm8 => by_immediate!(right16),
        Code::Psrld_xmm_imm8 => by_immediate!(right32),
        Code::Psrlq_xmm_imm8 => by_immediate!(right64),
        Code::Psraw_xmm_imm8 => by_immediate!(arithmetic16),
        Code::Psrad_xmm_imm8 => by_immediate!(arithmetic32),
        Code::Pslldq_xmm_imm8 => by_immediate!(left_bytes),
        Code::Psrldq_xmm_imm8 => by_immediate!(right_bytes),
        Code::Psllw_xmm_xmmm128 => by_source!(left16),
        Code::Pslld_xmm_xmmm128 => by_source!(left32),
        Code::Psllq_xmm_xmmm128 => by_source!(left64),
        Code::Psrlw_xmm_xmmm128 => by_source!(right16),
        Code::Psrld_xmm_xmmm128 => by_source!(right32),
        Code::Psrlq_xmm_xmmm128 => by_source!(right64),
        Code::Psraw_xmm_xmmm128 => by_source!(arithmetic16),
        Code::Psrad_xmm_xmmm128 => by_source!(arithmetic32),
        _ => return None,
    };
    Some(op)
}

/// The count as a shift of a lane of `width` bits, or `None` if everything is shifted out.
fn within(count: u64, width: u32) -> Option<u32> {
    u32::try_from(count).ok().filter(|&count| count < width)
}

fn left16(a: u128, count: u64) -> u128 {
    within(count, 16).map_or(0, |n| zip16(a, 0, |lane, _| lane << n))
}

fn left32(a: u128, count: u64) -> u128 {
    within(count, 32).map_or(0, |n| zip32(a, 0, |lane, _| lane << n))
}

fn left64(a: u128, count: u64) -> u128 {
    within(count, 64).map_or(0, |n| zip64(a, 0, |lane, _| lane << n))
}

fn right16(a: u128, count: u64) -> u128 {
    within(count, 16).map_or(0, |n| zip16(a, 0, |lane, _| lane >> n))
}

fn right32(a: u128, count: u64) -> u128 {
    within(count, 32).map_or(0, |n| zip32(a, 0, |lane, _| lane >> n))
}

fn right64(a: u128, count: u64) -> u128 {
    within(count, 64).map_or(0, |n| zip64(a, 0, |lane, _| lane >> n))
}

fn arithmetic16(a: u128, count: u64) -> u128 {
    let n = within(count, 16).unwrap_or(15);
    zip16(a, 0, |lane, _| (lane as i16 >> n) as u16)
}

fn arithmetic32(a: u128, count: u64) -> u128 {
    let n = within(count, 32).unwrap_or(31);
    zip32(a, 0, |lane, _| (lane as i32 >> n) as u32)
}

fn left_bytes(a: u128, count: u64) -> u128 {
    within(count, 16).map_or(0, |n| a << (8 * n))
}

fn right_bytes(a: u128, count: u64) -> u128 {
    within(count, 16).map_or(0, |n| a >> (8 * n))
}
