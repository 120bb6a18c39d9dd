//! Structured exception handling: two passes over the frames of a stack, as x64 Windows does them.
//!
//! Sources: "x64 exception handling" (learn.microsoft.com), the public declarations of `winnt.h`, and
//! "Windows kernel-mode exception handling" of the driver documentation.
//!
//! An exception leaves an [`area::Area`] on the guest stack: a trap frame through which unwinders go on to
//! the faulting instruction, the CONTEXT and the EXCEPTION_RECORD that filters see, and what handlers are
//! told. The first pass ([`dispatch`]) asks the handlers of all frames, the second ([`unwind`]) makes the
//! frames up to the chosen one clean up. Frames of host routines are walked like those of the driver,
//! see [`walk`].

pub mod area;
pub mod c_specific_handler;
pub mod context_record;
pub mod dispatch;
pub mod function_table;
pub mod probe;
pub mod raise;
pub mod record;
pub mod stack_trace;
pub mod unwind;
pub mod unwind_exports;
pub mod walk;

use ring3_memory::Gva;

use crate::flow::Exception;
use crate::layout::EXCEPTION_RECORD;
use crate::machine::context::ThreadContext;

/// `EXCEPTION_NONCONTINUABLE`: execution cannot go on at the exception.
pub const EXCEPTION_NONCONTINUABLE: u32 = 0x1;
/// `EXCEPTION_UNWINDING`: the second pass.
pub const EXCEPTION_UNWINDING: u32 = 0x2;
/// `EXCEPTION_EXIT_UNWIND`: the second pass without a target.
pub const EXCEPTION_EXIT_UNWIND: u32 = 0x4;
/// `EXCEPTION_STACK_INVALID`: a frame lies outside the stack.
pub const EXCEPTION_STACK_INVALID: u32 = 0x8;
/// `EXCEPTION_NESTED_CALL`: raised while a handler of another exception ran.
pub const EXCEPTION_NESTED_CALL: u32 = 0x10;
/// `EXCEPTION_TARGET_UNWIND`: this frame is the target of the second pass.
pub const EXCEPTION_TARGET_UNWIND: u32 = 0x20;
/// `EXCEPTION_COLLIDED_UNWIND`: the frame was being unwound already.
pub const EXCEPTION_COLLIDED_UNWIND: u32 = 0x40;

/// `UNW_FLAG_EHANDLER`: the handler is for the first pass.
pub const UNW_FLAG_EHANDLER: u8 = 1;
/// `UNW_FLAG_UHANDLER`: the handler is for the second pass.
pub const UNW_FLAG_UHANDLER: u8 = 2;

/// `EXCEPTION_DISPOSITION`: the exception is over, go on where it was raised.
pub const EXCEPTION_CONTINUE_EXECUTION: u32 = 0;
/// `EXCEPTION_DISPOSITION`: not mine.
pub const EXCEPTION_CONTINUE_SEARCH: u32 = 1;
/// `EXCEPTION_DISPOSITION`: the frame is that of a handler which is running.
pub const EXCEPTION_NESTED_EXCEPTION: u32 = 2;
/// `EXCEPTION_DISPOSITION`: the frame is that of an unwind which is running.
pub const EXCEPTION_COLLIDED_UNWIND_DISPOSITION: u32 = 3;

/// What begins below the stack of the routine that asks for it, and never returns to it.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub enum Dispatch {
    /// Raises an exception in this context. `chained` goes into the record.
    Raise {
        /// Code, flags and parameters.
        exception: Exception,
        /// `ExceptionRecord.ExceptionRecord`.
        chained: Gva<EXCEPTION_RECORD>,
        /// Where it is raised; none: at the call of the routine that raises.
        context: Option<Box<ThreadContext>>,
    },
    /// Unwinds to a frame.
    Unwind {
        /// Which, and what then.
        target: unwind::Target,
        /// The exception, or NULL.
        record: Gva<EXCEPTION_RECORD>,
    },
}
