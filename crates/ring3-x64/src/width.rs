//! Operand widths, and the register file as the interpreter keeps it.

use ring3_memory::Scalar;

/// The number of a slot. A type of its own, because the compiler then knows that it is below 24 wherever it is read,
/// and no access needs a mask or a bounds check.
#[rustfmt::skip]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Slot {
    S0, S1, S2, S3, S4, S5, S6, S7, S8, S9, S10, S11, S12, S13, S14, S15,
    S16, S17, S18, S19, S20, S21, S22, S23,
}

#[rustfmt::skip]
const ALL: [Slot; 24] = {
    use Slot::*;
    [
        S0, S1, S2, S3, S4, S5, S6, S7, S8, S9, S10, S11, S12, S13, S14, S15,
        S16, S17, S18, S19, S20, S21, S22, S23,
    ]
};

/// A number that no slot has gives the one that holds 0.
impl From<u8> for Slot {
    #[inline(always)]
    fn from(number: u8) -> Self {
        ALL.get(usize::from(number)).copied().unwrap_or(Slot::S20)
    }
}

impl From<Slot> for u8 {
    #[inline(always)]
    fn from(slot: Slot) -> Self {
        slot as u8
    }
}

/// Slot that always holds 0: the base or index of an address without one.
pub(crate) const ZERO: u8 = 20;
/// Slot with the base of GS.
pub(crate) const GS_BASE: u8 = 21;
/// Slot with the base of FS.
pub(crate) const FS_BASE: u8 = 22;
/// Slot for an address that one op prepares for the next.
pub(crate) const ADDRESS: u8 = 23;
/// Added to the slot of RAX..RBX for AH..BH. So 16 to 19 are no slots that anything else uses.
pub(crate) const HIGH: u8 = 0x10;

/// General registers in encoding order, then the slots above: one for each [`Slot`].
pub(crate) type Registers = [u64; 24];

/// Reads a whole slot.
#[inline(always)]
pub(crate) fn slot(regs: &Registers, number: Slot) -> u64 {
    regs[number as usize]
}

/// A general operand of 8, 16, 32 or 64 bits.
pub(crate) trait Width: Scalar {
    /// Number of bits.
    const BITS: u32;

    /// The low bits of `value`.
    fn of(value: u64) -> Self;

    /// Zero-extended.
    fn zx(self) -> u64;

    /// Sign-extended.
    fn sx(self) -> u64;

    /// Reads a register.
    fn get(regs: &Registers, number: Slot) -> Self;

    /// Writes a register: 32 bits clear the upper half, fewer leave the rest alone.
    fn set(regs: &mut Registers, number: Slot, value: Self);
}

/// An operand in register `number`, or the value handed on if `FROM` has the bit `WHICH`; see [`crate::op::Handler`].
#[inline(always)]
pub(crate) fn operand<W: Width, const FROM: u8, const WHICH: u8>(
    regs: &Registers,
    number: Slot,
    held: u64,
) -> W {
    if FROM & WHICH != 0 {
        W::of(held)
    } else {
        W::get(regs, number)
    }
}

/// Writes a register and gives the value to hand on: that of the whole register where the width decides it.
#[inline(always)]
pub(crate) fn put<W: Width>(regs: &mut Registers, number: Slot, value: W, held: u64) -> u64 {
    W::set(regs, number, value);
    if W::BITS >= 32 { value.zx() } else { held }
}

impl Width for u8 {
    const BITS: u32 = 8;

    #[inline(always)]
    fn of(value: u64) -> Self {
        value as u8
    }

    #[inline(always)]
    fn zx(self) -> u64 {
        u64::from(self)
    }

    #[inline(always)]
    fn sx(self) -> u64 {
        self as i8 as u64
    }

    #[inline(always)]
    fn get(regs: &Registers, number: Slot) -> Self {
        let number = number as u8;
        (regs[usize::from(number % HIGH)] >> ((number & HIGH) >> 1)) as u8
    }

    #[inline(always)]
    fn set(regs: &mut Registers, number: Slot, value: Self) {
        let number = number as u8;
        let shift = (number & HIGH) >> 1;
        let place = &mut regs[usize::from(number % HIGH)];
        *place = *place & !(0xff << shift) | u64::from(value) << shift;
    }
}

impl Width for u16 {
    const BITS: u32 = 16;

    #[inline(always)]
    fn of(value: u64) -> Self {
        value as u16
    }

    #[inline(always)]
    fn zx(self) -> u64 {
        u64::from(self)
    }

    #[inline(always)]
    fn sx(self) -> u64 {
        self as i16 as u64
    }

    #[inline(always)]
    fn get(regs: &Registers, number: Slot) -> Self {
        slot(regs, number) as u16
    }

    #[inline(always)]
    fn set(regs: &mut Registers, number: Slot, value: Self) {
        let place = &mut regs[number as usize];
        *place = *place & !0xffff | u64::from(value);
    }
}

impl Width for u32 {
    const BITS: u32 = 32;

    #[inline(always)]
    fn of(value: u64) -> Self {
        value as u32
    }

    #[inline(always)]
    fn zx(self) -> u64 {
        u64::from(self)
    }

    #[inline(always)]
    fn sx(self) -> u64 {
        self as i32 as u64
    }

    #[inline(always)]
    fn get(regs: &Registers, number: Slot) -> Self {
        slot(regs, number) as u32
    }

    #[inline(always)]
    fn set(regs: &mut Registers, number: Slot, value: Self) {
        regs[number as usize] = u64::from(value);
    }
}

impl Width for u64 {
    const BITS: u32 = 64;

    #[inline(always)]
    fn of(value: u64) -> Self {
        value
    }

    #[inline(always)]
    fn zx(self) -> u64 {
        self
    }

    #[inline(always)]
    fn sx(self) -> u64 {
        self
    }

    #[inline(always)]
    fn get(regs: &Registers, number: Slot) -> Self {
        slot(regs, number)
    }

    #[inline(always)]
    fn set(regs: &mut Registers, number: Slot, value: Self) {
        regs[number as usize] = value;
    }
}
