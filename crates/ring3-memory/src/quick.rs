//! Guest accesses of the engine, the fast path: TLB, one look at the shadow, an unaligned copy.

use crate::Memory;
use crate::access::Scalar;
use crate::fault::{Fault, Privilege};
use crate::page::{PAGE_SIZE, SHADOW_OFFSET};
use crate::tlb::{aligned_tag, tag};

/// Whether nothing in the groups of eight that a `T` at `offset` touches is marked.
///
/// # Safety
/// `page` is the start of a page, and the `T` lies within it.
#[inline(always)]
unsafe fn clean<T: Scalar>(page: *const u8, offset: usize) -> bool {
    // SAFETY: the caller vouches for it: the last index is below SHADOW_SIZE.
    unsafe {
        let shadow = page.add(SHADOW_OFFSET);
        let last = shadow.add((offset + T::SIZE - 1) / 8).read();
        match T::SIZE {
            1 => last == 0,
            2 | 4 | 8 => shadow.add(offset / 8).read() | last == 0,
            // Two groups when aligned, three when not.
            _ => shadow.add(offset / 8).cast::<u16>().read_unaligned() | u16::from(last) == 0,
        }
    }
}

impl Memory {
    /// Loads a value for the guest if that takes nothing but a look into the TLB and at the shadow. `None` says no
    /// more than that [`Self::load`] must do it; it always does so for 2, 4 and 8 bytes at an address that is not
    /// aligned to them.
    #[inline(always)]
    pub fn try_load<T: Scalar>(&self, va: u64, privilege: Privilege) -> Option<T> {
        if T::SIZE > 8 {
            return self.try_load_anywhere(va, privilege);
        }
        let entry = self.tlb.entry(va);
        if entry.read == aligned_tag(va, T::SIZE, privilege) {
            let offset = va as usize % PAGE_SIZE;
            // SAFETY: the read tag matches, so `page` is live (TLB invariant); an aligned value lies within it, and
            // within one group of the shadow.
            unsafe {
                if entry.page.add(SHADOW_OFFSET + offset / 8).read() == 0 {
                    return Some(
                        entry
                            .page
                            .add(offset)
                            .cast::<T>()
                            .read_unaligned()
                            .swap_if_big_endian(),
                    );
                }
            }
        }
        None
    }

    /// [`Self::try_load`] for any address.
    #[inline(always)]
    fn try_load_anywhere<T: Scalar>(&self, va: u64, privilege: Privilege) -> Option<T> {
        let entry = self.tlb.entry(va);
        if entry.read == tag(va.wrapping_add(T::SIZE as u64 - 1), privilege) {
            let offset = va as usize % PAGE_SIZE;
            // SAFETY: the read tag matches the page of the last byte, and with the entry's index also that of the
            // first; so `page` is live (TLB invariant) and the value lies within it.
            unsafe {
                if clean::<T>(entry.page, offset) {
                    return Some(
                        entry
                            .page
                            .add(offset)
                            .cast::<T>()
                            .read_unaligned()
                            .swap_if_big_endian(),
                    );
                }
            }
        }
        None
    }

    /// Loads a value for the guest. Fails before any effect but accessed bits, which a processor may set too.
    ///
    /// # Errors
    /// [`Fault`], for the lowest address at fault; [`Fault::Shadow`] only if the access is otherwise possible.
    #[inline(always)]
    pub fn load<T: Scalar>(&mut self, va: u64, privilege: Privilege) -> Result<T, Fault> {
        match self.try_load(va, privilege) {
            Some(value) => Ok(value),
            None => self.load_otherwise(va, privilege),
        }
    }

    #[inline(never)]
    fn load_otherwise<T: Scalar>(&mut self, va: u64, privilege: Privilege) -> Result<T, Fault> {
        match self.try_load_anywhere(va, privilege) {
            Some(value) => Ok(value),
            None => self.load_slow(va, privilege),
        }
    }

    /// Stores a value for the guest if that takes nothing but a look into the TLB and at the shadow, and gives whether
    /// it did. The same addresses as for [`Self::try_load`] are left to [`Self::store`]. Such a store never changes
    /// watched code ([`Self::watch_code`]), whose pages have no entry for writing.
    #[inline(always)]
    pub fn try_store<T: Scalar>(&mut self, va: u64, value: T, privilege: Privilege) -> bool {
        if T::SIZE > 8 {
            return self.try_store_anywhere(va, value, privilege);
        }
        let entry = self.tlb.entry(va);
        if entry.write() == aligned_tag(va, T::SIZE, privilege) {
            let offset = va as usize % PAGE_SIZE;
            // SAFETY: as in `try_load`; the write tag means that this memory owns the page alone (TLB invariant).
            unsafe {
                if entry.page.add(SHADOW_OFFSET + offset / 8).read() == 0 {
                    entry
                        .page
                        .add(offset)
                        .cast::<T>()
                        .write_unaligned(value.swap_if_big_endian());
                    return true;
                }
            }
        }
        false
    }

    /// [`Self::try_store`] for any address.
    #[inline(always)]
    fn try_store_anywhere<T: Scalar>(&mut self, va: u64, value: T, privilege: Privilege) -> bool {
        let entry = self.tlb.entry(va);
        if entry.write() == tag(va.wrapping_add(T::SIZE as u64 - 1), privilege) {
            let offset = va as usize % PAGE_SIZE;
            // SAFETY: as in `try_load_anywhere`; the write tag means that this memory owns the page alone (TLB
            // invariant).
            unsafe {
                if clean::<T>(entry.page, offset) {
                    entry
                        .page
                        .add(offset)
                        .cast::<T>()
                        .write_unaligned(value.swap_if_big_endian());
                    return true;
                }
            }
        }
        false
    }

    /// Stores a value for the guest. Fails before any effect but accessed and dirty bits, also if it crosses a page.
    ///
    /// # Errors
    /// As for [`Self::load`].
    #[inline(always)]
    pub fn store<T: Scalar>(
        &mut self,
        va: u64,
        value: T,
        privilege: Privilege,
    ) -> Result<(), Fault> {
        if self.try_store(va, value, privilege) {
            return Ok(());
        }
        self.store_otherwise(va, value, privilege)
    }

    #[inline(never)]
    fn store_otherwise<T: Scalar>(
        &mut self,
        va: u64,
        value: T,
        privilege: Privilege,
    ) -> Result<(), Fault> {
        if self.try_store_anywhere(va, value, privilege) {
            return Ok(());
        }
        self.store_slow(va, value, privilege)
    }
}
