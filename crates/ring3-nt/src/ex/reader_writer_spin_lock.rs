//! Reader-writer spin locks (EX_SPIN_LOCK). Documentation: wdm.h, "Reader/Writer Spin Locks".
//!
//! Bit 31 of the word: a writer has the lock; bit 30: a writer waits; the rest counts readers. While a
//! writer waits no new reader gets in, not even one that reads already.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::export::irql::DISPATCH_LEVEL;
use crate::flow::{Flow, Until};
use crate::locks::{Kind, Mode};
use crate::machine::finding::Severity;

const WRITER: u32 = 0x8000_0000;
const WAITING: u32 = 0x4000_0000;
const READERS: u32 = 0x3fff_ffff;
const KIND: Kind = Kind::ReaderWriterSpinLock;

#[resumable]
fn exclusive(cx: &mut Machine, lock: Gva<u32>, level: Option<u8>) -> Result<u64, Fault> {
    let mut value: u32 = cx.memory.read(lock)?;
    let busy: bool = value & (WRITER | READERS) != 0;
    cx.lock_wanted(KIND, lock.raw(), Mode::Exclusive, busy);
    while value & (WRITER | READERS) != 0 {
        cx.memory.write(lock, value | WAITING)?;
        spin!(Until::MaskedZero(lock, WRITER | READERS));
        value = cx.memory.read(lock)?;
    }
    cx.lock_taken(KIND, lock.raw(), Mode::Exclusive);
    let others: bool = writers_wait(cx, lock);
    cx.memory
        .write(lock, if others { WRITER | WAITING } else { WRITER })?;
    Ok(taken(cx, level))
}

#[resumable]
fn shared(cx: &mut Machine, lock: Gva<u32>, level: Option<u8>) -> Result<u64, Fault> {
    let busy: bool = cx.memory.read(lock)? & (WRITER | WAITING) != 0;
    cx.lock_wanted(KIND, lock.raw(), Mode::Shared, busy);
    while cx.memory.read(lock)? & (WRITER | WAITING) != 0 {
        spin!(Until::MaskedZero(lock, WRITER | WAITING));
    }
    let value: u32 = cx.memory.read(lock)?;
    cx.memory.write(lock, value.wrapping_add(1))?;
    cx.lock_taken(KIND, lock.raw(), Mode::Shared);
    Ok(taken(cx, level))
}

/// What an acquisition gives: the old IRQL, if it was changed.
fn taken(cx: &mut Machine, level: Option<u8>) -> u64 {
    match level {
        Some(level) => {
            cx.lock_level(level);
            u64::from(level)
        }
        None => crate::machine::SCRUBBED,
    }
}

/// Whether a writer that has not got the lock yet waits for it.
fn writers_wait(cx: &Machine, lock: Gva<u32>) -> bool {
    let mut wanted = cx.locks.wanted().iter();
    wanted.any(|c| c.lock == lock.raw() && c.mode == Mode::Exclusive)
}

/// Releases, the way that the lock is held; says so if that is not the way that was asked for.
fn release(cx: &mut Machine, lock: Gva<u32>, mode: Mode) -> Result<(), Fault> {
    let value = cx.memory.read(lock)?;
    let held = match (value & WRITER != 0, value & READERS) {
        (true, _) => Mode::Exclusive,
        (false, 0) => {
            cx.report_not_owner(KIND, lock.raw());
            return Ok(());
        }
        (false, _) => Mode::Shared,
    };
    if held != mode {
        let (is, was) = match held {
            Mode::Exclusive => ("exclusively", "shared"),
            Mode::Shared => ("shared", "exclusive"),
        };
        let text = format!(
            "{} is held {is} but released by the routine for {was} access",
            cx.lock_name(KIND, lock.raw())
        );
        cx.report("lock/wrong-release", Severity::Error, text);
    }
    let holder = cx.lock_holder();
    if cx.locks.held_by(lock.raw(), holder).is_none() {
        cx.report_not_owner(KIND, lock.raw());
    }
    cx.lock_released(lock.raw());
    let after = match held {
        Mode::Exclusive => value & !WRITER,
        Mode::Shared => value - 1,
    };
    cx.memory.write(lock, after)
}

/// Releases and goes back to an IRQL.
fn release_and_lower(cx: &mut Machine, lock: Gva<u32>, mode: Mode, level: u8) -> Result<(), Fault> {
    cx.memory.read(lock)?;
    cx.check_level(KIND, lock.raw(), level);
    release(cx, lock, mode)?;
    cx.set_irql(level);
    Ok(())
}

