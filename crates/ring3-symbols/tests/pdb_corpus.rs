//! PDBs of several toolchains from the corpus folder (RING3_CORPUS, by default beside the project), against what independent
//! tools say of them.

use std::path::PathBuf;

use ring3_symbols::{SymbolError, SymbolFile};

/// A file of the corpus's pdb folder; none, said on stderr, where there is no corpus.
fn corpus(name: &str) -> Option<Vec<u8>> {
    let root = std::env::var_os("RING3_CORPUS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"),
        PathBuf::from,
    );
    let path = root.join("pdb").join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            eprintln!("skipped: {}: {error} (set RING3_CORPUS)", path.display());
            None
        }
    }
}

#[test]
fn counts_and_identity_are_those_of_llvm_pdbutil() {
    for (name, guid, age, procedures) in [
        (
            "ComplexPaddingTest.pdb",
            "21E01E7C-9146-455C-9599-E13573C1E645",
            1,
            50,
        ),
        (
            "CrashWithException.pdb",
            "F535C5FB-2AE8-4BB8-AA20-6C30BE566C5A",
            1,
            77,
        ),
        (
            "every-class.pdb",
            "3B94C326-9F58-4E5A-9878-255C8B5CE4FC",
            1,
            20,
        ),
        (
            "every-function.pdb",
            "B5424085-4FFF-46D8-9D71-06E5B485BA86",
            2,
            30,
        ),
        (
            "seh-x64-xcpt4.pdb",
            "C8C2329E-0E99-49E6-8B6F-132BECA69E7E",
            1,
            277,
        ),
        ("Stripped.pdb", "629B4FFF-9AD9-4746-97A7-22C702B1E053", 2, 0),
    ] {
        let Some(bytes) = corpus(name) else { return };
        let file = SymbolFile::from_pdb(bytes).unwrap();
        let g = file.guid();
        let text = format!(
            "{:02X}{:02X}{:02X}{:02X}-{:02X}{:02X}-{:02X}{:02X}-{:02X}{:02X}-{:02X}{:02X}{:02X}{:02X}{:02X}{:02X}",
            g[3],
            g[2],
            g[1],
            g[0],
            g[5],
            g[4],
            g[7],
            g[6],
            g[8],
            g[9],
            g[10],
            g[11],
            g[12],
            g[13],
            g[14],
            g[15]
        );
        assert_eq!(
            (text.as_str(), file.age(), file.functions().len()),
            (guid, age, procedures),
            "{name}"
        );
        assert_eq!(file.warnings(), Vec::<String>::new(), "{name}");
        for function in file.functions() {
            let inside = file.function_at(function.rva + function.size / 2).unwrap();
            assert_eq!(
                (inside.rva, inside.size),
                (function.rva, function.size),
                "{name}: {}",
                function.name
            );
            assert!(
                file.address_of(&function.name)
                    .is_some_and(|rva| rva <= function.rva),
                "{name}: {}",
                function.name
            );
        }
    }
}

/// One `FUNC` of a Breakpad symbol file: address, size, and lines as (address, size, line, file).
struct Golden {
    address: u32,
    size: u32,
    lines: Vec<(u32, u32, u32, u32)>,
}

