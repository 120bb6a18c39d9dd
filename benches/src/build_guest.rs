//! Builds the images of `guest/` from their sources, with the flags of the labs. `--check` only compares.

#![forbid(unsafe_code)]

use anyhow::{Context, ensure};
use ring3_bench::folder;
use ring3_labs::build::{Options, build_driver};

/// The images, and their entry points.
const IMAGES: [(&str, &str); 2] = [("workloads", "RunWorkload"), ("kernel-work", "DriverEntry")];

fn main() -> anyhow::Result<()> {
    let check = std::env::args().any(|argument| argument == "--check");
    for (name, entry) in IMAGES {
        let mut options = Options::new(name);
        entry.clone_into(&mut options.entry);
        options.source_folder = "benches/guest".to_owned();
        let built = build_driver(&[folder().join(format!("guest/{name}.c"))], &options)?;
        print!("{}", built.warnings);
        let path = folder().join(format!("guest/{name}.sys"));
        if check {
            let committed =
                std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            ensure!(
                committed == built.sys,
                "{} is not what its source gives; build it again",
                path.display()
            );
        } else {
            std::fs::write(&path, built.sys)
                .with_context(|| format!("writing {}", path.display()))?;
        }
    }
    Ok(())
}
