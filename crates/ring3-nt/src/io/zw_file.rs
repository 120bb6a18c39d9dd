//! Files for kernel code: the Zw routines. Documentation: wdm.h, ntifs.h, "Using Files in a Driver".

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use super::device::read_string;
use super::file::{self, Buffers, Data, Prepared};
use super::open::{self, FO_SYNCHRONOUS_IO, Open};
use crate::Machine;
use crate::flow::Flow;
use crate::layout::{
    DEVICE_OBJECT, DISPATCHER_HEADER, FILE_OBJECT, IO_STATUS_BLOCK, IRP, LARGE_INTEGER,
    OBJECT_ATTRIBUTES, UNICODE_STRING,
};
use crate::ntstatus::{
    NTSTATUS, STATUS_INVALID_HANDLE, STATUS_INVALID_PARAMETER, STATUS_OBJECT_TYPE_MISMATCH,
    STATUS_SUCCESS,
};
use crate::ob::{Kind, handles};

/// `OBJ_KERNEL_HANDLE`.
const OBJ_KERNEL_HANDLE: u32 = 0x200;
/// `FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT`.
const FILE_SYNCHRONOUS_IO: u32 = 0x30;
/// `FILE_OPEN`.
const FILE_OPEN: u32 = 1;
/// `FILE_USE_FILE_POINTER_POSITION` as the low half of a byte offset whose high half is -1.
const USE_POSITION: i64 = -2;

/// The path that object attributes name; the inner `None` is a root that is not modelled.
///
/// # Errors
/// A fault if they cannot be read.
pub fn path_of(
    cx: &Machine,
    attributes: Gva<OBJECT_ATTRIBUTES>,
) -> Result<Result<String, NTSTATUS>, Fault> {
    if attributes.is_null() {
        return Ok(Ok(String::new()));
    }
    let name = read_string(
        cx,
        cx.memory.get(attributes, OBJECT_ATTRIBUTES::ObjectName)?,
    )?;
    let root = cx
        .memory
        .get(attributes, OBJECT_ATTRIBUTES::RootDirectory)?
        .raw();
    if root == 0 {
        return Ok(Ok(name));
    }
    let Some(entry) = handles::find(cx, root) else {
        return Ok(Err(STATUS_INVALID_HANDLE));
    };
    Ok(match cx.ob.objects.get(&entry.object) {
        Some(object) if object.kind == Kind::Directory => Ok(format!("{}\\{name}", object.name)),
        _ => Err(STATUS_OBJECT_TYPE_MISMATCH),
    })
}

/// Kernel code asks: the previous mode is kernel mode as long as it takes. Gives the mode to go back to.
fn enter_kernel(cx: &mut Machine) -> u8 {
    std::mem::replace(&mut cx.thread_mut().previous_mode, 0)
}

/// ZwCreateFile.
#[resumable(
    fn on_unwind(&mut self, cx: &mut Machine) { cx.thread_mut().previous_mode = self.mode; }
)]
fn zw_create(
    cx: &mut Machine,
    out: Gva<u64>,
    block: Gva<IO_STATUS_BLOCK>,
    open: Open,
) -> Result<NTSTATUS, Fault> {
    let mode: u8 = enter_kernel(cx);
    let status: NTSTATUS = host!(open::create_file(open.clone()));
    cx.thread_mut().previous_mode = mode;
    cx.memory.set(block, IO_STATUS_BLOCK::Status, status)?;
    let thread = cx.thread().id;
    let handle = cx.io.user.noted(thread);
    if status.is_success() {
        // FILE_OPENED.
        cx.memory.set(block, IO_STATUS_BLOCK::Information, 1)?;
        cx.memory.write(out, handle)?;
    }
    Ok(status)
}

fn create(
    cx: &mut Machine,
    out: Gva<u64>,
    access: u32,
    attributes: Gva<OBJECT_ATTRIBUTES>,
    block: Gva<IO_STATUS_BLOCK>,
    share: u32,
    options: u32,
) -> Result<Flow, Fault> {
    cx.memory.read(out)?;
    cx.memory.get(block, IO_STATUS_BLOCK::Information)?;
    let path = match path_of(cx, attributes)? {
        Ok(path) => path,
        Err(STATUS_OBJECT_TYPE_MISMATCH) => {
            return Ok(Flow::NotModelled(
                "opening a file relative to another file".into(),
            ));
        }
        Err(status) => return Ok(Flow::Return(u64::from(status.0))),
    };
    let kernel_handle =
        cx.memory.get(attributes, OBJECT_ATTRIBUTES::Attributes)? & OBJ_KERNEL_HANDLE != 0;
    let overlapped = options & FILE_SYNCHRONOUS_IO == 0;
    Ok(Flow::Become(zw_create(
        out,
        block,
        Open {
            path,
            access,
            share,
            options,
            overlapped,
            kernel_handle,
        },
    )))
}

