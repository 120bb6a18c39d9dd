//! The six status flags, kept as the last result and the carries that led to it.
//!
//! Writing them costs a handful of operations and no decision; each flag is computed when it is read:
//! - ZF: the result is 0. SF: its sign, flipped by [`SIGN_FLIP`]. PF: the parity of its low byte, flipped by
//!   [`PARITY_FLIP`]. The two flips are only set for flags that no result has (`popfq` with ZF and SF both set).
//! - CF: bit 63 of the carries. OF: bit 63 differs from bit 62. AF: bit 3.
//!
//! With the carry (or borrow) out of each bit position in a vector, shifted so that the operand's top bit
//! lies in bit 63, this is what addition and subtraction give by themselves.

use crate::cpu::rflags;
use crate::width::Width;

const CARRY: u64 = 1 << 63;
const BELOW: u64 = 1 << 62;
const ADJUST: u64 = 1 << 3;
const SIGN_FLIP: u64 = 1 << 16;
const PARITY_FLIP: u64 = 1 << 17;

/// See the module's page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flags {
    /// The last result, sign-extended.
    pub result: u64,
    /// Carries and flips.
    pub carries: u64,
}

/// The carries of `a + b (+ carry) == sum`.
#[inline(always)]
pub(crate) fn add_carries<W: Width>(a: u64, b: u64, sum: u64) -> u64 {
    place::<W>((a & b) | ((a | b) & !sum))
}

/// The borrows of `a - b (- borrow) == difference`.
#[inline(always)]
pub(crate) fn sub_carries<W: Width>(a: u64, b: u64, difference: u64) -> u64 {
    place::<W>((!a & b) | ((!a | b) & difference))
}

#[inline(always)]
fn place<W: Width>(vector: u64) -> u64 {
    (vector << (64 - W::BITS)) & (CARRY | BELOW) | vector & ADJUST
}

impl Flags {
    /// From the status bits of RFLAGS.
    pub fn new(bits: u64) -> Self {
        let (carry, overflow) = (bits & rflags::CF != 0, bits & rflags::OF != 0);
        let mut carries = u64::from(carry) << 63 | u64::from(carry ^ overflow) << 62;
        if bits & rflags::AF != 0 {
            carries |= ADJUST;
        }
        if bits & rflags::SF != 0 {
            carries |= SIGN_FLIP;
        }
        // Both results have an even low byte.
        if bits & rflags::PF == 0 {
            carries |= PARITY_FLIP;
        }
        Self {
            result: if bits & rflags::ZF != 0 { 0 } else { 0x100 },
            carries,
        }
    }

    /// The status bits of RFLAGS.
    pub fn bits(self) -> u64 {
        let mut bits = 0;
        for (set, bit) in [
            (self.cf(), rflags::CF),
            (self.pf(), rflags::PF),
            (self.carries & ADJUST != 0, rflags::AF),
            (self.zf(), rflags::ZF),
            (self.sf(), rflags::SF),
            (self.of(), rflags::OF),
        ] {
            if set {
                bits |= bit;
            }
        }
        bits
    }

    #[inline(always)]
    pub fn cf(self) -> bool {
        (self.carries as i64) < 0
    }

    #[inline(always)]
    pub fn zf(self) -> bool {
        self.result == 0
    }

    #[inline(always)]
    pub fn sf(self) -> bool {
        ((self.result ^ (self.carries << 47)) as i64) < 0
    }

    #[inline(always)]
    pub fn of(self) -> bool {
        ((self.carries ^ (self.carries << 1)) as i64) < 0
    }

    #[inline(always)]
    pub fn pf(self) -> bool {
        ((self.result as u8).count_ones() & 1 == 0) ^ (self.carries & PARITY_FLIP != 0)
    }

    /// Those of a logic operation: CF, OF and AF clear.
    #[inline(always)]
    pub fn logic(result: u64) -> Self {
        Self { result, carries: 0 }
    }

    /// Those of a result with given CF and OF; AF is clear.
    #[inline(always)]
    pub fn with(result: u64, cf: bool, of: bool) -> Self {
        Self {
            result,
            carries: carry_bits(cf, of),
        }
    }

    /// Replaces CF and OF only.
    #[inline(always)]
    pub fn set_cf_of(&mut self, cf: bool, of: bool) {
        self.carries = self.carries & !(CARRY | BELOW) | carry_bits(cf, of);
    }

    /// Replaces CF only.
    #[inline(always)]
    pub fn set_cf(&mut self, cf: bool) {
        self.set_cf_of(cf, self.of());
    }

    /// INC and DEC: everything from `carries` but CF.
    #[inline(always)]
    pub fn keep_cf(&mut self, result: u64, carries: u64) {
        let flip = (self.carries ^ carries) & CARRY;
        // Flipping both bits changes CF and leaves OF.
        *self = Self {
            result,
            carries: carries ^ flip ^ (flip >> 1),
        };
    }

    /// Replaces ZF and CF, clears the others.
    pub fn set_zf_cf(&mut self, zf: bool, cf: bool) {
        let mut bits = 0;
        if zf {
            bits |= rflags::ZF;
        }
        if cf {
            bits |= rflags::CF;
        }
        *self = Self::new(bits);
    }

    /// Replaces ZF only.
    pub fn set_zf(&mut self, zf: bool) {
        let bits = self.bits() & !rflags::ZF;
        *self = Self::new(if zf { bits | rflags::ZF } else { bits });
    }

    /// Whether condition code `CC` (the low four bits of the opcode) holds.
    #[inline(always)]
    pub fn holds<const CC: u8>(self) -> bool {
        let base = match CC >> 1 {
            0 => self.of(),
            1 => self.cf(),
            2 => self.zf(),
            3 => self.cf() || self.zf(),
            4 => self.sf(),
            5 => self.pf(),
            6 => self.sf() != self.of(),
            _ => self.zf() || self.sf() != self.of(),
        };
        base ^ (CC & 1 != 0)
    }
}

#[inline(always)]
fn carry_bits(cf: bool, of: bool) -> u64 {
    u64::from(cf) << 63 | u64::from(cf ^ of) << 62
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_combinations_survive() {
        for mask in 0..64u64 {
            let bits = [
                rflags::CF,
                rflags::PF,
                rflags::AF,
                rflags::ZF,
                rflags::SF,
                rflags::OF,
            ]
            .iter()
            .enumerate()
            .filter(|(number, _)| mask >> number & 1 != 0)
            .fold(0, |bits, (_, bit)| bits | bit);
            assert_eq!(Flags::new(bits).bits(), bits);
            let mut flags = Flags::new(bits);
            flags.set_cf(bits & rflags::CF == 0);
            assert_eq!(flags.bits(), bits ^ rflags::CF);
            let mut flags = Flags::new(bits);
            flags.set_zf(bits & rflags::ZF == 0);
            assert_eq!(flags.bits(), bits ^ rflags::ZF);
        }
    }

    #[test]
    fn subtraction_of_bytes() {
        // 0x80 - 1 = 0x7f: overflow, no carry, borrow from bit 4.
        let flags = Flags {
            result: 0x7f,
            carries: sub_carries::<u8>(0x80, 1, 0x7f),
        };
        assert_eq!(flags.bits(), rflags::OF | rflags::AF);
        let difference = 0u64.wrapping_sub(1);
        let flags = Flags {
            result: u64::MAX,
            carries: sub_carries::<u8>(0, 1, difference),
        };
        assert_eq!(
            flags.bits(),
            rflags::CF | rflags::AF | rflags::SF | rflags::PF
        );
    }
}
