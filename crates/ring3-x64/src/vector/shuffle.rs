//! Shuffles, unpacks, packs with saturation, widening moves and `palignr`.

use iced_x86::Code;

use super::VectorOp;
use super::lanes::{from_u8s, from_u16s, from_u32s, from_u64s, u8s, u16s, u32s, u64s};

/// The rows of this file.
pub fn lookup(code: Code) -> Option<VectorOp> {
    let op = match code {
        Code::Punpcklbw_xmm_xmmm128 => VectorOp::xmm(|_, a, b, _| interleave8(a, b, 0)),
        Code::Punpckhbw_xmm_xmmm128 => VectorOp::xmm(|_, a, b, _| interleave8(a, b, 8)),
        Code::Punpcklwd_xmm_xmmm128 => VectorOp::xmm(|_, a, b, _| interleave16(a, b, 0)),
        Code::Punpckhwd_xmm_xmmm128 => VectorOp::xmm(|_, a, b, _| interleave16(a, b, 4)),
        Code::Punpckldq_xmm_xmmm128 | Code::Unpcklps_xmm_xmmm128 => {
            VectorOp::xmm(|_, a, b, _| interleave32(a, b, 0))
        }
        Code::Punpckhdq_xmm_xmmm128 | Code::Unpckhps_xmm_xmmm128 => {
            VectorOp::xmm(|_, a, b, _| interleave32(a, b, 2))
        }
        Code::Punpcklqdq_xmm_xmmm128 | Code::Unpcklpd_xmm_xmmm128 => {
            VectorOp::xmm(|_, a, b, _| from_u64s([u64s(a)[0], u64s(b)[0]]))
        }
        Code::Punpckhqdq_xmm_xmmm128 | Code::Unpckhpd_xmm_xmmm128 => {
            VectorOp::xmm(|_, a, b, _| from_u64s([u64s(a)[1], u64s(b)[1]]))
        }
        Code::Packsswb_xmm_xmmm128 => VectorOp::xmm(|_, a, b, _| {
            pack16(a, b, |v| {
                v.clamp(i16::from(i8::MIN), i16::from(i8::MAX)) as u8
            })
        }),
        Code::Packuswb_xmm_xmmm128 => {
            VectorOp::xmm(|_, a, b, _| pack16(a, b, |v| v.clamp(0, 255) as u8))
        }
        Code::Packssdw_xmm_xmmm128 => VectorOp::xmm(|_, a, b, _| {
            pack32(a, b, |v| {
                v.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as u16
            })
        }),
        Code::Packusdw_xmm_xmmm128 => {
            VectorOp::xmm(|_, a, b, _| pack32(a, b, |v| v.clamp(0, 65535) as u16))
        }
        Code::Pshufb_xmm_xmmm128 => VectorOp::xmm(|_, a, b, _| {
            let (a, b) = (u8s(a), u8s(b));
            from_u8s(b.map(|index| {
                if index >> 7 != 0 {
                    0
                } else {
                    a[usize::from(index & 15)]
                }
            }))
        }),
        Code::Pshufd_xmm_xmmm128_imm8 => VectorOp::xmm(|_, _, b, n| {
            let b = u32s(b);
            from_u32s(std::array::from_fn(|i| b[two_bits(n, i)]))
        })
        .imm(),
        Code::Pshuflw_xmm_xmmm128_imm8 => VectorOp::xmm(|_, _, b, n| {
            let b = u16s(b);
            from_u16s(std::array::from_fn(|i| {
                if i < 4 { b[two_bits(n, i)] } else { b[i] }
            }))
        })
        .imm(),
        Code::Pshufhw_xmm_xmmm128_imm8 => VectorOp::xmm(|_, _, b, n| {
            let b = u16s(b);
            from_u16s(std::array::from_fn(|i| {
                if i < 4 {
                    b[i]
                } else {
                    b[4 + two_bits(n, i - 4)]
                }
            }))
        })
        .imm(),
        Code::Shufps_xmm_xmmm128_imm8 => VectorOp::xmm(|_, a, b, n| {
            let (a, b) = (u32s(a), u32s(b));
            from_u32s(std::array::from_fn(|i| {
                if i < 2 {
                    a[two_bits(n, i)]
                } else {
                    b[two_bits(n, i)]
                }
            }))
        })
        .imm(),
        Code::Shufpd_xmm_xmmm128_imm8 => VectorOp::xmm(|_, a, b, n| {
            from_u64s([
                u64s(a)[usize::from(n & 1)],
                u64s(b)[usize::from(n >> 1 & 1)],
            ])
        })
        .imm(),
        Code::Palignr_xmm_xmmm128_imm8 => VectorOp::xmm(|_, a, b, n| align(a, b, n)).imm(),
        Code::Pmovsxbw_xmm_xmmm64 => VectorOp::xmm(|_, _, b, _| widen(b, 8, 16, true)).memory(8),
        Code::Pmovsxbd_xmm_xmmm32 => VectorOp::xmm(|_, _, b, _| widen(b, 8, 32, true)).memory(4),
        Code::Pmovsxbq_xmm_xmmm16 => VectorOp::xmm(|_, _, b, _| widen(b, 8, 64, true)).memory(2),
        Code::Pmovsxwd_xmm_xmmm64 => VectorOp::xmm(|_, _, b, _| widen(b, 16, 32, true)).memory(8),
        Code::Pmovsxwq_xmm_xmmm32 => VectorOp::xmm(|_, _, b, _| widen(b, 16, 64, true)).memory(4),
        Code::Pmovsxdq_xmm_xmmm64 => VectorOp::xmm(|_, _, b, _| widen(b, 32, 64, true)).memory(8),
        Code::Pmovzxbw_xmm_xmmm64 => VectorOp::xmm(|_, _, b, _| widen(b, 8, 16, false)).memory(8),
        Code::Pmovzxbd_xmm_xmmm32 => VectorOp::xmm(|_, _, b, _| widen(b, 8, 32, false)).memory(4),
        Code::Pmovzxbq_xmm_xmmm16 => VectorOp::xmm(|_, _, b, _| widen(b, 8, 64, false)).memory(2),
        Code::Pmovzxwd_xmm_xmmm64 => VectorOp::xmm(|_, _, b, _| widen(b, 16, 32, false)).memory(8),
        Code::Pmovzxwq_xmm_xmmm32 => VectorOp::xmm(|_, _, b, _| widen(b, 16, 64, false)).memory(4),
        Code::Pmovzxdq_xmm_xmmm64 => VectorOp::xmm(|_, _, b, _| widen(b, 32, 64, false)).memory(8),
        _ => return None,
    };
    Some(op)
}

