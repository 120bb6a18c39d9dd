//! Drivers, devices, files and what belongs to them.

use ring3_memory::Gva;

use crate::export::argument::Code;
use crate::guest_struct;
use crate::layout::{
    ETHREAD, GUID, IRP, KDEVICE_QUEUE, KDEVICE_QUEUE_ENTRY, KDPC, KEVENT, LIST_ENTRY,
    UNICODE_STRING, WORK_QUEUE_ITEM,
};
use crate::ntstatus::NTSTATUS;

// Source: the public types of ntkrnlmp.pdb, 10.0.19041.
guest_struct! {
    /// A loaded driver.
    pub struct DRIVER_OBJECT("_DRIVER_OBJECT", 0x150) {
        Type: i16 = 0x0,
        Size: i16 = 0x2,
        DeviceObject: Gva<DEVICE_OBJECT> = 0x8,
        Flags: u32 = 0x10,
        DriverStart: Gva = 0x18,
        DriverSize: u32 = 0x20,
        DriverSection: Gva = 0x28,
        DriverExtension: Gva<DRIVER_EXTENSION> = 0x30,
        DriverName: UNICODE_STRING = 0x38,
        HardwareDatabase: Gva<UNICODE_STRING> = 0x48,
        FastIoDispatch: Gva<FAST_IO_DISPATCH> = 0x50,
        DriverInit: Gva<Code> = 0x58,
        DriverStartIo: Gva<Code> = 0x60,
        DriverUnload: Gva<Code> = 0x68,
        MajorFunction: [Gva<Code>; 0x1c] = 0x70,
    }

    /// The rest of a driver object.
    pub struct DRIVER_EXTENSION("_DRIVER_EXTENSION", 0x50) {
        DriverObject: Gva<DRIVER_OBJECT> = 0x0,
        AddDevice: Gva<Code> = 0x8,
        Count: u32 = 0x10,
        ServiceKeyName: UNICODE_STRING = 0x18,
        ClientDriverExtension: Gva<IO_CLIENT_EXTENSION> = 0x28,
        FsFilterCallbacks: Gva = 0x30,
        KseCallbacks: Gva = 0x38,
        DvCallbacks: Gva = 0x40,
        VerifierContext: Gva = 0x48,
    }

    /// A device; its extension follows.
    pub struct DEVICE_OBJECT("_DEVICE_OBJECT", 0x150) {
        Type: i16 = 0x0,
        Size: u16 = 0x2,
        ReferenceCount: i32 = 0x4,
        DriverObject: Gva<DRIVER_OBJECT> = 0x8,
        NextDevice: Gva<DEVICE_OBJECT> = 0x10,
        AttachedDevice: Gva<DEVICE_OBJECT> = 0x18,
        CurrentIrp: Gva<IRP> = 0x20,
        Timer: Gva<IO_TIMER> = 0x28,
        Flags: u32 = 0x30,
        Characteristics: u32 = 0x34,
        Vpb: Gva<VPB> = 0x38,
        DeviceExtension: Gva = 0x40,
        DeviceType: u32 = 0x48,
        StackSize: i8 = 0x4c,
        Queue_ListEntry("Queue.ListEntry"): LIST_ENTRY = 0x50,
        Queue_Wcb("Queue.Wcb"): WAIT_CONTEXT_BLOCK = 0x50,
        AlignmentRequirement: u32 = 0x98,
        DeviceQueue: KDEVICE_QUEUE = 0xa0,
        Dpc: KDPC = 0xc8,
        ActiveThreadCount: u32 = 0x108,
        SecurityDescriptor: Gva = 0x110,
        DeviceLock: KEVENT = 0x118,
        SectorSize: u16 = 0x130,
        DeviceObjectExtension: Gva<DEVOBJ_EXTENSION> = 0x138,
    }

    /// The part of a device object that belongs to the I/O manager.
    pub struct DEVOBJ_EXTENSION("_DEVOBJ_EXTENSION", 0x70) {
        Type: i16 = 0x0,
        Size: u16 = 0x2,
        DeviceObject: Gva<DEVICE_OBJECT> = 0x8,
        PowerFlags: u32 = 0x10,
        Dope: Gva = 0x18,
        ExtensionFlags: u32 = 0x20,
        DeviceNode: Gva = 0x28,
        AttachedTo: Gva<DEVICE_OBJECT> = 0x30,
        StartIoCount: i32 = 0x38,
        StartIoKey: i32 = 0x3c,
        StartIoFlags: u32 = 0x40,
        Vpb: Gva<VPB> = 0x48,
        DependencyNode: Gva = 0x50,
        InterruptContext: Gva = 0x58,
        InterruptCount: i32 = 0x60,
        VerifierContext: Gva = 0x68,
    }

    /// An open instance of a device or file.
    pub struct FILE_OBJECT("_FILE_OBJECT", 0xd8) {
        Type: i16 = 0x0,
        Size: i16 = 0x2,
        DeviceObject: Gva<DEVICE_OBJECT> = 0x8,
        Vpb: Gva<VPB> = 0x10,
        FsContext: Gva = 0x18,
        FsContext2: Gva = 0x20,
        SectionObjectPointer: Gva<SECTION_OBJECT_POINTERS> = 0x28,
        PrivateCacheMap: Gva = 0x30,
        FinalStatus: i32 = 0x38,
        RelatedFileObject: Gva<FILE_OBJECT> = 0x40,
        LockOperation: u8 = 0x48,
        DeletePending: u8 = 0x49,
        ReadAccess: u8 = 0x4a,
        WriteAccess: u8 = 0x4b,
        DeleteAccess: u8 = 0x4c,
        SharedRead: u8 = 0x4d,
        SharedWrite: u8 = 0x4e,
        SharedDelete: u8 = 0x4f,
        Flags: u32 = 0x50,
        FileName: UNICODE_STRING = 0x58,
        CurrentByteOffset: i64 = 0x68,
        Waiters: u32 = 0x70,
        Busy: u32 = 0x74,
        LastLock: Gva = 0x78,
        Lock: KEVENT = 0x80,
        Event: KEVENT = 0x98,
        CompletionContext: Gva<IO_COMPLETION_CONTEXT> = 0xb0,
        IrpListLock: u64 = 0xb8,
        IrpList: LIST_ENTRY = 0xc0,
        FileObjectExtension: Gva = 0xd0,
    }

    /// A volume parameter block: which file system is mounted on a device.
    pub struct VPB("_VPB", 0x60) {
        Type: i16 = 0x0,
        Size: i16 = 0x2,
        Flags: u16 = 0x4,
        VolumeLabelLength: u16 = 0x6,
        DeviceObject: Gva<DEVICE_OBJECT> = 0x8,
        RealDevice: Gva<DEVICE_OBJECT> = 0x10,
        SerialNumber: u32 = 0x18,
        ReferenceCount: u32 = 0x1c,
        VolumeLabel: [u16; 0x20] = 0x20,
    }

    /// The outcome of a request.
    pub struct IO_STATUS_BLOCK("_IO_STATUS_BLOCK", 0x10) {
        Pointer: Gva = 0x0,
        Status: NTSTATUS = 0x0,
        Information: u64 = 0x8,
    }

    /// The timer of a device, one tick a second.
    pub struct IO_TIMER("_IO_TIMER", 0x30) {
        Type: i16 = 0x0,
        TimerFlag: i16 = 0x2,
        TimerList: LIST_ENTRY = 0x8,
        TimerRoutine: Gva<Code> = 0x18,
        Context: Gva = 0x20,
        DeviceObject: Gva<DEVICE_OBJECT> = 0x28,
    }

    /// A wait for an adapter or controller.
    pub struct WAIT_CONTEXT_BLOCK("_WAIT_CONTEXT_BLOCK", 0x48) {
        DmaWaitEntry: LIST_ENTRY = 0x0,
        WaitQueueEntry: KDEVICE_QUEUE_ENTRY = 0x0,
        NumberOfChannels: u32 = 0x10,
        SyncCallback: u32 = 0x14 bits(0, 1),
        DmaContext: u32 = 0x14 bits(1, 1),
        ZeroMapRegisters: u32 = 0x14 bits(2, 1),
        NumberOfRemapPages: u32 = 0x14 bits(12, 20),
        DeviceRoutine: Gva<Code> = 0x18,
        DeviceContext: Gva = 0x20,
        NumberOfMapRegisters: u32 = 0x28,
        DeviceObject: Gva = 0x30,
        CurrentIrp: Gva = 0x38,
        BufferChainingDpc: Gva<KDPC> = 0x40,
    }

    /// A work item of a device; private, only its size matters.
    pub struct IO_WORKITEM("_IO_WORKITEM", 0x58) {
        WorkItem: WORK_QUEUE_ITEM = 0x0,
        Routine: Gva<Code> = 0x20,
        IoObject: Gva = 0x28,
        Context: Gva = 0x30,
        WorkOnBehalfThread: Gva<ETHREAD> = 0x38,
        Type: u32 = 0x40,
        ActivityId: GUID = 0x44,
    }

    /// A remove lock of the free build.
    pub struct IO_REMOVE_LOCK("_IO_REMOVE_LOCK", 0x20) {
        Common: IO_REMOVE_LOCK_COMMON_BLOCK = 0x0,
    }

    /// A remove lock: the part that all builds have.
    pub struct IO_REMOVE_LOCK_COMMON_BLOCK("_IO_REMOVE_LOCK_COMMON_BLOCK", 0x20) {
        Removed: u8 = 0x0,
        IoCount: i32 = 0x4,
        RemoveEvent: KEVENT = 0x8,
    }

    /// A client extension of a driver object (`IoAllocateDriverObjectExtension`).
    pub struct IO_CLIENT_EXTENSION("_IO_CLIENT_EXTENSION", 0x10) {
        NextExtension: Gva<IO_CLIENT_EXTENSION> = 0x0,
        ClientIdentificationAddress: Gva = 0x8,
    }

    /// The completion port of a file object.
    pub struct IO_COMPLETION_CONTEXT("_IO_COMPLETION_CONTEXT", 0x10) {
        Port: Gva = 0x0,
        Key: Gva = 0x8,
    }

    /// Extra parameters of `IoCreateFileEx`.
    pub struct IO_DRIVER_CREATE_CONTEXT("_IO_DRIVER_CREATE_CONTEXT", 0x28) {
        Size: i16 = 0x0,
        ExtraCreateParameter: Gva = 0x8,
        DeviceObjectHint: Gva = 0x10,
        TxnParameters: Gva = 0x18,
        SiloContext: Gva = 0x20,
    }

    /// How the memory and cache managers see a file.
    pub struct SECTION_OBJECT_POINTERS("_SECTION_OBJECT_POINTERS", 0x18) {
        DataSectionObject: Gva = 0x0,
        SharedCacheMap: Gva = 0x8,
        ImageSectionObject: Gva = 0x10,
    }

    /// Entry points that a file system offers beside IRPs.
    pub struct FAST_IO_DISPATCH("_FAST_IO_DISPATCH", 0xe0) {
        SizeOfFastIoDispatch: u32 = 0x0,
        FastIoCheckIfPossible: Gva<Code> = 0x8,
        FastIoRead: Gva<Code> = 0x10,
        FastIoWrite: Gva<Code> = 0x18,
        FastIoQueryBasicInfo: Gva<Code> = 0x20,
        FastIoQueryStandardInfo: Gva<Code> = 0x28,
        FastIoLock: Gva<Code> = 0x30,
        FastIoUnlockSingle: Gva<Code> = 0x38,
        FastIoUnlockAll: Gva<Code> = 0x40,
        FastIoUnlockAllByKey: Gva<Code> = 0x48,
        FastIoDeviceControl: Gva<Code> = 0x50,
        AcquireFileForNtCreateSection: Gva<Code> = 0x58,
        ReleaseFileForNtCreateSection: Gva<Code> = 0x60,
        FastIoDetachDevice: Gva<Code> = 0x68,
        FastIoQueryNetworkOpenInfo: Gva<Code> = 0x70,
        AcquireForModWrite: Gva<Code> = 0x78,
        MdlRead: Gva<Code> = 0x80,
        MdlReadComplete: Gva<Code> = 0x88,
        PrepareMdlWrite: Gva<Code> = 0x90,
        MdlWriteComplete: Gva<Code> = 0x98,
        FastIoReadCompressed: Gva<Code> = 0xa0,
        FastIoWriteCompressed: Gva<Code> = 0xa8,
        MdlReadCompleteCompressed: Gva<Code> = 0xb0,
        MdlWriteCompleteCompressed: Gva<Code> = 0xb8,
        FastIoQueryOpen: Gva<Code> = 0xc0,
        ReleaseForModWrite: Gva<Code> = 0xc8,
        AcquireForCcFlush: Gva<Code> = 0xd0,
        ReleaseForCcFlush: Gva<Code> = 0xd8,
    }

    /// A controller shared by devices.
    pub struct CONTROLLER_OBJECT("_CONTROLLER_OBJECT", 0x48) {
        Type: i16 = 0x0,
        Size: i16 = 0x2,
        ControllerExtension: Gva = 0x8,
        DeviceWaitQueue: KDEVICE_QUEUE = 0x10,
    }

    /// Parameters of IRP_MJ_CREATE_NAMED_PIPE.
    pub struct NAMED_PIPE_CREATE_PARAMETERS("_NAMED_PIPE_CREATE_PARAMETERS", 0x28) {
        NamedPipeType: u32 = 0x0,
        ReadMode: u32 = 0x4,
        CompletionMode: u32 = 0x8,
        MaximumInstances: u32 = 0xc,
        InboundQuota: u32 = 0x10,
        OutboundQuota: u32 = 0x14,
        DefaultTimeout: i64 = 0x18,
        TimeoutSpecified: u8 = 0x20,
    }

    /// Parameters of IRP_MJ_CREATE_MAILSLOT.
    pub struct MAILSLOT_CREATE_PARAMETERS("_MAILSLOT_CREATE_PARAMETERS", 0x18) {
        MailslotQuota: u32 = 0x0,
        MaximumMessageSize: u32 = 0x4,
        ReadTimeout: i64 = 0x8,
        TimeoutSpecified: u8 = 0x10,
    }
}

