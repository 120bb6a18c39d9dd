//! The architectural state of one virtual processor.

use ring3_memory::{Context, Privilege};

/// Number of RAX in [`Cpu::gpr`].
pub const RAX: usize = 0;
/// Number of RCX in [`Cpu::gpr`].
pub const RCX: usize = 1;
/// Number of RDX in [`Cpu::gpr`].
pub const RDX: usize = 2;
/// Number of RBX in [`Cpu::gpr`].
pub const RBX: usize = 3;
/// Number of RSP in [`Cpu::gpr`].
pub const RSP: usize = 4;
/// Number of RBP in [`Cpu::gpr`].
pub const RBP: usize = 5;
/// Number of RSI in [`Cpu::gpr`].
pub const RSI: usize = 6;
/// Number of RDI in [`Cpu::gpr`].
pub const RDI: usize = 7;
/// Number of R8 in [`Cpu::gpr`].
pub const R8: usize = 8;
/// Number of R9 in [`Cpu::gpr`].
pub const R9: usize = 9;
/// Number of R10 in [`Cpu::gpr`].
pub const R10: usize = 10;
/// Number of R11 in [`Cpu::gpr`].
pub const R11: usize = 11;
/// Number of R12 in [`Cpu::gpr`].
pub const R12: usize = 12;
/// Number of R13 in [`Cpu::gpr`].
pub const R13: usize = 13;
/// Number of R14 in [`Cpu::gpr`].
pub const R14: usize = 14;
/// Number of R15 in [`Cpu::gpr`].
pub const R15: usize = 15;

/// Bits of RFLAGS (Intel SDM volume 1, 3.4.3).
pub mod rflags {
    /// Carry.
    pub const CF: u64 = 1 << 0;
    /// Always one.
    pub const ONE: u64 = 1 << 1;
    /// Parity of the low byte.
    pub const PF: u64 = 1 << 2;
    /// Carry out of bit 3.
    pub const AF: u64 = 1 << 4;
    /// Zero.
    pub const ZF: u64 = 1 << 6;
    /// Sign.
    pub const SF: u64 = 1 << 7;
    /// Trap after each instruction.
    pub const TF: u64 = 1 << 8;
    /// Interrupts enabled.
    pub const IF: u64 = 1 << 9;
    /// String instructions go down.
    pub const DF: u64 = 1 << 10;
    /// Signed overflow.
    pub const OF: u64 = 1 << 11;
    /// I/O privilege level, two bits.
    pub const IOPL: u64 = 3 << 12;
    /// Nested task.
    pub const NT: u64 = 1 << 14;
    /// Resume: no instruction breakpoint at the next instruction.
    pub const RF: u64 = 1 << 16;
    /// Virtual-8086 mode; never set here.
    pub const VM: u64 = 1 << 17;
    /// Alignment check, and permission for supervisor accesses to user pages under SMAP.
    pub const AC: u64 = 1 << 18;
    /// The identification bit, writable as a sign that CPUID exists.
    pub const ID: u64 = 1 << 21;
    /// The six flags that arithmetic sets.
    pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;
}

/// Bits of CR0 (Intel SDM volume 3, 2.5).
pub mod cr0 {
    /// Protected mode.
    pub const PE: u64 = 1 << 0;
    /// Monitor coprocessor.
    pub const MP: u64 = 1 << 1;
    /// No x87: SSE is #UD too.
    pub const EM: u64 = 1 << 2;
    /// Task switched: x87 and SSE are #NM.
    pub const TS: u64 = 1 << 3;
    /// Extension type, always one.
    pub const ET: u64 = 1 << 4;
    /// x87 errors are exceptions.
    pub const NE: u64 = 1 << 5;
    /// Write protection holds for the supervisor too.
    pub const WP: u64 = 1 << 16;
    /// Alignment checks are possible.
    pub const AM: u64 = 1 << 18;
    /// Paging.
    pub const PG: u64 = 1 << 31;
}

