//! Port input and output, and random numbers: things that only the host can do.

use iced_x86::{Instruction, Mnemonic, OpKind};

use crate::cpu::{RAX, RDX, rflags};
use crate::exit::Exit;
use crate::op::Op;
use crate::ops::slow::{Flow, register_number, size_of_operand};
use crate::vm::{GP, Trap, Vm};

/// IN, OUT.
pub(crate) fn port(vm: &mut Vm, op: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    let level = (vm.cpu.rflags & rflags::IOPL) >> 12;
    if u64::from(vm.cpu.cpl()) > level {
        return Err(GP);
    }
    let input = instruction.mnemonic() == Mnemonic::In;
    let (data, number) = if input { (0, 1) } else { (1, 0) };
    let port = match instruction.op_kind(number) {
        OpKind::Register => vm.regs[RDX] as u16,
        _ => u16::from(instruction.immediate8()),
    };
    let size = size_of_operand(instruction, data) as u8;
    let next = vm.next_rip(op);
    Err(Trap::Exit(if input {
        Exit::PortIn { port, size, next }
    } else {
        let value = vm.regs[RAX] as u32 & (u32::MAX >> (32 - 8 * u32::from(size)));
        Exit::PortOut {
            port,
            size,
            value,
            next,
        }
    }))
}

/// RDRAND, RDSEED.
pub(crate) fn random(vm: &mut Vm, op: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    let register = instruction.op0_register();
    Err(Trap::Exit(Exit::Random {
        register: register_number(register).unwrap_or(0),
        size: register.size() as u8,
        next: vm.next_rip(op),
    }))
}
