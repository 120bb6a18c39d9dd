//! Routines of the I/O manager that drivers reach by pointer only: no image exports them.

use ring3_memory::Gva;
use ring3_x64::{RCX, RDX};

use crate::Machine;
use crate::flow::{Flow, IntoFlow};

/// What every dispatch slot of a fresh driver object holds.
pub const INVALID_DEVICE_REQUEST: &str = "IopInvalidDeviceRequest";
/// The cancel routine of IRPs in a cancel-safe queue.
pub const CSQ_CANCEL_ROUTINE: &str = "CsqpCancelRoutine";

/// The dispatch routine of the bus driver of root-enumerated devices.
pub const ROOT_BUS_DISPATCH: &str = "PipRootBusDispatch";

/// Runs such a routine with the arguments in the registers. `None` for a name that is none of them.
pub fn call(cx: &mut Machine, name: &str) -> Option<Flow> {
    let irp = cx.processor().cpu.gpr[RDX];
    match name {
        INVALID_DEVICE_REQUEST => {
            Some(super::irp::invalid_device_request(cx, Gva::new(irp)).into_flow())
        }
        CSQ_CANCEL_ROUTINE => Some(super::csq::cancelled(cx, Gva::new(irp)).into_flow()),
        ROOT_BUS_DISPATCH => {
            let device = cx.processor().cpu.gpr[RCX];
            Some(super::root_bus::dispatch(cx, Gva::new(device), Gva::new(irp)).into_flow())
        }
        _ => None,
    }
}
