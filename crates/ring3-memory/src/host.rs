//! Host accesses: what the host's own code reads and writes through the guest's page tables.
//!
//! They act as supervisor code with RFLAGS.AC set, under the present context. A shadow hit is recorded and the access
//! goes on ([`Memory::take_shadow_hits`]). An access that writes is all or nothing. A read sets no accessed bit; a
//! write sets accessed and dirty bits as the processor would.

use crate::Memory;
use crate::address::{Field, Gva};
use crate::fault::{Access, Fault, Privilege};
use crate::guest::Guest;
use crate::page::{PAGE_SIZE, SHADOW_OFFSET};
use crate::table::is_canonical;

use Privilege::Supervisor;

/// The pieces of `len` bytes from `va` on, cut at page ends: address, where in the buffer, length.
fn pieces(va: u64, len: u64) -> impl DoubleEndedIterator<Item = (u64, u64, usize)> {
    let head = (PAGE_SIZE as u64 - va % PAGE_SIZE as u64).min(len);
    let count = if len == 0 {
        0
    } else {
        1 + (len - head).div_ceil(PAGE_SIZE as u64)
    };
    (0..count).map(move |number| {
        let start = if number == 0 {
            0
        } else {
            head + (number - 1) * PAGE_SIZE as u64
        };
        let end = (head + number * PAGE_SIZE as u64).min(len);
        (va.wrapping_add(start), start, (end - start) as usize)
    })
}

/// Whether nothing in the groups of eight bytes that a value of `size` bytes touches is marked.
///
/// # Safety
/// `page` is the start of a page, and the value lies within it.
#[inline(always)]
unsafe fn clean(page: *const u8, offset: usize, size: usize) -> bool {
    let (first, last) = (offset / 8, (offset + size.max(1) - 1) / 8);
    // As many as there can be for any offset, so that the compiler knows their number where it knows the size.
    (0..=size.div_ceil(8)).fold(0, |marks, group| {
        // SAFETY: the group is at most that of the last byte, which the caller vouches for.
        marks | unsafe { page.add(SHADOW_OFFSET + (first + group).min(last)).read() }
    }) == 0
}

/// Copies bytes from a page in words of 8. The guest's last stores there were most likely of 8 bytes or fewer, and a
/// processor waits when it has to load 16 bytes from two stores that are still on their way.
///
/// # Safety
/// As many bytes at `from` as `to` has are within a live page, which nothing writes meanwhile.
#[inline(always)]
unsafe fn copy_words(from: *const u8, to: &mut [u8]) {
    #[repr(C, packed)]
    #[derive(Clone, Copy)]
    struct Word(u64);
    let mut at = 0;
    while let Some(place) = to.get_mut(at..at + 8) {
        // SAFETY: the caller vouches for the bytes; volatile only so that neighbours are not read at once.
        let word = unsafe { from.add(at).cast::<Word>().read_volatile() };
        place.copy_from_slice(&{ word.0 }.to_ne_bytes());
        at += 8;
    }
    if let Some(rest) = to.get_mut(at..) {
        // SAFETY: the caller vouches for the bytes.
        unsafe {
            from.add(at)
                .copy_to_nonoverlapping(rest.as_mut_ptr(), rest.len())
        };
    }
}

impl Memory {
    /// Where `va` is in host memory, for reading without any check; with its frame.
    pub(crate) fn locate(&self, cr3: Option<u64>, va: u64) -> Option<(*const u8, u64)> {
        if cr3.is_none()
            && let Some(found) = self.tlb.readable(va, Supervisor)
        {
            return Some(found);
        }
        if !is_canonical(va) {
            return None;
        }
        let walk = match cr3 {
            Some(cr3) => self.walk(cr3, va),
            None => self.quick_walk(va),
        };
        let pfn = walk.ok()?.pa >> 12;
        self.is_ram(pfn).then(|| (self.tree.start(pfn), pfn))
    }

    /// Where `va` may be read, and its frame.
    #[inline]
    fn readable(&self, va: u64, privilege: Privilege) -> Result<(*const u8, u64), Fault> {
        if let Some(found) = self.tlb.readable(va, privilege) {
            return Ok(found);
        }
        let pfn = self.checked_walk(va, Access::Read, privilege, true)?.pa >> 12;
        Ok((self.tree.start(pfn), pfn))
    }

    /// Where `va` may be written, and its frame.
    #[inline]
    fn writable(&mut self, va: u64, privilege: Privilege) -> Result<(*mut u8, u64), Fault> {
        match self.tlb.writable(va, privilege) {
            Some(found) => Ok(found),
            None => self.enter(va, Access::Write, privilege, true),
        }
    }

