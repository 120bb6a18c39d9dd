//! Files that are no drivers: a clear message and exit code 2, never a panic.
#![allow(missing_docs)]

mod common;

use std::path::{Path, PathBuf};

use common::{code, first_driver, ring3, stderr};

/// A file in a directory of its own that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&directory).expect("a scratch directory");
        Self(directory)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).expect("a scratch file");
        path.to_string_lossy().into_owned()
    }
}

/// Runs and imports refuse the file alike, and say its name.
fn refused(path: &str, words: &[&str]) {
    for command in ["run", "imports"] {
        let output = ring3(&[command, path]);
        let text = stderr(&output);
        assert_eq!(code(&output), 2, "{command} {path}: {text}");
        assert!(
            text.contains(path),
            "{command}: the message does not name {path}: {text}"
        );
        assert!(!text.contains("panicked"), "{text}");
        for word in words {
            assert!(text.contains(word), "{command}: no {word:?} in: {text}");
        }
    }
}

#[test]
fn what_is_no_driver_at_all() {
    let scratch = Scratch::new("no-driver");
    refused(&scratch.file("empty.sys", b""), &["empty"]);
    refused(
        &scratch.file(
            "text.sys",
            b"This is the read-me of the driver.\r\nIt is text.\r\n",
        ),
        &[],
    );
    refused(&scratch.file("mz.sys", b"MZ"), &[]);
    refused(&scratch.file("zeros.sys", &[0; 4096]), &[]);
    refused("there/is/no/such.sys", &[]);
    refused(&scratch.0.to_string_lossy(), &[]);
}

#[test]
fn a_driver_cut_anywhere() {
    let whole = std::fs::read(first_driver()).expect("the first driver is in the repository");
    let scratch = Scratch::new("cut");
    for length in (0..whole.len()).step_by(512) {
        let path = scratch.file("cut.sys", &whole[..length]);
        let output = ring3(&["run", &path]);
        assert_eq!(
            code(&output),
            2,
            "cut to {length} bytes: {}",
            stderr(&output)
        );
        assert!(
            !stderr(&output).contains("panicked"),
            "cut to {length} bytes: {}",
            stderr(&output)
        );
    }
}

#[test]
fn drivers_for_other_machines() {
    let mut image = std::fs::read(first_driver()).expect("the first driver is in the repository");
    let header = u32::from_le_bytes(image[0x3c..0x40].try_into().expect("four bytes")) as usize;
    let scratch = Scratch::new("machines");
    for (machine, name) in [(0x014cu16, "x86"), (0xaa64, "ARM64"), (0x01c4, "ARM")] {
        image[header + 4..header + 6].copy_from_slice(&machine.to_le_bytes());
        refused(&scratch.file(&format!("{name}.sys"), &image), &[]);
    }
}

#[test]
fn damaged_headers_never_panic() {
    let image = std::fs::read(first_driver()).expect("the first driver is in the repository");
    let header = u32::from_le_bytes(image[0x3c..0x40].try_into().expect("four bytes")) as usize;
    let scratch = Scratch::new("damaged");
    for at in (header..header + 0x108).step_by(4) {
        let mut damaged = image.clone();
        damaged[at..at + 4].copy_from_slice(&[0xff; 4]);
        let output = ring3(&[
            "run",
            "--budget",
            "10000000",
            &scratch.file("damaged.sys", &damaged),
        ]);
        assert!(
            !stderr(&output).contains("panicked"),
            "damaged at {at:#x}: {}",
            stderr(&output)
        );
        assert!((0..=4).contains(&code(&output)), "damaged at {at:#x}");
    }
}

#[test]
fn bad_usage() {
    let driver = first_driver();
    let driver = driver.to_string_lossy();
    for arguments in [
        &["run"] as &[&str],
        &["fly", &driver],
        &["run", &driver, "--cpus", "0"],
        &["run", &driver, "--cpus", "65"],
        &["run", &driver, "--seed", "x"],
        &["run", &driver, "--trace", "everything"],
        &["run", &driver, "--scenario", "no/such.rhai"],
        &["run", &driver, "--with", "no/such.sys"],
        &["lab", "run", "no-such-lab"],
    ] {
        let output = ring3(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", stderr(&output));
        assert!(!stderr(&output).is_empty(), "{arguments:?} says nothing");
    }
}

#[test]
fn scenarios_that_are_wrong() {
    let scratch = Scratch::new("scenarios");
    let driver = first_driver();
    let driver = driver.to_string_lossy();
    for (name, script, line) in [
        ("syntax.rhai", "let a = 1;\nlet b = ;\n", "line 2"),
        ("unknown.rhai", "\n\nfly(1);\n", "line 3"),
        (
            "type.rhai",
            "check(1, \"a number is no truth\");\n",
            "line 1",
        ),
        ("blob.rhai", "let b = blob(\"0x12\");\n", "line 1"),
        ("endless.rhai", "let n = 0;\nloop { n += 1; }\n", "line 2"),
        ("clock.rhai", "let t = timestamp();\n", "line 1"),
        ("sleep.rhai", "sleep(1);\n", "line 1"),
        (
            "code.rhai",
            "let h = process(\"a\").open(`\\\\.\\FirstDriver`);\nh.ioctl(-1);\n",
            "line 2",
        ),
        ("thread.rhai", "process(\"a\").thread(|| 1);\n", "line 1"),
    ] {
        let path = scratch.file(name, script.as_bytes());
        let output = ring3(&["run", &driver, "--scenario", &path]);
        let all = format!("{}{}", common::stdout(&output), stderr(&output));
        assert_eq!(code(&output), 2, "{name}: {all}");
        assert!(all.contains(line), "{name}: no {line:?} in: {all}");
        assert!(all.contains(name), "{name} is not named in: {all}");
    }
}
