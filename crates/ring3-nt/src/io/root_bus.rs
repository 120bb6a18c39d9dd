//! The bus driver of root-enumerated devices, `\Driver\PnpManager`: what a PDO answers.
//! Documentation: "Plug and Play Minor IRPs", "Handling Power IRPs".

use ring3_memory::{Fault, Gva};

use super::pnp::minor;
use super::{complete, driver};
use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::flow::Flow;
use crate::layout::{
    DEVICE_CAPABILITIES, DEVICE_OBJECT, DEVICE_RELATIONS, DRIVER_OBJECT, IO_STACK_LOCATION,
    IO_STATUS_BLOCK, IRP,
};
use crate::ntstatus::{
    NTSTATUS, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_DEVICE_REQUEST, STATUS_NOT_SUPPORTED,
    STATUS_SUCCESS,
};

const TAG: u32 = u32::from_le_bytes(*b"Pnp ");

/// The bus driver's object, made when it is first needed.
///
/// # Errors
/// A fault if it cannot be written.
pub fn driver(cx: &mut Machine) -> Result<Option<Gva<DRIVER_OBJECT>>, Fault> {
    if !cx.io.pnp.bus.is_null() {
        return Ok(Some(cx.io.pnp.bus));
    }
    let dispatch = cx
        .stubs
        .address_of("ntoskrnl.exe", super::private::ROOT_BUS_DISPATCH)
        .unwrap_or(0);
    let Some(object) = driver::create_object(cx, "PnpManager", dispatch)? else {
        return Ok(None);
    };
    cx.io.pnp.bus = object;
    Ok(Some(object))
}

/// A string for the system in paged pool, zero-terminated; `list` adds the end of a REG_MULTI_SZ.
fn text(cx: &mut Machine, value: &str, list: bool) -> Result<Option<u64>, Fault> {
    let mut bytes = crate::cm::tree::text(value);
    if list {
        bytes.extend_from_slice(&[0, 0]);
    }
    let Some(at) = cx.pool_allocate(Pool::Paged, bytes.len() as u64, TAG) else {
        return Ok(None);
    };
    cx.memory.write_bytes(at, &bytes)?;
    Ok(Some(at.raw()))
}

/// Status and information of a PnP request; `None` leaves both as they came.
fn pnp(
    cx: &mut Machine,
    device: Gva<DEVICE_OBJECT>,
    stack: Gva<IO_STACK_LOCATION>,
) -> Result<Option<(NTSTATUS, u64)>, Fault> {
    let kind = cx.memory.get(stack, IO_STACK_LOCATION::MinorFunction)?;
    Ok(match kind {
        minor::START_DEVICE
        | minor::QUERY_REMOVE_DEVICE
        | minor::REMOVE_DEVICE
        | minor::CANCEL_REMOVE_DEVICE
        | minor::STOP_DEVICE
        | minor::QUERY_STOP_DEVICE
        | minor::CANCEL_STOP_DEVICE
        | minor::SURPRISE_REMOVAL => Some((STATUS_SUCCESS, 0)),
        minor::QUERY_CAPABILITIES => {
            let at = cx.memory.get(
                stack,
                IO_STACK_LOCATION::Parameters_DeviceCapabilities_Capabilities,
            )?;
            // PowerDeviceD0 in the working state, PowerDeviceD3 in all others.
            for state in 1..7u64 {
                let slot = crate::layout::element(at.at(DEVICE_CAPABILITIES::DeviceState), state);
                cx.memory.write(slot, if state == 1 { 1 } else { 4 })?;
            }
            Some((STATUS_SUCCESS, 0))
        }
        // TargetDeviceRelation: the PDO itself, with a reference.
        minor::QUERY_DEVICE_RELATIONS
            if cx.memory.get(
                stack,
                IO_STACK_LOCATION::Parameters_QueryDeviceRelations_Type,
            )? == 4 =>
        {
            let Some(at) = cx.pool_allocate(Pool::Paged, DEVICE_RELATIONS::SIZE, TAG) else {
                return Ok(Some((STATUS_INSUFFICIENT_RESOURCES, 0)));
            };
            let list = at.cast::<DEVICE_RELATIONS>();
            cx.memory.set(list, DEVICE_RELATIONS::Count, 1)?;
            cx.memory.write(
                crate::layout::element(list.at(DEVICE_RELATIONS::Objects), 0),
                device,
            )?;
            cx.reference_object(device.raw());
            Some((STATUS_SUCCESS, at.raw()))
        }
        minor::QUERY_ID => {
            let kind = cx
                .memory
                .get(stack, IO_STACK_LOCATION::Parameters_QueryId_IdType)?;
            let node = cx
                .io
                .pnp
                .node_of(device)
                .and_then(|n| cx.io.pnp.nodes.get(n))
                .cloned();
            let Some(node) = node else { return Ok(None) };
            let (device_id, instance) = node
                .instance
                .rsplit_once('\\')
                .unwrap_or((&node.instance, ""));
            // BusQueryDeviceID, BusQueryHardwareIDs, BusQueryInstanceID.
            let (value, list) = match kind {
                0 => (device_id, false),
                1 => (node.hardware_id.as_str(), true),
                3 => (instance, false),
                _ => return Ok(None),
            };
            match text(cx, value, list)? {
                Some(at) => Some((STATUS_SUCCESS, at)),
                None => Some((STATUS_INSUFFICIENT_RESOURCES, 0)),
            }
        }
        _ => None,
    })
}

/// The dispatch routine of the bus driver.
pub fn dispatch(
    cx: &mut Machine,
    device: Gva<DEVICE_OBJECT>,
    irp: Gva<IRP>,
) -> Result<Flow, Fault> {
    let stack = cx.memory.get(irp, IRP::Tail_Overlay_CurrentStackLocation)?;
    let major = cx.memory.get(stack, IO_STACK_LOCATION::MajorFunction)?;
    let status = irp.at(IRP::IoStatus);
    let answer = match major {
        0x1b => pnp(cx, device, stack)?,
        // IRP_MN_SET_POWER, IRP_MN_QUERY_POWER.
        0x16 if matches!(
            cx.memory.get(stack, IO_STACK_LOCATION::MinorFunction)?,
            2 | 3
        ) =>
        {
            Some((STATUS_SUCCESS, 0))
        }
        0x16 => Some((STATUS_NOT_SUPPORTED, 0)),
        // Create, close and cleanup; WMI requests go on unanswered.
        0 | 2 | 0x12 => Some((STATUS_SUCCESS, 0)),
        0x17 => None,
        _ => Some((STATUS_INVALID_DEVICE_REQUEST, 0)),
    };
    if let Some((code, information)) = answer {
        cx.memory.set(status, IO_STATUS_BLOCK::Status, code)?;
        cx.memory
            .set(status, IO_STATUS_BLOCK::Information, information)?;
    }
    let result = cx.memory.get(status, IO_STATUS_BLOCK::Status)?;
    Ok(Flow::Host(
        complete::io_complete(irp),
        complete::return_status(result),
    ))
}
