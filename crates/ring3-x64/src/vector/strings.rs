//! `pcmpistri`, `pcmpistrm`, `pcmpestri`, `pcmpestrm` (Intel SDM volume 2, "Imm8 control byte operation for PCMPxSTRx").

use iced_x86::Code;

use super::lanes::{from_u8s, from_u16s, u8s, u16s};
use super::{CF, Destination, OF, SF, STATUS, VectorContext, VectorOp, ZF};

/// The rows of this file.
pub fn lookup(code: Code) -> Option<VectorOp> {
    let op = match code {
        Code::Pcmpistri_xmm_xmmm128_imm8 => {
            VectorOp::xmm(|c, a, b, n| index(c, a, b, n, None)).to(Destination::Ecx)
        }
        Code::Pcmpistrm_xmm_xmmm128_imm8 => {
            VectorOp::xmm(|c, a, b, n| mask(c, a, b, n, None)).to(Destination::Xmm0)
        }
        Code::Pcmpestri_xmm_xmmm128_imm8 => {
            VectorOp::xmm(|c, a, b, n| index(c, a, b, n, Some(lengths32(c)))).to(Destination::Ecx)
        }
        Code::Pcmpestri64_xmm_xmmm128_imm8 => {
            VectorOp::xmm(|c, a, b, n| index(c, a, b, n, Some(lengths64(c)))).to(Destination::Ecx)
        }
        Code::Pcmpestrm_xmm_xmmm128_imm8 => {
            VectorOp::xmm(|c, a, b, n| mask(c, a, b, n, Some(lengths32(c)))).to(Destination::Xmm0)
        }
        Code::Pcmpestrm64_xmm_xmmm128_imm8 => {
            VectorOp::xmm(|c, a, b, n| mask(c, a, b, n, Some(lengths64(c)))).to(Destination::Xmm0)
        }
        _ => return None,
    };
    Some(op.memory(16).imm().flags(STATUS))
}

/// The absolute lengths of both operands in EAX and EDX.
fn lengths32(context: &VectorContext) -> (u64, u64) {
    (
        (context.rax as i32).unsigned_abs().into(),
        (context.rdx as i32).unsigned_abs().into(),
    )
}

/// The absolute lengths of both operands in RAX and RDX.
fn lengths64(context: &VectorContext) -> (u64, u64) {
    (
        (context.rax as i64).unsigned_abs(),
        (context.rdx as i64).unsigned_abs(),
    )
}

/// The lanes, sign- or zero-extended, of which the first `valid` count.
struct Text {
    lanes: Vec<i32>,
    valid: usize,
}

impl Text {
    fn new(value: u128, imm: u8, length: Option<u64>) -> Self {
        let lanes: Vec<i32> = match imm & 3 {
            0 => u8s(value).map(i32::from).to_vec(),
            1 => u16s(value).map(i32::from).to_vec(),
            2 => u8s(value).map(|lane| i32::from(lane as i8)).to_vec(),
            _ => u16s(value).map(|lane| i32::from(lane as i16)).to_vec(),
        };
        let valid = match length {
            Some(length) => {
                usize::try_from(length).map_or(lanes.len(), |length| length.min(lanes.len()))
            }
            None => lanes
                .iter()
                .position(|&lane| lane == 0)
                .unwrap_or(lanes.len()),
        };
        Self { lanes, valid }
    }

    fn get(&self, i: usize) -> Option<i32> {
        self.lanes.get(i).copied().filter(|_| i < self.valid)
    }
}

/// The aggregated comparison with its polarity applied (the manual's IntRes2), the number of lanes; sets the flags.
fn compare(
    context: &mut VectorContext,
    a: u128,
    b: u128,
    imm: u8,
    lengths: Option<(u64, u64)>,
) -> (u32, usize) {
    let a = Text::new(a, imm, lengths.map(|l| l.0));
    let b = Text::new(b, imm, lengths.map(|l| l.1));
    let count = b.lanes.len();
    let any = |j: usize| {
        b.get(j)
            .is_some_and(|y| (0..a.valid).any(|i| a.get(i) == Some(y)))
    };
    let in_range = |j: usize| {
        b.get(j).is_some_and(|y| {
            (0..count)
                .step_by(2)
                .any(|i| match (a.get(i), a.get(i + 1)) {
                    (Some(low), Some(high)) => low <= y && y <= high,
                    _ => false,
                })
        })
    };
    // Two lanes beyond both ends are equal.
    let each = |j: usize| a.get(j) == b.get(j);
    let ordered =
        |j: usize| (0..count - j).all(|i| a.get(i).is_none_or(|x| b.get(i + j) == Some(x)));
    let holds: &dyn Fn(usize) -> bool = match imm >> 2 & 3 {
        0 => &any,
        1 => &in_range,
        2 => &each,
        _ => &ordered,
    };
    let result = (0..count).fold(0u32, |bits, j| {
        let negate = match imm >> 4 & 3 {
            1 => true,
            3 => j < b.valid,
            _ => false,
        };
        bits | u32::from(holds(j) != negate) << j
    });
    context.flags = if result != 0 { CF } else { 0 }
        | if b.valid < count { ZF } else { 0 }
        | if a.valid < count { SF } else { 0 }
        | if result & 1 != 0 { OF } else { 0 };
    (result, count)
}

/// The least or (bit 6) most significant set bit, the number of lanes if there is none.
fn index(
    context: &mut VectorContext,
    a: u128,
    b: u128,
    imm: u8,
    lengths: Option<(u64, u64)>,
) -> u128 {
    let (bits, count) = compare(context, a, b, imm, lengths);
    let index = match (bits, imm & 0x40) {
        (0, _) => count as u32,
        (_, 0) => bits.trailing_zeros(),
        _ => 31 - bits.leading_zeros(),
    };
    index.into()
}

/// The bits themselves, or (bit 6) each as a whole lane.
fn mask(
    context: &mut VectorContext,
    a: u128,
    b: u128,
    imm: u8,
    lengths: Option<(u64, u64)>,
) -> u128 {
    let (bits, count) = compare(context, a, b, imm, lengths);
    match (imm & 0x40, count) {
        (0, _) => bits.into(),
        (_, 16) => from_u8s(std::array::from_fn(|i| {
            if bits >> i & 1 != 0 { u8::MAX } else { 0 }
        })),
        _ => from_u16s(std::array::from_fn(|i| {
            if bits >> i & 1 != 0 { u16::MAX } else { 0 }
        })),
    }
}
