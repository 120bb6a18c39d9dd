//! Asynchronous procedure calls: the queues of a thread, and their delivery.
//!
//! Documentation: "Types of APCs", "Disabling APCs", "Critical Regions and Guarded Regions", "Do waiting
//! threads receive alerts and APCs?". The queues are lists in guest memory, in the thread's KAPC_STATE.

use ring3_macros::resumable;
use ring3_memory::{Fault, Gva};

use super::list;
use crate::Machine;
use crate::export::irql::{APC_LEVEL, PASSIVE_LEVEL};
use crate::flow::{Flow, Key};
use crate::layout::{KAPC, KAPC_STATE, KTHREAD, LIST_ENTRY};
use crate::machine::context::ThreadContext;
use crate::machine::finding::Severity;
use crate::machine::thread::{InterruptedWait, ThreadId, ThreadState};
use crate::machine::wait::Wait;
use crate::ntstatus::{STATUS_TIMEOUT, STATUS_USER_APC};

/// The normal routine of the APC that suspends its thread.
pub const SCHEDULER_APC: &str = "KiSchedulerApc";
/// Bytes of stack that the delivery keeps for itself: the four values that a kernel routine may change.
pub const LOCALS: u64 = 0x20;
/// `KAPC.ApcMode` of user APCs.
pub const USER_MODE: i8 = 1;

/// The head of a queue: 0 for kernel APCs, 1 for user APCs.
fn head(thread: Gva<KTHREAD>, mode: i8) -> Gva<LIST_ENTRY> {
    let heads = thread
        .at(KTHREAD::ApcState)
        .at(KAPC_STATE::ApcListHead)
        .cast::<LIST_ENTRY>();
    heads.byte_add(LIST_ENTRY::SIZE * u64::from(mode == USER_MODE))
}

/// The APC of a list entry.
fn apc_of(entry: Gva<LIST_ENTRY>) -> Gva<KAPC> {
    entry.byte_sub(KAPC::ApcListEntry.offset().into()).cast()
}

fn is_special(cx: &Machine, apc: Gva<KAPC>) -> bool {
    cx.memory
        .get(apc, KAPC::NormalRoutine)
        .unwrap_or(Gva::NULL)
        .is_null()
}

fn object_of(cx: &Machine, thread: ThreadId) -> Gva<KTHREAD> {
    cx.thread_by(thread).object.cast()
}

/// The two counters of a thread together: `KTHREAD.CombinedApcDisable`.
#[must_use]
pub fn combined_disable(cx: &Machine, thread: Gva<KTHREAD>) -> u32 {
    cx.memory
        .get(thread, KTHREAD::CombinedApcDisable)
        .unwrap_or(0)
}

/// Whether a thread would get a kernel APC if it ran at PASSIVE_LEVEL.
#[must_use]
pub fn deliverable(cx: &Machine, thread: ThreadId) -> bool {
    if !cx.thread_by(thread).apc_pending {
        return false;
    }
    let object = object_of(cx, thread);
    let first = cx
        .memory
        .get(head(object, 0), LIST_ENTRY::Flink)
        .unwrap_or(Gva::NULL);
    if first.is_null() || first == head(object, 0) {
        return false;
    }
    may_run(cx, object, apc_of(first))
}

/// Whether the regions that a thread is in, and the APC that it runs, let an APC through.
fn may_run(cx: &Machine, thread: Gva<KTHREAD>, apc: Gva<KAPC>) -> bool {
    let disable = combined_disable(cx, thread);
    // The upper half counts guarded regions, the lower one critical regions.
    if disable >> 16 != 0 {
        return false;
    }
    if is_special(cx, apc) {
        return true;
    }
    let state = thread.at(KTHREAD::ApcState);
    let running = KAPC_STATE::KernelApcInProgress
        .read(&cx.memory, state)
        .unwrap_or(0);
    disable == 0 && running == 0
}

