//! Physically contiguous and noncached memory. Documentation: wdm.h, MmAllocateContiguousMemory.

use ring3_macros::exports;
use ring3_memory::{Gpa, Gva, PageFlags};

use super::mdl::uncached;
use super::space::{self, PAGE};
use crate::Machine;
use crate::machine::decide::Choice;
use crate::machine::finding::Severity;

/// Pages in a range of physical addresses, none across a multiple of `boundary` (0 for any).
fn allocate(
    cx: &mut Machine,
    bytes: u64,
    (low, high, boundary): (u64, u64, u64),
    flags: PageFlags,
) -> Option<Gva> {
    if bytes == 0 || cx.decide(Choice::AllocationFails, 2) == 1 {
        return None;
    }
    let pages = bytes.div_ceil(PAGE);
    let crosses =
        |first: Gpa| boundary != 0 && first.0 / boundary != (first.0 + pages * PAGE - 1) / boundary;
    let mut beside: Vec<Gpa> = Vec::new();
    let mut found = None;
    while let Some(first) = cx.memory.alloc_frames(pages) {
        let end = first.0 + pages * PAGE - 1;
        if first.0 >= low && end <= high && !crosses(first) {
            found = Some(first);
            break;
        }
        if end > high {
            beside.extend((0..pages).map(|i| Gpa(first.0 + i * PAGE)));
            break;
        }
        // Try again from the next page on.
        for i in 1..pages {
            cx.memory.free_frame(Gpa(first.0 + i * PAGE));
        }
        beside.push(first);
    }
    for frame in beside {
        cx.memory.free_frame(frame);
    }
    let first = found?;
    let frames: Vec<Gpa> = (0..pages).map(|i| Gpa(first.0 + i * PAGE)).collect();
    let Some(at) = cx.map_physical(&frames, flags) else {
        for frame in frames {
            cx.memory.free_frame(frame);
        }
        return None;
    };
    let owner = cx.caller;
    cx.mm.contiguous.insert(at.raw(), (first.0, pages, owner));
    Some(at)
}

fn free(cx: &mut Machine, base: Gva, what: &str) {
    let Some((first, pages, _)) = cx.mm.contiguous.remove(&base.raw()) else {
        let text = format!("{:#x} was not allocated by {what}", base.raw());
        cx.report("mm/bad-free", Severity::Error, text);
        return;
    };
    cx.unmap_physical(base);
    for i in 0..pages {
        super::locked::release_frame(cx, Gpa(first + i * PAGE));
    }
}

/// Page flags for a `MEMORY_CACHING_TYPE`: `MmCached` is 1.
fn caching(kind: u32) -> PageFlags {
    if kind == 1 { space::data() } else { uncached() }
}

/// Routines on contiguous memory.
pub struct ContiguousMemory;

#[exports("ntoskrnl.exe")]
impl ContiguousMemory {
    /// Allocates physically contiguous nonpaged memory.
    #[page("wdm/nf-wdm-mmallocatecontiguousmemory")]
    #[irql(..=DISPATCH_LEVEL)]
    fn MmAllocateContiguousMemory(
        cx: &mut Machine,
        NumberOfBytes: u64,
        HighestAcceptableAddress: u64,
    ) -> Gva {
        let range = (0, HighestAcceptableAddress, 0);
        allocate(cx, NumberOfBytes, range, space::executable_data()).unwrap_or(Gva::NULL)
    }

    /// The same in a range, with a boundary and a cache type.
    #[page("wdm/nf-wdm-mmallocatecontiguousmemoryspecifycache")]
    #[irql(..=DISPATCH_LEVEL)]
    fn MmAllocateContiguousMemorySpecifyCache(
        cx: &mut Machine,
        NumberOfBytes: u64,
        LowestAcceptableAddress: u64,
        HighestAcceptableAddress: u64,
        BoundaryAddressMultiple: u64,
        CacheType: u32,
    ) -> Gva {
        let range = (
            LowestAcceptableAddress,
            HighestAcceptableAddress,
            BoundaryAddressMultiple,
        );
        allocate(cx, NumberOfBytes, range, caching(CacheType)).unwrap_or(Gva::NULL)
    }

