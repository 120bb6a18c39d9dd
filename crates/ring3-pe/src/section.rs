//! Sections: names, places and the facts their flags tell.

use std::ops::Range;

use object::pe::{
    IMAGE_SCN_CNT_CODE, IMAGE_SCN_MEM_DISCARDABLE, IMAGE_SCN_MEM_EXECUTE, IMAGE_SCN_MEM_NOT_PAGED,
    IMAGE_SCN_MEM_READ, IMAGE_SCN_MEM_WRITE, ImageSectionHeader,
};

use object::LittleEndian as LE;

use crate::header::{Header, bad, cut};
use crate::view::text;
use crate::{ImageError, ImageErrorKind};

/// Size of a page; images with a smaller section alignment are mapped as they lie in the file.
const PAGE: u32 = 0x1000;

/// One section of an image (IMAGE_SECTION_HEADER).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The name, at most eight bytes in an image; bytes that are not UTF-8 are replaced.
    pub name: String,
    /// Where it starts in the mapped image, in bytes from the image base.
    pub rva: u32,
    /// How many bytes it has in the mapped image; what the file does not give is zero.
    pub virtual_size: u32,
    /// Where its bytes lie in the file; empty for a section of zeros.
    pub data: Range<usize>,
    /// The IMAGE_SCN_* flags.
    pub characteristics: u32,
}

impl Section {
    /// Whether the code in it may run (IMAGE_SCN_MEM_EXECUTE).
    pub fn executable(&self) -> bool {
        self.characteristics & IMAGE_SCN_MEM_EXECUTE.0 != 0
    }

    /// Whether it may be written (IMAGE_SCN_MEM_WRITE).
    pub fn writable(&self) -> bool {
        self.characteristics & IMAGE_SCN_MEM_WRITE.0 != 0
    }

    /// Whether it may be read (IMAGE_SCN_MEM_READ).
    pub fn readable(&self) -> bool {
        self.characteristics & IMAGE_SCN_MEM_READ.0 != 0
    }

    /// Whether it is marked as code (IMAGE_SCN_CNT_CODE).
    pub fn is_code(&self) -> bool {
        self.characteristics & IMAGE_SCN_CNT_CODE.0 != 0
    }

    /// Whether the kernel may throw it away after initialisation (IMAGE_SCN_MEM_DISCARDABLE).
    pub fn discardable(&self) -> bool {
        self.characteristics & IMAGE_SCN_MEM_DISCARDABLE.0 != 0
    }

    /// Whether the kernel pages it: its name starts with `PAGE` and it is not marked IMAGE_SCN_MEM_NOT_PAGED
    /// (source: "Making Drivers Pageable", learn.microsoft.com).
    pub fn pageable(&self) -> bool {
        self.name.starts_with("PAGE") && self.characteristics & IMAGE_SCN_MEM_NOT_PAGED.0 == 0
    }

    /// Whether it is the section of initialisation code, `INIT`, which goes after DriverEntry has returned.
    pub fn is_init(&self) -> bool {
        self.name == "INIT"
    }

    /// The RVAs it covers in memory, in bytes: its virtual size, or its file size where no virtual size is given.
    pub fn rva_range(&self) -> Range<u32> {
        let size = if self.virtual_size == 0 {
            u32::try_from(self.data.len()).unwrap_or(u32::MAX)
        } else {
            self.virtual_size
        };
        self.rva..self.rva.saturating_add(size)
    }
}

