//! Opening and closing files. Documentation: wdm.h "ZwCreateFile", "IRP_MJ_CREATE", "IRP_MJ_CLEANUP",
//! "IRP_MJ_CLOSE", "Controlling Device Namespace Access".

use ring3_macros::resumable;
use ring3_memory::{Fault, Gva};

use super::file::{build, major, reap, send_and_wait};
use crate::Machine;
use crate::flow::Flow;
use crate::ke::dispatcher::kind;
use crate::ke::event::initialize_header;
use crate::layout::{
    DEVICE_OBJECT, FILE_OBJECT, IO_SECURITY_CONTEXT, IO_STACK_LOCATION, IRP, KEVENT, UNICODE_STRING,
};
use crate::machine::finding::Severity;
use crate::machine::thread::ProcessId;
use crate::ntstatus::{
    NTSTATUS, STATUS_ACCESS_DENIED, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_HANDLE,
    STATUS_NO_SUCH_DEVICE, STATUS_OBJECT_NAME_NOT_FOUND, STATUS_OBJECT_TYPE_MISMATCH,
};
use crate::ob::{Kind, handles};

/// `IO_TYPE_FILE`.
const IO_TYPE_FILE: i16 = 5;
/// `FO_SYNCHRONOUS_IO`.
pub(super) const FO_SYNCHRONOUS_IO: u32 = 2;
/// `FO_HANDLE_CREATED`.
const FO_HANDLE_CREATED: u32 = 0x0004_0000;
/// `FO_CLEANUP_COMPLETE`.
const FO_CLEANUP_COMPLETE: u32 = 0x4000;
/// `DO_EXCLUSIVE`.
const DO_EXCLUSIVE: u32 = 0x08;
/// `FILE_DEVICE_SECURE_OPEN`.
const FILE_DEVICE_SECURE_OPEN: u32 = 0x100;

/// How a file is to be opened.
#[derive(Clone, Hash, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// NT path.
    pub path: String,
    /// Desired access.
    pub access: u32,
    /// Share access.
    pub share: u32,
    /// Create options, with the disposition in the highest byte, as the stack location holds them.
    pub options: u32,
    /// Whether requests on the handle may stay pending.
    pub overlapped: bool,
    /// Whether the handle is a kernel handle.
    pub kernel_handle: bool,
}

/// `GENERIC_*` access bits as file access rights: the generic mapping of files, wdm.h `FILE_GENERIC_READ` and
/// neighbours.
#[must_use]
pub fn map_generic(access: u32) -> u32 {
    let map = [
        (1u32 << 31, 0x0012_0089),
        (1 << 30, 0x0012_0116),
        (1 << 29, 0x0012_00a0),
        (1 << 28, 0x001f_01ff),
    ];
    map.iter()
        .filter(|(bit, _)| access & bit != 0)
        .fold(access & 0x0fff_ffff, |all, (_, rights)| all | rights)
}

/// Whether the device may be opened now.
fn may_open(
    cx: &mut Machine,
    device: Gva<DEVICE_OBJECT>,
    rest: &str,
) -> Result<Option<NTSTATUS>, Fault> {
    let flags = cx.memory.get(device, DEVICE_OBJECT::Flags)?;
    if flags & super::device::DO_DEVICE_INITIALIZING != 0 {
        let owner = cx.ob.objects.get(&device.raw()).map_or(0, |o| o.owner);
        let text = format!(
            "{} cannot be opened: DO_DEVICE_INITIALIZING is still set in its flags",
            super::device::device_name(cx, device)
        );
        cx.report_at(
            "device/still-initializing",
            Severity::Warning,
            text,
            owner.wrapping_sub(1),
        );
        return Ok(Some(STATUS_NO_SUCH_DEVICE));
    }
    if flags & DO_EXCLUSIVE != 0 && cx.memory.get(device, DEVICE_OBJECT::ReferenceCount)? > 0 {
        return Ok(Some(STATUS_ACCESS_DENIED));
    }
    let characteristics = cx.memory.get(device, DEVICE_OBJECT::Characteristics)?;
    if !rest.is_empty() && characteristics & FILE_DEVICE_SECURE_OPEN == 0 {
        let owner = cx.ob.objects.get(&device.raw()).map_or(0, |o| o.owner);
        let text = format!(
            "{} was opened with the name {rest} behind it: without FILE_DEVICE_SECURE_OPEN such an open is not \
             checked against the device's security descriptor",
            super::device::device_name(cx, device)
        );
        cx.report_at(
            "device/no-secure-open",
            Severity::Note,
            text,
            owner.wrapping_sub(1),
        );
    }
    Ok(None)
}

