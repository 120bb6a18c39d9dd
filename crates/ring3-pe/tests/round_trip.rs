//! What the builder is told is what the parser finds.

mod common;

use common::{BASE, image, plan, version};
use ring3_pe::build::{ImageBuilder, SectionFlags, UnwindCode, UnwindInfo};
use ring3_pe::{ExportTarget, Image, Import, ImportName};

#[test]
fn headers_and_sections() {
    let image = image();
    assert_eq!(
        (image.machine, image.subsystem, image.preferred_base),
        (0x8664, 1, BASE)
    );
    assert_eq!(
        (image.timestamp, image.checksum),
        (0x5f00_0001, image.computed_checksum)
    );
    assert_ne!(image.checksum, 0);
    assert_eq!(image.warnings, Vec::<String>::new());
    let names: Vec<&str> = image
        .sections
        .iter()
        .map(|section| section.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            ".text", ".data", "INIT", "PAGE", ".idata", ".edata", ".xdata", ".pdata", ".loadcfg",
            ".rsrc", ".buildid", ".reloc"
        ]
    );
    let facts = |name: &str| {
        let s = image
            .sections
            .iter()
            .find(|section| section.name == name)
            .unwrap();
        [
            s.executable(),
            s.writable(),
            s.discardable(),
            s.pageable(),
            s.is_init(),
        ]
    };
    assert_eq!(facts(".text"), [true, false, false, false, false]);
    assert_eq!(facts(".data"), [false, true, false, false, false]);
    assert_eq!(facts("INIT"), [true, false, true, false, true]);
    assert_eq!(facts("PAGE"), [true, false, false, true, false]);
    assert_eq!(image.section_at(image.entry).unwrap().name, "INIT");
}

#[test]
fn imports_and_exports() {
    let image = image();
    let [nt, hal] = &image.imports[..] else {
        panic!("two modules")
    };
    assert_eq!(
        (nt.module.as_str(), hal.module.as_str()),
        ("ntoskrnl.exe", "HAL.dll")
    );
    let names: Vec<&ImportName> = nt.entries.iter().map(|Import { name, .. }| name).collect();
    assert_eq!(
        names,
        [
            &ImportName::Name("IoCreateDevice".into(), 7),
            &ImportName::Name("DbgPrint".into(), 0),
            &ImportName::Ordinal(12)
        ]
    );
    assert_eq!(nt.entries[1].iat_rva, nt.entries[0].iat_rva + 8);

    let exports = &image.exports;
    assert_eq!(
        (exports.module_name.as_str(), exports.entries.len()),
        ("sample.sys", 5)
    );
    assert_eq!(
        exports.by_name("Zeta").unwrap().target,
        ExportTarget::Rva(0x1010)
    );
    assert_eq!(
        exports.by_name("Moved").unwrap().target,
        ExportTarget::Forward("ntoskrnl.KeSetEvent".into())
    );
    assert_eq!(exports.by_ordinal(5).unwrap().name, None);
    assert_eq!(exports.by_ordinal(9).unwrap().name.as_deref(), Some("Nine"));
    // Names without a chosen ordinal follow the chosen ones, sorted.
    assert_eq!(exports.by_name("Alpha").unwrap().ordinal, 10);
    assert_eq!(
        (
            exports.by_name("alpha"),
            exports.by_ordinal(6),
            exports.by_ordinal(13)
        ),
        (None, None, None)
    );
}

#[test]
fn functions_share_unwind_information() {
    let image = image();
    assert_eq!(image.functions.len(), 16);
    assert!(
        image
            .functions
            .windows(2)
            .all(|pair| pair[0].unwind == pair[1].unwind)
    );
    assert_eq!(image.function_at(0x1015), Some(&image.functions[1]));
    assert_eq!(
        (image.function_at(0x101c), image.function_at(0xfff)),
        (None, None)
    );
}

#[test]
fn load_config_version_and_debug() {
    let image = image();
    let config = image.load_config.unwrap();
    assert_eq!(config.security_cookie_rva, Some(0x2100));
    assert_eq!(
        (config.guard_check_rva, config.guard_dispatch_rva),
        (Some(0x2108), Some(0x2110))
    );
    assert_eq!(
        (config.guard_flags, config.function_table),
        (0x1000_0500, vec![0x1000, 0x1010])
    );
    assert_eq!(image.version.unwrap(), version());
    let debug = image.debug.unwrap();
    assert_eq!((debug.age, debug.pdb.as_str()), (3, "sample.pdb"));
    assert_eq!(
        debug.symbol_server_id(),
        "33323130353437363839616263646566".to_owned() + "3"
    );
}

