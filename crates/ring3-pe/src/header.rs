//! The headers: DOS, COFF, optional header, section table.

use object::LittleEndian as LE;
use object::pe::{
    IMAGE_DIRECTORY_ENTRY_COM_DESCRIPTOR, IMAGE_FILE_EXECUTABLE_IMAGE,
    IMAGE_NT_OPTIONAL_HDR64_MAGIC, ImageDataDirectory, ImageFileHeader, ImageOptionalHeader32,
    ImageOptionalHeader64, ImageSectionHeader,
};

use crate::machine::refuse_other_machines;
use crate::view::pod_at;
use crate::{ImageError, ImageErrorKind, Options};

/// Bytes of the DOS header, whose last field is the offset of the PE header.
const DOS_HEADER: usize = 64;
/// An offset of the PE header beyond this is not one: DOS stubs have some hundred bytes.
const FARTHEST_PE_HEADER: usize = 0x1_0000;
/// "Note that the Windows loader limits the number of sections to 96" (PE Format).
const MOST_SECTIONS: u16 = 96;
/// IMAGE_NUMBEROF_DIRECTORY_ENTRIES.
const MOST_DIRECTORIES: u32 = 16;
/// How much larger than its file an image may be in memory, in bytes: beyond that a size is damage, not a need.
const MOST_ZEROS: u64 = 48 << 20;

const COPY_AGAIN: &str = "copy the driver again, completely";
const DAMAGED: &str = "the headers are damaged; copy the driver again or rebuild it";

/// The headers of an image, checked.
pub(crate) struct Header {
    pub(crate) file: ImageFileHeader,
    pub(crate) optional: ImageOptionalHeader64,
    /// The data directories that the optional header has, at most 16.
    pub(crate) directories: Vec<ImageDataDirectory>,
    pub(crate) sections: Vec<ImageSectionHeader>,
    /// File offset of the optional header.
    pub(crate) optional_offset: usize,
    /// File offset of the section table.
    pub(crate) section_table: usize,
}

impl Header {
    /// The RVA (for the certificate table: file offset) and size of a data directory; none where it is absent or null.
    pub(crate) fn directory(&self, index: usize) -> Option<(u32, u32)> {
        let directory = self.directories.get(index)?;
        let (address, size) = (directory.virtual_address.get(LE), directory.size.get(LE));
        (address != 0).then_some((address, size))
    }
}

/// An error of a header field.
pub(crate) fn bad(kind: ImageErrorKind, offset: usize, what: impl Into<String>) -> ImageError {
    ImageError::new(kind, offset as u64, what, DAMAGED)
}

/// The file ends before `part`, which needs `need` bytes at `offset`, does.
pub(crate) fn cut(bytes: &[u8], part: &str, offset: usize, need: usize) -> ImageError {
    let have = bytes.len().saturating_sub(offset);
    ImageError::new(
        ImageErrorKind::Truncated,
        bytes.len() as u64,
        format!(
            "the file is cut: {part} needs {need} bytes at offset {offset:#x}, the file has {have} of them"
        ),
        COPY_AGAIN,
    )
}

