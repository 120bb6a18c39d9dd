//! MDLs that bring their pages along: MmAllocatePagesForMdl, MmAllocateMdlForIoSpace. Documentation: wdm.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gpa, Gva};

use super::mdl::{self, PFNS, flag};
use super::space::PAGE;
use crate::Machine;
use crate::layout::MDL;
use crate::machine::finding::Severity;
use crate::ntstatus::{
    NTSTATUS, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER_1,
    STATUS_INVALID_PARAMETER_2, STATUS_SUCCESS,
};

/// `MM_ALLOCATE_FULLY_REQUIRED`.
const FULLY_REQUIRED: u32 = 4;
/// `MM_ALLOCATE_REQUIRE_CONTIGUOUS_CHUNKS`: SkipBytes is the size of a chunk, 0 for all in one.
const CONTIGUOUS_CHUNKS: u32 = 0x20;
/// The most that one MDL describes: 4 GiB less a page.
const MOST: u64 = 0xffff_f000;

/// Frees frames.
fn give_back(cx: &mut Machine, frames: &[Gpa]) {
    for frame in frames {
        cx.memory.free_frame(*frame);
    }
}

/// A free frame in a range of addresses. `None` if there is none.
pub(super) fn frame_between(cx: &mut Machine, low: u64, high: u64) -> Option<Gpa> {
    let mut beside = Vec::new();
    let mut found = None;
    while let Some(frame) = cx.memory.alloc_frame() {
        if frame.0 >= low && frame.0 + PAGE - 1 <= high {
            found = Some(frame);
            break;
        }
        beside.push(frame);
        // Frames come in ascending order.
        if frame.0 > high {
            break;
        }
    }
    give_back(cx, &beside);
    found
}

/// Frames in a range of addresses: as many as there are, at most `count`; adjacent ones by chunk, if asked for.
fn frames_between(cx: &mut Machine, low: u64, high: u64, count: u64, chunk: u64) -> Vec<Gpa> {
    let mut frames = Vec::new();
    while (frames.len() as u64) < count {
        if chunk > 1 {
            let Some(first) = cx.memory.alloc_frames(chunk) else {
                break;
            };
            let run: Vec<Gpa> = (0..chunk).map(|i| Gpa(first.0 + i * PAGE)).collect();
            if first.0 < low || first.0 + chunk * PAGE - 1 > high {
                give_back(cx, &run);
                break;
            }
            frames.extend(run);
        } else {
            let Some(frame) = frame_between(cx, low, high) else {
                break;
            };
            frames.push(frame);
        }
    }
    frames
}

/// An MDL over frames, not mapped anywhere.
fn describe(cx: &mut Machine, frames: &[Gpa], flags: i16) -> Option<Gva<MDL>> {
    let owner = cx.caller;
    let length = frames.len() as u64 * PAGE;
    let made = mdl::create_for_buffer(cx, 0, length as u32, owner)?;
    let first = made.cast::<u8>().byte_add(PFNS).cast::<u64>();
    for (frame, i) in frames.iter().zip(0..) {
        cx.memory.write(first.add(i), frame.0 / PAGE).ok()?;
    }
    cx.memory.set(made, MDL::MdlFlags, flags).ok()?;
    Some(made)
}

/// The routine with and without flags.
fn allocate(cx: &mut Machine, low: u64, high: u64, skip: u64, total: u64, flags: u32) -> Gva<MDL> {
    let count = total.min(MOST).div_ceil(PAGE);
    if count == 0 {
        return Gva::NULL;
    }
    let chunk = match (flags & CONTIGUOUS_CHUNKS != 0, skip) {
        (false, _) => 1,
        (true, 0) => count,
        (true, bytes) => bytes.div_ceil(PAGE),
    };
    let free = cx.memory.free_frames() as u64;
    if count > free && flags & FULLY_REQUIRED != 0 {
        return Gva::NULL;
    }
    // Some pages stay for page tables and the MDL itself.
    let frames = frames_between(cx, low, high, count.min(free.saturating_sub(64)), chunk);
    let short = (frames.len() as u64) < count;
    if frames.is_empty() || short && flags & (FULLY_REQUIRED | CONTIGUOUS_CHUNKS) != 0 {
        give_back(cx, &frames);
        return Gva::NULL;
    }
    let Some(made) = describe(cx, &frames, flag::PAGES_LOCKED) else {
        give_back(cx, &frames);
        return Gva::NULL;
    };
    let owner = cx.caller;
    cx.mm.page_mdls.insert(made.raw(), owner);
    made
}

