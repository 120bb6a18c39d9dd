//! Device queues and StartIo. Documentation: wdm.h, "StartIo Routines", "Device Queues".

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::export::argument::Code;
use crate::export::irql::DISPATCH_LEVEL;
use crate::flow::Flow;
use crate::ke::list;
use crate::layout::{
    DEVICE_OBJECT, DEVOBJ_EXTENSION, DRIVER_OBJECT, IRP, KDEVICE_QUEUE, KDEVICE_QUEUE_ENTRY,
    LIST_ENTRY,
};
use crate::machine::finding::Severity;

/// `DeviceQueueObject` of the KOBJECTS enumeration.
const DEVICE_QUEUE_OBJECT: i16 = 20;
/// `StartIoFlags` of a device: IoSetStartIoAttributes.
const DEFERRED: u32 = 1;
const NON_CANCELABLE: u32 = 2;

/// Makes an empty device queue that is not busy.
pub(super) fn initialize(cx: &mut Machine, queue: Gva<KDEVICE_QUEUE>) -> Result<(), Fault> {
    let head = queue.at(KDEVICE_QUEUE::DeviceListHead);
    cx.memory
        .set(queue, KDEVICE_QUEUE::Type, DEVICE_QUEUE_OBJECT)?;
    cx.memory
        .set(queue, KDEVICE_QUEUE::Size, KDEVICE_QUEUE::SIZE as i16)?;
    list::initialize(&mut cx.memory, head)?;
    cx.memory.set(queue, KDEVICE_QUEUE::Lock, 0)?;
    cx.memory.set(queue, KDEVICE_QUEUE::Busy, 0)
}

/// Queues an entry if the queue is busy; else the queue becomes busy and false is the result. With a key the
/// place is behind the last entry whose key is not larger.
fn insert(
    cx: &mut Machine,
    queue: Gva<KDEVICE_QUEUE>,
    entry: Gva<KDEVICE_QUEUE_ENTRY>,
    key: Option<u32>,
) -> Result<bool, Fault> {
    if cx.memory.get(queue, KDEVICE_QUEUE::Busy)? == 0 {
        cx.memory.set(entry, KDEVICE_QUEUE_ENTRY::Inserted, 0)?;
        cx.memory.set(queue, KDEVICE_QUEUE::Busy, 1)?;
        return Ok(false);
    }
    let head = queue.at(KDEVICE_QUEUE::DeviceListHead);
    let mut place = head;
    if let Some(key) = key {
        place = cx.memory.get(head, LIST_ENTRY::Flink)?;
        while place != head && cx.memory.get(place.cast(), KDEVICE_QUEUE_ENTRY::SortKey)? <= key {
            place = cx.memory.get(place, LIST_ENTRY::Flink)?;
        }
        cx.memory.set(entry, KDEVICE_QUEUE_ENTRY::SortKey, key)?;
    }
    list::insert_before(&mut cx.memory, place, entry.cast())?;
    cx.memory.set(entry, KDEVICE_QUEUE_ENTRY::Inserted, 1)?;
    Ok(true)
}

/// Takes an entry off a busy queue: the first, or the first whose key is not smaller. Null, and the queue is no
/// longer busy, if there is none.
fn remove(
    cx: &mut Machine,
    queue: Gva<KDEVICE_QUEUE>,
    key: Option<u32>,
) -> Result<Gva<KDEVICE_QUEUE_ENTRY>, Fault> {
    if cx.memory.get(queue, KDEVICE_QUEUE::Busy)? == 0 {
        let text = format!(
            "an entry is taken off the device queue {:#x}, which is not busy",
            queue.raw()
        );
        cx.report("queue/not-busy", Severity::Warning, text);
        return Ok(Gva::NULL);
    }
    let head = queue.at(KDEVICE_QUEUE::DeviceListHead);
    let first = cx.memory.get(head, LIST_ENTRY::Flink)?;
    if first == head {
        cx.memory.set(queue, KDEVICE_QUEUE::Busy, 0)?;
        return Ok(Gva::NULL);
    }
    let mut found = first;
    if let Some(key) = key {
        while found != head && cx.memory.get(found.cast(), KDEVICE_QUEUE_ENTRY::SortKey)? < key {
            found = cx.memory.get(found, LIST_ENTRY::Flink)?;
        }
        if found == head {
            found = first;
        }
    }
    list::remove(&mut cx.memory, found)?;
    let entry = found.cast::<KDEVICE_QUEUE_ENTRY>();
    cx.memory.set(entry, KDEVICE_QUEUE_ENTRY::Inserted, 0)?;
    Ok(entry)
}

/// The IRP whose queue entry this is.
fn irp_of(entry: Gva<KDEVICE_QUEUE_ENTRY>) -> Gva<IRP> {
    entry
        .cast::<u8>()
        .byte_sub(u64::from(IRP::Tail_Overlay_DeviceQueueEntry.offset()))
        .cast()
}

