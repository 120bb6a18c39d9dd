//! System threads, and who is current. Documentation: wdm.h, ntddk.h, ntifs.h.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::export::argument::Code;
use crate::flow::{Flow, Wall};
use crate::layout::{CLIENT_ID, EPROCESS, ETHREAD, KTHREAD, OBJECT_ATTRIBUTES};
use crate::machine::finding::Severity;
use crate::machine::thread::{ProcessId, ThreadId, ThreadState};
use crate::machine::wait::Wait;
use crate::ntstatus::{
    NTSTATUS, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER, STATUS_SUCCESS,
};

/// `SYSTEM_THREAD_EXCEPTION_NOT_HANDLED`.
const SYSTEM_THREAD_EXCEPTION_NOT_HANDLED: u32 = 0x7e;

/// What a system thread runs: its start routine, then its end.
#[resumable(
    fn wall(&self) -> Option<Wall> {
        Some(Wall::Bugcheck(SYSTEM_THREAD_EXCEPTION_NOT_HANDLED))
    }
)]
pub fn system_thread(cx: &mut Machine, start: Gva<Code>, context: u64) -> Flow {
    call!(start, context);
    let level = cx.irql();
    if level != 0 {
        cx.report(
            "irql/thread-end",
            Severity::Error,
            format!("a system thread ended at IRQL {level}"),
        );
        cx.set_irql(0);
    }
    Flow::Become(super::notify::end_thread())
}

/// Tells of a new system thread, then lets it run.
#[resumable]
fn tell_and_start(cx: &mut Machine, thread: ThreadId) -> NTSTATUS {
    host!(super::notify::thread_created(thread));
    cx.wake(super::notify::start_key(thread));
    STATUS_SUCCESS
}

/// Creates a system thread that runs driver code.
pub fn create_system_thread(cx: &mut Machine, start: Gva<Code>, context: u64) -> Option<ThreadId> {
    let name = cx.symbolize(start.raw());
    let id = cx.create_thread(ProcessId::SYSTEM, &name, system_thread(start, context))?;
    let owner = cx.caller;
    cx.ps.thread_owners.insert(id, owner);
    let object = cx.thread_by(id).object;
    let _ = cx.memory.set(object, ETHREAD::StartAddress, start.cast());
    Some(id)
}

/// Routines on threads and processes.
pub struct Threads;

#[exports("ntoskrnl.exe")]
impl Threads {
    /// Creates a system thread.
    #[page("wdm/nf-wdm-pscreatesystemthread")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("threads in other processes than System")]
    fn PsCreateSystemThread(
        cx: &mut Machine,
        ThreadHandle: Gva<u64>,
        DesiredAccess: u32,
        ObjectAttributes: Gva<OBJECT_ATTRIBUTES>,
        ProcessHandle: u64,
        ClientId: Gva<CLIENT_ID>,
        StartRoutine: Gva<Code>,
        StartContext: Gva,
    ) -> Result<Flow, Fault> {
        let _ = (DesiredAccess, ObjectAttributes);
        // A null handle and ZwCurrentProcess in the System process both mean System.
        let system = cx.thread().process == ProcessId::SYSTEM;
        if !(ProcessHandle == 0 || ProcessHandle == u64::MAX && system) {
            return Ok(Flow::NotModelled(
                "PsCreateSystemThread in a process other than System".into(),
            ));
        }
        cx.memory.read(ThreadHandle)?;
        let Some(id) = create_system_thread(cx, StartRoutine, StartContext.raw()) else {
            return Ok(Flow::Return(u64::from(STATUS_INSUFFICIENT_RESOURCES.0)));
        };
        let object = cx.thread_by(id).object;
        if !ClientId.is_null() {
            cx.memory.set(
                ClientId,
                CLIENT_ID::UniqueProcess,
                Gva::new(ProcessId::SYSTEM.guest()),
            )?;
            cx.memory
                .set(ClientId, CLIENT_ID::UniqueThread, Gva::new(id.guest()))?;
        }
        let handle = crate::ob::handles::open_thread(cx, object.raw());
        cx.memory.write(ThreadHandle, handle)?;
        if cx.ps.notify.routines.is_empty() {
            return Ok(Flow::Return(u64::from(STATUS_SUCCESS.0)));
        }
        // It does not run before everybody has been told.
        let hold = cx.next_wait_number();
        cx.thread_by_mut(id).state =
            ThreadState::Waiting(Wait::On(super::notify::start_key(id)), hold);
        Ok(Flow::Become(tell_and_start(id)))
    }

