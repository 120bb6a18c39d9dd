//! From nothing to a machine that can load drivers.

use std::sync::Arc;

use ring3_memory::{Context, Gva, Memory};
use ring3_x64::Cpu;

use super::context::ThreadContext;
use super::decide::Seeded;
use super::modules::Modules;
use super::processor::Processor;
use super::stubs::Stubs;
use super::thread::{Frame, HOST_FRAME, Process, ProcessId, Thread, ThreadId, ThreadState};
use super::time::{Clock, QUANTUM};
use super::trace::{Trace, TraceSet};
use super::{EngineSlot, Machine};
use crate::build::WIN10_2004;
use crate::flow::Kont;
use crate::layout::{
    CLIENT_ID, DISPATCHER_HEADER, EPROCESS, ETHREAD, KAPC_STATE, KPCR, KPRCB, KPROCESS, KTHREAD,
    LIST_ENTRY,
};
use crate::mm::space::{self, PAGE, Region};
use crate::ntstatus::STATUS_PENDING;

/// How to make a machine.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of RAM.
    pub ram: u64,
    /// Virtual processors, 1 to 64.
    pub processors: usize,
    /// Seed of the default decider.
    pub seed: u64,
    /// What the trace prints.
    pub trace: TraceSet,
    /// Instructions after which a run ends.
    pub budget: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ram: 128 << 20,
            processors: 1,
            seed: 0,
            trace: TraceSet::default(),
            budget: 2_000_000_000,
        }
    }
}

/// Pages of a kernel stack: 24 KiB on x64.
pub const STACK_PAGES: u64 = 6;

impl Machine {
    /// Boots a machine.
    #[must_use]
    pub fn boot(config: &Config) -> Self {
        let exports = crate::table::exports();
        let stubs = Stubs::shared();
        let mut memory = Memory::new(config.ram);
        let cr3 = memory.new_address_space(None).unwrap_or(0);
        crate::mm::self_map::install(&mut memory, cr3);
        memory.set_context(Context {
            cr3,
            wp: true,
            nxe: true,
            smep: true,
            smap: false,
        });
        let mut machine = Self {
            memory,
            build: &WIN10_2004,
            exports,
            stubs,
            modules: Modules::default(),
            processors: Vec::new(),
            current: 0,
            threads: std::collections::BTreeMap::new(),
            processes: std::collections::BTreeMap::new(),
            clock: Clock::default(),
            parked: std::collections::BTreeMap::new(),
            trace: Trace::new(config.trace),
            findings: Vec::new(),
            stop: None,
            budget: config.budget,
            preemptive: config.seed != 0,
            decisions: Vec::new(),
            calls: std::collections::BTreeMap::new(),
            host_steps: 0,
            ke: crate::ke::State::default(),
            locks: crate::locks::State::default(),
            ex: crate::ex::State::default(),
            mm: crate::mm::State::default(),
            ob: crate::ob::State::default(),
            io: crate::io::State::default(),
            cm: crate::cm::State::default(),
            ps: crate::ps::State::default(),
            se: crate::se::State::default(),
            dbg: crate::dbg::State::default(),
            devices: crate::devices::Devices::default(),
            rtl: crate::rtl::State::default(),
            layers: super::layer::Layers::default(),
            decider: Box::new(Seeded::new(config.seed)),
            engine: EngineSlot::default(),
            wait_numbers: 0,
            caller: 0,
            horizon: None,
            shared_data_tick: 0,
            next_thread: 0,
            next_process: 0,
            clone_interval: 0,
            next_clone: 0,
        };
        machine.map_shared_data(cr3);
        machine.create_process_with("System", cr3);
        for n in 0..config.processors.clamp(1, 64) {
            machine.create_processor(n, cr3);
        }
        Arc::clone(&machine.stubs).load(&mut machine);
        crate::table::initialize(&mut machine);
        crate::ke::shared_data::update(&mut machine);
        machine
    }

    fn map_shared_data(&mut self, cr3: u64) {
        let Some(frame) = self.memory.alloc_frame() else {
            return;
        };
        let _ = self
            .memory
            .map(cr3, crate::ke::shared_data::ADDRESS, frame, space::data());
        crate::ke::shared_data::initialize(self);
    }

