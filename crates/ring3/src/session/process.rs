//! User processes of a workload.

use ring3_nt::io::user::UserRequest;
use ring3_nt::machine::thread::{ProcessId, ThreadId};
use ring3_nt::se::token::Profile;

use super::file::{self, File};
use super::log::Answer;
use super::user::open_request;
use super::{Session, SessionError};

/// A user process: a number, valid in the session that made it and in its clones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(pub(super) usize);

/// What a session knows of a process.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) name: String,
    pub(super) id: ProcessId,
    pub(super) threads: Vec<ThreadId>,
    pub(super) exited: bool,
}

/// How to open a file; the default is what most programs ask `CreateFile` for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Reading is wanted: `FILE_GENERIC_READ`.
    pub read: bool,
    /// Writing is wanted: `FILE_GENERIC_WRITE`.
    pub write: bool,
    /// `FILE_SHARE_READ` 1, `FILE_SHARE_WRITE` 2, `FILE_SHARE_DELETE` 4.
    pub share: u32,
    /// For overlapped I/O: `FILE_FLAG_OVERLAPPED`. Without it one request is served at a time.
    pub overlapped: bool,
    /// `FILE_SUPERSEDE` 0, `FILE_OPEN` 1, `FILE_CREATE` 2, `FILE_OPEN_IF` 3, `FILE_OVERWRITE` 4,
    /// `FILE_OVERWRITE_IF` 5.
    pub disposition: u32,
}

/// How to start a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessOptions {
    /// Whose token it gets; an elevated administrator's by default.
    pub token: Profile,
    /// Whether its addresses have 32 bits.
    pub wow64: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            read: true,
            write: true,
            share: 3,
            overlapped: false,
            disposition: 1,
        }
    }
}

impl Session {
    /// Starts a user process with an empty user half and one thread.
    ///
    /// # Errors
    /// [`SessionError::Status`] if a driver refuses it, or guest memory is used up; errors that end the run.
    pub fn process(&mut self, name: &str) -> Result<Process, SessionError> {
        self.process_with(name, ProcessOptions::default())
    }

    /// Starts a user process with options.
    ///
    /// # Errors
    /// [`SessionError::Status`] if a driver refuses it, or guest memory is used up; errors that end the run.
    pub fn process_with(
        &mut self,
        name: &str,
        options: ProcessOptions,
    ) -> Result<Process, SessionError> {
        let bits = if options.wow64 { ", 32" } else { "" };
        let token = if options.token == Profile::default() {
            String::new()
        } else {
            format!(", {:?}", options.token)
        };
        let answer = self.verb(format!("process({name:?}{bits}{token})"), |session| {
            let what = format!("the start of {name}");
            let creator = session.system_thread()?;
            let request = UserRequest::CreateProcess {
                name: name.to_owned(),
                wow64: options.wow64,
            };
            let (status, id) = session.ask(creator, &what, request)?;
            if !status.is_success() {
                return Err(SessionError::Status { what, status });
            }
            let id = ProcessId(id as u32);
            if options.token != Profile::default() {
                session.machine.se.profiles.insert(id, options.token);
            }
            let first = session.machine.threads.values().find(|t| t.process == id);
            let Some(thread) = first.map(|t| t.id) else {
                return Err(SessionError::Usage(format!("{name} has no thread")));
            };
            session.wait(&what, |m| m.user_thread_is_free(thread))?;
            let state = State {
                name: name.to_owned(),
                id,
                threads: vec![thread],
                exited: false,
            };
            session.processes.push(state);
            Ok(Answer::Number(session.processes.len() as u64 - 1))
        })?;
        number(&answer).map(Process)
    }

    /// A process that has not ended.
    pub(super) fn living(&self, process: Process) -> Result<&State, SessionError> {
        match self.processes.get(process.0) {
            Some(state) if !state.exited => Ok(state),
            Some(state) => Err(SessionError::Usage(format!(
                "the process {} has ended",
                state.name
            ))),
            None => Err(SessionError::Usage(
                "no such process in this session".to_owned(),
            )),
        }
    }

    /// A thread that has nothing to do: the first one that is free, or a new one, as a program would
    /// have for a call that blocks.
    pub(super) fn free_thread(&mut self, process: Process) -> Result<ThreadId, SessionError> {
        let state = self.living(process)?;
        let id = state.id;
        let free = state
            .threads
            .iter()
            .copied()
            .find(|t| self.machine.user_thread_is_free(*t));
        if let Some(thread) = free {
            return Ok(thread);
        }
        let thread = self.user_thread(id)?;
        if let Some(state) = self.processes.get_mut(process.0) {
            state.threads.push(thread);
        }
        Ok(thread)
    }
}

/// The number in an answer.
pub(super) fn number(answer: &Answer) -> Result<usize, SessionError> {
    match answer {
        Answer::Number(number) => Ok(*number as usize),
        other => Err(SessionError::Usage(format!(
            "the log has {other} where a number belongs"
        ))),
    }
}

