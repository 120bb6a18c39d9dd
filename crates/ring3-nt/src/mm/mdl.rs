//! Memory descriptor lists. Documentation: "Using MDLs", wdm.h.

use ring3_macros::exports;
use ring3_memory::{Access, Fault, Gpa, Gva, PageFlags, Privilege};

use super::locked::{self, Locked};
use super::mapping;
use super::space::{self, PAGE, Region};
use crate::Machine;
use crate::ex::pool::Kind;
use crate::flow::{Exception, Flow};
use crate::layout::{IRP, MDL};
use crate::machine::finding::Severity;
use crate::ntstatus::STATUS_ACCESS_VIOLATION;

/// `MDL_*` flags of wdm.h.
pub mod flag {
    /// `MappedSystemVa` is valid.
    pub const MAPPED_TO_SYSTEM_VA: i16 = 0x0001;
    /// The pages are locked.
    pub const PAGES_LOCKED: i16 = 0x0002;
    /// It describes nonpaged pool.
    pub const SOURCE_IS_NONPAGED_POOL: i16 = 0x0004;
    /// It describes a part of another MDL.
    pub const PARTIAL: i16 = 0x0010;
    /// A partial MDL that has a mapping of its own.
    pub const PARTIAL_HAS_BEEN_MAPPED: i16 = 0x0020;
    /// The pages were locked for writing.
    pub const WRITE_OPERATION: i16 = 0x0080;
    /// Locked pages' I/O space.
    pub const IO_SPACE: i16 = 0x0800;
}

pub(super) const TAG: u32 = u32::from_le_bytes(*b"Mdl ");

/// Where the page frame numbers start.
pub(super) const PFNS: u64 = MDL::SIZE;

pub(super) fn span(va: u64, length: u64) -> u64 {
    ((va & (PAGE - 1)) + length).div_ceil(PAGE)
}

/// Makes an MDL for a buffer; its pages are not locked yet.
pub fn create_for_buffer(cx: &mut Machine, va: u64, length: u32, owner: u64) -> Option<Gva<MDL>> {
    let size = MDL::SIZE + 8 * span(va, u64::from(length)).max(1);
    let mdl = cx
        .pool_allocate_for(Kind::NonPaged, size, TAG, owner)?
        .cast::<MDL>();
    let m = &mut cx.memory;
    m.fill(mdl, size, 0).ok()?;
    m.set(mdl, MDL::Size, size as i16).ok()?;
    m.set(mdl, MDL::StartVa, Gva::new(va & !(PAGE - 1))).ok()?;
    m.set(mdl, MDL::ByteOffset, (va & (PAGE - 1)) as u32).ok()?;
    m.set(mdl, MDL::ByteCount, length).ok()?;
    Some(mdl)
}

/// The virtual address and length that an MDL describes.
///
/// # Errors
/// A fault if it cannot be read.
pub fn range(cx: &Machine, mdl: Gva<MDL>) -> Result<(u64, u64), Fault> {
    let start = cx.memory.get(mdl, MDL::StartVa)?.raw();
    let offset = cx.memory.get(mdl, MDL::ByteOffset)?;
    let count = cx.memory.get(mdl, MDL::ByteCount)?;
    Ok((start + u64::from(offset), u64::from(count)))
}

pub(super) fn add_flags(
    cx: &mut Machine,
    mdl: Gva<MDL>,
    set: i16,
    clear: i16,
) -> Result<i16, Fault> {
    let before = cx.memory.get(mdl, MDL::MdlFlags)?;
    cx.memory.set(mdl, MDL::MdlFlags, before & !clear | set)?;
    Ok(before)
}

/// The physical pages of an MDL.
///
/// # Errors
/// A fault if it cannot be read.
pub fn pages(cx: &Machine, mdl: Gva<MDL>) -> Result<Vec<Gpa>, Fault> {
    let (va, length) = range(cx, mdl)?;
    let first = mdl.cast::<u8>().byte_add(PFNS).cast::<u64>();
    (0..span(va, length))
        .map(|i| Ok(Gpa(cx.memory.read(first.add(i))? * PAGE)))
        .collect()
}

