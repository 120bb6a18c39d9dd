//! DbgPrint and its filter. Documentation: wdm.h "DbgPrint", "Reading and Filtering Debugging Messages".

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::Message;
use crate::Machine;
use crate::export::VarArgs;
use crate::export::argument::CHAR;
use crate::flow::Flow;
use crate::machine::finding::Severity;
use crate::ntstatus::{NTSTATUS, STATUS_INVALID_PARAMETER_1, STATUS_SUCCESS};
use crate::rtl::format::{self, Units};

/// `DPFLTR_DEFAULT_ID`, used by DbgPrint.
const DEFAULT_ID: u32 = 101;
/// `DPFLTR_INFO_LEVEL`, used by DbgPrint.
const INFO_LEVEL: u32 = 3;
/// Bytes that one call transmits at most.
const LIMIT: usize = 512;
/// The mask that holds for all components: WIN2000 is 1 by default, i.e. errors.
const WIN2000_MASK: u32 = 1;

/// Below 32 a level names a bit, from 32 on it is the bit field itself.
fn bits(level: u32) -> u32 {
    if level < 32 { 1 << level } else { level }
}

fn is_shown(cx: &Machine, component: u32, level: u32) -> bool {
    let mask = cx.dbg.masks.get(&component).copied().unwrap_or(0);
    bits(level) & (mask | WIN2000_MASK) != 0
}

/// Formats, filters and records a message.
fn print(
    cx: &mut Machine,
    component: u32,
    level: u32,
    prefix: &[u16],
    format: Gva<CHAR>,
    args: &mut VarArgs,
) -> Result<NTSTATUS, Fault> {
    let text = format::read_string(cx, format.raw(), false, 0x1000)?;
    if cx.irql() > 0 && has_wide_conversion(&text) {
        let level = cx.irql();
        let message = format!(
            "DbgPrint with a Unicode format (%wZ, %ws, %S, ...) at IRQL {level}; allowed at PASSIVE_LEVEL only"
        );
        cx.report("irql/dbgprint-unicode", Severity::Error, message);
    }
    let mut units = prefix.to_vec();
    units.extend(format::format(cx, &text, args, false)?);
    units.truncate(LIMIT);
    let shown = is_shown(cx, component, level);
    record(cx, component, level, &units, shown);
    Ok(STATUS_SUCCESS)
}

fn has_wide_conversion(format: &Units) -> bool {
    let text: String = String::from_utf16_lossy(format);
    ["%wZ", "%ws", "%S", "%C", "%ls", "%lc", "%wc"]
        .iter()
        .any(|c| text.contains(c))
}

fn record(cx: &mut Machine, component: u32, level: u32, units: &[u16], shown: bool) {
    let text = String::from_utf16_lossy(units);
    cx.trace.text("dbgprint", &text);
    if cx.trace.set.dbgprint {
        let mark = if shown {
            ""
        } else {
            " (suppressed by the filter)"
        };
        let line = format!("DbgPrint{mark}: {}", text.trim_end_matches(['\r', '\n']));
        cx.trace_line(line);
    }
    cx.dbg.messages.push(Message {
        component,
        level,
        text,
        shown,
    });
}

/// Debug output routines.
pub struct DebugPrint;

#[exports("ntoskrnl.exe")]
impl DebugPrint {
    /// Sends a formatted message to the debugger, as component DEFAULT at level INFO.
    #[page("wdm/nf-wdm-dbgprint")]
    #[irql(any)]
    fn DbgPrint(
        cx: &mut Machine,
        Format: Gva<CHAR>,
        mut arguments: VarArgs,
    ) -> Result<NTSTATUS, Fault> {
        print(cx, DEFAULT_ID, INFO_LEVEL, &[], Format, &mut arguments)
    }

    /// Sends a formatted message of a component and level.
    #[page("wdm/nf-wdm-dbgprintex")]
    #[irql(any)]
    fn DbgPrintEx(
        cx: &mut Machine,
        ComponentId: u32,
        Level: u32,
        Format: Gva<CHAR>,
        mut arguments: VarArgs,
    ) -> Result<NTSTATUS, Fault> {
        print(cx, ComponentId, Level, &[], Format, &mut arguments)
    }

