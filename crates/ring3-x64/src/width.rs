//! Operand widths, and the register file as the interpreter keeps it.

use ring3_memory::Scalar;

/// Slot that always holds 0: the base or index of an address without one.
pub(crate) const ZERO: u8 = 16;
/// Slot with the base of GS.
pub(crate) const GS_BASE: u8 = 17;
/// Slot with the base of FS.
pub(crate) const FS_BASE: u8 = 18;
/// Slot for an address that one op prepares for the next.
pub(crate) const ADDRESS: u8 = 19;
/// Added to the slot of RAX..RBX for AH..BH.
pub(crate) const HIGH: u8 = 0x20;

/// General registers in encoding order, then the slots above. A power of two, so that a masked number needs no
/// bounds check.
pub(crate) type Registers = [u64; 32];

/// Reads a whole slot.
#[inline(always)]
pub(crate) fn slot(regs: &Registers, number: u8) -> u64 {
    regs[usize::from(number & 31)]
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
    fn get(regs: &Registers, number: u8) -> Self;

    /// Writes a register: 32 bits clear the upper half, fewer leave the rest alone.
    fn set(regs: &mut Registers, number: u8, value: Self);
}

/// An operand in register `number`, or the value handed on if `FROM` has the bit `WHICH`; see [`crate::op::Handler`].
#[inline(always)]
pub(crate) fn operand<W: Width, const FROM: u8, const WHICH: u8>(
    regs: &Registers,
    number: u8,
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
pub(crate) fn put<W: Width>(regs: &mut Registers, number: u8, value: W, held: u64) -> u64 {
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
    fn get(regs: &Registers, number: u8) -> Self {
        (slot(regs, number) >> ((number & HIGH) >> 2)) as u8
    }

    #[inline(always)]
    fn set(regs: &mut Registers, number: u8, value: Self) {
        let shift = (number & HIGH) >> 2;
        let place = &mut regs[usize::from(number & 31)];
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
    fn get(regs: &Registers, number: u8) -> Self {
        slot(regs, number) as u16
    }

    #[inline(always)]
    fn set(regs: &mut Registers, number: u8, value: Self) {
        let place = &mut regs[usize::from(number & 31)];
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
    fn get(regs: &Registers, number: u8) -> Self {
        slot(regs, number) as u32
    }

    #[inline(always)]
    fn set(regs: &mut Registers, number: u8, value: Self) {
        regs[usize::from(number & 31)] = u64::from(value);
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
    fn get(regs: &Registers, number: u8) -> Self {
        slot(regs, number)
    }

    #[inline(always)]
    fn set(regs: &mut Registers, number: u8, value: Self) {
        regs[usize::from(number & 31)] = value;
    }
}
