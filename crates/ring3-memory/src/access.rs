//! Guest accesses of the engine: the fast path (TLB, one look at the shadow, an unaligned copy) and the slow one.

use crate::Memory;
use crate::address::Gpa;
use crate::fault::{Access, Fault, Privilege};
use crate::page::{PAGE_SIZE, SHADOW_OFFSET};
use crate::table::{Miss, Walk, is_canonical};
use crate::tlb::{Rights, aligned_tag, tag};

mod sealed {
    pub trait Sealed {}
}

/// A register-sized integer: what one instruction loads or stores at once.
pub trait Scalar: sealed::Sealed + Copy + Default + 'static {
    /// Size in bytes: 1, 2, 4, 8 or 16.
    const SIZE: usize;

    /// Little-endian bytes, as many as [`Self::SIZE`] says, to the value.
    fn from_bytes(bytes: &[u8]) -> Self;

    /// Puts the little-endian bytes into the first [`Self::SIZE`] bytes.
    fn to_bytes(self, bytes: &mut [u8; 16]);

    /// The value as it lies in guest memory, from host order or back.
    fn swap_if_big_endian(self) -> Self;
}

macro_rules! scalar {
    ($($kind:ty)*) => {$(
        impl sealed::Sealed for $kind {}
        impl Scalar for $kind {
            const SIZE: usize = size_of::<$kind>();

            fn from_bytes(bytes: &[u8]) -> Self {
                let mut image = [0; size_of::<$kind>()];
                for (to, from) in image.iter_mut().zip(bytes) {
                    *to = *from;
                }
                <$kind>::from_le_bytes(image)
            }

            fn to_bytes(self, bytes: &mut [u8; 16]) {
                bytes[..size_of::<$kind>()].copy_from_slice(&self.to_le_bytes());
            }

            #[inline(always)]
            fn swap_if_big_endian(self) -> Self {
                self.to_le()
            }
        }
    )*};
}

scalar!(u8 u16 u32 u64 u128);

