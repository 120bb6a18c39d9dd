//! The glue between instructions of the SSE family and their meaning in [`crate::vector`], with short cuts for the
//! common moves, and what saves and loads SSE state.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use ring3_memory::Access;

use crate::cpu::{RAX, RCX, RDI, RDX, cr0, cr4};
use crate::exit::vector_number;
use crate::flags::Flags;
use crate::op::{Next, Op};
use crate::ops::slow::{Flow, load_sized, read_register, store_sized, write_register};
use crate::ops::wide::{Wide, from_u128, to_u128};
use crate::vector::{Destination, MXCSR_MASK, Source, VectorContext, VectorOp};
use crate::vm::{GP, Trap, UD, Vm, with_load, with_store};
use crate::width::{FS_BASE, GS_BASE, Slot, Width, slot};

/// An entry of a block's table of vector operations.
pub(crate) struct Vector {
    pub op: VectorOp,
    pub instruction: Instruction,
}

#[inline(always)]
fn xmm(vm: &Vm, number: Slot) -> u128 {
    vm.cpu.xmm[(number as usize) & 15]
}

#[inline(always)]
fn set_xmm(vm: &mut Vm, number: Slot, value: u128) {
    set_wide(vm, number, from_u128(value));
}

/// A register as the host moves it.
#[inline(always)]
pub(crate) fn wide(vm: &Vm, number: Slot) -> Wide {
    let place: *const u128 = &raw const vm.cpu.xmm[(number as usize) & 15];
    // SAFETY: the place is that of a register; both types are 16 bytes, and all values are valid.
    unsafe { place.cast::<Wide>().read_unaligned() }
}

/// Writes a register.
#[inline(always)]
pub(crate) fn set_wide(vm: &mut Vm, number: Slot, value: Wide) {
    let place: *mut u128 = &raw mut vm.cpu.xmm[(number as usize) & 15];
    // SAFETY: as in `wide`.
    unsafe { place.cast::<Wide>().write_unaligned(value) }
}

/// #GP(0) for an address that is not a multiple of 16.
#[cold]
#[inline(never)]
pub(crate) fn misaligned(vm: &mut Vm, op: &Op) -> Next {
    vm.trap(op, GP)
}

/// MOVAPS and its kind: register, register.
pub(crate) fn mov_rr(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let value = wide(vm, op.src);
    set_wide(vm, op.dst, value);
    op.then(vm, held)
}

/// MOVUPS, MOVAPS and their kind: register, memory.
pub(crate) fn mov_rm<const ALIGNED: bool>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let va = vm.address(op);
    if ALIGNED && !va.is_multiple_of(16) {
        return misaligned(vm, op);
    }
    with_load::<u128, false>(vm, op, va, held, |vm, op, value, held| {
        set_xmm(vm, op.dst, value);
        op.then(vm, held)
    })
}

/// MOVUPS, MOVAPS and their kind: memory, register.
pub(crate) fn mov_mr<const ALIGNED: bool>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let va = vm.address(op);
    if ALIGNED && !va.is_multiple_of(16) {
        return misaligned(vm, op);
    }
    let value = to_u128(wide(vm, op.src));
    with_store::<u128, false>(vm, op, va, value, held, |_| {})
}

/// MOVD, MOVQ, MOVSS, MOVSD register, memory: the rest of the register becomes 0.
pub(crate) fn mov_low_rm<W: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let va = vm.address(op);
    with_load::<W, false>(vm, op, va, held, |vm, op, value, held| {
        set_xmm(vm, op.dst, u128::from(value.zx()));
        op.then(vm, held)
    })
}

/// MOVD, MOVQ, MOVSS, MOVSD memory, register.
pub(crate) fn mov_low_mr<W: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let value = W::of(xmm(vm, op.src) as u64);
    let va = vm.address(op);
    with_store::<W, false>(vm, op, va, value, held, |_| {})
}

