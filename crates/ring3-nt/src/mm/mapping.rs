//! Mapping the pages of MDLs into user space, and into reserved system addresses. Documentation: wdm.h,
//! MmMapLockedPagesSpecifyCache, MmAllocateMappingAddress.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva, PageFlags};

use super::mdl::{self, flag};
use super::space::{PAGE, Region, executable_data};
use super::virtual_memory;
use crate::Machine;
use crate::bugcheck_codes::SYSTEM_PTE_MISUSE;
use crate::flow::{Exception, Flow};
use crate::layout::MDL;
use crate::machine::finding::Severity;
use crate::machine::thread::ProcessId;
use crate::ntstatus::{STATUS_CONFLICTING_ADDRESSES, STATUS_INSUFFICIENT_RESOURCES};

/// `MdlMappingNoWrite`, `MdlMappingNoExecute`.
const NO_WRITE: u32 = 0x8000_0000;
const NO_EXECUTE: u32 = 0x4000_0000;

/// An MDL mapped into a process.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct UserMapping {
    /// Pages.
    pub pages: u64,
    /// Who mapped it: a return address.
    pub owner: u64,
}

/// System addresses that a driver keeps for a mapping.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Pages.
    pub pages: u64,
    /// The tag.
    pub tag: u32,
    /// Pages mapped now; 0 for none.
    pub mapped: u64,
    /// Who asked for it: a return address.
    pub owner: u64,
}

/// Page flags for a cache type and a priority. `MmNonCached` is 0, `MmCached` 1, `MmWriteCombined` 2.
#[must_use]
pub fn page_flags(cache: u32, priority: u32) -> PageFlags {
    let mut flags = executable_data();
    flags.set(PageFlags::NX, priority & NO_EXECUTE != 0);
    flags.set(PageFlags::WRITE, priority & NO_WRITE == 0);
    if cache == 0 {
        flags |= PageFlags::CACHE_DISABLE | PageFlags::WRITE_THROUGH;
    }
    flags
}

/// Maps an MDL into the current process; an exception where that cannot be.
///
/// # Errors
/// A fault if the MDL cannot be used.
pub fn into_user(
    cx: &mut Machine,
    mdl: Gva<MDL>,
    wanted: u64,
    flags: PageFlags,
) -> Result<Flow, Fault> {
    let frames = mdl::pages(cx, mdl)?;
    let offset = cx.memory.get(mdl, MDL::ByteOffset)?;
    let space = cx.thread().space();
    let pages = frames.len() as u64;
    let at = if wanted == 0 {
        virtual_memory::find_free(cx, space, pages)
    } else {
        let at = wanted & !(PAGE - 1);
        virtual_memory::is_free(cx, space, at, pages).then_some(at)
    };
    let Some(at) = at else {
        return Ok(Flow::Raise(Exception::new(STATUS_CONFLICTING_ADDRESSES)));
    };
    let cr3 = cx.memory.context().cr3;
    let flags = (flags | PageFlags::USER) - PageFlags::GLOBAL;
    for (frame, i) in frames.into_iter().zip(0..) {
        if cx.memory.map(cr3, at + i * PAGE, frame, flags).is_err() {
            for done in 0..i {
                cx.memory.unmap(cr3, at + done * PAGE);
            }
            return Ok(Flow::Raise(Exception::new(STATUS_INSUFFICIENT_RESOURCES)));
        }
    }
    let owner = cx.caller;
    cx.mm
        .user_mappings
        .insert((space, at), UserMapping { pages, owner });
    Ok(Flow::Return(at + u64::from(offset)))
}

/// Undoes [`into_user`]; reports what is no such mapping of the current process.
pub fn out_of_user(cx: &mut Machine, address: u64) {
    let space = cx.thread().space();
    let at = address & !(PAGE - 1);
    let Some(mapping) = cx.mm.user_mappings.remove(&(space, at)) else {
        let text = format!("{address:#x} is no mapping of an MDL in the current process");
        cx.report("mdl/wrong-address", Severity::Error, text);
        return;
    };
    let cr3 = cx.memory.context().cr3;
    for i in 0..mapping.pages {
        cx.memory.unmap(cr3, at + i * PAGE);
    }
}

/// Takes the mappings of MDLs out of a process that ends.
pub fn free_all(cx: &mut Machine, process: ProcessId) {
    cx.mm
        .user_mappings
        .retain(|(owner, _), _| *owner != process);
}

/// Looks for a reservation; the parameters of SYSTEM_PTE_MISUSE if the tag is another one.
fn reservation(cx: &Machine, at: u64, tag: u32, what: u64) -> Result<Reserved, [u64; 4]> {
    match cx.mm.reserved.get(&at) {
        Some(found) if found.tag == tag => Ok(found.clone()),
        Some(found) => Err([what, at, u64::from(tag), u64::from(found.tag)]),
        None => Err([what, at, u64::from(tag), 0]),
    }
}

/// Routines on reserved mapping addresses.
pub struct ReservedMappings;

