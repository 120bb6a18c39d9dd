//! Short (8.3) file names. Documentation: ntifs.h, "RtlGenerate8dot3Name", "RtlIsNameLegalDOS8Dot3".

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::code_page::{oem_of, oem_to_unicode};
use super::unicode_string::{bytes_of, set, units, upcase};
use crate::Machine;
use crate::layout::{ANSI_STRING, UNICODE_STRING};
use crate::ntstatus::{NTSTATUS, STATUS_FILE_SYSTEM_LIMITATION, STATUS_SUCCESS};

/// Fields of `GENERATE_NAME_CONTEXT` of ntifs.h.
mod context {
    pub const CHECKSUM: u64 = 0;
    pub const CHECKSUM_INSERTED: u64 = 2;
    pub const LAST_INDEX_VALUE: u64 = 0x20;
}

/// Characters that FAT does not allow in short names.
const ILLEGAL: &[u8] = b"\"*+,/:;<=>?[\\]|";
/// Those of them that become an underscore in a generated name.
const UNDERSCORE: &[u8] = b":;,+=[]";
/// Names by number before the checksum is put in.
const PLAIN: u32 = 4;
/// The page says that the routine gives up after a million names.
const LIMIT: u32 = 1_000_000;

/// The upper case bytes of a legal short name; `None` if it is none.
fn legal(name: &[u16]) -> Option<Vec<u8>> {
    let bytes: Vec<u8> = name
        .iter()
        .map(|unit| oem_of(*unit).and_then(|byte| oem_of(upcase(oem_to_unicode(byte)))))
        .collect::<Option<_>>()?;
    if bytes == b"." || bytes == b".." {
        return Some(bytes);
    }
    let bad = |byte: &u8| *byte < 0x20 || ILLEGAL.contains(byte);
    let mut parts = bytes.split(|byte| *byte == b'.');
    let base = parts.next()?;
    let extension = parts.next();
    let well_formed = !base.is_empty()
        && base.len() <= 8
        && base.last() != Some(&b' ')
        && extension.is_none_or(|e| !e.is_empty() && e.len() <= 3 && e.last() != Some(&b' '))
        && parts.next().is_none();
    (well_formed && !bytes.iter().any(bad)).then_some(bytes)
}

/// The characters of a long name that a short name can have.
fn usable(part: &[u16], extended: bool, count: usize) -> Vec<u16> {
    part.iter()
        .filter_map(|unit| {
            let upper = upcase(oem_to_unicode(oem_of(*unit)?));
            let byte = oem_of(upper)?;
            match byte {
                b' ' | b'.' | 0..=0x1f => None,
                _ if UNDERSCORE.contains(&byte) => Some(u16::from(b'_')),
                _ if ILLEGAL.contains(&byte) => None,
                0x80.. if !extended => None,
                _ => Some(upper),
            }
        })
        .take(count)
        .collect()
}

/// Base and extension of a long name, without its leading periods.
fn split(name: &[u16]) -> (&[u16], &[u16]) {
    let dot = u16::from(b'.');
    let start = name.iter().take_while(|unit| **unit == dot).count();
    let name = name.get(start..).unwrap_or(&[]);
    match name.iter().rposition(|unit| *unit == dot) {
        Some(at) => (
            name.get(..at).unwrap_or(&[]),
            name.get(at + 1..).unwrap_or(&[]),
        ),
        None => (name, &[]),
    }
}

/// Sixteen bits of a long name.
fn checksum(name: &[u16]) -> u16 {
    name.iter()
        .fold(0, |sum: u16, unit| sum.wrapping_mul(37).wrapping_add(*unit))
}

/// The short name of this number, from 1.
fn generate(name: &[u16], extended: bool, index: u32) -> Vec<u16> {
    let (base, extension) = split(name);
    let number = if index <= PLAIN { index } else { index - PLAIN };
    let tail: Vec<u16> = format!("~{number}").encode_utf16().collect();
    let mut text = if index <= PLAIN {
        usable(base, extended, 6)
    } else {
        let mut text = usable(base, extended, 2);
        text.extend(format!("{:04X}", checksum(name)).encode_utf16());
        text
    };
    text.truncate(8usize.saturating_sub(tail.len()));
    text.extend(tail);
    let extension = usable(extension, extended, 3);
    if !extension.is_empty() {
        text.push(u16::from(b'.'));
        text.extend(extension);
    }
    text
}

