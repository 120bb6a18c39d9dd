//! A second handle to an object. Documentation: ntifs.h, `ZwDuplicateObject`.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::{Kind, handles};
use crate::Machine;
use crate::flow::Flow;
use crate::machine::thread::ProcessId;
use crate::ntstatus::{
    NTSTATUS, STATUS_INVALID_HANDLE, STATUS_INVALID_PARAMETER, STATUS_OBJECT_TYPE_MISMATCH,
    STATUS_SUCCESS,
};

/// `DUPLICATE_CLOSE_SOURCE`, `DUPLICATE_SAME_ACCESS`, `DUPLICATE_SAME_ATTRIBUTES`.
const CLOSE_SOURCE: u32 = 1;
const SAME_ACCESS: u32 = 2;
const SAME_ATTRIBUTES: u32 = 4;
/// `OBJ_KERNEL_HANDLE`.
const OBJ_KERNEL_HANDLE: u32 = 0x200;
/// `ZwCurrentProcess()` and `ZwCurrentThread()`.
const CURRENT_PROCESS: u64 = u64::MAX;
const CURRENT_THREAD: u64 = u64::MAX - 1;
/// `PROCESS_ALL_ACCESS` and `THREAD_ALL_ACCESS`.
const ALL_ACCESS: u32 = 0x001f_ffff;

/// The process that a handle means.
///
/// # Errors
/// STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH.
pub fn process_of(cx: &Machine, handle: u64) -> Result<ProcessId, NTSTATUS> {
    if handle == CURRENT_PROCESS {
        return Ok(cx.thread().space());
    }
    let entry = handles::find(cx, handle).ok_or(STATUS_INVALID_HANDLE)?;
    cx.processes
        .values()
        .find(|p| p.object.raw() == entry.object)
        .map(|p| p.id)
        .ok_or(STATUS_OBJECT_TYPE_MISMATCH)
}

/// The object behind a source handle, its access and its attributes.
fn source(cx: &mut Machine, process: ProcessId, handle: u64) -> Option<(u64, u32, u32)> {
    match handle {
        CURRENT_PROCESS => {
            let object = cx.processes.get(&process)?.object.raw();
            if !cx.ob.objects.contains_key(&object) {
                cx.adopt_object(object, Kind::Process, "", 0);
            }
            Some((object, ALL_ACCESS, 0))
        }
        CURRENT_THREAD => {
            let object = cx.thread().object.raw();
            if !cx.ob.objects.contains_key(&object) {
                cx.adopt_object(object, Kind::Thread, "", 0);
            }
            Some((object, ALL_ACCESS, 0))
        }
        _ => {
            let entry = handles::find_in(cx, process, handle)?;
            Some((entry.object, entry.access, entry.attributes))
        }
    }
}

/// Duplicates.
pub struct Duplicates;

#[exports("ntoskrnl.exe")]
impl Duplicates {
    /// Makes a second handle to the object of a handle, in this or another process.
    #[page("ntifs/nf-ntifs-zwduplicateobject")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial("the last handle of a file of another process cannot be closed with it")]
    fn ZwDuplicateObject(
        cx: &mut Machine,
        SourceProcessHandle: u64,
        SourceHandle: u64,
        TargetProcessHandle: u64,
        TargetHandle: Gva<u64>,
        DesiredAccess: u32,
        HandleAttributes: u32,
        Options: u32,
    ) -> Result<Flow, Fault> {
        let status = |s: NTSTATUS| Ok(Flow::Return(u64::from(s.0)));
        if !TargetHandle.is_null() {
            cx.memory.read(TargetHandle)?;
        }
        let from = match process_of(cx, SourceProcessHandle) {
            Ok(process) => process,
            Err(error) => return status(error),
        };
        let close = Options & CLOSE_SOURCE != 0;
        let to = match TargetProcessHandle {
            0 if close => None,
            0 => return status(STATUS_INVALID_PARAMETER),
            handle => match process_of(cx, handle) {
                Ok(process) => Some(process),
                Err(error) => return status(error),
            },
        };
        let Some((object, access, attributes)) = source(cx, from, SourceHandle) else {
            return status(STATUS_INVALID_HANDLE);
        };
        if let Some(to) = to {
            let wanted = if Options & SAME_ACCESS != 0 {
                access
            } else {
                DesiredAccess
            };
            let kernel = HandleAttributes & OBJ_KERNEL_HANDLE != 0;
            let value = handles::open(cx, object, wanted, to, kernel);
            let own = if Options & SAME_ATTRIBUTES != 0 {
                attributes
            } else {
                HandleAttributes & (handles::OBJ_INHERIT | handles::OBJ_PROTECT_CLOSE)
            };
            handles::set_attributes_in(cx, to, value, own);
            if !TargetHandle.is_null() {
                cx.memory.write(TargetHandle, value)?;
            }
        }
        if !close {
            return status(STATUS_SUCCESS);
        }
        if from == cx.thread().space() || handles::is_kernel(SourceHandle) {
            return Ok(Flow::Become(crate::io::open::close_handle(SourceHandle)));
        }
        let last = cx.ob.objects.get(&object).is_some_and(|o| o.handles == 1);
        if last
            && matches!(
                cx.ob.objects.get(&object).map(|o| &o.kind),
                Some(Kind::File)
            )
        {
            return Ok(Flow::NotModelled(
                "ZwDuplicateObject with DUPLICATE_CLOSE_SOURCE for the last handle of a file of another process".into(),
            ));
        }
        handles::take_from(cx, from, SourceHandle);
        Ok(Flow::Become(crate::io::open::release(object)))
    }
}
