//! How a verb becomes a request of a user thread: buffers in the user half, submission, result.

use ring3_nt::Machine;
use ring3_nt::io::file::{Buffers, Data};
use ring3_nt::io::user::UserRequest;
use ring3_nt::layout::FILE_OBJECT;
use ring3_nt::machine::thread::{ProcessId, ThreadId};
use ring3_nt::memory::Gva;
use ring3_nt::ntstatus::{NTSTATUS, STATUS_PENDING};

use super::file::Io;
use super::process::OpenOptions;
use super::{Session, SessionError};

/// `FILE_GENERIC_READ` and `FILE_GENERIC_WRITE` of winnt.h.
const FILE_GENERIC_READ: u32 = 0x0012_0089;
const FILE_GENERIC_WRITE: u32 = 0x0012_0116;
/// `FILE_READ_ATTRIBUTES | SYNCHRONIZE`: what `CreateFile` always asks for.
const ALWAYS: u32 = 0x0010_0080;
/// `FILE_SYNCHRONOUS_IO_NONALERT` and `FILE_NON_DIRECTORY_FILE`, as `CreateFile` passes them.
const FILE_SYNCHRONOUS_IO_NONALERT: u32 = 0x20;
const FILE_NON_DIRECTORY_FILE: u32 = 0x40;

/// A read, write or control request.
#[derive(Clone, Debug)]
pub(super) enum Transfer {
    Control {
        code: u32,
        input: Vec<u8>,
        output: usize,
    },
    Read {
        length: usize,
        offset: Option<u64>,
    },
    Write {
        bytes: Vec<u8>,
        offset: Option<u64>,
    },
}

/// A request in flight, with its buffers in the process.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) number: u64,
    process: ProcessId,
    input: (u64, u32),
    output: (u64, u32),
}

/// The result of a request that is over; `None` while it is in flight.
fn over(machine: &Machine, number: u64) -> Option<(NTSTATUS, u64)> {
    machine
        .user_result(number)
        .filter(|r| r.status != STATUS_PENDING)
        .map(|r| (r.status, r.information))
}

impl Flight {
    /// Whether it is over.
    pub(super) fn is_over(&self, machine: &Machine) -> bool {
        over(machine, self.number).is_some()
    }

    /// Its result, once it is over.
    pub(super) fn result(&self, machine: &Machine) -> Option<Io> {
        let (status, information) = over(machine, self.number)?;
        let length = information.min(u64::from(self.output.1));
        let output = machine
            .user_read(self.process, self.output.0, length)
            .unwrap_or_default();
        Some(Io {
            status,
            information,
            output,
        })
    }

    /// Gives the buffers back.
    pub(super) fn free(&self, machine: &mut Machine) {
        for (at, length) in [self.input, self.output] {
            if length != 0 {
                machine.user_free(self.process, at, u64::from(length));
            }
        }
    }
}

/// The request that opens a path.
pub(super) fn open_request(path: String, options: &OpenOptions) -> UserRequest {
    let mut access = ALWAYS;
    if options.read {
        access |= FILE_GENERIC_READ;
    }
    if options.write {
        access |= FILE_GENERIC_WRITE;
    }
    let mut create = FILE_NON_DIRECTORY_FILE;
    if !options.overlapped {
        create |= FILE_SYNCHRONOUS_IO_NONALERT;
    }
    // Parameters.Create.Options: the disposition in the upper 8 bits, options in the lower 24.
    let options_word = options.disposition << 24 | create;
    UserRequest::Open {
        path,
        access,
        share: options.share,
        options: options_word,
        overlapped: options.overlapped,
    }
}

impl Session {
    /// Submits a request and waits for its end.
    pub(super) fn ask(
        &mut self,
        thread: ThreadId,
        what: &str,
        request: UserRequest,
    ) -> Result<(NTSTATUS, u64), SessionError> {
        let number = self.machine.user_submit(thread, request);
        self.wait(what, |m| m.user_result(number).is_some())?;
        let result = self
            .machine
            .user_result(number)
            .map(|r| (r.status, r.information));
        result.ok_or_else(|| SessionError::Hang(what.to_owned()))
    }

    /// A new thread that carries out requests.
    pub(super) fn user_thread(&mut self, process: ProcessId) -> Result<ThreadId, SessionError> {
        self.machine.create_user_thread(process).ok_or_else(|| {
            SessionError::Usage("no guest memory for a thread; raise it with --ram".to_owned())
        })
    }

    /// Puts the data of a request into the process and submits it. `wait` tells whether the thread
    /// waits for its end.
    pub(super) fn launch(
        &mut self,
        thread: ThreadId,
        process: ProcessId,
        handle: u64,
        transfer: Transfer,
        wait: bool,
    ) -> Result<Flight, SessionError> {
        let (data, input, output, offset) = match transfer {
            Transfer::Control {
                code,
                input,
                output,
            } => (Data::Control(code), input, output, None),
            Transfer::Read { length, offset } => (Data::Read, Vec::new(), length, offset),
            Transfer::Write { bytes, offset } => (Data::Write, bytes, 0, offset),
        };
        let input_at = self.place(process, input.len())?;
        let output_at = self.place(process, output)?;
        if !self.machine.user_write(process, input_at.0, &input) && !input.is_empty() {
            return Err(SessionError::Usage(
                "the input buffer cannot be written".to_owned(),
            ));
        }
        let offset = offset.unwrap_or_else(|| self.position(process, handle));
        let buffers = Buffers {
            data,
            input: input_at,
            output: output_at,
            offset,
        };
        let request = if wait {
            UserRequest::Transfer(handle, buffers)
        } else {
            UserRequest::Start(handle, buffers)
        };
        let number = self.machine.user_submit(thread, request);
        Ok(Flight {
            number,
            process,
            input: input_at,
            output: output_at,
        })
    }

    /// A buffer in the user half; no bytes need none.
    fn place(&mut self, process: ProcessId, length: usize) -> Result<(u64, u32), SessionError> {
        if length == 0 {
            return Ok((0, 0));
        }
        let size = u32::try_from(length).map_err(|_| {
            SessionError::Usage(format!("a buffer of {length} bytes is larger than 4 GiB"))
        })?;
        match self.machine.user_allocate(process, u64::from(size)) {
            Some(at) => Ok((at, size)),
            None => Err(SessionError::Usage(format!(
                "no guest memory for a buffer of {length} bytes; raise it with --ram"
            ))),
        }
    }

    /// Where a request without an offset goes: the file object's current position.
    fn position(&self, process: ProcessId, handle: u64) -> u64 {
        let object = self
            .machine
            .ob
            .handles
            .get(&(process, handle))
            .map_or(0, |h| h.object);
        let at = Gva::<FILE_OBJECT>::new(object).at(FILE_OBJECT::CurrentByteOffset);
        self.machine
            .memory
            .peek::<i64>(at.cast())
            .map_or(0, i64::cast_unsigned)
    }
}
