//! Jumps, calls and returns.

use crate::cpu::{RCX, RSP};
use crate::op::{Next, Op};
use crate::vm::{GP, Vm, load, reachable};
use crate::width::{Width, slot};

const RSP_SLOT: u8 = RSP as u8;

/// JMP to a known address; also what follows the last instruction of a block that was cut.
pub(crate) fn jmp(vm: &mut Vm, _: &Op) -> Next {
    vm.follow::<0>()
}

/// Jcc.
pub(crate) fn jcc<const CC: u8>(vm: &mut Vm, _: &Op) -> Next {
    if vm.flags.holds::<CC>() {
        vm.follow::<1>()
    } else {
        vm.follow::<0>()
    }
}

/// JMP register.
pub(crate) fn jmp_r(vm: &mut Vm, op: &Op) -> Next {
    let target = slot(&vm.regs, op.src);
    if !reachable(target) {
        return vm.trap(op, GP);
    }
    vm.jump(target)
}

/// JMP memory.
pub(crate) fn jmp_m(vm: &mut Vm, op: &Op) -> Next {
    let target = load!(vm, op, u64, vm.address(op));
    if !reachable(target) {
        return vm.trap(op, GP);
    }
    vm.jump(target)
}

/// Pushes the return address, in `imm`. Gives whether that worked.
#[inline(always)]
fn push_return(vm: &mut Vm, op: &Op) -> Result<(), Next> {
    let rsp = vm.regs[RSP].wrapping_sub(8);
    if let Err(fault) = vm.mem.store::<u64>(rsp, op.imm, vm.privilege) {
        return Err(vm.stack_fault(op, fault));
    }
    u64::set(&mut vm.regs, RSP_SLOT, rsp);
    Ok(())
}

/// Jumps to a computed target after something was stored.
#[inline(always)]
fn jump_after_store(vm: &mut Vm, target: u64) -> Next {
    if vm.mem.code_written() {
        return vm.lookup(target);
    }
    vm.jump(target)
}

/// CALL of a known address.
pub(crate) fn call(vm: &mut Vm, op: &Op) -> Next {
    if let Err(stop) = push_return(vm, op) {
        return stop;
    }
    if vm.mem.code_written() {
        let target = vm.block().links[0].target;
        return vm.lookup(target);
    }
    vm.follow::<0>()
}

/// CALL register.
pub(crate) fn call_r(vm: &mut Vm, op: &Op) -> Next {
    let target = slot(&vm.regs, op.src);
    if !reachable(target) {
        return vm.trap(op, GP);
    }
    if let Err(stop) = push_return(vm, op) {
        return stop;
    }
    jump_after_store(vm, target)
}

/// CALL memory.
pub(crate) fn call_m(vm: &mut Vm, op: &Op) -> Next {
    let target = load!(vm, op, u64, vm.address(op));
    if !reachable(target) {
        return vm.trap(op, GP);
    }
    if let Err(stop) = push_return(vm, op) {
        return stop;
    }
    jump_after_store(vm, target)
}

/// RET; `imm` is what RSP grows by, at least 8.
pub(crate) fn ret(vm: &mut Vm, op: &Op) -> Next {
    let rsp = vm.regs[RSP];
    let target = match vm.mem.load::<u64>(rsp, vm.privilege) {
        Ok(target) => target,
        Err(fault) => return vm.stack_fault(op, fault),
    };
    if !reachable(target) {
        return vm.trap(op, GP);
    }
    vm.regs[RSP] = rsp.wrapping_add(op.imm);
    vm.jump(target)
}

/// JRCXZ (`extra` 8) and JECXZ (`extra` 4).
pub(crate) fn jcxz(vm: &mut Vm, op: &Op) -> Next {
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
pub(crate) fn loop_(vm: &mut Vm, op: &Op) -> Next {
    let count = vm.regs[RCX].wrapping_sub(1);
    let count = if op.extra == 4 {
        u64::from(count as u32)
    } else {
        count
    };
    vm.regs[RCX] = count;
    let more = match op.src {
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
