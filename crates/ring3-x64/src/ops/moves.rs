//! Moves between registers and memory, extensions, LEA, CMOV, SETcc, exchanges.

use crate::flags::Flags;
use crate::op::{Next, Op};
use crate::vm::{Vm, with_load, with_store};
use crate::width::{ADDRESS, Width, slot};

/// MOV register, register.
pub(crate) fn mov_rr<W: Width>(vm: &mut Vm, op: &Op) -> Next {
    let value = W::get(&vm.regs, op.src);
    W::set(&mut vm.regs, op.dst, value);
    op.then(vm)
}

/// MOV register, immediate.
pub(crate) fn mov_ri<W: Width>(vm: &mut Vm, op: &Op) -> Next {
    W::set(&mut vm.regs, op.dst, W::of(op.imm));
    op.then(vm)
}

/// MOV register, memory.
pub(crate) fn mov_rm<W: Width>(vm: &mut Vm, op: &Op) -> Next {
    let va = vm.address(op);
    with_load::<W, false>(vm, op, va, |vm, op, value| {
        W::set(&mut vm.regs, op.dst, value);
        op.then(vm)
    })
}

/// MOV memory, register.
pub(crate) fn mov_mr<W: Width>(vm: &mut Vm, op: &Op) -> Next {
    let value = W::get(&vm.regs, op.src);
    let va = vm.address(op);
    with_store::<W, false>(vm, op, va, value, |_| {})
}

/// MOV memory, immediate.
pub(crate) fn mov_mi<W: Width>(vm: &mut Vm, op: &Op) -> Next {
    let (va, value) = (vm.address(op), W::of(op.imm));
    with_store::<W, false>(vm, op, va, value, |_| {})
}

/// MOVZX register, register.
pub(crate) fn zx_rr<D: Width, S: Width>(vm: &mut Vm, op: &Op) -> Next {
    let value = S::get(&vm.regs, op.src).zx();
    D::set(&mut vm.regs, op.dst, D::of(value));
    op.then(vm)
}

/// MOVZX register, memory.
pub(crate) fn zx_rm<D: Width, S: Width>(vm: &mut Vm, op: &Op) -> Next {
    let va = vm.address(op);
    with_load::<S, false>(vm, op, va, |vm, op, value| {
        D::set(&mut vm.regs, op.dst, D::of(value.zx()));
        op.then(vm)
    })
}

/// MOVSX, MOVSXD, CBW, CWDE, CDQE: register, register.
pub(crate) fn sx_rr<D: Width, S: Width>(vm: &mut Vm, op: &Op) -> Next {
    let value = S::get(&vm.regs, op.src).sx();
    D::set(&mut vm.regs, op.dst, D::of(value));
    op.then(vm)
}

/// MOVSX, MOVSXD register, memory.
pub(crate) fn sx_rm<D: Width, S: Width>(vm: &mut Vm, op: &Op) -> Next {
    let va = vm.address(op);
    with_load::<S, false>(vm, op, va, |vm, op, value| {
        D::set(&mut vm.regs, op.dst, D::of(value.sx()));
        op.then(vm)
    })
}

/// CWD, CDQ, CQO: `dst` gets the sign of `src`.
pub(crate) fn sign<W: Width>(vm: &mut Vm, op: &Op) -> Next {
    let value = (W::get(&vm.regs, op.src).sx() as i64 >> 63) as u64;
    W::set(&mut vm.regs, op.dst, W::of(value));
    op.then(vm)
}

/// LEA.
pub(crate) fn lea<W: Width>(vm: &mut Vm, op: &Op) -> Next {
    let value = vm.address(op);
    W::set(&mut vm.regs, op.dst, W::of(value));
    op.then(vm)
}

/// LEA with a base and a displacement only.
pub(crate) fn lea_base(vm: &mut Vm, op: &Op) -> Next {
    let value = slot(&vm.regs, op.base).wrapping_add(op.disp);
    u64::set(&mut vm.regs, op.dst, value);
    op.then(vm)
}

/// Puts the address into [`ADDRESS`], for an operand with base, index and segment base: `dst` is the slot to add.
pub(crate) fn prepare_address(vm: &mut Vm, op: &Op) -> Next {
    let value = vm.address(op).wrapping_add(slot(&vm.regs, op.dst));
    u64::set(&mut vm.regs, ADDRESS, value);
    op.then(vm)
}

