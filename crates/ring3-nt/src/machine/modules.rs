//! Loaded images.

use std::sync::Arc;

use ring3_memory::Gva;
use ring3_pe::{Image, RuntimeFunction};
use ring3_symbols::SymbolFile;

use crate::layout::KLDR_DATA_TABLE_ENTRY;

/// Whether addresses lie in the `size` bytes from `base` on.
pub fn within(base: u64, size: u32) -> impl Fn(u64) -> bool + Copy {
    move |address| address >= base && address - base < u64::from(size)
}

/// An image in guest memory.
#[derive(Clone, Debug)]
pub struct Module {
    /// File name.
    pub name: String,
    /// Where it is.
    pub base: u64,
    /// Bytes.
    pub size: u32,
    /// Address of the entry point; 0 for none.
    pub entry: u64,
    /// Its `.pdata`.
    pub functions: Arc<[RuntimeFunction]>,
    /// Its symbols, if a PDB was given.
    pub symbols: Option<Arc<SymbolFile>>,
    /// The parsed file, for images that were loaded from one.
    pub image: Option<Arc<Image>>,
    /// True for images that ring3 made: the kernel's own.
    pub modelled: bool,
    /// Its entry on `PsLoadedModuleList`.
    pub entry_in_list: Gva<KLDR_DATA_TABLE_ENTRY>,
    /// True once its INIT sections have been discarded.
    pub init_discarded: bool,
}

impl Module {
    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(&self, address: u64) -> bool {
        within(self.base, self.size)(address)
    }

    /// The name of the section that an address lies in.
    #[must_use]
    pub fn section_at(&self, address: u64) -> Option<&str> {
        let rva = address.checked_sub(self.base)?;
        let image = self.image.as_ref()?;
        image
            .sections
            .iter()
            .find(|s| rva >= u64::from(s.rva) && rva < u64::from(s.rva) + u64::from(s.virtual_size))
            .map(|s| s.name.as_str())
    }
}

/// All loaded images, in load order; and those that were unloaded, which stack traces and findings
/// still name.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    loaded: Vec<Arc<Module>>,
    unloaded: Vec<Arc<Module>>,
}

impl Modules {
    /// Adds an image.
    pub fn add(&mut self, module: Module) {
        self.loaded.push(Arc::new(module));
    }

    /// Takes an image off the list.
    pub fn remove(&mut self, base: u64) {
        if let Some(at) = self.loaded.iter().position(|m| m.base == base) {
            let module = self.loaded.remove(at);
            self.unloaded.push(module);
        }
    }

    /// Changes an image's entry.
    pub fn update(&mut self, base: u64, change: impl FnOnce(&mut Module)) {
        if let Some(module) = self.loaded.iter_mut().find(|m| m.base == base) {
            change(Arc::make_mut(module));
        }
    }

    /// The loaded image at an address.
    #[must_use]
    pub fn at(&self, address: u64) -> Option<&Arc<Module>> {
        self.loaded.iter().find(|m| m.contains(address))
    }

    /// The image that was at an address and has been unloaded.
    #[must_use]
    pub fn unloaded_at(&self, address: u64) -> Option<&Arc<Module>> {
        self.unloaded.iter().rev().find(|m| m.contains(address))
    }

    /// A loaded image by file name, without case.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Arc<Module>> {
        self.loaded
            .iter()
            .find(|m| m.name.eq_ignore_ascii_case(name))
    }

    /// The loaded images in load order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Module>> {
        self.loaded.iter()
    }
}
