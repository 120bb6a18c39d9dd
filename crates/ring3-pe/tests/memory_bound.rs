//! Parsing and mapping take at most twice the file plus 64 MiB, whatever the file claims. One test, as it counts the memory of
//! the whole process.

mod common;

use common::{DIRECTORIES, OPTIONAL, SECTIONS, driver, patch, word};
use peak_alloc::PeakAlloc;
use ring3_pe::Image;

#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

/// Parses and maps, and checks the peak.
fn bounded(what: &str, file: Vec<u8>) {
    let len = file.len();
    PEAK.reset_peak_usage();
    let before = PEAK.current_usage();
    let parsed = Image::parse(file).map(|image| image.map(0xffff_f800_0000_0000).len());
    let peak = PEAK.peak_usage() - before;
    assert!(
        peak <= len + (64 << 20),
        "{what}: {peak} bytes for a file of {len} ({parsed:?})"
    );
}

/// A driver whose last section, `fill`, has `len` bytes made by `make` from the section's RVA.
fn with_section(len: usize, make: impl Fn(u32) -> Vec<u8>) -> (Vec<u8>, u32) {
    let mut plan = common::plan();
    let rva = plan.next_rva();
    let mut data = make(rva);
    data.resize(len, 0);
    plan.section("fill", ring3_pe::build::SectionFlags::DATA, data);
    (plan.build(common::BASE).unwrap().file, rva)
}

fn words(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

#[test]
fn hostile_files_take_bounded_memory() {
    for size in [0x10_0000u32, 0x300_0000, 0x7fff_f000, u32::MAX] {
        let mut file = driver();
        patch(&mut file, OPTIONAL + 56, &size.to_le_bytes());
        bounded("SizeOfImage", file);
    }
    for field in [8, 16] {
        let mut file = driver();
        patch(&mut file, SECTIONS + field, &0x7fff_ffffu32.to_le_bytes());
        bounded("section size", file);
    }
    // A function table as large as the file.
    let (mut file, rva) = with_section(8 << 20, |_| {
        words((0..700_000).flat_map(|_| [0x1000, 0x1010, 0x1000]))
    });
    patch(&mut file, DIRECTORIES + 3 * 8, &words([rva, 8 << 20]));
    assert_eq!(Image::parse(file.clone()).unwrap().functions.len(), 699_050);
    bounded("functions", file);

    // All exports are forwarders to one long string, and all names are one.
    let string = 40 + 0x1_0000 * 10;
    let (mut file, rva) = with_section(1 << 20, |rva| {
        let mut data = words([
            0,
            0,
            0,
            0,
            1,
            0x1_0000,
            0x1_0000,
            rva + 40,
            rva + 40 + 0x4_0000,
            rva + 40 + 0x8_0000,
        ]);
        data.extend(words((0..0x2_0000).map(|_| rva + string)));
        data.resize(string as usize, 0);
        data.resize(string as usize + 4_096, b'a');
        data
    });
    patch(&mut file, DIRECTORIES, &words([rva, 1 << 20]));
    bounded("exports", file);

    // Import descriptors that all share one large table of one long name.
    let (mut file, rva) = with_section(2 << 20, |rva| {
        let (thunks, name) = (rva + 0x1_0000, rva + 0x4000);
        let mut data = words((0..500).flat_map(|_| [thunks, 0, 0, name + 2, thunks]));
        data.resize(0x4002, 0);
        data.resize(0x4002 + 200, b'b');
        data.resize(0x1_0000, 0);
        data.extend(words((0..200_000).flat_map(|_| [name, 0])));
        data
    });
    patch(&mut file, DIRECTORIES + 8, &words([rva, 0x4000]));
    assert!(word(&file, DIRECTORIES + 8) != 0);
    bounded("imports", file);
}
