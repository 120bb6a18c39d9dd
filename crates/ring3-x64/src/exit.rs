//! Why [`Engine::run`](crate::Engine::run) stopped.

use std::fmt;

use ring3_memory::{Access, Gpa, ShadowHit};

use crate::cpu::{Cpu, RAX, RDX, rflags};

/// Exception vectors (Intel SDM volume 3, 6.3.1).
pub mod vector_number {
    /// #DE, division.
    pub const DIVIDE: u8 = 0;
    /// #DB, debug.
    pub const DEBUG: u8 = 1;
    /// #BP, INT3.
    pub const BREAKPOINT: u8 = 3;
    /// #UD, invalid opcode.
    pub const INVALID_OPCODE: u8 = 6;
    /// #NM, no x87 or SSE now.
    pub const DEVICE_NOT_AVAILABLE: u8 = 7;
    /// #SS, stack segment.
    pub const STACK: u8 = 12;
    /// #GP, general protection.
    pub const GENERAL_PROTECTION: u8 = 13;
    /// #PF, page fault.
    pub const PAGE_FAULT: u8 = 14;
    /// #AC, alignment.
    pub const ALIGNMENT: u8 = 17;
    /// #XM, SSE floating point.
    pub const SIMD: u8 = 19;
}

/// Why a processor stopped. Unless a variant says otherwise RIP is at the instruction that caused it, nothing of
/// which has happened, and it does not count as retired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The instruction count has reached the limit, exactly.
    Limit,
    /// `vmcall` at CPL 0: the guest calls its host.
    HostCall,
    /// A fault, or the single-step trap (vector 1 with DR6.BS already set; then RIP is behind the instruction, which has retired).
    Exception {
        /// The vector, see [`vector_number`].
        vector: u8,
        /// The error code; 0 for vectors without one.
        error: u32,
        /// The address of a page fault, which [`Cpu::cr2`] does not have yet; 0 for other vectors.
        cr2: u64,
    },
    /// `int3` or `int n`.
    SoftwareInterrupt {
        /// The vector.
        vector: u8,
        /// The address behind the instruction.
        next: u64,
    },
    /// The instruction would touch bytes that the shadow forbids. To go on in spite of it run one instruction
    /// with the shadow off.
    Shadow(ShadowHit),
    /// `hlt`; RIP is behind it and it has retired.
    Halt,
    /// `syscall` while [`Cpu::lstar`] is 0.
    Syscall {
        /// The address behind the instruction.
        next: u64,
    },
    /// `in`; go on with [`Exit::complete`].
    PortIn {
        /// The port.
        port: u16,
        /// Bytes: 1, 2 or 4.
        size: u8,
        /// The address behind the instruction.
        next: u64,
    },
    /// `out`; go on with [`Exit::complete`].
    PortOut {
        /// The port.
        port: u16,
        /// Bytes: 1, 2 or 4.
        size: u8,
        /// The value written.
        value: u32,
        /// The address behind the instruction.
        next: u64,
    },
    /// `rdmsr` of a register that the engine does not have; go on with [`Exit::complete`] or raise #GP.
    ReadMsr {
        /// Number of the register.
        msr: u32,
        /// The address behind the instruction.
        next: u64,
    },
    /// `wrmsr` of a register that the engine does not have; go on with [`Exit::complete`] or raise #GP.
    WriteMsr {
        /// Number of the register.
        msr: u32,
        /// The value written.
        value: u64,
        /// The address behind the instruction.
        next: u64,
    },
    /// `mov cr8` with a lower value than before; RIP is behind it and it has retired.
    IrqlLowered {
        /// The old value.
        from: u8,
        /// The new value.
        to: u8,
    },
    /// An access to a physical address without RAM.
    Device {
        /// The physical address.
        pa: Gpa,
        /// What the access is.
        access: Access,
        /// Bytes.
        size: u8,
        /// Whether an instruction that reads there writes there too.
        read_write: bool,
    },
    /// `rdrand` or `rdseed`; go on with [`Exit::complete`].
    Random {
        /// Number of the general register that takes it.
        register: u8,
        /// Bytes: 2, 4 or 8.
        size: u8,
        /// The address behind the instruction.
        next: u64,
    },
    /// A valid instruction that the engine does not have.
    NotModelled {
        /// Its address.
        rip: u64,
        /// Its bytes; only the first `len` count.
        bytes: [u8; 15],
        /// Its length in bytes.
        len: u8,
        /// Its disassembly.
        text: String,
    },
}

