//! DPC and timer routines. Documentation: wdm.h, "Introduction to DPCs", "Using Timer Objects".

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::dispatcher::kind;
use super::event::initialize_header;
use super::{dpc, waiting};
use crate::Machine;
use crate::bugcheck_codes::TIMER_OR_DPC_INVALID;
use crate::export::argument::Code;
use crate::flow::Flow;
use crate::layout::{DISPATCHER_HEADER, KDPC, KTIMER, PROCESSOR_NUMBER};
use crate::ntstatus::{NTSTATUS, STATUS_INVALID_PARAMETER, STATUS_SUCCESS};

fn set_timer(
    cx: &mut Machine,
    timer: Gva<KTIMER>,
    due: i64,
    period: u32,
    dpc: Gva<KDPC>,
) -> Result<bool, Fault> {
    let due = waiting::due_time(cx, due);
    cx.memory
        .set(timer.cast(), DISPATCHER_HEADER::SignalState, 0)?;
    DISPATCHER_HEADER::Inserted.write(&mut cx.memory, timer.cast(), 1)?;
    cx.memory.set(timer, KTIMER::Period, period)?;
    cx.memory.set(timer, KTIMER::Dpc, dpc)?;
    let due_time = timer.at(KTIMER::DueTime).cast::<u64>();
    cx.memory.write(due_time, due)?;
    Ok(cx.ke.timers.set(timer, due))
}

/// Routines on DPCs and timers.
pub struct DpcsAndTimers;

#[exports("ntoskrnl.exe")]
impl DpcsAndTimers {
    /// Initialises a DPC.
    #[page("wdm/nf-wdm-keinitializedpc")]
    #[irql(any)]
    fn KeInitializeDpc(
        cx: &mut Machine,
        Dpc: Gva<KDPC>,
        DeferredRoutine: Gva<Code>,
        DeferredContext: Gva,
    ) -> Result<(), Fault> {
        dpc::initialize(
            cx,
            Dpc,
            dpc::DPC_OBJECT,
            DeferredRoutine,
            DeferredContext.cast(),
        )
    }

    /// Initialises a threaded DPC.
    #[page("wdm/nf-wdm-keinitializethreadeddpc")]
    #[irql(any)]
    fn KeInitializeThreadedDpc(
        cx: &mut Machine,
        Dpc: Gva<KDPC>,
        DeferredRoutine: Gva<Code>,
        DeferredContext: Gva,
    ) -> Result<(), Fault> {
        dpc::initialize(
            cx,
            Dpc,
            dpc::THREADED_DPC_OBJECT,
            DeferredRoutine,
            DeferredContext.cast(),
        )
    }

    /// Queues a DPC; FALSE if it is queued already.
    #[page("wdm/nf-wdm-keinsertqueuedpc")]
    #[irql(any)]
    #[returns(bool)]
    fn KeInsertQueueDpc(
        cx: &mut Machine,
        Dpc: Gva<KDPC>,
        SystemArgument1: Gva,
        SystemArgument2: Gva,
    ) -> Result<Flow, Fault> {
        cx.memory.get(Dpc, KDPC::DeferredRoutine)?;
        if let Some(number) = dpc::wrong_target(cx, Dpc) {
            // TIMER_OR_DPC_INVALID, its cause 3.
            let count = cx.processors.len() as u64;
            let parameters = [3, Dpc.raw(), u64::from(number), count];
            return Ok(Flow::Bugcheck(TIMER_OR_DPC_INVALID, parameters));
        }
        let queued = dpc::insert(cx, Dpc, SystemArgument1.raw(), SystemArgument2.raw());
        Ok(Flow::Return(u64::from(queued)))
    }

    /// Takes a DPC off its queue.
    #[page("wdm/nf-wdm-keremovequeuedpc")]
    #[irql(any)]
    fn KeRemoveQueueDpc(cx: &mut Machine, Dpc: Gva<KDPC>) -> bool {
        dpc::remove(cx, Dpc)
    }

    /// Chooses the processor for a DPC.
    #[page("wdm/nf-wdm-kesettargetprocessordpc")]
    #[irql(any)]
    fn KeSetTargetProcessorDpc(cx: &mut Machine, Dpc: Gva<KDPC>, Number: i8) -> Result<(), Fault> {
        cx.memory
            .set(Dpc, KDPC::Number, dpc::TARGETED + u16::from(Number as u8))
    }

