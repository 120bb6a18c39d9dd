//! Threaded DPCs, and waiting for DPCs. Documentation: "Introduction to Threaded DPCs", KeFlushQueuedDpcs.
//!
//! Each processor has a thread of the highest priority that runs its threaded DPCs at PASSIVE_LEVEL.

use std::collections::{BTreeMap, BTreeSet};

use ring3_macros::resumable;

use super::dpc;
use crate::Machine;
use crate::flow::{Key, Wall};
use crate::machine::finding::Severity;
use crate::machine::thread::{ProcessId, ThreadId};
use crate::machine::wait::Wait;

/// `SYSTEM_THREAD_EXCEPTION_NOT_HANDLED`.
const SYSTEM_THREAD_EXCEPTION_NOT_HANDLED: u32 = 0x7e;
/// What KeFlushQueuedDpcs waits for.
const DRAINED: Key = Key::new("dpcs-drained", 0);
/// `HIGH_PRIORITY`.
const HIGH_PRIORITY: u8 = 31;

/// The threads.
#[derive(Clone, Hash, Debug, Default)]
pub struct DpcThreads {
    threads: BTreeMap<usize, ThreadId>,
    running: BTreeSet<usize>,
    /// Threads in KeFlushQueuedDpcs.
    flushing: u32,
}

fn queue_of(number: usize) -> Key {
    Key::new("threaded-dpc", number as u64)
}

/// Makes sure that a processor's threaded DPCs are run.
pub(super) fn wake(cx: &mut Machine, number: usize) {
    if !cx.ke.dpc_threads.threads.contains_key(&number) {
        let name = format!("threaded DPCs {number}");
        if let Some(id) = cx.create_thread(ProcessId::SYSTEM, &name, dpc_thread(number)) {
            cx.set_running_priority(id, HIGH_PRIORITY, 0);
            let thread = cx.thread_by_mut(id);
            thread.base_priority = HIGH_PRIORITY;
            thread.affinity = 1 << number;
            cx.ke.dpc_threads.threads.insert(number, id);
        }
    }
    cx.wake(queue_of(number));
}

/// The life of such a thread.
#[resumable(
    fn wall(&self) -> Option<Wall> {
        Some(Wall::Bugcheck(SYSTEM_THREAD_EXCEPTION_NOT_HANDLED))
    }
)]
fn dpc_thread(cx: &mut Machine, number: usize) -> u64 {
    loop {
        let Some((routine, [dpc, context, argument1, argument2])) = dpc::next_threaded(cx, number)
        else {
            wait!(Wait::On(queue_of(number)));
            continue;
        };
        cx.ke.dpc_threads.running.insert(number);
        cx.trace.event("threaded-dpc", &[dpc, routine]);
        call!(routine, dpc, context, argument1, argument2);
        let level = cx.irql();
        if level != 0 {
            cx.report(
                "irql/dpc-changed",
                Severity::Error,
                format!("a threaded DPC routine returned at IRQL {level}"),
            );
            cx.set_irql(0);
        }
        cx.ke.dpc_threads.running.remove(&number);
        drained(cx);
    }
}

/// Whether no DPC is queued or running.
fn all_done(cx: &Machine) -> bool {
    cx.ke.dpc_threads.running.is_empty()
        && cx
            .processors
            .iter()
            .all(|p| p.dpcs.is_empty() && p.threaded_dpcs.is_empty() && !p.dpc_active)
}

/// Tells threads in KeFlushQueuedDpcs that DPCs have come to an end.
pub(crate) fn drained(cx: &mut Machine) {
    if cx.ke.dpc_threads.flushing > 0 {
        cx.wake(DRAINED);
    }
}

/// Waits until no DPC is queued or running.
#[resumable]
pub(super) fn flush(cx: &mut Machine) -> u64 {
    while !all_done(cx) {
        cx.ke.dpc_threads.flushing += 1;
        wait!(Wait::On(DRAINED));
        cx.ke.dpc_threads.flushing -= 1;
    }
    crate::machine::SCRUBBED
}
