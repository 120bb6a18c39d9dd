//! Doubly linked lists in guest memory.

use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::layout::LIST_ENTRY;

/// Entries looked at before a list counts as broken.
const MOST_ENTRIES: usize = 4096;

/// Puts an entry before another one; before the head is the end of the list.
///
/// # Errors
/// A fault if a link cannot be used.
pub fn insert_before(
    cx: &mut Machine,
    next: Gva<LIST_ENTRY>,
    entry: Gva<LIST_ENTRY>,
) -> Result<(), Fault> {
    let before = cx.memory.get(next, LIST_ENTRY::Blink)?;
    cx.memory.set(entry, LIST_ENTRY::Flink, next)?;
    cx.memory.set(entry, LIST_ENTRY::Blink, before)?;
    cx.memory.set(before, LIST_ENTRY::Flink, entry)?;
    cx.memory.set(next, LIST_ENTRY::Blink, entry)
}

/// Takes an entry out of its list.
///
/// # Errors
/// A fault if a link cannot be used.
pub fn remove(cx: &mut Machine, entry: Gva<LIST_ENTRY>) -> Result<(), Fault> {
    let next = cx.memory.get(entry, LIST_ENTRY::Flink)?;
    let before = cx.memory.get(entry, LIST_ENTRY::Blink)?;
    cx.memory.set(before, LIST_ENTRY::Flink, next)?;
    cx.memory.set(next, LIST_ENTRY::Blink, before)
}

/// The entries after a head, in order. A head of zeros is an empty list.
#[must_use]
pub fn entries(cx: &Machine, head: Gva<LIST_ENTRY>) -> Vec<Gva<LIST_ENTRY>> {
    let mut found = Vec::new();
    let mut at = cx.memory.get(head, LIST_ENTRY::Flink).unwrap_or(head);
    while at != head && !at.is_null() && found.len() < MOST_ENTRIES {
        found.push(at);
        at = cx.memory.get(at, LIST_ENTRY::Flink).unwrap_or(head);
    }
    found
}
