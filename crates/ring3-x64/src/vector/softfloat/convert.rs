//! Comparison and conversions: to and from integers, between the formats, to integral values.

use std::cmp::Ordering;

use super::super::{MXCSR_IE, MXCSR_PE};
use super::{Env, Format, Kind, Rounding};

impl Env {
    /// Compares two numbers; `None` when unordered. A NaN is invalid if it signals or if `any_nan_is_invalid`.
    pub fn compare(
        &mut self,
        format: Format,
        a: u64,
        b: u64,
        any_nan_is_invalid: bool,
    ) -> Option<Ordering> {
        if format.is_nan(a) || format.is_nan(b) {
            if any_nan_is_invalid || format.is_signalling(a) || format.is_signalling(b) {
                self.raised |= MXCSR_IE;
            }
            return None;
        }
        self.note_denormals(format, &[a, b]);
        let key = |bits: u64| {
            let bits = self.flush_input(format, bits);
            let magnitude = (bits & !format.sign()) as i64;
            if bits & format.sign() != 0 {
                -magnitude
            } else {
                magnitude
            }
        };
        Some(key(a).cmp(&key(b)))
    }

    /// The integer of `width` (32 or 64) bits; out of range or NaN is invalid and gives the integer indefinite.
    pub fn round_to_integer(
        &mut self,
        format: Format,
        a: u64,
        width: u32,
        rounding: Rounding,
    ) -> u64 {
        let indefinite = 1u64 << (width - 1);
        let (negative, kind) = if format.is_nan(a) {
            (false, Kind::Infinity)
        } else {
            self.unpack(format, a)
        };
        let (magnitude, inexact) = match kind {
            Kind::Zero => (0, false),
            Kind::Finite {
                exponent,
                significand,
            } if exponent < 64 => {
                Self::shift_round(rounding, negative, u128::from(significand), -exponent)
            }
            _ => (u128::MAX, false),
        };
        if magnitude > u128::from(indefinite - u64::from(!negative)) {
            self.raised |= MXCSR_IE;
            return indefinite;
        }
        if inexact {
            self.raised |= MXCSR_PE;
        }
        let value = magnitude as u64;
        (if negative {
            value.wrapping_neg()
        } else {
            value
        }) & (u64::MAX >> (64 - width))
    }

    /// The number nearest to a signed integer.
    pub fn number_of_integer(&mut self, format: Format, value: i64) -> u64 {
        self.round(format, value < 0, 0, u128::from(value.unsigned_abs()))
    }

    /// Converts between the formats.
    pub fn convert(&mut self, from: Format, to: Format, a: u64) -> u64 {
        let sign = if a & from.sign() != 0 { to.sign() } else { 0 };
        if from.is_nan(a) {
            if from.is_signalling(a) {
                self.raised |= MXCSR_IE;
            }
            let payload = a & from.fraction();
            let payload = match to.precision as i32 - from.precision as i32 {
                wider @ 0.. => payload << wider,
                narrower => payload >> -narrower,
            };
            return sign | to.infinity() | to.quiet() | payload;
        }
        self.note_denormals(from, &[a]);
        match self.unpack(from, a).1 {
            Kind::Zero => sign,
            Kind::Infinity => sign | to.infinity(),
            Kind::Finite {
                exponent,
                significand,
            } => self.round(to, sign != 0, exponent, u128::from(significand)),
        }
    }

    /// Rounds to an integral number in the same format; `quiet` leaves the precision exception out. Denormals raise nothing.
    pub fn round_to_integral(
        &mut self,
        format: Format,
        a: u64,
        rounding: Rounding,
        quiet: bool,
    ) -> u64 {
        if let Some(nan) = self.nan(format, &[a]) {
            return nan;
        }
        let sign = a & format.sign();
        match self.unpack(format, a) {
            (_, Kind::Zero) => sign,
            (
                negative,
                Kind::Finite {
                    exponent,
                    significand,
                },
            ) if exponent < 0 => {
                let (rounded, inexact) =
                    Self::shift_round(rounding, negative, u128::from(significand), -exponent);
                if inexact && !quiet {
                    self.raised |= MXCSR_PE;
                }
                // At most 53 bits: exact.
                self.round(format, negative, 0, rounded) | sign
            }
            _ => a,
        }
    }
}
