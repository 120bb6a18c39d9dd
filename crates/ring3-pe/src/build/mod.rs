//! Making PE32+ images of our own: the guest-visible `ntoskrnl.exe`, `HAL.dll`, ..., and the images of tests.
//!
//! Sections get their RVA when they are added, so that code and data can be made with the final addresses in hand; the tables a
//! linker would make (exports, function table, unwind information, relocations, debug record, version resource) are made by
//! [`ImageBuilder::build`]. The same calls give the same bytes.

mod file;
mod tables;
mod unwind;
mod version;

pub use unwind::{UnwindCode, UnwindHandler, UnwindInfo};

use crate::{
    CodeView, ExportTarget, Image, ImageError, ImageErrorKind, ImportName, LoadConfig, Options,
    VersionInfo,
};

/// Flags of a section to build: what its IMAGE_SCN_* flags say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionFlags(pub u32);

impl SectionFlags {
    /// Code: readable and executable.
    pub const CODE: Self = Self(0x6000_0020);
    /// Initialised data that is only read.
    pub const READ_ONLY: Self = Self(0x4000_0040);
    /// Initialised data that is read and written.
    pub const DATA: Self = Self(0xc000_0040);
    /// Initialisation code: as [`SectionFlags::CODE`], thrown away after DriverEntry.
    pub const INIT: Self = Self(0x6200_0020);
}

/// A finished image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltImage {
    /// The file.
    pub file: Vec<u8>,
    /// The same image as it lies in memory at the base it was built for: SizeOfImage bytes.
    pub mapped: Vec<u8>,
    /// The base it was built for.
    pub base: u64,
}

/// Makes an image. See the module's page for the order of things.
#[derive(Clone, Debug)]
pub struct ImageBuilder {
    module_name: String,
    next_rva: u32,
    sections: Vec<PlannedSection>,
    exports: Vec<PlannedExport>,
    functions: Vec<(u32, u32, Vec<u8>)>,
    pointers: Vec<(u32, u32)>,
    /// RVA and size of the import directory and of the import address table.
    imports: Option<[(u32, u32); 2]>,
    /// The first thing asked for that makes no image.
    problem: Option<String>,
    entry: Option<u32>,
    timestamp: u32,
    dll: bool,
    subsystem: u16,
    debug: Option<CodeView>,
    version: Option<VersionInfo>,
    load_config: Option<LoadConfig>,
}

#[derive(Clone, Debug)]
struct PlannedSection {
    name: String,
    flags: SectionFlags,
    rva: u32,
    virtual_size: u32,
    data: Vec<u8>,
}

#[derive(Clone, Debug)]
struct PlannedExport {
    ordinal: Option<u32>,
    name: Option<String>,
    target: ExportTarget,
}

impl ImageBuilder {
    /// Starts an image whose export table names it `module_name` (`ntoskrnl.exe`). Without other calls it is a driver for the
    /// native subsystem with the time stamp 0.
    pub fn new(module_name: impl Into<String>) -> Self {
        Self {
            module_name: module_name.into(),
            next_rva: PAGE,
            sections: Vec::new(),
            exports: Vec::new(),
            functions: Vec::new(),
            pointers: Vec::new(),
            imports: None,
            problem: None,
            entry: None,
            timestamp: 0,
            dll: false,
            subsystem: 1,
            debug: None,
            version: None,
            load_config: None,
        }
    }

    /// The RVA that the next section gets: code for it can be made with its addresses in hand.
    pub fn next_rva(&self) -> u32 {
        self.next_rva
    }

    /// Adds a section with these bytes; answers its RVA. Names are at most eight bytes.
    pub fn section(&mut self, name: &str, flags: SectionFlags, data: Vec<u8>) -> u32 {
        let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
        self.section_with_size(name, flags, data, size)
    }

    /// Adds a section of `virtual_size` bytes of memory, of which the first are `data` and the others zero; answers its RVA.
    pub fn section_with_size(
        &mut self,
        name: &str,
        flags: SectionFlags,
        data: Vec<u8>,
        virtual_size: u32,
    ) -> u32 {
        let rva = self.next_rva;
        if name.len() > 8 || data.len() > virtual_size as usize {
            self.refuse(format!(
                "section `{name}` of {virtual_size} bytes has a name of {} and data of {}",
                name.len(),
                data.len()
            ));
        }
        self.next_rva = rva
            .saturating_add(virtual_size.max(1))
            .checked_next_multiple_of(PAGE)
            .unwrap_or(u32::MAX);
        self.sections.push(PlannedSection {
            name: name.to_owned(),
            flags,
            rva,
            virtual_size,
            data,
        });
        rva
    }

