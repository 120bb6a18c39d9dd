//! Opening, using and closing files. Documentation: wdm.h and ntifs.h, "Zw" file routines;
//! "Dispatching IRPs", "Methods for Accessing Data Buffers".

use ring3_macros::resumable;
use ring3_memory::{Fault, Gva};

use super::{Operation, Transfer, irp};
use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::flow::{Flow, Key};
use crate::ke::dispatcher::kind;
use crate::ke::event::initialize_header;
use crate::layout::{
    DEVICE_OBJECT, FILE_OBJECT, IO_SECURITY_CONTEXT, IO_STACK_LOCATION, IO_STATUS_BLOCK, IRP, KEVENT,
    UNICODE_STRING,
};
use crate::machine::thread::ProcessId;
use crate::machine::wait::Wait;
use crate::ntstatus::{
    NTSTATUS, STATUS_ACCESS_VIOLATION, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_HANDLE,
    STATUS_OBJECT_NAME_NOT_FOUND, STATUS_OBJECT_TYPE_MISMATCH, STATUS_PENDING,
};
use crate::ob::{Kind, handles};

const TAG: u32 = u32::from_le_bytes(*b"IoSB");
/// `IO_TYPE_FILE`.
const IO_TYPE_FILE: i16 = 5;
/// `FO_SYNCHRONOUS_IO`.
const FO_SYNCHRONOUS_IO: u32 = 2;
/// `FO_HANDLE_CREATED`.
const FO_HANDLE_CREATED: u32 = 0x0004_0000;
/// `DO_BUFFERED_IO`, `DO_DIRECT_IO`.
const DO_BUFFERED_IO: u32 = 4;
const DO_DIRECT_IO: u32 = 0x10;
/// Major function codes.
mod major {
    pub const CREATE: u8 = 0;
    pub const CLOSE: u8 = 2;
    pub const READ: u8 = 3;
    pub const WRITE: u8 = 4;
    pub const DEVICE_CONTROL: u8 = 0xe;
    pub const CLEANUP: u8 = 0x12;
}

/// A data request.
#[derive(Clone, Hash, Debug, PartialEq, Eq, Default)]
pub enum Data {
    /// Read into a user buffer.
    #[default]
    Read,
    /// Write from a user buffer.
    Write,
    /// A control code.
    Control(u32),
}

/// Where a request's data is in the user's address space.
#[derive(Clone, Hash, Debug, PartialEq, Eq, Default)]
pub struct Buffers {
    /// What it is.
    pub data: Data,
    /// Input buffer and length; for writes the data.
    pub input: (u64, u32),
    /// Output buffer and length; for reads the data.
    pub output: (u64, u32),
    /// Offset for reads and writes.
    pub offset: u64,
}

fn file_of(cx: &Machine, handle: u64) -> Result<Gva<FILE_OBJECT>, NTSTATUS> {
    let entry = handles::find(cx, handle).ok_or(STATUS_INVALID_HANDLE)?;
    match cx.ob.objects.get(&entry.object).map(|o| &o.kind) {
        Some(Kind::File) => Ok(Gva::new(entry.object)),
        _ => Err(STATUS_OBJECT_TYPE_MISMATCH),
    }
}

/// An IRP, its first stack location, and the device it goes to.
type Built = (Gva<IRP>, Gva<IO_STACK_LOCATION>, Gva<DEVICE_OBJECT>);

/// An IRP for the top of the file's device stack, its first location filled.
fn build(
    cx: &mut Machine,
    file: Gva<FILE_OBJECT>,
    major: u8,
) -> Result<Option<Built>, Fault> {
    let device = cx.memory.get(file, FILE_OBJECT::DeviceObject)?;
    let top = cx.attached_device(device);
    let depth: i8 = cx.memory.get(top, DEVICE_OBJECT::StackSize)?;
    let Some(irp) = irp::allocate(cx, depth.max(1) as u8, 0) else { return Ok(None) };
    let stack = irp::next_location(cx, irp)?;
    let thread = cx.thread().object;
    let mode = cx.thread().previous_mode;
    let m = &mut cx.memory;
    m.set(stack, IO_STACK_LOCATION::MajorFunction, major)?;
    m.set(stack, IO_STACK_LOCATION::FileObject, file)?;
    m.set(irp, IRP::RequestorMode, mode as i8)?;
    m.set(irp, IRP::Tail_Overlay_Thread, thread)?;
    m.set(irp, IRP::Tail_Overlay_OriginalFileObject, file)?;
    let operation = Operation {
        thread: cx.thread().id,
        process: cx.thread().process,
        transfer: Transfer::None,
        file: file.raw(),
        done: None,
        number: None,
    };
    cx.io.operations.insert(irp, operation);
    Ok(Some((irp, stack, top)))
}

