//! The first pass: who handles the exception? `RtlDispatchException`.

use ring3_macros::resumable;
use ring3_memory::Fault;
use ring3_symbols::unwind::Registers;

use super::area::Area;
use super::unwind::{self, Target};
use super::walk::{self, Crossing};
use super::{
    EXCEPTION_COLLIDED_UNWIND_DISPOSITION, EXCEPTION_CONTINUE_EXECUTION, EXCEPTION_CONTINUE_SEARCH,
    EXCEPTION_NESTED_CALL, EXCEPTION_NESTED_EXCEPTION, EXCEPTION_NONCONTINUABLE,
    EXCEPTION_STACK_INVALID, UNW_FLAG_EHANDLER, context_record, record,
};
use crate::Machine;
use crate::bugcheck_codes::{SYSTEM_SERVICE_EXCEPTION, SYSTEM_THREAD_EXCEPTION_NOT_HANDLED};
use crate::flow::{Exception, Flow, Wall};
use crate::layout::{DISPATCHER_CONTEXT, EXCEPTION_RECORD};
use crate::ntstatus::{STATUS_INVALID_DISPOSITION, STATUS_NONCONTINUABLE_EXCEPTION};

/// Asks the handlers of the frames from the exception on, innermost first.
#[resumable]
pub fn dispatch_exception(cx: &mut Machine, area: Area) -> Result<Flow, Fault> {
    let mut registers: Registers = context_record::registers(cx, area.original())?;
    // The frame whose handler was running when this exception was raised.
    let mut nested: u64 = 0;
    let mut scope: u32 = 0;
    let mut frames: u32 = 0;
    let mut establisher: u64 = 0;
    let mut outermost: u64 = registers.rip;
    loop {
        match walk::crossing(cx, &registers) {
            Some(Crossing::Wall(wall)) => return stopped(cx, area, wall, &registers),
            Some(Crossing::Search(other)) => {
                let frame = cx
                    .memory
                    .get(other.dispatcher(), DISPATCHER_CONTEXT::EstablisherFrame)?;
                nested = nested.max(frame);
                record::change_flags(cx, area.record(), EXCEPTION_NESTED_CALL, 0)?;
            }
            Some(Crossing::Unwind(other)) => {
                // Go on behind the handler that the unwind was calling.
                (registers, scope) = unwind::taken_over(cx, other)?;
            }
            None => {}
        }
        outermost = registers.rip;
        frames += 1;
        let Some(frame) = walk::unwind_frame(cx, &mut registers) else {
            break;
        };
        if frames > walk::MAX_FRAMES || !walk::on_stack(cx, frame.establisher) {
            record::change_flags(cx, area.record(), EXCEPTION_STACK_INVALID, 0)?;
            break;
        }
        establisher = frame.establisher;
        if let Some(handler) = frame.handler(UNW_FLAG_EHANDLER) {
            context_record::set_registers(cx, area.working(), &registers)?;
            walk::describe(cx, area, &frame, &handler, scope, 0)?;
            let disposition: u32 = call!(
                handler.routine,
                area.record(),
                frame.establisher,
                area.original(),
                area.dispatcher()
            );
            if establisher == nested {
                record::change_flags(cx, area.record(), 0, EXCEPTION_NESTED_CALL)?;
                nested = 0;
            }
            match disposition {
                EXCEPTION_CONTINUE_EXECUTION => return continued(cx, area),
                EXCEPTION_CONTINUE_SEARCH => {}
                EXCEPTION_NESTED_EXCEPTION => {
                    let frame = cx
                        .memory
                        .get(area.dispatcher(), DISPATCHER_CONTEXT::EstablisherFrame)?;
                    nested = nested.max(frame);
                    record::change_flags(cx, area.record(), EXCEPTION_NESTED_CALL, 0)?;
                }
                EXCEPTION_COLLIDED_UNWIND_DISPOSITION => {
                    return Ok(Flow::NotModelled(
                        "a language handler that returns ExceptionCollidedUnwind".into(),
                    ));
                }
                _ => return Ok(Flow::Raise(noncontinuable(STATUS_INVALID_DISPOSITION))),
            }
        }
        scope = 0;
    }
    let wall = walk::last_wall(cx, outermost);
    stopped(cx, area, wall, &registers)
}

/// A handler has put things right: go on where the exception was raised, with the registers as it left them.
fn continued(cx: &mut Machine, area: Area) -> Result<Flow, Fault> {
    let flags = cx
        .memory
        .get(area.record(), EXCEPTION_RECORD::ExceptionFlags)?;
    if flags & EXCEPTION_NONCONTINUABLE != 0 {
        return Ok(Flow::Raise(noncontinuable(STATUS_NONCONTINUABLE_EXCEPTION)));
    }
    Ok(Flow::Restore(Box::new(context_record::load(
        cx,
        area.original(),
    )?)))
}

/// An exception that dispatch itself raises.
pub(super) fn noncontinuable(code: crate::ntstatus::NTSTATUS) -> Exception {
    Exception {
        flags: EXCEPTION_NONCONTINUABLE,
        ..Exception::new(code)
    }
}

/// Nobody handles it below a wall.
fn stopped(cx: &mut Machine, area: Area, wall: Wall, registers: &Registers) -> Result<Flow, Fault> {
    let code = cx
        .memory
        .get(area.record(), EXCEPTION_RECORD::ExceptionCode)?;
    match wall {
        Wall::Bugcheck(bugcheck) => Ok(unhandled(cx, area, bugcheck)?),
        Wall::Convert => {
            let target = Target::leave(registers.gpr[ring3_x64::RSP], u64::from(code.0));
            Ok(Flow::Become(unwind::unwind_frames(
                area,
                target,
                area.record(),
            )))
        }
    }
}

/// The bugcheck of an exception that nobody handles. Pages bug-check-0x1e, 0x3b and 0x7e; 0x1E and 0x7E
/// show the code extended by its sign, as the examples on these pages and field dumps do.
fn unhandled(cx: &mut Machine, area: Area, bugcheck: u32) -> Result<Flow, Fault> {
    let at = area.record();
    let code = cx.memory.get(at, EXCEPTION_RECORD::ExceptionCode)?.0;
    let address = cx.memory.get(at, EXCEPTION_RECORD::ExceptionAddress)?.raw();
    let information = cx.memory.get(at, EXCEPTION_RECORD::ExceptionInformation)?;
    let extended = i64::from(code as i32) as u64;
    let parameters = match bugcheck {
        SYSTEM_THREAD_EXCEPTION_NOT_HANDLED => [extended, address, at.raw(), area.original().raw()],
        SYSTEM_SERVICE_EXCEPTION => [u64::from(code), address, area.original().raw(), 0],
        _ => [extended, address, information[0], information[1]],
    };
    Ok(Flow::Bugcheck(bugcheck, parameters))
}
