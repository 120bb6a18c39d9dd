//! Threads: a stack of host frames over a guest stack.

use ring3_memory::Gva;

use super::context::ThreadContext;
use super::wait::Wait;
use crate::flow::Kont;
use crate::layout::{EPROCESS, ETHREAD};

/// Number of a thread in this machine.
#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ThreadId(pub u32);

/// Number of a process in this machine.
#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ProcessId(pub u32);

impl ThreadId {
    /// The thread id that the guest sees; multiples of four as on Windows.
    #[must_use]
    pub const fn guest(self) -> u64 {
        0x1000 + 4 * self.0 as u64
    }
}

impl ProcessId {
    /// The System process.
    pub const SYSTEM: Self = Self(0);

    /// The process id that the guest sees: 4 for System.
    #[must_use]
    pub const fn guest(self) -> u64 {
        if self.0 == 0 {
            4
        } else {
            0x200 + 4 * self.0 as u64
        }
    }
}

/// A suspended host routine on a thread.
#[derive(Clone, Hash, Debug)]
pub struct Frame {
    /// How it goes on.
    pub kont: Kont,
    /// Where its return address lies on the guest stack.
    pub rsp: u64,
    /// The stub in whose name it runs.
    pub stub: u64,
    /// The traced export that it answers, if its return is to be traced.
    pub export: Option<u32>,
}

/// Bytes of guest stack below a host frame's return address: home space and eight stack arguments,
/// and what keeps the stack aligned to 16.
pub const HOST_FRAME: u64 = 0x68;

/// What a thread is doing.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub enum ThreadState {
    /// Could run.
    Ready,
    /// Runs on this processor.
    Running(usize),
    /// Blocked since the given wait number.
    Waiting(Wait, u64),
    /// Over.
    Terminated,
}

/// A wait that goes on after an APC.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct InterruptedWait {
    /// The wait.
    pub wait: Wait,
    /// Its result, if its condition came true meanwhile.
    pub result: Option<u64>,
}

/// A thread.
#[derive(Clone, Hash, Debug)]
pub struct Thread {
    /// Number.
    pub id: ThreadId,
    /// The thread object in guest memory.
    pub object: Gva<ETHREAD>,
    /// Its process.
    pub process: ProcessId,
    /// The process whose address space it uses; differs while attached.
    pub attached: Vec<ProcessId>,
    /// Name for traces.
    pub name: String,
    /// Suspended host routines, outermost first.
    pub frames: Vec<Frame>,
    /// Registers while it does not run.
    pub context: Box<ThreadContext>,
    /// What it does.
    pub state: ThreadState,
    /// 0 to 31.
    pub priority: u8,
    /// What `KeSetPriorityThread` or the process gives, without boosts.
    pub base_priority: u8,
    /// How much of `priority` is a boost that decays: `KTHREAD.PriorityDecrement`.
    pub boost: u8,
    /// Whether kernel APCs are queued: `KTHREAD.ApcState.KernelApcPending`.
    pub apc_pending: bool,
    /// Set while the thread is on its way from a wait to an APC.
    pub apc_wake: bool,
    /// Whether user APCs are to be delivered on the way to user mode.
    pub user_apc: bool,
    /// Waits that APCs have interrupted, innermost last.
    pub interrupted: Vec<InterruptedWait>,
    /// Where a wait that keeps the dispatcher locked (`Wait` argument TRUE) goes back to.
    pub wait_next: Option<u8>,
    /// Lowest usable address of the kernel stack.
    pub stack_limit: u64,
    /// Address above the kernel stack.
    pub stack_base: u64,
    /// The processors it may run on.
    pub affinity: u64,
    /// When it became ready, for first come first served.
    pub ready_since: u64,
    /// True for threads that serve user-mode requests of a workload.
    pub user: bool,
    /// 1 while a user-mode request is served, as `KTHREAD.PreviousMode`.
    pub previous_mode: u8,
}

impl Thread {
    /// The process whose address space is in use.
    #[must_use]
    pub fn space(&self) -> ProcessId {
        self.attached.last().copied().unwrap_or(self.process)
    }
}

/// A process.
#[derive(Clone, Hash, Debug)]
pub struct Process {
    /// Number.
    pub id: ProcessId,
    /// The process object in guest memory.
    pub object: Gva<EPROCESS>,
    /// Its page tables.
    pub cr3: u64,
    /// Image name.
    pub name: String,
    /// Whether it has been ended.
    pub exited: bool,
}
