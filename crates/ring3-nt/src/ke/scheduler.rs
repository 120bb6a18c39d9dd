//! Which thread runs on which processor.

use ring3_memory::Gva;

use crate::Machine;
use crate::export::irql::DISPATCH_LEVEL;
use crate::flow::{Key, Until};
use crate::ke::dispatcher;
use crate::layout::{DISPATCHER_HEADER, KPCR, KPRCB, KTHREAD};
use crate::machine::context::ThreadContext;
use crate::machine::decide::Choice;
use crate::machine::thread::{Frame, ThreadId, ThreadState};
use crate::machine::time::QUANTUM;

/// `KTHREAD.State` values: the KTHREAD_STATE enumeration of the 19041 symbols.
mod kthread_state {
    pub const READY: u8 = 1;
    pub const RUNNING: u8 = 2;
    pub const TERMINATED: u8 = 4;
    pub const WAITING: u8 = 5;
}

impl Machine {
    /// Ready threads that may run on a processor, with what orders them: the best is the least.
    fn ready_on(
        &self,
        processor: usize,
    ) -> impl Iterator<Item = (std::cmp::Reverse<u8>, u64, ThreadId)> {
        self.threads
            .values()
            .filter(move |t| {
                matches!(t.state, ThreadState::Ready) && t.affinity >> processor & 1 != 0
            })
            .filter(|t| !self.processors.iter().any(|p| p.idle == t.id))
            .map(|t| (std::cmp::Reverse(t.priority), t.ready_since, t.id))
    }

    /// The ready thread that a processor would run next.
    fn best_for(&self, processor: usize) -> Option<ThreadId> {
        self.ready_on(processor).min().map(|(_, _, id)| id)
    }

    /// Ready threads that may run on a processor, best first.
    fn ready_for(&self, processor: usize) -> Vec<ThreadId> {
        let mut ready: Vec<_> = self.ready_on(processor).collect();
        ready.sort_unstable();
        ready.into_iter().map(|(_, _, id)| id).collect()
    }

    /// One of the ready threads of the highest priority.
    fn pick(&mut self, processor: usize) -> Option<ThreadId> {
        let ready = self.ready_for(processor);
        let first = *ready.first()?;
        let priority = self.thread_by(first).priority;
        let equals: Vec<_> = ready
            .into_iter()
            .take_while(|id| self.thread_by(*id).priority == priority)
            .collect();
        let answer = self.decide(Choice::Thread, equals.len() as u32) as usize;
        equals.get(answer).copied().or(Some(first))
    }

    /// Gives ready threads to processors: idle ones first, then those that run lower priorities.
    pub(crate) fn dispatch_ready(&mut self) {
        for n in 0..self.processors.len() {
            let p = &self.processors[n];
            if p.irql() >= DISPATCH_LEVEL || p.dpc_active || p.spinning.is_some() || p.halted {
                continue;
            }
            let running = p.current;
            let idle = running == p.idle;
            let priority = self.thread_by(running).priority;
            let Some(best) = self.best_for(n) else {
                continue;
            };
            if idle || self.thread_by(best).priority > priority {
                let Some(next) = self.pick(n) else { continue };
                self.switch(n, next);
            }
        }
    }

    /// At the end of its quantum a thread yields to an equal.
    pub(crate) fn rotate_equals(&mut self) {
        let n = self.current;
        if self.processors[n].must_yield && self.processors[n].irql() < DISPATCH_LEVEL {
            self.processors[n].must_yield = false;
            let next = self.pick(n).unwrap_or(self.processors[n].idle);
            self.switch(n, next);
            return;
        }
        let p = &self.processors[n];
        if p.cpu.icount < p.quantum_end || p.irql() >= DISPATCH_LEVEL || p.current == p.idle {
            return;
        }
        // A quantum that is given up is not over.
        if p.quantum_end != 0 {
            self.decay_boost(p.current);
        }
        let p = &self.processors[n];
        let priority = self.thread_by(p.current).priority;
        let best = self.best_for(n);
        if best.is_some_and(|id| self.thread_by(id).priority >= priority) {
            if let Some(next) = self.pick(n) {
                self.switch(n, next);
            }
        } else {
            let p = &mut self.processors[n];
            p.quantum_end = p.cpu.icount + QUANTUM;
        }
    }

    /// The current thread cannot go on: another one or the idle thread takes the processor.
    pub(crate) fn switch_away(&mut self) {
        let n = self.current;
        let next = self.pick(n).unwrap_or(self.processors[n].idle);
        self.load_thread(n, next);
    }

