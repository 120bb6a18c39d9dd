//! The container of a PDB (multi-stream file 7.00), checked before the reader crate sees it: sizes that do not fit the file
//! would cost it memory, or make it panic.

use super::SymbolError;

/// Start of a PDB.
const MAGIC: &[u8; 32] = b"Microsoft C/C++ MSF 7.00\r\n\x1aDS\0\0\0";
/// Start of a PDB of Visual C++ 6 and older.
const OLD_MAGIC: &[u8] = b"Microsoft C/C++ program database 2.00";
/// A stream that does not exist.
const NO_STREAM: u32 = u32::MAX;

/// Checks the superblock and the directory: all pages exist, and the streams together are not larger than the file.
pub(super) fn check(bytes: &[u8]) -> Result<(), SymbolError> {
    if !bytes.starts_with(MAGIC) {
        return Err(SymbolError::NotAPdb {
            what: describe(bytes).to_owned(),
        });
    }
    let damaged = |part: &'static str, what: String| SymbolError::Damaged { part, what };
    let field = |at: usize| {
        word(bytes, at).ok_or_else(|| damaged("the superblock", "the file ends".to_owned()))
    };
    let (page_size, pages, directory_size) = (field(32)?, field(40)?, field(44)?);
    if !page_size.is_power_of_two() || !(0x200..=0x1_0000).contains(&page_size) {
        return Err(damaged(
            "the superblock",
            format!("the page size {page_size} is impossible"),
        ));
    }
    let size = u64::from(pages) * u64::from(page_size);
    if size > bytes.len() as u64 {
        let what = format!(
            "{pages} pages of {page_size} bytes are claimed, the file has {} bytes",
            bytes.len()
        );
        return Err(damaged("the superblock", what));
    }
    if u64::from(directory_size) > size {
        return Err(damaged(
            "the superblock",
            format!("the directory has the impossible size {directory_size}"),
        ));
    }
    let page_bytes = page_size as usize;
    let page = |number: u32| {
        let start = number as usize * page_bytes;
        (number != 0 && number < pages)
            .then(|| bytes.get(start..start + page_bytes))
            .flatten()
    };
    let directory_error = || {
        damaged(
            "the stream directory",
            "a page is outside the file".to_owned(),
        )
    };
    // The superblock lists pages that list the pages of the directory.
    let count = (directory_size as usize).div_ceil(page_bytes);
    let mut directory = Vec::with_capacity(count * page_bytes);
    for index in 0..count {
        let list = word(bytes, 52 + index * 4 / page_bytes * 4)
            .and_then(page)
            .ok_or_else(directory_error)?;
        let number = word(list, index * 4 % page_bytes).ok_or_else(directory_error)?;
        directory.extend_from_slice(page(number).ok_or_else(directory_error)?);
    }
    directory.truncate(directory_size as usize);
    check_directory(&directory, page_size, pages, size)
}

/// Checks the directory: the number of streams, their sizes, their pages.
fn check_directory(
    directory: &[u8],
    page_size: u32,
    pages: u32,
    size: u64,
) -> Result<(), SymbolError> {
    let damaged = |what: String| SymbolError::Damaged {
        part: "the stream directory",
        what,
    };
    let cut = || damaged("it ends too early".to_owned());
    let count = word(directory, 0).ok_or_else(cut)? as usize;
    let sizes = count
        .checked_mul(4)
        .and_then(|length| directory.get(4..4 + length))
        .ok_or_else(cut)?;
    let numbers = directory.get(4 + count * 4..).ok_or_else(cut)?;
    let (sizes, _) = sizes.as_chunks::<4>();
    let (numbers, _) = numbers.as_chunks::<4>();
    let mut total = 0u64;
    let mut needed = 0u64;
    for stream in sizes
        .iter()
        .map(|size| u32::from_le_bytes(*size))
        .filter(|size| *size != NO_STREAM)
    {
        total += u64::from(stream);
        needed += u64::from(stream.div_ceil(page_size));
    }
    if total > size || needed > numbers.len() as u64 {
        return Err(damaged(format!(
            "its {count} streams claim {total} bytes, the file has {size}"
        )));
    }
    let outside = numbers
        .iter()
        .take(needed as usize)
        .map(|number| u32::from_le_bytes(*number))
        .find(|n| *n == 0 || *n >= pages);
    match outside {
        Some(number) => Err(damaged(format!(
            "page {number} of {pages} is claimed by a stream"
        ))),
        None => Ok(()),
    }
}

/// The little-endian word at `at`.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|word| u32::from_le_bytes(*word))
}

/// What a file is that is no PDB 7.00.
fn describe(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "it is empty",
        [b'M', b'Z', ..] => "it is an image (.sys, .exe, .dll)",
        [b'B', b'S', b'J', b'B', ..] => "it is a portable PDB of .NET",
        [b'M', b'S', b'F', b'Z', ..] => "it is a compressed PDB (MSFZ), which is not read",
        _ if bytes.starts_with(OLD_MAGIC) => "it is a PDB of format 2.00 (Visual C++ 6 and older)",
        _ if MAGIC.starts_with(bytes) => "it is cut after some bytes",
        _ => "it does not start as one",
    }
}
