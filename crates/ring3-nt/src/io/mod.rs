//! The I/O manager.

pub mod attach;
pub mod build;
pub mod call_function;
pub mod cancel;
pub mod complete;
pub mod csq;
pub mod device;
pub mod driver;
pub mod driver_extension;
pub mod exit;
pub mod file;
pub mod finish;
pub mod interface;
pub mod irp;
pub mod named_event;
pub mod open;
pub mod pnp;
pub mod power;
pub mod private;
pub mod queue;
pub mod remove_lock;
pub mod requestor;
pub mod root_bus;
pub mod share;
pub mod user;
pub mod work_item;
pub mod work_items_left;
pub mod zw_file;

use std::collections::BTreeMap;

use ring3_memory::Gva;

use crate::layout::{DEVICE_OBJECT, DRIVER_OBJECT, IRP};
use crate::machine::thread::{ProcessId, ThreadId};

/// A loaded driver.
#[derive(Clone, Hash, Debug)]
pub struct Driver {
    /// Its object.
    pub object: Gva<DRIVER_OBJECT>,
    /// Service name.
    pub service: String,
    /// Base of its image.
    pub base: u64,
    /// What DriverEntry returned, once it has.
    pub entry_status: Option<u32>,
    /// Whether it has been unloaded.
    pub unloaded: bool,
}

/// Where the data of a request lies, for the end of the request.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// Nothing to copy.
    None,
    /// A system buffer, copied to the user's at the end if the flag says so.
    Buffered {
        /// The system buffer.
        system: u64,
        /// The user's buffer.
        user: u64,
        /// Its size.
        length: u32,
        /// Whether output is copied.
        output: bool,
    },
    /// An MDL over the user's buffer.
    Direct {
        /// A system buffer for the input of an ioctl; 0 for none.
        system: u64,
    },
}

/// A request that the I/O manager itself has sent.
#[derive(Clone, Hash, Debug)]
pub struct Operation {
    /// The thread that asked.
    pub thread: ThreadId,
    /// Its process.
    pub process: ProcessId,
    /// Its data.
    pub transfer: Transfer,
    /// The file object.
    pub file: u64,
    /// Status and information, once it is complete.
    pub done: Option<(u32, u64)>,
    /// Nobody waits: the end goes to the IRP's status block and event.
    pub detached: bool,
    /// The user's request number, for requests that nobody waits for.
    pub number: Option<u64>,
    /// Whether the request holds a reference to its file.
    pub holds_file: bool,
    /// Whether the request was marked pending when it ended.
    pub marked: bool,
}

/// State of the I/O manager.
#[derive(Clone, Hash, Debug, Default)]
pub struct State {
    /// Drivers in load order.
    pub drivers: Vec<Driver>,
    /// Devices in creation order.
    pub devices: Vec<Gva<DEVICE_OBJECT>>,
    /// Requests of our own, by IRP.
    pub operations: BTreeMap<Gva<IRP>, Operation>,
    /// IRPs that exist, with who allocated them.
    pub irps: BTreeMap<Gva<IRP>, u64>,
    /// IRPs that belong to a thread: those of IoBuildDeviceIoControlRequest and its like.
    pub threaded: BTreeMap<Gva<IRP>, ThreadId>,
    /// Plugged-in devices.
    pub pnp: pnp::Manager,
    /// Drivers whose unload waits for their last file, by number.
    pub unloads: Vec<usize>,
    /// Device interfaces.
    pub interfaces: Vec<interface::Interface>,
    /// Who wants to be told of Plug and Play events.
    pub notifications: Vec<interface::Notification>,
    /// Routines to be called after DriverEntry.
    pub reinitializations: Vec<driver_extension::Reinitialization>,
    /// Devices that are told of a shutdown.
    pub shutdown: Vec<Gva<DEVICE_OBJECT>>,
    /// Power states that drivers noted with PoSetPowerState.
    pub power_states: BTreeMap<Gva<DEVICE_OBJECT>, u32>,
    /// User requests.
    pub user: user::Requests,
    /// Number of the next device without a name.
    pub next_device: u32,
}
