//! Queued spin locks. Documentation: "Queued Spin Locks", wdm.h.
//!
//! The lock word is the address of the last entry of the queue, 0 when it is free. Each entry has the
//! next one, and the lock with two bits: the lowest while its owner waits, the next one while it has
//! the lock. Whoever releases the lock clears the waiting bit of the next entry, so that the lock goes
//! round in the order of the requests.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::export::irql::DISPATCH_LEVEL;
use crate::flow::{Flow, Until};
use crate::layout::{KLOCK_QUEUE_HANDLE, KSPIN_LOCK_QUEUE};
use crate::locks::{Kind, Mode};

/// `LOCK_QUEUE_WAIT`, `LOCK_QUEUE_OWNER`.
const WAITS: u64 = 1;
const OWNS: u64 = 2;
/// `SYNCH_LEVEL` of x64.
const SYNCH_LEVEL: u8 = 12;

fn entry_of(handle: Gva<KLOCK_QUEUE_HANDLE>) -> Gva<KSPIN_LOCK_QUEUE> {
    handle.at(KLOCK_QUEUE_HANDLE::LockQueue)
}

/// Queues an entry for a lock, and waits until it is its turn.
#[resumable]
fn acquire(
    cx: &mut Machine,
    lock: Gva<u64>,
    entry: Gva<KSPIN_LOCK_QUEUE>,
    level: Option<u8>,
) -> Result<(), Fault> {
    let last: u64 = cx.memory.read(lock)?;
    cx.lock_used_as(Kind::QueuedSpinLock, lock.raw());
    cx.lock_wanted(Kind::QueuedSpinLock, lock.raw(), Mode::Exclusive, last != 0);
    // A plain acquisition leaves no entry behind that could name the next one: wait for its end.
    let mut plain: bool = last != 0 && last & 7 != 0;
    while plain {
        spin!(Until::Zero(lock));
        let now: u64 = cx.memory.read(lock)?;
        plain = now != 0 && now & 7 != 0;
    }
    let before: u64 = cx.memory.read(lock)?;
    let state: u64 = if before == 0 { OWNS } else { WAITS };
    cx.memory.set(entry, KSPIN_LOCK_QUEUE::Next, Gva::NULL)?;
    cx.memory
        .set(entry, KSPIN_LOCK_QUEUE::Lock, Gva::new(lock.raw() | state))?;
    cx.memory.write(lock, entry.raw())?;
    if before != 0 {
        cx.memory
            .set(Gva::new(before), KSPIN_LOCK_QUEUE::Next, entry)?;
        while cx.memory.get(entry, KSPIN_LOCK_QUEUE::Lock)?.raw() & WAITS != 0 {
            spin!(Until::MaskedZero(
                entry.at(KSPIN_LOCK_QUEUE::Lock).cast(),
                WAITS as u32
            ));
        }
    }
    cx.lock_taken(Kind::QueuedSpinLock, lock.raw(), Mode::Exclusive);
    if let Some(level) = level {
        cx.lock_level(level);
    }
    Ok(())
}

/// Gives the lock to the next one.
fn release(cx: &mut Machine, entry: Gva<KSPIN_LOCK_QUEUE>) -> Result<(), Fault> {
    let word = cx.memory.get(entry, KSPIN_LOCK_QUEUE::Lock)?.raw();
    let lock = Gva::<u64>::new(word & !(WAITS | OWNS));
    let next = cx.memory.get(entry, KSPIN_LOCK_QUEUE::Next)?;
    if word & OWNS == 0 || cx.memory.read(lock)? == 0 {
        cx.report_not_owner(Kind::QueuedSpinLock, lock.raw());
        return Ok(());
    }
    let holder = cx.lock_holder();
    if cx.locks.held_by(lock.raw(), holder).is_none() {
        cx.report_not_owner(Kind::QueuedSpinLock, lock.raw());
    }
    cx.lock_released(lock.raw());
    if next.is_null() {
        cx.memory.write(lock, 0)?;
    } else {
        cx.memory
            .set(next, KSPIN_LOCK_QUEUE::Lock, Gva::new(lock.raw() | OWNS))?;
        cx.memory.set(entry, KSPIN_LOCK_QUEUE::Next, Gva::NULL)?;
    }
    cx.memory.set(entry, KSPIN_LOCK_QUEUE::Lock, lock)
}

/// Raises the IRQL to `to` and takes the lock.
fn raise_and_acquire(
    cx: &mut Machine,
    lock: Gva<u64>,
    handle: Gva<KLOCK_QUEUE_HANDLE>,
    to: u8,
) -> Result<Flow, Fault> {
    let old = cx.irql();
    cx.memory.read(lock)?;
    cx.memory.set(handle, KLOCK_QUEUE_HANDLE::OldIrql, old)?;
    cx.set_irql(old.max(to));
    Ok(Flow::Become(acquire(lock, entry_of(handle), Some(old))))
}

