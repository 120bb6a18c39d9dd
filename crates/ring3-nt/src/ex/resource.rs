//! ERESOURCE: locks for many readers or one writer. Documentation: wdm.h, "Introduction to ERESOURCE
//! Routines".
//!
//! Owners and waiters are kept here, as ownership is handed over by the one who releases; the fields
//! that a dump or a debugger shows are kept up to date in guest memory.

use std::collections::{BTreeMap, VecDeque};

use ring3_macros::resumable;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::flow::{Flow, Key};
use crate::layout::{ERESOURCE, KTHREAD, LIST_ENTRY, OWNER_ENTRY};
use crate::machine::finding::Severity;
use crate::machine::thread::ThreadId;
use crate::machine::wait::Wait;

/// `ResourceOwnedExclusive` in `ERESOURCE.Flag`.
const OWNED_EXCLUSIVE: u16 = 0x80;
/// `RESOURCE_NOT_OWNED`.
const RESOURCE_NOT_OWNED: u32 = 0xe3;

/// How a resource is wanted.
#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Alone.
    Exclusive,
    /// With others; behind waiting writers unless the thread owns it already.
    Shared,
    /// With others; ahead of waiting writers.
    SharedStarveExclusive,
    /// With others; always behind waiting writers.
    SharedWaitForExclusive,
}

/// One resource.
#[derive(Clone, Hash, Debug, Default)]
pub struct Resource {
    /// How often each owner has it; an owner is a thread object or an owner pointer.
    owners: BTreeMap<u64, u32>,
    exclusive: bool,
    waiters: VecDeque<(ThreadId, u64, bool)>,
    /// Who initialised it: a return address.
    creator: u64,
}

impl Resource {
    /// Takes the resource for `owner` if that is possible now.
    fn take(&mut self, owner: u64, mode: Mode) -> bool {
        let own = self.owners.contains_key(&owner);
        let writers_wait = self.waiters.iter().any(|(_, _, exclusive)| *exclusive);
        let free = self.owners.is_empty();
        let can = match mode {
            _ if free => true,
            _ if self.exclusive => own,
            Mode::Exclusive => false,
            Mode::Shared => own || !writers_wait,
            Mode::SharedStarveExclusive => true,
            Mode::SharedWaitForExclusive => !writers_wait,
        };
        if can {
            if free {
                self.exclusive = mode == Mode::Exclusive;
            }
            *self.owners.entry(owner).or_default() += 1;
        }
        can
    }

    /// Gives up one acquisition; `None` if `owner` has none.
    fn give(&mut self, owner: u64) -> Option<Vec<ThreadId>> {
        let count = self.owners.get_mut(&owner)?;
        *count -= 1;
        if *count > 0 {
            return Some(Vec::new());
        }
        self.owners.remove(&owner);
        if !self.owners.is_empty() {
            return Some(Vec::new());
        }
        let was_exclusive = std::mem::take(&mut self.exclusive);
        // Readers follow a writer and a writer follows readers, so that nobody starves.
        let next = self
            .waiters
            .iter()
            .any(|(_, _, exclusive)| *exclusive != was_exclusive);
        let exclusive = if next { !was_exclusive } else { was_exclusive };
        Some(if exclusive {
            self.admit_writer()
        } else {
            self.admit_readers()
        })
    }

    fn admit_writer(&mut self) -> Vec<ThreadId> {
        let Some(at) = self.waiters.iter().position(|(_, _, exclusive)| *exclusive) else {
            return Vec::new();
        };
        let Some((thread, owner, _)) = self.waiters.remove(at) else {
            return Vec::new();
        };
        self.exclusive = true;
        self.owners.insert(owner, 1);
        vec![thread]
    }

    fn admit_readers(&mut self) -> Vec<ThreadId> {
        let (writers, readers) = std::mem::take(&mut self.waiters)
            .into_iter()
            .partition(|(_, _, exclusive)| *exclusive);
        self.waiters = writers;
        let readers: VecDeque<(ThreadId, u64, bool)> = readers;
        for (_, owner, _) in &readers {
            *self.owners.entry(*owner).or_default() += 1;
        }
        readers.into_iter().map(|(thread, _, _)| thread).collect()
    }

