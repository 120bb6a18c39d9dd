//! Fast and guarded mutexes. Documentation: wdm.h, "Fast Mutexes and Guarded Mutexes".
//!
//! One structure and one behaviour since Windows 8; the release routines even have one address in the
//! 19041 symbols. Bit 0 of Count: free; bit 1: a waiter has been woken and has not looked yet; each
//! waiter adds 4. A woken waiter competes with newcomers.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::export::irql::{APC_LEVEL, DISPATCH_LEVEL};
use crate::flow::{Flow, IntoFlow};
use crate::ke::dispatcher::{self, kind};
use crate::ke::event::initialize_header;
use crate::ke::level::region;
use crate::ke::waiting::{Timeout, wait};
use crate::layout::{DISPATCHER_HEADER, FAST_MUTEX, KEVENT, KTHREAD};
use crate::locks::{Kind, Mode};
use crate::machine::finding::Severity;

/// `FM_LOCK_BIT`, `FM_LOCK_WAITER_WOKEN`, `FM_LOCK_WAITER_INC`.
const FREE: i32 = 1;
const WOKEN: i32 = 2;
const WAITER: i32 = 4;

fn owner(cx: &Machine) -> Gva<KTHREAD> {
    cx.thread().object.cast()
}

fn initialize(cx: &mut Machine, mutex: Gva<FAST_MUTEX>) -> Result<(), Fault> {
    cx.memory.fill(mutex, FAST_MUTEX::SIZE, 0)?;
    cx.memory.set(mutex, FAST_MUTEX::Count, FREE)?;
    initialize_header(
        cx,
        mutex.at(FAST_MUTEX::Event).cast(),
        kind::EVENT_SYNCHRONIZATION,
        KEVENT::SIZE,
        0,
    )?;
    cx.lock_renewed(mutex.raw());
    Ok(())
}

/// `KERNEL_AUTO_BOOST_LOCK_ACQUISITION_WITH_RAISED_IRQL`, if the IRQL is too high for a lock for which
/// a thread may have to wait.
pub(crate) fn too_high(cx: &Machine, lock: u64) -> Option<Flow> {
    let level = cx.irql();
    let thread = cx.thread().object.raw();
    (level >= DISPATCH_LEVEL).then(|| Flow::Bugcheck(0x192, [thread, lock, u64::from(level), 0]))
}

/// `KERNEL_AUTO_BOOST_INVALID_LOCK_RELEASE`: somebody releases a lock that he does not own.
pub(crate) fn not_owner(cx: &mut Machine, kind: Kind, lock: u64) -> Flow {
    cx.report_not_owner(kind, lock);
    let thread = cx.thread().object.raw();
    // The third parameter is the session; system threads have none.
    Flow::Bugcheck(0x162, [thread, lock, u64::from(u32::MAX), 0])
}

/// Waits for the event of a mutex.
#[resumable]
fn wait_for_event(cx: &mut Machine, event: Gva<DISPATCHER_HEADER>) -> Flow {
    wait(cx, vec![event], false, false, Timeout::Never)
}

/// Acquires: the thread owns the mutex afterwards; `level` is kept as the level to go back to.
#[resumable]
fn acquire(cx: &mut Machine, mutex: Gva<FAST_MUTEX>, level: u8) -> Result<(), Fault> {
    let mut count: i32 = cx.memory.get(mutex, FAST_MUTEX::Count)?;
    let contended: bool = count & FREE == 0;
    cx.lock_wanted(Kind::FastMutex, mutex.raw(), Mode::Exclusive, contended);
    if contended {
        let contention = cx.memory.get(mutex, FAST_MUTEX::Contention)?;
        cx.memory
            .set(mutex, FAST_MUTEX::Contention, contention.wrapping_add(1))?;
        cx.memory
            .set(mutex, FAST_MUTEX::Count, count.wrapping_add(WAITER))?;
        loop {
            host!(wait_for_event(mutex.at(FAST_MUTEX::Event).cast()));
            count = cx.memory.get(mutex, FAST_MUTEX::Count)?;
            count &= !WOKEN;
            if count & FREE != 0 {
                break;
            }
            // Somebody else was faster.
            cx.memory
                .set(mutex, FAST_MUTEX::Count, count.wrapping_add(WAITER))?;
        }
    }
    take(cx, mutex, count, level)
}

/// Makes the running thread the owner of a free mutex.
fn take(cx: &mut Machine, mutex: Gva<FAST_MUTEX>, count: i32, level: u8) -> Result<(), Fault> {
    let thread = owner(cx);
    cx.memory.set(mutex, FAST_MUTEX::Count, count & !FREE)?;
    cx.memory.set(mutex, FAST_MUTEX::Owner, thread.cast())?;
    cx.memory
        .set(mutex, FAST_MUTEX::OldIrql, u32::from(level))?;
    cx.lock_taken(Kind::FastMutex, mutex.raw(), Mode::Exclusive);
    Ok(())
}

