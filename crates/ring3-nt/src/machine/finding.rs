//! What ring3 has to say about a driver.

use super::Machine;

/// How bad a finding is.
#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Likely wrong.
    Warning,
    /// Wrong.
    Error,
}

impl Severity {
    /// In lower case, as reports spell it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A place in guest code.
#[derive(Clone, Hash, Debug, PartialEq, Eq, Default)]
pub struct Place {
    /// The address.
    pub address: u64,
    /// Module file name; empty if the address is in none.
    pub module: String,
    /// Offset in the module.
    pub rva: u64,
    /// `function+0x12`, if known.
    pub symbol: Option<String>,
    /// `file.c:12`, if known.
    pub source: Option<String>,
}

impl Place {
    /// The function that it lies in, without the offset, if symbols say so.
    #[must_use]
    pub fn function(&self) -> Option<&str> {
        let symbol = self.symbol.as_deref()?;
        Some(symbol.rsplit_once('+').map_or(symbol, |(name, _)| name))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.symbol, self.module.as_str()) {
            (_, "") => write!(f, "{:#x}", self.address)?,
            (Some(symbol), module) => write!(f, "{}!{symbol}", stem(module))?,
            (None, module) => write!(f, "{}+{:#x}", stem(module), self.rva)?,
        }
        match &self.source {
            Some(source) => write!(f, " [{source}]"),
            None => Ok(()),
        }
    }
}

/// `nt` for the kernel, else the file name without its extension: how debuggers name modules.
#[must_use]
pub fn stem(module: &str) -> &str {
    if module.eq_ignore_ascii_case("ntoskrnl.exe") {
        return "nt";
    }
    module.rsplit_once('.').map_or(module, |(stem, _)| stem)
}

/// A finding.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stable id, `area/kebab-name`.
    pub rule: &'static str,
    /// How bad.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// Where.
    pub place: Place,
    /// The stack, innermost first.
    pub stack: Vec<Place>,
    /// The instruction count of the processor at that moment.
    pub at_instruction: u64,
}

impl Machine {
    /// Records a finding at the current place. The innermost place outside the kernel's own images
    /// is the one to blame. The same finding at the same place is recorded once.
    pub fn report(&mut self, rule: &'static str, severity: Severity, message: impl Into<String>) {
        let stack = self.stack_trace();
        let place = stack
            .iter()
            .find(|p| self.modules.by_name(&p.module).is_some_and(|m| !m.modelled))
            .or(stack.first())
            .cloned()
            .unwrap_or_default();
        self.record(rule, severity, message.into(), place, stack);
    }

    /// Records a finding that belongs to a module as a whole, or to nobody's code.
    pub fn report_at(
        &mut self,
        rule: &'static str,
        severity: Severity,
        message: impl Into<String>,
        address: u64,
    ) {
        let place = self.place(address);
        self.record(rule, severity, message.into(), place, Vec::new());
    }

    fn record(
        &mut self,
        rule: &'static str,
        severity: Severity,
        message: String,
        place: Place,
        stack: Vec<Place>,
    ) {
        let known = |f: &Finding| {
            f.rule == rule && f.place.address == place.address && f.message == message
        };
        if self.findings.iter().any(known) {
            return;
        }
        let at_instruction = self.processor().cpu.icount;
        self.trace.finding(rule, &message, &place);
        self.findings.push(Finding {
            rule,
            severity,
            message,
            place,
            stack,
            at_instruction,
        });
    }
}
