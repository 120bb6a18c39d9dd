//! `cargo xtask defs`: the module definition files of the driver kit, from the export declarations.
//!
//! A driver built with the kit can import what ring3 models, and what `ddk/def/allow.txt` names beyond
//! that (for drivers that show what a missing import does).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

/// Modules with a definition file.
const MODULES: [&str; 2] = ["ntoskrnl.exe", "HAL.dll"];

/// Arguments of `cargo xtask defs`.
#[derive(Args)]
pub struct Defs {
    /// Only compare with the committed files.
    #[arg(long)]
    check: bool,
}

impl Defs {
    pub fn run(self, root: &Path) -> anyhow::Result<ExitCode> {
        let folder = root.join("ddk/def");
        let allowed =
            std::fs::read_to_string(folder.join("allow.txt")).context("ddk/def/allow.txt")?;
        let mut stale = Vec::new();
        for module in MODULES {
            let file = folder.join(Path::new(module).with_extension("def"));
            let text = definition(module, &allowed)?;
            if self.check {
                if std::fs::read_to_string(&file).ok().as_deref() != Some(text.as_str()) {
                    stale.push(file.display().to_string());
                }
            } else {
                std::fs::write(&file, text).with_context(|| file.display().to_string())?;
                println!("wrote {}", file.display());
            }
        }
        if !stale.is_empty() {
            bail!(
                "{} differ from the declarations; run `cargo xtask defs`",
                stale.join(", ")
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn definition(module: &str, allowed: &str) -> anyhow::Result<String> {
    let table = ring3_nt::table::exports();
    let mut names: BTreeMap<String, bool> = BTreeMap::new();
    for export in table.all().iter().filter(|e| e.module == module) {
        for name in std::iter::once(&export.name).chain(export.aliases) {
            names.insert((*name).to_owned(), false);
        }
    }
    for variable in table.variables().filter(|v| v.module == module) {
        names.insert(variable.name.to_owned(), true);
    }
    for line in allowed
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
    {
        let mut words = line.split_whitespace();
        let (Some(of), Some(name)) = (words.next(), words.next()) else {
            bail!("ddk/def/allow.txt: `{line}` is not `MODULE NAME [DATA]`");
        };
        if of == module {
            names.insert(name.to_owned(), words.next() == Some("DATA"));
        }
    }
    let mut text = format!(
        "; Made by `cargo xtask defs` from the export declarations. Do not edit.\nLIBRARY {module}\nEXPORTS\n"
    );
    for (name, data) in names {
        let _ = writeln!(text, "    {name}{}", if data { " DATA" } else { "" });
    }
    Ok(text)
}
