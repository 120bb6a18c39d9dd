//! Files that are refused, each with its own words.

mod common;

use common::{DIRECTORIES, OPTIONAL, PE, SECTIONS, driver, patch, word};
use ring3_pe::{Image, ImageErrorKind as Kind, Options};

/// Parses and checks the kind and a piece of the text.
fn refuse(file: &[u8], kind: Kind, text: &str) {
    let error = Image::parse(file).expect_err(text);
    assert_eq!(error.kind(), kind, "{error}");
    assert!(
        error.to_string().contains(text),
        "`{error}` has no `{text}`"
    );
    assert!(!error.next().is_empty());
}

/// The driver with bytes changed.
fn changed(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = driver();
    patch(&mut file, at, bytes);
    file
}

#[test]
fn other_files_are_named() {
    refuse(b"", Kind::Empty, "the file is empty");
    refuse(
        b"hello, this is no driver\r\n",
        Kind::NotAnImage,
        "looks like a text file",
    );
    refuse(
        "\u{feff}[Version]\nSignature=\"$Windows NT$\"".as_bytes(),
        Kind::NotAnImage,
        "looks like a text file",
    );
    refuse(
        b"\xff\xfe[\0V\0",
        Kind::NotAnImage,
        "looks like a text file",
    );
    refuse(b"\x7fELF\x02\x01\x01\0", Kind::NotAnImage, "an ELF file");
    refuse(b"PK\x03\x04rest", Kind::NotAnImage, "a ZIP archive");
    refuse(
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        Kind::NotAnImage,
        ".msi",
    );
    refuse(b"PAGEDU64", Kind::NotAnImage, "crash dump");
    refuse(b"\xcf\xfa\xed\xfe\x07\0\0\x01", Kind::NotAnImage, "Mach-O");
    refuse(
        b"Microsoft C/C++ MSF 7.00\r\n\x1aDS\0\0\0",
        Kind::NotAnImage,
        "a PDB",
    );
    refuse(&[0; 100], Kind::NotAnImage, "only zero bytes");
    refuse(b"\x01\x02\x03\x04", Kind::NotAnImage, "01 02 03 04");
}

#[test]
fn dos_programs_and_cut_starts() {
    refuse(b"M", Kind::Truncated, "DOS header");
    refuse(b"MZ", Kind::Truncated, "the DOS header needs 64 bytes");
    refuse(
        &changed(60, &0u32.to_le_bytes()),
        Kind::NotAnImage,
        "no PE header",
    );
    refuse(
        &changed(60, &0xffff_fff0u32.to_le_bytes()),
        Kind::NotAnImage,
        "no PE header",
    );
    refuse(
        &changed(60, &0x200u32.to_le_bytes()),
        Kind::NotAnImage,
        "no PE header",
    );
    refuse(&changed(PE, b"NE"), Kind::NotAnImage, "16-bit");
}

#[test]
fn other_machines() {
    refuse(
        &changed(PE + 4, &0x14cu16.to_le_bytes()),
        Kind::Machine,
        "32-bit driver",
    );
    refuse(
        &changed(PE + 4, &0xaa64u16.to_le_bytes()),
        Kind::Machine,
        "ARM64 driver",
    );
    refuse(
        &changed(PE + 4, &0x1c4u16.to_le_bytes()),
        Kind::Machine,
        "32-bit ARM driver",
    );
    refuse(
        &changed(PE + 4, &0x200u16.to_le_bytes()),
        Kind::Machine,
        "Itanium",
    );
    refuse(
        &changed(PE + 4, &0x5064u16.to_le_bytes()),
        Kind::Machine,
        "0x5064",
    );
}

#[test]
fn dotnet_in_both_sizes() {
    refuse(
        &changed(DIRECTORIES + 14 * 8, &[0, 0x10, 0, 0, 72]),
        Kind::DotNet,
        ".NET assembly",
    );
    // PE32: the optional header is 16 bytes shorter before its directories.
    let mut file = changed(PE + 4, &0x14cu16.to_le_bytes());
    patch(&mut file, OPTIONAL + 92, &16u32.to_le_bytes());
    patch(&mut file, OPTIONAL + 96 + 14 * 8, &0x2008u32.to_le_bytes());
    refuse(&file, Kind::DotNet, ".NET assembly");
}

