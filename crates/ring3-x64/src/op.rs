//! One pre-decoded operation.

use crate::vm::Vm;
use crate::width::Slot;

/// Executes an op and says which comes next.
///
/// The number is what the op before has put into a register, as far as the translator knows that this op wants it (the
/// `FROM` of a handler): it then comes in a register of the host and not through memory, which takes a host some cycles
/// more. An op that has no such value hands on the one it got.
pub(crate) type Handler = for<'a, 'b> fn(&'a mut Vm<'b>, &Op, u64) -> Next;

/// The op to execute next; null to leave the loop, for the reason in [`Vm::stop`].
pub(crate) type Next = *const Op;

/// `FROM` of a handler: all operands come from the registers' slots.
pub(crate) const SLOTS: u8 = 0;
/// `FROM` of a handler: the first (or only) operand is the value handed on.
pub(crate) const FIRST: u8 = 1;
/// `FROM` of a handler: the second operand is the value handed on.
pub(crate) const SECOND: u8 = 2;
/// `FROM` of a handler: both are.
pub(crate) const BOTH: u8 = 3;
/// Added to the `FROM` of a handler: its memory operand has no index.
pub(crate) const FLAT: u8 = 4;

/// Bit of [`Op::marks`]: the memory operand is relative to SS.
pub(crate) const STACK: u8 = 1;

/// What an instruction became. Most are one op; an unusual address or a recording puts others before it, with
/// the same `offset`, `length` and `left`.
#[derive(Clone, Copy)]
pub(crate) struct Op {
    /// The routine for this operation, width and kind of operands.
    pub handler: Handler,
    /// Immediate operand, or an index into a table of the block.
    pub imm: u64,
    /// Displacement of the memory operand, with RIP already added.
    pub disp: u64,
    /// First register.
    pub dst: Slot,
    /// Second register.
    pub src: Slot,
    /// Slot of the base register; where there is no memory operand, of the first operand of arithmetic.
    pub base: Slot,
    /// Slot of the index register.
    pub index: Slot,
    /// The index is shifted left by this.
    pub scale: u8,
    /// Length of the instruction in bytes.
    pub length: u8,
    /// Distance from the start of the block in bytes.
    pub offset: u16,
    /// Instructions from this one to the end of the block, itself included.
    pub left: u16,
    /// [`STACK`].
    pub marks: u8,
    /// Small additional operand.
    pub extra: u8,
}

impl Op {
    /// Executes the op behind this one. Must not be asked of the last op of a block.
    ///
    /// As the last thing a handler does this becomes a jump when optimised, so common ops go from one to the next
    /// without the loop in [`Vm::execute`]. Where it stays a call the stack does not grow without bound either: a block
    /// has few ops, and its last one always goes back to the loop.
    #[inline(always)]
    pub fn then(&self, vm: &mut Vm, held: u64) -> Next {
        // SAFETY: the op behind this one exists, because the last op of a block does not come here (see above); it lives
        // as long as this one, in the same block.
        let op = unsafe { &*self.next() };
        (op.handler)(vm, op, held)
    }

    /// The op behind this one. Must not be asked of the last op of a block.
    #[inline(always)]
    pub fn next(&self) -> Next {
        (self as *const Op).wrapping_add(1)
    }
}
