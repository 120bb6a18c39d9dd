//! ERESOURCE: locks for many readers or one writer. Documentation: wdm.h, "Introduction to ERESOURCE
//! Routines".
//!
//! Owners and waiters are kept here, as ownership is handed over by the one who releases; the fields
//! that a dump or a debugger shows are kept up to date in guest memory.

use std::collections::VecDeque;

use ring3_macros::resumable;
use ring3_memory::{Fault, Gva};

use super::fast_mutex::too_high;
use super::pool::Kind as PoolKind;
use crate::Machine;
use crate::flow::{Flow, Key};
use crate::layout::{ERESOURCE, KTHREAD, OWNER_ENTRY};
use crate::locks::{self, Holder, Kind};
use crate::machine::finding::Severity;
use crate::machine::modules::within;
use crate::machine::thread::ThreadId;
use crate::machine::wait::Wait;

/// `ResourceOwnedExclusive` in `ERESOURCE.Flag`.
const OWNED_EXCLUSIVE: u16 = 0x80;
/// Entries by which an owner table grows, and its tag (`ReTa`).
const TABLE_STEP: u32 = 4;
const TABLE_TAG: u32 = u32::from_le_bytes(*b"ReTa");
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
    /// How often each owner has it, the oldest first; an owner is a thread object or an owner pointer.
    owners: Vec<(u64, u32)>,
    exclusive: bool,
    waiters: VecDeque<(ThreadId, u64, bool)>,
    /// Owners but the first stand in a table in guest memory: where it is, and its entries.
    table: u64,
    table_size: u32,
    /// Who initialised it: a return address.
    creator: u64,
}

impl Resource {
    fn count_of(&self, owner: u64) -> u32 {
        let mut owners = self.owners.iter();
        owners
            .find(|(o, _)| *o == owner)
            .map_or(0, |(_, count)| *count)
    }

    fn add(&mut self, owner: u64, by: u32) {
        match self.owners.iter_mut().find(|(o, _)| *o == owner) {
            Some((_, count)) => *count = count.saturating_add(by),
            None => self.owners.push((owner, by)),
        }
    }

