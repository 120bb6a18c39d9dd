//! `ring3 imports`.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::style;
use crate::imports::{Import, Status, imports};
use crate::{DriverFile, exit};

/// Arguments of `ring3 imports`.
#[derive(Debug, Args)]
pub struct Imports {
    /// The driver (.sys).
    driver: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output {
    driver: String,
    imports: Vec<Import>,
}

impl Imports {
    pub fn run(self) -> anyhow::Result<u8> {
        let driver = DriverFile::read(&self.driver)?;
        let all = imports(&driver.image);
        if self.json {
            println!(
                "{}",
                serde_json::to_string_pretty(&Output {
                    driver: driver.name,
                    imports: all
                })?
            );
            return Ok(exit::CLEAN);
        }
        let style = style(std::io::stdout().is_terminal());
        describe(&driver);
        let mut module = "";
        for import in &all {
            if import.module != module {
                module = &import.module;
                println!("{module}");
            }
            let word = match import.status {
                Status::Modelled => style.green("modelled"),
                Status::Partial => style.yellow("partial "),
                Status::Missing => style.red("missing "),
            };
            let note = if import.fidelity.is_empty() {
                String::new()
            } else {
                format!("  ({})", import.fidelity)
            };
            println!("  {word}  {}{}", import.name, style.dim(&note));
        }
        let missing = all.iter().filter(|i| i.status == Status::Missing).count();
        println!(
            "{} imports, {} modelled, {missing} missing",
            all.len(),
            all.len() - missing
        );
        Ok(exit::CLEAN)
    }
}

/// What the image says of itself.
fn describe(driver: &DriverFile) {
    let image = &driver.image;
    print!("{}: x64 driver, {} bytes mapped", driver.name, image.size);
    if let Some(text) = image
        .version
        .as_ref()
        .and_then(|v| v.strings.get("FileVersion"))
    {
        print!(", version {text}");
    }
    if let Some(signature) = &image.signature {
        print!(", signed by {}", signature.signers.join(", "));
    }
    println!();
    for warning in &driver.warnings {
        println!("  warning: {warning}");
    }
}
