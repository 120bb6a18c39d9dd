//! `cargo xtask labs build|check`: the labs' drivers, which are committed beside their sources.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use object::{Object, ObjectSection, SectionKind};
use ring3_labs::build::{Built, build_driver_with};
use ring3_labs::lab::{self, Job, Lab};
use ring3_labs::toolchain::Toolchain;

/// Where the versions are recorded that the committed drivers were built with.
pub const LOCK: &str = "ddk/toolchain.lock";

/// What to do with the labs.
#[derive(Subcommand)]
pub enum Chore {
    /// Builds all variants into their lab folders.
    Build {
        /// Only this lab. All labs: the versions of the tools are recorded too.
        slug: Option<String>,
    },
    /// Builds all variants elsewhere and compares them with what is committed.
    Check,
}

/// Runs one of the chores; `root` is the root of the workspace.
pub fn run(root: &Path, chore: Chore) -> Result<ExitCode> {
    let tools = Toolchain::find()?;
    let folder = root.join("labs");
    match chore {
        Chore::Build { slug: Some(slug) } => build(&tools, &[lab::find(&folder, &slug)?]),
        Chore::Build { slug: None } => {
            build(&tools, &lab::list(&folder)?)?;
            write(&root.join(LOCK), tools.lock().as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Chore::Check => check(&tools, root, &lab::list(&folder)?),
    }
}

fn build(tools: &Toolchain, labs: &[Lab]) -> Result<ExitCode> {
    for job in labs.iter().flat_map(Lab::builds) {
        let built = make(tools, &job)?;
        write(&job.driver, &built.sys)?;
        write(&job.driver.with_extension("pdb"), &built.pdb)?;
        println!(
            "{}  {} bytes, PDB {} bytes",
            shown(&job),
            built.sys.len(),
            built.pdb.len()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// With the recorded versions of the tools all bytes must be equal; with others only the code is
/// compared, and a difference there is no more than a warning: another compiler may choose otherwise.
fn check(tools: &Toolchain, root: &Path, labs: &[Lab]) -> Result<ExitCode> {
    let recorded = fs::read_to_string(root.join(LOCK))
        .with_context(|| format!("{LOCK} cannot be read; `cargo xtask labs build` writes it"))?;
    let same_tools = recorded == tools.lock();
    if !same_tools {
        eprintln!(
            "warning: the tools here are not those of {LOCK}, so only code is compared:\n{}",
            tools.lock()
        );
    }
    let mut different = 0;
    for job in labs.iter().flat_map(Lab::builds) {
        let built = make(tools, &job)?;
        let sys = read(&job.driver)?;
        let pdb = read(&job.driver.with_extension("pdb"))?;
        let verdict = match (same_tools, built.sys == sys && built.pdb == pdb) {
            (_, true) => "same",
            (true, false) => {
                different += 1;
                "DIFFERENT"
            }
            (false, false) if code(&built.sys)? == code(&sys)? => "same code",
            (false, false) => "different code (warning)",
        };
        println!("{}  {verdict}", shown(&job));
    }
    if different > 0 {
        bail!(
            "{different} committed drivers differ from what their sources give; `cargo xtask labs build` builds them anew"
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn make(tools: &Toolchain, job: &Job) -> Result<Built> {
    let built = build_driver_with(tools, std::slice::from_ref(&job.source), &job.options)
        .with_context(|| shown(job))?;
    if !built.warnings.is_empty() {
        eprintln!("{}: {}", shown(job), built.warnings.trim_end());
    }
    Ok(built)
}

/// The executable sections: name, and bytes.
fn code(image: &[u8]) -> Result<Vec<(String, Vec<u8>)>> {
    let file = object::File::parse(image).context("a driver that is no PE image")?;
    file.sections()
        .filter(|section| section.kind() == SectionKind::Text)
        .map(|section| Ok((section.name()?.to_owned(), section.data()?.to_vec())))
        .collect()
}

fn shown(job: &Job) -> String {
    format!("{}/{}.sys", job.options.source_folder, job.options.name)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| {
        format!(
            "{} cannot be read; `cargo xtask labs build` builds it",
            path.display()
        )
    })
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("{} cannot be written", path.display()))
}
