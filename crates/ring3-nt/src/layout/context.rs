//! Register contexts, trap frames and exceptions.

use ring3_memory::Gva;

use crate::export::argument::Code;
use crate::guest_struct;
use crate::ntstatus::NTSTATUS;

// Source: the public types of ntkrnlmp.pdb, 10.0.19041.
guest_struct! {
    /// A 128-bit register.
    pub struct M128A("_M128A", 0x10) {
        Low: u64 = 0x0,
        High: i64 = 0x8,
    }

    /// The image that fxsave writes.
    pub struct XSAVE_FORMAT("_XSAVE_FORMAT", 0x200) {
        ControlWord: u16 = 0x0,
        StatusWord: u16 = 0x2,
        TagWord: u8 = 0x4,
        ErrorOpcode: u16 = 0x6,
        ErrorOffset: u32 = 0x8,
        ErrorSelector: u16 = 0xc,
        DataOffset: u32 = 0x10,
        DataSelector: u16 = 0x14,
        MxCsr: u32 = 0x18,
        MxCsr_Mask: u32 = 0x1c,
        FloatRegisters: [M128A; 8] = 0x20,
        XmmRegisters: [M128A; 0x10] = 0xa0,
    }

    /// The registers of a thread.
    pub struct CONTEXT("_CONTEXT", 0x4d0) {
        P1Home: u64 = 0x0,
        P2Home: u64 = 0x8,
        P3Home: u64 = 0x10,
        P4Home: u64 = 0x18,
        P5Home: u64 = 0x20,
        P6Home: u64 = 0x28,
        ContextFlags: u32 = 0x30,
        MxCsr: u32 = 0x34,
        SegCs: u16 = 0x38,
        SegDs: u16 = 0x3a,
        SegEs: u16 = 0x3c,
        SegFs: u16 = 0x3e,
        SegGs: u16 = 0x40,
        SegSs: u16 = 0x42,
        EFlags: u32 = 0x44,
        Dr0: u64 = 0x48,
        Dr1: u64 = 0x50,
        Dr2: u64 = 0x58,
        Dr3: u64 = 0x60,
        Dr6: u64 = 0x68,
        Dr7: u64 = 0x70,
        Rax: u64 = 0x78,
        Rcx: u64 = 0x80,
        Rdx: u64 = 0x88,
        Rbx: u64 = 0x90,
        Rsp: u64 = 0x98,
        Rbp: u64 = 0xa0,
        Rsi: u64 = 0xa8,
        Rdi: u64 = 0xb0,
        R8: u64 = 0xb8,
        R9: u64 = 0xc0,
        R10: u64 = 0xc8,
        R11: u64 = 0xd0,
        R12: u64 = 0xd8,
        R13: u64 = 0xe0,
        R14: u64 = 0xe8,
        R15: u64 = 0xf0,
        Rip: u64 = 0xf8,
        FltSave: XSAVE_FORMAT = 0x100,
        Header: [M128A; 2] = 0x100,
        Legacy: [M128A; 8] = 0x120,
        Xmm0: M128A = 0x1a0,
        Xmm1: M128A = 0x1b0,
        Xmm2: M128A = 0x1c0,
        Xmm3: M128A = 0x1d0,
        Xmm4: M128A = 0x1e0,
        Xmm5: M128A = 0x1f0,
        Xmm6: M128A = 0x200,
        Xmm7: M128A = 0x210,
        Xmm8: M128A = 0x220,
        Xmm9: M128A = 0x230,
        Xmm10: M128A = 0x240,
        Xmm11: M128A = 0x250,
        Xmm12: M128A = 0x260,
        Xmm13: M128A = 0x270,
        Xmm14: M128A = 0x280,
        Xmm15: M128A = 0x290,
        VectorRegister: [M128A; 0x1a] = 0x300,
        VectorControl: u64 = 0x4a0,
        DebugControl: u64 = 0x4a8,
        LastBranchToRip: u64 = 0x4b0,
        LastBranchFromRip: u64 = 0x4b8,
        LastExceptionToRip: u64 = 0x4c0,
        LastExceptionFromRip: u64 = 0x4c8,
    }

    /// What an interrupt, exception or system call leaves on the stack.
    pub struct KTRAP_FRAME("_KTRAP_FRAME", 0x190) {
        P1Home: u64 = 0x0,
        P2Home: u64 = 0x8,
        P3Home: u64 = 0x10,
        P4Home: u64 = 0x18,
        P5: u64 = 0x20,
        InterruptRetpolineState: u8 = 0x28,
        PreviousMode: i8 = 0x28,
        PreviousIrql: u8 = 0x29,
        FaultIndicator: u8 = 0x2a,
        NmiMsrIbrs: u8 = 0x2a,
        ExceptionActive: u8 = 0x2b,
        MxCsr: u32 = 0x2c,
        Rax: u64 = 0x30,
        Rcx: u64 = 0x38,
        Rdx: u64 = 0x40,
        R8: u64 = 0x48,
        R9: u64 = 0x50,
        R10: u64 = 0x58,
        R11: u64 = 0x60,
        GsBase: u64 = 0x68,
        GsSwap: u64 = 0x68,
        Xmm0: M128A = 0x70,
        Xmm1: M128A = 0x80,
        Xmm2: M128A = 0x90,
        Xmm3: M128A = 0xa0,
        Xmm4: M128A = 0xb0,
        Xmm5: M128A = 0xc0,
        ContextRecord: u64 = 0xd0,
        FaultAddress: u64 = 0xd0,
        Dr0: u64 = 0xd8,
        Dr1: u64 = 0xe0,
        Dr2: u64 = 0xe8,
        Dr3: u64 = 0xf0,
        Dr6: u64 = 0xf8,
        Dr7: u64 = 0x100,
        DebugControl: u64 = 0x108,
        LastBranchToRip: u64 = 0x110,
        LastBranchFromRip: u64 = 0x118,
        LastExceptionToRip: u64 = 0x120,
        LastExceptionFromRip: u64 = 0x128,
        SegDs: u16 = 0x130,
        SegEs: u16 = 0x132,
        SegFs: u16 = 0x134,
        SegGs: u16 = 0x136,
        TrapFrame: u64 = 0x138,
        Rbx: u64 = 0x140,
        Rdi: u64 = 0x148,
        Rsi: u64 = 0x150,
        Rbp: u64 = 0x158,
        ErrorCode: u64 = 0x160,
        ExceptionFrame: u64 = 0x160,
        Rip: u64 = 0x168,
        SegCs: u16 = 0x170,
        Logging: u8 = 0x173,
        EFlags: u32 = 0x178,
        Rsp: u64 = 0x180,
        SegSs: u16 = 0x188,
    }

    /// Nonvolatile registers that a trap saves below its trap frame.
    pub struct KEXCEPTION_FRAME("_KEXCEPTION_FRAME", 0x140) {
        P1Home: u64 = 0x0,
        P2Home: u64 = 0x8,
        P3Home: u64 = 0x10,
        P4Home: u64 = 0x18,
        P5: u64 = 0x20,
        Xmm6: M128A = 0x30,
        Xmm7: M128A = 0x40,
        Xmm8: M128A = 0x50,
        Xmm9: M128A = 0x60,
        Xmm10: M128A = 0x70,
        Xmm11: M128A = 0x80,
        Xmm12: M128A = 0x90,
        Xmm13: M128A = 0xa0,
        Xmm14: M128A = 0xb0,
        Xmm15: M128A = 0xc0,
        TrapFrame: u64 = 0xd0,
        OutputBuffer: u64 = 0xd8,
        OutputLength: u64 = 0xe0,
        MxCsr: u64 = 0xf0,
        Rbp: u64 = 0xf8,
        Rbx: u64 = 0x100,
        Rdi: u64 = 0x108,
        Rsi: u64 = 0x110,
        R12: u64 = 0x118,
        R13: u64 = 0x120,
        R14: u64 = 0x128,
        R15: u64 = 0x130,
        Return: u64 = 0x138,
    }

    /// An exception.
    pub struct EXCEPTION_RECORD("_EXCEPTION_RECORD", 0x98) {
        ExceptionCode: NTSTATUS = 0x0,
        ExceptionFlags: u32 = 0x4,
        ExceptionRecord: Gva<EXCEPTION_RECORD> = 0x8,
        ExceptionAddress: Gva = 0x10,
        NumberParameters: u32 = 0x18,
        ExceptionInformation: [u64; 0xf] = 0x20,
    }

    /// An exception and the registers at it: what a filter gets.
    pub struct EXCEPTION_POINTERS("_EXCEPTION_POINTERS", 0x10) {
        ExceptionRecord: Gva<EXCEPTION_RECORD> = 0x0,
        ContextRecord: Gva<CONTEXT> = 0x8,
    }

    /// An entry of `.pdata`; `RUNTIME_FUNCTION` of the headers.
    pub struct IMAGE_RUNTIME_FUNCTION_ENTRY("_IMAGE_RUNTIME_FUNCTION_ENTRY", 0xc) {
        BeginAddress: u32 = 0x0,
        EndAddress: u32 = 0x4,
        UnwindData: u32 = 0x8,
        UnwindInfoAddress: u32 = 0x8,
    }
}

// Source: the public headers of the WDK; not among the types of that PDB.
guest_struct! {
    /// What a language-specific exception handler gets about its frame.
    pub struct DISPATCHER_CONTEXT("DISPATCHER_CONTEXT", 0x50) {
        ControlPc: u64 = 0x0,
        ImageBase: u64 = 0x8,
        FunctionEntry: Gva<IMAGE_RUNTIME_FUNCTION_ENTRY> = 0x10,
        EstablisherFrame: u64 = 0x18,
        TargetIp: u64 = 0x20,
        ContextRecord: Gva<CONTEXT> = 0x28,
        LanguageHandler: Gva<Code> = 0x30,
        HandlerData: Gva = 0x38,
        HistoryTable: Gva = 0x40,
        ScopeIndex: u32 = 0x48,
    }
}

/// Another name of [`IMAGE_RUNTIME_FUNCTION_ENTRY`].
#[allow(non_camel_case_types, clippy::upper_case_acronyms)]
pub type RUNTIME_FUNCTION = IMAGE_RUNTIME_FUNCTION_ENTRY;