/// Bits of CR4 (Intel SDM volume 3, 2.5).
pub mod cr4 {
    /// Debugging extensions.
    pub const DE: u64 = 1 << 3;
    /// Large pages.
    pub const PSE: u64 = 1 << 4;
    /// Physical addresses beyond 32 bits.
    pub const PAE: u64 = 1 << 5;
    /// Machine check.
    pub const MCE: u64 = 1 << 6;
    /// Global pages.
    pub const PGE: u64 = 1 << 7;
    /// SSE is usable.
    pub const OSFXSR: u64 = 1 << 9;
    /// SSE errors are #XM.
    pub const OSXMMEXCPT: u64 = 1 << 10;
    /// SGDT and its kind are #GP in user mode.
    pub const UMIP: u64 = 1 << 11;
    /// RDFSBASE and its kind are usable.
    pub const FSGSBASE: u64 = 1 << 16;
    /// XSAVE and XGETBV are usable.
    pub const OSXSAVE: u64 = 1 << 18;
    /// The supervisor can't execute user pages.
    pub const SMEP: u64 = 1 << 20;
    /// The supervisor can't access user pages unless RFLAGS.AC.
    pub const SMAP: u64 = 1 << 21;
}

/// Bits of IA32_EFER (Intel SDM volume 3, 2.2.1).
pub mod efer {
    /// SYSCALL is usable.
    pub const SCE: u64 = 1 << 0;
    /// Long mode enabled.
    pub const LME: u64 = 1 << 8;
    /// Long mode active.
    pub const LMA: u64 = 1 << 10;
    /// The no-execute bit of page table entries counts.
    pub const NXE: u64 = 1 << 11;
}

/// The x87 state, as far as FXSAVE and FXRSTOR move it. No instruction here computes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct X87 {
    /// Control word.
    pub fcw: u16,
    /// Status word.
    pub fsw: u16,
    /// The abridged tag word: bit n set means physical register n is not empty.
    pub ftw: u8,
    /// Last opcode.
    pub fop: u16,
    /// Last instruction pointer.
    pub fip: u64,
    /// Last data pointer.
    pub fdp: u64,
    /// ST0 to ST7, 80 bits each.
    pub st: [u128; 8],
}

impl Default for X87 {
    /// The state after FNINIT.
    fn default() -> Self {
        Self {
            fcw: 0x37f,
            fsw: 0,
            ftw: 0,
            fop: 0,
            fip: 0,
            fdp: 0,
            st: [0; 8],
        }
    }
}

/// The whole state of one virtual processor between two instructions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cpu {
    /// General registers in encoding order: RAX RCX RDX RBX RSP RBP RSI RDI R8 to R15.
    pub gpr: [u64; 16],
    /// Address of the instruction that would run next.
    pub rip: u64,
    /// RFLAGS, always up to date outside of [`Engine::run`](crate::Engine::run).
    pub rflags: u64,
    /// XMM0 to XMM15.
    pub xmm: [u128; 16],
    /// SSE control and status.
    pub mxcsr: u32,
    /// x87 state.
    pub x87: X87,
    /// Code segment selector; its low two bits are the CPL.
    pub cs: u16,
    /// Stack segment selector.
    pub ss: u16,
    /// Data segment selector.
    pub ds: u16,
    /// Extra segment selector.
    pub es: u16,
    /// FS selector.
    pub fs: u16,
    /// GS selector.
    pub gs: u16,
    /// Base of FS (IA32_FS_BASE).
    pub fs_base: u64,
    /// Base of GS (IA32_GS_BASE).
    pub gs_base: u64,
    /// What SWAPGS exchanges with the base of GS (IA32_KERNEL_GS_BASE).
    pub kernel_gs_base: u64,
    /// CR0.
    pub cr0: u64,
    /// CR2, the address of the last page fault. The engine does not set it: who delivers the exception does.
    pub cr2: u64,
    /// CR3, the physical address of the top page table.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// CR8, the task priority 0 to 15.
    pub cr8: u64,
    /// DR0 to DR7 (4 and 5 are unused).
    pub dr: [u64; 8],
    /// IA32_EFER.
    pub efer: u64,
    /// IA32_STAR.
    pub star: u64,
    /// IA32_LSTAR. While it is 0, SYSCALL is [`Exit::Syscall`](crate::Exit::Syscall).
    pub lstar: u64,
    /// IA32_CSTAR.
    pub cstar: u64,
    /// IA32_FMASK.
    pub sfmask: u64,
    /// IA32_PAT.
    pub pat: u64,
    /// IA32_APIC_BASE.
    pub apic_base: u64,
    /// IA32_TSC_AUX, what RDTSCP gives in ECX.
    pub tsc_aux: u64,
    /// XCR0.
    pub xcr0: u64,
    /// GDTR: base and limit.
    pub gdtr: (u64, u16),
    /// IDTR: base and limit.
    pub idtr: (u64, u16),
    /// LDT selector.
    pub ldtr: u16,
    /// Task register selector.
    pub tr: u16,
    /// Instructions retired since the start of the machine.
    pub icount: u64,
    /// The time stamp counter at `icount` 0.
    pub tsc_base: u64,
    /// Ticks of the time stamp counter per instruction.
    pub tsc_per_instruction: u64,
}

