//! Cancelling IRPs. Documentation: wdm.h, "Canceling IRPs".

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::export::irql::DISPATCH_LEVEL;
use crate::flow::Flow;
use crate::ke::system_spin_lock::{self, CANCEL};
use crate::layout::{DEVICE_OBJECT, IO_STACK_LOCATION, IRP};
use crate::machine::finding::Severity;

/// Cancels an IRP: 1 if its cancel routine was called.
#[resumable]
pub fn cancel_irp(cx: &mut Machine, irp: Gva<IRP>) -> Result<Flow, Fault> {
    let level: u8 = cx.irql();
    cx.memory.get(irp, IRP::Cancel)?;
    cx.set_irql(DISPATCH_LEVEL);
    host!(system_spin_lock::acquire_at_dpc_level(cx, CANCEL));
    cx.memory.set(irp, IRP::Cancel, 1)?;
    let routine: u64 = cx.memory.get(irp, IRP::CancelRoutine)?.raw();
    if routine == 0 {
        system_spin_lock::release(cx, CANCEL);
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
        system_spin_lock::release(cx, CANCEL);
        cx.set_irql(level);
    }
    Ok(Flow::Return(1))
}

/// The cancel lock is given back and the IRQL lowered.
pub fn release_cancel_lock(cx: &mut Machine, level: u8) {
    if system_spin_lock::is_held(cx, CANCEL) {
        system_spin_lock::release(cx, CANCEL);
    } else {
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
        Ok(Flow::Become(system_spin_lock::raise_and_acquire(
            cx, CANCEL,
        )))
    }

    /// Gives the system-wide cancel lock back.
    #[page("wdm/nf-wdm-ioreleasecancelspinlock")]
    #[irql(DISPATCH_LEVEL)]
    fn IoReleaseCancelSpinLock(cx: &mut Machine, Irql: u8) {
        release_cancel_lock(cx, Irql);
    }
}
