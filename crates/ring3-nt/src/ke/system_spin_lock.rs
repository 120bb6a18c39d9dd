//! The spin locks of the system itself, by number. Documentation: ntifs.h, "KeAcquireQueuedSpinLock".
//!
//! Number 7 is the cancel spin lock, number 9 that of volume parameter blocks.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::spin_lock::{UNCHANGED, acquire, free};
use crate::Machine;
use crate::export::irql::DISPATCH_LEVEL;
use crate::flow::{Flow, IntoFlow, Kont};
use crate::locks::{Kind, Mode};
use crate::mm::space::{self, Region};

/// `LockQueueIoCancelLock`, `LockQueueIoVpbLock`: values of KSPIN_LOCK_QUEUE_NUMBER.
pub const CANCEL: u32 = 7;
const VPB: u32 = 9;
/// `LockQueueMaximumLock`.
const COUNT: u32 = 17;

fn kind(number: u32) -> Kind {
    if number == CANCEL {
        Kind::CancelSpinLock
    } else {
        Kind::SpinLock
    }
}

/// The word of a lock: 0 free, 1 held.
fn word(cx: &mut Machine, number: u32) -> Gva<u64> {
    if cx.ke.system_locks.is_null()
        && let Some(page) = cx.allocate_pages(Region::Objects, 1, space::data())
    {
        cx.ke.system_locks = page.cast();
    }
    // Each in a cache line of its own.
    cx.ke.system_locks.add(8 * u64::from(number.min(COUNT)))
}

/// Takes a lock of the system; the processor is at DISPATCH_LEVEL already.
pub fn acquire_at_dpc_level(cx: &mut Machine, number: u32) -> Kont {
    let lock = word(cx, number);
    acquire(kind(number), lock, UNCHANGED)
}

/// Raises the IRQL to DISPATCH_LEVEL and takes a lock of the system; gives the old IRQL.
pub fn raise_and_acquire(cx: &mut Machine, number: u32) -> Kont {
    let lock = word(cx, number);
    let old = cx.irql();
    cx.set_irql(old.max(DISPATCH_LEVEL));
    acquire(kind(number), lock, old)
}

/// Whether somebody holds a lock of the system.
pub fn is_held(cx: &mut Machine, number: u32) -> bool {
    let lock = word(cx, number);
    cx.memory.read(lock).unwrap_or(0) != 0
}

/// Gives a lock of the system back.
pub fn release(cx: &mut Machine, number: u32) {
    let lock = word(cx, number);
    let _ = free(cx, kind(number), lock);
}

fn not_a_number(routine: &str, number: u32) -> Flow {
    Flow::NotModelled(format!("{routine} with lock number {number}"))
}

/// Routines on spin locks of the system.
pub struct SystemSpinLocks;

#[exports("ntoskrnl.exe")]
impl SystemSpinLocks {
    /// Raises the IRQL to DISPATCH_LEVEL and acquires a spin lock of the system; gives the old IRQL.
    #[page("ntifs/nf-ntifs-keacquirequeuedspinlock")]
    #[irql(..=DISPATCH_LEVEL)]
    #[hal]
    #[returns(u8)]
    fn KeAcquireQueuedSpinLock(cx: &mut Machine, Number: u32) -> Flow {
        if Number >= COUNT {
            return not_a_number("KeAcquireQueuedSpinLock", Number);
        }
        Flow::Become(raise_and_acquire(cx, Number))
    }

    /// Releases a spin lock of the system and restores the IRQL.
    #[page("ntifs/nf-ntifs-kereleasequeuedspinlock")]
    #[irql(DISPATCH_LEVEL)]
    #[hal]
    #[returns(())]
    fn KeReleaseQueuedSpinLock(cx: &mut Machine, Number: u32, OldIrql: u8) -> Flow {
        if Number >= COUNT {
            return not_a_number("KeReleaseQueuedSpinLock", Number);
        }
        release(cx, Number);
        cx.set_irql(OldIrql);
        ().into_flow()
    }

    /// Acquires a spin lock of the system if it is free, and gives the old IRQL.
    #[page("ntifs/nf-ntifs-ketrytoacquirequeuedspinlock")]
    #[irql(..=DISPATCH_LEVEL)]
    #[hal]
    #[returns(u32)]
    fn KeTryToAcquireQueuedSpinLock(
        cx: &mut Machine,
        Number: u32,
        OldIrql: Gva<u8>,
    ) -> Result<Flow, Fault> {
        if Number >= COUNT {
            return Ok(not_a_number("KeTryToAcquireQueuedSpinLock", Number));
        }
        let lock = word(cx, Number);
        if cx.memory.read(lock)? != 0 {
            return Ok(Flow::Return(0));
        }
        let old = cx.irql();
        cx.memory.write(OldIrql, old)?;
        cx.memory.write(lock, 1)?;
        cx.lock_taken(kind(Number), lock.raw(), Mode::Exclusive);
        cx.lock_level(old);
        cx.set_irql(old.max(DISPATCH_LEVEL));
        Ok(Flow::Return(1))
    }

    /// Acquires the lock that protects volume parameter blocks.
    #[page("ntifs/nf-ntifs-ioacquirevpbspinlock")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(())]
    fn IoAcquireVpbSpinLock(cx: &mut Machine, Irql: Gva<u8>) -> Result<Flow, Fault> {
        let level = cx.irql();
        cx.memory.write(Irql, level)?;
        Ok(Flow::Become(raise_and_acquire(cx, VPB)))
    }

    /// Releases the lock that protects volume parameter blocks.
    #[page("ntifs/nf-ntifs-ioreleasevpbspinlock")]
    #[irql(DISPATCH_LEVEL)]
    fn IoReleaseVpbSpinLock(cx: &mut Machine, Irql: u8) {
        release(cx, VPB);
        cx.set_irql(Irql);
    }
}
