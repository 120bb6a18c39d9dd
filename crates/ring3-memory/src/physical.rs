//! RAM as shared pages, accesses by physical address, and the watch on code pages.

use std::collections::TryReserveError;
use std::ops::Range;
use std::sync::Arc;

use crate::Memory;
use crate::address::Gpa;
use crate::fault::{Access, Fault};
use crate::frames::FrameSet;
use crate::hash::HashCache;
use crate::page::{PAGE_SIZE, Page, copy_of, recycle, zero_page, zeroed};

/// Pages per chunk and chunks per region. A clone copies the vector of regions; the first write into a chunk after a
/// clone copies 64 handles twice.
const FANOUT: usize = 64;

/// 64 pages, 256 KiB.
#[derive(Clone)]
pub(crate) struct Chunk {
    pages: [Option<Arc<Page>>; FANOUT],
    pub(crate) hash: HashCache,
}

/// 64 chunks, 16 MiB.
#[derive(Clone)]
pub(crate) struct Region {
    chunks: [Option<Arc<Chunk>>; FANOUT],
    pub(crate) hash: HashCache,
}

impl Chunk {
    fn empty() -> Arc<Self> {
        Arc::new(Self {
            pages: [const { None }; FANOUT],
            hash: HashCache::new(),
        })
    }

    /// The touched pages with their frame numbers.
    pub(crate) fn pages(&self, base: u64) -> impl Iterator<Item = (u64, &Arc<Page>)> {
        (base..)
            .zip(&self.pages)
            .filter_map(|(pfn, page)| Some((pfn, page.as_ref()?)))
    }
}

impl Region {
    fn empty() -> Arc<Self> {
        Arc::new(Self {
            chunks: [const { None }; FANOUT],
            hash: HashCache::new(),
        })
    }

    /// The touched chunks with the number of their first frame.
    pub(crate) fn chunks(&self, base: u64) -> impl Iterator<Item = (u64, &Chunk)> {
        (base..)
            .step_by(FANOUT)
            .zip(&self.chunks)
            .filter_map(|(pfn, chunk)| Some((pfn, chunk.as_deref()?)))
    }
}

/// All pages of a memory, each `None` until it is first written.
#[derive(Clone, Default)]
pub(crate) struct Tree {
    regions: Vec<Option<Arc<Region>>>,
}

fn indices(pfn: u64) -> (usize, usize, usize) {
    let pfn = pfn as usize;
    (pfn / (FANOUT * FANOUT), pfn / FANOUT % FANOUT, pfn % FANOUT)
}

impl Tree {
    fn new(frames: u64) -> Result<Self, TryReserveError> {
        let count = frames.div_ceil((FANOUT * FANOUT) as u64) as usize;
        let mut regions = Vec::new();
        regions.try_reserve_exact(count)?;
        regions.resize(count, None);
        Ok(Self { regions })
    }

    /// The touched regions with the number of their first frame.
    pub(crate) fn regions(&self) -> impl Iterator<Item = (u64, &Region)> {
        (0..)
            .step_by(FANOUT * FANOUT)
            .zip(&self.regions)
            .filter_map(|(pfn, region)| Some((pfn, region.as_deref()?)))
    }

    /// The page in a frame; `None` where it was never written.
    #[inline]
    pub(crate) fn page(&self, pfn: u64) -> Option<&Arc<Page>> {
        let (region, chunk, page) = indices(pfn);
        self.regions.get(region)?.as_ref()?.chunks[chunk]
            .as_ref()?
            .pages[page]
            .as_ref()
    }

    /// Start of the page in a frame, for reading only.
    #[inline]
    pub(crate) fn start(&self, pfn: u64) -> *const u8 {
        self.page(pfn)
            .map_or(zero_page(), |page| Page::start(page).cast_const())
    }

    /// The slot of a frame for a change. All groups above it become owned alone and forget their hashes. `None` for a
    /// frame outside RAM.
    pub(crate) fn slot(&mut self, pfn: u64) -> Option<&mut Option<Arc<Page>>> {
        let (region, chunk, page) = indices(pfn);
        let region = Arc::make_mut(
            self.regions
                .get_mut(region)?
                .get_or_insert_with(Region::empty),
        );
        region.hash.clear();
        let chunk = Arc::make_mut(region.chunks[chunk].get_or_insert_with(Chunk::empty));
        chunk.hash.clear();
        Some(&mut chunk.pages[page])
    }

