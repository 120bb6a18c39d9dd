//! Pool, memory descriptor lists and lookaside lists.

use ring3_memory::Gva;

use crate::export::argument::Code;
use crate::guest_struct;
use crate::layout::{EPROCESS, LIST_ENTRY, SINGLE_LIST_ENTRY, SLIST_HEADER};

// Source: the public types of ntkrnlmp.pdb, 10.0.19041.
guest_struct! {
    /// A memory descriptor list; its page frame numbers follow.
    pub struct MDL("_MDL", 0x30) {
        Next: Gva<MDL> = 0x0,
        Size: i16 = 0x8,
        MdlFlags: i16 = 0xa,
        AllocationProcessorNumber: u16 = 0xc,
        Process: Gva<EPROCESS> = 0x10,
        MappedSystemVa: Gva = 0x18,
        StartVa: Gva = 0x20,
        ByteCount: u32 = 0x28,
        ByteOffset: u32 = 0x2c,
    }

    /// The header before a block of pool.
    pub struct POOL_HEADER("_POOL_HEADER", 0x10) {
        Ulong1: u32 = 0x0,
        PreviousSize: u16 = 0x0 bits(0, 8),
        PoolIndex: u16 = 0x0 bits(8, 8),
        BlockSize: u16 = 0x2 bits(0, 8),
        PoolType: u16 = 0x2 bits(8, 8),
        PoolTag: u32 = 0x4,
        AllocatorBackTraceIndex: u16 = 0x8,
        ProcessBilled: Gva<EPROCESS> = 0x8,
        PoolTagHash: u16 = 0xa,
    }

    /// A lookaside list; 64-byte aligned.
    pub struct GENERAL_LOOKASIDE("_GENERAL_LOOKASIDE", 0x80) {
        ListHead: SLIST_HEADER = 0x0,
        SingleListHead: SINGLE_LIST_ENTRY = 0x0,
        Depth: u16 = 0x10,
        MaximumDepth: u16 = 0x12,
        TotalAllocates: u32 = 0x14,
        AllocateHits: u32 = 0x18,
        AllocateMisses: u32 = 0x18,
        TotalFrees: u32 = 0x1c,
        FreeHits: u32 = 0x20,
        FreeMisses: u32 = 0x20,
        Type: i32 = 0x24,
        Tag: u32 = 0x28,
        Size: u32 = 0x2c,
        Allocate: Gva<Code> = 0x30,
        AllocateEx: Gva<Code> = 0x30,
        Free: Gva<Code> = 0x38,
        FreeEx: Gva<Code> = 0x38,
        ListEntry: LIST_ENTRY = 0x40,
        LastTotalAllocates: u32 = 0x50,
        LastAllocateHits: u32 = 0x54,
        LastAllocateMisses: u32 = 0x54,
        Future: [u32; 2] = 0x58,
    }

    /// A lookaside list inside a processor control block.
    pub struct GENERAL_LOOKASIDE_POOL("_GENERAL_LOOKASIDE_POOL", 0x60) {
        ListHead: SLIST_HEADER = 0x0,
        SingleListHead: SINGLE_LIST_ENTRY = 0x0,
        Depth: u16 = 0x10,
        MaximumDepth: u16 = 0x12,
        TotalAllocates: u32 = 0x14,
        AllocateHits: u32 = 0x18,
        AllocateMisses: u32 = 0x18,
        TotalFrees: u32 = 0x1c,
        FreeHits: u32 = 0x20,
        FreeMisses: u32 = 0x20,
        Type: i32 = 0x24,
        Tag: u32 = 0x28,
        Size: u32 = 0x2c,
        Allocate: Gva<Code> = 0x30,
        AllocateEx: Gva<Code> = 0x30,
        Free: Gva<Code> = 0x38,
        FreeEx: Gva<Code> = 0x38,
        ListEntry: LIST_ENTRY = 0x40,
        LastTotalAllocates: u32 = 0x50,
        LastAllocateHits: u32 = 0x54,
        LastAllocateMisses: u32 = 0x54,
        Future: [u32; 2] = 0x58,
    }

    /// A nonpaged lookaside list.
    pub struct NPAGED_LOOKASIDE_LIST("_NPAGED_LOOKASIDE_LIST", 0x80) {
        L: GENERAL_LOOKASIDE = 0x0,
    }

    /// A paged lookaside list.
    pub struct PAGED_LOOKASIDE_LIST("_PAGED_LOOKASIDE_LIST", 0x80) {
        L: GENERAL_LOOKASIDE = 0x0,
    }

    /// A lookaside list with routines of its own.
    pub struct LOOKASIDE_LIST_EX("_LOOKASIDE_LIST_EX", 0x60) {
        L: GENERAL_LOOKASIDE_POOL = 0x0,
    }

    /// A run of physical pages.
    pub struct PHYSICAL_MEMORY_RUN("_PHYSICAL_MEMORY_RUN", 0x10) {
        BasePage: u64 = 0x0,
        PageCount: u64 = 0x8,
    }

    /// All physical memory, in pages.
    pub struct PHYSICAL_MEMORY_DESCRIPTOR("_PHYSICAL_MEMORY_DESCRIPTOR", 0x20) {
        NumberOfRuns: u32 = 0x0,
        NumberOfPages: u64 = 0x8,
        Run: [PHYSICAL_MEMORY_RUN; 1] = 0x10,
    }
}

// Source: the public headers of the WDK; not among the types of that PDB.
guest_struct! {
    /// A range of physical memory, in bytes.
    pub struct PHYSICAL_MEMORY_RANGE("PHYSICAL_MEMORY_RANGE", 0x10) {
        BaseAddress: i64 = 0x0,
        NumberOfBytes: i64 = 0x8,
    }
}
