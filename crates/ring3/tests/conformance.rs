//! The committed conformance driver, on one processor and on several: every assertion holds, and
//! nothing that it does is a finding but the misuse whose outcome it asserts.
#![allow(missing_docs)]

mod common;

use ring3::nt::machine::boot::Config;
use ring3::report::Report;
use ring3::{DriverFile, run};

/// There are at least so many assertions: a group that is never reached does not pass unseen.
const ASSERTIONS: u32 = 1200;

fn conforms(processors: usize, seed: u64) {
    let folder = common::root().join("conformance");
    let driver = DriverFile::read(folder.join("conformance.sys"))
        .expect("the conformance driver is in the repository");
    let options = run::Options {
        config: Config {
            processors,
            seed,
            ..Config::default()
        },
        scenario: Some(folder.join("conformance.rhai")),
        clone_every: common::clone_every(),
        ..run::Options::default()
    };
    let session = run::run(&driver, &options).expect("the scenario is in the repository");
    let printed: Vec<&str> = session
        .machine
        .dbg
        .messages
        .iter()
        .flat_map(|message| message.text.lines())
        .collect();
    let failed: Vec<&&str> = printed
        .iter()
        .filter(|line| line.starts_with("FAILED"))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let report = Report::new(driver.name.as_str(), &session, seed);
    let rules: Vec<&str> = report.unexpected_findings().map(|f| f.rule).collect();
    assert!(rules.is_empty(), "findings: {rules:?}");
    assert_eq!(report.exit_code(), 0, "{:?}", session.story);
    let total = printed
        .iter()
        .find_map(|line| line.strip_prefix("conformance: "))
        .unwrap_or_else(|| panic!("the driver did not come to its end: {printed:#?}"));
    let passed = total
        .strip_suffix(" passed, 0 failed")
        .and_then(|number| number.parse::<u32>().ok());
    assert!(passed >= Some(ASSERTIONS), "{total}");
}

#[test]
fn one_processor() {
    conforms(1, 0);
}

#[test]
fn two_processors() {
    conforms(2, 1);
}

#[test]
fn four_processors() {
    conforms(4, 2);
}