/// Routines on MDLs with pages of their own.
pub struct PageMdls;

#[exports("ntoskrnl.exe")]
impl PageMdls {
    /// Allocates zeroed physical pages and an MDL that describes them; maybe fewer than asked for.
    #[page("wdm/nf-wdm-mmallocatepagesformdl")]
    #[irql(..=APC_LEVEL)]
    #[partial("SkipBytes: all pages come from the first range")]
    fn MmAllocatePagesForMdl(
        cx: &mut Machine,
        LowAddress: u64,
        HighAddress: u64,
        SkipBytes: u64,
        TotalBytes: u64,
    ) -> Gva<MDL> {
        let _ = SkipBytes;
        allocate(cx, LowAddress, HighAddress, 0, TotalBytes, 0)
    }

    /// The same with flags.
    #[page("wdm/nf-wdm-mmallocatepagesformdlex")]
    #[irql(..=APC_LEVEL)]
    #[partial("pages are always zeroed; SkipBytes without contiguous chunks; the cache type")]
    fn MmAllocatePagesForMdlEx(
        cx: &mut Machine,
        LowAddress: u64,
        HighAddress: u64,
        SkipBytes: u64,
        TotalBytes: u64,
        CacheType: u32,
        Flags: u32,
    ) -> Gva<MDL> {
        let _ = CacheType;
        allocate(cx, LowAddress, HighAddress, SkipBytes, TotalBytes, Flags)
    }

    /// Frees the pages of an MDL of MmAllocatePagesForMdl; the MDL itself is the caller's to free.
    #[page("wdm/nf-wdm-mmfreepagesfrommdl")]
    #[irql(..=APC_LEVEL)]
    fn MmFreePagesFromMdl(cx: &mut Machine, MemoryDescriptorList: Gva<MDL>) -> Result<(), Fault> {
        let at = MemoryDescriptorList.raw();
        if !cx.mm.page_mdls.contains_key(&at) {
            let text = format!("{at:#x} is no MDL of MmAllocatePagesForMdl");
            cx.report("mm/bad-free", Severity::Error, text);
            return Ok(());
        }
        let flags = cx.memory.get(MemoryDescriptorList, MDL::MdlFlags)?;
        if flags & flag::MAPPED_TO_SYSTEM_VA != 0 {
            let text = format!("the pages of the MDL {at:#x} are freed while they are mapped");
            cx.report("mdl/freed-mapped", Severity::Error, text);
            mdl::unmap(cx, MemoryDescriptorList)?;
        }
        let frames = mdl::pages(cx, MemoryDescriptorList)?;
        cx.mm.page_mdls.remove(&at);
        give_back(cx, &frames);
        mdl::add_flags(cx, MemoryDescriptorList, 0, flag::PAGES_LOCKED)?;
        Ok(())
    }

    /// Makes an MDL over physical ranges of a device.
    #[page("wdm/nf-wdm-mmallocatemdlforiospace")]
    #[irql(..=DISPATCH_LEVEL)]
    fn MmAllocateMdlForIoSpace(
        cx: &mut Machine,
        PhysicalAddressList: Gva<u64>,
        NumberOfEntries: u64,
        NewMdl: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        cx.memory.read(NewMdl)?;
        if NumberOfEntries == 0 {
            return Ok(STATUS_INVALID_PARAMETER_2);
        }
        let mut frames = Vec::new();
        for i in 0..NumberOfEntries {
            let start = cx.memory.read(PhysicalAddressList.add(2 * i))?;
            let bytes = cx.memory.read(PhysicalAddressList.add(2 * i + 1))?;
            let pages = bytes / PAGE;
            if start % PAGE != 0 || bytes % PAGE != 0 || frames.len() as u64 + pages > MOST / PAGE {
                return Ok(STATUS_INVALID_PARAMETER_1);
            }
            frames.extend((0..pages).map(|n| Gpa(start.wrapping_add(n * PAGE))));
        }
        // No RAM that the system manages may be described.
        let end = cx.memory.ram_size();
        if frames.iter().any(|f| f.0 < end) {
            return Ok(STATUS_INVALID_PARAMETER_1);
        }
        let Some(made) = describe(cx, &frames, flag::IO_SPACE | flag::PAGES_LOCKED) else {
            return Ok(STATUS_INSUFFICIENT_RESOURCES);
        };
        cx.memory.write(NewMdl, made.raw())?;
        Ok(STATUS_SUCCESS)
    }
}
