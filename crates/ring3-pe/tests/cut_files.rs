//! Files cut short, and files with bytes changed.

mod common;

use common::{DIRECTORIES, driver, patch};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use ring3_pe::{Image, ImageErrorKind};

/// Every place worth cutting at: each byte of the headers, each 512 bytes after them.
fn cuts(file: &[u8]) -> impl Iterator<Item = usize> {
    let headers = 0x800.min(file.len());
    (0..headers)
        .chain((headers..file.len()).step_by(512))
        .chain([file.len() - 1])
}

#[test]
fn a_cut_says_what_is_missing() {
    let file = driver();
    for cut in cuts(&file) {
        let error = Image::parse(&file[..cut]).expect_err("a cut file");
        let want = if cut == 0 {
            ImageErrorKind::Empty
        } else {
            ImageErrorKind::Truncated
        };
        assert_eq!(error.kind(), want, "cut at {cut}: {error}");
    }
    let text = |cut: usize| Image::parse(&file[..cut]).unwrap_err().to_string();
    assert!(text(0x40).contains("the PE signature"), "{}", text(0x40));
    assert!(text(0x48).contains("the COFF header"), "{}", text(0x48));
    assert!(text(0x80).contains("the optional header"), "{}", text(0x80));
    assert!(
        text(0xe0).contains("the table of data directories"),
        "{}",
        text(0xe0)
    );
    assert!(
        text(0x150).contains("the header of section 1 of 12"),
        "{}",
        text(0x150)
    );
    assert!(text(0x3f0).contains("the headers"), "{}", text(0x3f0));
    assert!(
        text(0x600).contains("section `.text` needs 2560 bytes at offset 0x400, the file has 512"),
        "{}",
        text(0x600)
    );
    assert!(
        text(file.len() - 1).contains("section `.reloc`"),
        "{}",
        text(file.len() - 1)
    );
}

#[test]
fn a_cut_in_the_certificate_table_is_a_warning() {
    let mut file = driver();
    let end = file.len();
    patch(
        &mut file,
        DIRECTORIES + 4 * 8,
        &[(end as u32).to_le_bytes(), 0x1000u32.to_le_bytes()].concat(),
    );
    file.resize(end + 0x1000, 0);
    for cut in (end..end + 0x1000).step_by(512) {
        let image = Image::parse(&file[..cut]).unwrap();
        assert!(
            image
                .warnings
                .iter()
                .any(|warning| warning.contains("certificate table is cut")),
            "{:?}",
            image.warnings
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    /// Whatever bytes are changed, the answer is an image that maps, or an error that says something.
    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..24)) {
        let mut file = driver();
        for (index, value) in changes {
            let at = index.index(file.len());
            file[at] = value;
        }
        check(&file);
    }

    /// The same, with changes where the structures are: headers and tables.
    #[test]
    fn changed_words_of_structures_never_panic(
        changes in prop::collection::vec((0usize..0x400, prop_oneof![any::<u32>(), 0u32..0x10000, Just(u32::MAX)]), 1..4),
        table in prop::collection::vec((0usize..0x1600, any::<u32>()), 0..4),
    ) {
        let mut file = driver();
        let tables = 0x1000;
        for (at, value) in changes.into_iter().chain(table.into_iter().map(|(at, value)| (tables + at, value))) {
            let at = at.min(file.len() - 4);
            patch(&mut file, at, &value.to_le_bytes());
        }
        check(&file);
    }

    /// Bytes that only start like an image.
    #[test]
    fn garbage_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..2048), start in any::<bool>()) {
        if start && bytes.len() > 0x200 {
            let good = driver();
            bytes[..0x180].copy_from_slice(&good[..0x180]);
        }
        check(&bytes);
    }
}

fn check(file: &[u8]) {
    match Image::parse(file) {
        Ok(image) => assert_eq!(image.map(0xffff_f800_0000_0000).len(), image.size as usize),
        Err(error) => assert!(!error.what().is_empty() && !error.next().is_empty()),
    }
}
