//! The registry, in memory.

pub mod callback;
pub mod information;
pub mod keys;
pub mod operation;
pub mod tree;

pub use tree::State;
