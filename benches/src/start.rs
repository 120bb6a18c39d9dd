//! Process start to the end of a driver's first run: `ring3 run` as a user starts it.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, ensure};
use ring3_bench::clock::{median, wall};
use ring3_bench::folder;
use ring3_bench::table::{Row, exit, print};

const ROUNDS: usize = 20;

/// The program with the release profile, built if need be.
fn program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("finding the build directory")?;
    let release = own
        .parent()
        .and_then(Path::parent)
        .context("finding the build directory")?;
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--release",
            "-p",
            "ring3",
            "--target-dir",
        ])
        .arg(release.parent().unwrap_or(release))
        .current_dir(folder())
        .status()
        .context("starting cargo")?;
    ensure!(status.success(), "`cargo build --release -p ring3` failed");
    Ok(release.join(format!("ring3{}", std::env::consts::EXE_SUFFIX)))
}

/// Median wall time in milliseconds, and how the run ended.
fn time(program: &Path, arguments: &[&Path]) -> anyhow::Result<(f64, Option<i32>)> {
    let (mut times, mut code) = (Vec::new(), None);
    for _ in 0..ROUNDS {
        let (time, status) = wall(|| {
            Command::new(program)
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
        });
        code = status
            .with_context(|| format!("starting {}", program.display()))?
            .code();
        times.push(time.as_secs_f64() * 1e3);
    }
    Ok((median(&times), code))
}

fn main() -> anyhow::Result<ExitCode> {
    let program = program()?;
    let (nothing, _) = time(&program, &[Path::new("--version")])?;
    let mut drivers = vec![folder().join("../labs/first-driver/first-driver.sys")];
    match std::env::var_os("RING3_DRIVERS") {
        Some(directory) => drivers.push(Path::new(&directory).join("winpmem_x64.sys")),
        None => eprintln!("RING3_DRIVERS is not set: winpmem_x64.sys is left out"),
    }
    let mut rows = Vec::new();
    for driver in &drivers {
        ensure!(driver.is_file(), "{} is missing", driver.display());
        let (time, code) = time(&program, &[Path::new("run"), driver])?;
        rows.push(Row {
            what: driver.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            value: time,
            budget: 30.0,
            unit: "ms",
            note: format!(
                "load, open, close, unload; ended with {}; a process that only prints its version takes {nothing:.1} ms",
                code.map_or("a signal".to_owned(), |code| code.to_string())
            ),
        });
    }
    Ok(exit(print(
        "`ring3 run` from process start to process end, wall time",
        &rows,
    )))
}
