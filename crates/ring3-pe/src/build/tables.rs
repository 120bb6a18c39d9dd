//! The tables a linker makes: imports, exports, relocations, functions.

use std::collections::BTreeMap;

use super::{PlannedExport, refused};
use crate::{ExportTarget, ImageError, ImportName};

/// Puts `value` at `at`, where there is room.
pub(super) fn put(data: &mut [u8], at: usize, value: &[u8]) {
    if let Some(slot) = data.get_mut(at..at.saturating_add(value.len())) {
        slot.copy_from_slice(value);
    }
}

/// Appends a string with its zero, at an even place.
fn push_string(data: &mut Vec<u8>, string: &str) {
    data.extend_from_slice(string.as_bytes());
    data.push(0);
    data.resize(data.len().next_multiple_of(2), 0);
}

/// A finished import section.
pub(super) struct MadeImports {
    pub(super) data: Vec<u8>,
    pub(super) directory: (u32, u32),
    pub(super) addresses: (u32, u32),
    /// RVAs of the slots, module by module.
    pub(super) slots: Vec<Vec<u32>>,
}

/// Makes the import section for `rva`: descriptors, lookup tables, address tables, names.
pub(super) fn imports(rva: u32, modules: &[(&str, &[ImportName])]) -> MadeImports {
    let directory_size = (modules.len() + 1) * 20;
    let table_size: usize = modules
        .iter()
        .map(|(_, entries)| (entries.len() + 1) * 8)
        .sum();
    let lookups = directory_size.next_multiple_of(8);
    let addresses = lookups + table_size;
    let mut data = vec![0; addresses + table_size];
    let at = |offset: usize| rva.wrapping_add(offset as u32);
    let mut slots = Vec::new();
    let mut slot = 0;
    for (index, (module, entries)) in modules.iter().enumerate() {
        let name = data.len();
        push_string(&mut data, module);
        let descriptor = [at(lookups + slot), 0, 0, at(name), at(addresses + slot)];
        for (field, value) in descriptor.iter().enumerate() {
            put(&mut data, index * 20 + field * 4, &value.to_le_bytes());
        }
        let mut rvas = Vec::new();
        for entry in *entries {
            let thunk = match entry {
                ImportName::Ordinal(ordinal) => 1 << 63 | u64::from(*ordinal),
                ImportName::Name(name, hint) => {
                    let by_name = data.len();
                    data.extend_from_slice(&hint.to_le_bytes());
                    push_string(&mut data, name);
                    u64::from(at(by_name))
                }
            };
            put(&mut data, lookups + slot, &thunk.to_le_bytes());
            put(&mut data, addresses + slot, &thunk.to_le_bytes());
            rvas.push(at(addresses + slot));
            slot += 8;
        }
        slot += 8;
        slots.push(rvas);
    }
    MadeImports {
        data,
        directory: (rva, directory_size as u32),
        addresses: (at(addresses), table_size as u32),
        slots,
    }
}

/// Makes the export section for `rva`.
pub(super) fn exports(
    rva: u32,
    module_name: &str,
    planned: &[PlannedExport],
) -> Result<Vec<u8>, ImageError> {
    let (targets, names) = ordinals(planned)?;
    let base = targets.keys().next().copied().unwrap_or(1);
    let last = targets.keys().next_back().copied().unwrap_or(0);
    let count = (last + 1).saturating_sub(base) as usize;
    if count > 0x1_0000 {
        return Err(refused(format!(
            "the exports' ordinals span {count} numbers, at most 65536 fit"
        )));
    }
    let functions = 40;
    let name_table = functions + count * 4;
    let ordinal_table = name_table + names.len() * 4;
    let mut data = vec![0; ordinal_table + names.len() * 2];
    let at = |offset: usize| rva.wrapping_add(offset as u32);

    let module = data.len();
    push_string(&mut data, module_name);
    for (ordinal, target) in &targets {
        let target = match target {
            ExportTarget::Rva(rva) => *rva,
            ExportTarget::Forward(forward) => {
                let place = at(data.len());
                push_string(&mut data, forward);
                place
            }
        };
        put(
            &mut data,
            functions + (ordinal - base) as usize * 4,
            &target.to_le_bytes(),
        );
    }
    for (index, (name, ordinal)) in names.iter().enumerate() {
        let place = at(data.len());
        push_string(&mut data, name);
        put(&mut data, name_table + index * 4, &place.to_le_bytes());
        put(
            &mut data,
            ordinal_table + index * 2,
            &((ordinal - base) as u16).to_le_bytes(),
        );
    }
    let header = [
        at(module),
        base,
        count as u32,
        names.len() as u32,
        at(functions),
        at(name_table),
        at(ordinal_table),
    ];
    for (index, field) in header.iter().enumerate() {
        put(&mut data, 12 + index * 4, &field.to_le_bytes());
    }
    Ok(data)
}

