//! Reader-writer spin locks (EX_SPIN_LOCK). Documentation: wdm.h, "Reader-writer spin locks".
//!
//! Bit 31 of the word is a writer, the rest counts readers. A writer sets its bit first and then
//! waits for the readers to leave, so that no new ones come.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::export::irql::DISPATCH_LEVEL;
use crate::flow::{Flow, Until};
use crate::machine::finding::Severity;

const WRITER: u32 = 0x8000_0000;
const READERS: u32 = 0x7fff_ffff;

fn check_recursion(cx: &mut Machine, lock: Gva<u32>) -> Result<(), Fault> {
    let processor = cx.current as u64;
    if cx.memory.read(lock)? & WRITER != 0 && cx.ke.lock_owners.get(&lock.raw()) == Some(&processor)
    {
        let text = format!(
            "the spin lock {:#x} is acquired by the processor that holds it: a deadlock",
            lock.raw()
        );
        cx.report("lock/recursive-spin-lock", Severity::Error, text);
    }
    Ok(())
}

#[resumable]
fn exclusive(cx: &mut Machine, lock: Gva<u32>, result: u64) -> Result<u64, Fault> {
    check_recursion(cx, lock)?;
    while cx.memory.read(lock)? & WRITER != 0 {
        spin!(Until::MaskedZero(lock, WRITER));
    }
    let value: u32 = cx.memory.read(lock)?;
    cx.memory.write(lock, value | WRITER)?;
    let holder = cx.current as u64;
    cx.ke.lock_owners.insert(lock.raw(), holder);
    while cx.memory.read(lock)? & READERS != 0 {
        spin!(Until::MaskedZero(lock, READERS));
    }
    Ok(result)
}

#[resumable]
fn shared(cx: &mut Machine, lock: Gva<u32>, result: u64) -> Result<u64, Fault> {
    check_recursion(cx, lock)?;
    while cx.memory.read(lock)? & WRITER != 0 {
        spin!(Until::MaskedZero(lock, WRITER));
    }
    let value: u32 = cx.memory.read(lock)?;
    cx.memory.write(lock, value.wrapping_add(1))?;
    Ok(result)
}

fn release_exclusive(cx: &mut Machine, lock: Gva<u32>) -> Result<(), Fault> {
    let value = cx.memory.read(lock)?;
    if value & WRITER == 0 {
        not_held(cx, lock, "exclusively");
        return Ok(());
    }
    cx.ke.lock_owners.remove(&lock.raw());
    cx.memory.write(lock, value & !WRITER)
}

fn release_shared(cx: &mut Machine, lock: Gva<u32>) -> Result<(), Fault> {
    let value = cx.memory.read(lock)?;
    if value & READERS == 0 {
        not_held(cx, lock, "shared");
        return Ok(());
    }
    cx.memory.write(lock, value - 1)
}

fn not_held(cx: &mut Machine, lock: Gva<u32>, how: &str) {
    let text = format!(
        "the spin lock {:#x} is released but not held {how}",
        lock.raw()
    );
    cx.report("lock/not-held", Severity::Error, text);
}

/// Raises; gives the old level.
fn raise(cx: &mut Machine, lock: Gva<u32>) -> Result<u64, Fault> {
    cx.memory.read(lock)?;
    let old = cx.irql();
    cx.set_irql(old.max(DISPATCH_LEVEL));
    Ok(u64::from(old))
}

/// Routines on reader-writer spin locks.
pub struct ReaderWriterSpinLocks;

#[exports("ntoskrnl.exe")]
impl ReaderWriterSpinLocks {
    /// Raises the IRQL and acquires the lock as a writer; gives the old IRQL.
    #[page("wdm/nf-wdm-exacquirespinlockexclusive")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(u8)]
    fn ExAcquireSpinLockExclusive(cx: &mut Machine, SpinLock: Gva<u32>) -> Result<Flow, Fault> {
        let old = raise(cx, SpinLock)?;
        Ok(Flow::Become(exclusive(SpinLock, old)))
    }

    /// Acquires the lock as a writer at DISPATCH_LEVEL.
    #[page("wdm/nf-wdm-exacquirespinlockexclusiveatdpclevel")]
    #[irql(DISPATCH_LEVEL..=HIGH_LEVEL)]
    #[returns(())]
    fn ExAcquireSpinLockExclusiveAtDpcLevel(cx: &mut Machine, SpinLock: Gva<u32>) -> Flow {
        let _ = &cx;
        Flow::Become(exclusive(SpinLock, 0))
    }