/// Sends an IRP of our own and waits until it is complete. Gives its status.
#[resumable]
fn send_and_wait(cx: &mut Machine, device: Gva<DEVICE_OBJECT>, irp: Gva<IRP>) -> NTSTATUS {
    let returned: NTSTATUS = host!(send(device, irp));
    while cx.io.operations.get(&irp).is_some_and(|o| o.done.is_none()) {
        if returned != STATUS_PENDING {
            let text = format!("a dispatch routine returned {returned} but has not completed the IRP {:#x}", irp.raw());
            cx.report("irp/not-completed", crate::machine::finding::Severity::Error, text);
        }
        wait!(Wait::On(Key::new("irp-done", irp.raw())));
    }
    let status = cx.io.operations.get(&irp).and_then(|o| o.done).map_or(0, |(s, _)| s);
    NTSTATUS(status)
}

/// IoCallDriver as a routine that can be waited for.
#[resumable]
pub fn send(cx: &mut Machine, device: Gva<DEVICE_OBJECT>, irp: Gva<IRP>) -> Result<Flow, Fault> {
    irp::call_driver(cx, device, irp)
}

/// Takes the result of a finished IRP of our own and frees it.
fn reap(cx: &mut Machine, irp: Gva<IRP>) -> (u32, u64) {
    let done = cx.io.operations.remove(&irp).and_then(|o| o.done).unwrap_or((0, 0));
    irp::free(cx, irp);
    done
}

/// Opens a file for a process; the result is kept under the request's number. Gives the status.
#[resumable]
pub fn create_file(cx: &mut Machine, path: String, access: u32, share: u32, options: u32, overlapped: bool) -> Result<Flow, Fault> {
    let Some(found) = cx.lookup_path(&path) else {
        return Ok(Flow::Return(u64::from(STATUS_OBJECT_NAME_NOT_FOUND.0)));
    };
    let device: Gva<DEVICE_OBJECT> = Gva::new(found.body);
    let rest: String = found.rest;
    let extra = 2 * (rest.len() as u64 + 1) + IO_SECURITY_CONTEXT::SIZE + 16;
    let Some(body) = cx.create_object(Kind::File, FILE_OBJECT::SIZE + extra, "", 0) else {
        return Ok(Flow::Return(u64::from(STATUS_INSUFFICIENT_RESOURCES.0)));
    };
    let file: Gva<FILE_OBJECT> = body.cast();
    let context: Gva<IO_SECURITY_CONTEXT> = body.byte_add(FILE_OBJECT::SIZE.next_multiple_of(16)).cast();
    let text = context.cast::<u8>().byte_add(IO_SECURITY_CONTEXT::SIZE);
    let units: Vec<u8> = rest.encode_utf16().flat_map(u16::to_le_bytes).collect();
    cx.memory.write_bytes(text, &units)?;
    let name = file.at(FILE_OBJECT::FileName);
    let m = &mut cx.memory;
    m.set(name, UNICODE_STRING::Length, units.len() as u16)?;
    m.set(name, UNICODE_STRING::MaximumLength, units.len() as u16)?;
    m.set(name, UNICODE_STRING::Buffer, if units.is_empty() { Gva::NULL } else { text.cast() })?;
    m.set(file, FILE_OBJECT::Type, IO_TYPE_FILE)?;
    m.set(file, FILE_OBJECT::Size, FILE_OBJECT::SIZE as i16)?;
    m.set(file, FILE_OBJECT::DeviceObject, device)?;
    m.set(file, FILE_OBJECT::Flags, if overlapped { 0 } else { FO_SYNCHRONOUS_IO })?;
    m.set(file, FILE_OBJECT::ReadAccess, u8::from(access & 1 != 0))?;
    m.set(file, FILE_OBJECT::WriteAccess, u8::from(access & 2 != 0))?;
    m.set(context, IO_SECURITY_CONTEXT::DesiredAccess, access)?;
    initialize_header(cx, file.at(FILE_OBJECT::Lock).cast(), kind::EVENT_SYNCHRONIZATION, KEVENT::SIZE, 0)?;
    initialize_header(cx, file.at(FILE_OBJECT::Event).cast(), kind::EVENT_NOTIFICATION, KEVENT::SIZE, 0)?;
    let count: i32 = cx.memory.get(device, DEVICE_OBJECT::ReferenceCount)?;
    cx.memory.set(device, DEVICE_OBJECT::ReferenceCount, count + 1)?;
    cx.reference_object(device.raw());
    let Some((built, stack, top)) = build(cx, file, major::CREATE)? else {
        return Ok(Flow::Return(u64::from(STATUS_INSUFFICIENT_RESOURCES.0)));
    };
    let irp: Gva<IRP> = built;
    let m = &mut cx.memory;
    m.set(stack, IO_STACK_LOCATION::Parameters_Create_SecurityContext, context)?;
    m.set(stack, IO_STACK_LOCATION::Parameters_Create_Options, options)?;
    m.set(stack, IO_STACK_LOCATION::Parameters_Create_ShareAccess, share as u16)?;
    let status: NTSTATUS = host!(send_and_wait(top, irp));
    reap(cx, irp);
    if status.is_error() {
        drop_file(cx, file)?;
        {
            let thread = cx.thread().id;
            cx.io.user.note(thread, 0);
        }
        return Ok(Flow::Return(u64::from(status.0)));
    }
    let flags = cx.memory.get(file, FILE_OBJECT::Flags)?;
    cx.memory.set(file, FILE_OBJECT::Flags, flags | FO_HANDLE_CREATED)?;
    let process: ProcessId = cx.thread().process;
    let handle = handles::open(cx, file.raw(), access, process, false);
    // The handle holds the reference from now on.
    cx.dereference_object(file.raw());
    {
            let thread = cx.thread().id;
            cx.io.user.note(thread, handle);
        }
    Ok(Flow::Return(u64::from(status.0)))
}

