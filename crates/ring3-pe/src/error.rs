//! Why a file is not an image that can be loaded.

use std::fmt;

/// What kind of refusal an [`ImageError`] is, for callers that choose an exit code or a status from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ImageErrorKind {
    /// The file has no bytes.
    Empty,
    /// The file is something else: text, an ELF file, an archive, a DOS program, ...
    NotAnImage,
    /// The file ends before the headers or a section do.
    Truncated,
    /// The image is for another processor than x64 (32-bit x86, ARM64, ...).
    Machine,
    /// The image is a .NET assembly.
    DotNet,
    /// The image is a program or library for user mode or for firmware.
    Subsystem,
    /// A field of the headers has a value that no linker writes.
    Header,
    /// A section lies over another one, outside the image, or has an impossible size.
    Section,
    /// A size or count is beyond what any driver needs.
    TooLarge,
    /// A base relocation is of an unknown kind or points outside the image.
    Relocation,
    /// The image has no entry point, or one outside its sections.
    EntryPoint,
    /// A table that a data directory points to (imports, exports, functions) is damaged.
    Directory,
}

/// A refused image: what is wrong, where in the file, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageError {
    kind: ImageErrorKind,
    what: String,
    offset: Option<u64>,
    next: String,
}

impl ImageError {
    /// Makes an error: `what` is wrong at file `offset` (bytes from the start; none: the file as a whole), `next` is what to do.
    pub(crate) fn new(
        kind: ImageErrorKind,
        offset: impl Into<Option<u64>>,
        what: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            what: what.into(),
            offset: offset.into(),
            next: next.into(),
        }
    }

    /// The kind of refusal.
    pub fn kind(&self) -> ImageErrorKind {
        self.kind
    }

    /// What is wrong, without the place and the advice.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Where in the file, in bytes from its start, if the error has a place.
    pub fn offset(&self) -> Option<u64> {
        self.offset
    }

    /// What the user can do next.
    pub fn next(&self) -> &str {
        &self.next
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if let Some(offset) = self.offset {
            write!(f, " (at file offset {offset:#x})")?;
        }
        write!(f, "; {}", self.next)
    }
}

impl std::error::Error for ImageError {}
