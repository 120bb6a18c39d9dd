//! Finding clang, lld and the import library maker.

use std::path::PathBuf;
use std::process::Command;

use crate::build::BuildError;

/// The version that the committed drivers are built with, and the oldest that is accepted.
pub const MAJOR: u32 = 19;

/// One program and what it says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its name without version; what it is told that it is called.
    pub name: &'static str,
    /// What to start.
    pub program: PathBuf,
    /// The line that holds the version, as the program prints it.
    pub version: String,
}

/// The three programs that a build needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// The C compiler.
    pub clang: Tool,
    /// The linker, in its guise as Microsoft's.
    pub linker: Tool,
    /// Makes import libraries from `.def` files.
    pub dlltool: Tool,
}

impl Toolchain {
    /// Looks for the programs by name, with the version in the name first (`clang-19`, then `clang`).
    ///
    /// # Errors
    /// [`BuildError::Tool`] names what is missing or too old, and what to install.
    pub fn find() -> Result<Self, BuildError> {
        Ok(Self {
            clang: find("clang")?,
            linker: find("lld-link")?,
            dlltool: find("llvm-dlltool")?,
        })
    }

    /// What a lock file records: the versions of compiler and linker. Both get into the PDB, hence
    /// into its identity, hence into the driver: with another version, bytes differ.
    #[must_use]
    pub fn lock(&self) -> String {
        format!(
            "# The programs that built the committed drivers. With the same versions, a rebuild gives the same bytes.\nclang = {:?}\nlinker = {:?}\n",
            self.clang.version, self.linker.version
        )
    }
}

fn find(name: &'static str) -> Result<Tool, BuildError> {
    let mut too_old = None;
    for candidate in [format!("{name}-{MAJOR}"), name.to_owned()] {
        // dlltool has no --version; it comes with the compiler, so that its presence is enough.
        let argument = if name == "llvm-dlltool" {
            "--help"
        } else {
            "--version"
        };
        let Ok(output) = Command::new(&candidate).arg(argument).output() else {
            continue;
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if name == "llvm-dlltool" {
            return Ok(Tool {
                name,
                program: candidate.into(),
                version: String::new(),
            });
        }
        let version = version_line(&text).unwrap_or_default().to_owned();
        match major(&version) {
            Some(number) if number >= MAJOR => {
                return Ok(Tool {
                    name,
                    program: candidate.into(),
                    version,
                });
            }
            _ => too_old = Some(format!("{candidate} is `{version}`")),
        }
    }
    Err(BuildError::Tool {
        name,
        found: too_old
            .unwrap_or_else(|| format!("neither {name}-{MAJOR} nor {name} can be started")),
    })
}

fn version_line(text: &str) -> Option<&str> {
    text.lines()
        .map(str::trim)
        .find(|line| line.contains("version") || line.contains("LLD"))
}

/// The first number with a dot after it: `Debian clang version 19.1.7 (3~deb12u1)` is 19.
fn major(line: &str) -> Option<u32> {
    line.split_whitespace().find_map(|word| {
        word.split_once('.')
            .and_then(|(first, _)| first.parse().ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_programs_print_them() {
        assert_eq!(major("Debian clang version 19.1.7 (3~deb12u1)"), Some(19));
        assert_eq!(major("Debian LLD 19.1.7"), Some(19));
        assert_eq!(major("LLD 22.1.2 (compatible with GNU linkers)"), Some(22));
        assert_eq!(
            major("Apple clang version 15.0.0 (clang-1500.3.9.4)"),
            Some(15)
        );
        assert_eq!(major(""), None);
    }

    #[test]
    fn the_version_line_is_found_among_others() {
        let text = "Ubuntu clang version 19.1.1 (1ubuntu1)\nTarget: x86_64-pc-linux-gnu\n";
        assert_eq!(
            version_line(text),
            Some("Ubuntu clang version 19.1.1 (1ubuntu1)")
        );
    }
}
