//! Completing and cancelling IRPs. Documentation: wdm.h, "Completing IRPs", "Canceling IRPs".

use ring3_macros::resumable;
use ring3_memory::{Fault, Gva};

use super::{Operation, Transfer};
use crate::Machine;
use crate::export::irql::DISPATCH_LEVEL;
use crate::flow::{Flow, Key, Kont, Pass};
use crate::ke::dispatcher;
use crate::layout::{DEVICE_OBJECT, FILE_OBJECT, IO_STACK_LOCATION, IO_STATUS_BLOCK, IRP};
use crate::machine::finding::Severity;
use crate::ntstatus::{NTSTATUS, STATUS_MORE_PROCESSING_REQUIRED, STATUS_PENDING};

/// `IO_STACK_LOCATION.Control` bits of wdm.h.
mod control {
    pub const PENDING_RETURNED: u8 = 0x01;
    pub const INVOKE_ON_CANCEL: u8 = 0x20;
    pub const INVOKE_ON_SUCCESS: u8 = 0x40;
    pub const INVOKE_ON_ERROR: u8 = 0x80;
}

/// A completion routine to be called, or none for a location without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Completion {
    routine: u64,
    device: u64,
    context: u64,
}

/// Moves the IRP up by one stack location. `None` when the top has been reached.
fn completed_location(cx: &mut Machine, irp: Gva<IRP>) -> Result<Option<Completion>, Fault> {
    let count: i8 = cx.memory.get(irp, IRP::StackCount)?;
    let location: i8 = cx.memory.get(irp, IRP::CurrentLocation)?;
    if location > count {
        return Ok(None);
    }
    let stack = cx.memory.get(irp, IRP::Tail_Overlay_CurrentStackLocation)?;
    let flags = cx.memory.get(stack, IO_STACK_LOCATION::Control)?;
    let routine = cx.memory.get(stack, IO_STACK_LOCATION::CompletionRoutine)?.raw();
    let context = cx.memory.get(stack, IO_STACK_LOCATION::Context)?.raw();
    let status = cx.memory.get(irp.at(IRP::IoStatus), IO_STATUS_BLOCK::Status)?;
    let cancelled = cx.memory.get(irp, IRP::Cancel)? != 0;
    let upper = stack.byte_add(IO_STACK_LOCATION::SIZE);
    let device = if location < count {
        cx.memory.get(upper, IO_STACK_LOCATION::DeviceObject)?.raw()
    } else {
        0
    };
    cx.memory.set(irp, IRP::CurrentLocation, location + 1)?;
    cx.memory.set(irp, IRP::Tail_Overlay_CurrentStackLocation, upper)?;
    cx.memory.set(irp, IRP::PendingReturned, flags & control::PENDING_RETURNED)?;
    let wanted = if status.is_error() { control::INVOKE_ON_ERROR } else { control::INVOKE_ON_SUCCESS };
    let invoke = flags & wanted != 0 || cancelled && flags & control::INVOKE_ON_CANCEL != 0;
    if routine != 0 && invoke {
        return Ok(Some(Completion { routine, device, context }));
    }
    // Without a routine the pending mark goes up by itself.
    if flags & control::PENDING_RETURNED != 0 && location < count {
        let above = cx.memory.get(upper, IO_STACK_LOCATION::Control)?;
        cx.memory.set(upper, IO_STACK_LOCATION::Control, above | control::PENDING_RETURNED)?;
    }
    Ok(Some(Completion { routine: 0, device, context }))
}

/// An IRP must exist, and be with a driver, to be completed.
fn check(cx: &mut Machine, irp: Gva<IRP>) -> Result<Option<Flow>, Fault> {
    let count: i8 = cx.memory.get(irp, IRP::StackCount)?;
    let location: i8 = cx.memory.get(irp, IRP::CurrentLocation)?;
    let status = cx.memory.get(irp.at(IRP::IoStatus), IO_STATUS_BLOCK::Status)?;
    if location > count.wrapping_add(1) || !cx.io.irps.contains_key(&irp) && cx.pool_was_freed(irp.raw()) {
        cx.report("irp/double-completion", Severity::Error, format!("the IRP {:#x} is completed twice", irp.raw()));
        // MULTIPLE_IRP_COMPLETE_REQUESTS.
        return Ok(Some(Flow::Bugcheck(0x44, [irp.raw(), 0, 0, 0])));
    }
    if status == STATUS_PENDING {
        cx.report("irp/completed-pending", Severity::Error, format!("the IRP {:#x} is completed with STATUS_PENDING", irp.raw()));
    }
    Ok(None)
}

/// Completes an IRP: calls the completion routines on the way up, then ends it.
#[resumable(
    fn holds(&self) -> Vec<Key> { vec![Key::new("irp", self.irp.raw())] }
    fn on_unwind(&mut self, cx: &mut Machine) {
        let text = format!("the IRP {:#x} is left half completed", self.irp.raw());
        cx.report("irp/half-completed", Severity::Error, text);
    }
)]
pub fn io_complete(cx: &mut Machine, irp: Gva<IRP>) -> Result<Flow, Fault> {
    if let Some(stop) = check(cx, irp)? {
        return Ok(stop);
    }
    // One more step than locations: the last one finds the top.
    while let Some(completion) = completed_location(cx, irp)? {
        if completion.routine == 0 {
            continue;
        }
        let status: NTSTATUS = call!(completion.routine, completion.device, irp, completion.context);
        if status == STATUS_MORE_PROCESSING_REQUIRED {
            return Ok(Flow::Return(0));
        }
    }
    finish(cx, irp)?;
    Ok(Flow::Return(0))
}

