//! `cargo xtask soak`: every variant of every lab, under many schedules.
//!
//! What the tests try with a few seeds, at length: seeds 0 to 99 on 1, 2 and 4 processors, unless
//! other numbers are given. Work is spread over the processors of the host; what it prints does not depend on
//! that.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;
use ring3::lab::run_variant;
use ring3::nt::machine::boot::Config;
use ring3_labs::lab::{self, Lab, Variant};

use crate::parallel;

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
        let wrong: Vec<String> = parallel::map(&jobs, |(lab, variant, processors)| {
            (0..self.seeds)
                .filter_map(|seed| complaint(lab, variant, *processors, seed))
                .collect::<Vec<String>>()
        })
        .concat();
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

/// How a variant came out otherwise than it must, if it did.
fn complaint(lab: &Lab, variant: &Variant, processors: usize, seed: u64) -> Option<String> {
    let config = Config {
        processors,
        seed,
        ..Config::default()
    };
    let differences = match run_variant(lab, variant, &config, 0) {
        Ok(ran) => ran.differences,
        Err(error) => vec![format!("{error:#}")],
    };
    (!differences.is_empty()).then(|| {
        format!(
            "{}/{}, {processors} processors, seed {seed}: {}",
            lab.slug,
            variant.name,
            differences.join("; ")
        )
    })
}