impl Exit {
    /// Ends an instruction that waits for its host: [`Exit::PortIn`], [`Exit::ReadMsr`] and [`Exit::Random`] take `value`,
    /// [`Exit::PortOut`], [`Exit::WriteMsr`] and [`Exit::Syscall`] ignore it. Gives false, and does nothing, for all others.
    pub fn complete(&self, cpu: &mut Cpu, value: u64) -> bool {
        let next = match *self {
            Exit::PortIn { size, next, .. } => {
                cpu.gpr[RAX] = merge(cpu.gpr[RAX], value, size);
                next
            }
            Exit::ReadMsr { next, .. } => {
                cpu.gpr[RAX] = value & 0xffff_ffff;
                cpu.gpr[RDX] = value >> 32;
                next
            }
            Exit::Random {
                register,
                size,
                next,
            } => {
                if let Some(place) = cpu.gpr.get_mut(usize::from(register)) {
                    *place = merge(*place, value, size);
                }
                cpu.rflags = cpu.rflags & !rflags::STATUS | rflags::CF;
                next
            }
            Exit::PortOut { next, .. } | Exit::WriteMsr { next, .. } | Exit::Syscall { next } => {
                next
            }
            _ => return false,
        };
        cpu.retire(next);
        true
    }
}

/// What a general register holds after its low `size` bytes were written.
fn merge(old: u64, value: u64, size: u8) -> u64 {
    match size {
        1 => old & !0xff | value & 0xff,
        2 => old & !0xffff | value & 0xffff,
        4 => value & 0xffff_ffff,
        _ => value,
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Limit => f.write_str("instruction limit"),
            Exit::HostCall => f.write_str("host call"),
            Exit::Exception {
                vector: vector_number::PAGE_FAULT,
                error,
                cr2,
            } => {
                write!(f, "page fault at {cr2:#x}, error code {error:#x}")
            }
            Exit::Exception { vector, error, .. } => {
                write!(f, "exception {vector}, error code {error:#x}")
            }
            Exit::SoftwareInterrupt { vector, .. } => write!(f, "int {vector:#x}"),
            Exit::Shadow(hit) => hit.fmt(f),
            Exit::Halt => f.write_str("halt"),
            Exit::Syscall { .. } => f.write_str("system call"),
            Exit::PortIn { port, size, .. } => {
                write!(f, "input of {size} bytes from port {port:#x}")
            }
            Exit::PortOut {
                port, size, value, ..
            } => {
                write!(f, "output of {value:#x} ({size} bytes) to port {port:#x}")
            }
            Exit::ReadMsr { msr, .. } => write!(f, "read of unknown MSR {msr:#x}"),
            Exit::WriteMsr { msr, value, .. } => {
                write!(f, "write of {value:#x} to unknown MSR {msr:#x}")
            }
            Exit::IrqlLowered { from, to } => write!(f, "IRQL lowered from {from} to {to}"),
            Exit::Device {
                pa, access, size, ..
            } => write!(
                f,
                "{access} of {size} bytes at physical {pa:#x}: no RAM there"
            ),
            Exit::Random { size, .. } => write!(f, "random number of {size} bytes wanted"),
            Exit::NotModelled {
                rip,
                bytes,
                len,
                text,
            } => {
                write!(f, "instruction not modelled at {rip:#x}: {text} (bytes")?;
                for byte in bytes.iter().take(usize::from(*len)) {
                    write!(f, " {byte:02x}")?;
                }
                f.write_str(")")
            }
        }
    }
}
