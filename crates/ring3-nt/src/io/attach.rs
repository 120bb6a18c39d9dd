//! Device stacks. Documentation: wdm.h, "Device Objects and Device Stacks".

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use super::device::read_string;
use super::open::{self, Open};
use crate::Machine;
use crate::flow::Flow;
use crate::layout::{DEVICE_OBJECT, DEVOBJ_EXTENSION, UNICODE_STRING};
use crate::machine::finding::Severity;
use crate::ntstatus::{NTSTATUS, STATUS_NO_SUCH_DEVICE};
use crate::ob::handles;

/// Puts a device on top of another one's stack. Gives the device below it.
///
/// # Errors
/// A fault if one of the devices cannot be used.
pub fn attach(
    cx: &mut Machine,
    source: Gva<DEVICE_OBJECT>,
    target: Gva<DEVICE_OBJECT>,
) -> Result<Gva<DEVICE_OBJECT>, Fault> {
    let top = cx.attached_device(target);
    if top == source {
        let text = format!("the device {:#x} is attached to itself", source.raw());
        cx.report("device/attached-to-itself", Severity::Error, text);
        return Ok(Gva::NULL);
    }
    let stack: i8 = cx.memory.get(top, DEVICE_OBJECT::StackSize)?;
    let alignment = cx.memory.get(top, DEVICE_OBJECT::AlignmentRequirement)?;
    let extension = cx
        .memory
        .get(source, DEVICE_OBJECT::DeviceObjectExtension)?;
    cx.memory.set(top, DEVICE_OBJECT::AttachedDevice, source)?;
    cx.memory
        .set(source, DEVICE_OBJECT::StackSize, stack.saturating_add(1))?;
    cx.memory
        .set(source, DEVICE_OBJECT::AlignmentRequirement, alignment)?;
    cx.memory
        .set(extension, DEVOBJ_EXTENSION::AttachedTo, top)?;
    Ok(top)
}

/// The device below one in its stack.
///
/// # Errors
/// A fault if the device cannot be read.
pub fn lower(cx: &Machine, device: Gva<DEVICE_OBJECT>) -> Result<Gva<DEVICE_OBJECT>, Fault> {
    let extension = cx
        .memory
        .get(device, DEVICE_OBJECT::DeviceObjectExtension)?;
    if extension.is_null() {
        Ok(Gva::NULL)
    } else {
        cx.memory.get(extension, DEVOBJ_EXTENSION::AttachedTo)
    }
}

/// IoAttachDevice: opens the target by name, for its attributes only, and attaches to the top of its stack.
#[resumable(
    fn on_unwind(&mut self, cx: &mut Machine) { cx.thread_mut().previous_mode = self.mode; }
)]
fn attach_by_name(
    cx: &mut Machine,
    source: Gva<DEVICE_OBJECT>,
    path: String,
    out: Gva<u64>,
) -> Result<NTSTATUS, Fault> {
    let mode: u8 = std::mem::replace(&mut cx.thread_mut().previous_mode, 0);
    // FILE_READ_ATTRIBUTES; FILE_OPEN.
    let open = Open {
        path: path.clone(),
        access: 0x80,
        share: 7,
        options: 1 << 24,
        overlapped: true,
        kernel_handle: true,
    };
    let opened: NTSTATUS = host!(open::create_file(open));
    let mut status: NTSTATUS = opened;
    let thread = cx.thread().id;
    let handle = cx.io.user.noted(thread);
    if opened.is_success() {
        let file = handles::find(cx, handle).map_or(0, |h| h.object);
        let target = cx.memory.get(
            Gva::<crate::layout::FILE_OBJECT>::new(file),
            crate::layout::FILE_OBJECT::DeviceObject,
        )?;
        let below = attach(cx, source, target)?;
        if below.is_null() {
            status = STATUS_NO_SUCH_DEVICE;
        } else {
            cx.memory.write(out, below.raw())?;
        }
        host!(open::close_handle(handle));
    }
    cx.thread_mut().previous_mode = mode;
    Ok(status)
}

