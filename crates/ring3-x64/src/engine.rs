//! The trait between an engine and the rest, and what an engine can record.

use ring3_memory::{Access, Memory};

use crate::cpu::Cpu;
use crate::exit::Exit;

/// What to record while running. Costs nothing when off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instrument {
    /// Count the edges between blocks of code.
    pub coverage: bool,
    /// Keep the latest memory accesses.
    pub access_log: bool,
}

/// One memory access of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccessRecord {
    /// Virtual address of its first byte.
    pub va: u64,
    /// Bytes.
    pub size: u8,
    /// [`Access::Read`] or [`Access::Write`].
    pub access: Access,
    /// Address of the instruction.
    pub rip: u64,
    /// Instructions retired before this one.
    pub icount: u64,
}

/// Something that executes instructions.
pub trait Engine {
    /// Runs until `cpu.icount == until` or something else ends it; see [`Exit`]. Sets the memory's context from the
    /// processor's control registers first. If `until` is not above `cpu.icount` nothing runs.
    fn run(&mut self, cpu: &mut Cpu, mem: &mut Memory, until: u64) -> Exit;

    /// Drops everything that was derived from guest memory. Never needed for correctness with one and the same
    /// [`Memory`]; needed before running with another one.
    fn flush(&mut self);

    /// Chooses what to record from now on; drops translated code if this changes.
    fn instrument(&mut self, set: Instrument);
}