/// Reads and checks the headers of a file that starts with `MZ`.
pub(crate) fn parse(bytes: &[u8], options: Options) -> Result<Header, ImageError> {
    let pe_offset = find_pe_header(bytes)?;
    let file_offset = pe_offset + 4;
    let file: ImageFileHeader = pod_at(bytes, file_offset).ok_or_else(|| {
        cut(
            bytes,
            "the COFF header",
            file_offset,
            size_of::<ImageFileHeader>(),
        )
    })?;
    let optional_offset = file_offset + size_of::<ImageFileHeader>();
    refuse_other_machines(bytes, &file, optional_offset)?;
    if file.characteristics.get(LE).0 & IMAGE_FILE_EXECUTABLE_IMAGE.0 == 0 {
        return Err(bad(
            ImageErrorKind::Header,
            file_offset + 18,
            "the image is not marked as executable (IMAGE_FILE_EXECUTABLE_IMAGE): linking it failed",
        ));
    }

    let optional_size = usize::from(file.size_of_optional_header.get(LE));
    let fixed = size_of::<ImageOptionalHeader64>();
    if bytes.len() < optional_offset.saturating_add(fixed) {
        return Err(cut(
            bytes,
            "the optional header",
            optional_offset,
            optional_size.max(fixed),
        ));
    }
    let optional: ImageOptionalHeader64 = pod_at(bytes, optional_offset)
        .ok_or_else(|| cut(bytes, "the optional header", optional_offset, fixed))?;
    if optional.magic.get(LE) != IMAGE_NT_OPTIONAL_HDR64_MAGIC {
        let magic = optional.magic.get(LE);
        return Err(bad(
            ImageErrorKind::Header,
            optional_offset,
            format!("the optional header has the magic {magic:#x}, an x64 image has 0x20b"),
        ));
    }
    let count = optional.number_of_rva_and_sizes.get(LE);
    if count > MOST_DIRECTORIES {
        return Err(bad(
            ImageErrorKind::TooLarge,
            optional_offset + 108,
            format!(
                "the optional header claims {count} data directories, at most {MOST_DIRECTORIES} exist"
            ),
        ));
    }
    let need = fixed + count as usize * size_of::<ImageDataDirectory>();
    if optional_size < need {
        return Err(bad(
            ImageErrorKind::Header,
            file_offset + 16,
            format!(
                "SizeOfOptionalHeader is {optional_size}, {count} data directories need {need}"
            ),
        ));
    }
    let mut directories = Vec::new();
    for index in 0..count as usize {
        let offset = optional_offset + fixed + index * size_of::<ImageDataDirectory>();
        directories.push(pod_at(bytes, offset).ok_or_else(|| {
            cut(
                bytes,
                "the table of data directories",
                optional_offset + fixed,
                need - fixed,
            )
        })?);
    }
    let section_table = optional_offset + optional_size;
    let sections = section_headers(bytes, &file, section_table)?;
    let header = Header {
        file,
        optional,
        directories,
        sections,
        optional_offset,
        section_table,
    };
    refuse_other_subsystems(&header, options)?;
    check_sizes(bytes, &header)?;
    Ok(header)
}

/// The file offset of the PE signature.
fn find_pe_header(bytes: &[u8]) -> Result<usize, ImageError> {
    let field = bytes
        .get(60..DOS_HEADER)
        .and_then(|field| <[u8; 4]>::try_from(field).ok());
    let Some(field) = field else {
        return Err(cut(bytes, "the DOS header", 0, DOS_HEADER));
    };
    let offset = u32::from_le_bytes(field) as usize;
    let dos = |what: String| {
        Err(ImageError::new(
            ImageErrorKind::NotAnImage,
            60,
            what,
            "give a Windows driver (.sys) for x64",
        ))
    };
    if !(DOS_HEADER..=FARTHEST_PE_HEADER).contains(&offset) {
        return dos(format!(
            "this starts as a DOS program (`MZ`), but has no PE header: its offset is {offset:#x}"
        ));
    }
    let Some(signature) = bytes.get(offset..offset + 4) else {
        return Err(cut(bytes, "the PE signature", offset, 4));
    };
    match signature {
        b"PE\0\0" => Ok(offset),
        [b'N', b'E', ..] => dos("this is a 16-bit Windows or OS/2 program (NE)".to_owned()),
        [b'L', b'E' | b'X', ..] => dos(
            "this is a virtual device driver of Windows 9x, or an OS/2 program (LE, LX)".to_owned(),
        ),
        _ => dos(format!(
            "this starts as a DOS program (`MZ`), but has no PE header at offset {offset:#x}"
        )),
    }
}

/// The section table.
fn section_headers(
    bytes: &[u8],
    file: &ImageFileHeader,
    table: usize,
) -> Result<Vec<ImageSectionHeader>, ImageError> {
    let count = file.number_of_sections.get(LE);
    let count_offset = table.saturating_sub(usize::from(file.size_of_optional_header.get(LE)) + 18);
    if count == 0 {
        return Err(bad(
            ImageErrorKind::Header,
            count_offset,
            "the image has no sections",
        ));
    }
    if count > MOST_SECTIONS {
        return Err(bad(
            ImageErrorKind::TooLarge,
            count_offset,
            format!("the image claims {count} sections, Windows loads at most {MOST_SECTIONS}"),
        ));
    }
    let size = size_of::<ImageSectionHeader>();
    (0..usize::from(count))
        .map(|index| {
            let offset = table + index * size;
            pod_at(bytes, offset).ok_or_else(|| {
                cut(
                    bytes,
                    &format!("the header of section {} of {count}", index + 1),
                    offset,
                    size,
                )
            })
        })
        .collect()
}