/// Raises; gives the old level.
fn raise(cx: &mut Machine, lock: Gva<u32>) -> Result<u8, Fault> {
    cx.memory.read(lock)?;
    let old = cx.irql();
    cx.set_irql(old.max(DISPATCH_LEVEL));
    Ok(old)
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
        Ok(Flow::Become(exclusive(SpinLock, Some(old))))
    }

    /// Acquires the lock as a writer at DISPATCH_LEVEL.
    #[page("wdm/nf-wdm-exacquirespinlockexclusiveatdpclevel")]
    #[irql(DISPATCH_LEVEL..=HIGH_LEVEL)]
    #[returns(())]
    fn ExAcquireSpinLockExclusiveAtDpcLevel(cx: &mut Machine, SpinLock: Gva<u32>) -> Flow {
        let _ = &cx;
        Flow::Become(exclusive(SpinLock, None))
    }

    /// Raises the IRQL and acquires the lock as a reader; gives the old IRQL.
    #[page("wdm/nf-wdm-exacquirespinlockshared")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(u8)]
    fn ExAcquireSpinLockShared(cx: &mut Machine, SpinLock: Gva<u32>) -> Result<Flow, Fault> {
        let old = raise(cx, SpinLock)?;
        Ok(Flow::Become(shared(SpinLock, Some(old))))
    }

    /// Acquires the lock as a reader at DISPATCH_LEVEL.
    #[page("wdm/nf-wdm-exacquirespinlocksharedatdpclevel")]
    #[irql(DISPATCH_LEVEL..=HIGH_LEVEL)]
    #[returns(())]
    fn ExAcquireSpinLockSharedAtDpcLevel(cx: &mut Machine, SpinLock: Gva<u32>) -> Flow {
        let _ = &cx;
        Flow::Become(shared(SpinLock, None))
    }

    /// Releases the lock of a writer and restores the IRQL.
    #[page("wdm/nf-wdm-exreleasespinlockexclusive")]
    #[irql(DISPATCH_LEVEL)]
    fn ExReleaseSpinLockExclusive(
        cx: &mut Machine,
        SpinLock: Gva<u32>,
        OldIrql: u8,
    ) -> Result<(), Fault> {
        release_and_lower(cx, SpinLock, Mode::Exclusive, OldIrql)
    }

    /// Releases the lock of a writer and leaves the IRQL.
    #[page("wdm/nf-wdm-exreleasespinlockexclusivefromdpclevel")]
    #[irql(DISPATCH_LEVEL..=HIGH_LEVEL)]
    fn ExReleaseSpinLockExclusiveFromDpcLevel(
        cx: &mut Machine,
        SpinLock: Gva<u32>,
    ) -> Result<(), Fault> {
        release(cx, SpinLock, Mode::Exclusive)
    }

    /// Releases the lock of a reader and restores the IRQL.
    #[page("wdm/nf-wdm-exreleasespinlockshared")]
    #[irql(DISPATCH_LEVEL)]
    fn ExReleaseSpinLockShared(
        cx: &mut Machine,
        SpinLock: Gva<u32>,
        OldIrql: u8,
    ) -> Result<(), Fault> {
        release_and_lower(cx, SpinLock, Mode::Shared, OldIrql)
    }

    /// Releases the lock of a reader and leaves the IRQL.
    #[page("wdm/nf-wdm-exreleasespinlocksharedfromdpclevel")]
    #[irql(DISPATCH_LEVEL..=HIGH_LEVEL)]
    fn ExReleaseSpinLockSharedFromDpcLevel(
        cx: &mut Machine,
        SpinLock: Gva<u32>,
    ) -> Result<(), Fault> {
        release(cx, SpinLock, Mode::Shared)
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
        cx.lock_taken(KIND, SpinLock.raw(), Mode::Exclusive);
        Ok(1)
    }

    /// Acquires the lock as a reader if no writer has it or waits for it; gives whether.
    #[page("wdm/nf-wdm-extryacquirespinlocksharedatdpclevel")]
    #[irql(DISPATCH_LEVEL..=HIGH_LEVEL)]
    fn ExTryAcquireSpinLockSharedAtDpcLevel(
        cx: &mut Machine,
        SpinLock: Gva<u32>,
    ) -> Result<u32, Fault> {
        let value = cx.memory.read(SpinLock)?;
        if value & (WRITER | WAITING) != 0 {
            return Ok(0);
        }
        cx.memory.write(SpinLock, value.wrapping_add(1))?;
        cx.lock_taken(KIND, SpinLock.raw(), Mode::Shared);
        Ok(1)
    }

    /// Makes the only reader the writer, unless a writer waits; gives whether it is.
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
        cx.lock_converted(SpinLock.raw(), Mode::Exclusive);
        Ok(1)
    }
}
