//! Which page frames are in use, and sets of frame numbers.

use std::ops::Range;
use std::sync::Arc;

use crate::Memory;
use crate::address::Gpa;
use crate::page::PAGE_SIZE;

/// A set of frame numbers as a bit map in shared blocks of 4,096 bits, so that a clone is cheap.
#[derive(Clone, Default)]
pub(crate) struct FrameSet {
    blocks: Vec<Option<Arc<[u64; 64]>>>,
}

impl FrameSet {
    #[inline]
    pub(crate) fn contains(&self, pfn: u64) -> bool {
        self.word(pfn) >> (pfn % 64) & 1 != 0
    }

    /// Which of the 64 frames of `pfn`'s aligned group are in the set, one bit each.
    #[inline]
    pub(crate) fn word(&self, pfn: u64) -> u64 {
        match self.blocks.get((pfn >> 12) as usize) {
            Some(Some(block)) => block[(pfn >> 6) as usize % 64],
            _ => 0,
        }
    }

    /// Adds a frame of RAM; whether it was not in the set before.
    #[inline]
    pub(crate) fn insert(&mut self, pfn: u64) -> bool {
        if self.contains(pfn) {
            return false;
        }
        let block = (pfn >> 12) as usize;
        if block >= self.blocks.len() {
            self.blocks.resize(block + 1, None);
        }
        if let Some(slot) = self.blocks.get_mut(block) {
            let block = Arc::make_mut(slot.get_or_insert_with(|| Arc::new([0; 64])));
            block[(pfn >> 6) as usize % 64] |= 1 << (pfn % 64);
        }
        true
    }

    /// Removes a frame; whether it was in the set.
    #[inline]
    pub(crate) fn remove(&mut self, pfn: u64) -> bool {
        if !self.contains(pfn) {
            return false;
        }
        if let Some(Some(block)) = self.blocks.get_mut((pfn >> 12) as usize) {
            Arc::make_mut(block)[(pfn >> 6) as usize % 64] &= !(1 << (pfn % 64));
        }
        true
    }

    pub(crate) fn clear(&mut self) {
        for block in self.blocks.iter_mut() {
            match block.as_mut().and_then(Arc::get_mut) {
                Some(words) => words.fill(0),
                None => *block = None,
            }
        }
    }

    /// Ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        (0u64..)
            .zip(&self.blocks)
            .filter_map(|(number, block)| Some((number, block.as_ref()?)))
            .flat_map(|(number, block)| {
                (0u64..).zip(block.iter()).flat_map(move |(index, &word)| {
                    let first = number << 12 | index << 6;
                    std::iter::successors((word != 0).then_some(word), |word| {
                        let rest = word & (word - 1);
                        (rest != 0).then_some(rest)
                    })
                    .map(move |word| first + u64::from(word.trailing_zeros()))
                })
            })
    }

    /// The lowest frame from `from` on that is not in the set.
    fn first_absent(&self, from: u64) -> u64 {
        let mut pfn = from;
        loop {
            let Some(Some(block)) = self.blocks.get((pfn >> 12) as usize) else {
                return pfn;
            };
            // Bits below `pfn` count as present.
            let word = block[(pfn >> 6) as usize % 64] | ((1u64 << (pfn % 64)) - 1);
            if word != u64::MAX {
                return (pfn & !63) + u64::from(word.trailing_ones());
            }
            pfn = (pfn & !63) + 64;
        }
    }
}

/// The frame allocator's state; part of what snapshots keep.
#[derive(Clone)]
pub(crate) struct Frames {
    used: FrameSet,
    /// No free frame lies below.
    hint: u64,
    free: u64,
    total: u64,
}

impl Frames {
    pub(crate) fn new(total: u64) -> Self {
        Self {
            used: FrameSet::default(),
            hint: 0,
            free: total,
            total,
        }
    }

    fn alloc(&mut self) -> Option<u64> {
        let pfn = self.used.first_absent(self.hint);
        if pfn >= self.total {
            return None;
        }
        self.used.insert(pfn);
        self.hint = pfn + 1;
        self.free -= 1;
        Some(pfn)
    }

    fn free(&mut self, pfn: u64) -> bool {
        let known = self.used.remove(pfn);
        if known {
            self.hint = self.hint.min(pfn);
            self.free += 1;
        }
        known
    }
}

