//! The debug directory: which PDB belongs to the image.

use object::LittleEndian as LE;
use object::pe::{IMAGE_DEBUG_TYPE_CODEVIEW, ImageDebugDirectory};

use crate::view::{View, text};

/// Longest PDB path taken, in bytes.
const LONGEST_PATH: usize = 4_096;
/// Debug directories have a handful of entries.
const MOST_ENTRIES: u32 = 64;

/// The CodeView record (RSDS) that names the PDB of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeView {
    /// The PDB's GUID, in the sixteen bytes as they stand in the file (first three fields little-endian).
    pub guid: [u8; 16],
    /// The PDB's age.
    pub age: u32,
    /// The PDB's path as the linker wrote it.
    pub pdb: String,
}

impl CodeView {
    /// The GUID and age as symbol servers spell them in a path: 32 upper-case hex digits, then the age in hex.
    pub fn symbol_server_id(&self) -> String {
        let g = &self.guid;
        let head = [3usize, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        let mut text: String = head
            .iter()
            .filter_map(|i| g.get(*i))
            .map(|byte| format!("{byte:02X}"))
            .collect();
        text.push_str(&format!("{:X}", self.age));
        text
    }
}

/// Reads the CodeView record of the debug directory at `rva`, of `size` bytes. `Ok(None)` where there is none; the error is a
/// sentence for the warnings.
pub(crate) fn parse(view: &View<'_>, rva: u32, size: u32) -> Result<Option<CodeView>, String> {
    let entry_size = size_of::<ImageDebugDirectory>() as u32;
    for index in 0..(size / entry_size).min(MOST_ENTRIES) {
        let entry: Option<ImageDebugDirectory> = rva
            .checked_add(index * entry_size)
            .and_then(|at| view.pod(at));
        let Some(entry) = entry else {
            return Err(format!(
                "the debug directory at RVA {rva:#x} is outside the image; it is ignored"
            ));
        };
        if entry.typ.get(LE) != IMAGE_DEBUG_TYPE_CODEVIEW {
            continue;
        }
        let start = entry.pointer_to_raw_data.get(LE) as usize;
        let length = entry.size_of_data.get(LE) as usize;
        let record = start
            .checked_add(length)
            .and_then(|end| view.bytes.get(start..end));
        let Some(record) = record else {
            return Err(format!(
                "the CodeView record at file offset {start:#x} is outside the file; it is ignored"
            ));
        };
        if let Some(found) = record.strip_prefix(b"RSDS").and_then(rsds) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Reads an RSDS record after its signature: GUID, age, path.
fn rsds(record: &[u8]) -> Option<CodeView> {
    let (guid, rest) = record.split_first_chunk::<16>()?;
    let (age, path) = rest.split_first_chunk::<4>()?;
    let path = path.split(|byte| *byte == 0).next()?;
    let path = path.get(..path.len().min(LONGEST_PATH))?;
    Some(CodeView {
        guid: *guid,
        age: u32::from_le_bytes(*age),
        pdb: text(path),
    })
}
