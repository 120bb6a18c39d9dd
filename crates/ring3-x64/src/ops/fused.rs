//! CMP or TEST and the conditional jump behind it, as one op that counts as two instructions. The condition comes
//! straight from the operands; the flags are set all the same.

use crate::op::{BOTH, FIRST, FLAT, Handler, Next, Op, SECOND, SLOTS};
use crate::ops::alu::{Alu, Cmp, Test};
use crate::vm::{Vm, with_load};
use crate::width::{Width, operand};

const FIRST_FLAT: u8 = FIRST | FLAT;
const SECOND_FLAT: u8 = SECOND | FLAT;

/// Where the operands are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operands {
    /// Register, register.
    Rr,
    /// Register, immediate.
    Ri,
    /// Register, memory.
    Rm,
    /// Memory, register.
    Mr,
    /// Memory, immediate.
    Mi,
}

/// CMP or TEST, as far as a jump sees it.
trait Compare: Alu {
    /// Whether condition code `CC` holds.
    fn holds<W: Width, const CC: u8>(a: W, b: W) -> bool;
}

impl Compare for Cmp {
    #[inline(always)]
    fn holds<W: Width, const CC: u8>(a: W, b: W) -> bool {
        let (sa, sb) = (a.sx() as i64, b.sx() as i64);
        let base = match CC >> 1 {
            1 => a.zx() < b.zx(),
            2 => a.zx() == b.zx(),
            3 => a.zx() <= b.zx(),
            4 => (W::of(a.zx().wrapping_sub(b.zx())).sx() as i64) < 0,
            6 => sa < sb,
            _ => sa <= sb,
        };
        base ^ (CC & 1 != 0)
    }
}

impl Compare for Test {
    #[inline(always)]
    fn holds<W: Width, const CC: u8>(a: W, b: W) -> bool {
        let result = W::of(a.zx() & b.zx()).sx() as i64;
        let base = match CC >> 1 {
            2 => result == 0,
            4 | 6 => result < 0,
            _ => result <= 0,
        };
        base ^ (CC & 1 != 0)
    }
}

#[inline(always)]
fn finish<C: Compare, W: Width, const CC: u8>(vm: &mut Vm, a: W, b: W) -> Next {
    vm.flags = C::compute::<W>(a.zx(), b.zx(), vm.flags).1;
    if C::holds::<W, CC>(a, b) {
        vm.follow::<1>()
    } else {
        vm.follow::<0>()
    }
}

fn rr<C: Compare, W: Width, const CC: u8, const FROM: u8>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let a = operand::<W, FROM, FIRST>(&vm.regs, op.dst, held);
    let b = operand::<W, FROM, SECOND>(&vm.regs, op.src, held);
    finish::<C, W, CC>(vm, a, b)
}

fn ri<C: Compare, W: Width, const CC: u8, const FROM: u8>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let a = operand::<W, FROM, FIRST>(&vm.regs, op.dst, held);
    finish::<C, W, CC>(vm, a, W::of(op.imm))
}

fn rm<C: Compare, W: Width, const CC: u8, const FROM: u8>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let va = vm.address_from::<FROM, 0>(op, held);
    with_load::<W, false>(vm, op, va, held, |vm, op, b, held| {
        let a = operand::<W, FROM, FIRST>(&vm.regs, op.dst, held);
        finish::<C, W, CC>(vm, a, b)
    })
}

fn mr<C: Compare, W: Width, const CC: u8, const FROM: u8>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let va = vm.address_from::<FROM, 0>(op, held);
    with_load::<W, false>(vm, op, va, held, |vm, op, a, held| {
        let b = operand::<W, FROM, SECOND>(&vm.regs, op.src, held);
        finish::<C, W, CC>(vm, a, b)
    })
}

fn mi<C: Compare, W: Width, const CC: u8, const FROM: u8>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let va = vm.address_from::<FROM, 0>(op, held);
    with_load::<W, false>(vm, op, va, held, |vm, op, a, _| {
        finish::<C, W, CC>(vm, a, W::of(op.imm))
    })
}

fn by_operands<C: Compare, W: Width, const CC: u8>(operands: Operands, from: u8) -> Handler {
    match (operands, from) {
        (Operands::Rr, FIRST) => rr::<C, W, CC, FIRST>,
        (Operands::Rr, SECOND) => rr::<C, W, CC, SECOND>,
        (Operands::Rr, BOTH) => rr::<C, W, CC, BOTH>,
        (Operands::Rr, _) => rr::<C, W, CC, SLOTS>,
        (Operands::Ri, FIRST | BOTH) => ri::<C, W, CC, FIRST>,
        (Operands::Ri, _) => ri::<C, W, CC, SLOTS>,
        (Operands::Rm, FIRST) => rm::<C, W, CC, FIRST>,
        (Operands::Rm, FLAT) => rm::<C, W, CC, FLAT>,
        (Operands::Rm, FIRST_FLAT) => rm::<C, W, CC, FIRST_FLAT>,
        (Operands::Rm, _) => rm::<C, W, CC, SLOTS>,
        (Operands::Mr, SECOND) => mr::<C, W, CC, SECOND>,
        (Operands::Mr, FLAT) => mr::<C, W, CC, FLAT>,
        (Operands::Mr, SECOND_FLAT) => mr::<C, W, CC, SECOND_FLAT>,
        (Operands::Mr, _) => mr::<C, W, CC, SLOTS>,
        (Operands::Mi, FLAT) => mi::<C, W, CC, FLAT>,
        (Operands::Mi, _) => mi::<C, W, CC, SLOTS>,
    }
}

fn by_size<C: Compare, const CC: u8>(operands: Operands, size: usize, from: u8) -> Option<Handler> {
    match size {
        1 => Some(by_operands::<C, u8, CC>(operands, from)),
        4 => Some(by_operands::<C, u32, CC>(operands, from)),
        8 => Some(by_operands::<C, u64, CC>(operands, from)),
        _ => None,
    }
}

/// The handler for CMP and a jump with condition code `cc`, if there is one.
pub(crate) fn cmp(operands: Operands, size: usize, cc: u8, from: u8) -> Option<Handler> {
    match cc {
        2 => by_size::<Cmp, 2>(operands, size, from),
        3 => by_size::<Cmp, 3>(operands, size, from),
        4 => by_size::<Cmp, 4>(operands, size, from),
        5 => by_size::<Cmp, 5>(operands, size, from),
        6 => by_size::<Cmp, 6>(operands, size, from),
        7 => by_size::<Cmp, 7>(operands, size, from),
        8 => by_size::<Cmp, 8>(operands, size, from),
        9 => by_size::<Cmp, 9>(operands, size, from),
        12 => by_size::<Cmp, 12>(operands, size, from),
        13 => by_size::<Cmp, 13>(operands, size, from),
        14 => by_size::<Cmp, 14>(operands, size, from),
        15 => by_size::<Cmp, 15>(operands, size, from),
        _ => None,
    }
}

/// The handler for TEST and a jump with condition code `cc`, if there is one.
pub(crate) fn test(operands: Operands, size: usize, cc: u8, from: u8) -> Option<Handler> {
    match cc {
        4 => by_size::<Test, 4>(operands, size, from),
        5 => by_size::<Test, 5>(operands, size, from),
        // Without overflow "less" is "negative".
        8 | 12 => by_size::<Test, 8>(operands, size, from),
        9 | 13 => by_size::<Test, 9>(operands, size, from),
        14 => by_size::<Test, 14>(operands, size, from),
        15 => by_size::<Test, 15>(operands, size, from),
        _ => None,
    }
}
