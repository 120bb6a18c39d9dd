//! Opening, using and closing files. Documentation: wdm.h and ntifs.h, "Zw" file routines;
//! "Dispatching IRPs", "Methods for Accessing Data Buffers".

use ring3_macros::resumable;
use ring3_memory::{Access, Fault, Gva, Privilege};

use super::{Operation, Transfer, irp};
use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::flow::{Flow, Key};
use crate::layout::{DEVICE_OBJECT, DRIVER_OBJECT, FILE_OBJECT, IO_STACK_LOCATION, IRP, element};
use crate::machine::finding::Severity;
use crate::machine::wait::Wait;
use crate::ntstatus::{
    NTSTATUS, STATUS_ACCESS_DENIED, STATUS_ACCESS_VIOLATION, STATUS_INSUFFICIENT_RESOURCES,
    STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH, STATUS_PENDING,
};
use crate::ob::{Kind, handles};

const TAG: u32 = u32::from_le_bytes(*b"IoSB");
/// `DO_BUFFERED_IO`, `DO_DIRECT_IO`.
const DO_BUFFERED_IO: u32 = 4;
const DO_DIRECT_IO: u32 = 0x10;
/// Major function codes.
pub(super) mod major {
    pub const CREATE: u8 = 0;
    pub const CLOSE: u8 = 2;
    pub const READ: u8 = 3;
    pub const WRITE: u8 = 4;
    pub const DEVICE_CONTROL: u8 = 0xe;
    pub const INTERNAL_DEVICE_CONTROL: u8 = 0xf;
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
    /// A control code that only kernel code sends: `IRP_MJ_INTERNAL_DEVICE_CONTROL`.
    Internal(u32),
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

/// The file behind a handle, if its access is enough for the request. Documentation: "Defining I/O Control
/// Codes" (RequiredAccess).
fn file_of(cx: &Machine, handle: u64, data: &Data) -> Result<Gva<FILE_OBJECT>, NTSTATUS> {
    let entry = handles::find(cx, handle).ok_or(STATUS_INVALID_HANDLE)?;
    if !matches!(
        cx.ob.objects.get(&entry.object).map(|o| &o.kind),
        Some(Kind::File)
    ) {
        return Err(STATUS_OBJECT_TYPE_MISMATCH);
    }
    // FILE_READ_DATA 1, FILE_WRITE_DATA 2, FILE_APPEND_DATA 4.
    let granted = match data {
        Data::Read => entry.access & 1 != 0,
        Data::Write => entry.access & 6 != 0,
        Data::Control(code) | Data::Internal(code) => {
            entry.access & 3 & (code >> 14 & 3) == code >> 14 & 3
        }
    };
    if granted || cx.thread().previous_mode == 0 {
        Ok(Gva::new(entry.object))
    } else {
        Err(STATUS_ACCESS_DENIED)
    }
}

/// Whether the running thread may write the whole buffer: a user-mode request is probed, as
/// ProbeForWrite does.
fn may_write(cx: &Machine, buffer: (u64, u32)) -> bool {
    let (at, length) = (buffer.0, u64::from(buffer.1));
    if length == 0 || cx.thread().previous_mode == 0 {
        return true;
    }
    at.checked_add(length)
        .is_some_and(|end| end <= cx.build.user_probe_address)
        && cx
            .memory
            .check(at, length, Access::Write, Privilege::User)
            .is_ok()
}

/// An IRP, its first stack location, and the device it goes to.
pub(super) type Built = (Gva<IRP>, Gva<IO_STACK_LOCATION>, Gva<DEVICE_OBJECT>);

/// `IRP.Flags` of a request: `IRP_CREATE_OPERATION`, `IRP_CLOSE_OPERATION`, `IRP_READ_OPERATION`,
/// `IRP_WRITE_OPERATION` with `IRP_DEFER_IO_COMPLETION`, and `IRP_SYNCHRONOUS_API`, from wdm.h.
const fn irp_flags(major: u8) -> u32 {
    match major {
        major::CREATE => 0x0884,
        major::CLEANUP | major::CLOSE => 0x0404,
        major::READ => 0x0900,
        major::WRITE => 0x0a00,
        _ => 0,
    }
}

/// An IRP for the top of the file's device stack, its first location filled.
pub(super) fn build(
    cx: &mut Machine,
    file: Gva<FILE_OBJECT>,
    major: u8,
) -> Result<Option<Built>, Fault> {
    let device = cx.memory.get(file, FILE_OBJECT::DeviceObject)?;
    let top = cx.attached_device(device);
    let depth: i8 = cx.memory.get(top, DEVICE_OBJECT::StackSize)?;
    let Some(irp) = irp::allocate(cx, depth.max(1) as u8, 0) else {
        return Ok(None);
    };
    let stack = irp::next_location(cx, irp)?;
    let thread = cx.thread().object;
    // Cleanup and close are the system's own requests.
    let mode = if matches!(major, major::CLEANUP | major::CLOSE) {
        0
    } else {
        cx.thread().previous_mode
    };
    let m = &mut cx.memory;
    m.set(irp, IRP::Flags, irp_flags(major))?;
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
        detached: false,
        number: None,
        holds_file: false,
        marked: false,
    };
    cx.io.operations.insert(irp, operation);
    Ok(Some((irp, stack, top)))
}