fn start_routine(cx: &Machine, device: Gva<DEVICE_OBJECT>) -> Result<u64, Fault> {
    let driver = cx.memory.get(device, DEVICE_OBJECT::DriverObject)?;
    Ok(cx.memory.get(driver, DRIVER_OBJECT::DriverStartIo)?.raw())
}

/// IoStartPacket: runs StartIo with the IRP, or queues it while the device is busy.
#[resumable]
fn start_packet(
    cx: &mut Machine,
    device: Gva<DEVICE_OBJECT>,
    irp: Gva<IRP>,
    key: Option<u32>,
    cancel: u64,
) -> Result<(), Fault> {
    let level: u8 = cx.irql();
    cx.set_irql(DISPATCH_LEVEL);
    if cancel != 0 {
        cx.memory.set(irp, IRP::CancelRoutine, Gva::new(cancel))?;
    }
    let queued: bool = insert(
        cx,
        device.at(DEVICE_OBJECT::DeviceQueue),
        irp.at(IRP::Tail_Overlay_DeviceQueueEntry),
        key,
    )?;
    if queued {
        let cancelled = cx.memory.get(irp, IRP::Cancel)? != 0;
        let set = !cx.memory.get(irp, IRP::CancelRoutine)?.is_null();
        if cancel != 0 && cancelled && set {
            // Cancelled before it was queued: the routine set above was not seen by IoCancelIrp.
            host!(super::cancel::cancel_irp(irp));
        }
    } else {
        cx.memory.set(device, DEVICE_OBJECT::CurrentIrp, irp)?;
        let start = start_routine(cx, device)?;
        call!(start, device, irp);
    }
    cx.set_irql(level);
    Ok(())
}

/// IoStartNextPacket: the next queued IRP goes to StartIo; deferred devices do not recurse.
#[resumable]
fn start_next(cx: &mut Machine, device: Gva<DEVICE_OBJECT>, key: Option<u32>) -> Result<(), Fault> {
    let extension = cx
        .memory
        .get(device, DEVICE_OBJECT::DeviceObjectExtension)?;
    let deferred = cx.memory.get(extension, DEVOBJ_EXTENSION::StartIoFlags)? & DEFERRED != 0;
    let count: i32 = cx.memory.get(extension, DEVOBJ_EXTENSION::StartIoCount)?;
    cx.memory.set(
        extension,
        DEVOBJ_EXTENSION::StartIoCount,
        count.wrapping_add(1),
    )?;
    if deferred && count > 0 {
        return Ok(());
    }
    loop {
        cx.memory
            .set(device, DEVICE_OBJECT::CurrentIrp, Gva::NULL)?;
        let entry = remove(cx, device.at(DEVICE_OBJECT::DeviceQueue), key)?;
        if !entry.is_null() {
            let irp = irp_of(entry);
            cx.memory.set(device, DEVICE_OBJECT::CurrentIrp, irp)?;
            let extension = cx
                .memory
                .get(device, DEVICE_OBJECT::DeviceObjectExtension)?;
            if cx.memory.get(extension, DEVOBJ_EXTENSION::StartIoFlags)? & NON_CANCELABLE != 0 {
                cx.memory.set(irp, IRP::CancelRoutine, Gva::NULL)?;
            }
            let routine = start_routine(cx, device)?;
            call!(routine, device, irp);
        }
        let extension = cx
            .memory
            .get(device, DEVICE_OBJECT::DeviceObjectExtension)?;
        let left: i32 = cx
            .memory
            .get(extension, DEVOBJ_EXTENSION::StartIoCount)?
            .wrapping_sub(1);
        cx.memory
            .set(extension, DEVOBJ_EXTENSION::StartIoCount, left)?;
        if left <= 0 || cx.memory.get(extension, DEVOBJ_EXTENSION::StartIoFlags)? & DEFERRED == 0 {
            break;
        }
    }
    Ok(())
}

/// Routines on device queues.
pub struct DeviceQueues;

#[exports("ntoskrnl.exe")]
impl DeviceQueues {
    /// Gives an IRP to the driver's StartIo routine, or queues it while the device is busy.
    #[page("ntifs/nf-ntifs-iostartpacket")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(())]
    fn IoStartPacket(
        cx: &mut Machine,
        DeviceObject: Gva<DEVICE_OBJECT>,
        Irp: Gva<IRP>,
        Key: Gva<u32>,
        CancelFunction: Gva<Code>,
    ) -> Result<Flow, Fault> {
        let key = if Key.is_null() {
            None
        } else {
            Some(cx.memory.read(Key)?)
        };
        Ok(Flow::Become(start_packet(
            DeviceObject,
            Irp,
            key,
            CancelFunction.raw(),
        )))
    }

    /// Gives the next queued IRP to the driver's StartIo routine.
    #[page("ntifs/nf-ntifs-iostartnextpacket")]
    #[irql(DISPATCH_LEVEL)]
    #[returns(())]
    #[partial("the cancel spin lock is not held while the queue is looked at")]
    fn IoStartNextPacket(
        cx: &mut Machine,
        DeviceObject: Gva<DEVICE_OBJECT>,
        Cancelable: bool,
    ) -> Flow {
        let _ = (&cx, Cancelable);
        Flow::Become(start_next(DeviceObject, None))
    }

