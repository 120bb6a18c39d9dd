//! Control and debug registers, model-specific registers, descriptor tables, CPUID, time, and saving SSE state.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use ring3_memory::Access;

use crate::cpu::{Cpu, RAX, RBX, RCX, RDX, cr0, cr4, efer};
use crate::cpuid::cpuid as leaf;
use crate::exit::Exit;
use crate::op::Op;
use crate::ops::slow::{Flow, read, write, write_register};
use crate::vm::{GP, Trap, UD, Vm};

/// Fails in user mode.
pub(crate) fn privileged(vm: &Vm) -> Result<(), Trap> {
    if vm.cpu.cpl() == 0 { Ok(()) } else { Err(GP) }
}

/// The CR4 bits that can be set.
const CR4_KNOWN: u64 = cr4::DE
    | cr4::PSE
    | cr4::PAE
    | cr4::MCE
    | cr4::PGE
    | cr4::OSFXSR
    | cr4::OSXMMEXCPT
    | cr4::UMIP
    | cr4::FSGSBASE
    | cr4::OSXSAVE
    | cr4::SMEP
    | cr4::SMAP
    | 0x103;

/// MOV from and to CR0, CR2, CR3, CR4, CR8.
pub(crate) fn mov_cr(vm: &mut Vm, op: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    privileged(vm)?;
    if instruction.op1_register().is_cr() {
        let value = match instruction.op1_register() {
            Register::CR0 => vm.cpu.cr0,
            Register::CR2 => vm.cpu.cr2,
            Register::CR3 => vm.cpu.cr3,
            Register::CR4 => vm.cpu.cr4,
            Register::CR8 => vm.cpu.cr8,
            _ => return Err(UD),
        };
        write_register(vm, instruction.op0_register(), value);
        return Ok(Flow::Next);
    }
    let value = read(vm, op, instruction, 1)?;
    match instruction.op0_register() {
        Register::CR0 => {
            // 64-bit mode can't be left from here.
            if value >> 32 != 0 || value & (cr0::PE | cr0::PG) != cr0::PE | cr0::PG {
                return Err(GP);
            }
            vm.cpu.cr0 = value | cr0::ET;
        }
        Register::CR2 => {
            vm.cpu.cr2 = value;
            return Ok(Flow::Next);
        }
        Register::CR3 => vm.cpu.cr3 = value & !(1 << 63),
        Register::CR4 => {
            if value & !CR4_KNOWN != 0 || value & cr4::PAE == 0 {
                return Err(GP);
            }
            vm.cpu.cr4 = value;
        }
        Register::CR8 => return mov_to_cr8(vm, value),
        _ => return Err(UD),
    }
    vm.load_context();
    Ok(Flow::Leave)
}

fn mov_to_cr8(vm: &mut Vm, value: u64) -> Result<Flow, Trap> {
    if value > 15 {
        return Err(GP);
    }
    let (from, to) = (vm.cpu.cr8 as u8, value as u8);
    vm.cpu.cr8 = value;
    Ok(if to < from {
        Flow::Exit(Exit::IrqlLowered { from, to })
    } else {
        Flow::Next
    })
}

/// MOV from and to debug registers. They are kept, but nothing breaks on them.
pub(crate) fn mov_dr(vm: &mut Vm, op: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    privileged(vm)?;
    let (register, reads) = match instruction.op1_register() {
        register if register.is_dr() => (register, true),
        _ => (instruction.op0_register(), false),
    };
    let number = match register.number() {
        4 | 5 if vm.cpu.cr4 & cr4::DE != 0 => return Err(UD),
        number @ (4 | 5) => number + 2,
        number => number,
    };
    if reads {
        let value = vm.cpu.dr.get(number).copied().ok_or(UD)?;
        write_register(vm, instruction.op0_register(), value);
        return Ok(Flow::Next);
    }
    let value = read(vm, op, instruction, 1)?;
    let value = match number {
        6 | 7 if value >> 32 != 0 => return Err(GP),
        6 => value & 0xe00f | 0xffff_0ff0,
        7 => value & 0xffff_2bff | 0x400,
        _ => value,
    };
    *vm.cpu.dr.get_mut(number).ok_or(UD)? = value;
    Ok(Flow::Next)
}

/// CLTS.
pub(crate) fn clts(vm: &mut Vm, _: &Op, _: &Instruction) -> Result<Flow, Trap> {
    privileged(vm)?;
    vm.cpu.cr0 &= !cr0::TS;
    vm.load_context();
    Ok(Flow::Leave)
}

/// SMSW, STR, SLDT: 16 bits to memory, the register's width to a register.
pub(crate) fn store_word(vm: &mut Vm, op: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    if vm.cpu.cr4 & cr4::UMIP != 0 {
        privileged(vm)?;
    }
    let value = match instruction.mnemonic() {
        Mnemonic::Smsw => vm.cpu.cr0,
        Mnemonic::Str => u64::from(vm.cpu.tr),
        _ => u64::from(vm.cpu.ldtr),
    };
    write(vm, op, instruction, 0, value)?;
    Ok(Flow::Next)
}

