//! What counts: from which severity on a finding makes a run fail, and which findings were accepted.
//!
//! Accepted findings stand in a file that lies beside the driver's sources:
//!
//! ```toml
//! [[accept]]
//! rule = "pool/leak"
//! module = "mydriver.sys"
//! function = "RememberForever"      # optional: any function of the module without it
//! reason = "one block per boot, by design"
//! ```
//!
//! An entry that no finding of the run needs is stale, and said to be.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, bail};
use clap::ValueEnum;
use ring3_nt::machine::finding::{Finding, Severity};
use serde::Deserialize;

/// From which severity on a finding makes the exit code 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Errors, warnings and notes.
    Note,
    /// Errors and warnings.
    #[default]
    Warning,
    /// Errors only.
    Error,
    /// Findings never do; a hang, a bugcheck or a failed check still does.
    Never,
}

impl FailOn {
    /// Whether a finding of this severity counts.
    #[must_use]
    pub fn counts(self, severity: Severity) -> bool {
        match self {
            Self::Note => true,
            Self::Warning => severity >= Severity::Warning,
            Self::Error => severity >= Severity::Error,
            Self::Never => false,
        }
    }
}

/// An accepted finding.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// The rule.
    pub rule: String,
    /// File name of the module.
    pub module: String,
    /// The function; any if there is none.
    pub function: Option<String>,
    /// Why it is accepted.
    pub reason: String,
}

impl Accepted {
    /// Whether the finding is this one.
    #[must_use]
    pub fn covers(&self, finding: &Finding) -> bool {
        self.rule == finding.rule
            && self.module.eq_ignore_ascii_case(&finding.place.module)
            && self
                .function
                .as_deref()
                .is_none_or(|wanted| finding.place.function() == Some(wanted))
    }
}

impl std::fmt::Display for Accepted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in {}", self.rule, self.module)?;
        match &self.function {
            Some(function) => write!(f, "!{function}"),
            None => Ok(()),
        }
    }
}

/// What counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// From which severity on.
    pub fail_on: FailOn,
    /// What was accepted.
    pub accepted: Vec<Accepted>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    accept: Vec<Accepted>,
}

impl Policy {
    /// Reads a file of accepted findings.
    ///
    /// # Errors
    /// A file that cannot be read, that is no TOML of this form, or an entry without a reason.
    pub fn read(&mut self, path: &Path) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let file: File = toml::from_str(&text).with_context(|| {
            format!(
                "{}: not a list of accepted findings; each needs [[accept]] with rule, module and reason",
                path.display()
            )
        })?;
        for entry in file.accept {
            if entry.reason.trim().is_empty() {
                bail!(
                    "{}: {entry} is accepted without a reason; say why it may stay",
                    path.display()
                );
            }
            self.accepted.push(entry);
        }
        Ok(())
    }

    /// The entry that accepts a finding.
    #[must_use]
    pub fn acceptance(&self, finding: &Finding) -> Option<&Accepted> {
        self.accepted.iter().find(|entry| entry.covers(finding))
    }

    /// Whether a finding makes the run fail.
    #[must_use]
    pub fn counts(&self, finding: &Finding) -> bool {
        self.fail_on.counts(finding.severity) && self.acceptance(finding).is_none()
    }

    /// Entries that none of these findings needs.
    pub fn stale<'a>(&'a self, findings: &'a [Finding]) -> impl Iterator<Item = &'a Accepted> {
        self.accepted
            .iter()
            .filter(|entry| !findings.iter().any(|finding| entry.covers(finding)))
    }
}

/// A file that accepts these findings, all of them for the given reason.
#[must_use]
pub fn baseline<'a>(findings: impl Iterator<Item = &'a Finding>, reason: &str) -> String {
    let mut entries: Vec<Accepted> = Vec::new();
    for finding in findings {
        let entry = Accepted {
            rule: finding.rule.to_owned(),
            module: finding.place.module.clone(),
            function: finding.place.function().map(str::to_owned),
            reason: reason.to_owned(),
        };
        if !entries.contains(&entry) {
            entries.push(entry);
        }
    }
    let text = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut out = String::new();
    for entry in entries {
        let _ = writeln!(out, "[[accept]]");
        let _ = writeln!(out, "rule = {}", text(&entry.rule));
        let _ = writeln!(out, "module = {}", text(&entry.module));
        if let Some(function) = &entry.function {
            let _ = writeln!(out, "function = {}", text(function));
        }
        let _ = writeln!(out, "reason = {}\n", text(&entry.reason));
    }
    out
}

#[cfg(test)]
mod tests {
    use ring3_nt::machine::finding::Place;

    use super::*;

    fn finding(rule: &'static str, module: &str, symbol: &str, severity: Severity) -> Finding {
        Finding {
            rule,
            severity,
            message: String::new(),
            place: Place {
                module: module.to_owned(),
                symbol: Some(symbol.to_owned()),
                ..Place::default()
            },
            stack: Vec::new(),
            at_instruction: 0,
        }
    }

    #[test]
    fn severities() {
        let counts =
            |on: FailOn| [Severity::Note, Severity::Warning, Severity::Error].map(|s| on.counts(s));
        assert_eq!(counts(FailOn::Note), [true, true, true]);
        assert_eq!(counts(FailOn::Warning), [false, true, true]);
        assert_eq!(counts(FailOn::Error), [false, false, true]);
        assert_eq!(counts(FailOn::Never), [false, false, false]);
    }

    #[test]
    fn a_baseline_accepts_what_it_was_made_from_and_nothing_else() {
        let old = [
            finding("pool/leak", "a.sys", "Work+0x12", Severity::Error),
            finding("pool/leak", "a.sys", "Work+0x40", Severity::Error),
            finding("irp/not-completed", "a.sys", "Read", Severity::Error),
        ];
        let text = baseline(old.iter(), "known \"before\"");
        let file: File = toml::from_str(&text).expect("a baseline is readable");
        assert_eq!(file.accept.len(), 2, "{text}");
        let policy = Policy {
            fail_on: FailOn::Note,
            accepted: file.accept,
        };
        assert!(old.iter().all(|f| !policy.counts(f)));
        let new = finding("pool/leak", "a.sys", "Other+0x1", Severity::Error);
        assert!(policy.counts(&new));
        let elsewhere = finding("pool/leak", "b.sys", "Work+0x12", Severity::Error);
        assert!(policy.counts(&elsewhere));
        assert_eq!(policy.stale(&old).count(), 0);
        assert_eq!(policy.stale(&[new]).count(), 2);
    }
}
