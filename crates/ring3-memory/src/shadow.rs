//! Shadow bytes: which bytes of RAM must not be touched, and why.
//!
//! One shadow byte for each 8 physical bytes, in AddressSanitizer's encoding: 0 all may be touched, 1 to 7 only so
//! many from the start, 0x80 and above none, for that reason. The encoding can't say "only the end may be touched";
//! where such a piece is asked for, the whole group may be touched, because a false alarm is worse than a missed one.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Memory;
use crate::address::Gpa;
use crate::fault::{Access, ShadowHit};
use crate::page::{PAGE_SIZE, SHADOW_OFFSET};

/// Reasons in the shadow. Others from 0x80 up are the caller's to define.
pub mod codes {
    /// Nothing is wrong with any of the eight bytes.
    pub const CLEAN: u8 = 0;
    /// Around a pool allocation.
    pub const POOL_RED_ZONE: u8 = 0xfa;
    /// A freed pool allocation.
    pub const POOL_FREED: u8 = 0xfd;
    /// Pool memory that was never handed out.
    pub const UNALLOCATED: u8 = 0xfe;
    /// Beyond the end of a kernel stack.
    pub const STACK_GUARD: u8 = 0xf1;
}

/// The shadow hits of host accesses, which go on all the same.
#[derive(Default)]
pub(crate) struct HitLog {
    any: AtomicBool,
    hits: Mutex<Vec<ShadowHit>>,
}

/// So many hits are kept until somebody takes them; one report per cause is enough.
const MOST_HITS: usize = 1024;

impl HitLog {
    #[cold]
    fn push(&self, hit: ShadowHit) {
        let mut hits = self.hits.lock().unwrap_or_else(PoisonError::into_inner);
        if hits.len() < MOST_HITS {
            hits.push(hit);
        }
        self.any.store(true, Ordering::Release);
    }
}

/// Hits not taken yet are part of the value.
impl Clone for HitLog {
    fn clone(&self) -> Self {
        if !self.any.load(Ordering::Acquire) {
            return Self::default();
        }
        let hits = self
            .hits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Self {
            any: AtomicBool::new(true),
            hits: Mutex::new(hits),
        }
    }
}

/// Whether nothing in the groups of eight bytes that a value of `size` bytes touches is marked.
///
/// # Safety
/// `page` is the start of a page, and the value lies within it.
#[inline(always)]
pub(crate) unsafe fn clean(page: *const u8, offset: usize, size: usize) -> bool {
    let (first, last) = (offset / 8, (offset + size.max(1) - 1) / 8);
    // As many as there can be for any offset, so that the compiler knows their number where it knows the size.
    (0..=size.div_ceil(8)).fold(0, |marks, group| {
        // SAFETY: the group is at most that of the last byte, which the caller vouches for.
        marks | unsafe { page.add(SHADOW_OFFSET + (first + group).min(last)).read() }
    }) == 0
}

/// The first byte of `page[offset..offset + len]` that must not be touched, and the reason.
///
/// # Safety
/// `page` is the start of a page, and `offset + len` is at most [`PAGE_SIZE`].
pub(crate) unsafe fn first_bad(page: *const u8, offset: usize, len: usize) -> Option<(usize, u8)> {
    // SAFETY: the caller vouches for the page; the index stays below SHADOW_SIZE.
    let shadow = |group: usize| unsafe { page.add(SHADOW_OFFSET + group).read() };
    let end = offset + len;
    let mut at = offset;
    while at < end {
        let group = at / 8;
        let code = shadow(group);
        if code != 0 {
            let good = if code < 8 { usize::from(code) } else { 0 };
            let bad = at.max(group * 8 + good);
            if bad < end.min(group * 8 + 8) {
                let next = if group + 1 < PAGE_SIZE / 8 {
                    shadow(group + 1)
                } else {
                    0
                };
                return Some((
                    bad,
                    if code < 0x80 && next >= 0x80 {
                        next
                    } else {
                        code
                    },
                ));
            }
        }
        at = (group + 1) * 8;
    }
    None
}

/// The shadow byte `group` after its bytes `from..to` became bad.
fn poisoned(group: u8, from: u8, to: u8, code: u8) -> u8 {
    let good = match group {
        0 => 8,
        1..=7 => group,
        _ => 0,
    };
    match good.min(from) {
        // Bytes behind the range would have to stay good.
        _ if to < good => group,
        0 if good == 0 && (from, to) != (0, 8) => group,
        0 => code,
        good => good,
    }
}

impl Memory {
    /// The shadow hit of an access of `size` bytes at `va`, of which `len` bytes lie at `offset` in `page` (frame
    /// `pfn`) and belong to virtual address `piece`.
    ///
    /// # Safety
    /// As for [`first_bad`].
    #[inline]
    pub(crate) unsafe fn shadow_hit(
        &self,
        page: *const u8,
        pfn: u64,
        piece: (u64, usize),
        size: u64,
        access: Access,
    ) -> Option<ShadowHit> {
        if !self.shadow_on {
            return None;
        }
        let (va, len) = piece;
        let offset = va as usize % PAGE_SIZE;
        // SAFETY: the caller vouches for it.
        let (bad, code) = unsafe { first_bad(page, offset, len) }?;
        Some(ShadowHit {
            va: va.wrapping_add((bad - offset) as u64),
            pa: Gpa(pfn << 12 | bad as u64),
            size: u32::try_from(size).unwrap_or(u32::MAX),
            access,
            code,
        })
    }

