//! DbgPrint and its filter. Documentation: wdm.h "DbgPrint", "Reading and Filtering Debugging Messages".

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::components::COMPONENTS;
use super::{Message, filter};
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

/// Formats, filters and records a message.
fn print(
    cx: &mut Machine,
    component: u32,
    level: u32,
    prefix: &[u16],
    format: Gva<CHAR>,
    args: &mut VarArgs,
) -> Result<NTSTATUS, Fault> {
    let shown = filter::lets_through(cx, component, level);
    let (text, mut units) = match formatted(cx, prefix, format, args) {
        Ok(both) => both,
        Err(fault) if shown => return Err(fault),
        // What the filter suppresses is never formatted by Windows, so it cannot fault there.
        Err(fault) => {
            let message = format!(
                "a message that the debug print filter suppresses has an argument that cannot be read ({fault}); it stops the machine as soon as the filter shows it"
            );
            cx.report("dbgprint/unreadable", Severity::Warning, message);
            return Ok(STATUS_SUCCESS);
        }
    };
    if cx.irql() > 0 && has_wide_conversion(&text) {
        let level = cx.irql();
        let message = format!(
            "DbgPrint with a Unicode format (%wZ, %ws, %S, ...) at IRQL {level}; allowed at PASSIVE_LEVEL only"
        );
        cx.report("irql/dbgprint-unicode", Severity::Error, message);
    }
    units.truncate(LIMIT);
    record(cx, component, level, &units, shown);
    Ok(STATUS_SUCCESS)
}

/// The format itself, and the text that it gives.
fn formatted(
    cx: &Machine,
    prefix: &[u16],
    format: Gva<CHAR>,
    args: &mut VarArgs,
) -> Result<(Units, Units), Fault> {
    let text = format::read_string(cx, format.raw(), false, 0x1000)?;
    let mut units = prefix.to_vec();
    units.extend(format::format(cx, &text, args, false)?);
    Ok((text, units))
}

/// Whether a format takes Unicode: `%C`, `%S`, `%lc`, `%ls`, `%wc`, `%ws`, `%wZ`.
fn has_wide_conversion(format: &[u16]) -> bool {
    let mut rest = format
        .iter()
        .map(|unit| u8::try_from(*unit).map_or('\0', char::from));
    while let Some(c) = rest.next() {
        if c != '%' {
            continue;
        }
        let (mut long, mut short) = (false, false);
        for c in rest.by_ref() {
            match c {
                '-' | '+' | ' ' | '#' | '.' | '*' | '0'..='9' | 'I' | 'z' | 'j' | 't' => {}
                'l' | 'w' => long = true,
                'h' => short = true,
                'C' | 'S' if !short => return true,
                'c' | 's' | 'Z' if long => return true,
                _ => break,
            }
        }
    }
    false
}

/// Records the text of DbgPrompt, which no filter keeps back.
pub(super) fn record_prompt(cx: &mut Machine, prompt: Gva<CHAR>) -> Result<(), Fault> {
    let units = format::read_string(cx, prompt.raw(), false, LIMIT)?;
    record(cx, DEFAULT_ID, 0, &units, true);
    Ok(())
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

    /// As DbgPrint; tells by STATUS_BREAKPOINT that Ctrl+C was pressed at the debugger.
    #[page("wdm/nf-wdm-dbgprint")]
    #[irql(any)]
    #[assumed("without a debugger nobody presses Ctrl+C")]
    fn DbgPrintReturnControlC(
        cx: &mut Machine,
        Format: Gva<CHAR>,
        mut arguments: VarArgs,
    ) -> Result<NTSTATUS, Fault> {
        print(cx, DEFAULT_ID, INFO_LEVEL, &[], Format, &mut arguments)
    }

    /// TRUE if a message of this component and level would be shown.
    #[page("wdm/nf-wdm-dbgquerydebugfilterstate")]
    #[irql(any)]
    fn DbgQueryDebugFilterState(cx: &mut Machine, ComponentId: u32, Level: u32) -> u32 {
        u32::from(filter::lets_through(cx, ComponentId, Level))
    }

    /// Changes the filter of a component.
    #[page("wdm/nf-wdm-dbgsetdebugfilterstate")]
    #[irql(..=APC_LEVEL)]
    #[assumed("a component beyond the table is STATUS_INVALID_PARAMETER_1")]
    fn DbgSetDebugFilterState(
        cx: &mut Machine,
        ComponentId: u32,
        Level: u32,
        State: bool,
    ) -> NTSTATUS {
        let Some(name) = COMPONENTS.get(ComponentId as usize) else {
            return STATUS_INVALID_PARAMETER_1;
        };
        let mask = filter::mask(cx, name);
        let changed = if State {
            mask | filter::bits(Level)
        } else {
            mask & !filter::bits(Level)
        };
        filter::set_mask(cx, name, changed);
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

#[cfg(test)]
mod tests {
    use super::has_wide_conversion;

    #[test]
    fn formats_that_take_unicode() {
        let wide = |text: &str| has_wide_conversion(&text.encode_utf16().collect::<Vec<u16>>());
        for text in ["%wZ", "a %-20ws", "%S", "%C", "%ls", "%d %.*lc"] {
            assert!(wide(text), "{text}");
        }
        for text in ["%s", "%Z", "%%S", "%ld", "%I64x", "%hS is %x", "%hs"] {
            assert!(!wide(text), "{text}");
        }
    }
}
