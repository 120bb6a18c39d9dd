//! `--sarif FILE`: the findings of a run as SARIF 2.1.0, which code hosts show beside the source.
//!
//! Form: "Static Analysis Results Interchange Format (SARIF) Version 2.1.0", OASIS, sections 3.13 to 3.58.

use ring3_nt::machine::Stop;
use ring3_nt::machine::finding::{Place, Severity};
use serde_json::{Map, Value, json};

use super::Report;
use crate::rules;

/// Ids of the results that no rule is behind.
const BUGCHECK: &str = "run/bugcheck";
const HANG: &str = "run/hang";
const NOT_MODELLED: &str = "run/not-modelled";
const CHECK: &str = "run/check-failed";
const ERROR: &str = "run/error";

/// The whole log, with one run.
#[must_use]
pub fn log(report: &Report<'_>) -> Value {
    let results = results(report);
    let mut used: Vec<&str> = results
        .iter()
        .filter_map(|result| result.get("ruleId").and_then(Value::as_str))
        .collect();
    used.sort_unstable();
    used.dedup();
    let rules: Vec<Value> = used.into_iter().map(descriptor).collect();
    json!({
        "version": "2.1.0",
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "runs": [{
            "tool": { "driver": {
                "name": "ring3",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "utf16CodeUnits",
            "results": results,
        }],
    })
}

/// What a rule means, for the tool that shows the results.
fn descriptor(id: &str) -> Value {
    let Some(rule) = rules::find(id) else {
        return json!({ "id": id, "shortDescription": { "text": about_run(id) } });
    };
    let whole = format!("{} {}", rule.meaning, rule.explanation);
    json!({
        "id": id,
        "shortDescription": { "text": rule.meaning },
        "fullDescription": { "text": whole.trim_end() },
        "help": { "text": whole.trim_end() },
    })
}

fn about_run(id: &str) -> &'static str {
    match id {
        BUGCHECK => "The system stopped with a bugcheck.",
        HANG => "Nothing could go on.",
        NOT_MODELLED => "The driver needs something that is not modelled.",
        CHECK => "A check of the scenario does not hold.",
        _ => "The scenario could not go on.",
    }
}

fn results(report: &Report<'_>) -> Vec<Value> {
    let mut all = Vec::new();
    for finding in &report.machine.findings {
        let level = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let mut result = result(
            finding.rule,
            level,
            &finding.message,
            Some(&finding.place),
            &finding.stack,
        );
        if let Some(entry) = report.policy.acceptance(finding) {
            result.insert(
                "suppressions".to_owned(),
                json!([{ "kind": "external", "justification": entry.reason }]),
            );
        }
        all.push(result);
    }
    match &report.machine.stop {
        Some(Stop::Bugcheck(b)) => {
            let name = b.name();
            let [p1, p2, p3, p4] = b.parameters;
            let text = format!(
                "bugcheck {name} ({:#x}), parameters {p1:#x} {p2:#x} {p3:#x} {p4:#x}",
                b.code
            );
            all.push(result(BUGCHECK, "error", &text, Some(&b.place), &b.stack));
        }
        Some(Stop::NotModelled {
            what,
            caller,
            stack,
            ..
        }) => all.push(result(NOT_MODELLED, "error", what, Some(caller), stack)),
        None => {}
    }
    let story = report.story;
    let failed = story.checks.iter().filter(|check| !check.passed);
    let missing = report.missing_expectations();
    let said = story
        .hang
        .iter()
        .map(|text| (HANG, text))
        .chain(story.error.iter().map(|text| (ERROR, text)))
        .chain(failed.map(|check| (CHECK, &check.message)))
        .chain(missing.iter().map(|text| (CHECK, text)));
    all.extend(said.map(|(rule, text)| result(rule, "error", text, None, &[])));
    all.into_iter().map(Value::Object).collect()
}

fn result(
    rule: &str,
    level: &str,
    message: &str,
    place: Option<&Place>,
    stack: &[Place],
) -> Map<String, Value> {
    let mut result = Map::new();
    result.insert("ruleId".to_owned(), json!(rule));
    result.insert("level".to_owned(), json!(level));
    result.insert("message".to_owned(), json!({ "text": message }));
    if let Some(place) = place {
        result.insert("locations".to_owned(), json!([location(place)]));
        let symbol = place.symbol.as_deref().unwrap_or_default();
        // What makes it the same finding in the next run, although lines may have moved.
        let fingerprint = format!("{rule} {} {symbol}", place.module);
        result.insert(
            "partialFingerprints".to_owned(),
            json!({ "ring3/v1": fingerprint }),
        );
    }
    if !stack.is_empty() {
        let frames: Vec<Value> = stack
            .iter()
            .map(|place| json!({ "location": location(place) }))
            .collect();
        result.insert("stacks".to_owned(), json!([{ "frames": frames }]));
    }
    result
}

/// A place: in the source if a PDB told, and always in the image.
fn location(place: &Place) -> Value {
    let mut location = Map::new();
    let source = place
        .source
        .as_deref()
        .and_then(|source| source.rsplit_once(':'))
        .and_then(|(file, line)| Some((file, line.parse::<u32>().ok()?)));
    let physical = match source {
        Some((file, line)) => json!({
            "artifactLocation": { "uri": uri(file) },
            "region": { "startLine": line.max(1) },
        }),
        None => json!({ "artifactLocation": { "uri": uri(&place.module) } }),
    };
    if source.is_some() || !place.module.is_empty() {
        location.insert("physicalLocation".to_owned(), physical);
    }
    location.insert(
        "logicalLocations".to_owned(),
        json!([{ "fullyQualifiedName": place.to_string(), "kind": "function" }]),
    );
    Value::Object(location)
}

/// A path as a relative reference: forward slashes, and nothing that has a meaning in a URI.
fn uri(path: &str) -> String {
    use std::fmt::Write as _;
    let path = path.strip_prefix("/ring3/").unwrap_or(path);
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'\\' => out.push('/'),
            b'/' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn paths_become_references() {
        assert_eq!(uri("/ring3/labs/a b/x.c"), "labs/a%20b/x.c");
        assert_eq!(uri("src\\driver#1.c"), "src/driver%231.c");
    }
}
