//! The software TLB: which virtual pages may be accessed right away, and where their bytes are.
//!
//! Direct-mapped, one entry per page number modulo 256. Each entry has a tag for reads, writes and instruction
//! fetches: the page's virtual address with the privilege in bit 3. Comparing the tag with the page of the *last*
//! byte makes an access that crosses a page a miss, because the next page has another index.
//!
//! Invariants, which make the TLB invisible to the guest and its accesses sound:
//! - `page` points to the page that the owner's tree holds in frame `pfn`, with at least the tagged rights under the
//!   present context, and the accessed bits (for a write tag also the dirty bit) on the way to it are set.
//! - A write tag means more: tree and page are owned alone, the frame is in the dirty set and neither watched nor
//!   a page table in use, and no hash of the page or of a group with it is cached.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::fault::Privilege;

/// Number of entries; more were not faster.
const ENTRIES: usize = 256;

/// A tag that no access has: of the low bits of a tag only bit 3 may be set (and in what [`aligned_tag`] gives
/// the three below it).
const NO_TAG: u64 = 0xfff;

const NO_FRAME: u32 = u32::MAX;

#[repr(C, align(32))]
pub(crate) struct Entry {
    pub(crate) read: u64,
    /// Atomic because a clone of the memory, which has only `&self`, must clear it. Relaxed: whoever stores through
    /// the tag has `&mut Memory`, so every clone happened before.
    write: AtomicU64,
    pub(crate) execute: u64,
    pub(crate) page: *mut u8,
}

impl Entry {
    #[inline(always)]
    pub(crate) fn write(&self) -> u64 {
        self.write.load(Ordering::Relaxed)
    }
}

/// Rights to enter for a page.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) execute: bool,
}

/// What the upper levels of the page tables say about 2 MiB of addresses (SDM: paging-structure cache).
#[derive(Clone, Copy)]
pub(crate) struct Upper {
    /// The address without its low 21 bits.
    va: u64,
    /// The physical address of the last-level table.
    pub(crate) table: u64,
    pub(crate) write: bool,
    pub(crate) user: bool,
    pub(crate) no_execute: bool,
}

const UPPERS: usize = 32;
/// Not a multiple of 2 MiB, so no address has it.
const NO_UPPER: Upper = Upper {
    va: 1,
    table: 0,
    write: false,
    user: false,
    no_execute: false,
};

/// The entries come first, so that finding one takes no addition.
#[repr(C)]
pub(crate) struct Tlb {
    entries: [Entry; ENTRIES],
    /// Flushed with the entries. The accessed bits above are set, and the tables are in `Memory::tables`.
    uppers: [Upper; UPPERS],
    /// Apart from the entries, so that a search by frame reads 1 KiB.
    frames: [u32; ENTRIES],
}

// SAFETY: the pointers are into pages that the owning Memory's tree keeps alive; they are written through only with
// `&mut Memory`, and only while no one else owns the page.
unsafe impl Send for Tlb {}
// SAFETY: as above; through `&Tlb` only the atomic write tags change.
unsafe impl Sync for Tlb {}

/// The tag of the page of `va`.
#[inline(always)]
pub(crate) fn tag(va: u64, privilege: Privilege) -> u64 {
    va & !0xfff | privilege as u64
}

/// The tag of the page of `va` if `va` is a multiple of `size` (a power of two up to 8), otherwise one that no entry has.
#[inline(always)]
pub(crate) fn aligned_tag(va: u64, size: usize, privilege: Privilege) -> u64 {
    va & (!0xfff | (size as u64 - 1)) | privilege as u64
}

impl Tlb {
    pub(crate) fn new() -> Box<Self> {
        Box::new(Self {
            entries: [const {
                Entry {
                    read: NO_TAG,
                    write: AtomicU64::new(NO_TAG),
                    execute: NO_TAG,
                    page: std::ptr::null_mut(),
                }
            }; ENTRIES],
            uppers: [NO_UPPER; UPPERS],
            frames: [NO_FRAME; ENTRIES],
        })
    }

    #[inline(always)]
    fn index(va: u64) -> usize {
        (va >> 12) as usize % ENTRIES
    }

    /// The entry that `va` would be in.
    #[inline(always)]
    pub(crate) fn entry(&self, va: u64) -> &Entry {
        &self.entries[Self::index(va)]
    }

