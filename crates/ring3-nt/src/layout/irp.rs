//! I/O request packets.

use ring3_memory::Gva;

use crate::export::argument::Code;
use crate::guest_struct;
use crate::layout::{
    ETHREAD, FILE_OBJECT, IO_STACK_LOCATION, IO_STATUS_BLOCK, KAPC, KDEVICE_QUEUE_ENTRY, KEVENT,
    LIST_ENTRY, MDL,
};

// Source: the public types of ntkrnlmp.pdb, 10.0.19041.
guest_struct! {
    /// An I/O request packet; its stack locations follow.
    pub struct IRP("_IRP", 0xd0) {
        Type: i16 = 0x0,
        Size: u16 = 0x2,
        AllocationProcessorNumber: u16 = 0x4,
        MdlAddress: Gva<MDL> = 0x8,
        Flags: u32 = 0x10,
        AssociatedIrp_IrpCount("AssociatedIrp.IrpCount"): i32 = 0x18,
        AssociatedIrp_MasterIrp("AssociatedIrp.MasterIrp"): Gva<IRP> = 0x18,
        AssociatedIrp_SystemBuffer("AssociatedIrp.SystemBuffer"): Gva = 0x18,
        ThreadListEntry: LIST_ENTRY = 0x20,
        IoStatus: IO_STATUS_BLOCK = 0x30,
        RequestorMode: i8 = 0x40,
        PendingReturned: u8 = 0x41,
        StackCount: i8 = 0x42,
        CurrentLocation: i8 = 0x43,
        Cancel: u8 = 0x44,
        CancelIrql: u8 = 0x45,
        ApcEnvironment: i8 = 0x46,
        AllocationFlags: u8 = 0x47,
        UserIosb: Gva<IO_STATUS_BLOCK> = 0x48,
        UserEvent: Gva<KEVENT> = 0x50,
        Overlay_AllocationSize("Overlay.AllocationSize"): i64 = 0x58,
        Overlay_AsynchronousParameters_IssuingProcess("Overlay.AsynchronousParameters.IssuingProcess"): Gva = 0x58,
        Overlay_AsynchronousParameters_UserApcRoutine("Overlay.AsynchronousParameters.UserApcRoutine"): Gva<Code> = 0x58,
        Overlay_AsynchronousParameters_UserApcContext("Overlay.AsynchronousParameters.UserApcContext"): Gva = 0x60,
        CancelRoutine: Gva<Code> = 0x68,
        UserBuffer: Gva = 0x70,
        Tail_Apc("Tail.Apc"): KAPC = 0x78,
        Tail_CompletionKey("Tail.CompletionKey"): Gva = 0x78,
        Tail_Overlay_DeviceQueueEntry("Tail.Overlay.DeviceQueueEntry"): KDEVICE_QUEUE_ENTRY = 0x78,
        Tail_Overlay_DriverContext("Tail.Overlay.DriverContext"): [Gva; 4] = 0x78,
        Tail_Overlay_Thread("Tail.Overlay.Thread"): Gva<ETHREAD> = 0x98,
        Tail_Overlay_AuxiliaryBuffer("Tail.Overlay.AuxiliaryBuffer"): Gva<i8> = 0xa0,
        Tail_Overlay_ListEntry("Tail.Overlay.ListEntry"): LIST_ENTRY = 0xa8,
        Tail_Overlay_CurrentStackLocation("Tail.Overlay.CurrentStackLocation"): Gva<IO_STACK_LOCATION> = 0xb8,
        Tail_Overlay_PacketType("Tail.Overlay.PacketType"): u32 = 0xb8,
        Tail_Overlay_OriginalFileObject("Tail.Overlay.OriginalFileObject"): Gva<FILE_OBJECT> = 0xc0,
        Tail_Overlay_IrpExtension("Tail.Overlay.IrpExtension"): Gva = 0xc8,
    }
}
