//! Virtual processors.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use ring3_memory::Gva;
use ring3_x64::Cpu;

use super::thread::ThreadId;
use crate::flow::{Kont, Until};
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
    /// Interrupts that have been raised and not yet delivered, in the order in which they came.
    pub pending: Vec<PendingInterrupt>,
    /// Queued threaded DPCs.
    pub threaded_dpcs: VecDeque<Gva<KDPC>>,
    /// Clock ticks that the running DPC has taken.
    pub ticks_in_dpc: u64,
    /// Clock ticks since the processor was last below DISPATCH_LEVEL.
    pub ticks_at_dispatch: u64,
}

/// An interrupt that waits until the processor's IRQL is low enough.
#[derive(Clone, Hash, Debug)]
pub struct PendingInterrupt {
    /// The IRQL at which its work runs.
    pub irql: u8,
    /// What runs.
    pub work: Kont,
}

impl Processor {
    /// The interrupt request level: CR8.
    #[must_use]
    pub fn irql(&self) -> u8 {
        self.cpu.cr8 as u8
    }

    /// The interrupt that would be delivered now: the highest one above the IRQL, the oldest of equals.
    #[must_use]
    pub fn deliverable(&self) -> Option<usize> {
        const INTERRUPT_FLAG: u64 = 0x200;
        if self.pending.is_empty() || self.cpu.rflags & INTERRUPT_FLAG == 0 {
            return None;
        }
        let irql = self.irql();
        self.pending
            .iter()
            .enumerate()
            .filter(|(_, p)| p.irql > irql)
            .min_by_key(|(i, p)| (std::cmp::Reverse(p.irql), *i))
            .map(|(i, _)| i)
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
        self.pending.hash(state);
        self.threaded_dpcs.hash(state);
        self.ticks_in_dpc.hash(state);
        self.ticks_at_dispatch.hash(state);
    }
}
