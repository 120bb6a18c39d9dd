//! `cargo xtask seeded-bugs`: drivers with one planted bug each, and their fixed twins.
//!
//! Every case of `seeded/*.c` is built twice, with the bug and without, and run on 1, 2 and 4 virtual processors. The
//! bug must be found in its function; the twin must give no finding at all. Ends with
//! `detected D/N, wrong place W, false alarms F/N`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use ring3::nt::machine::boot::Config;
use ring3::nt::machine::finding::{Finding, Severity};
use ring3::{DriverFile, Session, rules, run};
use ring3_labs::build::{Options, build_driver_with};
use ring3_labs::toolchain::Toolchain;

use crate::parallel;

/// The page with the table.
const PAGE: &str = "docs/seeded-bugs.md";
const PROCESSORS: [usize; 3] = [1, 2, 4];

/// Drivers with one planted bug each, and their fixed twins.
#[derive(Args)]
pub struct Seeded {
    /// Only cases whose name contains this.
    only: Option<String>,
    /// Writes the table into the documentation.
    #[arg(long, conflicts_with_all = ["only", "check"])]
    write: bool,
    /// Fails if the table in the documentation is another.
    #[arg(long, conflicts_with = "only")]
    check: bool,
}

/// A case of a source file.
#[derive(Clone, Debug)]
struct Case {
    source: PathBuf,
    name: String,
    /// The rule that the bug breaks.
    rule: String,
    /// The function that it must be found in; none for findings about the driver as a whole.
    function: Option<String>,
}

/// What became of a case.
#[derive(Default)]
struct Verdict {
    missed: Vec<String>,
    wrong_place: Vec<String>,
    false_alarms: Vec<String>,
}

