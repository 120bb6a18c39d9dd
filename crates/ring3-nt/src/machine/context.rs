//! What a thread keeps of the processor while it does not run.

use ring3_x64::{Cpu, RSP};

/// The registers that belong to a thread, and its IRQL.
#[derive(Clone, Hash, Debug, PartialEq, Eq, Default)]
pub struct ThreadContext {
    /// General registers in encoding order.
    pub gpr: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
    /// SSE registers.
    pub xmm: [u128; 16],
    /// SSE control and status.
    pub mxcsr: u32,
    /// Code and stack selectors.
    pub cs: u16,
    /// Stack selector.
    pub ss: u16,
    /// CR8.
    pub irql: u8,
}

/// Kernel code selector of x64 Windows.
pub const KGDT64_R0_CODE: u16 = 0x10;
/// Kernel data selector.
pub const KGDT64_R0_DATA: u16 = 0x18;

impl ThreadContext {
    /// A fresh kernel context.
    #[must_use]
    pub fn kernel(rip: u64, rsp: u64) -> Self {
        let mut context = Self {
            rip,
            rflags: 0x202,
            mxcsr: 0x1f80,
            cs: KGDT64_R0_CODE,
            ss: KGDT64_R0_DATA,
            ..Self::default()
        };
        context.gpr[RSP] = rsp;
        context
    }

    /// Takes the live registers.
    #[must_use]
    pub fn save(cpu: &Cpu) -> Self {
        Self {
            gpr: cpu.gpr,
            rip: cpu.rip,
            rflags: cpu.rflags,
            xmm: cpu.xmm,
            mxcsr: cpu.mxcsr,
            cs: cpu.cs,
            ss: cpu.ss,
            irql: cpu.cr8 as u8,
        }
    }

    /// Makes them live.
    pub fn load(&self, cpu: &mut Cpu) {
        cpu.gpr = self.gpr;
        cpu.rip = self.rip;
        cpu.rflags = self.rflags;
        cpu.xmm = self.xmm;
        cpu.mxcsr = self.mxcsr;
        cpu.cs = self.cs;
        cpu.ss = self.ss;
        cpu.cr8 = u64::from(self.irql);
    }

    /// Stack pointer.
    #[must_use]
    pub fn rsp(&self) -> u64 {
        self.gpr[RSP]
    }
}