/// Looks up the pages of the described range and stores them. False if one is not there.
pub(super) fn fill_pages(cx: &mut Machine, mdl: Gva<MDL>) -> Result<bool, Fault> {
    let (va, length) = range(cx, mdl)?;
    let first = mdl.cast::<u8>().byte_add(PFNS).cast::<u64>();
    for i in 0..span(va, length) {
        let Some(pa) = cx.physical((va & !(PAGE - 1)) + i * PAGE) else {
            return Ok(false);
        };
        cx.memory.write(first.add(i), pa.0 / PAGE)?;
    }
    Ok(true)
}

/// Checks access to the described range and locks its pages. False where the access is not allowed.
///
/// # Errors
/// A fault if the MDL itself cannot be used.
pub fn probe_and_lock(
    cx: &mut Machine,
    mdl: Gva<MDL>,
    user: bool,
    write: bool,
) -> Result<bool, Fault> {
    let (va, length) = range(cx, mdl)?;
    let access = if write { Access::Write } else { Access::Read };
    let privilege = if user {
        Privilege::User
    } else {
        Privilege::Supervisor
    };
    if user && va.saturating_add(length) > cx.build.user_probe_address || length == 0 {
        return Ok(false);
    }
    if cx.memory.check(va, length, access, privilege).is_err() || !fill_pages(cx, mdl)? {
        return Ok(false);
    }
    if cx.mm.locked_mdls.contains_key(&mdl.raw()) {
        let text = format!(
            "the MDL {:#x} is locked while its pages are locked already",
            mdl.raw()
        );
        cx.report("mdl/locked-twice", Severity::Error, text);
        locked::unlock(cx, mdl.raw());
    }
    // IoReadAccess on pages that may be written clears what an earlier lock left behind.
    let (set, clear) = if write {
        (flag::PAGES_LOCKED | flag::WRITE_OPERATION, 0)
    } else {
        (flag::PAGES_LOCKED, flag::WRITE_OPERATION)
    };
    add_flags(cx, mdl, set, clear)?;
    let space = cx.thread().space();
    let process = (va < cx.build.system_range_start).then_some(space);
    let object = process
        .and_then(|id| cx.processes.get(&id))
        .map_or(Gva::NULL, |p| p.object);
    cx.memory.set(mdl, MDL::Process, object)?;
    let frames = pages(cx, mdl)?.into_iter().map(|p| p.0 / PAGE).collect();
    let owner = cx.caller;
    let mdl = mdl.raw();
    locked::lock(
        cx,
        Locked {
            mdl,
            owner,
            process,
            frames,
        },
    );
    Ok(true)
}

/// Unlocks the pages of an MDL and drops its system mapping.
///
/// # Errors
/// A fault if the MDL cannot be used.
pub fn unlock(cx: &mut Machine, mdl: Gva<MDL>) -> Result<(), Fault> {
    let flags = cx.memory.get(mdl, MDL::MdlFlags)?;
    if flags & flag::PAGES_LOCKED == 0 {
        cx.report(
            "mdl/not-locked",
            Severity::Error,
            format!(
                "the MDL {:#x} is unlocked but its pages are not locked",
                mdl.raw()
            ),
        );
        return Ok(());
    }
    if flags & flag::MAPPED_TO_SYSTEM_VA != 0 {
        unmap(cx, mdl)?;
    }
    add_flags(cx, mdl, 0, flag::PAGES_LOCKED)?;
    cx.memory.set(mdl, MDL::Process, Gva::NULL)?;
    locked::unlock(cx, mdl.raw());
    Ok(())
}

/// Maps an MDL's pages into system space. `None` where there is no room.
///
/// # Errors
/// A fault if the MDL cannot be used.
pub fn map(cx: &mut Machine, mdl: Gva<MDL>) -> Result<Option<Gva>, Fault> {
    map_with(cx, mdl, space::data())
}