impl Seeded {
    /// Does the chore; `root` is the root of the workspace.
    pub fn run(&self, root: &Path) -> Result<ExitCode> {
        let folder = root.join("seeded");
        let tools = Toolchain::find()?;
        let cases: Vec<Case> = cases(&folder)?
            .into_iter()
            .filter(|case| {
                self.only
                    .as_ref()
                    .is_none_or(|wanted| case.name.contains(wanted.as_str()))
            })
            .collect();
        ensure!(!cases.is_empty(), "no case has such a name");
        let scenario = folder.join("seeded.rhai");
        let mut verdicts = Vec::new();
        let judged = parallel::map(&cases, |case| judge(&tools, case, &scenario));
        for (case, verdict) in cases.iter().zip(judged) {
            let verdict = verdict
                .with_context(|| format!("{}: case {}", case.source.display(), case.name))?;
            for (word, lines) in [
                ("missed", &verdict.missed),
                ("wrong place", &verdict.wrong_place),
                ("false alarm", &verdict.false_alarms),
            ] {
                for line in lines {
                    println!("{}: {word}: {line}", case.name);
                }
            }
            verdicts.push(verdict);
        }
        let table = table(&cases, &verdicts);
        let page = root.join(PAGE);
        if self.write {
            fs::write(&page, &table).with_context(|| format!("writing {PAGE}"))?;
        }
        if self.check {
            ensure!(
                fs::read_to_string(&page).is_ok_and(|is| is == table),
                "{PAGE} is not what these runs give; `cargo xtask seeded-bugs --write` writes it"
            );
        }
        let last = summary(&verdicts);
        println!("{last}");
        let good = verdicts
            .iter()
            .all(|v| v.missed.is_empty() && v.wrong_place.is_empty() && v.false_alarms.is_empty());
        Ok(if good {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// The cases of all source files, in the order of the files.
fn cases(folder: &Path) -> Result<Vec<Case>> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(|| format!("{}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "c"))
        .collect();
    files.sort();
    let mut cases: Vec<Case> = Vec::new();
    for source in files {
        for line in fs::read_to_string(&source)?.lines() {
            let Some(rest) = line.strip_prefix("// case ") else {
                continue;
            };
            let parsed = rest
                .split_once(": ")
                .and_then(|(name, rest)| Some((name, rest.split_once(" in ")?)));
            let Some((name, (rule, function))) = parsed else {
                bail!(
                    "{}: `{line}` is not `// case NAME: rule/id in Function`",
                    source.display()
                );
            };
            ensure!(
                rules::find(rule).is_some(),
                "{}: there is no rule {rule}",
                source.display()
            );
            ensure!(
                cases.iter().all(|case| case.name != name),
                "{}: the case {name} is there twice",
                source.display()
            );
            cases.push(Case {
                source: source.clone(),
                name: name.to_owned(),
                rule: rule.to_owned(),
                function: (function != "-").then(|| function.to_owned()),
            });
        }
    }
    Ok(cases)
}

fn judge(tools: &Toolchain, case: &Case, scenario: &Path) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    for bug in [true, false] {
        let directory = tempfile::tempdir().context("making a temporary directory")?;
        let mut options = Options::new("seeded");
        options.source_folder = "seeded".to_owned();
        options.defines = vec![
            format!("CASE_{}=1", case.name),
            format!("BUG={}", u8::from(bug)),
        ];
        // A tail call leaves no trace of the function that made it.
        options.flags_add = vec!["-fno-optimize-sibling-calls".to_owned()];
        let built = build_driver_with(tools, std::slice::from_ref(&case.source), &options)?;
        ensure!(built.warnings.is_empty(), "{}", built.warnings.trim_end());
        let sys = directory.path().join("seeded.sys");
        fs::write(&sys, built.sys)?;
        fs::write(sys.with_extension("pdb"), built.pdb)?;
        let driver = DriverFile::read(&sys)?;
        for processors in PROCESSORS {
            let options = run::Options {
                config: Config {
                    processors,
                    seed: processors as u64 - 1,
                    budget: 20_000_000,
                    ..Config::default()
                },
                scenario: Some(scenario.to_owned()),
                ..run::Options::default()
            };
            let session = run::run(&driver, &options)?;
            if bug {
                look_for(case, &session, processors, &mut verdict);
            } else {
                verdict
                    .false_alarms
                    .extend(complaints(&session, processors));
            }
        }
    }
    Ok(verdict)
}

fn look_for(case: &Case, session: &Session, processors: usize, verdict: &mut Verdict) {
    let found: Vec<&Finding> = session
        .machine
        .findings
        .iter()
        .filter(|finding| finding.rule == case.rule)
        .collect();
    let Some(first) = found.first() else {
        let others: Vec<&str> = session.machine.findings.iter().map(|f| f.rule).collect();
        let others = if others.is_empty() {
            "nothing was found".to_owned()
        } else {
            format!("found {}", others.join(", "))
        };
        let stop = session.machine.stop.as_ref();
        let stop = stop.map_or_else(String::new, |stop| format!(", {stop:?}"));
        verdict.missed.push(format!(
            "{} with {processors} processors; {others}{stop}",
            case.rule
        ));
        return;
    };
    let Some(function) = &case.function else {
        return;
    };
    let here = |finding: &&Finding| finding.place.function() == Some(function);
    if !found.iter().any(here) {
        verdict.wrong_place.push(format!(
            "{} in {} and not in {function}",
            case.rule, first.place
        ));
    }
}

/// What a twin gives that it must not.
fn complaints(session: &Session, processors: usize) -> Vec<String> {
    let mut all: Vec<String> = session
        .machine
        .findings
        .iter()
        .filter(|finding| finding.severity > Severity::Note)
        .map(|finding| format!("{} at {}", finding.rule, finding.place))
        .collect();
    all.extend(session.machine.stop.iter().map(|stop| format!("{stop:?}")));
    all.extend(session.story.hang.iter().cloned());
    all.extend(session.story.error.iter().cloned());
    for line in &mut all {
        let _ = write!(line, ", with {processors} processors");
    }
    all
}

fn summary(verdicts: &[Verdict]) -> String {
    let count = |what: fn(&Verdict) -> bool| verdicts.iter().filter(|v| what(v)).count();
    format!(
        "detected {}/{n}, wrong place {}, false alarms {}/{n}",
        count(|v| v.missed.is_empty()),
        count(|v| !v.wrong_place.is_empty()),
        count(|v| !v.false_alarms.is_empty()),
        n = verdicts.len()
    )
}

fn table(cases: &[Case], verdicts: &[Verdict]) -> String {
    let mut families: BTreeMap<&str, Vec<(&Case, &Verdict)>> = BTreeMap::new();
    for (case, verdict) in cases.iter().zip(verdicts) {
        let family = case.rule.split('/').next().unwrap_or_default();
        families.entry(family).or_default().push((case, verdict));
    }
    let mut out = String::from(
        "# Seeded bugs\n\nDrivers with one planted bug each, and twins without it, run on 1, 2 and 4 virtual processors.\nWritten by `cargo xtask seeded-bugs --write`.\n\n| case | rule | in | found | twin |\n|---|---|---|---|---|\n",
    );
    for (case, verdict) in families.into_values().flatten() {
        let found = match (verdict.missed.is_empty(), verdict.wrong_place.is_empty()) {
            (true, true) => "yes",
            (true, false) => "elsewhere",
            (false, _) => "no",
        };
        let twin = if verdict.false_alarms.is_empty() {
            "quiet"
        } else {
            "false alarm"
        };
        let _ = writeln!(
            out,
            "| `{}` | `{}` | {} | {found} | {twin} |",
            case.name,
            case.rule,
            case.function.as_deref().unwrap_or("the driver")
        );
    }
    let _ = write!(out, "\n{}\n", summary(verdicts));
    out
}