/// The access that a handle to a device gets. For user mode it is checked against the device's security
/// descriptor; a name behind that of the device is the driver's own matter, unless the device has
/// FILE_DEVICE_SECURE_OPEN ("Controlling Device Namespace Access").
fn granted_access(
    cx: &mut Machine,
    device: Gva<DEVICE_OBJECT>,
    rest: &str,
    desired: u32,
) -> Result<Result<u32, NTSTATUS>, Fault> {
    let characteristics = cx.memory.get(device, DEVICE_OBJECT::Characteristics)?;
    let checked = rest.is_empty() || characteristics & FILE_DEVICE_SECURE_OPEN != 0;
    if cx.thread().previous_mode == 0 || !checked {
        return Ok(Ok(map_generic(desired)));
    }
    let token = crate::se::token_object::effective(cx);
    let descriptor = crate::se::object_security::of(cx, device.raw());
    let request = crate::se::access::Request {
        desired: map_generic(desired),
        previous: 0,
        mapping: [0x12_0089, 0x12_0116, 0x12_00a0, 0x1f_01ff],
    };
    let result = crate::se::access::evaluate(&token, &descriptor, request);
    if let Err(status) = result
        && cx.trace.set.irp
    {
        let text = format!(
            "{} may not be opened by {} with access {:#x}: {status:?}",
            super::device::device_name(cx, device),
            crate::se::sid::text(&token.user).unwrap_or_default(),
            map_generic(desired),
        );
        cx.trace_line(text);
    }
    Ok(result.map(|granted| granted.access))
}

/// A fresh file object and the security context of its create request.
type NewFile = (Gva<FILE_OBJECT>, Gva<IO_SECURITY_CONTEXT>);

/// A file object for a device, with its name and security context behind it. `None` if memory is used up.
fn create_file_object(
    cx: &mut Machine,
    device: Gva<DEVICE_OBJECT>,
    rest: &str,
    open: &Open,
) -> Result<Option<NewFile>, Fault> {
    let units: Vec<u8> = rest.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let access = map_generic(open.access);
    let extra = units.len() as u64 + 2 + IO_SECURITY_CONTEXT::SIZE + 16;
    let Some(body) = cx.create_object(Kind::File, FILE_OBJECT::SIZE + extra, "", 0) else {
        return Ok(None);
    };
    let file: Gva<FILE_OBJECT> = body.cast();
    let context: Gva<IO_SECURITY_CONTEXT> =
        body.byte_add(FILE_OBJECT::SIZE.next_multiple_of(16)).cast();
    let text = context.cast::<u8>().byte_add(IO_SECURITY_CONTEXT::SIZE);
    cx.memory.write_bytes(text, &units)?;
    let name = file.at(FILE_OBJECT::FileName);
    let m = &mut cx.memory;
    m.set(name, UNICODE_STRING::Length, units.len() as u16)?;
    m.set(name, UNICODE_STRING::MaximumLength, units.len() as u16)?;
    m.set(
        name,
        UNICODE_STRING::Buffer,
        if units.is_empty() {
            Gva::NULL
        } else {
            text.cast()
        },
    )?;
    m.set(file, FILE_OBJECT::Type, IO_TYPE_FILE)?;
    m.set(file, FILE_OBJECT::Size, FILE_OBJECT::SIZE as i16)?;
    m.set(file, FILE_OBJECT::DeviceObject, device)?;
    m.set(
        file,
        FILE_OBJECT::Flags,
        if open.overlapped {
            0
        } else {
            FO_SYNCHRONOUS_IO
        },
    )?;
    m.set(file, FILE_OBJECT::ReadAccess, u8::from(access & 1 != 0))?;
    m.set(file, FILE_OBJECT::WriteAccess, u8::from(access & 6 != 0))?;
    m.set(
        file,
        FILE_OBJECT::DeleteAccess,
        u8::from(access & 0x1_0000 != 0),
    )?;
    m.set(context, IO_SECURITY_CONTEXT::DesiredAccess, access)?;
    m.set(
        context,
        IO_SECURITY_CONTEXT::FullCreateOptions,
        open.options & 0x00ff_ffff,
    )?;
    initialize_header(
        cx,
        file.at(FILE_OBJECT::Lock).cast(),
        kind::EVENT_SYNCHRONIZATION,
        KEVENT::SIZE,
        0,
    )?;
    initialize_header(
        cx,
        file.at(FILE_OBJECT::Event).cast(),
        kind::EVENT_NOTIFICATION,
        KEVENT::SIZE,
        0,
    )?;
    let count: i32 = cx.memory.get(device, DEVICE_OBJECT::ReferenceCount)?;
    cx.memory
        .set(device, DEVICE_OBJECT::ReferenceCount, count.wrapping_add(1))?;
    cx.reference_object(device.raw());
    Ok(Some((file, context)))
}

