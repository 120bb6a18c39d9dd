//! Cancel-safe IRP queues. Documentation: wdm.h, "Cancel-Safe IRP Queues".
//!
//! The queue itself is the driver's: insertion, removal and locking are its callbacks. What the routines
//! add is the race with cancellation.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Field, Gva};
use ring3_x64::RSP;

use super::private::CSQ_CANCEL_ROUTINE;
use crate::Machine;
use crate::export::argument::Code;
use crate::flow::Flow;
use crate::layout::{IO_CSQ, IO_STACK_LOCATION, IRP, element};
use crate::machine::finding::Severity;
use crate::machine::thread::HOST_FRAME;
use crate::ntstatus::{NTSTATUS, STATUS_SUCCESS};

/// `IO_TYPE_CSQ_IRP_CONTEXT`, `IO_TYPE_CSQ`, `IO_TYPE_CSQ_EX` of wdm.h.
const IO_TYPE_CSQ_IRP_CONTEXT: u32 = 1;
const IO_TYPE_CSQ: u32 = 2;
const IO_TYPE_CSQ_EX: u32 = 3;
/// `SL_PENDING_RETURNED`.
const SL_PENDING_RETURNED: u8 = 1;

/// `IO_CSQ_IRP_CONTEXT` of wdm.h.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
pub enum IO_CSQ_IRP_CONTEXT {}

impl crate::export::Pointee for IO_CSQ_IRP_CONTEXT {}

/// `IO_CSQ_IRP_CONTEXT.Type`.
const CONTEXT_TYPE: Field<IO_CSQ_IRP_CONTEXT, u32> = Field::new(0);
/// `IO_CSQ_IRP_CONTEXT.Irp`.
const CONTEXT_IRP: Field<IO_CSQ_IRP_CONTEXT, Gva<IRP>> = Field::new(8);
/// `IO_CSQ_IRP_CONTEXT.Csq`.
const CONTEXT_CSQ: Field<IO_CSQ_IRP_CONTEXT, Gva<IO_CSQ>> = Field::new(0x10);

/// A byte on the guest stack for the IRQL that the driver's lock callback stores: in the area for stack
/// arguments of the routine's own frame, which its callbacks (three arguments at most) do not use.
fn irql_slot(cx: &Machine) -> Gva<u8> {
    Gva::new(
        cx.processor().cpu.gpr[RSP]
            .wrapping_sub(HOST_FRAME)
            .wrapping_add(0x40),
    )
}

/// `Tail.Overlay.DriverContext[3]` leads from the IRP to its queue or context.
fn link(irp: Gva<IRP>) -> Gva<Gva> {
    element(irp.at(IRP::Tail_Overlay_DriverContext), 3)
}

/// The queue and the context, if any, that an IRP is in.
fn queue_of(cx: &Machine, irp: Gva<IRP>) -> Result<(Gva<IO_CSQ>, Gva<IO_CSQ_IRP_CONTEXT>), Fault> {
    let at = cx.memory.read(link(irp))?;
    let kind = cx.memory.read(at.cast::<u32>())?;
    if kind == IO_TYPE_CSQ_IRP_CONTEXT {
        let context = at.cast::<IO_CSQ_IRP_CONTEXT>();
        return Ok((cx.memory.get(context, CONTEXT_CSQ)?, context));
    }
    Ok((at.cast(), Gva::NULL))
}

/// The IRP is in its queue no more.
fn unlink(cx: &mut Machine, irp: Gva<IRP>, context: Gva<IO_CSQ_IRP_CONTEXT>) -> Result<(), Fault> {
    if !context.is_null() {
        cx.memory.set(context, CONTEXT_IRP, Gva::NULL)?;
    }
    cx.memory.write(link(irp), Gva::NULL)
}

/// Takes the cancel routine away; false if cancellation has taken it already.
fn disarm(cx: &mut Machine, irp: Gva<IRP>) -> Result<bool, Fault> {
    let routine = cx.memory.get(irp, IRP::CancelRoutine)?;
    cx.memory.set(irp, IRP::CancelRoutine, Gva::NULL)?;
    Ok(!routine.is_null())
}

fn callback(cx: &Machine, csq: Gva<IO_CSQ>, field: Field<IO_CSQ, Gva<Code>>) -> Result<u64, Fault> {
    Ok(cx.memory.get(csq, field)?.raw())
}

