//! The second pass: the frames up to a target clean up. `RtlUnwindEx`.

use ring3_macros::resumable;
use ring3_memory::{Fault, Gva};
use ring3_symbols::unwind::Registers;

use super::area::Area;
use super::dispatch::noncontinuable;
use super::walk::{self, Crossing};
use super::{
    EXCEPTION_COLLIDED_UNWIND, EXCEPTION_CONTINUE_SEARCH, EXCEPTION_EXIT_UNWIND,
    EXCEPTION_TARGET_UNWIND, EXCEPTION_UNWINDING, UNW_FLAG_UHANDLER, context_record, record,
};
use crate::Machine;
use crate::flow::Flow;
use crate::layout::{DISPATCHER_CONTEXT, EXCEPTION_RECORD};
use crate::ntstatus::{
    NTSTATUS, STATUS_BAD_STACK, STATUS_INVALID_DISPOSITION, STATUS_INVALID_UNWIND_TARGET,
    STATUS_UNWIND_CONSOLIDATE,
};

/// Where an unwind ends.
#[derive(Clone, Copy, Hash, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Establisher frame; 0 for an exit unwind, which ends nowhere.
    pub frame: u64,
    /// Where execution goes on; unused if `leave` is set.
    pub ip: u64,
    /// `rax` there.
    pub return_value: u64,
    /// True to return from the target frame, which belongs to a host routine.
    pub leave: bool,
}

impl Target {
    /// Returns from a host routine's frame with this result.
    #[must_use]
    pub const fn leave(frame: u64, return_value: u64) -> Self {
        Self {
            frame,
            ip: 0,
            return_value,
            leave: true,
        }
    }
}

/// Calls the termination handlers of the frames from the area's context up to the target, and goes on there.
#[resumable]
pub fn unwind_frames(
    cx: &mut Machine,
    area: Area,
    target: Target,
    exception: Gva<EXCEPTION_RECORD>,
) -> Result<Flow, Fault> {
    let mut current: Registers = context_record::registers(cx, area.original())?;
    let mut next: Registers = current;
    let mut scope: u32 = 0;
    let mut collided: u32 = 0;
    let mut frames: u32 = 0;
    let mut establisher: u64 = 0;
    let exit = if target.frame == 0 {
        EXCEPTION_EXIT_UNWIND
    } else {
        0
    };
    record::change_flags(cx, exception, EXCEPTION_UNWINDING | exit, 0)?;
    loop {
        if let Some(Crossing::Unwind(other)) = walk::crossing(cx, &current) {
            // The frame that the other unwind was calling is the next, from where its handler had come to.
            (current, scope) = taken_over(cx, other)?;
            collided = EXCEPTION_COLLIDED_UNWIND;
        }
        next = current;
        frames += 1;
        let Some(frame) = walk::unwind_frame(cx, &mut next) else {
            return Ok(Flow::Raise(noncontinuable(lost(target))));
        };
        if frames > walk::MAX_FRAMES || !walk::on_stack(cx, frame.establisher) {
            return Ok(Flow::Raise(noncontinuable(STATUS_BAD_STACK)));
        }
        if target.frame != 0 && frame.establisher > target.frame {
            return Ok(Flow::Raise(noncontinuable(STATUS_INVALID_UNWIND_TARGET)));
        }
        establisher = frame.establisher;
        if let Some(handler) = frame.handler(UNW_FLAG_UHANDLER) {
            let at_target = if establisher == target.frame {
                EXCEPTION_TARGET_UNWIND
            } else {
                0
            };
            record::change_flags(cx, exception, at_target | collided, 0)?;
            let mut shown = current;
            shown.gpr[ring3_x64::RAX] = target.return_value;
            context_record::set_registers(cx, area.working(), &shown)?;
            walk::describe(cx, area, &frame, &handler, scope, target.ip)?;
            let disposition: u32 = call!(
                handler.routine,
                exception,
                frame.establisher,
                area.working(),
                area.dispatcher()
            );
            record::change_flags(
                cx,
                exception,
                0,
                EXCEPTION_TARGET_UNWIND | EXCEPTION_COLLIDED_UNWIND,
            )?;
            if disposition != EXCEPTION_CONTINUE_SEARCH {
                return Ok(Flow::Raise(noncontinuable(STATUS_INVALID_DISPOSITION)));
            }
        }
        scope = 0;
        collided = 0;
        if target.frame != 0 && establisher == target.frame {
            break;
        }
        current = next;
    }
    let code = cx.memory.get(exception, EXCEPTION_RECORD::ExceptionCode)?;
    if code == STATUS_UNWIND_CONSOLIDATE {
        return Ok(Flow::NotModelled(
            "an unwind with STATUS_UNWIND_CONSOLIDATE".into(),
        ));
    }
    let mut last = if target.leave { next } else { current };
    if !target.leave {
        last.rip = target.ip;
    }
    last.gpr[ring3_x64::RAX] = target.return_value;
    context_record::scrub(&mut last);
    context_record::set_registers(cx, area.working(), &last)?;
    Ok(Flow::Restore(Box::new(context_record::load(
        cx,
        area.working(),
    )?)))
}

/// Why a stack that ends before the target is wrong.
fn lost(target: Target) -> NTSTATUS {
    if target.frame == 0 {
        STATUS_BAD_STACK
    } else {
        STATUS_INVALID_UNWIND_TARGET
    }
}

/// Where another unwind stood when it called its last handler: the registers in that frame, and the first
/// scope that this handler had not dealt with.
pub(super) fn taken_over(cx: &Machine, other: Area) -> Result<(Registers, u32), Fault> {
    let registers = context_record::registers(cx, other.working())?;
    let scope = cx
        .memory
        .get(other.dispatcher(), DISPATCHER_CONTEXT::ScopeIndex)?;
    Ok((registers, scope))
}
