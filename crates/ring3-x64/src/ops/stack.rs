//! PUSH and POP of registers and constants, and LEAVE.

use crate::cpu::{RBP, RSP};
use crate::op::{Next, Op};
use crate::vm::Vm;
use crate::width::Width;

/// Pushes; the handler's last act.
#[inline(always)]
fn push<W: Width>(vm: &mut Vm, op: &Op, value: W) -> Next {
    let rsp = vm.regs[RSP].wrapping_sub(W::SIZE as u64);
    if let Err(fault) = vm.mem.store::<W>(rsp, value, vm.privilege) {
        return vm.stack_fault(op, fault);
    }
    vm.regs[RSP] = rsp;
    vm.stored(op)
}

/// PUSH register.
pub(crate) fn push_r<W: Width>(vm: &mut Vm, op: &Op) -> Next {
    let value = W::get(&vm.regs, op.src);
    push::<W>(vm, op, value)
}

/// PUSH immediate.
pub(crate) fn push_i<W: Width>(vm: &mut Vm, op: &Op) -> Next {
    push::<W>(vm, op, W::of(op.imm))
}

/// PUSH memory.
pub(crate) fn push_m<W: Width>(vm: &mut Vm, op: &Op) -> Next {
    let value = crate::vm::load!(vm, op, W, vm.address(op));
    push::<W>(vm, op, value)
}

/// POP register.
pub(crate) fn pop_r<W: Width>(vm: &mut Vm, op: &Op) -> Next {
    let rsp = vm.regs[RSP];
    match vm.mem.load::<W>(rsp, vm.privilege) {
        Ok(value) => {
            vm.regs[RSP] = rsp.wrapping_add(W::SIZE as u64);
            // POP RSP: the value wins.
            W::set(&mut vm.regs, op.dst, value);
            op.next()
        }
        Err(fault) => vm.stack_fault(op, fault),
    }
}

/// LEAVE.
pub(crate) fn leave<W: Width>(vm: &mut Vm, op: &Op) -> Next {
    let rbp = vm.regs[RBP];
    match vm.mem.load::<W>(rbp, vm.privilege) {
        Ok(value) => {
            vm.regs[RSP] = rbp.wrapping_add(W::SIZE as u64);
            W::set(&mut vm.regs, RBP as u8, value);
            op.next()
        }
        Err(fault) => vm.stack_fault(op, fault),
    }
}
