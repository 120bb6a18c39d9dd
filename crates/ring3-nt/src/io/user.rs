//! The user side: what applications ask for, as requests that user threads carry out.
//!
//! A workload is outside the machine. It submits a request to a thread of a user process; the thread,
//! whose outermost frame is a host routine, carries it out as the system services would, and leaves the
//! result under the request's number.

use std::collections::{BTreeMap, VecDeque};

use ring3_macros::resumable;
use ring3_memory::{Gva, PageFlags};

use super::file::{self, Buffers, Data};
use super::open::{self, Open};
use super::pnp::PnpAction;
use crate::Machine;
use crate::flow::{Flow, Key, Wall};
use crate::ke::exit_check::{self, CallType};
use crate::layout::IRP;
use crate::machine::thread::{ProcessId, ThreadId, ThreadState};
use crate::machine::wait::Wait;
use crate::mm::space::{PAGE, data};
use crate::ntstatus::{
    NTSTATUS, STATUS_INVALID_HANDLE, STATUS_NOT_FOUND, STATUS_PENDING,
    STATUS_PROCESS_IS_TERMINATING, STATUS_SUCCESS,
};
use crate::ps::attach;

/// What an application asks for.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub enum UserRequest {
    /// Open a file by its NT path.
    Open {
        /// NT path, e.g. `\??\Echo`.
        path: String,
        /// `FILE_READ_DATA` 1, `FILE_WRITE_DATA` 2 and other access bits.
        access: u32,
        /// Share access.
        share: u32,
        /// Create options and disposition, as the stack location holds them.
        options: u32,
        /// Whether requests on the handle may stay pending.
        overlapped: bool,
    },
    /// Close a handle.
    Close(u64),
    /// Read, write or control, and wait for the end.
    Transfer(u64, Buffers),
    /// Read, write or control without waiting.
    Start(u64, Buffers),
    /// Cancel a started request, by its number.
    Cancel(u64),
    /// Cancel all of this process's requests on a handle.
    CancelAll(u64),
    /// Load driver number n: run its DriverEntry.
    StartDriver(usize),
    /// Unload driver number n.
    UnloadDriver(usize),
    /// Plug in a root-enumerated device for driver number `driver`; its number is the result's information.
    Plug {
        /// The driver whose AddDevice is called.
        driver: usize,
        /// Hardware id, e.g. `root\\echo`.
        hardware_id: String,
    },
    /// Do something to a plugged-in device, by its number.
    Pnp(usize, PnpAction),
    /// Start a process with one thread; its number is the result's information.
    CreateProcess {
        /// Image name.
        name: String,
        /// Whether its pointers have 32 bits.
        wow64: bool,
    },
    /// Call a function of a driver with up to four arguments, as a unit test does; its result is the result's
    /// information.
    CallFunction {
        /// Where it is.
        address: u64,
        /// Its arguments.
        arguments: Vec<u64>,
        /// The IRQL at which it is called.
        irql: u8,
    },
    /// End the process: what it has in flight is cancelled and waited for, its handles are closed, its
    /// threads end.
    Exit,
}

/// What came of a request.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct UserResult {
    /// The status.
    pub status: NTSTATUS,
    /// `IoStatus.Information`, or the handle that was opened.
    pub information: u64,
}

/// Requests and their results.
#[derive(Clone, Hash, Debug, Default)]
pub struct Requests {
    next: u64,
    queues: BTreeMap<ThreadId, VecDeque<(u64, UserRequest)>>,
    results: BTreeMap<u64, UserResult>,
    notes: BTreeMap<ThreadId, u64>,
    started: BTreeMap<u64, Gva<IRP>>,
    next_address: BTreeMap<ProcessId, u64>,
}

impl Requests {
    /// The second result of the routine that a thread is in: a handle or IoStatus.Information.
    pub fn note(&mut self, thread: ThreadId, value: u64) {
        self.notes.insert(thread, value);
    }

    /// That second result.
    #[must_use]
    pub fn noted(&self, thread: ThreadId) -> u64 {
        self.notes.get(&thread).copied().unwrap_or(0)
    }
}

/// First address given to user buffers.
const FIRST_USER_ADDRESS: u64 = 0x1000_0000;

