//! What drivers ask of processes. Documentation: ntddk.h and ntifs.h, `PsGet*`, `PsLookup*`.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::flow::Flow;
use crate::layout::{EPROCESS, PEB, UNICODE_STRING};
use crate::machine::thread::ProcessId as Number;
use crate::ntstatus::{
    NTSTATUS, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_CID, STATUS_INVALID_PARAMETER,
    STATUS_PENDING, STATUS_PROCESS_IS_TERMINATING, STATUS_SUCCESS,
};

/// `OS  `: blocks that SeLocateProcessImageName gives.
const TAG: u32 = u32::from_le_bytes(*b"SeNm");
/// Everything here happens in the session of services and drivers.
const SESSION: u32 = 0;

/// The process with this object.
#[must_use]
pub fn id_of(cx: &Machine, object: u64) -> Option<Number> {
    cx.processes
        .values()
        .find(|p| p.object.raw() == object)
        .map(|p| p.id)
}

/// The living process that the guest knows by this id.
#[must_use]
pub fn by_guest_id(cx: &Machine, id: u64) -> Option<Number> {
    // Ids are multiples of four and the lowest two bits are not looked at (PsLookupProcessByProcessId takes what
    // OpenProcess takes).
    cx.processes
        .values()
        .find(|p| p.id.guest() == id & !3 && !p.exited)
        .map(|p| p.id)
}

/// The full image name of a process, a native path; empty for System.
#[must_use]
pub fn image_path(cx: &Machine, id: Number) -> String {
    cx.ps
        .processes
        .get(&id)
        .map_or_else(String::new, |p| p.image.clone())
}

/// Makes a counted string with its text right behind it in pool. `None` if memory is used up.
///
/// # Errors
/// A fault if it cannot be written.
pub fn pool_string(
    cx: &mut Machine,
    kind: Pool,
    tag: u32,
    text: &str,
    owner: u64,
) -> Result<Option<Gva<UNICODE_STRING>>, Fault> {
    let bytes: Vec<u8> = text
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect();
    let size = UNICODE_STRING::SIZE + bytes.len() as u64;
    let Some(at) = cx.pool_allocate_for(kind, size, tag, owner) else {
        return Ok(None);
    };
    let buffer = at.byte_add(UNICODE_STRING::SIZE);
    let string: Gva<UNICODE_STRING> = at.cast();
    cx.memory.write_bytes(buffer, &bytes)?;
    let length = (bytes.len() - 2) as u16;
    cx.memory.set(string, UNICODE_STRING::Length, length)?;
    cx.memory
        .set(string, UNICODE_STRING::MaximumLength, length + 2)?;
    cx.memory
        .set(string, UNICODE_STRING::Buffer, buffer.cast())?;
    Ok(Some(string))
}

/// Routines on processes.
pub struct Processes;

#[exports("ntoskrnl.exe")]
impl Processes {
    /// The process with an id, referenced.
    #[page("ntifs/nf-ntifs-pslookupprocessbyprocessid")]
    #[irql(..=APC_LEVEL)]
    #[returns(NTSTATUS)]
    fn PsLookupProcessByProcessId(
        cx: &mut Machine,
        ProcessId: u64,
        Process: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        cx.memory.read(Process)?;
        let Some(id) = by_guest_id(cx, ProcessId) else {
            return Ok(STATUS_INVALID_CID);
        };
        let object = cx.processes.get(&id).map_or(0, |p| p.object.raw());
        cx.reference_object(object);
        cx.memory.write(Process, object)?;
        Ok(STATUS_SUCCESS)
    }

    /// The first 14 characters of a process's image name.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented: a pointer into the process object")]
    fn PsGetProcessImageFileName(cx: &mut Machine, Process: Gva<EPROCESS>) -> Gva {
        let _ = &cx;
        Process.at(EPROCESS::ImageFileName).cast()
    }

