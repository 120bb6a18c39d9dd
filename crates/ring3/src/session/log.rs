//! The log of verbs and answers.
//!
//! A workload is a deterministic function of the answers to its verbs. A session keeps them, so
//! that a workload whose machine was cloned in the middle can be started again from its beginning:
//! it gets the recorded answers, the machine is untouched until they are used up, and then it is
//! live again. See [`Session::restart_workload`].

use std::fmt;

use ring3_nt::ntstatus::NTSTATUS;

use super::file::Io;
use super::{Session, SessionError};
use crate::report::Story;

/// The answer to a verb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was done.
    Done,
    /// A yes or no.
    Flag(bool),
    /// A number: of a process, a file, an operation, a driver, a device, or bytes.
    Number(u64),
    /// A status.
    Status(NTSTATUS),
    /// The result of a request; none while it is pending.
    Io(Option<Io>),
    /// Text.
    Text(String),
    /// Bytes; none if what was asked for is not there.
    Bytes(Option<Vec<u8>>),
}

impl Answer {
    fn misplaced<T>(&self) -> Result<T, SessionError> {
        Err(SessionError::Usage(format!(
            "the log has {self} where another kind of answer belongs"
        )))
    }

    /// The result in it.
    pub(super) fn io(self) -> Result<Option<Io>, SessionError> {
        match self {
            Self::Io(io) => Ok(io),
            other => other.misplaced(),
        }
    }

    /// The status in it.
    pub(super) fn status(&self) -> Result<NTSTATUS, SessionError> {
        match self {
            Self::Status(status) => Ok(*status),
            other => other.misplaced(),
        }
    }

    /// The text in it.
    pub(super) fn text(self) -> Result<String, SessionError> {
        match self {
            Self::Text(text) => Ok(text),
            other => other.misplaced(),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Status(status) => write!(f, "{status}"),
            Self::Io(Some(io)) => {
                write!(
                    f,
                    "{}, information {:#x}, {} bytes",
                    io.status,
                    io.information,
                    io.output.len()
                )
            }
            Self::Io(None) => f.write_str("pending"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Bytes(Some(bytes)) => write!(f, "{} bytes", bytes.len()),
            Self::Bytes(None) => f.write_str("nothing"),
        }
    }
}

/// A verb and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The verb with its arguments.
    pub verb: String,
    /// What came of it.
    pub answer: Result<Answer, SessionError>,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.answer {
            Ok(answer) => write!(f, "{} -> {answer}", self.verb),
            Err(error) => write!(f, "{} -> {error}", self.verb),
        }
    }
}

/// All verbs so far, and how many of them a restarted workload has asked for again.
#[derive(Clone, Debug, Default)]
pub struct Log {
    entries: Vec<Entry>,
    asked: usize,
}

impl Log {
    /// The entries, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl Session {
    /// Carries out a verb, or answers it from the log where the workload was restarted.
    pub(super) fn verb(
        &mut self,
        verb: String,
        act: impl FnOnce(&mut Self) -> Result<Answer, SessionError>,
    ) -> Result<Answer, SessionError> {
        if let Some(entry) = self.log.entries.get(self.log.asked) {
            if entry.verb != verb {
                return Err(SessionError::Diverged {
                    asked: verb,
                    recorded: entry.verb.clone(),
                });
            }
            let answer = entry.answer.clone();
            self.log.asked += 1;
            self.tell_hang(&answer);
            return answer;
        }
        self.live(&verb)?;
        self.machine.trace.text("verb", &verb);
        let answer = act(self);
        self.flush_trace();
        self.log.entries.push(Entry {
            verb,
            answer: answer.clone(),
        });
        self.log.asked += 1;
        self.tell_hang(&answer);
        answer
    }

    /// A hang is part of the story, whether the verb was carried out or answered from the log.
    fn tell_hang(&mut self, answer: &Result<Answer, SessionError>) {
        if matches!(answer, Err(SessionError::Hang(_))) {
            self.story.hang.clone_from(&self.hang);
        }
    }

    /// An error once the run is over.
    fn live(&self, verb: &str) -> Result<(), SessionError> {
        if self.machine.stop.is_some() {
            return Err(SessionError::Stopped(verb.to_owned()));
        }
        match &self.ended {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Starts the workload again from its beginning: its verbs are answered from the log until that
    /// is used up, and the machine stays as it is. What the workload had to say is forgotten, since
    /// it says it again.
    pub fn restart_workload(&mut self) {
        self.log.asked = 0;
        self.story = Story::default();
    }
}