/// Opens a file for the current process. Gives the status; the handle is left as the thread's note.
#[resumable]
pub fn create_file(cx: &mut Machine, open: Open) -> Result<Flow, Fault> {
    {
        let thread = cx.thread().id;
        cx.io.user.note(thread, 0);
    }
    let found = match cx.lookup_path(&open.path) {
        Some(found) => found,
        None => return Ok(Flow::Return(u64::from(STATUS_OBJECT_NAME_NOT_FOUND.0))),
    };
    if !matches!(
        cx.ob.objects.get(&found.body).map(|o| &o.kind),
        Some(Kind::Device)
    ) {
        return Ok(Flow::Return(u64::from(STATUS_OBJECT_TYPE_MISMATCH.0)));
    }
    let device: Gva<DEVICE_OBJECT> = Gva::new(found.body);
    if let Some(status) = may_open(cx, device, &found.rest)? {
        return Ok(Flow::Return(u64::from(status.0)));
    }
    let access: u32 = match granted_access(cx, device, &found.rest, open.access)? {
        Ok(access) => access,
        Err(status) => return Ok(Flow::Return(u64::from(status.0))),
    };
    let Some((created, context)) = create_file_object(cx, device, &found.rest, &open)? else {
        return Ok(Flow::Return(u64::from(STATUS_INSUFFICIENT_RESOURCES.0)));
    };
    let file: Gva<FILE_OBJECT> = created;
    let Some((built, stack, top)) = build(cx, file, major::CREATE)? else {
        drop_file(cx, file)?;
        return Ok(Flow::Return(u64::from(STATUS_INSUFFICIENT_RESOURCES.0)));
    };
    let irp: Gva<IRP> = built;
    let m = &mut cx.memory;
    m.set(
        stack,
        IO_STACK_LOCATION::Parameters_Create_SecurityContext,
        context,
    )?;
    m.set(
        stack,
        IO_STACK_LOCATION::Parameters_Create_Options,
        open.options,
    )?;
    m.set(
        stack,
        IO_STACK_LOCATION::Parameters_Create_ShareAccess,
        open.share as u16,
    )?;
    let status: NTSTATUS = host!(send_and_wait(top, irp));
    reap(cx, irp);
    if !status.is_success() {
        // A create that failed gets neither cleanup nor close.
        drop_file(cx, file)?;
        return Ok(Flow::Return(u64::from(status.0)));
    }
    let flags = cx.memory.get(file, FILE_OBJECT::Flags)?;
    cx.memory
        .set(file, FILE_OBJECT::Flags, flags | FO_HANDLE_CREATED)?;
    let process: ProcessId = cx.thread().process;
    let handle = handles::open(cx, file.raw(), access, process, open.kernel_handle);
    // The handle holds the reference from now on.
    cx.dereference_object(file.raw());
    let thread = cx.thread().id;
    cx.io.user.note(thread, handle);
    Ok(Flow::Return(u64::from(status.0)))
}

