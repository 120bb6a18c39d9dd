//! Runs two executors over the same cases and reports.

use std::collections::BTreeMap;

use iced_x86::Code;

use super::case::{Executor, Outcome, difference};
use super::generate;

/// What a comparison found.
#[derive(Default)]
pub struct Report {
    /// Codes and cases compared, by group of codes.
    pub groups: BTreeMap<&'static str, (usize, usize)>,
    /// Codes that the engine does not have.
    pub missing: Vec<Code>,
    /// Codes for which no case could be encoded.
    pub not_generated: Vec<Code>,
    /// The first difference of each code and the number of differing cases.
    pub differences: Vec<(Code, usize, String)>,
}

impl Report {
    /// One line per group, and what is missing or different.
    pub fn print(&self, engine: &str) {
        for (group, (codes, cases)) in &self.groups {
            eprintln!("oracle: {engine}: {group}: {codes} codes, {cases} cases");
        }
        if !self.missing.is_empty() {
            eprintln!(
                "oracle: {engine}: not in the engine ({}): {:?}",
                self.missing.len(),
                self.missing
            );
        }
        if !self.not_generated.is_empty() {
            eprintln!(
                "oracle: {engine}: no case encoded ({}): {:?}",
                self.not_generated.len(),
                self.not_generated
            );
        }
        for (code, count, text) in &self.differences {
            eprintln!("oracle: {engine}: {code:?}: {count} cases differ, first: {text}");
        }
    }
}

/// How many cases per code: `base`, times the number in RING3_ORACLE_CASES.
pub fn amount(base: u64) -> u64 {
    std::env::var("RING3_ORACLE_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .map_or(base, |factor: u64| base * factor)
}

/// Compares `engine` with `oracle` on `count` cases of each code.
pub fn compare(
    codes: &[Code],
    count: u64,
    oracle: &mut dyn Executor,
    engine: &mut dyn Executor,
) -> Report {
    let mut report = Report::default();
    for &code in codes {
        let mut compared = 0;
        let mut differing: Option<(usize, String)> = None;
        let mut missing = false;
        for index in 0..count {
            let Some(case) = generate::make(code, index) else {
                continue;
            };
            let actual = engine.run(&case);
            if matches!(actual, Outcome::NotModelled(_)) {
                missing = true;
                break;
            }
            let expected = oracle.run(&case);
            compared += 1;
            if let Some(text) = difference(&case, &expected, &actual) {
                let text = || {
                    format!(
                        "case {index} `{}` {:02x?}: {text}",
                        case.instruction, case.bytes
                    )
                };
                differing.get_or_insert_with(|| (0, text())).0 += 1;
            }
        }
        if missing {
            report.missing.push(code);
        } else if compared == 0 {
            report.not_generated.push(code);
        } else {
            let group = report.groups.entry(group(code)).or_default();
            group.0 += 1;
            group.1 += compared;
        }
        if let Some((n, text)) = differing {
            report.differences.push((code, n, text));
        }
    }
    report
}

fn group(code: Code) -> &'static str {
    let info = code.op_code();
    if ring3_x64::vector::lookup(code).is_some_and(|op| op.float) {
        "floating point"
    } else if ring3_x64::vector::lookup(code).is_some() {
        "vector"
    } else if code.flow_control() != iced_x86::FlowControl::Next {
        "branches"
    } else if info.can_use_rep_prefix() {
        "strings"
    } else {
        "general"
    }
}
