//! What a module of a build exports, as a text file that is compiled in and parsed when asked.

use std::sync::OnceLock;

/// The exports of one module.
#[derive(Debug)]
pub struct ModuleExports {
    file: &'static str,
    description: &'static str,
    forwards_to_nt: bool,
    text: &'static str,
    names: OnceLock<Names>,
}

/// Parsed names, each list sorted.
#[derive(Debug, Default)]
struct Names {
    functions: Vec<&'static str>,
    data: Vec<(&'static str, u32)>,
}

impl ModuleExports {
    /// A module whose exports stand in `text`: a name per line, `name data SIZE` for a variable of
    /// SIZE bytes, `#` before a comment.
    pub(super) const fn new(
        file: &'static str,
        description: &'static str,
        text: &'static str,
    ) -> Self {
        Self {
            file,
            description,
            forwards_to_nt: false,
            text,
            names: OnceLock::new(),
        }
    }

    /// The same for a module all of whose exports are forwarders to `ntoskrnl.exe`.
    pub(super) const fn forwarder(
        file: &'static str,
        description: &'static str,
        text: &'static str,
    ) -> Self {
        Self {
            file,
            description,
            forwards_to_nt: true,
            text,
            names: OnceLock::new(),
        }
    }

    /// The file name as it is on disk: `ntoskrnl.exe`, `HAL.dll`, `FLTMGR.SYS`.
    #[must_use]
    pub fn file(&self) -> &'static str {
        self.file
    }

    /// What its version resource calls it.
    #[must_use]
    pub fn description(&self) -> &'static str {
        self.description
    }

    /// Whether its exports are forwarders to `ntoskrnl.exe`.
    #[must_use]
    pub fn forwards_to_nt(&self) -> bool {
        self.forwards_to_nt
    }

    /// Names of the exported routines, sorted by byte value.
    #[must_use]
    pub fn functions(&self) -> &[&'static str] {
        &self.names().functions
    }

    /// Names and sizes in bytes of the exported variables, sorted by byte value of the name.
    #[must_use]
    pub fn data(&self) -> &[(&'static str, u32)] {
        &self.names().data
    }

    /// Whether it exports a routine or variable of this name.
    #[must_use]
    pub fn exports(&self, name: &str) -> bool {
        let names = self.names();
        names.functions.binary_search(&name).is_ok()
            || names
                .data
                .binary_search_by(|(known, _)| (*known).cmp(name))
                .is_ok()
    }

    fn names(&self) -> &Names {
        self.names.get_or_init(|| {
            let mut names = Names::default();
            for line in self.text.lines().filter(|line| !line.starts_with('#')) {
                let mut words = line.split_ascii_whitespace();
                match (words.next(), words.next(), words.next().map(str::parse)) {
                    (Some(name), Some("data"), Some(Ok(size))) => names.data.push((name, size)),
                    (Some(name), None, None) => names.functions.push(name),
                    _ => {}
                }
            }
            names.functions.sort_unstable();
            names.data.sort_unstable();
            names
        })
    }
}
