//! The run-time library.

pub mod exception;
pub mod format;
pub mod memory;
