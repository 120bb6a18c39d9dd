//! IRPs and sending them. Documentation: wdm.h, "I/O Stack Locations".

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::flow::Flow;
use crate::layout::{
    DEVICE_OBJECT, DRIVER_OBJECT, IO_STACK_LOCATION, IO_STATUS_BLOCK, IRP, element,
};
use crate::machine::finding::Severity;
use crate::ntstatus::{NTSTATUS, STATUS_INVALID_DEVICE_REQUEST};

const TAG: u32 = u32::from_le_bytes(*b"Irp ");

/// `IRP.Type`: IO_TYPE_IRP.
pub const IO_TYPE_IRP: i16 = 6;

/// `IRP.Flags` bits of wdm.h.
pub mod flag {
    /// A synchronous API.
    pub const SYNCHRONOUS_API: u32 = 0x4;
    /// Made by IoMakeAssociatedIrp.
    pub const ASSOCIATED_IRP: u32 = 0x8;
    /// There is a system buffer.
    pub const BUFFERED_IO: u32 = 0x10;
    /// The system buffer is freed at the end.
    pub const DEALLOCATE_BUFFER: u32 = 0x20;
    /// The system buffer is copied to the requestor's at the end.
    pub const INPUT_OPERATION: u32 = 0x40;
    /// A create request.
    pub const CREATE_OPERATION: u32 = 0x80;
    /// A read request.
    pub const READ_OPERATION: u32 = 0x100;
    /// A write request.
    pub const WRITE_OPERATION: u32 = 0x200;
    /// A close request.
    pub const CLOSE_OPERATION: u32 = 0x400;
}

/// `IRP_MJ_*` names, by code.
const MAJOR: [&str; 28] = [
    "CREATE",
    "CREATE_NAMED_PIPE",
    "CLOSE",
    "READ",
    "WRITE",
    "QUERY_INFORMATION",
    "SET_INFORMATION",
    "QUERY_EA",
    "SET_EA",
    "FLUSH_BUFFERS",
    "QUERY_VOLUME_INFORMATION",
    "SET_VOLUME_INFORMATION",
    "DIRECTORY_CONTROL",
    "FILE_SYSTEM_CONTROL",
    "DEVICE_CONTROL",
    "INTERNAL_DEVICE_CONTROL",
    "SHUTDOWN",
    "LOCK_CONTROL",
    "CLEANUP",
    "CREATE_MAILSLOT",
    "QUERY_SECURITY",
    "SET_SECURITY",
    "POWER",
    "SYSTEM_CONTROL",
    "DEVICE_CHANGE",
    "QUERY_QUOTA",
    "SET_QUOTA",
    "PNP",
];

/// The name of a major function code.
#[must_use]
pub fn major_name(major: u8) -> &'static str {
    MAJOR.get(usize::from(major)).copied().unwrap_or("?")
}

/// Bytes of an IRP with this many stack locations.
fn size(stack: u8) -> u64 {
    IRP::SIZE + u64::from(stack) * IO_STACK_LOCATION::SIZE
}

/// Fills a fresh IRP.
///
/// # Errors
/// A fault if it cannot be written.
pub fn initialize(cx: &mut Machine, irp: Gva<IRP>, size: u64, stack: u8) -> Result<(), Fault> {
    cx.memory.fill(irp, size, 0)?;
    let m = &mut cx.memory;
    m.set(irp, IRP::Type, IO_TYPE_IRP)?;
    m.set(irp, IRP::Size, size as u16)?;
    m.set(irp, IRP::StackCount, stack as i8)?;
    m.set(irp, IRP::CurrentLocation, (stack + 1) as i8)?;
    let list = irp.at(IRP::ThreadListEntry);
    crate::ke::list::initialize(m, list)?;
    let beyond = irp.cast::<u8>().byte_add(self::size(stack)).cast();
    m.set(irp, IRP::Tail_Overlay_CurrentStackLocation, beyond)
}