#[test]
fn user_mode_images() {
    let exe = changed(OPTIONAL + 68, &3u16.to_le_bytes());
    refuse(&exe, Kind::Subsystem, "user-mode program (EXE)");
    let mut dll = changed(OPTIONAL + 68, &2u16.to_le_bytes());
    patch(&mut dll, PE + 22, &0x2022u16.to_le_bytes());
    refuse(&dll, Kind::Subsystem, "user-mode library (DLL");
    refuse(
        &changed(OPTIONAL + 68, &11u16.to_le_bytes()),
        Kind::Subsystem,
        "UEFI",
    );
    refuse(
        &changed(OPTIONAL + 68, &99u16.to_le_bytes()),
        Kind::Subsystem,
        "subsystem 99",
    );
    assert_eq!(
        Image::parse_with(
            exe,
            Options {
                any_subsystem: true
            }
        )
        .unwrap()
        .subsystem,
        3
    );
}

#[test]
fn entry_points() {
    refuse(
        &changed(OPTIONAL + 16, &0u32.to_le_bytes()),
        Kind::EntryPoint,
        "no entry point",
    );
    refuse(
        &changed(OPTIONAL + 16, &0x0fff_0000u32.to_le_bytes()),
        Kind::EntryPoint,
        "0xfff0000",
    );
    refuse(
        &changed(OPTIONAL + 16, &0x40u32.to_le_bytes()),
        Kind::EntryPoint,
        "outside the image's sections",
    );
}

#[test]
fn absurd_sizes_and_counts() {
    refuse(
        &changed(OPTIONAL + 56, &0xffff_f000u32.to_le_bytes()),
        Kind::TooLarge,
        "SizeOfImage is 0xfffff000",
    );
    refuse(
        &changed(OPTIONAL + 56, &0x1000_0000u32.to_le_bytes()),
        Kind::TooLarge,
        "SizeOfImage is 0x10000000",
    );
    refuse(
        &changed(OPTIONAL + 108, &0x1000u32.to_le_bytes()),
        Kind::TooLarge,
        "4096 data directories",
    );
    refuse(
        &changed(PE + 6, &0xffffu16.to_le_bytes()),
        Kind::TooLarge,
        "65535 sections",
    );
    refuse(
        &changed(PE + 6, &0u16.to_le_bytes()),
        Kind::Header,
        "no sections",
    );
    refuse(
        &changed(SECTIONS + 8, &0xf000_0000u32.to_le_bytes()),
        Kind::TooLarge,
        "0xf0000000 bytes of memory",
    );
    refuse(
        &changed(SECTIONS + 16, &0xf000_0000u32.to_le_bytes()),
        Kind::TooLarge,
        "0xf0000000 bytes of the file",
    );
    refuse(
        &changed(OPTIONAL + 32, &0x1001u32.to_le_bytes()),
        Kind::Header,
        "SectionAlignment",
    );
    refuse(
        &changed(OPTIONAL + 36, &0u32.to_le_bytes()),
        Kind::Header,
        "FileAlignment",
    );
    refuse(
        &changed(OPTIONAL + 60, &0x10u32.to_le_bytes()),
        Kind::Header,
        "SizeOfHeaders",
    );
    refuse(
        &changed(OPTIONAL, &0x10bu16.to_le_bytes()),
        Kind::Header,
        "0x20b",
    );
    refuse(
        &changed(PE + 20, &16u16.to_le_bytes()),
        Kind::Header,
        "SizeOfOptionalHeader",
    );
    refuse(
        &changed(PE + 22, &0u16.to_le_bytes()),
        Kind::Header,
        "not marked as executable",
    );
    refuse(
        &changed(OPTIONAL + 24, &0x1_4000_1000u64.to_le_bytes()),
        Kind::Header,
        "ImageBase",
    );
}

#[test]
fn sections_that_overlap_or_leave_the_image() {
    // The second section over the first, and over the headers.
    refuse(
        &changed(SECTIONS + 40 + 12, &0x1000u32.to_le_bytes()),
        Kind::Section,
        "overlaps section 1 (`.text`)",
    );
    refuse(
        &changed(SECTIONS + 12, &0u32.to_le_bytes()),
        Kind::Section,
        "overlaps the headers",
    );
    refuse(
        &changed(SECTIONS + 12, &0x1010u32.to_le_bytes()),
        Kind::Section,
        "not a multiple",
    );
    let file = driver();
    let last = SECTIONS + 11 * 40;
    let size = word(&file, OPTIONAL + 56);
    refuse(
        &changed(last + 12, &size.to_le_bytes()),
        Kind::Section,
        "outside the image",
    );
}

