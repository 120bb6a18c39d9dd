//! Refusing images for other processors, by name.

use object::LittleEndian as LE;
use object::pe::{
    IMAGE_FILE_MACHINE_AMD64, IMAGE_FILE_MACHINE_ARM, IMAGE_FILE_MACHINE_ARM64,
    IMAGE_FILE_MACHINE_ARMNT, IMAGE_FILE_MACHINE_I386, IMAGE_FILE_MACHINE_IA64,
    IMAGE_FILE_MACHINE_UNKNOWN, ImageFileHeader,
};

use crate::header::{dotnet, is_dotnet32};
use crate::{ImageError, ImageErrorKind};

/// Refuses an image whose machine is not AMD64.
pub(crate) fn refuse_other_machines(
    bytes: &[u8],
    file: &ImageFileHeader,
    optional: usize,
) -> Result<(), ImageError> {
    let machine = file.machine.get(LE);
    let what = match machine {
        IMAGE_FILE_MACHINE_AMD64 => return Ok(()),
        // Assemblies for any processor are stored as 32-bit images.
        IMAGE_FILE_MACHINE_I386 if is_dotnet32(bytes, optional) => {
            return Err(dotnet(optional + 96 + 14 * 8));
        }
        IMAGE_FILE_MACHINE_I386 => {
            "this is a 32-bit driver (or another 32-bit image; machine i386, 0x14c)".to_owned()
        }
        IMAGE_FILE_MACHINE_ARM64 => {
            "this is an ARM64 driver (or another ARM64 image; machine 0xaa64)".to_owned()
        }
        IMAGE_FILE_MACHINE_ARM | IMAGE_FILE_MACHINE_ARMNT => {
            format!(
                "this is a 32-bit ARM driver (or another ARM image; machine {:#x})",
                machine.0
            )
        }
        IMAGE_FILE_MACHINE_IA64 => {
            "this is an Itanium driver (or another Itanium image; machine 0x200)".to_owned()
        }
        IMAGE_FILE_MACHINE_UNKNOWN => "the image is for no machine (machine 0)".to_owned(),
        other => format!("the image is for the machine {:#x}", other.0),
    };
    Err(ImageError::new(
        ImageErrorKind::Machine,
        (optional - size_of::<ImageFileHeader>()) as u64,
        what,
        "give the x64 build of the driver (machine 0x8664)",
    ))
}