/// MOVD, MOVQ to a general register.
pub(crate) fn mov_low_to_gpr<W: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let value = W::of(xmm(vm, op.src) as u64);
    W::set(&mut vm.regs, op.dst, value);
    op.then(vm, held)
}

/// MOVD, MOVQ from a general register.
pub(crate) fn mov_low_from_gpr<W: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let value = W::get(&vm.regs, op.src).zx();
    set_xmm(vm, op.dst, u128::from(value));
    op.then(vm, held)
}

/// XORPS and PXOR of a register with itself.
pub(crate) fn zero(vm: &mut Vm, op: &Op, held: u64) -> Next {
    set_xmm(vm, op.dst, 0);
    op.then(vm, held)
}

/// An operation on registers that touches neither MXCSR nor flags; `imm` is the index of its table entry.
pub(crate) fn plain_rr(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let b = xmm(vm, op.src);
    plain(vm, op, b, held)
}

/// The same with nothing but the destination and an immediate.
pub(crate) fn plain_r(vm: &mut Vm, op: &Op, held: u64) -> Next {
    plain(vm, op, 0, held)
}

/// The same with a second operand of 16 bytes in memory.
pub(crate) fn plain_rm(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let va = vm.address(op);
    if !va.is_multiple_of(16) {
        return misaligned(vm, op);
    }
    with_load::<u128, false>(vm, op, va, held, plain)
}

#[inline(always)]
fn plain(vm: &mut Vm, op: &Op, b: u128, held: u64) -> Next {
    let a = xmm(vm, op.dst);
    let f = vm
        .block()
        .vectors
        .get(op.imm as usize)
        .map(|entry| entry.op.f);
    if let Some(f) = f {
        let mut context = VectorContext::new(vm.cpu.mxcsr);
        let result = f(&mut context, a, b, op.extra);
        set_xmm(vm, op.dst, result);
    }
    op.then(vm, held)
}

/// Any operation of [`crate::vector`]; `imm` is the index of its table entry.
pub(crate) fn general(vm: &mut Vm, op: &Op, _: u64) -> Next {
    let Some(Vector {
        op: vector,
        instruction,
    }) = vm.block().vectors.get(op.imm as usize)
    else {
        return op.next();
    };
    let (vector, instruction) = (*vector, *instruction);
    match run(vm, op, &vector, &instruction) {
        Ok(()) => vm.stored(op),
        Err(trap) => vm.trap(op, trap),
    }
}

/// Reads a register operand of either kind.
fn read_any(vm: &Vm, register: Register) -> u128 {
    if register.is_xmm() {
        xmm(vm, Slot::from(register.number() as u8))
    } else {
        u128::from(read_register(vm, register))
    }
}

/// The address of a memory operand, which must be aligned for some instructions.
fn checked_address(vm: &Vm, op: &Op, vector: &VectorOp) -> Result<u64, Trap> {
    let va = vm.address(op);
    if vector.aligned && !va.is_multiple_of(16) {
        Err(GP)
    } else {
        Ok(va)
    }
}

