//! Drivers as they ship, from the folder that RING3_DRIVERS names: every `.sys` in it, at any depth.

use std::path::{Path, PathBuf};

use ring3_pe::{Image, ImageErrorKind};

/// All drivers under `folder`.
fn drivers(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            drivers(&path, found);
        } else if path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("sys"))
        {
            found.push(path);
        }
    }
}

#[test]
fn shipped_drivers_parse_and_map() {
    let Some(folder) = std::env::var_os("RING3_DRIVERS") else {
        eprintln!("skipped: RING3_DRIVERS names no folder of drivers");
        return;
    };
    let mut found = Vec::new();
    drivers(Path::new(&folder), &mut found);
    found.sort();
    assert!(!found.is_empty(), "no .sys under {}", folder.display());
    for path in found {
        let bytes = std::fs::read(&path).unwrap();
        let image = match Image::parse(bytes.as_slice()) {
            Ok(image) => image,
            Err(error) if error.kind() == ImageErrorKind::Machine => continue,
            Err(error) => panic!("{}: {error}", path.display()),
        };
        let name = path.display();
        assert_eq!(image.checksum, image.computed_checksum, "{name}");
        assert!(
            !image.imports.is_empty() && !image.functions.is_empty(),
            "{name}"
        );
        assert!(
            image
                .imports
                .iter()
                .all(|module| !module.entries.is_empty()),
            "{name}"
        );
        assert!(
            image
                .functions
                .iter()
                .all(|f| image.section_at(f.begin).is_some_and(|s| s.executable())),
            "{name}"
        );
        let debug = image
            .debug
            .as_ref()
            .unwrap_or_else(|| panic!("{name}: no CodeView record"));
        assert!(debug.pdb.ends_with(".pdb"), "{name}");
        let signature = image
            .signature
            .as_ref()
            .unwrap_or_else(|| panic!("{name}: no signature"));
        assert!(
            !signature.signers.is_empty() && signature.timestamp.is_some(),
            "{name}"
        );
        // Relocating there and back again gives the same bytes.
        let (there, here) = (
            image.map(0xffff_f800_0000_0000),
            image.map(image.preferred_base),
        );
        assert_ne!(there, here, "{name}");
        // Cut anywhere before the certificates, it is refused.
        let data_end = image
            .sections
            .iter()
            .map(|section| section.data.end)
            .max()
            .unwrap();
        for cut in (0..data_end).step_by(512) {
            let error = Image::parse(&bytes[..cut]).expect_err("a cut file");
            assert!(
                matches!(
                    error.kind(),
                    ImageErrorKind::Truncated | ImageErrorKind::Empty
                ),
                "{name} cut at {cut}: {error}"
            );
        }
    }
}
