//! Plug and Play, resources, power and DMA.

use ring3_memory::Gva;

use crate::export::argument::Code;
use crate::guest_struct;
use crate::layout::{
    DEVICE_OBJECT, FILE_OBJECT, GUID, KEVENT, KTHREAD, KTRAP_FRAME, LIST_ENTRY, UNICODE_STRING,
};

// Source: the public types of ntkrnlmp.pdb, 10.0.19041.
guest_struct! {
    /// The result of IRP_MN_QUERY_CAPABILITIES.
    pub struct DEVICE_CAPABILITIES("_DEVICE_CAPABILITIES", 0x40) {
        Size: u16 = 0x0,
        Version: u16 = 0x2,
        DeviceD1: u32 = 0x4 bits(0, 1),
        DeviceD2: u32 = 0x4 bits(1, 1),
        LockSupported: u32 = 0x4 bits(2, 1),
        EjectSupported: u32 = 0x4 bits(3, 1),
        Removable: u32 = 0x4 bits(4, 1),
        DockDevice: u32 = 0x4 bits(5, 1),
        UniqueID: u32 = 0x4 bits(6, 1),
        SilentInstall: u32 = 0x4 bits(7, 1),
        RawDeviceOK: u32 = 0x4 bits(8, 1),
        SurpriseRemovalOK: u32 = 0x4 bits(9, 1),
        WakeFromD0: u32 = 0x4 bits(10, 1),
        WakeFromD1: u32 = 0x4 bits(11, 1),
        WakeFromD2: u32 = 0x4 bits(12, 1),
        WakeFromD3: u32 = 0x4 bits(13, 1),
        HardwareDisabled: u32 = 0x4 bits(14, 1),
        NonDynamic: u32 = 0x4 bits(15, 1),
        WarmEjectSupported: u32 = 0x4 bits(16, 1),
        NoDisplayInUI: u32 = 0x4 bits(17, 1),
        Address: u32 = 0x8,
        UINumber: u32 = 0xc,
        DeviceState: [i32; 7] = 0x10,
        SystemWake: i32 = 0x2c,
        DeviceWake: i32 = 0x30,
        D1Latency: u32 = 0x34,
        D2Latency: u32 = 0x38,
        D3Latency: u32 = 0x3c,
    }

    /// The result of IRP_MN_QUERY_DEVICE_RELATIONS.
    pub struct DEVICE_RELATIONS("_DEVICE_RELATIONS", 0x10) {
        Count: u32 = 0x0,
        Objects: [Gva<DEVICE_OBJECT>; 1] = 0x8,
    }

    /// The head of every interface that IRP_MN_QUERY_INTERFACE hands out.
    pub struct INTERFACE("_INTERFACE", 0x20) {
        Size: u16 = 0x0,
        Version: u16 = 0x2,
        Context: Gva = 0x8,
        InterfaceReference: Gva<Code> = 0x10,
        InterfaceDereference: Gva<Code> = 0x18,
    }

    /// Resources assigned to a device.
    pub struct CM_RESOURCE_LIST("_CM_RESOURCE_LIST", 0x28) {
        Count: u32 = 0x0,
        List: [CM_FULL_RESOURCE_DESCRIPTOR; 1] = 0x4,
    }

    /// Resources on one bus.
    pub struct CM_FULL_RESOURCE_DESCRIPTOR("_CM_FULL_RESOURCE_DESCRIPTOR", 0x24) {
        InterfaceType: i32 = 0x0,
        BusNumber: u32 = 0x4,
        PartialResourceList: CM_PARTIAL_RESOURCE_LIST = 0x8,
    }

    /// A list of resources.
    pub struct CM_PARTIAL_RESOURCE_LIST("_CM_PARTIAL_RESOURCE_LIST", 0x1c) {
        Version: u16 = 0x0,
        Revision: u16 = 0x2,
        Count: u32 = 0x4,
        PartialDescriptors: [CM_PARTIAL_RESOURCE_DESCRIPTOR; 1] = 0x8,
    }

    /// One resource; packed to 4 bytes.
    pub struct CM_PARTIAL_RESOURCE_DESCRIPTOR("_CM_PARTIAL_RESOURCE_DESCRIPTOR", 0x14) {
        Type: u8 = 0x0,
        ShareDisposition: u8 = 0x1,
        Flags: u16 = 0x2,
        u_BusNumber_Start("u.BusNumber.Start"): u32 = 0x4,
        u_Connection_Class("u.Connection.Class"): u8 = 0x4,
        u_DevicePrivate_Data("u.DevicePrivate.Data"): [u32; 3] = 0x4,
        u_DeviceSpecificData_DataSize("u.DeviceSpecificData.DataSize"): u32 = 0x4,
        u_Dma_Channel("u.Dma.Channel"): u32 = 0x4,
        u_DmaV3_Channel("u.DmaV3.Channel"): u32 = 0x4,
        u_Generic_Start("u.Generic.Start"): i64 = 0x4,
        u_Interrupt_Level("u.Interrupt.Level"): u16 = 0x4,
        u_Memory_Start("u.Memory.Start"): i64 = 0x4,
        u_Memory40_Start("u.Memory40.Start"): i64 = 0x4,
        u_Memory48_Start("u.Memory48.Start"): i64 = 0x4,
        u_Memory64_Start("u.Memory64.Start"): i64 = 0x4,
        u_MessageInterrupt_Raw_Group("u.MessageInterrupt.Raw.Group"): u16 = 0x4,
        u_MessageInterrupt_Translated_Level("u.MessageInterrupt.Translated.Level"): u16 = 0x4,
        u_Port_Start("u.Port.Start"): i64 = 0x4,
        u_Connection_Type("u.Connection.Type"): u8 = 0x5,
        u_Interrupt_Group("u.Interrupt.Group"): u16 = 0x6,
        u_MessageInterrupt_Raw_MessageCount("u.MessageInterrupt.Raw.MessageCount"): u16 = 0x6,
        u_MessageInterrupt_Translated_Group("u.MessageInterrupt.Translated.Group"): u16 = 0x6,
        u_BusNumber_Length("u.BusNumber.Length"): u32 = 0x8,
        u_Connection_IdLowPart("u.Connection.IdLowPart"): u32 = 0x8,
        u_Dma_Port("u.Dma.Port"): u32 = 0x8,
        u_DmaV3_RequestLine("u.DmaV3.RequestLine"): u32 = 0x8,
        u_Interrupt_Vector("u.Interrupt.Vector"): u32 = 0x8,
        u_MessageInterrupt_Raw_Vector("u.MessageInterrupt.Raw.Vector"): u32 = 0x8,
        u_MessageInterrupt_Translated_Vector("u.MessageInterrupt.Translated.Vector"): u32 = 0x8,
        u_Connection_IdHighPart("u.Connection.IdHighPart"): u32 = 0xc,
        u_DmaV3_TransferWidth("u.DmaV3.TransferWidth"): u8 = 0xc,
        u_Generic_Length("u.Generic.Length"): u32 = 0xc,
        u_Interrupt_Affinity("u.Interrupt.Affinity"): u64 = 0xc,
        u_Memory_Length("u.Memory.Length"): u32 = 0xc,
        u_Memory40_Length40("u.Memory40.Length40"): u32 = 0xc,
        u_Memory48_Length48("u.Memory48.Length48"): u32 = 0xc,
        u_Memory64_Length64("u.Memory64.Length64"): u32 = 0xc,
        u_MessageInterrupt_Raw_Affinity("u.MessageInterrupt.Raw.Affinity"): u64 = 0xc,
        u_MessageInterrupt_Translated_Affinity("u.MessageInterrupt.Translated.Affinity"): u64 = 0xc,
        u_Port_Length("u.Port.Length"): u32 = 0xc,
    }

    /// Resources that a device can use.
    pub struct IO_RESOURCE_REQUIREMENTS_LIST("_IO_RESOURCE_REQUIREMENTS_LIST", 0x48) {
        ListSize: u32 = 0x0,
        InterfaceType: i32 = 0x4,
        BusNumber: u32 = 0x8,
        SlotNumber: u32 = 0xc,
        AlternativeLists: u32 = 0x1c,
        List: [IO_RESOURCE_LIST; 1] = 0x20,
    }

    /// One alternative list of resources.
    pub struct IO_RESOURCE_LIST("_IO_RESOURCE_LIST", 0x28) {
        Version: u16 = 0x0,
        Revision: u16 = 0x2,
        Count: u32 = 0x4,
        Descriptors: [IO_RESOURCE_DESCRIPTOR; 1] = 0x8,
    }

    /// One resource that a device can use.
    pub struct IO_RESOURCE_DESCRIPTOR("_IO_RESOURCE_DESCRIPTOR", 0x20) {
        Option: u8 = 0x0,
        Type: u8 = 0x1,
        ShareDisposition: u8 = 0x2,
        Flags: u16 = 0x4,
        u_BusNumber_Length("u.BusNumber.Length"): u32 = 0x8,
        u_ConfigData_Priority("u.ConfigData.Priority"): u32 = 0x8,
        u_Connection_Class("u.Connection.Class"): u8 = 0x8,
        u_DevicePrivate_Data("u.DevicePrivate.Data"): [u32; 3] = 0x8,
        u_Dma_MinimumChannel("u.Dma.MinimumChannel"): u32 = 0x8,
        u_DmaV3_RequestLine("u.DmaV3.RequestLine"): u32 = 0x8,
        u_Generic_Length("u.Generic.Length"): u32 = 0x8,
        u_Interrupt_MinimumVector("u.Interrupt.MinimumVector"): u32 = 0x8,
        u_Memory_Length("u.Memory.Length"): u32 = 0x8,
        u_Memory40_Length40("u.Memory40.Length40"): u32 = 0x8,
        u_Memory48_Length48("u.Memory48.Length48"): u32 = 0x8,
        u_Memory64_Length64("u.Memory64.Length64"): u32 = 0x8,
        u_Port_Length("u.Port.Length"): u32 = 0x8,
        u_Connection_Type("u.Connection.Type"): u8 = 0x9,
        u_BusNumber_MinBusNumber("u.BusNumber.MinBusNumber"): u32 = 0xc,
        u_Connection_IdLowPart("u.Connection.IdLowPart"): u32 = 0xc,
        u_Dma_MaximumChannel("u.Dma.MaximumChannel"): u32 = 0xc,
        u_Interrupt_MaximumVector("u.Interrupt.MaximumVector"): u32 = 0xc,
        u_BusNumber_MaxBusNumber("u.BusNumber.MaxBusNumber"): u32 = 0x10,
        u_Connection_IdHighPart("u.Connection.IdHighPart"): u32 = 0x10,
        u_DmaV3_Channel("u.DmaV3.Channel"): u32 = 0x10,
        u_Generic_MinimumAddress("u.Generic.MinimumAddress"): i64 = 0x10,
        u_Interrupt_AffinityPolicy("u.Interrupt.AffinityPolicy"): u16 = 0x10,
        u_Memory_MinimumAddress("u.Memory.MinimumAddress"): i64 = 0x10,
        u_Memory40_MinimumAddress("u.Memory40.MinimumAddress"): i64 = 0x10,
        u_Memory48_MinimumAddress("u.Memory48.MinimumAddress"): i64 = 0x10,
        u_Memory64_MinimumAddress("u.Memory64.MinimumAddress"): i64 = 0x10,
        u_Port_MinimumAddress("u.Port.MinimumAddress"): i64 = 0x10,
        u_Interrupt_Group("u.Interrupt.Group"): u16 = 0x12,
        u_DmaV3_TransferWidth("u.DmaV3.TransferWidth"): u32 = 0x14,
        u_Interrupt_PriorityPolicy("u.Interrupt.PriorityPolicy"): i32 = 0x14,
        u_Generic_MaximumAddress("u.Generic.MaximumAddress"): i64 = 0x18,
        u_Interrupt_TargetedProcessors("u.Interrupt.TargetedProcessors"): u64 = 0x18,
        u_Memory_MaximumAddress("u.Memory.MaximumAddress"): i64 = 0x18,
        u_Memory40_MaximumAddress("u.Memory40.MaximumAddress"): i64 = 0x18,
        u_Memory48_MaximumAddress("u.Memory48.MaximumAddress"): i64 = 0x18,
        u_Memory64_MaximumAddress("u.Memory64.MaximumAddress"): i64 = 0x18,
        u_Port_MaximumAddress("u.Port.MaximumAddress"): i64 = 0x18,
    }

    /// How often a device was powered.
    pub struct POWER_SEQUENCE("_POWER_SEQUENCE", 0xc) {
        SequenceD1: u32 = 0x0,
        SequenceD2: u32 = 0x4,
        SequenceD3: u32 = 0x8,
    }

    /// Why a power IRP comes.
    pub struct SYSTEM_POWER_STATE_CONTEXT("_SYSTEM_POWER_STATE_CONTEXT", 0x4) {
        ContextAsUlong: u32 = 0x0,
    }

    /// What a device can do as a DMA master or slave.
    pub struct DEVICE_DESCRIPTION("_DEVICE_DESCRIPTION", 0x40) {
        Version: u32 = 0x0,
        Master: u8 = 0x4,
        ScatterGather: u8 = 0x5,
        DemandMode: u8 = 0x6,
        AutoInitialize: u8 = 0x7,
        Dma32BitAddresses: u8 = 0x8,
        IgnoreCount: u8 = 0x9,
        Dma64BitAddresses: u8 = 0xb,
        BusNumber: u32 = 0xc,
        DmaChannel: u32 = 0x10,
        InterfaceType: i32 = 0x14,
        DmaWidth: i32 = 0x18,
        DmaSpeed: i32 = 0x1c,
        MaximumLength: u32 = 0x20,
        DmaPort: u32 = 0x24,
        DmaAddressWidth: u32 = 0x28,
        DmaControllerInstance: u32 = 0x2c,
        DmaRequestLine: u32 = 0x30,
        DeviceAddress: i64 = 0x38,
    }

    /// A DMA adapter.
    pub struct DMA_ADAPTER("_DMA_ADAPTER", 0x10) {
        Version: u16 = 0x0,
        Size: u16 = 0x2,
        DmaOperations: Gva<DMA_OPERATIONS> = 0x8,
    }

    /// The routines of a DMA adapter.
    pub struct DMA_OPERATIONS("_DMA_OPERATIONS", 0x138) {
        Size: u32 = 0x0,
        PutDmaAdapter: Gva<Code> = 0x8,
        AllocateCommonBuffer: Gva<Code> = 0x10,
        FreeCommonBuffer: Gva<Code> = 0x18,
        AllocateAdapterChannel: Gva<Code> = 0x20,
        FlushAdapterBuffers: Gva<Code> = 0x28,
        FreeAdapterChannel: Gva<Code> = 0x30,
        FreeMapRegisters: Gva<Code> = 0x38,
        MapTransfer: Gva<Code> = 0x40,
        GetDmaAlignment: Gva<Code> = 0x48,
        ReadDmaCounter: Gva<Code> = 0x50,
        GetScatterGatherList: Gva<Code> = 0x58,
        PutScatterGatherList: Gva<Code> = 0x60,
        CalculateScatterGatherList: Gva<Code> = 0x68,
        BuildScatterGatherList: Gva<Code> = 0x70,
        BuildMdlFromScatterGatherList: Gva<Code> = 0x78,
        GetDmaAdapterInfo: Gva<Code> = 0x80,
        GetDmaTransferInfo: Gva<Code> = 0x88,
        InitializeDmaTransferContext: Gva<Code> = 0x90,
        AllocateCommonBufferEx: Gva<Code> = 0x98,
        AllocateAdapterChannelEx: Gva<Code> = 0xa0,
        ConfigureAdapterChannel: Gva<Code> = 0xa8,
        CancelAdapterChannel: Gva<Code> = 0xb0,
        MapTransferEx: Gva<Code> = 0xb8,
        GetScatterGatherListEx: Gva<Code> = 0xc0,
        BuildScatterGatherListEx: Gva<Code> = 0xc8,
        FlushAdapterBuffersEx: Gva<Code> = 0xd0,
        FreeAdapterObject: Gva<Code> = 0xd8,
        CancelMappedTransfer: Gva<Code> = 0xe0,
        AllocateDomainCommonBuffer: Gva<Code> = 0xe8,
        FlushDmaBuffer: Gva<Code> = 0xf0,
        JoinDmaDomain: Gva<Code> = 0xf8,
        LeaveDmaDomain: Gva<Code> = 0x100,
        GetDmaDomain: Gva<Code> = 0x108,
        AllocateCommonBufferWithBounds: Gva<Code> = 0x110,
        AllocateCommonBufferVector: Gva<Code> = 0x118,
        GetCommonBufferFromVectorByIndex: Gva<Code> = 0x120,
        FreeCommonBufferFromVector: Gva<Code> = 0x128,
        FreeCommonBufferVector: Gva<Code> = 0x130,
    }

    /// The pieces of a DMA transfer.
    pub struct SCATTER_GATHER_LIST("_SCATTER_GATHER_LIST", 0x10) {
        NumberOfElements: u32 = 0x0,
        Elements: [SCATTER_GATHER_ELEMENT; 0] = 0x10,
    }

    /// A piece of a DMA transfer.
    pub struct SCATTER_GATHER_ELEMENT("_SCATTER_GATHER_ELEMENT", 0x18) {
        Address: i64 = 0x0,
        Length: u32 = 0x8,
    }

    /// A connected interrupt.
    pub struct KINTERRUPT("_KINTERRUPT", 0x120) {
        Type: i16 = 0x0,
        Size: i16 = 0x2,
        InterruptListEntry: LIST_ENTRY = 0x8,
        ServiceRoutine: Gva<Code> = 0x18,
        MessageServiceRoutine: Gva<Code> = 0x20,
        MessageIndex: u32 = 0x28,
        ServiceContext: Gva = 0x30,
        SpinLock: u64 = 0x38,
        TickCount: u32 = 0x40,
        ActualLock: Gva<u64> = 0x48,
        DispatchAddress: Gva<Code> = 0x50,
        Vector: u32 = 0x58,
        Irql: u8 = 0x5c,
        SynchronizeIrql: u8 = 0x5d,
        FloatingSave: u8 = 0x5e,
        Connected: u8 = 0x5f,
        Number: u32 = 0x60,
        ShareVector: u8 = 0x64,
        EmulateActiveBoth: u8 = 0x65,
        ActiveCount: u16 = 0x66,
        InternalState: i32 = 0x68,
        Mode: i32 = 0x6c,
        Polarity: i32 = 0x70,
        ServiceCount: u32 = 0x74,
        DispatchCount: u32 = 0x78,
        PassiveEvent: Gva<KEVENT> = 0x80,
        TrapFrame: Gva<KTRAP_FRAME> = 0x88,
        DisconnectData: Gva = 0x90,
        ServiceThread: Gva<KTHREAD> = 0x98,
        ConnectionData: Gva = 0xa0,
        IntTrackEntry: Gva = 0xa8,
        IsrDpcStats: [u8; 0x60] = 0xb0,
        RedirectObject: Gva = 0x110,
        PhysicalDeviceObject: Gva = 0x118,
    }
}