/// A new IRP. `None` if memory is used up.
pub fn allocate(cx: &mut Machine, stack: u8, owner: u64) -> Option<Gva<IRP>> {
    let bytes = size(stack);
    let irp = cx
        .pool_allocate_for(Pool::NonPaged, bytes, TAG, owner)?
        .cast::<IRP>();
    initialize(cx, irp, bytes, stack).ok()?;
    cx.io.irps.insert(irp, owner);
    Some(irp)
}

/// Frees an IRP.
pub fn free(cx: &mut Machine, irp: Gva<IRP>) {
    cx.io.threaded.remove(&irp);
    if cx.io.irps.remove(&irp).is_none() {
        cx.report(
            "irp/bad-free",
            Severity::Error,
            format!("{:#x} is not an IRP that can be freed", irp.raw()),
        );
        return;
    }
    cx.pool_free(irp.cast());
}

/// The next lower stack location.
///
/// # Errors
/// A fault if the IRP cannot be read.
pub fn next_location(cx: &Machine, irp: Gva<IRP>) -> Result<Gva<IO_STACK_LOCATION>, Fault> {
    let current = cx.memory.get(irp, IRP::Tail_Overlay_CurrentStackLocation)?;
    Ok(current.byte_sub(IO_STACK_LOCATION::SIZE))
}

/// Sends an IRP to a device: moves to the next stack location and jumps to the dispatch routine.
///
/// # Errors
/// A fault if one of the structures cannot be used.
pub fn call_driver(
    cx: &mut Machine,
    device: Gva<DEVICE_OBJECT>,
    irp: Gva<IRP>,
) -> Result<Flow, Fault> {
    let location: i8 = cx.memory.get(irp, IRP::CurrentLocation)?;
    if location <= 1 {
        // NO_MORE_IRP_STACK_LOCATIONS.
        return Ok(Flow::Bugcheck(0x35, [irp.raw(), 0, 0, 0]));
    }
    let stack = next_location(cx, irp)?;
    let driver = cx.memory.get(device, DEVICE_OBJECT::DriverObject)?;
    let major = cx.memory.get(stack, IO_STACK_LOCATION::MajorFunction)?;
    let minor = cx.memory.get(stack, IO_STACK_LOCATION::MinorFunction)?;
    let table = driver.at(DRIVER_OBJECT::MajorFunction);
    let routine = cx.memory.read(element(table, u64::from(major).min(27)))?;
    cx.memory.set(irp, IRP::CurrentLocation, location - 1)?;
    cx.memory
        .set(irp, IRP::Tail_Overlay_CurrentStackLocation, stack)?;
    cx.memory
        .set(stack, IO_STACK_LOCATION::DeviceObject, device)?;
    cx.trace.event(
        "irp",
        &[
            irp.raw(),
            device.raw(),
            u64::from(major) << 8 | u64::from(minor),
        ],
    );
    if cx.trace.set.irp {
        let what = describe(cx, stack, major, minor);
        let to = cx
            .ob
            .objects
            .get(&device.raw())
            .map(|o| o.name.clone())
            .unwrap_or_default();
        cx.trace_line(format!("IRP {:#x} {what} to {to}", irp.raw()));
    }
    Ok(Flow::jump(routine, &[device.raw(), irp.raw()]))
}

fn describe(cx: &Machine, stack: Gva<IO_STACK_LOCATION>, major: u8, minor: u8) -> String {
    let name = major_name(major);
    match major {
        0xd..=0xf => {
            let code = cx
                .memory
                .get(
                    stack,
                    IO_STACK_LOCATION::Parameters_DeviceIoControl_IoControlCode,
                )
                .unwrap_or(0);
            let method = ["BUFFERED", "IN_DIRECT", "OUT_DIRECT", "NEITHER"][(code & 3) as usize];
            format!(
                "{name} {code:#x} (device type {:#x}, function {:#x}, {method})",
                code >> 16,
                code >> 2 & 0xfff
            )
        }
        0x16 | 0x17 | 0x1b => format!("{name} minor {minor:#x}"),
        _ => name.to_owned(),
    }
}