/// Refuses .NET assemblies, and images that are not for the kernel.
fn refuse_other_subsystems(header: &Header, options: Options) -> Result<(), ImageError> {
    if header
        .directory(IMAGE_DIRECTORY_ENTRY_COM_DESCRIPTOR)
        .is_some()
    {
        return Err(dotnet(
            header.optional_offset + size_of::<ImageOptionalHeader64>() + 14 * 8,
        ));
    }
    let subsystem = header.optional.subsystem.get(LE).0;
    if options.any_subsystem || subsystem == 1 {
        return Ok(());
    }
    let dll = header.file.characteristics.get(LE).0 & 0x2000 != 0;
    let what = match (subsystem, dll) {
        (2 | 3, false) => "this is a user-mode program (EXE), not a kernel-mode driver".to_owned(),
        (2 | 3, true) => {
            "this is a user-mode library (DLL; UMDF drivers are such), not a kernel-mode driver"
                .to_owned()
        }
        (10..=13, _) => "this is a UEFI program or driver, not a Windows driver".to_owned(),
        (16, _) => "this is a Windows boot application, not a driver".to_owned(),
        (other, _) => format!(
            "the image is for the subsystem {other}, a kernel-mode driver is for NATIVE (1)"
        ),
    };
    Err(ImageError::new(
        ImageErrorKind::Subsystem,
        header.optional_offset as u64 + 68,
        what,
        "give a kernel-mode driver (.sys, linked with /subsystem:native)",
    ))
}

/// The refusal of .NET assemblies.
pub(crate) fn dotnet(offset: usize) -> ImageError {
    ImageError::new(
        ImageErrorKind::DotNet,
        offset as u64,
        "this is a .NET assembly (it has a COM descriptor), not a driver",
        "give a kernel-mode driver (.sys) for x64",
    )
}

/// Checks alignments and the sizes of headers and image.
fn check_sizes(bytes: &[u8], header: &Header) -> Result<(), ImageError> {
    let optional = &header.optional;
    let at = |field: usize| header.optional_offset + field;
    let (section, file) = (
        optional.section_alignment.get(LE),
        optional.file_alignment.get(LE),
    );
    if !section.is_power_of_two() || section > 1 << 24 {
        return Err(bad(
            ImageErrorKind::Header,
            at(32),
            format!("SectionAlignment {section:#x} is not a power of two of at most 16 MiB"),
        ));
    }
    if !file.is_power_of_two() || file > 0x1_0000 || file > section {
        return Err(bad(
            ImageErrorKind::Header,
            at(36),
            format!(
                "FileAlignment {file:#x} is not a power of two of at most 64 KiB and SectionAlignment ({section:#x})"
            ),
        ));
    }
    let table_end = header.section_table + header.sections.len() * size_of::<ImageSectionHeader>();
    let headers = optional.size_of_headers.get(LE) as usize;
    if headers < table_end {
        return Err(bad(
            ImageErrorKind::Header,
            at(60),
            format!(
                "SizeOfHeaders {headers:#x} ends before the section table does ({table_end:#x})"
            ),
        ));
    }
    let size = optional.size_of_image.get(LE);
    if u64::from(size) > bytes.len() as u64 + MOST_ZEROS {
        return Err(bad(
            ImageErrorKind::TooLarge,
            at(56),
            format!(
                "SizeOfImage is {size:#x} for a file of {:#x} bytes, too much to be meant",
                bytes.len()
            ),
        ));
    }
    if headers > size as usize {
        return Err(bad(
            ImageErrorKind::Header,
            at(60),
            format!("SizeOfHeaders {headers:#x} is more than SizeOfImage {size:#x}"),
        ));
    }
    if headers > bytes.len() {
        return Err(cut(bytes, "the headers", 0, headers));
    }
    let base = optional.image_base.get(LE);
    if !base.is_multiple_of(0x1_0000) || base.checked_add(u64::from(size)).is_none() {
        return Err(bad(
            ImageErrorKind::Header,
            at(24),
            format!("ImageBase {base:#x} is not a multiple of 64 KiB inside the address space"),
        ));
    }
    Ok(())
}

/// Whether a PE32 (32-bit) optional header at `offset` belongs to a .NET assembly.
pub(crate) fn is_dotnet32(bytes: &[u8], offset: usize) -> bool {
    let Some(optional) = pod_at::<ImageOptionalHeader32>(bytes, offset) else {
        return false;
    };
    let directory =
        offset + size_of::<ImageOptionalHeader32>() + IMAGE_DIRECTORY_ENTRY_COM_DESCRIPTOR * 8;
    optional.number_of_rva_and_sizes.get(LE) as usize > IMAGE_DIRECTORY_ENTRY_COM_DESCRIPTOR
        && pod_at::<ImageDataDirectory>(bytes, directory)
            .is_some_and(|d| d.virtual_address.get(LE) != 0)
}
