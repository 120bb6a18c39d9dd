//! Device interfaces and notifications of them. Documentation: wdm.h, "Overview of Device Interface Classes",
//! "Registering for Device Interface Change Notification".

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use super::device::read_string;
use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::export::argument::Code;
use crate::flow::Flow;
use crate::layout::{
    DEVICE_INTERFACE_CHANGE_NOTIFICATION, DEVICE_OBJECT, DRIVER_OBJECT, GUID, UNICODE_STRING,
};
use crate::machine::finding::Severity;
use crate::ntstatus::{
    NTSTATUS, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_DEVICE_REQUEST,
    STATUS_OBJECT_NAME_EXISTS, STATUS_OBJECT_NAME_NOT_FOUND, STATUS_SUCCESS,
};
use crate::ob::Kind;

const TAG: u32 = u32::from_le_bytes(*b"IoDi");
/// `PNPNOTIFY_DEVICE_INTERFACE_INCLUDE_EXISTING_INTERFACES`.
const INCLUDE_EXISTING: u32 = 1;
/// `EventCategoryDeviceInterfaceChange`.
const INTERFACE_CHANGE: u32 = 2;
/// `DEVICE_INTERFACE_INCLUDE_NONACTIVE`.
const INCLUDE_NONACTIVE: u32 = 1;
/// `GUID_DEVICE_INTERFACE_ARRIVAL` and `GUID_DEVICE_INTERFACE_REMOVAL` of wdmguid.h.
const ARRIVAL: [u8; 16] = [
    0x04, 0x40, 0x3a, 0xcb, 0xf0, 0x46, 0xd0, 0x11, 0xb0, 0x8f, 0x00, 0x60, 0x97, 0x13, 0x05, 0x3f,
];
const REMOVAL: [u8; 16] = [
    0x05, 0x40, 0x3a, 0xcb, 0xf0, 0x46, 0xd0, 0x11, 0xb0, 0x8f, 0x00, 0x60, 0x97, 0x13, 0x05, 0x3f,
];

/// A registered device interface.
#[derive(Clone, Hash, Debug)]
pub struct Interface {
    /// Class, as it lies in memory.
    pub class: [u8; 16],
    /// The link's name.
    pub link: String,
    /// The device behind it.
    pub device: Gva<DEVICE_OBJECT>,
    /// Whether it is enabled.
    pub enabled: bool,
}

/// A wish to be told.
#[derive(Clone, Hash, Debug)]
pub struct Notification {
    /// What the driver got as its registration.
    pub entry: u64,
    /// The class, for interface changes; other events never come.
    pub class: Option<[u8; 16]>,
    /// The callback.
    pub routine: u64,
    /// Its context.
    pub context: u64,
}

fn read_guid(cx: &Machine, guid: Gva<GUID>) -> Result<[u8; 16], Fault> {
    let mut bytes = [0u8; 16];
    cx.memory.read_bytes(guid, &mut bytes)?;
    Ok(bytes)
}

/// `{xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx}`.
fn guid_text(guid: &[u8; 16]) -> String {
    let hex = |order: &[usize]| {
        order
            .iter()
            .map(|at| format!("{:02x}", guid.get(*at).unwrap_or(&0)))
            .collect::<String>()
    };
    format!(
        "{{{}-{}-{}-{}-{}}}",
        hex(&[3, 2, 1, 0]),
        hex(&[5, 4]),
        hex(&[7, 6]),
        hex(&[8, 9]),
        hex(&[10, 11, 12, 13, 14, 15])
    )
}

/// Text in paged pool that the driver frees, and the string that leads to it. False if memory is used up.
fn give_text(
    cx: &mut Machine,
    out: Gva<UNICODE_STRING>,
    text: &str,
    owner: u64,
) -> Result<bool, Fault> {
    let bytes = crate::cm::tree::text(text);
    cx.memory.get(out, UNICODE_STRING::Length)?;
    let Some(at) = cx.pool_allocate_for(Pool::Paged, bytes.len() as u64, TAG, owner) else {
        return Ok(false);
    };
    cx.memory.write_bytes(at, &bytes)?;
    let length = bytes.len() as u16;
    cx.memory
        .set(out, UNICODE_STRING::Length, length.saturating_sub(2))?;
    cx.memory.set(out, UNICODE_STRING::MaximumLength, length)?;
    cx.memory.set(out, UNICODE_STRING::Buffer, at.cast())?;
    Ok(true)
}

