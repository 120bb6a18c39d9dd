//! The run-time library.

pub mod exception;
pub mod c_strings;
pub mod format;
pub mod memory;
pub mod unicode_string;
