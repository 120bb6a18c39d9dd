//! Why a verb of a session did not do what it was asked for.

use ring3_nt::mm::loader::LoadError;
use ring3_nt::ntstatus::NTSTATUS;

/// Why a verb failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The driver, or the kernel, answered with this status.
    #[error("{what}: {status}")]
    Status {
        /// What was asked for.
        what: String,
        /// The answer.
        status: NTSTATUS,
    },
    /// The image cannot be loaded: it is not what it should be, or needs what is not there.
    #[error("{0}")]
    Image(#[from] LoadError),
    /// The machine has stopped: a bugcheck, or something that is not modelled.
    #[error("the machine has stopped during {0}; see the report")]
    Stopped(String),
    /// Nothing can go on, and the verb is not over.
    #[error("{0} never comes to an end")]
    Hang(String),
    /// The instruction budget is used up.
    #[error(
        "{0} was still running when the instruction budget was used up; raise it with --budget"
    )]
    Budget(String),
    /// The workload asks for something that makes no sense here.
    #[error("{0}")]
    Usage(String),
    /// A workload that is resumed took another path than the first time.
    #[error(
        "the workload is no function of its results: it asked for `{asked}` where it had asked for `{recorded}`"
    )]
    Diverged {
        /// This time.
        asked: String,
        /// The first time.
        recorded: String,
    },
}

impl SessionError {
    /// Whether the run is over and no verb can do anything any more.
    #[must_use]
    pub const fn ends_run(&self) -> bool {
        matches!(self, Self::Stopped(_) | Self::Hang(_) | Self::Budget(_))
    }

    /// The status, if the verb was answered with one.
    #[must_use]
    pub fn status(&self) -> Option<NTSTATUS> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::Image(error) => Some(error.status()),
            _ => None,
        }
    }
}
