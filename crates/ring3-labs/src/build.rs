//! Building a driver from C with clang and lld: same sources, same bytes, whatever the directory.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{fs, io};

use crate::toolchain::{MAJOR, Tool, Toolchain};
use crate::{flags, kit};

/// How to build one driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Name of the driver without extension; the image refers to its PDB by this name.
    pub name: String,
    /// Macros to define: `NAME` or `NAME=VALUE`.
    pub defines: Vec<String>,
    /// More compiler flags.
    pub flags_add: Vec<String>,
    /// Compiler flags of [`flags::COMPILE`] to leave out.
    pub flags_remove: Vec<String>,
    /// The folder that the PDB shows the sources in, below `/ring3` (`labs/first-driver`; empty: none).
    pub source_folder: String,
    /// The image's entry point.
    pub entry: String,
}

impl Options {
    /// A WDM driver of this name, built with all the flags.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            defines: Vec::new(),
            flags_add: Vec::new(),
            flags_remove: Vec::new(),
            source_folder: String::new(),
            entry: "DriverEntry".to_owned(),
        }
    }
}

/// A built driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The image.
    pub sys: Vec<u8>,
    /// Its debug information.
    pub pdb: Vec<u8>,
    /// What compiler and linker had to say; empty when nothing.
    pub warnings: String,
}

/// Why a driver was not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A program is missing or too old.
    #[error(
        "building drivers needs {name} {MAJOR} or newer, but {found}. Install it: `apt-get install --no-install-recommends clang-{MAJOR} lld-{MAJOR} llvm-{MAJOR}` (Debian, Ubuntu), `dnf install clang lld llvm` (Fedora), `brew install llvm lld` (macOS)"
    )]
    Tool {
        /// Its name without version.
        name: &'static str,
        /// What was found instead.
        found: String,
    },
    /// A source file that cannot be used.
    #[error("{}: {problem}", path.display())]
    Source {
        /// The file as it was given.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The name is not one that a file in the build directory can have.
    #[error("`{0}` cannot be the name of a driver: use letters, digits, `-` and `_`")]
    Name(String),
    /// `flags_remove` names something that is not among the flags.
    #[error(
        "cannot leave out `{0}`: it is not among the compiler flags that drivers are built with"
    )]
    Flag(String),
    /// The compiler or the linker refused.
    #[error("{step} failed:\n{text}")]
    Refused {
        /// What was being done.
        step: String,
        /// What the program printed.
        text: String,
    },
    /// The file system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

/// Compiles `sources` (`.c` or `.s`) and the kit's run-time pieces, and links them into a driver.
///
/// All happens in a fresh temporary directory with relative names, as file names get into the
/// PDB and through its identity into the image. Headers (`.h`) beside the sources come along.
///
/// # Errors
/// See [`BuildError`]; what the compiler prints is part of it.
pub fn build_driver(sources: &[PathBuf], options: &Options) -> Result<Built, BuildError> {
    build_driver_with(&Toolchain::find()?, sources, options)
}

/// As [`build_driver`], with programs that were found before.
///
/// # Errors
/// As [`build_driver`].
pub fn build_driver_with(
    tools: &Toolchain,
    sources: &[PathBuf],
    options: &Options,
) -> Result<Built, BuildError> {
    if options.name.is_empty()
        || !options
            .name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    {
        return Err(BuildError::Name(options.name.clone()));
    }
    let mut compile =
        flags::compile(&options.flags_add, &options.flags_remove).map_err(BuildError::Flag)?;
    compile.extend(options.defines.iter().map(|define| format!("-D{define}")));

    let directory = tempfile::Builder::new()
        .prefix("ring3-build")
        .tempdir()
        .map_err(|source| BuildError::Io {
            what: "making a temporary directory".to_owned(),
            source,
        })?;
    let work = Work {
        directory: directory.path(),
        tools,
        warnings: String::new(),
    };
    work.run(&compile, sources, options)
}

/// One build in progress.
struct Work<'a> {
    directory: &'a Path,
    tools: &'a Toolchain,
    warnings: String,
}

