//! Page tables: the real 4-level structures of long mode, in guest-physical memory (Intel SDM volume 3, chapter 5).

use std::fmt;

use bitflags::bitflags;

use crate::Memory;
use crate::address::Gpa;

bitflags! {
    /// The flag bits of a page table entry (Intel SDM volume 3, table 5-20).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct PageFlags: u64 {
        /// The entry maps something.
        const PRESENT = 1;
        /// May be written.
        const WRITE = 1 << 1;
        /// User mode may access it.
        const USER = 1 << 2;
        /// Write-through caching.
        const WRITE_THROUGH = 1 << 3;
        /// No caching.
        const CACHE_DISABLE = 1 << 4;
        /// Something was read, written or fetched through the entry.
        const ACCESSED = 1 << 5;
        /// Something was written through the entry.
        const DIRTY = 1 << 6;
        /// In an upper level: maps a 2 MiB or 1 GiB page. (In the last level this bit is part of the memory type.)
        const LARGE = 1 << 7;
        /// Translation survives a change of CR3; the TLB here ignores it.
        const GLOBAL = 1 << 8;
        /// Bit 9, for software.
        const SOFTWARE_0 = 1 << 9;
        /// Bit 10, for software.
        const SOFTWARE_1 = 1 << 10;
        /// Bit 11, for software.
        const SOFTWARE_2 = 1 << 11;
        /// Must not be executed (when EFER.NXE is set).
        const NX = 1 << 63;
    }
}

/// The physical address bits of an entry.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const PRESENT: u64 = PageFlags::PRESENT.bits();
const WRITE: u64 = PageFlags::WRITE.bits();
const USER: u64 = PageFlags::USER.bits();
const LARGE: u64 = PageFlags::LARGE.bits();
const NX: u64 = PageFlags::NX.bits();

/// What entries above the last level are made with: the last level decides.
const TABLE: u64 = PRESENT | WRITE | PageFlags::ACCESSED.bits();

/// Where a virtual address leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// The physical address, byte for byte (not rounded to a page).
    pub pa: Gpa,
    /// The flags of the last entry, with `WRITE`, `USER` and `NX` as all levels together give them.
    pub flags: PageFlags,
    /// Size of the mapped page in bytes: 4 KiB, 2 MiB or 1 GiB.
    pub size: u64,
}

/// Why [`Memory::map`] did not map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// The virtual address isn't canonical.
    NonCanonical(u64),
    /// The virtual or the physical address isn't a multiple of the page size.
    Unaligned(u64),
    /// The page is already mapped, to this address.
    AlreadyMapped(Gpa),
    /// No frame is left for a page table.
    OutOfFrames,
    /// A large page covers the address.
    LargePage(Gpa),
    /// CR3 or an entry leads to a page table outside RAM.
    TableOutsideRam(Gpa),
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapError::NonCanonical(va) => write!(f, "cannot map {va:#x}: not a canonical address"),
            MapError::Unaligned(address) => write!(
                f,
                "cannot map {address:#x}: not a multiple of the page size"
            ),
            MapError::AlreadyMapped(pa) => {
                write!(f, "already mapped to physical {pa:#x}; unmap it first")
            }
            MapError::OutOfFrames => {
                f.write_str("no page frame left for a page table; give the machine more RAM")
            }
            MapError::LargePage(pa) => {
                write!(f, "a large page at physical {pa:#x} covers the address")
            }
            MapError::TableOutsideRam(pa) => {
                write!(f, "page table at physical {pa:#x} lies outside RAM")
            }
        }
    }
}

impl std::error::Error for MapError {}

/// Whether bits 63 to 47 are all equal.
#[inline]
pub const fn is_canonical(va: u64) -> bool {
    (va as i64) << 16 >> 16 == va as i64
}

/// Where the walk got, and what it saw on the way.
#[derive(Clone, Copy)]
pub(crate) struct Walk {
    /// The physical address of `va`.
    pub(crate) pa: u64,
    /// The last entry.
    pub(crate) leaf: u64,
    pub(crate) write: bool,
    pub(crate) user: bool,
    pub(crate) no_execute: bool,
    /// The bytes that the last entry covers.
    pub(crate) size: u64,
    /// Where the entries are and what they held, from the top level down. Only the last, if the upper levels were
    /// known from the TLB.
    entries: [(u64, u64); 4],
    levels: usize,
    /// The rights of the levels above the last, if that is the fourth.
    pub(crate) upper: (bool, bool, bool),
}

