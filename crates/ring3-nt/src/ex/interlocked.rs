//! Lists and numbers under a spin lock. Documentation: wdm.h, "ExInterlocked" routines.
//!
//! On Windows these raise to HIGH_LEVEL and take the lock for a few instructions. Here a routine is
//! one step that nothing interrupts, so that the lock is only looked at: if it is held, the processor
//! spins until it is free.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::flow::{Flow, Kont, Until};
use crate::layout::{LIST_ENTRY, SINGLE_LIST_ENTRY};

/// What to do under the lock.
#[derive(Clone, Copy, Hash, Debug)]
enum Operation {
    InsertHead(Gva<LIST_ENTRY>, Gva<LIST_ENTRY>),
    InsertTail(Gva<LIST_ENTRY>, Gva<LIST_ENTRY>),
    RemoveHead(Gva<LIST_ENTRY>),
    Push(Gva<SINGLE_LIST_ENTRY>, Gva<SINGLE_LIST_ENTRY>),
    Pop(Gva<SINGLE_LIST_ENTRY>),
    Add32(Gva<u32>, u32),
    Add64(Gva<u64>, u64),
}

/// Links an entry between two neighbours.
fn link(
    cx: &mut Machine,
    before: Gva<LIST_ENTRY>,
    entry: Gva<LIST_ENTRY>,
    after: Gva<LIST_ENTRY>,
) -> Result<(), Fault> {
    cx.memory.set(entry, LIST_ENTRY::Flink, after)?;
    cx.memory.set(entry, LIST_ENTRY::Blink, before)?;
    cx.memory.set(before, LIST_ENTRY::Flink, entry)?;
    cx.memory.set(after, LIST_ENTRY::Blink, entry)
}

/// NULL for the head of an empty list, as the routines return it.
fn unless(entry: Gva<LIST_ENTRY>, head: Gva<LIST_ENTRY>) -> Gva<LIST_ENTRY> {
    if entry == head { Gva::NULL } else { entry }
}

/// `FAST_FAIL_CORRUPT_LIST_ENTRY` as KERNEL_SECURITY_CHECK_FAILURE, unless the neighbours agree.
fn corrupt(
    cx: &Machine,
    before: Gva<LIST_ENTRY>,
    after: Gva<LIST_ENTRY>,
) -> Result<Option<Flow>, Fault> {
    let agree = cx.memory.get(before, LIST_ENTRY::Flink)? == after
        && cx.memory.get(after, LIST_ENTRY::Blink)? == before;
    Ok((!agree).then_some(Flow::Bugcheck(0x139, [3, 0, 0, 0])))
}

fn perform(cx: &mut Machine, operation: Operation) -> Result<Flow, Fault> {
    let result = match operation {
        Operation::InsertHead(head, entry) => {
            let first = cx.memory.get(head, LIST_ENTRY::Flink)?;
            if let Some(flow) = corrupt(cx, head, first)? {
                return Ok(flow);
            }
            link(cx, head, entry, first)?;
            unless(first, head).raw()
        }
        Operation::InsertTail(head, entry) => {
            let last = cx.memory.get(head, LIST_ENTRY::Blink)?;
            if let Some(flow) = corrupt(cx, last, head)? {
                return Ok(flow);
            }
            link(cx, last, entry, head)?;
            unless(last, head).raw()
        }
        Operation::RemoveHead(head) => {
            let first = cx.memory.get(head, LIST_ENTRY::Flink)?;
            if first != head {
                let next = cx.memory.get(first, LIST_ENTRY::Flink)?;
                for (before, after) in [(head, first), (first, next)] {
                    if let Some(flow) = corrupt(cx, before, after)? {
                        return Ok(flow);
                    }
                }
                cx.memory.set(head, LIST_ENTRY::Flink, next)?;
                cx.memory.set(next, LIST_ENTRY::Blink, head)?;
            }
            unless(first, head).raw()
        }
        Operation::Push(head, entry) => {
            let first = cx.memory.get(head, SINGLE_LIST_ENTRY::Next)?;
            cx.memory.set(entry, SINGLE_LIST_ENTRY::Next, first)?;
            cx.memory.set(head, SINGLE_LIST_ENTRY::Next, entry)?;
            first.raw()
        }
        Operation::Pop(head) => {
            let first = cx.memory.get(head, SINGLE_LIST_ENTRY::Next)?;
            if !first.is_null() {
                let next = cx.memory.get(first, SINGLE_LIST_ENTRY::Next)?;
                cx.memory.set(head, SINGLE_LIST_ENTRY::Next, next)?;
            }
            first.raw()
        }
        Operation::Add32(at, by) => {
            let before = cx.memory.read(at)?;
            cx.memory.write(at, before.wrapping_add(by))?;
            u64::from(before)
        }
        Operation::Add64(at, by) => {
            let before = cx.memory.read(at)?;
            cx.memory.write(at, before.wrapping_add(by))?;
            before
        }
    };
    Ok(Flow::Return(result))
}

