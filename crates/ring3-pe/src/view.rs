//! Reading a file by RVA, every access checked.

use object::pod::{self, Pod};

use crate::Section;

/// Size of a page, the unit in which sections are mapped.
const PAGE: u64 = 0x1000;

/// The bytes of a file, addressed as the loader would map them.
pub(crate) struct View<'a> {
    /// The whole file.
    pub(crate) bytes: &'a [u8],
    /// The sections, sorted by RVA and not overlapping.
    pub(crate) sections: &'a [Section],
    /// Bytes of headers mapped at RVA 0.
    pub(crate) headers: u32,
    /// SizeOfImage.
    pub(crate) size: u32,
}

/// How many bytes of a section's file data are mapped: no more than the pages that its virtual size needs.
pub(crate) fn mapped_len(section: &Section) -> usize {
    let range = section.rva_range();
    let pages = u64::from(range.end - range.start).next_multiple_of(PAGE);
    section
        .data
        .len()
        .min(usize::try_from(pages).unwrap_or(usize::MAX))
}

impl<'a> View<'a> {
    /// The file bytes that are mapped from `rva` on to the end of the section (or headers), and how many zeros follow them.
    fn tail(&self, rva: u32) -> Option<(&'a [u8], u64)> {
        if rva < self.headers {
            return Some((self.bytes.get(rva as usize..self.headers as usize)?, 0));
        }
        let after = self.sections.partition_point(|section| section.rva <= rva);
        let section = self.sections.get(after.checked_sub(1)?)?;
        let data = self
            .bytes
            .get(section.data.clone())?
            .get(..mapped_len(section))?;
        let inside = (rva - section.rva) as usize;
        let range = section.rva_range();
        let end = u64::from(range.end).max(u64::from(section.rva) + data.len() as u64);
        if u64::from(rva) >= end {
            return None;
        }
        let rest = data.get(inside..).unwrap_or_default();
        Some((rest, end - u64::from(rva) - rest.len() as u64))
    }

    /// The file bytes mapped at `rva`, `len` of them, all given by the file.
    pub(crate) fn slice(&self, rva: u32, len: usize) -> Option<&'a [u8]> {
        self.tail(rva)?.0.get(..len)
    }

    /// The file offset of the byte mapped at `rva`, for messages.
    pub(crate) fn file_offset(&self, rva: u32) -> Option<u64> {
        if rva < self.headers {
            return Some(u64::from(rva));
        }
        let after = self.sections.partition_point(|section| section.rva <= rva);
        let section = self.sections.get(after.checked_sub(1)?)?;
        let inside = (rva - section.rva) as usize;
        (inside < section.data.len()).then_some((section.data.start + inside) as u64)
    }

    /// Reads `N` bytes at `rva`; what a section has in memory but not in the file is zero.
    pub(crate) fn read<const N: usize>(&self, rva: u32) -> Option<[u8; N]> {
        let mut out = [0; N];
        self.read_into(rva, &mut out).then_some(out)
    }

    /// Fills `out` from `rva` on; false where the image has no such bytes.
    fn read_into(&self, rva: u32, out: &mut [u8]) -> bool {
        let Some((data, zeros)) = self.tail(rva) else {
            return false;
        };
        let given = data.len().min(out.len());
        if (out.len() - given) as u64 > zeros {
            return false;
        }
        let (head, tail) = out.split_at_mut(given);
        head.copy_from_slice(data.get(..given).unwrap_or_default());
        tail.fill(0);
        true
    }

    /// Reads a little-endian u16 at `rva`.
    pub(crate) fn u16(&self, rva: u32) -> Option<u16> {
        self.read(rva).map(u16::from_le_bytes)
    }

    /// Reads a little-endian u32 at `rva`.
    pub(crate) fn u32(&self, rva: u32) -> Option<u32> {
        self.read(rva).map(u32::from_le_bytes)
    }

    /// Reads a little-endian u64 at `rva`.
    pub(crate) fn u64(&self, rva: u32) -> Option<u64> {
        self.read(rva).map(u64::from_le_bytes)
    }

    /// Reads a raw structure at `rva`.
    pub(crate) fn pod<T: Pod>(&self, rva: u32) -> Option<T> {
        let mut buffer = [0; 512];
        let buffer = buffer.get_mut(..size_of::<T>())?;
        if !self.read_into(rva, buffer) {
            return None;
        }
        pod::from_bytes::<T>(buffer).ok().map(|(value, _)| *value)
    }

    /// The zero-terminated string at `rva`, of at most `most` bytes without the zero.
    pub(crate) fn string(&self, rva: u32, most: usize) -> Option<&'a [u8]> {
        let (data, zeros) = self.tail(rva)?;
        let within = data.get(..data.len().min(most.saturating_add(1)))?;
        match within.iter().position(|byte| *byte == 0) {
            Some(end) => within.get(..end),
            None => (zeros > 0 && data.len() <= most).then_some(data),
        }
    }

    /// The RVA of a virtual address of the image at `base`; none for null and for addresses outside the image.
    pub(crate) fn rva_of(&self, base: u64, va: u64) -> Option<u32> {
        let rva = u32::try_from(va.checked_sub(base)?).ok()?;
        (rva != 0 && rva < self.size).then_some(rva)
    }
}

/// Reads a raw structure from file bytes.
pub(crate) fn pod_at<T: Pod>(bytes: &[u8], offset: usize) -> Option<T> {
    pod::from_bytes::<T>(bytes.get(offset..)?)
        .ok()
        .map(|(value, _)| *value)
}

/// A string of single bytes as text: ASCII stays, what is not UTF-8 is replaced.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
