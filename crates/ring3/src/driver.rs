//! A driver file and the PDB beside it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring3_nt::memory::PAGE_SIZE;
use ring3_pe::{Image, ImageError};
use ring3_symbols::SymbolFile;

/// Larger files are refused before they are read: no driver comes near.
const MAX_FILE: u64 = 512 << 20;

/// Why a driver file cannot be used. Every text says what, where and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The file cannot be read.
    #[error("cannot read {path}: {reason}; check the path")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// The file is too large to be a driver.
    #[error(
        "{path} has {size} bytes; drivers are smaller than {MAX_FILE} bytes; give the .sys file itself"
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// The file is no driver image that can be loaded.
    #[error("{path}: {reason}")]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: ImageError,
    },
}

/// A driver as it ships.
#[derive(Clone, Debug)]
pub struct DriverFile {
    /// The file.
    pub path: PathBuf,
    /// File name, as the loaded module is called.
    pub name: String,
    /// The image.
    pub image: Arc<Image>,
    /// Its symbols, if the PDB beside it belongs to it.
    pub symbols: Option<Arc<SymbolFile>>,
    /// What was odd: image warnings, a PDB that does not match.
    pub warnings: Vec<String>,
}

impl DriverFile {
    /// Reads a driver, and its PDB where one lies beside it.
    ///
    /// # Errors
    /// See [`DriverError`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, DriverError> {
        let path = path.as_ref();
        let failed = |reason| DriverError::Read {
            path: path.to_owned(),
            reason,
        };
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if metadata.len() > MAX_FILE {
            return Err(DriverError::TooLarge {
                path: path.to_owned(),
                size: metadata.len(),
            });
        }
        let bytes = std::fs::read(path).map_err(failed)?;
        Self::from_bytes(path, bytes)
    }

    /// A driver from bytes that were read already.
    ///
    /// # Errors
    /// See [`DriverError`].
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, DriverError> {
        let image = Image::parse(bytes).map_err(|reason| DriverError::Image {
            path: path.to_owned(),
            reason,
        })?;
        let name = path
            .file_name()
            .map_or_else(|| "driver.sys".into(), |n| n.to_string_lossy().into_owned());
        let mut warnings = image.warnings.clone();
        let symbols = Self::symbols(path, &image, &mut warnings);
        Ok(Self {
            path: path.to_owned(),
            name,
            image: Arc::new(image),
            symbols,
            warnings,
        })
    }

    fn symbols(path: &Path, image: &Image, warnings: &mut Vec<String>) -> Option<Arc<SymbolFile>> {
        let pdb = path.with_extension("pdb");
        let bytes = std::fs::read(&pdb).ok()?;
        match SymbolFile::from_pdb(bytes) {
            Ok(symbols) => {
                let matches = image
                    .debug
                    .as_ref()
                    .is_some_and(|d| symbols.guid() == d.guid);
                if matches {
                    return Some(Arc::new(symbols));
                }
                warnings.push(format!(
                    "{} does not belong to this image and is not used",
                    pdb.display()
                ));
                None
            }
            Err(error) => {
                warnings.push(format!("{} cannot be used: {error}", pdb.display()));
                None
            }
        }
    }

    /// The service name: the file name without its extension.
    #[must_use]
    pub fn service(&self) -> &str {
        self.name
            .rsplit_once('.')
            .map_or(&self.name, |(stem, _)| stem)
    }

    /// Pages of memory that the mapped image takes.
    #[must_use]
    pub fn pages(&self) -> u64 {
        u64::from(self.image.size).div_ceil(PAGE_SIZE as u64)
    }
}