    /// Raises the IRQL and acquires the lock as a reader; gives the old IRQL.
    #[page("wdm/nf-wdm-exacquirespinlockshared")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(u8)]
    fn ExAcquireSpinLockShared(cx: &mut Machine, SpinLock: Gva<u32>) -> Result<Flow, Fault> {
        let old = raise(cx, SpinLock)?;
        Ok(Flow::Become(shared(SpinLock, old)))
    }

    /// Acquires the lock as a reader at DISPATCH_LEVEL.
    #[page("wdm/nf-wdm-exacquirespinlocksharedatdpclevel")]
    #[irql(DISPATCH_LEVEL..=HIGH_LEVEL)]
    #[returns(())]
    fn ExAcquireSpinLockSharedAtDpcLevel(cx: &mut Machine, SpinLock: Gva<u32>) -> Flow {
        let _ = &cx;
        Flow::Become(shared(SpinLock, 0))
    }

    /// Releases the lock of a writer and restores the IRQL.
    #[page("wdm/nf-wdm-exreleasespinlockexclusive")]
    #[irql(DISPATCH_LEVEL)]
    fn ExReleaseSpinLockExclusive(
        cx: &mut Machine,
        SpinLock: Gva<u32>,
        OldIrql: u8,
    ) -> Result<(), Fault> {
        release_exclusive(cx, SpinLock)?;
        cx.set_irql(OldIrql);
        Ok(())
    }

    /// Releases the lock of a writer and leaves the IRQL.
    #[page("wdm/nf-wdm-exreleasespinlockexclusivefromdpclevel")]
    #[irql(DISPATCH_LEVEL..=HIGH_LEVEL)]
    fn ExReleaseSpinLockExclusiveFromDpcLevel(
        cx: &mut Machine,
        SpinLock: Gva<u32>,
    ) -> Result<(), Fault> {
        release_exclusive(cx, SpinLock)
    }

    /// Releases the lock of a reader and restores the IRQL.
    #[page("wdm/nf-wdm-exreleasespinlockshared")]
    #[irql(DISPATCH_LEVEL)]
    fn ExReleaseSpinLockShared(
        cx: &mut Machine,
        SpinLock: Gva<u32>,
        OldIrql: u8,
    ) -> Result<(), Fault> {
        release_shared(cx, SpinLock)?;
        cx.set_irql(OldIrql);
        Ok(())
    }

    /// Releases the lock of a reader and leaves the IRQL.
    #[page("wdm/nf-wdm-exreleasespinlocksharedfromdpclevel")]
    #[irql(DISPATCH_LEVEL..=HIGH_LEVEL)]
    fn ExReleaseSpinLockSharedFromDpcLevel(
        cx: &mut Machine,
        SpinLock: Gva<u32>,
    ) -> Result<(), Fault> {
        release_shared(cx, SpinLock)
    }

    /// Acquires the lock as a writer if nobody has it; gives whether.
    #[page("wdm/nf-wdm-extryacquirespinlockexclusiveatdpclevel")]
    #[irql(DISPATCH_LEVEL..=HIGH_LEVEL)]
    fn ExTryAcquireSpinLockExclusiveAtDpcLevel(
        cx: &mut Machine,
        SpinLock: Gva<u32>,
    ) -> Result<u32, Fault> {
        if cx.memory.read(SpinLock)? != 0 {
            return Ok(0);
        }
        cx.memory.write(SpinLock, WRITER)?;
        let holder = cx.current as u64;
        cx.ke.lock_owners.insert(SpinLock.raw(), holder);
        Ok(1)
    }

    /// Acquires the lock as a reader if no writer has it; gives whether.
    #[page("wdm/nf-wdm-extryacquirespinlocksharedatdpclevel")]
    #[irql(DISPATCH_LEVEL..=HIGH_LEVEL)]
    fn ExTryAcquireSpinLockSharedAtDpcLevel(
        cx: &mut Machine,
        SpinLock: Gva<u32>,
    ) -> Result<u32, Fault> {
        let value = cx.memory.read(SpinLock)?;
        if value & WRITER != 0 {
            return Ok(0);
        }
        cx.memory.write(SpinLock, value + 1)?;
        Ok(1)
    }

    /// Makes the only reader the writer; gives whether it is.
    #[page("wdm/nf-wdm-extryconvertsharedspinlockexclusive")]
    #[irql(DISPATCH_LEVEL..=HIGH_LEVEL)]
    fn ExTryConvertSharedSpinLockExclusive(
        cx: &mut Machine,
        SpinLock: Gva<u32>,
    ) -> Result<u32, Fault> {
        if cx.memory.read(SpinLock)? != 1 {
            return Ok(0);
        }
        cx.memory.write(SpinLock, WRITER)?;
        let holder = cx.current as u64;
        cx.ke.lock_owners.insert(SpinLock.raw(), holder);
        Ok(1)
    }
}
