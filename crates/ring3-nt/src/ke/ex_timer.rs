//! Timers of the ExXxxTimer family. Documentation: "ExXxxTimer Routines and EX_TIMER Objects".
//!
//! An EX_TIMER begins with a timer object, so that drivers can wait for it; its callback runs as a DPC.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use super::dispatcher::kind;
use super::event::initialize_header;
use super::{dpc, waiting};
use crate::Machine;
use crate::export::argument::Code;
use crate::flow::{Flow, Key};
use crate::layout::{DISPATCHER_HEADER, KDPC, KTIMER};
use crate::machine::finding::Severity;
use crate::machine::wait::Wait;
use crate::mm::space::{Region, data};

/// `EX_TIMER_NOTIFICATION`: the timer stays signalled.
const EX_TIMER_NOTIFICATION: u32 = 1 << 31;
/// Offset of the DPC in the object.
const DPC: u64 = KTIMER::SIZE;
/// `EXT_DELETE_PARAMETERS`: DeleteCallback and DeleteContext.
const DELETE_CALLBACK: u64 = 8;
const DELETE_CONTEXT: u64 = 16;
/// A period in milliseconds cannot say what one in units of 100 ns says; it is kept beside the object.
const NO_PERIOD: u64 = 0;

/// What a timer does.
#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq)]
pub struct ExTimer {
    callback: u64,
    context: u64,
    /// In units of 100 ns; 0 for none.
    period: u64,
    /// Set by ExDeleteTimer: what is called once the timer is gone.
    deleted: Option<(u64, u64)>,
}

/// The end of a timer's callback.
fn done(timer: u64) -> Key {
    Key::new("ex-timer", timer)
}

/// If a DPC is that of such a timer, what is called instead of its routine.
pub(super) fn expired(cx: &mut Machine, dpc: Gva<KDPC>) -> Option<(u64, [u64; 4])> {
    let timer = dpc.raw().wrapping_sub(DPC);
    let found = *cx.ke.ex_timers.get(&timer)?;
    let _ = cx.memory.set(dpc, KDPC::DpcData, Gva::NULL);
    Some((found.callback, [timer, found.context, 0, 0]))
}

/// The period of such a timer, in units of 100 ns.
pub(super) fn period(cx: &Machine, timer: Gva<KTIMER>) -> Option<u64> {
    cx.ke
        .ex_timers
        .get(&timer.raw())
        .map(|t| t.period)
        .filter(|p| *p != NO_PERIOD)
}

/// Whether the callback of a timer is queued or running.
fn is_busy(cx: &Machine, timer: u64) -> bool {
    let dpc = Gva::<KDPC>::new(timer + DPC);
    cx.processors
        .iter()
        .any(|p| p.dpcs.contains(&dpc) || p.dpc_active)
}

/// Deletes a timer once its callback is over.
#[resumable]
fn delete(cx: &mut Machine, timer: u64, result: u64, wait: bool) -> u64 {
    if wait {
        while is_busy(cx, timer) {
            let due = cx.clock.now() + 1;
            wait!(Wait::Until(due));
        }
    }
    if let Some((callback, context)) = cx.ke.ex_timers.get(&timer).and_then(|t| t.deleted)
        && callback != 0
    {
        call!(callback, context);
    }
    dpc::remove(cx, Gva::new(timer + DPC));
    cx.ke.ex_timers.remove(&timer);
    cx.free_pages(Region::Objects, Gva::new(timer));
    cx.wake(done(timer));
    result
}

fn known(cx: &mut Machine, timer: u64, routine: &str) -> bool {
    let known = cx
        .ke
        .ex_timers
        .get(&timer)
        .is_some_and(|t| t.deleted.is_none());
    if !known {
        let text = format!("{routine} is given {timer:#x}, which is no timer that exists");
        cx.report("timer/not-allocated", Severity::Error, text);
    }
    known
}

/// Routines on these timers.
pub struct ExTimers;