/// Checks the section table and makes the sections of it, sorted by RVA. Adds to `warnings` what is odd.
pub(crate) fn parse(
    bytes: &[u8],
    header: &Header,
    warnings: &mut Vec<String>,
) -> Result<Vec<Section>, ImageError> {
    let optional = &header.optional;
    let alignment = optional.section_alignment.get(LE);
    let size = u64::from(optional.size_of_image.get(LE)).next_multiple_of(u64::from(alignment));
    let mut previous = (
        u64::from(optional.size_of_headers.get(LE)),
        "the headers".to_owned(),
    );
    let mut sections = Vec::new();
    for (index, raw) in header.sections.iter().enumerate() {
        let at = header.section_table + index * size_of::<ImageSectionHeader>();
        let section = one(bytes, header, raw, at)?;
        let range = section.rva_range();
        let name = format!("section {} (`{}`)", index + 1, section.name);
        if !section.rva.is_multiple_of(alignment) {
            return Err(bad(
                ImageErrorKind::Section,
                at + 12,
                format!(
                    "{name} starts at RVA {:#x}, not a multiple of SectionAlignment {alignment:#x}",
                    section.rva
                ),
            ));
        }
        if u64::from(section.rva) < previous.0 {
            return Err(bad(
                ImageErrorKind::Section,
                at + 12,
                format!(
                    "{name} at RVA {:#x} overlaps {}, which ends at {:#x}",
                    section.rva, previous.1, previous.0
                ),
            ));
        }
        if u64::from(range.end) > size {
            return Err(bad(
                ImageErrorKind::Section,
                at + 8,
                format!(
                    "{name} ends at RVA {:#x}, outside the image of {size:#x} bytes",
                    range.end
                ),
            ));
        }
        if alignment < PAGE
            && !section.data.is_empty()
            && section.data.start as u64 != u64::from(section.rva)
        {
            return Err(bad(
                ImageErrorKind::Section,
                at + 20,
                format!(
                    "{name} lies at file offset {:#x}; below page alignment it must equal its RVA {:#x}",
                    section.data.start, section.rva
                ),
            ));
        }
        let next = previous.0.next_multiple_of(u64::from(alignment));
        if index > 0 && u64::from(section.rva) > next {
            warnings.push(format!(
                "{name} leaves a gap: it starts at RVA {:#x}, the one before ends at {next:#x}",
                section.rva
            ));
        }
        previous = (u64::from(range.end), name);
        sections.push(section);
    }
    warn(&sections, warnings);
    Ok(sections)
}

/// Checks the file data of one section.
fn one(
    bytes: &[u8],
    header: &Header,
    raw: &ImageSectionHeader,
    at: usize,
) -> Result<Section, ImageError> {
    let end = raw
        .name
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(raw.name.len());
    let name = text(raw.name.get(..end).unwrap_or_default());
    let (start, len) = (
        raw.pointer_to_raw_data.get(LE) as usize,
        raw.size_of_raw_data.get(LE) as usize,
    );
    let image = u64::from(header.optional.size_of_image.get(LE));
    // A section's data may be padded to the file alignment, no more.
    if len as u64 > image.next_multiple_of(0x1_0000) {
        return Err(bad(
            ImageErrorKind::TooLarge,
            at + 16,
            format!(
                "section `{name}` claims {len:#x} bytes of the file, the whole image has {image:#x}"
            ),
        ));
    }
    if u64::from(raw.virtual_size.get(LE)) > image.next_multiple_of(0x1_0000) {
        return Err(bad(
            ImageErrorKind::TooLarge,
            at + 8,
            format!(
                "section `{name}` claims {:#x} bytes of memory, the whole image has {image:#x}",
                raw.virtual_size.get(LE)
            ),
        ));
    }
    let data = if start == 0 || len == 0 {
        0..0
    } else {
        start..start + len
    };
    if data.end > bytes.len() {
        return Err(cut(bytes, &format!("section `{name}`"), start, len));
    }
    Ok(Section {
        name,
        rva: raw.virtual_address.get(LE),
        virtual_size: raw.virtual_size.get(LE),
        data,
        characteristics: raw.characteristics.get(LE).0,
    })
}

/// Says what is odd about the sections as a whole.
fn warn(sections: &[Section], warnings: &mut Vec<String>) {
    let mut by_data: Vec<&Section> = sections
        .iter()
        .filter(|section| !section.data.is_empty())
        .collect();
    by_data.sort_by_key(|section| section.data.start);
    for pair in by_data.windows(2) {
        if let [a, b] = pair
            && a.data.end > b.data.start
        {
            warnings.push(format!(
                "sections `{}` and `{}` share bytes of the file",
                a.name, b.name
            ));
        }
    }
    for section in sections {
        if section.executable() && section.writable() {
            warnings.push(format!(
                "section `{}` is both writable and executable; memory integrity (HVCI) refuses such drivers",
                section.name
            ));
        }
        if section.is_init() && !section.discardable() {
            warnings.push(
                "section `INIT` is not marked discardable: its memory is never given back"
                    .to_owned(),
            );
        }
    }
}