/// Gives the lock away and goes back to the old IRQL.
fn release_and_lower(cx: &mut Machine, handle: Gva<KLOCK_QUEUE_HANDLE>) -> Result<(), Fault> {
    let old = cx.memory.get(handle, KLOCK_QUEUE_HANDLE::OldIrql)?;
    let word = cx.memory.get(entry_of(handle), KSPIN_LOCK_QUEUE::Lock)?;
    cx.check_level(Kind::QueuedSpinLock, word.raw() & !(WAITS | OWNS), old);
    release(cx, entry_of(handle))?;
    cx.set_irql(old);
    Ok(())
}

/// Routines on queued spin locks.
pub struct QueuedSpinLocks;

#[exports("ntoskrnl.exe")]
impl QueuedSpinLocks {
    /// Raises the IRQL to DISPATCH_LEVEL and acquires a queued spin lock.
    #[page("wdm/nf-wdm-keacquireinstackqueuedspinlock")]
    #[irql(..=DISPATCH_LEVEL)]
    #[hal]
    #[returns(())]
    fn KeAcquireInStackQueuedSpinLock(
        cx: &mut Machine,
        SpinLock: Gva<u64>,
        LockHandle: Gva<KLOCK_QUEUE_HANDLE>,
    ) -> Result<Flow, Fault> {
        raise_and_acquire(cx, SpinLock, LockHandle, DISPATCH_LEVEL)
    }

    /// Raises the IRQL to SYNCH_LEVEL and acquires a queued spin lock.
    #[page("")]
    #[irql(..=DISPATCH_LEVEL)]
    #[hal]
    #[returns(())]
    fn KeAcquireInStackQueuedSpinLockRaiseToSynch(
        cx: &mut Machine,
        SpinLock: Gva<u64>,
        LockHandle: Gva<KLOCK_QUEUE_HANDLE>,
    ) -> Result<Flow, Fault> {
        raise_and_acquire(cx, SpinLock, LockHandle, SYNCH_LEVEL)
    }

    /// Releases a queued spin lock and restores the IRQL.
    #[page("wdm/nf-wdm-kereleaseinstackqueuedspinlock")]
    #[irql(DISPATCH_LEVEL)]
    #[hal]
    fn KeReleaseInStackQueuedSpinLock(
        cx: &mut Machine,
        LockHandle: Gva<KLOCK_QUEUE_HANDLE>,
    ) -> Result<(), Fault> {
        release_and_lower(cx, LockHandle)
    }

    /// Acquires a queued spin lock at DISPATCH_LEVEL or above.
    #[page("wdm/nf-wdm-keacquireinstackqueuedspinlockatdpclevel")]
    #[irql(DISPATCH_LEVEL..=HIGH_LEVEL)]
    #[returns(())]
    fn KeAcquireInStackQueuedSpinLockAtDpcLevel(
        cx: &mut Machine,
        SpinLock: Gva<u64>,
        LockHandle: Gva<KLOCK_QUEUE_HANDLE>,
    ) -> Flow {
        let _ = &cx;
        Flow::Become(acquire(SpinLock, entry_of(LockHandle), None))
    }

    /// Releases a queued spin lock and leaves the IRQL.
    #[page("wdm/nf-wdm-kereleaseinstackqueuedspinlockfromdpclevel")]
    #[irql(DISPATCH_LEVEL..=HIGH_LEVEL)]
    fn KeReleaseInStackQueuedSpinLockFromDpcLevel(
        cx: &mut Machine,
        LockHandle: Gva<KLOCK_QUEUE_HANDLE>,
    ) -> Result<(), Fault> {
        release(cx, entry_of(LockHandle))
    }

    /// Acquires a queued spin lock in a threaded DPC, which may run at PASSIVE_LEVEL.
    #[page("wdm/nf-wdm-keacquireinstackqueuedspinlockfordpc")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(())]
    fn KeAcquireInStackQueuedSpinLockForDpc(
        cx: &mut Machine,
        SpinLock: Gva<u64>,
        LockHandle: Gva<KLOCK_QUEUE_HANDLE>,
    ) -> Result<Flow, Fault> {
        raise_and_acquire(cx, SpinLock, LockHandle, DISPATCH_LEVEL)
    }

    /// Releases a queued spin lock in a threaded DPC.
    #[page("wdm/nf-wdm-kereleaseinstackqueuedspinlockfordpc")]
    #[irql(DISPATCH_LEVEL)]
    fn KeReleaseInStackQueuedSpinLockForDpc(
        cx: &mut Machine,
        LockHandle: Gva<KLOCK_QUEUE_HANDLE>,
    ) -> Result<(), Fault> {
        release_and_lower(cx, LockHandle)
    }
}
