//! The same workloads as a program of the host.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::{Workload, folder};

/// The compiled program; its folder goes when this is dropped.
#[derive(Debug)]
pub struct Native {
    program: PathBuf,
    /// The compiler that made it.
    pub compiler: String,
    _folder: tempfile::TempDir,
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Processor time per round.
    pub ns_per_round: f64,
    /// What the workload computed.
    pub result: u64,
}

impl Native {
    /// Compiles the program, with clang 19 (which built the guest too) or else the host's `cc`.
    ///
    /// # Errors
    /// No compiler, or one that refuses.
    pub fn build() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("making a temporary directory")?;
        let program = directory
            .path()
            .join(format!("workloads{}", std::env::consts::EXE_SUFFIX));
        for compiler in ["clang-19", "clang", "cc"] {
            let output = Command::new(compiler)
                // Loops stay loops, as in the guest, where there is no C library to call.
                .args(["-O2", "-fno-builtin", "-w"])
                .arg(folder().join("native/main.c"))
                .arg("-o")
                .arg(&program)
                .output();
            match output {
                Err(_) => continue,
                Ok(output) if output.status.success() => {
                    return Ok(Self {
                        program,
                        compiler: compiler.to_owned(),
                        _folder: directory,
                    });
                }
                Ok(output) => bail!(
                    "{compiler} refused native/main.c:\n{}",
                    String::from_utf8_lossy(&output.stderr)
                ),
            }
        }
        bail!(
            "no C compiler to compare with: install clang-19 or another one that is called as `cc`"
        )
    }

    /// Runs one workload in a process of its own.
    ///
    /// # Errors
    /// The program failed, or printed something else than measurements.
    pub fn run(&self, workload: &Workload, repetitions: u32) -> anyhow::Result<Vec<Measured>> {
        let output = Command::new(&self.program)
            .args([
                workload.number.to_string(),
                workload.rounds.to_string(),
                repetitions.to_string(),
            ])
            .output()
            .context("starting the compiled workloads")?;
        ensure!(
            output.status.success(),
            "the compiled workloads ended with {}",
            output.status
        );
        let text = String::from_utf8_lossy(&output.stdout);
        let line = |line: &str| {
            let (time, result) = line.split_once(' ')?;
            Some(Measured {
                ns_per_round: time.parse().ok()?,
                result: u64::from_str_radix(result.trim(), 16).ok()?,
            })
        };
        text.lines()
            .map(|l| line(l).with_context(|| format!("the compiled workloads printed `{l}`")))
            .collect()
    }
}
