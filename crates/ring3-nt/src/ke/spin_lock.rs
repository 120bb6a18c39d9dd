//! Spin locks. Documentation: "Introduction to Spin Locks", wdm.h.
//!
//! The lock word is in guest memory: 0 free, 1 held. Who holds it is kept beside it for findings and
//! for the wait-for graph.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::export::irql::DISPATCH_LEVEL;
use crate::flow::{Flow, Until};
use crate::locks::{Kind, Mode};

/// `SYNCH_LEVEL` of x64.
const SYNCH_LEVEL: u8 = 12;
/// No IRQL to go back to.
pub(super) const UNCHANGED: u8 = 0xff;

/// Takes the lock when it is free; the processor stays busy until then. Gives `result`. `level` is the
/// IRQL before the routine changed it.
#[resumable]
pub fn acquire(cx: &mut Machine, kind: Kind, lock: Gva<u64>, level: u8) -> Result<u64, Fault> {
    let held: bool = cx.memory.read(lock)? != 0;
    cx.lock_used_as(kind, lock.raw());
    cx.lock_wanted(kind, lock.raw(), Mode::Exclusive, held);
    while cx.memory.read(lock)? != 0 {
        spin!(Until::Zero(lock));
    }
    cx.memory.write(lock, 1)?;
    cx.lock_taken(kind, lock.raw(), Mode::Exclusive);
    if level == UNCHANGED {
        return Ok(crate::machine::SCRUBBED);
    }
    cx.lock_level(level);
    Ok(u64::from(level))
}

/// Frees a lock.
///
/// # Errors
/// A fault if it cannot be used.
pub fn free(cx: &mut Machine, kind: Kind, lock: Gva<u64>) -> Result<(), Fault> {
    let word = cx.memory.read(lock)?;
    let holder = cx.lock_holder();
    if word == 0 || cx.locks.held_by(lock.raw(), holder).is_none() {
        cx.report_not_owner(kind, lock.raw());
    }
    cx.lock_released(lock.raw());
    cx.memory.write(lock, 0)
}

pub(super) fn release(cx: &mut Machine, lock: Gva<u64>) -> Result<(), Fault> {
    free(cx, Kind::SpinLock, lock)
}

/// Raises the IRQL to `to` and takes the lock; gives the old IRQL.
fn raise_and_acquire(cx: &mut Machine, lock: Gva<u64>, to: u8) -> Result<Flow, Fault> {
    let old = cx.irql();
    cx.memory.read(lock)?;
    cx.set_irql(old.max(to));
    Ok(Flow::Become(acquire(Kind::SpinLock, lock, old)))
}

/// Frees a lock and goes back to an IRQL.
fn release_and_lower(cx: &mut Machine, lock: Gva<u64>, level: u8) -> Result<(), Fault> {
    cx.memory.read(lock)?;
    cx.check_level(Kind::SpinLock, lock.raw(), level);
    release(cx, lock)?;
    cx.set_irql(level);
    Ok(())
}

/// Routines on spin locks.
pub struct SpinLocks;

#[exports("ntoskrnl.exe")]
impl SpinLocks {
    /// Initialises a spin lock.
    #[page("wdm/nf-wdm-keinitializespinlock")]
    #[irql(any)]
    fn KeInitializeSpinLock(cx: &mut Machine, SpinLock: Gva<u64>) -> Result<(), Fault> {
        cx.memory.write(SpinLock, 0)?;
        cx.lock_renewed(SpinLock.raw());
        Ok(())
    }

    /// Raises the IRQL to DISPATCH_LEVEL and acquires a spin lock; gives the old IRQL.
    #[page("wdm/nf-wdm-keacquirespinlockraisetodpc")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(u8)]
    fn KeAcquireSpinLockRaiseToDpc(cx: &mut Machine, SpinLock: Gva<u64>) -> Result<Flow, Fault> {
        raise_and_acquire(cx, SpinLock, DISPATCH_LEVEL)
    }

    /// Raises the IRQL to SYNCH_LEVEL and acquires a spin lock; gives the old IRQL.
    #[page("")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(u8)]
    fn KeAcquireSpinLockRaiseToSynch(cx: &mut Machine, SpinLock: Gva<u64>) -> Result<Flow, Fault> {
        raise_and_acquire(cx, SpinLock, SYNCH_LEVEL)
    }

    /// Releases a spin lock and restores the IRQL.
    #[page("wdm/nf-wdm-kereleasespinlock")]
    #[irql(DISPATCH_LEVEL)]
    fn KeReleaseSpinLock(cx: &mut Machine, SpinLock: Gva<u64>, NewIrql: u8) -> Result<(), Fault> {
        release_and_lower(cx, SpinLock, NewIrql)
    }

    /// Acquires a spin lock at DISPATCH_LEVEL or above.
    #[page("wdm/nf-wdm-keacquirespinlockatdpclevel")]
    #[irql(DISPATCH_LEVEL..=HIGH_LEVEL)]
    #[returns(())]
    fn KeAcquireSpinLockAtDpcLevel(cx: &mut Machine, SpinLock: Gva<u64>) -> Flow {
        let _ = &cx;
        Flow::Become(acquire(Kind::SpinLock, SpinLock, UNCHANGED))
    }

    /// Releases a spin lock and leaves the IRQL.
    #[page("wdm/nf-wdm-kereleasespinlockfromdpclevel")]
    #[irql(DISPATCH_LEVEL..=HIGH_LEVEL)]
    fn KeReleaseSpinLockFromDpcLevel(cx: &mut Machine, SpinLock: Gva<u64>) -> Result<(), Fault> {
        release(cx, SpinLock)
    }

    /// Acquires a spin lock in a threaded DPC, which may run at PASSIVE_LEVEL; gives the old IRQL.
    #[page("wdm/nf-wdm-keacquirespinlockfordpc")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(u8)]
    fn KeAcquireSpinLockForDpc(cx: &mut Machine, SpinLock: Gva<u64>) -> Result<Flow, Fault> {
        raise_and_acquire(cx, SpinLock, DISPATCH_LEVEL)
    }

    /// Releases a spin lock in a threaded DPC.
    #[page("wdm/nf-wdm-kereleasespinlockfordpc")]
    #[irql(DISPATCH_LEVEL)]
    fn KeReleaseSpinLockForDpc(
        cx: &mut Machine,
        SpinLock: Gva<u64>,
        OldIrql: u8,
    ) -> Result<(), Fault> {
        release_and_lower(cx, SpinLock, OldIrql)
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
        cx.lock_used_as(Kind::SpinLock, SpinLock.raw());
        cx.lock_taken(Kind::SpinLock, SpinLock.raw(), Mode::Exclusive);
        Ok(true)
    }

    /// Tells whether a spin lock is free.
    #[page("wdm/nf-wdm-ketestspinlock")]
    #[irql(any)]
    fn KeTestSpinLock(cx: &mut Machine, SpinLock: Gva<u64>) -> Result<bool, Fault> {
        Ok(cx.memory.read(SpinLock)? == 0)
    }
}
