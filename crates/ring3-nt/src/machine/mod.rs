//! The machine: everything that a running system is, as one plain value.
//!
//! Clone it and both copies go on alike. All progress of guest code is in its registers, its memory
//! and its continuations; nothing is on a host stack between two steps.

pub mod apply;
pub mod boot;
pub mod context;
pub mod decide;
pub mod exception;
pub mod finding;
pub mod interrupt;
pub mod layer;
pub mod modules;
pub mod page_fault;
pub mod processor;
pub mod run;
pub mod stack;
pub mod stubs;
pub mod thread;
pub mod time;
pub mod trace;
pub mod tracing;
pub mod wait;

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ring3_memory::{Gva, Memory};
use ring3_x64::Interpreter;

use crate::build::Build;
use crate::export::table::ExportTable;
use crate::flow::{Key, Kont};
use crate::hash::Fnv;
use decide::{Choice, Decider, Decision};
use finding::{Finding, Place};
use modules::Modules;
use processor::Processor;
use stubs::Stubs;
use thread::{Process, ProcessId, Thread, ThreadId, ThreadState};
use time::Clock;
use trace::Trace;

/// What volatile registers hold after a call into the kernel.
pub const SCRUBBED: u64 = 0xbad0_bad0_bad0_bad0;

/// A bugcheck: the blue screen.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct Bugcheck {
    /// The code.
    pub code: u32,
    /// The four parameters.
    pub parameters: [u64; 4],
    /// The driver code to blame, or the innermost place.
    pub place: Place,
    /// The stack, innermost first.
    pub stack: Vec<Place>,
    /// The thread's name.
    pub thread: String,
    /// IRQL at that moment.
    pub irql: u8,
}

impl Bugcheck {
    /// The name of its code.
    #[must_use]
    pub fn name(&self) -> &'static str {
        crate::bugcheck_codes::name(self.code).unwrap_or("unknown code")
    }
}

/// Why a machine has stopped for good.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A bugcheck.
    Bugcheck(Bugcheck),
    /// Something that the driver needs is not modelled.
    NotModelled {
        /// What.
        what: String,
        /// Who needs it.
        caller: Place,
        /// The first arguments, for routines.
        arguments: Vec<u64>,
        /// The stack, innermost first.
        stack: Vec<Place>,
    },
}

/// The engine with its caches, which are no state: a clone starts without and makes its own when it runs.
#[derive(Default)]
pub(crate) struct EngineSlot(Option<Box<Interpreter>>);

impl EngineSlot {
    /// The engine.
    pub(crate) fn get(&mut self) -> &mut Interpreter {
        self.0.get_or_insert_with(|| Box::new(Interpreter::new()))
    }
}

impl Clone for EngineSlot {
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl std::fmt::Debug for EngineSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Interpreter")
    }
}

/// A machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Guest memory.
    pub memory: Memory,
    /// The Windows build that it is.
    pub build: &'static Build,
    /// Declared exports.
    pub exports: Arc<ExportTable>,
    /// Where exports are in the guest.
    pub stubs: Arc<Stubs>,
    /// Loaded images.
    pub modules: Modules,
    /// Virtual processors.
    pub processors: Vec<Processor>,
    /// The processor that runs now.
    pub current: usize,
    /// Threads.
    pub threads: BTreeMap<ThreadId, Thread>,
    /// Processes.
    pub processes: BTreeMap<ProcessId, Process>,
    /// Virtual time.
    pub clock: Clock,
    /// Continuations that were put aside.
    pub parked: BTreeMap<Key, Kont>,
    /// The trace.
    pub trace: Trace,
    /// Findings so far.
    pub findings: Vec<Finding>,
    /// Why it stopped.
    pub stop: Option<Stop>,
    /// Instructions after which a run ends.
    pub budget: u64,
    /// Whether a single processor is preempted at decided points too.
    pub preemptive: bool,
    /// Every decision so far.
    pub decisions: Vec<Decision>,
    /// Calls per export.
    pub calls: BTreeMap<u32, u64>,
    /// Steps of host routines so far.
    pub host_steps: u64,
    /// State of the kernel's parts.
    pub ke: crate::ke::State,
    /// Locks: who holds them, who wants them, in which order.
    pub locks: crate::locks::State,
    /// Pool.
    pub ex: crate::ex::State,
    /// Memory manager.
    pub mm: crate::mm::State,
    /// Objects and handles.
    pub ob: crate::ob::State,
    /// I/O manager.
    pub io: crate::io::State,
    /// Registry.
    pub cm: crate::cm::State,
    /// Processes and threads.
    pub ps: crate::ps::State,
    /// Security.
    pub se: crate::se::State,
    /// Debug output.
    pub dbg: crate::dbg::State,
    /// Simulated devices.
    pub devices: crate::devices::Devices,
    /// Run-time library.
    pub rtl: crate::rtl::State,
    /// Structures of the layers above the kernel.
    pub layers: layer::Layers,
    pub(crate) decider: Box<dyn Decider>,
    pub(crate) engine: EngineSlot,
    pub(crate) wait_numbers: u64,
    /// The return address of the export call that is being handled.
    pub(crate) caller: u64,
    pub(crate) horizon: Option<u64>,
    pub(crate) shared_data_tick: u64,
    pub(crate) next_thread: u32,
    pub(crate) next_process: u32,
    /// Clone and go on with the copy every so many host calls; 0 for never. See
    /// [`Machine::clone_every`].
    pub(crate) clone_interval: u64,
    pub(crate) next_clone: u64,
}

