//! What a run must come to, and whether it did.

use serde::Deserialize;

/// The outcomes that a run of ring3 can have, as its JSON names them.
pub const OUTCOMES: [&str; 7] = [
    "clean",
    "findings",
    "check-failed",
    "hang",
    "bugcheck",
    "unmodelled",
    "error",
];

/// What must come out of a variant.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The exit status of `ring3 run`.
    pub exit: i32,
    /// One of [`OUTCOMES`].
    pub outcome: String,
    /// The rules of all findings, sorted, each once. Others are a difference.
    #[serde(default)]
    pub findings: Vec<String>,
    /// The bugcheck, when the machine must stop with one.
    #[serde(default)]
    pub bugcheck: Option<Bugcheck>,
    /// Text that must occur in the driver's messages, in this order.
    #[serde(default)]
    pub dbgprint: Vec<String>,
}

/// An expected bugcheck.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bugcheck {
    /// Its code, `0xCE`.
    pub code: String,
    /// Up to four parameters: a number (`0xC0000005`), `@module` for any address inside that image
    /// (name of the file without extension), or `*` for anything. Missing ones are `*`.
    #[serde(default)]
    pub parameters: Vec<String>,
}

/// What came out of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The exit status.
    pub exit: i32,
    /// One of [`OUTCOMES`].
    pub outcome: String,
    /// The rules of all findings, in any order.
    pub findings: Vec<String>,
    /// The bugcheck.
    pub bugcheck: Option<SeenBugcheck>,
    /// The driver's messages, one after the other.
    pub dbgprint: String,
}

/// A bugcheck that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenBugcheck {
    /// Its code.
    pub code: u32,
    /// Its parameters, each with the name of the image (without extension) that it points into.
    /// An image that is unloaded by then counts too.
    pub parameters: [(u64, Option<String>); 4],
}

impl Expect {
    /// Compares with a run: one sentence for each difference, none when all is as expected.
    #[must_use]
    pub fn differences(&self, seen: &Seen) -> Vec<String> {
        let mut all = Vec::new();
        if seen.exit != self.exit {
            all.push(format!(
                "exit status is {}, expected {}",
                seen.exit, self.exit
            ));
        }
        if seen.outcome != self.outcome {
            all.push(format!(
                "outcome is `{}`, expected `{}`",
                seen.outcome, self.outcome
            ));
        }
        let mut rules = seen.findings.clone();
        rules.sort();
        rules.dedup();
        all.extend(
            self.findings
                .iter()
                .filter(|rule| !rules.contains(rule))
                .map(|rule| format!("no finding `{rule}`")),
        );
        all.extend(
            rules
                .iter()
                .filter(|rule| !self.findings.contains(rule))
                .map(|rule| format!("finding `{rule}`, which is not expected")),
        );
        match (&self.bugcheck, &seen.bugcheck) {
            (None, None) => {}
            (None, Some(found)) => {
                all.push(format!("bugcheck {:#X}, which is not expected", found.code))
            }
            (Some(wanted), None) => all.push(format!("no bugcheck {}", wanted.code)),
            (Some(wanted), Some(found)) => wanted.compare(found, &mut all),
        }
        let mut rest = seen.dbgprint.as_str();
        for text in &self.dbgprint {
            match rest.split_once(text.as_str()) {
                Some((_, after)) => rest = after,
                None => all.push(format!(
                    "the driver did not print `{text}`, or not in this order"
                )),
            }
        }
        all
    }

    /// What is wrong with the expectation itself.
    pub(crate) fn problem(&self) -> Option<String> {
        if !OUTCOMES.contains(&self.outcome.as_str()) {
            return Some(format!(
                "outcome `{}` is none of {}",
                self.outcome,
                OUTCOMES.join(", ")
            ));
        }
        if !self.findings.is_sorted_by(|a, b| a < b) {
            return Some("findings must be sorted and name each rule once".to_owned());
        }
        let bugcheck = self.bugcheck.as_ref()?;
        if number(&bugcheck.code).is_none_or(|code| code > u64::from(u32::MAX)) {
            return Some(format!(
                "bugcheck code `{}` is no hexadecimal number",
                bugcheck.code
            ));
        }
        if bugcheck.parameters.len() > 4 {
            return Some("a bugcheck has four parameters".to_owned());
        }
        let known =
            |text: &&String| *text == "*" || text.starts_with('@') || number(text).is_some();
        bugcheck.parameters.iter().find(|text| !known(text)).map(|text| format!("bugcheck parameter `{text}` is neither a hexadecimal number nor `@module` nor `*`"))
    }
}

