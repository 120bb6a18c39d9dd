//! Priorities, boosts and affinity of threads. Documentation: wdm.h, ntddk.h, ntifs.h, "Thread Scheduling
//! Priorities".

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::level::active_mask;
use crate::Machine;
use crate::layout::{GROUP_AFFINITY, KPROCESS, KTHREAD};
use crate::machine::thread::{ThreadId, ThreadState};

/// `LOW_REALTIME_PRIORITY`: from here on priorities are neither boosted nor decay.
const LOW_REALTIME_PRIORITY: u8 = 16;
/// `HIGH_PRIORITY`.
const HIGH_PRIORITY: i32 = 31;

impl Machine {
    /// Sets the priority that a thread runs at; `KTHREAD` shows it.
    pub(crate) fn set_running_priority(&mut self, id: ThreadId, priority: u8, boost: u8) {
        let thread = self.thread_by_mut(id);
        thread.priority = priority;
        thread.boost = boost;
        let object = thread.object.cast::<KTHREAD>();
        let m = &mut self.memory;
        let _ = m.set(object, KTHREAD::Priority, priority as i8);
        let _ = m.set(object, KTHREAD::PriorityDecrement, boost as i8);
    }

    /// Raises the priority of a thread whose wait is satisfied: the increment is added to the priority
    /// without boosts, never beyond the variable range, and decays by one at each end of a quantum.
    pub(crate) fn boost(&mut self, id: ThreadId, increment: i32) {
        let thread = self.thread_by(id);
        if increment <= 0 || thread.priority >= LOW_REALTIME_PRIORITY {
            return;
        }
        let plain = thread.priority - thread.boost;
        let boosted = i32::from(plain)
            .saturating_add(increment)
            .clamp(0, i32::from(LOW_REALTIME_PRIORITY) - 1) as u8;
        if boosted > thread.priority {
            self.set_running_priority(id, boosted, boosted - plain);
        }
    }

    /// The end of a quantum: one step of a boost is gone.
    pub(crate) fn decay_boost(&mut self, id: ThreadId) {
        let thread = self.thread_by(id);
        if thread.boost > 0 {
            self.set_running_priority(id, thread.priority - 1, thread.boost - 1);
        }
    }
}

/// The thread of an object, and its priority in use.
fn find(cx: &Machine, thread: Gva<KTHREAD>) -> Option<(ThreadId, u8)> {
    let found = cx.thread_of_object(thread.raw())?;
    Some((found.id, found.priority))
}

/// After a thread's own priority has dropped, a better one takes its processor.
fn reconsider(cx: &mut Machine, id: ThreadId, before: u8) {
    let thread = cx.thread_by(id);
    if let ThreadState::Running(n) = thread.state
        && thread.priority < before
        && let Some(processor) = cx.processors.get_mut(n)
    {
        processor.quantum_end = 0;
    }
}

/// A mask without an active processor changes nothing, as on Windows.
fn set_affinity(cx: &mut Machine, mask: u64) {
    let mask = mask & active_mask(cx);
    if mask == 0 {
        return;
    }
    apply_affinity(cx, mask, true);
}

/// The affinity is in force at once, or when the IRQL is below DISPATCH_LEVEL again.
fn apply_affinity(cx: &mut Machine, mask: u64, system: bool) {
    cx.thread_mut().affinity = if system { mask } else { u64::MAX };
    let thread = cx.thread().object.cast::<KTHREAD>();
    let field = thread.at(KTHREAD::Affinity);
    let _ = cx.memory.set(field, GROUP_AFFINITY::Mask, mask);
    let _ = KTHREAD::SystemAffinityActive.write(&mut cx.memory, thread, u64::from(system));
    if mask >> cx.current & 1 == 0 {
        cx.yield_processor();
    }
}

fn revert(cx: &mut Machine) {
    let all = active_mask(cx);
    apply_affinity(cx, all, false);
}

/// The system affinity in force; 0 for none.
fn system_affinity(cx: &Machine) -> u64 {
    match cx.thread().affinity {
        u64::MAX => 0,
        mask => mask,
    }
}

/// Routines on priorities and affinity.
pub struct Priorities;

