//! Names, source lines and stack unwinding for x64 images.
//!
//! [`SymbolFile`] answers from a PDB which function and which source line an RVA belongs to. [`unwind`] walks x64 frames from
//! the function table (`.pdata`) as `RtlVirtualUnwind` does, over any memory: a running machine, a dump, a test's byte array.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod pdb;
pub mod unwind;

pub use pdb::{Line, Symbol, SymbolError, SymbolFile};
