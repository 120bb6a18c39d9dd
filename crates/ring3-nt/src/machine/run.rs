//! The loop: which processor runs, for how long, and what ended it.

use ring3_x64::{Engine, Exit, RCX};

use super::decide::Choice;
use super::finding::Severity;
use super::time::{PS_PER_INSTRUCTION, QUANTUM, TICK};
use super::{Machine, Stop};
use crate::export::irql::DISPATCH_LEVEL;

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// The condition holds.
    Done,
    /// Nothing can run and no timer is due.
    Idle,
    /// The machine has stopped; see [`Machine::stop`].
    Stopped,
    /// The instruction budget is used up.
    Budget,
}

/// Instructions that one processor runs at most before another is chosen.
const SLICE: u32 = 400;

impl Machine {
    /// Runs until `done` holds, nothing can run, the machine stops, or the budget of the machine is
    /// used up.
    pub fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) -> RunEnd {
        loop {
            if self.stop.is_some() {
                return RunEnd::Stopped;
            }
            if done(self) {
                return RunEnd::Done;
            }
            if self.instructions() >= self.budget {
                return RunEnd::Budget;
            }
            if !self.step() {
                return RunEnd::Idle;
            }
        }
    }

    /// Runs until `done` holds, but at most until a point in virtual time (100 ns): `Done` in both
    /// cases. `Idle` if nothing can run and no timer is due before that time, which then is still to come.
    pub fn run_until_or(&mut self, until: u64, mut done: impl FnMut(&Self) -> bool) -> RunEnd {
        self.horizon = Some(until);
        let end = self.run_until(|m| done(m) || m.clock.now() >= until);
        self.horizon = None;
        end
    }

    /// Runs until nothing can run and no timer is due before `until` (100 ns of virtual time).
    pub fn run_to_time(&mut self, until: u64) -> RunEnd {
        let end = self.run_until_or(until, |_| false);
        if end == RunEnd::Idle {
            self.clock.jump_to(until);
            self.update_shared_data();
            self.expire_timers();
            return RunEnd::Done;
        }
        end
    }

    /// Instructions of all processors.
    #[must_use]
    pub fn instructions(&self) -> u64 {
        self.processors.iter().map(|p| p.cpu.icount).sum()
    }

    /// One step; false if nothing can happen any more.
    pub fn step(&mut self) -> bool {
        // This runs after every call of a kernel routine, so that nothing is done that has no effect.
        let mut due = self.next_due();
        if due.is_some_and(|due| due <= self.clock.now()) {
            self.expire_timers();
            due = self.next_due();
        }
        self.dispatch_ready();
        let Some(n) = self.choose_processor() else {
            return self.jump_to_next_timer();
        };
        self.current = n;
        self.sync_address_space();
        if self.deliver_interrupts() {
            return true;
        }
        self.rotate_equals();
        if self.processors[n].spinning.take().is_some() {
            due = self.next_due();
        }
        self.run_slice(due);
        true
    }

    /// Whether a processor could do something now.
    fn can_run(&self, n: usize) -> bool {
        let p = &self.processors[n];
        if p.deliverable().is_some() {
            return true;
        }
        if !p.dpcs.is_empty() && p.irql() < DISPATCH_LEVEL {
            return true;
        }
        if p.halted {
            return false;
        }
        if let Some(until) = &p.spinning {
            return self.holds(until);
        }
        p.current != p.idle || !self.thread_by(p.idle).frames.is_empty()
    }

    fn choose_processor(&mut self) -> Option<usize> {
        if self.processors.len() == 1 {
            return self.can_run(0).then_some(0);
        }
        let runnable: Vec<usize> = (0..self.processors.len())
            .filter(|n| self.can_run(*n))
            .collect();
        match runnable.as_slice() {
            [] => None,
            [only] => Some(*only),
            many => {
                let of = many.len() as u32;
                let answer = self.decide(Choice::Processor, of);
                many.get(answer as usize).copied().or(many.first().copied())
            }
        }
    }

    /// With nothing to run, time jumps to the next timer.
    fn jump_to_next_timer(&mut self) -> bool {
        let Some(due) = self.next_due() else {
            return false;
        };
        if self.horizon.is_some_and(|h| due > h) {
            return false;
        }
        self.clock.jump_to(due);
        self.update_shared_data();
        true
    }

    /// Runs the current processor, at most until `due`, when a timer or timeout is due.
    fn run_slice(&mut self, due: Option<u64>) {
        let n = self.current;
        let start = self.processors[n].cpu.icount;
        let mut length = u64::from(SLICE);
        if self.processors.len() > 1 || self.preemptive {
            length = 1 + u64::from(self.decide(Choice::Slice, SLICE));
        } else {
            length = length
                .max(self.processors[n].quantum_end.saturating_sub(start))
                .clamp(1, QUANTUM);
        }
        if let Some(due) = due {
            length = length.min(self.clock.ps_until(due) / PS_PER_INSTRUCTION + 1);
        }
        length = length.min(self.budget.saturating_sub(self.instructions()).max(1));
        let exit = self.run_engine(start + length);
        let ran = self.processors[n].cpu.icount.wrapping_sub(start);
        let parallel = self.processors.len() as u64;
        self.clock.advance_ps(ran * PS_PER_INSTRUCTION / parallel);
        self.update_shared_data();
        self.handle(exit);
    }

    /// Writes the clock to KUSER_SHARED_DATA when a tick has passed.
    pub(crate) fn update_shared_data(&mut self) {
        let tick = self.clock.now() / TICK;
        if tick != self.shared_data_tick {
            let passed = tick.saturating_sub(self.shared_data_tick);
            self.shared_data_tick = tick;
            self.watch_dpcs(passed);
            crate::ke::shared_data::update(self);
        }
    }

    fn handle(&mut self, exit: Exit) {
        match exit {
            Exit::Limit | Exit::IrqlLowered { .. } => {}
            Exit::HostCall => self.host_call(),
            Exit::Exception { vector, error, cr2 } => self.hardware_exception(vector, error, cr2),
            Exit::SoftwareInterrupt { vector, next } => self.software_interrupt(vector, next),
            Exit::Shadow(hit) => {
                self.shadow_finding(&hit, None);
                self.step_without_shadow();
            }
            Exit::Halt => self.halt(),
            Exit::Random { size, .. } => {
                let mut value = 0u64;
                for _ in 0..size.div_ceil(2) {
                    value = value << 16 | u64::from(self.decide(Choice::Random, 0x1_0000));
                }
                exit.complete(&mut self.processor_mut().cpu, value);
            }
            Exit::PortIn { .. } | Exit::PortOut { .. } => self.port_access(&exit),
            Exit::Device { .. } => self.device_access(&exit),
            Exit::ReadMsr { .. } | Exit::WriteMsr { .. } | Exit::Syscall { .. } => {
                self.stop_at_rip(exit.to_string())
            }
            Exit::NotModelled { text, .. } => self.stop_at_rip(format!("instruction `{text}`")),
        }
    }

    pub(crate) fn stop_at_rip(&mut self, what: String) {
        let rip = self.processor().cpu.rip;
        let caller = self.place(rip);
        let stack = self.stack_trace();
        self.stop = Some(Stop::NotModelled {
            what,
            caller,
            arguments: Vec::new(),
            stack,
        });
    }

    /// Runs the instruction that a finding was about, this time unchecked.
    fn step_without_shadow(&mut self) {
        self.memory.shadow_enabled(false);
        let exit = self.run_one_instruction();
        self.memory.shadow_enabled(true);
        self.handle(exit);
    }

    /// Runs one instruction of the current processor.
    pub(crate) fn run_one_instruction(&mut self) -> Exit {
        let until = self.processor().cpu.icount + 1;
        self.run_engine(until)
    }

    /// Runs the current processor until it has retired so many instructions in all, or leaves the engine before.
    fn run_engine(&mut self, until: u64) -> Exit {
        let Self {
            memory,
            engine,
            processors,
            current,
            ..
        } = self;
        engine
            .get()
            .run(&mut processors[*current].cpu, memory, until)
    }

    /// `hlt`: with interrupts off nothing wakes this processor again.
    fn halt(&mut self) {
        let cpu = &self.processor().cpu;
        if cpu.rflags & 0x200 == 0 {
            self.report(
                "cpu/halted-forever",
                Severity::Error,
                "the driver executed hlt with interrupts disabled; this processor never runs again",
            );
        } else {
            self.report("cpu/halt", Severity::Warning, "the driver executed hlt");
        }
        self.processor_mut().halted = true;
    }

    /// `int n` of kernel code: the vectors that Windows defines.
    fn software_interrupt(&mut self, vector: u8, next: u64) {
        let cpu = &self.processor().cpu;
        let (rip, code) = (cpu.rip, cpu.gpr[RCX]);
        match vector {
            3 => self.breakpoint(next),
            // KiRaiseSecurityCheckFailure: KERNEL_SECURITY_CHECK_FAILURE with the fail-fast code.
            0x29 => self.bugcheck(0x139, [code & 0xffff_ffff, 0, 0, 0]),
            // KiRaiseAssertion: STATUS_ASSERTION_FAILURE.
            0x2c => self.assertion(rip),
            // KiDebugService: without a debugger the request is over at once.
            0x2d => {
                // The instruction is followed by an int3 that the service skips.
                self.processor_mut().cpu.rip = next + 1;
            }
            _ => self.hardware_exception(13, u32::from(vector) * 8 + 2, 0),
        }
    }
}
