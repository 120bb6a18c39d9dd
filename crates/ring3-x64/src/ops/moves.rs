//! Moves between registers and memory, extensions, LEA, CMOV, SETcc, exchanges.

use crate::flags::Flags;
use crate::op::{FIRST, Next, Op, SECOND};
use crate::vm::{Vm, with_load, with_store};
use crate::width::{ADDRESS, Width, operand, put, slot};

/// MOV register, register.
pub(crate) fn mov_rr<W: Width, const FROM: u8>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let value = operand::<W, FROM, FIRST>(&vm.regs, op.src, held);
    let held = put(&mut vm.regs, op.dst, value, held);
    op.then(vm, held)
}

/// MOV register, immediate.
pub(crate) fn mov_ri<W: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    W::set(&mut vm.regs, op.dst, W::of(op.imm));
    op.then(vm, held)
}

/// MOV register, memory.
pub(crate) fn mov_rm<W: Width, const FROM: u8>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let va = vm.address_from::<FROM, FIRST>(op, held);
    with_load::<W, false>(vm, op, va, held, |vm, op, value, held| {
        let held = put(&mut vm.regs, op.dst, value, held);
        op.then(vm, held)
    })
}

/// MOV memory, register.
pub(crate) fn mov_mr<W: Width, const FROM: u8>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let value = operand::<W, FROM, SECOND>(&vm.regs, op.src, held);
    let va = vm.address_from::<FROM, 0>(op, held);
    with_store::<W, false>(vm, op, va, value, held, |_| {})
}

/// MOV memory, immediate.
pub(crate) fn mov_mi<W: Width, const FROM: u8>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let (va, value) = (vm.address_from::<FROM, 0>(op, held), W::of(op.imm));
    with_store::<W, false>(vm, op, va, value, held, |_| {})
}

/// MOVZX register, register.
pub(crate) fn zx_rr<D: Width, S: Width, const FROM: u8>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let value = operand::<S, FROM, FIRST>(&vm.regs, op.src, held).zx();
    let held = put(&mut vm.regs, op.dst, D::of(value), held);
    op.then(vm, held)
}

/// MOVZX register, memory.
pub(crate) fn zx_rm<D: Width, S: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let va = vm.address(op);
    with_load::<S, false>(vm, op, va, held, |vm, op, value, held| {
        let held = put(&mut vm.regs, op.dst, D::of(value.zx()), held);
        op.then(vm, held)
    })
}

/// MOVSX, MOVSXD, CBW, CWDE, CDQE: register, register.
pub(crate) fn sx_rr<D: Width, S: Width, const FROM: u8>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let value = operand::<S, FROM, FIRST>(&vm.regs, op.src, held).sx();
    let held = put(&mut vm.regs, op.dst, D::of(value), held);
    op.then(vm, held)
}

/// MOVSX, MOVSXD register, memory.
pub(crate) fn sx_rm<D: Width, S: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let va = vm.address(op);
    with_load::<S, false>(vm, op, va, held, |vm, op, value, held| {
        let held = put(&mut vm.regs, op.dst, D::of(value.sx()), held);
        op.then(vm, held)
    })
}

/// CWD, CDQ, CQO: `dst` gets the sign of `src`.
pub(crate) fn sign<W: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let value = (W::get(&vm.regs, op.src).sx() as i64 >> 63) as u64;
    W::set(&mut vm.regs, op.dst, W::of(value));
    op.then(vm, held)
}

/// LEA. The second operand is the index.
pub(crate) fn lea<W: Width, const FROM: u8>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let index = operand::<u64, FROM, SECOND>(&vm.regs, op.index, held);
    let value = operand::<u64, FROM, FIRST>(&vm.regs, op.base, held)
        .wrapping_add(index.wrapping_shl(u32::from(op.scale)))
        .wrapping_add(op.disp);
    let held = put(&mut vm.regs, op.dst, W::of(value), held);
    op.then(vm, held)
}

/// LEA with a base and a displacement only.
pub(crate) fn lea_base<const FROM: u8>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let value = operand::<u64, FROM, FIRST>(&vm.regs, op.base, held).wrapping_add(op.disp);
    let held = put(&mut vm.regs, op.dst, value, held);
    op.then(vm, held)
}

