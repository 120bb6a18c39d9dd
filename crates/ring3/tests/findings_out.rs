//! Findings on their way out: SARIF, JUnit, accepted findings, the exit code.
#![allow(missing_docs)]

mod common;

use std::path::{Path, PathBuf};

use common::{code, lab, ring3, stderr, stdout};
use serde_sarif::sarif::Sarif;

/// A run that leaks and that another driver's scenario does not expect to.
const LEAK: &str = r#"
let app = process("app.exe");
let h = app.open(`\\.\FirstDriver`);
check(h.ioctl(0x222000, blob("68 69"), 2).status == 0, "the echo succeeds");
check(1 == 2, "one & two <are> \"equal\"");
h.close();
driver().unload();
"#;

fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn run(folder: &Path, script: &str, more: &[&str]) -> std::process::Output {
    let scenario = folder.join("scenario.rhai");
    std::fs::write(&scenario, script).expect("a file");
    let driver = lab("first-driver/first-driver-wrong-leak.sys");
    let mut arguments = vec!["run", driver.to_str().expect("UTF-8"), "--scenario"];
    arguments.push(scenario.to_str().expect("UTF-8"));
    arguments.extend(more);
    ring3(&arguments)
}

#[test]
fn sarif_is_what_the_schema_says() {
    let folder = folder("sarif");
    let file = folder.join("out.sarif");
    let output = run(&folder, LEAK, &["--sarif", file.to_str().expect("UTF-8")]);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let text = std::fs::read_to_string(&file).expect("the file was written");
    // The types are made from the schema of the standard.
    let log: Sarif = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let run = log.runs.first().expect("one run");
    let results = run.results.as_deref().unwrap_or_default();
    let ids: Vec<&str> = results
        .iter()
        .filter_map(|r| r.rule_id.as_deref())
        .collect();
    assert_eq!(ids, ["pool/leak", "run/check-failed"]);
    let rules = run.tool.driver.rules.as_deref().unwrap_or_default();
    for id in ids {
        assert!(rules.iter().any(|rule| rule.id == id), "{id} has no rule");
    }
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let physical = &value["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    let uri = physical["artifactLocation"]["uri"].as_str();
    assert_eq!(uri, Some("labs/first-driver/first-driver.c"), "{physical}");
}

#[test]
fn junit_has_a_case_for_each() {
    let folder = folder("junit");
    let file = folder.join("out.xml");
    let output = run(&folder, LEAK, &["--junit", file.to_str().expect("UTF-8")]);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let text = std::fs::read_to_string(&file).expect("the file was written");
    // run, two checks, one finding.
    assert!(text.contains(r#"tests="4""#), "{text}");
    assert!(text.contains(r#"failures="2""#), "{text}");
    assert!(text.contains("one &amp; two &lt;are&gt;"), "{text}");
    assert!(text.contains(r#"type="pool/leak""#), "{text}");
}

#[test]
fn a_baseline_makes_the_next_run_clean_and_says_when_it_is_stale() {
    let folder = folder("baseline");
    let script = LEAK.replace("check(1 == 2", "check(1 == 1");
    let file = folder.join("accepted.toml");
    let path = file.to_str().expect("UTF-8");
    let first = run(&folder, &script, &["--write-baseline", path]);
    assert_eq!(code(&first), 1, "{}", stdout(&first));
    let second = run(&folder, &script, &["--accept", path]);
    assert_eq!(code(&second), 0, "{}", stdout(&second));
    assert!(
        stdout(&second).contains("accepted: "),
        "{}",
        stdout(&second)
    );

    let clean = lab("first-driver/first-driver.sys");
    let third = ring3(&["run", clean.to_str().expect("UTF-8"), "--accept", path]);
    assert_eq!(code(&third), 0, "{}", stdout(&third));
    assert!(stdout(&third).contains("stale:"), "{}", stdout(&third));
}

#[test]
fn an_accepted_finding_needs_a_reason() {
    let folder = folder("reason");
    let file = folder.join("accepted.toml");
    let path = file.to_str().expect("UTF-8");
    for (text, complaint) in [
        (
            "[[accept]]\nrule = \"pool/leak\"\nmodule = \"x.sys\"\nreason = \" \"\n",
            "without a reason",
        ),
        ("[[accept]]\nrule = \"pool/leak\"\n", "module"),
        ("not toml", "accepted findings"),
    ] {
        std::fs::write(&file, text).expect("a file");
        let output = run(&folder, LEAK, &["--accept", path]);
        assert_eq!(code(&output), 2);
        assert!(stderr(&output).contains(complaint), "{}", stderr(&output));
    }
}

#[test]
fn severity_decides() {
    let folder = folder("severity");
    let script = LEAK.replace("check(1 == 2", "check(1 == 1");
    let output = run(&folder, &script, &["--fail-on", "never"]);
    assert_eq!(code(&output), 0, "{}", stdout(&output));
    let output = run(&folder, &script, &["--fail-on", "error"]);
    assert_eq!(code(&output), 1, "{}", stdout(&output));
}

#[test]
fn every_rule_is_told() {
    let output = ring3(&["rules", "pool/leak"]);
    assert_eq!(code(&output), 0);
    assert!(stdout(&output).contains("unloaded"), "{}", stdout(&output));
    let output = ring3(&["rules", "pool", "--json"]);
    let list: Vec<serde_json::Value> = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert!(list.len() > 5, "{list:?}");
    assert_eq!(code(&ring3(&["rules", "no/such-rule"])), 2);
}