    /// A zeroed kernel object that lives as long as the machine.
    fn allocate_object<T>(&mut self, size: u64) -> Gva<T> {
        self.allocate_pages(Region::Objects, size.div_ceil(PAGE), space::data())
            .unwrap_or(Gva::NULL)
            .cast()
    }

    fn create_process_with(&mut self, name: &str, cr3: u64) -> ProcessId {
        let id = ProcessId(self.next_process);
        self.next_process += 1;
        let object: Gva<EPROCESS> = self.allocate_object(EPROCESS::SIZE);
        let process = object.cast::<KPROCESS>();
        let mut file_name = [0u8; 15];
        for (slot, byte) in file_name.iter_mut().take(14).zip(name.bytes()) {
            *slot = byte;
        }
        let m = &mut self.memory;
        let _ = m.set(
            process.cast(),
            crate::layout::DISPATCHER_HEADER::Type,
            crate::ke::dispatcher::kind::PROCESS,
        );
        let _ = m.set(process, KPROCESS::DirectoryTableBase, cr3);
        let _ = m.set(process, KPROCESS::BasePriority, 8i8);
        let _ = m.set(object, EPROCESS::UniqueProcessId, Gva::new(id.guest()));
        let _ = m.set(object, EPROCESS::ImageFileName, file_name);
        self.processes.insert(
            id,
            Process {
                id,
                object,
                cr3,
                name: name.to_owned(),
                exited: false,
            },
        );
        let now = self.clock.system() as i64;
        let m = &mut self.memory;
        let _ = m.set(object, EPROCESS::CreateTime, now);
        let _ = m.set(object, EPROCESS::SequenceNumber, u64::from(id.0) + 1);
        let _ = m.set(object, EPROCESS::ExitStatus, STATUS_PENDING);
        // PROCESS_PRIORITY_CLASS_NORMAL of ntpsapi.h.
        let _ = m.set(object, EPROCESS::PriorityClass, 2);
        self.adopt_object(object.raw(), crate::ob::Kind::Process, "", 0);
        id
    }

    /// A new user process with an empty user half. `None` if memory is used up.
    pub fn create_process(&mut self, name: &str) -> Option<ProcessId> {
        let kernel = self.kernel_cr3();
        let cr3 = self.memory.new_address_space(Some(kernel))?;
        crate::mm::self_map::install(&mut self.memory, cr3);
        Some(self.create_process_with(name, cr3))
    }

    fn create_processor(&mut self, number: usize, cr3: u64) {
        let kpcr: Gva<KPCR> = self.allocate_object(KPCR::SIZE);
        let prcb = kpcr.at(KPCR::Prcb);
        let idle = create_thread_at(self, ProcessId::SYSTEM, &format!("idle {number}"), None);
        let (object, context) = {
            let thread = self.thread_by_mut(idle);
            thread.state = ThreadState::Running(number);
            thread.priority = 0;
            thread.affinity = 1 << number;
            (thread.object, thread.context.clone())
        };
        let mut cpu = Cpu {
            gs_base: kpcr.raw(),
            cr0: 0x8005_0033,
            cr3,
            cr4: 0x0010_06f8,
            efer: 0xd01,
            ..Cpu::default()
        };
        context.load(&mut cpu);
        let m = &mut self.memory;
        let _ = m.set(kpcr, KPCR::Self_, kpcr);
        let _ = m.set(kpcr, KPCR::CurrentPrcb, prcb);
        let _ = m.set(prcb, KPRCB::CurrentThread, object.cast());
        let _ = m.set(prcb, KPRCB::IdleThread, object.cast());
        let _ = m.set(prcb, KPRCB::Number, number as u32);
        self.processors.push(Processor {
            number,
            cpu,
            current: idle,
            idle,
            kpcr,
            dpcs: std::collections::VecDeque::new(),
            dpc_active: false,
            spinning: None,
            quantum_end: QUANTUM,
            must_yield: false,
            halted: false,
            pending: Vec::new(),
            threaded_dpcs: std::collections::VecDeque::new(),
            ticks_in_dpc: 0,
            ticks_at_dispatch: 0,
        });
    }
}