/// LTR, LLDT: the selector only.
pub(crate) fn load_selector(vm: &mut Vm, op: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    privileged(vm)?;
    let value = read(vm, op, instruction, 0)? as u16;
    match instruction.mnemonic() {
        Mnemonic::Ltr if value & !3 == 0 => return Err(GP),
        Mnemonic::Ltr => vm.cpu.tr = value,
        _ => vm.cpu.ldtr = value,
    }
    Ok(Flow::Next)
}

/// SGDT, SIDT.
pub(crate) fn store_table(vm: &mut Vm, op: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    if vm.cpu.cr4 & cr4::UMIP != 0 {
        privileged(vm)?;
    }
    let (base, limit) = if instruction.mnemonic() == Mnemonic::Sgdt {
        vm.cpu.gdtr
    } else {
        vm.cpu.idtr
    };
    let va = vm.address(op);
    vm.mem.probe(va, 10, Access::Write, vm.privilege)?;
    vm.mem.store::<u16>(va, limit, vm.privilege)?;
    vm.mem
        .store::<u64>(va.wrapping_add(2), base, vm.privilege)?;
    Ok(Flow::Next)
}

/// LGDT, LIDT.
pub(crate) fn load_table(vm: &mut Vm, op: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    privileged(vm)?;
    let va = vm.address(op);
    let limit = vm.mem.load::<u16>(va, vm.privilege)?;
    let base = vm.mem.load::<u64>(va.wrapping_add(2), vm.privilege)?;
    if !ring3_memory::is_canonical(base) {
        return Err(GP);
    }
    if instruction.mnemonic() == Mnemonic::Lgdt {
        vm.cpu.gdtr = (base, limit);
    } else {
        vm.cpu.idtr = (base, limit);
    }
    Ok(Flow::Next)
}

const IA32_TSC: u32 = 0x10;
const IA32_APIC_BASE: u32 = 0x1b;
const IA32_PAT: u32 = 0x277;
const IA32_EFER: u32 = 0xc000_0080;
const IA32_STAR: u32 = 0xc000_0081;
const IA32_LSTAR: u32 = 0xc000_0082;
const IA32_CSTAR: u32 = 0xc000_0083;
const IA32_FMASK: u32 = 0xc000_0084;
const IA32_FS_BASE: u32 = 0xc000_0100;
const IA32_GS_BASE: u32 = 0xc000_0101;
const IA32_KERNEL_GS_BASE: u32 = 0xc000_0102;
const IA32_TSC_AUX: u32 = 0xc000_0103;

/// The time stamp counter as an instruction sees it.
fn tsc(vm: &Vm, op: &Op) -> u64 {
    vm.cpu
        .tsc_base
        .wrapping_add(vm.icount(op).wrapping_mul(vm.cpu.tsc_per_instruction))
}

/// RDMSR (Intel SDM volume 4 for the numbers).
pub(crate) fn rdmsr(vm: &mut Vm, op: &Op, _: &Instruction) -> Result<Flow, Trap> {
    privileged(vm)?;
    let msr = vm.regs[RCX] as u32;
    let cpu: &Cpu = vm.cpu;
    let value = match msr {
        IA32_TSC => tsc(vm, op),
        IA32_APIC_BASE => cpu.apic_base,
        IA32_PAT => cpu.pat,
        IA32_EFER => cpu.efer,
        IA32_STAR => cpu.star,
        IA32_LSTAR => cpu.lstar,
        IA32_CSTAR => cpu.cstar,
        IA32_FMASK => cpu.sfmask,
        IA32_FS_BASE => cpu.fs_base,
        IA32_GS_BASE => cpu.gs_base,
        IA32_KERNEL_GS_BASE => cpu.kernel_gs_base,
        IA32_TSC_AUX => cpu.tsc_aux,
        _ => {
            return Err(Trap::Exit(Exit::ReadMsr {
                msr,
                next: vm.next_rip(op),
            }));
        }
    };
    vm.regs[RAX] = value & 0xffff_ffff;
    vm.regs[RDX] = value >> 32;
    Ok(Flow::Next)
}