    /// Waiters that want it exclusively, or shared.
    #[must_use]
    pub fn waiting(&self, exclusive: bool) -> u32 {
        self.waiters
            .iter()
            .filter(|(_, _, e)| *e == exclusive)
            .count() as u32
    }
}

/// The thread as an owner.
#[must_use]
pub fn current_owner(cx: &Machine) -> u64 {
    cx.thread().object.raw()
}

/// Writes what guest memory shows of a resource.
fn mirror(cx: &mut Machine, at: Gva<ERESOURCE>) -> Result<(), Fault> {
    let Some(resource) = cx.ex.resources.get(&at.raw()).cloned() else {
        return Ok(());
    };
    let (owner, count) = resource
        .owners
        .first_key_value()
        .map_or((0, 0), |(o, c)| (*o, *c));
    let flag = cx.memory.get(at, ERESOURCE::Flag)? & !OWNED_EXCLUSIVE;
    let exclusive = if resource.exclusive {
        OWNED_EXCLUSIVE
    } else {
        0
    };
    cx.memory.set(at, ERESOURCE::Flag, flag | exclusive)?;
    cx.memory.set(
        at,
        ERESOURCE::ActiveCount,
        i16::from(!resource.owners.is_empty()),
    )?;
    cx.memory
        .set(at, ERESOURCE::ActiveEntries, resource.owners.len() as u32)?;
    cx.memory.set(
        at,
        ERESOURCE::NumberOfSharedWaiters,
        resource.waiting(false),
    )?;
    cx.memory.set(
        at,
        ERESOURCE::NumberOfExclusiveWaiters,
        resource.waiting(true),
    )?;
    let entry = at.at(ERESOURCE::OwnerEntry);
    cx.memory.set(entry, OWNER_ENTRY::OwnerThread, owner)?;
    OWNER_ENTRY::OwnerCount.write(&mut cx.memory, entry, u64::from(count))
}

/// Makes a resource.
///
/// # Errors
/// A fault if its memory cannot be written.
pub fn initialize(cx: &mut Machine, at: Gva<ERESOURCE>) -> Result<(), Fault> {
    cx.memory.fill(at, ERESOURCE::SIZE, 0)?;
    let links = at.at(ERESOURCE::SystemResourcesList);
    cx.memory.set(links, LIST_ENTRY::Flink, links)?;
    cx.memory.set(links, LIST_ENTRY::Blink, links)?;
    let creator = cx.caller;
    if cx
        .ex
        .resources
        .insert(
            at.raw(),
            Resource {
                creator,
                ..Resource::default()
            },
        )
        .is_some_and(|r| !r.owners.is_empty())
    {
        let text = format!(
            "the resource {:#x} is initialised while it is owned",
            at.raw()
        );
        cx.report("lock/resource-in-use", Severity::Error, text);
    }
    Ok(())
}

/// Forgets a resource.
pub fn delete(cx: &mut Machine, at: Gva<ERESOURCE>) {
    match cx.ex.resources.remove(&at.raw()) {
        Some(resource) if !resource.owners.is_empty() || !resource.waiters.is_empty() => {
            let text = format!("the resource {:#x} is deleted while it is owned", at.raw());
            cx.report("lock/resource-in-use", Severity::Error, text);
        }
        Some(_) => {}
        None => not_initialized(cx, at),
    }
}

fn not_initialized(cx: &mut Machine, at: Gva<ERESOURCE>) {
    let text = format!("{:#x} is no initialised resource", at.raw());
    cx.report("lock/resource-not-initialised", Severity::Error, text);
}

