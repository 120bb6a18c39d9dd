//! Builds `guest/workloads.sys` from its source, with the flags of the labs. `--check` only compares.

#![forbid(unsafe_code)]

use anyhow::{Context, ensure};
use ring3_bench::{folder, guest_image};
use ring3_labs::build::{Options, build_driver};

fn main() -> anyhow::Result<()> {
    let mut options = Options::new("workloads");
    options.entry = "RunWorkload".to_owned();
    options.source_folder = "benches/guest".to_owned();
    let built = build_driver(&[folder().join("guest/workloads.c")], &options)?;
    print!("{}", built.warnings);
    let path = guest_image();
    if std::env::args().any(|argument| argument == "--check") {
        let committed =
            std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        ensure!(
            committed == built.sys,
            "{} is not what its source gives; build it again",
            path.display()
        );
    } else {
        std::fs::write(&path, built.sys).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
