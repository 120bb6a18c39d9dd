//! The kernel debugger as drivers see it: none is attached. Documentation: wdm.h, "KdDisableDebugger"
//! and neighbours; ntddk.h, "DbgPrompt".

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::export::argument::CHAR;
use crate::ntstatus::{NTSTATUS, STATUS_DEBUGGER_INACTIVE};

/// Routines about the debugger itself.
pub struct KernelDebugger;

#[exports("ntoskrnl.exe")]
impl KernelDebugger {
    /// Disables the kernel debugger; the machine was started without one.
    #[page("wdm/nf-wdm-kddisabledebugger")]
    #[irql(any)]
    #[partial("a machine with debugging enabled")]
    fn KdDisableDebugger(cx: &mut Machine) -> NTSTATUS {
        let _ = &cx;
        STATUS_DEBUGGER_INACTIVE
    }

    /// Enables the kernel debugger again; the machine was started without one.
    #[page("wdm/nf-wdm-kdenabledebugger")]
    #[irql(any)]
    #[partial("a machine with debugging enabled")]
    fn KdEnableDebugger(cx: &mut Machine) -> NTSTATUS {
        let _ = &cx;
        STATUS_DEBUGGER_INACTIVE
    }

    /// Changes an option of kernel debugging; the machine was started without it.
    #[page("wdm/nf-wdm-kdchangeoption")]
    #[irql(any)]
    #[partial("a machine with debugging enabled")]
    fn KdChangeOption(
        cx: &mut Machine,
        Option: u32,
        InBufferBytes: u32,
        InBuffer: Gva,
        OutBufferBytes: u32,
        OutBuffer: Gva,
        OutBufferNeeded: Gva<u32>,
    ) -> NTSTATUS {
        let _ = (&cx, Option, InBufferBytes, InBuffer);
        let _ = (OutBufferBytes, OutBuffer, OutBufferNeeded);
        STATUS_DEBUGGER_INACTIVE
    }

    /// Looks anew whether a debugger is attached: TRUE if none is.
    #[page("wdm/nf-wdm-kdrefreshdebuggernotpresent")]
    #[irql(any)]
    fn KdRefreshDebuggerNotPresent(cx: &mut Machine) -> Result<bool, Fault> {
        if let Some(at) = cx.export_address("ntoskrnl.exe", "KdDebuggerNotPresent") {
            cx.memory.write(at, 1u8)?;
        }
        Ok(true)
    }

    /// Asks the person at the debugger. Gives the number of characters read, here none.
    #[page("ntddk/nf-ntddk-dbgprompt")]
    #[irql(any)]
    #[assumed("without a debugger there is no answer: 0")]
    fn DbgPrompt(
        cx: &mut Machine,
        Prompt: Gva<CHAR>,
        Response: Gva,
        Length: u32,
    ) -> Result<u32, Fault> {
        let _ = (Response, Length);
        super::print::record_prompt(cx, Prompt)?;
        Ok(0)
    }
}
