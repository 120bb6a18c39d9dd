//! `lab.toml`: what a lab consists of.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Deserialize;

use crate::build::Options;
use crate::expect::Expect;

/// One lab, as its `lab.toml` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lab {
    /// The folder it lies in.
    pub folder: PathBuf,
    /// Its name; also the name of the folder.
    pub slug: String,
    /// A title for people.
    pub title: String,
    /// The topic of the syllabus that it belongs to.
    pub topic: String,
    /// What it shows, in a sentence or two.
    pub summary: String,
    /// Its variants, in the order of the file; at least one.
    pub variants: Vec<Variant>,
}

/// One variant: drivers, something to do with them, and what must come out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// `right`, or `wrong-...` after the planted mistake.
    pub name: String,
    /// One sentence about it.
    #[serde(default)]
    pub summary: String,
    /// The drivers to load, in order; files in the lab's folder. The first is the one under test.
    pub drivers: Vec<String>,
    /// The scenario to run, a file in the lab's folder.
    #[serde(default)]
    pub scenario: Option<String>,
    /// Virtual processors that it needs at least; with fewer it is run on so many.
    #[serde(default)]
    pub processors: u8,
    /// How the drivers are built.
    #[serde(default)]
    pub build: OneOrMany,
    /// What must come out.
    pub expect: Expect,
}

/// How one driver of a variant is built.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// The driver that comes out, when it is not the variant's first.
    #[serde(default)]
    pub driver: Option<String>,
    /// The source, a file in the lab's folder.
    pub source: String,
    /// Macros to define.
    #[serde(default)]
    pub defines: Vec<String>,
    /// More compiler flags.
    #[serde(default)]
    pub flags_add: Vec<String>,
    /// Compiler flags to leave out.
    #[serde(default)]
    pub flags_remove: Vec<String>,
}

/// `build = { .. }` or `build = [{ .. }, { .. }]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One driver.
    One(Build),
    /// Several drivers, or none when the images come from elsewhere.
    Many(Vec<Build>),
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

/// One driver to build: what [`Lab::builds`] makes of all variants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The source.
    pub source: PathBuf,
    /// The image that comes out; the PDB lies beside it.
    pub driver: PathBuf,
    /// How.
    pub options: Options,
}

/// Why a lab could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// The folder or file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is not what `docs/labs.md` describes.
    #[error("{}: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// The file is well formed and still wrong.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// There is no such lab.
    #[error("there is no lab `{slug}` in {}; there are: {}", folder.display(), known.join(", "))]
    Unknown {
        /// The name that was asked for.
        slug: String,
        /// Where it was looked for.
        folder: PathBuf,
        /// The labs that are there.
        known: Vec<String>,
    },
}

/// The file as it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    slug: String,
    title: String,
    topic: String,
    summary: String,
    #[serde(rename = "variant")]
    variants: Vec<Variant>,
}

impl Lab {
    /// Reads the lab in `folder`.
    ///
    /// # Errors
    /// [`LabError`] says which file and what is wrong with it.
    pub fn load(folder: &Path) -> Result<Self, LabError> {
        let path = folder.join("lab.toml");
        let text = fs::read_to_string(&path).map_err(|source| LabError::Read {
            path: path.clone(),
            source,
        })?;
        let lab = Self::parse(folder, &text)?;
        match folder.file_name() {
            Some(name) if *name != *lab.slug => Err(LabError::Content {
                path,
                problem: format!(
                    "slug is `{}`, but the folder is `{}`",
                    lab.slug,
                    name.display()
                ),
            }),
            _ => Ok(lab),
        }
    }

    /// Reads a lab from the text of its `lab.toml`; `folder` is where its files are.
    ///
    /// # Errors
    /// As [`Lab::load`].
    pub fn parse(folder: &Path, text: &str) -> Result<Self, LabError> {
        let path = folder.join("lab.toml");
        let file: File = toml::from_str(text).map_err(|source| LabError::Syntax {
            path: path.clone(),
            source: Box::new(source),
        })?;
        let lab = Self {
            folder: folder.to_owned(),
            slug: file.slug,
            title: file.title,
            topic: file.topic,
            summary: file.summary,
            variants: file.variants,
        };
        match lab.problem() {
            Some(problem) => Err(LabError::Content { path, problem }),
            None => Ok(lab),
        }
    }

