//! The memory manager.

pub mod loader;
pub mod mdl;
pub mod physical;
pub mod section;
pub mod self_map;
pub mod space;

/// State of the memory manager that is not in guest memory.
#[derive(Clone, Hash, Debug, Default)]
pub struct State {
    /// Kernel address ranges in use.
    pub regions: space::Regions,
    /// MDLs whose pages are locked, and who locked them.
    pub locked_mdls: std::collections::BTreeMap<u64, u64>,
    /// Views of sections, by process and address.
    pub views: std::collections::BTreeMap<(crate::machine::thread::ProcessId, u64), section::View>,
    /// Mappings of MmMapIoSpace, and who made them.
    pub io_mappings: std::collections::BTreeMap<u64, u64>,
    /// Contiguous allocations: first physical address, pages, owner.
    pub contiguous: std::collections::BTreeMap<u64, (u64, u64, u64)>,
}