// Source: the public headers of the WDK; not among the types of that PDB.
guest_struct! {
    /// The result of IRP_MN_QUERY_BUS_INFORMATION.
    pub struct PNP_BUS_INFORMATION("PNP_BUS_INFORMATION", 0x18) {
        BusTypeGuid: GUID = 0x0,
        LegacyBusType: i32 = 0x10,
        BusNumber: u32 = 0x14,
    }

    /// Access to the bus of a device.
    pub struct BUS_INTERFACE_STANDARD("BUS_INTERFACE_STANDARD", 0x40) {
        Size: u16 = 0x0,
        Version: u16 = 0x2,
        Context: Gva = 0x8,
        InterfaceReference: Gva<Code> = 0x10,
        InterfaceDereference: Gva<Code> = 0x18,
        TranslateBusAddress: Gva<Code> = 0x20,
        GetDmaAdapter: Gva<Code> = 0x28,
        SetBusData: Gva<Code> = 0x30,
        GetBusData: Gva<Code> = 0x38,
    }

    /// The head of every Plug and Play notification.
    pub struct PLUGPLAY_NOTIFICATION_HEADER("PLUGPLAY_NOTIFICATION_HEADER", 0x14) {
        Version: u16 = 0x0,
        Size: u16 = 0x2,
        Event: GUID = 0x4,
    }

    /// A device interface came or went.
    pub struct DEVICE_INTERFACE_CHANGE_NOTIFICATION("DEVICE_INTERFACE_CHANGE_NOTIFICATION", 0x30) {
        Version: u16 = 0x0,
        Size: u16 = 0x2,
        Event: GUID = 0x4,
        InterfaceClassGuid: GUID = 0x14,
        SymbolicLinkName: Gva<UNICODE_STRING> = 0x28,
    }

    /// The device of a handle is to go.
    pub struct TARGET_DEVICE_REMOVAL_NOTIFICATION("TARGET_DEVICE_REMOVAL_NOTIFICATION", 0x20) {
        Version: u16 = 0x0,
        Size: u16 = 0x2,
        Event: GUID = 0x4,
        FileObject: Gva<FILE_OBJECT> = 0x18,
    }
}