/// What [`Memory::fetch`] got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fetch {
    /// How many bytes are valid: all asked for, or those up to the end of the first page.
    pub len: usize,
    /// Frame number of the first byte.
    pub pfn: u64,
    /// Frame number of the second page, if bytes came from it.
    pub next_pfn: Option<u64>,
}

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

    #[cold]
    #[inline(never)]
    fn load_slow<T: Scalar>(&mut self, va: u64, privilege: Privilege) -> Result<T, Fault> {
        let pieces = self.pieces(va, T::SIZE, Access::Read, privilege)?;
        let mut bytes = [0; 16];
        let mut done = 0;
        for (page, len) in pieces.into_iter().filter(|(_, len)| *len > 0) {
            // SAFETY: `pieces` gives the start of each piece in a live page, within which it ends.
            unsafe { page.copy_to_nonoverlapping(bytes.as_mut_ptr().add(done), len) };
            done += len;
        }
        Ok(T::from_bytes(&bytes))
    }

    #[cold]
    #[inline(never)]
    fn store_slow<T: Scalar>(
        &mut self,
        va: u64,
        value: T,
        privilege: Privilege,
    ) -> Result<(), Fault> {
        let pieces = self.pieces(va, T::SIZE, Access::Write, privilege)?;
        let mut bytes = [0; 16];
        value.to_bytes(&mut bytes);
        let mut done = 0;
        for (page, len) in pieces.into_iter().filter(|(_, len)| *len > 0) {
            // SAFETY: as in `load_slow`; for a write `pieces` gives pages that this memory owns alone.
            unsafe { page.copy_from_nonoverlapping(bytes.as_ptr().add(done), len) };
            done += len;
        }
        Ok(())
    }

    /// Checks that the guest could access `size` bytes (up to 4,096), with all effects of an access but the access
    /// itself. For instructions that must know early that a later store will succeed.
    ///
    /// # Errors
    /// As for [`Self::load`].
    pub fn probe(
        &mut self,
        va: u64,
        size: usize,
        access: Access,
        privilege: Privilege,
    ) -> Result<(), Fault> {
        self.pieces(va, size.min(PAGE_SIZE), access, privilege)
            .map(|_| ())
    }

    /// Loads up to 4,096 bytes for the guest as one access (string instructions, FXRSTOR). More are left untouched.
    ///
    /// # Errors
    /// As for [`Self::load`].
    pub fn load_bytes(
        &mut self,
        va: u64,
        bytes: &mut [u8],
        privilege: Privilege,
    ) -> Result<(), Fault> {
        let size = bytes.len().min(PAGE_SIZE);
        let mut rest = bytes;
        for (page, len) in self.pieces(va, size, Access::Read, privilege)? {
            let (piece, after) = rest.split_at_mut(len);
            // SAFETY: `pieces` gives the start of each piece in a live page, within which it ends.
            unsafe { page.copy_to_nonoverlapping(piece.as_mut_ptr(), len) };
            rest = after;
        }
        Ok(())
    }

    /// Stores up to 4,096 bytes for the guest as one access. More are not stored.
    ///
    /// # Errors
    /// As for [`Self::store`].
    pub fn store_bytes(
        &mut self,
        va: u64,
        bytes: &[u8],
        privilege: Privilege,
    ) -> Result<(), Fault> {
        let size = bytes.len().min(PAGE_SIZE);
        let mut rest = bytes;
        for (page, len) in self.pieces(va, size, Access::Write, privilege)? {
            let (piece, after) = rest.split_at(len);
            // SAFETY: as in `load_bytes`; for a write `pieces` gives pages that this memory owns alone.
            unsafe { page.copy_from_nonoverlapping(piece.as_ptr(), len) };
            rest = after;
        }
        Ok(())
    }

    /// Fills `bytes` with instruction bytes. Bytes of a second page that can't be fetched are left out. The shadow is
    /// not looked at.
    ///
    /// # Errors
    /// [`Fault`] if not even the first byte can be fetched.
    pub fn fetch(
        &mut self,
        va: u64,
        bytes: &mut [u8],
        privilege: Privilege,
    ) -> Result<Fetch, Fault> {
        let offset = va as usize % PAGE_SIZE;
        let first_len = bytes.len().min(PAGE_SIZE - offset);
        let (first, rest) = bytes.split_at_mut(first_len);
        let (page, pfn) = self.executable(va, privilege)?;
        // SAFETY: `executable` gives the start of a live page; the piece ends within its data.
        unsafe {
            page.add(offset)
                .copy_to_nonoverlapping(first.as_mut_ptr(), first.len())
        };
        let mut fetch = Fetch {
            len: first_len,
            pfn,
            next_pfn: None,
        };
        if !rest.is_empty()
            && let Ok((page, pfn)) = self.executable(va.wrapping_add(first_len as u64), privilege)
        {
            let len = rest.len().min(PAGE_SIZE);
            // SAFETY: as above, from the start of the page.
            unsafe { page.copy_to_nonoverlapping(rest.as_mut_ptr(), len) };
            fetch.len += len;
            fetch.next_pfn = Some(pfn);
        }
        Ok(fetch)
    }

    fn executable(&mut self, va: u64, privilege: Privilege) -> Result<(*const u8, u64), Fault> {
        let (page, pfn) = self.enter(va, Access::Execute, privilege, false)?;
        Ok((page.cast_const(), pfn))
    }

    /// Translates and checks an access of up to a page: the start and length of its one or two pieces.
    fn pieces(
        &mut self,
        va: u64,
        size: usize,
        access: Access,
        privilege: Privilege,
    ) -> Result<[(*mut u8, usize); 2], Fault> {
        let offset = va as usize % PAGE_SIZE;
        let len = size.min(PAGE_SIZE - offset);
        let next = va.wrapping_add(len as u64);
        let mut first = self.reach(va, access, privilege)?;
        let second = if len < size {
            let second = self.reach(next, access, privilege)?;
            // Setting accessed bits may have moved the first page, if it is a page table.
            first = self.reach(va, access, privilege)?;
            if access == Access::Write {
                // Each page may be a table on the way to the other.
                self.note_write(first.1);
                self.note_write(second.1);
            }
            Some(second)
        } else {
            None
        };
        // SAFETY: both are starts of live pages, and each piece lies within its page.
        unsafe {
            if let Some(hit) = self.shadow_hit(first.0, first.1, (va, len), size as u64, access) {
                return Err(Fault::Shadow(hit));
            }
            let Some(second) = second else {
                return Ok([(first.0.add(offset), len), (first.0, 0)]);
            };
            if let Some(hit) =
                self.shadow_hit(second.0, second.1, (next, size - len), size as u64, access)
            {
                return Err(Fault::Shadow(hit));
            }
            Ok([(first.0.add(offset), len), (second.0, size - len)])
        }
    }

    /// [`Self::enter`] for what the TLB doesn't know.
    #[inline]
    fn reach(
        &mut self,
        va: u64,
        access: Access,
        privilege: Privilege,
    ) -> Result<(*mut u8, u64), Fault> {
        let known = match access {
            Access::Read => self
                .tlb
                .readable(va, privilege)
                .map(|(page, pfn)| (page.cast_mut(), pfn)),
            Access::Write => self.tlb.writable(va, privilege),
            Access::Execute => None,
        };
        match known {
            Some(found) => Ok(found),
            None => self.enter(va, access, privilege, false),
        }
    }

    /// Whether the walk's rights allow an access. `host` stands for kernel code that set RFLAGS.AC before.
    pub(crate) fn allowed(
        &self,
        walk: &Walk,
        access: Access,
        privilege: Privilege,
        host: bool,
    ) -> bool {
        let context = &self.context;
        match (privilege, access) {
            (Privilege::User, _) if !walk.user => false,
            (_, Access::Execute) => {
                let forbidden = walk.no_execute && context.nxe;
                let user_code = privilege == Privilege::Supervisor && walk.user && context.smep;
                !forbidden && !user_code
            }
            (Privilege::Supervisor, _) if walk.user && context.smap && !host => false,
            (Privilege::Supervisor, Access::Write) => walk.write || !context.wp,
            (Privilege::User, Access::Write) => walk.write,
            (_, Access::Read) => true,
        }
    }

    /// Translates one access with all its effects (accessed and dirty bits, notes to the watchers) and enters it
    /// into the TLB. Gives the start of the page and its frame; for a write the page is owned alone.
    pub(crate) fn enter(
        &mut self,
        va: u64,
        access: Access,
        privilege: Privilege,
        host: bool,
    ) -> Result<(*mut u8, u64), Fault> {
        let walk = self.checked_walk(va, access, privilege, host)?;
        let pfn = walk.pa >> 12;
        self.mark_used(&walk, access == Access::Write);
        let page = if access == Access::Write {
            self.note_write(pfn);
            self.page_mut(pfn)
        } else {
            Some(self.tree.start(pfn).cast_mut())
        };
        let page = page.ok_or(Fault::Device {
            pa: Gpa(walk.pa),
            access,
        })?;
        // A store that may change its own translation must leave nothing behind that rests on the old one.
        if access == Access::Write && walk.entries().iter().any(|(place, _)| place >> 12 == pfn) {
            return Ok((page, pfn));
        }
        for (place, _) in walk.entries() {
            if self.tables.insert(place >> 12) {
                self.tlb.forbid_writes(place >> 12);
            }
        }
        if let [_, _, _, (place, _)] = walk.entries() {
            let (write, user, no_execute) = walk.upper;
            self.tlb
                .enter_upper(va, place & !0xfff, write, user, no_execute);
        }
        let rights = Rights {
            read: self.allowed(&walk, Access::Read, privilege, false),
            write: access == Access::Write && self.allowed(&walk, Access::Write, privilege, false),
            execute: access == Access::Execute,
        };
        self.tlb.enter(va, privilege, pfn, page, rights);
        Ok((page, pfn))
    }

    /// Walks the page tables and checks rights, without effects.
    pub(crate) fn checked_walk(
        &self,
        va: u64,
        access: Access,
        privilege: Privilege,
        host: bool,
    ) -> Result<Walk, Fault> {
        if !is_canonical(va) {
            return Err(Fault::NonCanonical { va, access });
        }
        let mut walk = self.quick_walk(va).map_err(|miss| match miss {
            Miss::NotPresent => Fault::Page {
                va,
                access,
                privilege,
                present: false,
            },
            Miss::NoTable(place) => Fault::Device {
                pa: Gpa(place),
                access,
            },
        })?;
        if !self.allowed(&walk, access, privilege, host) {
            return Err(Fault::Page {
                va,
                access,
                privilege,
                present: true,
            });
        }
        if !self.is_ram(walk.pa >> 12) {
            let stand_in = self.stand_in.filter(|(of, _)| *of == walk.pa >> 12);
            let Some((_, pfn)) = stand_in else {
                return Err(Fault::Device {
                    pa: Gpa(walk.pa),
                    access,
                });
            };
            walk.pa = (pfn << 12) | (walk.pa % PAGE_SIZE as u64);
        }
        Ok(walk)
    }

    /// Sets the accessed bits of all entries of a walk, and the dirty bit of the last.
    fn mark_used(&mut self, walk: &Walk, write: bool) {
        const ACCESSED: u64 = crate::PageFlags::ACCESSED.bits();
        const DIRTY: u64 = crate::PageFlags::DIRTY.bits();
        let last = walk.entries().len().wrapping_sub(1);
        for (level, &(place, entry)) in walk.entries().iter().enumerate() {
            let wanted = if write && level == last {
                ACCESSED | DIRTY
            } else {
                ACCESSED
            };
            if entry & wanted != wanted {
                if self.watched.contains(place >> 12) {
                    self.note_write(place >> 12);
                }
                self.set_word(place, entry | wanted);
            }
        }
    }
}