/// Sends an IRP of our own and waits until it is complete. Gives its status.
#[resumable]
pub(super) fn send_and_wait(
    cx: &mut Machine,
    device: Gva<DEVICE_OBJECT>,
    irp: Gva<IRP>,
) -> NTSTATUS {
    host!(send(device, irp));
    while cx.io.operations.get(&irp).is_some_and(|o| o.done.is_none()) {
        wait!(Wait::On(Key::new("irp-done", irp.raw())));
    }
    let status = cx
        .io
        .operations
        .get(&irp)
        .and_then(|o| o.done)
        .map_or(0, |(s, _)| s);
    NTSTATUS(status)
}

/// `SL_PENDING_RETURNED`.
const SL_PENDING_RETURNED: u8 = 1;

/// What the top driver's dispatch routine returned must fit what it did with the IRP ("Returning
/// STATUS_PENDING", "Completing an IRP in a Dispatch Routine"). `location` is the driver's stack location.
fn check_returned(
    cx: &mut Machine,
    irp: Gva<IRP>,
    entry: u64,
    location: Gva<IO_STACK_LOCATION>,
    returned: NTSTATUS,
) {
    let Some(operation) = cx.io.operations.get(&irp) else {
        return;
    };
    let (done, marked) = match operation.done {
        Some((status, _)) => (Some(NTSTATUS(status)), operation.marked),
        None => {
            let control = cx
                .memory
                .peek(location.at(IO_STACK_LOCATION::Control))
                .unwrap_or(0);
            (None, control & SL_PENDING_RETURNED != 0)
        }
    };
    let at = irp.raw();
    let (rule, text) = match done {
        _ if returned == STATUS_PENDING && !marked => (
            "irp/pending-not-marked",
            format!(
                "a dispatch routine returned STATUS_PENDING without IoMarkIrpPending for the IRP {at:#x}"
            ),
        ),
        None if returned != STATUS_PENDING => (
            "irp/not-completed",
            format!(
                "a dispatch routine returned {returned} but has neither completed the IRP {at:#x} nor marked it pending"
            ),
        ),
        Some(_) if returned != STATUS_PENDING && marked => (
            "irp/marked-not-pending",
            format!("a dispatch routine marked the IRP {at:#x} pending but returned {returned}"),
        ),
        Some(status) if returned != STATUS_PENDING && returned != status => (
            "irp/status-mismatch",
            format!(
                "a dispatch routine returned {returned}, but completed the IRP {at:#x} with {status}"
            ),
        ),
        _ => return,
    };
    cx.report_at(rule, Severity::Error, text, entry);
}

