//! Run-down protection. Documentation: wdm.h, "Run-Down Protection".
//!
//! Bit 0 of the count is set once the run-down has begun; each reference adds 2. Who waits for the
//! last reference is kept here, with how many are left.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::export::irql::DISPATCH_LEVEL;
use crate::flow::{Flow, Key};
use crate::layout::EX_RUNDOWN_REF;
use crate::machine::finding::Severity;
use crate::machine::wait::Wait;

/// `EX_RUNDOWN_ACTIVE`.
pub(super) const ACTIVE: u64 = 1;
/// `EX_RUNDOWN_COUNT_INC`.
pub(super) const ONE: u64 = 2;

fn key(at: u64) -> Key {
    Key::new("rundown", at)
}

fn acquire(cx: &mut Machine, at: Gva<EX_RUNDOWN_REF>, count: u32) -> Result<bool, Fault> {
    let value = cx.memory.get(at, EX_RUNDOWN_REF::Count)?;
    if value & ACTIVE != 0 {
        return Ok(false);
    }
    cx.memory.set(
        at,
        EX_RUNDOWN_REF::Count,
        value.wrapping_add(ONE * u64::from(count)),
    )?;
    Ok(true)
}

fn release(cx: &mut Machine, at: Gva<EX_RUNDOWN_REF>, count: u32) -> Result<(), Fault> {
    let value = cx.memory.get(at, EX_RUNDOWN_REF::Count)?;
    let count = u64::from(count);
    let left = if value & ACTIVE == 0 {
        Some(value / ONE)
    } else {
        cx.ex.rundowns.get(&at.raw()).copied()
    };
    let Some(after) = left.and_then(|left| left.checked_sub(count)) else {
        report_over_release(cx, at.raw());
        return Ok(());
    };
    if value & ACTIVE == 0 {
        return cx.memory.set(at, EX_RUNDOWN_REF::Count, after * ONE);
    }
    note_left(cx, at.raw(), after);
    Ok(())
}

/// So many references are left of one that is waited for.
pub(super) fn note_left(cx: &mut Machine, at: u64, after: u64) {
    if after == 0 {
        cx.ex.rundowns.remove(&at);
        cx.wake(key(at));
    } else {
        cx.ex.rundowns.insert(at, after);
    }
}

/// Waits until no reference is left.
#[resumable]
pub(super) fn wait_for_last(cx: &mut Machine, at: u64) -> Flow {
    while cx.ex.rundowns.contains_key(&at) {
        if cx.irql() >= DISPATCH_LEVEL {
            return Flow::Bugcheck(0xb8, [cx.thread().object.raw(), 0, 0, 0]);
        }
        wait!(Wait::On(key(at)));
    }
    Flow::Return(crate::machine::SCRUBBED)
}

pub(super) fn report_over_release(cx: &mut Machine, at: u64) {
    let text =
        format!("run-down protection of {at:#x} is released more often than it was acquired");
    cx.report("rundown/over-release", Severity::Error, text);
}

fn wait_for_release(cx: &mut Machine, at: Gva<EX_RUNDOWN_REF>) -> Result<Flow, Fault> {
    let value: u64 = cx.memory.get(at, EX_RUNDOWN_REF::Count)?;
    cx.memory.set(at, EX_RUNDOWN_REF::Count, ACTIVE)?;
    if value & ACTIVE == 0 && value >= ONE {
        cx.ex.rundowns.insert(at.raw(), value / ONE);
    }
    Ok(Flow::Become(wait_for_last(at.raw())))
}

/// Routines on run-down protection.
pub struct Rundowns;

#[exports("ntoskrnl.exe")]
impl Rundowns {
    /// Initialises run-down protection.
    #[page("wdm/nf-wdm-exinitializerundownprotection")]
    #[irql(any)]
    fn ExInitializeRundownProtection(
        cx: &mut Machine,
        RunRef: Gva<EX_RUNDOWN_REF>,
    ) -> Result<(), Fault> {
        cx.memory.set(RunRef, EX_RUNDOWN_REF::Count, 0)
    }

    /// Makes run-down protection usable again after a run-down.
    #[page("wdm/nf-wdm-exreinitializerundownprotection")]
    #[irql(any)]
    fn ExReInitializeRundownProtection(
        cx: &mut Machine,
        RunRef: Gva<EX_RUNDOWN_REF>,
    ) -> Result<(), Fault> {
        cx.memory.set(RunRef, EX_RUNDOWN_REF::Count, 0)
    }

    /// Tries to keep an object from being run down.
    #[page("wdm/nf-wdm-exacquirerundownprotection")]
    #[irql(any)]
    fn ExAcquireRundownProtection(
        cx: &mut Machine,
        RunRef: Gva<EX_RUNDOWN_REF>,
    ) -> Result<bool, Fault> {
        acquire(cx, RunRef, 1)
    }

    /// Tries to keep an object from being run down, several times.
    #[page("wdm/nf-wdm-exacquirerundownprotectionex")]
    #[irql(any)]
    fn ExAcquireRundownProtectionEx(
        cx: &mut Machine,
        RunRef: Gva<EX_RUNDOWN_REF>,
        Count: u32,
    ) -> Result<bool, Fault> {
        acquire(cx, RunRef, Count)
    }

    /// Gives run-down protection back.
    #[page("wdm/nf-wdm-exreleaserundownprotection")]
    #[irql(any)]
    fn ExReleaseRundownProtection(
        cx: &mut Machine,
        RunRef: Gva<EX_RUNDOWN_REF>,
    ) -> Result<(), Fault> {
        release(cx, RunRef, 1)
    }

    /// Gives run-down protection back, several times.
    #[page("wdm/nf-wdm-exreleaserundownprotectionex")]
    #[irql(any)]
    fn ExReleaseRundownProtectionEx(
        cx: &mut Machine,
        RunRef: Gva<EX_RUNDOWN_REF>,
        Count: u32,
    ) -> Result<(), Fault> {
        release(cx, RunRef, Count)
    }

    /// Begins a run-down and waits until nobody has protection any more.
    #[page("wdm/nf-wdm-exwaitforrundownprotectionrelease")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ExWaitForRundownProtectionRelease(
        cx: &mut Machine,
        RunRef: Gva<EX_RUNDOWN_REF>,
    ) -> Result<Flow, Fault> {
        wait_for_release(cx, RunRef)
    }

    /// Marks a run-down as over.
    #[page("wdm/nf-wdm-exrundowncompleted")]
    #[irql(any)]
    fn ExRundownCompleted(cx: &mut Machine, RunRef: Gva<EX_RUNDOWN_REF>) -> Result<(), Fault> {
        cx.memory.set(RunRef, EX_RUNDOWN_REF::Count, ACTIVE)
    }
}