    /// Preempts the running thread of a processor.
    fn switch(&mut self, n: usize, next: ThreadId) {
        let running = self.processors[n].current;
        let context = ThreadContext::save(&self.processors[n].cpu);
        let since = self.next_wait_number();
        let thread = self.thread_by_mut(running);
        *thread.context = context;
        if matches!(thread.state, ThreadState::Running(_)) {
            thread.state = ThreadState::Ready;
            thread.ready_since = since;
            let object = thread.object;
            let _ = self
                .memory
                .set(object.cast(), KTHREAD::State, kthread_state::READY);
        }
        self.load_thread(n, next);
    }

    fn load_thread(&mut self, n: usize, next: ThreadId) {
        let before = self.processors[n].current;
        if before != next {
            let old = self.thread_by(before);
            let state = match old.state {
                ThreadState::Waiting(..) => kthread_state::WAITING,
                ThreadState::Terminated => kthread_state::TERMINATED,
                _ => kthread_state::READY,
            };
            let object = old.object;
            let _ = self.memory.set(object.cast(), KTHREAD::State, state);
        }
        let thread = self.thread_by_mut(next);
        thread.state = ThreadState::Running(n);
        let context = thread.context.clone();
        let (object, stack_base) = (thread.object, thread.stack_base);
        let processor = &mut self.processors[n];
        processor.current = next;
        processor.quantum_end = processor.cpu.icount + QUANTUM;
        context.load(&mut processor.cpu);
        let prcb = processor.kpcr.at(KPCR::Prcb);
        let _ = self.memory.set(prcb, KPRCB::CurrentThread, object.cast());
        let _ = self.memory.set(prcb, KPRCB::RspBase, stack_base);
        let _ = self
            .memory
            .set(object.cast(), KTHREAD::State, kthread_state::RUNNING);
        if before != next {
            self.trace.event("switch", &[n as u64, u64::from(next.0)]);
            if self.trace.set.thread {
                let name = self.thread_by(next).name.clone();
                self.trace_line(format!("processor {n} runs {name}"));
            }
        }
    }

    /// Makes the running thread's address space the current one.
    pub(crate) fn sync_address_space(&mut self) {
        let space = self.thread().space();
        let cr3 = self.processes[&space].cr3;
        self.processor_mut().cpu.cr3 = cr3;
        let context = self.memory.context();
        if context.cr3 != cr3 {
            self.memory
                .set_context(ring3_memory::Context { cr3, ..context });
        }
    }

    /// The current thread is over: what it still holds is reported, waiters are released.
    pub(crate) fn end_thread(&mut self) {
        let object = self.thread().object.cast::<KTHREAD>();
        self.locks_at_thread_end();
        if let Some((code, parameters)) = super::mutex::abandon_all(self) {
            self.bugcheck(code, parameters);
            return;
        }
        let disable = super::apc::combined_disable(self, object);
        if disable != 0 {
            // KERNEL_APC_PENDING_DURING_EXIT: no APC found, the count is what is wrong.
            let irql = u64::from(self.irql());
            self.bugcheck(0x20, [0, u64::from(disable), irql, 0]);
            return;
        }
        let frames: Vec<Frame> = std::mem::take(&mut self.thread_mut().frames);
        for mut frame in frames.into_iter().rev() {
            frame.kont.on_unwind(self);
        }
        let id = self.thread().id;
        let object: Gva<DISPATCHER_HEADER> = object.cast();
        self.trace.event("thread-end", &[u64::from(id.0)]);
        self.thread_mut().state = ThreadState::Terminated;
        dispatcher::signal(self, object, 1);
        self.wake(Key::new("thread", u64::from(id.0)));
        let n = self.current;
        self.processors[n].cpu.cr8 = 0;
        self.switch_away();
    }

    /// Whether the condition of a busy wait holds.
    pub(crate) fn holds(&self, until: &Until) -> bool {
        match until {
            Until::Zero(word) => self.memory.peek::<u64>(*word).unwrap_or(0) == 0,
            Until::MaskedZero(word, mask) => {
                self.memory.peek::<u32>(*word).unwrap_or(0) & mask == 0
            }
            Until::Time(due) => self.clock.now() >= *due,
        }
    }

    /// Whether a thread of this machine can still run, or a timer wake one.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let busy = |t: &crate::machine::thread::Thread| match t.state {
            ThreadState::Ready => !self.processors.iter().any(|p| p.idle == t.id),
            ThreadState::Running(n) => self.processors.get(n).is_some_and(|p| p.idle != t.id),
            _ => false,
        };
        !self.threads.values().any(busy)
            && self
                .processors
                .iter()
                .all(|p| p.dpcs.is_empty() && p.deliverable().is_none())
    }
}

impl Machine {
    /// The running thread gives up its processor after this host call: the next step schedules anew.
    pub fn yield_processor(&mut self) {
        let processor = self.processor_mut();
        processor.quantum_end = 0;
        processor.must_yield = true;
    }
}