/// The same with 32-bit addressing.
pub(crate) fn prepare_address32(vm: &mut Vm, op: &Op) -> Next {
    let value = u64::from(vm.address(op) as u32).wrapping_add(slot(&vm.regs, op.dst));
    u64::set(&mut vm.regs, ADDRESS, value);
    op.then(vm)
}

/// BSWAP of 32 or 64 bits.
pub(crate) fn bswap<W: Width>(vm: &mut Vm, op: &Op) -> Next {
    let value = W::get(&vm.regs, op.dst).zx().swap_bytes() >> (64 - W::BITS);
    W::set(&mut vm.regs, op.dst, W::of(value));
    op.then(vm)
}

/// XCHG of registers.
pub(crate) fn xchg_rr<W: Width>(vm: &mut Vm, op: &Op) -> Next {
    let (a, b) = (W::get(&vm.regs, op.dst), W::get(&vm.regs, op.src));
    W::set(&mut vm.regs, op.dst, b);
    W::set(&mut vm.regs, op.src, a);
    op.then(vm)
}

/// XCHG of memory and register (always locked, so with no other processor always as it is here).
pub(crate) fn xchg_mr<W: Width>(vm: &mut Vm, op: &Op) -> Next {
    let va = vm.address(op);
    with_load::<W, false>(vm, op, va, |vm, op, old| {
        let (va, new, register) = (vm.address(op), W::get(&vm.regs, op.src), op.src);
        with_store::<W, false>(vm, op, va, new, move |vm| {
            W::set(&mut vm.regs, register, old);
        })
    })
}

/// NOP, prefetches, fences.
pub(crate) fn nop(vm: &mut Vm, op: &Op) -> Next {
    op.then(vm)
}

/// CMOVcc register, register.
pub(crate) fn cmov_rr<W: Width, const CC: u8>(vm: &mut Vm, op: &Op) -> Next {
    let from = if vm.flags.holds::<CC>() {
        op.src
    } else {
        op.dst
    };
    let value = W::get(&vm.regs, from);
    W::set(&mut vm.regs, op.dst, value);
    op.then(vm)
}

/// CMOVcc register, memory: reads memory in any case.
pub(crate) fn cmov_rm<W: Width, const CC: u8>(vm: &mut Vm, op: &Op) -> Next {
    let va = vm.address(op);
    with_load::<W, false>(vm, op, va, |vm, op, new| {
        let value = if vm.flags.holds::<CC>() {
            new
        } else {
            W::get(&vm.regs, op.dst)
        };
        W::set(&mut vm.regs, op.dst, value);
        op.then(vm)
    })
}

/// SETcc register.
pub(crate) fn set_r<const CC: u8>(vm: &mut Vm, op: &Op) -> Next {
    let value = u8::from(vm.flags.holds::<CC>());
    u8::set(&mut vm.regs, op.dst, value);
    op.then(vm)
}

/// SETcc memory.
pub(crate) fn set_m<const CC: u8>(vm: &mut Vm, op: &Op) -> Next {
    let value = u8::from(vm.flags.holds::<CC>());
    let va = vm.address(op);
    with_store::<u8, false>(vm, op, va, value, |_| {})
}

/// CLC, STC: CF becomes the immediate.
pub(crate) fn set_carry(vm: &mut Vm, op: &Op) -> Next {
    vm.flags.set_cf(op.imm != 0);
    op.then(vm)
}

/// CMC.
pub(crate) fn flip_carry(vm: &mut Vm, op: &Op) -> Next {
    let carry = vm.flags.cf();
    vm.flags.set_cf(!carry);
    op.then(vm)
}

/// LAHF.
pub(crate) fn lahf(vm: &mut Vm, op: &Op) -> Next {
    let value = vm.flags.bits() as u8 | 2;
    u8::set(&mut vm.regs, crate::width::HIGH, value);
    op.then(vm)
}

/// SAHF.
pub(crate) fn sahf(vm: &mut Vm, op: &Op) -> Next {
    use crate::cpu::rflags;
    let low = u64::from(u8::get(&vm.regs, crate::width::HIGH));
    let overflow = vm.flags.bits() & rflags::OF;
    vm.flags = Flags::new(low & 0xff & rflags::STATUS | overflow);
    op.then(vm)
}