    /// Ends the current system thread.
    #[page("ntddk/nf-ntddk-psterminatesystemthread")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    fn PsTerminateSystemThread(cx: &mut Machine, ExitStatus: NTSTATUS) -> Result<Flow, Fault> {
        if cx.thread().user {
            return Ok(Flow::Return(u64::from(STATUS_INVALID_PARAMETER.0)));
        }
        let object = cx.thread().object;
        cx.memory.set(object, ETHREAD::ExitStatus, ExitStatus)?;
        Ok(Flow::Become(super::notify::end_thread()))
    }

    /// The current thread.
    #[page("wdm/nf-wdm-kegetcurrentthread")]
    #[irql(any)]
    #[alias("PsGetCurrentThread")]
    fn KeGetCurrentThread(cx: &mut Machine) -> Gva<KTHREAD> {
        cx.thread().object.cast()
    }

    /// The current process: the one whose address space is in use.
    #[page("ntddk/nf-ntddk-psgetcurrentprocess")]
    #[irql(any)]
    #[alias("PsGetCurrentProcess")]
    fn IoGetCurrentProcess(cx: &mut Machine) -> Gva<EPROCESS> {
        let space = cx.thread().space();
        cx.processes.get(&space).map_or(Gva::NULL, |p| p.object)
    }

    /// The id of the current process.
    #[page("ntddk/nf-ntddk-psgetcurrentprocessid")]
    #[irql(any)]
    fn PsGetCurrentProcessId(cx: &mut Machine) -> u64 {
        cx.thread().process.guest()
    }

    /// The id of the current thread.
    #[page("ntddk/nf-ntddk-psgetcurrentthreadid")]
    #[irql(any)]
    fn PsGetCurrentThreadId(cx: &mut Machine) -> u64 {
        cx.thread().id.guest()
    }

    /// The id of a process.
    #[page("ntddk/nf-ntddk-psgetprocessid")]
    #[irql(any)]
    fn PsGetProcessId(cx: &mut Machine, Process: Gva<EPROCESS>) -> Result<u64, Fault> {
        Ok(cx.memory.get(Process, EPROCESS::UniqueProcessId)?.raw())
    }

    /// The id of a thread.
    #[page("ntddk/nf-ntddk-psgetthreadid")]
    #[irql(any)]
    fn PsGetThreadId(cx: &mut Machine, Thread: Gva<ETHREAD>) -> Result<u64, Fault> {
        Ok(cx
            .memory
            .get(Thread.at(ETHREAD::Cid), CLIENT_ID::UniqueThread)?
            .raw())
    }

    /// The process of a thread.
    #[page("ntddk/nf-ntddk-psgetthreadprocess")]
    #[irql(any)]
    fn PsGetThreadProcess(cx: &mut Machine, Thread: Gva<ETHREAD>) -> Gva<EPROCESS> {
        let process = cx.thread_of_object(Thread.raw()).map(|t| t.process);
        process
            .and_then(|p| cx.processes.get(&p))
            .map_or(Gva::NULL, |p| p.object)
    }

    /// TRUE if a thread is a system thread.
    #[page("ntifs/nf-ntifs-psissystemthread")]
    #[irql(any)]
    #[alias("IoIsSystemThread")]
    fn PsIsSystemThread(cx: &mut Machine, Thread: Gva<ETHREAD>) -> bool {
        cx.thread_of_object(Thread.raw()).is_some_and(|t| !t.user)
    }

    /// Whether the current request comes from user mode (1) or kernel mode (0).
    #[page("wdm/nf-wdm-exgetpreviousmode")]
    #[irql(..=APC_LEVEL)]
    fn ExGetPreviousMode(cx: &mut Machine) -> u8 {
        cx.thread().previous_mode
    }
}
