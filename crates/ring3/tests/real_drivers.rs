//! Drivers as they ship, from the folder that `RING3_DRIVERS` names.
#![allow(missing_docs)]

mod common;

use std::path::PathBuf;

use common::{code, ring3, stderr, stdout};
use ring3::DriverFile;
use ring3::nt::memory::Gpa;
use ring3::session::{LoadOptions, OpenOptions};
use serde_json::Value;

/// A shipped driver; without it the test is skipped, visibly.
fn shipped(name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("RING3_DRIVERS") else {
        eprintln!("skipped: RING3_DRIVERS does not name a folder with {name}");
        return None;
    };
    let path = PathBuf::from(folder).join(name);
    if !path.is_file() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

const GET_INFO: u32 = 0x0022_c40c;
const SET_MODE: u32 = 0x0022_c404;

/// Its device, its memory ranges, and the kernel's first page read in three ways.
#[test]
fn winpmem_reads_physical_memory() {
    let Some(path) = shipped("winpmem_x64.sys") else {
        return;
    };
    let file = DriverFile::read(path).expect("a driver");
    for (processors, seed) in [(1, 0), (2, 4)] {
        let mut session = common::session(processors, seed);
        let driver = session
            .load(&file, &LoadOptions::default())
            .unwrap_or_else(|e| panic!("{e}"));
        let app = session.process("winpmem.exe").expect("starts");
        let pmem = app
            .open(&mut session, r"\\.\pmem", &OpenOptions::default())
            .unwrap_or_else(|e| panic!("{e}"));
        let info = pmem
            .ioctl(&mut session, GET_INFO, b"", 102_400)
            .expect("is carried out");
        assert!(info.status.is_success(), "{}", info.status);
        let ranges = session.machine.physical_memory_ranges();
        assert_eq!(word(&info.output, 0x930), ranges.len() as u64);
        let kernel = word(&info.output, 0x10);
        let physical = session
            .machine
            .physical(kernel)
            .expect("the kernel is mapped")
            .0;
        let mut expected = vec![0; 4096];
        session
            .machine
            .memory
            .read_physical(Gpa(physical), &mut expected)
            .expect("RAM");
        assert_eq!(&expected[..2], b"MZ");
        for mode in [1u8, 0, 2] {
            let set = pmem
                .ioctl(&mut session, SET_MODE, &[mode, 0, 0, 0], 0)
                .expect("is carried out");
            assert!(set.status.is_success(), "mode {mode}: {}", set.status);
            let read = pmem
                .read(&mut session, 4096, Some(physical))
                .expect("is carried out");
            assert_eq!(
                (read.status.is_success(), read.information),
                (true, 4096),
                "mode {mode}"
            );
            let different = read.output.iter().zip(&expected).position(|(a, b)| a != b);
            assert_eq!(
                different,
                None,
                "mode {mode}, {processors} processors: {:02x?}",
                read.output.get(..64)
            );
        }
        let short = pmem
            .ioctl(&mut session, GET_INFO, b"", 16)
            .expect("is carried out");
        assert!(!short.status.is_success(), "16 bytes are too few");
        pmem.close(&mut session).expect("is carried out");
        let status = driver.unload(&mut session).expect("is carried out");
        assert!(status.is_success(), "{status}");
        session.unload_all().expect("nothing is left behind");
    }
}

#[test]
fn winpmem_runs_clean_without_a_scenario() {
    let Some(path) = shipped("winpmem_x64.sys") else {
        return;
    };
    let output = ring3(&["run", "--json", &path.to_string_lossy()]);
    let value: Value = serde_json::from_str(&stdout(&output))
        .unwrap_or_else(|e| panic!("{e}: {}", stderr(&output)));
    assert_eq!(value["driver_entry"], "0x00000000", "{value}");
    assert_eq!(value["devices"], serde_json::json!([r"\Device\pmem"]));
    assert_eq!(code(&output), 0, "{value}");
}

/// Frameworks that are not modelled yet: the run stops at the first routine that is missing, named
/// with its caller.
#[test]
fn framework_drivers_stop_at_what_is_missing() {
    for name in [
        "WinDivert64-2.1.0.sys",
        "WinDivert64-4.0.1.sys",
        "ViGEmBus.sys",
    ] {
        let Some(path) = shipped(name) else { continue };
        let output = ring3(&["run", "--json", &path.to_string_lossy()]);
        let value: Value = serde_json::from_str(&stdout(&output))
            .unwrap_or_else(|e| panic!("{name}: {e}: {}", stderr(&output)));
        assert_eq!(code(&output), 4, "{name}: {value}");
        assert_eq!(value["outcome"], "unmodelled");
        let unmodelled = &value["unmodelled"];
        assert!(
            unmodelled["routine"]
                .as_str()
                .is_some_and(|r| r.contains("WdfVersionBind")),
            "{name}: {unmodelled}"
        );
        assert_eq!(unmodelled["module"], name);
        assert!(
            unmodelled["caller"]
                .as_str()
                .is_some_and(|c| c.contains('+')),
            "{name}: {unmodelled}"
        );
        assert!(
            value["imports"]["missing"]
                .as_array()
                .is_some_and(|m| !m.is_empty()),
            "{name}"
        );
    }
}

/// 32-bit drivers are refused by name.
#[test]
fn a_32_bit_driver_is_refused() {
    let Some(path) = shipped("winpmem_x86.sys") else {
        return;
    };
    let output = ring3(&["run", &path.to_string_lossy()]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("32-bit"), "{}", stderr(&output));
}
