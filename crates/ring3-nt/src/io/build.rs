//! Making IRPs with their buffers. Documentation: wdm.h, "Creating IRPs for Lower-Level Drivers".

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::irp::{self, flag};
use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::export::argument::Code;
use crate::flow::{Exception, Flow};
use crate::layout::{
    DEVICE_OBJECT, IO_STACK_LOCATION, IO_STATUS_BLOCK, IRP, KEVENT, LARGE_INTEGER,
};
use crate::machine::finding::Severity;
use crate::mm::mdl;
use crate::ntstatus::{
    NTSTATUS, STATUS_ACCESS_VIOLATION, STATUS_INSUFFICIENT_RESOURCES, STATUS_SUCCESS,
};

const TAG: u32 = u32::from_le_bytes(*b"IoSB");
/// `DO_BUFFERED_IO`, `DO_DIRECT_IO` of wdm.h.
const DO_BUFFERED_IO: u32 = 0x04;
const DO_DIRECT_IO: u32 = 0x10;
/// `SL_INVOKE_ON_*` bits of wdm.h.
const SL_INVOKE_ON_CANCEL: u8 = 0x20;
const SL_INVOKE_ON_SUCCESS: u8 = 0x40;
const SL_INVOKE_ON_ERROR: u8 = 0x80;

/// Why a request could not be built.
enum Failure {
    NoMemory,
    NoAccess,
}

/// An IRP of the current thread for the top of a device stack.
fn new_irp(cx: &mut Machine, device: Gva<DEVICE_OBJECT>) -> Result<Option<Gva<IRP>>, Fault> {
    let depth: i8 = cx.memory.get(device, DEVICE_OBJECT::StackSize)?;
    let owner = cx.caller;
    let Some(irp) = irp::allocate(cx, depth.max(1) as u8, owner) else {
        return Ok(None);
    };
    let thread = cx.thread().object;
    cx.memory.set(irp, IRP::Tail_Overlay_Thread, thread)?;
    Ok(Some(irp))
}

/// A system buffer with a copy of the input; the IRP owns it.
fn system_buffer(
    cx: &mut Machine,
    irp: Gva<IRP>,
    input: Gva,
    length: u32,
    size: u32,
) -> Result<bool, Fault> {
    if size == 0 {
        return Ok(true);
    }
    let Some(at) = cx.pool_allocate(Pool::NonPaged, u64::from(size), TAG) else {
        return Ok(false);
    };
    cx.memory.set(irp, IRP::AssociatedIrp_SystemBuffer, at)?;
    let flags = cx.memory.get(irp, IRP::Flags)?;
    cx.memory.set(
        irp,
        IRP::Flags,
        flags | flag::BUFFERED_IO | flag::DEALLOCATE_BUFFER,
    )?;
    cx.memory.copy(at, input, u64::from(length))?;
    Ok(true)
}

/// Locks a buffer of the driver for the device.
fn lock(
    cx: &mut Machine,
    irp: Gva<IRP>,
    buffer: Gva,
    length: u32,
    write: bool,
) -> Result<Result<(), Failure>, Fault> {
    if length == 0 {
        return Ok(Ok(()));
    }
    let Some(made) = mdl::create_for_buffer(cx, buffer.raw(), length, 0) else {
        return Ok(Err(Failure::NoMemory));
    };
    if !mdl::probe_and_lock(cx, made, false, write)? {
        mdl::free(cx, made)?;
        return Ok(Err(Failure::NoAccess));
    }
    cx.memory.set(irp, IRP::MdlAddress, made)?;
    Ok(Ok(()))
}

/// Frees a half built IRP with its system buffer.
fn discard(cx: &mut Machine, irp: Gva<IRP>) -> Result<(), Fault> {
    let system = cx.memory.get(irp, IRP::AssociatedIrp_SystemBuffer)?;
    if !system.is_null() {
        cx.pool_free(system);
    }
    irp::free(cx, irp);
    Ok(())
}

fn fail(cx: &mut Machine, irp: Gva<IRP>, failure: &Failure) -> Result<Flow, Fault> {
    discard(cx, irp)?;
    Ok(match failure {
        Failure::NoMemory => Flow::Return(0),
        Failure::NoAccess => Flow::Raise(Exception::new(STATUS_ACCESS_VIOLATION)),
    })
}

