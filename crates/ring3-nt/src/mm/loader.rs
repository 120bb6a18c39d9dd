//! Loading driver images: mapping, imports, the security cookie, unloading.

use std::sync::Arc;

use ring3_memory::Gva;
use ring3_pe::{ExportTarget, Image, ImportName};
use ring3_symbols::SymbolFile;

use super::space::{PAGE, Region};
use crate::Machine;
use crate::machine::modules::Module;
use crate::ntstatus::{
    NTSTATUS, STATUS_DRIVER_ENTRYPOINT_NOT_FOUND, STATUS_DRIVER_ORDINAL_NOT_FOUND,
    STATUS_IMAGE_ALREADY_LOADED, STATUS_INSUFFICIENT_RESOURCES, STATUS_OBJECT_NAME_NOT_FOUND,
};

/// Why a driver image was not loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// It imports from a module that is not there.
    #[error(
        "{driver} imports from {module}, which is not loaded and not modelled; give it with --with {module}"
    )]
    ModuleNotFound {
        /// The driver.
        driver: String,
        /// The module.
        module: String,
    },
    /// It imports a name that the module does not export.
    #[error("{driver} imports {module}!{name}, which {module} of Windows {build} does not export")]
    EntryPointNotFound {
        /// The driver.
        driver: String,
        /// The module.
        module: String,
        /// The name.
        name: String,
        /// The Windows build.
        build: String,
    },
    /// It imports an ordinal that the module does not export.
    #[error(
        "{driver} imports ordinal {ordinal} of {module}, which is not known: modelled modules have no stable ordinals"
    )]
    OrdinalNotFound {
        /// The driver.
        driver: String,
        /// The module.
        module: String,
        /// The ordinal.
        ordinal: u16,
    },
    /// An image of this name is loaded.
    #[error("an image named {0} is already loaded")]
    AlreadyLoaded(String),
    /// Guest memory is used up.
    #[error("the machine has not enough memory for {0}")]
    NoMemory(String),
}

impl LoadError {
    /// The status with which Windows fails the load.
    #[must_use]
    pub fn status(&self) -> NTSTATUS {
        match self {
            Self::ModuleNotFound { .. } => STATUS_OBJECT_NAME_NOT_FOUND,
            Self::EntryPointNotFound { .. } => STATUS_DRIVER_ENTRYPOINT_NOT_FOUND,
            Self::OrdinalNotFound { .. } => STATUS_DRIVER_ORDINAL_NOT_FOUND,
            Self::AlreadyLoaded(_) => STATUS_IMAGE_ALREADY_LOADED,
            Self::NoMemory(_) => STATUS_INSUFFICIENT_RESOURCES,
        }
    }
}

/// The cookie that compilers put into images; the loader replaces it.
const DEFAULT_COOKIE: u64 = 0x0000_2b99_2ddf_a232;

