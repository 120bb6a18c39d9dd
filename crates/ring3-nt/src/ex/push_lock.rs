//! Push locks. Documentation: ntifs.h, fltkernel.h ("FltAcquirePushLockExclusive").
//!
//! Bit 0 of the word: locked; bit 1: somebody waits; from bit 4 on the number of threads that share
//! it, 0 for an exclusive owner. Waiters are served in order.

use std::collections::VecDeque;

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::fast_mutex::{not_owner, too_high};
use crate::Machine;
use crate::flow::{Flow, IntoFlow, Key, Pass};
use crate::layout::{EX_PUSH_LOCK, KTHREAD};
use crate::locks::{Holder, Kind, Mode};
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

fn mode(exclusive: bool) -> Mode {
    if exclusive {
        Mode::Exclusive
    } else {
        Mode::Shared
    }
}

/// A thread that can be suspended must not hold a push lock: the routines want a critical region.
fn check_held_off(cx: &mut Machine, at: Gva<EX_PUSH_LOCK>) -> Result<(), Fault> {
    let thread = cx.thread().object.cast::<KTHREAD>();
    let normal: i16 = cx.memory.get(thread, KTHREAD::KernelApcDisable)?;
    let all: i16 = cx.memory.get(thread, KTHREAD::SpecialApcDisable)?;
    // A system thread gets no APC that could suspend it.
    if cx.irql() == 0 && normal == 0 && all == 0 && cx.thread().user {
        let text = format!(
            "{} is acquired while normal kernel APCs are enabled",
            cx.lock_name(Kind::PushLock, at.raw())
        );
        cx.report("lock/push-lock-apcs-enabled", Severity::Warning, text);
    }
    Ok(())
}

/// Acquires a push lock if that needs no wait; gives whether.
fn try_acquire(cx: &mut Machine, at: Gva<EX_PUSH_LOCK>, exclusive: bool) -> Result<bool, Fault> {
    let value = cx.memory.get(at, EX_PUSH_LOCK::Value)?;
    if !can_have(value, exclusive) || value & WAITING != 0 {
        return Ok(false);
    }
    cx.memory
        .set(at, EX_PUSH_LOCK::Value, taken(value, exclusive))?;
    cx.lock_taken(Kind::PushLock, at.raw(), mode(exclusive));
    Ok(true)
}

/// Acquires a push lock.
///
/// # Errors
/// A fault if it cannot be used.
pub fn acquire(cx: &mut Machine, at: Gva<EX_PUSH_LOCK>, exclusive: bool) -> Result<Flow, Fault> {
    let value = cx.memory.get(at, EX_PUSH_LOCK::Value)?;
    if let Some(bugcheck) = too_high(cx, at.raw()) {
        return Ok(bugcheck);
    }
    check_held_off(cx, at)?;
    let free = can_have(value, exclusive) && value & WAITING == 0;
    cx.lock_wanted(Kind::PushLock, at.raw(), mode(exclusive), !free);
    if free {
        cx.memory
            .set(at, EX_PUSH_LOCK::Value, taken(value, exclusive))?;
        cx.lock_taken(Kind::PushLock, at.raw(), mode(exclusive));
        return Ok(().into_flow());
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

/// Releases a push lock and hands it to who waits; `as_held` is how the routine thinks it is held.
///
/// # Errors
/// A fault if it cannot be used.
pub fn release(
    cx: &mut Machine,
    at: Gva<EX_PUSH_LOCK>,
    as_held: Option<Mode>,
) -> Result<Flow, Fault> {
    let mut value = cx.memory.get(at, EX_PUSH_LOCK::Value)?;
    let holder = cx.lock_holder();
    let Some(held) = cx.locks.held_by(at.raw(), holder).map(|c| c.mode) else {
        return Ok(not_owner(cx, Kind::PushLock, at.raw()));
    };
    if as_held.is_some_and(|mode| mode != held) {
        let (is, was) = match held {
            Mode::Exclusive => ("exclusively", "shared"),
            Mode::Shared => ("shared", "exclusive"),
        };
        let text = format!(
            "{} is held {is} but released by the routine for {was} access",
            cx.lock_name(Kind::PushLock, at.raw())
        );
        cx.report("lock/wrong-release", Severity::Error, text);
    }
    cx.lock_released(at.raw());
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
            woken.push((thread, exclusive));
        }
        if waiters.is_empty() {
            cx.ex.push_lock_waiters.remove(&at.raw());
            value &= !WAITING;
        }
    }
    cx.memory.set(at, EX_PUSH_LOCK::Value, value)?;
    for (thread, exclusive) in woken {
        cx.lock_taken_by(
            Kind::PushLock,
            at.raw(),
            mode(exclusive),
            Holder::Thread(thread),
        );
        cx.make_ready(thread, crate::machine::SCRUBBED);
    }
    Ok(().into_flow())
}

/// Routines on push locks.
pub struct PushLocks;

#[exports("ntoskrnl.exe")]
impl PushLocks {
    /// Initialises a push lock.
    #[page("ntifs/nf-ntifs-exinitializepushlock")]
    #[irql(any)]
    fn ExInitializePushLock(cx: &mut Machine, PushLock: Gva<EX_PUSH_LOCK>) -> Result<(), Fault> {
        cx.memory.set(PushLock, EX_PUSH_LOCK::Value, 0)?;
        cx.lock_renewed(PushLock.raw());
        Ok(())
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
    #[returns(())]
    #[assumed(
        "a thread that does not hold it causes bugcheck 0x162, as for other locks of AutoBoost"
    )]
    fn ExReleasePushLockExclusiveEx(
        cx: &mut Machine,
        PushLock: Gva<EX_PUSH_LOCK>,
        Flags: u32,
    ) -> Result<Flow, Fault> {
        let _ = Flags;
        release(cx, PushLock, Some(Mode::Exclusive))
    }

    /// Releases a push lock held together with others.
    #[page("wdm/nf-wdm-exreleasepushlockshared")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    #[assumed(
        "a thread that does not hold it causes bugcheck 0x162, as for other locks of AutoBoost"
    )]
    fn ExReleasePushLockSharedEx(
        cx: &mut Machine,
        PushLock: Gva<EX_PUSH_LOCK>,
        Flags: u32,
    ) -> Result<Flow, Fault> {
        let _ = Flags;
        release(cx, PushLock, Some(Mode::Shared))
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
    #[returns(())]
    fn ExfReleasePushLock(cx: &mut Machine, PushLock: Gva<EX_PUSH_LOCK>) -> Result<Flow, Fault> {
        release(cx, PushLock, None)
    }

    /// Acquires a push lock together with others if that needs no wait.
    #[page("")]
    #[irql(..=APC_LEVEL)]
    fn ExfTryAcquirePushLockShared(
        cx: &mut Machine,
        PushLock: Gva<EX_PUSH_LOCK>,
    ) -> Result<bool, Fault> {
        try_acquire(cx, PushLock, false)
    }
}