/// Reads, writes, flush, shutdown and the requests without parameters.
fn build_fsd(
    cx: &mut Machine,
    major: u32,
    device: Gva<DEVICE_OBJECT>,
    buffer: Gva,
    length: u32,
    offset: Gva<LARGE_INTEGER>,
) -> Result<Result<Gva<IRP>, Flow>, Fault> {
    let at: i64 = if offset.is_null() {
        0
    } else {
        cx.memory.read(offset.cast())?
    };
    let flags = cx.memory.get(device, DEVICE_OBJECT::Flags)?;
    let Some(irp) = new_irp(cx, device)? else {
        return Ok(Err(Flow::Return(0)));
    };
    let stack = irp::next_location(cx, irp)?;
    cx.memory
        .set(stack, IO_STACK_LOCATION::MajorFunction, major as u8)?;
    // IRP_MJ_READ and IRP_MJ_WRITE.
    let write = match major {
        3 => false,
        4 => true,
        _ => return Ok(Ok(irp)),
    };
    cx.memory
        .set(stack, IO_STACK_LOCATION::Parameters_Read_Length, length)?;
    cx.memory
        .set(stack, IO_STACK_LOCATION::Parameters_Read_ByteOffset, at)?;
    if flags & DO_BUFFERED_IO != 0 {
        if !system_buffer(cx, irp, buffer, if write { length } else { 0 }, length)? {
            return Ok(Err(fail(cx, irp, &Failure::NoMemory)?));
        }
        if !write {
            cx.memory.set(irp, IRP::UserBuffer, buffer)?;
            let now = cx.memory.get(irp, IRP::Flags)?;
            cx.memory
                .set(irp, IRP::Flags, now | flag::INPUT_OPERATION)?;
        }
    } else if flags & DO_DIRECT_IO != 0 {
        if let Err(failure) = lock(cx, irp, buffer, length, !write)? {
            return Ok(Err(fail(cx, irp, &failure)?));
        }
    } else {
        cx.memory.set(irp, IRP::UserBuffer, buffer)?;
    }
    let now = cx.memory.get(irp, IRP::Flags)?;
    let kind = if write {
        flag::WRITE_OPERATION
    } else {
        flag::READ_OPERATION
    };
    cx.memory.set(irp, IRP::Flags, now | kind)?;
    Ok(Ok(irp))
}

/// The IRP belongs to the current thread from now on, which frees it at the end.
fn own(
    cx: &mut Machine,
    irp: Gva<IRP>,
    event: Gva<KEVENT>,
    block: Gva<IO_STATUS_BLOCK>,
) -> Result<(), Fault> {
    cx.memory.set(irp, IRP::UserEvent, event)?;
    cx.memory.set(irp, IRP::UserIosb, block)?;
    let thread = cx.thread().id;
    cx.io.threaded.insert(irp, thread);
    Ok(())
}

/// Routines that make IRPs.
pub struct Building;

#[exports("ntoskrnl.exe")]
impl Building {
    /// Makes an IRP for a device control request that the current thread will wait for.
    #[page("wdm/nf-wdm-iobuilddeviceiocontrolrequest")]
    #[irql(..=APC_LEVEL)]
    #[returns(Gva<IRP>)]
    fn IoBuildDeviceIoControlRequest(
        cx: &mut Machine,
        IoControlCode: u32,
        DeviceObject: Gva<DEVICE_OBJECT>,
        InputBuffer: Gva,
        InputBufferLength: u32,
        OutputBuffer: Gva,
        OutputBufferLength: u32,
        InternalDeviceIoControl: bool,
        Event: Gva<KEVENT>,
        IoStatusBlock: Gva<IO_STATUS_BLOCK>,
    ) -> Result<Flow, Fault> {
        let (input, output) = (InputBufferLength, OutputBufferLength);
        let Some(irp) = new_irp(cx, DeviceObject)? else {
            return Ok(Flow::Return(0));
        };
        let stack = irp::next_location(cx, irp)?;
        let m = &mut cx.memory;
        m.set(
            stack,
            IO_STACK_LOCATION::MajorFunction,
            if InternalDeviceIoControl { 0x0f } else { 0x0e },
        )?;
        m.set(
            stack,
            IO_STACK_LOCATION::Parameters_DeviceIoControl_OutputBufferLength,
            output,
        )?;
        m.set(
            stack,
            IO_STACK_LOCATION::Parameters_DeviceIoControl_InputBufferLength,
            input,
        )?;
        m.set(
            stack,
            IO_STACK_LOCATION::Parameters_DeviceIoControl_IoControlCode,
            IoControlCode,
        )?;
        match IoControlCode & 3 {
            0 => {
                if !system_buffer(cx, irp, InputBuffer, input, input.max(output))? {
                    return fail(cx, irp, &Failure::NoMemory);
                }
                cx.memory.set(irp, IRP::UserBuffer, OutputBuffer)?;
                if !OutputBuffer.is_null() {
                    let now = cx.memory.get(irp, IRP::Flags)?;
                    cx.memory
                        .set(irp, IRP::Flags, now | flag::INPUT_OPERATION)?;
                }
            }
            method @ (1 | 2) => {
                if !InputBuffer.is_null() && !system_buffer(cx, irp, InputBuffer, input, input)? {
                    return fail(cx, irp, &Failure::NoMemory);
                }
                if let Err(failure) = lock(cx, irp, OutputBuffer, output, method == 2)? {
                    return fail(cx, irp, &failure);
                }
            }
            _ => {
                cx.memory.set(irp, IRP::UserBuffer, OutputBuffer)?;
                cx.memory.set(
                    stack,
                    IO_STACK_LOCATION::Parameters_DeviceIoControl_Type3InputBuffer,
                    InputBuffer,
                )?;
            }
        }
        own(cx, irp, Event, IoStatusBlock)?;
        Ok(Flow::Return(irp.raw()))
    }

