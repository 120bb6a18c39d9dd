//! `rcpps`, `rcpss`, `rsqrtps`, `rsqrtss`.
//!
//! The manual only bounds the relative error (1.5 * 2^-12) and processors differ in the low bits. Ours are the exact values
//! rounded to 12 significant bits, so that a run gives the same on every host; a program that depends on more
//! would not work on two real processors either. The special cases are those of the manual: denormal operands count
//! as zeros, results below the normal range become zeros, no exception is raised and MXCSR is ignored.

use iced_x86::Code;

use super::VectorOp;
use super::lanes::{from_u32s, merge32, u32s};
use super::softfloat::SINGLE;

/// The rows of this file.
pub fn lookup(code: Code) -> Option<VectorOp> {
    let op = match code {
        Code::Rcpps_xmm_xmmm128 => VectorOp::xmm(|_, _, b, _| from_u32s(u32s(b).map(reciprocal))),
        Code::Rcpss_xmm_xmmm32 => {
            VectorOp::xmm(|_, a, b, _| merge32(a, reciprocal(b as u32))).memory(4)
        }
        Code::Rsqrtps_xmm_xmmm128 => {
            VectorOp::xmm(|_, _, b, _| from_u32s(u32s(b).map(reciprocal_root)))
        }
        Code::Rsqrtss_xmm_xmmm32 => {
            VectorOp::xmm(|_, a, b, _| merge32(a, reciprocal_root(b as u32))).memory(4)
        }
        _ => return None,
    };
    Some(op)
}

const SIGN: u32 = 0x8000_0000;
const INFINITY: u32 = 0x7f80_0000;
const QUIET: u32 = 0x0040_0000;

/// The biased exponent and the 24-bit significand of a normal number.
fn parts(bits: u32) -> (i32, u64) {
    (
        (bits >> 23 & 0xff) as i32,
        u64::from(bits & 0x7f_ffff | 0x80_0000),
    )
}

/// `significand` has 13 bits: rounds to 12 and packs; below the normal range gives zero.
fn pack(sign: u32, exponent: i32, significand: u64) -> u32 {
    let rounded = ((significand + 1) >> 1) as u32;
    let value = ((exponent as u32) << 23).wrapping_add((rounded << 12) - 0x80_0000);
    if exponent <= 0 { sign } else { sign | value }
}

fn special(bits: u32) -> Option<u32> {
    let sign = bits & SIGN;
    if SINGLE.is_nan(bits.into()) {
        Some(bits | QUIET)
    } else if bits & INFINITY == 0 {
        Some(sign | INFINITY)
    } else if bits == INFINITY {
        Some(0)
    } else {
        None
    }
}

fn reciprocal(bits: u32) -> u32 {
    if let Some(result) = special(bits) {
        return result;
    }
    let sign = bits & SIGN;
    if bits & INFINITY == INFINITY {
        return sign;
    }
    let (exponent, significand) = parts(bits);
    // 1/significand is in (1/2, 1]; the power of two itself is exact.
    if significand == 0x80_0000 {
        return pack(sign, 254 - exponent, 1 << 12);
    }
    pack(sign, 253 - exponent, (1 << 36) / significand)
}

fn reciprocal_root(bits: u32) -> u32 {
    if let Some(result) = special(bits) {
        return result;
    }
    if bits & SIGN != 0 {
        return SINGLE.default_nan() as u32;
    }
    let (exponent, significand) = parts(bits);
    // value = s * 2^e with e even and s in [1, 4): the root is in (1/2, 1].
    let e = exponent - 127;
    let odd = e & 1;
    let scaled = u128::from(significand) << odd;
    if scaled == 0x80_0000 {
        return pack(0, 127 - e / 2, 1 << 12);
    }
    // 2^13 / sqrt(scaled / 2^23) = sqrt(2^49 / scaled).
    let root = ((1u128 << 49) / scaled).isqrt() as u64;
    pack(0, 126 - (e - odd) / 2, root)
}
