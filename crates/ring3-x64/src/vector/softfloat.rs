//! IEEE 754 single and double arithmetic in integers, with exactly the exceptions and special results of SSE.
//!
//! The rules are those of the Intel SDM volume 1: chapter 4.8 (NaNs; table 4-7 says which operand's NaN is the result),
//! 4.9 (exceptions: invalid, denormal and divide-by-zero are found before computing, the others after) and 11.5.
//! Tininess is detected after rounding. Every value is carried as `significand * 2^exponent` with as many bits as
//! the operation needs; [`Env::round`] is the only place that rounds.

mod arithmetic;
mod convert;

use super::{
    MXCSR_DAZ, MXCSR_DE, MXCSR_FLAGS, MXCSR_FTZ, MXCSR_IE, MXCSR_MASK_SHIFT, MXCSR_OE, MXCSR_PE,
    MXCSR_RC_SHIFT, MXCSR_UE, MXCSR_ZE, VectorContext,
};

/// A binary interchange format that fits 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Significand bits with the hidden one.
    pub precision: u32,
    /// Exponent bias, also the largest exponent.
    pub bias: i32,
}

/// binary32.
pub const SINGLE: Format = Format {
    precision: 24,
    bias: 127,
};
/// binary64.
pub const DOUBLE: Format = Format {
    precision: 53,
    bias: 1023,
};

impl Format {
    const fn fraction(self) -> u64 {
        (1 << (self.precision - 1)) - 1
    }

    const fn quiet(self) -> u64 {
        1 << (self.precision - 2)
    }

    /// The encoding of infinity, also the mask of the exponent.
    pub const fn infinity(self) -> u64 {
        ((self.bias as u64) * 2 + 1) << (self.precision - 1)
    }

    /// The sign bit.
    pub const fn sign(self) -> u64 {
        (self.infinity() + self.fraction() + 1) & !self.infinity()
    }

    /// What an invalid operation gives: the negative quiet NaN without payload.
    pub const fn default_nan(self) -> u64 {
        self.sign() | self.infinity() | self.quiet()
    }

    /// Any NaN.
    pub const fn is_nan(self, bits: u64) -> bool {
        bits & !self.sign() > self.infinity()
    }

    /// A signalling NaN.
    pub const fn is_signalling(self, bits: u64) -> bool {
        self.is_nan(bits) && bits & self.quiet() == 0
    }

    /// A nonzero number below the normal range.
    pub const fn is_denormal(self, bits: u64) -> bool {
        bits & self.infinity() == 0 && bits & self.fraction() != 0
    }
}

/// A number that is not a NaN.
#[derive(Clone, Copy)]
enum Kind {
    Zero,
    Infinity,
    /// `significand * 2^exponent`, significand with exactly `precision` bits.
    Finite {
        exponent: i32,
        significand: u64,
    },
}

/// Rounding control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To nearest, ties to even.
    Nearest,
    /// Toward minus infinity.
    Down,
    /// Toward plus infinity.
    Up,
    /// Toward zero.
    Zero,
}

impl Rounding {
    /// From the two bits of MXCSR.RC or of the `roundps` immediate.
    pub const fn from_bits(bits: u32) -> Self {
        match bits & 3 {
            0 => Self::Nearest,
            1 => Self::Down,
            2 => Self::Up,
            _ => Self::Zero,
        }
    }
}

/// The controls of one instruction and the exceptions its elements raised so far.
#[derive(Clone, Copy, Debug)]
pub struct Env {
    /// Rounding control.
    pub rounding: Rounding,
    mxcsr: u32,
    /// Exception flags raised (MXCSR bit positions).
    pub raised: u32,
}

impl Env {
    /// The controls in `mxcsr`, nothing raised.
    pub const fn new(mxcsr: u32) -> Self {
        Self {
            rounding: Rounding::from_bits(mxcsr >> MXCSR_RC_SHIFT),
            mxcsr,
            raised: 0,
        }
    }

    /// Puts the raised flags into the context and says there whether one is unmasked.
    ///
    /// If an unmasked exception is one of those found before computing, then those found after computing have not happened.
    pub fn finish(self, context: &mut VectorContext) {
        let unmasked = !(self.mxcsr >> MXCSR_MASK_SHIFT) & MXCSR_FLAGS;
        let before = self.raised & (MXCSR_IE | MXCSR_DE | MXCSR_ZE);
        let raised = if before & unmasked != 0 {
            before
        } else {
            self.raised
        };
        context.mxcsr |= raised;
        context.exception |= raised & unmasked != 0;
    }

    /// Ends one stage of an instruction that works in stages: its flags stay even if a later stage stops the instruction.
    /// False when an unmasked exception stops it here.
    pub fn stage(&mut self, context: &mut VectorContext) -> bool {
        self.finish(context);
        self.raised = 0;
        !context.exception
    }

    fn daz(&self) -> bool {
        self.mxcsr & MXCSR_DAZ != 0
    }

    fn unmasked(&self, flag: u32) -> bool {
        self.mxcsr >> MXCSR_MASK_SHIFT & flag == 0
    }

    /// Only the precision exception could be new, and it is masked and sticky already: the host's arithmetic,
    /// which rounds to nearest, gives the same result and the same flags for normal operands and results.
    pub fn host_arithmetic_is_enough(&self) -> bool {
        self.rounding == Rounding::Nearest && self.mxcsr & MXCSR_PE != 0 && !self.unmasked(MXCSR_PE)
    }

