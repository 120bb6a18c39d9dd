//! PE images: parsing, mapping and building.
//!
//! [`Image::parse`] takes the bytes of an x64 kernel-mode image (`.sys`, or a kernel `.dll`/`.exe`) and answers everything a
//! loader, a debugger and a report need to know about it; [`Image::map`] lays it out as memory. The bytes are foreign: every
//! offset is checked, nothing in a file can make this crate panic, and what is wrong is said as *what, where, what next*
//! ([`ImageError`]). [`build`] goes the other way and makes images of our own.
//!
//! The format is documented in Microsoft's "PE Format" page; the raw structures come from the `object` crate.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod build;
mod checksum;
mod debug;
mod error;
mod export;
mod function;
mod header;
mod image;
mod import;
mod load_config;
mod machine;
mod recognise;
mod relocation;
mod section;
mod signature;
mod version;
mod view;

pub use debug::CodeView;
pub use error::{ImageError, ImageErrorKind};
pub use export::{Export, ExportTarget, Exports};
pub use function::RuntimeFunction;
pub use image::{Image, Options};
pub use import::{Import, ImportModule, ImportName};
pub use load_config::LoadConfig;
pub use section::Section;
pub use signature::Signature;
pub use version::VersionInfo;