/// The life of a user thread: carry out requests, one after another.
#[resumable(
    fn wall(&self) -> Option<Wall> {
        // SYSTEM_THREAD_EXCEPTION_NOT_HANDLED for system threads, SYSTEM_SERVICE_EXCEPTION for requests of
        // user mode.
        Some(Wall::Bugcheck(if self.process == ProcessId::SYSTEM { 0x7e } else { 0x3b }))
    }
)]
pub fn user_thread(cx: &mut Machine, process: ProcessId) -> Flow {
    let thread: ThreadId = cx.thread().id;
    if !cx.process().exited {
        host!(crate::ps::notify::thread_started());
    }
    loop {
        while cx
            .io
            .user
            .queues
            .get(&thread)
            .is_none_or(VecDeque::is_empty)
        {
            if cx.process().exited {
                return Flow::Become(crate::ps::notify::end_thread());
            }
            wait!(Wait::On(Key::new("user-thread", u64::from(thread.0))));
        }
        let Some((next, request)) = cx
            .io
            .user
            .queues
            .get_mut(&thread)
            .and_then(VecDeque::pop_front)
        else {
            continue;
        };
        let number: u64 = next;
        if cx.process().exited {
            cx.io.user.results.insert(
                number,
                UserResult {
                    status: STATUS_PROCESS_IS_TERMINATING,
                    information: 0,
                },
            );
            cx.wake(Key::new("user-request", number));
            continue;
        }
        cx.thread_mut().previous_mode = u8::from(cx.thread().user);
        cx.io.user.note(thread, 0);
        let service: u64 = service_of(cx, &request);
        let status: NTSTATUS = host!(carry_out(number, request));
        if let Some(flow) = attach::left_attached(cx, attach::Returned::Service(0)) {
            return flow;
        }
        let call = if cx.thread().user {
            CallType::SystemCall
        } else {
            CallType::WorkerRoutine
        };
        if let Some(bugcheck) = exit_check::on_exit(cx, service, call) {
            return bugcheck;
        }
        if cx.thread().user && crate::ke::apc::has_user_apcs(cx, thread) {
            cx.thread_mut().user_apc = true;
        }
        cx.thread_mut().previous_mode = 0;
        let information = cx.io.user.noted(thread);
        cx.io.user.results.entry(number).or_insert(UserResult {
            status,
            information,
        });
        cx.wake(Key::new("user-request", number));
    }
}

/// The system service that an application calls for a request; 0 where several make it up.
fn service_of(cx: &Machine, request: &UserRequest) -> u64 {
    let name = match request {
        UserRequest::Open { .. } => "NtCreateFile",
        UserRequest::Close(_) => "NtClose",
        UserRequest::Transfer(_, buffers) | UserRequest::Start(_, buffers) => match buffers.data {
            Data::Control(_) | Data::Internal(_) => "NtDeviceIoControlFile",
            Data::Read => "NtReadFile",
            Data::Write => "NtWriteFile",
        },
        _ => return 0,
    };
    cx.export_address("ntoskrnl.exe", name).map_or(0, Gva::raw)
}

/// One request.
#[resumable]
fn carry_out(cx: &mut Machine, number: u64, request: UserRequest) -> Flow {
    let named = match &request {
        UserRequest::Close(handle)
        | UserRequest::CancelAll(handle)
        | UserRequest::Transfer(handle, _)
        | UserRequest::Start(handle, _) => Some(*handle),
        _ => None,
    };
    if cx.thread().user && named.is_some_and(crate::ob::handles::is_kernel) {
        return Flow::Return(u64::from(STATUS_INVALID_HANDLE.0));
    }
    match request {
        UserRequest::Open {
            path,
            access,
            share,
            options,
            overlapped,
        } => Flow::Become(open::create_file(Open {
            path,
            access,
            share,
            options,
            overlapped,
            kernel_handle: false,
        })),
        UserRequest::Close(handle) => Flow::Become(open::close_handle(handle)),
        UserRequest::Transfer(handle, buffers) => Flow::Become(file::transfer(handle, buffers)),
        UserRequest::Start(handle, buffers) => Flow::Become(start(number, handle, buffers)),
        UserRequest::Cancel(started) => match cx.io.user.started.get(&started) {
            Some(irp) => Flow::Become(cancel_one(*irp)),
            None => Flow::Return(u64::from(STATUS_NOT_FOUND.0)),
        },
        UserRequest::CancelAll(handle) => Flow::Become(cancel_all(handle)),
        UserRequest::StartDriver(driver) => Flow::Become(super::driver::start_driver(driver)),
        UserRequest::UnloadDriver(driver) => Flow::Become(super::driver::unload_driver(driver)),
        UserRequest::Plug {
            driver,
            hardware_id,
        } => Flow::Become(super::pnp::plug(driver, hardware_id)),
        UserRequest::Pnp(device, action) => Flow::Become(super::pnp::act(device, action)),
        UserRequest::CreateProcess { name, wow64 } => {
            Flow::Become(crate::ps::create::create_process(name, wow64))
        }
        UserRequest::CallFunction {
            address,
            arguments,
            irql,
        } => Flow::Become(super::call_function::call_function(
            address, arguments, irql,
        )),
        UserRequest::Exit => Flow::Become(super::exit::exit_process()),
    }
}