/// Selector number `i` of a shuffle immediate.
fn two_bits(imm: u8, i: usize) -> usize {
    usize::from(imm >> (2 * i) & 3)
}

fn interleave8(a: u128, b: u128, start: usize) -> u128 {
    let (a, b) = (u8s(a), u8s(b));
    from_u8s(std::array::from_fn(|i| {
        if i % 2 == 0 {
            a[start + i / 2]
        } else {
            b[start + i / 2]
        }
    }))
}

fn interleave16(a: u128, b: u128, start: usize) -> u128 {
    let (a, b) = (u16s(a), u16s(b));
    from_u16s(std::array::from_fn(|i| {
        if i % 2 == 0 {
            a[start + i / 2]
        } else {
            b[start + i / 2]
        }
    }))
}

fn interleave32(a: u128, b: u128, start: usize) -> u128 {
    let (a, b) = (u32s(a), u32s(b));
    from_u32s(std::array::from_fn(|i| {
        if i % 2 == 0 {
            a[start + i / 2]
        } else {
            b[start + i / 2]
        }
    }))
}

fn pack16(a: u128, b: u128, narrow: impl Fn(i16) -> u8) -> u128 {
    let (a, b) = (u16s(a), u16s(b));
    from_u8s(std::array::from_fn(|i| {
        narrow(if i < 8 { a[i] } else { b[i - 8] } as i16)
    }))
}

fn pack32(a: u128, b: u128, narrow: impl Fn(i32) -> u16) -> u128 {
    let (a, b) = (u32s(a), u32s(b));
    from_u16s(std::array::from_fn(|i| {
        narrow(if i < 4 { a[i] } else { b[i - 4] } as i32)
    }))
}

/// `palignr`: the 16 bytes at byte `count` of the 32-byte value `a:b`, zeros beyond it.
fn align(a: u128, b: u128, count: u8) -> u128 {
    match u32::from(count) {
        0 => b,
        n @ 1..=15 => b >> (8 * n) | a << (128 - 8 * n),
        n @ 16..=31 => a >> (8 * (n - 16)),
        _ => 0,
    }
}

/// Extends the low lanes of `b` from `from` to `to` bits.
fn widen(b: u128, from: u32, to: u32, signed: bool) -> u128 {
    let mask = |bits: u32| (1u128 << bits) - 1;
    (0..128 / to).fold(0, |sum, i| {
        let lane = b >> (from * i) & mask(from);
        let lane = if signed && lane >> (from - 1) != 0 {
            lane | !mask(from)
        } else {
            lane
        };
        sum | (lane & mask(to)) << (to * i)
    })
}
