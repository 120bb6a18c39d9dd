//! What the commands print.
#![allow(missing_docs)]

mod common;

use common::{code, first_driver, ring3, stderr, stdout};
use serde_json::Value;

fn json(arguments: &[&str]) -> Value {
    let output = ring3(arguments);
    serde_json::from_str(&stdout(&output))
        .unwrap_or_else(|e| panic!("{arguments:?}: {e}: {}", stderr(&output)))
}

#[test]
fn a_first_run_fits_one_screen() {
    let driver = first_driver();
    let output = ring3(&["run", &driver.to_string_lossy()]);
    let text = stdout(&output);
    assert_eq!(code(&output), 0, "{text}{}", stderr(&output));
    assert!(
        text.lines().count() <= 24,
        "{} lines:\n{text}",
        text.lines().count()
    );
    assert!(text.contains("first-driver.sys"), "{text}");
    assert!(text.contains(r"\Device\FirstDriver"), "{text}");
    assert!(text.contains("unloaded"), "{text}");
    assert!(
        text.lines().last().is_some_and(|l| l.starts_with("clean:")),
        "{text}"
    );
    assert!(!text.contains('\x1b'), "colours into a pipe");
}

#[test]
fn run_prints_one_json_object() {
    let driver = first_driver();
    let value = json(&["run", "--json", &driver.to_string_lossy()]);
    for key in [
        "schema",
        "driver",
        "seed",
        "cpus",
        "recording",
        "outcome",
        "checks",
        "driver_entry",
        "bugcheck",
        "unmodelled",
        "findings",
        "devices",
        "links",
        "interfaces",
        "imports",
        "calls",
        "instructions",
        "virtual_time_ns",
        "trace_hash",
    ] {
        assert!(value.get(key).is_some(), "no {key} in {value}");
    }
    assert_eq!(value["driver"], "first-driver.sys");
    assert_eq!(value["outcome"], "clean");
    assert_eq!(value["driver_entry"], "0x00000000");
    assert_eq!(value["bugcheck"], Value::Null);
    assert_eq!(
        value["devices"],
        serde_json::json!([r"\Device\FirstDriver"])
    );
    assert_eq!(value["calls"]["IoCreateDevice"], 1);
    assert_eq!(value["calls"]["IoDeleteDevice"], 1);
    assert!(value["instructions"].as_u64().is_some_and(|n| n > 100));
}

#[test]
fn seeds_and_processors_are_told() {
    let driver = first_driver();
    let value = json(&[
        "run",
        "--json",
        "--cpus",
        "4",
        "--seed",
        "7",
        &driver.to_string_lossy(),
    ]);
    assert_eq!(
        (value["cpus"].as_u64(), value["seed"].as_u64()),
        (Some(4), Some(7))
    );
    assert_eq!(value["outcome"], "clean");
}

#[test]
fn imports_are_listed_with_their_status() {
    let driver = first_driver();
    let value = json(&["imports", "--json", &driver.to_string_lossy()]);
    let imports = value["imports"].as_array().expect("an array");
    let create = imports
        .iter()
        .find(|i| i["name"] == "IoCreateDevice")
        .expect("IoCreateDevice is imported");
    assert_eq!(
        create["module"]
            .as_str()
            .map(str::to_ascii_lowercase)
            .as_deref(),
        Some("ntoskrnl.exe")
    );
    assert!(
        ["modelled", "partial"].contains(&create["status"].as_str().unwrap_or_default()),
        "{create}"
    );
    assert!(
        imports.iter().all(|i| i["status"] != "missing"),
        "the first driver needs nothing that is missing"
    );
    let text = stdout(&ring3(&["imports", &driver.to_string_lossy()]));
    assert!(
        text.contains("IoCreateDevice") && text.contains("imports"),
        "{text}"
    );
}

#[test]
fn the_trace_goes_to_standard_error() {
    let driver = first_driver();
    let output = ring3(&["run", "--json", "--trace", "api", &driver.to_string_lossy()]);
    assert!(
        stderr(&output).contains("IoCreateDevice"),
        "{}",
        stderr(&output)
    );
    assert!(serde_json::from_str::<Value>(&stdout(&output)).is_ok());
}

#[test]
fn labs_are_listed() {
    let labs = common::root().join("labs");
    let value = json(&["lab", "list", "--json", "--labs", &labs.to_string_lossy()]);
    let all = value.as_array().expect("an array");
    let first = all
        .iter()
        .find(|l| l["slug"] == "first-driver")
        .expect("the first lab is listed");
    for key in ["title", "topic"] {
        assert!(
            first[key].as_str().is_some_and(|t| !t.is_empty()),
            "{first}"
        );
    }
    assert!(
        first["variants"].as_array().is_some_and(|v| !v.is_empty()),
        "{first}"
    );
}