/// What is wrong with an acquisition before it is tried.
fn check(cx: &mut Machine, at: Gva<ERESOURCE>, mode: Mode) -> Result<(), Fault> {
    cx.memory.get(at, ERESOURCE::Flag)?;
    let thread = cx.thread().object.cast::<KTHREAD>();
    let held_off: i16 = cx.memory.get(thread, KTHREAD::KernelApcDisable)?;
    let all_held_off: i16 = cx.memory.get(thread, KTHREAD::SpecialApcDisable)?;
    // The remarks ask for it; a system thread gets no APC that could suspend it.
    if cx.irql() == 0 && held_off == 0 && all_held_off == 0 && cx.thread().user {
        let text = format!(
            "the resource {:#x} is acquired while normal kernel APCs are enabled",
            at.raw()
        );
        cx.report("lock/resource-apcs-enabled", Severity::Warning, text);
    }
    let owner = current_owner(cx);
    if !cx.ex.resources.contains_key(&at.raw()) {
        not_initialized(cx, at);
        cx.ex.resources.insert(at.raw(), Resource::default());
    }
    let upgrade = cx
        .ex
        .resources
        .get(&at.raw())
        .is_some_and(|r| !r.exclusive && r.owners.contains_key(&owner));
    if upgrade && mode == Mode::Exclusive {
        let text = format!(
            "the resource {:#x} is acquired exclusively by a thread that owns it shared: a deadlock",
            at.raw()
        );
        cx.report("lock/resource-upgrade", Severity::Error, text);
    }
    Ok(())
}

/// Waits until whoever releases the resource has handed it over.
#[resumable]
fn wait_for(cx: &mut Machine, at: Gva<ERESOURCE>) -> bool {
    let _ = &cx;
    wait!(Wait::On(Key::new("resource", at.raw())));
    true
}

/// Acquires a resource for the current thread: TRUE, or FALSE if that would take a wait and the caller
/// does not want one.
///
/// # Errors
/// A fault if its memory cannot be used.
pub fn acquire(
    cx: &mut Machine,
    at: Gva<ERESOURCE>,
    mode: Mode,
    wait: bool,
) -> Result<Flow, Fault> {
    check(cx, at, mode)?;
    let contention = cx.memory.get(at, ERESOURCE::ContentionCount)?;
    let (thread, owner) = (cx.thread().id, current_owner(cx));
    let Some(resource) = cx.ex.resources.get_mut(&at.raw()) else {
        return Ok(Flow::Return(0));
    };
    if resource.take(owner, mode) {
        mirror(cx, at)?;
        return Ok(Flow::Return(1));
    }
    if !wait {
        return Ok(Flow::Return(0));
    }
    resource
        .waiters
        .push_back((thread, owner, mode == Mode::Exclusive));
    cx.memory
        .set(at, ERESOURCE::ContentionCount, contention.wrapping_add(1))?;
    mirror(cx, at)?;
    Ok(Flow::Become(wait_for(at)))
}

fn not_owned(cx: &mut Machine, at: Gva<ERESOURCE>, owner: u64, verb: &str) -> Flow {
    let text = format!(
        "the resource {:#x} is {verb} for {owner:#x}, which does not own it so",
        at.raw()
    );
    cx.report("lock/resource-not-owned", Severity::Error, text);
    Flow::Bugcheck(RESOURCE_NOT_OWNED, [at.raw(), owner, 0, 0])
}

/// Releases one acquisition of `owner`; gives the bugcheck if it has none.
///
/// # Errors
/// A fault if its memory cannot be used.
pub fn release(cx: &mut Machine, at: Gva<ERESOURCE>, owner: u64) -> Result<Option<Flow>, Fault> {
    cx.memory.get(at, ERESOURCE::Flag)?;
    let Some(ready) = cx
        .ex
        .resources
        .get_mut(&at.raw())
        .and_then(|r| r.give(owner))
    else {
        return Ok(Some(not_owned(cx, at, owner, "released")));
    };
    mirror(cx, at)?;
    for thread in ready {
        cx.make_ready(thread, 0);
    }
    Ok(None)
}

/// Makes an exclusive owner a shared one; gives the bugcheck if the current thread is none.
///
/// # Errors
/// A fault if its memory cannot be used.
pub fn convert_to_shared(cx: &mut Machine, at: Gva<ERESOURCE>) -> Result<Option<Flow>, Fault> {
    cx.memory.get(at, ERESOURCE::Flag)?;
    let owner = current_owner(cx);
    let resource = cx.ex.resources.get_mut(&at.raw());
    let Some(resource) = resource.filter(|r| r.exclusive && r.owners.contains_key(&owner)) else {
        return Ok(Some(not_owned(cx, at, owner, "converted")));
    };
    resource.exclusive = false;
    let ready = resource.admit_readers();
    mirror(cx, at)?;
    for thread in ready {
        cx.make_ready(thread, 0);
    }
    Ok(None)
}