impl Bugcheck {
    fn compare(&self, found: &SeenBugcheck, all: &mut Vec<String>) {
        if number(&self.code) != Some(u64::from(found.code)) {
            all.push(format!(
                "bugcheck {:#X}, expected {}",
                found.code, self.code
            ));
        }
        for (index, (wanted, (value, module))) in
            self.parameters.iter().zip(&found.parameters).enumerate()
        {
            let same = match wanted.strip_prefix('@') {
                Some(name) => module.as_deref() == Some(name),
                None => wanted == "*" || number(wanted) == Some(*value),
            };
            if !same {
                let place = module
                    .as_ref()
                    .map(|name| format!(" (in {name})"))
                    .unwrap_or_default();
                all.push(format!(
                    "bugcheck parameter {} is {value:#X}{place}, expected {wanted}",
                    index + 1
                ));
            }
        }
    }
}

fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expect() -> Expect {
        Expect {
            exit: 0,
            outcome: "bugcheck".to_owned(),
            findings: vec!["pool/leak".to_owned()],
            bugcheck: Some(Bugcheck {
                code: "0xCE".to_owned(),
                parameters: vec!["@first".to_owned(), "0x8".to_owned(), "*".to_owned()],
            }),
            dbgprint: vec!["one".to_owned(), "two".to_owned()],
        }
    }

    fn seen() -> Seen {
        let parameters = [
            (0x1000, Some("first".to_owned())),
            (8, None),
            (5, None),
            (6, None),
        ];
        Seen {
            exit: 0,
            outcome: "bugcheck".to_owned(),
            findings: vec!["pool/leak".to_owned(); 2],
            bugcheck: Some(SeenBugcheck {
                code: 0xCE,
                parameters,
            }),
            dbgprint: "one and two".to_owned(),
        }
    }

    #[test]
    fn the_same_is_no_difference() {
        assert_eq!(expect().differences(&seen()), Vec::<String>::new());
        assert_eq!(expect().problem(), None);
    }

    #[test]
    fn every_difference_is_told() {
        let mut run = seen();
        run.exit = 3;
        run.outcome = "clean".to_owned();
        run.findings = vec!["lock/not-held".to_owned()];
        run.bugcheck = Some(SeenBugcheck {
            code: 0x50,
            parameters: [(0x1000, None), (0, None), (5, None), (6, None)],
        });
        run.dbgprint = "two and one".to_owned();
        let told = expect().differences(&run);
        assert_eq!(told.len(), 8, "{told:#?}");
        assert!(
            told.contains(&"bugcheck parameter 1 is 0x1000, expected @first".to_owned()),
            "{told:#?}"
        );
        assert!(
            told.contains(&"finding `lock/not-held`, which is not expected".to_owned()),
            "{told:#?}"
        );
    }

    #[test]
    fn a_missing_or_surplus_bugcheck_is_told() {
        let mut run = seen();
        run.bugcheck = None;
        assert_eq!(expect().differences(&run), ["no bugcheck 0xCE"]);
        let mut none = expect();
        none.bugcheck = None;
        assert_eq!(
            none.differences(&seen()),
            ["bugcheck 0xCE, which is not expected"]
        );
    }

    #[test]
    fn a_wrong_expectation_is_refused() {
        let mut wrong = expect();
        wrong.outcome = "crash".to_owned();
        assert!(wrong.problem().is_some_and(|text| text.contains("`crash`")));
        let mut wrong = expect();
        wrong.bugcheck = Some(Bugcheck {
            code: "CE".to_owned(),
            parameters: Vec::new(),
        });
        assert!(wrong.problem().is_some_and(|text| text.contains("`CE`")));
    }
}