/// What every dispatch slot holds before a driver fills it.
pub fn invalid_device_request(cx: &mut Machine, irp: Gva<IRP>) -> Result<Flow, Fault> {
    let status = irp.at(IRP::IoStatus);
    cx.memory.set(
        status,
        IO_STATUS_BLOCK::Status,
        STATUS_INVALID_DEVICE_REQUEST,
    )?;
    cx.memory.set(status, IO_STATUS_BLOCK::Information, 0)?;
    Ok(Flow::Host(
        super::complete::io_complete(irp),
        super::complete::return_status(STATUS_INVALID_DEVICE_REQUEST),
    ))
}

/// Routines on IRPs.
pub struct Irps;

#[exports("ntoskrnl.exe")]
impl Irps {
    /// Sends an IRP to the driver of a device.
    #[page("wdm/nf-wdm-iofcalldriver")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(NTSTATUS)]
    #[alias("PoCallDriver")]
    fn IofCallDriver(
        cx: &mut Machine,
        DeviceObject: Gva<DEVICE_OBJECT>,
        Irp: Gva<IRP>,
    ) -> Result<Flow, Fault> {
        call_driver(cx, DeviceObject, Irp)
    }

    /// Says that a driver is done with an IRP.
    #[page("wdm/nf-wdm-iofcompleterequest")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(())]
    #[partial("the priority boost")]
    fn IofCompleteRequest(
        cx: &mut Machine,
        Irp: Gva<IRP>,
        PriorityBoost: i8,
    ) -> Result<Flow, Fault> {
        let _ = PriorityBoost;
        cx.memory.get(Irp, IRP::CurrentLocation)?;
        Ok(Flow::Become(super::complete::io_complete(Irp)))
    }

    /// Allocates an IRP.
    #[page("wdm/nf-wdm-ioallocateirp")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoAllocateIrp(cx: &mut Machine, StackSize: i8, ChargeQuota: bool) -> Gva<IRP> {
        let _ = ChargeQuota;
        let owner = cx.caller;
        allocate(cx, StackSize.max(1) as u8, owner).unwrap_or(Gva::NULL)
    }

    /// Frees an IRP of IoAllocateIrp.
    #[page("wdm/nf-wdm-iofreeirp")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoFreeIrp(cx: &mut Machine, Irp: Gva<IRP>) {
        if cx.io.threaded.contains_key(&Irp) {
            let text = format!(
                "the IRP {:#x} belongs to its thread: the I/O manager frees it, not IoFreeIrp",
                Irp.raw()
            );
            cx.report("irp/freed-threaded", Severity::Error, text);
        }
        free(cx, Irp);
    }

    /// Fills an IRP in memory of the driver's own.
    #[page("wdm/nf-wdm-ioinitializeirp")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoInitializeIrp(
        cx: &mut Machine,
        Irp: Gva<IRP>,
        PacketSize: u16,
        StackSize: i8,
    ) -> Result<(), Fault> {
        initialize(cx, Irp, u64::from(PacketSize), StackSize.max(0) as u8)
    }

    /// Makes a driver's own IRP ready for another use.
    #[page("wdm/nf-wdm-ioreuseirp")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoReuseIrp(cx: &mut Machine, Irp: Gva<IRP>, Status: NTSTATUS) -> Result<(), Fault> {
        let size = cx.memory.get(Irp, IRP::Size)?;
        let stack: i8 = cx.memory.get(Irp, IRP::StackCount)?;
        initialize(cx, Irp, u64::from(size), stack.max(0) as u8)?;
        cx.memory
            .set(Irp.at(IRP::IoStatus), IO_STATUS_BLOCK::Status, Status)
    }
}
