//! Spin locks. Documentation: "Introduction to Spin Locks", wdm.h.
//!
//! The lock word is in guest memory: 0 free, 1 held. Who holds it is kept beside it for findings and
//! for the wait-for graph.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::export::irql::DISPATCH_LEVEL;
use crate::flow::{Flow, Until};
use crate::layout::{KLOCK_QUEUE_HANDLE, KSPIN_LOCK_QUEUE};
use crate::machine::finding::Severity;

/// Takes the lock when it is free; the processor stays busy until then. Gives `result`.
#[resumable]
pub fn acquire(cx: &mut Machine, lock: Gva<u64>, result: u64) -> Result<u64, Fault> {
    let processor = cx.current as u64;
    if cx.memory.read(lock)? != 0 && cx.ke.lock_owners.get(&lock.raw()) == Some(&processor) {
        let text = format!(
            "the spin lock {:#x} is acquired by the processor that holds it: a deadlock",
            lock.raw()
        );
        cx.report("lock/recursive-spin-lock", Severity::Error, text);
    }
    while cx.memory.read(lock)? != 0 {
        spin!(Until::Zero(lock));
    }
    cx.memory.write(lock, 1)?;
    let holder = cx.current as u64;
    cx.ke.lock_owners.insert(lock.raw(), holder);
    Ok(result)
}

/// Frees a lock.
pub(super) fn release(cx: &mut Machine, lock: Gva<u64>) -> Result<(), Fault> {
    if cx.memory.read(lock)? == 0 {
        let text = format!(
            "the spin lock {:#x} is released but nobody holds it",
            lock.raw()
        );
        cx.report("lock/not-held", Severity::Error, text);
    }
    cx.ke.lock_owners.remove(&lock.raw());
    cx.memory.write(lock, 0)
}

fn raise_and_acquire(cx: &mut Machine, lock: Gva<u64>) -> Result<Flow, Fault> {
    let old = cx.irql();
    cx.memory.read(lock)?;
    if old <= DISPATCH_LEVEL {
        cx.set_irql(DISPATCH_LEVEL);
    }
    Ok(Flow::Become(acquire(lock, u64::from(old))))
}

/// Routines on spin locks.
pub struct SpinLocks;

#[exports("ntoskrnl.exe")]
impl SpinLocks {
    /// Initialises a spin lock.
    #[page("wdm/nf-wdm-keinitializespinlock")]
    #[irql(any)]
    fn KeInitializeSpinLock(cx: &mut Machine, SpinLock: Gva<u64>) -> Result<(), Fault> {
        cx.memory.write(SpinLock, 0)
    }

    /// Raises the IRQL to DISPATCH_LEVEL and acquires a spin lock; gives the old IRQL.
    #[page("wdm/nf-wdm-keacquirespinlockraisetodpc")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(u8)]
    fn KeAcquireSpinLockRaiseToDpc(cx: &mut Machine, SpinLock: Gva<u64>) -> Result<Flow, Fault> {
        raise_and_acquire(cx, SpinLock)
    }

    /// Releases a spin lock and restores the IRQL.
    #[page("wdm/nf-wdm-kereleasespinlock")]
    #[irql(DISPATCH_LEVEL)]
    fn KeReleaseSpinLock(cx: &mut Machine, SpinLock: Gva<u64>, NewIrql: u8) -> Result<(), Fault> {
        release(cx, SpinLock)?;
        cx.set_irql(NewIrql);
        Ok(())
    }

    /// Acquires a spin lock at DISPATCH_LEVEL or above.
    #[page("wdm/nf-wdm-keacquirespinlockatdpclevel")]
    #[irql(DISPATCH_LEVEL..=HIGH_LEVEL)]
    #[returns(())]
    fn KeAcquireSpinLockAtDpcLevel(cx: &mut Machine, SpinLock: Gva<u64>) -> Flow {
        let _ = &cx;
        Flow::Become(acquire(SpinLock, 0))
    }

    /// Releases a spin lock and leaves the IRQL.
    #[page("wdm/nf-wdm-kereleasespinlockfromdpclevel")]
    #[irql(DISPATCH_LEVEL..=HIGH_LEVEL)]
    fn KeReleaseSpinLockFromDpcLevel(cx: &mut Machine, SpinLock: Gva<u64>) -> Result<(), Fault> {
        release(cx, SpinLock)
    }