/// How often an owner has a resource, and whether exclusively.
#[must_use]
pub fn owned(cx: &Machine, at: u64, owner: u64) -> (u32, bool) {
    let Some(resource) = cx.ex.resources.get(&at) else {
        return (0, false);
    };
    let count = resource.owners.get(&owner).copied().unwrap_or(0);
    (count, count > 0 && resource.exclusive)
}

/// How many threads wait for shared and for exclusive access.
#[must_use]
pub fn waiters(cx: &Machine, at: u64) -> (u32, u32) {
    cx.ex
        .resources
        .get(&at)
        .map_or((0, 0), |r| (r.waiting(false), r.waiting(true)))
}

/// Moves what the current thread has to an owner pointer; gives the bugcheck if it has nothing.
///
/// # Errors
/// A fault if its memory cannot be used.
pub fn set_owner(
    cx: &mut Machine,
    at: Gva<ERESOURCE>,
    pointer: u64,
) -> Result<Option<Flow>, Fault> {
    cx.memory.get(at, ERESOURCE::Flag)?;
    let owner = current_owner(cx);
    let resource = cx.ex.resources.get_mut(&at.raw());
    let Some((resource, count)) =
        resource.and_then(|r| r.owners.remove(&owner).map(|count| (r, count)))
    else {
        return Ok(Some(not_owned(cx, at, owner, "given to a pointer")));
    };
    *resource.owners.entry(pointer).or_default() += count;
    mirror(cx, at)?;
    Ok(None)
}

/// Reports the resources that code of an image made and did not delete.
pub fn report_left(cx: &mut Machine, base: u64, size: u32) {
    let inside = |address: u64| address >= base && address - base < u64::from(size);
    let left: Vec<(u64, u64)> = cx
        .ex
        .resources
        .iter()
        .filter(|(at, r)| inside(**at) || inside(r.creator))
        .map(|(at, r)| (*at, r.creator))
        .collect();
    for (at, creator) in left {
        cx.ex.resources.remove(&at);
        let text = format!("the resource {at:#x} is not deleted before unload");
        cx.report_at(
            "lock/resource-left",
            Severity::Error,
            text,
            creator.wrapping_sub(1),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(r: &mut Resource, thread: u64, mode: Mode) {
        assert!(!r.take(thread, mode));
        r.waiters
            .push_back((ThreadId(thread as u32), thread, mode == Mode::Exclusive));
    }

    #[test]
    fn readers_share_and_writers_do_not() {
        let mut r = Resource::default();
        assert!(r.take(1, Mode::Shared) && r.take(2, Mode::Shared));
        wait(&mut r, 3, Mode::Exclusive);
        // A writer waits: new readers stay behind it, old ones and starvers do not.
        assert!(r.take(1, Mode::Shared));
        assert!(r.take(4, Mode::SharedStarveExclusive));
        wait(&mut r, 5, Mode::SharedWaitForExclusive);
        for owner in [1, 1, 4] {
            assert_eq!(r.give(owner), Some(Vec::new()));
        }
        assert_eq!(r.give(2), Some(vec![ThreadId(3)]));
        assert!(r.exclusive && r.take(3, Mode::Exclusive) && r.take(3, Mode::Shared));
        assert_eq!(r.give(9), None);
        assert_eq!((r.give(3), r.give(3)), (Some(Vec::new()), Some(Vec::new())));
        assert_eq!(r.give(3), Some(vec![ThreadId(5)]));
        assert!(!r.exclusive);
    }

    #[test]
    fn readers_come_after_a_writer_even_if_another_writer_waits() {
        let mut r = Resource::default();
        assert!(r.take(1, Mode::Exclusive));
        wait(&mut r, 2, Mode::Exclusive);
        wait(&mut r, 3, Mode::Shared);
        wait(&mut r, 4, Mode::Shared);
        assert_eq!(r.give(1), Some(vec![ThreadId(3), ThreadId(4)]));
        assert_eq!(r.waiting(true), 1);
        assert_eq!(r.give(3), Some(Vec::new()));
        assert_eq!(r.give(4), Some(vec![ThreadId(2)]));
    }
}
