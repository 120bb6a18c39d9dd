//! The commands.

mod build;
mod imports;
mod lab;
mod rules;
mod run;

use clap::{Parser, Subcommand};

use crate::exit;

/// Runs and checks Windows kernel-mode drivers on any machine, with no Windows.
#[derive(Debug, Parser)]
#[command(name = "ring3", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load a driver, talk to it, unload it, and say what was wrong.
    Run(run::Run),
    /// What a driver needs, what of it is modelled, what is missing.
    Imports(imports::Imports),
    /// Build a lab driver with clang and lld; no WDK is needed.
    Build(build::Build),
    /// Every rule that a driver can break, with its explanation.
    Rules(rules::Rules),
    /// The learning library.
    #[command(subcommand)]
    Lab(lab::Lab),
}

/// Runs the command line; gives the exit code.
#[must_use]
pub fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let help = !error.use_stderr();
            let _ = error.print();
            return if help { exit::CLEAN } else { exit::USAGE };
        }
    };
    let result = match cli.command {
        Command::Run(command) => command.run(),
        Command::Imports(command) => command.run(),
        Command::Build(command) => command.run(),
        Command::Rules(command) => command.run(),
        Command::Lab(command) => command.run(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ring3: {error:#}");
            exit::USAGE
        }
    }
}

/// Whether to colour what goes to this stream: only on a terminal, and never with NO_COLOR.
fn style(terminal: bool) -> crate::report::text::Style {
    crate::report::text::Style {
        colour: terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
    }
}
