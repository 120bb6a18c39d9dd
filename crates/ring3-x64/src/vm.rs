//! The state of a run, as the handlers see it.

use ring3_memory::{Access, Fault, Memory, Privilege, Scalar, is_canonical};

use crate::block::{Block, Jumps, Link};
use crate::cpu::Cpu;
use crate::exit::{Exit, vector_number};
use crate::flags::Flags;
use crate::op::{FLAT, Next, Op, STACK};
use crate::record::Recorder;
use crate::width::{FS_BASE, GS_BASE, Registers, operand, slot};

/// Why the loop over ops was left.
pub(crate) enum Stop {
    /// To find the block at [`Vm::rip`] and to remember it in this link, if there is one.
    Lookup(*const Link),
    /// For good; [`Vm::rip`] and [`Vm::budget`] are already right.
    Exit(Exit),
}

/// What ends an instruction before it has any effect.
pub(crate) enum Trap {
    /// A memory access.
    Fault(Fault),
    /// A memory access to the stack.
    StackFault(Fault),
    /// An exception with its error code.
    Exception(u8, u32),
    /// Something for the host.
    Exit(Exit),
}

impl From<Fault> for Trap {
    fn from(fault: Fault) -> Self {
        Trap::Fault(fault)
    }
}

/// #GP(0).
pub(crate) const GP: Trap = Trap::Exception(vector_number::GENERAL_PROTECTION, 0);
/// #UD.
pub(crate) const UD: Trap = Trap::Exception(vector_number::INVALID_OPCODE, 0);

/// One run of a processor.
pub(crate) struct Vm<'a> {
    /// General registers and the slots behind them.
    pub regs: Registers,
    /// Status flags. The other bits of RFLAGS are in `cpu`.
    pub flags: Flags,
    /// Instructions that may still be started; those of the block that executes are already taken off.
    pub budget: u64,
    /// The block that executes.
    pub block: *const Block,
    /// Blocks of another generation must be looked up.
    pub generation: u64,
    pub privilege: Privilege,
    pub mem: &'a mut Memory,
    pub jumps: &'a Jumps,
    /// Everything that is not in the fields above.
    pub cpu: &'a mut Cpu,
    pub recorder: &'a mut Recorder,
    /// Address of the next instruction, once the loop was left.
    pub rip: u64,
    pub stop: Stop,
    /// The count at which the budget is used up.
    pub until: u64,
}

