//! Kernel virtual address space: where things lie, and mapping pages there.
//!
//! All of it lies in one top-level page table entry (512 GiB from 0xFFFFF80000000000), so that every
//! process shares it by one entry. The places themselves are ours: Windows randomises its own.

use std::collections::BTreeMap;

use ring3_memory::{Gpa, Gva, PAGE_SIZE, PageFlags};

use crate::Machine;

/// Bytes per page.
pub const PAGE: u64 = PAGE_SIZE as u64;

/// A range of kernel addresses with a purpose.
#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Region {
    /// The kernel's own images.
    SystemImages,
    /// Driver images.
    DriverImages,
    /// Nonpaged pool.
    NonPagedPool,
    /// Paged pool.
    PagedPool,
    /// Kernel stacks.
    Stacks,
    /// Mappings of MDLs, sections and device memory.
    SystemPtes,
    /// Thread, process and other objects of the kernel's own.
    Objects,
}

impl Region {
    /// First address and size.
    const fn range(self) -> (u64, u64) {
        match self {
            Self::SystemImages => (0xffff_f800_1000_0000, 0x1000_0000),
            Self::DriverImages => (0xffff_f800_4000_0000, 0x4000_0000),
            Self::NonPagedPool => (0xffff_f801_0000_0000, 0x1_0000_0000),
            Self::PagedPool => (0xffff_f802_0000_0000, 0x1_0000_0000),
            Self::Stacks => (0xffff_f803_0000_0000, 0x1_0000_0000),
            Self::SystemPtes => (0xffff_f804_0000_0000, 0x1_0000_0000),
            Self::Objects => (0xffff_f805_0000_0000, 0x1_0000_0000),
        }
    }

    /// Pages left unmapped after each reservation, which catch overruns.
    const fn guard(self) -> u64 {
        match self {
            Self::NonPagedPool | Self::PagedPool => 0,
            _ => 1,
        }
    }

    /// Reservations start at multiples of this.
    const fn alignment(self) -> u64 {
        match self {
            Self::SystemImages | Self::DriverImages => 0x1_0000,
            _ => PAGE,
        }
    }
}

/// Reserved ranges by start address.
#[derive(Clone, Hash, Debug, Default)]
pub struct Regions {
    /// Start to pages, guard included.
    used: BTreeMap<u64, u64>,
}

impl Regions {
    /// Reserves the lowest free range of this many pages.
    pub fn reserve(&mut self, region: Region, pages: u64) -> Option<u64> {
        let (start, size) = region.range();
        let align = region.alignment();
        let need = (pages + region.guard()) * PAGE;
        let mut at = start;
        for (used, count) in self.used.range(start..start + size) {
            if used.checked_sub(at)? >= need {
                break;
            }
            at = (used + count * PAGE).next_multiple_of(align);
        }
        if at + need > start + size {
            return None;
        }
        self.used.insert(at, pages + region.guard());
        Some(at)
    }

    /// Gives a range back. The number of pages it had, without guard, if it was reserved.
    pub fn release(&mut self, region: Region, at: u64) -> Option<u64> {
        Some(self.used.remove(&at)? - region.guard())
    }

    /// Every reservation: start and pages with guard.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.used.iter().map(|(start, pages)| (*start, *pages))
    }

    /// The reservation that covers an address: start and pages with guard.
    #[must_use]
    pub fn covering(&self, address: u64) -> Option<(u64, u64)> {
        let (start, pages) = self.used.range(..=address).next_back()?;
        (address < start + pages * PAGE).then_some((*start, *pages))
    }
}

/// Which region an address lies in.
#[must_use]
pub fn region_of(address: u64) -> Option<Region> {
    [
        Region::SystemImages,
        Region::DriverImages,
        Region::NonPagedPool,
        Region::PagedPool,
        Region::Stacks,
        Region::SystemPtes,
        Region::Objects,
    ]
    .into_iter()
    .find(|r| {
        let (start, size) = r.range();
        address >= start && address - start < size
    })
}

/// Accessed and dirty from the start: otherwise the first access would change the page tables, and equal
/// machines would differ by what their caches hold.
const TOUCHED: PageFlags = PageFlags::ACCESSED.union(PageFlags::DIRTY);

