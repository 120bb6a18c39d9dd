//! Dispatcher objects, locks and queues.

use ring3_memory::Gva;

use crate::export::argument::Code;
use crate::guest_struct;
use crate::layout::{KTHREAD, LIST_ENTRY};

// Source: the public types of ntkrnlmp.pdb, 10.0.19041.
guest_struct! {
    /// The head of everything that can be waited for.
    pub struct DISPATCHER_HEADER("_DISPATCHER_HEADER", 0x18) {
        Lock: i32 = 0x0,
        MutantType: u8 = 0x0,
        QueueType: u8 = 0x0,
        ThreadType: u8 = 0x0,
        TimerType: u8 = 0x0,
        Type: u8 = 0x0,
        MutantSize: u8 = 0x1,
        QueueControlFlags: u8 = 0x1,
        Signalling: u8 = 0x1,
        TimerControlFlags: u8 = 0x1,
        Absolute: u8 = 0x1 bits(0, 1),
        Wake: u8 = 0x1 bits(1, 1),
        DpcActive: u8 = 0x2,
        Hand: u8 = 0x2,
        QueueSize: u8 = 0x2,
        Size: u8 = 0x2,
        ThreadControlFlags: u8 = 0x2,
        CycleProfiling: u8 = 0x2 bits(0, 1),
        DebugActive: u8 = 0x3,
        MutantReserved: u8 = 0x3,
        TimerMiscFlags: u8 = 0x3,
        ActiveDR7: u8 = 0x3 bits(0, 1),
        Index: u8 = 0x3 bits(0, 6),
        Inserted: u8 = 0x3 bits(6, 1),
        Expired: u8 = 0x3 bits(7, 1),
        SignalState: i32 = 0x4,
        WaitListHead: LIST_ENTRY = 0x8,
    }

    /// An event.
    pub struct KEVENT("_KEVENT", 0x18) {
        Header: DISPATCHER_HEADER = 0x0,
    }

    /// A gate.
    pub struct KGATE("_KGATE", 0x18) {
        Header: DISPATCHER_HEADER = 0x0,
    }

    /// A semaphore.
    pub struct KSEMAPHORE("_KSEMAPHORE", 0x20) {
        Header: DISPATCHER_HEADER = 0x0,
        Limit: i32 = 0x18,
    }

    /// A mutex.
    pub struct KMUTANT("_KMUTANT", 0x38) {
        Header: DISPATCHER_HEADER = 0x0,
        MutantListEntry: LIST_ENTRY = 0x18,
        OwnerThread: Gva<KTHREAD> = 0x28,
        MutantFlags: u8 = 0x30,
        Abandoned: u8 = 0x30 bits(0, 1),
        Abandoned2: u8 = 0x30 bits(0, 1),
        AbEnabled: u8 = 0x30 bits(1, 1),
        ApcDisable: u8 = 0x31,
    }

    /// A queue for worker threads.
    pub struct KQUEUE("_KQUEUE", 0x40) {
        Header: DISPATCHER_HEADER = 0x0,
        EntryListHead: LIST_ENTRY = 0x18,
        CurrentCount: u32 = 0x28,
        MaximumCount: u32 = 0x2c,
        ThreadListHead: LIST_ENTRY = 0x30,
    }

    /// One object that a thread waits for.
    pub struct KWAIT_BLOCK("_KWAIT_BLOCK", 0x30) {
        WaitListEntry: LIST_ENTRY = 0x0,
        WaitType: u8 = 0x10,
        BlockState: u8 = 0x11,
        WaitKey: u16 = 0x12,
        NotificationQueue: Gva<KQUEUE> = 0x18,
        Thread: Gva<KTHREAD> = 0x18,
        Object: Gva = 0x20,
    }

    /// A place in the queue of a queued spin lock.
    pub struct KSPIN_LOCK_QUEUE("_KSPIN_LOCK_QUEUE", 0x10) {
        Next: Gva<KSPIN_LOCK_QUEUE> = 0x0,
        Lock: Gva<u64> = 0x8,
    }

    /// A queued spin lock that is held, with the IRQL to go back to.
    pub struct KLOCK_QUEUE_HANDLE("_KLOCK_QUEUE_HANDLE", 0x18) {
        LockQueue: KSPIN_LOCK_QUEUE = 0x0,
        OldIrql: u8 = 0x10,
    }

    /// A fast mutex; also a guarded mutex.
    pub struct FAST_MUTEX("_FAST_MUTEX", 0x38) {
        Count: i32 = 0x0,
        Owner: Gva = 0x8,
        Contention: u32 = 0x10,
        Event: KEVENT = 0x18,
        OldIrql: u32 = 0x30,
    }

    /// A lock for many readers or one writer.
    pub struct ERESOURCE("_ERESOURCE", 0x68) {
        SystemResourcesList: LIST_ENTRY = 0x0,
        OwnerTable: Gva<OWNER_ENTRY> = 0x10,
        ActiveCount: i16 = 0x18,
        Flag: u16 = 0x1a,
        ReservedLowFlags: u8 = 0x1a,
        WaiterPriority: u8 = 0x1b,
        SharedWaiters: Gva = 0x20,
        ExclusiveWaiters: Gva = 0x28,
        OwnerEntry: OWNER_ENTRY = 0x30,
        ActiveEntries: u32 = 0x40,
        ContentionCount: u32 = 0x44,
        NumberOfSharedWaiters: u32 = 0x48,
        NumberOfExclusiveWaiters: u32 = 0x4c,
        Address: Gva = 0x58,
        CreatorBackTraceIndex: u64 = 0x58,
        SpinLock: u64 = 0x60,
    }

    /// An owner of an `ERESOURCE`.
    pub struct OWNER_ENTRY("_OWNER_ENTRY", 0x10) {
        OwnerThread: u64 = 0x0,
        TableSize: u32 = 0x8,
        OwnerCount: u32 = 0x8 bits(3, 29),
    }

    /// A push lock.
    pub struct EX_PUSH_LOCK("_EX_PUSH_LOCK", 0x8) {
        Ptr: Gva = 0x0,
        Value: u64 = 0x0,
    }

    /// Run-down protection.
    pub struct EX_RUNDOWN_REF("_EX_RUNDOWN_REF", 0x8) {
        Count: u64 = 0x0,
        Ptr: Gva = 0x0,
    }

    /// Run-down protection with a count for each processor.
    pub struct EX_RUNDOWN_REF_CACHE_AWARE("_EX_RUNDOWN_REF_CACHE_AWARE", 0x18) {
        RunRefs: Gva<EX_RUNDOWN_REF> = 0x0,
        PoolToFree: Gva = 0x8,
        RunRefSize: u32 = 0x10,
        Number: u32 = 0x14,
    }

    /// A device queue.
    pub struct KDEVICE_QUEUE("_KDEVICE_QUEUE", 0x28) {
        Type: i16 = 0x0,
        Size: i16 = 0x2,
        DeviceListHead: LIST_ENTRY = 0x8,
        Lock: u64 = 0x18,
        Busy: u8 = 0x20,
    }

    /// An entry of a device queue.
    pub struct KDEVICE_QUEUE_ENTRY("_KDEVICE_QUEUE_ENTRY", 0x18) {
        DeviceListEntry: LIST_ENTRY = 0x0,
        SortKey: u32 = 0x10,
        Inserted: u8 = 0x14,
    }

    /// A system work item.
    pub struct WORK_QUEUE_ITEM("_WORK_QUEUE_ITEM", 0x20) {
        List: LIST_ENTRY = 0x0,
        WorkerRoutine: Gva<Code> = 0x10,
        Parameter: Gva = 0x18,
    }

    /// A 64-bit time that is read without a lock.
    pub struct KSYSTEM_TIME("_KSYSTEM_TIME", 0xc) {
        LowPart: u32 = 0x0,
        High1Time: i32 = 0x4,
        High2Time: i32 = 0x8,
    }
}

/// Another name of [`FAST_MUTEX`].
#[allow(non_camel_case_types, clippy::upper_case_acronyms)]
pub type KGUARDED_MUTEX = FAST_MUTEX;

/// Another name of [`KMUTANT`].
#[allow(non_camel_case_types, clippy::upper_case_acronyms)]
pub type KMUTEX = KMUTANT;
