//! The registry, in memory.

pub mod keys;
pub mod tree;

pub use tree::State;
