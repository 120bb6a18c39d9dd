//! Routines that raise exceptions. Documentation: wdm.h, winnt.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};
use ring3_x64::RSP;

use super::{Dispatch, EXCEPTION_NONCONTINUABLE, record};
use crate::Machine;
use crate::flow::{Exception, Flow};
use crate::layout::EXCEPTION_RECORD;
use crate::machine::context::ThreadContext;
use crate::ntstatus::{NTSTATUS, STATUS_ACCESS_VIOLATION, STATUS_DATATYPE_MISALIGNMENT};

/// The registers of the caller of the export that is being called, as they will be after its return.
pub(super) fn caller_context(cx: &Machine) -> ThreadContext {
    let mut context = ThreadContext::save(&cx.processor().cpu);
    context.rip = cx.caller;
    context.gpr[RSP] = context.gpr[RSP].wrapping_add(8);
    context
}

/// What `ExRaiseStatus` raises: execution cannot go on behind the call.
pub(super) fn status(code: NTSTATUS) -> Exception {
    Exception {
        flags: EXCEPTION_NONCONTINUABLE,
        ..Exception::new(code)
    }
}

/// Routines that raise exceptions.
pub struct Raising;

#[exports("ntoskrnl.exe")]
impl Raising {
    /// Raises an exception that cannot be continued, with a status as its code.
    #[page("wdm/nf-wdm-exraisestatus")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(())]
    fn ExRaiseStatus(cx: &mut Machine, Status: NTSTATUS) -> Flow {
        let _ = cx;
        Flow::Raise(status(Status))
    }

    /// Raises STATUS_ACCESS_VIOLATION.
    #[page("wdm/nf-wdm-exraiseaccessviolation")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ExRaiseAccessViolation(cx: &mut Machine) -> Flow {
        let _ = cx;
        Flow::Raise(status(STATUS_ACCESS_VIOLATION))
    }

    /// Raises STATUS_DATATYPE_MISALIGNMENT.
    #[page("wdm/nf-wdm-exraisedatatypemisalignment")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ExRaiseDatatypeMisalignment(cx: &mut Machine) -> Flow {
        let _ = cx;
        Flow::Raise(status(STATUS_DATATYPE_MISALIGNMENT))
    }

    /// Raises the exception that a record describes, at the caller.
    #[page("winnt/nf-winnt-rtlraiseexception")]
    #[irql(any)]
    #[alias("ExRaiseException")]
    #[returns(())]
    fn RtlRaiseException(
        cx: &mut Machine,
        ExceptionRecord: Gva<EXCEPTION_RECORD>,
    ) -> Result<Flow, Fault> {
        let exception = record::read(cx, ExceptionRecord)?;
        let chained = cx
            .memory
            .get(ExceptionRecord, EXCEPTION_RECORD::ExceptionRecord)?;
        let context = Some(Box::new(caller_context(cx)));
        Ok(Flow::Dispatch(Box::new(Dispatch::Raise {
            exception,
            chained,
            context,
        })))
    }
}