type Ordinals<'a> = (BTreeMap<u32, &'a ExportTarget>, BTreeMap<&'a str, u32>);

/// Gives every export its ordinal: chosen ones first, then the names in sorted order.
fn ordinals(planned: &[PlannedExport]) -> Result<Ordinals<'_>, ImageError> {
    let mut targets: BTreeMap<u32, &ExportTarget> = BTreeMap::new();
    let mut names: BTreeMap<&str, Option<u32>> = BTreeMap::new();
    let mut open: BTreeMap<&str, &ExportTarget> = BTreeMap::new();
    for export in planned {
        if let Some(ordinal) = export.ordinal
            && targets
                .insert(ordinal, &export.target)
                .is_some_and(|before| *before != export.target)
        {
            return Err(refused(format!("two exports have the ordinal {ordinal}")));
        }
        if let Some(name) = export.name.as_deref() {
            if names.insert(name, export.ordinal).is_some() {
                return Err(refused(format!("two exports have the name `{name}`")));
            }
            if export.ordinal.is_none() {
                open.insert(name, &export.target);
            }
        }
    }
    let mut next = targets
        .keys()
        .next_back()
        .map_or(1, |last| last.saturating_add(1));
    let mut given = BTreeMap::new();
    for (name, ordinal) in names {
        let ordinal = ordinal.unwrap_or(next);
        given.insert(name, ordinal);
        if let Some(target) = open.get(name) {
            targets.insert(ordinal, target);
            next = next.saturating_add(1);
        }
    }
    Ok((targets, given))
}

/// Makes the relocation section for addresses at these RVAs.
pub(super) fn relocations(mut rvas: Vec<u32>) -> Vec<u8> {
    rvas.sort_unstable();
    rvas.dedup();
    let mut data = Vec::new();
    for page in rvas.chunk_by(|a, b| a >> 12 == b >> 12) {
        let Some(first) = page.first() else { continue };
        let length = (8 + page.len() * 2).next_multiple_of(4);
        let end = data.len() + length;
        data.extend_from_slice(&(first & !0xfff).to_le_bytes());
        data.extend_from_slice(&(length as u32).to_le_bytes());
        for rva in page {
            data.extend_from_slice(&(0xa000 | (rva & 0xfff) as u16).to_le_bytes());
        }
        // Padding is an entry of the kind ABSOLUTE.
        data.resize(end, 0);
    }
    data
}

/// Makes the unwind section for `rva` and the function table that points into it. Equal unwind information is stored once.
pub(super) fn functions(
    rva: u32,
    planned: &[(u32, u32, Vec<u8>)],
) -> Result<(Vec<u8>, Vec<u8>), ImageError> {
    let mut sorted: Vec<&(u32, u32, Vec<u8>)> = planned.iter().collect();
    sorted.sort();
    for pair in sorted.windows(2) {
        if let [(_, end, _), (begin, ..)] = pair
            && begin < end
        {
            return Err(refused(format!(
                "the functions at RVA {begin:#x} and before it overlap"
            )));
        }
    }
    let mut places: BTreeMap<&[u8], u32> = BTreeMap::new();
    let (mut unwind, mut table) = (Vec::new(), Vec::new());
    for (begin, end, info) in sorted {
        let place = *places.entry(info.as_slice()).or_insert_with(|| {
            let place = rva.wrapping_add(unwind.len() as u32);
            unwind.extend_from_slice(info);
            unwind.resize(unwind.len().next_multiple_of(4), 0);
            place
        });
        for field in [*begin, *end, place] {
            table.extend_from_slice(&field.to_le_bytes());
        }
    }
    Ok((unwind, table))
}
