//! The end of a process. Documentation: "Handling IRPs in a Cancel Routine", "IRP_MJ_CLEANUP".

use ring3_macros::resumable;
use ring3_memory::Gva;

use super::cancel::cancel_irp;
use super::open;
use crate::Machine;
use crate::flow::Key;
use crate::layout::IRP;
use crate::machine::thread::{ProcessId, ThreadState};
use crate::machine::wait::Wait;
use crate::ntstatus::{NTSTATUS, STATUS_SUCCESS};

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
pub fn exit_process(cx: &mut Machine) -> NTSTATUS {
    let process: ProcessId = cx.thread().process;
    if process == ProcessId::SYSTEM {
        return STATUS_SUCCESS;
    }
    if let Some(found) = cx.processes.get_mut(&process) {
        found.exited = true;
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
    while let Some(handle) = next_handle(cx, process) {
        host!(open::close_handle(handle));
    }
    let threads: Vec<u64> = cx
        .threads
        .values()
        .filter(|t| t.process == process && t.state != ThreadState::Terminated)
        .map(|t| u64::from(t.id.0))
        .collect();
    for thread in threads {
        cx.wake(Key::new("user-thread", thread));
    }
    STATUS_SUCCESS
}

fn next_handle(cx: &Machine, process: ProcessId) -> Option<u64> {
    cx.ob
        .handles
        .range((process, 0)..=(process, u64::MAX))
        .next()
        .map(|((_, value), _)| *value)
}