/// Raises the IRQL to APC_LEVEL and acquires.
fn raise_and_acquire(cx: &mut Machine, mutex: Gva<FAST_MUTEX>) -> Result<Flow, Fault> {
    if let Some(bugcheck) = too_high(cx, mutex.raw()) {
        return Ok(bugcheck);
    }
    cx.memory.get(mutex, FAST_MUTEX::Count)?;
    let level = cx.irql();
    cx.set_irql(APC_LEVEL);
    Ok(Flow::Become(acquire(mutex, level)))
}

/// Acquires and leaves the IRQL; the caller has held off APCs.
fn acquire_unsafe(cx: &mut Machine, mutex: Gva<FAST_MUTEX>) -> Result<Flow, Fault> {
    if let Some(bugcheck) = too_high(cx, mutex.raw()) {
        return Ok(bugcheck);
    }
    cx.memory.get(mutex, FAST_MUTEX::Count)?;
    check_held_off(cx, mutex)?;
    let level = cx.irql();
    Ok(Flow::Become(acquire(mutex, level)))
}

/// The routines that leave the IRQL are for callers whom no APC can interrupt.
fn check_held_off(cx: &mut Machine, mutex: Gva<FAST_MUTEX>) -> Result<(), Fault> {
    let thread = cx.thread().object.cast::<KTHREAD>();
    let normal: i16 = cx.memory.get(thread, KTHREAD::KernelApcDisable)?;
    let all: i16 = cx.memory.get(thread, KTHREAD::SpecialApcDisable)?;
    if cx.irql() < APC_LEVEL && normal == 0 && all == 0 {
        let text = format!(
            "{} is acquired by a routine that leaves the IRQL, while APCs are enabled",
            cx.lock_name(Kind::FastMutex, mutex.raw())
        );
        cx.report("lock/mutex-apcs-enabled", Severity::Error, text);
    }
    Ok(())
}

fn try_acquire(cx: &mut Machine, mutex: Gva<FAST_MUTEX>) -> Result<Flow, Fault> {
    if let Some(bugcheck) = too_high(cx, mutex.raw()) {
        return Ok(bugcheck);
    }
    let count: i32 = cx.memory.get(mutex, FAST_MUTEX::Count)?;
    if count & FREE == 0 {
        return Ok(Flow::Return(0));
    }
    let level = cx.irql();
    take(cx, mutex, count, level)?;
    cx.set_irql(APC_LEVEL);
    Ok(Flow::Return(1))
}

/// Releases; gives the level to go back to, or the bugcheck if the thread does not own it.
fn release(cx: &mut Machine, mutex: Gva<FAST_MUTEX>) -> Result<Result<u8, Flow>, Fault> {
    let count: i32 = cx.memory.get(mutex, FAST_MUTEX::Count)?;
    let level = cx.memory.get(mutex, FAST_MUTEX::OldIrql)?;
    if cx.memory.get(mutex, FAST_MUTEX::Owner)?.raw() != owner(cx).raw() {
        return Ok(Err(not_owner(cx, Kind::FastMutex, mutex.raw())));
    }
    let wake = count >= WAITER && count & WOKEN == 0;
    let after = if wake { count - WAITER + WOKEN } else { count };
    cx.memory.set(mutex, FAST_MUTEX::Owner, Gva::NULL)?;
    cx.memory.set(mutex, FAST_MUTEX::Count, after | FREE)?;
    cx.lock_released(mutex.raw());
    if wake {
        dispatcher::signal(cx, mutex.at(FAST_MUTEX::Event).cast(), 1);
    }
    Ok(Ok(level as u8))
}

/// Releases and goes back to the old IRQL.
fn release_and_lower(cx: &mut Machine, mutex: Gva<FAST_MUTEX>) -> Result<Flow, Fault> {
    Ok(match release(cx, mutex)? {
        Ok(level) => {
            cx.set_irql(level);
            ().into_flow()
        }
        Err(bugcheck) => bugcheck,
    })
}

/// Releases and leaves the IRQL.
fn release_unsafe(cx: &mut Machine, mutex: Gva<FAST_MUTEX>) -> Result<Flow, Fault> {
    Ok(match release(cx, mutex)? {
        Ok(_) => ().into_flow(),
        Err(bugcheck) => bugcheck,
    })
}

/// Routines on fast and guarded mutexes.
pub struct FastMutexes;

