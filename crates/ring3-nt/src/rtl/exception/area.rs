//! What an exception or an unwind leaves on the guest stack.

use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::layout::{CONTEXT, DISPATCHER_CONTEXT, EXCEPTION_RECORD, KTRAP_FRAME};
use crate::machine::context::ThreadContext;
use crate::machine::thread::HOST_FRAME;

/// The structures of one dispatch, at fixed distances above its trap frame:
/// trap frame, record, dispatcher context, working context, context.
///
/// The trap frame is the lowest, so that the host frame below it is walked through by its unwind data. Its
/// machine frame holds the true rip and rsp, so that what lies between is skipped.
#[derive(Clone, Copy, Hash, Debug, Default, PartialEq, Eq)]
pub struct Area {
    trap: u64,
}

/// Bytes from a host frame's return address to the trap frame above it: the trap frame is aligned to 16.
pub const PAD: u64 = 8;

const RECORD: u64 = KTRAP_FRAME::SIZE;
const DISPATCHER: u64 = RECORD + EXCEPTION_RECORD::SIZE.next_multiple_of(16);
const WORKING: u64 = DISPATCHER + DISPATCHER_CONTEXT::SIZE.next_multiple_of(16);
const ORIGINAL: u64 = WORKING + CONTEXT::SIZE;
const SIZE: u64 = ORIGINAL + CONTEXT::SIZE;

impl Area {
    /// Makes an area for a context below an address on its stack, with the trap frame and both contexts filled.
    ///
    /// # Errors
    /// A fault if the stack cannot hold it.
    pub fn push(cx: &mut Machine, context: &ThreadContext, below: u64) -> Result<Self, Fault> {
        let area = Self {
            trap: (below.min(context.rsp()) & !15).wrapping_sub(SIZE),
        };
        // The host frame and what it calls must fit too.
        cx.memory
            .write(Gva::<u64>::new(area.site().wrapping_sub(HOST_FRAME + 8)), 0)?;
        cx.write_trap_frame(area.trap, context)?;
        super::context_record::write(cx, area.original(), context)?;
        super::context_record::write(cx, area.working(), context)?;
        cx.memory.fill(area.record(), EXCEPTION_RECORD::SIZE, 0)?;
        cx.memory
            .fill(area.dispatcher(), DISPATCHER_CONTEXT::SIZE, 0)?;
        Ok(area)
    }

    /// The area above a host frame of [`Area::site`].
    #[must_use]
    pub fn above(frame_rsp: u64) -> Self {
        Self {
            trap: frame_rsp.wrapping_add(PAD),
        }
    }

    /// Where the return address of the host frame below lies.
    #[must_use]
    pub fn site(self) -> u64 {
        self.trap.wrapping_sub(PAD)
    }

    /// The exception record.
    #[must_use]
    pub fn record(self) -> Gva<EXCEPTION_RECORD> {
        Gva::new(self.trap.wrapping_add(RECORD))
    }

    /// What the handler that is called is told about its frame.
    #[must_use]
    pub fn dispatcher(self) -> Gva<DISPATCHER_CONTEXT> {
        Gva::new(self.trap.wrapping_add(DISPATCHER))
    }

    /// The registers of the frame that the walk has reached.
    #[must_use]
    pub fn working(self) -> Gva<CONTEXT> {
        Gva::new(self.trap.wrapping_add(WORKING))
    }

    /// The registers at the exception.
    #[must_use]
    pub fn original(self) -> Gva<CONTEXT> {
        Gva::new(self.trap.wrapping_add(ORIGINAL))
    }
}
