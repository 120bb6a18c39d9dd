//! What an engine records while it runs: edges between blocks, and memory accesses.

use std::collections::VecDeque;

use crate::engine::AccessRecord;

/// Number of counters in [`Coverage`].
pub const COVERAGE_SIZE: usize = 1 << 16;

/// Accesses kept by the access log.
const LOG_SIZE: usize = 1 << 16;

/// How often control went from one block of code to another: a counter for each hash of two addresses. The hash
/// is fixed, so the same run gives the same counters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Coverage {
    counters: Box<[u8]>,
    touched: Vec<u16>,
    previous: u64,
}

impl Default for Coverage {
    fn default() -> Self {
        Self {
            counters: vec![0; COVERAGE_SIZE].into_boxed_slice(),
            touched: Vec::new(),
            previous: 0,
        }
    }
}

impl Coverage {
    /// The counter of an edge; stays at 255 once there.
    pub fn count(&self, edge: u16) -> u8 {
        self.counters.get(usize::from(edge)).copied().unwrap_or(0)
    }

    /// The edges that were taken since the last [`Self::clear`], in the order of the first time.
    pub fn edges(&self) -> &[u16] {
        &self.touched
    }

    /// Sets all counters to zero. Costs the number of edges taken.
    pub fn clear(&mut self) {
        for edge in self.touched.drain(..) {
            if let Some(counter) = self.counters.get_mut(usize::from(edge)) {
                *counter = 0;
            }
        }
        self.previous = 0;
    }

    #[inline(always)]
    pub(crate) fn enter(&mut self, rip: u64) {
        // Multiplication by an odd constant spreads addresses that differ little (Knuth, TAOCP volume 3, 6.4).
        let here = rip.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
        let edge = (here ^ (self.previous >> 1)) as u16;
        self.previous = here;
        let counter = &mut self.counters[usize::from(edge) % COVERAGE_SIZE];
        if *counter == 0 {
            self.touched.push(edge);
        }
        *counter = counter.saturating_add(1);
    }
}

/// Everything recorded.
#[derive(Default)]
pub(crate) struct Recorder {
    pub coverage: Coverage,
    pub log: VecDeque<AccessRecord>,
    /// Whether accesses are logged.
    pub logging: bool,
}

impl Recorder {
    /// Appends to the log; the oldest record gives way.
    pub fn log(&mut self, record: AccessRecord) {
        if self.log.len() == LOG_SIZE {
            self.log.pop_front();
        }
        self.log.push_back(record);
    }

    /// Drops the records of an instruction that did not happen.
    pub fn retract(&mut self, icount: u64) {
        while self
            .log
            .back()
            .is_some_and(|record| record.icount >= icount)
        {
            self.log.pop_back();
        }
    }
}
