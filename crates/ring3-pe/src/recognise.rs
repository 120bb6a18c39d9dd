//! Saying what a file is that is no image.

use crate::{ImageError, ImageErrorKind};

/// Bytes looked at to tell text from binary.
const SAMPLE: usize = 512;

/// First bytes of files that people give by mistake, where they stand, and what to call them.
const MAGICS: &[(usize, &[u8], &str, &str)] = &[
    (
        0,
        b"\x7fELF",
        "an ELF file (a Linux or BSD program or module)",
        "give a Windows driver (.sys)",
    ),
    (
        0,
        b"\xcf\xfa\xed\xfe",
        "a Mach-O file (macOS)",
        "give a Windows driver (.sys)",
    ),
    (
        0,
        b"\xfe\xed\xfa\xcf",
        "a Mach-O file (macOS)",
        "give a Windows driver (.sys)",
    ),
    (
        0,
        b"\xce\xfa\xed\xfe",
        "a Mach-O file (macOS)",
        "give a Windows driver (.sys)",
    ),
    (
        0,
        b"\xca\xfe\xba\xbe",
        "a Mach-O universal file (macOS) or a Java class",
        "give a Windows driver (.sys)",
    ),
    (
        0,
        b"PK\x03\x04",
        "a ZIP archive",
        "unpack it and give the .sys inside",
    ),
    (
        0,
        b"PK\x05\x06",
        "an empty ZIP archive",
        "give the .sys that should have been in it",
    ),
    (
        0,
        b"MSCF",
        "a cabinet (.cab)",
        "unpack it (expand, cabextract) and give the .sys inside",
    ),
    (
        0,
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an OLE file, such as a Windows Installer package (.msi)",
        "unpack it (msiexec /a, msiextract) and give the .sys inside",
    ),
    (
        0,
        b"7z\xbc\xaf\x27\x1c",
        "a 7z archive",
        "unpack it and give the .sys inside",
    ),
    (
        0,
        b"Rar!",
        "a RAR archive",
        "unpack it and give the .sys inside",
    ),
    (
        0,
        b"\x1f\x8b",
        "a gzip file",
        "unpack it and give the .sys inside",
    ),
    (
        0,
        b"\xfd7zXZ\0",
        "an xz file",
        "unpack it and give the .sys inside",
    ),
    (
        0,
        b"\x28\xb5\x2f\xfd",
        "a zstd file",
        "unpack it and give the .sys inside",
    ),
    (
        0,
        b"PAGEDU64",
        "a Windows crash dump (64-bit)",
        "use `ring3 analyze` for dumps",
    ),
    (
        0,
        b"PAGEDUMP",
        "a Windows crash dump (32-bit)",
        "use `ring3 analyze` for dumps",
    ),
    (
        0,
        b"MDMP",
        "a minidump of a process",
        "use `ring3 analyze` for dumps",
    ),
    (
        0,
        b"Microsoft C/C++ MSF 7.00",
        "a PDB (symbols)",
        "give the .sys that the PDB belongs to",
    ),
    (
        0,
        b"!<arch>\n",
        "a library (.lib) of object files",
        "link it and give the .sys",
    ),
    (
        0,
        b"\0asm",
        "a WebAssembly module",
        "give a Windows driver (.sys)",
    ),
    (
        0,
        b"SZDD",
        "a file compressed by COMPRESS.EXE",
        "expand it and give the .sys inside",
    ),
    (0, b"%PDF", "a PDF document", "give a Windows driver (.sys)"),
    (
        0,
        b"\x64\x86",
        "a COFF object file (.obj)",
        "link it and give the .sys",
    ),
    (
        0,
        b"\x4c\x01",
        "a 32-bit COFF object file (.obj)",
        "build for x64, link it and give the .sys",
    ),
    (
        257,
        b"ustar",
        "a tar archive",
        "unpack it and give the .sys inside",
    ),
];

/// Refuses a file that does not start as an image does, and names what it is where that can be seen.
pub(crate) fn refuse_other_files(bytes: &[u8]) -> Result<(), ImageError> {
    let other =
        |what: String, next: &str| Err(ImageError::new(ImageErrorKind::NotAnImage, 0, what, next));
    if bytes.is_empty() {
        return Err(ImageError::new(
            ImageErrorKind::Empty,
            None,
            "the file is empty",
            "check that it was copied completely, and give a Windows driver (.sys)",
        ));
    }
    if bytes.starts_with(b"MZ") {
        return Ok(());
    }
    for (offset, magic, what, next) in MAGICS {
        if bytes
            .get(*offset..)
            .is_some_and(|rest| rest.starts_with(magic))
        {
            return other(format!("this is {what}, not a Windows driver"), next);
        }
    }
    let what = if looks_like_text(bytes) {
        "this looks like a text file, not a Windows driver"
    } else if bytes == b"M" {
        return Err(ImageError::new(
            ImageErrorKind::Truncated,
            1,
            "the file is cut in the DOS header: it has 1 of 64 bytes",
            "copy the driver again, completely",
        ));
    } else if bytes.iter().all(|byte| *byte == 0) {
        "the file has only zero bytes; it is not a Windows driver"
    } else {
        let start: Vec<String> = bytes
            .iter()
            .take(4)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        return other(
            format!(
                "this is not a Windows driver: it starts with the bytes {}, not with `MZ`",
                start.join(" ")
            ),
            "give a Windows driver (.sys)",
        );
    };
    other(what.to_owned(), "give a Windows driver (.sys)")
}

/// Whether the first bytes are text: UTF-8 (or a cut at its end) without control characters, or UTF-16 with its mark.
fn looks_like_text(bytes: &[u8]) -> bool {
    let sample = bytes.get(..bytes.len().min(SAMPLE)).unwrap_or_default();
    if sample.starts_with(b"\xff\xfe") || sample.starts_with(b"\xfe\xff") {
        return true;
    }
    let valid = match std::str::from_utf8(sample) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(sample.get(..error.valid_up_to()).unwrap_or_default())
                .unwrap_or_default()
        }
        Err(_) => return false,
    };
    // A single letter may as well be the first byte of anything.
    sample.len() > 1
        && valid
            .chars()
            .all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\x0c'))
}
