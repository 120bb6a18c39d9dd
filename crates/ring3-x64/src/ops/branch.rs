//! Jumps, calls and returns.

use crate::cpu::{RCX, RSP};
use crate::op::{Next, Op};
use crate::vm::{GP, Vm, reachable, with_load};
use crate::width::slot;

/// JMP to a known address; also what follows the last instruction of a block that was cut.
pub(crate) fn jmp(vm: &mut Vm, _: &Op, _: u64) -> Next {
    vm.follow::<0>()
}

/// Jcc.
pub(crate) fn jcc<const CC: u8>(vm: &mut Vm, _: &Op, _: u64) -> Next {
    if vm.flags.holds::<CC>() {
        vm.follow::<1>()
    } else {
        vm.follow::<0>()
    }
}

/// JMP register.
pub(crate) fn jmp_r(vm: &mut Vm, op: &Op, _: u64) -> Next {
    let target = slot(&vm.regs, op.src);
    if !reachable(target) {
        return unreachable_target(vm, op);
    }
    vm.jump(target)
}

/// JMP memory.
pub(crate) fn jmp_m(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let va = vm.address(op);
    with_load::<u64, false>(vm, op, va, held, |vm, op, target, _| {
        if !reachable(target) {
            return unreachable_target(vm, op);
        }
        vm.jump(target)
    })
}

/// Pushes the return address, in `imm`, if that needs nothing but the TLB.
#[inline(always)]
fn push_return(vm: &mut Vm, op: &Op) -> bool {
    let rsp = vm.regs[RSP].wrapping_sub(8);
    let done = vm.mem.try_store::<u64>(rsp, op.imm, vm.privilege);
    if done {
        vm.regs[RSP] = rsp;
    }
    done
}

/// The whole of a call.
#[cold]
#[inline(never)]
fn call_slowly(vm: &mut Vm, op: &Op, target: u64) -> Next {
    let rsp = vm.regs[RSP].wrapping_sub(8);
    if let Err(fault) = vm.mem.store::<u64>(rsp, op.imm, vm.privilege) {
        return vm.stack_fault(op, fault);
    }
    vm.regs[RSP] = rsp;
    // By way of the run loop, because code may have been written.
    vm.lookup(target)
}

#[cold]
#[inline(never)]
fn unreachable_target(vm: &mut Vm, op: &Op) -> Next {
    vm.trap(op, GP)
}

/// CALL of a known address.
pub(crate) fn call(vm: &mut Vm, op: &Op, _: u64) -> Next {
    if !push_return(vm, op) {
        let target = vm.block().links[0].target;
        return call_slowly(vm, op, target);
    }
    vm.follow::<0>()
}

/// CALL register.
pub(crate) fn call_r(vm: &mut Vm, op: &Op, _: u64) -> Next {
    let target = slot(&vm.regs, op.src);
    if !reachable(target) {
        return unreachable_target(vm, op);
    }
    call_target(vm, op, target)
}

#[inline(always)]
fn call_target(vm: &mut Vm, op: &Op, target: u64) -> Next {
    if !push_return(vm, op) {
        return call_slowly(vm, op, target);
    }
    vm.jump(target)
}

/// CALL memory.
pub(crate) fn call_m(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let va = vm.address(op);
    with_load::<u64, false>(vm, op, va, held, |vm, op, target, _| {
        if !reachable(target) {
            return unreachable_target(vm, op);
        }
        call_target(vm, op, target)
    })
}

/// RET; `imm` is what RSP grows by, at least 8.
pub(crate) fn ret(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let rsp = vm.regs[RSP];
    with_load::<u64, true>(vm, op, rsp, held, |vm, op, target, _| {
        if !reachable(target) {
            return unreachable_target(vm, op);
        }
        vm.regs[RSP] = vm.regs[RSP].wrapping_add(op.imm);
        vm.jump(target)
    })
}

/// JRCXZ (`extra` 8) and JECXZ (`extra` 4).
pub(crate) fn jcxz(vm: &mut Vm, op: &Op, _: u64) -> Next {
    let count = if op.extra == 4 {
        u64::from(vm.regs[RCX] as u32)
    } else {
        vm.regs[RCX]
    };
    if count == 0 {
        vm.follow::<1>()
    } else {
        vm.follow::<0>()
    }
}

/// LOOP (`src` 0), LOOPE (1), LOOPNE (2); `extra` as for [`jcxz`].
pub(crate) fn loop_(vm: &mut Vm, op: &Op, _: u64) -> Next {
    let count = vm.regs[RCX].wrapping_sub(1);
    let count = if op.extra == 4 {
        u64::from(count as u32)
    } else {
        count
    };
    vm.regs[RCX] = count;
    let more = match u8::from(op.src) {
        0 => true,
        1 => vm.flags.zf(),
        _ => !vm.flags.zf(),
    };
    if count != 0 && more {
        vm.follow::<1>()
    } else {
        vm.follow::<0>()
    }
}