/// A new thread that starts with `start` when it is first scheduled.
pub(super) fn create_thread(
    cx: &mut Machine,
    process: ProcessId,
    name: &str,
    start: Kont,
) -> Option<ThreadId> {
    Some(create_thread_at(cx, process, name, Some(start)))
}

fn create_thread_at(
    cx: &mut Machine,
    process: ProcessId,
    name: &str,
    start: Option<Kont>,
) -> ThreadId {
    let id = ThreadId(cx.next_thread);
    cx.next_thread += 1;
    let object: Gva<ETHREAD> = cx.allocate_object(ETHREAD::SIZE);
    let stack = cx
        .allocate_pages(Region::Stacks, STACK_PAGES, space::data())
        .unwrap_or(Gva::NULL)
        .raw();
    let stack_base = stack + STACK_PAGES * PAGE;
    // The outermost return address is 0: unwinders stop there.
    let rsp = stack_base - 0x28;
    let stub = if start.is_some() {
        cx.stubs.thread_start
    } else {
        cx.stubs.idle
    };
    let context = ThreadContext::kernel(stub + super::apply::MARKER, rsp - HOST_FRAME);
    let process_object = cx.processes.get(&process).map_or(Gva::NULL, |p| p.object);
    let thread = object.cast::<KTHREAD>();
    let m = &mut cx.memory;
    let _ = m.set(
        thread.cast(),
        crate::layout::DISPATCHER_HEADER::Type,
        crate::ke::dispatcher::kind::THREAD,
    );
    let _ = m.set(thread, KTHREAD::Priority, 8i8);
    let _ = m.set(thread, KTHREAD::BasePriority, 8i8);
    let lists = [
        thread.at(KTHREAD::MutantListHead),
        thread
            .at(KTHREAD::ApcState)
            .at(KAPC_STATE::ApcListHead)
            .cast(),
        thread
            .at(KTHREAD::ApcState)
            .at(KAPC_STATE::ApcListHead)
            .cast::<LIST_ENTRY>()
            .byte_add(LIST_ENTRY::SIZE),
        thread
            .cast::<DISPATCHER_HEADER>()
            .at(DISPATCHER_HEADER::WaitListHead),
    ];
    for list in lists {
        let _ = crate::ke::list::initialize(m, list);
    }
    let state = thread.at(KTHREAD::ApcState);
    let _ = m.set(state, KAPC_STATE::Process, process_object.cast());
    let _ = m.set(thread, KTHREAD::InitialStack, Gva::new(stack_base));
    let _ = m.set(thread, KTHREAD::StackBase, Gva::new(stack_base));
    let _ = m.set(thread, KTHREAD::StackLimit, Gva::new(stack));
    let _ = m.set(thread, KTHREAD::Process, process_object.cast());
    let _ = m.set(
        thread.at(KTHREAD::ApcState),
        KAPC_STATE::Process,
        process_object.cast(),
    );
    let _ = m.set(
        object.at(ETHREAD::Cid),
        CLIENT_ID::UniqueProcess,
        Gva::new(process.guest()),
    );
    let _ = m.set(
        object.at(ETHREAD::Cid),
        CLIENT_ID::UniqueThread,
        Gva::new(id.guest()),
    );
    let since = cx.next_wait_number();
    let affinity = u64::MAX;
    cx.threads.insert(
        id,
        Thread {
            id,
            object,
            process,
            attached: Vec::new(),
            name: name.to_owned(),
            frames: start
                .into_iter()
                .map(|kont| Frame {
                    kont,
                    rsp,
                    stub,
                    export: None,
                })
                .collect(),
            context: Box::new(context),
            state: ThreadState::Ready,
            priority: 8,
            base_priority: 8,
            boost: 0,
            apc_pending: false,
            apc_wake: false,
            user_apc: false,
            interrupted: Vec::new(),
            wait_next: None,
            stack_limit: stack,
            stack_base,
            affinity,
            ready_since: since,
            user: process != ProcessId::SYSTEM,
            previous_mode: 0,
        },
    );
    id
}
