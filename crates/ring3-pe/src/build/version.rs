//! Making a resource section with a version resource.

use super::refused;
use crate::{ImageError, VersionInfo};

/// U.S. English and UTF-16, as the names of string tables spell them.
const LANGUAGE: &str = "040904B0";
/// Where the data starts: after three directories of one entry each and one data entry.
const DATA: usize = 3 * 24 + 16;

/// The resource section for `rva`: type RT_VERSION, name 1, language 0x409.
pub(super) fn resource(rva: u32, version: &VersionInfo) -> Result<Vec<u8>, ImageError> {
    let data = encode(version);
    let Ok(_) = u16::try_from(data.len()) else {
        return Err(refused(format!(
            "the version resource would have {} bytes, at most 65535 fit",
            data.len()
        )));
    };
    let mut out = Vec::new();
    for (level, id) in [16u32, 1, 0x409].into_iter().enumerate() {
        out.extend_from_slice(&[0; 14]);
        out.extend_from_slice(&1u16.to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
        let next = (level as u32 + 1) * 24;
        let directory = if level < 2 { 1 << 31 } else { 0 };
        out.extend_from_slice(&(next | directory).to_le_bytes());
    }
    for field in [rva + DATA as u32, data.len() as u32, 0, 0] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.extend_from_slice(&data);
    Ok(out)
}

/// VS_VERSIONINFO with the fixed part, one string table and the translation that names it.
fn encode(version: &VersionInfo) -> Vec<u8> {
    let pair = |[a, b, c, d]: [u16; 4]| {
        [
            u32::from(a) << 16 | u32::from(b),
            u32::from(c) << 16 | u32::from(d),
        ]
    };
    let [file_high, file_low] = pair(version.file_version);
    let [product_high, product_low] = pair(version.product_version);
    // Signature, structure version 1.0, versions, flags mask, flags, VOS_NT_WINDOWS32, VFT_DRV, VFT2_DRV_SYSTEM, date.
    let fixed = [
        0xfeef_04bd,
        0x1_0000,
        file_high,
        file_low,
        product_high,
        product_low,
        0x3f,
        0,
        0x4_0004,
        3,
        7,
        0,
        0,
    ];
    let fixed: Vec<u8> = fixed
        .iter()
        .flat_map(|word: &u32| word.to_le_bytes())
        .collect();
    let mut strings = Vec::new();
    for (key, value) in &version.strings {
        let value = utf16(value);
        node(&mut strings, key, &value, value.len() / 2, 1, &[]);
    }
    let mut table = Vec::new();
    node(&mut table, LANGUAGE, &[], 0, 1, &strings);
    let mut children = Vec::new();
    node(&mut children, "StringFileInfo", &[], 0, 1, &table);
    let mut variable = Vec::new();
    node(
        &mut variable,
        "Translation",
        &[0x09, 0x04, 0xb0, 0x04],
        4,
        0,
        &[],
    );
    node(&mut children, "VarFileInfo", &[], 0, 1, &variable);
    let mut root = Vec::new();
    node(
        &mut root,
        "VS_VERSION_INFO",
        &fixed,
        fixed.len(),
        0,
        &children,
    );
    root
}

/// Appends a node: length, value length, kind (1: text), key, value, children, each at a multiple of four.
fn node(
    out: &mut Vec<u8>,
    key: &str,
    value: &[u8],
    value_length: usize,
    kind: u16,
    children: &[u8],
) {
    out.resize(out.len().next_multiple_of(4), 0);
    let start = out.len();
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&(value_length as u16).to_le_bytes());
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&utf16(key));
    for part in [value, children] {
        if !part.is_empty() {
            out.resize(out.len().next_multiple_of(4), 0);
            out.extend_from_slice(part);
        }
    }
    let length = (out.len() - start) as u16;
    if let Some(field) = out.get_mut(start..start + 2) {
        field.copy_from_slice(&length.to_le_bytes());
    }
}

/// UTF-16 with its zero.
fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}
