//! A program database (PDB): functions, public symbols and source lines, in tables sorted by RVA.

mod lines;
mod msf;
mod read;

use std::collections::BTreeMap;

/// Why a PDB could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SymbolError {
    /// The file is not a PDB of the format 7.00 that this reader knows.
    #[error(
        "the file is not a PDB: {what}; give the .pdb file that was made together with the image"
    )]
    NotAPdb {
        /// What was found instead.
        what: String,
    },
    /// The file is a PDB, but a part of it is damaged.
    #[error("the PDB is damaged: {what} in {part}; copy it again from where the image was built")]
    Damaged {
        /// Which stream or table.
        part: &'static str,
        /// What is wrong with it.
        what: String,
    },
}

/// A named place of an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Symbol {
    /// The undecorated name.
    pub name: String,
    /// Where it starts, in bytes from the image base.
    pub rva: u32,
    /// Its size in bytes; 0 where the PDB does not say (public symbols).
    pub size: u32,
}

/// A source line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The source file as the PDB spells it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

/// The symbols of one image.
#[derive(Clone, Debug, Default)]
pub struct SymbolFile {
    guid: [u8; 16],
    age: u32,
    /// Functions with their sizes, by RVA.
    procedures: Vec<Symbol>,
    /// Public symbols in code, by RVA.
    publics: Vec<Symbol>,
    /// RVAs by name, decorated and undecorated, data included.
    names: BTreeMap<String, u32>,
    /// RVA and end of every section.
    sections: Vec<(u32, u32)>,
    files: Vec<String>,
    lines: Vec<LineRange>,
    warnings: Vec<String>,
}

/// The code of one source line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LineRange {
    rva: u32,
    /// The first byte after it.
    end: u32,
    /// Index into the files.
    file: u32,
    line: u32,
}

impl SymbolFile {
    /// Reads the bytes of a PDB. Parts that are damaged but not needed for the rest are left out
    /// ([`SymbolFile::warnings`] names them).
    ///
    /// # Errors
    /// [`SymbolError`] where the bytes are no PDB, or one whose directory or tables cannot be read.
    pub fn from_pdb(bytes: impl Into<Vec<u8>>) -> Result<Self, SymbolError> {
        read::from_pdb(bytes.into())
    }

    /// The GUID that the image's CodeView record must have, in the sixteen bytes as the record stores them.
    pub fn guid(&self) -> [u8; 16] {
        self.guid
    }

    /// The age that the image's CodeView record must have.
    pub fn age(&self) -> u32 {
        self.age
    }

    /// Which parts of the PDB were left out because they are damaged, one sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The functions that the PDB gives a size for, by RVA.
    pub fn functions(&self) -> &[Symbol] {
        &self.procedures
    }

    /// The function that `rva` lies in. Where no private symbol covers it, it is the last public symbol of code before it in
    /// the same section, with the size 0: then the answer is the nearest name, not a proof.
    pub fn function_at(&self, rva: u32) -> Option<Symbol> {
        let procedure = last_at_or_before(&self.procedures, rva);
        if let Some(found) = procedure.filter(|found| rva - found.rva < found.size) {
            return Some(found.clone());
        }
        let public = last_at_or_before(&self.publics, rva)?;
        let same_section = self
            .sections
            .iter()
            .any(|(start, end)| (*start..*end).contains(&rva) && *start <= public.rva);
        // A private function between the public symbol and the place means that the place is in neither.
        let hidden = procedure.is_some_and(|procedure| procedure.rva >= public.rva);
        (same_section && !hidden).then(|| public.clone())
    }

    /// The source line that the instruction at `rva` was made from.
    pub fn line_at(&self, rva: u32) -> Option<Line> {
        let after = self.lines.partition_point(|line| line.rva <= rva);
        let found = self
            .lines
            .get(after.checked_sub(1)?)
            .filter(|line| rva < line.end)?;
        Some(Line {
            file: self.files.get(found.file as usize)?.clone(),
            line: found.line,
        })
    }

    /// The RVA of a function or variable by its name, undecorated or as the linker decorates it. Of several with one name
    /// (overloads, static functions), it is the one with the lowest RVA.
    pub fn address_of(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }
}

/// The last symbol that starts at or before `rva`.
fn last_at_or_before(symbols: &[Symbol], rva: u32) -> Option<&Symbol> {
    let after = symbols.partition_point(|symbol| symbol.rva <= rva);
    symbols.get(after.checked_sub(1)?)
}