/// Sends a request and does not wait for it. The result comes when the request is complete.
#[resumable]
fn start(
    cx: &mut Machine,
    number: u64,
    handle: u64,
    buffers: Buffers,
) -> Result<NTSTATUS, ring3_memory::Fault> {
    let prepared: file::Prepared = match file::prepare(cx, handle, &buffers)? {
        Ok(prepared) => prepared,
        Err(status) => return Ok(status),
    };
    if let Some(operation) = cx.io.operations.get_mut(&prepared.irp) {
        operation.number = Some(number);
    }
    cx.io.user.started.insert(number, prepared.irp);
    host!(file::send(prepared.device, prepared.irp));
    // Started counts as done for the thread; the result itself is entered by `finish_async`.
    cx.io.user.results.entry(number).or_insert(UserResult {
        status: STATUS_PENDING,
        information: 0,
    });
    Ok(STATUS_PENDING)
}

/// The end of a request that nobody waits for.
pub(super) fn finish_async(
    cx: &mut Machine,
    number: u64,
    irp: Gva<IRP>,
    status: NTSTATUS,
    information: u64,
) {
    cx.io.user.results.insert(
        number,
        UserResult {
            status,
            information,
        },
    );
    cx.io.user.started.remove(&number);
    if let Some(operation) = cx.io.operations.remove(&irp)
        && operation.holds_file
    {
        open::release_later(cx, operation.file, operation.process);
    }
    super::irp::free(cx, irp);
    cx.wake(Key::new("user-request", number));
}

/// Cancels one request.
#[resumable]
fn cancel_one(cx: &mut Machine, irp: Gva<IRP>) -> NTSTATUS {
    let _ = &cx;
    host!(super::cancel::cancel_irp(irp));
    STATUS_SUCCESS
}

/// Cancels what this process has in flight on a handle.
#[resumable]
fn cancel_all(cx: &mut Machine, handle: u64) -> NTSTATUS {
    let process = cx.thread().process;
    let object = crate::ob::handles::find(cx, handle).map_or(0, |h| h.object);
    let mut irps: Vec<Gva<IRP>> = cx
        .io
        .operations
        .iter()
        .filter(|(_, o)| o.process == process && o.file == object && o.done.is_none())
        .map(|(irp, _)| *irp)
        .collect();
    while let Some(irp) = irps.pop() {
        if cx.io.operations.contains_key(&irp) {
            host!(super::cancel::cancel_irp(irp));
        }
    }
    STATUS_SUCCESS
}

impl Machine {
    /// A new thread of a process that carries out requests.
    pub fn create_user_thread(&mut self, process: ProcessId) -> Option<ThreadId> {
        let name = self
            .processes
            .get(&process)
            .map_or_else(String::new, |p| p.name.clone());
        self.create_thread(process, &name, user_thread(process))
    }

    /// Gives a thread a request; the result comes under the number.
    pub fn user_submit(&mut self, thread: ThreadId, request: UserRequest) -> u64 {
        self.io.user.next += 1;
        let number = self.io.user.next;
        self.trace.event("user", &[u64::from(thread.0), number]);
        self.io
            .user
            .queues
            .entry(thread)
            .or_default()
            .push_back((number, request));
        self.wake(Key::new("user-thread", u64::from(thread.0)));
        number
    }

