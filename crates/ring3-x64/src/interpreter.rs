//! The interpreter: finds or translates blocks, runs them, and says why it stopped.

use std::collections::VecDeque;

use iced_x86::{Formatter, NasmFormatter};
use ring3_memory::{Access, Context, Fault, Memory, Privilege};

use crate::block::{Block, Cache, Jumps, Link};
use crate::cpu::{Cpu, rflags};
use crate::decode::{self, LONGEST, Options};
use crate::engine::{AccessRecord, Engine, Instrument};
use crate::exit::{Exit, vector_number};
use crate::flags::Flags;
use crate::ops::sse::unavailable;
use crate::ops::system::all_flags;
use crate::record::{Coverage, Recorder};
use crate::vm::{Stop, Vm, fault_exit};
use crate::walk::table_frames;

/// Executes translated blocks of pre-decoded operations. Belongs to one [`Memory`]: see [`Engine::flush`].
pub struct Interpreter {
    code: Code,
    jumps: Jumps,
    recorder: Recorder,
    instrument: Instrument,
    /// RFLAGS as the last run left them, and what they were made from.
    left: (u64, Flags),
}

/// Reads a general register. Registers are copied one by one, because the last writers were stores of 8 bytes, and a
/// processor waits when it has to load 16 bytes from two stores that are still on their way; a copy of the whole array
/// would be such loads.
#[inline(always)]
fn register(place: &u64) -> u64 {
    // SAFETY: it is a reference; volatile only so that neighbours are not read at once.
    unsafe { (&raw const *place).read_volatile() }
}

/// Why [`Code::run`] ends. In the most common cases nothing is moved around.
enum Left {
    HostCall,
    Limit,
    Other(Box<Exit>),
}

#[cold]
#[inline(never)]
fn other(exit: Exit) -> Left {
    Left::Other(Box::new(exit))
}

/// Translated code, and what it depends on.
struct Code {
    cache: Cache,
    options: Options,
    /// How addresses were translated when the blocks of the present generation were confirmed.
    context: (Context, Option<Privilege>),
    /// [`Context::key`] of it.
    context_key: u64,
    /// The registers that decided about `context` and [`Options::no_sse`]; see [`deciding`].
    decided: [u64; 6],
    /// Blocks of another generation are looked up before they are entered.
    generation: u64,
    /// Frames of page tables that confirmed blocks were found through.
    tables: Vec<u64>,
}

// SAFETY: all pointers in the cache are to blocks that it owns itself; nothing is shared with another thread.
unsafe impl Send for Interpreter {}

/// A clone starts without translated code and without records.
impl Clone for Interpreter {
    fn clone(&self) -> Self {
        let mut new = Self::new();
        new.instrument(self.instrument);
        new
    }
}

impl Default for Interpreter {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Interpreter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interpreter")
            .field("instrument", &self.instrument)
            .finish_non_exhaustive()
    }
}

impl Interpreter {
    /// An interpreter that records nothing.
    pub fn new() -> Self {
        Self {
            code: Code {
                cache: Cache::default(),
                options: Options::default(),
                context: (Context::default(), None),
                context_key: Context::default().key(),
                decided: [u64::MAX; 6],
                generation: 1,
                tables: Vec::new(),
            },
            jumps: Jumps::new(),
            recorder: Recorder::default(),
            instrument: Instrument::default(),
            left: (0, Flags::new(0)),
        }
    }

    /// The edges taken so far; empty unless [`Instrument::coverage`] is on.
    pub fn coverage(&self) -> &Coverage {
        &self.recorder.coverage
    }

    /// The same, to clear it.
    pub fn coverage_mut(&mut self) -> &mut Coverage {
        &mut self.recorder.coverage
    }

    /// The latest accesses, the oldest first, and forgets them; empty unless [`Instrument::access_log`] is on.
    pub fn take_access_log(&mut self) -> VecDeque<AccessRecord> {
        std::mem::take(&mut self.recorder.log)
    }
}

impl Engine for Interpreter {
    fn run(&mut self, cpu: &mut Cpu, mem: &mut Memory, until: u64) -> Exit {
        let flags = if cpu.rflags == self.left.0 {
            self.left.1
        } else {
            Flags::new(cpu.rflags)
        };
        let gpr = &cpu.gpr;
        let mut vm = Vm {
            regs: std::array::from_fn(|number| gpr.get(number).map_or(0, register)),
            flags,
            budget: until.saturating_sub(cpu.icount),
            block: self.jumps.sentinel(),
            generation: self.code.generation,
            privilege: cpu.privilege(),
            rip: cpu.rip,
            until: until.max(cpu.icount),
            stop: Stop::Lookup(std::ptr::null()),
            mem,
            jumps: &self.jumps,
            cpu,
            recorder: &mut self.recorder,
        };
        vm.load_bases();
        let left = self.code.run(&mut vm);
        for (place, value) in vm.cpu.gpr.iter_mut().zip(&vm.regs) {
            *place = register(value);
        }
        vm.cpu.rflags = all_flags(&vm);
        vm.cpu.rip = vm.rip;
        vm.cpu.icount = vm.until - vm.budget;
        self.left = (vm.cpu.rflags, vm.flags);
        match left {
            Left::HostCall => Exit::HostCall,
            Left::Limit => Exit::Limit,
            Left::Other(exit) => *exit,
        }
    }

