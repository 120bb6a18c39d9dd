//! The memory manager.

pub mod contiguous;
pub mod copy;
pub mod loader;
pub mod locked;
pub mod mapping;
pub mod mdl;
pub mod mdl_change;
pub mod mdl_pages;
pub mod physical;
pub mod section;
pub mod secure;
pub mod self_map;
pub mod space;
pub mod system_view;
pub mod virtual_memory;

use std::collections::{BTreeMap, BTreeSet};

use crate::Machine;
use crate::machine::finding::Severity;
use crate::machine::thread::ProcessId;

/// State of the memory manager that is not in guest memory.
#[derive(Clone, Hash, Debug, Default)]
pub struct State {
    /// Kernel address ranges in use.
    pub regions: space::Regions,
    /// MDLs whose pages are locked.
    pub locked_mdls: BTreeMap<u64, locked::Locked>,
    /// How often frames are locked.
    pub frame_locks: BTreeMap<u64, u32>,
    /// Locked frames that nothing else holds any more.
    pub orphans: BTreeSet<u64>,
    /// MDLs of MmAllocatePagesForMdl, and who asked for them.
    pub page_mdls: BTreeMap<u64, u64>,
    /// MDLs mapped into user space, by process and address.
    pub user_mappings: BTreeMap<(ProcessId, u64), mapping::UserMapping>,
    /// Address ranges of MmAllocateMappingAddress.
    pub reserved: BTreeMap<u64, mapping::Reserved>,
    /// Sections, by object.
    pub sections: BTreeMap<u64, section::Section>,
    /// Views of sections, by process and address; those in system space belong to no process.
    pub views: BTreeMap<(ProcessId, u64), section::View>,
    /// Views in system space.
    pub system_views: BTreeMap<u64, section::View>,
    /// Private memory of processes, by process and address.
    pub private: BTreeMap<(ProcessId, u64), virtual_memory::Range>,
    /// Ranges of MmSecureVirtualMemory, by handle.
    pub secured: BTreeMap<u64, secure::Secured>,
    /// Mappings of MmMapIoSpace, and who made them.
    pub io_mappings: BTreeMap<u64, u64>,
    /// Contiguous allocations: first physical address, pages, owner.
    pub contiguous: BTreeMap<u64, (u64, u64, u64)>,
}

/// Reports what code of this image allocated here and did not give back.
pub fn report_left(cx: &mut Machine, base: u64, size: u32) {
    let inside = |owner: u64| owner >= base && owner - base < u64::from(size);
    let mut left: Vec<(&'static str, u64, u64)> = Vec::new();
    let contiguous = cx.mm.contiguous.iter();
    left.extend(contiguous.map(|(at, (_, _, owner))| ("contiguous memory", *at, *owner)));
    let io = cx.mm.io_mappings.iter();
    left.extend(io.map(|(at, owner)| ("a mapping of MmMapIoSpace", *at, *owner)));
    let reserved = cx.mm.reserved.iter();
    left.extend(reserved.map(|(at, r)| ("a range of MmAllocateMappingAddress", *at, r.owner)));
    let views = cx.mm.system_views.iter();
    left.extend(views.map(|(at, v)| ("a view in system space", *at, v.owner)));
    let pages = cx.mm.page_mdls.iter();
    left.extend(pages.map(|(at, owner)| ("an MDL of MmAllocatePagesForMdl", *at, *owner)));
    for (what, at, owner) in left.into_iter().filter(|(_, _, owner)| inside(*owner)) {
        let text = format!("{what}, {at:#x}, was not given back before unload");
        cx.report_at("mm/left", Severity::Error, text, owner.wrapping_sub(1));
    }
}