#[resumable]
fn locked(cx: &mut Machine, lock: Gva<u64>, operation: Operation) -> Result<Flow, Fault> {
    while cx.memory.read(lock)? != 0 {
        spin!(Until::Zero(lock));
    }
    perform(cx, operation)
}

fn start(lock: Gva<u64>, operation: Operation) -> Flow {
    let next: Kont = locked(lock, operation);
    Flow::Become(next)
}

/// Interlocked routines with a spin lock.
pub struct Interlocked;

#[exports("ntoskrnl.exe")]
impl Interlocked {
    /// Puts an entry at the head of a list; gives the entry that was first.
    #[page("wdm/nf-wdm-exinterlockedinsertheadlist")]
    #[irql(any)]
    #[returns(Gva)]
    fn ExInterlockedInsertHeadList(
        cx: &mut Machine,
        ListHead: Gva<LIST_ENTRY>,
        ListEntry: Gva<LIST_ENTRY>,
        Lock: Gva<u64>,
    ) -> Flow {
        let _ = &cx;
        start(Lock, Operation::InsertHead(ListHead, ListEntry))
    }

    /// Puts an entry at the end of a list; gives the entry that was last.
    #[page("wdm/nf-wdm-exinterlockedinserttaillist")]
    #[irql(any)]
    #[returns(Gva)]
    fn ExInterlockedInsertTailList(
        cx: &mut Machine,
        ListHead: Gva<LIST_ENTRY>,
        ListEntry: Gva<LIST_ENTRY>,
        Lock: Gva<u64>,
    ) -> Flow {
        let _ = &cx;
        start(Lock, Operation::InsertTail(ListHead, ListEntry))
    }

    /// Takes the first entry of a list.
    #[page("wdm/nf-wdm-exinterlockedremoveheadlist")]
    #[irql(any)]
    #[returns(Gva)]
    fn ExInterlockedRemoveHeadList(
        cx: &mut Machine,
        ListHead: Gva<LIST_ENTRY>,
        Lock: Gva<u64>,
    ) -> Flow {
        let _ = &cx;
        start(Lock, Operation::RemoveHead(ListHead))
    }

    /// Puts an entry on a singly linked list; gives the entry that was first.
    #[page("wdm/nf-wdm-exinterlockedpushentrylist")]
    #[irql(any)]
    #[returns(Gva)]
    fn ExInterlockedPushEntryList(
        cx: &mut Machine,
        ListHead: Gva<SINGLE_LIST_ENTRY>,
        ListEntry: Gva<SINGLE_LIST_ENTRY>,
        Lock: Gva<u64>,
    ) -> Flow {
        let _ = &cx;
        start(Lock, Operation::Push(ListHead, ListEntry))
    }

    /// Takes the first entry of a singly linked list.
    #[page("wdm/nf-wdm-exinterlockedpopentrylist")]
    #[irql(any)]
    #[returns(Gva)]
    fn ExInterlockedPopEntryList(
        cx: &mut Machine,
        ListHead: Gva<SINGLE_LIST_ENTRY>,
        Lock: Gva<u64>,
    ) -> Flow {
        let _ = &cx;
        start(Lock, Operation::Pop(ListHead))
    }

    /// Adds to a number; gives its old value.
    #[page("wdm/nf-wdm-exinterlockedaddulong")]
    #[irql(any)]
    #[returns(u32)]
    fn ExInterlockedAddUlong(
        cx: &mut Machine,
        Addend: Gva<u32>,
        Increment: u32,
        Lock: Gva<u64>,
    ) -> Flow {
        let _ = &cx;
        start(Lock, Operation::Add32(Addend, Increment))
    }

    /// Adds to a 64-bit number; gives its old value.
    #[page("wdm/nf-wdm-exinterlockedaddlargeinteger")]
    #[irql(any)]
    #[returns(i64)]
    fn ExInterlockedAddLargeInteger(
        cx: &mut Machine,
        Addend: Gva<u64>,
        Increment: u64,
        Lock: Gva<u64>,
    ) -> Flow {
        let _ = &cx;
        start(Lock, Operation::Add64(Addend, Increment))
    }
}
