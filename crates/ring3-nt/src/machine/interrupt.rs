//! Interrupts: what runs on top of the interrupted thread, on its stack.

use ring3_memory::{Fault, Gva};
use ring3_x64::RSP;

use super::Machine;
use super::apply::Site;
use super::context::ThreadContext;
use super::thread::{Frame, HOST_FRAME};
use crate::export::irql::{APC_LEVEL, DISPATCH_LEVEL, HIGH_LEVEL, PASSIVE_LEVEL};
use crate::flow::{At, Flow, Kont, Resume, Until, Wall};
use crate::layout::KTRAP_FRAME;
use crate::rtl::exception::area::PAD;

/// Bytes from a trap frame's start to the machine frame that the processor pushed.
const MACHINE_FRAME: u64 = 0x168;

/// The host frame under which an interrupt's work runs: it restores everything.
#[derive(Clone, Hash, Debug)]
pub struct Interrupted {
    context: Box<ThreadContext>,
    /// A busy wait that goes on afterwards.
    spinning: Option<Until>,
    /// Whether DPCs were being run when the interrupt came.
    dpc_active: bool,
    /// Whether a wait was interrupted that is to go on.
    rewait: bool,
}

impl Resume for Interrupted {
    fn at(&self) -> At {
        At {
            routine: "KiDpcInterrupt",
            text: "interrupted",
            line: 0,
        }
    }
    fn resume(self: Box<Self>, cx: &mut Machine, _rax: u64) -> Flow {
        let processor = cx.processor_mut();
        processor.dpc_active = self.dpc_active;
        processor.spinning = self.spinning;
        crate::ke::threaded_dpc::drained(cx);
        if self.rewait {
            return crate::ke::apc::resume_wait(cx, self.context);
        }
        Flow::Restore(self.context)
    }
    fn wall(&self) -> Option<Wall> {
        // Nobody may handle an exception of a DPC below it: KMODE_EXCEPTION_NOT_HANDLED.
        Some(Wall::Bugcheck(0x1e))
    }
}

impl Machine {
    /// Delivers what is pending on the current processor below its IRQL. True if something began.
    pub(crate) fn deliver_interrupts(&mut self) -> bool {
        let processor = self.processor();
        if let Some(at) = processor.deliverable() {
            let interrupt = self.processor_mut().pending.remove(at);
            self.processor_mut().halted = false;
            self.interrupt(interrupt.irql, interrupt.work);
            return true;
        }
        if processor.irql() < DISPATCH_LEVEL && !processor.dpcs.is_empty() && !processor.dpc_active
        {
            self.processor_mut().halted = false;
            let work = crate::ke::dpc::retire_dpcs();
            self.interrupt(DISPATCH_LEVEL, work);
            return true;
        }
        processor.irql() == PASSIVE_LEVEL && self.deliver_apcs()
    }

    /// Delivers APCs to the current thread, which runs at PASSIVE_LEVEL.
    fn deliver_apcs(&mut self) -> bool {
        let thread = self.thread();
        if !(thread.apc_pending || thread.apc_wake || thread.user_apc) {
            return false;
        }
        let rewait = std::mem::take(&mut self.thread_mut().apc_wake);
        let kernel = crate::ke::apc::deliverable(self, self.processor().current);
        let user = !kernel && !rewait && std::mem::take(&mut self.thread_mut().user_apc);
        if !kernel && !rewait && !user {
            return false;
        }
        let locals = (self.processor().cpu.gpr[RSP] & !15) - crate::ke::apc::LOCALS;
        let work = if user {
            crate::ke::apc::deliver_user(locals)
        } else {
            crate::ke::apc::deliver(locals)
        };
        self.interrupt_below(APC_LEVEL, work, crate::ke::apc::LOCALS, rewait);
        true
    }

    /// Interrupts the current thread: pushes a trap frame as the processor and the kernel do, raises
    /// the IRQL and runs the work; afterwards everything is restored.
    pub(crate) fn interrupt(&mut self, irql: u8, work: Kont) {
        self.interrupt_below(irql, work, 0, false);
    }

