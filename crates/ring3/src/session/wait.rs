//! Waiting: letting the machine run until something holds, and what it means if it never does.

use ring3_nt::Machine;
use ring3_nt::machine::finding::Severity;
use ring3_nt::machine::run::RunEnd;

use super::{Session, SessionError, hang};

/// Units of virtual time (100 ns) in a millisecond.
pub(super) const MILLISECOND: u64 = 10_000;

/// Virtual time after which a request that waits for its end counts as hanging though timers still
/// run: ten minutes.
const PATIENCE: u64 = 600_000 * MILLISECOND;

/// How a wait with a time limit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// The condition holds.
    Done,
    /// The time is over.
    TimeOut,
}

impl Session {
    /// Runs until `done` holds. The run is over if it never does.
    pub(super) fn wait(
        &mut self,
        what: &str,
        done: impl Fn(&Machine) -> bool,
    ) -> Result<(), SessionError> {
        let limit = self.machine.clock.now().saturating_add(PATIENCE);
        let end = self.machine.run_until_or(limit, &done);
        self.interrupted(end, what)?;
        if done(&self.machine) {
            return Ok(());
        }
        let text = hang::report(&self.machine, what, end == RunEnd::Idle);
        self.hang = Some(text);
        self.end(SessionError::Hang(what.to_owned()))
    }

    /// Runs until `done` holds or so many milliseconds of virtual time are over.
    pub(super) fn wait_for(
        &mut self,
        what: &str,
        milliseconds: u64,
        done: impl Fn(&Machine) -> bool,
    ) -> Result<Waited, SessionError> {
        let limit = self
            .machine
            .clock
            .now()
            .saturating_add(milliseconds.saturating_mul(MILLISECOND));
        let mut end = self.machine.run_until_or(limit, &done);
        if end == RunEnd::Idle {
            end = self.machine.run_to_time(limit);
        }
        self.interrupted(end, what)?;
        Ok(if done(&self.machine) {
            Waited::Done
        } else {
            Waited::TimeOut
        })
    }

    /// Runs until nothing can run without time passing.
    pub(super) fn settle(&mut self, what: &str) -> Result<(), SessionError> {
        let end = self.machine.run_until(Machine::is_idle);
        self.interrupted(end, what)
    }

    /// An error if the machine stopped or its budget is used up.
    fn interrupted(&mut self, end: RunEnd, what: &str) -> Result<(), SessionError> {
        match end {
            RunEnd::Done | RunEnd::Idle => Ok(()),
            RunEnd::Stopped => Err(SessionError::Stopped(what.to_owned())),
            RunEnd::Budget => {
                let text = format!(
                    "{what} was still running after {} instructions; this is where it was then",
                    self.machine.instructions()
                );
                self.machine
                    .report("time/endless-loop", Severity::Error, text);
                self.end(SessionError::Budget(what.to_owned()))
            }
        }
    }

    fn end<T>(&mut self, error: SessionError) -> Result<T, SessionError> {
        self.ended = Some(error.clone());
        Err(error)
    }
}