    fn flush(&mut self) {
        self.code.cache.clear(&self.jumps);
        self.code.tables.clear();
    }

    fn instrument(&mut self, set: Instrument) {
        if self.instrument != set {
            self.instrument = set;
            self.code.options.coverage = set.coverage;
            self.code.options.log = set.access_log;
            self.recorder.logging = set.access_log;
            self.flush();
        }
    }
}

/// Everything that [`Cpu::context`], [`Cpu::privilege`] and [`unavailable`] look at.
#[inline(always)]
fn deciding(cpu: &Cpu) -> [u64; 6] {
    let other = u64::from(cpu.cpl());
    let ac = cpu.rflags & rflags::AC;
    [cpu.cr0, cpu.cr3, cpu.cr4, cpu.efer, ac, other]
}

impl Code {
    /// The loop around blocks.
    #[inline(always)]
    fn run(&mut self, vm: &mut Vm) -> Left {
        let mut link: *const Link = std::ptr::null();
        loop {
            if vm.budget == 0 {
                return Left::Limit;
            }
            if self.outdated(vm) && self.renew(vm) {
                link = std::ptr::null();
            }
            vm.generation = self.generation;
            let known = vm.jumps.find(vm.rip);
            // SAFETY: the cache of jumps holds blocks that live, or its sentinel.
            let mut entered = unsafe { &*known };
            if !entered.current(self.generation) {
                entered = match self.block(vm) {
                    // SAFETY: blocks live until the cache is cleared, which only `renew` does, at the top of the loop.
                    Ok(block) => unsafe { &*block },
                    Err(fault) => return other(fault_exit(fault, false)),
                };
            }
            let step = vm.cpu.rflags & rflags::TF != 0;
            if entered.count > vm.budget || step {
                match self.one_block(vm, entered, step) {
                    Some(exit) => return other(exit),
                    None => link = std::ptr::null(),
                }
                continue;
            }
            if !link.is_null() {
                // SAFETY: the link is part of the block that was left last, which still lives: see above. Scratch
                // blocks live until the next one is made.
                unsafe { &*link }.set(entered);
            }
            vm.block = entered;
            vm.budget -= entered.count;
            vm.execute(entered.first);
            match &mut vm.stop {
                Stop::Lookup(next) => link = *next,
                // The most common exit has nothing to complete, and is not worth moving around.
                Stop::Exit(Exit::HostCall) if !self.options.log => return Left::HostCall,
                Stop::Exit(_) => return other(self.exit(vm)),
            }
        }
    }

    /// Executes a block that does not fit the budget as far as it does, or a single instruction of a block if the
    /// processor steps. Gives an exit, or `None` to go on.
    #[cold]
    #[inline(never)]
    fn one_block(&mut self, vm: &mut Vm, block: &Block, step: bool) -> Option<Exit> {
        let mut entered = block;
        if entered.count > vm.budget || entered.count > 1 {
            let most = if step {
                1
            } else {
                vm.budget.min(u64::from(LONGEST)) as u16
            };
            match decode::translate(vm.mem, vm.rip, vm.privilege, most, self.options) {
                Ok(parts) => entered = self.cache.insert_scratch(vm.jumps, parts),
                Err(fault) => return Some(fault_exit(fault, false)),
            }
        }
        vm.block = entered;
        vm.budget -= entered.count;
        if step {
            // Nothing may be entered behind the one instruction.
            vm.generation = 0;
        }
        let first = entered.first;
        vm.execute(first);
        if let Stop::Exit(_) = vm.stop {
            return Some(self.exit(vm));
        }
        if step {
            vm.cpu.dr[6] |= 1 << 14;
            return Some(Exit::Exception {
                vector: vector_number::DEBUG,
                error: 0,
                cr2: 0,
            });
        }
        None
    }

    /// Whether [`Self::renew`] has something to do.
    #[inline(always)]
    fn outdated(&self, vm: &Vm) -> bool {
        let different = deciding(vm.cpu)
            .iter()
            .zip(&self.decided)
            .fold(0, |different, (now, then)| different | (now ^ then));
        different != 0
            || vm.mem.code_written()
            || vm.mem.context_key() != self.context_key
            || self.cache.crowded()
    }