impl Work<'_> {
    fn run(
        mut self,
        compile: &[String],
        sources: &[PathBuf],
        options: &Options,
    ) -> Result<Built, BuildError> {
        kit::write_to(self.directory).map_err(|source| BuildError::Io {
            what: "writing the driver kit".to_owned(),
            source,
        })?;
        let plain = flags::compile(&[], &[]).map_err(BuildError::Flag)?;
        let mut objects = Vec::new();
        for source in sources {
            let inside = self.bring(source, &options.source_folder)?;
            objects.push(self.compile(compile, &inside)?);
        }
        let mut pieces = Vec::new();
        for piece in kit::folder("lib") {
            pieces.push(self.compile(&plain, piece)?);
        }
        let mut libraries = Vec::new();
        for definition in kit::folder("def").filter(|path| path.ends_with(".def")) {
            libraries.push(self.import_library(definition)?);
        }
        self.link(options, &objects, &pieces, &libraries)?;
        Ok(Built {
            sys: self.read(&options.name, "sys")?,
            pdb: self.read(&options.name, "pdb")?,
            warnings: self.warnings,
        })
    }

    /// Copies a source and the headers beside it; returns its name inside the build directory.
    fn bring(&self, source: &Path, folder: &str) -> Result<String, BuildError> {
        let problem = |text: &str| BuildError::Source {
            path: source.to_owned(),
            problem: text.to_owned(),
        };
        let name = source
            .file_name()
            .and_then(OsStr::to_str)
            .ok_or_else(|| problem("not a file name"))?;
        if !matches!(
            source.extension().and_then(OsStr::to_str),
            Some("c" | "s" | "S")
        ) {
            return Err(problem(
                "only C (.c) and assembly (.s) sources are built here",
            ));
        }
        if !source.is_file() {
            return Err(problem("there is no such file"));
        }
        let target = self.directory.join(folder);
        let io = |source| BuildError::Io {
            what: format!("copying {name}"),
            source,
        };
        fs::create_dir_all(&target).map_err(io)?;
        fs::copy(source, target.join(name)).map_err(io)?;
        let beside = source
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        for entry in fs::read_dir(beside).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if let (Some("h"), Some(header)) =
                (path.extension().and_then(OsStr::to_str), path.file_name())
            {
                fs::copy(&path, target.join(header)).map_err(io)?;
            }
        }
        Ok(if folder.is_empty() {
            name.to_owned()
        } else {
            format!("{folder}/{name}")
        })
    }

    fn compile(&mut self, flags: &[String], source: &str) -> Result<String, BuildError> {
        let stem = Path::new(source)
            .file_stem()
            .and_then(OsStr::to_str)
            .unwrap_or("source");
        // A driver's source may have the name of a piece of the kit.
        let object = if source.starts_with("ddk/") {
            format!("ddk-{stem}.obj")
        } else {
            format!("{stem}.obj")
        };
        let mut command = self.command(&self.tools.clang);
        if source.ends_with(".c") {
            command
                .args(flags)
                .args(["-Xclang", &format!("-object-file-name={object}")]);
        } else {
            command.arg("--target=x86_64-pc-windows-msvc");
        }
        command.args(["-c", source, "-o", &object]);
        self.finish(command, format!("compiling {source}"))?;
        Ok(object)
    }

    fn import_library(&mut self, definition: &str) -> Result<String, BuildError> {
        let stem = Path::new(definition)
            .file_stem()
            .and_then(OsStr::to_str)
            .unwrap_or("import");
        let library = format!("{stem}.lib");
        let mut command = self.command(&self.tools.dlltool);
        command.args(["-m", "i386:x86-64", "-d", definition, "-l", &library]);
        self.finish(command, format!("making {library}"))?;
        Ok(library)
    }

    fn link(
        &mut self,
        options: &Options,
        objects: &[String],
        pieces: &[String],
        libraries: &[String],
    ) -> Result<(), BuildError> {
        let name = &options.name;
        let mut command = self.command(&self.tools.linker);
        command
            .args(flags::LINK)
            .arg(format!("/entry:{}", options.entry))
            .arg(format!("/pdbaltpath:{name}.pdb"))
            .arg(format!("/out:{name}.sys"))
            .arg(format!("/pdb:{name}.pdb"))
            .args(objects)
            // The pieces of the kit are taken as they are needed. The load configuration always is,
            // and nothing but the linker refers to it.
            .args(["/include:_load_config_used", "/start-lib"])
            .args(pieces)
            .arg("/end-lib")
            .args(libraries);
        self.finish(command, format!("linking {name}.sys"))
    }

    fn command(&self, tool: &Tool) -> Command {
        let mut command = Command::new(&tool.program);
        // The linker writes the name it is called by into the PDB: it must not depend on the host.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::arg0(&mut command, tool.name);
        // Nor must what the user has set for his own builds get in.
        for variable in [
            "CPATH",
            "C_INCLUDE_PATH",
            "INCLUDE",
            "LIB",
            "LINK",
            "_LINK_",
            "CL",
            "_CL_",
            "CCC_OVERRIDE_OPTIONS",
        ] {
            command.env_remove(variable);
        }
        command.current_dir(self.directory);
        command
    }

    fn finish(&mut self, mut command: Command, step: String) -> Result<(), BuildError> {
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().map_err(|source| BuildError::Io {
            what: step.clone(),
            source,
        })?;
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        );
        if !status.success() {
            return Err(BuildError::Refused { step, text });
        }
        self.warnings.push_str(&text);
        Ok(())
    }

    fn read(&self, name: &str, extension: &str) -> Result<Vec<u8>, BuildError> {
        let file = format!("{name}.{extension}");
        fs::read(self.directory.join(&file)).map_err(|source| BuildError::Io {
            what: format!("reading the built {file}"),
            source,
        })
    }
}