/// The body of the event behind a handle, cleared; null for no handle.
fn event_of(cx: &mut Machine, handle: u64) -> Result<Result<Gva, NTSTATUS>, Fault> {
    if handle == 0 {
        return Ok(Ok(Gva::NULL));
    }
    let Some(entry) = handles::find(cx, handle) else {
        return Ok(Err(STATUS_INVALID_HANDLE));
    };
    if cx.ob.objects.get(&entry.object).map(|o| &o.kind) != Some(&Kind::Event) {
        return Ok(Err(STATUS_OBJECT_TYPE_MISMATCH));
    }
    cx.memory.set(
        Gva::<DISPATCHER_HEADER>::new(entry.object),
        DISPATCHER_HEADER::SignalState,
        0,
    )?;
    Ok(Ok(Gva::new(entry.object)))
}

/// Reads, writes or controls for kernel code.
#[resumable(
    fn on_unwind(&mut self, cx: &mut Machine) { cx.thread_mut().previous_mode = self.mode; }
)]
fn zw_transfer(
    cx: &mut Machine,
    handle: u64,
    event: Gva,
    block: Gva<IO_STATUS_BLOCK>,
    buffers: Buffers,
) -> Result<NTSTATUS, Fault> {
    let mode: u8 = enter_kernel(cx);
    let prepared: Prepared = match file::prepare(cx, handle, &buffers)? {
        Ok(prepared) => prepared,
        Err(status) => {
            cx.thread_mut().previous_mode = mode;
            return Ok(status);
        }
    };
    let irp: Gva<IRP> = prepared.irp;
    cx.memory.set(irp, IRP::UserIosb, block)?;
    cx.memory.set(irp, IRP::UserEvent, event.cast())?;
    if let Some(operation) = cx.io.operations.get_mut(&irp) {
        operation.detached = true;
    }
    let status: NTSTATUS =
        if cx.memory.get(prepared.file, FILE_OBJECT::Flags)? & FO_SYNCHRONOUS_IO != 0 {
            if let Some(operation) = cx.io.operations.get_mut(&irp) {
                operation.detached = false;
            }
            let sent: NTSTATUS = host!(file::send_and_wait(prepared.device, irp));
            let (_, information) = file::reap(cx, irp);
            cx.memory
                .set(block, IO_STATUS_BLOCK::Information, information)?;
            cx.memory.set(block, IO_STATUS_BLOCK::Status, sent)?;
            if !event.is_null() {
                crate::ke::dispatcher::signal(cx, event.cast(), 1);
            }
            host!(open::release(prepared.file.raw()));
            sent
        } else {
            let sent: NTSTATUS = host!(file::send(prepared.device, irp));
            sent
        };
    cx.thread_mut().previous_mode = mode;
    Ok(status)
}

/// What read and write have in common: the event, the offset, no APC.
fn transfer(
    cx: &mut Machine,
    handle: u64,
    event: u64,
    apc: Gva,
    block: Gva<IO_STATUS_BLOCK>,
    buffers: Buffers,
    offset: Gva<LARGE_INTEGER>,
) -> Result<Flow, Fault> {
    if !apc.is_null() {
        return Ok(Flow::NotModelled(
            "file I/O that ends with an APC routine".into(),
        ));
    }
    cx.memory.get(block, IO_STATUS_BLOCK::Information)?;
    let event = match event_of(cx, event)? {
        Ok(event) => event,
        Err(status) => return Ok(Flow::Return(u64::from(status.0))),
    };
    let mut buffers = buffers;
    if !matches!(buffers.data, Data::Control(_)) {
        let given: i64 = if offset.is_null() {
            USE_POSITION
        } else {
            cx.memory.read(offset.cast())?
        };
        buffers.offset = given as u64;
        if given == USE_POSITION {
            let Some(entry) = handles::find(cx, handle) else {
                return Ok(Flow::Return(u64::from(STATUS_INVALID_HANDLE.0)));
            };
            let file = Gva::<FILE_OBJECT>::new(entry.object);
            if cx.memory.get(file, FILE_OBJECT::Flags)? & FO_SYNCHRONOUS_IO == 0 {
                return Ok(Flow::Return(u64::from(STATUS_INVALID_PARAMETER.0)));
            }
            buffers.offset = cx.memory.get(file, FILE_OBJECT::CurrentByteOffset)? as u64;
        }
    }
    Ok(Flow::Become(zw_transfer(handle, event, block, buffers)))
}

