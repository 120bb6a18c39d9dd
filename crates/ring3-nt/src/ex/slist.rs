//! Sequenced singly linked lists. Documentation: wdm.h, "Singly and Doubly Linked Lists".
//!
//! The header has the x64 layout: depth and sequence number in the first word, the address of the
//! first entry in the second one without its low four bits, so that headers and entries must be
//! aligned to 16 bytes.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::flow::{Exception, Flow, IntoFlow};
use crate::layout::{SLIST_ENTRY, SLIST_HEADER};
use crate::machine::finding::Severity;
use crate::ntstatus::STATUS_DATATYPE_MISALIGNMENT;

/// What of the second word is not address.
const RESERVED: u64 = 0xf;
/// A push adds one to the depth (bits 0 to 15) and to the sequence number (bits 16 to 63).
const PUSHED: u64 = 0x1_0001;
const DEPTH: u64 = 0xffff;

/// The first entry of a list.
///
/// # Errors
/// A fault if the header cannot be read.
pub fn first(cx: &Machine, head: Gva<SLIST_HEADER>) -> Result<Gva<SLIST_ENTRY>, Fault> {
    Ok(Gva::new(
        cx.memory.get(head, SLIST_HEADER::Region)? & !RESERVED,
    ))
}

/// How many entries a list has.
///
/// # Errors
/// A fault if the header cannot be read.
pub fn depth(cx: &Machine, head: Gva<SLIST_HEADER>) -> Result<u16, Fault> {
    Ok((cx.memory.get(head, SLIST_HEADER::Alignment)? & DEPTH) as u16)
}

fn set_first(
    cx: &mut Machine,
    head: Gva<SLIST_HEADER>,
    entry: Gva<SLIST_ENTRY>,
) -> Result<(), Fault> {
    let reserved = cx.memory.get(head, SLIST_HEADER::Region)? & RESERVED;
    cx.memory.set(
        head,
        SLIST_HEADER::Region,
        entry.raw() & !RESERVED | reserved,
    )
}

/// Puts an entry first; gives what was first.
///
/// # Errors
/// A fault if header or entry cannot be used.
pub fn push(
    cx: &mut Machine,
    head: Gva<SLIST_HEADER>,
    entry: Gva<SLIST_ENTRY>,
) -> Result<Gva<SLIST_ENTRY>, Fault> {
    let word = cx.memory.get(head, SLIST_HEADER::Alignment)?;
    let before = first(cx, head)?;
    cx.memory.set(entry, SLIST_ENTRY::Next, before)?;
    if entry.raw() & RESERVED != 0 {
        let text = format!(
            "the list entry {:#x} is not aligned to 16 bytes: the list loses its low bits",
            entry.raw()
        );
        cx.report("list/misaligned-entry", Severity::Error, text);
    }
    if before == entry {
        let text = format!(
            "the list entry {:#x} is pushed onto a list that it is first in",
            entry.raw()
        );
        cx.report("list/entry-twice", Severity::Error, text);
    }
    // The depth wraps inside its own 16 bits.
    let depth = word.wrapping_add(1) & DEPTH;
    cx.memory.set(
        head,
        SLIST_HEADER::Alignment,
        word.wrapping_add(PUSHED) & !DEPTH | depth,
    )?;
    set_first(cx, head, entry)?;
    Ok(before)
}

/// Takes the first entry; NULL if there is none.
///
/// # Errors
/// A fault if header or entry cannot be used.
pub fn pop(cx: &mut Machine, head: Gva<SLIST_HEADER>) -> Result<Gva<SLIST_ENTRY>, Fault> {
    let entry = first(cx, head)?;
    if entry.is_null() {
        return Ok(entry);
    }
    let word = cx.memory.get(head, SLIST_HEADER::Alignment)?;
    let next = cx.memory.get(entry, SLIST_ENTRY::Next)?;
    cx.memory.set(
        head,
        SLIST_HEADER::Alignment,
        word & !DEPTH | word.wrapping_sub(1) & DEPTH,
    )?;
    set_first(cx, head, next)?;
    Ok(entry)
}

/// Routines on sequenced lists.
pub struct SequencedLists;

#[exports("ntoskrnl.exe")]
impl SequencedLists {
    /// Makes an empty sequenced list.
    #[page("wdm/nf-wdm-initializeslisthead")]
    #[irql(any)]
    #[returns(())]
    fn InitializeSListHead(cx: &mut Machine, SListHead: Gva<SLIST_HEADER>) -> Result<Flow, Fault> {
        if SListHead.raw() & RESERVED != 0 {
            return Ok(Flow::Raise(Exception::new(STATUS_DATATYPE_MISALIGNMENT)));
        }
        cx.memory.fill(SListHead, SLIST_HEADER::SIZE, 0)?;
        Ok(().into_flow())
    }

    /// The first entry of a sequenced list, which stays where it is.
    #[page("")]
    #[irql(any)]
    fn FirstEntrySList(
        cx: &mut Machine,
        SListHead: Gva<SLIST_HEADER>,
    ) -> Result<Gva<SLIST_ENTRY>, Fault> {
        first(cx, SListHead)
    }

    /// Puts an entry at the front of a sequenced list; gives the entry that was first.
    #[page("wdm/nf-wdm-exinterlockedpushentryslist")]
    #[irql(any)]
    fn ExpInterlockedPushEntrySList(
        cx: &mut Machine,
        ListHead: Gva<SLIST_HEADER>,
        ListEntry: Gva<SLIST_ENTRY>,
    ) -> Result<Gva<SLIST_ENTRY>, Fault> {
        push(cx, ListHead, ListEntry)
    }

    /// Takes the first entry of a sequenced list.
    #[page("wdm/nf-wdm-exinterlockedpopentryslist")]
    #[irql(any)]
    fn ExpInterlockedPopEntrySList(
        cx: &mut Machine,
        ListHead: Gva<SLIST_HEADER>,
    ) -> Result<Gva<SLIST_ENTRY>, Fault> {
        pop(cx, ListHead)
    }

    /// Takes all entries of a sequenced list.
    #[page("wdm/nf-wdm-exinterlockedflushslist")]
    #[irql(any)]
    fn ExpInterlockedFlushSList(
        cx: &mut Machine,
        ListHead: Gva<SLIST_HEADER>,
    ) -> Result<Gva<SLIST_ENTRY>, Fault> {
        let entry = first(cx, ListHead)?;
        if !entry.is_null() {
            let word = cx.memory.get(ListHead, SLIST_HEADER::Alignment)?;
            cx.memory
                .set(ListHead, SLIST_HEADER::Alignment, word & !DEPTH)?;
            set_first(cx, ListHead, Gva::NULL)?;
        }
        Ok(entry)
    }

    /// How many entries a sequenced list has.
    #[page("wdm/nf-wdm-exquerydepthslist")]
    #[irql(any)]
    fn ExQueryDepthSList(cx: &mut Machine, SListHead: Gva<SLIST_HEADER>) -> Result<u16, Fault> {
        depth(cx, SListHead)
    }
}
