//! Running labs: each variant exactly as `ring3 run` would, and whether it came out as it must.

use ring3_labs::expect::{Seen, SeenBugcheck};
use ring3_labs::lab::{Lab, Variant};
use ring3_nt::Machine;
use ring3_nt::machine::boot::Config;
use ring3_nt::machine::finding::stem;

use crate::report::Report;
use crate::{DriverFile, Session, run};

/// A variant that was run.
#[derive(Clone, Debug)]
pub struct Ran {
    /// What came out.
    pub seen: Seen,
    /// How that differs from what must come out, a sentence each; empty if it does not.
    pub differences: Vec<String>,
    /// The session at its end.
    pub session: Session,
    /// The file name of the driver under test.
    pub driver: String,
}

/// Runs a variant of a lab.
///
/// # Errors
/// Files of the lab that are missing or broken.
pub fn run_variant(
    lab: &Lab,
    variant: &Variant,
    config: &Config,
    clone_every: u64,
) -> anyhow::Result<Ran> {
    let mut drivers = lab.drivers(variant);
    let Some(first) = drivers.next() else {
        anyhow::bail!("{}: the variant {} names no driver", lab.slug, variant.name);
    };
    let driver = DriverFile::read(&first)?;
    let options = run::Options {
        config: Config {
            processors: config.processors.max(usize::from(variant.processors)),
            ..config.clone()
        },
        with: drivers.collect(),
        scenario: lab.scenario(variant),
        clone_every,
        printer: None,
    };
    let session = run::run(&driver, &options)?;
    let seen = seen(&driver.name, &session, config.seed);
    let differences = variant.expect.differences(&seen);
    Ok(Ran {
        seen,
        differences,
        session,
        driver: driver.name,
    })
}

/// What a session came to, as labs compare it.
#[must_use]
pub fn seen(driver: &str, session: &Session, seed: u64) -> Seen {
    let report = Report::new(driver, session, seed);
    let outcome = report.outcome();
    let module = |address: u64| module(&session.machine, address);
    Seen {
        exit: i32::from(report.exit_code()),
        outcome: outcome.word().to_owned(),
        findings: session
            .machine
            .findings
            .iter()
            .map(|f| f.rule.to_owned())
            .collect(),
        bugcheck: report.bugcheck().map(|b| SeenBugcheck {
            code: b.code,
            parameters: b.parameters.map(|p| (p, module(p))),
        }),
        dbgprint: session
            .machine
            .dbg
            .messages
            .iter()
            .map(|m| m.text.as_str())
            .collect(),
    }
}

/// The image that an address lies in, unloaded ones included, by file name without extension.
fn module(machine: &Machine, address: u64) -> Option<String> {
    let found = machine
        .modules
        .at(address)
        .or_else(|| machine.modules.unloaded_at(address))?;
    Some(stem(&found.name).to_owned())
}
