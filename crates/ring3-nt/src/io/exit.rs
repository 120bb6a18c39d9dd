//! The end of a process. Documentation: "Handling IRPs in a Cancel Routine", "IRP_MJ_CLEANUP".

use ring3_macros::resumable;
use ring3_memory::Gva;

use super::cancel::cancel_irp;
use super::open;
use crate::Machine;
use crate::bugcheck_codes::PROCESS_HAS_LOCKED_PAGES;
use crate::flow::{Flow, Key};
use crate::layout::{EPROCESS, IRP};
use crate::machine::finding::Severity;
use crate::machine::thread::{ProcessId, ThreadId, ThreadState};
use crate::machine::wait::Wait;
use crate::ntstatus::STATUS_SUCCESS;

/// What a process has in flight.
fn in_flight(cx: &Machine, process: ProcessId) -> Vec<Gva<IRP>> {
    let mine = |o: &super::Operation| o.process == process && o.done.is_none();
    cx.io
        .operations
        .iter()
        .filter(|(_, o)| mine(o))
        .map(|(irp, _)| *irp)
        .collect()
}

/// Ends the current process: cancels what is in flight and waits for it, closes the handles, ends the threads.
#[resumable]
pub fn exit_process(cx: &mut Machine) -> Flow {
    let process: ProcessId = cx.thread().process;
    if process == ProcessId::SYSTEM {
        return Flow::Return(u64::from(STATUS_SUCCESS.0));
    }
    if let Some(found) = cx.processes.get_mut(&process) {
        found.exited = true;
    }
    let object: Gva<EPROCESS> = cx.process().object;
    while cx
        .ps
        .processes
        .get(&process)
        .is_some_and(|p| p.exit_holders > 0)
    {
        wait!(Wait::On(crate::ps::exit_key(process)));
    }
    cx.end_suspensions(process);
    let mut irps: Vec<Gva<IRP>> = in_flight(cx, process);
    while let Some(irp) = irps.pop() {
        if cx.io.operations.get(&irp).is_some_and(|o| o.done.is_none()) {
            host!(cancel_irp(irp));
        }
    }
    while !in_flight(cx, process).is_empty() {
        wait!(Wait::On(Key::new("process-io", u64::from(process.0))));
    }
    // The other threads end first; the last one tells of the end of the process.
    let own: ThreadId = cx.thread().id;
    let mut others: Vec<ThreadId> = cx
        .threads
        .values()
        .filter(|t| t.process == process && t.id != own && t.state != ThreadState::Terminated)
        .map(|t| t.id)
        .collect();
    for thread in &others {
        cx.wake(Key::new("user-thread", u64::from(thread.0)));
    }
    while let Some(other) = others.pop() {
        let thread: ThreadId = other;
        while cx.thread_by(thread).state != ThreadState::Terminated {
            wait!(Wait::On(Key::new("thread", u64::from(thread.0))));
        }
    }
    host!(crate::ps::notify::thread_ended());
    cx.ps.processes.entry(process).or_default().told_end = Some(own);
    host!(crate::ps::notify::process_ended(process));
    while let Some(handle) = next_handle(cx, process) {
        host!(open::close_handle(handle));
    }
    let _ = cx.memory.set(object, EPROCESS::ExitStatus, STATUS_SUCCESS);
    if let Some((pages, mdl)) = crate::mm::locked::left_in(cx, process) {
        let text = format!(
            "the process {} ends with {pages} pages locked, by the MDL {:#x}",
            cx.process().name,
            mdl.mdl
        );
        cx.report_at(
            "mdl/locked-at-exit",
            Severity::Error,
            text,
            mdl.owner.wrapping_sub(1),
        );
        return Flow::Bugcheck(PROCESS_HAS_LOCKED_PAGES, [0, object.raw(), pages, 0]);
    }
    crate::mm::virtual_memory::free_all(cx, process);
    crate::ke::dispatcher::signal(cx, object.cast(), 1);
    // The current thread ends when its request is done.
    cx.wake(Key::new("user-thread", u64::from(own.0)));
    Flow::Return(u64::from(STATUS_SUCCESS.0))
}

fn next_handle(cx: &Machine, process: ProcessId) -> Option<u64> {
    cx.ob
        .handles
        .range((process, 0)..=(process, u64::MAX))
        .next()
        .map(|((_, value), _)| *value)
}
