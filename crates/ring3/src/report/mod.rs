//! The result of a run: how it ended, what was found, and how it is told.

pub mod json;
pub mod junit;
pub mod policy;
pub mod sarif;
pub mod text;

use ring3_nt::Machine;
use ring3_nt::machine::finding::Finding;
use ring3_nt::machine::{Bugcheck, Stop};

use crate::{Session, exit};
use policy::Policy;

/// How a run ended, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing to complain about, or exactly what the scenario expects.
    Clean,
    /// Findings, or a failed DriverEntry.
    Findings,
    /// A `check()` of the scenario failed.
    CheckFailed,
    /// Nothing could go on.
    Hang,
    /// A bugcheck.
    Bugcheck,
    /// Something that the driver needs is not modelled.
    Unmodelled,
    /// The scenario itself went wrong.
    Error,
}

impl Outcome {
    /// As `--json` and labs spell it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Findings => "findings",
            Self::CheckFailed => "check-failed",
            Self::Hang => "hang",
            Self::Bugcheck => "bugcheck",
            Self::Unmodelled => "unmodelled",
            Self::Error => "error",
        }
    }
}

/// A result of a `check()` in a scenario.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Check {
    /// Whether it held.
    pub passed: bool,
    /// Its message.
    pub message: String,
}

/// What a workload has to say beside the machine.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// Results of checks.
    pub checks: Vec<Check>,
    /// Bugcheck codes that are expected.
    pub expected_bugchecks: Vec<u32>,
    /// Rules that are expected to be broken.
    pub expected_findings: Vec<String>,
    /// The status of DriverEntry of the driver under test.
    pub driver_entry: Option<u32>,
    /// Why the workload could not go on, if it could not.
    pub error: Option<String>,
    /// What never came to an end.
    pub hang: Option<String>,
    /// Devices seen.
    pub devices: Vec<String>,
    /// Symbolic links seen.
    pub links: Vec<String>,
    /// Device interfaces seen.
    pub interfaces: Vec<String>,
    /// What happened, a line each, for people.
    pub narrative: Vec<String>,
}

/// Everything about a finished run.
#[derive(Debug)]
pub struct Report<'a> {
    /// The driver's file name.
    pub driver: String,
    /// The machine at the end.
    pub machine: &'a Machine,
    /// The workload's side.
    pub story: &'a Story,
    /// The seed.
    pub seed: u64,
    /// What counts.
    pub policy: Policy,
}

impl<'a> Report<'a> {
    /// The report on a finished session, with nothing accepted.
    #[must_use]
    pub fn new(driver: impl Into<String>, session: &'a Session, seed: u64) -> Self {
        Self {
            driver: driver.into(),
            machine: &session.machine,
            story: &session.story,
            seed,
            policy: Policy::default(),
        }
    }
}

impl Report<'_> {
    /// The bugcheck, if there was one.
    #[must_use]
    pub fn bugcheck(&self) -> Option<&Bugcheck> {
        match &self.machine.stop {
            Some(Stop::Bugcheck(bugcheck)) => Some(bugcheck),
            _ => None,
        }
    }

    /// Whether a finding makes the run fail: it is severe enough, not accepted, and no expectation of the
    /// scenario covers it.
    #[must_use]
    pub fn counts(&self, finding: &Finding) -> bool {
        let expected = &self.story.expected_findings;
        self.policy.counts(finding) && !expected.iter().any(|rule| rule == finding.rule)
    }

    /// The findings that make the run fail.
    pub fn unexpected_findings(&self) -> impl Iterator<Item = &Finding> {
        self.machine.findings.iter().filter(|f| self.counts(f))
    }

    /// Expected findings and bugchecks that did not come.
    #[must_use]
    pub fn missing_expectations(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for rule in &self.story.expected_findings {
            if !self.machine.findings.iter().any(|f| f.rule == rule) {
                missing.push(format!("the expected finding {rule} did not come"));
            }
        }
        if let Some(code) = self.story.expected_bugchecks.first() {
            let came = self.bugcheck().map(|b| b.code);
            if !came.is_some_and(|c| self.story.expected_bugchecks.contains(&c)) {
                missing.push(format!("the expected bugcheck {code:#x} did not come"));
            }
        }
        missing
    }

    /// Whether DriverEntry failed although no expectation covers that.
    fn entry_failed(&self) -> bool {
        self.story.driver_entry.is_some_and(|s| s >= 0xc000_0000)
            && !self
                .story
                .expected_findings
                .iter()
                .any(|rule| rule == "driver/entry-failed")
    }

    fn checks_failed(&self) -> bool {
        self.story.checks.iter().any(|c| !c.passed) || !self.missing_expectations().is_empty()
    }

    /// How it ended, expected or not.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match &self.machine.stop {
            Some(Stop::Bugcheck(_)) => return Outcome::Bugcheck,
            Some(Stop::NotModelled { .. }) => return Outcome::Unmodelled,
            None => {}
        }
        if self.story.error.is_some() {
            return Outcome::Error;
        }
        if self.story.hang.is_some() {
            return Outcome::Hang;
        }
        if self.checks_failed() {
            return Outcome::CheckFailed;
        }
        let expected_came = self.machine.findings.iter().any(|f| {
            self.story
                .expected_findings
                .iter()
                .any(|rule| rule == f.rule)
        });
        if self.entry_failed() || expected_came || self.unexpected_findings().next().is_some() {
            return Outcome::Findings;
        }
        Outcome::Clean
    }

    /// The exit code: 0 if all is clean or exactly what the scenario expects; where several hold, 2,
    /// 3, 4, 1 in that order.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let bugcheck = self.bugcheck();
        let expected = bugcheck.is_some_and(|b| self.story.expected_bugchecks.contains(&b.code));
        if self.story.error.is_some() {
            return exit::USAGE;
        }
        if bugcheck.is_some() && !expected {
            return exit::BUGCHECK;
        }
        if matches!(self.machine.stop, Some(Stop::NotModelled { .. })) {
            return exit::UNMODELLED;
        }
        // A bugcheck that was expected explains the findings that led to it.
        let wrong =
            !expected && (self.entry_failed() || self.unexpected_findings().next().is_some());
        if self.story.hang.is_some() || self.checks_failed() || wrong {
            return exit::FINDINGS;
        }
        exit::CLEAN
    }
}
