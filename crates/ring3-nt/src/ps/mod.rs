//! Processes, threads and loaded modules, as drivers see them.

pub mod loaded_modules;
pub mod system_routine;
pub mod threads;
pub mod variables;

use std::collections::BTreeMap;

use crate::machine::thread::ThreadId;

/// State of processes and threads that is not in guest memory.
#[derive(Clone, Hash, Debug, Default)]
pub struct State {
    /// Who created which system thread: a return address.
    pub thread_owners: BTreeMap<ThreadId, u64>,
}
