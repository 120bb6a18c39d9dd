//! Exceptions of the processor and of host routines: what is raised, and where its dispatch runs.
//!
//! Sources: Intel SDM volume 3, chapter 6; ntstatus.h; the pages of bugchecks 0x1E and 0x7E.

use ring3_memory::{Access, Fault, Gva};
use ring3_x64::RSP;

use super::Machine;
use super::apply::{MARKER, Site};
use super::context::ThreadContext;
use super::finding::Severity;
use super::thread::{Frame, HOST_FRAME};
use crate::flow::{Exception, Flow};
use crate::layout::EXCEPTION_RECORD;
use crate::ntstatus::{
    NTSTATUS, STATUS_ACCESS_VIOLATION, STATUS_ARRAY_BOUNDS_EXCEEDED, STATUS_ASSERTION_FAILURE,
    STATUS_BREAKPOINT, STATUS_DATATYPE_MISALIGNMENT, STATUS_FLOAT_DENORMAL_OPERAND,
    STATUS_FLOAT_DIVIDE_BY_ZERO, STATUS_FLOAT_INEXACT_RESULT, STATUS_FLOAT_INVALID_OPERATION,
    STATUS_FLOAT_OVERFLOW, STATUS_FLOAT_UNDERFLOW, STATUS_ILLEGAL_INSTRUCTION,
    STATUS_INTEGER_DIVIDE_BY_ZERO, STATUS_INTEGER_OVERFLOW, STATUS_SINGLE_STEP, STATUS_UNWIND,
};
use crate::rtl::exception::area::Area;
use crate::rtl::exception::dispatch::dispatch_exception;
use crate::rtl::exception::unwind::unwind_frames;
use crate::rtl::exception::{Dispatch, record};

/// Bits of a page fault's error code.
const WRITE: u32 = 2;
const FETCH: u32 = 16;

/// The status of an SSE exception, by the unmasked flags of MXCSR in the order of their priority.
fn float_status(mxcsr: u32) -> NTSTATUS {
    let unmasked = mxcsr & !(mxcsr >> 7) & 0x3f;
    let by_priority = [
        (0x01, STATUS_FLOAT_INVALID_OPERATION),
        (0x04, STATUS_FLOAT_DIVIDE_BY_ZERO),
        (0x02, STATUS_FLOAT_DENORMAL_OPERAND),
        (0x08, STATUS_FLOAT_OVERFLOW),
        (0x10, STATUS_FLOAT_UNDERFLOW),
    ];
    by_priority
        .into_iter()
        .find(|(bit, _)| unmasked & bit != 0)
        .map_or(STATUS_FLOAT_INEXACT_RESULT, |(_, status)| status)
}

impl Machine {
    /// A host routine raises at its call site: what runs now, and where.
    pub(crate) fn raise_at(&mut self, exception: Exception, site: &Site) -> (Flow, Site) {
        let raise = Dispatch::Raise {
            exception,
            chained: Gva::NULL,
            context: None,
        };
        self.dispatch_at(raise, site)
    }

    /// Begins a dispatch or an unwind below a host routine's site.
    pub(crate) fn dispatch_at(&mut self, dispatch: Dispatch, site: &Site) -> (Flow, Site) {
        let begun = match dispatch {
            Dispatch::Raise {
                exception,
                chained,
                context,
            } => {
                let context = context.map_or_else(|| self.context_at(site), |c| *c);
                // Below the site too, should the context lie above it.
                self.begin_dispatch(&exception, chained, &context, site.rsp)
            }
            Dispatch::Unwind { target, record } => self.begin_unwind(target, record, site),
        };
        match begun {
            Ok(begun) => begun,
            Err(fault) => {
                self.stack_fault(fault);
                // The machine has stopped; this only ends the routine.
                (
                    Flow::Bugcheck(
                        crate::bugcheck_codes::UNEXPECTED_KERNEL_MODE_TRAP,
                        [8, site.rsp, 0, 0],
                    ),
                    *site,
                )
            }
        }
    }

    /// The registers at a host routine's site: before the first instruction of its stub, with the return
    /// address on top of the stack. The frames of traps are only described behind their prologue.
    fn context_at(&self, site: &Site) -> ThreadContext {
        let mut context = ThreadContext::save(&self.processor().cpu);
        let trap = site.stub == self.stubs.exception || site.stub == self.stubs.interrupt;
        let (rip, rsp) = if trap {
            (site.stub + MARKER, site.rsp.wrapping_sub(HOST_FRAME))
        } else {
            (site.stub, site.rsp)
        };
        context.rip = rip;
        context.gpr[RSP] = rsp;
        context
    }

    fn begin_dispatch(
        &mut self,
        exception: &Exception,
        chained: Gva<EXCEPTION_RECORD>,
        context: &ThreadContext,
        below: u64,
    ) -> Result<(Flow, Site), Fault> {
        let (code, rip) = (exception.code, context.rip);
        self.trace.event(
            "exception",
            &[u64::from(code.0), u64::from(exception.flags), rip],
        );
        if self.trace.set.interrupt {
            let name = code
                .name()
                .map_or_else(|| format!("{:#010x}", code.0), str::to_owned);
            let place = self.symbolize(rip);
            self.trace_line(format!("exception {name} at {place}"));
        }
        let area = Area::push(self, context, below)?;
        record::write(self, area.record(), exception, rip, chained)?;
        Ok((Flow::Become(dispatch_exception(area)), self.below(area)))
    }

