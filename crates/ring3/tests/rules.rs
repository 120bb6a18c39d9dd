//! Every rule that the code can report is in the list of findings.

use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// `area/kebab-name`.
fn is_rule(text: &str) -> bool {
    let part = |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    text.split_once('/')
        .is_some_and(|(area, name)| part(area) && part(name))
}

#[test]
fn every_rule_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    sources(&root.join("crates/ring3-nt/src"), &mut files);
    sources(&root.join("crates/ring3/src"), &mut files);
    files.sort();
    let (mut rules, mut missing) = (0, Vec::new());
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source file");
        for (at, _) in text.match_indices("report") {
            // The rule is the first string of a call of `report` or `report_at`.
            let rest = &text[at..];
            let Some(rule) = rest.split('"').nth(1).filter(|r| is_rule(r)) else {
                continue;
            };
            if !rest.starts_with("report(") && !rest.starts_with("report_at(") {
                continue;
            }
            rules += 1;
            if ring3::rules::find(rule).is_none() && !missing.contains(&rule.to_owned()) {
                missing.push(rule.to_owned());
            }
        }
    }
    assert!(rules > 80, "only {rules} reports found");
    assert!(missing.is_empty(), "not in docs/rules.md: {missing:?}");
}