/// The file object goes: the device loses its reference.
fn drop_file(cx: &mut Machine, file: Gva<FILE_OBJECT>) -> Result<(), Fault> {
    let device = cx.memory.get(file, FILE_OBJECT::DeviceObject)?;
    let count: i32 = cx.memory.get(device, DEVICE_OBJECT::ReferenceCount)?;
    cx.memory
        .set(device, DEVICE_OBJECT::ReferenceCount, count.wrapping_sub(1))?;
    cx.delete_object(file.raw());
    cx.dereference_object(device.raw());
    super::pnp::file_closed(cx);
    super::driver::file_closed(cx);
    Ok(())
}

/// Closes a handle; with the last one cleanup and close go to the driver. Gives the status.
#[resumable]
pub fn close_handle(cx: &mut Machine, handle: u64) -> Result<Flow, Fault> {
    if let Some(flow) = handles::why_not_closed(cx, handle) {
        return Ok(flow);
    }
    let key: u64 = handles::last_of_key(cx, handle);
    if key != 0 {
        host!(crate::cm::filter::closing(key, false));
    }
    let Some((taken, last)) = handles::take(cx, handle) else {
        return Ok(Flow::Return(u64::from(STATUS_INVALID_HANDLE.0)));
    };
    let object: u64 = taken;
    let gone: bool = last;
    if key != 0 {
        host!(crate::cm::filter::closing(key, true));
    }
    let file: Gva<FILE_OBJECT> = Gva::new(object);
    let is_file = matches!(
        cx.ob.objects.get(&object).map(|o| &o.kind),
        Some(Kind::File)
    );
    if is_file && gone {
        if let Some((built, _, top)) = build(cx, file, major::CLEANUP)? {
            let irp: Gva<IRP> = built;
            host!(send_and_wait(top, irp));
            reap(cx, irp);
        }
        let flags = cx.memory.get(file, FILE_OBJECT::Flags)?;
        cx.memory
            .set(file, FILE_OBJECT::Flags, flags | FO_CLEANUP_COMPLETE)?;
    }
    host!(release(object));
    Ok(Flow::Return(0))
}

/// Drops a reference to an object; the last one to a file sends its close request.
#[resumable]
pub fn release(cx: &mut Machine, object: u64) -> u64 {
    let count: u64 = cx.dereference_object(object).map_or(0, |c| c.max(0) as u64);
    if count == 0
        && matches!(
            cx.ob.objects.get(&object).map(|o| &o.kind),
            Some(Kind::File)
        )
    {
        host!(close_file(Gva::new(object)));
    }
    count
}

/// What follows when a driver drops the last reference to a file: the close request. Gives the count, 0.
#[resumable]
pub fn release_dead(cx: &mut Machine, object: u64) -> u64 {
    let _ = &cx;
    host!(close_file(Gva::new(object)));
    0
}

/// The last reference to a file is gone: the driver gets its close request.
#[resumable]
pub fn close_file(cx: &mut Machine, file: Gva<FILE_OBJECT>) -> Result<(), Fault> {
    if let Some((built, _, top)) = build(cx, file, major::CLOSE)? {
        let irp: Gva<IRP> = built;
        host!(send_and_wait(top, irp));
        reap(cx, irp);
    }
    drop_file(cx, file)
}

/// A thread that closes a file whose last reference went where nobody can wait.
#[resumable]
fn close_and_end(cx: &mut Machine, file: Gva<FILE_OBJECT>) -> Flow {
    let _ = &cx;
    host!(close_file(file));
    Flow::ThreadEnd
}

/// Drops a reference to a file from a place that cannot wait: the close request, if it comes to that, is
/// sent by a thread of its own in the same process.
pub(super) fn release_later(cx: &mut Machine, file: u64, process: ProcessId) {
    let last = cx.dereference_object(file).is_some_and(|c| c <= 0);
    if last && matches!(cx.ob.objects.get(&file).map(|o| &o.kind), Some(Kind::File)) {
        cx.create_thread(process, "close", close_and_end(Gva::new(file)));
    }
}
