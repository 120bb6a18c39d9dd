//! se

/// State.
#[derive(Clone, Hash, Debug, Default)]
pub struct State {}