    /// A copy of the full image name of a process, to be freed with ExFreePool.
    #[page("ntifs/nf-ntifs-selocateprocessimagename")]
    #[irql(PASSIVE_LEVEL)]
    fn SeLocateProcessImageName(
        cx: &mut Machine,
        Process: Gva<EPROCESS>,
        pImageFileName: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        cx.memory.read(pImageFileName)?;
        let Some(id) = id_of(cx, Process.raw()) else {
            return Ok(STATUS_INVALID_PARAMETER);
        };
        let text = image_path(cx, id);
        let owner = cx.caller;
        let Some(string) = pool_string(cx, Pool::NonPaged, TAG, &text, owner)? else {
            return Ok(STATUS_INSUFFICIENT_RESOURCES);
        };
        cx.memory.write(pImageFileName, string.raw())?;
        Ok(STATUS_SUCCESS)
    }

    /// When a process was created: 100 ns units since 1601.
    #[page("ntddk/nf-ntddk-psgetprocesscreatetimequadpart")]
    #[irql(any)]
    fn PsGetProcessCreateTimeQuadPart(
        cx: &mut Machine,
        Process: Gva<EPROCESS>,
    ) -> Result<i64, Fault> {
        cx.memory.get(Process, EPROCESS::CreateTime)
    }

    /// A number that no other process of this run of the system has.
    #[page("ntddk/nf-ntddk-psgetprocessstartkey")]
    #[irql(any)]
    fn PsGetProcessStartKey(cx: &mut Machine, Process: Gva<EPROCESS>) -> Result<u64, Fault> {
        cx.memory.get(Process, EPROCESS::SequenceNumber)
    }

    /// The exit status of a process; STATUS_PENDING while it runs.
    #[page("ntifs/nf-ntifs-psgetprocessexitstatus")]
    #[irql(any)]
    fn PsGetProcessExitStatus(cx: &mut Machine, Process: Gva<EPROCESS>) -> Result<NTSTATUS, Fault> {
        let ended = id_of(cx, Process.raw())
            .and_then(|id| cx.processes.get(&id))
            .is_some_and(|p| p.exited);
        if ended {
            cx.memory.get(Process, EPROCESS::ExitStatus)
        } else {
            Ok(STATUS_PENDING)
        }
    }

    /// Whether the end of a process has begun.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented; its name says what it tells")]
    fn PsGetProcessExitProcessCalled(cx: &mut Machine, Process: Gva<EPROCESS>) -> bool {
        id_of(cx, Process.raw())
            .and_then(|id| cx.processes.get(&id))
            .is_some_and(|p| p.exited)
    }

    /// The id of the process that created a process.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented; a field of the process object")]
    fn PsGetProcessInheritedFromUniqueProcessId(
        cx: &mut Machine,
        Process: Gva<EPROCESS>,
    ) -> Result<u64, Fault> {
        Ok(cx
            .memory
            .get(Process, EPROCESS::InheritedFromUniqueProcessId)?
            .raw())
    }

    /// The process environment block, an address of the process's user space; NULL for System.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented; a field of the process object")]
    fn PsGetProcessPeb(cx: &mut Machine, Process: Gva<EPROCESS>) -> Result<Gva<PEB>, Fault> {
        cx.memory.get(Process, EPROCESS::Peb)
    }

    /// Where the image of a process is mapped in it.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented; a field of the process object")]
    fn PsGetProcessSectionBaseAddress(
        cx: &mut Machine,
        Process: Gva<EPROCESS>,
    ) -> Result<Gva, Fault> {
        cx.memory.get(Process, EPROCESS::SectionBaseAddress)
    }

    /// The 32-bit environment block of a 32-bit process; NULL for a 64-bit one.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented: the block, not the structure that leads to it")]
    fn PsGetProcessWow64Process(cx: &mut Machine, Process: Gva<EPROCESS>) -> Gva {
        let id = id_of(cx, Process.raw());
        Gva::new(
            id.and_then(|id| cx.ps.processes.get(&id))
                .map_or(0, |p| p.peb32),
        )
    }

    /// The same for the current process.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented: the block, not the structure that leads to it")]
    fn PsGetCurrentProcessWow64Process(cx: &mut Machine) -> Gva {
        let id = cx.thread().space();
        Gva::new(cx.ps.processes.get(&id).map_or(0, |p| p.peb32))
    }

