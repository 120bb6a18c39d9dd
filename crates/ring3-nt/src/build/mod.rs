//! One table per Windows build: its version, its address map and what its modules export.
//!
//! Layouts are in [`layout`](crate::layout); together they are the only places that hold facts of
//! one build.

mod exports;
mod win10_2004;

pub use exports::ModuleExports;
pub use win10_2004::WIN10_2004;

/// A Windows build.
#[derive(Debug)]
pub struct Build {
    /// As people write it: `10.0.19041`.
    pub name: &'static str,
    /// As it was sold: `Windows 10, version 2004`.
    pub product: &'static str,
    /// Major version, as `RtlGetVersion` tells it.
    pub major: u32,
    /// Minor version.
    pub minor: u32,
    /// Build number, without the flag of a free build.
    pub build: u32,
    /// The revision whose symbols the layouts come from.
    pub revision: u32,
    /// The variable `NtBuildLab`.
    pub lab: &'static str,
    /// `PlatformId` of `RtlGetVersion`: 2 for NT.
    pub platform: u32,
    /// `KUSER_SHARED_DATA.NtProductType`: 1 for a workstation.
    pub product_type: u32,
    /// `KUSER_SHARED_DATA.SuiteMask`: terminal services (0x10) for a single user (0x100).
    pub suite_mask: u32,
    /// The highest KMDF version that the build has, as major and minor.
    pub kmdf: (u32, u32),
    /// `MmHighestUserAddress`: the last byte of user space.
    pub highest_user_address: u64,
    /// `MmUserProbeAddress`: the first address that `ProbeForRead` refuses.
    pub user_probe_address: u64,
    /// `MmSystemRangeStart`: the first byte of system space.
    pub system_range_start: u64,
    /// Where the kernel sees `KUSER_SHARED_DATA`.
    pub shared_data: u64,
    /// Where user mode sees it.
    pub shared_data_user: u64,
    /// `KeMaximumIncrement`: a clock tick, in units of 100 ns.
    pub time_increment: u32,
    /// Bytes of a kernel stack.
    pub kernel_stack_size: u64,
    /// Bytes of a large kernel stack, which `KeExpandKernelStackAndCallout` goes on with.
    pub large_kernel_stack_size: u64,
    /// Bytes that the header of a pool block takes; also the alignment of blocks.
    pub pool_header_size: u64,
    modules: &'static [ModuleExports],
    api_sets: &'static [(&'static str, &'static str)],
}

impl Build {
    /// The modules that drivers import from: first `ntoskrnl.exe`, then `HAL.dll`.
    #[must_use]
    pub fn modules(&self) -> &'static [ModuleExports] {
        self.modules
    }

    /// A module by file name, without case.
    #[must_use]
    pub fn module(&self, file: &str) -> Option<&'static ModuleExports> {
        self.modules
            .iter()
            .find(|module| module.file().eq_ignore_ascii_case(file))
    }

    /// The file behind the name of an import: API sets (`ext-ms-win-ntos-…`) stand for the module
    /// that implements them, all other names for themselves.
    #[must_use]
    pub fn resolve_module<'a>(&self, name: &'a str) -> &'a str {
        self.api_sets
            .iter()
            .find(|(set, _)| set.eq_ignore_ascii_case(name))
            .map_or(name, |(_, file)| file)
    }
}
