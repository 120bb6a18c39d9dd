//! The run-time library.

pub mod bit_runs;
pub mod bitmap;
pub mod crt;
pub mod exception;
pub mod format;
pub mod memory;
pub mod unicode_string;

/// State of the run-time library that is not in guest memory.
#[derive(Clone, Hash, Debug)]
pub struct State {
    /// What `rand` goes on from; 1 until `srand`.
    pub rand: u32,
}

impl Default for State {
    fn default() -> Self {
        Self { rand: 1 }
    }
}