/// Puts the address into [`ADDRESS`], for an operand with base, index and segment base: `dst` is the slot to add.
pub(crate) fn prepare_address(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let value = vm.address(op).wrapping_add(slot(&vm.regs, op.dst));
    u64::set(&mut vm.regs, ADDRESS.into(), value);
    op.then(vm, held)
}

/// The same with 32-bit addressing.
pub(crate) fn prepare_address32(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let value = u64::from(vm.address(op) as u32).wrapping_add(slot(&vm.regs, op.dst));
    u64::set(&mut vm.regs, ADDRESS.into(), value);
    op.then(vm, held)
}

/// BSWAP of 32 or 64 bits.
pub(crate) fn bswap<W: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let value = W::get(&vm.regs, op.dst).zx().swap_bytes() >> (64 - W::BITS);
    W::set(&mut vm.regs, op.dst, W::of(value));
    op.then(vm, held)
}

/// XCHG of registers.
pub(crate) fn xchg_rr<W: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let (a, b) = (W::get(&vm.regs, op.dst), W::get(&vm.regs, op.src));
    W::set(&mut vm.regs, op.dst, b);
    W::set(&mut vm.regs, op.src, a);
    op.then(vm, held)
}

/// XCHG of memory and register (always locked, so with no other processor always as it is here).
pub(crate) fn xchg_mr<W: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let va = vm.address(op);
    with_load::<W, false>(vm, op, va, held, |vm, op, old, held| {
        let (va, new, register) = (vm.address(op), W::get(&vm.regs, op.src), op.src);
        with_store::<W, false>(vm, op, va, new, held, move |vm| {
            W::set(&mut vm.regs, register, old);
        })
    })
}

/// NOP, prefetches, fences.
pub(crate) fn nop(vm: &mut Vm, op: &Op, held: u64) -> Next {
    op.then(vm, held)
}

/// CMOVcc register, register: `dst` gets `base` or `src`.
pub(crate) fn cmov_rr<W: Width, const CC: u8, const FROM: u8>(
    vm: &mut Vm,
    op: &Op,
    held: u64,
) -> Next {
    let old = operand::<W, FROM, FIRST>(&vm.regs, op.base, held);
    let new = operand::<W, FROM, SECOND>(&vm.regs, op.src, held);
    let value = if vm.flags.holds::<CC>() { new } else { old };
    let held = put(&mut vm.regs, op.dst, value, held);
    op.then(vm, held)
}

/// CMOVcc register, memory: reads memory in any case.
pub(crate) fn cmov_rm<W: Width, const CC: u8>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let va = vm.address(op);
    with_load::<W, false>(vm, op, va, held, |vm, op, new, held| {
        let value = if vm.flags.holds::<CC>() {
            new
        } else {
            W::get(&vm.regs, op.dst)
        };
        W::set(&mut vm.regs, op.dst, value);
        op.then(vm, held)
    })
}

/// SETcc register.
pub(crate) fn set_r<const CC: u8>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let value = u8::from(vm.flags.holds::<CC>());
    u8::set(&mut vm.regs, op.dst, value);
    op.then(vm, held)
}

/// SETcc memory.
pub(crate) fn set_m<const CC: u8>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let value = u8::from(vm.flags.holds::<CC>());
    let va = vm.address(op);
    with_store::<u8, false>(vm, op, va, value, held, |_| {})
}

/// CLC, STC: CF becomes the immediate.
pub(crate) fn set_carry(vm: &mut Vm, op: &Op, held: u64) -> Next {
    vm.flags.set_cf(op.imm != 0);
    op.then(vm, held)
}

/// CMC.
pub(crate) fn flip_carry(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let carry = vm.flags.cf();
    vm.flags.set_cf(!carry);
    op.then(vm, held)
}

/// LAHF.
pub(crate) fn lahf(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let value = vm.flags.bits() as u8 | 2;
    u8::set(&mut vm.regs, crate::width::HIGH.into(), value);
    op.then(vm, held)
}

/// SAHF.
pub(crate) fn sahf(vm: &mut Vm, op: &Op, held: u64) -> Next {
    use crate::cpu::rflags;
    let low = u64::from(u8::get(&vm.regs, crate::width::HIGH.into()));
    let overflow = vm.flags.bits() & rflags::OF;
    vm.flags = Flags::new(low & 0xff & rflags::STATUS | overflow);
    op.then(vm, held)
}
