//! Cancelling IRPs. Documentation: wdm.h, "Canceling IRPs".

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::export::irql::DISPATCH_LEVEL;
use crate::flow::{Flow, Until};
use crate::layout::{DEVICE_OBJECT, IO_STACK_LOCATION, IRP};
use crate::locks::{Kind, Mode};
use crate::machine::finding::Severity;
use crate::mm::space::{self, Region};

/// The word of the system-wide cancel lock: 0 free, 1 held.
fn cancel_lock(cx: &mut Machine) -> Gva<u64> {
    if cx.io.cancel_lock.is_null()
        && let Some(page) = cx.allocate_pages(Region::Objects, 1, space::data())
    {
        cx.io.cancel_lock = page.cast();
    }
    cx.io.cancel_lock
}

/// Takes the system-wide cancel lock; the processor is at DISPATCH_LEVEL already.
#[resumable]
fn acquire_cancel_lock(cx: &mut Machine) -> Result<(), Fault> {
    let lock: Gva<u64> = cancel_lock(cx);
    let held: bool = cx.memory.read(lock)? != 0;
    cx.lock_wanted(Kind::CancelSpinLock, lock.raw(), Mode::Exclusive, held);
    while cx.memory.read(lock)? != 0 {
        spin!(Until::Zero(lock));
    }
    cx.memory.write(lock, 1)?;
    cx.lock_taken(Kind::CancelSpinLock, lock.raw(), Mode::Exclusive);
    Ok(())
}

/// Gives the cancel lock back; whether anybody had it.
fn free_cancel_lock(cx: &mut Machine) -> bool {
    let lock = cx.io.cancel_lock;
    let held = !lock.is_null() && cx.memory.read(lock).unwrap_or(0) != 0;
    if held {
        cx.lock_released(lock.raw());
        let _ = cx.memory.write(lock, 0);
    }
    held
}

/// Cancels an IRP: 1 if its cancel routine was called.
#[resumable]
pub fn cancel_irp(cx: &mut Machine, irp: Gva<IRP>) -> Result<Flow, Fault> {
    let level: u8 = cx.irql();
    cx.memory.get(irp, IRP::Cancel)?;
    cx.set_irql(DISPATCH_LEVEL);
    host!(acquire_cancel_lock());
    cx.memory.set(irp, IRP::Cancel, 1)?;
    let routine: u64 = cx.memory.get(irp, IRP::CancelRoutine)?.raw();
    if routine == 0 {
        free_cancel_lock(cx);
        cx.set_irql(level);
        return Ok(Flow::Return(0));
    }
    cx.trace.event("irp-cancel", &[irp.raw(), routine]);
    let location: i8 = cx.memory.get(irp, IRP::CurrentLocation)?;
    let count: i8 = cx.memory.get(irp, IRP::StackCount)?;
    if location > count.wrapping_add(1) {
        // CANCEL_STATE_IN_COMPLETED_IRP.
        return Ok(Flow::Bugcheck(0x48, [irp.raw(), routine, 0, 0]));
    }
    let stack = cx.memory.get(irp, IRP::Tail_Overlay_CurrentStackLocation)?;
    let device: Gva<DEVICE_OBJECT> = cx.memory.get(stack, IO_STACK_LOCATION::DeviceObject)?;
    cx.memory.set(irp, IRP::CancelRoutine, Gva::NULL)?;
    cx.memory.set(irp, IRP::CancelIrql, level)?;
    call!(routine, device, irp);
    if cx.irql() != level {
        let text = "a cancel routine returned without IoReleaseCancelSpinLock(Irp->CancelIrql)";
        cx.report("irp/cancel-lock-held", Severity::Error, text);
        free_cancel_lock(cx);
        cx.set_irql(level);
    }
    Ok(Flow::Return(1))
}

/// The cancel lock is given back and the IRQL lowered.
pub fn release_cancel_lock(cx: &mut Machine, level: u8) {
    if !free_cancel_lock(cx) {
        cx.report(
            "lock/cancel-lock-not-held",
            Severity::Error,
            "the cancel spin lock is released but nobody holds it",
        );
    }
    cx.set_irql(level);
}

/// Routines on cancelling.
pub struct Cancelling;

#[exports("ntoskrnl.exe")]
impl Cancelling {
    /// Cancels an IRP: calls its cancel routine, if it has one.
    #[page("wdm/nf-wdm-iocancelirp")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(bool)]
    fn IoCancelIrp(cx: &mut Machine, Irp: Gva<IRP>) -> Result<Flow, Fault> {
        cx.memory.get(Irp, IRP::Cancel)?;
        Ok(Flow::Become(cancel_irp(Irp)))
    }

    /// Takes the system-wide cancel lock.
    #[page("wdm/nf-wdm-ioacquirecancelspinlock")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(())]
    fn IoAcquireCancelSpinLock(cx: &mut Machine, Irql: Gva<u8>) -> Result<Flow, Fault> {
        let level = cx.irql();
        cx.memory.write(Irql, level)?;
        cx.set_irql(DISPATCH_LEVEL);
        Ok(Flow::Become(acquire_cancel_lock()))
    }

    /// Gives the system-wide cancel lock back.
    #[page("wdm/nf-wdm-ioreleasecancelspinlock")]
    #[irql(DISPATCH_LEVEL)]
    fn IoReleaseCancelSpinLock(cx: &mut Machine, Irql: u8) {
        release_cancel_lock(cx, Irql);
    }
}
