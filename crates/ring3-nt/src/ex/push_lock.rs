//! Push locks. Documentation: ntifs.h, fltkernel.h ("FltAcquirePushLockExclusive").
//!
//! Bit 0 of the word: locked; bit 1: somebody waits; from bit 4 on the number of threads that share
//! it, 0 for an exclusive owner. Waiters are served in order.

use std::collections::VecDeque;

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::export::irql::DISPATCH_LEVEL;
use crate::flow::{Flow, IntoFlow, Key, Pass};
use crate::layout::EX_PUSH_LOCK;
use crate::machine::finding::Severity;
use crate::machine::thread::ThreadId;
use crate::machine::wait::Wait;

const LOCKED: u64 = 1;
const WAITING: u64 = 2;
const SHARE: u64 = 0x10;

/// Threads that wait for a push lock, and whether they want it alone.
pub type Waiters = VecDeque<(ThreadId, bool)>;

fn can_have(value: u64, exclusive: bool) -> bool {
    value & LOCKED == 0 || !exclusive && value >= SHARE
}

fn taken(value: u64, exclusive: bool) -> u64 {
    if exclusive {
        value | LOCKED
    } else {
        (value | LOCKED) + SHARE
    }
}

/// Acquires a push lock.
///
/// # Errors
/// A fault if it cannot be used.
pub fn acquire(cx: &mut Machine, at: Gva<EX_PUSH_LOCK>, exclusive: bool) -> Result<Flow, Fault> {
    let value = cx.memory.get(at, EX_PUSH_LOCK::Value)?;
    if can_have(value, exclusive) && value & WAITING == 0 {
        cx.memory
            .set(at, EX_PUSH_LOCK::Value, taken(value, exclusive))?;
        return Ok(().into_flow());
    }
    if cx.irql() >= DISPATCH_LEVEL {
        return Ok(Flow::Bugcheck(0xb8, [cx.thread().object.raw(), 0, 0, 0]));
    }
    cx.memory.set(at, EX_PUSH_LOCK::Value, value | WAITING)?;
    let thread = cx.thread().id;
    cx.ex
        .push_lock_waiters
        .entry(at.raw())
        .or_default()
        .push_back((thread, exclusive));
    Ok(Flow::Wait(
        Wait::On(Key::new("push lock", at.raw())),
        Box::new(Pass),
    ))
}

/// Releases a push lock, whichever way it is held, and hands it to who waits.
///
/// # Errors
/// A fault if it cannot be used.
pub fn release(cx: &mut Machine, at: Gva<EX_PUSH_LOCK>) -> Result<(), Fault> {
    let mut value = cx.memory.get(at, EX_PUSH_LOCK::Value)?;
    if value & LOCKED == 0 {
        let text = format!(
            "the push lock {:#x} is released but nobody holds it",
            at.raw()
        );
        cx.report("lock/not-held", Severity::Error, text);
        return Ok(());
    }
    value = if value >= SHARE { value - SHARE } else { value };
    if value < SHARE {
        value &= !LOCKED;
    }
    let mut woken = Vec::new();
    if let Some(waiters) = cx.ex.push_lock_waiters.get_mut(&at.raw()) {
        while let Some((thread, exclusive)) = waiters.front().copied() {
            if !can_have(value, exclusive) {
                break;
            }
            value = taken(value, exclusive);
            waiters.pop_front();
            woken.push(thread);
        }
        if waiters.is_empty() {
            cx.ex.push_lock_waiters.remove(&at.raw());
            value &= !WAITING;
        }
    }
    cx.memory.set(at, EX_PUSH_LOCK::Value, value)?;
    for thread in woken {
        cx.make_ready(thread, crate::machine::SCRUBBED);
    }
    Ok(())
}

/// Routines on push locks.
pub struct PushLocks;

#[exports("ntoskrnl.exe")]
impl PushLocks {
    /// Initialises a push lock.
    #[page("ntifs/nf-ntifs-exinitializepushlock")]
    #[irql(any)]
    fn ExInitializePushLock(cx: &mut Machine, PushLock: Gva<EX_PUSH_LOCK>) -> Result<(), Fault> {
        cx.memory.set(PushLock, EX_PUSH_LOCK::Value, 0)
    }

    /// Acquires a push lock alone.
    #[page("wdm/nf-wdm-exacquirepushlockexclusive")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ExAcquirePushLockExclusiveEx(
        cx: &mut Machine,
        PushLock: Gva<EX_PUSH_LOCK>,
        Flags: u32,
    ) -> Result<Flow, Fault> {
        let _ = Flags;
        acquire(cx, PushLock, true)
    }

    /// Acquires a push lock together with others.
    #[page("wdm/nf-wdm-exacquirepushlockshared")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ExAcquirePushLockSharedEx(
        cx: &mut Machine,
        PushLock: Gva<EX_PUSH_LOCK>,
        Flags: u32,
    ) -> Result<Flow, Fault> {
        let _ = Flags;
        acquire(cx, PushLock, false)
    }

    /// Releases a push lock held alone.
    #[page("wdm/nf-wdm-exreleasepushlockexclusive")]
    #[irql(..=APC_LEVEL)]
    #[alias("ExReleasePushLockSharedEx")]
    fn ExReleasePushLockExclusiveEx(
        cx: &mut Machine,
        PushLock: Gva<EX_PUSH_LOCK>,
        Flags: u32,
    ) -> Result<(), Fault> {
        let _ = Flags;
        release(cx, PushLock)
    }

    /// Acquires a push lock alone; without the parameter that documented callers give.
    #[page("")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ExfAcquirePushLockExclusive(
        cx: &mut Machine,
        PushLock: Gva<EX_PUSH_LOCK>,
    ) -> Result<Flow, Fault> {
        acquire(cx, PushLock, true)
    }

    /// Acquires a push lock together with others; without the parameter that documented callers give.
    #[page("")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ExfAcquirePushLockShared(
        cx: &mut Machine,
        PushLock: Gva<EX_PUSH_LOCK>,
    ) -> Result<Flow, Fault> {
        acquire(cx, PushLock, false)
    }

    /// Releases a push lock, whichever way it is held.
    #[page("")]
    #[irql(..=APC_LEVEL)]
    #[alias("ExfReleasePushLockExclusive", "ExfReleasePushLockShared")]
    fn ExfReleasePushLock(cx: &mut Machine, PushLock: Gva<EX_PUSH_LOCK>) -> Result<(), Fault> {
        release(cx, PushLock)
    }

    /// Acquires a push lock together with others if that needs no wait.
    #[page("")]
    #[irql(..=APC_LEVEL)]
    fn ExfTryAcquirePushLockShared(
        cx: &mut Machine,
        PushLock: Gva<EX_PUSH_LOCK>,
    ) -> Result<bool, Fault> {
        let value = cx.memory.get(PushLock, EX_PUSH_LOCK::Value)?;
        if !can_have(value, false) || value & WAITING != 0 {
            return Ok(false);
        }
        cx.memory
            .set(PushLock, EX_PUSH_LOCK::Value, taken(value, false))?;
        Ok(true)
    }
}