// Source: the public headers of the WDK; not among the types of that PDB.
guest_struct! {
    /// A cancel-safe queue.
    pub struct IO_CSQ("IO_CSQ", 0x40) {
        Type: u32 = 0x0,
        CsqInsertIrp: Gva<Code> = 0x8,
        CsqRemoveIrp: Gva<Code> = 0x10,
        CsqPeekNextIrp: Gva<Code> = 0x18,
        CsqAcquireLock: Gva<Code> = 0x20,
        CsqReleaseLock: Gva<Code> = 0x28,
        CsqCompleteCanceledIrp: Gva<Code> = 0x30,
        ReservePointer: Gva = 0x38,
    }

    /// How a file is shared among its opens.
    pub struct SHARE_ACCESS("SHARE_ACCESS", 0x1c) {
        OpenCount: u32 = 0x0,
        Readers: u32 = 0x4,
        Writers: u32 = 0x8,
        Deleters: u32 = 0xc,
        SharedRead: u32 = 0x10,
        SharedWrite: u32 = 0x14,
        SharedDelete: u32 = 0x18,
    }

    /// An entry for the error log.
    pub struct IO_ERROR_LOG_PACKET("IO_ERROR_LOG_PACKET", 0x30) {
        MajorFunctionCode: u8 = 0x0,
        RetryCount: u8 = 0x1,
        DumpDataSize: u16 = 0x2,
        NumberOfStrings: u16 = 0x4,
        StringOffset: u16 = 0x6,
        EventCategory: u16 = 0x8,
        ErrorCode: NTSTATUS = 0xc,
        UniqueErrorValue: u32 = 0x10,
        FinalStatus: NTSTATUS = 0x14,
        SequenceNumber: u32 = 0x18,
        IoControlCode: u32 = 0x1c,
        DeviceOffset: i64 = 0x20,
        DumpData: [u32; 1] = 0x28,
    }

    /// How many devices of some kinds there are.
    pub struct CONFIGURATION_INFORMATION("CONFIGURATION_INFORMATION", 0x28) {
        DiskCount: u32 = 0x0,
        FloppyCount: u32 = 0x4,
        CdRomCount: u32 = 0x8,
        TapeCount: u32 = 0xc,
        ScsiPortCount: u32 = 0x10,
        SerialCount: u32 = 0x14,
        ParallelCount: u32 = 0x18,
        AtDiskPrimaryAddressClaimed: u8 = 0x1c,
        AtDiskSecondaryAddressClaimed: u8 = 0x1d,
        Version: u32 = 0x20,
        MediumChangerCount: u32 = 0x24,
    }
}
