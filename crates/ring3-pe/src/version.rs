//! The version resource (VS_VERSIONINFO).

use std::collections::BTreeMap;

use object::LittleEndian as LE;
use object::pe::{ImageResourceDataEntry, ImageResourceDirectory, ImageResourceDirectoryEntry};

use crate::view::View;

/// What the version resource says. Versions are four numbers, most significant first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionInfo {
    /// dwFileVersionMS/LS of VS_FIXEDFILEINFO.
    pub file_version: [u16; 4],
    /// dwProductVersionMS/LS of VS_FIXEDFILEINFO.
    pub product_version: [u16; 4],
    /// The strings of the first string table (`CompanyName`, `FileDescription`, ...).
    pub strings: BTreeMap<String, String>,
}

/// RT_VERSION.
const RT_VERSION: u32 = 16;
/// Largest resource read, in bytes; real ones have a few kilobytes.
const LARGEST: u32 = 1 << 20;
/// VS_FFI_SIGNATURE.
const FIXED_SIGNATURE: u32 = 0xfeef_04bd;

/// Reads the version resource of the resource directory at `rva`: the first language of the first resource of type RT_VERSION.
/// `Ok(None)` where there is none; the error is a sentence for the warnings.
pub(crate) fn parse(view: &View<'_>, rva: u32) -> Result<Option<VersionInfo>, String> {
    let Some(types) = entries(view, rva, 0) else {
        return Err(format!(
            "the resource directory at RVA {rva:#x} is outside the image; it is ignored"
        ));
    };
    let Some(&(_, names)) = types.iter().find(|(id, _)| *id == RT_VERSION) else {
        return Ok(None);
    };
    let leaf = (|| {
        let (_, languages) = *entries(view, rva, names & !DIRECTORY)?.first()?;
        let (_, data) = *entries(view, rva, languages & !DIRECTORY)?.first()?;
        let entry: ImageResourceDataEntry = view.pod(rva.checked_add(data)?)?;
        let (at, size) = (entry.offset_to_data.get(LE), entry.size.get(LE));
        (size <= LARGEST)
            .then(|| view.slice(at, size as usize))
            .flatten()
    })();
    let Some(data) = leaf else {
        return Err("the version resource is outside the image; it is ignored".to_owned());
    };
    decode(data)
        .map(Some)
        .ok_or_else(|| "the version resource is damaged; it is ignored".to_owned())
}

/// High bit of an entry's offset: it leads to another directory.
const DIRECTORY: u32 = 0x8000_0000;

/// The entries (id, offset) of the resource directory at `offset` from `base`.
fn entries(view: &View<'_>, base: u32, offset: u32) -> Option<Vec<(u32, u32)>> {
    let at = base.checked_add(offset)?;
    let directory: ImageResourceDirectory = view.pod(at)?;
    let count = u32::from(directory.number_of_named_entries.get(LE))
        + u32::from(directory.number_of_id_entries.get(LE));
    let first = at.checked_add(size_of::<ImageResourceDirectory>() as u32)?;
    (0..count)
        .map(|index| {
            let entry: ImageResourceDirectoryEntry = view.pod(first.checked_add(index * 8)?)?;
            Some((
                entry.name_or_id.get(LE),
                entry.offset_to_data_or_directory.get(LE),
            ))
        })
        .collect()
}

/// One node of the resource: VS_VERSIONINFO, StringFileInfo, StringTable and String all have this shape.
struct Node<'a> {
    key: String,
    value: &'a [u8],
    children: &'a [u8],
}

/// Splits the first node off `data`; answers it and what follows it.
fn node(data: &[u8]) -> Option<(Node<'_>, &[u8])> {
    let word = |index: usize| {
        data.get(index * 2..)?
            .first_chunk()
            .map(|word| u16::from_le_bytes(*word))
    };
    let (length, value_length, kind) = (usize::from(word(0)?), usize::from(word(1)?), word(2)?);
    if length < 6 {
        return None;
    }
    let all = data.get(..length.min(data.len()))?;
    let key = utf16(all.get(6..)?);
    let value_at = (6 + (key.encode_utf16().count() + 1) * 2).next_multiple_of(4);
    // The length of a text value is counted in characters.
    let value_bytes = if kind == 1 {
        value_length * 2
    } else {
        value_length
    };
    let rest = all.get(value_at..).unwrap_or_default();
    let value = rest.get(..value_bytes.min(rest.len()))?;
    let children = rest
        .get(value_bytes.next_multiple_of(4)..)
        .unwrap_or_default();
    Some((
        Node {
            key,
            value,
            children,
        },
        data.get(length.next_multiple_of(4)..).unwrap_or_default(),
    ))
}

/// The UTF-16 string up to its zero or the end.
fn utf16(data: &[u8]) -> String {
    let (words, _) = data.as_chunks::<2>();
    let units = words
        .iter()
        .map(|word| u16::from_le_bytes(*word))
        .take_while(|unit| *unit != 0);
    char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// Reads VS_VERSIONINFO.
fn decode(data: &[u8]) -> Option<VersionInfo> {
    let (root, _) = node(data)?;
    if root.key != "VS_VERSION_INFO" {
        return None;
    }
    let mut info = VersionInfo::default();
    let (fixed, _) = root.value.as_chunks::<4>();
    let fixed: Vec<u32> = fixed.iter().map(|word| u32::from_le_bytes(*word)).collect();
    if let [
        FIXED_SIGNATURE,
        _,
        file_high,
        file_low,
        product_high,
        product_low,
        ..,
    ] = fixed[..]
    {
        info.file_version = four(file_high, file_low);
        info.product_version = four(product_high, product_low);
    }
    let mut blocks = root.children;
    while let Some((block, rest)) = node(blocks) {
        blocks = rest;
        if block.key != "StringFileInfo" {
            continue;
        }
        if let Some((table, _)) = node(block.children) {
            let mut strings = table.children;
            while let Some((string, rest)) = node(strings) {
                strings = rest;
                info.strings
                    .entry(string.key)
                    .or_insert_with(|| utf16(string.value));
            }
        }
    }
    Some(info)
}

/// Two 32-bit halves as four numbers.
fn four(high: u32, low: u32) -> [u16; 4] {
    [
        (high >> 16) as u16,
        high as u16,
        (low >> 16) as u16,
        low as u16,
    ]
}
