//! Semaphores. Documentation: "Semaphore Objects", wdm.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::dispatcher::{self, kind};
use super::event::initialize_header;
use crate::Machine;
use crate::flow::{Exception, Flow};
use crate::layout::{DISPATCHER_HEADER, KSEMAPHORE};
use crate::ntstatus::STATUS_SEMAPHORE_LIMIT_EXCEEDED;

/// Routines on semaphores.
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
    fn KeReleaseSemaphore(
        cx: &mut Machine,
        Semaphore: Gva<KSEMAPHORE>,
        Increment: i32,
        Adjustment: i32,
        Wait: bool,
    ) -> Result<Flow, Fault> {
        let header = Semaphore.cast::<DISPATCHER_HEADER>();
        let before: i32 = cx.memory.get(header, DISPATCHER_HEADER::SignalState)?;
        let limit: i32 = cx.memory.get(Semaphore, KSEMAPHORE::Limit)?;
        let after = before
            .checked_add(Adjustment)
            .filter(|n| *n <= limit && *n >= before);
        let Some(after) = after else {
            return Ok(Flow::Raise(Exception::new(STATUS_SEMAPHORE_LIMIT_EXCEEDED)));
        };
        super::waiting::keep_for_wait(cx, Wait);
        let before = dispatcher::signal_boosted(cx, header, after, Increment);
        Ok(Flow::Return(before as u32 as u64))
    }

    /// Gives the current count of a semaphore.
    #[page("wdm/nf-wdm-kereadstatesemaphore")]
    #[irql(any)]
    fn KeReadStateSemaphore(cx: &mut Machine, Semaphore: Gva<KSEMAPHORE>) -> Result<i32, Fault> {
        cx.memory
            .get(Semaphore.cast(), DISPATCHER_HEADER::SignalState)
    }
}
