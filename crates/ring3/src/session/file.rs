//! Open files, and requests that are waited for.

use ring3_nt::io::user::UserRequest;
use ring3_nt::ntstatus::{NTSTATUS, STATUS_INVALID_HANDLE};

use super::log::Answer;
use super::process::{Process, number};
use super::user::Transfer;
use super::{Operation, Session, SessionError};

/// An open file: a number, valid in the session that opened it and in its clones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File(pub(super) usize);

/// What a session knows of a file.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) process: Process,
    pub(super) handle: u64,
    pub(super) path: String,
    pub(super) open: bool,
}

/// The result of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Io {
    /// The final status.
    pub status: NTSTATUS,
    /// `IoStatusBlock.Information`, most often a byte count.
    pub information: u64,
    /// The output buffer as the program finds it, cut to [`Io::information`].
    pub output: Vec<u8>,
}

/// Bytes of a request's input that its log entry shows.
const SHOWN: usize = 64;

/// Input bytes for the log: all of short ones, length and sum of the others.
fn shown(bytes: &[u8]) -> String {
    if bytes.len() <= SHOWN {
        return bytes.iter().map(|b| format!("{b:02x}")).collect();
    }
    let sum = bytes.iter().fold(0u64, |sum, b| {
        sum.wrapping_mul(0x0100_0000_01b3) ^ u64::from(*b)
    });
    format!("{} bytes {sum:016x}", bytes.len())
}

impl Transfer {
    fn text(&self) -> String {
        match self {
            Self::Control {
                code,
                input,
                output,
            } => format!("ioctl({code:#x}, {}, {output})", shown(input)),
            Self::Read { length, offset } => format!("read({length}, {offset:?})"),
            Self::Write { bytes, offset } => format!("write({}, {offset:?})", shown(bytes)),
        }
    }

    /// For people: without the data.
    fn name(&self) -> String {
        match self {
            Self::Control { code, .. } => format!("ioctl {code:#x}"),
            Self::Read { length, .. } => format!("a read of {length} bytes"),
            Self::Write { bytes, .. } => format!("a write of {} bytes", bytes.len()),
        }
    }
}

impl Session {
    /// The state of a file; closed ones included: their handle is stale, which a program may try.
    pub(super) fn file(&self, file: File) -> Result<&State, SessionError> {
        self.files
            .get(file.0)
            .ok_or_else(|| SessionError::Usage("no such file in this session".to_owned()))
    }

    fn transfer(&mut self, file: File, transfer: Transfer) -> Result<Io, SessionError> {
        let answer = self.verb(format!("f{}.{}", file.0, transfer.text()), |session| {
            let State {
                process,
                handle,
                path,
                ..
            } = session.file(file)?.clone();
            let what = format!("{} on {path}", transfer.name());
            let thread = session.free_thread(process)?;
            let id = session.living(process)?.id;
            let flight = session.launch(thread, id, handle, transfer, true)?;
            session.wait(&what, |m| flight.is_over(m))?;
            let io = flight.result(&session.machine);
            flight.free(&mut session.machine);
            Ok(Answer::Io(io))
        })?;
        answer.io()?.ok_or_else(|| {
            SessionError::Usage("a request that was waited for has no result".to_owned())
        })
    }

    fn begin(&mut self, file: File, transfer: Transfer) -> Result<Operation, SessionError> {
        let answer = self.verb(
            format!("f{}.{} async", file.0, transfer.text()),
            |session| {
                let State {
                    process,
                    handle,
                    path,
                    ..
                } = session.file(file)?.clone();
                let name = format!("{} on {path}", transfer.name());
                let thread = session.free_thread(process)?;
                let id = session.living(process)?.id;
                let flight = session.launch(thread, id, handle, transfer, false)?;
                session.operations.push(super::operation::State {
                    flight,
                    file,
                    name,
                    result: None,
                });
                Ok(Answer::Number(session.operations.len() as u64 - 1))
            },
        )?;
        number(&answer).map(Operation)
    }

