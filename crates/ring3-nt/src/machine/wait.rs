//! What a blocked thread waits for.

use ring3_memory::Gva;

use crate::flow::Key;
use crate::layout::DISPATCHER_HEADER;

/// A wait.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Dispatcher objects; the result is `STATUS_WAIT_0 + index`, `STATUS_TIMEOUT`, ...
    Objects {
        /// The objects.
        objects: Vec<Gva<DISPATCHER_HEADER>>,
        /// All of them, or any.
        all: bool,
        /// Whether alerts and user APCs end it.
        alertable: bool,
        /// When it times out, in 100 ns of virtual time.
        due: Option<u64>,
    },
    /// A host condition: whoever makes it true calls `Machine::wake`.
    On(Key),
    /// A point in virtual time, in 100 ns.
    Until(u64),
}

impl Wait {
    /// When it times out, if ever.
    #[must_use]
    pub fn due(&self) -> Option<u64> {
        match self {
            Self::Objects { due, .. } => *due,
            Self::On(_) => None,
            Self::Until(due) => Some(*due),
        }
    }
}