impl Vm<'_> {
    /// The block that executes.
    #[inline(always)]
    pub fn block(&self) -> &Block {
        // SAFETY: `block` is set only to blocks of the cache (or its sentinel), whose blocks live until it is
        // cleared; the run loop clears it only while no op executes.
        unsafe { &*self.block }
    }

    /// The address of an op's memory operand.
    #[inline(always)]
    pub fn address(&self, op: &Op) -> u64 {
        slot(&self.regs, op.base)
            .wrapping_add(slot(&self.regs, op.index).wrapping_shl(u32::from(op.scale)))
            .wrapping_add(op.disp)
    }

    /// The same for an op whose handler has `FROM`: `BASE` is the operand that the base is, 0 for none.
    #[inline(always)]
    pub fn address_from<const FROM: u8, const BASE: u8>(&self, op: &Op, held: u64) -> u64 {
        let base = operand::<u64, FROM, BASE>(&self.regs, op.base, held).wrapping_add(op.disp);
        if FROM & FLAT != 0 {
            base
        } else {
            base.wrapping_add(slot(&self.regs, op.index).wrapping_shl(u32::from(op.scale)))
        }
    }

    /// Address of the instruction that an op belongs to.
    pub fn rip_of(&self, op: &Op) -> u64 {
        self.block().rip.wrapping_add(u64::from(op.offset))
    }

    /// Address behind the instruction that an op belongs to.
    pub fn next_rip(&self, op: &Op) -> u64 {
        self.rip_of(op).wrapping_add(u64::from(op.length))
    }

    /// Instructions retired before the one that an op belongs to.
    pub fn icount(&self, op: &Op) -> u64 {
        self.until
            .wrapping_sub(self.budget)
            .wrapping_sub(u64::from(op.left))
    }

    /// Enters a block if it fits.
    #[inline(always)]
    fn enter(&mut self, block: *const Block) -> Option<Next> {
        // SAFETY: links and the jump cache hold blocks of the cache or its sentinel; see `block`.
        let next = unsafe { &*block };
        if next.count <= self.budget && next.current(self.generation) {
            self.budget -= next.count;
            self.block = block;
            return Some(next.first);
        }
        None
    }

    /// Leaves the block through a direct exit.
    #[inline(always)]
    pub fn follow<const EXIT: usize>(&mut self) -> Next {
        let link: *const Link = &raw const self.block().links[EXIT];
        let block = self.block().links[EXIT].block();
        match self.enter(block) {
            Some(next) => next,
            None => self.unlinked(link),
        }
    }

    #[cold]
    #[inline(never)]
    fn unlinked(&mut self, link: *const Link) -> Next {
        // SAFETY: the link is part of the executing block; see `block`.
        self.rip = unsafe { &*link }.target;
        self.stop = Stop::Lookup(link);
        std::ptr::null()
    }

    /// Leaves the block for an address that was computed.
    #[inline(always)]
    pub fn jump(&mut self, target: u64) -> Next {
        let block = self.jumps.find(target);
        match self.enter(block) {
            Some(next) => next,
            None => self.lookup(target),
        }
    }

    /// Leaves the block for `target`, by way of the run loop.
    #[cold]
    #[inline(never)]
    pub fn lookup(&mut self, target: u64) -> Next {
        self.rip = target;
        self.stop = Stop::Lookup(std::ptr::null());
        std::ptr::null()
    }

    /// Goes on behind an op that has stored something.
    #[inline(always)]
    pub fn stored(&mut self, op: &Op) -> Next {
        if self.mem.code_written() {
            return self.leave_behind(op);
        }
        op.next()
    }

    /// Leaves the block behind the instruction of this op: what follows may have changed.
    #[cold]
    #[inline(never)]
    pub fn leave_behind(&mut self, op: &Op) -> Next {
        self.budget += u64::from(op.left) - 1;
        self.lookup(self.next_rip(op))
    }

    /// Leaves the block before the instruction of this op.
    pub fn leave_at(&mut self, op: &Op) {
        self.budget += u64::from(op.left);
        self.rip = self.rip_of(op);
    }

    /// Ends the run behind the instruction of this op.
    #[cold]
    #[inline(never)]
    pub fn exit_behind(&mut self, op: &Op, exit: Exit) -> Next {
        self.leave_behind(op);
        self.stop = Stop::Exit(exit);
        std::ptr::null()
    }

    /// Ends the run at the instruction of this op, before any effect.
    #[cold]
    #[inline(never)]
    pub fn trap(&mut self, op: &Op, trap: Trap) -> Next {
        self.leave_at(op);
        let stack = op.marks & STACK != 0;
        self.stop = Stop::Exit(match trap {
            Trap::Fault(fault) => fault_exit(fault, stack),
            Trap::StackFault(fault) => fault_exit(fault, true),
            Trap::Exception(vector, error) => Exit::Exception {
                vector,
                error,
                cr2: 0,
            },
            Trap::Exit(exit) => exit,
        });
        std::ptr::null()
    }

    /// Ends the run because a memory operand can't be accessed.
    #[cold]
    #[inline(never)]
    pub fn fault(&mut self, op: &Op, fault: Fault) -> Next {
        self.trap(op, Trap::Fault(fault))
    }

    /// Ends the run because the stack can't be accessed.
    #[cold]
    #[inline(never)]
    pub fn stack_fault(&mut self, op: &Op, fault: Fault) -> Next {
        self.trap(op, Trap::StackFault(fault))
    }

    /// Takes the segment bases from the processor's state.
    pub fn load_bases(&mut self) {
        self.regs[usize::from(GS_BASE)] = self.cpu.gs_base;
        self.regs[usize::from(FS_BASE)] = self.cpu.fs_base;
    }

    /// Takes the privilege and the translation from the processor's state, after they may have changed.
    pub fn load_context(&mut self) {
        self.privilege = self.cpu.privilege();
        self.mem.set_context(self.cpu.context());
    }

    /// Executes ops until one has none behind it.
    #[inline(always)]
    pub fn execute(&mut self, mut next: Next) {
        while !next.is_null() {
            // SAFETY: handlers return null, the first op of a block of the cache, or the op behind the one they
            // were given, which exists because the last op of a block always leaves it. Blocks live while ops execute.
            let op = unsafe { &*next };
            next = (op.handler)(self, op, 0);
        }
    }
}