impl Process {
    /// Opens a file or device by its Win32 path (`\\.\Name`) or native path (`\Device\Name`).
    ///
    /// # Errors
    /// [`SessionError::Status`] with the status of the open; errors that end the run.
    pub fn open(
        self,
        session: &mut Session,
        path: &str,
        options: &OpenOptions,
    ) -> Result<File, SessionError> {
        let answer = session.verb(
            format!("p{}.open({path}, {options:?})", self.0),
            |session| {
                let what = format!("open {path}");
                let thread = session.free_thread(self)?;
                let (status, handle) =
                    session.ask(thread, &what, open_request(native(path), options))?;
                if !status.is_success() {
                    return Err(SessionError::Status { what, status });
                }
                session.files.push(file::State {
                    process: self,
                    handle,
                    path: path.to_owned(),
                    open: true,
                });
                Ok(Answer::Number(session.files.len() as u64 - 1))
            },
        )?;
        number(&answer).map(File)
    }

    /// Ends the process: what is in flight is cancelled, handles are closed.
    ///
    /// # Errors
    /// Errors that end the run: cancelling may hang.
    pub fn exit(self, session: &mut Session) -> Result<(), SessionError> {
        session.verb(format!("p{}.exit()", self.0), |session| {
            session.exit_process(self)?;
            Ok(Answer::Done)
        })?;
        Ok(())
    }

    /// Suspends every thread of the process, as `SuspendThread` does: each stops where it next can get a
    /// normal kernel APC.
    ///
    /// # Errors
    /// [`SessionError::Usage`] if the process has ended, [`SessionError::Status`] beyond 127 times.
    pub fn suspend(self, session: &mut Session) -> Result<(), SessionError> {
        session.verb(format!("p{}.suspend()", self.0), |session| {
            let id = session.living(self)?.id;
            let status = session.machine.suspend_process(id);
            if !status.is_success() {
                let what = "suspend".to_owned();
                return Err(SessionError::Status { what, status });
            }
            Ok(Answer::Done)
        })?;
        Ok(())
    }

    /// Resumes every thread of the process once.
    ///
    /// # Errors
    /// [`SessionError::Usage`] if the process has ended.
    pub fn resume(self, session: &mut Session) -> Result<(), SessionError> {
        session.verb(format!("p{}.resume()", self.0), |session| {
            let id = session.living(self)?.id;
            session.machine.resume_process(id);
            Ok(Answer::Done)
        })?;
        Ok(())
    }

    /// Maps fresh pages at an address of the user half of the process that the workload chooses.
    ///
    /// # Errors
    /// [`SessionError::Usage`] where the range is not free or not in the user half.
    pub fn map(
        self,
        session: &mut Session,
        address: u64,
        size: u64,
        writable: bool,
    ) -> Result<(), SessionError> {
        let verb = format!("p{}.map({address:#x}, {size:#x}, {writable})", self.0);
        session.verb(verb, |session| {
            let id = session.living(self)?.id;
            if session.machine.user_map(id, address, size, writable) {
                return Ok(Answer::Done);
            }
            Err(SessionError::Usage(format!(
                "{size:#x} bytes cannot be mapped at {address:#x}: the range must be free and in the user half"
            )))
        })?;
        Ok(())
    }

    /// Allocates pages in the user half of the process; gives their address.
    ///
    /// # Errors
    /// [`SessionError::Usage`] if guest memory is used up.
    pub fn allocate(self, session: &mut Session, size: u64) -> Result<u64, SessionError> {
        let answer = session.verb(format!("p{}.allocate({size:#x})", self.0), |session| {
            let id = session.living(self)?.id;
            let at = session.machine.user_allocate(id, size).ok_or_else(|| {
                SessionError::Usage(format!("no guest memory for {size} bytes in the process"))
            })?;
            Ok(Answer::Number(at))
        })?;
        number(&answer).map(|n| n as u64)
    }
}

impl Session {
    fn exit_process(&mut self, process: Process) -> Result<(), SessionError> {
        let name = self.living(process)?.name.clone();
        let what = format!("the exit of {name}");
        let thread = self.free_thread(process)?;
        self.ask(thread, &what, UserRequest::Exit)?;
        if let Some(state) = self.processes.get_mut(process.0) {
            state.exited = true;
        }
        for file in self.files.iter_mut().filter(|f| f.process == process) {
            file.open = false;
        }
        Ok(())
    }

    /// Ends every process that the workload left running.
    ///
    /// # Errors
    /// Errors that end the run.
    pub fn exit_all(&mut self) -> Result<(), SessionError> {
        for n in 0..self.processes.len() {
            if self.processes.get(n).is_some_and(|p| !p.exited) {
                Process(n).exit(self)?;
            }
        }
        Ok(())
    }
}

/// A Win32 device path as the native path that `CreateFile` makes of it.
pub(super) fn native(path: &str) -> String {
    for prefix in [r"\\.\", r"\\?\"] {
        if let Some(rest) = path.strip_prefix(prefix) {
            return format!(r"\??\{rest}");
        }
    }
    let drive = path.as_bytes().get(1) == Some(&b':');
    if drive {
        format!(r"\??\{path}")
    } else {
        path.to_owned()
    }
}