/// [`map`] with other rights and caching.
///
/// # Errors
/// A fault if the MDL cannot be used.
pub fn map_with(
    cx: &mut Machine,
    mdl: Gva<MDL>,
    page_flags: PageFlags,
) -> Result<Option<Gva>, Fault> {
    let flags = cx.memory.get(mdl, MDL::MdlFlags)?;
    if flags & (flag::MAPPED_TO_SYSTEM_VA | flag::SOURCE_IS_NONPAGED_POOL) != 0 {
        return Ok(Some(cx.memory.get(mdl, MDL::MappedSystemVa)?.cast()));
    }
    let frames = pages(cx, mdl)?;
    let offset = cx.memory.get(mdl, MDL::ByteOffset)?;
    let Some(base) = cx.map_physical(&frames, page_flags) else {
        return Ok(None);
    };
    let at = base.byte_add(u64::from(offset));
    cx.memory.set(mdl, MDL::MappedSystemVa, at.cast())?;
    let partial = if flags & flag::PARTIAL != 0 {
        flag::PARTIAL_HAS_BEEN_MAPPED
    } else {
        0
    };
    add_flags(cx, mdl, flag::MAPPED_TO_SYSTEM_VA | partial, 0)?;
    Ok(Some(at))
}

/// Undoes [`map`].
///
/// # Errors
/// A fault if the MDL cannot be used.
pub fn unmap(cx: &mut Machine, mdl: Gva<MDL>) -> Result<(), Fault> {
    let flags = cx.memory.get(mdl, MDL::MdlFlags)?;
    if flags & flag::MAPPED_TO_SYSTEM_VA == 0 {
        return Ok(());
    }
    let at = cx.memory.get(mdl, MDL::MappedSystemVa)?.raw();
    // MmAdvanceMdl may have moved it away from the start of the mapping.
    let start = cx.mm.regions.covering(at).map_or(at & !(PAGE - 1), |r| r.0);
    cx.unmap_physical(Gva::new(start));
    add_flags(
        cx,
        mdl,
        0,
        flag::MAPPED_TO_SYSTEM_VA | flag::PARTIAL_HAS_BEEN_MAPPED,
    )?;
    Ok(())
}

/// Frees an MDL, with its mapping if it is a partial one.
///
/// # Errors
/// A fault if the MDL cannot be used.
pub fn free(cx: &mut Machine, mdl: Gva<MDL>) -> Result<(), Fault> {
    let flags = cx.memory.get(mdl, MDL::MdlFlags)?;
    if flags & flag::PARTIAL_HAS_BEEN_MAPPED != 0 {
        unmap(cx, mdl)?;
    }
    if flags & flag::PAGES_LOCKED != 0 && flags & flag::PARTIAL == 0 {
        cx.report(
            "mdl/freed-locked",
            Severity::Error,
            format!("the MDL {:#x} is freed with its pages locked", mdl.raw()),
        );
        locked::unlock(cx, mdl.raw());
    }
    if !cx.pool_free(mdl.cast()) {
        cx.report(
            "mdl/bad-free",
            Severity::Error,
            format!("{:#x} is not an MDL of IoAllocateMdl", mdl.raw()),
        );
    }
    Ok(())
}

/// Whether the pages of an MDL may be mapped; reports one whose pages nobody keeps in place.
fn is_backed(cx: &mut Machine, mdl: Gva<MDL>) -> Result<bool, Fault> {
    let flags = cx.memory.get(mdl, MDL::MdlFlags)?;
    let backed =
        flag::PAGES_LOCKED | flag::SOURCE_IS_NONPAGED_POOL | flag::PARTIAL | flag::IO_SPACE;
    if flags & backed != 0 {
        return Ok(true);
    }
    let text = format!(
        "the MDL {:#x} is mapped, but its pages are not locked",
        mdl.raw()
    );
    cx.report("mdl/mapped-unlocked", Severity::Error, text);
    Ok(false)
}

/// Routines on MDLs.
pub struct Mdls;

#[exports("ntoskrnl.exe")]
impl Mdls {
    /// Makes an MDL for a buffer, and may link it to an IRP.
    #[page("wdm/nf-wdm-ioallocatemdl")]
    #[irql(..=DISPATCH_LEVEL)]
    #[partial("no quota is charged, so ChargeQuota changes nothing")]
    fn IoAllocateMdl(
        cx: &mut Machine,
        VirtualAddress: Gva,
        Length: u32,
        SecondaryBuffer: bool,
        ChargeQuota: bool,
        Irp: Gva<IRP>,
    ) -> Result<Gva<MDL>, Fault> {
        let _ = ChargeQuota;
        let owner = cx.caller;
        // What is to point to the new MDL: found before there is one.
        let mut link: Option<Gva<Gva<MDL>>> = None;
        if !Irp.is_null() {
            let mut at = Irp.at(IRP::MdlAddress);
            let mut next = cx.memory.read(at)?;
            if SecondaryBuffer {
                while !next.is_null() {
                    at = next.at(MDL::Next);
                    next = cx.memory.read(at)?;
                }
            }
            link = Some(at);
        }
        let Some(mdl) = create_for_buffer(cx, VirtualAddress.raw(), Length, owner) else {
            return Ok(Gva::NULL);
        };
        if let Some(link) = link {
            cx.memory.write(link, mdl)?;
        }
        Ok(mdl)
    }

