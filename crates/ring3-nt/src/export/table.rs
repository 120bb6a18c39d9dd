//! All declared exports, by module and name.

use std::collections::BTreeMap;

use super::Export;
use super::variable::Variable;

/// A declaration file's exports.
pub type Group = &'static [Export];

/// The declared exports and variables of the kernel and of the layers above it.
#[derive(Clone, Debug, Default)]
pub struct ExportTable {
    exports: Vec<&'static Export>,
    index: BTreeMap<(String, &'static str), usize>,
    variables: BTreeMap<(String, &'static str), &'static Variable>,
}

/// Windows compares module names without case.
fn key(module: &str) -> String {
    module.to_ascii_lowercase()
}

impl ExportTable {
    /// Collects groups. A name declared twice keeps its first declaration; a test forbids it.
    #[must_use]
    pub fn new(groups: &[Group], variables: &[&'static [Variable]]) -> Self {
        let mut table = Self::default();
        for export in groups.iter().copied().flatten() {
            let at = table.exports.len();
            table.exports.push(export);
            for name in std::iter::once(&export.name).chain(export.aliases) {
                table.index.entry((key(export.module), name)).or_insert(at);
            }
        }
        for variable in variables.iter().copied().flatten() {
            table
                .variables
                .insert((key(variable.module), variable.name), variable);
        }
        table
    }

    /// The number of a routine.
    #[must_use]
    pub fn find(&self, module: &str, name: &str) -> Option<usize> {
        // The map's key holds a 'static name; look up by range to avoid leaking the caller's.
        let module = key(module);
        self.index
            .range((module.clone(), "")..)
            .take_while(|((m, _), _)| *m == module)
            .find(|((_, n), _)| *n == name)
            .map(|(_, at)| *at)
    }

    /// A routine by number.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&'static Export> {
        self.exports.get(at).copied()
    }

    /// Every name with its routine's number, in order.
    pub fn names(&self) -> impl Iterator<Item = (&str, &'static str, usize)> {
        self.index
            .iter()
            .map(|((module, name), at)| (module.as_str(), *name, *at))
    }

    /// Every declared routine.
    #[must_use]
    pub fn all(&self) -> &[&'static Export] {
        &self.exports
    }

    /// Every declared variable.
    pub fn variables(&self) -> impl Iterator<Item = &'static Variable> {
        self.variables.values().copied()
    }

    /// A variable by name.
    #[must_use]
    pub fn variable(&self, module: &str, name: &str) -> Option<&'static Variable> {
        let module = key(module);
        self.variables()
            .find(|v| key(v.module) == module && v.name == name)
    }
}