/// The exit for a failed access.
pub(crate) fn fault_exit(fault: Fault, stack: bool) -> Exit {
    match fault {
        Fault::Page { va, .. } => Exit::Exception {
            vector: vector_number::PAGE_FAULT,
            error: fault.error_code(),
            cr2: va,
        },
        Fault::NonCanonical { .. } => {
            let vector = if stack {
                vector_number::STACK
            } else {
                vector_number::GENERAL_PROTECTION
            };
            Exit::Exception {
                vector,
                error: 0,
                cr2: 0,
            }
        }
        Fault::Device { pa, access } => Exit::Device {
            pa,
            access,
            size: 0,
            read_write: false,
        },
        Fault::Shadow(hit) => Exit::Shadow(hit),
    }
}

/// Whether a branch to `target` is possible; if not it is #GP(0) at the branch (Intel SDM volume 2, JMP).
#[inline(always)]
pub(crate) fn reachable(target: u64) -> bool {
    is_canonical(target)
}

/// Loads a memory operand and does the rest of an op with it. The way past the TLB is a function of its own, so that
/// the handler needs no stack.
#[inline(always)]
pub(crate) fn with_load<T: Scalar, const STACK: bool>(
    vm: &mut Vm,
    op: &Op,
    va: u64,
    held: u64,
    rest: impl FnOnce(&mut Vm, &Op, T, u64) -> Next,
) -> Next {
    match vm.mem.try_load::<T>(va, vm.privilege) {
        Some(value) => rest(vm, op, value, held),
        None => load_slowly::<T, STACK>(vm, op, va, held, rest),
    }
}

#[cold]
#[inline(never)]
fn load_slowly<T: Scalar, const STACK: bool>(
    vm: &mut Vm,
    op: &Op,
    va: u64,
    held: u64,
    rest: impl FnOnce(&mut Vm, &Op, T, u64) -> Next,
) -> Next {
    match vm.mem.load::<T>(va, vm.privilege) {
        Ok(value) => rest(vm, op, value, held),
        Err(fault) if STACK => vm.stack_fault(op, fault),
        Err(fault) => vm.fault(op, fault),
    }
}

/// Stores a memory operand, then does what else an op does, then goes on.
#[inline(always)]
pub(crate) fn with_store<T: Scalar, const STACK: bool>(
    vm: &mut Vm,
    op: &Op,
    va: u64,
    value: T,
    held: u64,
    effects: impl FnOnce(&mut Vm),
) -> Next {
    if vm.mem.try_store::<T>(va, value, vm.privilege) {
        effects(vm);
        return op.then(vm, held);
    }
    store_slowly::<T, STACK>(vm, op, va, value, held, effects)
}

#[cold]
#[inline(never)]
fn store_slowly<T: Scalar, const STACK: bool>(
    vm: &mut Vm,
    op: &Op,
    va: u64,
    value: T,
    held: u64,
    effects: impl FnOnce(&mut Vm),
) -> Next {
    if let Err(fault) = vm.mem.store::<T>(va, value, vm.privilege) {
        return if STACK {
            vm.stack_fault(op, fault)
        } else {
            vm.fault(op, fault)
        };
    }
    effects(vm);
    if vm.mem.code_written() {
        return vm.leave_behind(op);
    }
    op.then(vm, held)
}

/// An access of `T` that fails the handler.
macro_rules! load {
    ($vm:ident, $op:ident, $width:ty, $va:expr) => {{
        let va = $va;
        match $vm.mem.load::<$width>(va, $vm.privilege) {
            Ok(value) => value,
            Err(fault) => return $vm.fault($op, fault),
        }
    }};
}

/// A store of `T` that fails the handler.
macro_rules! store {
    ($vm:ident, $op:ident, $width:ty, $va:expr, $value:expr) => {{
        let (va, value) = ($va, $value);
        if let Err(fault) = $vm.mem.store::<$width>(va, value, $vm.privilege) {
            return $vm.fault($op, fault);
        }
    }};
}

/// The kind of access that a record shows.
pub(crate) const fn access(write: bool) -> Access {
    if write { Access::Write } else { Access::Read }
}

pub(crate) use {load, store};
