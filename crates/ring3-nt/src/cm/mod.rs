//! The registry, in memory.

pub mod callback;
pub mod filter;
pub mod information;
pub mod keys;
pub mod notify;
pub mod object_context;
pub mod operation;
pub mod tree;

pub use tree::State;
