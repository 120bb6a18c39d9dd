//! `ring3 build`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use ring3_labs::build::{Options, build_driver};

use crate::exit;

/// Arguments of `ring3 build`.
#[derive(Debug, Args)]
pub struct Build {
    /// The C sources; headers beside them are found.
    #[arg(required = true, value_name = "DRIVER.c")]
    sources: Vec<PathBuf>,
    /// The driver to write, its PDB beside it; default: the first source with `.sys`.
    #[arg(short, value_name = "X.sys")]
    output: Option<PathBuf>,
    /// Defines a macro: NAME or NAME=VALUE.
    #[arg(short = 'D', value_name = "NAME")]
    defines: Vec<String>,
}

impl Build {
    pub fn run(self) -> anyhow::Result<u8> {
        let output = match (self.output, self.sources.first()) {
            (Some(output), _) => output,
            (None, Some(source)) => source.with_extension("sys"),
            (None, None) => bail!("no source given"),
        };
        let Some(name) = output.file_stem().and_then(|n| n.to_str()) else {
            bail!(
                "{} is no name for a driver; give -o NAME.sys",
                output.display()
            );
        };
        let options = Options {
            defines: self.defines,
            ..Options::new(name)
        };
        let built = build_driver(&self.sources, &options)?;
        if !built.warnings.is_empty() {
            eprint!("{}", built.warnings);
        }
        let pdb = output.with_extension("pdb");
        for (path, bytes) in [(&output, &built.sys), (&pdb, &built.pdb)] {
            std::fs::write(path, bytes)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        println!(
            "{}: {} bytes, {}: {} bytes",
            output.display(),
            built.sys.len(),
            pdb.display(),
            built.pdb.len()
        );
        Ok(exit::CLEAN)
    }
}
