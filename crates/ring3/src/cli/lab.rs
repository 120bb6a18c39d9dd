//! `ring3 lab`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use ring3_labs::build::build_driver;
use ring3_labs::lab::{self as model, Variant};
use ring3_nt::machine::boot::Config;
use serde::Serialize;

use super::style;
use crate::report::{Report, text};
use crate::{exit, lab};

/// The commands of `ring3 lab`.
#[derive(Debug, Subcommand)]
pub enum Lab {
    /// The labs there are.
    List(List),
    /// Run a lab, or all of them, and compare with what must come out.
    Run(Run),
    /// Build the drivers of a lab where they lie.
    Build(Build),
    /// Make the files of a new lab.
    New(New),
}

/// Where labs are.
#[derive(Debug, Args)]
struct Root {
    /// The folder with the labs; default: `labs`, in the current folder or the nearest one above.
    #[arg(long = "labs", value_name = "DIR")]
    labs: Option<PathBuf>,
}

/// Arguments of `ring3 lab list`.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    root: Root,
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
}

/// Arguments of `ring3 lab run`.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    root: Root,
    /// The lab.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    slug: Option<String>,
    /// Run every lab.
    #[arg(long)]
    all: bool,
    /// Only this variant.
    #[arg(long, conflicts_with = "all")]
    variant: Option<String>,
    /// Virtual processors.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    cpus: u8,
    /// Seed of the schedule.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Arguments of `ring3 lab build`.
#[derive(Debug, Args)]
pub struct Build {
    #[command(flatten)]
    root: Root,
    /// The lab.
    slug: String,
}

/// Arguments of `ring3 lab new`.
#[derive(Debug, Args)]
pub struct New {
    #[command(flatten)]
    root: Root,
    /// Its name: small letters, digits and `-`; also the name of its folder and drivers.
    slug: String,
}

impl Lab {
    pub fn run(self) -> anyhow::Result<u8> {
        match self {
            Self::List(command) => command.run(),
            Self::Run(command) => command.run(),
            Self::Build(command) => command.run(),
            Self::New(command) => command.run(),
        }
    }
}

impl Root {
    fn find(&self) -> anyhow::Result<PathBuf> {
        if let Some(labs) = &self.labs {
            return Ok(labs.clone());
        }
        let start = std::env::current_dir().context("the current folder cannot be read")?;
        match start
            .ancestors()
            .map(|folder| folder.join("labs"))
            .find(|labs| labs.is_dir())
        {
            Some(labs) => Ok(labs),
            None => bail!(
                "no folder `labs` in {} or above it; give it with --labs",
                start.display()
            ),
        }
    }
}

/// A lab in `ring3 lab list --json`.
#[derive(Serialize)]
struct Listed {
    slug: String,
    title: String,
    topic: String,
    summary: String,
    variants: Vec<String>,
}

impl List {
    fn run(self) -> anyhow::Result<u8> {
        let labs = model::list(&self.root.find()?)?;
        if self.json {
            let listed: Vec<Listed> = labs
                .into_iter()
                .map(|l| Listed {
                    slug: l.slug,
                    title: l.title,
                    topic: l.topic,
                    summary: l.summary,
                    variants: l.variants.into_iter().map(|v| v.name).collect(),
                })
                .collect();
            println!("{}", serde_json::to_string_pretty(&listed)?);
            return Ok(exit::CLEAN);
        }
        let width = labs.iter().map(|l| l.slug.len()).max().unwrap_or(0);
        for lab in labs {
            println!(
                "{:width$}  {} ({} variants)",
                lab.slug,
                lab.title,
                lab.variants.len()
            );
        }
        Ok(exit::CLEAN)
    }
}