/// IoGetDeviceObjectPointer: opens, keeps the file object, closes the handle.
#[resumable(
    fn on_unwind(&mut self, cx: &mut Machine) { cx.thread_mut().previous_mode = self.mode; }
)]
fn device_pointer(
    cx: &mut Machine,
    path: String,
    access: u32,
    file_out: Gva<u64>,
    device_out: Gva<u64>,
) -> Result<NTSTATUS, Fault> {
    let mode: u8 = enter_kernel(cx);
    let open = Open {
        path: path.clone(),
        access,
        share: 0,
        options: FILE_OPEN << 24 | 0x40,
        overlapped: true,
        kernel_handle: true,
    };
    let status: NTSTATUS = host!(open::create_file(open));
    let thread = cx.thread().id;
    let handle = cx.io.user.noted(thread);
    if status.is_success() {
        let file = handles::find(cx, handle).map_or(0, |h| h.object);
        cx.reference_object(file);
        let device = cx
            .memory
            .get(Gva::<FILE_OBJECT>::new(file), FILE_OBJECT::DeviceObject)?;
        let top: Gva<DEVICE_OBJECT> = cx.attached_device(device);
        cx.memory.write(file_out, file)?;
        cx.memory.write(device_out, top.raw())?;
        host!(open::close_handle(handle));
    }
    cx.thread_mut().previous_mode = mode;
    Ok(status)
}

/// Routines on files for kernel code.
pub struct KernelFiles;

