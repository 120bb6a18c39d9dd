//! AES rounds (FIPS 197), carry-less multiplication and CRC-32C.

use iced_x86::Code;

use super::VectorOp;
use super::lanes::{from_u8s, from_u32s, u8s, u32s, u64s};

/// The rows of this file.
pub fn lookup(code: Code) -> Option<VectorOp> {
    let op = match code {
        Code::Aesenc_xmm_xmmm128 => {
            VectorOp::xmm(|_, a, b, _| mix(substitute(shift_rows(a, 1), &SBOX), [2, 3, 1, 1]) ^ b)
        }
        Code::Aesenclast_xmm_xmmm128 => {
            VectorOp::xmm(|_, a, b, _| substitute(shift_rows(a, 1), &SBOX) ^ b)
        }
        Code::Aesdec_xmm_xmmm128 => VectorOp::xmm(|_, a, b, _| {
            mix(substitute(shift_rows(a, 3), &INVERSE_SBOX), [14, 11, 13, 9]) ^ b
        }),
        Code::Aesdeclast_xmm_xmmm128 => {
            VectorOp::xmm(|_, a, b, _| substitute(shift_rows(a, 3), &INVERSE_SBOX) ^ b)
        }
        Code::Aesimc_xmm_xmmm128 => VectorOp::xmm(|_, _, b, _| mix(b, [14, 11, 13, 9])),
        Code::Aeskeygenassist_xmm_xmmm128_imm8 => VectorOp::xmm(|_, _, b, n| {
            let [_, one, _, three] = u32s(substitute(b, &SBOX));
            let rotate = |word: u32| word.rotate_right(8) ^ u32::from(n);
            from_u32s([one, rotate(one), three, rotate(three)])
        })
        .imm(),
        Code::Pclmulqdq_xmm_xmmm128_imm8 => VectorOp::xmm(|_, a, b, n| {
            carryless(
                u64s(a)[usize::from(n & 1)],
                u64s(b)[usize::from(n >> 4 & 1)],
            )
        })
        .imm(),
        Code::Crc32_r32_rm8 | Code::Crc32_r64_rm8 => VectorOp::xmm(|_, a, b, _| crc32c(a, b, 1))
            .memory(1)
            .general(),
        Code::Crc32_r32_rm16 => VectorOp::xmm(|_, a, b, _| crc32c(a, b, 2))
            .memory(2)
            .general(),
        Code::Crc32_r32_rm32 => VectorOp::xmm(|_, a, b, _| crc32c(a, b, 4))
            .memory(4)
            .general(),
        Code::Crc32_r64_rm64 => VectorOp::xmm(|_, a, b, _| crc32c(a, b, 8))
            .memory(8)
            .general(),
        _ => return None,
    };
    Some(op)
}

/// Multiplication in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1.
const fn gf_multiply(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        a = (a << 1) ^ ((a >> 7) * 0x1b);
        b >>= 1;
    }
    product
}

/// FIPS 197 section 5.1.1: the affine map of the multiplicative inverse.
const fn make_sbox() -> [u8; 256] {
    let mut table = [0x63; 256];
    // 3 generates the multiplicative group: walk all its elements together with their inverses.
    let (mut element, mut inverse) = (1u8, 1u8);
    loop {
        let i = inverse;
        table[element as usize] =
            i ^ i.rotate_left(1) ^ i.rotate_left(2) ^ i.rotate_left(3) ^ i.rotate_left(4) ^ 0x63;
        element = gf_multiply(element, 3);
        // 0xf6 is the inverse of 3.
        inverse = gf_multiply(inverse, 0xf6);
        if element == 1 {
            return table;
        }
    }
}

const fn invert(table: &[u8; 256]) -> [u8; 256] {
    let mut inverse = [0; 256];
    let mut i = 0;
    while i < 256 {
        inverse[table[i] as usize] = i as u8;
        i += 1;
    }
    inverse
}

static SBOX: [u8; 256] = make_sbox();
static INVERSE_SBOX: [u8; 256] = invert(&make_sbox());

fn substitute(state: u128, table: &[u8; 256]) -> u128 {
    from_u8s(u8s(state).map(|byte| table[usize::from(byte)]))
}

/// Row `r` of the column-major state moves left by `r * step` columns.
fn shift_rows(state: u128, step: usize) -> u128 {
    let bytes = u8s(state);
    from_u8s(std::array::from_fn(|i| {
        bytes[(i + 4 * step * (i % 4)) % 16]
    }))
}

/// Multiplies each column by the circulant matrix with this first row.
fn mix(state: u128, row: [u8; 4]) -> u128 {
    let bytes = u8s(state);
    from_u8s(std::array::from_fn(|i| {
        (0..4).fold(0, |sum, k| {
            sum ^ gf_multiply(row[(k + 4 - i % 4) % 4], bytes[i / 4 * 4 + k])
        })
    }))
}

fn carryless(a: u64, b: u64) -> u128 {
    (0..64)
        .filter(|&i| b >> i & 1 != 0)
        .fold(0, |sum, i| sum ^ u128::from(a) << i)
}

/// Adds `bytes` bytes to the reflected CRC with the Castagnoli polynomial 0x11edc6f41.
fn crc32c(crc: u128, value: u128, bytes: u32) -> u128 {
    let start = u64::from(crc as u32);
    let step = |crc: u64, byte: u32| {
        let crc = crc ^ (value as u64 >> (8 * byte) & 0xff);
        (0..8).fold(crc, |crc, _| (crc >> 1) ^ ((crc & 1) * 0x82f6_3b78))
    };
    u128::from((0..bytes).fold(start, step))
}
