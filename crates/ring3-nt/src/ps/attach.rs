//! Attaching a thread to the address space of another process. Documentation: ntifs.h,
//! KeStackAttachProcess and its neighbours.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::bugcheck_codes::{APC_INDEX_MISMATCH, INVALID_PROCESS_ATTACH_ATTEMPT};
use crate::flow::Flow;
use crate::layout::{KAPC_STATE, KPROCESS, KTHREAD};
use crate::machine::finding::Severity;
use crate::machine::thread::ProcessId;

/// What a call leaves in `KAPC_STATE.Process` where the thread was not attached before: a value that is no
/// address.
const NOT_ATTACHED: u64 = 1;

/// What kind of routine returned, as bugcheck 0x01 tells it.
#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq)]
pub enum Returned {
    /// A system service, with its address or 0.
    Service(u64),
    /// A routine of a worker thread.
    Worker(u64),
}

/// The bugcheck of a thread that comes back attached to a process; `None` if it is not attached.
#[must_use]
pub fn left_attached(cx: &Machine, returned: Returned) -> Option<Flow> {
    let thread = cx.thread();
    if thread.attached.is_empty() {
        return None;
    }
    let disable = cx
        .memory
        .peek(
            thread
                .object
                .cast::<KTHREAD>()
                .at(KTHREAD::CombinedApcDisable),
        )
        .unwrap_or(0);
    let (address, kind) = match returned {
        Returned::Service(at) => (at, 0),
        Returned::Worker(at) => (at, 1),
    };
    Some(Flow::Bugcheck(
        APC_INDEX_MISMATCH,
        [address, 1, u64::from(disable), kind],
    ))
}

/// The bugcheck of a thread that ends attached: "the thread returned from certain function calls in an attached
/// state" is the second reason that the page of bugcheck 0x05 gives.
#[must_use]
pub fn ended_attached(cx: &Machine) -> Option<Flow> {
    let space = cx.thread().attached.last()?;
    let object = |id: &ProcessId| cx.processes.get(id).map_or(0, |p| p.object.raw());
    let own = object(&cx.thread().process);
    Some(Flow::Bugcheck(
        INVALID_PROCESS_ATTACH_ATTEMPT,
        [own, object(space), 1, 0],
    ))
}

/// Shows in the thread object which address space is in use.
fn mirror(cx: &mut Machine) -> Result<(), Fault> {
    let thread = cx.thread().object.cast::<KTHREAD>();
    let own = cx.thread().process;
    let space = cx.thread().space();
    let attached = !cx.thread().attached.is_empty();
    let object = |cx: &Machine, id: ProcessId| -> Gva<KPROCESS> {
        cx.processes.get(&id).map_or(Gva::NULL, |p| p.object.cast())
    };
    let (current, saved) = (object(cx, space), object(cx, own));
    let m = &mut cx.memory;
    m.set(thread.at(KTHREAD::ApcState), KAPC_STATE::Process, current)?;
    m.set(
        thread.at(KTHREAD::SavedApcState),
        KAPC_STATE::Process,
        if attached { saved } else { Gva::NULL },
    )?;
    m.set(thread, KTHREAD::ApcStateIndex, u8::from(attached))?;
    cx.sync_address_space();
    Ok(())
}

/// The process behind an object, or the parameters of INVALID_PROCESS_ATTACH_ATTEMPT.
fn target(cx: &Machine, process: Gva<KPROCESS>) -> Result<ProcessId, [u64; 4]> {
    let found = cx
        .processes
        .values()
        .find(|p| p.object.raw() == process.raw())
        .map(|p| p.id);
    let current = cx
        .processes
        .get(&cx.thread().space())
        .map_or(0, |p| p.object.raw());
    let index = u64::from(!cx.thread().attached.is_empty());
    let dpc = u64::from(cx.processor().dpc_active);
    match found {
        Some(id) if dpc == 0 => Ok(id),
        _ => Err([process.raw(), current, index, dpc]),
    }
}

/// Routines that attach a thread to a process.
pub struct Attaching;

