//! PUSH and POP of registers and constants, and LEAVE.

use crate::cpu::{RBP, RSP};
use crate::op::{Next, Op};
use crate::vm::{Vm, with_load, with_store};
use crate::width::Width;

/// Pushes; the handler's last act.
#[inline(always)]
fn push<W: Width>(vm: &mut Vm, op: &Op, value: W, held: u64) -> Next {
    let rsp = vm.regs[RSP].wrapping_sub(W::SIZE as u64);
    with_store::<W, true>(vm, op, rsp, value, held, move |vm| vm.regs[RSP] = rsp)
}

/// PUSH register.
pub(crate) fn push_r<W: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let value = W::get(&vm.regs, op.src);
    push::<W>(vm, op, value, held)
}

/// PUSH immediate.
pub(crate) fn push_i<W: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    push::<W>(vm, op, W::of(op.imm), held)
}

/// PUSH memory.
pub(crate) fn push_m<W: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let va = vm.address(op);
    with_load::<W, false>(vm, op, va, held, push::<W>)
}

/// POP register.
pub(crate) fn pop_r<W: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let rsp = vm.regs[RSP];
    with_load::<W, true>(vm, op, rsp, held, |vm, op, value, held| {
        vm.regs[RSP] = vm.regs[RSP].wrapping_add(W::SIZE as u64);
        // POP RSP: the value wins.
        W::set(&mut vm.regs, op.dst, value);
        op.then(vm, held)
    })
}

/// LEAVE.
pub(crate) fn leave<W: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let rbp = vm.regs[RBP];
    with_load::<W, true>(vm, op, rbp, held, |vm, op, value, held| {
        vm.regs[RSP] = vm.regs[RBP].wrapping_add(W::SIZE as u64);
        W::set(&mut vm.regs, (RBP as u8).into(), value);
        op.then(vm, held)
    })
}