    /// The session of a process.
    #[page("")]
    #[irql(any)]
    #[alias("PsGetProcessSessionIdEx")]
    #[assumed("every process is in session 0")]
    fn PsGetProcessSessionId(cx: &mut Machine, Process: Gva<EPROCESS>) -> u32 {
        let _ = (&cx, Process);
        SESSION
    }

    /// The session of the current process.
    #[page("")]
    #[irql(any)]
    #[assumed("every process is in session 0")]
    fn PsGetCurrentProcessSessionId(cx: &mut Machine) -> u32 {
        let _ = &cx;
        SESSION
    }

    /// The debug port of a process: no process is being debugged.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented; a field of the process object")]
    fn PsGetProcessDebugPort(cx: &mut Machine, Process: Gva<EPROCESS>) -> Result<Gva, Fault> {
        cx.memory.get(Process, EPROCESS::DebugPort)
    }

    /// Whether a process is being debugged.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented; tells whether there is a debug port")]
    fn PsIsProcessBeingDebugged(cx: &mut Machine, Process: Gva<EPROCESS>) -> Result<bool, Fault> {
        Ok(!cx.memory.get(Process, EPROCESS::DebugPort)?.is_null())
    }

    /// The job of a process; no process is in one.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented; a field of the process object")]
    fn PsGetProcessJob(cx: &mut Machine, Process: Gva<EPROCESS>) -> Result<Gva, Fault> {
        cx.memory.get(Process, EPROCESS::Job)
    }

    /// The priority class of a process.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented; a field of the process object")]
    fn PsGetProcessPriorityClass(cx: &mut Machine, Process: Gva<EPROCESS>) -> Result<u8, Fault> {
        cx.memory.get(Process, EPROCESS::PriorityClass)
    }

    /// The window system's structure of a process; there is none.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented; a field of the process object")]
    fn PsGetProcessWin32Process(cx: &mut Machine, Process: Gva<EPROCESS>) -> Result<Gva, Fault> {
        cx.memory.get(Process, EPROCESS::Win32Process)
    }

    /// Whether a process is the System process.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented; its name says what it tells")]
    fn PsIsSystemProcess(cx: &mut Machine, Process: Gva<EPROCESS>) -> bool {
        id_of(cx, Process.raw()) == Some(Number::SYSTEM)
    }

    /// Whether a process is a protected one.
    #[page("")]
    #[irql(any)]
    #[alias("PsIsProtectedProcessLight")]
    #[assumed("not documented; looks at EPROCESS.Protection, which is 0 for all but System")]
    fn PsIsProtectedProcess(cx: &mut Machine, Process: Gva<EPROCESS>) -> Result<bool, Fault> {
        Ok(cx.memory.get(Process, EPROCESS::Protection)? & 7 != 0)
    }

    /// Keeps a process from being torn down; fails once its end has begun.
    #[page("")]
    #[irql(..=APC_LEVEL)]
    #[returns(NTSTATUS)]
    #[assumed("not documented; the end of a process waits for those who hold this")]
    fn PsAcquireProcessExitSynchronization(cx: &mut Machine, Process: Gva<EPROCESS>) -> Flow {
        let Some(id) = id_of(cx, Process.raw()) else {
            return Flow::Return(u64::from(STATUS_INVALID_PARAMETER.0));
        };
        if cx.processes.get(&id).is_none_or(|p| p.exited) {
            return Flow::Return(u64::from(STATUS_PROCESS_IS_TERMINATING.0));
        }
        if let Some(process) = cx.ps.processes.get_mut(&id) {
            process.exit_holders += 1;
        }
        Flow::Return(u64::from(STATUS_SUCCESS.0))
    }

    /// Undoes PsAcquireProcessExitSynchronization.
    #[page("")]
    #[irql(..=APC_LEVEL)]
    #[assumed("not documented")]
    fn PsReleaseProcessExitSynchronization(cx: &mut Machine, Process: Gva<EPROCESS>) {
        let Some(id) = id_of(cx, Process.raw()) else {
            return;
        };
        if let Some(process) = cx.ps.processes.get_mut(&id) {
            process.exit_holders = process.exit_holders.saturating_sub(1);
        }
        cx.wake(super::exit_key(id));
    }
}
