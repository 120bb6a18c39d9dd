//! What a device model is: registers behind memory or ports, an interrupt line, access to memory, time.

use std::fmt::Debug;

use ring3_memory::{Fault, Gpa, Memory};

use crate::hash::Fnv;

/// A range of registers.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum Range {
    /// Registers in memory, of this many bytes.
    Memory(u64),
    /// Registers at ports.
    Ports(u16),
}

/// What a device says of itself in the configuration space of a PCI function.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub struct Identity {
    /// Vendor.
    pub vendor: u16,
    /// Device.
    pub device: u16,
    /// Class code, subclass, programming interface.
    pub class: [u8; 3],
    /// Revision.
    pub revision: u8,
    /// Its ranges, in the order of the base address registers.
    pub ranges: &'static [Range],
    /// Whether it has an interrupt pin.
    pub interrupt: bool,
}

/// What a model may do to the rest of the machine while it is asked something.
#[derive(Debug)]
pub struct Bus<'a> {
    /// Virtual time in 100 ns.
    pub now: u64,
    memory: &'a mut Memory,
    line: &'a mut bool,
}

impl<'a> Bus<'a> {
    pub(super) fn new(now: u64, memory: &'a mut Memory, line: &'a mut bool) -> Self {
        Self { now, memory, line }
    }

    /// Asserts or releases the interrupt line.
    pub fn interrupt(&mut self, asserted: bool) {
        *self.line = asserted;
    }

    /// Reads memory as a bus master.
    ///
    /// # Errors
    /// [`Fault::Device`] outside RAM.
    pub fn read(&self, at: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        self.memory.read_physical(Gpa(at), bytes)
    }

    /// Writes memory as a bus master.
    ///
    /// # Errors
    /// [`Fault::Device`] outside RAM.
    pub fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.memory.write_physical(Gpa(at), bytes)
    }
}

/// A device model: plain state and what accesses to its registers do. It is part of the machine, so it is cloned with
/// it, and nothing of it may come from the host.
pub trait Model: Debug + Send + Sync {
    /// A copy.
    fn boxed(&self) -> Box<dyn Model>;
    /// All of its state, for the machine's hash.
    fn hash(&self, into: &mut Fnv);
    /// What it is.
    fn identity(&self) -> Identity;
    /// A read of `size` bytes (1, 2, 4, 8) at `offset` of a range.
    fn read(&mut self, range: usize, offset: u64, size: u8, bus: &mut Bus<'_>) -> u64;
    /// A write of `size` bytes.
    fn write(&mut self, range: usize, offset: u64, size: u8, value: u64, bus: &mut Bus<'_>);
    /// When it wants to be called next, in 100 ns of virtual time.
    fn due(&self) -> Option<u64> {
        None
    }
    /// That time has come.
    fn tick(&mut self, bus: &mut Bus<'_>) {
        let _ = bus;
    }
    /// Bytes that come from outside the machine: a serial line, for instance.
    fn receive(&mut self, bytes: &[u8], bus: &mut Bus<'_>) {
        let _ = (bytes, bus);
    }
    /// Bytes that it has sent to the outside so far.
    fn sent(&self) -> &[u8] {
        &[]
    }
}
