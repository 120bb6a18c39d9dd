//! Requests that are not waited for at once.

use ring3_nt::io::user::UserRequest;
use ring3_nt::ntstatus::{NTSTATUS, STATUS_NOT_FOUND};

use super::file::{File, Io};
use super::log::Answer;
use super::user::Flight;
use super::wait::Waited;
use super::{Session, SessionError};

/// A request in flight, or over: a number, valid in the session that started it and in its clones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation(pub(super) usize);

/// What a session knows of an operation.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) flight: Flight,
    pub(super) file: File,
    pub(super) name: String,
    pub(super) result: Option<Io>,
}

impl Session {
    fn operation(&self, operation: Operation) -> Result<&State, SessionError> {
        self.operations
            .get(operation.0)
            .ok_or_else(|| SessionError::Usage("no such operation in this session".to_owned()))
    }

    /// The result of an operation that is over; its buffers are freed the first time.
    fn collect(&mut self, operation: Operation) -> Result<Option<Io>, SessionError> {
        let state = self.operation(operation)?;
        if state.result.is_some() {
            return Ok(state.result.clone());
        }
        let flight = state.flight.clone();
        let Some(io) = flight.result(&self.machine) else {
            return Ok(None);
        };
        flight.free(&mut self.machine);
        if let Some(state) = self.operations.get_mut(operation.0) {
            state.result = Some(io.clone());
        }
        Ok(Some(io))
    }
}

impl Operation {
    /// Its result, if it is over.
    ///
    /// # Errors
    /// [`SessionError::Stopped`] and the like once the run is over.
    pub fn result(self, session: &mut Session) -> Result<Option<Io>, SessionError> {
        session
            .verb(format!("o{}.result()", self.0), |session| {
                Ok(Answer::Io(session.collect(self)?))
            })?
            .io()
    }

    /// Waits until it is over, at most so many milliseconds of virtual time. Tells whether it is.
    ///
    /// # Errors
    /// Errors that end the run.
    pub fn wait(self, session: &mut Session, milliseconds: u64) -> Result<bool, SessionError> {
        let answer = session.verb(format!("o{}.wait({milliseconds})", self.0), |session| {
            let State { flight, name, .. } = session.operation(self)?.clone();
            let waited = session.wait_for(&name, milliseconds, |m| flight.is_over(m))?;
            Ok(Answer::Flag(waited == Waited::Done))
        })?;
        Ok(answer == Answer::Flag(true))
    }

    /// Waits until it is over; a request that never ends is a hang.
    ///
    /// # Errors
    /// Errors that end the run.
    pub fn join(self, session: &mut Session) -> Result<Io, SessionError> {
        let answer = session.verb(format!("o{}.join()", self.0), |session| {
            let State { flight, name, .. } = session.operation(self)?.clone();
            session.wait(&name, |m| flight.is_over(m))?;
            Ok(Answer::Io(session.collect(self)?))
        })?;
        answer.io()?.ok_or_else(|| {
            SessionError::Usage("a request that was waited for has no result".to_owned())
        })
    }

    /// Cancels it: `CancelIoEx` with this operation. `STATUS_NOT_FOUND` if it is over already.
    ///
    /// # Errors
    /// Errors that end the run.
    pub fn cancel(self, session: &mut Session) -> Result<NTSTATUS, SessionError> {
        let answer = session.verb(format!("o{}.cancel()", self.0), |session| {
            let State {
                flight, file, name, ..
            } = session.operation(self)?.clone();
            if flight.is_over(&session.machine) {
                return Ok(Answer::Status(STATUS_NOT_FOUND));
            }
            let process = session.file(file)?.process;
            let what = format!("the cancellation of {name}");
            // What has not been sent yet cannot be cancelled.
            session.settle(&what)?;
            let thread = session.free_thread(process)?;
            let (status, _) = session.ask(thread, &what, UserRequest::Cancel(flight.number))?;
            Ok(Answer::Status(status))
        })?;
        answer.status()
    }
}
