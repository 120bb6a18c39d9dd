//! The 128-bit content hash of a memory.
//!
//! It depends on the bytes of data and shadow only: not on how they came about, which frames were touched, nor on
//! the host. Pages of zeros count as untouched. The function is fixed: equal numbers in two runs mean equal memory.
//!
//! Page: two 64-bit lanes each take every word of data and shadow as `lane = (lane ^ word) * ODD; lane ^= lane >> 29`
//! (each step is a bijection of the lane, so pages that differ in one word never collide), the second lane with the
//! word rotated and another constant; each lane is kept as two half-lanes for even and odd words, for speed. Memory:
//! the wrapping sum over all pages of `finish(page hash, frame number)`, so that the order of visits doesn't matter.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::Memory;
use crate::page::Page;

/// A hash that was computed for content that hasn't changed since. 0 is the hash of zeros.
#[derive(Default)]
pub(crate) struct HashCache {
    valid: AtomicBool,
    low: AtomicU64,
    high: AtomicU64,
}

impl HashCache {
    pub(crate) const fn new() -> Self {
        Self {
            valid: AtomicBool::new(false),
            low: AtomicU64::new(0),
            high: AtomicU64::new(0),
        }
    }

    pub(crate) fn clear(&self) {
        self.valid.store(false, Ordering::Relaxed);
    }

    fn get_or(&self, compute: impl FnOnce() -> u128) -> u128 {
        if self.valid.load(Ordering::Acquire) {
            return u128::from(self.low.load(Ordering::Relaxed))
                | u128::from(self.high.load(Ordering::Relaxed)) << 64;
        }
        let hash = compute();
        self.low.store(hash as u64, Ordering::Relaxed);
        self.high.store((hash >> 64) as u64, Ordering::Relaxed);
        self.valid.store(true, Ordering::Release);
        hash
    }
}

/// A copy has the same content and so the same hash, but it is made to be changed.
impl Clone for HashCache {
    fn clone(&self) -> Self {
        Self::new()
    }
}

// Odd constants with well spread bits: the fractional parts of the square roots of 2, 3, 5 and 7, made odd.
const SQRT_2: u64 = 0x6a09_e667_f3bc_c909;
const SQRT_3: u64 = 0xbb67_ae85_84ca_a73b;
const SQRT_5: u64 = 0x3c6e_f372_fe94_f82b;
const SQRT_7: u64 = 0xa54f_f53a_5f1d_36f1;

fn step(lane: u64, word: u64, odd: u64) -> u64 {
    let lane = (lane ^ word).wrapping_mul(odd);
    lane ^ (lane >> 29)
}

/// Spreads each bit of a lane over all others.
fn spread(lane: u64) -> u64 {
    step(step(step(lane, 0, SQRT_3), 0, SQRT_7), 0, SQRT_5)
}

fn finish(low: u64, high: u64, extra: u64) -> u128 {
    let a = spread(step(low ^ high.rotate_left(32), extra, SQRT_2));
    let b = spread(step(high.wrapping_add(a), extra, SQRT_5));
    u128::from(a) | u128::from(b) << 64
}

fn hash_page(page: &Page) -> u128 {
    let (mut a, mut b) = ([SQRT_2, SQRT_3], [SQRT_5, SQRT_7]);
    let mut any = 0;
    let mut words = page.words();
    while let (Some(even), Some(odd)) = (words.next(), words.next()) {
        any |= even | odd;
        a[0] = step(a[0], even, SQRT_3);
        a[1] = step(a[1], odd, SQRT_3);
        b[0] = step(b[0], even.rotate_left(32), SQRT_7);
        b[1] = step(b[1], odd.rotate_left(32), SQRT_7);
    }
    if any == 0 {
        return 0;
    }
    finish(
        step(spread(a[0]), a[1], SQRT_5),
        step(spread(b[0]), b[1], SQRT_2),
        0,
    )
}

impl Memory {
    /// The 128-bit hash of all data and shadow. Cached per page and per group of pages, so a second call costs only
    /// what changed in between.
    pub fn hash(&self) -> u128 {
        // A write tag lets stores pass without a note, which would leave stale caches behind.
        self.tlb.clear_writes();
        self.tree.hash()
    }
}

impl crate::physical::Tree {
    fn hash(&self) -> u128 {
        let mut sum = 0u128;
        for (base, region) in self.regions() {
            sum = sum.wrapping_add(region.hash.get_or(|| {
                region.chunks(base).fold(0u128, |sum, (base, chunk)| {
                    sum.wrapping_add(chunk.hash.get_or(|| {
                        chunk.pages(base).fold(0u128, |sum, (pfn, page)| {
                            match page.hash.get_or(|| hash_page(page)) {
                                0 => sum,
                                hash => {
                                    sum.wrapping_add(finish(hash as u64, (hash >> 64) as u64, pfn))
                                }
                            }
                        })
                    }))
                })
            }));
        }
        sum
    }
}