    /// Remembers the first thing that makes no image, for [`ImageBuilder::build`] to say.
    fn refuse(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }

    /// Adds a section that imports `entries`, module by module; answers the RVAs of the slots of the import address table, in
    /// the same order. To be called once.
    pub fn imports(&mut self, modules: &[(&str, &[ImportName])]) -> Vec<Vec<u32>> {
        if self.imports.is_some() {
            self.refuse("imports were added twice; add all modules at once".to_owned());
        }
        let made = tables::imports(self.next_rva, modules);
        self.section(".idata", SectionFlags::DATA, made.data);
        self.imports = Some([made.directory, made.addresses]);
        made.slots
    }

    /// Exports `name` at `rva`. The ordinal is given by [`ImageBuilder::build`]: names in sorted order, after the highest
    /// ordinal asked for by [`ImageBuilder::export_ordinal`].
    pub fn export(&mut self, name: impl Into<String>, rva: u32) {
        self.exports.push(PlannedExport {
            ordinal: None,
            name: Some(name.into()),
            target: ExportTarget::Rva(rva),
        });
    }

    /// Exports `name` as a forwarder: `target` is `module.Name` without the module's extension (`ntoskrnl.KeStallExecutionProcessor`).
    pub fn export_forward(&mut self, name: impl Into<String>, target: impl Into<String>) {
        let target = ExportTarget::Forward(target.into());
        self.exports.push(PlannedExport {
            ordinal: None,
            name: Some(name.into()),
            target,
        });
    }

    /// Exports with a chosen ordinal, with or without a name.
    pub fn export_ordinal(&mut self, ordinal: u32, name: Option<&str>, target: ExportTarget) {
        self.exports.push(PlannedExport {
            ordinal: Some(ordinal),
            name: name.map(str::to_owned),
            target,
        });
    }

    /// Adds a function of the function table, `begin..end` as RVAs. Equal unwind information is stored once.
    pub fn function(&mut self, begin: u32, end: u32, unwind: &UnwindInfo) {
        self.functions.push((begin, end, unwind.encode()));
    }

    /// Has the loader put the address of `target_rva` into the eight bytes at `at_rva` (a DIR64 relocation).
    pub fn pointer(&mut self, at_rva: u32, target_rva: u32) {
        self.pointers.push((at_rva, target_rva));
    }

    /// Sets the entry point. Without it, it is the start of the first section of code.
    pub fn entry(&mut self, rva: u32) {
        self.entry = Some(rva);
    }

    /// Sets the time stamp (seconds since 1970; debuggers use it with SizeOfImage to find the binary).
    pub fn timestamp(&mut self, timestamp: u32) {
        self.timestamp = timestamp;
    }

    /// Marks the image as a library (IMAGE_FILE_DLL).
    pub fn dll(&mut self, dll: bool) {
        self.dll = dll;
    }

    /// Sets the subsystem (1, NATIVE, if this is not called).
    pub fn subsystem(&mut self, subsystem: u16) {
        self.subsystem = subsystem;
    }

    /// Gives it a CodeView record that names its PDB.
    pub fn debug(&mut self, debug: CodeView) {
        self.debug = Some(debug);
    }

    /// Gives it a version resource.
    pub fn version(&mut self, version: VersionInfo) {
        self.version = Some(version);
    }

    /// Gives it a load configuration that points to variables in its sections.
    pub fn load_config(&mut self, load_config: LoadConfig) {
        self.load_config = Some(load_config);
    }

    /// Makes the image for `base`.
    ///
    /// # Errors
    /// An [`ImageError`] where what was asked for makes no valid image: a section or export name that does not fit, two exports
    /// of one name or ordinal, overlapping functions, a pointer outside the sections, an image that is too large.
    pub fn build(&self, base: u64) -> Result<BuiltImage, ImageError> {
        if let Some(problem) = &self.problem {
            return Err(refused(problem.clone()));
        }
        let file = file::build(self, base)?;
        let image = Image::parse_with(
            file.as_slice(),
            Options {
                any_subsystem: true,
            },
        )?;
        Ok(BuiltImage {
            mapped: image.map(base),
            file,
            base,
        })
    }
}

/// Size of a page: sections start at multiples of it.
const PAGE: u32 = 0x1000;

/// The error of a build.
fn refused(what: impl Into<String>) -> ImageError {
    ImageError::new(
        ImageErrorKind::Header,
        None,
        what,
        "change the calls that plan the image",
    )
}
