//! Compares the declared guest structures with independent sources: the symbol table of the kernel
//! whose layouts they claim, and the declarations of the windows-sys crate.
#![allow(missing_docs)]

#[path = "layout/headers.rs"]
mod headers;
#[path = "layout/symbols.rs"]
mod symbols;

use std::collections::BTreeMap;

use ring3_nt::layout::{self, FieldLayout};
use serde_json::Value;

fn number(value: &Value, key: &str) -> u64 {
    value[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key} is missing in {value}"))
}

/// The size in bytes of a type as the symbol table describes it.
fn size_of(symbols: &Value, ty: &Value) -> u64 {
    let name = ty["name"].as_str().unwrap_or_default();
    match ty["kind"].as_str() {
        Some("pointer") => 8,
        Some("array") => number(ty, "count") * size_of(symbols, &ty["subtype"]),
        Some("bitfield") => size_of(symbols, &ty["type"]),
        Some("base") => number(&symbols["base_types"][name], "size"),
        Some("enum") => number(&symbols["enums"][name], "size"),
        Some("struct" | "union") => number(&symbols["user_types"][name], "size"),
        other => panic!("unknown kind {other:?}"),
    }
}

/// Offset, size, and position and length of a bit field.
type Place = (u64, u64, Option<(u64, u64)>);

/// What the symbol table says about a field given by its path.
fn lookup(symbols: &Value, structure: &str, path: &str) -> Option<Place> {
    let mut owner = structure.to_owned();
    let mut offset = 0;
    let mut found = None;
    for member in path.split('.') {
        let field = symbols["user_types"][&owner]["fields"].get(member)?;
        let ty = &field["type"];
        offset += number(field, "offset");
        owner = ty["name"].as_str().unwrap_or_default().to_owned();
        let bits = (ty["kind"] == "bitfield")
            .then(|| (number(ty, "bit_position"), number(ty, "bit_length")));
        found = Some((offset, size_of(symbols, ty), bits));
    }
    found
}

/// The fields that differ from the symbol table, told one by one.
fn differences(symbols: &Value, structure: &str, fields: &[FieldLayout]) -> Vec<String> {
    let mut out = Vec::new();
    for field in fields {
        let ours: Place = (
            u64::from(field.offset),
            field.size,
            field
                .bits
                .map(|(position, length)| (u64::from(position), u64::from(length))),
        );
        match lookup(symbols, structure, field.path) {
            None => out.push(format!(
                "{structure}.{} is not in the symbol table",
                field.path
            )),
            Some(theirs) if theirs != ours => {
                out.push(format!(
                    "{structure}.{}: declared {ours:x?}, is {theirs:x?}",
                    field.path
                ));
            }
            Some(_) => {}
        }
    }
    out
}

/// `LARGE_INTEGER` and the like are declared as numbers of the same size, so sizes are comparable.
#[test]
fn layouts_are_those_of_the_kernel() {
    let Some(symbols) = symbols::load() else {
        return;
    };
    let (mut structures, mut compared, mut wrong) = (0, 0, Vec::new());
    layout::for_each(|name, size, fields| {
        let Some(theirs) = symbols["user_types"].get(name) else {
            return;
        };
        structures += 1;
        compared += fields.len();
        if number(theirs, "size") != size {
            wrong.push(format!(
                "{name}: declared {size:#x} bytes, is {:#x}",
                number(theirs, "size")
            ));
        }
        wrong.extend(differences(&symbols, name, fields));
    });
    println!("compared {compared} fields of {structures} structures with the kernel's symbols");
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(
        structures > 100 && compared > 1000,
        "only {compared} fields of {structures} structures"
    );
}

#[test]
fn layouts_are_those_of_the_headers() {
    let mut ours = BTreeMap::new();
    layout::for_each(|name, size, fields| {
        ours.insert(name, (size, fields));
    });
    let mut compared = 0;
    let mut wrong = Vec::new();
    for header in headers::all() {
        let (size, fields) = ours[header.name];
        let declared: BTreeMap<&str, u32> = fields.iter().map(|f| (f.path, f.offset)).collect();
        let theirs: BTreeMap<&str, u32> = header
            .fields
            .iter()
            .map(|(f, at)| (*f, *at as u32))
            .collect();
        compared += theirs.len();
        if size != header.size as u64 || declared != theirs {
            wrong.push(format!(
                "{}: declared {size:#x} {declared:x?}, is {:#x} {theirs:x?}",
                header.name, header.size
            ));
        }
    }
    println!("compared {compared} fields with the headers");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// No structure is without a source that it was compared with.
#[test]
fn every_structure_has_an_independent_source() {
    let Some(symbols) = symbols::load() else {
        return;
    };
    let headers: Vec<&str> = headers::all().iter().map(|header| header.name).collect();
    layout::for_each(|name, _, _| {
        let known = symbols["user_types"].get(name).is_some() || headers.contains(&name);
        assert!(known, "{name} is compared with nothing");
    });
}

/// The comparison can fail.
#[test]
fn a_wrong_offset_is_found() {
    let Some(symbols) = symbols::load() else {
        return;
    };
    let field = |path, offset, size| FieldLayout {
        path,
        ty: "u32",
        offset,
        size,
        bits: None,
    };
    let wrong = [
        field("Flags", 0x14, 4),
        field("Tail.Overlay.Thread", 0x98, 4),
        field("NoSuchField", 0, 4),
    ];
    assert_eq!(differences(&symbols, "_IRP", &wrong).len(), 3);
    assert!(differences(&symbols, "_IRP", &[field("Flags", 0x10, 4)]).is_empty());
}
