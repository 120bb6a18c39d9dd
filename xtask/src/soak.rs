//! `cargo xtask soak`: every variant of every lab, under many schedules.
//!
//! What the tests try with a few seeds, at length: seeds 0 to 99 on 1, 2 and 4 processors, unless
//! other numbers are given. Work is spread over the processors of the host; what it prints does not depend on
//! that.

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};
use clap::Args;
use ring3::lab::run_variant;
use ring3::nt::machine::boot::Config;
use ring3_labs::lab;

/// Every variant of every lab under many schedules.
#[derive(Args)]
pub struct Soak {
    /// Seeds 0 to N-1.
    #[arg(long, value_name = "N", default_value_t = 100)]
    seeds: u64,
    /// Numbers of virtual processors.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4")]
    processors: Vec<usize>,
    /// Only this lab.
    lab: Option<String>,
}

impl Soak {
    /// Does the chore; `root` is the root of the workspace.
    pub fn run(&self, root: &Path) -> Result<ExitCode> {
        let folder = root.join("labs");
        let labs = match &self.lab {
            Some(slug) => vec![lab::find(&folder, slug)?],
            None => lab::list(&folder)?,
        };
        let mut jobs = Vec::new();
        for lab in &labs {
            for variant in &lab.variants {
                for &processors in &self.processors {
                    ensure!(processors > 0, "a machine has one processor or more");
                    jobs.push((lab, variant, processors));
                }
            }
        }
        let next = AtomicUsize::new(0);
        let wrong = Mutex::new(Vec::new());
        let work = || {
            while let Some(&(lab, variant, processors)) =
                jobs.get(next.fetch_add(1, Ordering::Relaxed))
            {
                for seed in 0..self.seeds {
                    let config = Config {
                        processors,
                        seed,
                        ..Config::default()
                    };
                    let differences = match run_variant(lab, variant, &config, 0) {
                        Ok(ran) => ran.differences,
                        Err(error) => vec![format!("{error:#}")],
                    };
                    if !differences.is_empty() {
                        let line = format!(
                            "{}/{}, {processors} processors, seed {seed}: {}",
                            lab.slug,
                            variant.name,
                            differences.join("; ")
                        );
                        wrong
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(line);
                    }
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
        });
        let mut wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
        wrong.sort();
        for line in &wrong {
            println!("{line}");
        }
        let runs = jobs.len() as u64 * self.seeds;
        println!(
            "{} of {runs} runs came out as they must",
            runs - wrong.len() as u64
        );
        Ok(if wrong.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
