//! Handles of processes. Documentation: ntddk.h, ZwOpenProcess; ZwQueryInformationProcess.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use super::processes::{by_guest_id, id_of, image_path};
use crate::Machine;
use crate::flow::Flow;
use crate::layout::{CLIENT_ID, EPROCESS, OBJECT_ATTRIBUTES, UNICODE_STRING};
use crate::machine::thread::ProcessId;
use crate::ntstatus::{
    NTSTATUS, STATUS_INFO_LENGTH_MISMATCH, STATUS_INVALID_CID, STATUS_INVALID_HANDLE,
    STATUS_INVALID_PARAMETER, STATUS_INVALID_PARAMETER_MIX, STATUS_OBJECT_TYPE_MISMATCH,
    STATUS_SUCCESS,
};
use crate::ob::{callbacks, handles};

/// `OBJ_KERNEL_HANDLE`.
const KERNEL_HANDLE: u32 = 0x200;
/// `PROCESS_ALL_ACCESS`.
const ALL_ACCESS: u32 = 0x001f_ffff;
/// `MAXIMUM_ALLOWED`.
const MAXIMUM_ALLOWED: u32 = 0x0200_0000;

/// The process behind a handle.
///
/// # Errors
/// STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH.
pub fn process_of_handle(cx: &Machine, handle: u64) -> Result<ProcessId, NTSTATUS> {
    let entry = handles::find(cx, handle).ok_or(STATUS_INVALID_HANDLE)?;
    id_of(cx, entry.object).ok_or(STATUS_OBJECT_TYPE_MISMATCH)
}

/// Generic rights as rights of processes: the mapping of the type.
fn map_generic(access: u32) -> u32 {
    let map = [
        (1u32 << 31, 0x0002_0410),
        (1 << 30, 0x0002_0bea),
        (1 << 29, 0x0012_1001),
        (1 << 28, ALL_ACCESS),
        (MAXIMUM_ALLOWED, ALL_ACCESS),
    ];
    map.iter()
        .filter(|(bit, _)| access & bit != 0)
        .fold(access & 0x001f_ffff, |all, (_, rights)| all | rights)
}

/// Opens a handle after those who want to be asked have been.
#[resumable]
fn open(
    cx: &mut Machine,
    process: ProcessId,
    access: u32,
    kernel: bool,
    result: Gva<u64>,
) -> Result<NTSTATUS, Fault> {
    let object: u64 = cx.processes.get(&process).map_or(0, |p| p.object.raw());
    let left: u64 = host!(callbacks::ask(object, access, kernel));
    let granted: u32 = left as u32;
    let space = cx.thread().space();
    let handle = handles::open(cx, object, granted, space, kernel);
    cx.memory.write(result, handle)?;
    host!(callbacks::handle_opened(
        object,
        granted,
        kernel,
        STATUS_SUCCESS
    ));
    Ok(STATUS_SUCCESS)
}

/// Routines on handles of processes.
pub struct ProcessHandles;

#[exports("ntoskrnl.exe")]
impl ProcessHandles {
    /// Opens a handle to a process, by its id.
    #[page("ntddk/nf-ntddk-zwopenprocess")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial("access is not checked")]
    fn ZwOpenProcess(
        cx: &mut Machine,
        ProcessHandle: Gva<u64>,
        DesiredAccess: u32,
        ObjectAttributes: Gva<OBJECT_ATTRIBUTES>,
        ClientId: Gva<CLIENT_ID>,
    ) -> Result<Flow, Fault> {
        let status = |s: NTSTATUS| Ok(Flow::Return(u64::from(s.0)));
        cx.memory.read(ProcessHandle)?;
        let name = cx
            .memory
            .get(ObjectAttributes, OBJECT_ATTRIBUTES::ObjectName)?;
        let flags = cx
            .memory
            .get(ObjectAttributes, OBJECT_ATTRIBUTES::Attributes)?;
        if ClientId.is_null() || !name.is_null() {
            return status(STATUS_INVALID_PARAMETER_MIX);
        }
        let id = cx.memory.get(ClientId, CLIENT_ID::UniqueProcess)?.raw();
        let thread = cx.memory.get(ClientId, CLIENT_ID::UniqueThread)?.raw();
        let Some(process) = by_guest_id(cx, id) else {
            return status(if thread == 0 {
                STATUS_INVALID_PARAMETER
            } else {
                STATUS_INVALID_CID
            });
        };
        let access = map_generic(DesiredAccess);
        let kernel = flags & KERNEL_HANDLE != 0;
        Ok(Flow::Become(open(process, access, kernel, ProcessHandle)))
    }

    /// Tells about a process.
    #[page("")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial(
        "the classes ProcessBasicInformation, ProcessWow64Information and ProcessImageFileName"
    )]
    fn ZwQueryInformationProcess(
        cx: &mut Machine,
        ProcessHandle: u64,
        ProcessInformationClass: u32,
        ProcessInformation: Gva<u64>,
        ProcessInformationLength: u32,
        ReturnLength: Gva<u32>,
    ) -> Result<Flow, Fault> {
        let process = match crate::mm::virtual_memory::process_of(cx, ProcessHandle) {
            Ok(process) => process,
            Err(status) => return Ok(Flow::Return(u64::from(status.0))),
        };
        let object = cx.processes.get(&process).map_or(Gva::NULL, |p| p.object);
        let mut bytes: Vec<u8> = Vec::new();
        match ProcessInformationClass {
            0 => {
                let status = cx.memory.get(object, EPROCESS::ExitStatus)?;
                let peb = cx.memory.get(object, EPROCESS::Peb)?.raw();
                let parent = cx
                    .memory
                    .get(object, EPROCESS::InheritedFromUniqueProcessId)?
                    .raw();
                // ExitStatus, PebBaseAddress, AffinityMask, BasePriority, UniqueProcessId, parent.
                let mask = (1u64 << cx.processors.len().min(63)) - 1;
                for word in [u64::from(status.0), peb, mask, 8, process.guest(), parent] {
                    bytes.extend(word.to_le_bytes());
                }
            }
            26 => {
                let block = cx.ps.processes.get(&process).map_or(0, |p| p.peb32);
                bytes.extend(block.to_le_bytes());
            }
            27 => {
                let text: Vec<u8> = image_path(cx, process)
                    .encode_utf16()
                    .chain([0])
                    .flat_map(u16::to_le_bytes)
                    .collect();
                let length = (text.len() - 2) as u16;
                bytes.extend(length.to_le_bytes());
                bytes.extend((length + 2).to_le_bytes());
                bytes.extend([0; 4]);
                bytes.extend((ProcessInformation.raw() + UNICODE_STRING::SIZE).to_le_bytes());
                bytes.extend(text);
            }
            other => {
                let text = format!("ZwQueryInformationProcess with class {other}");
                return Ok(Flow::NotModelled(text));
            }
        }
        if !ReturnLength.is_null() {
            cx.memory.write(ReturnLength, bytes.len() as u32)?;
        }
        let size = bytes.len() as u32;
        // The fixed sizes must match; the name must fit.
        let wrong = if ProcessInformationClass == 27 {
            ProcessInformationLength < size
        } else {
            ProcessInformationLength != size
        };
        if wrong {
            return Ok(Flow::Return(u64::from(STATUS_INFO_LENGTH_MISMATCH.0)));
        }
        cx.memory.write_bytes(ProcessInformation, &bytes)?;
        Ok(Flow::Return(u64::from(STATUS_SUCCESS.0)))
    }
}
