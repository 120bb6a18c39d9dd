//! The Windows kernel, re-implemented, around a machine that is a value.
//!
//! Folders are named as NT names its parts; a routine exported to drivers is declared once, beside
//! its code (see [`export`]). What a driver can see by layout lives in guest memory at the true
//! offsets of one Windows build; all else lives in plain Rust structures.
#![forbid(unsafe_code)]

extern crate self as ring3_nt;

pub mod bugcheck_codes;
pub mod build;
pub mod cm;
pub mod dbg;
pub mod devices;
pub mod ex;
pub mod export;
pub mod flow;
pub mod hash;
pub mod io;
pub mod ke;
pub mod layout;
pub mod locks;
pub mod machine;
pub mod mm;
pub mod ntstatus;
pub mod ob;
pub mod ps;
pub mod rtl;
pub mod se;
pub mod table;

pub use machine::Machine;
pub use ring3_memory as memory;