/// A moment of a machine, to go back to at a cost proportional to what has changed since.
#[derive(Clone, Debug)]
pub struct Snapshot {
    machine: Machine,
    memory: ring3_memory::Snapshot,
}

impl Machine {
    /// The processor that runs now.
    #[must_use]
    pub fn processor(&self) -> &Processor {
        &self.processors[self.current]
    }

    /// The processor that runs now.
    pub fn processor_mut(&mut self) -> &mut Processor {
        &mut self.processors[self.current]
    }

    /// The thread that runs now.
    #[must_use]
    pub fn thread(&self) -> &Thread {
        self.thread_by(self.processor().current)
    }

    /// The thread that runs now.
    pub fn thread_mut(&mut self) -> &mut Thread {
        let id = self.processor().current;
        self.thread_by_mut(id)
    }

    /// A thread that is known to exist: threads are never removed, only terminated.
    #[must_use]
    pub fn thread_by(&self, id: ThreadId) -> &Thread {
        &self.threads[&id]
    }

    /// A thread that is known to exist.
    pub fn thread_by_mut(&mut self, id: ThreadId) -> &mut Thread {
        self.threads
            .get_mut(&id)
            .expect("thread numbers are minted by the machine and never removed")
    }

    /// The thread with this object in guest memory.
    #[must_use]
    pub fn thread_of_object(&self, object: u64) -> Option<&Thread> {
        self.threads.values().find(|t| t.object.raw() == object)
    }

