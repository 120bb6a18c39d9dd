//! Addition, subtraction, logic: everything with two operands that sets all status flags from the result.

use crate::flags::{Flags, add_carries, sub_carries};
use crate::op::{Next, Op};
use crate::vm::{Vm, with_load, with_store};
use crate::width::Width;

/// What an instruction computes from two operands.
pub(crate) trait Alu {
    /// Whether the first operand gets the result (all but CMP and TEST).
    const WRITES: bool = true;

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
    #[inline(always)]
    fn compute<W: Width>(a: u64, b: u64, flags: Flags) -> (W, Flags) {
        sum(a, b, a.wrapping_add(b).wrapping_add(u64::from(flags.cf())))
    }
}

impl Alu for Sub {
    #[inline(always)]
    fn compute<W: Width>(a: u64, b: u64, _: Flags) -> (W, Flags) {
        difference(a, b, a.wrapping_sub(b))
    }
}

impl Alu for Sbb {
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

/// Register and register.
pub(crate) fn rr<A: Alu, W: Width>(vm: &mut Vm, op: &Op) -> Next {
    let (a, b) = (W::get(&vm.regs, op.dst).zx(), W::get(&vm.regs, op.src).zx());
    let (result, flags) = A::compute::<W>(a, b, vm.flags);
    if A::WRITES {
        W::set(&mut vm.regs, op.dst, result);
    }
    vm.flags = flags;
    op.then(vm)
}

/// Register and immediate (already cut to the width).
pub(crate) fn ri<A: Alu, W: Width>(vm: &mut Vm, op: &Op) -> Next {
    let a = W::get(&vm.regs, op.dst).zx();
    let (result, flags) = A::compute::<W>(a, op.imm, vm.flags);
    if A::WRITES {
        W::set(&mut vm.regs, op.dst, result);
    }
    vm.flags = flags;
    op.then(vm)
}

/// Register and memory.
pub(crate) fn rm<A: Alu, W: Width>(vm: &mut Vm, op: &Op) -> Next {
    let va = vm.address(op);
    with_load::<W, false>(vm, op, va, |vm, op, b| {
        let (result, flags) = A::compute::<W>(W::get(&vm.regs, op.dst).zx(), b.zx(), vm.flags);
        if A::WRITES {
            W::set(&mut vm.regs, op.dst, result);
        }
        vm.flags = flags;
        op.then(vm)
    })
}

/// Memory and a value.
#[inline(always)]
fn mem<A: Alu, W: Width>(vm: &mut Vm, op: &Op, b: u64) -> Next {
    let va = vm.address(op);
    with_load::<W, false>(vm, op, va, move |vm, op, a| {
        let (result, flags) = A::compute::<W>(a.zx(), b, vm.flags);
        if A::WRITES {
            let va = vm.address(op);
            return with_store::<W, false>(vm, op, va, result, move |vm| vm.flags = flags);
        }
        vm.flags = flags;
        op.then(vm)
    })
}

/// Memory and register.
pub(crate) fn mr<A: Alu, W: Width>(vm: &mut Vm, op: &Op) -> Next {
    let b = W::get(&vm.regs, op.src).zx();
    mem::<A, W>(vm, op, b)
}

/// Memory and immediate.
pub(crate) fn mi<A: Alu, W: Width>(vm: &mut Vm, op: &Op) -> Next {
    mem::<A, W>(vm, op, op.imm)
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

/// One register.
pub(crate) fn unary_r<U: Unary, W: Width>(vm: &mut Vm, op: &Op) -> Next {
    let (result, flags) = U::compute::<W>(W::get(&vm.regs, op.dst).zx(), vm.flags);
    W::set(&mut vm.regs, op.dst, result);
    vm.flags = flags;
    op.then(vm)
}

/// One memory operand.
pub(crate) fn unary_m<U: Unary, W: Width>(vm: &mut Vm, op: &Op) -> Next {
    let va = vm.address(op);
    with_load::<W, false>(vm, op, va, |vm, op, a| {
        let (result, flags) = U::compute::<W>(a.zx(), vm.flags);
        let va = vm.address(op);
        with_store::<W, false>(vm, op, va, result, move |vm| vm.flags = flags)
    })
}
