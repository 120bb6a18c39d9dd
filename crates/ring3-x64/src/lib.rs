//! The x86-64 interpreter: one virtual processor that runs in guest memory until something outside the
//! instruction set happens.
//!
//! - [`Cpu`]: the whole architectural state, plain data. Always exact at the boundary: RFLAGS is materialised, RIP
//!   and [`Cpu::icount`] are those of the instruction that would run next.
//! - [`Engine`]: what executes it; [`Interpreter`] is the one there is.
//! - [`Exit`]: why it stopped.
//!
//! Time is the number of instructions retired. [`Engine::run`] stops exactly at the count it is given, in the middle
//! of a block of code and of a repeated string instruction too (each iteration counts as one instruction). So
//! a run that is cut into pieces goes through the same states as one that is not.
//!
//! Nothing in here knows Windows.

mod block;
mod cpu;
mod cpuid;
mod decode;
mod engine;
mod exit;
mod flags;
mod interpreter;
mod op;
mod ops;
mod record;
pub mod vector;
mod vm;
mod walk;
mod width;

pub use cpu::*;
pub use engine::*;
pub use exit::*;
pub use interpreter::Interpreter;
pub use record::{COVERAGE_SIZE, Coverage};