/// Calls one callback about one interface.
#[resumable]
fn tell(
    cx: &mut Machine,
    notification: Notification,
    interface: Interface,
    arrival: bool,
) -> Result<Flow, Fault> {
    let text = crate::cm::tree::text(&interface.link);
    let size =
        DEVICE_INTERFACE_CHANGE_NOTIFICATION::SIZE + UNICODE_STRING::SIZE + text.len() as u64;
    let Some(made) = cx.pool_allocate(Pool::Paged, size, TAG) else {
        return Ok(Flow::Return(0));
    };
    let block: Gva = made;
    let change = block.cast::<DEVICE_INTERFACE_CHANGE_NOTIFICATION>();
    let string = block
        .byte_add(DEVICE_INTERFACE_CHANGE_NOTIFICATION::SIZE)
        .cast::<UNICODE_STRING>();
    let at = string.cast::<u8>().byte_add(UNICODE_STRING::SIZE);
    let m = &mut cx.memory;
    m.write_bytes(at, &text)?;
    m.set(
        string,
        UNICODE_STRING::Length,
        (text.len() as u16).saturating_sub(2),
    )?;
    m.set(string, UNICODE_STRING::MaximumLength, text.len() as u16)?;
    m.set(string, UNICODE_STRING::Buffer, at.cast())?;
    m.set(change, DEVICE_INTERFACE_CHANGE_NOTIFICATION::Version, 1)?;
    m.set(
        change,
        DEVICE_INTERFACE_CHANGE_NOTIFICATION::Size,
        DEVICE_INTERFACE_CHANGE_NOTIFICATION::SIZE as u16,
    )?;
    m.write_bytes(
        change.at(DEVICE_INTERFACE_CHANGE_NOTIFICATION::Event),
        if arrival { &ARRIVAL } else { &REMOVAL },
    )?;
    m.write_bytes(
        change.at(DEVICE_INTERFACE_CHANGE_NOTIFICATION::InterfaceClassGuid),
        &interface.class,
    )?;
    m.set(
        change,
        DEVICE_INTERFACE_CHANGE_NOTIFICATION::SymbolicLinkName,
        string,
    )?;
    call!(notification.routine, block, notification.context);
    cx.pool_free(block);
    Ok(Flow::Return(0))
}

/// Tells everybody who wants to know about an interface.
#[resumable]
fn tell_all(cx: &mut Machine, interface: Interface, arrival: bool) -> NTSTATUS {
    let mut left: Vec<Notification> = cx
        .io
        .notifications
        .iter()
        .filter(|n| n.class == Some(interface.class))
        .cloned()
        .collect();
    left.reverse();
    while let Some(next) = left.pop() {
        if cx.io.notifications.iter().any(|n| n.entry == next.entry) {
            host!(tell(next, interface.clone(), arrival));
        }
    }
    STATUS_SUCCESS
}

/// Tells one callback about the interfaces that exist already.
#[resumable]
fn tell_existing(cx: &mut Machine, notification: Notification) -> NTSTATUS {
    let mut left: Vec<Interface> = cx
        .io
        .interfaces
        .iter()
        .filter(|i| i.enabled && notification.class == Some(i.class))
        .cloned()
        .collect();
    left.reverse();
    while let Some(next) = left.pop() {
        host!(tell(notification.clone(), next, true));
    }
    STATUS_SUCCESS
}

fn set_state(cx: &mut Machine, link: &str, enable: bool) -> Result<Interface, NTSTATUS> {
    let at = cx
        .io
        .interfaces
        .iter()
        .position(|i| i.link.eq_ignore_ascii_case(link));
    let Some(found) = at.and_then(|at| cx.io.interfaces.get_mut(at)) else {
        return Err(STATUS_OBJECT_NAME_NOT_FOUND);
    };
    if found.enabled == enable {
        return Err(if enable {
            STATUS_OBJECT_NAME_EXISTS
        } else {
            STATUS_OBJECT_NAME_NOT_FOUND
        });
    }
    found.enabled = enable;
    let interface = found.clone();
    if enable {
        let target = cx
            .ob
            .objects
            .get(&interface.device.raw())
            .map(|o| o.name.clone())
            .unwrap_or_default();
        cx.create_object(Kind::SymbolicLink(target), 0x20, &interface.link, 0)
            .ok_or(STATUS_INSUFFICIENT_RESOURCES)?;
    } else if let Some(body) = cx.object_named(&interface.link) {
        cx.delete_object(body);
    }
    Ok(interface)
}

/// Routines on device interfaces.
pub struct DeviceInterfaces;

#[exports("ntoskrnl.exe")]
impl DeviceInterfaces {
    /// Registers a device interface of a device; it is not enabled yet.
    #[page("wdm/nf-wdm-ioregisterdeviceinterface")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("no registry keys are made for the interface")]
    fn IoRegisterDeviceInterface(
        cx: &mut Machine,
        PhysicalDeviceObject: Gva<DEVICE_OBJECT>,
        InterfaceClassGuid: Gva<GUID>,
        ReferenceString: Gva<UNICODE_STRING>,
        SymbolicLinkName: Gva<UNICODE_STRING>,
    ) -> Result<NTSTATUS, Fault> {
        let class = read_guid(cx, InterfaceClassGuid)?;
        let reference = read_string(cx, ReferenceString)?;
        let node = cx
            .io
            .pnp
            .node_of(PhysicalDeviceObject)
            .and_then(|n| cx.io.pnp.nodes.get(n));
        let Some(instance) = node.map(|n| n.instance.replace('\\', "#")) else {
            let text = format!(
                "IoRegisterDeviceInterface for {:#x}, which is no physical device object",
                PhysicalDeviceObject.raw()
            );
            cx.report("pnp/not-a-pdo", Severity::Error, text);
            return Ok(STATUS_INVALID_DEVICE_REQUEST);
        };
        let mut link = format!("\\??\\{instance}#{}", guid_text(&class));
        if !reference.is_empty() {
            link = format!("{link}\\{reference}");
        }
        let owner = cx.caller;
        if !give_text(cx, SymbolicLinkName, &link, owner)? {
            return Ok(STATUS_INSUFFICIENT_RESOURCES);
        }
        if !cx.io.interfaces.iter().any(|i| i.link == link) {
            cx.io.interfaces.push(Interface {
                class,
                link,
                device: PhysicalDeviceObject,
                enabled: false,
            });
        }
        Ok(STATUS_SUCCESS)
    }