impl Walk {
    const START: Self = Self {
        pa: 0,
        leaf: 0,
        write: true,
        user: true,
        no_execute: false,
        size: 0,
        entries: [(0, 0); 4],
        levels: 0,
        upper: (true, true, false),
    };

    /// The entries used: address and content, the last level last.
    pub(crate) fn entries(&self) -> &[(u64, u64)] {
        &self.entries[..self.levels]
    }

    /// Takes one level's entry into account; whether it is present.
    #[inline(always)]
    fn take(&mut self, place: u64, entry: u64) -> bool {
        self.entries[self.levels] = (place, entry);
        self.levels += 1;
        self.write &= entry & WRITE != 0;
        self.user &= entry & USER != 0;
        self.no_execute |= entry & NX != 0;
        entry & PRESENT != 0
    }

    /// The last entry leads to `va`.
    #[inline(always)]
    fn finish(mut self, va: u64, entry: u64, shift: u32) -> Self {
        let within = (1 << shift) - 1;
        self.pa = entry & ADDRESS & !within | va & within;
        self.leaf = entry;
        self.size = within + 1;
        self
    }
}

/// Why a walk ended early.
#[derive(Clone, Copy)]
pub(crate) enum Miss {
    NotPresent,
    /// The table that the walk needs is outside RAM.
    NoTable(u64),
}

impl Memory {
    /// Follows the page tables at `cr3` for a canonical `va`, changing nothing.
    pub(crate) fn walk(&self, cr3: u64, va: u64) -> Result<Walk, Miss> {
        let mut walk = Walk::START;
        let mut table = cr3 & ADDRESS;
        for shift in [39, 30, 21, 12] {
            if shift == 12 {
                walk.upper = (walk.write, walk.user, walk.no_execute);
            }
            let place = table + ((va >> shift) & 511) * 8;
            let entry = self.word(place).ok_or(Miss::NoTable(place))?;
            if !walk.take(place, entry) {
                return Err(Miss::NotPresent);
            }
            if shift == 12 || shift < 39 && entry & LARGE != 0 {
                return Ok(walk.finish(va, entry, shift));
            }
            table = entry & ADDRESS;
        }
        Err(Miss::NotPresent)
    }

    /// Like [`Self::walk`] under the present context, with help of what the TLB knows.
    #[inline]
    pub(crate) fn quick_walk(&self, va: u64) -> Result<Walk, Miss> {
        let Some(upper) = self.tlb.upper(va) else {
            return self.walk(self.context.cr3, va);
        };
        let mut walk = Walk {
            write: upper.write,
            user: upper.user,
            no_execute: upper.no_execute,
            ..Walk::START
        };
        let place = upper.table + ((va >> 12) & 511) * 8;
        let entry = self.word(place).ok_or(Miss::NoTable(place))?;
        if walk.take(place, entry) {
            Ok(walk.finish(va, entry, 12))
        } else {
            Err(Miss::NotPresent)
        }
    }

    /// Where `va` leads under the page tables at `cr3`, whatever the rights. Changes nothing.
    pub fn translate(&self, cr3: u64, va: u64) -> Option<Translation> {
        if !is_canonical(va) {
            return None;
        }
        let walk = self.walk(cr3, va).ok()?;
        let mut flags = PageFlags::from_bits_truncate(walk.leaf & !(WRITE | USER | NX));
        flags.set(PageFlags::WRITE, walk.write);
        flags.set(PageFlags::USER, walk.user);
        flags.set(PageFlags::NX, walk.no_execute);
        Some(Translation {
            pa: Gpa(walk.pa),
            flags,
            size: walk.size,
        })
    }

    /// A new top-level page table; returns its physical address for CR3.
    ///
    /// With `share_kernel_half_of`, the upper half is that of the given address space, now and later. Without, the
    /// upper half is new; all 256 of its second-level tables are made at once, so that address spaces that share it
    /// see the same mappings whenever these are made. `None` when RAM is full.
    pub fn new_address_space(&mut self, share_kernel_half_of: Option<u64>) -> Option<u64> {
        let cr3 = self.alloc_frame()?.0;
        for slot in 256..512 {
            let entry = match share_kernel_half_of {
                Some(other) => self.word((other & ADDRESS) + slot * 8).unwrap_or(0),
                None => self.alloc_frame()?.0 | TABLE,
            };
            self.change_entry(cr3 + slot * 8, entry);
        }
        Some(cr3)
    }

