//! One frame after the other: frames of the driver by their unwind data, frames of host routines too, and
//! which host routine a frame belongs to.

use std::any::Any;

use ring3_memory::{Fault, Gva};
use ring3_symbols::unwind::{self, Registers};
use ring3_x64::RSP;

use super::area::Area;
use super::dispatch::DispatchException;
use super::function_table;
use super::unwind::UnwindFrames;
use crate::Machine;
use crate::export::argument::Code;
use crate::flow::Wall;
use crate::layout::{DISPATCHER_CONTEXT, RUNTIME_FUNCTION};
use crate::machine::apply::MARKER;
use crate::machine::thread::{Frame, HOST_FRAME};

/// Frames of one walk at most: a stack that leads in circles ends there.
pub const MAX_FRAMES: u32 = 4096;

/// A frame that was unwound.
#[derive(Clone, Copy, Debug)]
pub struct Unwound {
    /// Where the frame's function stood.
    pub control_pc: u64,
    /// Base of its image; 0 for none.
    pub image_base: u64,
    /// Its entry in the function table; NULL for leaf functions.
    pub entry: Gva<RUNTIME_FUNCTION>,
    /// Its establisher frame.
    pub establisher: u64,
    /// Its handler.
    pub handler: Option<Handler>,
}

/// A frame's language-specific handler.
#[derive(Clone, Copy, Debug)]
pub struct Handler {
    /// `UNW_FLAG_*`.
    pub flags: u8,
    /// Its address.
    pub routine: Gva<Code>,
    /// Its data.
    pub data: u64,
}

impl Unwound {
    /// The handler, if it is of this kind.
    #[must_use]
    pub fn handler(&self, kind: u8) -> Option<Handler> {
        self.handler.filter(|h| h.flags & kind != 0)
    }
}

/// Unwinds one frame; `None` where the stack ends or cannot be followed.
pub fn unwind_frame(cx: &Machine, registers: &mut Registers) -> Option<Unwound> {
    let before = *registers;
    let control_pc = before.rip;
    // The outermost return address is 0; a jump to 0 has a return address on the stack.
    if control_pc == 0
        && cx
            .memory
            .peek::<u64>(Gva::new(before.gpr[RSP]))
            .is_none_or(|v| v == 0)
    {
        return None;
    }
    let found = function_table::find(cx, control_pc);
    let image_base = found.map_or(0, |f| f.image_base);
    let function = found.and_then(|f| f.function);
    let step = unwind::virtual_unwind(cx, image_base, function.as_ref(), registers).ok()?;
    if registers.rip == before.rip && registers.gpr[RSP] == before.gpr[RSP] {
        return None;
    }
    let handler = step.handler.map(|h| Handler {
        flags: h.flags,
        routine: Gva::new(image_base.wrapping_add(u64::from(h.routine_rva))),
        data: h.data_va,
    });
    let entry = found.map_or(Gva::NULL, |f| f.entry);
    Some(Unwound {
        control_pc,
        image_base,
        entry,
        establisher: step.establisher_frame,
        handler,
    })
}

/// Whether a frame lies on the stack of the running thread, aligned.
#[must_use]
pub fn on_stack(cx: &Machine, frame: u64) -> bool {
    let thread = cx.thread();
    frame & 7 == 0 && frame >= thread.stack_limit && frame <= thread.stack_base
}

/// What a frame of a host routine means to a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// Exceptions stop here.
    Wall(Wall),
    /// The first pass of another exception, which was asking a handler.
    Search(Area),
    /// The second pass of another exception, which was calling a handler.
    Unwind(Area),
}

/// The suspended host frame in which these registers stand, if they do.
#[must_use]
pub fn host_frame<'a>(cx: &'a Machine, registers: &Registers) -> Option<&'a Frame> {
    let (stub, _) = cx.stubs.find(registers.rip)?;
    if registers.rip != stub + MARKER {
        return None;
    }
    let base = registers.gpr[RSP].wrapping_add(HOST_FRAME);
    cx.thread()
        .frames
        .iter()
        .rev()
        .find(|f| f.rsp == base && f.stub == stub)
}

/// What the frame in which these registers stand means, if it is a host frame with a meaning.
#[must_use]
pub fn crossing(cx: &Machine, registers: &Registers) -> Option<Crossing> {
    let frame = host_frame(cx, registers)?;
    if let Some(wall) = frame.kont.wall() {
        return Some(Crossing::Wall(wall));
    }
    let routine: &dyn Any = &*frame.kont;
    if routine.is::<DispatchException>() {
        return Some(Crossing::Search(Area::above(frame.rsp)));
    }
    routine
        .is::<UnwindFrames>()
        .then(|| Crossing::Unwind(Area::above(frame.rsp)))
}

/// The last wall of a stack, by the stub of its outermost frame: nobody handled the exception.
#[must_use]
pub fn last_wall(cx: &Machine, rip: u64) -> Wall {
    let stub = cx.stubs.find(rip).map(|(stub, _)| stub);
    if stub == Some(cx.stubs.thread_start) {
        return Wall::Bugcheck(crate::bugcheck_codes::SYSTEM_THREAD_EXCEPTION_NOT_HANDLED);
    }
    if stub == Some(cx.stubs.user_service) {
        return Wall::Bugcheck(crate::bugcheck_codes::SYSTEM_SERVICE_EXCEPTION);
    }
    Wall::Bugcheck(crate::bugcheck_codes::KMODE_EXCEPTION_NOT_HANDLED)
}

/// Tells the handler about its frame.
///
/// # Errors
/// A fault.
pub fn describe(
    cx: &mut Machine,
    area: Area,
    frame: &Unwound,
    handler: &Handler,
    scope_index: u32,
    target_ip: u64,
) -> Result<(), Fault> {
    let at = area.dispatcher();
    let m = &mut cx.memory;
    m.set(at, DISPATCHER_CONTEXT::ControlPc, frame.control_pc)?;
    m.set(at, DISPATCHER_CONTEXT::ImageBase, frame.image_base)?;
    m.set(at, DISPATCHER_CONTEXT::FunctionEntry, frame.entry)?;
    m.set(at, DISPATCHER_CONTEXT::EstablisherFrame, frame.establisher)?;
    m.set(at, DISPATCHER_CONTEXT::TargetIp, target_ip)?;
    m.set(at, DISPATCHER_CONTEXT::ContextRecord, area.working())?;
    m.set(at, DISPATCHER_CONTEXT::LanguageHandler, handler.routine)?;
    m.set(at, DISPATCHER_CONTEXT::HandlerData, Gva::new(handler.data))?;
    m.set(at, DISPATCHER_CONTEXT::HistoryTable, Gva::NULL)?;
    m.set(at, DISPATCHER_CONTEXT::ScopeIndex, scope_index)
}