    /// Enables or disables a device interface.
    #[page("wdm/nf-wdm-iosetdeviceinterfacestate")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    fn IoSetDeviceInterfaceState(
        cx: &mut Machine,
        SymbolicLinkName: Gva<UNICODE_STRING>,
        Enable: bool,
    ) -> Result<Flow, Fault> {
        let link = read_string(cx, SymbolicLinkName)?;
        Ok(match set_state(cx, &link, Enable) {
            Ok(interface) => Flow::Become(tell_all(interface, Enable)),
            Err(status) => Flow::Return(u64::from(status.0)),
        })
    }

    /// The link names of the interfaces of a class.
    #[page("wdm/nf-wdm-iogetdeviceinterfaces")]
    #[irql(PASSIVE_LEVEL)]
    fn IoGetDeviceInterfaces(
        cx: &mut Machine,
        InterfaceClassGuid: Gva<GUID>,
        PhysicalDeviceObject: Gva<DEVICE_OBJECT>,
        Flags: u32,
        SymbolicLinkList: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        let class = read_guid(cx, InterfaceClassGuid)?;
        cx.memory.read(SymbolicLinkList)?;
        let wanted = |i: &&Interface| {
            i.class == class
                && (i.enabled || Flags & INCLUDE_NONACTIVE != 0)
                && (PhysicalDeviceObject.is_null() || i.device == PhysicalDeviceObject)
        };
        let mut list: Vec<u8> = cx
            .io
            .interfaces
            .iter()
            .filter(wanted)
            .flat_map(|i| crate::cm::tree::text(&i.link))
            .collect();
        list.extend_from_slice(&[0, 0]);
        let owner = cx.caller;
        let Some(at) = cx.pool_allocate_for(Pool::Paged, list.len() as u64, TAG, owner) else {
            return Ok(STATUS_INSUFFICIENT_RESOURCES);
        };
        cx.memory.write_bytes(at, &list)?;
        cx.memory.write(SymbolicLinkList, at.raw())?;
        Ok(STATUS_SUCCESS)
    }

    /// Asks to be told of Plug and Play events.
    #[page("wdm/nf-wdm-ioregisterplugplaynotification")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial("events of hardware profiles and target devices never come")]
    fn IoRegisterPlugPlayNotification(
        cx: &mut Machine,
        EventCategory: u32,
        EventCategoryFlags: u32,
        EventCategoryData: Gva<GUID>,
        DriverObject: Gva<DRIVER_OBJECT>,
        CallbackRoutine: Gva<Code>,
        Context: Gva,
        NotificationEntry: Gva<u64>,
    ) -> Result<Flow, Fault> {
        let _ = DriverObject;
        cx.memory.read(NotificationEntry)?;
        let class = if EventCategory == INTERFACE_CHANGE {
            Some(read_guid(cx, EventCategoryData)?)
        } else {
            None
        };
        let Some(entry) = cx.pool_allocate(Pool::Paged, 0x40, TAG) else {
            return Ok(Flow::Return(u64::from(STATUS_INSUFFICIENT_RESOURCES.0)));
        };
        cx.memory.write(NotificationEntry, entry.raw())?;
        let made = Notification {
            entry: entry.raw(),
            class,
            routine: CallbackRoutine.raw(),
            context: Context.raw(),
        };
        cx.io.notifications.push(made.clone());
        if EventCategoryFlags & INCLUDE_EXISTING != 0 {
            return Ok(Flow::Become(tell_existing(made)));
        }
        Ok(Flow::Return(u64::from(STATUS_SUCCESS.0)))
    }

    /// Asks to be told no more.
    #[page("wdm/nf-wdm-iounregisterplugplaynotificationex")]
    #[irql(PASSIVE_LEVEL)]
    #[alias("IoUnregisterPlugPlayNotification")]
    #[partial("a callback that is running is not waited for")]
    fn IoUnregisterPlugPlayNotificationEx(cx: &mut Machine, NotificationEntry: Gva) -> NTSTATUS {
        cx.io
            .notifications
            .retain(|n| n.entry != NotificationEntry.raw());
        cx.pool_free(NotificationEntry);
        STATUS_SUCCESS
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn guids_as_text() {
        assert_eq!(
            super::guid_text(&super::ARRIVAL),
            "{cb3a4004-46f0-11d0-b08f-00609713053f}"
        );
    }
}
