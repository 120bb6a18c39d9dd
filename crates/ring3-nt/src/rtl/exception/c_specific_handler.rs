//! The language handler of C: `__try`, `__except` and `__finally`.
//!
//! Source: "x64 exception handling" (learn.microsoft.com), language-specific handler; `winnt.h`, `SCOPE_TABLE`.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};
use ring3_symbols::unwind::{Scope, scope_table};
use ring3_x64::RSP;

use super::unwind::Target;
use super::{
    Dispatch, EXCEPTION_CONTINUE_EXECUTION, EXCEPTION_CONTINUE_SEARCH, EXCEPTION_EXIT_UNWIND,
    EXCEPTION_TARGET_UNWIND, EXCEPTION_UNWINDING,
};
use crate::Machine;
use crate::export::argument::Code;
use crate::flow::Flow;
use crate::layout::{CONTEXT, DISPATCHER_CONTEXT, EXCEPTION_POINTERS, EXCEPTION_RECORD};
use crate::machine::thread::HOST_FRAME;

/// The filter constant `EXCEPTION_EXECUTE_HANDLER` in place of a filter's address.
const EXCEPTION_EXECUTE_HANDLER: u32 = 1;

/// Where the two pointers for filters lie in the host frame's stack area: above the home space of what it
/// calls; filters have two arguments, so no stack argument is there.
const POINTERS: u64 = 0x30;

/// What is to be done about one scope.
#[derive(Clone, Copy, Hash, Debug, Default, PartialEq, Eq)]
enum Action {
    /// Nothing more in this frame.
    #[default]
    Done,
    /// Ask this filter; if it accepts, go on at the RVA.
    Filter(usize, u32, u32),
    /// Go on at this RVA.
    Execute(u32),
    /// Call this termination handler.
    Finally(usize, u32),
}

/// The next scope of the first pass, from an index on, that guards `pc`. RVAs.
fn next_filter(scopes: &[Scope], from: usize, pc: u32) -> Action {
    let guards = |s: &Scope| pc >= s.begin && pc < s.end && s.target != 0;
    match scopes
        .iter()
        .enumerate()
        .skip(from)
        .find(|(_, s)| guards(s))
    {
        None => Action::Done,
        Some((_, s)) if s.handler == EXCEPTION_EXECUTE_HANDLER => Action::Execute(s.target),
        Some((i, s)) => Action::Filter(i, s.handler, s.target),
    }
}

/// The next scope of the second pass. `target` is where execution will go on, if this is the target frame:
/// scopes that guard it too are not left, nor are those around the `__except` that it is the start of.
fn next_finally(scopes: &[Scope], from: usize, pc: u32, target: Option<u32>) -> Action {
    for (i, s) in scopes.iter().enumerate().skip(from) {
        if pc < s.begin || pc >= s.end {
            continue;
        }
        if s.target != 0 {
            if target == Some(s.target) {
                return Action::Done;
            }
        } else if target.is_some_and(|t| t >= s.begin && t < s.end) {
            return Action::Done;
        } else {
            return Action::Finally(i, s.handler);
        }
    }
    Action::Done
}

fn rva(address: u64, base: u64) -> u32 {
    u32::try_from(address.wrapping_sub(base)).unwrap_or(u32::MAX)
}

/// The next scope by the state in guest memory.
fn next_action(
    cx: &Machine,
    at: Gva<DISPATCHER_CONTEXT>,
    from: usize,
    flags: u32,
) -> Result<Action, Fault> {
    let base = cx.memory.get(at, DISPATCHER_CONTEXT::ImageBase)?;
    let pc = rva(cx.memory.get(at, DISPATCHER_CONTEXT::ControlPc)?, base);
    let data = cx.memory.get(at, DISPATCHER_CONTEXT::HandlerData)?;
    let scopes = scope_table(cx, data.raw());
    if flags & (EXCEPTION_UNWINDING | EXCEPTION_EXIT_UNWIND) == 0 {
        return Ok(next_filter(&scopes, from, pc));
    }
    let target = cx.memory.get(at, DISPATCHER_CONTEXT::TargetIp)?;
    let target = (flags & EXCEPTION_TARGET_UNWIND != 0).then(|| rva(target, base));
    Ok(next_finally(&scopes, from, pc, target))
}

/// The unwind to an `__except` block.
fn execute(
    cx: &Machine,
    record: Gva<EXCEPTION_RECORD>,
    frame: u64,
    dispatcher: Gva<DISPATCHER_CONTEXT>,
    block: u32,
) -> Result<Flow, Fault> {
    let base = cx.memory.get(dispatcher, DISPATCHER_CONTEXT::ImageBase)?;
    // The block finds the code in rax: GetExceptionCode().
    let code = cx.memory.get(record, EXCEPTION_RECORD::ExceptionCode)?;
    let ip = base.wrapping_add(u64::from(block));
    let target = Target {
        frame,
        ip,
        return_value: u64::from(code.0),
        leave: false,
    };
    Ok(Flow::Dispatch(Box::new(Dispatch::Unwind {
        target,
        record,
    })))
}