    /// Makes an IRP for a read, write, flush, shutdown or PnP request that the current thread waits for.
    #[page("wdm/nf-wdm-iobuildsynchronousfsdrequest")]
    #[irql(..=APC_LEVEL)]
    #[returns(Gva<IRP>)]
    fn IoBuildSynchronousFsdRequest(
        cx: &mut Machine,
        MajorFunction: u32,
        DeviceObject: Gva<DEVICE_OBJECT>,
        Buffer: Gva,
        Length: u32,
        StartingOffset: Gva<LARGE_INTEGER>,
        Event: Gva<KEVENT>,
        IoStatusBlock: Gva<IO_STATUS_BLOCK>,
    ) -> Result<Flow, Fault> {
        match build_fsd(
            cx,
            MajorFunction,
            DeviceObject,
            Buffer,
            Length,
            StartingOffset,
        )? {
            Ok(irp) => {
                own(cx, irp, Event, IoStatusBlock)?;
                Ok(Flow::Return(irp.raw()))
            }
            Err(flow) => Ok(flow),
        }
    }

    /// Makes an IRP for a request whose completion routine frees it.
    #[page("wdm/nf-wdm-iobuildasynchronousfsdrequest")]
    #[irql(..=APC_LEVEL)]
    #[returns(Gva<IRP>)]
    fn IoBuildAsynchronousFsdRequest(
        cx: &mut Machine,
        MajorFunction: u32,
        DeviceObject: Gva<DEVICE_OBJECT>,
        Buffer: Gva,
        Length: u32,
        StartingOffset: Gva<LARGE_INTEGER>,
        IoStatusBlock: Gva<IO_STATUS_BLOCK>,
    ) -> Result<Flow, Fault> {
        match build_fsd(
            cx,
            MajorFunction,
            DeviceObject,
            Buffer,
            Length,
            StartingOffset,
        )? {
            Ok(irp) => {
                cx.memory.set(irp, IRP::UserIosb, IoStatusBlock)?;
                Ok(Flow::Return(irp.raw()))
            }
            Err(flow) => Ok(flow),
        }
    }

    /// Makes an IRP that is a part of another one; the last of them to be completed completes it.
    #[page("ntddk/nf-ntddk-iomakeassociatedirp")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoMakeAssociatedIrp(
        cx: &mut Machine,
        Irp: Gva<IRP>,
        StackSize: i8,
    ) -> Result<Gva<IRP>, Fault> {
        let thread = cx.memory.get(Irp, IRP::Tail_Overlay_Thread)?;
        let owner = cx.caller;
        let Some(made) = irp::allocate(cx, StackSize.max(1) as u8, owner) else {
            return Ok(Gva::NULL);
        };
        cx.memory.set(made, IRP::Flags, flag::ASSOCIATED_IRP)?;
        cx.memory.set(made, IRP::Tail_Overlay_Thread, thread)?;
        cx.memory.set(made, IRP::AssociatedIrp_MasterIrp, Irp)?;
        Ok(made)
    }

    /// Sets the completion routine of the next lower location of an IRP.
    #[page("wdm/nf-wdm-iosetcompletionroutineex")]
    #[irql(..=DISPATCH_LEVEL)]
    #[partial("the driver is not kept from being unloaded before the routine has run")]
    fn IoSetCompletionRoutineEx(
        cx: &mut Machine,
        DeviceObject: Gva<DEVICE_OBJECT>,
        Irp: Gva<IRP>,
        CompletionRoutine: Gva<Code>,
        Context: Gva,
        InvokeOnSuccess: bool,
        InvokeOnError: bool,
        InvokeOnCancel: bool,
    ) -> Result<NTSTATUS, Fault> {
        let _ = DeviceObject;
        let location: i8 = cx.memory.get(Irp, IRP::CurrentLocation)?;
        if location <= 1 {
            cx.report(
                "irp/no-location",
                Severity::Error,
                "IoSetCompletionRoutineEx without a next stack location",
            );
            return Ok(STATUS_INSUFFICIENT_RESOURCES);
        }
        let stack = irp::next_location(cx, Irp)?;
        let mut control = 0;
        for (wanted, bit) in [
            (InvokeOnSuccess, SL_INVOKE_ON_SUCCESS),
            (InvokeOnError, SL_INVOKE_ON_ERROR),
            (InvokeOnCancel, SL_INVOKE_ON_CANCEL),
        ] {
            if wanted {
                control |= bit;
            }
        }
        cx.memory.set(
            stack,
            IO_STACK_LOCATION::CompletionRoutine,
            CompletionRoutine,
        )?;
        cx.memory.set(stack, IO_STACK_LOCATION::Context, Context)?;
        cx.memory.set(stack, IO_STACK_LOCATION::Control, control)?;
        Ok(STATUS_SUCCESS)
    }
}
