//! Published values, on every host. The comparison with real processors is in `tests/oracle.rs`.

use iced_x86::Code;

use super::*;

fn run(code: Code, dst: u128, src: u128, imm: u8, mxcsr: u32) -> (u128, VectorContext) {
    let mut context = VectorContext::new(mxcsr);
    let op = lookup(code).expect("in the table");
    let result = (op.f)(&mut context, dst, src, imm);
    (result, context)
}

fn double(code: Code, a: f64, b: f64, mxcsr: u32) -> (f64, u32) {
    let (result, context) = run(code, a.to_bits().into(), b.to_bits().into(), 0, mxcsr);
    (f64::from_bits(result as u64), context.mxcsr & MXCSR_FLAGS)
}

/// FIPS 197, appendix C.1, with the key schedule made as Intel's AES-NI white paper shows.
#[test]
fn aes_128_encrypts_and_decrypts_the_published_block() {
    let key = u128::from_le_bytes(std::array::from_fn(|i| i as u8));
    let plain = u128::from_le_bytes(std::array::from_fn(|i| 0x11 * i as u8));
    let cipher = u128::from_be_bytes(0x69c4_e0d8_6a7b_0430_d8cd_b780_70b4_c55a_u128.to_le_bytes());
    let mut keys = vec![key];
    for round_constant in [1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x1b, 0x36] {
        let old = keys[keys.len() - 1];
        let assist = run(
            Code::Aeskeygenassist_xmm_xmmm128_imm8,
            0,
            old,
            round_constant,
            0,
        )
        .0;
        let word = assist >> 96;
        let spread = old ^ old << 32 ^ old << 64 ^ old << 96;
        keys.push(spread ^ (word | word << 32 | word << 64 | word << 96));
    }
    let encrypted = (1..10).fold(plain ^ keys[0], |state, i| {
        run(Code::Aesenc_xmm_xmmm128, state, keys[i], 0, 0).0
    });
    let encrypted = run(Code::Aesenclast_xmm_xmmm128, encrypted, keys[10], 0, 0).0;
    assert_eq!(encrypted, cipher);
    let decrypted = (1..10).rev().fold(cipher ^ keys[10], |state, i| {
        let key = run(Code::Aesimc_xmm_xmmm128, 0, keys[i], 0, 0).0;
        run(Code::Aesdec_xmm_xmmm128, state, key, 0, 0).0
    });
    assert_eq!(
        run(Code::Aesdeclast_xmm_xmmm128, decrypted, keys[0], 0, 0).0,
        plain
    );
}

/// The check value of CRC-32C (RFC 3720, appendix B.4 uses the same polynomial).
#[test]
fn crc32c_of_the_digits_is_the_check_value() {
    let crc = b"123456789".iter().fold(0xffff_ffff, |crc, &byte| {
        run(Code::Crc32_r32_rm8, crc, byte.into(), 0, 0).0
    });
    assert_eq!(crc as u32 ^ 0xffff_ffff, 0xe306_9283);
}

/// One third has no exact value: the four rounding modes give its two neighbours.
#[test]
fn rounding_control_chooses_the_neighbour() {
    let below = 1f64 / 3.0;
    let above = f64::from_bits(below.to_bits() + 1);
    for (mode, positive, negative) in [
        (0, below, -below),
        (1, below, -above),
        (2, above, -below),
        (3, below, -below),
    ] {
        let mxcsr = MXCSR_DEFAULT | mode << MXCSR_RC_SHIFT;
        assert_eq!(
            double(Code::Divsd_xmm_xmmm64, 1.0, 3.0, mxcsr),
            (positive, MXCSR_PE)
        );
        assert_eq!(
            double(Code::Divsd_xmm_xmmm64, -1.0, 3.0, mxcsr),
            (negative, MXCSR_PE)
        );
    }
}

/// Sticky flags stay, an exact result adds none, and an unmasked exception is reported.
#[test]
fn exceptions_are_sticky_and_may_be_unmasked() {
    let exact = double(Code::Addsd_xmm_xmmm64, 1.0, 2.0, MXCSR_DEFAULT | MXCSR_OE);
    assert_eq!(exact, (3.0, MXCSR_OE));
    let overflow = double(Code::Mulsd_xmm_xmmm64, f64::MAX, f64::MAX, MXCSR_DEFAULT);
    assert_eq!(overflow, (f64::INFINITY, MXCSR_OE | MXCSR_PE));
    let bits = u128::from(1f64.to_bits());
    let masked = run(Code::Divsd_xmm_xmmm64, bits, 0, 0, MXCSR_DEFAULT).1;
    assert_eq!(
        (masked.exception, masked.mxcsr & MXCSR_FLAGS),
        (false, MXCSR_ZE)
    );
    let unmasked = MXCSR_DEFAULT & !(MXCSR_ZE << MXCSR_MASK_SHIFT);
    let context = run(Code::Divsd_xmm_xmmm64, bits, 0, 0, unmasked).1;
    assert_eq!(
        (context.exception, context.mxcsr & MXCSR_FLAGS),
        (true, MXCSR_ZE)
    );
}

/// With the precision flag set already the host's arithmetic may be used: the results must not depend on that.
#[test]
fn the_host_arithmetic_gives_the_same_results() {
    let values = [
        1.0,
        -1.5,
        1e300,
        3e-300,
        0.1,
        1e-17,
        123_456_789.0,
        f64::MIN_POSITIVE,
    ];
    for code in [
        Code::Addsd_xmm_xmmm64,
        Code::Subsd_xmm_xmmm64,
        Code::Mulsd_xmm_xmmm64,
        Code::Divsd_xmm_xmmm64,
    ] {
        for a in values {
            for b in values {
                let slow = double(code, a, b, MXCSR_DEFAULT);
                let quick = double(code, a, b, MXCSR_DEFAULT | MXCSR_PE);
                assert_eq!(
                    (quick.0, quick.1),
                    (slow.0, slow.1 | MXCSR_PE),
                    "{code:?} {a} {b}"
                );
            }
        }
    }
}