/// Both passes over the scopes of one frame. `stack` is where the host frame may keep its pointers.
#[resumable]
pub fn c_specific_handler(
    cx: &mut Machine,
    record: Gva<EXCEPTION_RECORD>,
    frame: u64,
    context: Gva<CONTEXT>,
    dispatcher: Gva<DISPATCHER_CONTEXT>,
    stack: u64,
) -> Result<Flow, Fault> {
    let flags: u32 = cx.memory.get(record, EXCEPTION_RECORD::ExceptionFlags)?;
    let base: u64 = cx.memory.get(dispatcher, DISPATCHER_CONTEXT::ImageBase)?;
    let pointers: Gva<EXCEPTION_POINTERS> = Gva::new(stack.wrapping_add(POINTERS));
    let mut index: usize = cx.memory.get(dispatcher, DISPATCHER_CONTEXT::ScopeIndex)? as usize;
    loop {
        match next_action(cx, dispatcher, index, flags)? {
            Action::Done => return Ok(Flow::Return(u64::from(EXCEPTION_CONTINUE_SEARCH))),
            Action::Execute(block) => return execute(cx, record, frame, dispatcher, block),
            Action::Filter(i, filter, target) => {
                index = i + 1;
                let block: u32 = target;
                cx.memory
                    .set(pointers, EXCEPTION_POINTERS::ExceptionRecord, record)?;
                cx.memory
                    .set(pointers, EXCEPTION_POINTERS::ContextRecord, context)?;
                let answer: i32 = call!(
                    Gva::<Code>::new(base.wrapping_add(u64::from(filter))),
                    pointers,
                    frame
                );
                if answer < 0 {
                    return Ok(Flow::Return(u64::from(EXCEPTION_CONTINUE_EXECUTION)));
                }
                if answer > 0 {
                    return execute(cx, record, frame, dispatcher, block);
                }
            }
            Action::Finally(i, handler) => {
                index = i + 1;
                // An unwind that collides with this one must not call it again.
                cx.memory
                    .set(dispatcher, DISPATCHER_CONTEXT::ScopeIndex, index as u32)?;
                call!(
                    Gva::<Code>::new(base.wrapping_add(u64::from(handler))),
                    true,
                    frame
                );
            }
        }
    }
}

/// The language handler of C.
pub struct CHandler;

#[exports("ntoskrnl.exe")]
impl CHandler {
    /// Finds or runs the handlers of one function's `__try` blocks.
    #[page("https://learn.microsoft.com/cpp/c-runtime-library/c-specific-handler")]
    #[irql(any)]
    #[returns(u32)]
    fn __C_specific_handler(
        cx: &mut Machine,
        ExceptionRecord: Gva<EXCEPTION_RECORD>,
        EstablisherFrame: u64,
        ContextRecord: Gva<CONTEXT>,
        DispatcherContext: Gva<DISPATCHER_CONTEXT>,
    ) -> Flow {
        let stack = cx.processor().cpu.gpr[RSP].wrapping_sub(HOST_FRAME);
        Flow::Become(c_specific_handler(
            ExceptionRecord,
            EstablisherFrame,
            ContextRecord,
            DispatcherContext,
            stack,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An `__except` with filter 100h in a `__finally` 200h in an `__except (1)`, all around 10h..20h.
    fn scopes() -> Vec<Scope> {
        vec![
            Scope {
                begin: 0x10,
                end: 0x20,
                handler: 0x100,
                target: 0x40,
            },
            Scope {
                begin: 0x10,
                end: 0x30,
                handler: 0x200,
                target: 0,
            },
            Scope {
                begin: 0x10,
                end: 0x50,
                handler: 1,
                target: 0x60,
            },
        ]
    }

    #[test]
    fn the_first_pass_asks_filters_from_the_inside_out() {
        let s = scopes();
        assert_eq!(next_filter(&s, 0, 0x10), Action::Filter(0, 0x100, 0x40));
        assert_eq!(next_filter(&s, 1, 0x10), Action::Execute(0x60));
        assert_eq!(next_filter(&s, 0, 0x20), Action::Execute(0x60));
        assert_eq!(next_filter(&s, 0, 0x50), Action::Done);
        assert_eq!(next_filter(&s, 3, 0x10), Action::Done);
    }

    #[test]
    fn the_second_pass_calls_what_lies_below_the_target() {
        let s = scopes();
        assert_eq!(next_finally(&s, 0, 0x10, None), Action::Finally(1, 0x200));
        assert_eq!(next_finally(&s, 2, 0x10, None), Action::Done);
        assert_eq!(
            next_finally(&s, 0, 0x10, Some(0x60)),
            Action::Finally(1, 0x200)
        );
        // To the inner block: the scopes around it are not left.
        assert_eq!(next_finally(&s, 0, 0x10, Some(0x40)), Action::Done);
        // A jump inside the __finally's own __try.
        assert_eq!(next_finally(&s, 0, 0x10, Some(0x28)), Action::Done);
    }

    #[test]
    fn an_address_outside_the_image_is_in_no_scope() {
        assert_eq!(rva(0x1000, 0x2000), u32::MAX);
        assert_eq!(next_filter(&scopes(), 0, u32::MAX), Action::Done);
    }
}