    fn begin_unwind(
        &mut self,
        target: crate::rtl::exception::unwind::Target,
        record: Gva<EXCEPTION_RECORD>,
        site: &Site,
    ) -> Result<(Flow, Site), Fault> {
        let context = self.context_at(site);
        let area = Area::push(self, &context, site.rsp)?;
        let mut record = record;
        if record.is_null() {
            record = area.record();
            record::write(
                self,
                record,
                &Exception::new(STATUS_UNWIND),
                context.rip,
                Gva::NULL,
            )?;
        }
        self.trace
            .event("unwind", &[target.frame, target.ip, target.return_value]);
        Ok((
            Flow::Become(unwind_frames(area, target, record)),
            self.below(area),
        ))
    }

    /// The site of the host frame below an area.
    fn below(&self, area: Area) -> Site {
        Site {
            rsp: area.site(),
            stub: self.stubs.exception,
            export: None,
        }
    }

    /// Raises at the current guest instruction.
    fn raise_here(&mut self, exception: &Exception) {
        let context = ThreadContext::save(&self.processor().cpu);
        match self.begin_dispatch(exception, Gva::NULL, &context, context.rsp()) {
            Ok((flow, site)) => {
                self.apply(flow, site);
                self.after_host_call();
            }
            Err(fault) => self.stack_fault(fault),
        }
    }

    /// The processor raised an exception at the current instruction.
    pub(crate) fn hardware_exception(&mut self, vector: u8, error: u32, cr2: u64) {
        let cpu = &self.processor().cpu;
        let (rip, mxcsr) = (cpu.rip, cpu.mxcsr);
        let status = match vector {
            0 => STATUS_INTEGER_DIVIDE_BY_ZERO,
            1 => STATUS_SINGLE_STEP,
            3 => STATUS_BREAKPOINT,
            4 => STATUS_INTEGER_OVERFLOW,
            5 => STATUS_ARRAY_BOUNDS_EXCEEDED,
            6 => STATUS_ILLEGAL_INSTRUCTION,
            // Kernel code that uses an address which is not canonical, or a bad selector: Windows reports
            // a read of the highest address.
            12 | 13 => STATUS_ACCESS_VIOLATION,
            14 => {
                self.memory_exception(error, cr2, rip);
                return;
            }
            17 => STATUS_DATATYPE_MISALIGNMENT,
            19 => float_status(mxcsr),
            _ => {
                self.bugcheck(
                    crate::bugcheck_codes::UNEXPECTED_KERNEL_MODE_TRAP,
                    [u64::from(vector), rip, cr2, 0],
                );
                return;
            }
        };
        let mut exception = Exception::new(status);
        if status == STATUS_ACCESS_VIOLATION {
            exception.parameters = vec![0, u64::MAX];
        }
        self.raise_here(&exception);
    }

    fn memory_exception(&mut self, error: u32, va: u64, rip: u64) {
        let access = if error & FETCH != 0 {
            Access::Execute
        } else if error & WRITE != 0 {
            Access::Write
        } else {
            Access::Read
        };
        match self.page_fault(va, access, rip) {
            Flow::Raise(exception) => self.raise_here(&exception),
            Flow::Bugcheck(code, parameters) => self.bugcheck(code, parameters),
            Flow::NotModelled(what) => self.stop_at_rip(what),
            // A page fault has no other outcome.
            _ => {}
        }
    }

    /// `int 3`: the exception's address is that of the instruction. Its one parameter says that it is a
    /// break and no debug service.
    pub(crate) fn breakpoint(&mut self, next: u64) {
        let _ = next;
        self.raise_here(&Exception {
            parameters: vec![0],
            ..Exception::new(STATUS_BREAKPOINT)
        });
    }

    /// `int 2Ch`.
    pub(crate) fn assertion(&mut self, rip: u64) {
        let _ = rip;
        self.raise_here(&Exception::new(STATUS_ASSERTION_FAILURE));
    }

    /// An exception was unwound through a host routine. Where dispatch itself is the routine, nobody is to
    /// blame; a service boundary that made a status of the exception has not been crossed.
    pub(crate) fn unwound_frame(&mut self, frame: &Frame) {
        let own = [self.stubs.exception, self.stubs.interrupt];
        let handler = self
            .stubs
            .address_of("ntoskrnl.exe", "__C_specific_handler");
        if own.contains(&frame.stub) || handler == Some(frame.stub) || frame.kont.wall().is_some() {
            return;
        }
        let name = self
            .stubs
            .name_of(frame.stub, frame.stub)
            .unwrap_or_default();
        let routine = if frame.stub == self.stubs.host_call {
            frame.kont.at().routine.to_owned()
        } else {
            name
        };
        let text = format!("an exception was unwound through {routine}, which had not finished");
        self.report("exception/through-kernel", Severity::Error, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_float_exception_is_the_unmasked_one_of_highest_priority() {
        // All masked but zero-divide; inexact and zero-divide are flagged.
        assert_eq!(
            float_status(0x1f80 & !0x200 | 0x24),
            STATUS_FLOAT_DIVIDE_BY_ZERO
        );
        assert_eq!(float_status(0x05), STATUS_FLOAT_INVALID_OPERATION);
        assert_eq!(float_status(0x28), STATUS_FLOAT_OVERFLOW);
        assert_eq!(float_status(0x20), STATUS_FLOAT_INEXACT_RESULT);
    }
}
