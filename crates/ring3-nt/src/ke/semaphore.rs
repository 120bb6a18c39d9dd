//! Semaphores and mutexes. Documentation: wdm.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::dispatcher::{self, kind};
use super::event::initialize_header;
use crate::Machine;
use crate::flow::{Exception, Flow};
use crate::layout::{DISPATCHER_HEADER, KMUTANT, KSEMAPHORE};
use crate::locks::Kind;
use crate::ntstatus::{STATUS_MUTANT_NOT_OWNED, STATUS_SEMAPHORE_LIMIT_EXCEEDED};

/// Routines on semaphores and mutexes.
pub struct Semaphores;

#[exports("ntoskrnl.exe")]
impl Semaphores {
    /// Initialises a semaphore.
    #[page("wdm/nf-wdm-keinitializesemaphore")]
    #[irql(any)]
    fn KeInitializeSemaphore(
        cx: &mut Machine,
        Semaphore: Gva<KSEMAPHORE>,
        Count: i32,
        Limit: i32,
    ) -> Result<(), Fault> {
        initialize_header(
            cx,
            Semaphore.cast(),
            kind::SEMAPHORE,
            KSEMAPHORE::SIZE,
            Count,
        )?;
        cx.memory.set(Semaphore, KSEMAPHORE::Limit, Limit)
    }

    /// Adds to a semaphore's count; raises an exception above its limit.
    #[page("wdm/nf-wdm-kereleasesemaphore")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(i32)]
    #[partial("the priority increment and Wait are ignored")]
    fn KeReleaseSemaphore(
        cx: &mut Machine,
        Semaphore: Gva<KSEMAPHORE>,
        Increment: i32,
        Adjustment: i32,
        Wait: bool,
    ) -> Result<Flow, Fault> {
        let _ = (Increment, Wait);
        let header = Semaphore.cast::<DISPATCHER_HEADER>();
        let before: i32 = cx.memory.get(header, DISPATCHER_HEADER::SignalState)?;
        let limit: i32 = cx.memory.get(Semaphore, KSEMAPHORE::Limit)?;
        let after = before
            .checked_add(Adjustment)
            .filter(|n| *n <= limit && *n >= before);
        let Some(after) = after else {
            return Ok(Flow::Raise(Exception::new(STATUS_SEMAPHORE_LIMIT_EXCEEDED)));
        };
        Ok(Flow::Return(
            dispatcher::signal(cx, header, after) as u32 as u64
        ))
    }

    /// Gives the current count of a semaphore.
    #[page("wdm/nf-wdm-kereadstatesemaphore")]
    #[irql(any)]
    fn KeReadStateSemaphore(cx: &mut Machine, Semaphore: Gva<KSEMAPHORE>) -> Result<i32, Fault> {
        cx.memory
            .get(Semaphore.cast(), DISPATCHER_HEADER::SignalState)
    }

    /// Initialises a mutex.
    #[page("wdm/nf-wdm-keinitializemutex")]
    #[irql(any)]
    fn KeInitializeMutex(cx: &mut Machine, Mutex: Gva<KMUTANT>, Level: u32) -> Result<(), Fault> {
        let _ = Level;
        initialize_header(cx, Mutex.cast(), kind::MUTANT, KMUTANT::SIZE, 1)?;
        cx.lock_renewed(Mutex.raw());
        cx.memory.set(Mutex, KMUTANT::OwnerThread, Gva::NULL)?;
        KMUTANT::Abandoned.write(&mut cx.memory, Mutex, 0)?;
        cx.memory.set(Mutex, KMUTANT::ApcDisable, 1u8)
    }

    /// Releases a mutex; raises an exception if the caller does not own it.
    #[page("wdm/nf-wdm-kereleasemutex")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(i32)]
    #[partial("Wait is ignored; kernel APCs are not held off by ownership")]
    fn KeReleaseMutex(cx: &mut Machine, Mutex: Gva<KMUTANT>, Wait: bool) -> Result<Flow, Fault> {
        let _ = Wait;
        let header = Mutex.cast::<DISPATCHER_HEADER>();
        let before: i32 = cx.memory.get(header, DISPATCHER_HEADER::SignalState)?;
        let owner = cx.memory.get(Mutex, KMUTANT::OwnerThread)?;
        if owner.raw() != cx.thread().object.raw() {
            cx.report_not_owner(Kind::Mutex, Mutex.raw());
            return Ok(Flow::Raise(Exception::new(STATUS_MUTANT_NOT_OWNED)));
        }
        if before + 1 > 0 {
            cx.memory.set(Mutex, KMUTANT::OwnerThread, Gva::NULL)?;
        }
        cx.lock_released(Mutex.raw());
        dispatcher::signal(cx, header, before + 1);
        Ok(Flow::Return(before as u32 as u64))
    }

    /// Gives the current state of a mutex.
    #[page("wdm/nf-wdm-kereadstatemutex")]
    #[irql(any)]
    fn KeReadStateMutex(cx: &mut Machine, Mutex: Gva<KMUTANT>) -> Result<i32, Fault> {
        cx.memory.get(Mutex.cast(), DISPATCHER_HEADER::SignalState)
    }
}
