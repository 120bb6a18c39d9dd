//! Unwinding and register contexts, for drivers that do it themselves. Documentation: winnt.h, ntddk.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};
use ring3_symbols::unwind;
use ring3_x64::{RAX, RSP};

use super::raise::caller_context;
use super::unwind::Target;
use super::{Dispatch, context_record, function_table};
use crate::Machine;
use crate::flow::Flow;
use crate::layout::{CONTEXT, EXCEPTION_RECORD, RUNTIME_FUNCTION};
use crate::ntstatus::{STATUS_LONGJUMP, STATUS_UNWIND_CONSOLIDATE};

fn unwind_to(frame: u64, ip: u64, record: Gva<EXCEPTION_RECORD>, return_value: u64) -> Flow {
    let target = Target {
        frame,
        ip,
        return_value,
        leave: false,
    };
    Flow::Dispatch(Box::new(Dispatch::Unwind { target, record }))
}

/// Unwinding and contexts.
pub struct Unwinding;

#[exports("ntoskrnl.exe")]
impl Unwinding {
    /// Runs the termination handlers of all frames up to a target and goes on there.
    #[page("winnt/nf-winnt-rtlunwindex")]
    #[irql(any)]
    #[returns(())]
    fn RtlUnwindEx(
        cx: &mut Machine,
        TargetFrame: u64,
        TargetIp: u64,
        ExceptionRecord: Gva<EXCEPTION_RECORD>,
        ReturnValue: u64,
        ContextRecord: Gva<CONTEXT>,
        HistoryTable: Gva,
    ) -> Flow {
        // The buffer for a context and the table of earlier look-ups only save work.
        let _ = (cx, ContextRecord, HistoryTable);
        unwind_to(TargetFrame, TargetIp, ExceptionRecord, ReturnValue)
    }

    /// RtlUnwindEx without buffers.
    #[page("winnt/nf-winnt-rtlunwind")]
    #[irql(any)]
    #[returns(())]
    fn RtlUnwind(
        cx: &mut Machine,
        TargetFrame: u64,
        TargetIp: u64,
        ExceptionRecord: Gva<EXCEPTION_RECORD>,
        ReturnValue: u64,
    ) -> Flow {
        let _ = cx;
        unwind_to(TargetFrame, TargetIp, ExceptionRecord, ReturnValue)
    }

    /// What a jump out of a guarded block calls: the termination handlers between here and there.
    #[page("c-runtime-library/local-unwind")]
    #[irql(any)]
    #[returns(())]
    fn _local_unwind(cx: &mut Machine, frame: u64, target_ip: u64) -> Flow {
        let _ = cx;
        unwind_to(frame, target_ip, Gva::NULL, 0)
    }

    /// Unwinds one frame of a context.
    #[page("winnt/nf-winnt-rtlvirtualunwind")]
    #[irql(any)]
    #[partial("addresses of saved registers in ContextPointers")]
    #[returns(Gva)]
    fn RtlVirtualUnwind(
        cx: &mut Machine,
        HandlerType: u32,
        ImageBase: u64,
        ControlPc: u64,
        FunctionEntry: Gva<RUNTIME_FUNCTION>,
        ContextRecord: Gva<CONTEXT>,
        HandlerData: Gva<u64>,
        EstablisherFrame: Gva<u64>,
        ContextPointers: Gva,
    ) -> Result<Flow, Fault> {
        if !ContextPointers.is_null() {
            return Ok(Flow::NotModelled(
                "RtlVirtualUnwind with ContextPointers".into(),
            ));
        }
        let mut registers = context_record::registers(cx, ContextRecord)?;
        registers.rip = ControlPc;
        let function = function_table::read_entry(cx, FunctionEntry);
        let Ok(step) = unwind::virtual_unwind(cx, ImageBase, function.as_ref(), &mut registers)
        else {
            return Ok(Flow::NotModelled(
                "RtlVirtualUnwind over a stack that cannot be read".into(),
            ));
        };
        context_record::set_registers(cx, ContextRecord, &registers)?;
        cx.memory.write(EstablisherFrame, step.establisher_frame)?;
        match step
            .handler
            .filter(|h| u32::from(h.flags) & HandlerType != 0)
        {
            Some(handler) => {
                cx.memory.write(HandlerData, handler.data_va)?;
                Ok(Flow::Return(
                    ImageBase.wrapping_add(u64::from(handler.routine_rva)),
                ))
            }
            None => Ok(Flow::Return(0)),
        }
    }

    /// Finds the entry of the function table for an address.
    #[page("winnt/nf-winnt-rtllookupfunctionentry")]
    #[irql(any)]
    fn RtlLookupFunctionEntry(
        cx: &mut Machine,
        ControlPc: u64,
        ImageBase: Gva<u64>,
        HistoryTable: Gva,
    ) -> Result<Gva<RUNTIME_FUNCTION>, Fault> {
        let _ = HistoryTable;
        let found = function_table::find(cx, ControlPc);
        cx.memory
            .write(ImageBase, found.map_or(0, |f| f.image_base))?;
        Ok(found.map_or(Gva::NULL, |f| f.entry))
    }

    /// The base of the image that an address lies in.
    #[page("winnt/nf-winnt-rtlpctofileheader")]
    #[irql(any)]
    fn RtlPcToFileHeader(
        cx: &mut Machine,
        PcValue: u64,
        BaseOfImage: Gva<u64>,
    ) -> Result<Gva, Fault> {
        let base = cx.modules.at(PcValue).map_or(0, |m| m.base);
        cx.memory.write(BaseOfImage, base)?;
        Ok(Gva::new(base))
    }

    /// Stores the caller's registers.
    #[page("winnt/nf-winnt-rtlcapturecontext")]
    #[irql(any)]
    fn RtlCaptureContext(cx: &mut Machine, ContextRecord: Gva<CONTEXT>) -> Result<(), Fault> {
        let context = caller_context(cx);
        context_record::write(cx, ContextRecord, &context)
    }

    /// Loads registers: execution goes on where they say.
    #[page("winnt/nf-winnt-rtlrestorecontext")]
    #[irql(any)]
    #[returns(())]
    fn RtlRestoreContext(
        cx: &mut Machine,
        ContextRecord: Gva<CONTEXT>,
        ExceptionRecord: Gva<EXCEPTION_RECORD>,
    ) -> Result<Flow, Fault> {
        if !ExceptionRecord.is_null() {
            let code = cx
                .memory
                .get(ExceptionRecord, EXCEPTION_RECORD::ExceptionCode)?;
            if code == STATUS_LONGJUMP || code == STATUS_UNWIND_CONSOLIDATE {
                return Ok(Flow::NotModelled(format!(
                    "RtlRestoreContext with {code:?}"
                )));
            }
        }
        let context = context_record::load(cx, ContextRecord)?;
        cx.trace.event(
            "restore",
            &[context.rip, context.gpr[RSP], context.gpr[RAX]],
        );
        Ok(Flow::Restore(Box::new(context)))
    }
}