/// IoCallDriver for a request of our own, with a look at what the driver's dispatch routine returned.
#[resumable]
pub fn send(
    cx: &mut Machine,
    device: Gva<DEVICE_OBJECT>,
    irp: Gva<IRP>,
) -> Result<NTSTATUS, Fault> {
    let location: Gva<IO_STACK_LOCATION> = irp::next_location(cx, irp)?;
    let driver = cx.memory.get(device, DEVICE_OBJECT::DriverObject)?;
    let major = cx.memory.get(location, IO_STACK_LOCATION::MajorFunction)?;
    let table = driver.at(DRIVER_OBJECT::MajorFunction);
    let entry: u64 = cx
        .memory
        .read(element(table, u64::from(major).min(27)))?
        .raw();
    let level: u8 = cx.irql();
    let returned: NTSTATUS = host!(forward(device, irp));
    if cx.irql() != level {
        let text = format!(
            "a dispatch routine was called at IRQL {level} and returned at {}",
            cx.irql()
        );
        cx.report_at("irql/dispatch-routine", Severity::Error, text, entry);
        // A system service notices at its end.
        if !cx.thread().user {
            cx.set_irql(level);
        }
    }
    check_returned(cx, irp, entry, location, returned);
    Ok(returned)
}

/// IoCallDriver as a routine that can be called.
#[resumable]
pub fn forward(cx: &mut Machine, device: Gva<DEVICE_OBJECT>, irp: Gva<IRP>) -> Result<Flow, Fault> {
    irp::call_driver(cx, device, irp)
}

/// Takes the result of a finished IRP of our own and frees it.
pub(super) fn reap(cx: &mut Machine, irp: Gva<IRP>) -> (u32, u64) {
    let done = cx
        .io
        .operations
        .remove(&irp)
        .and_then(|o| o.done)
        .unwrap_or((0, 0));
    irp::free(cx, irp);
    done
}

/// What is left of preparing a request.
#[derive(Clone, Hash, Debug, Default)]
pub struct Prepared {
    /// The IRP.
    pub irp: Gva<IRP>,
    /// Where it goes.
    pub device: Gva<DEVICE_OBJECT>,
    /// The file; the request holds a reference to it.
    pub file: Gva<FILE_OBJECT>,
}

/// Builds the IRP of a read, write or ioctl with its buffers.
///
/// # Errors
/// The outer error is a fault of a kernel structure; the inner one the status that the user gets.
pub fn prepare(
    cx: &mut Machine,
    handle: u64,
    buffers: &Buffers,
) -> Result<Result<Prepared, NTSTATUS>, Fault> {
    let file = match file_of(cx, handle, &buffers.data) {
        Ok(file) => file,
        Err(status) => return Ok(Err(status)),
    };
    let code = match buffers.data {
        Data::Read => major::READ,
        Data::Write => major::WRITE,
        Data::Control(_) => major::DEVICE_CONTROL,
        Data::Internal(_) => major::INTERNAL_DEVICE_CONTROL,
    };
    cx.memory.set(
        file.at(FILE_OBJECT::Event).cast(),
        crate::layout::DISPATCHER_HEADER::SignalState,
        0,
    )?;
    let Some((irp, stack, device)) = build(cx, file, code)? else {
        return Ok(Err(STATUS_INSUFFICIENT_RESOURCES));
    };
    let filled = match buffers.data {
        Data::Control(control) | Data::Internal(control) => {
            fill_control(cx, irp, stack, control, buffers)?
        }
        _ => fill_transfer(cx, irp, stack, device, buffers)?,
    };
    if let Err(status) = filled {
        cx.io.operations.remove(&irp);
        irp::free(cx, irp);
        return Ok(Err(status));
    }
    // The request keeps the file: closing its last handle meanwhile sends cleanup, not yet close.
    cx.reference_object(file.raw());
    if let Some(operation) = cx.io.operations.get_mut(&irp) {
        operation.holds_file = true;
    }
    Ok(Ok(Prepared { irp, device, file }))
}

fn set_transfer(cx: &mut Machine, irp: Gva<IRP>, transfer: Transfer) {
    if let Some(operation) = cx.io.operations.get_mut(&irp) {
        operation.transfer = transfer;
    }
}

