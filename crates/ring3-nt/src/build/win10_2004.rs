//! Windows 10, version 2004: 10.0.19041.
//!
//! Sources: the public symbols of `ntkrnlmp.pdb` 10.0.19041.804 (layouts, names), `ntddk.h` and
//! `wdm.h` (address map), the documentation of the Windows release history (version and lab).

use super::{Build, ModuleExports};

/// The text file of a module.
macro_rules! text {
    ($file:literal) => {
        include_str!(concat!("win10_2004/", $file, ".txt"))
    };
}

/// Windows 10, version 2004.
pub static WIN10_2004: Build = Build {
    name: "10.0.19041",
    product: "Windows 10, version 2004",
    major: 10,
    minor: 0,
    build: 19041,
    revision: 804,
    lab: "19041.1.amd64fre.vb_release.191206-1406",
    platform: 2,
    product_type: 1,
    suite_mask: 0x110,
    kmdf: (1, 31),
    highest_user_address: 0x0000_7fff_fffe_ffff,
    user_probe_address: 0x0000_7fff_ffff_0000,
    system_range_start: 0xffff_8000_0000_0000,
    shared_data: 0xffff_f780_0000_0000,
    shared_data_user: 0x7ffe_0000,
    time_increment: 156_250,
    kernel_stack_size: 0x6000,
    large_kernel_stack_size: 0x1_2000,
    pool_header_size: 0x10,
    modules: &MODULES,
    api_sets: &[("ext-ms-win-ntos-werkernel-l1-1-1.dll", "WERKERNEL.SYS")],
};

static MODULES: [ModuleExports; 17] = [
    ModuleExports::new("ntoskrnl.exe", "NT Kernel & System", text!("ntoskrnl")),
    ModuleExports::forwarder("HAL.dll", "Hardware Abstraction Layer DLL", text!("hal")),
    ModuleExports::new("CLFS.SYS", "Common Log File System Driver", text!("clfs")),
    ModuleExports::new(
        "PSHED.DLL",
        "Platform Specific Hardware Error Driver",
        text!("pshed"),
    ),
    ModuleExports::new(
        "FLTMGR.SYS",
        "Microsoft Filesystem Filter Manager",
        text!("fltmgr"),
    ),
    ModuleExports::new(
        "ksecdd.sys",
        "Kernel Security Support Provider Interface",
        text!("ksecdd"),
    ),
    ModuleExports::new(
        "cng.sys",
        "Kernel Cryptography, Next Generation",
        text!("cng"),
    ),
    ModuleExports::new(
        "WDFLDR.SYS",
        "Kernel Mode Driver Framework Loader",
        text!("wdfldr"),
    ),
    ModuleExports::new(
        "WppRecorder.sys",
        "WPP Trace Recorder",
        text!("wpprecorder"),
    ),
    ModuleExports::new("NETIO.SYS", "Network I/O Subsystem", text!("netio")),
    ModuleExports::new(
        "NDIS.SYS",
        "Network Driver Interface Specification",
        text!("ndis"),
    ),
    ModuleExports::new(
        "fwpkclnt.sys",
        "FWP/IPsec Kernel-Mode API",
        text!("fwpkclnt"),
    ),
    ModuleExports::new(
        "WMILIB.SYS",
        "WMILIB WMI support library Dll",
        text!("wmilib"),
    ),
    ModuleExports::new(
        "WERKERNEL.SYS",
        "Windows Error Reporting Kernel Driver",
        text!("werkernel"),
    ),
    ModuleExports::new("USBD.SYS", "Universal Serial Bus Driver", text!("usbd")),
    ModuleExports::new("HIDPARSE.SYS", "Hid Parsing Library", text!("hidparse")),
    ModuleExports::new("HIDCLASS.SYS", "Hid Class Library", text!("hidclass")),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_line_is_understood_and_no_name_stands_twice() {
        for module in WIN10_2004.modules() {
            let names: BTreeSet<&str> = module
                .functions()
                .iter()
                .copied()
                .chain(module.data().iter().map(|(name, _)| *name))
                .collect();
            let text = match module.file() {
                "ntoskrnl.exe" => text!("ntoskrnl"),
                "HAL.dll" => text!("hal"),
                _ => continue,
            };
            let lines = text.lines().filter(|line| !line.starts_with('#')).count();
            assert_eq!(names.len(), lines, "{}", module.file());
            assert_eq!(names.len(), module.functions().len() + module.data().len());
        }
    }

    #[test]
    fn the_kernel_exports_what_every_driver_needs() {
        let nt = WIN10_2004
            .module("NTOSKRNL.EXE")
            .expect("the kernel is there");
        for name in [
            "IofCompleteRequest",
            "IoCreateDevice",
            "KeSetEvent",
            "NtBuildNumber",
            "__C_specific_handler",
        ] {
            assert!(nt.exports(name), "{name}");
        }
        assert!(nt.data().contains(&("NtBuildNumber", 4)));
        assert!(
            !nt.exports("ExAllocatePoolZero"),
            "inline in the headers, not an export"
        );
        assert!(!nt.exports("NoSuchRoutine"));
    }

    #[test]
    fn hal_forwards_only_what_the_kernel_has() {
        let nt = WIN10_2004
            .module("ntoskrnl.exe")
            .expect("the kernel is there");
        let hal = WIN10_2004.module("hal.dll").expect("the HAL is there");
        assert!(hal.forwards_to_nt() && hal.exports("KeQueryPerformanceCounter"));
        assert!(hal.functions().iter().all(|name| nt.exports(name)));
    }

    #[test]
    fn api_sets_resolve() {
        assert_eq!(
            WIN10_2004.resolve_module("EXT-MS-win-ntos-werkernel-l1-1-1.dll"),
            "WERKERNEL.SYS"
        );
        assert_eq!(WIN10_2004.resolve_module("hal.dll"), "hal.dll");
    }
}