    /// Keeps the boxes of those pages of `dirty` that nobody else holds, as long as there is room. Only for a tree that
    /// is given up.
    pub(crate) fn recycle(&mut self, dirty: &FrameSet) {
        for (region, slot) in self.regions.iter_mut().enumerate() {
            let Some(owned) = slot.as_mut().and_then(Arc::get_mut) else {
                continue;
            };
            for (chunk, slot) in owned.chunks.iter_mut().enumerate() {
                let mut mask = dirty.word(((region * FANOUT + chunk) * FANOUT) as u64);
                if mask == 0 {
                    continue;
                }
                let Some(owned) = slot.as_mut().and_then(Arc::get_mut) else {
                    continue;
                };
                while mask != 0 {
                    let page = &mut owned.pages[mask.trailing_zeros() as usize];
                    mask &= mask - 1;
                    // Most are shared, and asking for the count is cheaper than `recycle`.
                    if page
                        .as_ref()
                        .is_some_and(|page| Arc::strong_count(page) == 1)
                        && page.take().is_some_and(|page| !recycle(page))
                    {
                        return;
                    }
                }
            }
        }
    }

    /// Calls `visit` with the number of each frame whose page is not the very same in both.
    pub(crate) fn differences(&self, other: &Tree, mut visit: impl FnMut(u64)) {
        fn same<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
            match (a, b) {
                (None, None) => true,
                (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                _ => false,
            }
        }
        for region in 0..self.regions.len().max(other.regions.len()) {
            let [a, b] =
                [self, other].map(|tree| tree.regions.get(region).and_then(Option::as_ref));
            if same(a, b) {
                continue;
            }
            for chunk in 0..FANOUT {
                let [a, b] =
                    [a, b].map(|region| region.and_then(|region| region.chunks[chunk].as_ref()));
                if same(a, b) {
                    continue;
                }
                for page in 0..FANOUT {
                    let [a, b] =
                        [a, b].map(|chunk| chunk.and_then(|chunk| chunk.pages[page].as_ref()));
                    if !same(a, b) {
                        visit(((region * FANOUT + chunk) * FANOUT + page) as u64);
                    }
                }
            }
        }
    }
}

/// RAM larger than this is cut to it: 1 TiB.
const MOST_RAM: u64 = 1 << 40;

impl Memory {
    /// The pages of a machine with `ram_bytes` of RAM, and the RAM range.
    pub(crate) fn new_tree(ram_bytes: u64) -> (Tree, Range<u64>) {
        let frames = ram_bytes.min(MOST_RAM) / PAGE_SIZE as u64;
        match Tree::new(frames) {
            Ok(tree) => (tree, 0..frames * PAGE_SIZE as u64),
            Err(_) => (Tree::default(), 0..0),
        }
    }

    /// The physical address ranges that RAM covers, in bytes, ascending.
    pub fn ram_ranges(&self) -> &[Range<u64>] {
        std::slice::from_ref(&self.ram)
    }

    /// Size of RAM in bytes.
    pub fn ram_size(&self) -> u64 {
        self.ram.end
    }

    /// Whether a frame is RAM.
    #[inline]
    pub(crate) fn is_ram(&self, pfn: u64) -> bool {
        pfn < self.ram.end >> 12
    }

    /// Start of a frame's page for writing data or shadow: owned alone and recorded as dirty. `None` outside RAM.
    ///
    /// The caller must have called [`Self::note_write`] if it changes data.
    pub(crate) fn page_mut(&mut self, pfn: u64) -> Option<*mut u8> {
        if !self.is_ram(pfn) {
            return None;
        }
        let slot = self.tree.slot(pfn)?;
        let mut moved = false;
        let page = match slot {
            Some(page) => {
                if Arc::get_mut(page).is_none() {
                    *page = copy_of(page);
                    moved = true;
                }
                page
            }
            None => {
                moved = true;
                slot.insert(zeroed())
            }
        };
        page.hash.clear();
        let start = Page::start(page);
        self.dirty.insert(pfn);
        if moved {
            self.tlb.move_page(pfn, start);
        }
        Some(start)
    }

    /// Puts `page` into a frame of RAM (`None`: zeros, nothing poisoned). The data changes, so the caller must have
    /// called [`Self::note_write`], or must do what it does.
    pub(crate) fn replace_page(&mut self, pfn: u64, page: Option<Arc<Page>>) {
        let Some(slot) = self.tree.slot(pfn) else {
            return;
        };
        if let Some(old) = std::mem::replace(slot, page) {
            recycle(old);
        }
        // The new page may be shared, so stores must ask again.
        self.tlb.move_page(pfn, self.tree.start(pfn).cast_mut());
        self.tlb.forbid_writes(pfn);
    }

