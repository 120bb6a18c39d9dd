//! How a routine that drivers import is declared, and all that derives from the declaration.
//!
//! An exported routine is a plain Rust function with its Windows name and typed parameters, inside
//! an `impl` block under `#[exports("module")]`. From that one place come the import table, the
//! decoding of arguments, the trace line, the IRQL rule and the coverage page.

pub mod argument;
pub mod irql;
pub mod show;
pub mod table;
pub mod variable;

use crate::Machine;
use crate::flow::Flow;

pub use argument::{Call, GuestArg, GuestRet, Pointee, VarArgs};
pub use irql::IrqlRange;

/// How true to Windows a routine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fidelity {
    /// All that its documentation says is modelled.
    Full,
    /// Something is not modelled; the text says what.
    Partial(&'static str),
    /// Some behaviour is modelled without a source; the text says which.
    Assumed(&'static str),
}

impl Fidelity {
    /// One word for tables.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Partial(_) => "partial",
            Self::Assumed(_) => "assumed",
        }
    }

    /// What is not modelled or assumed; empty for [`Fidelity::Full`].
    #[must_use]
    pub fn note(&self) -> &'static str {
        match self {
            Self::Full => "",
            Self::Partial(text) | Self::Assumed(text) => text,
        }
    }
}

/// One declared parameter.
#[derive(Clone, Copy, Debug)]
pub struct Arg {
    /// Its name in the documentation.
    pub name: &'static str,
    /// Its type as declared.
    pub ty: &'static str,
    /// Prints the raw value of the `n`th argument of a call.
    pub show: fn(&Machine, &Call, usize) -> String,
}

/// The declared result.
#[derive(Clone, Copy, Debug)]
pub struct RetDecl {
    /// Its type as declared.
    pub ty: &'static str,
    /// Prints the raw value; empty for routines without a result.
    pub show: fn(u64) -> String,
}

/// A declared export.
#[derive(Clone, Copy, Debug)]
pub struct Export {
    /// The module that exports it, as the field spells it: `ntoskrnl.exe`.
    pub module: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Other names of the same routine in the same module.
    pub aliases: &'static [&'static str],
    /// Whether HAL.dll exports it too, as a forwarder.
    pub hal: bool,
    /// One line on what it does.
    pub summary: &'static str,
    /// Its documentation page, e.g. `wdm/nf-wdm-kesetevent`.
    pub page: &'static str,
    /// The IRQLs at which it may be called.
    pub irql: IrqlRange,
    /// How true it is.
    pub fidelity: Fidelity,
    /// Its parameters.
    pub args: &'static [Arg],
    /// Its result.
    pub ret: RetDecl,
    /// The routine itself behind argument decoding.
    pub call: fn(&mut Machine, &Call) -> Flow,
}
