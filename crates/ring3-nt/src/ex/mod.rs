//! The executive: pool, work queues, lookaside lists.

pub mod callback;
pub mod fast_mutex;
pub mod interlocked;
pub mod lookaside;
pub mod pool;
pub mod pool_exports;
pub mod push_lock;
pub mod reader_writer_spin_lock;
pub mod resource;
pub mod resource_exports;
pub mod rundown;
pub mod rundown_cache_aware;
pub mod slist;
pub mod uuid;
pub mod work_queue;

use std::collections::BTreeMap;

/// State of the executive that is not in guest memory.
#[derive(Clone, Hash, Debug, Default)]
pub struct State {
    /// Pool blocks.
    pub pool: pool::Pool,
    /// How many allocations of drivers succeed before one fails; `None` while none is to fail.
    pub fail_allocation: Option<u64>,
    /// Work items and their threads.
    pub work: work_queue::WorkQueue,
    /// Lookaside lists that have been initialised and not deleted, with who did it: a return address.
    pub lookaside_lists: BTreeMap<u64, u64>,
    /// Executive resources by address.
    pub resources: BTreeMap<u64, resource::Resource>,
    /// References that are left of run-downs that have begun.
    pub rundowns: BTreeMap<u64, u64>,
    /// Who waits for push locks.
    pub push_lock_waiters: BTreeMap<u64, push_lock::Waiters>,
    /// Callback objects.
    pub callbacks: callback::State,
    /// UUIDs made so far.
    pub uuids: u64,
}