impl Default for Cpu {
    /// 64-bit kernel mode with paging as an operating system runs it; CR3, RIP, RSP and the tables are 0.
    fn default() -> Self {
        Self {
            gpr: [0; 16],
            rip: 0,
            rflags: rflags::ONE,
            xmm: [0; 16],
            mxcsr: crate::vector::MXCSR_DEFAULT,
            x87: X87::default(),
            cs: 0x10,
            ss: 0x18,
            ds: 0x2b,
            es: 0x2b,
            fs: 0x53,
            gs: 0x2b,
            fs_base: 0,
            gs_base: 0,
            kernel_gs_base: 0,
            cr0: cr0::PE | cr0::MP | cr0::ET | cr0::NE | cr0::WP | cr0::AM | cr0::PG,
            cr2: 0,
            cr3: 0,
            cr4: cr4::DE
                | cr4::PSE
                | cr4::PAE
                | cr4::MCE
                | cr4::PGE
                | cr4::OSFXSR
                | cr4::OSXMMEXCPT
                | cr4::UMIP
                | cr4::SMEP,
            cr8: 0,
            dr: [0, 0, 0, 0, 0, 0, 0xffff_0ff0, 0x400],
            efer: efer::SCE | efer::LME | efer::LMA | efer::NXE,
            star: 0,
            lstar: 0,
            cstar: 0,
            sfmask: 0,
            pat: 0x0007_0406_0007_0406,
            apic_base: 0xfee0_0900,
            tsc_aux: 0,
            xcr0: 3,
            gdtr: (0, 0),
            idtr: (0, 0),
            ldtr: 0,
            tr: 0,
            icount: 0,
            tsc_base: 0,
            tsc_per_instruction: 1,
        }
    }
}

impl Cpu {
    /// The current privilege level, 0 or 3.
    pub fn cpl(&self) -> u8 {
        (self.cs & 3) as u8
    }

    /// On whose behalf instructions access memory now.
    pub fn privilege(&self) -> Privilege {
        if self.cpl() == 3 {
            Privilege::User
        } else {
            Privilege::Supervisor
        }
    }

    /// The time stamp counter: an affine function of [`Cpu::icount`], so it is the same in each run.
    pub fn tsc(&self) -> u64 {
        self.tsc_base
            .wrapping_add(self.icount.wrapping_mul(self.tsc_per_instruction))
    }

    /// What memory must know to translate for this processor.
    pub fn context(&self) -> Context {
        Context {
            cr3: self.cr3,
            wp: self.cr0 & cr0::WP != 0,
            nxe: self.efer & efer::NXE != 0,
            smep: self.cr4 & cr4::SMEP != 0,
            smap: self.cr4 & cr4::SMAP != 0 && self.rflags & rflags::AC == 0,
        }
    }

    /// Ends the instruction at [`Cpu::rip`] from outside: it counts as retired, and `next` is the one that follows.
    pub fn retire(&mut self, next: u64) {
        self.rip = next;
        self.icount = self.icount.wrapping_add(1);
    }
}
