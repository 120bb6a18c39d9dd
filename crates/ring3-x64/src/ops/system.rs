//! Flags as a whole, system calls, interrupts and their return, and what stops the processor.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use crate::cpu::{R11, RBP, RCX, RSP, efer, rflags};
use crate::exit::{Exit, vector_number};
use crate::flags::Flags;
use crate::op::{Next, Op};
use crate::ops::processor::privileged;
use crate::ops::slow::{Flow, load_sized, read_register, store_sized, write_register};
use crate::vm::{GP, Stop, Trap, UD, Vm, reachable};

/// Pushes 2 or 8 bytes.
fn push(vm: &mut Vm, size: usize, value: u64) -> Result<(), Trap> {
    let rsp = vm.regs[RSP].wrapping_sub(size as u64);
    store_sized(vm, rsp, size, value).map_err(Trap::StackFault)?;
    vm.regs[RSP] = rsp;
    Ok(())
}

/// Reads what lies `offset` bytes above RSP.
fn peek(vm: &mut Vm, offset: u64, size: usize) -> Result<u64, Trap> {
    let va = vm.regs[RSP].wrapping_add(offset);
    load_sized(vm, va, size).map_err(Trap::StackFault)
}

/// RFLAGS as a whole.
pub(crate) fn all_flags(vm: &Vm) -> u64 {
    vm.cpu.rflags & !rflags::STATUS | vm.flags.bits() | rflags::ONE
}

/// Replaces the RFLAGS bits in `mask`.
fn set_flags(vm: &mut Vm, value: u64, mask: u64) {
    let value = all_flags(vm) & !mask | value & mask;
    vm.flags = Flags::new(value);
    let changed = vm.cpu.rflags ^ value;
    vm.cpu.rflags = value;
    if changed & rflags::AC != 0 {
        vm.load_context();
    }
}

/// PUSHFQ, PUSHF.
pub(crate) fn pushf(vm: &mut Vm, _: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    let size = if instruction.mnemonic() == Mnemonic::Pushf {
        2
    } else {
        8
    };
    let value = all_flags(vm) & !(rflags::RF | rflags::VM);
    push(vm, size, value)?;
    Ok(Flow::Next)
}

/// The bits that POPF and IRET can change at the present privilege.
fn changeable(vm: &Vm) -> u64 {
    let mut mask = rflags::STATUS | rflags::TF | rflags::DF | rflags::NT | rflags::AC | rflags::ID;
    let level = (vm.cpu.rflags & rflags::IOPL) >> 12;
    let cpl = u64::from(vm.cpu.cpl());
    if cpl <= level {
        mask |= rflags::IF;
    }
    if cpl == 0 {
        mask |= rflags::IOPL;
    }
    mask
}

/// POPFQ, POPF.
pub(crate) fn popf(vm: &mut Vm, _: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    let size = if instruction.mnemonic() == Mnemonic::Popf {
        2
    } else {
        8
    };
    let value = peek(vm, 0, size)?;
    let mask = changeable(vm) & if size == 2 { 0xffff } else { u64::MAX };
    vm.regs[RSP] = vm.regs[RSP].wrapping_add(size as u64);
    set_flags(vm, value, mask);
    vm.cpu.rflags &= !rflags::RF;
    Ok(Flow::Leave)
}

/// CLI, STI, CLD, STD, CLAC, STAC.
pub(crate) fn change_flag(vm: &mut Vm, _: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    let (bit, set) = match instruction.mnemonic() {
        Mnemonic::Cli => (rflags::IF, false),
        Mnemonic::Sti => (rflags::IF, true),
        Mnemonic::Clac => (rflags::AC, false),
        Mnemonic::Stac => (rflags::AC, true),
        Mnemonic::Cld => (rflags::DF, false),
        _ => (rflags::DF, true),
    };
    let level = (vm.cpu.rflags & rflags::IOPL) >> 12;
    if bit == rflags::IF && u64::from(vm.cpu.cpl()) > level {
        return Err(GP);
    }
    if bit == rflags::AC && vm.cpu.cpl() != 0 {
        return Err(UD);
    }
    set_flags(vm, if set { bit } else { 0 }, bit);
    Ok(if bit == rflags::AC {
        Flow::Leave
    } else {
        Flow::Next
    })
}

