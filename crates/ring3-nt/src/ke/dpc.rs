//! Deferred procedure calls: the queues, and the routine that runs them.

use ring3_macros::resumable;
use ring3_memory::Gva;

use crate::Machine;
use crate::bugcheck_codes::TIMER_OR_DPC_INVALID;
use crate::export::irql::DISPATCH_LEVEL;
use crate::flow::Flow;
use crate::ke::apc;
use crate::layout::KDPC;
use crate::machine::finding::Severity;

/// `KDPC.Importance`: high importance goes to the head of the queue.
const HIGH_IMPORTANCE: u8 = 2;
/// `KDPC.Number` values from here on name a target processor.
const TARGETED: u16 = 0x800;

/// Queues a DPC on the current or its target processor. False if it is queued already.
pub fn insert(cx: &mut Machine, dpc: Gva<KDPC>, argument1: u64, argument2: u64) -> bool {
    if cx.processors.iter().any(|p| p.dpcs.contains(&dpc)) {
        return false;
    }
    let number = cx.memory.get(dpc, KDPC::Number).unwrap_or(0);
    let importance = cx.memory.get(dpc, KDPC::Importance).unwrap_or(1);
    let target = match number.checked_sub(TARGETED) {
        Some(n) if usize::from(n) < cx.processors.len() => usize::from(n),
        _ => cx.current,
    };
    let queued = cx.processors[target].kpcr.raw();
    let written = cx
        .memory
        .set(dpc, KDPC::SystemArgument1, Gva::new(argument1))
        .and_then(|()| {
            cx.memory
                .set(dpc, KDPC::SystemArgument2, Gva::new(argument2))
        })
        .and_then(|()| cx.memory.set(dpc, KDPC::DpcData, Gva::new(queued)));
    if written.is_err() {
        return false;
    }
    let queue = &mut cx.processors[target].dpcs;
    if importance == HIGH_IMPORTANCE {
        queue.push_front(dpc);
    } else {
        queue.push_back(dpc);
    }
    true
}

/// Takes a DPC off its queue. True if it was queued.
pub fn remove(cx: &mut Machine, dpc: Gva<KDPC>) -> bool {
    for processor in &mut cx.processors {
        if let Some(at) = processor.dpcs.iter().position(|d| *d == dpc) {
            processor.dpcs.remove(at);
            let _ = cx.memory.set(dpc, KDPC::DpcData, Gva::NULL);
            cx.ke.timer_dpcs.remove(&dpc.raw());
            return true;
        }
    }
    false
}

/// The next DPC of the current processor, with the arguments its routine gets.
fn next(cx: &mut Machine) -> Option<(u64, [u64; 4])> {
    let dpc = cx.processor_mut().dpcs.pop_front()?;
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
