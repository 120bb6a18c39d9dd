//! The declarations of exports against the build's own list of names.

use std::collections::BTreeMap;

use ring3_nt::build::WIN10_2004;
use ring3_nt::machine::stubs::Stubs;

#[test]
fn no_name_is_declared_twice_and_the_build_exports_them_all() {
    let table = ring3_nt::table::exports();
    let mut seen: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut unknown = Vec::new();
    for export in table.all() {
        let module = WIN10_2004
            .module(export.module)
            .expect("a module of the build");
        for name in std::iter::once(&export.name).chain(export.aliases) {
            *seen.entry((export.module, name)).or_default() += 1;
            if !module.exports(name) {
                unknown.push(*name);
            }
        }
    }
    let twice: Vec<_> = seen
        .iter()
        .filter(|(_, count)| **count > 1)
        .map(|(key, _)| key)
        .collect();
    assert!(twice.is_empty(), "declared twice: {twice:?}");
    assert!(
        unknown.is_empty(),
        "not exported by {}: {unknown:?}",
        WIN10_2004.name
    );
    assert!(seen.len() > 200, "only {} names", seen.len());
}

#[test]
fn variables_are_exported_by_the_build_and_have_their_size() {
    for variable in ring3_nt::table::exports().variables() {
        let module = WIN10_2004
            .module(variable.module)
            .expect("a module of the build");
        let size = module
            .data()
            .iter()
            .find(|(name, _)| *name == variable.name)
            .map(|(_, size)| *size);
        assert!(
            size.is_some(),
            "{} is no variable of {}",
            variable.name,
            variable.module
        );
    }
}

#[test]
fn every_declaration_says_what_it_does() {
    for export in ring3_nt::table::exports().all() {
        assert!(!export.summary.is_empty(), "{} has no summary", export.name);
        assert!(export.irql.min <= export.irql.max, "{}", export.name);
    }
}

#[test]
fn drivers_can_find_the_kernel_below_its_build_number() {
    let stubs = Stubs::shared();
    let variable = stubs
        .address_of("ntoskrnl.exe", "NtBuildNumber")
        .expect("exported");
    let routine = stubs
        .address_of("ntoskrnl.exe", "MmGetPhysicalMemoryRanges")
        .expect("exported");
    let base = variable & !0xffff;
    assert!(variable - base < 8 << 20);
    assert!(routine > base);
    // HAL.dll of this build forwards.
    assert_eq!(
        stubs.address_of("HAL.dll", "KeStallExecutionProcessor"),
        stubs.address_of("ntoskrnl.exe", "KeStallExecutionProcessor")
    );
}
