//! Compares the export list of the kernel with the public symbols of the same kernel.
#![allow(missing_docs)]

#[path = "layout/symbols.rs"]
mod symbols;

use std::collections::BTreeSet;

use ring3_nt::build::WIN10_2004;
use serde_json::{Map, Value};

/// Exported names that the symbols do not list, with the name that they list for what does the same.
/// That the two share one address, so that only one is listed, is inferred.
const SHARED: &[(&str, &str)] = &[
    ("ExRaiseException", "RtlRaiseException"),
    ("ExRaiseStatus", "RtlRaiseStatus"),
    ("FsRtlAreNamesEqual", "RtlAreNamesEqual"),
    ("FsRtlDissectName", "RtlDissectName"),
    (
        "FsRtlDoesNameContainWildCards",
        "RtlDoesNameContainWildCards",
    ),
    ("FsRtlIsNameInExpression", "RtlIsNameInExpression"),
    (
        "FsRtlIsNameInUnUpcasedExpression",
        "RtlIsNameInUnUpcasedExpression",
    ),
    ("IoGetCurrentProcess", "PsGetCurrentProcess"),
    ("KeClearEvent", "KeResetEvent"),
    ("KeInitializeSpinLock", "KzInitializeSpinLock"),
    ("KeLowerIrql", "KzLowerIrql"),
    ("KeReadStateMutex", "KeReadStateMutant"),
    ("KeWaitForMutexObject", "KeWaitForSingleObject"),
    ("KfRaiseIrql", "KzRaiseIrql"),
    ("MmLockPagableImageSection", "MmLockPagableDataSection"),
    ("MmMapVideoDisplay", "MmMapIoSpace"),
    ("MmUnmapVideoDisplay", "MmUnmapIoSpace"),
    ("RtlAnsiStringToUnicodeSize", "RtlxAnsiStringToUnicodeSize"),
    ("RtlCopyMemory", "RtlMoveMemory"),
    ("RtlOemStringToUnicodeSize", "RtlxOemStringToUnicodeSize"),
    ("RtlUnicodeStringToAnsiSize", "RtlxUnicodeStringToAnsiSize"),
    ("RtlUnicodeStringToOemSize", "RtlxUnicodeStringToOemSize"),
    ("RtlVolumeDeviceToDosName", "IoVolumeDeviceToDosName"),
];

/// The entry of an exported name; the symbol table has names without one leading underscore.
fn symbol<'a>(symbols: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let shared = SHARED
        .iter()
        .find(|(export, _)| *export == name)
        .map(|(_, code)| *code);
    let short = name.strip_prefix('_');
    [Some(name), short, shared]
        .into_iter()
        .flatten()
        .find_map(|name| symbols.get(name))
}

#[test]
fn the_kernel_has_every_name_that_it_is_said_to_export() {
    let Some(table) = symbols::load() else { return };
    let symbols = table["symbols"]
        .as_object()
        .expect("the symbol table has symbols");
    let nt = WIN10_2004
        .module("ntoskrnl.exe")
        .expect("the kernel is there");
    let names = nt
        .functions()
        .iter()
        .copied()
        .chain(nt.data().iter().map(|(name, _)| *name));
    let unknown: Vec<&str> = names
        .filter(|name| symbol(symbols, name).is_none())
        .collect();
    println!(
        "{} routines and {} variables",
        nt.functions().len(),
        nt.data().len()
    );
    assert!(unknown.is_empty(), "not in this kernel: {unknown:?}");
    assert!(symbol(symbols, "KeNoSuchRoutine").is_none());
}

/// A variable ends at the latest where the next symbol begins.
#[test]
fn variables_fit_before_the_next_symbol() {
    let Some(table) = symbols::load() else { return };
    let symbols = table["symbols"]
        .as_object()
        .expect("the symbol table has symbols");
    let address = |value: &Value| value["address"].as_u64();
    let starts: BTreeSet<u64> = symbols.values().filter_map(address).collect();
    for (name, size) in WIN10_2004
        .module("ntoskrnl.exe")
        .expect("the kernel is there")
        .data()
    {
        let start = symbol(symbols, name)
            .and_then(address)
            .expect("the name is known");
        let next = starts
            .range(start + 1..)
            .next()
            .copied()
            .unwrap_or(u64::MAX);
        assert!(
            start + u64::from(*size) <= next,
            "{name}: {size} bytes, next symbol after {}",
            next - start
        );
    }
}