    /// As DbgPrintEx, with a list of arguments.
    #[page("wdm/nf-wdm-vdbgprintex")]
    #[irql(any)]
    fn vDbgPrintEx(
        cx: &mut Machine,
        ComponentId: u32,
        Level: u32,
        Format: Gva<CHAR>,
        arglist: Gva,
    ) -> Result<NTSTATUS, Fault> {
        print(
            cx,
            ComponentId,
            Level,
            &[],
            Format,
            &mut VarArgs::from_list(arglist.raw()),
        )
    }

    /// As vDbgPrintEx, with a text before the message.
    #[page("wdm/nf-wdm-vdbgprintexwithprefix")]
    #[irql(any)]
    fn vDbgPrintExWithPrefix(
        cx: &mut Machine,
        Prefix: Gva<CHAR>,
        ComponentId: u32,
        Level: u32,
        Format: Gva<CHAR>,
        arglist: Gva,
    ) -> Result<NTSTATUS, Fault> {
        let prefix = format::read_string(cx, Prefix.raw(), false, LIMIT)?;
        print(
            cx,
            ComponentId,
            Level,
            &prefix,
            Format,
            &mut VarArgs::from_list(arglist.raw()),
        )
    }

    /// TRUE if a message of this component and level would be shown.
    #[page("wdm/nf-wdm-dbgquerydebugfilterstate")]
    #[irql(any)]
    fn DbgQueryDebugFilterState(cx: &mut Machine, ComponentId: u32, Level: u32) -> u32 {
        u32::from(is_shown(cx, ComponentId, Level))
    }

    /// Changes the filter of a component.
    #[page("wdm/nf-wdm-dbgsetdebugfilterstate")]
    #[irql(..=APC_LEVEL)]
    fn DbgSetDebugFilterState(
        cx: &mut Machine,
        ComponentId: u32,
        Level: u32,
        State: bool,
    ) -> NTSTATUS {
        if ComponentId > 0xffff {
            return STATUS_INVALID_PARAMETER_1;
        }
        let mask = cx.dbg.masks.entry(ComponentId).or_insert(0);
        if State {
            *mask |= bits(Level);
        } else {
            *mask &= !bits(Level);
        }
        STATUS_SUCCESS
    }

    /// Breaks into the debugger.
    #[page("wdm/nf-wdm-dbgbreakpoint")]
    #[irql(any)]
    #[returns(())]
    fn DbgBreakPoint(cx: &mut Machine) -> Flow {
        let _ = &cx;
        Flow::Raise(crate::flow::Exception::new(
            crate::ntstatus::STATUS_BREAKPOINT,
        ))
    }

    /// Breaks into the debugger with a status.
    #[page("wdm/nf-wdm-dbgbreakpointwithstatus")]
    #[irql(any)]
    #[returns(())]
    fn DbgBreakPointWithStatus(cx: &mut Machine, Status: u32) -> Flow {
        let _ = (&cx, Status);
        Flow::Raise(crate::flow::Exception::new(
            crate::ntstatus::STATUS_BREAKPOINT,
        ))
    }

    /// Reports a failed RTL_ASSERT of a checked build.
    #[page("wdm/nf-wdm-rtlassert")]
    #[irql(any)]
    fn RtlAssert(
        cx: &mut Machine,
        FailedAssertion: Gva<CHAR>,
        FileName: Gva<CHAR>,
        LineNumber: u32,
        Message: Gva<CHAR>,
    ) -> Result<(), Fault> {
        let _ = Message;
        let what = String::from_utf16_lossy(&format::read_string(
            cx,
            FailedAssertion.raw(),
            false,
            LIMIT,
        )?);
        let file =
            String::from_utf16_lossy(&format::read_string(cx, FileName.raw(), false, LIMIT)?);
        cx.report(
            "driver/assertion",
            Severity::Error,
            format!("assertion failed: {what} ({file}:{LineNumber})"),
        );
        Ok(())
    }
}
