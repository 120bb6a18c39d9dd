//! Addition, subtraction, logic: everything with two operands that sets all status flags from the result.

use crate::flags::{Flags, add_carries, sub_carries};
use crate::op::{FIRST, Next, Op, SECOND};
use crate::vm::{Vm, with_load, with_store};
use crate::width::{Width, operand, put};

/// What an instruction computes from two operands.
pub(crate) trait Alu {
    /// Whether the first operand gets the result (all but CMP and TEST).
    const WRITES: bool = true;

    /// Whether the carry flag is an operand.
    const READS: bool = false;

    /// Whether the result is 0 if the operands are the same register.
    const CLEARS: bool = false;

    /// The result, of which the low bits count, and the flags.
    fn compute<W: Width>(a: u64, b: u64, flags: Flags) -> (W, Flags);
}

/// ADD.
pub(crate) struct Add;
/// ADC.
pub(crate) struct Adc;
/// SUB.
pub(crate) struct Sub;
/// SBB.
pub(crate) struct Sbb;
/// CMP.
pub(crate) struct Cmp;
/// AND.
pub(crate) struct And;
/// OR.
pub(crate) struct Or;
/// XOR.
pub(crate) struct Xor;
/// TEST.
pub(crate) struct Test;

#[inline(always)]
fn sum<W: Width>(a: u64, b: u64, sum: u64) -> (W, Flags) {
    let result = W::of(sum);
    (
        result,
        Flags {
            result: result.sx(),
            carries: add_carries::<W>(a, b, sum),
        },
    )
}

#[inline(always)]
fn difference<W: Width>(a: u64, b: u64, difference: u64) -> (W, Flags) {
    let result = W::of(difference);
    (
        result,
        Flags {
            result: result.sx(),
            carries: sub_carries::<W>(a, b, difference),
        },
    )
}

#[inline(always)]
fn logic<W: Width>(value: u64) -> (W, Flags) {
    let result = W::of(value);
    (result, Flags::logic(result.sx()))
}

impl Alu for Add {
    #[inline(always)]
    fn compute<W: Width>(a: u64, b: u64, _: Flags) -> (W, Flags) {
        sum(a, b, a.wrapping_add(b))
    }
}

impl Alu for Adc {
    const READS: bool = true;

    #[inline(always)]
    fn compute<W: Width>(a: u64, b: u64, flags: Flags) -> (W, Flags) {
        sum(a, b, a.wrapping_add(b).wrapping_add(u64::from(flags.cf())))
    }
}

impl Alu for Sub {
    const CLEARS: bool = true;

    #[inline(always)]
    fn compute<W: Width>(a: u64, b: u64, _: Flags) -> (W, Flags) {
        difference(a, b, a.wrapping_sub(b))
    }
}

impl Alu for Sbb {
    const READS: bool = true;

    #[inline(always)]
    fn compute<W: Width>(a: u64, b: u64, flags: Flags) -> (W, Flags) {
        difference(a, b, a.wrapping_sub(b).wrapping_sub(u64::from(flags.cf())))
    }
}

impl Alu for Cmp {
    const WRITES: bool = false;

    #[inline(always)]
    fn compute<W: Width>(a: u64, b: u64, _: Flags) -> (W, Flags) {
        difference(a, b, a.wrapping_sub(b))
    }
}

impl Alu for And {
    #[inline(always)]
    fn compute<W: Width>(a: u64, b: u64, _: Flags) -> (W, Flags) {
        logic(a & b)
    }
}

impl Alu for Or {
    #[inline(always)]
    fn compute<W: Width>(a: u64, b: u64, _: Flags) -> (W, Flags) {
        logic(a | b)
    }
}

impl Alu for Xor {
    const CLEARS: bool = true;

    #[inline(always)]
    fn compute<W: Width>(a: u64, b: u64, _: Flags) -> (W, Flags) {
        logic(a ^ b)
    }
}

impl Alu for Test {
    const WRITES: bool = false;

    #[inline(always)]
    fn compute<W: Width>(a: u64, b: u64, _: Flags) -> (W, Flags) {
        logic(a & b)
    }
}

/// The end of an operation on a register.
#[inline(always)]
fn finish<A: Alu, W: Width, const FLAGS: bool>(
    vm: &mut Vm,
    op: &Op,
    a: u64,
    b: u64,
    mut held: u64,
) -> Next {
    let (result, flags) = A::compute::<W>(a, b, vm.flags);
    if A::WRITES {
        held = put(&mut vm.regs, op.dst, result, held);
    }
    if FLAGS {
        vm.flags = flags;
    }
    op.then(vm, held)
}

/// Registers: `dst` gets what comes of `base` and `src`. Without `FLAGS` the flags stay as they are, for an op
/// whose flags nobody sees.
pub(crate) fn rr<A: Alu, W: Width, const FROM: u8, const FLAGS: bool>(
    vm: &mut Vm,
    op: &Op,
    held: u64,
) -> Next {
    let a = operand::<W, FROM, FIRST>(&vm.regs, op.base, held).zx();
    let b = operand::<W, FROM, SECOND>(&vm.regs, op.src, held).zx();
    finish::<A, W, FLAGS>(vm, op, a, b, held)
}

