//! The handlers: what each operation does.

pub(crate) mod alu;
pub(crate) mod atomic;
pub(crate) mod bits;
pub(crate) mod branch;
pub(crate) mod fused;
pub(crate) mod moves;
pub(crate) mod muldiv;
#[cfg(target_arch = "x86_64")]
pub(crate) mod packed;
pub(crate) mod ports;
pub(crate) mod processor;
pub(crate) mod recording;
pub(crate) mod shift;
pub(crate) mod slow;
pub(crate) mod sse;
pub(crate) mod stack;
pub(crate) mod string;
pub(crate) mod system;
pub(crate) mod wide;
pub(crate) mod x87;
