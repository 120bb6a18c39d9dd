//! System worker threads and their queue. Documentation: "System Worker Threads", ExQueueWorkItem.

use std::collections::{BTreeMap, VecDeque};

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::flow::{Flow, Key, Wall};
use crate::ke::exit_check::{self, CallType};
use crate::layout::{LIST_ENTRY, WORK_QUEUE_ITEM};
use crate::machine::finding::Severity;
use crate::machine::thread::{ProcessId, ThreadId, ThreadState};
use crate::machine::wait::Wait;
use crate::ps::attach;

/// Workers at most; more are not made though items wait.
const MOST_WORKERS: usize = 8;
/// What waits for the end of items waits for this.
pub const DONE: Key = Key::new("work-done", 0);
/// What idle workers wait for.
const QUEUE: Key = Key::new("work-queue", 0);
/// `SYSTEM_THREAD_EXCEPTION_NOT_HANDLED`.
const SYSTEM_THREAD_EXCEPTION_NOT_HANDLED: u32 = 0x7e;
/// `WORKER_THREAD_RETURNED_AT_BAD_IRQL`.
const WORKER_THREAD_RETURNED_AT_BAD_IRQL: u32 = 0xe1;

/// Something for a worker to do.
#[derive(Clone, Hash, Debug, PartialEq, Eq, Default)]
pub struct Work {
    /// The item in guest memory.
    pub item: u64,
    /// What is called.
    pub routine: u64,
    /// With these arguments.
    pub arguments: Vec<u64>,
    /// An object that is referenced until the routine has returned; 0 for none.
    pub object: u64,
    /// Priority of the thread while it runs the item.
    pub priority: u8,
    /// Who queued it: a return address.
    pub owner: u64,
}

/// The queue.
#[derive(Clone, Hash, Debug, Default)]
pub struct WorkQueue {
    items: VecDeque<Work>,
    workers: Vec<ThreadId>,
    running: BTreeMap<ThreadId, Work>,
}

impl WorkQueue {
    /// The item that is queued and not yet taken.
    #[must_use]
    pub fn queued(&self, item: u64) -> Option<&Work> {
        self.items.iter().find(|w| w.item == item)
    }

    /// Everything queued or being run.
    pub fn pending(&self) -> impl Iterator<Item = &Work> {
        self.items.iter().chain(self.running.values())
    }
}

/// The thread priority for a `WORK_QUEUE_TYPE`: critical 0, delayed 1, hypercritical 2, else the priority
/// itself above 32 (CustomPriorityWorkQueue).
#[must_use]
pub fn priority(kind: u32) -> u8 {
    match kind {
        0 => 13,
        2 => 15,
        32..64 => (kind - 32) as u8,
        _ => 12,
    }
}

/// Queues work; wakes or makes a worker.
pub fn enqueue(cx: &mut Machine, work: Work) {
    cx.trace.event("work", &[work.item, work.routine]);
    let at = cx
        .ex
        .work
        .items
        .iter()
        .position(|w| w.priority < work.priority);
    match at {
        Some(at) => cx.ex.work.items.insert(at, work),
        None => cx.ex.work.items.push_back(work),
    }
    let idle = cx.ex.work.workers.iter().any(|id| {
        matches!(&cx.thread_by(*id).state, ThreadState::Waiting(Wait::On(key), _) if *key == QUEUE)
    });
    if !idle && cx.ex.work.workers.len() < MOST_WORKERS {
        let name = format!("worker {}", cx.ex.work.workers.len());
        if let Some(id) = cx.create_thread(ProcessId::SYSTEM, &name, worker()) {
            cx.ex.work.workers.push(id);
        }
    }
    cx.wake(QUEUE);
}

/// The life of a worker.
#[resumable(
    fn wall(&self) -> Option<Wall> {
        Some(Wall::Bugcheck(SYSTEM_THREAD_EXCEPTION_NOT_HANDLED))
    }
)]
fn worker(cx: &mut Machine) -> Flow {
    let thread: ThreadId = cx.thread().id;
    loop {
        let Some(next) = cx.ex.work.items.pop_front() else {
            wait!(Wait::On(QUEUE));
            continue;
        };
        let work: Work = next;
        // Once taken off the queue an item may be queued again or freed, even by its own routine.
        let list = Gva::<WORK_QUEUE_ITEM>::new(work.item).at(WORK_QUEUE_ITEM::List);
        let _ = cx.memory.set(list, LIST_ENTRY::Flink, Gva::NULL);
        cx.ex.work.running.insert(thread, work.clone());
        cx.thread_mut().priority = work.priority;
        call!(
            work.routine,
            argument(&work, 0),
            argument(&work, 1),
            argument(&work, 2)
        );
        let level = cx.irql();
        if level != 0 {
            return Flow::Bugcheck(
                WORKER_THREAD_RETURNED_AT_BAD_IRQL,
                [
                    work.routine,
                    u64::from(level),
                    argument(&work, 0),
                    work.item,
                ],
            );
        }
        if let Some(flow) = attach::left_attached(cx, attach::Returned::Worker(work.routine)) {
            return flow;
        }
        if let Some(bugcheck) = exit_check::on_exit(cx, work.routine, CallType::WorkerRoutine) {
            return bugcheck;
        }
        cx.ex.work.running.remove(&thread);
        if work.object != 0 {
            cx.dereference_object(work.object);
        }
        cx.wake(DONE);
    }
}

fn argument(work: &Work, n: usize) -> u64 {
    work.arguments.get(n).copied().unwrap_or(0)
}

/// Queues the WORK_QUEUE_ITEM of a driver.
///
/// # Errors
/// A fault if it cannot be used.
pub fn queue_item(cx: &mut Machine, item: Gva<WORK_QUEUE_ITEM>, queue: u32) -> Result<(), Fault> {
    let routine = cx.memory.get(item, WORK_QUEUE_ITEM::WorkerRoutine)?.raw();
    let parameter = cx.memory.get(item, WORK_QUEUE_ITEM::Parameter)?.raw();
    if cx.ex.work.queued(item.raw()).is_some() {
        let text = format!(
            "the work item {:#x} is queued while it is in the queue",
            item.raw()
        );
        cx.report("work-item/queued-twice", Severity::Error, text);
        return Ok(());
    }
    // Not NULL while queued, as the list entry of a real queue.
    let list = item.at(WORK_QUEUE_ITEM::List);
    crate::ke::list::initialize(&mut cx.memory, list)?;
    let work = Work {
        item: item.raw(),
        routine,
        arguments: vec![parameter],
        object: 0,
        priority: priority(queue),
        owner: cx.caller,
    };
    enqueue(cx, work);
    Ok(())
}

/// Routines on work items.
pub struct WorkQueues;

#[exports("ntoskrnl.exe")]
impl WorkQueues {
    /// Queues an item for a system worker thread.
    #[page("wdm/nf-wdm-exqueueworkitem")]
    #[irql(..=DISPATCH_LEVEL)]
    fn ExQueueWorkItem(
        cx: &mut Machine,
        WorkItem: Gva<WORK_QUEUE_ITEM>,
        QueueType: u32,
    ) -> Result<(), Fault> {
        queue_item(cx, WorkItem, QueueType)
    }
}
