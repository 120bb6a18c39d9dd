//! Deferred procedure calls: the queues, and the routine that runs them.

use ring3_macros::resumable;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::bugcheck_codes::TIMER_OR_DPC_INVALID;
use crate::export::argument::Code;
use crate::export::irql::DISPATCH_LEVEL;
use crate::flow::Flow;
use crate::ke::apc;
use crate::layout::KDPC;
use crate::machine::finding::Severity;
use crate::machine::processor::Processor;

/// `KDPC.Importance`: high importance goes to the head of the queue.
const HIGH_IMPORTANCE: u8 = 2;
/// `KDPC.Type`: DpcObject of the KOBJECTS enumeration.
pub const DPC_OBJECT: u8 = 0x13;
/// `KDPC.Type`: ThreadedDpcObject of the KOBJECTS enumeration.
pub const THREADED_DPC_OBJECT: u8 = 0x18;
/// `KDPC.Number` values from here on name a target processor.
pub const TARGETED: u16 = 0x800;

/// Writes a fresh DPC object.
///
/// # Errors
/// A fault if it cannot be written.
pub fn initialize(
    cx: &mut Machine,
    dpc: Gva<KDPC>,
    kind: u8,
    routine: Gva<Code>,
    context: Gva,
) -> Result<(), Fault> {
    cx.memory.fill(dpc, KDPC::SIZE, 0)?;
    cx.memory.set(dpc, KDPC::Type, kind)?;
    // MediumImportance.
    cx.memory.set(dpc, KDPC::Importance, 1u8)?;
    cx.memory.set(dpc, KDPC::DeferredRoutine, routine)?;
    cx.memory.set(dpc, KDPC::DeferredContext, context.cast())
}

/// The processor that a DPC is bound to, though there is none with that number.
#[must_use]
pub fn wrong_target(cx: &Machine, dpc: Gva<KDPC>) -> Option<u16> {
    let number = cx.memory.get(dpc, KDPC::Number).ok()?;
    number
        .checked_sub(TARGETED)
        .filter(|n| usize::from(*n) >= cx.processors.len())
}

/// Queues a DPC on the current or its target processor. False if it is queued already.
pub fn insert(cx: &mut Machine, dpc: Gva<KDPC>, argument1: u64, argument2: u64) -> bool {
    let queued = |p: &Processor| p.dpcs.contains(&dpc) || p.threaded_dpcs.contains(&dpc);
    if cx.processors.iter().any(queued) {
        return false;
    }
    let number = cx.memory.get(dpc, KDPC::Number).unwrap_or(0);
    let importance = cx.memory.get(dpc, KDPC::Importance).unwrap_or(1);
    let threaded = cx.memory.get(dpc, KDPC::Type) == Ok(THREADED_DPC_OBJECT);
    let target = match number.checked_sub(TARGETED) {
        Some(n) if usize::from(n) < cx.processors.len() => usize::from(n),
        _ => cx.current,
    };
    let queue = cx.processors[target].kpcr.raw();
    let written = cx
        .memory
        .set(dpc, KDPC::SystemArgument1, Gva::new(argument1))
        .and_then(|()| {
            cx.memory
                .set(dpc, KDPC::SystemArgument2, Gva::new(argument2))
        })
        .and_then(|()| cx.memory.set(dpc, KDPC::DpcData, Gva::new(queue)));
    if written.is_err() {
        return false;
    }
    let processor = &mut cx.processors[target];
    let queue = if threaded {
        &mut processor.threaded_dpcs
    } else {
        &mut processor.dpcs
    };
    if importance == HIGH_IMPORTANCE {
        queue.push_front(dpc);
    } else {
        queue.push_back(dpc);
    }
    if threaded {
        super::threaded_dpc::wake(cx, target);
    }
    true
}

/// Takes a DPC off its queue. True if it was queued.
pub fn remove(cx: &mut Machine, dpc: Gva<KDPC>) -> bool {
    for processor in &mut cx.processors {
        let before = processor.dpcs.len() + processor.threaded_dpcs.len();
        processor.dpcs.retain(|d| *d != dpc);
        processor.threaded_dpcs.retain(|d| *d != dpc);
        if processor.dpcs.len() + processor.threaded_dpcs.len() != before {
            let _ = cx.memory.set(dpc, KDPC::DpcData, Gva::NULL);
            cx.ke.timer_dpcs.remove(&dpc.raw());
            return true;
        }
    }
    false
}

/// A routine and its four arguments.
type Call = (u64, [u64; 4]);

/// The next DPC of the current processor, with the arguments its routine gets.
fn next(cx: &mut Machine) -> Option<Call> {
    let processor = cx.processor_mut();
    processor.ticks_in_dpc = 0;
    let dpc = processor.dpcs.pop_front()?;
    if let Some(call) = super::ex_timer::expired(cx, dpc) {
        return Some(call);
    }
    take(cx, dpc)
}

/// The next threaded DPC of a processor.
pub(super) fn next_threaded(cx: &mut Machine, number: usize) -> Option<Call> {
    let dpc = cx.processors.get_mut(number)?.threaded_dpcs.pop_front()?;
    take(cx, dpc)
}

fn take(cx: &mut Machine, dpc: Gva<KDPC>) -> Option<Call> {
    let m = &mut cx.memory;
    // Once taken off the queue the object may be queued again, even by its own routine.
    let _ = m.set(dpc, KDPC::DpcData, Gva::NULL);
    let routine = m.get(dpc, KDPC::DeferredRoutine).ok()?;
    let context = m.get(dpc, KDPC::DeferredContext).ok()?;
    let argument1 = m.get(dpc, KDPC::SystemArgument1).ok()?;
    let argument2 = m.get(dpc, KDPC::SystemArgument2).ok()?;
    Some((
        routine.raw(),
        [dpc.raw(), context.raw(), argument1.raw(), argument2.raw()],
    ))
}

/// Runs the queued DPCs of the current processor until there are none.
#[resumable(
    fn on_unwind(&mut self, cx: &mut Machine) {
        cx.processor_mut().dpc_active = false;
    }
)]
pub fn retire_dpcs(cx: &mut Machine) -> Flow {
    while let Some((routine, [dpc, context, argument1, argument2])) = next(cx) {
        cx.trace.event("dpc", &[dpc, routine]);
        if cx.trace.set.interrupt {
            let name = cx.symbolize(routine);
            cx.trace_line(format!("DPC {dpc:#x}: {name}"));
        }
        let called: u64 = routine;
        let of_timer: bool = cx.ke.timer_dpcs.remove(&dpc);
        let before: u32 = apc::combined_disable(cx, cx.thread().object.cast());
        call!(routine, dpc, context, argument1, argument2);
        let after = apc::combined_disable(cx, cx.thread().object.cast());
        if after != before {
            // TIMER_OR_DPC_INVALID, its causes 4 and 5.
            let cause = 4 + u64::from(of_timer);
            let parameters = [cause, called, u64::from(before), u64::from(after)];
            return Flow::Bugcheck(TIMER_OR_DPC_INVALID, parameters);
        }
        let level = cx.irql();
        if level != DISPATCH_LEVEL {
            cx.report(
                "irql/dpc-changed",
                Severity::Error,
                format!("a DPC routine returned at IRQL {level}"),
            );
            cx.set_irql(DISPATCH_LEVEL);
        }
    }
    Flow::Return(0)
}
