//! Guest-physical memory, page tables, software TLB, shadow bytes and snapshots.
//!
//! A [`Memory`] is a plain value: `Clone` shares all pages and costs microseconds. RAM that was never written costs
//! nothing. Virtual addresses go through real page tables that lie in this RAM.
//!
//! Three kinds of access differ in what a mark in the shadow does:
//! - **guest** accesses of an engine ([`Memory::load`], [`Memory::store`]) fail with [`Fault::Shadow`], before any
//!   effect;
//! - **host** accesses ([`Memory::read`], [`Memory::write`] and their relatives) record the hit for
//!   [`Memory::take_shadow_hits`] and go on;
//! - **debugger** and **physical** accesses ([`Memory::peek_bytes`], [`Memory::read_physical`]) don't look.
//!
//! The TLB never shows: a store to a page table takes effect at once. But accessed and dirty bits are bytes like any
//! others, and an engine that keeps translated code fetches it only once; so whoever wants equal runs to give equal
//! hashes maps pages with both bits set, as Windows does for the kernel's.
//!
//! The crate knows nothing of Windows. All `unsafe` for guest memory is here: pages that several memories share are
//! never written, and pages that one memory owns alone are written only through `&mut Memory`.

mod access;
mod address;
mod fault;
mod frames;
mod guest;
mod hash;
mod host;
mod page;
mod physical;
mod shadow;
mod snapshot;
mod table;
mod tlb;

use std::fmt;
use std::ops::Range;

pub use access::{Fetch, Scalar};
pub use address::{Field, Gpa, Gva, UserGva};
pub use fault::{Access, Fault, Privilege, ShadowHit};
pub use guest::Guest;
pub use page::PAGE_SIZE;
pub use shadow::codes;
pub use snapshot::Snapshot;
pub use table::{MapError, PageFlags, Translation, is_canonical};

use frames::{FrameSet, Frames};
use physical::Tree;
use shadow::HitLog;
use tlb::Tlb;

/// What of the processor's state decides how virtual addresses are translated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Context {
    /// CR3: physical address of the top-level page table (the low 12 bits are ignored).
    pub cr3: u64,
    /// CR0.WP: supervisor writes respect read-only pages.
    pub wp: bool,
    /// EFER.NXE: the NX bit counts.
    pub nxe: bool,
    /// CR4.SMEP: the supervisor can't execute user pages.
    pub smep: bool,
    /// CR4.SMAP and not RFLAGS.AC: the supervisor's guest accesses can't touch user pages.
    pub smap: bool,
}

impl Context {
    /// All of it in one number, to compare.
    #[inline(always)]
    pub fn key(&self) -> u64 {
        self.cr3 & !0xfff
            | u64::from(self.wp)
            | u64::from(self.nxe) << 1
            | u64::from(self.smep) << 2
            | u64::from(self.smap) << 3
    }
}

/// The memory of one guest machine.
pub struct Memory {
    tlb: Box<Tlb>,
    context: Context,
    /// [`Context::key`] of it.
    context_key: u64,
    shadow_on: bool,
    tree: Tree,
    ram: Range<u64>,
    frames: Frames,
    /// Frames written since `base`.
    dirty: FrameSet,
    /// The snapshot last taken or restored; 0 for none.
    base: u64,
    /// Frames that hold page tables which TLB entries depend on.
    tables: FrameSet,
    /// Frames that hold code which an engine has translated.
    watched: FrameSet,
    code_writes: Vec<u64>,
    code_generation: u64,
    hits: HitLog,
    /// Kept for its storage only.
    changed: Vec<u64>,
    /// A frame outside RAM, and the frame of RAM that stands in for it.
    stand_in: Option<(u64, u64)>,
}

impl Memory {
    /// A memory with RAM at physical 0 to `ram_bytes` (cut to whole pages, at most 1 TiB), all zeros. Frame 0 is
    /// never handed out, so that a physical address of 0 can mean none.
    pub fn new(ram_bytes: u64) -> Self {
        let (tree, ram) = Self::new_tree(ram_bytes);
        let mut memory = Self {
            tlb: Tlb::new(),
            context: Context::default(),
            context_key: Context::default().key(),
            shadow_on: true,
            tree,
            frames: Frames::new(ram.end >> 12),
            ram,
            dirty: FrameSet::default(),
            base: 0,
            tables: FrameSet::default(),
            watched: FrameSet::default(),
            code_writes: Vec::new(),
            code_generation: 0,
            hits: HitLog::default(),
            changed: Vec::new(),
            stand_in: None,
        };
        memory.reserve_frames(0..PAGE_SIZE as u64);
        memory
    }

    /// How virtual addresses are translated from now on. Costs nothing if it is the same as before.
    #[inline]
    pub fn set_context(&mut self, context: Context) {
        if self.context != context {
            self.context = context;
            self.context_key = context.key();
            self.tlb.flush();
        }
    }

    /// Puts a page of RAM in the place of a physical page outside RAM (registers of a device), until it is called with
    /// `None`. Both addresses mean the pages that they lie in. Nothing happens if the second is not in RAM.
    pub fn stand_in(&mut self, pages: Option<(Gpa, Gpa)>) {
        self.stand_in = pages
            .map(|(of, by)| (of.0 >> 12, by.0 >> 12))
            .filter(|(_, by)| self.is_ram(*by));
        self.tlb.flush();
    }

    /// [`Context::key`] of [`Self::context`].
    #[inline(always)]
    pub fn context_key(&self) -> u64 {
        self.context_key
    }

    /// How virtual addresses are translated.
    pub fn context(&self) -> Context {
        self.context
    }
}

/// Shares all pages. Both copies may be written from then on, without the other noticing.
impl Clone for Memory {
    fn clone(&self) -> Self {
        // The pages are now shared, so stores through this memory must ask again.
        self.tlb.clear_writes();
        Self {
            tlb: Tlb::new(),
            context: self.context,
            context_key: self.context_key,
            shadow_on: self.shadow_on,
            tree: self.tree.clone(),
            ram: self.ram.clone(),
            frames: self.frames.clone(),
            dirty: self.dirty.clone(),
            base: self.base,
            tables: FrameSet::default(),
            watched: self.watched.clone(),
            code_writes: self.code_writes.clone(),
            code_generation: self.code_generation,
            hits: self.hits.clone(),
            stand_in: self.stand_in,
            changed: Vec::new(),
        }
    }
}

/// Keeps the boxes of pages written since the last snapshot: the others are most likely shared.
impl Drop for Memory {
    fn drop(&mut self) {
        self.tree.recycle(&self.dirty);
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("ram", &self.ram)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}
