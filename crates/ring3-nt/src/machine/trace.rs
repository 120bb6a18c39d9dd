//! The trace: what happened, in order, and one hash over all of it.

use crate::hash::Fnv;
use std::hash::Hasher;

/// What is printed; the hash covers everything always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceSet {
    /// Calls of exported routines.
    pub api: bool,
    /// Requests sent to and completed by drivers.
    pub irp: bool,
    /// Debug output of drivers.
    pub dbgprint: bool,
    /// Threads being switched.
    pub thread: bool,
    /// Interrupts, DPCs and exceptions.
    pub interrupt: bool,
}

impl TraceSet {
    /// Parses `api,irp,dbgprint,thread,interrupt` or `all`.
    ///
    /// # Errors
    /// The word that is none of them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut set = Self::default();
        for word in text.split(',').map(str::trim).filter(|w| !w.is_empty()) {
            match word {
                "api" => set.api = true,
                "irp" => set.irp = true,
                "dbgprint" => set.dbgprint = true,
                "thread" => set.thread = true,
                "interrupt" => set.interrupt = true,
                "all" => {
                    set = Self {
                        api: true,
                        irp: true,
                        dbgprint: true,
                        thread: true,
                        interrupt: true,
                    }
                }
                other => return Err(other.to_owned()),
            }
        }
        Ok(set)
    }
}

/// A printed line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The thread it belongs to.
    pub thread: String,
    /// The IRQL.
    pub irql: u8,
    /// Nesting of calls.
    pub depth: usize,
    /// The text.
    pub text: String,
}

/// The trace of a machine. Its hash is part of a run's result; the lines are for people.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// What to print.
    pub set: TraceSet,
    /// Lines not yet taken.
    pub lines: Vec<Line>,
    hash: Fnv,
    events: u64,
}

impl Trace {
    /// An empty trace that prints `set`.
    #[must_use]
    pub fn new(set: TraceSet) -> Self {
        Self {
            set,
            ..Self::default()
        }
    }

    /// The hash over every event so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// Number of events so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Adds an event to the hash.
    pub fn event(&mut self, kind: &str, values: &[u64]) {
        self.events += 1;
        self.hash.record(kind, values);
    }

    /// Adds a text to the hash.
    pub fn text(&mut self, kind: &str, text: &str) {
        self.events += 1;
        self.hash.write(kind.as_bytes());
        self.hash.write(text.as_bytes());
    }

    /// Adds a finding.
    pub fn finding(&mut self, rule: &str, message: &str, place: &super::finding::Place) {
        self.text(rule, message);
        self.hash.word(place.address);
    }

    /// Takes the printed lines.
    pub fn take(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.lines)
    }
}