    /// `bits`, or a zero of the same sign if it is denormal and those count as zeros.
    pub fn flush_input(&self, format: Format, bits: u64) -> u64 {
        if self.daz() && format.is_denormal(bits) {
            bits & format.sign()
        } else {
            bits
        }
    }

    fn unpack(&self, format: Format, bits: u64) -> (bool, Kind) {
        let negative = bits & format.sign() != 0;
        let field = (bits & format.infinity()) >> (format.precision - 1);
        let fraction = bits & format.fraction();
        let hidden = format.fraction() + 1;
        let least = 2 - format.bias - format.precision as i32;
        let kind = match (field, fraction) {
            (0, 0) => Kind::Zero,
            (0, _) if self.daz() => Kind::Zero,
            (0, _) => {
                let shift = fraction.leading_zeros() - (64 - format.precision);
                Kind::Finite {
                    exponent: least - shift as i32,
                    significand: fraction << shift,
                }
            }
            _ if bits & format.infinity() == format.infinity() => Kind::Infinity,
            _ => Kind::Finite {
                exponent: least + field as i32 - 1,
                significand: fraction | hidden,
            },
        };
        (negative, kind)
    }

    fn invalid(&mut self, format: Format) -> u64 {
        self.raised |= MXCSR_IE;
        format.default_nan()
    }

    /// Raises the denormal-operand exception if one of the operands is denormal (and those don't count as zeros).
    fn note_denormals(&mut self, format: Format, operands: &[u64]) {
        if !self.daz() && operands.iter().any(|&bits| format.is_denormal(bits)) {
            self.raised |= MXCSR_DE;
        }
    }

    /// The result if an operand is a NaN: the first one that is, made quiet.
    fn nan(&mut self, format: Format, operands: &[u64]) -> Option<u64> {
        let first = operands.iter().find(|&&bits| format.is_nan(bits))?;
        if operands.iter().any(|&bits| format.is_signalling(bits)) {
            self.raised |= MXCSR_IE;
        }
        Some(first | format.quiet())
    }

    /// `significand` without its low `drop` bits, rounded; and whether that lost anything.
    fn shift_round(
        rounding: Rounding,
        negative: bool,
        significand: u128,
        drop: i32,
    ) -> (u128, bool) {
        if drop <= 0 {
            return (significand << -drop, false);
        }
        let drop = drop as u32;
        let (kept, lost, half) = match drop {
            1..=127 => (
                significand >> drop,
                significand & ((1 << drop) - 1),
                1 << (drop - 1),
            ),
            // Less than a quarter of the last place: only that it is not zero matters.
            _ => (0, u128::from(significand != 0), 2),
        };
        let up = match rounding {
            Rounding::Nearest => lost > half || lost == half && kept & 1 != 0,
            Rounding::Down => negative && lost != 0,
            Rounding::Up => !negative && lost != 0,
            Rounding::Zero => false,
        };
        (kept + u128::from(up), lost != 0)
    }

    /// The encoding of `significand * 2^exponent`, rounded. Bit 0 of the significand may stand for lost bits if at least two bits are dropped.
    fn round(&mut self, format: Format, negative: bool, exponent: i32, significand: u128) -> u64 {
        let sign = if negative { format.sign() } else { 0 };
        if significand == 0 {
            return sign;
        }
        let precision = format.precision as i32;
        let length = 128 - significand.leading_zeros() as i32;
        let drop = length - precision;
        let (rounded, inexact) = Self::shift_round(self.rounding, negative, significand, drop);
        let carried = rounded >> format.precision != 0;
        // The exponent of the leading bit, with an unbounded range.
        let leading = exponent + length - 1 + i32::from(carried);
        let least = 1 - format.bias;
        if leading < least {
            if self.unmasked(MXCSR_UE) {
                // The result is not delivered.
                self.raised |= MXCSR_UE | if inexact { MXCSR_PE } else { 0 };
                return sign;
            }
            if self.mxcsr & MXCSR_FTZ != 0 {
                self.raised |= MXCSR_UE | MXCSR_PE;
                return sign;
            }
        }
        if exponent + length - 1 < least {
            let drop = least - (precision - 1) - exponent;
            let (rounded, inexact) = Self::shift_round(self.rounding, negative, significand, drop);
            if inexact {
                self.raised |= MXCSR_PE | if leading < least { MXCSR_UE } else { 0 };
            }
            // A carry into the hidden bit makes it the smallest normal number, encoding included.
            return sign | rounded as u64;
        }
        if leading > format.bias {
            if self.unmasked(MXCSR_OE) {
                self.raised |= MXCSR_OE | if inexact { MXCSR_PE } else { 0 };
                return sign;
            }
            self.raised |= MXCSR_OE | MXCSR_PE;
            let to_infinity = match self.rounding {
                Rounding::Nearest => true,
                Rounding::Down => negative,
                Rounding::Up => !negative,
                Rounding::Zero => false,
            };
            return sign
                | if to_infinity {
                    format.infinity()
                } else {
                    format.infinity() - 1
                };
        }
        if inexact {
            self.raised |= MXCSR_PE;
        }
        let field = (exponent + length - 1 + format.bias) as u64;
        // Adding instead of or-ing lets a carry go into the exponent.
        sign | ((field << (format.precision - 1)) + (rounded as u64 - format.fraction() - 1))
    }
}