    /// Gives the next queued IRP by key to the driver's StartIo routine.
    #[page("ntifs/nf-ntifs-iostartnextpacketbykey")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(())]
    #[partial("the cancel spin lock is not held while the queue is looked at")]
    fn IoStartNextPacketByKey(
        cx: &mut Machine,
        DeviceObject: Gva<DEVICE_OBJECT>,
        Cancelable: bool,
        Key: u32,
    ) -> Flow {
        let _ = (&cx, Cancelable);
        Flow::Become(start_next(DeviceObject, Some(Key)))
    }

    /// Says how the StartIo routine of a device is called.
    #[page("ntifs/nf-ntifs-iosetstartioattributes")]
    #[irql(any)]
    fn IoSetStartIoAttributes(
        cx: &mut Machine,
        DeviceObject: Gva<DEVICE_OBJECT>,
        DeferredStartIo: bool,
        NonCancelable: bool,
    ) -> Result<(), Fault> {
        let extension = cx
            .memory
            .get(DeviceObject, DEVICE_OBJECT::DeviceObjectExtension)?;
        let flags =
            (u32::from(DeferredStartIo) * DEFERRED) | (u32::from(NonCancelable) * NON_CANCELABLE);
        cx.memory
            .set(extension, DEVOBJ_EXTENSION::StartIoFlags, flags)
    }

    /// Initialises a device queue.
    #[page("wdm/nf-wdm-keinitializedevicequeue")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeInitializeDeviceQueue(
        cx: &mut Machine,
        DeviceQueue: Gva<KDEVICE_QUEUE>,
    ) -> Result<(), Fault> {
        initialize(cx, DeviceQueue)
    }

    /// Queues an entry if the queue is busy; makes the queue busy otherwise.
    #[page("wdm/nf-wdm-keinsertdevicequeue")]
    #[irql(DISPATCH_LEVEL)]
    fn KeInsertDeviceQueue(
        cx: &mut Machine,
        DeviceQueue: Gva<KDEVICE_QUEUE>,
        DeviceQueueEntry: Gva<KDEVICE_QUEUE_ENTRY>,
    ) -> Result<bool, Fault> {
        insert(cx, DeviceQueue, DeviceQueueEntry, None)
    }

    /// Queues an entry by its key if the queue is busy; makes the queue busy otherwise.
    #[page("wdm/nf-wdm-keinsertbykeydevicequeue")]
    #[irql(DISPATCH_LEVEL)]
    fn KeInsertByKeyDeviceQueue(
        cx: &mut Machine,
        DeviceQueue: Gva<KDEVICE_QUEUE>,
        DeviceQueueEntry: Gva<KDEVICE_QUEUE_ENTRY>,
        SortKey: u32,
    ) -> Result<bool, Fault> {
        insert(cx, DeviceQueue, DeviceQueueEntry, Some(SortKey))
    }

    /// Takes the first entry off a device queue.
    #[page("wdm/nf-wdm-keremovedevicequeue")]
    #[irql(DISPATCH_LEVEL)]
    fn KeRemoveDeviceQueue(
        cx: &mut Machine,
        DeviceQueue: Gva<KDEVICE_QUEUE>,
    ) -> Result<Gva<KDEVICE_QUEUE_ENTRY>, Fault> {
        remove(cx, DeviceQueue, None)
    }

    /// Takes the entry off a device queue that fits a key.
    #[page("wdm/nf-wdm-keremovebykeydevicequeue")]
    #[irql(DISPATCH_LEVEL)]
    fn KeRemoveByKeyDeviceQueue(
        cx: &mut Machine,
        DeviceQueue: Gva<KDEVICE_QUEUE>,
        SortKey: u32,
    ) -> Result<Gva<KDEVICE_QUEUE_ENTRY>, Fault> {
        remove(cx, DeviceQueue, Some(SortKey))
    }

    /// Takes a given entry off a device queue, if it is in it.
    #[page("wdm/nf-wdm-keremoveentrydevicequeue")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeRemoveEntryDeviceQueue(
        cx: &mut Machine,
        DeviceQueue: Gva<KDEVICE_QUEUE>,
        DeviceQueueEntry: Gva<KDEVICE_QUEUE_ENTRY>,
    ) -> Result<bool, Fault> {
        let _ = DeviceQueue;
        if cx
            .memory
            .get(DeviceQueueEntry, KDEVICE_QUEUE_ENTRY::Inserted)?
            == 0
        {
            return Ok(false);
        }
        list::remove(&mut cx.memory, DeviceQueueEntry.cast())?;
        cx.memory
            .set(DeviceQueueEntry, KDEVICE_QUEUE_ENTRY::Inserted, 0)?;
        Ok(true)
    }
}
