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
pub mod queued_spin_lock;
pub mod scheduler;
pub mod semaphore;
pub mod shared_data;
pub mod spin_lock;
pub mod suspend;
pub mod system_spin_lock;
pub mod threaded_dpc;
pub mod timer;
pub mod waiting;
pub mod watchdog;

/// State of the kernel proper that is not in guest memory.
#[derive(Clone, Hash, Debug, Default)]
pub struct State {
    /// Set timers.
    pub timers: timer::Timers,
    /// The words of the system's own spin locks, once somebody has used one.
    pub system_locks: ring3_memory::Gva<u64>,
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
}
