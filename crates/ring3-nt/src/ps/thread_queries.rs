//! What drivers ask of threads. Documentation: ntddk.h and ntifs.h, `PsGet*`, `PsLookup*`.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::layout::{CLIENT_ID, EPROCESS, ETHREAD, KTHREAD};
use crate::machine::thread::{ThreadId as Number, ThreadState};
use crate::ntstatus::{NTSTATUS, STATUS_INVALID_CID, STATUS_PENDING, STATUS_SUCCESS};

/// The thread that the guest knows by this id, as long as it has not ended.
fn by_guest_id(cx: &Machine, id: u64) -> Option<Number> {
    cx.threads
        .values()
        .find(|t| t.id.guest() == id & !3 && t.state != ThreadState::Terminated)
        .map(|t| t.id)
}

/// Adds a reference to a thread's object and gives it.
fn referenced(cx: &mut Machine, id: Number) -> u64 {
    let object = cx.thread_by(id).object.raw();
    if !cx.ob.objects.contains_key(&object) {
        cx.adopt_object(object, crate::ob::Kind::Thread, "", 0);
    }
    cx.reference_object(object);
    object
}

/// Routines on threads.
pub struct ThreadQueries;

#[exports("ntoskrnl.exe")]
impl ThreadQueries {
    /// The thread with an id, referenced.
    #[page("ntifs/nf-ntifs-pslookupthreadbythreadid")]
    #[irql(..=APC_LEVEL)]
    fn PsLookupThreadByThreadId(
        cx: &mut Machine,
        ThreadId: u64,
        Thread: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        cx.memory.read(Thread)?;
        let Some(id) = by_guest_id(cx, ThreadId) else {
            return Ok(STATUS_INVALID_CID);
        };
        let object = referenced(cx, id);
        cx.memory.write(Thread, object)?;
        Ok(STATUS_SUCCESS)
    }

    /// The thread with a client id, and its process, both referenced.
    #[page("")]
    #[irql(..=APC_LEVEL)]
    #[assumed("not documented: Process may be NULL; both ids must belong together")]
    fn PsLookupProcessThreadByCid(
        cx: &mut Machine,
        ClientId: Gva<CLIENT_ID>,
        Process: Gva<u64>,
        Thread: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        let wanted = cx.memory.get(ClientId, CLIENT_ID::UniqueProcess)?.raw();
        let thread = cx.memory.get(ClientId, CLIENT_ID::UniqueThread)?.raw();
        cx.memory.read(Thread)?;
        let found =
            by_guest_id(cx, thread).filter(|id| cx.thread_by(*id).process.guest() == wanted & !3);
        let Some(id) = found else {
            return Ok(STATUS_INVALID_CID);
        };
        if !Process.is_null() {
            let process = cx.thread_by(id).process;
            let object = cx.processes.get(&process).map_or(0, |p| p.object.raw());
            cx.memory.write(Process, object)?;
            cx.reference_object(object);
        }
        let object = referenced(cx, id);
        cx.memory.write(Thread, object)?;
        Ok(STATUS_SUCCESS)
    }

    /// The process id of a thread.
    #[page("ntddk/nf-ntddk-psgetthreadprocessid")]
    #[irql(any)]
    fn PsGetThreadProcessId(cx: &mut Machine, Thread: Gva<ETHREAD>) -> Result<u64, Fault> {
        Ok(cx
            .memory
            .get(Thread.at(ETHREAD::Cid), CLIENT_ID::UniqueProcess)?
            .raw())
    }

    /// The thread environment block; NULL: the threads of a workload run no code of their own.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented; a field of the thread object")]
    fn PsGetThreadTeb(cx: &mut Machine, Thread: Gva<KTHREAD>) -> Result<Gva, Fault> {
        cx.memory.get(Thread, KTHREAD::Teb)
    }

    /// The same for the current thread.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented; a field of the thread object")]
    fn PsGetCurrentThreadTeb(cx: &mut Machine) -> Result<Gva, Fault> {
        let thread = cx.thread().object.cast::<KTHREAD>();
        cx.memory.get(thread, KTHREAD::Teb)
    }

    /// The window system's structure of a thread; there is none.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented; a field of the thread object")]
    fn PsGetThreadWin32Thread(cx: &mut Machine, Thread: Gva<KTHREAD>) -> Result<Gva, Fault> {
        cx.memory.get(Thread, KTHREAD::Win32Thread)
    }

    /// The session of a thread.
    #[page("")]
    #[irql(any)]
    #[assumed("every thread is in session 0")]
    fn PsGetThreadSessionId(cx: &mut Machine, Thread: Gva<ETHREAD>) -> u32 {
        let _ = (&cx, Thread);
        0
    }

    /// When a thread was created: 100 ns units since 1601.
    #[page("ntddk/nf-ntddk-psgetthreadcreatetime")]
    #[irql(any)]
    fn PsGetThreadCreateTime(cx: &mut Machine, Thread: Gva<ETHREAD>) -> Result<i64, Fault> {
        cx.memory.get(Thread, ETHREAD::CreateTime)
    }

    /// The exit status of a thread; STATUS_PENDING while it runs.
    #[page("ntddk/nf-ntddk-psgetthreadexitstatus")]
    #[irql(any)]
    fn PsGetThreadExitStatus(cx: &mut Machine, Thread: Gva<ETHREAD>) -> Result<NTSTATUS, Fault> {
        let ended = cx
            .thread_of_object(Thread.raw())
            .is_some_and(|t| t.state == ThreadState::Terminated);
        if ended {
            cx.memory.get(Thread, ETHREAD::ExitStatus)
        } else {
            Ok(STATUS_PENDING)
        }
    }

    /// Whether a thread is ending or has ended.
    #[page("ntifs/nf-ntifs-psisthreadterminating")]
    #[irql(any)]
    fn PsIsThreadTerminating(cx: &mut Machine, Thread: Gva<ETHREAD>) -> bool {
        cx.thread_of_object(Thread.raw()).is_some_and(|t| {
            t.state == ThreadState::Terminated
                || cx.processes.get(&t.process).is_some_and(|p| p.exited)
        })
    }

    /// The mode from which the current service was called.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented: what ExGetPreviousMode gives")]
    fn PsGetCurrentThreadPreviousMode(cx: &mut Machine) -> u8 {
        cx.thread().previous_mode
    }

    /// The process to which the current thread belongs, attached or not.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented; its name says what it tells")]
    fn PsGetCurrentThreadProcess(cx: &mut Machine) -> Gva<EPROCESS> {
        cx.process().object
    }

    /// The id of that process.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented; its name says what it tells")]
    fn PsGetCurrentThreadProcessId(cx: &mut Machine) -> u64 {
        cx.thread().process.guest()
    }

    /// Where the current kernel stack begins.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented; a field of the thread object")]
    fn PsGetCurrentThreadStackBase(cx: &mut Machine) -> u64 {
        cx.thread().stack_base
    }

    /// The lowest address of the current kernel stack.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented; a field of the thread object")]
    fn PsGetCurrentThreadStackLimit(cx: &mut Machine) -> u64 {
        cx.thread().stack_limit
    }
}