/// A system buffer with the user's input in it.
fn system_buffer(
    cx: &mut Machine,
    input: (u64, u32),
    size: u32,
) -> Result<Result<Gva, NTSTATUS>, Fault> {
    let process = cx.thread().process;
    let end = input.0.checked_add(u64::from(input.1));
    let outside =
        cx.thread().previous_mode != 0 && end.is_none_or(|e| e > cx.build.user_probe_address);
    let bytes = if outside && input.1 != 0 {
        None
    } else {
        cx.user_read(process, input.0, u64::from(input.1))
    };
    let Some(bytes) = bytes else {
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
fn lock_buffer(
    cx: &mut Machine,
    irp: Gva<IRP>,
    buffer: (u64, u32),
    write: bool,
) -> Result<Result<(), NTSTATUS>, Fault> {
    if buffer.1 == 0 {
        return Ok(Ok(()));
    }
    let Some(mdl) = crate::mm::mdl::create_for_buffer(cx, buffer.0, buffer.1, 0) else {
        return Ok(Err(STATUS_INSUFFICIENT_RESOURCES));
    };
    let user = cx.thread().previous_mode != 0;
    if !crate::mm::mdl::probe_and_lock(cx, mdl, user, write)? {
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
    m.set(
        stack,
        IO_STACK_LOCATION::Parameters_DeviceIoControl_IoControlCode,
        code,
    )?;
    m.set(
        stack,
        IO_STACK_LOCATION::Parameters_DeviceIoControl_InputBufferLength,
        input.1,
    )?;
    m.set(
        stack,
        IO_STACK_LOCATION::Parameters_DeviceIoControl_OutputBufferLength,
        output.1,
    )?;
    match code & 3 {
        // METHOD_BUFFERED: one buffer for both directions.
        0 => {
            if !may_write(cx, output) {
                return Ok(Err(STATUS_ACCESS_VIOLATION));
            }
            let system = match system_buffer(cx, input, input.1.max(output.1))? {
                Ok(at) => at,
                Err(status) => return Ok(Err(status)),
            };
            cx.memory
                .set(irp, IRP::AssociatedIrp_SystemBuffer, system)?;
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
            cx.memory
                .set(irp, IRP::AssociatedIrp_SystemBuffer, system)?;
            set_transfer(
                cx,
                irp,
                Transfer::Direct {
                    system: system.raw(),
                },
            );
            if let Err(status) = lock_buffer(cx, irp, output, method == 2)? {
                if !system.is_null() {
                    cx.pool_free(system);
                }
                return Ok(Err(status));
            }
        }
        // METHOD_NEITHER: the user's own addresses.
        _ => {
            cx.memory.set(
                stack,
                IO_STACK_LOCATION::Parameters_DeviceIoControl_Type3InputBuffer,
                Gva::new(input.0),
            )?;
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
    m.set(
        stack,
        IO_STACK_LOCATION::Parameters_Read_ByteOffset,
        buffers.offset as i64,
    )?;
    m.set(irp, IRP::UserBuffer, Gva::new(buffer.0))?;
    let flags = m.get(device, DEVICE_OBJECT::Flags)?;
    if flags & DO_BUFFERED_IO != 0 {
        if !write && !may_write(cx, buffer) {
            return Ok(Err(STATUS_ACCESS_VIOLATION));
        }
        let input = if write { buffer } else { (0, 0) };
        let system = match system_buffer(cx, input, buffer.1)? {
            Ok(at) => at,
            Err(status) => return Ok(Err(status)),
        };
        cx.memory
            .set(irp, IRP::AssociatedIrp_SystemBuffer, system)?;
        let transfer = Transfer::Buffered {
            system: system.raw(),
            user: buffer.0,
            length: buffer.1,
            output: !write,
        };
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
    {
        let thread = cx.thread().id;
        cx.io.user.note(thread, 0);
    }
    let prepared: Prepared = match prepare(cx, handle, &buffers)? {
        Ok(prepared) => prepared,
        Err(status) => return Ok(status),
    };
    let irp: Gva<IRP> = prepared.irp;
    let status: NTSTATUS = host!(send_and_wait(prepared.device, irp));
    let (_, done) = reap(cx, irp);
    let information: u64 = done;
    host!(super::open::release(prepared.file.raw()));
    let thread = cx.thread().id;
    cx.io.user.note(thread, information);
    Ok(status)
}