#[exports("ntoskrnl.exe")]
impl ReservedMappings {
    /// Reserves system addresses for mappings that must not fail.
    #[page("wdm/nf-wdm-mmallocatemappingaddress")]
    #[irql(..=APC_LEVEL)]
    fn MmAllocateMappingAddress(cx: &mut Machine, NumberOfBytes: u64, PoolTag: u32) -> Gva {
        let pages = NumberOfBytes.div_ceil(PAGE);
        if pages == 0 {
            return Gva::NULL;
        }
        let Some(at) = cx.mm.regions.reserve(Region::SystemPtes, pages) else {
            return Gva::NULL;
        };
        let reserved = Reserved {
            pages,
            tag: PoolTag,
            mapped: 0,
            owner: cx.caller,
        };
        cx.mm.reserved.insert(at, reserved);
        Gva::new(at)
    }

    /// Gives reserved system addresses back.
    #[page("wdm/nf-wdm-mmfreemappingaddress")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    #[assumed(
        "parameter 1 of bugcheck 0xDA: 0x100 for a wrong address or tag, 0x102 for one that is mapped"
    )]
    fn MmFreeMappingAddress(cx: &mut Machine, BaseAddress: Gva, PoolTag: u32) -> Flow {
        let at = BaseAddress.raw();
        match reservation(cx, at, PoolTag, 0x100) {
            Ok(found) if found.mapped != 0 => Flow::Bugcheck(
                SYSTEM_PTE_MISUSE,
                [0x102, at, u64::from(PoolTag), found.pages],
            ),
            Ok(_) => {
                cx.mm.reserved.remove(&at);
                cx.mm.regions.release(Region::SystemPtes, at);
                Flow::Return(crate::machine::SCRUBBED)
            }
            Err(parameters) => Flow::Bugcheck(SYSTEM_PTE_MISUSE, parameters),
        }
    }

    /// Maps an MDL at reserved addresses; NULL if they are too few.
    #[page("wdm/nf-wdm-mmmaplockedpageswithreservedmapping")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(Gva)]
    #[assumed(
        "parameter 1 of bugcheck 0xDA: 0x104 for a wrong address or tag, 0x107 for one that is mapped"
    )]
    fn MmMapLockedPagesWithReservedMapping(
        cx: &mut Machine,
        MappingAddress: Gva,
        PoolTag: u32,
        MemoryDescriptorList: Gva<MDL>,
        CacheType: u32,
    ) -> Result<Flow, Fault> {
        let at = MappingAddress.raw();
        let found = match reservation(cx, at, PoolTag, 0x104) {
            Ok(found) => found,
            Err(parameters) => return Ok(Flow::Bugcheck(SYSTEM_PTE_MISUSE, parameters)),
        };
        if found.mapped != 0 {
            let tag = u64::from(PoolTag);
            return Ok(Flow::Bugcheck(
                SYSTEM_PTE_MISUSE,
                [0x107, at, tag, found.pages],
            ));
        }
        let frames = mdl::pages(cx, MemoryDescriptorList)?;
        let offset = cx.memory.get(MemoryDescriptorList, MDL::ByteOffset)?;
        if frames.len() as u64 > found.pages {
            return Ok(Flow::Return(0));
        }
        let result = at + u64::from(offset);
        cx.memory
            .set(MemoryDescriptorList, MDL::MappedSystemVa, Gva::new(result))?;
        let cr3 = cx.memory.context().cr3;
        let flags = page_flags(CacheType, 0);
        let mapped = frames.len() as u64;
        for (frame, i) in frames.into_iter().zip(0..) {
            let _ = cx.memory.map(cr3, at + i * PAGE, frame, flags);
        }
        mdl::add_flags(cx, MemoryDescriptorList, flag::MAPPED_TO_SYSTEM_VA, 0)?;
        if let Some(entry) = cx.mm.reserved.get_mut(&at) {
            entry.mapped = mapped;
        }
        Ok(Flow::Return(result))
    }

    /// Undoes MmMapLockedPagesWithReservedMapping; the addresses stay reserved.
    #[page("wdm/nf-wdm-mmunmapreservedmapping")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(())]
    #[assumed("parameter 1 of bugcheck 0xDA: 0x108 for a wrong address or tag")]
    fn MmUnmapReservedMapping(
        cx: &mut Machine,
        BaseAddress: Gva,
        PoolTag: u32,
        MemoryDescriptorList: Gva<MDL>,
    ) -> Result<Flow, Fault> {
        let at = BaseAddress.raw() & !(PAGE - 1);
        let found = match reservation(cx, at, PoolTag, 0x108) {
            Ok(found) => found,
            Err(parameters) => return Ok(Flow::Bugcheck(SYSTEM_PTE_MISUSE, parameters)),
        };
        mdl::add_flags(cx, MemoryDescriptorList, 0, flag::MAPPED_TO_SYSTEM_VA)?;
        let cr3 = cx.memory.context().cr3;
        for i in 0..found.mapped {
            cx.memory.unmap(cr3, at + i * PAGE);
        }
        if let Some(entry) = cx.mm.reserved.get_mut(&at) {
            entry.mapped = 0;
        }
        Ok(Flow::Return(crate::machine::SCRUBBED))
    }
}
