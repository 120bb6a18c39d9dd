//! Processes, threads and loaded modules, as drivers see them.

pub mod attach;
pub mod create;
pub mod handles;
pub mod loaded_modules;
pub mod notify;
pub mod notify_exports;
pub mod processes;
pub mod system_routine;
pub mod thread_queries;
pub mod threads;
pub mod variables;

use std::collections::BTreeMap;

use crate::flow::Key;
use crate::machine::thread::{ProcessId, ThreadId};

/// State of processes and threads that is not in guest memory.
#[derive(Clone, Hash, Debug, Default)]
pub struct State {
    /// Who created which system thread: a return address.
    pub thread_owners: BTreeMap<ThreadId, u64>,
    /// What is known of processes of the workload.
    pub processes: BTreeMap<ProcessId, Details>,
    /// Who is told of processes, threads and images.
    pub notify: notify::State,
}

/// What is known of a process beside its object.
#[derive(Clone, Hash, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Its image, a native path.
    pub image: String,
    /// Whether its pointers have 32 bits.
    pub wow64: bool,
    /// The environment block of a 32-bit process; 0 for a 64-bit one.
    pub peb32: u64,
    /// Where its image is.
    pub image_base: u64,
    /// Whether the load of its image has been told.
    pub image_told: bool,
    /// The thread whose end need not be told any more: the last one told of it before the process ended.
    pub told_end: Option<ThreadId>,
    /// How many hold off its end.
    pub exit_holders: u32,
}

/// What the end of a process waits for.
#[must_use]
pub const fn exit_key(process: ProcessId) -> Key {
    Key::new("process-exit-holders", process.0 as u64)
}
