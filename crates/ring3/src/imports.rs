//! What a driver needs, and how much of it is modelled.

use ring3_nt::build::WIN10_2004;
use ring3_nt::machine::stubs::Stubs;
use ring3_pe::{Image, ImportName};
use serde::Serialize;

/// How an import is provided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All that its documentation says.
    Modelled,
    /// With stated gaps or assumptions.
    Partial,
    /// Not at all: the first call stops the run, or the load fails.
    Missing,
}

/// One import.
#[derive(Clone, Debug, Serialize)]
pub struct Import {
    /// The module it comes from.
    pub module: String,
    /// Its name, or `#ordinal`.
    pub name: String,
    /// How it is provided.
    pub status: Status,
    /// What is not modelled or assumed; where it is missing, why.
    pub fidelity: String,
}

/// The imports of an image, in its order.
#[must_use]
pub fn imports(image: &Image) -> Vec<Import> {
    let stubs = Stubs::shared();
    let table = ring3_nt::table::exports();
    let mut all = Vec::new();
    for module in &image.imports {
        let file = WIN10_2004.resolve_module(&module.module);
        for entry in &module.entries {
            let (name, status, fidelity) = match &entry.name {
                ImportName::Ordinal(ordinal) => (
                    format!("#{ordinal}"),
                    Status::Missing,
                    "imported by ordinal".to_owned(),
                ),
                ImportName::Name(name, _) => {
                    let (status, fidelity) = provision(&stubs, &table, file, name);
                    (name.clone(), status, fidelity)
                }
            };
            all.push(Import {
                module: module.module.clone(),
                name,
                status,
                fidelity,
            });
        }
    }
    all
}

fn provision(
    stubs: &Stubs,
    table: &ring3_nt::export::table::ExportTable,
    module: &str,
    name: &str,
) -> (Status, String) {
    if !stubs.has_module(module) {
        return (
            Status::Missing,
            format!("{module} is not modelled: the load fails unless it is given with --with"),
        );
    }
    if stubs.address_of(module, name).is_none() {
        return (
            Status::Missing,
            format!(
                "not exported by {module} of Windows {}: the load fails",
                WIN10_2004.name
            ),
        );
    }
    if !stubs.is_modelled(module, name) {
        return (
            Status::Missing,
            "not modelled: the first use stops the run".to_owned(),
        );
    }
    // HAL.dll forwards to ntoskrnl.exe, where the declaration is.
    let declared = [module, "ntoskrnl.exe"]
        .iter()
        .find_map(|m| table.find(m, name))
        .and_then(|n| table.get(n));
    match declared.map(|e| e.fidelity) {
        None | Some(ring3_nt::export::Fidelity::Full) => (Status::Modelled, String::new()),
        Some(other) => (
            Status::Partial,
            format!("{}: {}", other.word(), other.note()),
        ),
    }
}