    /// Acquires a spin lock if it is free.
    #[page("wdm/nf-wdm-ketrytoacquirespinlockatdpclevel")]
    #[irql(DISPATCH_LEVEL..=HIGH_LEVEL)]
    fn KeTryToAcquireSpinLockAtDpcLevel(
        cx: &mut Machine,
        SpinLock: Gva<u64>,
    ) -> Result<bool, Fault> {
        if cx.memory.read(SpinLock)? != 0 {
            return Ok(false);
        }
        cx.memory.write(SpinLock, 1)?;
        let holder = cx.current as u64;
        cx.ke.lock_owners.insert(SpinLock.raw(), holder);
        Ok(true)
    }

    /// Tells whether a spin lock is free.
    #[page("wdm/nf-wdm-ketestspinlock")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeTestSpinLock(cx: &mut Machine, SpinLock: Gva<u64>) -> Result<bool, Fault> {
        Ok(cx.memory.read(SpinLock)? == 0)
    }

    /// Raises the IRQL and acquires a queued spin lock.
    #[page("wdm/nf-wdm-keacquireinstackqueuedspinlock")]
    #[irql(..=DISPATCH_LEVEL)]
    #[hal]
    #[returns(())]
    #[assumed(
        "waiters are served in the order in which they are scheduled, not strictly first come first served"
    )]
    fn KeAcquireInStackQueuedSpinLock(
        cx: &mut Machine,
        SpinLock: Gva<u64>,
        LockHandle: Gva<KLOCK_QUEUE_HANDLE>,
    ) -> Result<Flow, Fault> {
        let queue = LockHandle.at(KLOCK_QUEUE_HANDLE::LockQueue);
        cx.memory.set(queue, KSPIN_LOCK_QUEUE::Next, Gva::NULL)?;
        cx.memory.set(queue, KSPIN_LOCK_QUEUE::Lock, SpinLock)?;
        let old = cx.irql();
        cx.memory
            .set(LockHandle, KLOCK_QUEUE_HANDLE::OldIrql, old)?;
        raise_and_acquire(cx, SpinLock)
    }

    /// Releases a queued spin lock and restores the IRQL.
    #[page("wdm/nf-wdm-kereleaseinstackqueuedspinlock")]
    #[irql(DISPATCH_LEVEL)]
    #[hal]
    fn KeReleaseInStackQueuedSpinLock(
        cx: &mut Machine,
        LockHandle: Gva<KLOCK_QUEUE_HANDLE>,
    ) -> Result<(), Fault> {
        let queue = LockHandle.at(KLOCK_QUEUE_HANDLE::LockQueue);
        let lock = cx.memory.get(queue, KSPIN_LOCK_QUEUE::Lock)?;
        let old = cx.memory.get(LockHandle, KLOCK_QUEUE_HANDLE::OldIrql)?;
        release(cx, lock)?;
        cx.set_irql(old);
        Ok(())
    }

    /// Acquires a queued spin lock at DISPATCH_LEVEL.
    #[page("wdm/nf-wdm-keacquireinstackqueuedspinlockatdpclevel")]
    #[irql(DISPATCH_LEVEL..=HIGH_LEVEL)]
    #[returns(())]
    fn KeAcquireInStackQueuedSpinLockAtDpcLevel(
        cx: &mut Machine,
        SpinLock: Gva<u64>,
        LockHandle: Gva<KLOCK_QUEUE_HANDLE>,
    ) -> Result<Flow, Fault> {
        let queue = LockHandle.at(KLOCK_QUEUE_HANDLE::LockQueue);
        cx.memory.set(queue, KSPIN_LOCK_QUEUE::Next, Gva::NULL)?;
        cx.memory.set(queue, KSPIN_LOCK_QUEUE::Lock, SpinLock)?;
        Ok(Flow::Become(acquire(SpinLock, 0)))
    }

    /// Releases a queued spin lock and leaves the IRQL.
    #[page("wdm/nf-wdm-kereleaseinstackqueuedspinlockfromdpclevel")]
    #[irql(DISPATCH_LEVEL..=HIGH_LEVEL)]
    fn KeReleaseInStackQueuedSpinLockFromDpcLevel(
        cx: &mut Machine,
        LockHandle: Gva<KLOCK_QUEUE_HANDLE>,
    ) -> Result<(), Fault> {
        let queue = LockHandle.at(KLOCK_QUEUE_HANDLE::LockQueue);
        let lock = cx.memory.get(queue, KSPIN_LOCK_QUEUE::Lock)?;
        release(cx, lock)
    }
}
