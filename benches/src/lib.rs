//! What the benchmarks share: clocks, medians, the table they print, and the guest that the interpreter is
//! measured with.
//!
//! Every figure is a median of several rounds and stands beside its budget. What has something outside to compare
//! with (the same source compiled for the host) is printed as a ratio.

#![forbid(unsafe_code)]

pub mod clock;
pub mod guest;
pub mod native;
pub mod table;

use std::path::{Path, PathBuf};

/// The folder of the benchmarks.
#[must_use]
pub fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The committed image of the workloads.
#[must_use]
pub fn guest_image() -> PathBuf {
    folder().join("guest/workloads.sys")
}

/// One workload of `guest/workloads.c`.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Its number in `RunWorkload`.
    pub number: u64,
    /// What the table calls it.
    pub name: &'static str,
    /// Rounds per measurement.
    pub rounds: u64,
    /// How many times slower than the host's own code it may be.
    pub budget: f64,
}

/// The three workloads.
pub const WORKLOADS: [Workload; 3] = [
    Workload {
        number: 0,
        name: "compute",
        rounds: 4_000,
        budget: 8.0,
    },
    Workload {
        number: 1,
        name: "pointers",
        rounds: 300_000,
        budget: 16.0,
    },
    Workload {
        number: 2,
        name: "api",
        rounds: 400_000,
        budget: 10.0,
    },
];