    /// Maps the 4 KiB page `va` to `pa` with `flags` (`PRESENT` is implied), making page tables as needed. `pa` may
    /// lie outside RAM.
    ///
    /// Give `ACCESSED` and `DIRTY` for kernel pages, as Windows does: then no access has to set them.
    ///
    /// # Errors
    /// [`MapError`]; page tables made so far stay.
    pub fn map(&mut self, cr3: u64, va: u64, pa: Gpa, flags: PageFlags) -> Result<(), MapError> {
        self.map_at(cr3, va, pa, flags, 12)
    }

    /// Like [`Self::map`] for a 2 MiB page.
    ///
    /// # Errors
    /// [`MapError`], with [`MapError::AlreadyMapped`] also where a page table for small pages exists.
    pub fn map_large(
        &mut self,
        cr3: u64,
        va: u64,
        pa: Gpa,
        flags: PageFlags,
    ) -> Result<(), MapError> {
        self.map_at(cr3, va, pa, flags | PageFlags::LARGE, 21)
    }

    fn map_at(
        &mut self,
        cr3: u64,
        va: u64,
        pa: Gpa,
        flags: PageFlags,
        last: u32,
    ) -> Result<(), MapError> {
        if !is_canonical(va) {
            return Err(MapError::NonCanonical(va));
        }
        for address in [va, pa.0] {
            if address & ((1 << last) - 1) != 0 {
                return Err(MapError::Unaligned(address));
            }
        }
        let mut table = cr3 & ADDRESS;
        let mut shift = 39;
        loop {
            let place = table + ((va >> shift) & 511) * 8;
            let entry = self
                .word(place)
                .ok_or(MapError::TableOutsideRam(Gpa(table)))?;
            if shift == last {
                if entry & PRESENT != 0 {
                    return Err(MapError::AlreadyMapped(Gpa(entry & ADDRESS)));
                }
                self.change_entry(place, pa.0 & ADDRESS | flags.bits() | PRESENT);
                return Ok(());
            }
            table = if entry & PRESENT == 0 {
                let new = self.alloc_frame().ok_or(MapError::OutOfFrames)?.0;
                self.change_entry(place, new | TABLE | flags.bits() & USER);
                new
            } else if shift < 39 && entry & LARGE != 0 {
                return Err(MapError::LargePage(Gpa(entry & ADDRESS)));
            } else {
                if entry & USER < flags.bits() & USER {
                    self.change_entry(place, entry | USER);
                    self.tlb.flush();
                }
                entry & ADDRESS
            };
            shift -= 9;
        }
    }

    /// The physical address of the last-level entry for `va`, present or not. `None` where no table or a large page is.
    pub fn pte_address(&self, cr3: u64, va: u64) -> Option<Gpa> {
        if !is_canonical(va) {
            return None;
        }
        let mut table = cr3 & ADDRESS;
        for shift in [39, 30, 21] {
            let entry = self.word(table + ((va >> shift) & 511) * 8)?;
            if entry & PRESENT == 0 || shift < 39 && entry & LARGE != 0 {
                return None;
            }
            table = entry & ADDRESS;
        }
        let place = table + ((va >> 12) & 511) * 8;
        self.is_ram(place >> 12).then_some(Gpa(place))
    }

    /// Clears the last-level entry of the 4 KiB page `va`, and returns the physical address it held (also if it was
    /// not present). `None` if it was empty. The page tables stay.
    pub fn unmap(&mut self, cr3: u64, va: u64) -> Option<Gpa> {
        let place = self.pte_address(cr3, va)?.0;
        let entry = self.word(place).filter(|entry| *entry != 0)?;
        self.change_entry(place, 0);
        self.tlb.flush();
        Some(Gpa(entry & ADDRESS))
    }

