//! Debug output and break points.

pub mod components;
pub mod debugger;
pub mod filter;
pub mod print;

use std::collections::BTreeMap;

use ring3_memory::Gva;

/// A line of debug output.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct Message {
    /// `DPFLTR_*_ID`.
    pub component: u32,
    /// Level or bit field.
    pub level: u32,
    /// The text.
    pub text: String,
    /// False if the debug print filter suppressed it.
    pub shown: bool,
}

/// State of debug output.
#[derive(Clone, Hash, Debug, Default)]
pub struct State {
    /// Every message so far, the suppressed ones too.
    pub messages: Vec<Message>,
    /// Where the masks of the filter lie, the one of component 0 first.
    pub masks: Gva<u32>,
    /// Whether the masks of the registry were taken over.
    pub registry_read: bool,
}

/// Messages that one change of the filter would have shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// The name of the component, as the registry and `Kd_NAME_Mask` have it.
    pub component: &'static str,
    /// The bit that is missing in its mask.
    pub mask: u32,
    /// How many messages.
    pub lines: usize,
}

impl std::fmt::Display for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = if self.lines == 1 { "line" } else { "lines" };
        let Self {
            component,
            mask,
            lines,
        } = self;
        write!(f, "{lines} {word} hidden: set {component} |= {mask:#x}")
    }
}

impl State {
    /// The text that reached the debugger, as it would stand there.
    #[must_use]
    pub fn shown(&self) -> String {
        self.messages
            .iter()
            .filter(|m| m.shown)
            .map(|m| m.text.as_str())
            .collect()
    }

    /// What the filter kept from the debugger, by component and missing bit.
    #[must_use]
    pub fn hidden(&self) -> Vec<Hidden> {
        let mut counts: BTreeMap<(&'static str, u32), usize> = BTreeMap::new();
        for message in self.messages.iter().filter(|m| !m.shown) {
            let key = (
                components::name(message.component),
                filter::least_mask(message.level),
            );
            *counts.entry(key).or_default() += 1;
        }
        counts
            .into_iter()
            .map(|((component, mask), lines)| Hidden {
                component,
                mask,
                lines,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Message, State};

    #[test]
    fn what_is_hidden_is_told_with_the_mask_that_shows_it() {
        let message = |component, level, shown| Message {
            component,
            level,
            text: "text\n".into(),
            shown,
        };
        let state = State {
            messages: vec![
                message(101, 3, false),
                message(101, 3, false),
                message(77, 0, true),
                message(77, 0x8000_0020, false),
            ],
            ..State::default()
        };
        let lines: Vec<String> = state.hidden().iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "2 lines hidden: set DEFAULT |= 0x8",
                "1 line hidden: set IHVDRIVER |= 0x20"
            ]
        );
        assert_eq!(state.shown(), "text\n");
    }
}
