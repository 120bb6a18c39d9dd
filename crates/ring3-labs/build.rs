//! Puts the driver kit (`ddk/`) into the library, so that an installed ring3 builds drivers too.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let kit = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap_or_default())
        .join("../../ddk")
        .canonicalize()?;
    let mut text = String::from("&[\n");
    for folder in ["def", "include", "lib"] {
        let directory = kit.join(folder);
        println!("cargo:rerun-if-changed={}", directory.display());
        let mut files: Vec<PathBuf> = fs::read_dir(&directory)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        for file in files.iter().filter(|file| file.is_file()) {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            writeln!(
                text,
                "    ({:?}, include_bytes!({:?})),",
                format!("ddk/{folder}/{name}"),
                file
            )
            .map_err(io::Error::other)?;
        }
    }
    text.push_str("]\n");
    fs::write(
        Path::new(&env::var("OUT_DIR").unwrap_or_default()).join("kit.rs"),
        text,
    )
}