#[test]
fn functions_and_lines_are_those_of_breakpad() {
    let (Some(pdb), Some(golden)) = (
        corpus("CrashWithException.pdb"),
        corpus("CrashWithException.pdb.sym"),
    ) else {
        return;
    };
    let file = SymbolFile::from_pdb(pdb).unwrap();
    let text = String::from_utf8(golden).unwrap();
    let hex = |field: &str| u32::from_str_radix(field, 16).unwrap();
    let mut files: Vec<(u32, String)> = Vec::new();
    let mut functions: Vec<Golden> = Vec::new();
    let mut folded: Vec<(u32, u32)> = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        match fields[..] {
            ["FILE", id, ..] => files.push((id.parse().unwrap(), fields[2..].join(" "))),
            // Marked `m`: the linker folded equal functions into one; whose lines these are is a matter of choice.
            ["FUNC", "m", address, size, ..] => folded.push((hex(address), hex(size))),
            ["FUNC", address, size, ..] => {
                functions.push(Golden {
                    address: hex(address),
                    size: hex(size),
                    lines: Vec::new(),
                });
            }
            [address, size, line, id] if address.chars().all(|c| c.is_ascii_hexdigit()) => {
                let line = (
                    hex(address),
                    hex(size),
                    line.parse().unwrap(),
                    id.parse().unwrap(),
                );
                functions.last_mut().unwrap().lines.push(line);
            }
            _ => {}
        }
    }
    assert!(functions.len() > 50, "the golden file has functions");
    let in_folded = |rva: u32| {
        folded
            .iter()
            .any(|(start, size)| (*start..start + size).contains(&rva))
    };
    let mut checked = 0;
    for function in &functions {
        let found = file
            .function_at(function.address)
            .unwrap_or_else(|| panic!("{:#x}", function.address));
        assert_eq!(found.rva, function.address, "{}", found.name);
        // Lines without code of their own are in the golden file, too.
        for &(address, size, line, id) in function
            .lines
            .iter()
            .filter(|line| line.1 > 0 && !in_folded(line.0))
        {
            let name = files
                .iter()
                .find(|(known, _)| *known == id)
                .map(|(_, name)| name.to_lowercase())
                .unwrap();
            for rva in [address, address + size - 1] {
                let got = file
                    .line_at(rva)
                    .unwrap_or_else(|| panic!("{rva:#x} of {} has no line", found.name));
                assert_eq!(
                    (got.line, got.file.to_lowercase()),
                    (line, name.clone()),
                    "{rva:#x} of {}",
                    found.name
                );
            }
            checked += 1;
        }
        assert!(function.size > 0);
    }
    assert!(checked > 200, "{checked} lines");
}

#[test]
fn public_names_are_undecorated() {
    let Some(bytes) = corpus("CrashWithException.pdb") else {
        return;
    };
    let file = SymbolFile::from_pdb(bytes).unwrap();
    let main = file.address_of("main").unwrap();
    assert_eq!(file.function_at(main).unwrap().name, "main");
    // std::exception::what is both a private function and a decorated public symbol.
    let what = file.address_of("std::exception::what").unwrap();
    assert_eq!(
        file.address_of("?what@exception@std@@UEBAPEBDXZ"),
        Some(what)
    );
    assert_eq!(file.address_of("no such name"), None);
}

#[test]
fn other_files_are_refused_by_name() {
    let refuse = |bytes: &[u8], want: &str| {
        let error = SymbolFile::from_pdb(bytes).unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
    };
    refuse(b"", "it is empty");
    refuse(b"MZ\x90\0", "it is an image");
    refuse(b"BSJB\x01\0\x01\0", "portable PDB");
    refuse(
        b"Microsoft C/C++ program database 2.00\r\n\x1aJG\0\0",
        "2.00",
    );
    refuse(b"Microsoft C/C++ MSF", "cut");
    refuse(b"plain text", "does not start as one");
    let mut block = b"Microsoft C/C++ MSF 7.00\r\n\x1aDS\0\0\0".to_vec();
    refuse(&block, "the superblock");
    block.resize(0x1000, 0xff);
    refuse(&block, "page size 4294967295");
}

#[test]
fn cut_and_changed_pdbs_are_errors_not_panics() {
    let Some(whole) = corpus("every-function.pdb") else {
        return;
    };
    for cut in (0..whole.len()).step_by(1_009) {
        assert!(SymbolFile::from_pdb(&whole[..cut]).is_err(), "cut at {cut}");
    }
    // A change in every page: an answer or an error.
    let mut state = 0x1234_5678_u32;
    for round in 0..400 {
        let mut bytes = whole.clone();
        for _ in 0..8 {
            // xorshift32
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            let at = state as usize % bytes.len();
            bytes[at] = (state >> 24) as u8;
        }
        match SymbolFile::from_pdb(bytes) {
            Ok(file) => assert!(file.functions().len() <= 64, "round {round}"),
            Err(SymbolError::Damaged { what, .. }) => {
                assert_ne!(what, "the reader gave up", "round {round}")
            }
            Err(_) => {}
        }
    }
}
