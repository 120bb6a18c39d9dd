//! The driver kit: headers, import definitions and run-time pieces, as they are in `ddk/`.

use std::path::Path;
use std::{fs, io};

/// Every file of the kit: path with forward slashes, beginning with `ddk/`, and content; sorted by path.
pub const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/kit.rs"));

/// The paths of one folder of the kit (`def`, `include`, `lib`), sorted.
pub fn folder(name: &str) -> impl Iterator<Item = &'static str> {
    let prefix = format!("ddk/{name}/");
    FILES
        .iter()
        .map(|(path, _)| *path)
        .filter(move |path| path.starts_with(&prefix))
}

/// Writes the whole kit below `directory`.
///
/// # Errors
/// What the file system says.
pub fn write_to(directory: &Path) -> io::Result<()> {
    for (path, content) in FILES {
        let file = directory.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(file, content)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kit_has_its_three_folders() {
        assert!(folder("include").any(|path| path == "ddk/include/ntddk.h"));
        assert!(folder("def").any(|path| path == "ddk/def/ntoskrnl.def"));
        assert!(folder("lib").any(|path| path == "ddk/lib/load_config.s"));
    }

    #[test]
    fn definitions_are_sorted_and_name_nothing_twice() {
        for (path, content) in FILES.iter().filter(|(path, _)| path.ends_with(".def")) {
            let text = String::from_utf8_lossy(content);
            let names: Vec<&str> = text
                .lines()
                .filter(|line| line.starts_with(' '))
                .filter_map(|line| line.split_whitespace().next())
                .collect();
            assert!(names.is_sorted(), "{path} is not sorted");
            assert!(
                names.windows(2).all(|pair| pair[0] != pair[1]),
                "{path} names something twice"
            );
        }
    }
}
