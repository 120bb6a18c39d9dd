//! What the tests of the facade share.
#![allow(dead_code, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ring3::Session;
use ring3::nt::machine::boot::Config;

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file below `labs/`.
pub fn lab(path: &str) -> PathBuf {
    root().join("labs").join(path)
}

/// The first driver: a driver without mistakes.
pub fn first_driver() -> PathBuf {
    lab("first-driver/first-driver.sys")
}

/// The self test that `RING3_CLONE_EVERY` asks for: clone the machine every so many host calls.
pub fn clone_every() -> u64 {
    std::env::var("RING3_CLONE_EVERY")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

/// A session with a processor count and a seed, in the mode that `RING3_CLONE_EVERY` asks for.
pub fn session(processors: usize, seed: u64) -> Session {
    let mut session = Session::new(&Config {
        processors,
        seed,
        ..Config::default()
    });
    session.machine.clone_every(clone_every());
    session
}

/// The program, with arguments.
pub fn ring3(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ring3"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

/// Its exit code.
pub fn code(output: &Output) -> i32 {
    output
        .status
        .code()
        .unwrap_or_else(|| panic!("ended by a signal: {}", stderr(output)))
}

/// Its standard output as text.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Its standard error as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