/// Queues an APC that its owner has initialised. False if it is queued already, or its thread has ended.
///
/// # Errors
/// A fault if the APC cannot be used.
pub fn insert(
    cx: &mut Machine,
    apc: Gva<KAPC>,
    arguments: [Gva; 2],
    increment: i32,
) -> Result<bool, Fault> {
    let object = cx.memory.get(apc, KAPC::Thread)?;
    let mode = cx.memory.get(apc, KAPC::ApcMode)?;
    let inserted = cx.memory.get(apc, KAPC::Inserted)? != 0;
    let target = cx
        .thread_of_object(object.raw())
        .filter(|t| t.state != ThreadState::Terminated)
        .map(|t| t.id);
    let Some(target) = target.filter(|_| !inserted) else {
        return Ok(false);
    };
    cx.memory.set(apc, KAPC::SystemArgument1, arguments[0])?;
    cx.memory.set(apc, KAPC::SystemArgument2, arguments[1])?;
    cx.memory.set(apc, KAPC::Inserted, 1u8)?;
    let queue = head(object, mode);
    // Special kernel APCs go before normal ones, behind their like.
    let special = mode != USER_MODE && is_special(cx, apc);
    let next = list::entries(&cx.memory, queue)
        .into_iter()
        .find(|e| special && !is_special(cx, apc_of(*e)))
        .unwrap_or(queue);
    list::insert_before(&mut cx.memory, next, apc.at(KAPC::ApcListEntry))?;
    cx.trace
        .event("apc", &[apc.raw(), u64::from(target.0), mode as u64]);
    let state = object.at(KTHREAD::ApcState);
    if mode == USER_MODE {
        if waits_for_user_apcs(cx, target) {
            KAPC_STATE::UserApcPending.write(&mut cx.memory, state, 1)?;
            cx.thread_by_mut(target).user_apc = true;
            cx.ke.apcs_used = true;
            cx.boost(target, increment);
            cx.make_ready(target, u64::from(STATUS_USER_APC.0));
        }
        return Ok(true);
    }
    cx.memory.set(state, KAPC_STATE::KernelApcPending, 1u8)?;
    cx.thread_by_mut(target).apc_pending = true;
    cx.ke.apcs_used = true;
    interrupt_wait(cx, target);
    Ok(true)
}

/// Takes an APC off its queue. False if it is not queued.
///
/// # Errors
/// A fault if the APC cannot be used.
pub fn remove(cx: &mut Machine, apc: Gva<KAPC>) -> Result<bool, Fault> {
    if cx.memory.get(apc, KAPC::Inserted)? == 0 {
        return Ok(false);
    }
    list::remove(&mut cx.memory, apc.at(KAPC::ApcListEntry))?;
    cx.memory.set(apc, KAPC::Inserted, 0u8)?;
    Ok(true)
}

/// Whether a thread is in a wait that a user APC ends: an alertable one in user mode.
fn waits_for_user_apcs(cx: &Machine, thread: ThreadId) -> bool {
    let mode = cx
        .memory
        .get(object_of(cx, thread), KTHREAD::WaitMode)
        .unwrap_or(0);
    mode == USER_MODE
        && matches!(
            &cx.thread_by(thread).state,
            ThreadState::Waiting(
                Wait::Objects {
                    alertable: true,
                    ..
                },
                _
            )
        )
}

/// Whether user APCs are queued to a thread.
#[must_use]
pub fn has_user_apcs(cx: &Machine, thread: ThreadId) -> bool {
    !list::entries(&cx.memory, head(object_of(cx, thread), USER_MODE)).is_empty()
}

/// If a blocked thread can get its kernel APC, it leaves its wait for it and waits again afterwards.
pub fn interrupt_wait(cx: &mut Machine, thread: ThreadId) {
    let found = cx.thread_by(thread);
    let ThreadState::Waiting(wait, _) = &found.state else {
        return;
    };
    if found.context.irql >= APC_LEVEL || !deliverable(cx, thread) {
        return;
    }
    let wait = wait.clone();
    let since = cx.next_wait_number();
    cx.ke.apcs_used = true;
    let target = cx.thread_by_mut(thread);
    target
        .interrupted
        .push(InterruptedWait { wait, result: None });
    target.apc_wake = true;
    target.state = ThreadState::Ready;
    target.ready_since = since;
}

/// After an APC: the interrupted wait is over if its condition holds by now, else it goes on.
pub fn resume_wait(cx: &mut Machine, mut context: Box<ThreadContext>) -> Flow {
    let Some(interrupted) = cx.thread_mut().interrupted.pop() else {
        return Flow::Restore(context);
    };
    let now = cx.clock.now();
    let over = |due: Option<u64>| due.is_some_and(|due| due <= now);
    let thread = cx.thread().id;
    let result = interrupted.result.or_else(|| match &interrupted.wait {
        Wait::Objects {
            objects, all, due, ..
        } => super::dispatcher::try_satisfy(cx, objects, *all, thread)
            .or_else(|| over(*due).then_some(u64::from(STATUS_TIMEOUT.0))),
        Wait::Until(due) => over(Some(*due)).then_some(0),
        Wait::On(_) => None,
    });
    match result {
        Some(result) => {
            context.gpr[ring3_x64::RAX] = result;
            Flow::Restore(context)
        }
        None => Flow::Rewait(context, interrupted.wait),
    }
}

/// An APC that has been taken off its queue.
#[derive(Clone, Copy, Hash, Debug, Default)]
pub struct Taken {
    apc: u64,
    kernel_routine: u64,
    /// Normal routine, its context, and the two system arguments.
    values: [u64; 4],
    special: bool,
}