    /// Gives the last-level entry of the 4 KiB page `va` new flags, all of them (without `PRESENT` too), except that
    /// `ACCESSED` and `DIRTY` are never taken away. False if the entry was empty.
    pub fn protect(&mut self, cr3: u64, va: u64, flags: PageFlags) -> bool {
        let Some(place) = self.pte_address(cr3, va) else {
            return false;
        };
        let Some(entry) = self.word(place.0).filter(|entry| *entry != 0) else {
            return false;
        };
        let kept = entry & (ADDRESS | (PageFlags::ACCESSED | PageFlags::DIRTY).bits());
        if flags.contains(PageFlags::USER) {
            self.open_to_user(cr3, va);
        }
        self.change_entry(place.0, kept | flags.bits());
        self.tlb.flush();
        true
    }

    fn open_to_user(&mut self, cr3: u64, va: u64) {
        let mut table = cr3 & ADDRESS;
        for shift in [39, 30, 21] {
            let place = table + ((va >> shift) & 511) * 8;
            let Some(entry) = self.word(place) else {
                return;
            };
            if entry & USER == 0 {
                self.change_entry(place, entry | USER);
            }
            table = entry & ADDRESS;
        }
    }

    /// Changes an entry. The caller flushes the TLB, unless the entry was empty: nothing in the TLB depends on that.
    fn change_entry(&mut self, place: u64, entry: u64) {
        if self.watched.contains(place >> 12) {
            self.note_write(place >> 12);
        }
        self.set_word(place, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RW: PageFlags = PageFlags::PRESENT.union(PageFlags::WRITE);

    #[test]
    fn map_translate_protect_unmap() {
        let mut memory = Memory::new(4 << 20);
        let cr3 = memory.new_address_space(None).unwrap();
        let other = memory.new_address_space(Some(cr3)).unwrap();
        let va = 0xffff_f800_1234_5000;
        assert_eq!(memory.translate(cr3, va), None);
        memory
            .map(cr3, va, Gpa(0x7000), RW | PageFlags::NX)
            .unwrap();
        let found = memory.translate(other, va + 0x123).unwrap();
        assert_eq!(
            (found.pa, found.flags, found.size),
            (Gpa(0x7123), RW | PageFlags::NX, 4096)
        );
        assert_eq!(
            memory.map(other, va, Gpa(0x8000), RW),
            Err(MapError::AlreadyMapped(Gpa(0x7000)))
        );
        assert!(memory.protect(cr3, va, PageFlags::PRESENT | PageFlags::USER));
        assert_eq!(
            memory.translate(cr3, va).unwrap().flags,
            PageFlags::PRESENT | PageFlags::USER
        );
        assert!(memory.protect(cr3, va, PageFlags::SOFTWARE_0));
        assert_eq!(memory.translate(cr3, va), None);
        assert_eq!(memory.unmap(other, va), Some(Gpa(0x7000)));
        assert_eq!(memory.unmap(cr3, va), None);
        assert_eq!(memory.translate(cr3, 0x8000_0000_0000), None);
    }

    #[test]
    fn large_pages() {
        let mut memory = Memory::new(8 << 20);
        let cr3 = memory.new_address_space(None).unwrap();
        memory
            .map_large(cr3, 0x4000_0000, Gpa(0x20_0000), RW)
            .unwrap();
        let found = memory.translate(cr3, 0x4012_3456).unwrap();
        assert_eq!((found.pa, found.size), (Gpa(0x32_3456), 2 << 20));
        assert_eq!(
            memory.map(cr3, 0x4000_1000, Gpa(0), RW),
            Err(MapError::LargePage(Gpa(0x20_0000)))
        );
        assert_eq!(memory.pte_address(cr3, 0x4000_1000), None);
        assert_eq!(
            memory.map_large(cr3, 0x4000_1000, Gpa(0), RW),
            Err(MapError::Unaligned(0x4000_1000))
        );
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let mut memory = Memory::new(260 * 4096);
        let cr3 = memory.new_address_space(None).unwrap();
        assert_eq!(
            memory.map(cr3, 1 << 47, Gpa(0), RW),
            Err(MapError::NonCanonical(1 << 47))
        );
        assert_eq!(
            memory.map(1 << 40, 0, Gpa(0), RW),
            Err(MapError::TableOutsideRam(Gpa(1 << 40)))
        );
        assert_eq!(
            memory.map(cr3, 0x1000, Gpa(0), RW),
            Err(MapError::OutOfFrames)
        );
    }
}
