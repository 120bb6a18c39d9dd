//! `cargo xtask mutants`: do the tests notice when the kernel is wrong?
//!
//! `cargo mutants` plants mistakes in ring3-nt, one at a time; unit tests, labs and the conformance driver must
//! catch them. The sample is fixed: one of every so many that can be planted, so that it covers all files.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Args;

/// How many of a sample of planted mistakes the tests catch.
#[derive(Args)]
pub struct Mutants {
    /// About how many mistakes to plant.
    #[arg(long, default_value_t = 200)]
    sample: usize,
    /// How many to try at the same time.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Fails if fewer than so many percent are caught.
    #[arg(long, default_value_t = 90)]
    at_least: usize,
}

/// Only the kernel, and of it no code that only shows things to people.
const ARGUMENTS: [&str; 8] = [
    "mutants",
    "--package",
    "ring3-nt",
    "--exclude-re",
    "impl.*(Display|Debug)",
    "--colors",
    "never",
    "--no-times",
];

impl Mutants {
    /// Does the chore; `root` is the root of the workspace.
    pub fn run(&self, root: &Path) -> Result<ExitCode> {
        ensure!(self.sample > 0, "a sample of nothing says nothing");
        let list = Command::new("cargo")
            .args(ARGUMENTS)
            .arg("--list")
            .current_dir(root)
            .output()
            .context("starting cargo")?;
        ensure!(
            list.status.success(),
            "`cargo mutants` does not work; `cargo install --locked cargo-mutants` installs it:\n{}",
            String::from_utf8_lossy(&list.stderr)
        );
        let all = String::from_utf8_lossy(&list.stdout).lines().count();
        let shards = (all / self.sample).max(1);
        let output = root.join("target");
        Command::new("cargo")
            .args(ARGUMENTS)
            .args([
                "--sharding",
                "round-robin",
                "--shard",
                &format!("0/{shards}"),
            ])
            .args(["--test-package", "ring3-nt", "--test-package", "ring3"])
            .args(["--timeout", "120", "--jobs", &self.jobs.to_string()])
            .arg("--output")
            .arg(&output)
            .current_dir(root)
            .status()
            .context("starting cargo")?;
        let count = |name: &str| -> Result<usize> {
            let path = output.join("mutants.out").join(format!("{name}.txt"));
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("{} was not written", path.display()))?;
            Ok(text.lines().count())
        };
        // A mistake that makes the tests run for ever is noticed as well.
        let caught = count("caught")? + count("timeout")?;
        let missed = count("missed")?;
        let tried = caught + missed;
        ensure!(tried > 0, "no mistake could be planted");
        let percent = caught * 100 / tried;
        println!("{caught} of {tried} mistakes caught, {percent} %, of {all} that can be planted");
        Ok(if percent >= self.at_least {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
