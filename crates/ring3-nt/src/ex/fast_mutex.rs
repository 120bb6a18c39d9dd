//! Fast and guarded mutexes. Documentation: wdm.h, "Fast Mutexes and Guarded Mutexes".
//!
//! One layout since Windows 8: Count is 1 when free and falls by one per waiter; the contended path
//! waits for the synchronization event inside.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::export::irql::APC_LEVEL;
use crate::flow::Flow;
use crate::ke::dispatcher::{self, kind};
use crate::ke::event::initialize_header;
use crate::ke::waiting::{Timeout, wait};
use crate::layout::{FAST_MUTEX, KEVENT, KTHREAD};
use crate::machine::finding::Severity;

fn owner(cx: &Machine) -> Gva<KTHREAD> {
    cx.thread().object.cast()
}

fn initialize(cx: &mut Machine, mutex: Gva<FAST_MUTEX>) -> Result<(), Fault> {
    cx.memory.fill(mutex, FAST_MUTEX::SIZE, 0)?;
    cx.memory.set(mutex, FAST_MUTEX::Count, 1)?;
    initialize_header(
        cx,
        mutex.at(FAST_MUTEX::Event).cast(),
        kind::EVENT_SYNCHRONIZATION,
        KEVENT::SIZE,
        0,
    )
}

/// Waits for the event of a mutex.
#[resumable]
fn wait_for_event(cx: &mut Machine, event: Gva<crate::layout::DISPATCHER_HEADER>) -> Flow {
    wait(cx, vec![event], false, false, Timeout::Never)
}

/// Acquires: the thread owns the mutex afterwards; `level` is kept as the level to go back to.
#[resumable]
fn acquire(cx: &mut Machine, mutex: Gva<FAST_MUTEX>, level: u8) -> Result<(), Fault> {
    let count: i32 = cx.memory.get(mutex, FAST_MUTEX::Count)?;
    if cx.memory.get(mutex, FAST_MUTEX::Owner)?.raw() == owner(cx).raw() {
        let text = format!(
            "the mutex {:#x} is acquired by the thread that owns it: a deadlock",
            mutex.raw()
        );
        cx.report("lock/recursive-mutex", Severity::Error, text);
    }
    cx.memory.set(mutex, FAST_MUTEX::Count, count - 1)?;
    if count != 1 {
        let contention = cx.memory.get(mutex, FAST_MUTEX::Contention)?;
        cx.memory
            .set(mutex, FAST_MUTEX::Contention, contention + 1)?;
        host!(wait_for_event(mutex.at(FAST_MUTEX::Event).cast()));
    }
    let thread = owner(cx);
    cx.memory.set(mutex, FAST_MUTEX::Owner, thread.cast())?;
    cx.memory
        .set(mutex, FAST_MUTEX::OldIrql, u32::from(level))?;
    Ok(())
}

fn try_acquire(cx: &mut Machine, mutex: Gva<FAST_MUTEX>, level: u8) -> Result<bool, Fault> {
    let count: i32 = cx.memory.get(mutex, FAST_MUTEX::Count)?;
    if count != 1 {
        return Ok(false);
    }
    let thread = owner(cx);
    cx.memory.set(mutex, FAST_MUTEX::Count, 0)?;
    cx.memory.set(mutex, FAST_MUTEX::Owner, thread.cast())?;
    cx.memory
        .set(mutex, FAST_MUTEX::OldIrql, u32::from(level))?;
    Ok(true)
}