/// The file object goes: the device loses its reference.
fn drop_file(cx: &mut Machine, file: Gva<FILE_OBJECT>) -> Result<(), Fault> {
    let device = cx.memory.get(file, FILE_OBJECT::DeviceObject)?;
    let count: i32 = cx.memory.get(device, DEVICE_OBJECT::ReferenceCount)?;
    cx.memory.set(device, DEVICE_OBJECT::ReferenceCount, count - 1)?;
    cx.delete_object(file.raw());
    cx.dereference_object(device.raw());
    Ok(())
}

/// Closes a handle; with the last one cleanup and close go to the driver. Gives the status.
#[resumable]
pub fn close_handle(cx: &mut Machine, handle: u64) -> Result<Flow, Fault> {
    let Some((taken, last)) = handles::take(cx, handle) else {
        return Ok(Flow::Return(u64::from(STATUS_INVALID_HANDLE.0)));
    };
    let object: u64 = taken;
    let file: Gva<FILE_OBJECT> = Gva::new(object);
    let is_file = matches!(cx.ob.objects.get(&object).map(|o| &o.kind), Some(Kind::File));
    if is_file && last {
        if let Some((built, _, top)) = build(cx, file, major::CLEANUP)? {
            let irp: Gva<IRP> = built;
            host!(send_and_wait(top, irp));
            reap(cx, irp);
        }
    }
    let count = cx.dereference_object(object);
    let is_file = matches!(cx.ob.objects.get(&object).map(|o| &o.kind), Some(Kind::File));
    if is_file && count.is_some_and(|c| c <= 0) {
        host!(close_file(file));
    }
    Ok(Flow::Return(0))
}

/// The last reference to a file is gone: the driver gets its close request.
#[resumable]
pub fn close_file(cx: &mut Machine, file: Gva<FILE_OBJECT>) -> Result<(), Fault> {
    if let Some((built, _, top)) = build(cx, file, major::CLOSE)? {
        let irp: Gva<IRP> = built;
        host!(send_and_wait(top, irp));
        reap(cx, irp);
    }
    drop_file(cx, file)?;
    Ok(())
}

