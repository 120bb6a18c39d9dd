//! `ring3 rules`.

use anyhow::bail;
use clap::Args;

use crate::{exit, rules};

/// Arguments of `ring3 rules`.
#[derive(Debug, Args)]
pub struct Rules {
    /// A rule (`pool/leak`), or the first half of its id for a whole family (`pool`); all without one.
    id: Option<String>,
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
}

impl Rules {
    pub fn run(self) -> anyhow::Result<u8> {
        let wanted = |rule: &rules::Rule| match &self.id {
            None => true,
            Some(id) => rule.id == id || rule.id.split('/').next() == Some(id),
        };
        let found: Vec<rules::Rule> = rules::all().filter(wanted).collect();
        if found.is_empty() {
            bail!(
                "there is no rule {}; `ring3 rules` lists them",
                self.id.unwrap_or_default()
            );
        }
        if self.json {
            let list: Vec<serde_json::Value> = found
                .iter()
                .map(|rule| {
                    serde_json::json!({
                        "id": rule.id,
                        "area": rule.area,
                        "meaning": rule.meaning,
                        "explanation": rule.explanation,
                        "related": rule.related,
                    })
                })
                .collect();
            println!("{}", serde_json::to_string_pretty(&list)?);
            return Ok(exit::CLEAN);
        }
        if let ([rule], Some(_)) = (found.as_slice(), &self.id) {
            println!("{}\n\n{}", rule.id, rule.meaning);
            if !rule.explanation.is_empty() {
                println!("{}", rule.explanation);
            }
            if !rule.related.is_empty() {
                println!("\nOn Windows: {}", rule.related);
            }
            return Ok(exit::CLEAN);
        }
        let width = found.iter().map(|rule| rule.id.len()).max().unwrap_or(0);
        let mut area = "";
        for rule in &found {
            if area != rule.area {
                area = rule.area;
                println!("{area}:");
            }
            println!("  {:width$}  {}", rule.id, rule.meaning);
        }
        Ok(exit::CLEAN)
    }
}
