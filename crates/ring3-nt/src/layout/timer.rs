//! Timers, deferred and asynchronous procedure calls.

use ring3_memory::Gva;

use crate::export::argument::Code;
use crate::guest_struct;
use crate::layout::{DISPATCHER_HEADER, KPROCESS, KTHREAD, LIST_ENTRY, SINGLE_LIST_ENTRY};

// Source: the public types of ntkrnlmp.pdb, 10.0.19041.
guest_struct! {
    /// A timer.
    pub struct KTIMER("_KTIMER", 0x40) {
        Header: DISPATCHER_HEADER = 0x0,
        DueTime: u64 = 0x18,
        TimerListEntry: LIST_ENTRY = 0x20,
        Dpc: Gva<KDPC> = 0x30,
        Processor: u16 = 0x38,
        TimerType: u16 = 0x3a,
        Period: u32 = 0x3c,
    }

    /// A deferred procedure call.
    pub struct KDPC("_KDPC", 0x40) {
        TargetInfoAsUlong: u32 = 0x0,
        Type: u8 = 0x0,
        Importance: u8 = 0x1,
        Number: u16 = 0x2,
        DpcListEntry: SINGLE_LIST_ENTRY = 0x8,
        ProcessorHistory: u64 = 0x10,
        DeferredRoutine: Gva<Code> = 0x18,
        DeferredContext: Gva = 0x20,
        SystemArgument1: Gva = 0x28,
        SystemArgument2: Gva = 0x30,
        DpcData: Gva = 0x38,
    }

    /// The queue of deferred procedure calls of a processor.
    pub struct KDPC_DATA("_KDPC_DATA", 0x28) {
        DpcList: [u8; 0x10] = 0x0,
        DpcLock: u64 = 0x10,
        DpcQueueDepth: i32 = 0x18,
        DpcCount: u32 = 0x1c,
        ActiveDpc: Gva<KDPC> = 0x20,
    }

    /// An asynchronous procedure call.
    pub struct KAPC("_KAPC", 0x58) {
        Type: u8 = 0x0,
        Size: u8 = 0x2,
        Thread: Gva<KTHREAD> = 0x8,
        ApcListEntry: LIST_ENTRY = 0x10,
        KernelRoutine: Gva<Code> = 0x20,
        RundownRoutine: Gva<Code> = 0x28,
        NormalRoutine: Gva<Code> = 0x30,
        NormalContext: Gva = 0x38,
        SystemArgument1: Gva = 0x40,
        SystemArgument2: Gva = 0x48,
        ApcStateIndex: i8 = 0x50,
        ApcMode: i8 = 0x51,
        Inserted: u8 = 0x52,
    }

    /// The APC queues of a thread, and which process it is attached to.
    pub struct KAPC_STATE("_KAPC_STATE", 0x30) {
        ApcListHead: [LIST_ENTRY; 2] = 0x0,
        Process: Gva<KPROCESS> = 0x20,
        InProgressFlags: u8 = 0x28,
        KernelApcInProgress: u8 = 0x28 bits(0, 1),
        SpecialApcInProgress: u8 = 0x28 bits(1, 1),
        KernelApcPending: u8 = 0x29,
        UserApcPendingAll: u8 = 0x2a,
        SpecialUserApcPending: u8 = 0x2a bits(0, 1),
        UserApcPending: u8 = 0x2a bits(1, 1),
    }
}
