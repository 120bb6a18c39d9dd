//! Completing and cancelling IRPs. Documentation: wdm.h, "Completing IRPs", "Canceling IRPs".

use ring3_macros::resumable;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::flow::{Flow, Key, Kont, Pass};
use crate::layout::{IO_STACK_LOCATION, IO_STATUS_BLOCK, IRP};
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
        // Beyond the top: a second completion is recognised by it.
        cx.memory
            .set(irp, IRP::CurrentLocation, count.wrapping_add(2))?;
        return Ok(None);
    }
    let stack = cx.memory.get(irp, IRP::Tail_Overlay_CurrentStackLocation)?;
    let flags = cx.memory.get(stack, IO_STACK_LOCATION::Control)?;
    let routine = cx
        .memory
        .get(stack, IO_STACK_LOCATION::CompletionRoutine)?
        .raw();
    let context = cx.memory.get(stack, IO_STACK_LOCATION::Context)?.raw();
    let status = cx
        .memory
        .get(irp.at(IRP::IoStatus), IO_STATUS_BLOCK::Status)?;
    let cancelled = cx.memory.get(irp, IRP::Cancel)? != 0;
    let upper = stack.byte_add(IO_STACK_LOCATION::SIZE);
    let device = if location < count {
        cx.memory.get(upper, IO_STACK_LOCATION::DeviceObject)?.raw()
    } else {
        0
    };
    cx.memory.set(irp, IRP::CurrentLocation, location + 1)?;
    cx.memory
        .set(irp, IRP::Tail_Overlay_CurrentStackLocation, upper)?;
    cx.memory
        .set(irp, IRP::PendingReturned, flags & control::PENDING_RETURNED)?;
    // By NT_SUCCESS, so that warnings count as errors: IoSetCompletionRoutine, InvokeOnSuccess.
    let wanted = if status.is_success() {
        control::INVOKE_ON_SUCCESS
    } else {
        control::INVOKE_ON_ERROR
    };
    let invoke = flags & wanted != 0 || cancelled && flags & control::INVOKE_ON_CANCEL != 0;
    if routine != 0 && invoke {
        return Ok(Some(Completion {
            routine,
            device,
            context,
        }));
    }
    // Without a routine the pending mark goes up by itself.
    if flags & control::PENDING_RETURNED != 0 && location < count {
        let above = cx.memory.get(upper, IO_STACK_LOCATION::Control)?;
        cx.memory.set(
            upper,
            IO_STACK_LOCATION::Control,
            above | control::PENDING_RETURNED,
        )?;
    }
    Ok(Some(Completion {
        routine: 0,
        device,
        context,
    }))
}

/// An IRP must exist, and be with a driver, to be completed.
fn check(cx: &mut Machine, irp: Gva<IRP>) -> Result<Option<Flow>, Fault> {
    let freed = !cx.io.irps.contains_key(&irp) && cx.pool_was_freed(irp.raw());
    let done = cx.io.operations.get(&irp).is_some_and(|o| o.done.is_some());
    let twice = freed || done || {
        let count: i8 = cx.memory.get(irp, IRP::StackCount)?;
        let location: i8 = cx.memory.get(irp, IRP::CurrentLocation)?;
        location > count.wrapping_add(1)
    };
    if twice {
        cx.report(
            "irp/double-completion",
            Severity::Error,
            format!("the IRP {:#x} is completed twice", irp.raw()),
        );
        // MULTIPLE_IRP_COMPLETE_REQUESTS.
        return Ok(Some(Flow::Bugcheck(0x44, [irp.raw(), 0, 0, 0])));
    }
    if cx.memory.get(irp, IRP::Type)? != super::irp::IO_TYPE_IRP {
        cx.report(
            "irp/not-an-irp",
            Severity::Error,
            format!("{:#x} is completed but is no IRP", irp.raw()),
        );
        return Ok(Some(Flow::Bugcheck(0x44, [irp.raw(), 0, 0, 0])));
    }
    let status = cx
        .memory
        .get(irp.at(IRP::IoStatus), IO_STATUS_BLOCK::Status)?;
    if status == STATUS_PENDING {
        cx.report(
            "irp/completed-pending",
            Severity::Error,
            format!("the IRP {:#x} is completed with STATUS_PENDING", irp.raw()),
        );
    }
    let routine = cx.memory.get(irp, IRP::CancelRoutine)?;
    if !routine.is_null() {
        let text = format!(
            "the IRP {:#x} is completed while its cancel routine is still set",
            irp.raw()
        );
        cx.report("irp/completed-cancelable", Severity::Error, text);
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
        let status: NTSTATUS = call!(
            completion.routine,
            completion.device,
            irp,
            completion.context
        );
        if status == STATUS_MORE_PROCESSING_REQUIRED {
            return Ok(Flow::Return(0));
        }
    }
    if let Some(master) = super::finish::finish(cx, irp)? {
        return Ok(Flow::Become(io_complete(master)));
    }
    Ok(Flow::Return(0))
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
