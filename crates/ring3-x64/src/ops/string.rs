//! String instructions. Each iteration of a repeated one counts as an instruction, so a run can end between any two, and
//! RCX, RSI, RDI and the flags say everything about where it is. A repeat count of 0 counts as one.

use ring3_memory::{Access, Fault};

use crate::cpu::{RAX, RCX, RDI, RSI, rflags};
use crate::engine::AccessRecord;
use crate::op::{Next, Op};
use crate::ops::alu::{Alu, Cmp};
use crate::vm::Vm;
use crate::width::{Slot, Width, slot};

/// MOVS.
pub(crate) const MOVS: u8 = 0;
/// STOS.
pub(crate) const STOS: u8 = 1;
/// LODS.
pub(crate) const LODS: u8 = 2;
/// CMPS.
pub(crate) const CMPS: u8 = 3;
/// SCAS.
pub(crate) const SCAS: u8 = 4;

/// [`Op::extra`]: repeat while RCX is not 0 (and, for CMPS and SCAS, ZF is set).
pub(crate) const REPE: u8 = 1;
/// [`Op::extra`]: repeat while RCX is not 0 and ZF is clear.
pub(crate) const REPNE: u8 = 2;

/// Bytes moved at once where nobody can tell the difference.
const CHUNK: u64 = 16;

/// One string instruction, repeated or not. `src` is the slot of the source's segment base, `dst` is 4 for 32-bit
/// addresses. A repeated one is the last instruction of its block.
pub(crate) fn string<W: Width, const KIND: u8>(vm: &mut Vm, op: &Op, _: u64) -> Next {
    let repeat = op.extra != 0;
    let mask = if op.dst == Slot::S4 {
        0xffff_ffff
    } else {
        u64::MAX
    };
    if !repeat {
        return match iteration::<W, KIND>(vm, op, mask) {
            Ok(()) => vm.stored(op),
            Err(fault) => vm.fault(op, fault),
        };
    }
    if vm.regs[RCX] & mask == 0 {
        return vm.follow::<0>();
    }
    loop {
        if let Some(count) = chunk::<W, KIND>(vm, op, mask) {
            vm.budget -= count - 1;
        } else if let Err(fault) = iteration::<W, KIND>(vm, op, mask) {
            return vm.fault(op, fault);
        } else {
            vm.regs[RCX] = vm.regs[RCX].wrapping_sub(1) & mask;
        }
        let goes_on = match (KIND, op.extra) {
            (CMPS | SCAS, REPNE) => !vm.flags.zf(),
            (CMPS | SCAS, _) => vm.flags.zf(),
            _ => true,
        };
        if vm.regs[RCX] & mask == 0 || !goes_on {
            return if vm.mem.code_written() {
                vm.leave_behind(op)
            } else {
                vm.follow::<0>()
            };
        }
        if vm.budget == 0 || vm.mem.code_written() {
            let here = vm.rip_of(op);
            return vm.lookup(here);
        }
        vm.budget -= 1;
    }
}

/// One iteration: all accesses, then registers and flags.
#[inline(always)]
fn iteration<W: Width, const KIND: u8>(vm: &mut Vm, op: &Op, mask: u64) -> Result<(), Fault> {
    let source = (vm.regs[RSI] & mask).wrapping_add(slot(&vm.regs, op.src));
    let target = vm.regs[RDI] & mask;
    let privilege = vm.privilege;
    match KIND {
        MOVS => {
            let value = vm.mem.load::<W>(source, privilege)?;
            vm.mem.store::<W>(target, value, privilege)?;
        }
        STOS => vm
            .mem
            .store::<W>(target, W::get(&vm.regs, (RAX as u8).into()), privilege)?,
        LODS => {
            let value = vm.mem.load::<W>(source, privilege)?;
            W::set(&mut vm.regs, (RAX as u8).into(), value);
        }
        CMPS => {
            let a = vm.mem.load::<W>(source, privilege)?.zx();
            let b = vm.mem.load::<W>(target, privilege)?.zx();
            vm.flags = Cmp::compute::<W>(a, b, vm.flags).1;
        }
        _ => {
            let a = W::get(&vm.regs, (RAX as u8).into()).zx();
            let b = vm.mem.load::<W>(target, privilege)?.zx();
            vm.flags = Cmp::compute::<W>(a, b, vm.flags).1;
        }
    }
    if vm.recorder.logging {
        record::<W, KIND>(vm, op, source, target);
    }
    let down = vm.cpu.rflags & rflags::DF != 0;
    let step = if down {
        (W::SIZE as u64).wrapping_neg()
    } else {
        W::SIZE as u64
    };
    if matches!(KIND, MOVS | LODS | CMPS) {
        vm.regs[RSI] = vm.regs[RSI].wrapping_add(step) & mask;
    }
    if KIND != LODS {
        vm.regs[RDI] = vm.regs[RDI].wrapping_add(step) & mask;
    }
    Ok(())
}

#[cold]
fn record<W: Width, const KIND: u8>(vm: &mut Vm, op: &Op, source: u64, target: u64) {
    let (rip, icount) = (vm.rip_of(op), vm.icount(op));
    let mut log = |va, access| {
        vm.recorder.log(AccessRecord {
            va,
            size: W::SIZE as u8,
            access,
            rip,
            icount,
        })
    };
    if matches!(KIND, MOVS | LODS | CMPS) {
        log(source, Access::Read);
    }
    match KIND {
        MOVS | STOS => log(target, Access::Write),
        CMPS | SCAS => log(target, Access::Read),
        _ => {}
    }
}

/// Does several iterations of an ascending MOVS or STOS at once and gives how many. `None`: not possible, nothing done.
#[inline(always)]
fn chunk<W: Width, const KIND: u8>(vm: &mut Vm, op: &Op, mask: u64) -> Option<u64> {
    let count = CHUNK / W::SIZE as u64;
    if !matches!(KIND, MOVS | STOS)
        || vm.regs[RCX] & mask < count
        || vm.budget < count
        || mask != u64::MAX
        || vm.recorder.logging
        || vm.cpu.rflags & rflags::DF != 0
    {
        return None;
    }
    let target = vm.regs[RDI];
    let value = if KIND == MOVS {
        let source = vm.regs[RSI].wrapping_add(slot(&vm.regs, op.src));
        // Overlapping upwards: a later iteration reads what an earlier one wrote.
        if target.wrapping_sub(source) < CHUNK {
            return None;
        }
        vm.mem.load::<u128>(source, vm.privilege).ok()?
    } else {
        let value = u128::from(W::get(&vm.regs, (RAX as u8).into()).zx());
        value.wrapping_mul(u128::MAX / (u128::MAX >> (128 - W::BITS)))
    };
    vm.mem.store::<u128>(target, value, vm.privilege).ok()?;
    vm.regs[RDI] = target.wrapping_add(CHUNK);
    if KIND == MOVS {
        vm.regs[RSI] = vm.regs[RSI].wrapping_add(CHUNK);
    }
    vm.regs[RCX] -= count;
    Some(count)
}
