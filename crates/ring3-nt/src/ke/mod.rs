//! The kernel proper: scheduling, waiting, DPCs, timers, spin locks.

pub mod alert;
pub mod apc;
pub mod dispatcher;
pub mod dpc;
pub mod dpc_exports;
pub mod event;
pub mod exit_check;
pub mod level;
pub mod list;
pub mod mutex;
pub mod priority;
pub mod scheduler;
pub mod semaphore;
pub mod shared_data;
pub mod spin_lock;
pub mod suspend;
pub mod timer;
pub mod waiting;

/// State of the kernel proper that is not in guest memory.
#[derive(Clone, Hash, Debug, Default)]
pub struct State {
    /// Set timers.
    pub timers: timer::Timers,
    /// Queued DPCs that a timer has queued.
    pub timer_dpcs: std::collections::BTreeSet<u64>,
    /// Held spin locks and the processors that hold them.
    pub lock_owners: std::collections::BTreeMap<u64, u64>,
}