    /// Frees an MDL.
    #[page("wdm/nf-wdm-iofreemdl")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoFreeMdl(cx: &mut Machine, Mdl: Gva<MDL>) -> Result<(), Fault> {
        free(cx, Mdl)
    }

    /// Makes an MDL that describes a part of another one.
    #[page("wdm/nf-wdm-iobuildpartialmdl")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoBuildPartialMdl(
        cx: &mut Machine,
        SourceMdl: Gva<MDL>,
        TargetMdl: Gva<MDL>,
        VirtualAddress: Gva,
        Length: u32,
    ) -> Result<(), Fault> {
        let (start, total) = range(cx, SourceMdl)?;
        let va = VirtualAddress.raw();
        let skip = va.wrapping_sub(start);
        let length = if Length == 0 {
            total.saturating_sub(skip)
        } else {
            u64::from(Length)
        };
        let frames = pages(cx, SourceMdl)?;
        let first = (va & !(PAGE - 1)).wrapping_sub(start & !(PAGE - 1)) / PAGE;
        let flags = cx.memory.get(SourceMdl, MDL::MdlFlags)?;
        let process = cx.memory.get(SourceMdl, MDL::Process)?;
        let mapped = cx.memory.get(SourceMdl, MDL::MappedSystemVa)?;
        let keep = flag::MAPPED_TO_SYSTEM_VA
            | flag::SOURCE_IS_NONPAGED_POOL
            | flag::PAGES_LOCKED
            | flag::IO_SPACE;
        let m = &mut cx.memory;
        m.set(TargetMdl, MDL::StartVa, Gva::new(va & !(PAGE - 1)))?;
        m.set(TargetMdl, MDL::ByteOffset, (va & (PAGE - 1)) as u32)?;
        m.set(TargetMdl, MDL::ByteCount, length as u32)?;
        m.set(TargetMdl, MDL::Process, process)?;
        m.set(TargetMdl, MDL::MappedSystemVa, mapped.byte_add(skip))?;
        m.set(TargetMdl, MDL::MdlFlags, flags & keep | flag::PARTIAL)?;
        let target = TargetMdl.cast::<u8>().byte_add(PFNS).cast::<u64>();
        for i in 0..span(va, length) {
            let Some(frame) = frames.get((first + i) as usize) else {
                break;
            };
            m.write(target.add(i), frame.0 / PAGE)?;
        }
        Ok(())
    }

    /// Fills in the pages of an MDL that describes nonpaged memory.
    #[page("wdm/nf-wdm-mmbuildmdlfornonpagedpool")]
    #[irql(..=DISPATCH_LEVEL)]
    fn MmBuildMdlForNonPagedPool(
        cx: &mut Machine,
        MemoryDescriptorList: Gva<MDL>,
    ) -> Result<(), Fault> {
        let (va, _) = range(cx, MemoryDescriptorList)?;
        let pageable =
            va < cx.build.system_range_start || space::region_of(va) == Some(Region::PagedPool);
        if pageable || !fill_pages(cx, MemoryDescriptorList)? {
            cx.report(
                "mdl/not-nonpaged",
                Severity::Error,
                format!("MmBuildMdlForNonPagedPool for {va:#x}, which is not nonpaged memory"),
            );
            return Ok(());
        }
        cx.memory
            .set(MemoryDescriptorList, MDL::MappedSystemVa, Gva::new(va))?;
        add_flags(cx, MemoryDescriptorList, flag::SOURCE_IS_NONPAGED_POOL, 0)?;
        Ok(())
    }

    /// Checks access to a buffer and locks its pages; raises an exception where it is not allowed.
    #[page("wdm/nf-wdm-mmprobeandlockpages")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(())]
    fn MmProbeAndLockPages(
        cx: &mut Machine,
        MemoryDescriptorList: Gva<MDL>,
        AccessMode: u8,
        Operation: u32,
    ) -> Result<Flow, Fault> {
        if probe_and_lock(cx, MemoryDescriptorList, AccessMode != 0, Operation != 0)? {
            return Ok(Flow::Return(0));
        }
        Ok(Flow::Raise(Exception::new(STATUS_ACCESS_VIOLATION)))
    }

    /// Unlocks the pages of an MDL.
    #[page("wdm/nf-wdm-mmunlockpages")]
    #[irql(..=DISPATCH_LEVEL)]
    fn MmUnlockPages(cx: &mut Machine, MemoryDescriptorList: Gva<MDL>) -> Result<(), Fault> {
        unlock(cx, MemoryDescriptorList)
    }

    /// Maps the pages of an MDL into system or user space.
    #[page("wdm/nf-wdm-mmmaplockedpagesspecifycache")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(Gva)]
    fn MmMapLockedPagesSpecifyCache(
        cx: &mut Machine,
        MemoryDescriptorList: Gva<MDL>,
        AccessMode: u8,
        CacheType: u32,
        RequestedAddress: Gva,
        BugCheckOnFailure: u32,
        Priority: u32,
    ) -> Result<Flow, Fault> {
        if !is_backed(cx, MemoryDescriptorList)? {
            return Ok(Flow::Return(0));
        }
        let flags = mapping::page_flags(CacheType, Priority);
        if AccessMode != 0 {
            return mapping::into_user(cx, MemoryDescriptorList, RequestedAddress.raw(), flags);
        }
        Ok(match map_with(cx, MemoryDescriptorList, flags)? {
            Some(at) => Flow::Return(at.raw()),
            // NO_MORE_SYSTEM_PTES.
            None if BugCheckOnFailure != 0 => Flow::Bugcheck(0x3f, [0; 4]),
            None => Flow::Return(0),
        })
    }

    /// Maps the pages of an MDL.
    #[page("wdm/nf-wdm-mmmaplockedpages")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(Gva)]
    fn MmMapLockedPages(
        cx: &mut Machine,
        MemoryDescriptorList: Gva<MDL>,
        AccessMode: u8,
    ) -> Result<Flow, Fault> {
        if !is_backed(cx, MemoryDescriptorList)? {
            return Ok(Flow::Return(0));
        }
        let flags = mapping::page_flags(1, 0);
        if AccessMode != 0 {
            return mapping::into_user(cx, MemoryDescriptorList, 0, flags);
        }
        Ok(match map_with(cx, MemoryDescriptorList, flags)? {
            Some(at) => Flow::Return(at.raw()),
            None => Flow::Bugcheck(0x3f, [0; 4]),
        })
    }

    /// Undoes the mapping of an MDL's pages.
    #[page("wdm/nf-wdm-mmunmaplockedpages")]
    #[irql(..=DISPATCH_LEVEL)]
    fn MmUnmapLockedPages(
        cx: &mut Machine,
        BaseAddress: Gva,
        MemoryDescriptorList: Gva<MDL>,
    ) -> Result<(), Fault> {
        if BaseAddress.raw() < cx.build.system_range_start {
            mapping::out_of_user(cx, BaseAddress.raw());
            return Ok(());
        }
        let mapped = cx.memory.get(MemoryDescriptorList, MDL::MappedSystemVa)?;
        if mapped.raw() != BaseAddress.raw() {
            let text = format!(
                "MmUnmapLockedPages of {:#x}, but the MDL is mapped at {:#x}",
                BaseAddress.raw(),
                mapped.raw()
            );
            cx.report("mdl/wrong-address", Severity::Error, text);
            return Ok(());
        }
        unmap(cx, MemoryDescriptorList)
    }

    /// The bytes an MDL for this buffer needs.
    #[page("wdm/nf-wdm-mmsizeofmdl")]
    #[irql(any)]
    fn MmSizeOfMdl(cx: &mut Machine, Base: Gva, Length: u64) -> u64 {
        let _ = &cx;
        MDL::SIZE + 8 * span(Base.raw(), Length)
    }
}

/// Page flags for device memory.
#[must_use]
pub fn uncached() -> PageFlags {
    space::data() | PageFlags::CACHE_DISABLE | PageFlags::WRITE_THROUGH
}