/// What is left of preparing a request.
#[derive(Clone, Hash, Debug, Default)]
pub struct Prepared {
    /// The IRP.
    pub irp: Gva<IRP>,
    /// Where it goes.
    pub device: Gva<DEVICE_OBJECT>,
}

/// Builds the IRP of a read, write or ioctl with its buffers.
///
/// # Errors
/// The outer error is a fault of a kernel structure; the inner one the status that the user gets.
pub fn prepare(cx: &mut Machine, handle: u64, buffers: &Buffers) -> Result<Result<Prepared, NTSTATUS>, Fault> {
    let file = match file_of(cx, handle) {
        Ok(file) => file,
        Err(status) => return Ok(Err(status)),
    };
    let code = match buffers.data {
        Data::Read => major::READ,
        Data::Write => major::WRITE,
        Data::Control(_) => major::DEVICE_CONTROL,
    };
    cx.memory.set(file.at(FILE_OBJECT::Event).cast(), crate::layout::DISPATCHER_HEADER::SignalState, 0)?;
    let Some((irp, stack, device)) = build(cx, file, code)? else {
        return Ok(Err(STATUS_INSUFFICIENT_RESOURCES));
    };
    let filled = match buffers.data {
        Data::Control(control) => fill_control(cx, irp, stack, control, buffers)?,
        _ => fill_transfer(cx, irp, stack, device, buffers)?,
    };
    if let Err(status) = filled {
        cx.io.operations.remove(&irp);
        irp::free(cx, irp);
        return Ok(Err(status));
    }
    Ok(Ok(Prepared { irp, device }))
}

fn set_transfer(cx: &mut Machine, irp: Gva<IRP>, transfer: Transfer) {
    if let Some(operation) = cx.io.operations.get_mut(&irp) {
        operation.transfer = transfer;
    }
}

/// A system buffer with the user's input in it.
fn system_buffer(cx: &mut Machine, input: (u64, u32), size: u32) -> Result<Result<Gva, NTSTATUS>, Fault> {
    let process = cx.thread().process;
    let Some(bytes) = cx.user_read(process, input.0, u64::from(input.1)) else {
        return Ok(Err(STATUS_ACCESS_VIOLATION));
    };
    if size == 0 {
        return Ok(Ok(Gva::NULL));
    }
    let Some(at) = cx.pool_allocate(Pool::NonPaged, u64::from(size), TAG) else {
        return Ok(Err(STATUS_INSUFFICIENT_RESOURCES));
    };
    cx.memory.write_bytes(at, &bytes)?;
    Ok(Ok(at))
}

/// Locks a user buffer for the driver.
fn lock_buffer(cx: &mut Machine, irp: Gva<IRP>, buffer: (u64, u32), write: bool) -> Result<Result<(), NTSTATUS>, Fault> {
    if buffer.1 == 0 {
        return Ok(Ok(()));
    }
    let Some(mdl) = crate::mm::mdl::create_for_buffer(cx, buffer.0, buffer.1, 0) else {
        return Ok(Err(STATUS_INSUFFICIENT_RESOURCES));
    };
    if !crate::mm::mdl::probe_and_lock(cx, mdl, true, write)? {
        crate::mm::mdl::free(cx, mdl)?;
        return Ok(Err(STATUS_ACCESS_VIOLATION));
    }
    cx.memory.set(irp, IRP::MdlAddress, mdl)?;
    Ok(Ok(()))
}