/// ENTER. Nesting levels are read from the old frame (Intel SDM volume 2, ENTER).
pub(crate) fn enter(vm: &mut Vm, _: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    let size = u64::from(instruction.immediate16());
    let level = u64::from(instruction.immediate8_2nd() & 31);
    let frame = vm.regs[RSP].wrapping_sub(8);
    let final_rsp = frame.wrapping_sub(8 * level).wrapping_sub(size);
    // The lowest address first: if that can be written the others, if they fail, left only garbage below RSP.
    vm.mem
        .probe(final_rsp, 1, ring3_memory::Access::Write, vm.privilege)
        .map_err(Trap::StackFault)?;
    let rbp = vm.regs[RBP];
    store_sized(vm, frame, 8, rbp).map_err(Trap::StackFault)?;
    // One after the other: the old frame may overlap the new one.
    for number in 1..level {
        let display = load_sized(vm, rbp.wrapping_sub(8 * number), 8).map_err(Trap::StackFault)?;
        store_sized(vm, frame.wrapping_sub(8 * number), 8, display).map_err(Trap::StackFault)?;
    }
    if level > 0 {
        store_sized(vm, frame.wrapping_sub(8 * level), 8, frame).map_err(Trap::StackFault)?;
    }
    vm.regs[RBP] = frame;
    vm.regs[RSP] = final_rsp;
    Ok(Flow::Next)
}

/// POP to memory. An address relative to RSP takes RSP as it is afterwards (Intel SDM volume 2, POP).
pub(crate) fn pop_memory(vm: &mut Vm, op: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    let size = instruction.memory_size().size();
    let value = peek(vm, 0, size)?;
    let mut va = vm.address(op);
    if matches!(instruction.memory_base(), Register::RSP | Register::ESP) {
        va = va.wrapping_add(size as u64);
    }
    store_sized(vm, va, size, value)?;
    vm.regs[RSP] = vm.regs[RSP].wrapping_add(size as u64);
    Ok(Flow::Next)
}

fn selector(vm: &Vm, register: Register) -> u16 {
    match register {
        Register::CS => vm.cpu.cs,
        Register::SS => vm.cpu.ss,
        Register::DS => vm.cpu.ds,
        Register::ES => vm.cpu.es,
        Register::FS => vm.cpu.fs,
        _ => vm.cpu.gs,
    }
}

/// PUSH FS, PUSH GS.
pub(crate) fn push_selector(vm: &mut Vm, _: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    let value = u64::from(selector(vm, instruction.op0_register()));
    let size = if instruction.stack_pointer_increment() == -2 {
        2
    } else {
        8
    };
    push(vm, size, value)?;
    Ok(Flow::Next)
}

/// MOV from a segment register.
pub(crate) fn mov_from_selector(
    vm: &mut Vm,
    op: &Op,
    instruction: &Instruction,
) -> Result<Flow, Trap> {
    let value = u64::from(selector(vm, instruction.op1_register()));
    if instruction.op0_kind() == OpKind::Register {
        write_register(vm, instruction.op0_register(), value);
    } else {
        let va = vm.address(op);
        store_sized(vm, va, 2, value)?;
    }
    Ok(Flow::Next)
}

/// MOV to DS, ES or SS, which have no base in 64-bit mode.
pub(crate) fn mov_to_selector(
    vm: &mut Vm,
    op: &Op,
    instruction: &Instruction,
) -> Result<Flow, Trap> {
    let value = if instruction.op1_kind() == OpKind::Register {
        read_register(vm, instruction.op1_register()) as u16
    } else {
        let va = vm.address(op);
        load_sized(vm, va, 2)? as u16
    };
    match instruction.op0_register() {
        Register::DS => vm.cpu.ds = value,
        Register::ES => vm.cpu.es = value,
        Register::SS if value & 3 != vm.cpu.cs & 3 => return Err(GP),
        Register::SS => vm.cpu.ss = value,
        _ => return Err(UD),
    }
    Ok(Flow::Next)
}

/// SYSCALL.
pub(crate) fn syscall(vm: &mut Vm, op: &Op, _: &Instruction) -> Result<Flow, Trap> {
    if vm.cpu.efer & efer::SCE == 0 {
        return Err(UD);
    }
    let next = vm.next_rip(op);
    if vm.cpu.lstar == 0 {
        return Err(Trap::Exit(Exit::Syscall { next }));
    }
    let flags = all_flags(vm) & !rflags::RF;
    vm.regs[RCX] = next;
    vm.regs[R11] = flags;
    let value = flags & !vm.cpu.sfmask | rflags::ONE;
    vm.flags = Flags::new(value);
    vm.cpu.rflags = value;
    let base = (vm.cpu.star >> 32) as u16;
    vm.cpu.cs = base & !3;
    vm.cpu.ss = (base & !3).wrapping_add(8);
    vm.load_context();
    Ok(Flow::Jump(vm.cpu.lstar))
}

