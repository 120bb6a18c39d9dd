//! The kernel proper: scheduling, waiting, DPCs, timers, spin locks.

pub mod dispatcher;
pub mod dpc;
pub mod dpc_exports;
pub mod event;
pub mod level;
pub mod queued_spin_lock;
pub mod scheduler;
pub mod semaphore;
pub mod shared_data;
pub mod spin_lock;
pub mod system_spin_lock;
pub mod timer;
pub mod waiting;

/// State of the kernel proper that is not in guest memory.
#[derive(Clone, Hash, Debug, Default)]
pub struct State {
    /// Set timers.
    pub timers: timer::Timers,
    /// The words of the system's own spin locks, once somebody has used one.
    pub system_locks: ring3_memory::Gva<u64>,
}