    /// Looks at the shadow of one piece of a host access.
    ///
    /// # Safety
    /// `page` is the start of a live page, and the piece lies within it.
    #[inline]
    unsafe fn note_hit(
        &self,
        page: *const u8,
        pfn: u64,
        piece: (u64, usize),
        size: u64,
        access: Access,
    ) {
        // SAFETY: the caller vouches for it.
        if let Some(hit) = unsafe { self.shadow_hit(page, pfn, piece, size, access) } {
            self.record_hit(hit);
        }
    }

    /// Whether all of `len` bytes from `va` on may be accessed. Changes nothing and doesn't look at the shadow.
    ///
    /// # Errors
    /// The [`Fault`] that an access of the lowest byte at fault would give.
    pub fn check(
        &self,
        va: u64,
        len: u64,
        access: Access,
        privilege: Privilege,
    ) -> Result<(), Fault> {
        for (va, _, _) in pieces(va, len) {
            self.checked_walk(va, access, privilege, true)?;
        }
        Ok(())
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`Fault`], but never [`Fault::Shadow`]; also for the other functions here.
    #[inline]
    pub fn read<T: Guest>(&self, va: Gva<T>) -> Result<T, Fault> {
        self.read_as(Supervisor, va)
    }

    /// Writes a value.
    ///
    /// # Errors
    /// [`Fault`]; nothing is written then.
    #[inline]
    pub fn write<T: Guest>(&mut self, va: Gva<T>, value: T) -> Result<(), Fault> {
        self.write_as(Supervisor, va, value)
    }

    /// Reads one field of the structure at `va`.
    ///
    /// # Errors
    /// [`Fault`].
    #[inline]
    pub fn get<S, T: Guest>(&self, va: Gva<S>, field: Field<S, T>) -> Result<T, Fault> {
        self.read(va.at(field))
    }

    /// Writes one field of the structure at `va`.
    ///
    /// # Errors
    /// [`Fault`]; nothing is written then.
    #[inline]
    pub fn set<S, T: Guest>(
        &mut self,
        va: Gva<S>,
        field: Field<S, T>,
        value: T,
    ) -> Result<(), Fault> {
        self.write(va.at(field), value)
    }

