//! Every rule with its explanation: `ring3 rules [ID]`.
//!
//! The list is `docs/rules.md`, read when the program is built, so that the page and the command cannot differ; a
//! test holds the code's rules against it.

/// The page.
const PAGE: &str = include_str!("../../../docs/rules.md");

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `area/kebab-name`.
    pub id: &'static str,
    /// The heading that it stands under.
    pub area: &'static str,
    /// What happened: one sentence.
    pub meaning: String,
    /// Why it matters and what to do; may be empty.
    pub explanation: String,
    /// Codes of Windows for the same mistake, as the page gives them; may be empty.
    pub related: String,
}

/// All rules in the order of the page: a heading `### area/kebab-name`, and a paragraph.
pub fn all() -> impl Iterator<Item = Rule> {
    let mut area = "";
    PAGE.split("\n#").filter_map(move |part| {
        let (heading, text) = part.split_once('\n').unwrap_or((part, ""));
        if let Some(name) = heading.strip_prefix("# ") {
            area = name.trim();
        }
        let id = heading.strip_prefix("## ")?.trim();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (text, related) = match text.rsplit_once(" Related: ") {
            Some((text, codes)) => (text.to_owned(), codes.trim_end_matches('.').to_owned()),
            None => (text, String::new()),
        };
        let (meaning, explanation) = match text.split_once(". ") {
            Some((first, rest)) => (format!("{first}."), rest.to_owned()),
            None => (text, String::new()),
        };
        Some(Rule {
            id,
            area,
            meaning,
            explanation,
            related,
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
        assert!(all().count() > 100, "{} rules", all().count());
        let leak = find("pool/leak").expect("a rule");
        assert_eq!(leak.area, "Pool and memory");
        assert!(leak.meaning.ends_with("after it was unloaded."), "{leak:?}");
        assert!(leak.explanation.contains("tag"), "{leak:?}");
        assert_eq!(leak.related, "0xC4/0x62");
        assert!(find("pool/nonsense").is_none());
    }

    #[test]
    fn every_rule_says_what_it_means_and_stands_once() {
        let mut ids = std::collections::BTreeSet::new();
        for rule in all() {
            assert!(ids.insert(rule.id), "{} stands twice", rule.id);
            assert!(rule.id.contains('/'), "{rule:?}");
            assert!(rule.meaning.ends_with(['.', ')']), "{rule:?}");
            assert!(!rule.area.is_empty(), "{rule:?}");
        }
    }
}