/// Register `base` and an immediate (already cut to the width).
pub(crate) fn ri<A: Alu, W: Width, const FROM: u8, const FLAGS: bool>(
    vm: &mut Vm,
    op: &Op,
    held: u64,
) -> Next {
    let a = operand::<W, FROM, FIRST>(&vm.regs, op.base, held).zx();
    finish::<A, W, FLAGS>(vm, op, a, op.imm, held)
}

/// XOR and SUB of a register with itself.
pub(crate) fn zero<W: Width, const FLAGS: bool>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    W::set(&mut vm.regs, op.dst, W::of(0));
    if FLAGS {
        vm.flags = Flags::logic(0);
    }
    op.then(vm, held)
}

/// Register and memory.
pub(crate) fn rm<A: Alu, W: Width, const FROM: u8, const FLAGS: bool>(
    vm: &mut Vm,
    op: &Op,
    held: u64,
) -> Next {
    let va = vm.address_from::<FROM, 0>(op, held);
    with_load::<W, false>(vm, op, va, held, |vm, op, b, held| {
        let a = operand::<W, FROM, FIRST>(&vm.regs, op.dst, held).zx();
        finish::<A, W, FLAGS>(vm, op, a, b.zx(), held)
    })
}

/// Memory and a value.
#[inline(always)]
fn mem<A: Alu, W: Width, const FROM: u8>(vm: &mut Vm, op: &Op, b: u64, held: u64) -> Next {
    let va = vm.address_from::<FROM, 0>(op, held);
    with_load::<W, false>(vm, op, va, held, move |vm, op, a, held| {
        let (result, flags) = A::compute::<W>(a.zx(), b, vm.flags);
        if A::WRITES {
            let va = vm.address_from::<FROM, 0>(op, held);
            return with_store::<W, false>(vm, op, va, result, held, move |vm| vm.flags = flags);
        }
        vm.flags = flags;
        op.then(vm, held)
    })
}

/// Memory and register.
pub(crate) fn mr<A: Alu, W: Width, const FROM: u8>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let b = operand::<W, FROM, SECOND>(&vm.regs, op.src, held).zx();
    mem::<A, W, FROM>(vm, op, b, held)
}

/// Memory and immediate.
pub(crate) fn mi<A: Alu, W: Width, const FROM: u8>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    mem::<A, W, FROM>(vm, op, op.imm, held)
}

/// What an instruction computes from one operand.
pub(crate) trait Unary {
    /// The result and the flags.
    fn compute<W: Width>(a: u64, flags: Flags) -> (W, Flags);
}

/// INC.
pub(crate) struct Inc;
/// DEC.
pub(crate) struct Dec;
/// NEG.
pub(crate) struct Neg;
/// NOT, which leaves the flags alone.
pub(crate) struct Not;

impl Unary for Inc {
    #[inline(always)]
    fn compute<W: Width>(a: u64, mut flags: Flags) -> (W, Flags) {
        let (result, new) = sum::<W>(a, 1, a.wrapping_add(1));
        flags.keep_cf(new.result, new.carries);
        (result, flags)
    }
}

impl Unary for Dec {
    #[inline(always)]
    fn compute<W: Width>(a: u64, mut flags: Flags) -> (W, Flags) {
        let (result, new) = difference::<W>(a, 1, a.wrapping_sub(1));
        flags.keep_cf(new.result, new.carries);
        (result, flags)
    }
}

impl Unary for Neg {
    #[inline(always)]
    fn compute<W: Width>(a: u64, _: Flags) -> (W, Flags) {
        difference(0, a, a.wrapping_neg())
    }
}

impl Unary for Not {
    #[inline(always)]
    fn compute<W: Width>(a: u64, flags: Flags) -> (W, Flags) {
        (W::of(!a), flags)
    }
}

/// One register: `dst` gets what comes of `base`.
pub(crate) fn unary_r<U: Unary, W: Width, const FROM: u8, const FLAGS: bool>(
    vm: &mut Vm,
    op: &Op,
    held: u64,
) -> Next {
    let a = operand::<W, FROM, FIRST>(&vm.regs, op.base, held).zx();
    let (result, flags) = U::compute::<W>(a, vm.flags);
    let held = put(&mut vm.regs, op.dst, result, held);
    if FLAGS {
        vm.flags = flags;
    }
    op.then(vm, held)
}

/// One memory operand.
pub(crate) fn unary_m<U: Unary, W: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let va = vm.address(op);
    with_load::<W, false>(vm, op, va, held, |vm, op, a, held| {
        let (result, flags) = U::compute::<W>(a.zx(), vm.flags);
        let va = vm.address(op);
        with_store::<W, false>(vm, op, va, result, held, move |vm| vm.flags = flags)
    })
}
