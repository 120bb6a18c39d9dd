//! Base relocations.

use object::LittleEndian as LE;
use object::pe::{IMAGE_REL_BASED_ABSOLUTE, IMAGE_REL_BASED_DIR64, ImageBaseRelocation};

use crate::view::View;
use crate::{ImageError, ImageErrorKind};

/// Bytes of a block's header.
const BLOCK_HEADER: u32 = 8;

/// Calls `each` with the RVA of every eight-byte address that the relocation directory at `rva` (of `size` bytes) says to
/// adjust. The directory is not copied: it is walked once to check it, and once for each mapping.
pub(crate) fn walk(
    view: &View<'_>,
    rva: u32,
    size: u32,
    mut each: impl FnMut(u32),
) -> Result<(), ImageError> {
    let error = |at: u32, what: String| {
        ImageError::new(
            ImageErrorKind::Relocation,
            view.file_offset(at),
            what,
            "the relocations are damaged; copy the driver again or rebuild it",
        )
    };
    let end = rva
        .checked_add(size)
        .filter(|end| *end <= view.size)
        .ok_or_else(|| {
            error(
                rva,
                format!(
                    "the relocation directory (RVA {rva:#x}, {size:#x} bytes) is outside the image"
                ),
            )
        })?;
    let mut block = rva;
    while end - block >= BLOCK_HEADER {
        let header: ImageBaseRelocation = view.pod(block).ok_or_else(|| {
            error(
                block,
                format!("a relocation block at RVA {block:#x} is outside the sections"),
            )
        })?;
        let (page, length) = (header.virtual_address.get(LE), header.size_of_block.get(LE));
        if length == 0 && page == 0 {
            // Padding at the directory's end.
            return Ok(());
        }
        if length < BLOCK_HEADER || length > end - block {
            return Err(error(
                block,
                format!("a relocation block at RVA {block:#x} has the impossible size {length:#x}"),
            ));
        }
        let mut entry = block + BLOCK_HEADER;
        while block + length - entry >= 2 {
            let value = view.u16(entry).ok_or_else(|| {
                error(
                    entry,
                    format!("a relocation at RVA {entry:#x} is outside the sections"),
                )
            })?;
            let kind = value >> 12;
            if kind == IMAGE_REL_BASED_DIR64.0 {
                let target = page.checked_add(u32::from(value & 0xfff));
                let inside = target
                    .filter(|target| target.checked_add(8).is_some_and(|end| end <= view.size));
                each(inside.ok_or_else(|| {
                    error(
                        entry,
                        format!(
                            "a relocation adjusts RVA {:#x}, outside the image of {:#x} bytes",
                            u64::from(page) + u64::from(value & 0xfff),
                            view.size
                        ),
                    )
                })?);
            } else if kind != IMAGE_REL_BASED_ABSOLUTE.0 {
                return Err(error(
                    entry,
                    format!(
                        "a relocation has the kind {kind}, x64 images have only DIR64 (10) and ABSOLUTE (0)"
                    ),
                ));
            }
            entry += 2;
        }
        block += length;
    }
    Ok(())
}
