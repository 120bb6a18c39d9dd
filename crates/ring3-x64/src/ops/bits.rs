//! Single bits (BT, BTS, BTR, BTC), bit scans and counts, and double shifts.

use iced_x86::{Instruction, Mnemonic, OpKind};

use crate::flags::Flags;
use crate::op::{Next, Op};
use crate::ops::shift::double;
use crate::ops::slow::{Flow, read, size_of_operand, write};
use crate::vm::{Trap, Vm, load, store};
use crate::width::Width;

/// What happens to the bit that was copied to CF: BT leaves it.
const KEEP: u8 = 0;
/// BTS.
const SET: u8 = 1;
/// BTR.
const RESET: u8 = 2;
/// BTC.
const COMPLEMENT: u8 = 3;

const fn changed(value: u64, bit: u64, change: u8) -> u64 {
    match change {
        SET => value | bit,
        RESET => value & !bit,
        COMPLEMENT => value ^ bit,
        _ => value,
    }
}

/// Register, with the bit number from an immediate.
pub(crate) fn ri<W: Width, const CHANGE: u8>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    register::<W, CHANGE>(vm, op, op.imm, held)
}

/// Register, with the bit number from a register.
pub(crate) fn rr<W: Width, const CHANGE: u8>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let number = W::get(&vm.regs, op.src).zx();
    register::<W, CHANGE>(vm, op, number, held)
}

#[inline(always)]
fn register<W: Width, const CHANGE: u8>(vm: &mut Vm, op: &Op, number: u64, held: u64) -> Next {
    let value = W::get(&vm.regs, op.dst).zx();
    let bit = 1 << (number % u64::from(W::BITS));
    vm.flags.set_cf(value & bit != 0);
    if CHANGE != KEEP {
        W::set(&mut vm.regs, op.dst, W::of(changed(value, bit, CHANGE)));
    }
    op.then(vm, held)
}

#[inline(always)]
fn memory<W: Width, const CHANGE: u8>(vm: &mut Vm, op: &Op, va: u64, number: u64, _: u64) -> Next {
    let value = load!(vm, op, W, va).zx();
    let bit = 1 << (number % u64::from(W::BITS));
    if CHANGE != KEEP {
        store!(vm, op, W, va, W::of(changed(value, bit, CHANGE)));
    }
    vm.flags.set_cf(value & bit != 0);
    vm.stored(op)
}

/// Memory, with the bit number from an immediate: within the operand.
pub(crate) fn mi<W: Width, const CHANGE: u8>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let va = vm.address(op);
    memory::<W, CHANGE>(vm, op, va, op.imm, held)
}

/// Memory, with the signed bit number from a register: it reaches beyond the operand, up and down.
pub(crate) fn mr<W: Width, const CHANGE: u8>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let number = W::get(&vm.regs, op.src).sx();
    let units = (number as i64) >> W::BITS.trailing_zeros();
    let va = vm
        .address(op)
        .wrapping_add((units as u64).wrapping_mul(W::SIZE as u64));
    memory::<W, CHANGE>(vm, op, va, number, held)
}

/// BSF, BSR, TZCNT, LZCNT, POPCNT.
pub(crate) fn scan(vm: &mut Vm, op: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    let value = read(vm, op, instruction, 1)?;
    let bits = size_of_operand(instruction, 0) as u32 * 8;
    let result = match instruction.mnemonic() {
        Mnemonic::Bsf | Mnemonic::Bsr if value == 0 => {
            // The destination keeps its value, as all processors do and AMD documents (even the upper half of a
            // 64-bit register for a 32-bit operand).
            vm.flags.set_zf(true);
            return Ok(Flow::Next);
        }
        Mnemonic::Bsf => {
            vm.flags.set_zf(false);
            value.trailing_zeros()
        }
        Mnemonic::Bsr => {
            vm.flags.set_zf(false);
            63 - value.leading_zeros()
        }
        Mnemonic::Tzcnt => {
            let result = value.trailing_zeros().min(bits);
            vm.flags.set_zf_cf(result == 0, value == 0);
            result
        }
        Mnemonic::Lzcnt => {
            let result = value.leading_zeros() - (64 - bits);
            vm.flags.set_zf_cf(result == 0, value == 0);
            result
        }
        _ => {
            vm.flags.set_zf_cf(value == 0, false);
            value.count_ones()
        }
    };
    write(vm, op, instruction, 0, u64::from(result))?;
    Ok(Flow::Next)
}

/// SHLD, SHRD.
pub(crate) fn shift_double(vm: &mut Vm, op: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    let left = instruction.mnemonic() == Mnemonic::Shld;
    let a = read(vm, op, instruction, 0)?;
    let b = read(vm, op, instruction, 1)?;
    let count = read(vm, op, instruction, 2)?;
    let mut flags: Flags = vm.flags;
    let result = match size_of_operand(instruction, 0) {
        2 => double::<u16>(left, a, b, count, &mut flags),
        4 => double::<u32>(left, a, b, count, &mut flags),
        _ => double::<u64>(left, a, b, count, &mut flags),
    };
    write(vm, op, instruction, 0, result)?;
    vm.flags = flags;
    Ok(Flow::Next)
}

/// MOVBE.
pub(crate) fn movbe(vm: &mut Vm, op: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    let value = read(vm, op, instruction, 1)?;
    let operand = if instruction.op_kind(0) == OpKind::Memory {
        1
    } else {
        0
    };
    let swapped = match size_of_operand(instruction, operand) {
        2 => u64::from((value as u16).swap_bytes()),
        4 => u64::from((value as u32).swap_bytes()),
        _ => value.swap_bytes(),
    };
    write(vm, op, instruction, 0, swapped)?;
    Ok(Flow::Next)
}
