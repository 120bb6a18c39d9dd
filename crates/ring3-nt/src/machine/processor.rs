//! Virtual processors.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use ring3_memory::Gva;
use ring3_x64::Cpu;

use super::thread::ThreadId;
use crate::flow::Until;
use crate::layout::{KDPC, KPCR};

/// A virtual processor.
#[derive(Clone, Debug)]
pub struct Processor {
    /// Number.
    pub number: usize,
    /// Live registers.
    pub cpu: Cpu,
    /// The running thread.
    pub current: ThreadId,
    /// The thread that runs when no other can.
    pub idle: ThreadId,
    /// The control region in guest memory.
    pub kpcr: Gva<KPCR>,
    /// Queued DPCs.
    pub dpcs: VecDeque<Gva<KDPC>>,
    /// Whether DPCs are being run.
    pub dpc_active: bool,
    /// The condition that a busy wait waits for.
    pub spinning: Option<Until>,
    /// The instruction count at which the running thread's quantum ends.
    pub quantum_end: u64,
    /// Set when the running thread may no longer run here.
    pub must_yield: bool,
    /// Set by `hlt` until the next interrupt.
    pub halted: bool,
}

impl Processor {
    /// The interrupt request level: CR8.
    #[must_use]
    pub fn irql(&self) -> u8 {
        self.cpu.cr8 as u8
    }
}

impl Hash for Processor {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
        self.cpu.hash(state);
        self.current.hash(state);
        self.idle.hash(state);
        self.dpcs.hash(state);
        self.dpc_active.hash(state);
        self.spinning.hash(state);
        self.quantum_end.hash(state);
        self.must_yield.hash(state);
        self.halted.hash(state);
    }
}