/// Read and write, not executable.
#[must_use]
pub fn data() -> PageFlags {
    TOUCHED | PageFlags::PRESENT | PageFlags::WRITE | PageFlags::NX | PageFlags::GLOBAL
}

/// A page of an image.
#[must_use]
pub fn image(write: bool, execute: bool) -> PageFlags {
    let mut flags = TOUCHED | PageFlags::PRESENT | PageFlags::GLOBAL;
    flags.set(PageFlags::WRITE, write);
    flags.set(PageFlags::NX, !execute);
    flags
}

/// Executable pool.
#[must_use]
pub fn executable_data() -> PageFlags {
    data() - PageFlags::NX
}

impl Machine {
    /// Page tables of the System process; kernel addresses are the same in all.
    #[must_use]
    pub fn kernel_cr3(&self) -> u64 {
        self.processes.values().next().map_or(0, |p| p.cr3)
    }

    /// Reserves kernel addresses and puts fresh zeroed pages there.
    pub fn allocate_pages(&mut self, region: Region, pages: u64, flags: PageFlags) -> Option<Gva> {
        let at = self.mm.regions.reserve(region, pages)?;
        let cr3 = self.memory.context().cr3;
        for i in 0..pages {
            let Some(frame) = self.memory.alloc_frame() else {
                self.free_pages_at(at, i);
                self.mm.regions.release(region, at);
                return None;
            };
            if self.memory.map(cr3, at + i * PAGE, frame, flags).is_err() {
                self.memory.free_frame(frame);
                self.free_pages_at(at, i);
                self.mm.regions.release(region, at);
                return None;
            }
        }
        Some(Gva::new(at))
    }

    fn free_pages_at(&mut self, at: u64, pages: u64) {
        let cr3 = self.memory.context().cr3;
        for i in 0..pages {
            if let Some(frame) = self.memory.unmap(cr3, at + i * PAGE) {
                self.memory.free_frame(frame);
            }
        }
    }

    /// Gives back what [`Machine::allocate_pages`] gave.
    pub fn free_pages(&mut self, region: Region, at: Gva) -> bool {
        let Some(pages) = self.mm.regions.release(region, at.raw()) else {
            return false;
        };
        self.free_pages_at(at.raw(), pages);
        true
    }

    /// Maps existing physical pages at fresh kernel addresses.
    pub fn map_physical(&mut self, frames: &[Gpa], flags: PageFlags) -> Option<Gva> {
        let at = self
            .mm
            .regions
            .reserve(Region::SystemPtes, frames.len() as u64)?;
        let cr3 = self.memory.context().cr3;
        for (i, frame) in frames.iter().enumerate() {
            if self
                .memory
                .map(cr3, at + i as u64 * PAGE, *frame, flags)
                .is_err()
            {
                self.unmap_physical(Gva::new(at));
                return None;
            }
        }
        Some(Gva::new(at))
    }

    /// Undoes [`Machine::map_physical`]; the physical pages stay. False if nothing was mapped there.
    pub fn unmap_physical(&mut self, at: Gva) -> bool {
        let Some(pages) = self.mm.regions.release(Region::SystemPtes, at.raw()) else {
            return false;
        };
        let cr3 = self.memory.context().cr3;
        for i in 0..pages {
            self.memory.unmap(cr3, at.raw() + i * PAGE);
        }
        true
    }

    /// The physical address behind a kernel or current user address.
    #[must_use]
    pub fn physical(&self, va: u64) -> Option<Gpa> {
        self.memory
            .translate(self.memory.context().cr3, va)
            .map(|t| t.pa)
    }
}

impl Machine {
    /// Maps a page range of an image with its rights and copies its bytes there.
    pub(crate) fn map_image_range(
        &mut self,
        base: u64,
        bytes: &[u8],
        start: u64,
        end: u64,
        write: bool,
        execute: bool,
    ) {
        let cr3 = self.memory.context().cr3;
        let flags = image(write, execute);
        let mut at = start & !(PAGE - 1);
        while at < end {
            let Some(frame) = self.memory.alloc_frame() else {
                return;
            };
            let from = (at as usize).min(bytes.len());
            let to = ((at + PAGE) as usize).min(bytes.len());
            let _ = self.memory.write_physical(frame, &bytes[from..to]);
            let _ = self.memory.map(cr3, base + at, frame, flags);
            at += PAGE;
        }
    }
}