    /// Takes the resource for `owner` if that is possible now.
    fn take(&mut self, owner: u64, mode: Mode) -> bool {
        let own = self.count_of(owner) > 0;
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
            self.add(owner, 1);
        }
        can
    }

    /// Gives up one acquisition; `None` if `owner` has none.
    fn give(&mut self, owner: u64) -> Option<Vec<ThreadId>> {
        let at = self.owners.iter().position(|(o, _)| *o == owner)?;
        if let Some((_, count)) = self.owners.get_mut(at).filter(|(_, count)| *count > 1) {
            *count -= 1;
            return Some(Vec::new());
        }
        self.owners.remove(at);
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
        self.add(owner, 1);
        vec![thread]
    }

    fn admit_readers(&mut self) -> Vec<ThreadId> {
        let (writers, readers) = std::mem::take(&mut self.waiters)
            .into_iter()
            .partition(|(_, _, exclusive)| *exclusive);
        self.waiters = writers;
        let readers: VecDeque<(ThreadId, u64, bool)> = readers;
        for (_, owner, _) in &readers {
            self.add(*owner, 1);
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
    let (owner, count) = resource.owners.first().copied().unwrap_or_default();
    write_table(cx, at, &resource)?;
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

/// Writes the owners but the first into the table, which grows when there are too many. Its first
/// entry has its size.
fn write_table(cx: &mut Machine, at: Gva<ERESOURCE>, resource: &Resource) -> Result<(), Fault> {
    let need = resource.owners.len() as u32;
    let (mut table, mut size) = (resource.table, resource.table_size);
    if need > 1 && need > size {
        size = need.next_multiple_of(TABLE_STEP);
        let bytes = u64::from(size) * OWNER_ENTRY::SIZE;
        let Some(new) = cx.pool_allocate(PoolKind::NonPaged, bytes, TABLE_TAG) else {
            return Ok(());
        };
        if table != 0 {
            cx.pool_free(Gva::new(table));
        }
        table = new.raw();
        cx.memory.set(at, ERESOURCE::OwnerTable, new.cast())?;
        if let Some(resource) = cx.ex.resources.get_mut(&at.raw()) {
            (resource.table, resource.table_size) = (table, size);
        }
    }
    if table == 0 {
        return Ok(());
    }
    let entry = |i: u32| Gva::<OWNER_ENTRY>::new(table + u64::from(i) * OWNER_ENTRY::SIZE);
    cx.memory.set(entry(0), OWNER_ENTRY::TableSize, size)?;
    for i in 1..size {
        let (owner, count) = resource.owners.get(i as usize).copied().unwrap_or_default();
        cx.memory.set(entry(i), OWNER_ENTRY::OwnerThread, owner)?;
        cx.memory.set(entry(i), OWNER_ENTRY::TableSize, 0)?;
        OWNER_ENTRY::OwnerCount.write(&mut cx.memory, entry(i), u64::from(count))?;
    }
    Ok(())
}

/// Makes a resource.
///
/// # Errors
/// A fault if its memory cannot be written.
pub fn initialize(cx: &mut Machine, at: Gva<ERESOURCE>) -> Result<(), Fault> {
    cx.memory.fill(at, ERESOURCE::SIZE, 0)?;
    let links = at.at(ERESOURCE::SystemResourcesList);
    crate::ke::list::initialize(&mut cx.memory, links)?;
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
    let removed = cx.ex.resources.remove(&at.raw());
    if let Some(table) = removed.as_ref().map(|r| r.table).filter(|t| *t != 0) {
        cx.pool_free(Gva::new(table));
    }
    cx.lock_renewed(at.raw());
    match removed {
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
fn check(cx: &mut Machine, at: Gva<ERESOURCE>, mode: Mode, wait: bool) -> Result<(), Fault> {
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
        .is_some_and(|r| !r.exclusive && r.count_of(owner) > 0);
    if upgrade && wait && mode == Mode::Exclusive {
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
    if let Some(bugcheck) = too_high(cx, at.raw()) {
        return Ok(bugcheck);
    }
    check(cx, at, mode, wait)?;
    let contention = cx.memory.get(at, ERESOURCE::ContentionCount)?;
    let (thread, owner) = (cx.thread().id, current_owner(cx));
    let Some(resource) = cx.ex.resources.get_mut(&at.raw()) else {
        return Ok(Flow::Return(0));
    };
    let taken = resource.take(owner, mode);
    if wait {
        cx.lock_wanted(Kind::Resource, at.raw(), held_as(mode), !taken);
    }
    if taken {
        cx.lock_taken(Kind::Resource, at.raw(), held_as(mode));
        mirror(cx, at)?;
        return Ok(Flow::Return(1));
    }
    if !wait {
        return Ok(Flow::Return(0));
    }
    let Some(resource) = cx.ex.resources.get_mut(&at.raw()) else {
        return Ok(Flow::Return(0));
    };
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
    let table = cx.ex.resources.get(&at.raw()).map_or(0, |r| r.table);
    Flow::Bugcheck(RESOURCE_NOT_OWNED, [at.raw(), owner, table, 0])
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
    let holder = holder_of(cx, owner);
    cx.lock_released_by(at.raw(), holder);
    hand_over(cx, at, ready)?;
    Ok(None)
}

/// Whose claim an owner is.
fn holder_of(cx: &Machine, owner: u64) -> Holder {
    match cx.thread_of_object(owner) {
        Some(thread) => Holder::Thread(thread.id),
        None => Holder::Pointer(owner),
    }
}

const fn held_as(mode: Mode) -> locks::Mode {
    match mode {
        Mode::Exclusive => locks::Mode::Exclusive,
        _ => locks::Mode::Shared,
    }
}

/// Lets threads go on that own the resource now.
fn hand_over(cx: &mut Machine, at: Gva<ERESOURCE>, ready: Vec<ThreadId>) -> Result<(), Fault> {
    mirror(cx, at)?;
    let exclusive = cx.ex.resources.get(&at.raw()).is_some_and(|r| r.exclusive);
    let mode = if exclusive {
        locks::Mode::Exclusive
    } else {
        locks::Mode::Shared
    };
    for thread in ready {
        cx.lock_taken_by(Kind::Resource, at.raw(), mode, Holder::Thread(thread));
        cx.make_ready(thread, 0);
    }
    Ok(())
}

/// Makes an exclusive owner a shared one; gives the bugcheck if the current thread is none.
///
/// # Errors
/// A fault if its memory cannot be used.
pub fn convert_to_shared(cx: &mut Machine, at: Gva<ERESOURCE>) -> Result<Option<Flow>, Fault> {
    cx.memory.get(at, ERESOURCE::Flag)?;
    let owner = current_owner(cx);
    let resource = cx.ex.resources.get_mut(&at.raw());
    let Some(resource) = resource.filter(|r| r.exclusive && r.count_of(owner) > 0) else {
        return Ok(Some(not_owned(cx, at, owner, "converted")));
    };
    resource.exclusive = false;
    let ready = resource.admit_readers();
    cx.lock_converted(at.raw(), locks::Mode::Shared);
    hand_over(cx, at, ready)?;
    Ok(None)
}

/// How often an owner has a resource, and whether exclusively.
#[must_use]
pub fn owned(cx: &Machine, at: u64, owner: u64) -> (u32, bool) {
    let Some(resource) = cx.ex.resources.get(&at) else {
        return (0, false);
    };
    let count = resource.count_of(owner);
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
    let Some(slot) = resource.and_then(|r| r.owners.iter_mut().find(|(o, _)| *o == owner)) else {
        return Ok(Some(not_owned(cx, at, owner, "given to a pointer")));
    };
    slot.0 = pointer;
    let to = holder_of(cx, pointer);
    cx.lock_moved(at.raw(), to);
    mirror(cx, at)?;
    Ok(None)
}

/// Reports the resources that code of an image made and did not delete.
pub fn report_left(cx: &mut Machine, base: u64, size: u32) {
    let inside = within(base, size);
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
