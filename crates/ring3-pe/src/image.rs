//! The parsed image.

use std::sync::Arc;

use object::LittleEndian as LE;
use object::pe::{
    IMAGE_DIRECTORY_ENTRY_BASERELOC, IMAGE_DIRECTORY_ENTRY_DEBUG, IMAGE_DIRECTORY_ENTRY_EXCEPTION,
    IMAGE_DIRECTORY_ENTRY_EXPORT, IMAGE_DIRECTORY_ENTRY_IMPORT, IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG,
    IMAGE_DIRECTORY_ENTRY_RESOURCE, IMAGE_DIRECTORY_ENTRY_SECURITY, IMAGE_FILE_RELOCS_STRIPPED,
};

use crate::header::{self, Header};
use crate::recognise::refuse_other_files;
use crate::view::{View, mapped_len};
use crate::{
    CodeView, Exports, ImageError, ImageErrorKind, ImportModule, LoadConfig, RuntimeFunction,
    Section, Signature, VersionInfo,
};
use crate::{
    checksum, debug, export, function, import, load_config, relocation, section, signature, version,
};

/// What [`Image::parse_with`] lets pass that [`Image::parse`] refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Take images of every subsystem (user-mode programs and libraries too), with or without an entry point.
    pub any_subsystem: bool,
}

/// A parsed x64 image. It owns (shares) the bytes of its file.
#[derive(Clone, Debug)]
pub struct Image {
    bytes: Arc<[u8]>,
    /// Offset of ImageBase in the headers.
    base_field: usize,
    /// RVA and size of the relocation directory.
    relocations: Option<(u32, u32)>,
    /// Machine of the COFF header; always 0x8664 (AMD64).
    pub machine: u16,
    /// The address it was linked for.
    pub preferred_base: u64,
    /// SizeOfImage: bytes of address space the mapped image needs.
    pub size: u32,
    /// SizeOfHeaders: bytes of headers at the start of the file and of the mapped image.
    pub size_of_headers: u32,
    /// RVA of the entry point; 0 where it has none (only with [`Options::any_subsystem`]).
    pub entry: u32,
    /// TimeDateStamp of the COFF header: seconds since 1970, or a hash in reproducible builds.
    pub timestamp: u32,
    /// CheckSum as the header states it; 0: none.
    pub checksum: u32,
    /// CheckSum as computed from the file.
    pub computed_checksum: u32,
    /// Characteristics of the COFF header (IMAGE_FILE_*).
    pub characteristics: u16,
    /// DllCharacteristics of the optional header (IMAGE_DLLCHARACTERISTICS_*).
    pub dll_characteristics: u16,
    /// Subsystem of the optional header; 1 is NATIVE.
    pub subsystem: u16,
    /// The sections, by RVA.
    pub sections: Vec<Section>,
    /// The imports, module by module in the image's order.
    pub imports: Vec<ImportModule>,
    /// The exports.
    pub exports: Exports,
    /// The function table, sorted by first byte.
    pub functions: Arc<[RuntimeFunction]>,
    /// The load configuration, if it has one.
    pub load_config: Option<LoadConfig>,
    /// The version resource, if it has one.
    pub version: Option<VersionInfo>,
    /// The Authenticode signature, if it has one that can be read.
    pub signature: Option<Signature>,
    /// The CodeView debug record, if it has one.
    pub debug: Option<CodeView>,
    /// What is odd but does not stop the load, one sentence each.
    pub warnings: Vec<String>,
}

impl Image {
    /// Parses a kernel-mode x64 image.
    ///
    /// # Errors
    /// [`ImageError`] says what is wrong with the file, where, and what to do next.
    pub fn parse(bytes: impl Into<Arc<[u8]>>) -> Result<Self, ImageError> {
        Self::parse_with(bytes, Options::default())
    }