    /// Tells the watchers that the data of a frame is about to change.
    #[inline]
    pub(crate) fn note_write(&mut self, pfn: u64) {
        if self.watched.remove(pfn) {
            self.code_writes.push(pfn);
            self.code_generation = self.code_generation.wrapping_add(1);
        }
        // A translation must not outlive the entry it came from; so the TLB is never visible to the guest.
        if self.tables.remove(pfn) {
            self.tlb.flush();
        }
    }

    /// Reports the next write to frame `pfn` through [`Self::take_code_writes`].
    pub fn watch_code(&mut self, pfn: u64) {
        if self.is_ram(pfn) && self.watched.insert(pfn) {
            self.tlb.forbid_writes(pfn);
        }
    }

    /// The frames watched by [`Self::watch_code`] that were written (by anybody, or by a restore) since the last
    /// call. They are no longer watched.
    #[inline]
    pub fn take_code_writes(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.code_writes)
    }

    /// Whether [`Self::take_code_writes`] has anything to report. Cheap enough to ask after every store.
    #[inline(always)]
    pub fn code_written(&self) -> bool {
        !self.code_writes.is_empty()
    }

    /// How many times a watched frame was written in the life of this memory.
    #[inline(always)]
    pub fn code_generation(&self) -> u64 {
        self.code_generation
    }

    /// Reads physical memory without looking at the shadow.
    ///
    /// # Errors
    /// [`Fault::Device`] with the first address outside RAM; `bytes` then holds nothing useful.
    pub fn read_physical(&self, pa: Gpa, bytes: &mut [u8]) -> Result<(), Fault> {
        self.check_physical(pa, bytes.len(), Access::Read)?;
        let mut pa = pa.0;
        let mut rest = bytes;
        while !rest.is_empty() {
            let offset = pa as usize % PAGE_SIZE;
            let (piece, after) = rest.split_at_mut(rest.len().min(PAGE_SIZE - offset));
            match self.tree.page(pa >> 12) {
                Some(page) => piece.copy_from_slice(&page.data()[offset..offset + piece.len()]),
                None => piece.fill(0),
            }
            pa += piece.len() as u64;
            rest = after;
        }
        Ok(())
    }

    /// Writes physical memory without looking at the shadow.
    ///
    /// # Errors
    /// [`Fault::Device`] with the first address outside RAM; nothing is written then.
    pub fn write_physical(&mut self, pa: Gpa, bytes: &[u8]) -> Result<(), Fault> {
        self.check_physical(pa, bytes.len(), Access::Write)?;
        let mut pa = pa.0;
        let mut rest = bytes;
        while !rest.is_empty() {
            let offset = pa as usize % PAGE_SIZE;
            let (piece, after) = rest.split_at(rest.len().min(PAGE_SIZE - offset));
            self.note_write(pa >> 12);
            if let Some(start) = self.page_mut(pa >> 12) {
                // SAFETY: `page_mut` gives a page that is owned alone; the piece ends within its data.
                unsafe {
                    start
                        .add(offset)
                        .copy_from_nonoverlapping(piece.as_ptr(), piece.len())
                };
            }
            pa += piece.len() as u64;
            rest = after;
        }
        Ok(())
    }

    fn check_physical(&self, pa: Gpa, len: usize, access: Access) -> Result<(), Fault> {
        match pa.0.checked_add(len as u64) {
            Some(end) if end <= self.ram.end => Ok(()),
            _ => Err(Fault::Device {
                pa: Gpa(pa.0.max(self.ram.end)),
                access,
            }),
        }
    }

    /// The 64-bit word at an 8-byte aligned physical address (a page table entry). `None` outside RAM.
    #[inline]
    pub(crate) fn word(&self, pa: u64) -> Option<u64> {
        if !self.is_ram(pa >> 12) {
            return None;
        }
        let start = self.tree.start(pa >> 12);
        // SAFETY: the offset is below PAGE_SIZE and a multiple of 8 in a live page, which `&self` keeps unwritten.
        Some(unsafe { start.add((pa & 0xff8) as usize).cast::<u64>().read() }.to_le())
    }

    /// Changes the word at an 8-byte aligned physical address without telling the watchers. Does nothing outside RAM.
    pub(crate) fn set_word(&mut self, pa: u64, value: u64) {
        if let Some(start) = self.page_mut(pa >> 12) {
            // SAFETY: as in `word`, and `page_mut` gives a page that is owned alone.
            unsafe {
                start
                    .add((pa & 0xff8) as usize)
                    .cast::<u64>()
                    .write(value.to_le())
            };
        }
    }
}
