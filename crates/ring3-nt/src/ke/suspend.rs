//! Suspension of threads: a normal kernel APC in which the thread waits until it is resumed.
//!
//! So a thread in a critical region, or at APC_LEVEL, goes on until it has left that: "Critical Regions
//! and Guarded Regions".

use ring3_memory::Gva;

use super::apc;
use crate::Machine;
use crate::flow::Key;
use crate::layout::{KAPC, KTHREAD};
use crate::machine::thread::{ProcessId, ThreadId, ThreadState};
use crate::ntstatus::{
    NTSTATUS, STATUS_SUCCESS, STATUS_SUSPEND_COUNT_EXCEEDED, STATUS_THREAD_IS_TERMINATING,
};

/// `MAXIMUM_SUSPEND_COUNT` of winnt.h.
const MAXIMUM_SUSPEND_COUNT: i8 = 127;
/// `ApcObject` of the KOBJECTS enumeration.
pub const APC_OBJECT: u8 = 0x12;

/// Whether an APC is the one in its thread object that suspends the current thread.
#[must_use]
pub fn is_scheduler_apc(cx: &Machine, apc: u64) -> bool {
    let thread = cx.thread().object.cast::<KTHREAD>();
    thread.at(KTHREAD::SchedulerApc).raw() == apc
}

fn count(cx: &Machine, thread: ThreadId) -> i8 {
    let object = cx.thread_by(thread).object.cast::<KTHREAD>();
    cx.memory.get(object, KTHREAD::SuspendCount).unwrap_or(0)
}

/// Whether the current thread is to stay where it is.
#[must_use]
pub fn is_suspended(cx: &Machine) -> bool {
    count(cx, cx.thread().id) > 0
}

impl Machine {
    /// Suspends a thread, as `NtSuspendThread` does; it stops when it can get a normal kernel APC. Gives
    /// the previous count.
    ///
    /// # Errors
    /// `STATUS_THREAD_IS_TERMINATING` for a thread that has ended, `STATUS_SUSPEND_COUNT_EXCEEDED` beyond
    /// 127.
    pub fn suspend_thread(&mut self, thread: ThreadId) -> Result<u32, NTSTATUS> {
        let found = self.threads.get(&thread);
        if found.is_none_or(|t| t.state == ThreadState::Terminated) {
            return Err(STATUS_THREAD_IS_TERMINATING);
        }
        let before = count(self, thread);
        if before == MAXIMUM_SUSPEND_COUNT {
            return Err(STATUS_SUSPEND_COUNT_EXCEEDED);
        }
        let object = self.thread_by(thread).object.cast::<KTHREAD>();
        let _ = self.memory.set(object, KTHREAD::SuspendCount, before + 1);
        self.trace.event("suspend", &[u64::from(thread.0)]);
        if before == 0 {
            // The APC shares its place with bytes of the thread that overlay its unused fields.
            let at = object.at(KTHREAD::SchedulerApc);
            let routine = self
                .export_address("ntoskrnl.exe", apc::SCHEDULER_APC)
                .unwrap_or(Gva::NULL);
            let m = &mut self.memory;
            let _ = m.set(at, KAPC::Type, APC_OBJECT);
            let _ = m.set(at, KAPC::Thread, object);
            let _ = m.set(at, KAPC::KernelRoutine, routine.cast());
            let _ = m.set(at, KAPC::NormalRoutine, routine.cast());
            let _ = m.set(at, KAPC::ApcMode, 0i8);
            let _ = apc::insert(self, at, [Gva::NULL; 2], 0);
        }
        Ok(u32::from(before.unsigned_abs()))
    }

    /// Takes one suspension of a thread back; it goes on when the last one is gone. Gives the previous
    /// count.
    pub fn resume_thread(&mut self, thread: ThreadId) -> u32 {
        if !self.threads.contains_key(&thread) {
            return 0;
        }
        let before = count(self, thread);
        if before > 0 {
            let object = self.thread_by(thread).object.cast::<KTHREAD>();
            let _ = self.memory.set(object, KTHREAD::SuspendCount, before - 1);
            self.trace.event("resume", &[u64::from(thread.0)]);
            if before == 1 {
                self.wake(Key::new("suspended", u64::from(thread.0)));
            }
        }
        u32::from(before.unsigned_abs())
    }

    /// The threads of a process that have not ended.
    fn living_threads(&self, process: ProcessId) -> Vec<ThreadId> {
        self.threads
            .values()
            .filter(|t| t.process == process && t.state != ThreadState::Terminated)
            .map(|t| t.id)
            .collect()
    }

    /// Suspends every thread of a process.
    pub fn suspend_process(&mut self, process: ProcessId) -> NTSTATUS {
        for thread in self.living_threads(process) {
            if let Err(status) = self.suspend_thread(thread) {
                return status;
            }
        }
        STATUS_SUCCESS
    }

    /// Resumes every thread of a process.
    pub fn resume_process(&mut self, process: ProcessId) -> NTSTATUS {
        for thread in self.living_threads(process) {
            self.resume_thread(thread);
        }
        STATUS_SUCCESS
    }

    /// Lets suspended threads of a process go on, however often they are suspended: it is ending.
    pub(crate) fn end_suspensions(&mut self, process: ProcessId) {
        for thread in self.living_threads(process) {
            while self.resume_thread(thread) > 1 {}
        }
    }

    /// Whether a thread stands still because it is suspended.
    #[must_use]
    pub fn is_thread_suspended(&self, thread: ThreadId) -> bool {
        matches!(
            self.threads.get(&thread).map(|t| &t.state),
            Some(ThreadState::Waiting(crate::machine::wait::Wait::On(key), _)) if key.class == "suspended"
        )
    }
}