impl Memory {
    /// Takes the lowest free page frame and zeroes it, data and shadow. `None` when RAM is full.
    pub fn alloc_frame(&mut self) -> Option<Gpa> {
        let pfn = self.frames.alloc()?;
        self.zero_frame(pfn);
        Some(Gpa::from_pfn(pfn))
    }

    /// Takes the lowest `count` adjacent free frames and zeroes them. `None` when there is no such run.
    pub fn alloc_frames(&mut self, count: u64) -> Option<Gpa> {
        let mut first = self.frames.used.first_absent(self.frames.hint);
        while first.checked_add(count)? <= self.frames.total {
            match (first..first + count).find(|pfn| self.frames.used.contains(*pfn)) {
                Some(taken) => first = self.frames.used.first_absent(taken),
                None => {
                    for pfn in first..first + count {
                        self.frames.used.insert(pfn);
                        self.frames.free -= 1;
                        self.zero_frame(pfn);
                    }
                    return Some(Gpa::from_pfn(first));
                }
            }
        }
        None
    }

    /// Gives a frame back and zeroes it. A frame that isn't in use, or isn't RAM, is left alone.
    pub fn free_frame(&mut self, pa: Gpa) {
        if self.frames.free(pa.pfn()) {
            self.zero_frame(pa.pfn());
        }
    }

    /// How many frames are free.
    pub fn free_frames(&self) -> usize {
        self.frames.free as usize
    }

    /// Whether a frame is RAM that nobody has allocated or reserved.
    pub fn is_free_frame(&self, pa: Gpa) -> bool {
        self.is_ram(pa.pfn()) && !self.frames.used.contains(pa.pfn())
    }

    /// Keeps all frames that touch the physical address `range` (in bytes) from being allocated. What lies in them
    /// stays.
    pub fn reserve_frames(&mut self, range: Range<u64>) {
        let end = range.end.min(self.ram.end).div_ceil(PAGE_SIZE as u64);
        for pfn in range.start >> 12..end {
            if self.frames.used.insert(pfn) {
                self.frames.free -= 1;
            }
        }
    }

    fn zero_frame(&mut self, pfn: u64) {
        if self.tree.page(pfn).is_some() {
            self.note_write(pfn);
            self.dirty.insert(pfn);
            self.replace_page(pfn, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowest_free_first() {
        let mut memory = Memory::new(64 * 4096);
        assert_eq!(memory.free_frames(), 63, "frame 0 is never handed out");
        memory.reserve_frames(0x2fff..0x4001);
        let frames: Vec<_> = std::iter::from_fn(|| memory.alloc_frame())
            .map(Gpa::pfn)
            .collect();
        assert_eq!(frames, [1].into_iter().chain(5..64).collect::<Vec<_>>());
        memory.free_frame(Gpa(0x9000));
        memory.free_frame(Gpa(0x7000));
        memory.free_frame(Gpa(0x7000));
        memory.free_frame(Gpa(0x900_0000));
        assert_eq!(memory.free_frames(), 2);
        assert_eq!(memory.alloc_frames(2), None);
        memory.free_frame(Gpa(0x8000));
        assert_eq!(memory.alloc_frames(3), Some(Gpa(0x7000)));
        assert_eq!(memory.alloc_frame(), None);
    }

    #[test]
    fn frames_come_and_go_zeroed() {
        let mut memory = Memory::new(64 * 4096);
        let untouched = memory.hash();
        let frame = memory.alloc_frame().unwrap();
        memory.write_physical(frame, b"old").unwrap();
        assert_ne!(memory.hash(), untouched);
        memory.free_frame(frame);
        assert_eq!(memory.hash(), untouched);
    }

    #[test]
    fn sets_iterate_in_order() {
        let mut set = FrameSet::default();
        let members = [3, 0, 63, 64, 4095, 4096, 70_000];
        for pfn in members {
            assert!(set.insert(pfn));
            assert!(!set.insert(pfn));
        }
        assert!(set.remove(64) && !set.remove(64) && !set.remove(1 << 40));
        assert_eq!(
            set.iter().collect::<Vec<_>>(),
            [0, 3, 63, 4095, 4096, 70_000]
        );
        set.clear();
        assert_eq!(set.iter().count(), 0);
    }
}