/// Puts an IRP into a queue.
#[resumable]
fn insert(
    cx: &mut Machine,
    csq: Gva<IO_CSQ>,
    irp: Gva<IRP>,
    context: Gva<IO_CSQ_IRP_CONTEXT>,
    insert_context: u64,
    slot: Gva<u8>,
) -> Result<NTSTATUS, Fault> {
    let acquire = callback(cx, csq, IO_CSQ::CsqAcquireLock)?;
    call!(acquire, csq, slot);
    let back = if context.is_null() {
        csq.cast()
    } else {
        context.cast()
    };
    cx.memory.write(link(irp), back)?;
    if !context.is_null() {
        cx.memory
            .set(context, CONTEXT_TYPE, IO_TYPE_CSQ_IRP_CONTEXT)?;
        cx.memory.set(context, CONTEXT_IRP, irp)?;
        cx.memory.set(context, CONTEXT_CSQ, csq)?;
    }
    let stack = cx.memory.get(irp, IRP::Tail_Overlay_CurrentStackLocation)?;
    let control = cx.memory.get(stack, IO_STACK_LOCATION::Control)?;
    cx.memory.set(
        stack,
        IO_STACK_LOCATION::Control,
        control | SL_PENDING_RETURNED,
    )?;
    let extended: bool = cx.memory.get(csq, IO_CSQ::Type)? == IO_TYPE_CSQ_EX;
    let put = callback(cx, csq, IO_CSQ::CsqInsertIrp)?;
    let mut status: NTSTATUS = call!(put, csq, irp, insert_context);
    if !extended {
        status = STATUS_SUCCESS;
    }
    if status.is_error() {
        unlink(cx, irp, context)?;
        let stack = cx.memory.get(irp, IRP::Tail_Overlay_CurrentStackLocation)?;
        let control = cx.memory.get(stack, IO_STACK_LOCATION::Control)?;
        cx.memory.set(
            stack,
            IO_STACK_LOCATION::Control,
            control & !SL_PENDING_RETURNED,
        )?;
        let level = cx.memory.read(slot)?;
        let release = callback(cx, csq, IO_CSQ::CsqReleaseLock)?;
        call!(release, csq, level);
        return Ok(status);
    }
    let routine = cx
        .export_address("ntoskrnl.exe", CSQ_CANCEL_ROUTINE)
        .unwrap_or(Gva::NULL);
    cx.memory.set(irp, IRP::CancelRoutine, routine.cast())?;
    // Cancelled before the routine was set: nobody else will take it out.
    let cancelled: bool = cx.memory.get(irp, IRP::Cancel)? != 0 && disarm(cx, irp)?;
    if cancelled {
        unlink(cx, irp, context)?;
        let remove = callback(cx, csq, IO_CSQ::CsqRemoveIrp)?;
        call!(remove, csq, irp);
    }
    let level = cx.memory.read(slot)?;
    let release = callback(cx, csq, IO_CSQ::CsqReleaseLock)?;
    call!(release, csq, level);
    if cancelled {
        let complete = callback(cx, csq, IO_CSQ::CsqCompleteCanceledIrp)?;
        call!(complete, csq, irp);
    }
    Ok(status)
}

/// Takes the next IRP that matches out of a queue.
#[resumable]
fn remove_next(
    cx: &mut Machine,
    csq: Gva<IO_CSQ>,
    peek_context: u64,
    slot: Gva<u8>,
) -> Result<Gva<IRP>, Fault> {
    let acquire = callback(cx, csq, IO_CSQ::CsqAcquireLock)?;
    call!(acquire, csq, slot);
    let mut irp: Gva<IRP> = Gva::NULL;
    loop {
        let peek = callback(cx, csq, IO_CSQ::CsqPeekNextIrp)?;
        irp = call!(peek, csq, irp, peek_context);
        if irp.is_null() {
            break;
        }
        // One that is being cancelled belongs to its cancel routine; look at the next.
        if !disarm(cx, irp)? {
            continue;
        }
        let remove = callback(cx, csq, IO_CSQ::CsqRemoveIrp)?;
        call!(remove, csq, irp);
        let (_, context) = queue_of(cx, irp)?;
        unlink(cx, irp, context)?;
        break;
    }
    let level = cx.memory.read(slot)?;
    let release = callback(cx, csq, IO_CSQ::CsqReleaseLock)?;
    call!(release, csq, level);
    Ok(irp)
}

