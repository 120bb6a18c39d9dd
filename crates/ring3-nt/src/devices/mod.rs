//! Simulated devices: models, where their registers are, and the accesses of the guest to them.
//!
//! Registers in memory are physical addresses without RAM. The engine stops before an instruction that touches one. The
//! instruction is then run once with a page of RAM in the device's place: a read finds there what the model
//! answered, a write leaves there what the model is told. So every instruction works on registers, as on a processor.

pub mod access;
pub mod model;
pub mod mover;
pub mod uart;

use std::hash::{Hash, Hasher};

use ring3_memory::{Gpa, PAGE_SIZE};

use crate::Machine;
use crate::hash::Fnv;
use model::{Bus, Identity, Model, Range};

/// Above all RAM that a machine can have.
const FIRST_MEMORY: u64 = 0x20_0000_0000;
const FIRST_PORT: u16 = 0xc000;

/// A device that is plugged in.
#[derive(Debug)]
pub struct Device {
    model: Box<dyn Model>,
    /// What it is.
    pub identity: Identity,
    /// Where its ranges start: physical addresses, or ports.
    pub starts: Vec<u64>,
    /// Whether it asks for an interrupt.
    pub line: bool,
}

impl Clone for Device {
    fn clone(&self) -> Self {
        Self {
            model: self.model.boxed(),
            identity: self.identity,
            starts: self.starts.clone(),
            line: self.line,
        }
    }
}

impl Hash for Device {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut model = Fnv::default();
        self.model.hash(&mut model);
        (model.finish(), self.identity, &self.starts, self.line).hash(state);
    }
}

/// The devices of a machine.
#[derive(Clone, Hash, Debug)]
pub struct Devices {
    all: Vec<Device>,
    next_memory: u64,
    next_port: u16,
    /// The page of RAM that stands in for registers during an access.
    scratch: Option<Gpa>,
}

impl Default for Devices {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            next_memory: FIRST_MEMORY,
            next_port: FIRST_PORT,
            scratch: None,
        }
    }
}

impl Devices {
    /// The devices in the order in which they came.
    #[must_use]
    pub fn all(&self) -> &[Device] {
        &self.all
    }

    /// When the next of them wants to be called.
    #[must_use]
    pub fn next_due(&self) -> Option<u64> {
        self.all.iter().filter_map(|d| d.model.due()).min()
    }

    /// Which device and range has registers at an address, and the offset in it.
    fn find(&self, at: u64, memory: bool) -> Option<(usize, usize, u64)> {
        self.all.iter().enumerate().find_map(|(number, device)| {
            let ranges = device.identity.ranges.iter().zip(&device.starts);
            ranges.enumerate().find_map(|(index, (range, start))| {
                let size = match (range, memory) {
                    (Range::Memory(size), true) => *size,
                    (Range::Ports(size), false) => u64::from(*size),
                    _ => return None,
                };
                let offset = at.checked_sub(*start).filter(|offset| *offset < size)?;
                Some((number, index, offset))
            })
        })
    }
}

impl Machine {
    /// Plugs a device in: its ranges get addresses. Gives its number.
    pub fn add_device(&mut self, model: Box<dyn Model>) -> usize {
        let identity = model.identity();
        let mut starts = Vec::new();
        for range in identity.ranges {
            match *range {
                Range::Memory(size) => {
                    // Base address registers decode powers of two; a page of its own each, so that it can be mapped alone.
                    let size = size.next_power_of_two().max(PAGE_SIZE as u64);
                    let start = self.devices.next_memory.next_multiple_of(size);
                    self.devices.next_memory = start + size;
                    starts.push(start);
                }
                Range::Ports(size) => {
                    let size = size.next_power_of_two().max(4);
                    let start = self.devices.next_port.next_multiple_of(size);
                    self.devices.next_port = start.wrapping_add(size);
                    starts.push(u64::from(start));
                }
            }
        }
        self.devices.all.push(Device {
            model,
            identity,
            starts,
            line: false,
        });
        self.devices.all.len() - 1
    }

    /// Asks a device something; `None` if there is no such device.
    fn with_device<T>(
        &mut self,
        number: usize,
        work: impl FnOnce(&mut dyn Model, &mut Bus<'_>) -> T,
    ) -> Option<T> {
        let now = self.clock.now();
        let Device { model, line, .. } = self.devices.all.get_mut(number)?;
        let mut bus = Bus::new(now, &mut self.memory, line);
        Some(work(model.as_mut(), &mut bus))
    }

    /// Lets the devices do what their time has come for.
    pub(crate) fn tick_devices(&mut self) {
        let now = self.clock.now();
        for number in 0..self.devices.all.len() {
            let due = self.devices.all.get(number).and_then(|d| d.model.due());
            if due.is_some_and(|due| due <= now) {
                self.with_device(number, |model, bus| model.tick(bus));
            }
        }
    }

    /// Bytes from outside for a device; whether there is such a device.
    pub fn device_receive(&mut self, number: usize, bytes: &[u8]) -> bool {
        self.with_device(number, |model, bus| model.receive(bytes, bus))
            .is_some()
    }

    /// What a device has sent to the outside so far.
    #[must_use]
    pub fn device_sent(&self, number: usize) -> &[u8] {
        self.devices
            .all
            .get(number)
            .map_or(&[], |device| device.model.sent())
    }
}
