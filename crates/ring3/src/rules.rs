//! Every rule with its explanation: `ring3 rules [ID]`.
//!
//! The list is `docs/rules.md`, read when the program is built, so that the page and the command cannot differ; a
//! test holds the code's rules against it.

/// The page.
const PAGE: &str = include_str!("../../../docs/rules.md");

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `area/kebab-name`.
    pub id: &'static str,
    /// The heading that it stands under.
    pub area: &'static str,
    text: &'static str,
}

impl Rule {
    /// What it means, one line of plain text.
    #[must_use]
    pub fn meaning(&self) -> String {
        self.text.replace('`', "")
    }
}

/// All rules in the order of the page: rows of its tables whose first cell is made of ids in backquotes.
pub fn all() -> impl Iterator<Item = Rule> {
    let mut area = "";
    PAGE.lines().flat_map(move |line| {
        if let Some(heading) = line.strip_prefix("## ") {
            area = heading.trim();
        }
        let mut cells = line.strip_prefix('|').unwrap_or_default().splitn(2, '|');
        let ids = cells.next().unwrap_or_default();
        let text = cells
            .next()
            .map(|rest| rest.trim().trim_end_matches('|').trim())
            .unwrap_or_default();
        let here = area;
        ids.split('`')
            .skip(1)
            .step_by(2)
            .filter(|id| id.contains('/') && !text.is_empty())
            .map(move |id| Rule {
                id,
                area: here,
                text,
            })
    })
}

/// The rule with this id.
#[must_use]
pub fn find(id: &str) -> Option<Rule> {
    all().find(|rule| rule.id == id)
}

#[cfg(test)]
mod tests {
    use super::{all, find};

    #[test]
    fn the_page_is_understood() {
        assert!(all().count() > 80, "{} rules", all().count());
        let leak = find("pool/leak").expect("a rule");
        assert!(leak.meaning().contains("unloaded"), "{leak:?}");
        assert!(find("pool/nonsense").is_none());
    }

    #[test]
    fn no_rule_stands_twice() {
        let mut ids: Vec<&str> = all().map(|rule| rule.id).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }
}