/// The end of an IRP: data to the user, status, event, and its memory.
fn finish(cx: &mut Machine, irp: Gva<IRP>) -> Result<(), Fault> {
    let status = cx.memory.get(irp.at(IRP::IoStatus), IO_STATUS_BLOCK::Status)?;
    let information = cx.memory.get(irp.at(IRP::IoStatus), IO_STATUS_BLOCK::Information)?;
    cx.trace.event("irp-done", &[irp.raw(), u64::from(status.0), information]);
    if cx.trace.set.irp {
        cx.trace_line(format!("IRP {:#x} completed: {status}, information {information}", irp.raw()));
    }
    let Some(operation) = cx.io.operations.get(&irp).cloned() else {
        return finish_unowned(cx, irp, status, information);
    };
    copy_back(cx, irp, &operation, status, information)?;
    free_mdls(cx, irp)?;
    if operation.file != 0 {
        let file = Gva::<FILE_OBJECT>::new(operation.file);
        dispatcher::signal(cx, file.at(FILE_OBJECT::Event).cast(), 1);
    }
    if let Some(found) = cx.io.operations.get_mut(&irp) {
        found.done = Some((status.0, information));
    }
    cx.wake(Key::new("irp-done", irp.raw()));
    if let Some(number) = operation.number {
        super::user::finish_async(cx, number, irp, status, information);
    }
    Ok(())
}

/// An IRP that a driver made and let run to its end: IoBuildSynchronousFsdRequest and the like.
fn finish_unowned(cx: &mut Machine, irp: Gva<IRP>, status: NTSTATUS, information: u64) -> Result<(), Fault> {
    let block = cx.memory.get(irp, IRP::UserIosb)?;
    if !block.is_null() {
        cx.memory.set(block, IO_STATUS_BLOCK::Status, status)?;
        cx.memory.set(block, IO_STATUS_BLOCK::Information, information)?;
    }
    let event = cx.memory.get(irp, IRP::UserEvent)?;
    if !event.is_null() {
        dispatcher::signal(cx, event.cast(), 1);
    }
    free_mdls(cx, irp)?;
    if cx.io.irps.contains_key(&irp) {
        super::irp::free(cx, irp);
    }
    Ok(())
}

fn copy_back(
    cx: &mut Machine,
    irp: Gva<IRP>,
    operation: &Operation,
    status: NTSTATUS,
    information: u64,
) -> Result<(), Fault> {
    match operation.transfer {
        Transfer::Buffered { system, user, length, output } => {
            // As NT, output is copied unless the request failed with an error.
            if output && !status.is_error() {
                if information > u64::from(length) {
                    let text = format!("IoStatus.Information is {information}, but the output buffer has {length} bytes");
                    cx.report("irp/information-too-large", Severity::Error, text);
                }
                let bytes = cx.memory.read_vec(Gva::<u8>::new(system), information.min(u64::from(length)))?;
                cx.user_write(operation.process, user, &bytes);
            }
            if system != 0 {
                cx.pool_free(Gva::new(system));
            }
        }
        Transfer::Direct { system } => {
            if system != 0 {
                cx.pool_free(Gva::new(system));
            }
        }
        Transfer::None => {}
    }
    cx.memory.set(irp, IRP::AssociatedIrp_SystemBuffer, Gva::NULL)
}

fn free_mdls(cx: &mut Machine, irp: Gva<IRP>) -> Result<(), Fault> {
    let mut mdl = cx.memory.get(irp, IRP::MdlAddress)?;
    while !mdl.is_null() {
        let next = cx.memory.get(mdl, crate::layout::MDL::Next)?;
        if cx.mm.locked_mdls.contains_key(&mdl.raw()) {
            crate::mm::mdl::unlock(cx, mdl)?;
        }
        crate::mm::mdl::free(cx, mdl)?;
        mdl = next;
    }
    cx.memory.set(irp, IRP::MdlAddress, Gva::NULL)
}

/// Cancels an IRP.
#[resumable]
pub fn cancel_irp(cx: &mut Machine, irp: Gva<IRP>) -> Result<Flow, Fault> {
    cx.memory.set(irp, IRP::Cancel, 1)?;
    let routine: u64 = cx.memory.get(irp, IRP::CancelRoutine)?.raw();
    if routine == 0 {
        return Ok(Flow::Return(0));
    }
    let level: u8 = cx.irql();
    let stack = cx.memory.get(irp, IRP::Tail_Overlay_CurrentStackLocation)?;
    let device: Gva<DEVICE_OBJECT> = cx.memory.get(stack, IO_STACK_LOCATION::DeviceObject)?;
    cx.memory.set(irp, IRP::CancelRoutine, Gva::NULL)?;
    cx.memory.set(irp, IRP::CancelIrql, level)?;
    cx.set_irql(DISPATCH_LEVEL);
    call!(routine, device, irp);
    if cx.irql() != level {
        let text = "a cancel routine returned without IoReleaseCancelSpinLock(Irp->CancelIrql)";
        cx.report("irp/cancel-lock-held", Severity::Error, text);
        cx.set_irql(level);
    }
    Ok(Flow::Return(1))
}

/// A routine that only gives a status.
#[must_use]
pub fn return_status(status: NTSTATUS) -> Kont {
    Box::new(Status(status))
}

#[derive(Clone, Hash, Debug)]
struct Status(NTSTATUS);

impl crate::flow::Resume for Status {
    fn at(&self) -> crate::flow::At {
        crate::flow::Resume::at(&Pass)
    }
    fn resume(self: Box<Self>, _cx: &mut Machine, _rax: u64) -> Flow {
        Flow::Return(u64::from(self.0.0))
    }
}