    /// Reads a value on behalf of `privilege`.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn read_as<T: Guest>(&self, privilege: Privilege, va: Gva<T>) -> Result<T, Fault> {
        let offset = va.raw() as usize % PAGE_SIZE;
        if T::SIZE <= 64
            && T::SIZE <= PAGE_SIZE - offset
            && let Some((page, _)) = self.tlb.readable(va.raw(), privilege)
        {
            let mut image = [0; 64];
            // SAFETY: `readable` gives the start of a live page, within which the value lies.
            let clean = unsafe {
                copy_words(
                    page.add(offset),
                    image.get_mut(..T::SIZE).unwrap_or(&mut []),
                );
                clean(page, offset, T::SIZE)
            };
            if clean && let Some(bytes) = image.get(..T::SIZE) {
                return Ok(T::load(bytes));
            }
        }
        self.read_otherwise(privilege, va)
    }

    #[inline(never)]
    fn read_otherwise<T: Guest>(&self, privilege: Privilege, va: Gva<T>) -> Result<T, Fault> {
        let offset = va.raw() as usize % PAGE_SIZE;
        if T::SIZE <= PAGE_SIZE - offset {
            let (page, pfn) = self.readable(va.raw(), privilege)?;
            // SAFETY: `readable` gives the start of a live page, within which the value lies; `&self` keeps it
            // unwritten while the slice lives.
            let bytes = unsafe {
                self.note_hit(page, pfn, (va.raw(), T::SIZE), T::SIZE as u64, Access::Read);
                std::slice::from_raw_parts(page.add(offset), T::SIZE)
            };
            return Ok(T::load(bytes));
        }
        let mut bytes = vec![0; T::SIZE];
        self.read_bytes_as(privilege, va, &mut bytes)?;
        Ok(T::load(&bytes))
    }

    /// Writes a value on behalf of `privilege`.
    ///
    /// # Errors
    /// [`Fault`]; nothing is written then.
    pub fn write_as<T: Guest>(
        &mut self,
        privilege: Privilege,
        va: Gva<T>,
        value: T,
    ) -> Result<(), Fault> {
        let offset = va.raw() as usize % PAGE_SIZE;
        if T::SIZE <= PAGE_SIZE - offset
            && let Some((page, _)) = self.tlb.writable(va.raw(), privilege)
        {
            // SAFETY: `writable` gives the start of a page that is owned alone, within which the value lies; the
            // slice is the only access to it while it lives.
            unsafe {
                if clean(page, offset, T::SIZE) {
                    value.store(std::slice::from_raw_parts_mut(page.add(offset), T::SIZE));
                    return Ok(());
                }
            }
        }
        self.write_otherwise(privilege, va, value)
    }

    #[inline(never)]
    fn write_otherwise<T: Guest>(
        &mut self,
        privilege: Privilege,
        va: Gva<T>,
        value: T,
    ) -> Result<(), Fault> {
        let offset = va.raw() as usize % PAGE_SIZE;
        if T::SIZE <= PAGE_SIZE - offset {
            let (page, pfn) = self.writable(va.raw(), privilege)?;
            // SAFETY: `writable` gives the start of a page that is owned alone, within which the value lies; the
            // slice is the only access to it while it lives.
            let bytes = unsafe {
                self.note_hit(
                    page,
                    pfn,
                    (va.raw(), T::SIZE),
                    T::SIZE as u64,
                    Access::Write,
                );
                std::slice::from_raw_parts_mut(page.add(offset), T::SIZE)
            };
            value.store(bytes);
            return Ok(());
        }
        let mut bytes = vec![0; T::SIZE];
        value.store(&mut bytes);
        self.write_bytes_as(privilege, va, &bytes)
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// [`Fault`] for the lowest page at fault; `bytes` may be partly filled then.
    pub fn read_bytes<T: ?Sized>(&self, va: Gva<T>, bytes: &mut [u8]) -> Result<(), Fault> {
        self.read_bytes_as(Supervisor, va, bytes)
    }

    /// Reads bytes on behalf of `privilege`.
    ///
    /// # Errors
    /// As for [`Self::read_bytes`].
    pub fn read_bytes_as<T: ?Sized>(
        &self,
        privilege: Privilege,
        va: Gva<T>,
        bytes: &mut [u8],
    ) -> Result<(), Fault> {
        let size = bytes.len() as u64;
        let mut rest = bytes;
        for (va, _, len) in pieces(va.raw(), size) {
            let (page, pfn) = self.readable(va, privilege)?;
            let (piece, after) = rest.split_at_mut(len);
            // SAFETY: `readable` gives the start of a live page; the piece ends within it.
            unsafe {
                self.note_hit(page, pfn, (va, len), size, Access::Read);
                page.add(va as usize % PAGE_SIZE)
                    .copy_to_nonoverlapping(piece.as_mut_ptr(), len);
            }
            rest = after;
        }
        Ok(())
    }

    /// Reads `len` bytes into a new vector. All pages are checked before it is allocated.
    ///
    /// # Errors
    /// [`Fault`] for the lowest page at fault.
    pub fn read_vec<T: ?Sized>(&self, va: Gva<T>, len: u64) -> Result<Vec<u8>, Fault> {
        self.check(va.raw(), len, Access::Read, Supervisor)?;
        let mut bytes = vec![0; len as usize];
        self.read_bytes(va, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// [`Fault`] for the lowest page at fault; nothing is written then.
    pub fn write_bytes<T: ?Sized>(&mut self, va: Gva<T>, bytes: &[u8]) -> Result<(), Fault> {
        self.write_bytes_as(Supervisor, va, bytes)
    }

    /// Writes bytes on behalf of `privilege`.
    ///
    /// # Errors
    /// As for [`Self::write_bytes`].
    pub fn write_bytes_as<T: ?Sized>(
        &mut self,
        privilege: Privilege,
        va: Gva<T>,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        self.write_pieces(privilege, va.raw(), bytes.len() as u64, |to, start| {
            to.copy_from_slice(&bytes[start..start + to.len()]);
        })
    }

    /// Writes `len` times the byte `value`.
    ///
    /// # Errors
    /// As for [`Self::write_bytes`].
    pub fn fill<T: ?Sized>(&mut self, va: Gva<T>, len: u64, value: u8) -> Result<(), Fault> {
        self.write_pieces(Supervisor, va.raw(), len, |to, _| to.fill(value))
    }

    /// Calls `put` with each page's part of the range and where in the range it starts.
    fn write_pieces(
        &mut self,
        privilege: Privilege,
        va: u64,
        size: u64,
        mut put: impl FnMut(&mut [u8], usize),
    ) -> Result<(), Fault> {
        if size > PAGE_SIZE as u64 - va % PAGE_SIZE as u64 {
            self.check(va, size, Access::Write, privilege)?;
        }
        for (va, start, len) in pieces(va, size) {
            let (page, pfn) = self.writable(va, privilege)?;
            // SAFETY: `writable` gives the start of a page that is owned alone, within which the piece lies; the
            // slice is the only access to it while it lives.
            let bytes = unsafe {
                self.note_hit(page, pfn, (va, len), size, Access::Write);
                std::slice::from_raw_parts_mut(page.add(va as usize % PAGE_SIZE), len)
            };
            put(bytes, start as usize);
        }
        Ok(())
    }

    /// Copies `len` bytes as if through a buffer (memmove).
    ///
    /// # Errors
    /// [`Fault`] for the lowest page at fault, of `src` first; nothing is written then.
    pub fn copy<A: ?Sized, B: ?Sized>(
        &mut self,
        dst: Gva<A>,
        src: Gva<B>,
        len: u64,
    ) -> Result<(), Fault> {
        self.check(src.raw(), len, Access::Read, Supervisor)?;
        self.check(dst.raw(), len, Access::Write, Supervisor)?;
        let mut buffer = [0; PAGE_SIZE];
        let mut piece = |memory: &mut Self, start: u64, len: usize| {
            memory.read_bytes(src.byte_add(start), &mut buffer[..len])?;
            memory.write_bytes(dst.byte_add(start), &buffer[..len])
        };
        // Backwards if writing forwards would overwrite what is still to be read.
        if dst.raw().wrapping_sub(src.raw()) < len {
            pieces(src.raw(), len)
                .rev()
                .try_for_each(|(_, start, len)| piece(self, start, len))
        } else {
            pieces(src.raw(), len).try_for_each(|(_, start, len)| piece(self, start, len))
        }
    }

    /// Reads bytes through the page tables at `cr3` (or the present ones) as a debugger does: no rights, no shadow,
    /// no effect.
    ///
    /// # Errors
    /// [`Fault`] for the lowest page that isn't mapped to RAM; `bytes` may be partly filled then.
    pub fn peek_bytes<T: ?Sized>(
        &self,
        cr3: Option<u64>,
        va: Gva<T>,
        bytes: &mut [u8],
    ) -> Result<(), Fault> {
        let mut rest = bytes;
        for (va, _, len) in pieces(va.raw(), rest.len() as u64) {
            let (page, _) = self
                .locate(cr3, va)
                .ok_or_else(|| self.unmapped(va, Access::Read))?;
            let (piece, after) = rest.split_at_mut(len);
            // SAFETY: `locate` gives the start of a live page; the piece ends within it.
            unsafe {
                page.add(va as usize % PAGE_SIZE)
                    .copy_to_nonoverlapping(piece.as_mut_ptr(), len)
            };
            rest = after;
        }
        Ok(())
    }

    /// Writes bytes through the page tables at `cr3` (or the present ones) as a debugger does: no rights, no shadow,
    /// no accessed or dirty bits. Watched code is reported all the same.
    ///
    /// # Errors
    /// [`Fault`] for the lowest page that isn't mapped to RAM; nothing is written then.
    pub fn poke_bytes<T: ?Sized>(
        &mut self,
        cr3: Option<u64>,
        va: Gva<T>,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        let mut frames = Vec::new();
        for (va, start, len) in pieces(va.raw(), bytes.len() as u64) {
            let (_, pfn) = self
                .locate(cr3, va)
                .ok_or_else(|| self.unmapped(va, Access::Write))?;
            frames.push((
                pfn,
                va as usize % PAGE_SIZE,
                &bytes[start as usize..start as usize + len],
            ));
        }
        for (pfn, offset, piece) in frames {
            self.note_write(pfn);
            if let Some(page) = self.page_mut(pfn) {
                // SAFETY: `page_mut` gives a page that is owned alone; the piece ends within it.
                unsafe {
                    page.add(offset)
                        .copy_from_nonoverlapping(piece.as_ptr(), piece.len())
                };
            }
        }
        Ok(())
    }

    fn unmapped(&self, va: u64, access: Access) -> Fault {
        if is_canonical(va) {
            Fault::Page {
                va,
                access,
                privilege: Supervisor,
                present: false,
            }
        } else {
            Fault::NonCanonical { va, access }
        }
    }
}

impl Memory {
    /// The value at `va` in the present address space, read as [`Memory::peek_bytes`] does; `None` where nothing is
    /// mapped.
    pub fn peek<T: Guest>(&self, va: Gva<T>) -> Option<T> {
        let mut bytes = [0u8; 64];
        match bytes.get_mut(..T::SIZE) {
            Some(bytes) => {
                self.peek_bytes(None, va, bytes).ok()?;
                Some(T::load(bytes))
            }
            None => {
                let mut bytes = vec![0u8; T::SIZE];
                self.peek_bytes(None, va, &mut bytes).ok()?;
                Some(T::load(&bytes))
            }
        }
    }
}
