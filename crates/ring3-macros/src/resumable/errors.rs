//! Everything that the attribute has to say to the author of a routine.

use proc_macro2::Span;

/// The errors found so far: all are reported at once.
#[derive(Default)]
pub struct Errors(Option<syn::Error>);

impl Errors {
    /// Notes one error.
    pub fn push(&mut self, span: Span, message: impl std::fmt::Display) {
        self.add(syn::Error::new(span, message));
    }

    /// Notes an error that somebody else made.
    pub fn add(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// Whether there was one.
    pub fn any(&self) -> bool {
        self.0.is_some()
    }

    /// `Err` if there was one.
    pub fn finish(self) -> syn::Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

pub const INSIDE_EXPRESSION: &str = "a suspension cannot stand inside an expression: write it as a statement, as `x = call!(..);` or as `let x: T = call!(..);`, and use `x` here";
pub const INSIDE_FOR: &str = "a `for` loop cannot hold a suspension, because its iterator cannot be saved: use `while` with an index, or pop from a saved Vec";
pub const INSIDE_CONDITION: &str = "a suspension cannot stand in a condition: write `let x: T = call!(..);` before it (in a loop: `loop { let x: T = call!(..); if !x { break } .. }`)";
pub const INSIDE_UNSAFE: &str = "a suspension cannot stand in an `unsafe` block: only the statements that need it go into the block";
pub const RESULT_WITHOUT_TYPE: &str =
    "give the result of a suspension a type: `let x: T = call!(..);`";
pub const RESULT_IN_PATTERN: &str = "the result of a suspension goes into one name: `let x: T = call!(..);`, taken apart in the next statement";
pub const ELSE_FALLS_THROUGH: &str =
    "this `else` block has to end in `return`, `break`, `continue`, raise!(..) or bugcheck!(..)";
pub const OUTSIDE_LOOP: &str = "`break` and `continue` stand in a loop";
pub const MACRO_LEAVES: &str = "this macro's arguments are not expressions, so that a `?`, `return`, `break` or `continue` in them cannot be lowered: move it out into a statement";
pub const CONDITIONAL: &str =
    "a statement that suspends, or that declares a saved local, cannot be under #[cfg]";
pub const NO_MACHINE: &str =
    "a resumable routine takes the machine first: `fn name(cx: &mut Machine, ..)`";
pub const PLAIN_FUNCTION: &str =
    "a resumable routine is a plain function: not generic, async, unsafe, const or extern";
pub const PLAIN_PARAMETER: &str =
    "a parameter of a resumable routine is `name: Type`: it becomes a field";
pub const HELD_REFERENCE: &str = "nothing that borrows can be held across a suspension: pass a key, an address or an owned value";
pub const RESERVED_PC: &str = "`pc` says where the routine stands: choose another name";
pub const ATTRIBUTE_ITEMS: &str = "#[resumable(..)] takes `fn holds(&self)`, `fn wall(&self)`, `fn on_unwind(&mut self, cx: &mut Machine)` and `struct Name;`";

/// A temporary and a saved local share a name.
pub fn hides_saved(name: &str) -> String {
    format!(
        "`{name}` hides a saved local of this name: after the next suspension the name would silently mean the other one; rename one of them"
    )
}

/// A saved local in an inner scope has the name of one in an outer scope.
pub fn hides_outer(name: &str) -> String {
    format!(
        "`{name}` hides a saved local of an outer scope, and both are kept in one field: rename one of them"
    )
}

/// Two saved locals of one name have different types.
pub fn two_types(name: &str, first: &str, second: &str) -> String {
    format!(
        "`{name}` is saved as `{first}` already and cannot be saved as `{second}` too: rename one of them"
    )
}

/// Wrong number of arguments of a suspension.
pub fn arguments(name: &str, wanted: &str) -> String {
    format!("{name}! takes {wanted}")
}