#[exports("ntoskrnl.exe")]
impl KernelFiles {
    /// Opens or creates a file.
    #[page("wdm/nf-wdm-zwcreatefile")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial(
        "extended attributes, allocation size and file attributes are ignored; IoStatusBlock.Information is always FILE_OPENED"
    )]
    fn ZwCreateFile(
        cx: &mut Machine,
        FileHandle: Gva<u64>,
        DesiredAccess: u32,
        ObjectAttributes: Gva<OBJECT_ATTRIBUTES>,
        IoStatusBlock: Gva<IO_STATUS_BLOCK>,
        AllocationSize: Gva<LARGE_INTEGER>,
        FileAttributes: u32,
        ShareAccess: u32,
        CreateDisposition: u32,
        CreateOptions: u32,
        EaBuffer: Gva,
        EaLength: u32,
    ) -> Result<Flow, Fault> {
        let _ = (AllocationSize, FileAttributes, EaBuffer, EaLength);
        let options = CreateDisposition << 24 | CreateOptions & 0x00ff_ffff;
        create(
            cx,
            FileHandle,
            DesiredAccess,
            ObjectAttributes,
            IoStatusBlock,
            ShareAccess,
            options,
        )
    }

    /// Opens a file that exists.
    #[page("wdm/nf-wdm-zwopenfile")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial("IoStatusBlock.Information is always FILE_OPENED")]
    fn ZwOpenFile(
        cx: &mut Machine,
        FileHandle: Gva<u64>,
        DesiredAccess: u32,
        ObjectAttributes: Gva<OBJECT_ATTRIBUTES>,
        IoStatusBlock: Gva<IO_STATUS_BLOCK>,
        ShareAccess: u32,
        OpenOptions: u32,
    ) -> Result<Flow, Fault> {
        let options = FILE_OPEN << 24 | OpenOptions & 0x00ff_ffff;
        create(
            cx,
            FileHandle,
            DesiredAccess,
            ObjectAttributes,
            IoStatusBlock,
            ShareAccess,
            options,
        )
    }

    /// Reads from an open file.
    #[page("wdm/nf-wdm-zwreadfile")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial("APC routines; the key")]
    fn ZwReadFile(
        cx: &mut Machine,
        FileHandle: u64,
        Event: u64,
        ApcRoutine: Gva,
        ApcContext: Gva,
        IoStatusBlock: Gva<IO_STATUS_BLOCK>,
        Buffer: Gva,
        Length: u32,
        ByteOffset: Gva<LARGE_INTEGER>,
        Key: Gva<u32>,
    ) -> Result<Flow, Fault> {
        let _ = (ApcContext, Key);
        let buffers = Buffers {
            data: Data::Read,
            input: (0, 0),
            output: (Buffer.raw(), Length),
            offset: 0,
        };
        transfer(
            cx,
            FileHandle,
            Event,
            ApcRoutine,
            IoStatusBlock,
            buffers,
            ByteOffset,
        )
    }

    /// Writes to an open file.
    #[page("wdm/nf-wdm-zwwritefile")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial("APC routines; the key")]
    fn ZwWriteFile(
        cx: &mut Machine,
        FileHandle: u64,
        Event: u64,
        ApcRoutine: Gva,
        ApcContext: Gva,
        IoStatusBlock: Gva<IO_STATUS_BLOCK>,
        Buffer: Gva,
        Length: u32,
        ByteOffset: Gva<LARGE_INTEGER>,
        Key: Gva<u32>,
    ) -> Result<Flow, Fault> {
        let _ = (ApcContext, Key);
        let buffers = Buffers {
            data: Data::Write,
            input: (Buffer.raw(), Length),
            output: (0, 0),
            offset: 0,
        };
        transfer(
            cx,
            FileHandle,
            Event,
            ApcRoutine,
            IoStatusBlock,
            buffers,
            ByteOffset,
        )
    }

    /// Sends a control code to a device.
    #[page("ntifs/nf-ntifs-zwdeviceiocontrolfile")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial("APC routines")]
    fn ZwDeviceIoControlFile(
        cx: &mut Machine,
        FileHandle: u64,
        Event: u64,
        ApcRoutine: Gva,
        ApcContext: Gva,
        IoStatusBlock: Gva<IO_STATUS_BLOCK>,
        IoControlCode: u32,
        InputBuffer: Gva,
        InputBufferLength: u32,
        OutputBuffer: Gva,
        OutputBufferLength: u32,
    ) -> Result<Flow, Fault> {
        let _ = ApcContext;
        let buffers = Buffers {
            data: Data::Control(IoControlCode),
            input: (InputBuffer.raw(), InputBufferLength),
            output: (OutputBuffer.raw(), OutputBufferLength),
            offset: 0,
        };
        transfer(
            cx,
            FileHandle,
            Event,
            ApcRoutine,
            IoStatusBlock,
            buffers,
            Gva::NULL,
        )
    }

    /// Tells what is known of an open file.
    #[page("wdm/nf-wdm-zwqueryinformationfile")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial(
        "only FileAccessInformation and FilePositionInformation; other classes stop the machine"
    )]
    fn ZwQueryInformationFile(
        cx: &mut Machine,
        FileHandle: u64,
        IoStatusBlock: Gva<IO_STATUS_BLOCK>,
        FileInformation: Gva,
        Length: u32,
        FileInformationClass: u32,
    ) -> Result<Flow, Fault> {
        let status = |status: NTSTATUS| Ok(Flow::Return(u64::from(status.0)));
        let Some(entry) = handles::find(cx, FileHandle) else {
            return status(STATUS_INVALID_HANDLE);
        };
        if cx.ob.objects.get(&entry.object).map(|o| &o.kind) != Some(&Kind::File) {
            return status(STATUS_OBJECT_TYPE_MISMATCH);
        }
        let (bytes, size) = match FileInformationClass {
            8 => (u64::from(entry.access), 4u32),
            14 => {
                let file = Gva::<FILE_OBJECT>::new(entry.object);
                (
                    cx.memory.get(file, FILE_OBJECT::CurrentByteOffset)? as u64,
                    8,
                )
            }
            class => {
                return Ok(Flow::NotModelled(format!(
                    "ZwQueryInformationFile with information class {class}"
                )));
            }
        };
        if Length < size {
            return status(crate::ntstatus::STATUS_INFO_LENGTH_MISMATCH);
        }
        cx.memory.write_bytes(
            FileInformation,
            bytes.to_le_bytes().get(..size as usize).unwrap_or(&[]),
        )?;
        cx.memory
            .set(IoStatusBlock, IO_STATUS_BLOCK::Information, u64::from(size))?;
        cx.memory
            .set(IoStatusBlock, IO_STATUS_BLOCK::Status, STATUS_SUCCESS)?;
        status(STATUS_SUCCESS)
    }

    /// The top of the stack of a named device, and a file object that keeps it.
    #[page("wdm/nf-wdm-iogetdeviceobjectpointer")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    fn IoGetDeviceObjectPointer(
        cx: &mut Machine,
        ObjectName: Gva<UNICODE_STRING>,
        DesiredAccess: u32,
        FileObject: Gva<u64>,
        DeviceObject: Gva<u64>,
    ) -> Result<Flow, Fault> {
        let path = read_string(cx, ObjectName)?;
        cx.memory.read(FileObject)?;
        cx.memory.read(DeviceObject)?;
        Ok(Flow::Become(device_pointer(
            path,
            DesiredAccess,
            FileObject,
            DeviceObject,
        )))
    }
}
