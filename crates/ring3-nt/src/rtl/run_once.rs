//! One-time initialisation. Documentation: ntddk.h, "RtlRunOnceExecuteOnce" and neighbours.
//!
//! The two low bits of the word: 0 not begun, 1 in progress, 2 done; above them the context.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::export::argument::Code;
use crate::flow::{Flow, Key};
use crate::machine::wait::Wait;
use crate::ntstatus::{
    NTSTATUS, STATUS_INVALID_PARAMETER, STATUS_PENDING, STATUS_SUCCESS, STATUS_UNSUCCESSFUL,
};

const STATE: u64 = 3;
const IN_PROGRESS: u64 = 1;
const DONE: u64 = 2;
/// `RTL_RUN_ONCE_CHECK_ONLY`, `.._ASYNC`, `.._INIT_FAILED`.
const CHECK_ONLY: u32 = 1;
const ASYNC: u32 = 2;
const INIT_FAILED: u32 = 4;

fn key(at: Gva<u64>) -> Key {
    Key::new("run once", at.raw())
}

fn give(cx: &mut Machine, to: Gva<u64>, value: u64) -> Result<(), Fault> {
    if to.is_null() {
        Ok(())
    } else {
        cx.memory.write(to, value & !STATE)
    }
}

/// Begins, or waits for another thread that has begun. STATUS_PENDING means that the caller is to
/// initialise.
#[resumable]
fn begin(cx: &mut Machine, once: Gva<u64>, context: Gva<u64>) -> Result<NTSTATUS, Fault> {
    loop {
        let word: u64 = cx.memory.read(once)?;
        if word & STATE == DONE {
            give(cx, context, word)?;
            return Ok(STATUS_SUCCESS);
        }
        if word & STATE == 0 {
            cx.memory.write(once, IN_PROGRESS)?;
            return Ok(STATUS_PENDING);
        }
        wait!(Wait::On(key(once)));
    }
}

fn complete(
    cx: &mut Machine,
    once: Gva<u64>,
    failed: bool,
    context: u64,
) -> Result<NTSTATUS, Fault> {
    if cx.memory.read(once)? & STATE != IN_PROGRESS {
        return Ok(STATUS_UNSUCCESSFUL);
    }
    cx.memory
        .write(once, if failed { 0 } else { context & !STATE | DONE })?;
    cx.wake(key(once));
    Ok(STATUS_SUCCESS)
}

#[resumable]
fn execute(
    cx: &mut Machine,
    once: Gva<u64>,
    routine: Gva<Code>,
    parameter: u64,
    context: Gva<u64>,
) -> Result<NTSTATUS, Fault> {
    let begun: NTSTATUS = host!(begin(once, context));
    if begun != STATUS_PENDING {
        return Ok(begun);
    }
    let good: u32 = call!(routine, once, parameter, context);
    let value = if context.is_null() {
        0
    } else {
        cx.memory.read(context)?
    };
    complete(cx, once, good == 0, value)?;
    Ok(if good == 0 {
        STATUS_UNSUCCESSFUL
    } else {
        STATUS_SUCCESS
    })
}

/// One-time initialisation.
pub struct OnceOnly;

#[exports("ntoskrnl.exe")]
impl OnceOnly {
    /// Makes a one-time initialisation that has not begun.
    #[page("ntddk/nf-ntddk-rtlrunonceinitialize")]
    #[irql(any)]
    fn RtlRunOnceInitialize(cx: &mut Machine, RunOnce: Gva<u64>) -> Result<(), Fault> {
        cx.memory.write(RunOnce, 0)
    }

    /// Runs a routine if none has succeeded before.
    #[page("ntddk/nf-ntddk-rtlrunonceexecuteonce")]
    #[irql(..=APC_LEVEL)]
    #[returns(NTSTATUS)]
    fn RtlRunOnceExecuteOnce(
        cx: &mut Machine,
        RunOnce: Gva<u64>,
        InitFn: Gva<Code>,
        Parameter: u64,
        Context: Gva<u64>,
    ) -> Flow {
        let _ = &cx;
        Flow::Become(execute(RunOnce, InitFn, Parameter, Context))
    }

    /// Begins a one-time initialisation. STATUS_PENDING: the caller is to do it.
    #[page("ntddk/nf-ntddk-rtlrunoncebegininitialize")]
    #[irql(..=APC_LEVEL)]
    #[returns(NTSTATUS)]
    fn RtlRunOnceBeginInitialize(
        cx: &mut Machine,
        RunOnce: Gva<u64>,
        Flags: u32,
        Context: Gva<u64>,
    ) -> Result<Flow, Fault> {
        if Flags & ASYNC != 0 {
            return Ok(Flow::NotModelled(
                "RtlRunOnceBeginInitialize with RTL_RUN_ONCE_ASYNC".into(),
            ));
        }
        if Flags & CHECK_ONLY != 0 {
            let word = cx.memory.read(RunOnce)?;
            if word & STATE != DONE {
                return Ok(Flow::Return(u64::from(STATUS_UNSUCCESSFUL.0)));
            }
            give(cx, Context, word)?;
            return Ok(Flow::Return(u64::from(STATUS_SUCCESS.0)));
        }
        Ok(Flow::Become(begin(RunOnce, Context)))
    }

    /// Ends a one-time initialisation.
    #[page("ntddk/nf-ntddk-rtlrunoncecomplete")]
    #[irql(..=APC_LEVEL)]
    fn RtlRunOnceComplete(
        cx: &mut Machine,
        RunOnce: Gva<u64>,
        Flags: u32,
        Context: u64,
    ) -> Result<NTSTATUS, Fault> {
        let failed = Flags & INIT_FAILED != 0;
        if Context & STATE != 0 || failed && Context != 0 || Flags & ASYNC != 0 {
            return Ok(STATUS_INVALID_PARAMETER);
        }
        complete(cx, RunOnce, failed, Context)
    }
}