/// Releases; gives the level to go back to.
fn release(cx: &mut Machine, mutex: Gva<FAST_MUTEX>) -> Result<u8, Fault> {
    let count: i32 = cx.memory.get(mutex, FAST_MUTEX::Count)?;
    let level = cx.memory.get(mutex, FAST_MUTEX::OldIrql)?;
    if cx.memory.get(mutex, FAST_MUTEX::Owner)?.raw() != owner(cx).raw() {
        let text = format!(
            "the mutex {:#x} is released by a thread that does not own it",
            mutex.raw()
        );
        cx.report("lock/not-owner", Severity::Error, text);
    }
    cx.memory.set(mutex, FAST_MUTEX::Owner, Gva::NULL)?;
    cx.memory.set(mutex, FAST_MUTEX::Count, count + 1)?;
    if count < 0 {
        dispatcher::signal(cx, mutex.at(FAST_MUTEX::Event).cast(), 1);
    }
    Ok(level as u8)
}

/// Routines on fast and guarded mutexes.
pub struct FastMutexes;

#[exports("ntoskrnl.exe")]
impl FastMutexes {
    /// Acquires a fast mutex and raises the IRQL to APC_LEVEL.
    #[page("wdm/nf-wdm-exacquirefastmutex")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ExAcquireFastMutex(cx: &mut Machine, FastMutex: Gva<FAST_MUTEX>) -> Flow {
        let level = cx.irql();
        cx.set_irql(APC_LEVEL);
        Flow::Become(acquire(FastMutex, level))
    }

    /// Releases a fast mutex and restores the IRQL.
    #[page("wdm/nf-wdm-exreleasefastmutex")]
    #[irql(APC_LEVEL)]
    fn ExReleaseFastMutex(cx: &mut Machine, FastMutex: Gva<FAST_MUTEX>) -> Result<(), Fault> {
        let level = release(cx, FastMutex)?;
        cx.set_irql(level);
        Ok(())
    }

    /// Acquires a fast mutex if it is free.
    #[page("wdm/nf-wdm-extrytoacquirefastmutex")]
    #[irql(..=APC_LEVEL)]
    fn ExTryToAcquireFastMutex(
        cx: &mut Machine,
        FastMutex: Gva<FAST_MUTEX>,
    ) -> Result<bool, Fault> {
        let level = cx.irql();
        let got = try_acquire(cx, FastMutex, level)?;
        if got {
            cx.set_irql(APC_LEVEL);
        }
        Ok(got)
    }

    /// Acquires a fast mutex; the caller has held off APCs.
    #[page("wdm/nf-wdm-exacquirefastmutexunsafe")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ExAcquireFastMutexUnsafe(cx: &mut Machine, FastMutex: Gva<FAST_MUTEX>) -> Flow {
        let level = cx.irql();
        Flow::Become(acquire(FastMutex, level))
    }

    /// Releases a fast mutex of ExAcquireFastMutexUnsafe.
    #[page("wdm/nf-wdm-exreleasefastmutexunsafe")]
    #[irql(..=APC_LEVEL)]
    fn ExReleaseFastMutexUnsafe(cx: &mut Machine, FastMutex: Gva<FAST_MUTEX>) -> Result<(), Fault> {
        release(cx, FastMutex)?;
        Ok(())
    }

    /// Initialises a guarded mutex.
    #[page("wdm/nf-wdm-keinitializeguardedmutex")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeInitializeGuardedMutex(cx: &mut Machine, Mutex: Gva<FAST_MUTEX>) -> Result<(), Fault> {
        initialize(cx, Mutex)
    }

    /// Acquires a guarded mutex; all APCs are held off until it is released.
    #[page("wdm/nf-wdm-keacquireguardedmutex")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    #[partial("the guarded region")]
    fn KeAcquireGuardedMutex(cx: &mut Machine, Mutex: Gva<FAST_MUTEX>) -> Flow {
        let level = cx.irql();
        Flow::Become(acquire(Mutex, level))
    }

    /// Releases a guarded mutex.
    #[page("wdm/nf-wdm-kereleaseguardedmutex")]
    #[irql(..=APC_LEVEL)]
    #[partial("the guarded region")]
    fn KeReleaseGuardedMutex(cx: &mut Machine, Mutex: Gva<FAST_MUTEX>) -> Result<(), Fault> {
        release(cx, Mutex)?;
        Ok(())
    }
}
