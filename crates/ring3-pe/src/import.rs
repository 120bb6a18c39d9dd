//! What an image imports.

use object::LittleEndian as LE;
use object::pe::{IMAGE_ORDINAL_FLAG64, ImageImportDescriptor};

use crate::view::{View, text};
use crate::{ImageError, ImageErrorKind};

/// One module that an image imports from, with what it imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportModule {
    /// The module's name as the image spells it (`ntoskrnl.exe`).
    pub module: String,
    /// The imports, in the order of the import address table.
    pub entries: Vec<Import>,
}

/// One imported routine or variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// By what it is found in the other module.
    pub name: ImportName,
    /// The RVA of the eight-byte slot of the import address table that the loader fills.
    pub iat_rva: u32,
}

/// By what an import is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportName {
    /// By name, with the linker's guess of its place in the export name table.
    Name(String, u16),
    /// By ordinal.
    Ordinal(u16),
}

/// Imports beyond this number are damage: the largest drivers have some thousand.
const MOST_IMPORTS: usize = 100_000;
/// Import descriptors beyond this number are damage.
const MOST_MODULES: usize = 1_000;
/// Longest name taken, in bytes: decorated names end at 4,096.
const LONGEST_NAME: usize = 4_096;
/// Longest module name taken, in bytes: file names end at 255.
const LONGEST_MODULE: usize = 255;
/// Bytes of all names together beyond which they are damage.
const MOST_NAME_BYTES: usize = 8 << 20;

/// Reads the import directory at `rva`.
pub(crate) fn parse(view: &View<'_>, rva: u32) -> Result<Vec<ImportModule>, ImageError> {
    let mut modules = Vec::new();
    let mut budget = Budget {
        entries: MOST_IMPORTS,
        bytes: MOST_NAME_BYTES,
    };
    let size = size_of::<ImageImportDescriptor>() as u32;
    for index in 0u32.. {
        let at = rva
            .checked_add(index * size)
            .ok_or_else(|| damaged(view, rva, "the import directory leaves the image"))?;
        let descriptor: ImageImportDescriptor = view.pod(at).ok_or_else(|| {
            damaged(
                view,
                at,
                format!(
                    "import descriptor {} is outside the image's sections",
                    index + 1
                ),
            )
        })?;
        // The loader stops at the first descriptor without a name or an address table.
        if descriptor.name.get(LE) == 0 || descriptor.first_thunk.get(LE) == 0 {
            return Ok(modules);
        }
        if modules.len() == MOST_MODULES {
            return Err(too_many(
                view,
                at,
                format!("more than {MOST_MODULES} modules"),
            ));
        }
        modules.push(module(view, at, &descriptor, &mut budget)?);
    }
    Ok(modules)
}

/// What may still be read, over all modules.
struct Budget {
    entries: usize,
    bytes: usize,
}

/// Reads what one descriptor, at `at`, imports.
fn module(
    view: &View<'_>,
    at: u32,
    descriptor: &ImageImportDescriptor,
    budget: &mut Budget,
) -> Result<ImportModule, ImageError> {
    let module = name(view, descriptor.name.get(LE), LONGEST_MODULE, budget).ok_or_else(|| {
        damaged(
            view,
            at,
            "an import descriptor's module name is outside the image or too long",
        )
    })?;
    let addresses = descriptor.first_thunk.get(LE);
    let names = match descriptor.original_first_thunk.get(LE) {
        0 => addresses,
        other => other,
    };
    let mut entries = Vec::new();
    for index in 0u32.. {
        let slots = index
            .checked_mul(8)
            .and_then(|offset| Some((names.checked_add(offset)?, addresses.checked_add(offset)?)));
        let outside = || {
            damaged(
                view,
                at,
                format!(
                    "import {} of {module} is outside the image's sections",
                    index + 1
                ),
            )
        };
        let (slot, iat_rva) = slots.ok_or_else(outside)?;
        let thunk = view.u64(slot).ok_or_else(outside)?;
        if thunk == 0 {
            break;
        }
        if view.u64(iat_rva).is_none() {
            return Err(outside());
        }
        budget.entries = budget
            .entries
            .checked_sub(1)
            .ok_or_else(|| too_many(view, slot, format!("more than {MOST_IMPORTS} imports")))?;
        let name = if thunk & IMAGE_ORDINAL_FLAG64 != 0 {
            ImportName::Ordinal(thunk as u16)
        } else {
            let by_name = u32::try_from(thunk).ok().and_then(|by_name| {
                let hint = view.u16(by_name)?;
                Some(ImportName::Name(
                    name(view, by_name.checked_add(2)?, LONGEST_NAME, budget)?,
                    hint,
                ))
            });
            by_name.ok_or_else(|| {
                damaged(
                    view,
                    slot,
                    format!(
                        "the name of import {} of {module} is outside the image or too long",
                        index + 1
                    ),
                )
            })?
        };
        entries.push(Import { name, iat_rva });
    }
    entries.shrink_to_fit();
    Ok(ImportModule { module, entries })
}

/// Reads a name, out of the budget.
fn name(view: &View<'_>, rva: u32, most: usize, budget: &mut Budget) -> Option<String> {
    let name = view.string(rva, most)?;
    budget.bytes = budget.bytes.checked_sub(name.len())?;
    Some(text(name))
}

fn damaged(view: &View<'_>, rva: u32, what: impl Into<String>) -> ImageError {
    ImageError::new(
        ImageErrorKind::Directory,
        view.file_offset(rva),
        what,
        "the import table is damaged; copy the driver again or rebuild it",
    )
}

fn too_many(view: &View<'_>, rva: u32, what: String) -> ImageError {
    ImageError::new(
        ImageErrorKind::TooLarge,
        view.file_offset(rva),
        format!("the import table claims {what}"),
        "the import table is damaged; copy the driver again or rebuild it",
    )
}