    fn on_handle(
        &mut self,
        file: File,
        text: &str,
        request: impl FnOnce(u64) -> UserRequest,
    ) -> Result<NTSTATUS, SessionError> {
        let answer = self.verb(format!("f{}.{text}", file.0), |session| {
            let State {
                process,
                handle,
                path,
                open,
            } = session.file(file)?.clone();
            if !open {
                return Ok(Answer::Status(STATUS_INVALID_HANDLE));
            }
            let what = format!("{text} of {path}");
            let thread = session.free_thread(process)?;
            let (status, _) = session.ask(thread, &what, request(handle))?;
            Ok(Answer::Status(status))
        })?;
        answer.status()
    }
}

impl File {
    /// Sends a device control request and waits for its end. A failing status is a result, no error.
    ///
    /// # Errors
    /// Errors that end the run; [`SessionError::Usage`] if the process has ended.
    pub fn ioctl(
        self,
        session: &mut Session,
        code: u32,
        input: &[u8],
        output: usize,
    ) -> Result<Io, SessionError> {
        session.transfer(
            self,
            Transfer::Control {
                code,
                input: input.to_vec(),
                output,
            },
        )
    }

    /// Reads, at an offset where one is given, else at the file's position.
    ///
    /// # Errors
    /// As [`File::ioctl`].
    pub fn read(
        self,
        session: &mut Session,
        length: usize,
        offset: Option<u64>,
    ) -> Result<Io, SessionError> {
        session.transfer(self, Transfer::Read { length, offset })
    }

    /// Writes, at an offset where one is given, else at the file's position.
    ///
    /// # Errors
    /// As [`File::ioctl`].
    pub fn write(
        self,
        session: &mut Session,
        bytes: &[u8],
        offset: Option<u64>,
    ) -> Result<Io, SessionError> {
        session.transfer(
            self,
            Transfer::Write {
                bytes: bytes.to_vec(),
                offset,
            },
        )
    }

    /// Sends a device control request and does not wait for its end. It is sent when the machine runs
    /// next: in a wait, [`Session::advance`] or [`Session::run_until_idle`].
    ///
    /// # Errors
    /// As [`File::ioctl`].
    pub fn ioctl_async(
        self,
        session: &mut Session,
        code: u32,
        input: &[u8],
        output: usize,
    ) -> Result<Operation, SessionError> {
        session.begin(
            self,
            Transfer::Control {
                code,
                input: input.to_vec(),
                output,
            },
        )
    }

    /// Starts to read; see [`File::ioctl_async`].
    ///
    /// # Errors
    /// As [`File::ioctl`].
    pub fn read_async(
        self,
        session: &mut Session,
        length: usize,
        offset: Option<u64>,
    ) -> Result<Operation, SessionError> {
        session.begin(self, Transfer::Read { length, offset })
    }

    /// Starts to write; see [`File::ioctl_async`].
    ///
    /// # Errors
    /// As [`File::ioctl`].
    pub fn write_async(
        self,
        session: &mut Session,
        bytes: &[u8],
        offset: Option<u64>,
    ) -> Result<Operation, SessionError> {
        session.begin(
            self,
            Transfer::Write {
                bytes: bytes.to_vec(),
                offset,
            },
        )
    }

    /// Cancels every request of this handle that is in flight: `CancelIoEx` without an operation.
    ///
    /// # Errors
    /// Errors that end the run.
    pub fn cancel_all(self, session: &mut Session) -> Result<NTSTATUS, SessionError> {
        session.on_handle(self, "cancel_all()", UserRequest::CancelAll)
    }

    /// Closes the handle.
    ///
    /// # Errors
    /// Errors that end the run: cleanup and close of the driver are waited for.
    pub fn close(self, session: &mut Session) -> Result<NTSTATUS, SessionError> {
        let status = session.on_handle(self, "close()", UserRequest::Close)?;
        if let Some(state) = session.files.get_mut(self.0) {
            state.open = false;
        }
        Ok(status)
    }

    /// The path under which it was opened.
    #[must_use]
    pub fn path(self, session: &Session) -> &str {
        session.files.get(self.0).map_or("", |f| &f.path)
    }
}