    /// The process of the running thread.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.processes[&self.thread().process]
    }

    /// The current IRQL.
    #[must_use]
    pub fn irql(&self) -> u8 {
        self.processor().irql()
    }

    /// Sets the IRQL. What is pending below the new level is delivered before the next instruction.
    pub fn set_irql(&mut self, level: u8) {
        self.processor_mut().cpu.cr8 = u64::from(level & 15);
    }

    /// Makes a choice; `of` is the number of answers. With one possible answer nothing is recorded.
    pub fn decide(&mut self, choice: Choice, of: u32) -> u32 {
        if of < 2 {
            return 0;
        }
        let answer = self.decider.decide(choice, of).min(of - 1);
        self.decisions.push(Decision { choice, of, answer });
        answer
    }

    /// Replaces what answers choices from now on.
    pub fn set_decider(&mut self, decider: Box<dyn Decider>) {
        self.decider = decider;
    }

    /// The test mode in which the machine is cloned every so many host calls and goes on as the
    /// copy, the original being dropped. 0 turns it off. Nothing may change by it.
    pub fn clone_every(&mut self, host_calls: u64) {
        self.clone_interval = host_calls;
    }

    pub(crate) fn after_host_call(&mut self) {
        if self.clone_interval != 0 && self.host_steps >= self.next_clone {
            self.next_clone = self.host_steps + self.clone_interval;
            let copy = self.clone();
            *self = copy;
        }
    }

    /// Remembers this moment.
    pub fn snapshot(&mut self) -> Snapshot {
        Snapshot {
            memory: self.memory.snapshot(),
            machine: self.clone(),
        }
    }

    /// Goes back to a moment of this machine. Translated code is kept.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        let mut next = snapshot.machine.clone();
        std::mem::swap(&mut next.memory, &mut self.memory);
        std::mem::swap(&mut next.engine, &mut self.engine);
        next.memory.restore(&snapshot.memory);
        *self = next;
    }

    /// Stops the machine with a bugcheck.
    pub fn bugcheck(&mut self, code: u32, parameters: [u64; 4]) {
        if self.stop.is_some() {
            return;
        }
        let stack = self.stack_trace();
        let place = self.blame(&stack);
        self.trace.event(
            "bugcheck",
            &[
                u64::from(code),
                parameters[0],
                parameters[1],
                parameters[2],
                parameters[3],
            ],
        );
        let irql = self.irql();
        let thread = self.thread().name.clone();
        let stop = Stop::Bugcheck(Bugcheck {
            code,
            parameters,
            place,
            stack,
            thread,
            irql,
        });
        self.stop_with_callbacks(stop);
    }

    /// The innermost place in an image that is not the kernel's own.
    #[must_use]
    pub fn blame(&self, stack: &[Place]) -> Place {
        stack
            .iter()
            .find(|p| self.modules.by_name(&p.module).is_some_and(|m| !m.modelled))
            .or(stack.first())
            .cloned()
            .unwrap_or_default()
    }

    /// A new thread that starts with this continuation when it is first scheduled.
    pub fn create_thread(
        &mut self,
        process: ProcessId,
        name: &str,
        start: Kont,
    ) -> Option<ThreadId> {
        boot::create_thread(self, process, name, start)
    }

    /// Makes threads ready that wait for a host condition.
    pub fn wake(&mut self, key: Key) {
        let waiting: Vec<ThreadId> = self
            .threads
            .values()
            .filter(|t| matches!(&t.state, ThreadState::Waiting(wait::Wait::On(k), _) if *k == key))
            .map(|t| t.id)
            .collect();
        for id in waiting {
            self.make_ready(id, 0);
        }
        for thread in self.threads.values_mut() {
            for interrupted in &mut thread.interrupted {
                if interrupted.wait == wait::Wait::On(key) {
                    interrupted.result.get_or_insert(0);
                }
            }
        }
    }

    /// Ends a wait with this result.
    pub fn make_ready(&mut self, id: ThreadId, result: u64) {
        let since = self.next_wait_number();
        let thread = self.thread_by_mut(id);
        thread.context.gpr[ring3_x64::RAX] = result;
        thread.state = ThreadState::Ready;
        thread.ready_since = since;
    }

    pub(crate) fn next_wait_number(&mut self) -> u64 {
        self.wait_numbers += 1;
        self.wait_numbers
    }

    /// A 64-bit fingerprint of all state that decides what happens next. Traces, findings,
    /// statistics and the decision record are left out.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        let mut h = Fnv::default();
        let memory = self.memory.hash();
        h.write_u64(memory as u64);
        h.write_u64((memory >> 64) as u64);
        self.processors.hash(&mut h);
        self.current.hash(&mut h);
        self.threads.hash(&mut h);
        self.processes.hash(&mut h);
        self.clock.hash(&mut h);
        self.parked.hash(&mut h);
        self.ke.hash(&mut h);
        self.locks.hash(&mut h);
        self.ex.hash(&mut h);
        self.mm.hash(&mut h);
        self.ob.hash(&mut h);
        self.io.hash(&mut h);
        self.cm.hash(&mut h);
        self.ps.hash(&mut h);
        self.se.hash(&mut h);
        self.dbg.hash(&mut h);
        self.devices.hash(&mut h);
        self.rtl.hash(&mut h);
        self.layers.hash(&mut h);
        self.wait_numbers.hash(&mut h);
        h.finish()
    }

    /// The address of an export or other public name of a modelled module.
    #[must_use]
    pub fn export_address(&self, module: &str, name: &str) -> Option<Gva> {
        self.stubs.address_of(module, name).map(Gva::new)
    }
}
