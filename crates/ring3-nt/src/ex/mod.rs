//! The executive: pool, work queues, lookaside lists.

pub mod fast_mutex;
pub mod pool;
pub mod pool_exports;

/// State of the executive that is not in guest memory.
#[derive(Clone, Hash, Debug, Default)]
pub struct State {
    /// Pool blocks.
    pub pool: pool::Pool,
}