#[exports("ntoskrnl.exe")]
impl Priorities {
    /// Sets the priority of a thread; gives the old one.
    #[page("wdm/nf-wdm-kesetprioritythread")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeSetPriorityThread(
        cx: &mut Machine,
        Thread: Gva<KTHREAD>,
        Priority: i32,
    ) -> Result<i32, Fault> {
        cx.memory.get(Thread, KTHREAD::Priority)?;
        let Some((id, before)) = find(cx, Thread) else {
            return Ok(0);
        };
        let priority = Priority.clamp(1, HIGH_PRIORITY) as u8;
        cx.set_running_priority(id, priority, 0);
        reconsider(cx, id, before);
        Ok(i32::from(before))
    }

    /// The priority at which a thread runs.
    #[page("ntddk/nf-ntddk-kequeryprioritythread")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeQueryPriorityThread(cx: &mut Machine, Thread: Gva<KTHREAD>) -> Result<i32, Fault> {
        let priority: i8 = cx.memory.get(Thread, KTHREAD::Priority)?;
        Ok(i32::from(priority))
    }

    /// Sets the base priority of a thread relative to its process; gives the old increment.
    #[page("ntifs/nf-ntifs-kesetbaseprioritythread")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeSetBasePriorityThread(
        cx: &mut Machine,
        Thread: Gva<KTHREAD>,
        Increment: i32,
    ) -> Result<i32, Fault> {
        /// From this increment on the base priority saturates.
        const SATURATION: i32 = 16;
        let process = cx.memory.get(Thread, KTHREAD::Process)?;
        let of_process = process_base(cx, process);
        let Some((id, before)) = find(cx, Thread) else {
            return Ok(0);
        };
        let old = i32::from(cx.thread_by(id).base_priority) - of_process;
        let realtime = of_process >= i32::from(LOW_REALTIME_PRIORITY);
        let range = if realtime { 16..=31 } else { 1..=15 };
        let base = match Increment {
            SATURATION.. => *range.end(),
            i32::MIN..=-16 => *range.start(),
            _ => (of_process + Increment).clamp(*range.start(), *range.end()),
        };
        cx.memory.set(Thread, KTHREAD::BasePriority, base as i8)?;
        cx.thread_by_mut(id).base_priority = base as u8;
        cx.set_running_priority(id, base as u8, 0);
        reconsider(cx, id, before);
        Ok(old)
    }

    /// Lets the current thread run on these processors only.
    #[page("ntddk/nf-ntddk-kesetsystemaffinitythread")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeSetSystemAffinityThread(cx: &mut Machine, Affinity: u64) {
        set_affinity(cx, Affinity);
    }

    /// Lets the current thread run on these processors only; gives the mask to go back to.
    #[page("ntddk/nf-ntddk-kesetsystemaffinitythreadex")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeSetSystemAffinityThreadEx(cx: &mut Machine, Affinity: u64) -> u64 {
        let before = system_affinity(cx);
        set_affinity(cx, Affinity);
        before
    }

    /// Ends KeSetSystemAffinityThread.
    #[page("ntddk/nf-ntddk-kereverttouseraffinitythread")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeRevertToUserAffinityThread(cx: &mut Machine) {
        revert(cx);
    }

    /// Ends KeSetSystemAffinityThreadEx.
    #[page("ntddk/nf-ntddk-kereverttouseraffinitythreadex")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeRevertToUserAffinityThreadEx(cx: &mut Machine, Affinity: u64) {
        if Affinity & active_mask(cx) == 0 {
            revert(cx);
        } else {
            set_affinity(cx, Affinity);
        }
    }

    /// Lets the current thread run on these processors of a group only.
    #[page("wdm/nf-wdm-kesetsystemgroupaffinitythread")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeSetSystemGroupAffinityThread(
        cx: &mut Machine,
        Affinity: Gva<GROUP_AFFINITY>,
        PreviousAffinity: Gva<GROUP_AFFINITY>,
    ) -> Result<(), Fault> {
        let mask = cx.memory.get(Affinity, GROUP_AFFINITY::Mask)?;
        let group = cx.memory.get(Affinity, GROUP_AFFINITY::Group)?;
        // Group 0 is the only one; a mask with inactive processors is not valid.
        let valid = group == 0 && mask != 0 && mask & !active_mask(cx) == 0;
        if !PreviousAffinity.is_null() {
            let before = if valid { system_affinity(cx) } else { 0 };
            cx.memory.fill(PreviousAffinity, GROUP_AFFINITY::SIZE, 0)?;
            cx.memory
                .set(PreviousAffinity, GROUP_AFFINITY::Mask, before)?;
        }
        if valid {
            set_affinity(cx, mask);
        }
        Ok(())
    }

    /// Ends KeSetSystemGroupAffinityThread.
    #[page("wdm/nf-wdm-kereverttousergroupaffinitythread")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeRevertToUserGroupAffinityThread(
        cx: &mut Machine,
        PreviousAffinity: Gva<GROUP_AFFINITY>,
    ) -> Result<(), Fault> {
        let mask = cx.memory.get(PreviousAffinity, GROUP_AFFINITY::Mask)?;
        if mask == 0 {
            revert(cx);
        } else {
            set_affinity(cx, mask);
        }
        Ok(())
    }
}

/// `KPROCESS.BasePriority`.
fn process_base(cx: &Machine, process: Gva<KPROCESS>) -> i32 {
    let base: i8 = cx.memory.get(process, KPROCESS::BasePriority).unwrap_or(8);
    i32::from(base)
}
