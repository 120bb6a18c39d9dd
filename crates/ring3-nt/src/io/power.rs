//! Power. Documentation: wdm.h, "Power Management for Windows Drivers".

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use super::pnp;
use crate::Machine;
use crate::export::argument::Code;
use crate::flow::Flow;
use crate::layout::{DEVICE_OBJECT, IO_STATUS_BLOCK, IRP};
use crate::machine::thread::ProcessId;
use crate::ntstatus::{
    NTSTATUS, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER_2, STATUS_PENDING,
};

const TAG: u32 = u32::from_le_bytes(*b"Powr");

/// A device power request of a driver: sends it and calls the driver when it is complete.
#[resumable]
fn request(
    cx: &mut Machine,
    device: Gva<DEVICE_OBJECT>,
    minor: u8,
    state: u32,
    routine: u64,
    context: u64,
) -> Result<Flow, Fault> {
    let status: NTSTATUS = host!(pnp::send_power(device, minor, false, state));
    if routine != 0 {
        let Some(made) =
            cx.pool_allocate(crate::ex::pool::Kind::NonPaged, IO_STATUS_BLOCK::SIZE, TAG)
        else {
            return Ok(Flow::ThreadEnd);
        };
        let block: Gva = made;
        cx.memory.set(
            block.cast::<IO_STATUS_BLOCK>(),
            IO_STATUS_BLOCK::Status,
            status,
        )?;
        call!(routine, device, minor, state, context, block);
        cx.pool_free(block);
    }
    Ok(Flow::ThreadEnd)
}

/// Routines on power.
pub struct Power;

#[exports("ntoskrnl.exe")]
impl Power {
    /// Says that the driver is ready for the next power IRP: needless since Windows Vista.
    #[page("ntifs/nf-ntifs-postartnextpowerirp")]
    #[irql(..=DISPATCH_LEVEL)]
    fn PoStartNextPowerIrp(cx: &mut Machine, Irp: Gva<IRP>) {
        let _ = (cx, Irp);
    }

    /// Notes the power state of a device. Gives the state before.
    #[page("ntifs/nf-ntifs-posetpowerstate")]
    #[irql(..=DISPATCH_LEVEL)]
    #[partial("the state is noted for device power only")]
    fn PoSetPowerState(
        cx: &mut Machine,
        DeviceObject: Gva<DEVICE_OBJECT>,
        Type: u32,
        State: u32,
    ) -> u32 {
        if Type != 1 {
            return 0;
        }
        // A new device is in PowerDeviceD0.
        cx.io.power_states.insert(DeviceObject, State).unwrap_or(1)
    }

    /// Sends a power IRP to the top of a device's stack.
    #[page("wdm/nf-wdm-porequestpowerirp")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial(
        "IRP_MN_WAIT_WAKE; the IRP is sent by a thread of the system and its address is not given out"
    )]
    fn PoRequestPowerIrp(
        cx: &mut Machine,
        DeviceObject: Gva<DEVICE_OBJECT>,
        MinorFunction: u8,
        PowerState: u32,
        CompletionFunction: Gva<Code>,
        Context: Gva,
        Irp: Gva<u64>,
    ) -> Flow {
        // IRP_MN_WAIT_WAKE 0, IRP_MN_SET_POWER 2, IRP_MN_QUERY_POWER 3.
        let status = match MinorFunction {
            0 => return Flow::NotModelled("PoRequestPowerIrp with IRP_MN_WAIT_WAKE".into()),
            _ if !Irp.is_null() => {
                return Flow::NotModelled("PoRequestPowerIrp that gives the IRP out".into());
            }
            2 | 3 => {
                let rest = request(
                    DeviceObject,
                    MinorFunction,
                    PowerState,
                    CompletionFunction.raw(),
                    Context.raw(),
                );
                match cx.create_thread(ProcessId::SYSTEM, "power", rest) {
                    Some(_) => STATUS_PENDING,
                    None => STATUS_INSUFFICIENT_RESOURCES,
                }
            }
            _ => STATUS_INVALID_PARAMETER_2,
        };
        Flow::Return(u64::from(status.0))
    }
}
