//! Physical memory and address validity. Documentation: wdm.h, ntddk.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gpa, Gva, PageFlags};

use super::mdl::uncached;
use super::space::{self, PAGE};
use crate::Machine;
use crate::ex::pool::Kind;
use crate::machine::finding::Severity;

const TAG: u32 = u32::from_le_bytes(*b"MmPR");

/// Maps a physical range; `None` where there is no room.
fn map_range(
    cx: &mut Machine,
    address: u64,
    length: u64,
    cache_type: u32,
    write: bool,
) -> Option<Gva> {
    if length == 0 {
        return None;
    }
    let first = address & !(PAGE - 1);
    let count = (address - first + length).div_ceil(PAGE);
    let frames: Vec<Gpa> = (0..count).map(|i| Gpa(first + i * PAGE)).collect();
    // MmCached is 1.
    let mut flags = if cache_type == 1 {
        space::data()
    } else {
        uncached()
    };
    flags.set(PageFlags::WRITE, write);
    let base = cx.map_physical(&frames, flags)?;
    let owner = cx.caller;
    cx.mm.io_mappings.insert(base.raw(), owner);
    Some(base.byte_add(address - first))
}

fn unmap_range(cx: &mut Machine, at: Gva) {
    let base = at.raw() & !(PAGE - 1);
    if cx.mm.io_mappings.remove(&base).is_none() || !cx.unmap_physical(Gva::new(base)) {
        cx.report(
            "mm/bad-unmap",
            Severity::Error,
            format!("{:#x} is no mapping of MmMapIoSpace", at.raw()),
        );
    }
}

/// Routines on physical memory.
pub struct PhysicalMemory;

#[exports("ntoskrnl.exe")]
impl PhysicalMemory {
    /// Maps a physical range into nonpaged system space.
    #[page("wdm/nf-wdm-mmmapiospace")]
    #[irql(..=DISPATCH_LEVEL)]
    fn MmMapIoSpace(
        cx: &mut Machine,
        PhysicalAddress: u64,
        NumberOfBytes: u64,
        CacheType: u32,
    ) -> Gva {
        map_range(cx, PhysicalAddress, NumberOfBytes, CacheType, true).unwrap_or(Gva::NULL)
    }

    /// Maps a physical range with page protection.
    #[page("wdm/nf-wdm-mmmapiospaceex")]
    #[irql(..=DISPATCH_LEVEL)]
    fn MmMapIoSpaceEx(
        cx: &mut Machine,
        PhysicalAddress: u64,
        NumberOfBytes: u64,
        Protect: u32,
    ) -> Gva {
        // PAGE_READONLY 2, PAGE_READWRITE 4, or one of them with execution; PAGE_NOCACHE is 0x200,
        // PAGE_WRITECOMBINE 0x400, and one at most of these two.
        let write = match Protect & 0xff {
            2 | 0x20 => false,
            4 | 0x40 => true,
            _ => return Gva::NULL,
        };
        if Protect & 0x600 == 0x600 {
            return Gva::NULL;
        }
        let cache = u32::from(Protect & 0x600 == 0);
        map_range(cx, PhysicalAddress, NumberOfBytes, cache, write).unwrap_or(Gva::NULL)
    }

    /// Undoes MmMapIoSpace.
    #[page("wdm/nf-wdm-mmunmapiospace")]
    #[irql(..=DISPATCH_LEVEL)]
    fn MmUnmapIoSpace(cx: &mut Machine, BaseAddress: Gva, NumberOfBytes: u64) {
        let _ = NumberOfBytes;
        unmap_range(cx, BaseAddress);
    }

    /// The physical address behind a virtual one; 0 if there is none.
    #[page("ntddk/nf-ntddk-mmgetphysicaladdress")]
    #[irql(any)]
    fn MmGetPhysicalAddress(cx: &mut Machine, BaseAddress: Gva) -> u64 {
        cx.physical(BaseAddress.raw()).map_or(0, |pa| pa.0)
    }

    /// A virtual address of system space that maps a physical one; 0 if there is none.
    #[page("")]
    #[irql(any)]
    #[assumed("not documented; a page with several mappings gives the lowest address")]
    fn MmGetVirtualForPhysical(cx: &mut Machine, PhysicalAddress: u64) -> u64 {
        cx.virtual_for_physical(PhysicalAddress).unwrap_or(0)
    }

    /// An array of the physical memory ranges, ended by an empty one; to be freed by the caller.
    #[page("ntddk/nf-ntddk-mmgetphysicalmemoryranges")]
    #[irql(PASSIVE_LEVEL)]
    fn MmGetPhysicalMemoryRanges(cx: &mut Machine) -> Result<Gva, Fault> {
        let ranges = cx.physical_memory_ranges();
        let size = 16 * (ranges.len() as u64 + 1);
        let owner = cx.caller;
        let Some(at) = cx.pool_allocate_for(Kind::NonPaged, size, TAG, owner) else {
            return Ok(Gva::NULL);
        };
        cx.memory.fill(at, size, 0)?;
        for (i, (start, length)) in ranges.into_iter().enumerate() {
            let entry = at.byte_add(16 * i as u64).cast::<u64>();
            cx.memory.write(entry, start)?;
            cx.memory.write(entry.add(1), length)?;
        }
        Ok(at)
    }

    /// Whether touching an address would cause no page fault.
    #[page("ntddk/nf-ntddk-mmisaddressvalid")]
    #[irql(..=DISPATCH_LEVEL)]
    fn MmIsAddressValid(cx: &mut Machine, VirtualAddress: Gva) -> bool {
        cx.physical(VirtualAddress.raw()).is_some()
    }
}

impl Machine {
    /// The RAM that the guest is told of: start and length. The first page and the range below 1 MiB
    /// that PCs reserve are left out.
    #[must_use]
    pub fn physical_memory_ranges(&self) -> Vec<(u64, u64)> {
        let end = self
            .memory
            .ram_ranges()
            .iter()
            .map(|r| r.end)
            .max()
            .unwrap_or(0);
        let mut ranges = vec![(0x1000, 0x9e000)];
        if end > 0x10_0000 {
            ranges.push((0x10_0000, end - 0x10_0000));
        }
        ranges
    }

    /// The lowest system address that maps a physical one.
    #[must_use]
    pub fn virtual_for_physical(&self, physical: u64) -> Option<u64> {
        let frame = physical & !(PAGE - 1);
        let cr3 = self.memory.context().cr3;
        if let Some(va) = super::self_map::find_table(&self.memory, cr3, frame) {
            return Some(va + physical % PAGE);
        }
        for (start, pages) in self.mm.regions.iter() {
            for i in 0..pages {
                let va = start + i * PAGE;
                if self
                    .memory
                    .translate(cr3, va)
                    .is_some_and(|t| t.pa.0 & !(PAGE - 1) == frame)
                {
                    return Some(va + physical % PAGE);
                }
            }
        }
        None
    }
}
