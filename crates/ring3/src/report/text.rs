//! The report as people read it, within one screen where it can be.

use std::fmt::Write;

use ring3_nt::machine::Stop;
use ring3_nt::machine::finding::{Place, Severity};
use ring3_nt::ntstatus::NTSTATUS;

use super::Report;

/// Terminal colours, or none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Whether to colour.
    pub colour: bool,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
    /// Something wrong.
    #[must_use]
    pub fn red(self, text: &str) -> String {
        self.paint("31;1", text)
    }
    /// Something doubtful.
    #[must_use]
    pub fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }
    /// Something right.
    #[must_use]
    pub fn green(self, text: &str) -> String {
        self.paint("32", text)
    }
    /// Something secondary.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }
}

/// Stack frames printed per finding.
const FRAMES: usize = 8;

fn stack(out: &mut String, style: Style, places: &[Place]) {
    for place in places.iter().take(FRAMES) {
        let _ = writeln!(out, "      {}", style.dim(&place.to_string()));
    }
    if places.len() > FRAMES {
        let _ = writeln!(
            out,
            "      {}",
            style.dim(&format!("... {} more", places.len() - FRAMES))
        );
    }
}

/// The whole report.
#[must_use]
pub fn render(report: &Report<'_>, style: Style) -> String {
    let mut out = String::new();
    for line in &report.story.narrative {
        let _ = writeln!(out, "{line}");
    }
    let shown: Vec<&str> = report
        .machine
        .dbg
        .messages
        .iter()
        .flat_map(|m| m.text.lines())
        .filter(|l| !l.is_empty())
        .collect();
    if !shown.is_empty() {
        let _ = writeln!(out, "debug output:");
        let first = shown.len().saturating_sub(24);
        if first > 0 {
            let _ = writeln!(out, "  {}", style.dim(&format!("... {first} lines before")));
        }
        for line in &shown[first..] {
            let _ = writeln!(out, "  {line}");
        }
        for hidden in report.machine.dbg.hidden() {
            let _ = writeln!(out, "  {}", style.dim(&format!("({hidden})")));
        }
    }
    if let Some(status) = report.story.driver_entry.filter(|s| *s >= 0xc000_0000) {
        let _ = writeln!(
            out,
            "{} DriverEntry returned {}",
            style.red("failed:"),
            NTSTATUS(status)
        );
    }
    for finding in &report.machine.findings {
        let word = match finding.severity {
            Severity::Error => style.red("error"),
            Severity::Warning => style.yellow("warning"),
            Severity::Note => style.dim("note"),
        };
        let _ = writeln!(out, "{word}[{}]: {}", finding.rule, finding.message);
        let _ = writeln!(out, "  at {}", finding.place);
        if let Some(entry) = report.policy.acceptance(finding) {
            let _ = writeln!(out, "  accepted: {}", entry.reason);
        } else if finding.severity > Severity::Note {
            stack(&mut out, style, &finding.stack);
        }
    }
    match &report.machine.stop {
        Some(Stop::Bugcheck(b)) => {
            let name = b.name();
            let [p1, p2, p3, p4] = b.parameters;
            let _ = writeln!(out, "{} {name} ({:#x})", style.red("bugcheck"), b.code);
            let _ = writeln!(out, "  parameters {p1:#x} {p2:#x} {p3:#x} {p4:#x}");
            let _ = writeln!(
                out,
                "  at {} in thread {}, IRQL {}",
                b.place, b.thread, b.irql
            );
            stack(&mut out, style, &b.stack);
        }
        Some(Stop::NotModelled {
            what,
            caller,
            arguments,
            stack: places,
        }) => {
            let _ = writeln!(out, "{} {what}", style.yellow("not modelled:"));
            let _ = writeln!(out, "  needed at {caller}");
            if !arguments.is_empty() {
                let shown: Vec<String> = arguments.iter().map(|a| format!("{a:#x}")).collect();
                let _ = writeln!(out, "  with {}", shown.join(", "));
            }
            stack(&mut out, style, places);
        }
        None => {}
    }
    if let Some(hang) = &report.story.hang {
        let _ = writeln!(out, "{} {hang}", style.red("hang:"));
    }
    if let Some(error) = &report.story.error {
        let _ = writeln!(out, "{} {error}", style.red("error:"));
    }
    for check in &report.story.checks {
        if !check.passed {
            let _ = writeln!(out, "{} {}", style.red("check failed:"), check.message);
        }
    }
    for missing in report.missing_expectations() {
        let _ = writeln!(out, "{} {missing}", style.red("check failed:"));
    }
    for entry in report.policy.stale(&report.machine.findings) {
        let _ = writeln!(
            out,
            "{} {entry} is accepted ({}), but this run has no such finding",
            style.yellow("stale:"),
            entry.reason
        );
    }
    let outcome = report.outcome();
    let word = if report.exit_code() == 0 {
        style.green(outcome.word())
    } else {
        style.red(outcome.word())
    };
    let passed = report.story.checks.iter().filter(|c| c.passed).count();
    let checks = if report.story.checks.is_empty() {
        String::new()
    } else {
        format!("{passed} checks passed, ")
    };
    let calls: u64 = report.machine.calls.values().sum();
    let _ = writeln!(
        out,
        "{word}: {checks}{} instructions, {calls} kernel calls, {:.3} ms of virtual time, trace {:016x}",
        report.machine.instructions(),
        report.machine.clock.elapsed_ns() as f64 / 1e6,
        report.machine.trace.hash()
    );
    out
}