    /// The same, with so many bytes of the stack left to the work.
    fn interrupt_below(&mut self, irql: u8, work: Kont, locals: u64, rewait: bool) {
        let context = ThreadContext::save(&self.processor().cpu);
        let mut below = context.clone();
        below.gpr[RSP] = (context.gpr[RSP] & !15).wrapping_sub(locals);
        let trap = self.push_trap_frame(&context, &below);
        let Ok(trap) = trap else { return };
        self.set_irql(irql.min(HIGH_LEVEL));
        let spinning = self.processor_mut().spinning.take();
        let dpc_active = self.processor().dpc_active;
        if irql == DISPATCH_LEVEL {
            self.processor_mut().dpc_active = true;
        }
        let stub = self.stubs.interrupt;
        // Under the trap frame lies the area of the host frame itself.
        let frame = Frame {
            kont: Box::new(Interrupted {
                context: Box::new(context),
                spinning,
                dpc_active,
                rewait,
            }),
            rsp: trap - PAD,
            stub,
            export: None,
        };
        self.thread_mut().frames.push(frame);
        let rsp = trap - PAD - HOST_FRAME - 8;
        if let Err(fault) = self
            .memory
            .write(Gva::new(rsp), stub + super::apply::MARKER)
        {
            self.stack_fault(fault);
            return;
        }
        let flow = work.resume(self, 0);
        self.apply(
            flow,
            Site {
                rsp,
                stub: self.stubs.host_call,
                export: None,
            },
        );
        self.after_host_call();
    }

    /// Writes a KTRAP_FRAME for a context below the stack pointer of another; the machine frame at its end is
    /// where the processor would have pushed it.
    ///
    /// # Errors
    /// Nothing to say: the machine has stopped with a double fault.
    fn push_trap_frame(
        &mut self,
        context: &ThreadContext,
        below: &ThreadContext,
    ) -> Result<u64, ()> {
        let user = context.cs & 3 != 0;
        let top = if user {
            self.thread().stack_base
        } else {
            below.gpr[RSP]
        };
        let trap = (top & !15).wrapping_sub(KTRAP_FRAME::SIZE);
        match self.write_trap_frame(trap, context) {
            Ok(()) => Ok(trap),
            Err(fault) => {
                self.stack_fault(fault);
                Err(())
            }
        }
    }

    /// Writes a KTRAP_FRAME: the volatile registers, and the machine frame at its end.
    ///
    /// # Errors
    /// A fault if the stack cannot hold it.
    pub(crate) fn write_trap_frame(
        &mut self,
        trap: u64,
        context: &ThreadContext,
    ) -> Result<(), Fault> {
        let base = Gva::<KTRAP_FRAME>::new(trap);
        let machine_frame = Gva::<u64>::new(trap + MACHINE_FRAME);
        let m = &mut self.memory;
        m.fill(base, KTRAP_FRAME::SIZE, 0)?;
        let gpr = &context.gpr;
        for (field, value) in [
            (KTRAP_FRAME::Rax, gpr[0]),
            (KTRAP_FRAME::Rcx, gpr[1]),
            (KTRAP_FRAME::Rdx, gpr[2]),
            (KTRAP_FRAME::R8, gpr[8]),
            (KTRAP_FRAME::R9, gpr[9]),
            (KTRAP_FRAME::R10, gpr[10]),
            (KTRAP_FRAME::R11, gpr[11]),
            (KTRAP_FRAME::Rbx, gpr[3]),
            (KTRAP_FRAME::Rdi, gpr[7]),
            (KTRAP_FRAME::Rsi, gpr[6]),
            (KTRAP_FRAME::Rbp, gpr[5]),
        ] {
            m.set(base, field, value)?;
        }
        m.set(base, KTRAP_FRAME::MxCsr, context.mxcsr)?;
        m.set(base, KTRAP_FRAME::PreviousIrql, context.irql)?;
        let words = [
            context.rip,
            u64::from(context.cs),
            context.rflags,
            gpr[RSP],
            u64::from(context.ss),
        ];
        for (i, word) in words.into_iter().enumerate() {
            m.write(machine_frame.add(i as u64), word)?;
        }
        Ok(())
    }
}