/// Takes the IRP of a context out of its queue; NULL if it is not in there any more.
#[resumable]
fn remove(
    cx: &mut Machine,
    csq: Gva<IO_CSQ>,
    context: Gva<IO_CSQ_IRP_CONTEXT>,
    slot: Gva<u8>,
) -> Result<Gva<IRP>, Fault> {
    let acquire = callback(cx, csq, IO_CSQ::CsqAcquireLock)?;
    call!(acquire, csq, slot);
    let mut irp: Gva<IRP> = cx.memory.get(context, CONTEXT_IRP)?;
    if !irp.is_null() && !disarm(cx, irp)? {
        irp = Gva::NULL;
    }
    if !irp.is_null() {
        let routine = callback(cx, csq, IO_CSQ::CsqRemoveIrp)?;
        call!(routine, csq, irp);
        unlink(cx, irp, context)?;
    }
    let level = cx.memory.read(slot)?;
    let release = callback(cx, csq, IO_CSQ::CsqReleaseLock)?;
    call!(release, csq, level);
    Ok(irp)
}

/// What the cancel routine does once the cancel lock is free.
#[resumable]
fn cancel(cx: &mut Machine, irp: Gva<IRP>, slot: Gva<u8>) -> Result<(), Fault> {
    let (queue, owner) = queue_of(cx, irp)?;
    let csq: Gva<IO_CSQ> = queue;
    let context: Gva<IO_CSQ_IRP_CONTEXT> = owner;
    let acquire = callback(cx, csq, IO_CSQ::CsqAcquireLock)?;
    call!(acquire, csq, slot);
    let routine = callback(cx, csq, IO_CSQ::CsqRemoveIrp)?;
    call!(routine, csq, irp);
    unlink(cx, irp, context)?;
    let level = cx.memory.read(slot)?;
    let release = callback(cx, csq, IO_CSQ::CsqReleaseLock)?;
    call!(release, csq, level);
    let complete = callback(cx, csq, IO_CSQ::CsqCompleteCanceledIrp)?;
    call!(complete, csq, irp);
    Ok(())
}

/// The cancel routine of queued IRPs.
///
/// # Errors
/// A fault if the IRP cannot be read.
pub fn cancelled(cx: &mut Machine, irp: Gva<IRP>) -> Result<Flow, Fault> {
    let level = cx.memory.get(irp, IRP::CancelIrql)?;
    super::cancel::release_cancel_lock(cx, level);
    let slot = irql_slot(cx);
    Ok(Flow::Become(cancel(irp, slot)))
}

/// Fills the structure of a queue.
fn initialize(
    cx: &mut Machine,
    csq: Gva<IO_CSQ>,
    kind: u32,
    routines: [Gva<Code>; 6],
) -> Result<NTSTATUS, Fault> {
    let fields = [
        IO_CSQ::CsqInsertIrp,
        IO_CSQ::CsqRemoveIrp,
        IO_CSQ::CsqPeekNextIrp,
        IO_CSQ::CsqAcquireLock,
        IO_CSQ::CsqReleaseLock,
        IO_CSQ::CsqCompleteCanceledIrp,
    ];
    cx.memory.set(csq, IO_CSQ::Type, kind)?;
    for (field, routine) in fields.into_iter().zip(routines) {
        cx.memory.set(csq, field, routine)?;
    }
    cx.memory.set(csq, IO_CSQ::ReservePointer, Gva::NULL)?;
    Ok(STATUS_SUCCESS)
}

/// A queue must have been initialised.
fn check(cx: &mut Machine, csq: Gva<IO_CSQ>) -> Result<(), Fault> {
    let kind = cx.memory.get(csq, IO_CSQ::Type)?;
    if kind != IO_TYPE_CSQ && kind != IO_TYPE_CSQ_EX {
        let text = format!(
            "{:#x} is no cancel-safe queue of IoCsqInitialize",
            csq.raw()
        );
        cx.report("irp/bad-queue", Severity::Error, text);
    }
    Ok(())
}

/// Routines on cancel-safe queues.
pub struct CancelSafeQueues;