    /// Parses an x64 image with some refusals lifted.
    ///
    /// # Errors
    /// As [`Image::parse`].
    pub fn parse_with(bytes: impl Into<Arc<[u8]>>, options: Options) -> Result<Self, ImageError> {
        let bytes = bytes.into();
        refuse_other_files(&bytes)?;
        let header = header::parse(&bytes, options)?;
        let mut warnings = Vec::new();
        let sections = section::parse(&bytes, &header, &mut warnings)?;
        let optional = &header.optional;
        let base = optional.image_base.get(LE);
        let view = View {
            bytes: &bytes,
            sections: &sections,
            headers: optional.size_of_headers.get(LE),
            size: optional.size_of_image.get(LE),
        };
        let entry = optional.address_of_entry_point.get(LE);
        check_entry(&view, &header, entry, options, &mut warnings)?;

        let imports = match header.directory(IMAGE_DIRECTORY_ENTRY_IMPORT) {
            Some((rva, _)) => import::parse(&view, rva)?,
            None => Vec::new(),
        };
        let exports = match header.directory(IMAGE_DIRECTORY_ENTRY_EXPORT) {
            Some((rva, size)) => export::parse(&view, rva, size, &mut warnings)?,
            None => Exports::default(),
        };
        let functions = match header.directory(IMAGE_DIRECTORY_ENTRY_EXCEPTION) {
            Some((rva, size)) => function::parse(&view, rva, size, &mut warnings)?,
            None => Arc::default(),
        };
        let relocations = header.directory(IMAGE_DIRECTORY_ENTRY_BASERELOC);
        if let Some((rva, size)) = relocations {
            relocation::walk(&view, rva, size, |_| ())?;
        } else if header.file.characteristics.get(LE).0 & IMAGE_FILE_RELOCS_STRIPPED.0 != 0 {
            warnings.push(format!(
                "the image has no relocations: it works only at {base:#x}"
            ));
        }

        let load_config = header
            .directory(IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG)
            .and_then(|(rva, _)| load_config::parse(&view, base, rva, &mut warnings));
        let version = facts(
            header.directory(IMAGE_DIRECTORY_ENTRY_RESOURCE),
            &mut warnings,
            |rva, _| version::parse(&view, rva),
        );
        let debug = facts(
            header.directory(IMAGE_DIRECTORY_ENTRY_DEBUG),
            &mut warnings,
            |rva, size| debug::parse(&view, rva, size),
        );
        let signature = facts(
            header.directory(IMAGE_DIRECTORY_ENTRY_SECURITY),
            &mut warnings,
            |offset, size| signature::parse(&bytes, offset, size),
        );
        let checksum = optional.check_sum.get(LE);
        let computed_checksum = checksum::checksum(&bytes, header.optional_offset + 64);
        if checksum != 0 && checksum != computed_checksum {
            warnings.push(format!("the checksum is {computed_checksum:#x}, the header states {checksum:#x}: the file was changed or cut"));
        }
        Ok(Self {
            machine: header.file.machine.get(LE).0,
            preferred_base: base,
            size: optional.size_of_image.get(LE),
            size_of_headers: optional.size_of_headers.get(LE),
            entry,
            timestamp: header.file.time_date_stamp.get(LE),
            checksum,
            computed_checksum,
            characteristics: header.file.characteristics.get(LE).0,
            dll_characteristics: optional.dll_characteristics.get(LE).0,
            subsystem: optional.subsystem.get(LE).0,
            base_field: header.optional_offset + 24,
            relocations,
            imports,
            exports,
            functions,
            load_config,
            version,
            signature,
            debug,
            warnings,
            sections,
            bytes,
        })
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// The image as it lies in memory at `base`: SizeOfImage bytes, headers and sections laid out, relocations applied.
    pub fn map(&self, base: u64) -> Vec<u8> {
        let mut image = vec![0; self.size as usize];
        let headers = self
            .bytes
            .get(..self.size_of_headers as usize)
            .unwrap_or_default();
        place(&mut image, 0, headers);
        for section in &self.sections {
            let data = self.bytes.get(section.data.clone()).unwrap_or_default();
            place(
                &mut image,
                section.rva,
                data.get(..mapped_len(section)).unwrap_or_default(),
            );
        }
        let delta = base.wrapping_sub(self.preferred_base);
        if delta != 0 {
            adjust(&mut image, self.base_field, delta);
        }
        if let Some((rva, size)) = self.relocations.filter(|_| delta != 0) {
            let view = View {
                bytes: &self.bytes,
                sections: &self.sections,
                headers: self.size_of_headers,
                size: self.size,
            };
            // The directory was walked by `parse`; it cannot fail here.
            let _ = relocation::walk(&view, rva, size, |target| {
                adjust(&mut image, target as usize, delta)
            });
        }
        image
    }

    /// The section that `rva` lies in.
    pub fn section_at(&self, rva: u32) -> Option<&Section> {
        self.sections
            .iter()
            .find(|section| section.rva_range().contains(&rva))
    }

    /// The function of the function table that `rva` lies in.
    pub fn function_at(&self, rva: u32) -> Option<&RuntimeFunction> {
        let after = self
            .functions
            .partition_point(|function| function.begin <= rva);
        self.functions
            .get(after.checked_sub(1)?)
            .filter(|function| function.contains(rva))
    }
}

/// Refuses an image whose entry point is missing or outside its sections.
fn check_entry(
    view: &View<'_>,
    header: &Header,
    entry: u32,
    options: Options,
    warnings: &mut Vec<String>,
) -> Result<(), ImageError> {
    if entry == 0 && options.any_subsystem {
        return Ok(());
    }
    let error = |what: String, next: &str| {
        Err(ImageError::new(
            ImageErrorKind::EntryPoint,
            header.optional_offset as u64 + 16,
            what,
            next,
        ))
    };
    if entry == 0 {
        return error(
            "the image has no entry point (a resource-only or export-only file)".to_owned(),
            "link the driver with /entry:DriverEntry (or GsDriverEntry, FxDriverEntry)",
        );
    }
    match view
        .sections
        .iter()
        .find(|section| section.rva_range().contains(&entry))
    {
        None => error(
            format!("the entry point, RVA {entry:#x}, is outside the image's sections"),
            "the headers are damaged; copy the driver again or rebuild it",
        ),
        Some(section) => {
            if !section.executable() {
                warnings.push(format!(
                    "the entry point lies in section `{}`, which is not executable",
                    section.name
                ));
            }
            Ok(())
        }
    }
}

/// Reads facts that a load can do without: an error becomes a warning.
fn facts<T>(
    directory: Option<(u32, u32)>,
    warnings: &mut Vec<String>,
    read: impl FnOnce(u32, u32) -> Result<Option<T>, String>,
) -> Option<T> {
    let (address, size) = directory?;
    read(address, size).unwrap_or_else(|warning| {
        warnings.push(warning);
        None
    })
}

/// Copies `data` to `rva`, as much as there is room for.
fn place(image: &mut [u8], rva: u32, data: &[u8]) {
    let room = image.get_mut(rva as usize..).unwrap_or_default();
    let len = data.len().min(room.len());
    if let (Some(room), Some(data)) = (room.get_mut(..len), data.get(..len)) {
        room.copy_from_slice(data);
    }
}

/// Adds `delta` to the eight-byte address at `at`.
fn adjust(image: &mut [u8], at: usize, delta: u64) {
    if let Some(slot) = image.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<8>) {
        *slot = u64::from_le_bytes(*slot).wrapping_add(delta).to_le_bytes();
    }
}
