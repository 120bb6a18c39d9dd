//! One page of RAM with its shadow, in one allocation so that the shadow is at a fixed offset from the data.

use std::cell::{RefCell, UnsafeCell};
use std::sync::Arc;

use crate::hash::HashCache;

/// Size of a page in bytes.
pub const PAGE_SIZE: usize = 4096;

/// One shadow byte covers eight bytes of data.
pub(crate) const SHADOW_SIZE: usize = PAGE_SIZE / 8;

/// The fast path may look one byte behind the last shadow byte; these bytes stay 0.
const PAD: usize = 16;

/// Offset of the shadow from the start of the page.
pub(crate) const SHADOW_OFFSET: usize = PAGE_SIZE;

/// Data and shadow of one page frame.
///
/// A page that several memories or snapshots share is never written. A page that one memory owns alone is written
/// only through `&mut Memory`. Hence reads through `&Memory` never race with a write.
#[repr(C, align(16))]
pub(crate) struct Page {
    bytes: UnsafeCell<[u8; PAGE_SIZE + SHADOW_SIZE + PAD]>,
    pub(crate) hash: HashCache,
}

// SAFETY: see the type's comment: shared pages are only read, except for the hash cache, which is atomic.
unsafe impl Sync for Page {}

/// What a frame that was never written reads as.
static ZERO: Page = Page {
    bytes: UnsafeCell::new([0; PAGE_SIZE + SHADOW_SIZE + PAD]),
    hash: HashCache::new(),
};

/// Start of the page that never-written frames read as. Never write through it.
pub(crate) fn zero_page() -> *const u8 {
    ZERO.bytes.get().cast()
}

impl Page {
    /// Start of data and shadow of a shared page. Writing needs sole ownership.
    #[inline]
    pub(crate) fn start(page: &Arc<Page>) -> *mut u8 {
        page.bytes.get().cast()
    }

    /// The data bytes. The caller must not write the page while it holds the slice.
    #[inline]
    pub(crate) fn data(&self) -> &[u8; PAGE_SIZE] {
        // SAFETY: the first PAGE_SIZE bytes of the cell are initialised, and nobody writes them while a `&self` from
        // `&Memory` is held (type's comment).
        unsafe { &*self.bytes.get().cast::<[u8; PAGE_SIZE]>() }
    }

    /// Data and shadow as little-endian words, in order.
    pub(crate) fn words(&self) -> impl Iterator<Item = u64> + '_ {
        // SAFETY: as for `data`; data and shadow are contiguous and initialised.
        let bytes = unsafe {
            std::slice::from_raw_parts(self.bytes.get().cast::<u8>(), PAGE_SIZE + SHADOW_SIZE)
        };
        bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|word| u64::from_le_bytes(*word))
    }
}

thread_local! {
    /// Boxes of pages that are not in use, kept because allocating and freeing them costs more than copying a page.
    /// One list for all memories of a thread, so that a clone doesn't start without. Their bytes are unknown to
    /// whoever takes one, so nothing passes through the list.
    static SPARES: RefCell<Vec<Arc<Page>>> = const { RefCell::new(Vec::new()) };
}

/// Enough for a fuzzing iteration and some clones; 2.4 MiB.
const MOST_SPARES: usize = 512;

/// A zeroed page that the caller owns alone.
pub(crate) fn zeroed() -> Arc<Page> {
    let Some(page) = take_spare() else {
        // SAFETY: all-zero bytes are a valid Page: an array of bytes and an empty cache of integers.
        return unsafe { Arc::<Page>::new_zeroed().assume_init() };
    };
    // SAFETY: spares are owned alone; the range lies within the page. The pad is 0 already.
    unsafe { Page::start(&page).write_bytes(0, PAGE_SIZE + SHADOW_SIZE) };
    page
}

/// A copy of data and shadow of `from` that the caller owns alone.
pub(crate) fn copy_of(from: &Arc<Page>) -> Arc<Page> {
    let source = Page::start(from).cast_const();
    if let Some(page) = take_spare() {
        // SAFETY: the spare is owned alone and is not `from`, which is not written while shared (comment of Page).
        unsafe { Page::start(&page).copy_from_nonoverlapping(source, PAGE_SIZE + SHADOW_SIZE) };
        return page;
    }
    let page = Arc::<Page>::new_uninit();
    let new = Arc::as_ptr(&page).cast_mut().cast::<Page>();
    // SAFETY: `new` points to a whole Page without a value, which only `page` owns. All of its fields are written: data
    // and shadow with those of `from` (not written while shared), the pad behind, and the cache.
    unsafe {
        let bytes = (&raw mut (*new).bytes).cast::<u8>();
        bytes.copy_from_nonoverlapping(source, PAGE_SIZE + SHADOW_SIZE);
        bytes.add(PAGE_SIZE + SHADOW_SIZE).write_bytes(0, PAD);
        (&raw mut (*new).hash).write(HashCache::new());
        page.assume_init()
    }
}

fn take_spare() -> Option<Arc<Page>> {
    let page = SPARES.try_with(|spares| spares.borrow_mut().pop()).ok()??;
    page.hash.clear();
    Some(page)
}

/// Keeps the box of a page if nobody else uses it; whether there is room for more.
pub(crate) fn recycle(mut page: Arc<Page>) -> bool {
    if Arc::get_mut(&mut page).is_none() {
        return true;
    }
    let keep = |spares: &RefCell<Vec<Arc<Page>>>| {
        let mut spares = spares.borrow_mut();
        let room = spares.len() < MOST_SPARES;
        if room {
            spares.push(page);
        }
        room
    };
    SPARES.try_with(keep).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_and_reuse() {
        assert_eq!(align_of::<Page>(), 16);
        let first = zeroed();
        assert_eq!(Page::start(&first) as usize % 16, 0);
        // SAFETY: `first` is owned alone.
        unsafe { Page::start(&first).add(SHADOW_OFFSET).write(7) };
        let second = copy_of(&first);
        assert_eq!(second.words().nth(PAGE_SIZE / 8), Some(7));
        let address = Page::start(&second) as usize;
        let kept = first.clone();
        assert!(recycle(second) && recycle(first));
        let again = zeroed();
        assert_eq!(
            Page::start(&again) as usize,
            address,
            "a shared page is not reused"
        );
        assert!(again.words().all(|word| word == 0));
        assert_eq!(kept.words().nth(PAGE_SIZE / 8), Some(7));
    }
}