    /// Chooses the processor for a DPC by group and number.
    #[page("wdm/nf-wdm-kesettargetprocessordpcex")]
    #[irql(any)]
    fn KeSetTargetProcessorDpcEx(
        cx: &mut Machine,
        Dpc: Gva<KDPC>,
        ProcNumber: Gva<PROCESSOR_NUMBER>,
    ) -> Result<NTSTATUS, Fault> {
        let Some(index) = super::processors::index_of(cx, ProcNumber)? else {
            return Ok(STATUS_INVALID_PARAMETER);
        };
        cx.memory
            .set(Dpc, KDPC::Number, dpc::TARGETED + index as u16)?;
        Ok(STATUS_SUCCESS)
    }

    /// Chooses where in its queue a DPC goes.
    #[page("wdm/nf-wdm-kesetimportancedpc")]
    #[irql(any)]
    fn KeSetImportanceDpc(cx: &mut Machine, Dpc: Gva<KDPC>, Importance: u32) -> Result<(), Fault> {
        cx.memory.set(Dpc, KDPC::Importance, Importance as u8)
    }

    /// Waits until every DPC that is queued has run.
    #[page("wdm/nf-wdm-keflushqueueddpcs")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(())]
    fn KeFlushQueuedDpcs(cx: &mut Machine) -> Flow {
        let _ = &cx;
        Flow::Become(super::threaded_dpc::flush())
    }

    /// Initialises a notification timer.
    #[page("wdm/nf-wdm-keinitializetimer")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeInitializeTimer(cx: &mut Machine, Timer: Gva<KTIMER>) -> Result<(), Fault> {
        cx.memory.fill(Timer, KTIMER::SIZE, 0)?;
        initialize_header(cx, Timer.cast(), kind::TIMER_NOTIFICATION, KTIMER::SIZE, 0)
    }

    /// Initialises a timer of either type.
    #[page("wdm/nf-wdm-keinitializetimerex")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeInitializeTimerEx(cx: &mut Machine, Timer: Gva<KTIMER>, Type: u32) -> Result<(), Fault> {
        cx.memory.fill(Timer, KTIMER::SIZE, 0)?;
        let kind = if Type == 0 {
            kind::TIMER_NOTIFICATION
        } else {
            kind::TIMER_SYNCHRONIZATION
        };
        initialize_header(cx, Timer.cast(), kind, KTIMER::SIZE, 0)
    }

    /// Sets a one-shot timer; TRUE if it was set.
    #[page("wdm/nf-wdm-kesettimer")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeSetTimer(
        cx: &mut Machine,
        Timer: Gva<KTIMER>,
        DueTime: i64,
        Dpc: Gva<KDPC>,
    ) -> Result<bool, Fault> {
        set_timer(cx, Timer, DueTime, 0, Dpc)
    }

    /// Sets a timer with a period in milliseconds; TRUE if it was set.
    #[page("wdm/nf-wdm-kesettimerex")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeSetTimerEx(
        cx: &mut Machine,
        Timer: Gva<KTIMER>,
        DueTime: i64,
        Period: i32,
        Dpc: Gva<KDPC>,
    ) -> Result<bool, Fault> {
        set_timer(cx, Timer, DueTime, Period.max(0) as u32, Dpc)
    }

    /// Sets a timer that may be late by a tolerance in milliseconds.
    #[page("wdm/nf-wdm-kesetcoalescabletimer")]
    #[irql(..=DISPATCH_LEVEL)]
    #[partial("the tolerance is ignored: timers are always on time")]
    fn KeSetCoalescableTimer(
        cx: &mut Machine,
        Timer: Gva<KTIMER>,
        DueTime: i64,
        Period: u32,
        TolerableDelay: u32,
        Dpc: Gva<KDPC>,
    ) -> Result<bool, Fault> {
        let _ = TolerableDelay;
        set_timer(cx, Timer, DueTime, Period, Dpc)
    }

    /// Takes a timer off; TRUE if it was set. A DPC that it has queued already still runs.
    #[page("wdm/nf-wdm-kecanceltimer")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeCancelTimer(cx: &mut Machine, Timer: Gva<KTIMER>) -> Result<bool, Fault> {
        DISPATCHER_HEADER::Inserted.write(&mut cx.memory, Timer.cast(), 0)?;
        Ok(cx.ke.timers.cancel(Timer))
    }

    /// TRUE if a timer is signalled.
    #[page("wdm/nf-wdm-kereadstatetimer")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeReadStateTimer(cx: &mut Machine, Timer: Gva<KTIMER>) -> Result<bool, Fault> {
        let state: i32 = cx
            .memory
            .get(Timer.cast(), DISPATCHER_HEADER::SignalState)?;
        Ok(state != 0)
    }
}