    /// The same on a node; there is one.
    #[page("wdm/nf-wdm-mmallocatecontiguousmemoryspecifycachenode")]
    #[irql(..=DISPATCH_LEVEL)]
    fn MmAllocateContiguousMemorySpecifyCacheNode(
        cx: &mut Machine,
        NumberOfBytes: u64,
        LowestAcceptableAddress: u64,
        HighestAcceptableAddress: u64,
        BoundaryAddressMultiple: u64,
        CacheType: u32,
        PreferredNode: u32,
    ) -> Gva {
        let _ = PreferredNode;
        let range = (
            LowestAcceptableAddress,
            HighestAcceptableAddress,
            BoundaryAddressMultiple,
        );
        allocate(cx, NumberOfBytes, range, caching(CacheType)).unwrap_or(Gva::NULL)
    }

    /// The same with a page protection.
    #[page("wdm/nf-wdm-mmallocatecontiguousnodememory")]
    #[irql(..=DISPATCH_LEVEL)]
    fn MmAllocateContiguousNodeMemory(
        cx: &mut Machine,
        NumberOfBytes: u64,
        LowestAcceptableAddress: u64,
        HighestAcceptableAddress: u64,
        BoundaryAddressMultiple: u64,
        Protect: u32,
        PreferredNode: u32,
    ) -> Gva {
        let _ = PreferredNode;
        // PAGE_READWRITE 4 or PAGE_EXECUTE_READWRITE 40h, with PAGE_NOCACHE 200h or PAGE_WRITECOMBINE 400h.
        let mut flags = caching(u32::from(Protect & 0x600 == 0));
        match Protect & 0xff {
            4 => {}
            0x40 => flags.remove(PageFlags::NX),
            _ => return Gva::NULL,
        }
        let range = (
            LowestAcceptableAddress,
            HighestAcceptableAddress,
            BoundaryAddressMultiple,
        );
        allocate(cx, NumberOfBytes, range, flags).unwrap_or(Gva::NULL)
    }

    /// Frees contiguous memory.
    #[page("wdm/nf-wdm-mmfreecontiguousmemory")]
    #[irql(..=DISPATCH_LEVEL)]
    fn MmFreeContiguousMemory(cx: &mut Machine, BaseAddress: Gva) {
        free(cx, BaseAddress, "MmAllocateContiguousMemory");
    }

    /// Frees contiguous memory that has a cache type.
    #[page("wdm/nf-wdm-mmfreecontiguousmemoryspecifycache")]
    #[irql(..=DISPATCH_LEVEL)]
    fn MmFreeContiguousMemorySpecifyCache(
        cx: &mut Machine,
        BaseAddress: Gva,
        NumberOfBytes: u64,
        CacheType: u32,
    ) {
        let _ = (NumberOfBytes, CacheType);
        free(cx, BaseAddress, "MmAllocateContiguousMemorySpecifyCache");
    }

    /// Allocates noncached memory.
    #[page("ntddk/nf-ntddk-mmallocatenoncachedmemory")]
    #[irql(..=APC_LEVEL)]
    fn MmAllocateNonCachedMemory(cx: &mut Machine, NumberOfBytes: u64) -> Gva {
        allocate(cx, NumberOfBytes, (0, u64::MAX, 0), uncached()).unwrap_or(Gva::NULL)
    }

    /// Frees noncached memory.
    #[page("ntddk/nf-ntddk-mmfreenoncachedmemory")]
    #[irql(..=APC_LEVEL)]
    fn MmFreeNonCachedMemory(cx: &mut Machine, BaseAddress: Gva, NumberOfBytes: u64) {
        let pages = cx
            .mm
            .contiguous
            .get(&BaseAddress.raw())
            .map(|(_, pages, _)| *pages);
        if pages.is_some_and(|p| p != NumberOfBytes.div_ceil(PAGE)) {
            let text = format!(
                "{NumberOfBytes:#x} bytes of noncached memory are freed, {:#x} were allocated",
                pages.unwrap_or(0) * PAGE
            );
            cx.report("mm/bad-free", Severity::Error, text);
        }
        free(cx, BaseAddress, "MmAllocateNonCachedMemory");
    }
}
