//! What the routines that connect interrupts are given and give.

use ring3_memory::Gva;

use crate::export::argument::Code;
use crate::guest_struct;
use crate::layout::{DEVICE_OBJECT, KINTERRUPT};

// Source: the public headers of the WDK; not among the types of that PDB.
guest_struct! {
    /// Parameters of IoConnectInterruptEx; the members of its versions lie over each other.
    pub struct IO_CONNECT_INTERRUPT_PARAMETERS("IO_CONNECT_INTERRUPT_PARAMETERS", 0x50) {
        Version: u32 = 0x0,
        PhysicalDeviceObject: Gva<DEVICE_OBJECT> = 0x8,
        InterruptObject: Gva<u64> = 0x10,
        ServiceRoutine: Gva<Code> = 0x18,
        ServiceContext: Gva = 0x20,
        SpinLock: Gva<u64> = 0x28,
        SynchronizeIrql: u8 = 0x30,
        FloatingSave: u8 = 0x31,
        ShareVector: u8 = 0x32,
        Vector: u32 = 0x34,
        FallBackServiceRoutine: Gva<Code> = 0x38,
        Irql: u8 = 0x38,
        InterruptMode: i32 = 0x3c,
        ProcessorEnableMask: u64 = 0x40,
        Group: u16 = 0x48,
    }

    /// Parameters of IoDisconnectInterruptEx.
    pub struct IO_DISCONNECT_INTERRUPT_PARAMETERS("IO_DISCONNECT_INTERRUPT_PARAMETERS", 0x10) {
        Version: u32 = 0x0,
        ConnectionContext: Gva = 0x8,
    }

    /// The messages that a driver is connected to, before the entries.
    pub struct IO_INTERRUPT_MESSAGE_INFO("IO_INTERRUPT_MESSAGE_INFO", 0x38) {
        UnifiedIrql: u8 = 0x0,
        MessageCount: u32 = 0x4,
        MessageInfo: IO_INTERRUPT_MESSAGE_INFO_ENTRY = 0x8,
    }

    /// One message.
    pub struct IO_INTERRUPT_MESSAGE_INFO_ENTRY("IO_INTERRUPT_MESSAGE_INFO_ENTRY", 0x30) {
        MessageAddress: u64 = 0x0,
        TargetProcessorSet: u64 = 0x8,
        InterruptObject: Gva<KINTERRUPT> = 0x10,
        MessageData: u32 = 0x18,
        Vector: u32 = 0x1c,
        Irql: u8 = 0x20,
        Mode: i32 = 0x24,
        Polarity: i32 = 0x28,
    }
}
