//! Processors.

use ring3_memory::Gva;

use crate::guest_struct;
use crate::layout::{
    CONTEXT, KDPC, KDPC_DATA, KGATE, KSPIN_LOCK_QUEUE, KTHREAD, LIST_ENTRY, NT_TIB,
    SINGLE_LIST_ENTRY, SLIST_HEADER,
};

// Source: the public types of ntkrnlmp.pdb, 10.0.19041.
guest_struct! {
    /// The region of a processor that gs points to in kernel mode.
    pub struct KPCR("_KPCR", 0xb080) {
        GdtBase: Gva<KGDTENTRY64> = 0x0,
        NtTib: NT_TIB = 0x0,
        TssBase: Gva<KTSS64> = 0x8,
        UserRsp: u64 = 0x10,
        Self_("Self"): Gva<KPCR> = 0x18,
        CurrentPrcb: Gva<KPRCB> = 0x20,
        LockArray: Gva<KSPIN_LOCK_QUEUE> = 0x28,
        Used_Self: Gva = 0x30,
        IdtBase: Gva<KIDTENTRY64> = 0x38,
        Irql: u8 = 0x50,
        SecondLevelCacheAssociativity: u8 = 0x51,
        ObsoleteNumber: u8 = 0x52,
        MajorVersion: u16 = 0x60,
        MinorVersion: u16 = 0x62,
        StallScaleFactor: u32 = 0x64,
        SecondLevelCacheSize: u32 = 0xbc,
        KdVersionBlock: Gva = 0x108,
        PcrAlign1: [u32; 0x18] = 0x118,
        Prcb: KPRCB = 0x180,
    }

    /// The control block of a processor, in its KPCR.
    pub struct KPRCB("_KPRCB", 0xaf00) {
        MxCsr: u32 = 0x0,
        LegacyNumber: u8 = 0x4,
        InterruptRequest: u8 = 0x6,
        IdleHalt: u8 = 0x7,
        CurrentThread: Gva<KTHREAD> = 0x8,
        NextThread: Gva<KTHREAD> = 0x10,
        IdleThread: Gva<KTHREAD> = 0x18,
        NestingLevel: u8 = 0x20,
        ClockOwner: u8 = 0x21,
        IdleState: u8 = 0x23,
        Number: u32 = 0x24,
        RspBase: u64 = 0x28,
        PrcbLock: u64 = 0x30,
        PriorityState: Gva<i8> = 0x38,
        CpuType: i8 = 0x40,
        CpuID: i8 = 0x41,
        CpuStep: u16 = 0x42,
        CpuStepping: u8 = 0x42,
        CpuModel: u8 = 0x43,
        MHz: u32 = 0x44,
        HalReserved: [u64; 8] = 0x48,
        MinorVersion: u16 = 0x88,
        MajorVersion: u16 = 0x8a,
        BuildType: u8 = 0x8c,
        CpuVendor: u8 = 0x8d,
        CoresPerPhysicalProcessor: u8 = 0x8e,
        LogicalProcessorsPerCore: u8 = 0x8f,
        ParentNode: Gva = 0xc0,
        GroupSetMember: u64 = 0xc8,
        Group: u8 = 0xd0,
        GroupIndex: u8 = 0xd1,
        InitialApicId: u32 = 0xd4,
        PrcbFlags: u32 = 0xec,
        ProcessorState: KPROCESSOR_STATE = 0x100,
        ProcessorSignature: u32 = 0x6c8,
        PPLookasideList: [[u8; 0x10]; 0x10] = 0x800,
        DeferredReadyListHead: SINGLE_LIST_ENTRY = 0x2d08,
        KeSystemCalls: u32 = 0x2d38,
        KeContextSwitches: u32 = 0x2d3c,
        PacketBarrier: i32 = 0x2d80,
        InterruptObjectPool: SLIST_HEADER = 0x3080,
        DpcData: [KDPC_DATA; 2] = 0x30c0,
        DpcStack: Gva = 0x3110,
        MaximumDpcQueueDepth: i32 = 0x3118,
        DpcRequestRate: u32 = 0x311c,
        MinimumDpcRate: u32 = 0x3120,
        DpcLastCount: u32 = 0x3124,
        ThreadDpcEnable: u8 = 0x3128,
        QuantumEnd: u8 = 0x3129,
        DpcRoutineActive: u8 = 0x312a,
        IdleSchedule: u8 = 0x312b,
        NormalDpcState: i16 = 0x312c,
        TimerTable: [u8; 0x4218] = 0x3940,
        DpcGate: KGATE = 0x7b80,
        CallDpc: KDPC = 0x7ba0,
        ClockKeepAlive: i32 = 0x7be0,
        KeSpinLockOrdering: i32 = 0x7bf0,
        WaitListHead: LIST_ENTRY = 0x7c00,
        ReadySummary: u32 = 0x7c18,
        DispatcherReadyListHead: [LIST_ENTRY; 0x20] = 0x7c80,
        InterruptCount: u32 = 0x7e80,
        KernelTime: u32 = 0x7e84,
        UserTime: u32 = 0x7e88,
        DpcTime: u32 = 0x7e8c,
        InterruptTime: u32 = 0x7e90,
        AdjustDpcThreshold: u32 = 0x7e94,
        DebuggerSavedIRQL: u8 = 0x7e98,
        DpcTimeCount: u32 = 0x7e9c,
        DpcTimeLimit: u32 = 0x7ea0,
        NodeColor: u32 = 0x7f14,
        VendorString: [u8; 0xd] = 0x8590,
        FeatureBits: u64 = 0x85a0,
        UpdateSignature: i64 = 0x85a8,
        Context: Gva<CONTEXT> = 0x85c0,
        ContextFlagsInit: u32 = 0x85c8,
        ExtendedState: Gva = 0x85d0,
        IsrStack: Gva = 0x85d8,
    }

    /// The registers of a processor, as saved for a debugger.
    pub struct KPROCESSOR_STATE("_KPROCESSOR_STATE", 0x5c0) {
        SpecialRegisters: KSPECIAL_REGISTERS = 0x0,
        ContextFrame: CONTEXT = 0xf0,
    }

    /// System registers of a processor.
    pub struct KSPECIAL_REGISTERS("_KSPECIAL_REGISTERS", 0xf0) {
        Cr0: u64 = 0x0,
        Cr2: u64 = 0x8,
        Cr3: u64 = 0x10,
        Cr4: u64 = 0x18,
        KernelDr0: u64 = 0x20,
        KernelDr1: u64 = 0x28,
        KernelDr2: u64 = 0x30,
        KernelDr3: u64 = 0x38,
        KernelDr6: u64 = 0x40,
        KernelDr7: u64 = 0x48,
        Gdtr: KDESCRIPTOR = 0x50,
        Idtr: KDESCRIPTOR = 0x60,
        Tr: u16 = 0x70,
        Ldtr: u16 = 0x72,
        MxCsr: u32 = 0x74,
        DebugControl: u64 = 0x78,
        LastBranchToRip: u64 = 0x80,
        LastBranchFromRip: u64 = 0x88,
        LastExceptionToRip: u64 = 0x90,
        LastExceptionFromRip: u64 = 0x98,
        Cr8: u64 = 0xa0,
        MsrGsBase: u64 = 0xa8,
        MsrGsSwap: u64 = 0xb0,
        MsrStar: u64 = 0xb8,
        MsrLStar: u64 = 0xc0,
        MsrCStar: u64 = 0xc8,
        MsrSyscallMask: u64 = 0xd0,
        Xcr0: u64 = 0xd8,
        MsrFsBase: u64 = 0xe0,
    }

    /// A descriptor table register.
    pub struct KDESCRIPTOR("_KDESCRIPTOR", 0x10) {
        Limit: u16 = 0x6,
        Base: Gva = 0x8,
    }

    /// A task state segment.
    pub struct KTSS64("_KTSS64", 0x68) {
        Rsp0: u64 = 0x4,
        Rsp1: u64 = 0xc,
        Rsp2: u64 = 0x14,
        Ist: [u64; 8] = 0x1c,
        IoMapBase: u16 = 0x66,
    }

    /// A segment descriptor.
    pub struct KGDTENTRY64("_KGDTENTRY64", 0x10) {
        DataLow: i64 = 0x0,
        LimitLow: u16 = 0x0,
        BaseLow: u16 = 0x2,
        Bytes_BaseMiddle("Bytes.BaseMiddle"): u8 = 0x4,
        Bytes_Flags1("Bytes.Flags1"): u8 = 0x5,
        Bytes_Flags2("Bytes.Flags2"): u8 = 0x6,
        Bytes_BaseHigh("Bytes.BaseHigh"): u8 = 0x7,
        BaseUpper: u32 = 0x8,
        DataHigh: i64 = 0x8,
        MustBeZero: u32 = 0xc,
    }

    /// An interrupt gate.
    pub struct KIDTENTRY64("_KIDTENTRY64", 0x10) {
        Alignment: u64 = 0x0,
        OffsetLow: u16 = 0x0,
        Selector: u16 = 0x2,
        IstIndex: u16 = 0x4 bits(0, 3),
        Type: u16 = 0x4 bits(8, 5),
        Dpl: u16 = 0x4 bits(13, 2),
        Present: u16 = 0x4 bits(15, 1),
        OffsetMiddle: u16 = 0x6,
        OffsetHigh: u32 = 0x8,
    }

    /// A processor by group and number.
    pub struct PROCESSOR_NUMBER("_PROCESSOR_NUMBER", 0x4) {
        Group: u16 = 0x0,
        Number: u8 = 0x2,
    }

    /// Processors of one group.
    pub struct GROUP_AFFINITY("_GROUP_AFFINITY", 0x10) {
        Mask: u64 = 0x0,
        Group: u16 = 0x8,
    }

    /// Processors of all groups.
    pub struct KAFFINITY_EX("_KAFFINITY_EX", 0xa8) {
        Count: u16 = 0x0,
        Size: u16 = 0x2,
        Bitmap: [u64; 0x14] = 0x8,
    }
}