    /// The result of a request, once there is one. A started request has `STATUS_PENDING` until it is
    /// complete.
    #[must_use]
    pub fn user_result(&self, number: u64) -> Option<&UserResult> {
        self.io.user.results.get(&number)
    }

    /// Whether a thread has nothing to do.
    #[must_use]
    pub fn user_thread_is_free(&self, thread: ThreadId) -> bool {
        let waits = matches!(
            self.threads.get(&thread).map(|t| &t.state),
            Some(ThreadState::Waiting(Wait::On(key), _)) if key.class == "user-thread"
        );
        waits
            && self
                .io
                .user
                .queues
                .get(&thread)
                .is_none_or(VecDeque::is_empty)
    }

    /// Fresh zeroed memory in the user half of a process.
    pub fn user_allocate(&mut self, process: ProcessId, size: u64) -> Option<u64> {
        let cr3 = self.processes.get(&process)?.cr3;
        let next = self
            .io
            .user
            .next_address
            .entry(process)
            .or_insert(FIRST_USER_ADDRESS);
        let at = *next;
        let pages = size.div_ceil(PAGE).max(1);
        // A page stays free between buffers, so that overruns are faults.
        *next += (pages + 1) * PAGE;
        let flags = (data() | PageFlags::USER) - PageFlags::GLOBAL;
        for i in 0..pages {
            let frame = self.memory.alloc_frame()?;
            self.memory.map(cr3, at + i * PAGE, frame, flags).ok()?;
        }
        Some(at)
    }

    /// Fresh zeroed pages at chosen addresses of a process's user half. False where the range is not in
    /// the user half, something is mapped there already, or memory is used up; nothing is mapped then.
    pub fn user_map(&mut self, process: ProcessId, at: u64, size: u64, write: bool) -> bool {
        let Some(cr3) = self.processes.get(&process).map(|p| p.cr3) else {
            return false;
        };
        let first = at & !(PAGE - 1);
        let end = at
            .checked_add(size)
            .filter(|end| *end <= crate::mm::virtual_memory::end_of_user(self, process));
        let Some(end) = end.filter(|end| *end > at && first != 0) else {
            return false;
        };
        let pages = (end - first).div_ceil(PAGE);
        let free = |i: u64| self.memory.translate(cr3, first + i * PAGE).is_none();
        if pages > self.memory.free_frames() as u64 || !(0..pages).all(free) {
            return false;
        }
        let mut flags = (data() | PageFlags::USER) - PageFlags::GLOBAL;
        flags.set(PageFlags::WRITE, write);
        (0..pages).all(|i| {
            let frame = self.memory.alloc_frame();
            frame.is_some_and(|f| self.memory.map(cr3, first + i * PAGE, f, flags).is_ok())
        })
    }

    /// Frees what `user_allocate` gave.
    pub fn user_free(&mut self, process: ProcessId, at: u64, size: u64) {
        let Some(cr3) = self.processes.get(&process).map(|p| p.cr3) else {
            return;
        };
        for i in 0..size.div_ceil(PAGE).max(1) {
            if let Some(frame) = self.memory.unmap(cr3, at + i * PAGE) {
                self.memory.free_frame(frame);
            }
        }
    }

    /// Reads a process's memory; `None` where it is not mapped.
    #[must_use]
    pub fn user_read(&self, process: ProcessId, at: u64, length: u64) -> Option<Vec<u8>> {
        let cr3 = self.processes.get(&process)?.cr3;
        let mut bytes = vec![0u8; usize::try_from(length).ok().filter(|n| *n <= 1 << 30)?];
        self.memory
            .peek_bytes(Some(cr3), Gva::<u8>::new(at), &mut bytes)
            .ok()?;
        Some(bytes)
    }

    /// Writes a process's memory. False where it is not mapped.
    pub fn user_write(&mut self, process: ProcessId, at: u64, bytes: &[u8]) -> bool {
        let Some(cr3) = self.processes.get(&process).map(|p| p.cr3) else {
            return false;
        };
        self.memory
            .poke_bytes(Some(cr3), Gva::<u8>::new(at), bytes)
            .is_ok()
    }
}