impl Machine {
    /// Maps an image, resolves its imports and puts it on the module list. Gives its base.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load_image(
        &mut self,
        name: &str,
        image: Arc<Image>,
        symbols: Option<Arc<SymbolFile>>,
    ) -> Result<u64, LoadError> {
        if self.modules.by_name(name).is_some_and(|m| !m.modelled) {
            return Err(LoadError::AlreadyLoaded(name.to_owned()));
        }
        let imports = self.resolve_imports(name, &image)?;
        let no_memory = || LoadError::NoMemory(name.to_owned());
        let pages = u64::from(image.size).div_ceil(PAGE);
        let base = self
            .mm
            .regions
            .reserve(Region::DriverImages, pages)
            .ok_or_else(no_memory)?;
        let bytes = image.map(base);
        self.map_image_range(
            base,
            &bytes,
            0,
            u64::from(image.size_of_headers),
            false,
            false,
        );
        for section in &image.sections {
            let start = u64::from(section.rva);
            let end = (start + u64::from(section.virtual_size.max(1))).min(u64::from(image.size));
            self.map_image_range(
                base,
                &bytes,
                start,
                end,
                section.writable(),
                section.executable(),
            );
        }
        // The import table may be in read-only pages: the loader writes past their protection.
        for (rva, address) in imports {
            let _ = self.memory.poke_bytes(
                None,
                Gva::<u8>::new(base + u64::from(rva)),
                &address.to_le_bytes(),
            );
        }
        self.set_security_cookie(base, &image);
        let entry = if image.entry == 0 {
            0
        } else {
            base + u64::from(image.entry)
        };
        self.modules.add(Module {
            name: name.to_owned(),
            base,
            size: image.size,
            entry,
            functions: Arc::clone(&image.functions),
            symbols,
            image: Some(image),
            modelled: false,
            entry_in_list: Gva::NULL,
            init_discarded: false,
        });
        crate::ps::loaded_modules::insert(self, base);
        self.trace.text("load", name);
        Ok(base)
    }

    fn resolve_imports(&self, driver: &str, image: &Image) -> Result<Vec<(u32, u64)>, LoadError> {
        let mut resolved = Vec::new();
        for module in &image.imports {
            let file = self.build.resolve_module(&module.module);
            let known = self.modules.by_name(file).is_some() || self.stubs.has_module(file);
            if !known {
                return Err(LoadError::ModuleNotFound {
                    driver: driver.to_owned(),
                    module: module.module.clone(),
                });
            }
            for import in &module.entries {
                let address =
                    match &import.name {
                        ImportName::Name(name, _) => {
                            self.find_export(file, name, 0).ok_or_else(|| {
                                LoadError::EntryPointNotFound {
                                    driver: driver.to_owned(),
                                    module: module.module.clone(),
                                    name: name.clone(),
                                    build: self.build.name.to_owned(),
                                }
                            })?
                        }
                        ImportName::Ordinal(ordinal) => self
                            .find_ordinal(file, *ordinal)
                            .ok_or_else(|| LoadError::OrdinalNotFound {
                                driver: driver.to_owned(),
                                module: module.module.clone(),
                                ordinal: *ordinal,
                            })?,
                    };
                resolved.push((import.iat_rva, address));
            }
        }
        Ok(resolved)
    }

    /// The address of an export of a loaded image, else of a modelled module; forwarders are followed.
    #[must_use]
    pub fn find_export(&self, module: &str, name: &str, depth: u32) -> Option<u64> {
        if depth > 8 {
            return None;
        }
        if let Some(found) = self.modules.by_name(module).filter(|m| !m.modelled) {
            let export = found.image.as_ref()?.exports.by_name(name)?;
            return self.follow(found.base, &export.target, depth);
        }
        self.stubs.address_of(module, name)
    }

    fn find_ordinal(&self, module: &str, ordinal: u16) -> Option<u64> {
        let found = self.modules.by_name(module).filter(|m| !m.modelled)?;
        let export = found
            .image
            .as_ref()?
            .exports
            .by_ordinal(u32::from(ordinal))?;
        self.follow(found.base, &export.target, 0)
    }

    fn follow(&self, base: u64, target: &ExportTarget, depth: u32) -> Option<u64> {
        match target {
            ExportTarget::Rva(rva) => Some(base + u64::from(*rva)),
            ExportTarget::Forward(text) => {
                let (module, name) = text.rsplit_once('.')?;
                [".sys", ".exe", ".dll", ""].iter().find_map(|extension| {
                    self.find_export(&format!("{module}{extension}"), name, depth + 1)
                })
            }
        }
    }

    /// The loader gives each image a cookie of its own where it still has the compiler's.
    fn set_security_cookie(&mut self, base: u64, image: &Image) {
        let Some(rva) = image
            .load_config
            .as_ref()
            .and_then(|c| c.security_cookie_rva)
        else {
            return;
        };
        let at = Gva::<u64>::new(base + u64::from(rva));
        if self.memory.peek::<u64>(at) == Some(DEFAULT_COOKIE) {
            // The upper 16 bits are zero as on Windows, so that string overruns are caught.
            let cookie =
                (base ^ u64::from(image.timestamp)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
            let _ = self
                .memory
                .poke_bytes(None, at.cast::<u8>(), &cookie.to_le_bytes());
        }
    }

    /// Unmaps the discardable sections of an image: after DriverEntry their code is gone.
    pub fn discard_init(&mut self, base: u64) {
        let Some(module) = self.modules.at(base).cloned() else {
            return;
        };
        let Some(image) = module.image.as_ref() else {
            return;
        };
        let cr3 = self.memory.context().cr3;
        let keeps: Vec<(u64, u64)> = image
            .sections
            .iter()
            .filter(|s| !s.discardable())
            .map(|s| {
                (
                    u64::from(s.rva),
                    u64::from(s.rva) + u64::from(s.virtual_size),
                )
            })
            .collect();
        for section in image.sections.iter().filter(|s| s.discardable()) {
            let (start, end) = (
                u64::from(section.rva),
                u64::from(section.rva) + u64::from(section.virtual_size),
            );
            let mut page = start & !(PAGE - 1);
            while page < end {
                let kept = keeps.iter().any(|(a, b)| *a < page + PAGE && page < *b);
                if !kept && let Some(frame) = self.memory.unmap(cr3, base + page) {
                    self.memory.free_frame(frame);
                }
                page += PAGE;
            }
        }
        self.modules.update(base, |m| m.init_discarded = true);
    }

    /// Unmaps an image and takes it off the module list.
    pub fn unload_image(&mut self, base: u64) {
        let Some(module) = self.modules.at(base).cloned() else {
            return;
        };
        crate::ps::loaded_modules::remove(self, base);
        self.locks_freed(base, u64::from(module.size));
        let cr3 = self.memory.context().cr3;
        for page in (0..u64::from(module.size)).step_by(PAGE as usize) {
            if let Some(frame) = self.memory.unmap(cr3, base + page) {
                self.memory.free_frame(frame);
            }
        }
        // The addresses stay reserved, so that a late call into the image faults there by name.
        self.modules.remove(base);
        self.trace.text("unload", &module.name);
    }
}
