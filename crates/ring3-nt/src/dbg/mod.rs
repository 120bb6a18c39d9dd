//! Debug output and break points.

pub mod print;

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
    /// Filter masks by component; absent ones are 0.
    pub masks: std::collections::BTreeMap<u32, u32>,
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
}
