//! Snapshots and restores.
//!
//! A snapshot shares all pages with the memory. The first write to a page after it finds the page shared and copies
//! it, so a page can't be saved twice, whatever the TLB does. A restore puts the snapshot's pages back. When the
//! snapshot is the last one taken or restored, the dirty set names the pages to visit; otherwise the two trees of
//! pages are compared by pointer, which passes over all groups still shared.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Context;
use crate::Memory;
use crate::frames::Frames;
use crate::physical::Tree;

/// The state of a [`Memory`] at one moment: pages with their shadow, the frame allocator, the context and whether
/// shadow checks are on. Cheap to clone. Not part of it: watched code pages and shadow hits not yet taken.
#[derive(Clone)]
pub struct Snapshot {
    id: u64,
    tree: Tree,
    frames: Frames,
    context: Context,
    shadow_on: bool,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

/// Only compared for equality, so its values are not visible in any result.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Memory {
    /// Remembers the present state.
    pub fn snapshot(&mut self) -> Snapshot {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        self.tlb.clear_writes();
        self.dirty.clear();
        self.base = id;
        Snapshot {
            id,
            tree: self.tree.clone(),
            frames: self.frames.clone(),
            context: self.context,
            shadow_on: self.shadow_on,
        }
    }

    /// Goes back to the state of a snapshot, of this memory or of one of equal RAM size. Watched code pages whose
    /// page differs are reported by [`Memory::take_code_writes`].
    ///
    /// Costs the number of pages written since, if this snapshot is the last one taken or restored here; otherwise
    /// that of all pages that differ, and of their groups.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        let mut changed = std::mem::take(&mut self.changed);
        changed.clear();
        if self.base == snapshot.id {
            changed.extend(self.dirty.iter());
        } else {
            self.tree
                .differences(&snapshot.tree, |pfn| changed.push(pfn));
        }
        for &pfn in &changed {
            self.note_write(pfn);
            self.replace_page(pfn, snapshot.tree.page(pfn).cloned());
        }
        self.changed = changed;
        self.tlb.clear_writes();
        self.dirty.clear();
        self.base = snapshot.id;
        self.frames.clone_from(&snapshot.frames);
        self.shadow_on = snapshot.shadow_on;
        self.set_context(snapshot.context);
    }

    /// The frames written, in data or shadow, since the last snapshot or restore (or since the memory was made),
    /// ascending. A frame counts even if its bytes came out the same.
    pub fn dirty_pages(&self) -> Vec<u64> {
        self.dirty.iter().collect()
    }
}
