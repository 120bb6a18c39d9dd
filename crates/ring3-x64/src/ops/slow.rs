//! Instructions that are executed from their decoded form: all that are too rare to deserve a handler for each
//! width and kind of operand.

use iced_x86::{Instruction, OpKind, Register};
use ring3_memory::Fault;

use crate::exit::Exit;
use crate::op::{Next, Op};
use crate::vm::{Trap, Vm};
use crate::width::{HIGH, Width};

/// What comes after an instruction.
pub(crate) enum Flow {
    /// The next one.
    Next,
    /// The next one, but translated under what holds now.
    Leave,
    /// The one at this address.
    Jump(u64),
    /// The instruction is done, and the run ends.
    Exit(Exit),
}

/// Executes an instruction, or ends before it has any effect.
pub(crate) type Slow = fn(&mut Vm, &Op, &Instruction) -> Result<Flow, Trap>;

/// Executes the instruction with number `imm` in the block's table.
pub(crate) fn run(vm: &mut Vm, op: &Op, _: u64) -> Next {
    let Some(slow) = vm.block().slow.get(op.imm as usize) else {
        return vm.leave_behind(op);
    };
    let (instruction, run) = (slow.instruction, slow.run);
    match run(vm, op, &instruction) {
        Ok(Flow::Next) => vm.stored(op),
        Ok(Flow::Leave) => vm.leave_behind(op),
        Ok(Flow::Jump(target)) => {
            vm.leave_behind(op);
            vm.rip = target;
            std::ptr::null()
        }
        Ok(Flow::Exit(exit)) => vm.exit_behind(op, exit),
        Err(trap) => vm.trap(op, trap),
    }
}

/// The number of a general register as handlers take it.
pub(crate) fn register_number(register: Register) -> Option<u8> {
    let high = matches!(
        register,
        Register::AH | Register::CH | Register::DH | Register::BH
    );
    if high {
        return Some((register as u32 - Register::AH as u32) as u8 | HIGH);
    }
    register
        .is_gpr()
        .then(|| register.full_register().number() as u8)
}

/// Loads an integer of 1, 2, 4 or 8 bytes, zero-extended.
pub(crate) fn load_sized(vm: &mut Vm, va: u64, size: usize) -> Result<u64, Fault> {
    Ok(match size {
        1 => u64::from(vm.mem.load::<u8>(va, vm.privilege)?),
        2 => u64::from(vm.mem.load::<u16>(va, vm.privilege)?),
        4 => u64::from(vm.mem.load::<u32>(va, vm.privilege)?),
        _ => vm.mem.load::<u64>(va, vm.privilege)?,
    })
}

/// Stores the low 1, 2, 4 or 8 bytes.
pub(crate) fn store_sized(vm: &mut Vm, va: u64, size: usize, value: u64) -> Result<(), Fault> {
    match size {
        1 => vm.mem.store::<u8>(va, value as u8, vm.privilege),
        2 => vm.mem.store::<u16>(va, value as u16, vm.privilege),
        4 => vm.mem.store::<u32>(va, value as u32, vm.privilege),
        _ => vm.mem.store::<u64>(va, value, vm.privilege),
    }
}

/// Reads a general register of any size, zero-extended.
pub(crate) fn read_register(vm: &Vm, register: Register) -> u64 {
    let number = register_number(register).unwrap_or(crate::width::ZERO);
    match register.size() {
        1 => u8::get(&vm.regs, number.into()).zx(),
        2 => u16::get(&vm.regs, number.into()).zx(),
        4 => u32::get(&vm.regs, number.into()).zx(),
        _ => u64::get(&vm.regs, number.into()),
    }
}

/// Writes a general register of any size.
pub(crate) fn write_register(vm: &mut Vm, register: Register, value: u64) {
    let Some(number) = register_number(register) else {
        return;
    };
    match register.size() {
        1 => u8::set(&mut vm.regs, number.into(), value as u8),
        2 => u16::set(&mut vm.regs, number.into(), value as u16),
        4 => u32::set(&mut vm.regs, number.into(), value as u32),
        _ => u64::set(&mut vm.regs, number.into(), value),
    }
}

/// Size of a register or memory operand in bytes.
pub(crate) fn size_of_operand(instruction: &Instruction, operand: u32) -> usize {
    match instruction.op_kind(operand) {
        OpKind::Register => instruction.op_register(operand).size(),
        _ => instruction.memory_size().size(),
    }
}

/// Reads a general operand, zero-extended; an immediate as it is.
pub(crate) fn read(
    vm: &mut Vm,
    op: &Op,
    instruction: &Instruction,
    operand: u32,
) -> Result<u64, Trap> {
    match instruction.op_kind(operand) {
        OpKind::Register => Ok(read_register(vm, instruction.op_register(operand))),
        OpKind::Memory => {
            let va = vm.address(op);
            Ok(load_sized(vm, va, size_of_operand(instruction, operand))?)
        }
        _ => Ok(instruction.immediate(operand)),
    }
}

/// Writes a general operand.
pub(crate) fn write(
    vm: &mut Vm,
    op: &Op,
    instruction: &Instruction,
    operand: u32,
    value: u64,
) -> Result<(), Trap> {
    match instruction.op_kind(operand) {
        OpKind::Register => write_register(vm, instruction.op_register(operand), value),
        _ => {
            let va = vm.address(op);
            store_sized(vm, va, size_of_operand(instruction, operand), value)?;
        }
    }
    Ok(())
}