#[exports("ntoskrnl.exe")]
impl ExTimers {
    /// Allocates a timer; NULL if there is no memory.
    #[page("wdm/nf-wdm-exallocatetimer")]
    #[irql(..=DISPATCH_LEVEL)]
    #[partial("high-resolution and no-wake timers are as others")]
    fn ExAllocateTimer(
        cx: &mut Machine,
        Callback: Gva<Code>,
        CallbackContext: Gva,
        Attributes: u32,
    ) -> Result<Gva<KTIMER>, Fault> {
        if cx.decide(crate::machine::decide::Choice::AllocationFails, 2) == 1 {
            return Ok(Gva::NULL);
        }
        let Some(at) = cx.allocate_pages(Region::Objects, 1, data()) else {
            return Ok(Gva::NULL);
        };
        let timer = at.cast::<KTIMER>();
        let kind = if Attributes & EX_TIMER_NOTIFICATION != 0 {
            kind::TIMER_NOTIFICATION
        } else {
            kind::TIMER_SYNCHRONIZATION
        };
        initialize_header(cx, timer.cast(), kind, KTIMER::SIZE, 0)?;
        let object = timer.cast::<KDPC>().byte_add(DPC);
        dpc::initialize(cx, object, dpc::DPC_OBJECT, Callback, Gva::NULL)?;
        cx.ke.ex_timers.insert(
            timer.raw(),
            ExTimer {
                callback: Callback.raw(),
                context: CallbackContext.raw(),
                period: NO_PERIOD,
                deleted: None,
            },
        );
        Ok(timer)
    }

    /// Starts a timer; TRUE if it was set.
    #[page("wdm/nf-wdm-exsettimer")]
    #[irql(..=DISPATCH_LEVEL)]
    fn ExSetTimer(
        cx: &mut Machine,
        Timer: Gva<KTIMER>,
        DueTime: i64,
        Period: i64,
        Parameters: Gva,
    ) -> Result<bool, Fault> {
        let _ = Parameters;
        if !known(cx, Timer.raw(), "ExSetTimer") {
            return Ok(false);
        }
        let mut callback = 0;
        if let Some(timer) = cx.ke.ex_timers.get_mut(&Timer.raw()) {
            timer.period = Period.max(0).unsigned_abs();
            callback = timer.callback;
        }
        let due = waiting::due_time(cx, DueTime);
        let header = Timer.cast::<DISPATCHER_HEADER>();
        cx.memory.set(header, DISPATCHER_HEADER::SignalState, 0)?;
        DISPATCHER_HEADER::Inserted.write(&mut cx.memory, header, 1)?;
        let object = Timer.cast::<KDPC>().byte_add(DPC);
        let queued = if callback == 0 { Gva::NULL } else { object };
        cx.memory.set(Timer, KTIMER::Dpc, queued)?;
        Ok(cx.ke.timers.set(Timer, due))
    }

    /// Stops a timer; TRUE if it was set.
    #[page("wdm/nf-wdm-excanceltimer")]
    #[irql(..=DISPATCH_LEVEL)]
    fn ExCancelTimer(cx: &mut Machine, Timer: Gva<KTIMER>, Parameters: Gva) -> Result<bool, Fault> {
        let _ = Parameters;
        if !known(cx, Timer.raw(), "ExCancelTimer") {
            return Ok(false);
        }
        DISPATCHER_HEADER::Inserted.write(&mut cx.memory, Timer.cast(), 0)?;
        Ok(cx.ke.timers.cancel(Timer))
    }

    /// Deletes a timer, perhaps after its callback is over; TRUE if it was set and has been cancelled.
    #[page("wdm/nf-wdm-exdeletetimer")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(bool)]
    fn ExDeleteTimer(
        cx: &mut Machine,
        Timer: Gva<KTIMER>,
        Cancel: bool,
        Wait: bool,
        Parameters: Gva<u64>,
    ) -> Result<Flow, Fault> {
        if !known(cx, Timer.raw(), "ExDeleteTimer") {
            return Ok(Flow::Return(0));
        }
        let mut after = (0, 0);
        if !Parameters.is_null() {
            let base = Parameters.cast::<u64>();
            after = (
                cx.memory.read(base.byte_add(DELETE_CALLBACK))?,
                cx.memory.read(base.byte_add(DELETE_CONTEXT))?,
            );
        }
        if let Some(timer) = cx.ke.ex_timers.get_mut(&Timer.raw()) {
            timer.deleted = Some(after);
            timer.period = NO_PERIOD;
        }
        // Without Cancel a one-shot timer that is set still expires; then it is deleted.
        let cancelled = Cancel && cx.ke.timers.cancel(Timer);
        if !Cancel && cx.ke.timers.iter().any(|(_, t)| t == Timer) {
            return Ok(Flow::NotModelled(
                "ExDeleteTimer without Cancel of a timer that is set".into(),
            ));
        }
        let may_wait = Cancel && Wait && cx.irql() < crate::export::irql::DISPATCH_LEVEL;
        Ok(Flow::Become(delete(
            Timer.raw(),
            u64::from(cancelled),
            may_wait,
        )))
    }
}
