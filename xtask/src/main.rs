//! The chores of the project: `cargo xtask CHORE`.

#![forbid(unsafe_code)]

mod conformance;
mod defs;
mod labs;
mod mutants;
mod parallel;
mod seeded;
mod soak;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The chores of the project.")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// The conformance driver, run in ring3.
    Conformance(conformance::Conformance),
    /// The module definition files of the driver kit.
    Defs(defs::Defs),
    /// Every variant of every lab under many schedules.
    Soak(soak::Soak),
    /// How many planted mistakes in the kernel the tests catch.
    Mutants(mutants::Mutants),
    /// Drivers with one planted bug each, and their fixed twins.
    SeededBugs(seeded::Seeded),
    /// The labs' drivers.
    Labs {
        #[command(subcommand)]
        what: labs::Chore,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().chore {
        Chore::Conformance(conformance) => conformance.run(&root()),
        Chore::Soak(soak) => soak.run(&root()),
        Chore::Mutants(mutants) => mutants.run(&root()),
        Chore::SeededBugs(seeded) => seeded.run(&root()),
        Chore::Defs(defs) => defs.run(&root()),
        Chore::Labs { what } => labs::run(&root(), what),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