/// Takes the first APC of a queue off, if it may run now.
fn take(cx: &mut Machine, mode: i8) -> Option<Taken> {
    let thread = cx.thread().object.cast::<KTHREAD>();
    let queue = head(thread, mode);
    let first = list::entries(&cx.memory, queue).first().copied();
    let Some(first) = first else {
        if mode != USER_MODE {
            let state = thread.at(KTHREAD::ApcState);
            let _ = cx.memory.set(state, KAPC_STATE::KernelApcPending, 0u8);
            cx.thread_mut().apc_pending = false;
        }
        return None;
    };
    let apc = apc_of(first);
    if mode != USER_MODE && !may_run(cx, thread, apc) {
        return None;
    }
    let special = is_special(cx, apc);
    remove(cx, apc).ok()?;
    let m = &cx.memory;
    let taken = Taken {
        apc: apc.raw(),
        kernel_routine: m.get(apc, KAPC::KernelRoutine).ok()?.raw(),
        values: [
            m.get(apc, KAPC::NormalRoutine).ok()?.raw(),
            m.get(apc, KAPC::NormalContext).ok()?.raw(),
            m.get(apc, KAPC::SystemArgument1).ok()?.raw(),
            m.get(apc, KAPC::SystemArgument2).ok()?.raw(),
        ],
        special,
    };
    cx.trace
        .event("apc-run", &[taken.apc, taken.kernel_routine]);
    if cx.trace.set.interrupt {
        let name = cx.symbolize(taken.kernel_routine);
        cx.trace_line(format!("APC {:#x}: {name}", taken.apc));
    }
    Some(taken)
}

fn read_values(cx: &Machine, locals: u64) -> [u64; 4] {
    std::array::from_fn(|i| cx.memory.read(Gva::new(locals + 8 * i as u64)).unwrap_or(0))
}

fn set_in_progress(cx: &mut Machine, value: u64) {
    let state = cx.thread().object.cast::<KTHREAD>().at(KTHREAD::ApcState);
    let _ = KAPC_STATE::KernelApcInProgress.write(&mut cx.memory, state, value);
}

/// Calls the kernel routine of an APC with pointers to the four words at `locals`, which it may change. It must return
/// at the level at which it was called.
#[resumable]
fn call_kernel_routine(cx: &mut Machine, taken: Taken, locals: u64) {
    for (i, value) in taken.values.into_iter().enumerate() {
        let _ = cx.memory.write(Gva::new(locals + 8 * i as u64), value);
    }
    call!(
        taken.kernel_routine,
        taken.apc,
        locals,
        locals + 8,
        locals + 16,
        locals + 24
    );
    let level = cx.irql();
    if level != APC_LEVEL {
        let name = cx.symbolize(taken.kernel_routine);
        let text = format!("the kernel routine {name} of an APC returned at IRQL {level}");
        cx.report("irql/apc-changed", Severity::Error, text);
        cx.set_irql(APC_LEVEL);
    }
}

/// Delivers the kernel APCs of the current thread that may run. The four words at `locals` are what a
/// kernel routine gets pointers to.
#[resumable]
pub fn deliver(cx: &mut Machine, locals: u64) -> Flow {
    while let Some(found) = take(cx, 0) {
        let taken: Taken = found;
        if super::suspend::is_scheduler_apc(cx, taken.apc) {
            set_in_progress(cx, 1);
            cx.set_irql(PASSIVE_LEVEL);
            while super::suspend::is_suspended(cx) {
                wait!(Wait::On(Key::new("suspended", u64::from(cx.thread().id.0))));
            }
            cx.set_irql(APC_LEVEL);
            set_in_progress(cx, 0);
            continue;
        }
        host!(call_kernel_routine(taken, locals));
        let values: [u64; 4] = read_values(cx, locals);
        if !taken.special && values[0] != 0 {
            set_in_progress(cx, 1);
            cx.set_irql(PASSIVE_LEVEL);
            call!(values[0], values[1], values[2], values[3]);
            cx.set_irql(APC_LEVEL);
            set_in_progress(cx, 0);
        }
    }
    Flow::Return(0)
}

/// Delivers the user APCs of the current thread on its way to user mode: their kernel routines.
#[resumable]
pub fn deliver_user(cx: &mut Machine, locals: u64) -> Flow {
    while let Some(found) = take(cx, USER_MODE) {
        let taken: Taken = found;
        host!(call_kernel_routine(taken, locals));
        if read_values(cx, locals)[0] != 0 {
            return Flow::NotModelled("the normal routine of a user APC: user-mode code".into());
        }
    }
    let state = cx.thread().object.cast::<KTHREAD>().at(KTHREAD::ApcState);
    let _ = KAPC_STATE::UserApcPending.write(&mut cx.memory, state, 0);
    Flow::Return(0)
}
