//! Exported data.

use ring3_memory::Gva;

use crate::Machine;

/// A declared exported variable; it lives in the guest's image of its module.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// The module that exports it.
    pub module: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Bytes.
    pub size: u32,
    /// What it is.
    pub summary: &'static str,
    /// Its value when the machine starts, written to its place.
    pub init: fn(&mut Machine, Gva),
}