fn run(vm: &mut Vm, op: &Op, vector: &VectorOp, instruction: &Instruction) -> Result<(), Trap> {
    let size = usize::from(vector.memory);
    let mut from_memory = false;
    let source = match vector.source {
        Source::None => 0,
        Source::Operand(operand) => match instruction.op_kind(u32::from(operand)) {
            OpKind::Register => read_any(vm, instruction.op_register(u32::from(operand))),
            _ => {
                from_memory = true;
                let va = checked_address(vm, op, vector)?;
                if size == 16 {
                    vm.mem.load::<u128>(va, vm.privilege)?
                } else {
                    u128::from(load_sized(vm, va, size)?)
                }
            }
        },
    };
    let to_memory =
        vector.destination == Destination::Operand0 && instruction.op0_kind() == OpKind::Memory;
    let old = match vector.destination {
        Destination::MaskedStore => read_any(vm, instruction.op1_register()),
        _ if instruction.op0_kind() == OpKind::Register => read_any(vm, instruction.op0_register()),
        _ => 0,
    };
    let imm = if vector.imm {
        instruction.immediate(instruction.op_count() - 1) as u8
    } else {
        0
    };
    let mut context = VectorContext {
        mxcsr: vm.cpu.mxcsr,
        flags: 0,
        xmm0: vm.cpu.xmm[0],
        rax: vm.regs[RAX],
        rdx: vm.regs[RDX],
        from_memory,
        exception: false,
    };
    let result = (vector.f)(&mut context, old, source, imm);
    if context.exception {
        vm.cpu.mxcsr = context.mxcsr;
        // Without OSXMMEXCPT it is an invalid opcode (Intel SDM volume 3, 2.5).
        let reported = vm.cpu.cr4 & cr4::OSXMMEXCPT != 0;
        return Err(if reported {
            Trap::Exception(vector_number::SIMD, 0)
        } else {
            UD
        });
    }
    match vector.destination {
        Destination::Operand0 if to_memory => {
            let va = checked_address(vm, op, vector)?;
            if size == 16 {
                vm.mem.store::<u128>(va, result, vm.privilege)?;
            } else {
                store_sized(vm, va, size, result as u64)?;
            }
        }
        Destination::Operand0 => {
            let register = instruction.op0_register();
            if register.is_xmm() {
                set_xmm(vm, Slot::from(register.number() as u8), result);
            } else {
                write_register(vm, register, result as u64);
            }
        }
        Destination::Flags => {}
        Destination::Ecx => vm.regs[RCX] = u64::from(result as u32),
        Destination::Xmm0 => vm.cpu.xmm[0] = result,
        Destination::MaskedStore => masked_store(vm, instruction, old, result as u16)?,
    }
    vm.cpu.mxcsr = context.mxcsr;
    if vector.flags != 0 {
        let mask = u64::from(vector.flags);
        vm.flags = Flags::new(vm.flags.bits() & !mask | u64::from(context.flags) & mask);
    }
    Ok(())
}

/// MASKMOVDQU: all bytes must be writable before one is written.
fn masked_store(
    vm: &mut Vm,
    instruction: &Instruction,
    bytes: u128,
    mask: u16,
) -> Result<(), Trap> {
    let base = match instruction.memory_segment() {
        Register::FS => slot(&vm.regs, FS_BASE.into()),
        Register::GS => slot(&vm.regs, GS_BASE.into()),
        _ => 0,
    };
    let va = vm.regs[RDI].wrapping_add(base);
    let chosen = (0..16u32).filter(|number| mask >> number & 1 != 0);
    for number in chosen.clone() {
        vm.mem.probe(
            va.wrapping_add(u64::from(number)),
            1,
            Access::Write,
            vm.privilege,
        )?;
    }
    for number in chosen {
        let byte = (bytes >> (8 * number)) as u8;
        vm.mem
            .store::<u8>(va.wrapping_add(u64::from(number)), byte, vm.privilege)?;
    }
    Ok(())
}

/// What SSE instructions do now: `None` to execute, otherwise the exception (Intel SDM volume 2, 2.4).
pub(crate) fn unavailable(cr0: u64, cr4: u64) -> Option<u8> {
    if cr0 & cr0::EM != 0 || cr4 & cr4::OSFXSR == 0 {
        Some(vector_number::INVALID_OPCODE)
    } else if cr0 & cr0::TS != 0 {
        Some(vector_number::DEVICE_NOT_AVAILABLE)
    } else {
        None
    }
}