fn fill_control(
    cx: &mut Machine,
    irp: Gva<IRP>,
    stack: Gva<IO_STACK_LOCATION>,
    code: u32,
    buffers: &Buffers,
) -> Result<Result<(), NTSTATUS>, Fault> {
    let (input, output) = (buffers.input, buffers.output);
    let m = &mut cx.memory;
    m.set(stack, IO_STACK_LOCATION::Parameters_DeviceIoControl_IoControlCode, code)?;
    m.set(stack, IO_STACK_LOCATION::Parameters_DeviceIoControl_InputBufferLength, input.1)?;
    m.set(stack, IO_STACK_LOCATION::Parameters_DeviceIoControl_OutputBufferLength, output.1)?;
    match code & 3 {
        // METHOD_BUFFERED: one buffer for both directions.
        0 => {
            let system = match system_buffer(cx, input, input.1.max(output.1))? {
                Ok(at) => at,
                Err(status) => return Ok(Err(status)),
            };
            cx.memory.set(irp, IRP::AssociatedIrp_SystemBuffer, system)?;
            cx.memory.set(irp, IRP::UserBuffer, Gva::new(output.0))?;
            let transfer = Transfer::Buffered {
                system: system.raw(),
                user: output.0,
                length: output.1,
                output: output.1 != 0,
            };
            set_transfer(cx, irp, transfer);
        }
        // METHOD_IN_DIRECT and METHOD_OUT_DIRECT: the input buffered, the output buffer locked.
        method @ (1 | 2) => {
            let system = match system_buffer(cx, input, input.1)? {
                Ok(at) => at,
                Err(status) => return Ok(Err(status)),
            };
            cx.memory.set(irp, IRP::AssociatedIrp_SystemBuffer, system)?;
            set_transfer(cx, irp, Transfer::Direct { system: system.raw() });
            if let Err(status) = lock_buffer(cx, irp, output, method == 2)? {
                if !system.is_null() {
                    cx.pool_free(system);
                }
                return Ok(Err(status));
            }
        }
        // METHOD_NEITHER: the user's own addresses.
        _ => {
            cx.memory.set(stack, IO_STACK_LOCATION::Parameters_DeviceIoControl_Type3InputBuffer, Gva::new(input.0))?;
            cx.memory.set(irp, IRP::UserBuffer, Gva::new(output.0))?;
        }
    }
    Ok(Ok(()))
}

fn fill_transfer(
    cx: &mut Machine,
    irp: Gva<IRP>,
    stack: Gva<IO_STACK_LOCATION>,
    device: Gva<DEVICE_OBJECT>,
    buffers: &Buffers,
) -> Result<Result<(), NTSTATUS>, Fault> {
    let write = buffers.data == Data::Write;
    let buffer = if write { buffers.input } else { buffers.output };
    let m = &mut cx.memory;
    m.set(stack, IO_STACK_LOCATION::Parameters_Read_Length, buffer.1)?;
    m.set(stack, IO_STACK_LOCATION::Parameters_Read_ByteOffset, buffers.offset as i64)?;
    m.set(irp, IRP::UserBuffer, Gva::new(buffer.0))?;
    let flags = m.get(device, DEVICE_OBJECT::Flags)?;
    if flags & DO_BUFFERED_IO != 0 {
        let input = if write { buffer } else { (0, 0) };
        let system = match system_buffer(cx, input, buffer.1)? {
            Ok(at) => at,
            Err(status) => return Ok(Err(status)),
        };
        cx.memory.set(irp, IRP::AssociatedIrp_SystemBuffer, system)?;
        let transfer =
            Transfer::Buffered { system: system.raw(), user: buffer.0, length: buffer.1, output: !write };
        set_transfer(cx, irp, transfer);
    } else if flags & DO_DIRECT_IO != 0 {
        return lock_buffer(cx, irp, buffer, !write);
    }
    Ok(Ok(()))
}

/// Sends a prepared request and waits for it. Status in the low, nothing in the high half; the
/// information is kept in the requests' state.
#[resumable(
    struct TransferAndWait;
)]
pub fn transfer(cx: &mut Machine, handle: u64, buffers: Buffers) -> Result<NTSTATUS, Fault> {
    let prepared: Prepared = match prepare(cx, handle, &buffers)? {
        Ok(prepared) => prepared,
        Err(status) => {
            {
            let thread = cx.thread().id;
            cx.io.user.note(thread, 0);
        }
            return Ok(status);
        }
    };
    let irp: Gva<IRP> = prepared.irp;
    let status: NTSTATUS = host!(send_and_wait(prepared.device, irp));
    let (_, information) = reap(cx, irp);
    {
            let thread = cx.thread().id;
            cx.io.user.note(thread, information);
        }
    Ok(status)
}

/// The status block of an IRP, for people.
#[must_use]
pub fn status_of(cx: &Machine, irp: Gva<IRP>) -> Option<NTSTATUS> {
    cx.memory.peek(irp.at(IRP::IoStatus).at(IO_STATUS_BLOCK::Status))
}
