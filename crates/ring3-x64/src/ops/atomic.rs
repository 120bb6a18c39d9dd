//! XADD and the CMPXCHG family. One processor runs at a time, so a LOCK prefix changes nothing; it is checked where
//! the instruction is decoded.

use iced_x86::Instruction;

use crate::cpu::{RAX, RBX, RCX, RDX};
use crate::exit::vector_number;
use crate::op::{Next, Op};
use crate::ops::alu::{Add, Alu, Cmp};
use crate::ops::slow::Flow;
use crate::vm::{Trap, Vm, load, store};
use crate::width::Width;

/// XADD register, register.
pub(crate) fn xadd_rr<W: Width>(vm: &mut Vm, op: &Op, _: u64) -> Next {
    let (a, b) = (W::get(&vm.regs, op.dst), W::get(&vm.regs, op.src));
    let (sum, flags) = Add::compute::<W>(a.zx(), b.zx(), vm.flags);
    W::set(&mut vm.regs, op.src, a);
    W::set(&mut vm.regs, op.dst, sum);
    vm.flags = flags;
    op.next()
}

/// XADD memory, register.
pub(crate) fn xadd_mr<W: Width>(vm: &mut Vm, op: &Op, _: u64) -> Next {
    let va = vm.address(op);
    let a = load!(vm, op, W, va);
    let (sum, flags) = Add::compute::<W>(a.zx(), W::get(&vm.regs, op.src).zx(), vm.flags);
    store!(vm, op, W, va, sum);
    W::set(&mut vm.regs, op.src, a);
    vm.flags = flags;
    vm.stored(op)
}

/// CMPXCHG register, register.
pub(crate) fn cmpxchg_rr<W: Width>(vm: &mut Vm, op: &Op, _: u64) -> Next {
    let old = W::get(&vm.regs, op.dst);
    let expected = W::get(&vm.regs, (RAX as u8).into());
    let (_, flags) = Cmp::compute::<W>(expected.zx(), old.zx(), vm.flags);
    vm.flags = flags;
    if flags.zf() {
        let new = W::get(&vm.regs, op.src);
        W::set(&mut vm.regs, op.dst, new);
    } else {
        W::set(&mut vm.regs, (RAX as u8).into(), old);
    }
    op.next()
}

/// CMPXCHG memory, register: writes memory in any case (Intel SDM volume 2, CMPXCHG).
pub(crate) fn cmpxchg_mr<W: Width>(vm: &mut Vm, op: &Op, _: u64) -> Next {
    let va = vm.address(op);
    let old = load!(vm, op, W, va);
    let expected = W::get(&vm.regs, (RAX as u8).into());
    let (_, flags) = Cmp::compute::<W>(expected.zx(), old.zx(), vm.flags);
    let new = if flags.zf() {
        W::get(&vm.regs, op.src)
    } else {
        old
    };
    store!(vm, op, W, va, new);
    vm.flags = flags;
    if !flags.zf() {
        W::set(&mut vm.regs, (RAX as u8).into(), old);
    }
    vm.stored(op)
}

/// CMPXCHG8B.
pub(crate) fn cmpxchg8b(vm: &mut Vm, op: &Op, _: &Instruction) -> Result<Flow, Trap> {
    let va = vm.address(op);
    let old = vm.mem.load::<u64>(va, vm.privilege)?;
    let pair = |vm: &Vm, high: usize, low: usize| vm.regs[high] << 32 | vm.regs[low] & 0xffff_ffff;
    let equal = old == pair(vm, RDX, RAX);
    let new = if equal { pair(vm, RCX, RBX) } else { old };
    vm.mem.store::<u64>(va, new, vm.privilege)?;
    vm.flags.set_zf(equal);
    if !equal {
        vm.regs[RAX] = old & 0xffff_ffff;
        vm.regs[RDX] = old >> 32;
    }
    Ok(Flow::Next)
}

/// CMPXCHG16B, whose operand must be aligned.
pub(crate) fn cmpxchg16b(vm: &mut Vm, op: &Op, _: &Instruction) -> Result<Flow, Trap> {
    let va = vm.address(op);
    if !va.is_multiple_of(16) {
        return Err(Trap::Exception(vector_number::GENERAL_PROTECTION, 0));
    }
    let old = vm.mem.load::<u128>(va, vm.privilege)?;
    let pair = |vm: &Vm, high: usize, low: usize| {
        u128::from(vm.regs[high]) << 64 | u128::from(vm.regs[low])
    };
    let equal = old == pair(vm, RDX, RAX);
    let new = if equal { pair(vm, RCX, RBX) } else { old };
    vm.mem.store::<u128>(va, new, vm.privilege)?;
    vm.flags.set_zf(equal);
    if !equal {
        vm.regs[RAX] = old as u64;
        vm.regs[RDX] = (old >> 64) as u64;
    }
    Ok(Flow::Next)
}
