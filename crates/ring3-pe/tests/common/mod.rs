//! A driver made by the builder, with every table that the parser reads.
#![allow(dead_code)]

use ring3_pe::build::{ImageBuilder, SectionFlags, UnwindCode, UnwindInfo};
use ring3_pe::{CodeView, ExportTarget, Image, ImportName, LoadConfig, VersionInfo};

/// Where the driver is linked for.
pub const BASE: u64 = 0x1_4000_0000;
/// Offset of the PE signature in built files.
pub const PE: usize = 0x40;
/// Offset of the optional header in built files.
pub const OPTIONAL: usize = PE + 24;
/// Offset of the data directories in built files.
pub const DIRECTORIES: usize = OPTIONAL + 112;
/// Offset of the section table in built files.
pub const SECTIONS: usize = DIRECTORIES + 128;

/// The version resource of the driver.
pub fn version() -> VersionInfo {
    let strings = [
        ("CompanyName", "ring3"),
        ("FileDescription", "a tést driver"),
        ("Odd", "x"),
    ];
    VersionInfo {
        file_version: [1, 2, 3, 4],
        product_version: [10, 0, 19041, 1],
        strings: strings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

/// Plans the driver.
pub fn plan() -> ImageBuilder {
    let mut plan = ImageBuilder::new("sample.sys");
    let text = plan.section(".text", SectionFlags::CODE, vec![0xc3; 0x900]);
    let data = plan.section_with_size(".data", SectionFlags::DATA, vec![0; 0x220], 0x3000);
    let init = plan.section("INIT", SectionFlags::INIT, vec![0xcc; 0x80]);
    plan.section("PAGE", SectionFlags::CODE, vec![0x90; 0x40]);
    let by_name = |name: &str, hint| ImportName::Name(name.to_owned(), hint);
    plan.imports(&[
        (
            "ntoskrnl.exe",
            &[
                by_name("IoCreateDevice", 7),
                by_name("DbgPrint", 0),
                ImportName::Ordinal(12),
            ],
        ),
        ("HAL.dll", &[by_name("KeQueryPerformanceCounter", 3)]),
    ]);
    plan.export("Zeta", text + 0x10);
    plan.export("Alpha", text + 0x20);
    plan.export_forward("Moved", "ntoskrnl.KeSetEvent");
    plan.export_ordinal(5, None, ExportTarget::Rva(data + 8));
    plan.export_ordinal(9, Some("Nine"), ExportTarget::Rva(text));
    let leafy = UnwindInfo {
        prolog_size: 4,
        codes: vec![UnwindCode::Alloc { at: 4, size: 40 }],
        ..UnwindInfo::default()
    };
    for index in 0..16 {
        plan.function(text + index * 16, text + index * 16 + 12, &leafy);
    }
    plan.pointer(data + 0x10, text + 0x30);
    plan.pointer(data + 0x18, data);
    plan.load_config(LoadConfig {
        security_cookie_rva: Some(data + 0x100),
        guard_check_rva: Some(data + 0x108),
        guard_dispatch_rva: Some(data + 0x110),
        guard_flags: 0x1000_0500,
        function_table: vec![text, text + 0x10],
    });
    plan.entry(init + 0x10);
    plan.timestamp(0x5f00_0001);
    plan.debug(CodeView {
        guid: *b"0123456789abcdef",
        age: 3,
        pdb: "sample.pdb".to_owned(),
    });
    plan.version(version());
    plan
}

/// The driver's file.
pub fn driver() -> Vec<u8> {
    plan().build(BASE).unwrap().file
}

/// The driver, parsed.
pub fn image() -> Image {
    Image::parse(driver()).unwrap()
}

/// Stores bytes into a file.
pub fn patch(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Reads four bytes of a file.
pub fn word(file: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(file[at..at + 4].try_into().unwrap())
}