/// LDMXCSR, STMXCSR.
pub(crate) fn mxcsr(vm: &mut Vm, op: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    let va = vm.address(op);
    if instruction.mnemonic() == Mnemonic::Stmxcsr {
        vm.mem.store::<u32>(va, vm.cpu.mxcsr, vm.privilege)?;
        return Ok(Flow::Next);
    }
    let value = vm.mem.load::<u32>(va, vm.privilege)?;
    if value & !MXCSR_MASK != 0 {
        return Err(GP);
    }
    vm.cpu.mxcsr = value;
    Ok(Flow::Next)
}

/// Bytes that FXSAVE writes: the 48 behind them are left alone (Intel SDM volume 1, 10.5.1).
const SAVED: usize = 416;

/// FXSAVE, FXSAVE64.
pub(crate) fn fxsave(vm: &mut Vm, op: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    if vm.cpu.cr0 & (cr0::EM | cr0::TS) != 0 {
        return Err(Trap::Exception(vector_number::DEVICE_NOT_AVAILABLE, 0));
    }
    let va = vm.address(op);
    if !va.is_multiple_of(16) {
        return Err(GP);
    }
    let x87 = &vm.cpu.x87;
    let control = u128::from(x87.fcw)
        | u128::from(x87.fsw) << 16
        | u128::from(x87.ftw) << 32
        | u128::from(x87.fop) << 48
        | if instruction.mnemonic() == Mnemonic::Fxsave64 {
            u128::from(x87.fip) << 64
        } else {
            u128::from(x87.fip as u32) << 64
        };
    let pointer = if instruction.mnemonic() == Mnemonic::Fxsave64 {
        x87.fdp
    } else {
        u64::from(x87.fdp as u32)
    };
    let second =
        u128::from(pointer) | u128::from(vm.cpu.mxcsr) << 64 | u128::from(MXCSR_MASK) << 96;
    let mut image = [0; SAVED / 16];
    let values = [control, second]
        .into_iter()
        .chain(x87.st)
        .chain(vm.cpu.xmm);
    for (place, value) in image.iter_mut().zip(values) {
        *place = value;
    }
    vm.mem.probe(va, SAVED, Access::Write, vm.privilege)?;
    for (number, value) in image.into_iter().enumerate() {
        vm.mem
            .store::<u128>(va.wrapping_add(16 * number as u64), value, vm.privilege)?;
    }
    Ok(Flow::Next)
}

/// FXRSTOR, FXRSTOR64.
pub(crate) fn fxrstor(vm: &mut Vm, op: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    if vm.cpu.cr0 & (cr0::EM | cr0::TS) != 0 {
        return Err(Trap::Exception(vector_number::DEVICE_NOT_AVAILABLE, 0));
    }
    let va = vm.address(op);
    if !va.is_multiple_of(16) {
        return Err(GP);
    }
    let mut image = [0u128; SAVED / 16];
    for (number, value) in image.iter_mut().enumerate() {
        *value = vm
            .mem
            .load::<u128>(va.wrapping_add(16 * number as u64), vm.privilege)?;
    }
    let [control, second, registers @ ..] = image;
    let mxcsr = (second >> 64) as u32;
    if mxcsr & !MXCSR_MASK != 0 {
        return Err(GP);
    }
    let wide = instruction.mnemonic() == Mnemonic::Fxrstor64;
    let pointer = |value: u64| if wide { value } else { value & 0xffff_ffff };
    let x87 = &mut vm.cpu.x87;
    x87.fcw = control as u16;
    x87.fsw = (control >> 16) as u16;
    x87.ftw = (control >> 32) as u8;
    x87.fop = (control >> 48) as u16 & 0x7ff;
    x87.fip = pointer((control >> 64) as u64);
    x87.fdp = pointer(second as u64);
    for (place, value) in x87.st.iter_mut().zip(registers) {
        *place = value & ((1 << 80) - 1);
    }
    for (place, value) in vm.cpu.xmm.iter_mut().zip(registers.into_iter().skip(8)) {
        *place = value;
    }
    vm.cpu.mxcsr = mxcsr;
    Ok(Flow::Next)
}
