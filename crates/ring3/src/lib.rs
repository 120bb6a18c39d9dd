//! ring3 runs and checks Windows kernel-mode drivers on any machine, with no Windows.
//!
//! This crate is the facade that tests use, and the command line. A [`Session`] is a machine with
//! drivers in it and a workload that talks to them as applications do.
#![forbid(unsafe_code)]

pub mod cli;
pub mod default_scenario;
pub mod driver;
pub mod exit;
pub mod imports;
pub mod lab;
pub mod report;
pub mod rules;
pub mod run;
pub mod scenario;
pub mod session;

pub use driver::DriverFile;
pub use ring3_labs as labs;
pub use ring3_nt as nt;
pub use session::Session;