#[exports("ntoskrnl.exe")]
impl Attaching {
    /// Attaches the current thread to the address space of a process; may be nested.
    #[page("ntifs/nf-ntifs-kestackattachprocess")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    #[partial("APCs that are queued to the thread are not kept apart by process")]
    fn KeStackAttachProcess(
        cx: &mut Machine,
        Process: Gva<KPROCESS>,
        ApcState: Gva<KAPC_STATE>,
    ) -> Result<Flow, Fault> {
        let id = match target(cx, Process) {
            Ok(id) => id,
            Err(parameters) => {
                return Ok(Flow::Bugcheck(INVALID_PROCESS_ATTACH_ATTEMPT, parameters));
            }
        };
        let before = match cx.thread().attached.last() {
            Some(space) => cx
                .processes
                .get(space)
                .map_or(NOT_ATTACHED, |p| p.object.raw()),
            None => NOT_ATTACHED,
        };
        cx.memory
            .set(ApcState, KAPC_STATE::Process, Gva::new(before))?;
        cx.trace.event("attach", &[id.guest()]);
        cx.thread_mut().attached.push(id);
        mirror(cx)?;
        Ok(Flow::Return(crate::machine::SCRUBBED))
    }

    /// Undoes the last KeStackAttachProcess.
    #[page("ntifs/nf-ntifs-keunstackdetachprocess")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn KeUnstackDetachProcess(cx: &mut Machine, ApcState: Gva<KAPC_STATE>) -> Result<Flow, Fault> {
        let saved = cx.memory.get(ApcState, KAPC_STATE::Process)?.raw();
        let attached = &cx.thread().attached;
        let below = attached.len().checked_sub(2).and_then(|n| attached.get(n));
        let expected = match below {
            Some(id) => cx
                .processes
                .get(id)
                .map_or(NOT_ATTACHED, |p| p.object.raw()),
            None => NOT_ATTACHED,
        };
        if attached.is_empty() || saved != expected {
            let text = if attached.is_empty() {
                "KeUnstackDetachProcess, but the thread is not attached to a process"
            } else {
                "KeUnstackDetachProcess with a KAPC_STATE that is not that of the last KeStackAttachProcess"
            };
            cx.report("process/detach-order", Severity::Error, text);
            if cx.thread().attached.is_empty() {
                return Ok(Flow::Return(crate::machine::SCRUBBED));
            }
        }
        cx.thread_mut().attached.pop();
        cx.trace.event("detach", &[cx.thread().space().guest()]);
        mirror(cx)?;
        Ok(Flow::Return(crate::machine::SCRUBBED))
    }

    /// Attaches the current thread to the address space of a process; may not be nested.
    #[page("ntifs/nf-ntifs-keattachprocess")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn KeAttachProcess(cx: &mut Machine, Process: Gva<KPROCESS>) -> Result<Flow, Fault> {
        let id = match target(cx, Process) {
            Ok(id) => id,
            Err(parameters) => {
                return Ok(Flow::Bugcheck(INVALID_PROCESS_ATTACH_ATTEMPT, parameters));
            }
        };
        if cx.thread().space() == id {
            return Ok(Flow::Return(crate::machine::SCRUBBED));
        }
        if let Some(space) = cx.thread().attached.last() {
            let current = cx.processes.get(space).map_or(0, |p| p.object.raw());
            return Ok(Flow::Bugcheck(
                INVALID_PROCESS_ATTACH_ATTEMPT,
                [Process.raw(), current, 1, 0],
            ));
        }
        cx.thread_mut().attached.push(id);
        mirror(cx)?;
        Ok(Flow::Return(crate::machine::SCRUBBED))
    }

    /// Undoes KeAttachProcess; does nothing if the thread is not attached.
    #[page("ntifs/nf-ntifs-kedetachprocess")]
    #[irql(..=APC_LEVEL)]
    fn KeDetachProcess(cx: &mut Machine) -> Result<(), Fault> {
        if cx.thread_mut().attached.pop().is_some() {
            mirror(cx)?;
        }
        Ok(())
    }

    /// Whether the current thread is attached to a process.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented; its name says what it tells")]
    fn KeIsAttachedProcess(cx: &mut Machine) -> bool {
        !cx.thread().attached.is_empty()
    }
}