#[test]
fn relocations_outside_and_of_other_kinds() {
    let file = driver();
    let data = word(&file, SECTIONS + 11 * 40 + 20) as usize;
    refuse(
        &changed(data, &0x00ff_f000u32.to_le_bytes()),
        Kind::Relocation,
        "outside the image",
    );
    refuse(
        &changed(data + 4, &4u32.to_le_bytes()),
        Kind::Relocation,
        "impossible size 0x4",
    );
    refuse(
        &changed(data + 4, &0x4000u32.to_le_bytes()),
        Kind::Relocation,
        "impossible size 0x4000",
    );
    refuse(
        &changed(data + 8, &0x3010u16.to_le_bytes()),
        Kind::Relocation,
        "kind 3",
    );
    refuse(
        &changed(DIRECTORIES + 5 * 8, &0x00ff_0000u32.to_le_bytes()),
        Kind::Relocation,
        "outside the image",
    );
}

#[test]
fn damaged_tables() {
    let file = driver();
    let imports = word(&file, SECTIONS + 4 * 40 + 20) as usize;
    let exports = word(&file, SECTIONS + 5 * 40 + 20) as usize;
    refuse(
        &changed(DIRECTORIES + 8, &0x0f00_0000u32.to_le_bytes()),
        Kind::Directory,
        "import descriptor 1",
    );
    refuse(
        &changed(imports + 12, &0x0f00_0000u32.to_le_bytes()),
        Kind::Directory,
        "module name",
    );
    refuse(
        &changed(imports, &0x0f00_0000u32.to_le_bytes()),
        Kind::Directory,
        "import 1 of ntoskrnl.exe",
    );
    refuse(
        &changed(DIRECTORIES, &0x0f00_0000u32.to_le_bytes()),
        Kind::Directory,
        "export directory",
    );
    refuse(
        &changed(exports + 20, &0x7fff_ffffu32.to_le_bytes()),
        Kind::TooLarge,
        "2147483647 exports",
    );
    refuse(
        &changed(exports + 28, &0x0f00_0000u32.to_le_bytes()),
        Kind::Directory,
        "export 0",
    );
    refuse(
        &changed(DIRECTORIES + 3 * 8 + 4, &0x7fff_fff0u32.to_le_bytes()),
        Kind::TooLarge,
        "function table",
    );
    refuse(
        &changed(DIRECTORIES + 3 * 8, &0x0f00_0000u32.to_le_bytes()),
        Kind::Directory,
        "function table",
    );
}

#[test]
fn what_a_load_can_do_without_is_a_warning() {
    let warned = |file: &[u8], text: &str| {
        let image = Image::parse(file).unwrap();
        assert!(
            image.warnings.iter().any(|warning| warning.contains(text)),
            "{:?}",
            image.warnings
        );
        image
    };
    assert_eq!(
        warned(
            &changed(DIRECTORIES + 2 * 8, &0x0f00_0000u32.to_le_bytes()),
            "resource directory"
        )
        .version,
        None
    );
    assert_eq!(
        warned(
            &changed(DIRECTORIES + 6 * 8, &0x0f00_0000u32.to_le_bytes()),
            "debug directory"
        )
        .debug,
        None
    );
    warned(
        &changed(OPTIONAL + 64, &1u32.to_le_bytes()),
        "the header states 0x1",
    );
    warned(
        &changed(SECTIONS + 36, &0xe000_0020u32.to_le_bytes()),
        "both writable and executable",
    );
    warned(
        &changed(SECTIONS + 2 * 40 + 36, &0x6000_0020u32.to_le_bytes()),
        "not marked discardable",
    );

    // A certificate table that is cut or garbage.
    let mut signed = driver();
    let end = signed.len() as u32;
    patch(
        &mut signed,
        DIRECTORIES + 4 * 8,
        &[end.to_le_bytes(), 0x100u32.to_le_bytes()].concat(),
    );
    assert_eq!(warned(&signed, "certificate table is cut").signature, None);
    signed.extend_from_slice(&[0x100u32.to_le_bytes(), [0, 2, 2, 0]].concat());
    signed.resize(end as usize + 0x100, 0x30);
    assert_eq!(warned(&signed, "the signature at offset").signature, None);
}