    /// Where the page of `va` may be read, and its frame.
    #[inline]
    pub(crate) fn readable(&self, va: u64, privilege: Privilege) -> Option<(*const u8, u64)> {
        let index = Self::index(va);
        let entry = &self.entries[index];
        (entry.read == tag(va, privilege))
            .then(|| (entry.page.cast_const(), u64::from(self.frames[index])))
    }

    /// Where the page of `va` may be written, and its frame.
    #[inline]
    pub(crate) fn writable(&self, va: u64, privilege: Privilege) -> Option<(*mut u8, u64)> {
        let index = Self::index(va);
        let entry = &self.entries[index];
        (entry.write() == tag(va, privilege)).then(|| (entry.page, u64::from(self.frames[index])))
    }

    /// Adds rights to the page of `va`, whose bytes start at `page`.
    pub(crate) fn enter(
        &mut self,
        va: u64,
        privilege: Privilege,
        pfn: u64,
        page: *mut u8,
        rights: Rights,
    ) {
        let Ok(frame) = u32::try_from(pfn) else {
            return;
        };
        let index = Self::index(va);
        let tag = tag(va, privilege);
        let entry = &mut self.entries[index];
        let known = entry.read == tag || entry.execute == tag || *entry.write.get_mut() == tag;
        if !known || self.frames[index] != frame {
            (entry.read, *entry.write.get_mut(), entry.execute) = (NO_TAG, NO_TAG, NO_TAG);
        }
        self.frames[index] = frame;
        entry.page = page;
        if rights.read {
            entry.read = tag;
        }
        if rights.write {
            *entry.write.get_mut() = tag;
        }
        if rights.execute {
            entry.execute = tag;
        }
    }

    /// The upper levels for `va`, if known.
    #[inline]
    pub(crate) fn upper(&self, va: u64) -> Option<&Upper> {
        let upper = &self.uppers[(va >> 21) as usize % UPPERS];
        (upper.va == va & !0x1f_ffff).then_some(upper)
    }

    /// Remembers the upper levels for `va`: the last-level table and the rights of the levels above it.
    pub(crate) fn enter_upper(
        &mut self,
        va: u64,
        table: u64,
        write: bool,
        user: bool,
        no_execute: bool,
    ) {
        self.uppers[(va >> 21) as usize % UPPERS] = Upper {
            va: va & !0x1f_ffff,
            table,
            write,
            user,
            no_execute,
        };
    }

    /// Forgets everything.
    pub(crate) fn flush(&mut self) {
        self.uppers = [NO_UPPER; UPPERS];
        for index in 0..ENTRIES {
            if self.frames[index] != NO_FRAME {
                self.forget(index);
            }
        }
    }

    fn forget(&mut self, index: usize) {
        let entry = &mut self.entries[index];
        (entry.read, *entry.write.get_mut(), entry.execute) = (NO_TAG, NO_TAG, NO_TAG);
        entry.page = std::ptr::null_mut();
        self.frames[index] = NO_FRAME;
    }

    /// Makes the next write of every page miss.
    pub(crate) fn clear_writes(&self) {
        for entry in &self.entries {
            entry.write.store(NO_TAG, Ordering::Relaxed);
        }
    }

    /// The bytes of frame `pfn` are now at `page`.
    pub(crate) fn move_page(&mut self, pfn: u64, page: *mut u8) {
        self.of_frame(pfn, |entry| entry.page = page);
    }

    /// Makes the next write to frame `pfn` miss, through whatever virtual address.
    pub(crate) fn forbid_writes(&mut self, pfn: u64) {
        self.of_frame(pfn, |entry| *entry.write.get_mut() = NO_TAG);
    }

    fn of_frame(&mut self, pfn: u64, mut change: impl FnMut(&mut Entry)) {
        let Ok(frame) = u32::try_from(pfn) else {
            return;
        };
        for (group, frames) in self.frames.chunks_exact(32).enumerate() {
            // Without early exit, so that the compiler compares many at once.
            if frames
                .iter()
                .fold(false, |any, entry| any | (*entry == frame))
            {
                for (index, _) in frames
                    .iter()
                    .enumerate()
                    .filter(|(_, entry)| **entry == frame)
                {
                    change(&mut self.entries[group * 32 + index]);
                }
            }
        }
    }
}
