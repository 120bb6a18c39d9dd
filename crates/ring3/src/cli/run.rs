//! `ring3 run`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use ring3_nt::machine::boot::Config;
use ring3_nt::machine::trace::{Line, TraceSet};

use super::style;
use crate::report::policy::{self, FailOn, Policy};
use crate::report::{Report, json, junit, sarif, text};
use crate::{DriverFile, imports, run};

/// Arguments of `ring3 run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The driver (.sys).
    driver: PathBuf,
    /// More images: export drivers that the driver needs. They win over modelled modules.
    #[arg(long = "with", value_name = "X.sys")]
    with: Vec<PathBuf>,
    /// The scenario that talks to the driver; without one it is loaded, opened, closed and unloaded.
    #[arg(long, value_name = "S.rhai")]
    scenario: Option<PathBuf>,
    /// Virtual processors.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    cpus: u8,
    /// Seed of the schedule.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What to print while it runs: api, irp, dbgprint, thread, interrupt, or all; comma separated.
    #[arg(long, value_name = "WHAT")]
    trace: Option<String>,
    /// Guest instructions after which the run is stopped.
    #[arg(long, default_value_t = 2_000_000_000)]
    budget: u64,
    /// RAM of the machine in MiB.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u64).range(32..=4096))]
    ram: u64,
    /// Clone the machine every N host calls and go on with the copy: a self test, nothing may change.
    #[arg(long, hide = true, default_value_t = 0)]
    clone_every: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// From which severity on findings make the exit code 1.
    #[arg(long, value_enum, default_value_t)]
    fail_on: FailOn,
    /// Accepted findings: a TOML file of [[accept]] tables with rule, module, function and reason.
    #[arg(long, value_name = "FILE.toml")]
    accept: Vec<PathBuf>,
    /// Write a file for --accept that accepts all findings of this run.
    #[arg(long, value_name = "FILE.toml")]
    write_baseline: Option<PathBuf>,
    /// Write the findings as SARIF 2.1.0.
    #[arg(long, value_name = "FILE.sarif")]
    sarif: Option<PathBuf>,
    /// Write the run as a JUnit test suite.
    #[arg(long, value_name = "FILE.xml")]
    junit: Option<PathBuf>,
}

impl Run {
    pub fn run(self) -> anyhow::Result<u8> {
        let driver = DriverFile::read(&self.driver)?;
        let trace = match &self.trace {
            None => TraceSet::default(),
            Some(text) => match TraceSet::parse(text) {
                Ok(set) => set,
                Err(word) => {
                    bail!(
                        "--trace {word}: not something to trace; use api, irp, dbgprint, thread, interrupt or all"
                    )
                }
            },
        };
        for warning in &driver.warnings {
            eprintln!("ring3: warning: {warning}");
        }
        let mut policy = Policy {
            fail_on: self.fail_on,
            ..Policy::default()
        };
        for path in &self.accept {
            policy.read(path)?;
        }
        let options = run::Options {
            config: Config {
                ram: self.ram << 20,
                processors: usize::from(self.cpus),
                seed: self.seed,
                trace,
                budget: self.budget,
            },
            with: self.with,
            scenario: self.scenario,
            clone_every: self.clone_every,
            printer: Some(print_line),
        };
        let session = run::run(&driver, &options)?;
        let needs = imports::imports(&driver.image);
        let name = driver.name;
        let report = Report {
            policy,
            ..Report::new(name, &session, self.seed)
        };
        if let Some(path) = &self.sarif {
            let log = serde_json::to_string_pretty(&sarif::log(&report))?;
            write(path, &log)?;
        }
        if let Some(path) = &self.junit {
            write(path, &junit::xml(&report)?)?;
        }
        if let Some(path) = &self.write_baseline {
            let counted = report.unexpected_findings();
            write(path, &policy::baseline(counted, "was there before"))?;
        }
        if self.json {
            println!(
                "{}",
                serde_json::to_string_pretty(&json::Run::new(&report, &needs))?
            );
        } else {
            print!(
                "{}",
                text::render(&report, style(std::io::stdout().is_terminal()))
            );
        }
        Ok(report.exit_code())
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Trace lines go to standard error, so that `--json` stays one object.
fn print_line(line: &Line) {
    let level = if line.irql == 0 {
        String::new()
    } else {
        format!(" @{}", line.irql)
    };
    eprintln!(
        "[{}{level}] {:indent$}{}",
        line.thread,
        "",
        line.text,
        indent = 2 * line.depth
    );
}
