//! Work items of devices. Documentation: wdm.h, "Windows Kernel-Mode Work Items".

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::ex::work_queue::{self, Work};
use crate::export::argument::Code;
use crate::layout::{IO_WORKITEM, LIST_ENTRY, WORK_QUEUE_ITEM};
use crate::machine::finding::Severity;

const TAG: u32 = u32::from_le_bytes(*b"IoWI");

/// Links the item to its device or driver object.
fn initialize(cx: &mut Machine, item: Gva<IO_WORKITEM>, object: Gva) -> Result<(), Fault> {
    cx.memory.fill(item, IO_WORKITEM::SIZE, 0)?;
    cx.memory.set(item, IO_WORKITEM::IoObject, object)
}

/// Reports an item that goes away while a worker has yet to take it.
fn check_idle(cx: &mut Machine, item: Gva<IO_WORKITEM>, what: &str) {
    if cx.ex.work.queued(item.raw()).is_some() {
        let text = format!(
            "the work item {:#x} is {what} while it is in the queue",
            item.raw()
        );
        cx.report("work-item/freed-queued", Severity::Error, text);
    }
}

fn queue(
    cx: &mut Machine,
    item: Gva<IO_WORKITEM>,
    routine: Gva<Code>,
    kind: u32,
    context: Gva,
    extended: bool,
) -> Result<(), Fault> {
    let object = cx.memory.get(item, IO_WORKITEM::IoObject)?;
    if cx.ex.work.queued(item.raw()).is_some() {
        let text = format!(
            "the work item {:#x} is queued while it is in the queue",
            item.raw()
        );
        cx.report("work-item/queued-twice", Severity::Error, text);
        return Ok(());
    }
    cx.memory.set(item, IO_WORKITEM::Routine, routine)?;
    cx.memory.set(item, IO_WORKITEM::Context, context)?;
    let list = item.at(IO_WORKITEM::WorkItem).at(WORK_QUEUE_ITEM::List);
    cx.memory.set(list, LIST_ENTRY::Flink, list)?;
    let mut arguments = vec![object.raw(), context.raw()];
    if extended {
        arguments.push(item.raw());
    }
    // The object stays until the routine has returned.
    let referenced = cx.reference_object(object.raw()).is_some();
    let work = Work {
        item: item.raw(),
        routine: routine.raw(),
        arguments,
        object: if referenced { object.raw() } else { 0 },
        priority: work_queue::priority(kind),
        owner: cx.caller,
    };
    work_queue::enqueue(cx, work);
    Ok(())
}

/// Routines on the work items of devices.
pub struct WorkItems;

#[exports("ntoskrnl.exe")]
impl WorkItems {
    /// Allocates a work item for a device.
    #[page("wdm/nf-wdm-ioallocateworkitem")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoAllocateWorkItem(cx: &mut Machine, DeviceObject: Gva) -> Result<Gva<IO_WORKITEM>, Fault> {
        let owner = cx.caller;
        let Some(at) = cx.pool_allocate_for(Pool::NonPaged, IO_WORKITEM::SIZE, TAG, owner) else {
            return Ok(Gva::NULL);
        };
        initialize(cx, at.cast(), DeviceObject)?;
        Ok(at.cast())
    }

    /// Frees a work item of IoAllocateWorkItem.
    #[page("wdm/nf-wdm-iofreeworkitem")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoFreeWorkItem(cx: &mut Machine, IoWorkItem: Gva<IO_WORKITEM>) {
        check_idle(cx, IoWorkItem, "freed");
        if !cx.pool_free(IoWorkItem.cast()) {
            let text = format!(
                "{:#x} is no work item of IoAllocateWorkItem",
                IoWorkItem.raw()
            );
            cx.report("work-item/bad-free", Severity::Error, text);
        }
    }

    /// Initialises a work item in memory of the driver's own.
    #[page("wdm/nf-wdm-ioinitializeworkitem")]
    #[irql(any)]
    fn IoInitializeWorkItem(
        cx: &mut Machine,
        IoObject: Gva,
        IoWorkItem: Gva<IO_WORKITEM>,
    ) -> Result<(), Fault> {
        initialize(cx, IoWorkItem, IoObject)
    }

    /// Undoes IoInitializeWorkItem.
    #[page("wdm/nf-wdm-iouninitializeworkitem")]
    #[irql(any)]
    fn IoUninitializeWorkItem(cx: &mut Machine, IoWorkItem: Gva<IO_WORKITEM>) -> Result<(), Fault> {
        check_idle(cx, IoWorkItem, "uninitialised");
        cx.memory.set(IoWorkItem, IO_WORKITEM::IoObject, Gva::NULL)
    }

    /// The bytes of a work item.
    #[page("wdm/nf-wdm-iosizeofworkitem")]
    #[irql(any)]
    fn IoSizeofWorkItem(cx: &mut Machine) -> u32 {
        let _ = &cx;
        IO_WORKITEM::SIZE as u32
    }

    /// Queues a work item; its routine gets the device and the context.
    #[page("wdm/nf-wdm-ioqueueworkitem")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoQueueWorkItem(
        cx: &mut Machine,
        IoWorkItem: Gva<IO_WORKITEM>,
        WorkerRoutine: Gva<Code>,
        QueueType: u32,
        Context: Gva,
    ) -> Result<(), Fault> {
        queue(cx, IoWorkItem, WorkerRoutine, QueueType, Context, false)
    }

    /// Queues a work item; its routine gets the device, the context and the item.
    #[page("wdm/nf-wdm-ioqueueworkitemex")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoQueueWorkItemEx(
        cx: &mut Machine,
        IoWorkItem: Gva<IO_WORKITEM>,
        WorkerRoutine: Gva<Code>,
        QueueType: u32,
        Context: Gva,
    ) -> Result<(), Fault> {
        queue(cx, IoWorkItem, WorkerRoutine, QueueType, Context, true)
    }
}