#[test]
fn mapping_relocates() {
    let built = plan().build(BASE).unwrap();
    let image = Image::parse(built.file).unwrap();
    let there = 0xffff_f800_1234_0000;
    let (here, moved) = (image.map(BASE), image.map(there));
    assert_eq!(here, built.mapped);
    assert_eq!(moved.len(), image.size as usize);
    let slot = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!(
        (slot(&here, 0x2010), slot(&moved, 0x2010)),
        (BASE + 0x1030, there + 0x1030)
    );
    assert_eq!(slot(&moved, 0x2018), there + 0x2000);
    // What lies beyond the file data is zero, what is no address stays.
    assert!(moved[0x2220..0x5000].iter().all(|byte| *byte == 0));
    assert_eq!(moved[0x1000..0x1900], here[0x1000..0x1900]);
    // The header tells where the image lies.
    assert_eq!(slot(&moved, common::OPTIONAL + 24), there);
    let changed = (0..here.len())
        .step_by(8)
        .filter(|at| slot(&here, *at) != slot(&moved, *at))
        .count();
    assert_eq!(
        changed,
        2 + 4 + 1,
        "two pointers, four of the load configuration, ImageBase"
    );
}

#[test]
fn the_same_plan_gives_the_same_bytes() {
    assert_eq!(plan().build(BASE).unwrap(), plan().build(BASE).unwrap());
}

#[test]
fn a_kernel_sized_export_table() {
    let mut plan = ImageBuilder::new("ntoskrnl.exe");
    let count = 3_000u32;
    let text = plan.section(".text", SectionFlags::CODE, vec![0x90; count as usize * 16]);
    let unwind = UnwindInfo {
        codes: vec![UnwindCode::PushNonvol { at: 1, register: 5 }],
        ..UnwindInfo::default()
    };
    for index in 0..count {
        plan.export(
            format!("Routine{}", index * 7919 % count),
            text + index * 16,
        );
        plan.function(text + index * 16, text + index * 16 + 16, &unwind);
    }
    let image = Image::parse(plan.build(0xffff_f800_0000_0000).unwrap().file).unwrap();
    assert_eq!(
        (image.exports.entries.len(), image.functions.len()),
        (3_000, 3_000)
    );
    assert_eq!(image.warnings, Vec::<String>::new());
    assert_eq!(image.exports.by_name("Routine7919"), None);
    assert_eq!(
        image.exports.by_name("Routine1919").unwrap().target,
        ExportTarget::Rva(text + 16)
    );
}

#[test]
fn impossible_plans_are_refused() {
    let start = || {
        let mut plan = ImageBuilder::new("x.sys");
        plan.section(".text", SectionFlags::CODE, vec![0; 64]);
        plan
    };
    let check = |plan: &ImageBuilder, want: &str| {
        let error = plan.build(BASE).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    };
    check(&ImageBuilder::new("x.sys"), "0 sections");
    let mut plan = start();
    plan.section("too-long-a-name", SectionFlags::DATA, vec![0]);
    check(&plan, "too-long-a-name");
    let mut plan = start();
    plan.export("A", 0x1000);
    plan.export("A", 0x1010);
    check(&plan, "the name `A`");
    let mut plan = start();
    plan.export_ordinal(1, None, ExportTarget::Rva(0x1000));
    plan.export_ordinal(1, None, ExportTarget::Rva(0x1010));
    check(&plan, "the ordinal 1");
    let mut plan = start();
    plan.function(0x1000, 0x1020, &UnwindInfo::default());
    plan.function(0x1010, 0x1030, &UnwindInfo::default());
    check(&plan, "overlap");
    let mut plan = start();
    plan.pointer(0x9000, 0x1000);
    check(&plan, "0x9000");
    assert!(
        start()
            .build(0x1234)
            .unwrap_err()
            .to_string()
            .contains("ImageBase")
    );
}