/// SYSRETQ.
pub(crate) fn sysret(vm: &mut Vm, _: &Op, _: &Instruction) -> Result<Flow, Trap> {
    if vm.cpu.efer & efer::SCE == 0 {
        return Err(UD);
    }
    privileged(vm)?;
    let target = vm.regs[RCX];
    if !reachable(target) {
        return Err(GP);
    }
    // The bits that exist and that SYSRET loads (Intel SDM volume 2, SYSRET).
    let value = vm.regs[R11] & 0x3c_7fd7 | rflags::ONE;
    vm.flags = Flags::new(value);
    vm.cpu.rflags = value;
    let base = (vm.cpu.star >> 48) as u16;
    vm.cpu.cs = base.wrapping_add(16) | 3;
    vm.cpu.ss = base.wrapping_add(8) | 3;
    vm.load_context();
    Ok(Flow::Jump(target))
}

/// IRETQ, to the same or an outer privilege.
pub(crate) fn iret(vm: &mut Vm, _: &Op, _: &Instruction) -> Result<Flow, Trap> {
    if vm.cpu.rflags & rflags::NT != 0 {
        return Err(GP);
    }
    let mut frame = [0; 5];
    for (number, word) in frame.iter_mut().enumerate() {
        *word = peek(vm, 8 * number as u64, 8)?;
    }
    let [rip, cs, flags, rsp, ss] = frame;
    let (cs, ss) = (cs as u16, ss as u16);
    if cs & !3 == 0 || cs & 3 < vm.cpu.cs & 3 || !reachable(rip) {
        return Err(GP);
    }
    let mask = changeable(vm) | rflags::RF;
    vm.regs[RSP] = rsp;
    vm.cpu.cs = cs;
    vm.cpu.ss = ss;
    set_flags(vm, flags, mask);
    vm.load_context();
    Ok(Flow::Jump(rip))
}

/// INT3, INT n, INT1.
pub(crate) fn interrupt(vm: &mut Vm, op: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    let next = vm.next_rip(op);
    let vector = match instruction.mnemonic() {
        Mnemonic::Int3 => vector_number::BREAKPOINT,
        Mnemonic::Int1 => {
            return Ok(Flow::Exit(Exit::Exception {
                vector: vector_number::DEBUG,
                error: 0,
                cr2: 0,
            }));
        }
        _ => instruction.immediate8(),
    };
    Err(Trap::Exit(Exit::SoftwareInterrupt { vector, next }))
}

/// HLT.
pub(crate) fn hlt(vm: &mut Vm, _: &Op, _: &Instruction) -> Result<Flow, Trap> {
    privileged(vm)?;
    Ok(Flow::Exit(Exit::Halt))
}

/// VMCALL: the guest calls its host.
pub(crate) fn vmcall(vm: &mut Vm, op: &Op, _: u64) -> Next {
    if vm.cpu.cpl() != 0 {
        return vm.trap(op, GP);
    }
    vm.leave_at(op);
    vm.stop = Stop::Exit(Exit::HostCall);
    std::ptr::null()
}

/// UD2, and bytes that are no instruction.
pub(crate) fn undefined(vm: &mut Vm, op: &Op, _: u64) -> Next {
    vm.trap(op, UD)
}

/// An exception that is known when the instruction is decoded: its vector is in `extra`.
pub(crate) fn raise(vm: &mut Vm, op: &Op, _: u64) -> Next {
    vm.trap(op, Trap::Exception(op.extra, 0))
}

/// A valid instruction that is not modelled; the run loop fills in the rest.
pub(crate) fn not_modelled(vm: &mut Vm, op: &Op, _: u64) -> Next {
    let rip = vm.rip_of(op);
    vm.trap(
        op,
        Trap::Exit(Exit::NotModelled {
            rip,
            bytes: [0; 15],
            len: op.length,
            text: String::new(),
        }),
    )
}

/// XLATB.
pub(crate) fn xlat(vm: &mut Vm, op: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    debug_assert_eq!(instruction.mnemonic(), Mnemonic::Xlatb);
    let va = vm.address(op).wrapping_add(vm.regs[crate::cpu::RAX] & 0xff);
    let value = load_sized(vm, va, 1)?;
    write_register(vm, Register::AL, value);
    Ok(Flow::Next)
}