/// Routines on device stacks.
pub struct DeviceStacks;

#[exports("ntoskrnl.exe")]
impl DeviceStacks {
    /// Attaches a device to the top of another one's stack.
    #[page("wdm/nf-wdm-ioattachdevicetodevicestack")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoAttachDeviceToDeviceStack(
        cx: &mut Machine,
        SourceDevice: Gva<DEVICE_OBJECT>,
        TargetDevice: Gva<DEVICE_OBJECT>,
    ) -> Result<Gva<DEVICE_OBJECT>, Fault> {
        attach(cx, SourceDevice, TargetDevice)
    }

    /// Attaches a device to a stack and stores the device below it before requests can come.
    #[page("ntddk/nf-ntddk-ioattachdevicetodevicestacksafe")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoAttachDeviceToDeviceStackSafe(
        cx: &mut Machine,
        SourceDevice: Gva<DEVICE_OBJECT>,
        TargetDevice: Gva<DEVICE_OBJECT>,
        AttachedToDeviceObject: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        cx.memory.read(AttachedToDeviceObject)?;
        let below = attach(cx, SourceDevice, TargetDevice)?;
        cx.memory.write(AttachedToDeviceObject, below.raw())?;
        Ok(if below.is_null() {
            STATUS_NO_SUCH_DEVICE
        } else {
            NTSTATUS(0)
        })
    }

    /// Attaches a device to the stack of a named device.
    #[page("wdm/nf-wdm-ioattachdevice")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    fn IoAttachDevice(
        cx: &mut Machine,
        SourceDevice: Gva<DEVICE_OBJECT>,
        TargetDevice: Gva<UNICODE_STRING>,
        AttachedDevice: Gva<u64>,
    ) -> Result<Flow, Fault> {
        let path = read_string(cx, TargetDevice)?;
        cx.memory.read(AttachedDevice)?;
        Ok(Flow::Become(attach_by_name(
            SourceDevice,
            path,
            AttachedDevice,
        )))
    }

    /// The topmost device of a stack, without a reference.
    #[page("ntifs/nf-ntifs-iogetattacheddevice")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoGetAttachedDevice(
        cx: &mut Machine,
        DeviceObject: Gva<DEVICE_OBJECT>,
    ) -> Gva<DEVICE_OBJECT> {
        cx.attached_device(DeviceObject)
    }

    /// The device below one in its stack, with a reference.
    #[page("ntifs/nf-ntifs-iogetlowerdeviceobject")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoGetLowerDeviceObject(
        cx: &mut Machine,
        DeviceObject: Gva<DEVICE_OBJECT>,
    ) -> Result<Gva<DEVICE_OBJECT>, Fault> {
        let below = lower(cx, DeviceObject)?;
        if !below.is_null() {
            cx.reference_object(below.raw());
        }
        Ok(below)
    }

    /// Undoes an attachment; the argument is the lower device.
    #[page("wdm/nf-wdm-iodetachdevice")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoDetachDevice(cx: &mut Machine, TargetDevice: Gva<DEVICE_OBJECT>) -> Result<(), Fault> {
        let upper = cx.memory.get(TargetDevice, DEVICE_OBJECT::AttachedDevice)?;
        if !upper.is_null() {
            let extension = cx.memory.get(upper, DEVICE_OBJECT::DeviceObjectExtension)?;
            cx.memory
                .set(extension, DEVOBJ_EXTENSION::AttachedTo, Gva::NULL)?;
        }
        cx.memory
            .set(TargetDevice, DEVICE_OBJECT::AttachedDevice, Gva::NULL)
    }

    /// The topmost device of a stack, with a reference.
    #[page("ntifs/nf-ntifs-iogetattacheddevicereference")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoGetAttachedDeviceReference(
        cx: &mut Machine,
        DeviceObject: Gva<DEVICE_OBJECT>,
    ) -> Gva<DEVICE_OBJECT> {
        let top = cx.attached_device(DeviceObject);
        cx.reference_object(top.raw());
        top
    }
}
