//! Doubly linked lists in guest memory.

use ring3_memory::{Fault, Gva, Memory};

use crate::layout::LIST_ENTRY;

/// Entries looked at before a list counts as broken.
const MOST_ENTRIES: usize = 4096;

/// Makes an empty list of a head.
///
/// # Errors
/// A fault if it cannot be written.
pub fn initialize(m: &mut Memory, head: Gva<LIST_ENTRY>) -> Result<(), Fault> {
    m.set(head, LIST_ENTRY::Flink, head)?;
    m.set(head, LIST_ENTRY::Blink, head)
}

/// Puts an entry before another one; before the head is the end of the list.
///
/// # Errors
/// A fault if a link cannot be used.
pub fn insert_before(
    m: &mut Memory,
    next: Gva<LIST_ENTRY>,
    entry: Gva<LIST_ENTRY>,
) -> Result<(), Fault> {
    let before = m.get(next, LIST_ENTRY::Blink)?;
    m.set(entry, LIST_ENTRY::Flink, next)?;
    m.set(entry, LIST_ENTRY::Blink, before)?;
    m.set(before, LIST_ENTRY::Flink, entry)?;
    m.set(next, LIST_ENTRY::Blink, entry)
}

/// Takes an entry out of its list.
///
/// # Errors
/// A fault if a link cannot be used.
pub fn remove(m: &mut Memory, entry: Gva<LIST_ENTRY>) -> Result<(), Fault> {
    let next = m.get(entry, LIST_ENTRY::Flink)?;
    let before = m.get(entry, LIST_ENTRY::Blink)?;
    m.set(before, LIST_ENTRY::Flink, next)?;
    m.set(next, LIST_ENTRY::Blink, before)
}

/// The entries after a head, in order. A head of zeros is an empty list.
#[must_use]
pub fn entries(m: &Memory, head: Gva<LIST_ENTRY>) -> Vec<Gva<LIST_ENTRY>> {
    let mut found = Vec::new();
    let mut at = m.get(head, LIST_ENTRY::Flink).unwrap_or(head);
    while at != head && !at.is_null() && found.len() < MOST_ENTRIES {
        found.push(at);
        at = m.get(at, LIST_ENTRY::Flink).unwrap_or(head);
    }
    found
}
