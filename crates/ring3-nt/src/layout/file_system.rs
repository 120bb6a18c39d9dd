//! What file systems and their filters share with the kernel.

use ring3_memory::Gva;

use crate::guest_struct;
use crate::layout::{ERESOURCE, EX_PUSH_LOCK, FAST_MUTEX, LIST_ENTRY};

// Source: the public types of ntkrnlmp.pdb, 10.0.19041.
guest_struct! {
    /// The head of a file control block.
    pub struct FSRTL_ADVANCED_FCB_HEADER("_FSRTL_ADVANCED_FCB_HEADER", 0x68) {
        NodeTypeCode: i16 = 0x0,
        NodeByteSize: i16 = 0x2,
        Flags: u8 = 0x4,
        IsFastIoPossible: u8 = 0x5,
        Flags2: u8 = 0x6,
        Version: u8 = 0x7 bits(4, 4),
        Resource: Gva<ERESOURCE> = 0x8,
        PagingIoResource: Gva<ERESOURCE> = 0x10,
        AllocationSize: i64 = 0x18,
        FileSize: i64 = 0x20,
        ValidDataLength: i64 = 0x28,
        FastMutex: Gva<FAST_MUTEX> = 0x30,
        FilterContexts: LIST_ENTRY = 0x38,
        PushLock: EX_PUSH_LOCK = 0x48,
        FileContextSupportPointer: Gva<Gva> = 0x50,
        Oplock: Gva = 0x58,
        ReservedForRemote: Gva = 0x58,
        ReservedContext: Gva = 0x60,
    }
}

// Source: the public headers of the WDK; not among the types of that PDB.
guest_struct! {
    /// The head of the head of a file control block.
    pub struct FSRTL_COMMON_FCB_HEADER("FSRTL_COMMON_FCB_HEADER", 0x30) {
        NodeTypeCode: i16 = 0x0,
        NodeByteSize: i16 = 0x2,
        Flags: u8 = 0x4,
        IsFastIoPossible: u8 = 0x5,
        Flags2: u8 = 0x6,
        Resource: Gva<ERESOURCE> = 0x8,
        PagingIoResource: Gva<ERESOURCE> = 0x10,
        AllocationSize: i64 = 0x18,
        FileSize: i64 = 0x20,
        ValidDataLength: i64 = 0x28,
    }
}