impl Run {
    fn run(self) -> anyhow::Result<u8> {
        let folder = self.root.find()?;
        let labs = match &self.slug {
            Some(slug) => vec![model::find(&folder, slug)?],
            None => model::list(&folder)?,
        };
        let config = Config {
            processors: usize::from(self.cpus),
            seed: self.seed,
            ..Config::default()
        };
        let mut jobs: Vec<(&model::Lab, &Variant)> = Vec::new();
        for lab in &labs {
            let wanted = |v: &&Variant| self.variant.as_ref().is_none_or(|name| v.name == *name);
            jobs.extend(lab.variants.iter().filter(wanted).map(|v| (lab, v)));
        }
        if let (Some(name), true) = (&self.variant, jobs.is_empty()) {
            let known: Vec<&str> = labs
                .iter()
                .flat_map(|l| &l.variants)
                .map(|v| v.name.as_str())
                .collect();
            bail!("no variant {name}; there are {}", known.join(", "));
        }
        let bar = progress(self.all, jobs.len());
        let style = style(std::io::stdout().is_terminal());
        let name_width = jobs
            .iter()
            .map(|(l, v)| l.slug.len() + 1 + v.name.len())
            .max()
            .unwrap_or(0);
        let mut failed = 0;
        for (lab, variant) in &jobs {
            let name = format!("{}/{}", lab.slug, variant.name);
            bar.set_message(name.clone());
            let ran = lab::run_variant(lab, variant, &config, 0)?;
            bar.suspend(|| {
                let passed = ran.differences.is_empty();
                let word = if passed {
                    style.green("PASS")
                } else {
                    style.red("FAIL")
                };
                println!("{word}  {name:name_width$}  {}", ran.seen.outcome);
                for difference in &ran.differences {
                    println!("      {difference}");
                }
                if !passed && !self.all {
                    let report = Report::new(ran.driver.as_str(), &ran.session, self.seed);
                    print!("{}", text::render(&report, style));
                }
            });
            failed += usize::from(!ran.differences.is_empty());
            bar.inc(1);
        }
        bar.finish_and_clear();
        println!("{} of {} as expected", jobs.len() - failed, jobs.len());
        Ok(if failed == 0 {
            exit::CLEAN
        } else {
            exit::FINDINGS
        })
    }
}

/// A progress bar on a terminal and for many labs, else a hidden one.
fn progress(all: bool, jobs: usize) -> ProgressBar {
    if !all || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(jobs as u64);
    if let Ok(look) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
        bar.set_style(look);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

impl Build {
    fn run(self) -> anyhow::Result<u8> {
        let lab = model::find(&self.root.find()?, &self.slug)?;
        for job in lab.builds() {
            let built = build_driver(std::slice::from_ref(&job.source), &job.options)?;
            eprint!("{}", built.warnings);
            write(&job.driver, &built.sys)?;
            write(&job.driver.with_extension("pdb"), &built.pdb)?;
            println!("{}", job.driver.display());
        }
        Ok(exit::CLEAN)
    }
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// The files of a new lab; `@slug@` and `@Name@` stand for its names.
const TEMPLATE: [(&str, &str); 4] = [
    ("@slug@.c", include_str!("new/driver.c")),
    ("lab.toml", include_str!("new/lab.toml")),
    ("right.rhai", include_str!("new/right.rhai")),
    ("README.md", include_str!("new/README.md")),
];

impl New {
    fn run(self) -> anyhow::Result<u8> {
        let slug = &self.slug;
        let well_formed = slug
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && slug.starts_with(|c: char| c.is_ascii_lowercase())
            && !slug.ends_with('-');
        if !well_formed {
            bail!(
                "{slug:?} is no name for a lab: small letters, digits and `-`, a letter first, e.g. cancel-safe-queue"
            );
        }
        let folder = self.root.find()?.join(slug);
        if folder.exists() {
            bail!("{} is there already; choose another name", folder.display());
        }
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let name: String = slug.split('-').map(capitalised).collect();
        for (file, text) in TEMPLATE {
            let fill = |t: &str| t.replace("@slug@", slug).replace("@Name@", &name);
            write(&folder.join(fill(file)), fill(text).as_bytes())?;
        }
        println!("{} is made. Next: write the driver, then", folder.display());
        println!("  ring3 lab build {slug}");
        println!("  ring3 lab run {slug}");
        Ok(exit::CLEAN)
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_ascii_uppercase().to_string() + letters.as_str()
    })
}