#[exports("ntoskrnl.exe")]
impl FastMutexes {
    /// Acquires a fast mutex and raises the IRQL to APC_LEVEL.
    #[page("wdm/nf-wdm-exacquirefastmutex")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ExAcquireFastMutex(cx: &mut Machine, FastMutex: Gva<FAST_MUTEX>) -> Result<Flow, Fault> {
        raise_and_acquire(cx, FastMutex)
    }

    /// Releases a fast mutex and restores the IRQL.
    #[page("wdm/nf-wdm-exreleasefastmutex")]
    #[irql(APC_LEVEL)]
    #[returns(())]
    fn ExReleaseFastMutex(cx: &mut Machine, FastMutex: Gva<FAST_MUTEX>) -> Result<Flow, Fault> {
        release_and_lower(cx, FastMutex)
    }

    /// Acquires a fast mutex if it is free, and then raises the IRQL to APC_LEVEL.
    #[page("wdm/nf-wdm-extrytoacquirefastmutex")]
    #[irql(..=APC_LEVEL)]
    #[returns(bool)]
    fn ExTryToAcquireFastMutex(
        cx: &mut Machine,
        FastMutex: Gva<FAST_MUTEX>,
    ) -> Result<Flow, Fault> {
        try_acquire(cx, FastMutex)
    }

    /// Acquires a fast mutex; the caller has held off APCs.
    #[page("wdm/nf-wdm-exacquirefastmutexunsafe")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ExAcquireFastMutexUnsafe(
        cx: &mut Machine,
        FastMutex: Gva<FAST_MUTEX>,
    ) -> Result<Flow, Fault> {
        acquire_unsafe(cx, FastMutex)
    }

    /// Releases a fast mutex of ExAcquireFastMutexUnsafe.
    #[page("wdm/nf-wdm-exreleasefastmutexunsafe")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ExReleaseFastMutexUnsafe(
        cx: &mut Machine,
        FastMutex: Gva<FAST_MUTEX>,
    ) -> Result<Flow, Fault> {
        release_unsafe(cx, FastMutex)
    }

    /// Enters a critical region and acquires a fast mutex.
    #[page("")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ExEnterCriticalRegionAndAcquireFastMutexUnsafe(
        cx: &mut Machine,
        FastMutex: Gva<FAST_MUTEX>,
    ) -> Result<Flow, Fault> {
        cx.memory.get(FastMutex, FAST_MUTEX::Count)?;
        region(cx, false, -1)?;
        acquire_unsafe(cx, FastMutex)
    }

    /// Releases a fast mutex and leaves the critical region.
    #[page("")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ExReleaseFastMutexUnsafeAndLeaveCriticalRegion(
        cx: &mut Machine,
        FastMutex: Gva<FAST_MUTEX>,
    ) -> Result<Flow, Fault> {
        let released = release_unsafe(cx, FastMutex)?;
        if matches!(released, Flow::Return(_)) {
            region(cx, false, 1)?;
        }
        Ok(released)
    }

    /// Initialises a guarded mutex.
    #[page("wdm/nf-wdm-keinitializeguardedmutex")]
    #[irql(..=APC_LEVEL)]
    fn KeInitializeGuardedMutex(cx: &mut Machine, Mutex: Gva<FAST_MUTEX>) -> Result<(), Fault> {
        initialize(cx, Mutex)
    }

    /// Acquires a guarded mutex; all APCs are held off until it is released.
    #[page("wdm/nf-wdm-keacquireguardedmutex")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn KeAcquireGuardedMutex(cx: &mut Machine, Mutex: Gva<FAST_MUTEX>) -> Result<Flow, Fault> {
        raise_and_acquire(cx, Mutex)
    }

    /// Releases a guarded mutex.
    #[page("wdm/nf-wdm-kereleaseguardedmutex")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn KeReleaseGuardedMutex(cx: &mut Machine, Mutex: Gva<FAST_MUTEX>) -> Result<Flow, Fault> {
        release_and_lower(cx, Mutex)
    }

    /// Acquires a guarded mutex if it is free.
    #[page("wdm/nf-wdm-ketrytoacquireguardedmutex")]
    #[irql(..=APC_LEVEL)]
    #[returns(bool)]
    fn KeTryToAcquireGuardedMutex(cx: &mut Machine, Mutex: Gva<FAST_MUTEX>) -> Result<Flow, Fault> {
        try_acquire(cx, Mutex)
    }

    /// Acquires a guarded mutex; the caller has held off all APCs.
    #[page("wdm/nf-wdm-keacquireguardedmutexunsafe")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn KeAcquireGuardedMutexUnsafe(
        cx: &mut Machine,
        FastMutex: Gva<FAST_MUTEX>,
    ) -> Result<Flow, Fault> {
        acquire_unsafe(cx, FastMutex)
    }

    /// Releases a guarded mutex of KeAcquireGuardedMutexUnsafe.
    #[page("wdm/nf-wdm-kereleaseguardedmutexunsafe")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn KeReleaseGuardedMutexUnsafe(
        cx: &mut Machine,
        FastMutex: Gva<FAST_MUTEX>,
    ) -> Result<Flow, Fault> {
        release_unsafe(cx, FastMutex)
    }
}
