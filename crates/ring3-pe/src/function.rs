//! The function table (`.pdata`).

use std::sync::Arc;

use crate::view::View;
use crate::{ImageError, ImageErrorKind};

/// One function of the function table (RUNTIME_FUNCTION), all RVAs. The tables here are sorted by `begin`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuntimeFunction {
    /// The first byte of the function.
    pub begin: u32,
    /// The first byte after it.
    pub end: u32,
    /// Its UNWIND_INFO; with bit 0 set, the RVA of another RUNTIME_FUNCTION to use instead (documented for the
    /// x64 loader as an indirection; linkers of today chain through UNW_FLAG_CHAININFO).
    pub unwind: u32,
}

impl RuntimeFunction {
    /// Whether `rva` lies in this function.
    pub fn contains(&self, rva: u32) -> bool {
        self.begin <= rva && rva < self.end
    }
}

/// Entries beyond this number are damage: the kernel itself has some thirty thousand.
const MOST_FUNCTIONS: usize = 1 << 20;
/// Bytes of a RUNTIME_FUNCTION.
const ENTRY: usize = 12;

/// Reads the function table at `rva`, of `size` bytes. Entries that cannot be used are left out, with a warning.
pub(crate) fn parse(
    view: &View<'_>,
    rva: u32,
    size: u32,
    warnings: &mut Vec<String>,
) -> Result<Arc<[RuntimeFunction]>, ImageError> {
    let bytes = size as usize / ENTRY * ENTRY;
    let error = |kind, what: String| {
        ImageError::new(
            kind,
            view.file_offset(rva),
            what,
            "the function table is damaged; copy the image again or rebuild it",
        )
    };
    if bytes / ENTRY > MOST_FUNCTIONS {
        return Err(error(
            ImageErrorKind::TooLarge,
            format!("the function table claims {} functions", bytes / ENTRY),
        ));
    }
    let Some(data) = view.slice(rva, bytes) else {
        return Err(error(
            ImageErrorKind::Directory,
            format!(
                "the function table (RVA {rva:#x}, {size:#x} bytes) is outside the image's file data"
            ),
        ));
    };
    let (table, _) = data.as_chunks::<ENTRY>();
    let mut functions: Arc<[RuntimeFunction]> = table.iter().map(entry).collect();
    let usable =
        |f: &RuntimeFunction| f.begin < f.end && f.end <= view.size && f.unwind < view.size;
    let bad = functions
        .iter()
        .filter(|f| !usable(f) && **f != RuntimeFunction::default())
        .count();
    if bad > 0 {
        warnings.push(format!(
            "{bad} entries of the function table are empty or outside the image and are left out"
        ));
    }
    if !functions.iter().all(usable) {
        functions = functions.iter().filter(|f| usable(f)).copied().collect();
    }
    if !functions.is_sorted() {
        warnings.push(
            "the function table is not sorted: Windows does not find all functions in it"
                .to_owned(),
        );
        if let Some(functions) = Arc::get_mut(&mut functions) {
            functions.sort_unstable();
        }
    }
    Ok(functions)
}

/// One entry from its bytes.
fn entry(bytes: &[u8; ENTRY]) -> RuntimeFunction {
    let (fields, _) = bytes.as_chunks::<4>();
    let field = |index: usize| {
        fields
            .get(index)
            .map_or(0, |field| u32::from_le_bytes(*field))
    };
    RuntimeFunction {
        begin: field(0),
        end: field(1),
        unwind: field(2),
    }
}