/// WRMSR.
pub(crate) fn wrmsr(vm: &mut Vm, op: &Op, _: &Instruction) -> Result<Flow, Trap> {
    privileged(vm)?;
    let msr = vm.regs[RCX] as u32;
    let value = vm.regs[RDX] << 32 | vm.regs[RAX] & 0xffff_ffff;
    let address = matches!(
        msr,
        IA32_LSTAR | IA32_CSTAR | IA32_FS_BASE | IA32_GS_BASE | IA32_KERNEL_GS_BASE
    );
    if address && !ring3_memory::is_canonical(value) {
        return Err(GP);
    }
    match msr {
        IA32_TSC => {
            let now = tsc(vm, op);
            vm.cpu.tsc_base = vm.cpu.tsc_base.wrapping_add(value.wrapping_sub(now));
        }
        IA32_APIC_BASE => vm.cpu.apic_base = value,
        IA32_PAT => vm.cpu.pat = value,
        IA32_EFER => {
            let known = efer::SCE | efer::LME | efer::LMA | efer::NXE;
            if value & !known != 0 || value & efer::LME == 0 {
                return Err(GP);
            }
            vm.cpu.efer = value | efer::LMA;
            vm.load_context();
            return Ok(Flow::Leave);
        }
        IA32_STAR => vm.cpu.star = value,
        IA32_LSTAR => vm.cpu.lstar = value,
        IA32_CSTAR => vm.cpu.cstar = value,
        IA32_FMASK => vm.cpu.sfmask = value & 0xffff_ffff,
        IA32_FS_BASE => vm.cpu.fs_base = value,
        IA32_GS_BASE => vm.cpu.gs_base = value,
        IA32_KERNEL_GS_BASE => vm.cpu.kernel_gs_base = value,
        IA32_TSC_AUX if value >> 32 != 0 => return Err(GP),
        IA32_TSC_AUX => vm.cpu.tsc_aux = value,
        _ => {
            return Err(Trap::Exit(Exit::WriteMsr {
                msr,
                value,
                next: vm.next_rip(op),
            }));
        }
    }
    vm.load_bases();
    Ok(Flow::Next)
}

/// SWAPGS.
pub(crate) fn swapgs(vm: &mut Vm, _: &Op, _: &Instruction) -> Result<Flow, Trap> {
    privileged(vm)?;
    let cpu = &mut *vm.cpu;
    std::mem::swap(&mut cpu.gs_base, &mut cpu.kernel_gs_base);
    vm.load_bases();
    Ok(Flow::Next)
}

/// RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE.
pub(crate) fn segment_base(vm: &mut Vm, op: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    if vm.cpu.cr4 & cr4::FSGSBASE == 0 {
        return Err(UD);
    }
    let register = instruction.op0_register();
    match instruction.mnemonic() {
        Mnemonic::Rdfsbase => write_register(vm, register, vm.cpu.fs_base),
        Mnemonic::Rdgsbase => write_register(vm, register, vm.cpu.gs_base),
        mnemonic => {
            let value = read(vm, op, instruction, 0)?;
            if !ring3_memory::is_canonical(value) {
                return Err(GP);
            }
            if mnemonic == Mnemonic::Wrfsbase {
                vm.cpu.fs_base = value;
            } else {
                vm.cpu.gs_base = value;
            }
            vm.load_bases();
        }
    }
    Ok(Flow::Next)
}

/// CPUID.
pub(crate) fn cpuid(vm: &mut Vm, _: &Op, _: &Instruction) -> Result<Flow, Trap> {
    let [a, b, c, d] = leaf(vm.cpu, vm.regs[RAX] as u32, vm.regs[RCX] as u32);
    for (register, value) in [(RAX, a), (RBX, b), (RCX, c), (RDX, d)] {
        vm.regs[register] = u64::from(value);
    }
    Ok(Flow::Next)
}

/// RDTSC, RDTSCP.
pub(crate) fn rdtsc(vm: &mut Vm, op: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    let value = tsc(vm, op);
    vm.regs[RAX] = value & 0xffff_ffff;
    vm.regs[RDX] = value >> 32;
    if instruction.mnemonic() == Mnemonic::Rdtscp {
        vm.regs[RCX] = vm.cpu.tsc_aux & 0xffff_ffff;
    }
    Ok(Flow::Next)
}

/// XGETBV.
pub(crate) fn xgetbv(vm: &mut Vm, _: &Op, _: &Instruction) -> Result<Flow, Trap> {
    if vm.cpu.cr4 & cr4::OSXSAVE == 0 {
        return Err(UD);
    }
    if vm.regs[RCX] as u32 != 0 {
        return Err(GP);
    }
    vm.regs[RAX] = vm.cpu.xcr0 & 0xffff_ffff;
    vm.regs[RDX] = vm.cpu.xcr0 >> 32;
    Ok(Flow::Next)
}

/// WBINVD, INVD, INVLPG: no cache and no stale translation is ever visible here.
pub(crate) fn privileged_nop(vm: &mut Vm, _: &Op, _: &Instruction) -> Result<Flow, Trap> {
    privileged(vm)?;
    Ok(Flow::Leave)
}

/// CLFLUSH and its kind: faults like a load.
pub(crate) fn flush_line(vm: &mut Vm, op: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    debug_assert_eq!(instruction.op0_kind(), OpKind::Memory);
    let va = vm.address(op);
    vm.mem.load::<u8>(va, vm.privilege)?;
    Ok(Flow::Next)
}
