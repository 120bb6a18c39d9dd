//! The kernel proper: scheduling, waiting, DPCs, timers, spin locks.

pub mod alert;
pub mod apc;
pub mod bugcheck_callback;
pub mod call_dpc;
pub mod dispatcher;
pub mod dpc;
pub mod dpc_exports;
pub mod event;
pub mod ex_timer;
pub mod exit_check;
pub mod interrupt;
pub mod interrupt_exports;
pub mod kernel_stack;
pub mod level;
pub mod list;
pub mod mutex;
pub mod priority;
pub mod processors;
pub mod scheduler;
pub mod semaphore;
pub mod shared_data;
pub mod spin_lock;
pub mod suspend;
pub mod threaded_dpc;
pub mod timer;
pub mod waiting;
pub mod watchdog;

/// State of the kernel proper that is not in guest memory.
#[derive(Clone, Hash, Debug, Default)]
pub struct State {
    /// Set timers.
    pub timers: timer::Timers,
    /// Calls on all processors.
    pub calls: call_dpc::Calls,
    /// Threads that run threaded DPCs.
    pub dpc_threads: threaded_dpc::DpcThreads,
    /// Timers of ExAllocateTimer, by address.
    pub ex_timers: std::collections::BTreeMap<u64, ex_timer::ExTimer>,
    /// Connected interrupts and the lines of devices.
    pub interrupts: interrupt::Interrupts,
    /// Bugcheck callbacks and what they left.
    pub bugcheck: bugcheck_callback::Callbacks,
    /// Queued DPCs that a timer has queued.
    pub timer_dpcs: std::collections::BTreeSet<u64>,
    /// Held spin locks and the processors that hold them.
    pub lock_owners: std::collections::BTreeMap<u64, u64>,
}