#[exports("ntoskrnl.exe")]
impl CancelSafeQueues {
    /// Initialises a cancel-safe queue.
    #[page("wdm/nf-wdm-iocsqinitialize")]
    #[irql(any)]
    fn IoCsqInitialize(
        cx: &mut Machine,
        Csq: Gva<IO_CSQ>,
        CsqInsertIrp: Gva<Code>,
        CsqRemoveIrp: Gva<Code>,
        CsqPeekNextIrp: Gva<Code>,
        CsqAcquireLock: Gva<Code>,
        CsqReleaseLock: Gva<Code>,
        CsqCompleteCanceledIrp: Gva<Code>,
    ) -> Result<NTSTATUS, Fault> {
        let routines = [
            CsqInsertIrp,
            CsqRemoveIrp,
            CsqPeekNextIrp,
            CsqAcquireLock,
            CsqReleaseLock,
            CsqCompleteCanceledIrp,
        ];
        initialize(cx, Csq, IO_TYPE_CSQ, routines)
    }

    /// Initialises a cancel-safe queue whose insertion may fail.
    #[page("wdm/nf-wdm-iocsqinitializeex")]
    #[irql(any)]
    fn IoCsqInitializeEx(
        cx: &mut Machine,
        Csq: Gva<IO_CSQ>,
        CsqInsertIrp: Gva<Code>,
        CsqRemoveIrp: Gva<Code>,
        CsqPeekNextIrp: Gva<Code>,
        CsqAcquireLock: Gva<Code>,
        CsqReleaseLock: Gva<Code>,
        CsqCompleteCanceledIrp: Gva<Code>,
    ) -> Result<NTSTATUS, Fault> {
        let routines = [
            CsqInsertIrp,
            CsqRemoveIrp,
            CsqPeekNextIrp,
            CsqAcquireLock,
            CsqReleaseLock,
            CsqCompleteCanceledIrp,
        ];
        initialize(cx, Csq, IO_TYPE_CSQ_EX, routines)
    }

    /// Marks an IRP pending and puts it into a queue.
    #[page("wdm/nf-wdm-iocsqinsertirp")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(())]
    fn IoCsqInsertIrp(
        cx: &mut Machine,
        Csq: Gva<IO_CSQ>,
        Irp: Gva<IRP>,
        Context: Gva<IO_CSQ_IRP_CONTEXT>,
    ) -> Result<Flow, Fault> {
        check(cx, Csq)?;
        let slot = irql_slot(cx);
        Ok(Flow::Become(insert(Csq, Irp, Context, 0, slot)))
    }

    /// Marks an IRP pending and puts it into a queue; the driver's insertion may refuse it.
    #[page("wdm/nf-wdm-iocsqinsertirpex")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(NTSTATUS)]
    fn IoCsqInsertIrpEx(
        cx: &mut Machine,
        Csq: Gva<IO_CSQ>,
        Irp: Gva<IRP>,
        Context: Gva<IO_CSQ_IRP_CONTEXT>,
        InsertContext: Gva,
    ) -> Result<Flow, Fault> {
        check(cx, Csq)?;
        let slot = irql_slot(cx);
        Ok(Flow::Become(insert(
            Csq,
            Irp,
            Context,
            InsertContext.raw(),
            slot,
        )))
    }

    /// Takes one IRP out of a queue, by its context.
    #[page("wdm/nf-wdm-iocsqremoveirp")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(Gva<IRP>)]
    fn IoCsqRemoveIrp(
        cx: &mut Machine,
        Csq: Gva<IO_CSQ>,
        Context: Gva<IO_CSQ_IRP_CONTEXT>,
    ) -> Result<Flow, Fault> {
        check(cx, Csq)?;
        let slot = irql_slot(cx);
        Ok(Flow::Become(remove(Csq, Context, slot)))
    }

    /// Takes the next matching IRP out of a queue.
    #[page("wdm/nf-wdm-iocsqremovenextirp")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(Gva<IRP>)]
    fn IoCsqRemoveNextIrp(
        cx: &mut Machine,
        Csq: Gva<IO_CSQ>,
        PeekContext: Gva,
    ) -> Result<Flow, Fault> {
        check(cx, Csq)?;
        let slot = irql_slot(cx);
        Ok(Flow::Become(remove_next(Csq, PeekContext.raw(), slot)))
    }
}