/// Short names.
pub struct ShortNames;

#[exports("ntoskrnl.exe")]
impl ShortNames {
    /// Makes a short name for a long one; another one each time, as the context counts.
    #[page("ntifs/nf-ntifs-rtlgenerate8dot3name")]
    #[irql(..=APC_LEVEL)]
    #[assumed("the form of the names: ~1 to ~4, then with a checksum")]
    fn RtlGenerate8dot3Name(
        cx: &mut Machine,
        Name: Gva<UNICODE_STRING>,
        AllowExtendedCharacters: bool,
        Context: Gva,
        Name8dot3: Gva<UNICODE_STRING>,
    ) -> Result<NTSTATUS, Fault> {
        let name = units(cx, Name)?;
        let index_at = Context.byte_add(context::LAST_INDEX_VALUE).cast::<u32>();
        let index = cx.memory.read(index_at)?.wrapping_add(1);
        if index > LIMIT {
            return Ok(STATUS_FILE_SYSTEM_LIMITATION);
        }
        let short = generate(&name, AllowExtendedCharacters, index);
        let buffer = cx.memory.get(Name8dot3, UNICODE_STRING::Buffer)?;
        cx.memory.write_bytes(buffer, &bytes_of(&short))?;
        cx.memory.write(index_at, index)?;
        let field = |offset| Context.byte_add(offset);
        cx.memory
            .write(field(context::CHECKSUM).cast(), checksum(&name))?;
        cx.memory
            .write(field(context::CHECKSUM_INSERTED).cast(), index > PLAIN)?;
        let length = 2 * short.len() as u16;
        cx.memory.set(Name8dot3, UNICODE_STRING::Length, length)?;
        Ok(STATUS_SUCCESS)
    }

    /// TRUE if a name is a legal short name; gives its OEM form in upper case.
    #[page("ntifs/nf-ntifs-rtlisnamelegaldos8dot3")]
    #[irql(..=DISPATCH_LEVEL)]
    #[assumed("the OEM code page is 437")]
    fn RtlIsNameLegalDOS8Dot3(
        cx: &mut Machine,
        Name: Gva<UNICODE_STRING>,
        OemName: Gva<ANSI_STRING>,
        NameContainsSpaces: Gva<bool>,
    ) -> Result<bool, Fault> {
        let Some(bytes) = legal(&units(cx, Name)?) else {
            return Ok(false);
        };
        if !OemName.is_null() {
            let string = OemName.cast();
            let buffer: Gva = cx.memory.get(string, UNICODE_STRING::Buffer)?.cast();
            let maximum = cx.memory.get(string, UNICODE_STRING::MaximumLength)?;
            cx.memory.write_bytes(buffer, &bytes)?;
            set(cx, string, bytes.len() as u64, u64::from(maximum), buffer)?;
        }
        if !NameContainsSpaces.is_null() {
            cx.memory.write(NameContainsSpaces, bytes.contains(&b' '))?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::{generate, legal};

    fn wide(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    #[test]
    fn legal_names() {
        for name in ["A", "readme.txt", "12345678.123", ".", "..", "A B.C"] {
            assert!(legal(&wide(name)).is_some(), "{name}");
        }
        for name in [
            "",
            "123456789",
            "a.b.c",
            "a.html",
            ".a",
            "a.",
            "a:b",
            "a*",
            "a ",
            "中",
        ] {
            assert!(legal(&wide(name)).is_none(), "{name}");
        }
        assert_eq!(legal(&wide("readme.txt")), Some(b"README.TXT".to_vec()));
    }

    #[test]
    fn generated_names() {
        let name = |text, index| String::from_utf16_lossy(&generate(&wide(text), true, index));
        assert_eq!(name("Long file name.text", 1), "LONGFI~1.TEX");
        assert_eq!(name("Long file name.text", 2), "LONGFI~2.TEX");
        assert_eq!(name("...a+b", 1), "A_B~1");
        assert_eq!(name("Long file name", 5).len(), 8);
        assert!(name("Long file name", 5).starts_with("LO"));
        for index in [1, 9, 99, 99_999] {
            assert!(legal(&generate(&wide("Something longer.jpeg"), true, index)).is_some());
        }
    }
}
