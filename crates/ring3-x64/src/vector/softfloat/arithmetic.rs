//! Sum, product, quotient and square root.

use std::cmp::Ordering;

use super::super::MXCSR_ZE;
use super::{Env, Format, Kind, Rounding};

impl Env {
    /// `a + b`, or `a - b` with `subtract`.
    pub fn add(&mut self, format: Format, a: u64, b: u64, subtract: bool) -> u64 {
        if let Some(nan) = self.nan(format, &[a, b]) {
            return nan;
        }
        let (a_negative, a_kind) = self.unpack(format, a);
        let (b_negative, b_kind) = self.unpack(format, b);
        let b_negative = b_negative ^ subtract;
        if let (Kind::Infinity, Kind::Infinity) = (a_kind, b_kind)
            && a_negative != b_negative
        {
            return self.invalid(format);
        }
        self.note_denormals(format, &[a, b]);
        let sign = |negative: bool| if negative { format.sign() } else { 0 };
        let zero_negative = self.rounding == Rounding::Down;
        match (a_kind, b_kind) {
            (Kind::Infinity, _) => format.infinity() | sign(a_negative),
            (_, Kind::Infinity) => format.infinity() | sign(b_negative),
            (Kind::Zero, Kind::Zero) => sign(if a_negative == b_negative {
                a_negative
            } else {
                zero_negative
            }),
            (
                Kind::Zero,
                Kind::Finite {
                    exponent,
                    significand,
                },
            ) => self.round(format, b_negative, exponent, u128::from(significand)),
            (
                Kind::Finite {
                    exponent,
                    significand,
                },
                Kind::Zero,
            ) => self.round(format, a_negative, exponent, u128::from(significand)),
            (
                Kind::Finite {
                    exponent: a_exponent,
                    significand: a_significand,
                },
                Kind::Finite {
                    exponent: b_exponent,
                    significand: b_significand,
                },
            ) => {
                // Room for every bit of the smaller one up to a distance of 64, beyond which one sticky bit is enough.
                let top = a_exponent.max(b_exponent);
                let aligned = |exponent: i32, significand: u64| {
                    let distance = (top - exponent) as u32;
                    let wide = u128::from(significand) << 64;
                    match distance {
                        0..=127 => {
                            let kept = wide >> distance;
                            kept | u128::from(kept << distance != wide)
                        }
                        _ => 1,
                    }
                };
                let (a, b) = (
                    aligned(a_exponent, a_significand),
                    aligned(b_exponent, b_significand),
                );
                let (negative, sum) = match (a_negative == b_negative, a.cmp(&b)) {
                    (true, _) => (a_negative, a + b),
                    (false, Ordering::Greater) => (a_negative, a - b),
                    (false, Ordering::Less) => (b_negative, b - a),
                    (false, Ordering::Equal) => (zero_negative, 0),
                };
                self.round(format, negative, top - 64, sum)
            }
        }
    }

    /// `a * b`.
    pub fn multiply(&mut self, format: Format, a: u64, b: u64) -> u64 {
        if let Some(nan) = self.nan(format, &[a, b]) {
            return nan;
        }
        let (a_negative, a_kind) = self.unpack(format, a);
        let (b_negative, b_kind) = self.unpack(format, b);
        let negative = a_negative != b_negative;
        let sign = if negative { format.sign() } else { 0 };
        match (a_kind, b_kind) {
            (Kind::Infinity, Kind::Zero) | (Kind::Zero, Kind::Infinity) => {
                return self.invalid(format);
            }
            _ => self.note_denormals(format, &[a, b]),
        }
        match (a_kind, b_kind) {
            (Kind::Infinity, _) | (_, Kind::Infinity) => format.infinity() | sign,
            (Kind::Zero, _) | (_, Kind::Zero) => sign,
            (
                Kind::Finite {
                    exponent: a_exponent,
                    significand: a_significand,
                },
                Kind::Finite {
                    exponent: b_exponent,
                    significand: b_significand,
                },
            ) => self.round(
                format,
                negative,
                a_exponent + b_exponent,
                u128::from(a_significand) * u128::from(b_significand),
            ),
        }
    }

    /// `a / b`.
    pub fn divide(&mut self, format: Format, a: u64, b: u64) -> u64 {
        if let Some(nan) = self.nan(format, &[a, b]) {
            return nan;
        }
        let (a_negative, a_kind) = self.unpack(format, a);
        let (b_negative, b_kind) = self.unpack(format, b);
        let negative = a_negative != b_negative;
        let sign = if negative { format.sign() } else { 0 };
        match (a_kind, b_kind) {
            (Kind::Infinity, Kind::Infinity) | (Kind::Zero, Kind::Zero) => {
                return self.invalid(format);
            }
            (Kind::Finite { .. }, Kind::Zero) => {
                self.raised |= MXCSR_ZE;
                return format.infinity() | sign;
            }
            _ => self.note_denormals(format, &[a, b]),
        }
        match (a_kind, b_kind) {
            (Kind::Infinity, _) | (_, Kind::Zero) => format.infinity() | sign,
            (Kind::Zero, _) | (_, Kind::Infinity) => sign,
            (
                Kind::Finite {
                    exponent: a_exponent,
                    significand: a_significand,
                },
                Kind::Finite {
                    exponent: b_exponent,
                    significand: b_significand,
                },
            ) => {
                let (wide, divisor) = (u128::from(a_significand) << 70, u128::from(b_significand));
                let (quotient, remainder) = (wide / divisor, wide % divisor);
                self.round(
                    format,
                    negative,
                    a_exponent - b_exponent - 70,
                    quotient | u128::from(remainder != 0),
                )
            }
        }
    }

    /// The square root of `a`.
    pub fn square_root(&mut self, format: Format, a: u64) -> u64 {
        if let Some(nan) = self.nan(format, &[a]) {
            return nan;
        }
        let (negative, kind) = self.unpack(format, a);
        match kind {
            Kind::Zero => self.flush_input(format, a),
            _ if negative => self.invalid(format),
            Kind::Infinity => a,
            Kind::Finite {
                exponent,
                significand,
            } => {
                self.note_denormals(format, &[a]);
                // An even exponent, and enough bits that the root has more than the precision.
                let shift = 70 + (exponent & 1);
                let wide = u128::from(significand) << shift;
                let root = wide.isqrt();
                self.round(
                    format,
                    false,
                    (exponent - shift) / 2,
                    root | u128::from(root * root != wide),
                )
            }
        }
    }
}