    /// The variant of this name.
    #[must_use]
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.name == name)
    }

    /// The images of a variant, in the order of loading.
    pub fn drivers<'a>(&'a self, variant: &'a Variant) -> impl Iterator<Item = PathBuf> + 'a {
        variant
            .drivers
            .iter()
            .map(|driver| self.folder.join(driver))
    }

    /// The scenario of a variant.
    #[must_use]
    pub fn scenario(&self, variant: &Variant) -> Option<PathBuf> {
        variant
            .scenario
            .as_ref()
            .map(|scenario| self.folder.join(scenario))
    }

    /// Every driver that is built for this lab, each once, in the order of the file.
    #[must_use]
    pub fn builds(&self) -> Vec<Job> {
        let mut jobs: Vec<Job> = Vec::new();
        for variant in &self.variants {
            for build in variant.build.iter() {
                let Some(driver) = build.driver.as_ref().or(variant.drivers.first()) else {
                    continue;
                };
                let mut options = Options::new(driver.trim_end_matches(".sys"));
                options.defines.clone_from(&build.defines);
                options.flags_add.clone_from(&build.flags_add);
                options.flags_remove.clone_from(&build.flags_remove);
                options.source_folder = format!("labs/{}", self.slug);
                let job = Job {
                    source: self.folder.join(&build.source),
                    driver: self.folder.join(driver),
                    options,
                };
                if !jobs.iter().any(|known| known.driver == job.driver) {
                    jobs.push(job);
                }
            }
        }
        jobs
    }

    /// What the syntax does not forbid and still cannot be.
    fn problem(&self) -> Option<String> {
        let plain =
            |name: &str| !name.is_empty() && !name.contains(['/', '\\']) && !name.starts_with('.');
        if self.variants.is_empty() {
            return Some("there is no [[variant]]".to_owned());
        }
        for (index, variant) in self.variants.iter().enumerate() {
            let name = &variant.name;
            if self
                .variants
                .iter()
                .take(index)
                .any(|other| other.name == *name)
            {
                return Some(format!("there are two variants `{name}`"));
            }
            if variant.drivers.is_empty() {
                return Some(format!("variant `{name}` has no drivers"));
            }
            let sources = variant.build.iter().map(|build| &build.source);
            let built = variant
                .build
                .iter()
                .filter_map(|build| build.driver.as_ref());
            if let Some(file) = variant
                .drivers
                .iter()
                .chain(&variant.scenario)
                .chain(sources)
                .chain(built)
                .find(|file| !plain(file))
            {
                return Some(format!(
                    "variant `{name}`: `{file}` must be the name of a file in the lab's own folder"
                ));
            }
            if let Some(problem) = variant.expect.problem() {
                return Some(format!("variant `{name}`: {problem}"));
            }
        }
        None
    }
}

impl OneOrMany {
    /// The builds, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Build> {
        match self {
            Self::One(build) => std::slice::from_ref(build).iter(),
            Self::Many(builds) => builds.iter(),
        }
    }
}

/// All labs below `folder` (usually `labs/`), sorted by name.
///
/// # Errors
/// [`LabError`]: the folder cannot be read, or one of the labs is wrong.
pub fn list(folder: &Path) -> Result<Vec<Lab>, LabError> {
    let read = |source| LabError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.join("lab.toml").is_file() {
            folders.push(path);
        }
    }
    folders.sort();
    folders.iter().map(|path| Lab::load(path)).collect()
}

/// The lab of this name below `folder`.
///
/// # Errors
/// [`LabError::Unknown`] lists the labs that are there; others as [`Lab::load`].
pub fn find(folder: &Path, slug: &str) -> Result<Lab, LabError> {
    let path = folder.join(slug);
    let is_name = !slug.is_empty() && !slug.contains(['/', '\\', '.']);
    if is_name && path.join("lab.toml").is_file() {
        return Lab::load(&path);
    }
    let known = list(folder)?.into_iter().map(|lab| lab.slug).collect();
    Err(LabError::Unknown {
        slug: slug.to_owned(),
        folder: folder.to_owned(),
        known,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAB: &str = r#"
        slug = "one"
        title = "One"
        topic = "none"
        summary = "A lab."
        [[variant]]
        name = "right"
        drivers = ["one.sys"]
        scenario = "one.rhai"
        build = { source = "one.c" }
        expect = { exit = 0, outcome = "clean" }
        [[variant]]
        name = "wrong-leak"
        drivers = ["one-wrong-leak.sys", "other.sys"]
        build = [{ source = "one.c", defines = ["WRONG_LEAK"] }, { driver = "other.sys", source = "other.c", flags_remove = ["-O2"] }]
        expect = { exit = 0, outcome = "findings", findings = ["pool/leak"] }
    "#;

    #[test]
    fn jobs_come_from_all_variants() {
        let lab = Lab::parse(Path::new("labs/one"), LAB).expect("a lab");
        let jobs = lab.builds();
        let names: Vec<&str> = jobs.iter().map(|job| job.options.name.as_str()).collect();
        assert_eq!(names, ["one", "one-wrong-leak", "other"]);
        assert_eq!(jobs[1].options.defines, ["WRONG_LEAK"]);
        assert_eq!(jobs[2].source, Path::new("labs/one/other.c"));
        assert_eq!(jobs[2].options.flags_remove, ["-O2"]);
        assert_eq!(jobs[2].options.source_folder, "labs/one");
    }

    #[test]
    fn files_outside_the_folder_are_refused() {
        let text = LAB.replace("\"one.rhai\"", "\"../one.rhai\"");
        let error = Lab::parse(Path::new("labs/one"), &text)
            .expect_err("refused")
            .to_string();
        assert!(
            error.contains("`../one.rhai` must be the name of a file"),
            "{error}"
        );
    }

    #[test]
    fn misspelt_keys_are_refused_with_their_place() {
        let text = LAB.replace("scenario =", "scenarios =");
        let error = Lab::parse(Path::new("labs/one"), &text)
            .expect_err("refused")
            .to_string();
        assert!(
            error.contains("lab.toml") && error.contains("scenarios"),
            "{error}"
        );
    }

    #[test]
    fn two_variants_of_one_name_are_refused() {
        let text = LAB.replace("wrong-leak\"\n", "right\"\n");
        let error = Lab::parse(Path::new("labs/one"), &text)
            .expect_err("refused")
            .to_string();
        assert!(error.contains("two variants `right`"), "{error}");
    }
}
