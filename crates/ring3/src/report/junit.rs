//! `--junit FILE`: a run as a JUnit test suite, which build servers show.
//!
//! One case for each check of the scenario, one for each finding that counts or was accepted, and one for
//! the run itself.

use quick_junit::{NonSuccessKind, Report as Suites, TestCase, TestCaseStatus, TestSuite};
use ring3_nt::machine::Stop;

use super::Report;

/// The XML.
///
/// # Errors
/// Text that XML cannot hold.
pub fn xml(report: &Report<'_>) -> anyhow::Result<String> {
    let mut suites = Suites::new("ring3");
    let mut suite = TestSuite::new(&report.driver);
    suite.add_test_case(case("run", how_it_ended(report)));
    for check in &report.story.checks {
        let failure = (!check.passed).then(|| check.message.clone());
        suite.add_test_case(case(&format!("check: {}", check.message), failure));
    }
    for missing in report.missing_expectations() {
        suite.add_test_case(case("expectation", Some(missing)));
    }
    for finding in &report.machine.findings {
        let name = format!("{} at {}", finding.rule, finding.place);
        let mut case = case(&name, None);
        if let Some(entry) = report.policy.acceptance(finding) {
            case.status = TestCaseStatus::skipped();
            case.status.set_message(entry.reason.clone());
        } else if report.counts(finding) {
            let stack: Vec<String> = finding.stack.iter().map(ToString::to_string).collect();
            case.status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            case.status
                .set_message(finding.message.clone())
                .set_type(finding.rule)
                .set_description(stack.join("\n"));
        }
        suite.add_test_case(case);
    }
    suites.add_test_suite(suite);
    Ok(suites.to_string()?)
}

fn case(name: &str, failure: Option<String>) -> TestCase {
    let status = match failure {
        None => TestCaseStatus::success(),
        Some(text) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(text);
            status
        }
    };
    TestCase::new(name, status)
}

/// Why the run did not come to its end, if it did not.
fn how_it_ended(report: &Report<'_>) -> Option<String> {
    if let Some(error) = &report.story.error {
        return Some(error.clone());
    }
    match &report.machine.stop {
        Some(Stop::Bugcheck(b)) if !report.story.expected_bugchecks.contains(&b.code) => {
            let name = b.name();
            return Some(format!("bugcheck {name} ({:#x}) at {}", b.code, b.place));
        }
        Some(Stop::NotModelled { what, caller, .. }) => {
            return Some(format!("not modelled: {what}, needed at {caller}"));
        }
        _ => {}
    }
    report.story.hang.clone()
}
