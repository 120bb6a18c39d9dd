//! What an image exports.

use std::cell::Cell;

use object::LittleEndian as LE;
use object::pe::ImageExportDirectory;

use crate::view::{View, text};
use crate::{ImageError, ImageErrorKind};

/// Ordinals have 16 bits.
const MOST_EXPORTS: u32 = 0x1_0000;
/// Longest name taken, in bytes: decorated names end at 4,096.
const LONGEST_NAME: usize = 4_096;
/// Bytes of all names together beyond which they are damage.
const MOST_NAME_BYTES: usize = 8 << 20;

/// The export table of an image. An image without one exports nothing and has an empty module name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exports {
    /// The module name the table states (`ntoskrnl.exe`); it may differ from the file name.
    pub module_name: String,
    /// All exports: by ordinal, and those of one ordinal by name. A routine with two names has two entries.
    pub entries: Vec<Export>,
    by_name: Vec<u32>,
}

/// One exported routine or variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The ordinal, with the table's base added.
    pub ordinal: u32,
    /// The name; none where it is exported by ordinal only.
    pub name: Option<String>,
    /// Where it is.
    pub target: ExportTarget,
}

/// Where an export leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportTarget {
    /// Into this image, at this RVA.
    Rva(u32),
    /// To another module, as `module.Name` or `module.#ordinal`.
    Forward(String),
}

impl Exports {
    /// Makes the table from entries in any order.
    pub(crate) fn from_entries(module_name: String, mut entries: Vec<Export>) -> Self {
        entries.sort_by(|a, b| (a.ordinal, &a.name).cmp(&(b.ordinal, &b.name)));
        let mut by_name: Vec<u32> = (0u32..)
            .zip(&entries)
            .filter(|(_, entry)| entry.name.is_some())
            .map(|(index, _)| index)
            .collect();
        by_name.sort_by(|a, b| name_at(&entries, *a).cmp(&name_at(&entries, *b)));
        Self {
            module_name,
            entries,
            by_name,
        }
    }

    /// The export of this name (case matters, as in Windows).
    pub fn by_name(&self, name: &str) -> Option<&Export> {
        let place = self
            .by_name
            .binary_search_by(|index| name_at(&self.entries, *index).cmp(&Some(name)))
            .ok()?;
        self.entries.get(*self.by_name.get(place)? as usize)
    }

    /// The export of this ordinal; where it has several names, the first of them.
    pub fn by_ordinal(&self, ordinal: u32) -> Option<&Export> {
        let place = self
            .entries
            .partition_point(|entry| entry.ordinal < ordinal);
        self.entries
            .get(place)
            .filter(|entry| entry.ordinal == ordinal)
    }
}

fn name_at(entries: &[Export], index: u32) -> Option<&str> {
    entries.get(index as usize)?.name.as_deref()
}

/// Reads the export directory at `rva`, of `size` bytes.
pub(crate) fn parse(
    view: &View<'_>,
    rva: u32,
    size: u32,
    warnings: &mut Vec<String>,
) -> Result<Exports, ImageError> {
    let damaged = |at: u32, what: String| {
        ImageError::new(
            ImageErrorKind::Directory,
            view.file_offset(at),
            what,
            "the export table is damaged; copy the image again or rebuild it",
        )
    };
    let directory: ImageExportDirectory = view.pod(rva).ok_or_else(|| {
        damaged(
            rva,
            format!("the export directory at RVA {rva:#x} is outside the image's sections"),
        )
    })?;
    let (functions, names) = (
        directory.number_of_functions.get(LE),
        directory.number_of_names.get(LE),
    );
    if functions > MOST_EXPORTS || names > MOST_EXPORTS {
        return Err(ImageError::new(
            ImageErrorKind::TooLarge,
            view.file_offset(rva),
            format!(
                "the export table claims {functions} exports and {names} names, there are at most {MOST_EXPORTS}"
            ),
            "the export table is damaged; copy the image again or rebuild it",
        ));
    }
    let budget = Cell::new(MOST_NAME_BYTES);
    let spend = |len: usize| budget.get().checked_sub(len).map(|rest| budget.set(rest));
    let string = |at: u32| {
        let name = view.string(at, LONGEST_NAME)?;
        spend(name.len())?;
        Some(text(name))
    };
    let module_name = match directory.name.get(LE) {
        0 => String::new(),
        name => string(name).ok_or_else(|| {
            damaged(
                rva,
                "the export table's module name is outside the image".to_owned(),
            )
        })?,
    };

    let table = directory.address_of_functions.get(LE);
    let mut targets = Vec::new();
    for index in 0..functions {
        let target = index
            .checked_mul(4)
            .and_then(|offset| view.u32(table.checked_add(offset)?))
            .ok_or_else(|| {
                damaged(
                    rva,
                    format!("export {index} of {functions} is outside the image's sections"),
                )
            })?;
        targets.push(match target {
            0 => None,
            forward if forward.wrapping_sub(rva) < size => {
                Some(ExportTarget::Forward(string(forward).ok_or_else(|| {
                    damaged(
                        forward,
                        format!("the forwarder of export {index} is outside the image or too long"),
                    )
                })?))
            }
            target if target >= view.size => {
                return Err(damaged(
                    rva,
                    format!("export {index} leads to RVA {target:#x}, outside the image"),
                ));
            }
            target => Some(ExportTarget::Rva(target)),
        });
    }

    let (name_table, ordinal_table) = (
        directory.address_of_names.get(LE),
        directory.address_of_name_ordinals.get(LE),
    );
    let base = directory.base.get(LE);
    let mut entries = Vec::new();
    let mut named = vec![false; targets.len()];
    let mut sorted = true;
    for index in 0..names {
        let entry = (|| {
            let name = string(view.u32(name_table.checked_add(index.checked_mul(4)?)?)?)?;
            Some((
                name,
                view.u16(ordinal_table.checked_add(index.checked_mul(2)?)?)?,
            ))
        })();
        let (name, place) = entry.ok_or_else(|| {
            damaged(
                rva,
                format!("export name {index} of {names} is outside the image"),
            )
        })?;
        let target = targets.get(usize::from(place)).and_then(Option::as_ref);
        let target = target.ok_or_else(|| {
            damaged(
                rva,
                format!("export name {index} of {names} has no address"),
            )
        })?;
        if let ExportTarget::Forward(forward) = target {
            spend(forward.len()).ok_or_else(|| {
                damaged(rva, "the export table's forwarders are too long".to_owned())
            })?;
        }
        let target = target.clone();
        if let Some(flag) = named.get_mut(usize::from(place)) {
            *flag = true;
        }
        sorted &= entries
            .last()
            .is_none_or(|last: &Export| last.name.as_deref() < Some(name.as_str()));
        entries.push(Export {
            ordinal: base.wrapping_add(u32::from(place)),
            name: Some(name),
            target,
        });
    }
    if !sorted {
        warnings.push("the export names are not sorted: Windows, which searches by halves, does not find all of them".to_owned());
    }
    for (place, (target, named)) in (0u32..).zip(targets.into_iter().zip(named)) {
        if let (Some(target), false) = (target, named) {
            entries.push(Export {
                ordinal: base.wrapping_add(place),
                name: None,
                target,
            });
        }
    }
    Ok(Exports::from_entries(module_name, entries))
}
