//! `cargo xtask conformance`: the conformance driver, run in ring3.
//!
//! Ends with the line `N passed, N failed`; a bugcheck, a finding or a driver that does not come to
//! its end fails too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use ring3::nt::machine::boot::Config;
use ring3::report::{Report, text};
use ring3::{DriverFile, run};
use ring3_labs::build::{Built, Options, build_driver_with};
use ring3_labs::toolchain::Toolchain;

/// The conformance driver: assertions over kernel routines, each with the page it is written from.
#[derive(Args)]
pub struct Conformance {
    /// Builds the driver from its sources and writes it (and the list of its groups) beside them.
    #[arg(long, conflicts_with = "check")]
    rebuild: bool,
    /// Compares the committed driver with what its sources give.
    #[arg(long)]
    check: bool,
    /// Builds and runs only these groups (names of the source files); writes nothing.
    #[arg(long, value_name = "GROUP")]
    only: Vec<String>,
    /// Number of virtual processors.
    #[arg(long, default_value_t = 1)]
    processors: usize,
    /// Seed of the schedule.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Prints everything that the driver prints.
    #[arg(long, short)]
    verbose: bool,
}

/// The sources of the driver and what is made of them.
struct Sources {
    folder: PathBuf,
    /// Names of the groups, sorted.
    groups: Vec<String>,
}

impl Conformance {
    /// Does the chore; `root` is the root of the workspace.
    pub fn run(&self, root: &Path) -> Result<ExitCode> {
        let sources = Sources::find(&root.join("conformance"))?;
        let sys = sources.folder.join("conformance.sys");
        let driver = if self.only.is_empty() {
            if self.rebuild || self.check {
                sources.write_or_compare(&sys, self.check)?;
            }
            DriverFile::read(&sys)?
        } else {
            let directory = tempfile::tempdir().context("making a temporary directory")?;
            let built = sources.build(&self.only)?;
            let sys = directory.path().join("conformance.sys");
            fs::write(&sys, built.sys)?;
            fs::write(sys.with_extension("pdb"), built.pdb)?;
            DriverFile::read(&sys)?
        };
        self.drive(&driver, sources.folder.join("conformance.rhai"))
    }

    fn drive(&self, driver: &DriverFile, scenario: PathBuf) -> Result<ExitCode> {
        let options = run::Options {
            config: Config {
                processors: self.processors,
                seed: self.seed,
                ..Config::default()
            },
            scenario: Some(scenario),
            ..run::Options::default()
        };
        let session = run::run(driver, &options)?;
        let mut total = None;
        let lines = session.machine.dbg.messages.iter();
        for line in lines.flat_map(|message| message.text.lines()) {
            if let Some(rest) = line.strip_prefix("conformance: ") {
                total = Some(rest.to_owned());
            } else if self.verbose || line.starts_with("FAILED") {
                println!("{line}");
            }
        }
        let report = Report::new(driver.name.as_str(), &session, self.seed);
        // A part of the groups need not give all findings that the scenario expects of the whole.
        let clean = if self.only.is_empty() {
            report.exit_code() == 0
        } else {
            session.machine.stop.is_none() && report.unexpected_findings().next().is_none()
        };
        let total = match total {
            Some(total) if clean => total,
            total => {
                println!("{}", text::render(&report, text::Style::default()));
                total.unwrap_or_else(|| "the driver did not come to its end".to_owned())
            }
        };
        println!("{total}");
        Ok(if clean && total.ends_with(", 0 failed") {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

impl Sources {
    fn find(folder: &Path) -> Result<Self> {
        let mut groups = Vec::new();
        for entry in fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            if let (Some("c"), Some(stem)) = (path.extension().and_then(|e| e.to_str()), stem)
                && stem != "driver"
            {
                groups.push(stem.to_owned());
            }
        }
        groups.sort();
        Ok(Self {
            folder: folder.to_owned(),
            groups,
        })
    }

    /// Builds the driver of some groups; of all, if none is named.
    fn build(&self, only: &[String]) -> Result<Built> {
        if let Some(unknown) = only.iter().find(|name| !self.groups.contains(name)) {
            bail!(
                "there is no group `{unknown}`; the groups are: {}",
                self.groups.join(", ")
            );
        }
        let mut options = Options::new("conformance");
        options.source_folder = "conformance".to_owned();
        let mut files = vec![self.folder.join("driver.c")];
        if only.is_empty() {
            files.extend(self.groups.iter().map(|name| self.source(name)));
        } else {
            let (kernel, user) = lists(only);
            options.defines = vec![
                format!("CONFORMANCE_GROUPS={}", kernel.join(" ")),
                format!("CONFORMANCE_USER_GROUPS={}", user.join(" ")),
            ];
            files.extend(only.iter().map(|name| self.source(name)));
        }
        let built = build_driver_with(&Toolchain::find()?, &files, &options)?;
        ensure!(built.warnings.is_empty(), "{}", built.warnings.trim_end());
        Ok(built)
    }

    fn source(&self, group: &str) -> PathBuf {
        self.folder.join(format!("{group}.c"))
    }

    fn write_or_compare(&self, sys: &Path, compare: bool) -> Result<()> {
        let list = self.folder.join("groups.h");
        let (kernel, user) = lists(&self.groups);
        let text = format!(
            "/* The groups. Written by `cargo xtask conformance --rebuild`. */\n#define CONFORMANCE_GROUPS \\\n    {}\n#define CONFORMANCE_USER_GROUPS \\\n    {}\n",
            kernel.join(" \\\n    "),
            user.join(" \\\n    ")
        );
        if compare {
            ensure!(
                fs::read_to_string(&list).is_ok_and(|is| is == text),
                "conformance/groups.h does not list the sources; `cargo xtask conformance --rebuild` writes it"
            );
        } else {
            fs::write(&list, text)?;
        }
        // Other versions of the tools give other bytes, which says nothing about the sources.
        let lock = self.folder.join("..").join(crate::labs::LOCK);
        let recorded = fs::read_to_string(&lock).unwrap_or_default();
        if compare && recorded != Toolchain::find()?.lock() {
            eprintln!(
                "warning: the tools here are not those of {}, so the committed driver is not compared",
                crate::labs::LOCK
            );
            return Ok(());
        }
        let built = self.build(&[])?;
        let pdb = sys.with_extension("pdb");
        if compare {
            ensure!(
                fs::read(sys).is_ok_and(|is| is == built.sys)
                    && fs::read(&pdb).is_ok_and(|is| is == built.pdb),
                "the committed conformance driver is not what its sources give; `cargo xtask conformance --rebuild` builds it"
            );
        } else {
            fs::write(sys, built.sys)?;
            fs::write(pdb, built.pdb)?;
        }
        Ok(())
    }
}

/// The groups as macro calls: those called while the driver starts, and those called in a request.
fn lists(groups: &[String]) -> (Vec<String>, Vec<String>) {
    let mut kernel = Vec::new();
    let mut user = Vec::new();
    for group in groups {
        match group.strip_prefix("user_") {
            Some(name) => user.push(format!("USER_GROUP({name})")),
            None => kernel.push(format!("GROUP({group})")),
        }
    }
    (kernel, user)
}
