//! Walking x64 frames (source: "x64 exception handling", learn.microsoft.com, and the winnt.h declarations of
//! RUNTIME_FUNCTION, UNWIND_INFO and SCOPE_TABLE).

mod epilog;
mod info;
mod scope;
mod walk;

use std::sync::Arc;

use ring3_pe::RuntimeFunction;

pub use scope::{Scope, scope_table};
pub use walk::virtual_unwind;

/// The memory that code, unwind data and stacks are read from.
pub trait CodeMemory {
    /// Fills `buf` from the bytes at `va`; false where not all of them can be read.
    fn read(&self, va: u64, buf: &mut [u8]) -> bool;

    /// The entry of the function table that covers `va` in the image at `image_base`. It is asked only to tell a jump to
    /// another part of the same function from a tail call; without an answer, a jump out of the function's entry is a tail call.
    fn function_at(&self, image_base: u64, va: u64) -> Option<RuntimeFunction> {
        let _ = (image_base, va);
        None
    }
}

/// The registers that unwinding reads and restores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Registers {
    /// General registers in encoding order (rax rcx rdx rbx rsp rbp rsi rdi r8 to r15).
    pub gpr: [u64; 16],
    /// The instruction pointer.
    pub rip: u64,
    /// XMM registers.
    pub xmm: [u128; 16],
}

/// A loaded image as an unwinder sees it.
#[derive(Clone, Debug)]
pub struct Module {
    /// Where it is loaded.
    pub base: u64,
    /// Bytes of address space it takes.
    pub size: u32,
    /// Its function table, sorted by first byte.
    pub functions: Arc<[RuntimeFunction]>,
}

impl Module {
    /// Whether `va` lies in the image.
    pub fn contains(&self, va: u64) -> bool {
        va.wrapping_sub(self.base) < u64::from(self.size)
    }

    /// The function that `rip` lies in; none for a leaf function, and outside the image.
    pub fn lookup(&self, rip: u64) -> Option<&RuntimeFunction> {
        let rva = u32::try_from(rip.wrapping_sub(self.base))
            .ok()
            .filter(|rva| *rva < self.size)?;
        lookup(&self.functions, rva)
    }
}

/// The function of a sorted function table that `rva` lies in.
pub fn lookup(functions: &[RuntimeFunction], rva: u32) -> Option<&RuntimeFunction> {
    let after = functions.partition_point(|function| function.begin <= rva);
    functions
        .get(after.checked_sub(1)?)
        .filter(|function| function.contains(rva))
}

/// What one step of unwinding found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwound {
    /// The frame's establisher frame: the base of its fixed stack allocation.
    pub establisher_frame: u64,
    /// The language-specific handler; none in a prologue, in an epilogue and where the function has none.
    pub handler: Option<Handler>,
    /// Whether the caller's registers came from an interrupt or exception frame: rip is then the very instruction, not a
    /// return address.
    pub machine_frame: bool,
}

/// A language-specific handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handler {
    /// UNW_FLAG_EHANDLER (1), UNW_FLAG_UHANDLER (2) or both.
    pub flags: u8,
    /// RVA of the handler.
    pub routine_rva: u32,
    /// Address of the handler's data (HandlerData of the dispatcher context).
    pub data_va: u64,
}

/// Why a frame cannot be unwound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnwindError {
    /// Unwind data cannot be read.
    #[error(
        "the unwind data at {va:#x} cannot be read; is the image complete and the dump big enough?"
    )]
    Data {
        /// Where.
        va: u64,
    },
    /// The stack cannot be read.
    #[error("the stack at {va:#x} cannot be read; the frame or the stack pointer is damaged")]
    Stack {
        /// Where.
        va: u64,
    },
    /// The unwind information has a version other than 1 and 2.
    #[error(
        "the unwind information at {va:#x} has version {version}, known are 1 and 2; is the image intact in memory?"
    )]
    Version {
        /// Where.
        va: u64,
        /// The version found.
        version: u8,
    },
    /// An unwind code that does not exist, or that lacks its operand.
    #[error(
        "the unwind information at {va:#x} has the bad code {operation}; is the image intact in memory?"
    )]
    Code {
        /// Where.
        va: u64,
        /// The operation (UWOP_*) found.
        operation: u8,
    },
    /// The chain of unwind informations does not end.
    #[error(
        "the chain of unwind informations that starts at {va:#x} does not end; is the image intact in memory?"
    )]
    Chain {
        /// Where it starts.
        va: u64,
    },
}