    /// Keeps a hit of a host access.
    #[cold]
    pub(crate) fn record_hit(&self, hit: ShadowHit) {
        self.hits.push(hit);
    }

    /// The shadow hits of host accesses since the last call, oldest first; at most 1,024 are kept.
    #[inline]
    pub fn take_shadow_hits(&mut self) -> Vec<ShadowHit> {
        if !*self.hits.any.get_mut() {
            return Vec::new();
        }
        *self.hits.any.get_mut() = false;
        std::mem::take(
            self.hits
                .hits
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Turns shadow checks on or off, for guest and host accesses. They are on at first. The shadow itself stays.
    pub fn shadow_enabled(&mut self, on: bool) {
        self.shadow_on = on;
    }

    /// Whether shadow checks are on.
    pub fn is_shadow_enabled(&self) -> bool {
        self.shadow_on
    }

    /// Marks `len` bytes from `va` on as not to be touched, for the reason `code` (0x80 and above). Pages that are
    /// not mapped to RAM are skipped: touching them faults anyway. A group of eight whose end would stay good is left
    /// as it is.
    pub fn poison(&mut self, va: u64, len: u64, code: u8) {
        self.change_shadow(va, len, &|group, from, to| poisoned(group, from, to, code));
    }

    /// Marks `len` bytes from `va` on as good. Pages that are not mapped to RAM are skipped. Where a group of eight has
    /// bad bytes before the range, they become good too.
    pub fn unpoison(&mut self, va: u64, len: u64) {
        self.change_shadow(va, len, &|group, _, to| match (group, to) {
            (0, _) | (_, 8) => 0,
            (1..=7, to) => group.max(to),
            (_, to) => to,
        });
    }

    /// Lays out an object in the `total_len` bytes from `va` (a multiple of 8): `len` good bytes, the rest bad for
    /// the reason `tail_code`.
    pub fn set_object(&mut self, va: u64, len: u64, total_len: u64, tail_code: u8) {
        let whole = len & !7;
        self.change_shadow(va, whole, &|_, _, _| 0);
        let mut rest = va.wrapping_add(whole);
        let mut left = total_len.saturating_sub(whole);
        if len & 7 != 0 {
            self.change_shadow(rest, 8, &|_, _, _| (len & 7) as u8);
            rest = rest.wrapping_add(8);
            left = left.saturating_sub(8);
        }
        self.poison(rest, left, tail_code);
    }

    /// The shadow byte of the group of eight that `va` lies in. `None` where no RAM is mapped.
    pub fn shadow_at(&self, va: u64) -> Option<u8> {
        let (page, _) = self.locate(None, va)?;
        // SAFETY: `locate` gives the start of a live page; the index is below SHADOW_SIZE.
        Some(unsafe { page.add(SHADOW_OFFSET + va as usize % PAGE_SIZE / 8).read() })
    }

    /// The shadow byte of the group of eight at a physical address. `None` outside RAM.
    pub fn shadow_at_physical(&self, pa: Gpa) -> Option<u8> {
        if !self.is_ram(pa.pfn()) {
            return None;
        }
        // SAFETY: `start` gives the start of a live page; the index is below SHADOW_SIZE.
        Some(unsafe {
            self.tree
                .start(pa.pfn())
                .add(SHADOW_OFFSET + pa.0 as usize % PAGE_SIZE / 8)
                .read()
        })
    }

    /// Calls `new(old, from, to)` for each group's shadow byte in the range, of which bytes `from..to` are meant.
    fn change_shadow(&mut self, va: u64, len: u64, new: &dyn Fn(u8, u8, u8) -> u8) {
        let mut va = va;
        let mut left = len;
        while left > 0 {
            let offset = va as usize % PAGE_SIZE;
            let piece = left.min((PAGE_SIZE - offset) as u64);
            if let Some((_, pfn)) = self.locate(None, va) {
                self.change_frame_shadow(pfn, offset, piece as usize, new);
            }
            va = va.wrapping_add(piece);
            left -= piece;
        }
    }

    fn change_frame_shadow(
        &mut self,
        pfn: u64,
        offset: usize,
        len: usize,
        new: &dyn Fn(u8, u8, u8) -> u8,
    ) {
        let Some(page) = self.page_mut(pfn) else {
            return;
        };
        let end = offset + len;
        for group in offset / 8..end.div_ceil(8) {
            let from = offset.saturating_sub(group * 8) as u8;
            let to = (end - group * 8).min(8) as u8;
            // SAFETY: `page_mut` gives a page that is owned alone; the index is below SHADOW_SIZE.
            unsafe {
                let place = page.add(SHADOW_OFFSET + group);
                place.write(new(place.read(), from, to));
            }
        }
    }
}