    /// Takes note of what happened to memory and to the processor's mode. Gives whether blocks were dropped.
    #[cold]
    #[inline(never)]
    fn renew(&mut self, vm: &mut Vm) -> bool {
        if vm.mem.code_written() {
            for pfn in vm.mem.take_code_writes() {
                self.cache.forget_frame(pfn);
                if self.tables.contains(&pfn) {
                    self.tables.clear();
                    self.generation += 1;
                }
            }
        }
        let deciding = deciding(vm.cpu);
        self.decided = deciding;
        let context = (vm.cpu.context(), Some(vm.privilege));
        vm.mem.set_context(context.0);
        if self.context != context {
            self.context = context;
            self.context_key = context.0.key();
            self.generation += 1;
        }
        let no_sse = unavailable(vm.cpu.cr0, vm.cpu.cr4);
        let stale = no_sse != self.options.no_sse || self.cache.crowded();
        if stale {
            self.options.no_sse = no_sse;
            self.cache.clear(vm.jumps);
        }
        stale
    }

    /// The block at [`Vm::rip`].
    #[inline(never)]
    fn block(&mut self, vm: &mut Vm) -> Result<*const Block, Fault> {
        let rip = vm.rip;
        let known = vm.jumps.find(rip);
        // SAFETY: the cache of jumps holds blocks that live, or its sentinel.
        if unsafe { &*known }.current(self.generation) {
            return Ok(known);
        }
        let mut byte = [0];
        let pfn = vm.mem.fetch(rip, &mut byte, vm.privilege)?.pfn;
        let valid = match self.cache.find(rip, pfn).map(Block::frames) {
            None => false,
            Some((_, None)) => true,
            Some((_, Some(next))) => {
                let page = (rip & !0xfff).wrapping_add(0x1000);
                vm.mem
                    .fetch(page, &mut byte, vm.privilege)
                    .is_ok_and(|fetched| fetched.pfn == next)
            }
        };
        self.watch_tables(vm);
        if !valid {
            self.cache.forget(rip, pfn);
            let parts = decode::translate(vm.mem, rip, vm.privilege, LONGEST, self.options)?;
            vm.mem.watch_code(parts.pfn);
            if let Some(next) = parts.next_pfn {
                vm.mem.watch_code(next);
            }
            self.cache.insert(vm.jumps, parts);
        }
        let Some(block) = self.cache.find(rip, pfn) else {
            // The mapping can't have changed since the fetch above.
            return Err(Fault::NonCanonical {
                va: rip,
                access: Access::Execute,
            });
        };
        block.confirm(self.generation);
        vm.jumps.remember(block);
        Ok(block)
    }

    /// Asks to be told when a page table on the way to the code at [`Vm::rip`] is written.
    fn watch_tables(&mut self, vm: &mut Vm) {
        for va in [vm.rip, (vm.rip | 0xfff).wrapping_add(1)] {
            for pfn in table_frames(vm.mem, vm.cpu.cr3, va).into_iter().flatten() {
                if !self.tables.contains(&pfn) {
                    self.tables.push(pfn);
                    vm.mem.watch_code(pfn);
                }
            }
        }
    }

    /// Completes an exit with what only the run loop knows.
    #[inline(never)]
    fn exit(&self, vm: &mut Vm) -> Exit {
        let Stop::Exit(exit) = std::mem::replace(&mut vm.stop, Stop::Lookup(std::ptr::null()))
        else {
            return Exit::Limit;
        };
        if self.options.log && !matches!(exit, Exit::Halt | Exit::IrqlLowered { .. }) {
            vm.recorder.retract(vm.until - vm.budget);
        }
        match exit {
            Exit::NotModelled { rip, .. } => {
                let (text, bytes, len) = match decode::inspect(vm.mem, rip, vm.privilege) {
                    Some((instruction, bytes)) => {
                        let mut text = String::new();
                        NasmFormatter::new().format(&instruction, &mut text);
                        (text, bytes, instruction.len() as u8)
                    }
                    None => (String::from("unreadable"), [0; 15], 0),
                };
                Exit::NotModelled {
                    rip,
                    bytes,
                    len,
                    text,
                }
            }
            Exit::Device { pa, access, .. } => {
                let inspected = decode::inspect(vm.mem, vm.rip, vm.privilege);
                let (size, read_write) = inspected.map_or((0, false), |(instruction, _)| {
                    (
                        instruction.memory_size().size().min(64) as u8,
                        decode::reads_and_writes(&instruction),
                    )
                });
                Exit::Device {
                    pa,
                    access,
                    size,
                    read_write,
                }
            }
            exit => exit,
        }
    }
}
