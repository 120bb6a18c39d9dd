//! The I/O manager from a driver's and an application's side. The dispatch routines of a loaded driver are
//! replaced by ones that are assembled here.

mod common;

use std::sync::Arc;

use common::{boot, data, routine, thread};
use iced_x86::code_asm::{
    byte_ptr, cl, dword_ptr, eax, ecx, edx, qword_ptr, r8, r8d, r9, r9d, rax, rbx, rcx, rdi, rdx,
    rsi, rsp,
};
use ring3_nt::Machine;
use ring3_nt::io::file::{Buffers, Data};
use ring3_nt::io::pnp::PnpAction;
use ring3_nt::io::user::{UserRequest, UserResult};
use ring3_nt::layout::{
    DEVICE_OBJECT, DRIVER_EXTENSION, DRIVER_OBJECT, FILE_OBJECT, UNICODE_STRING, element,
};
use ring3_nt::machine::Stop;
use ring3_nt::machine::finding::Severity;
use ring3_nt::machine::run::RunEnd;
use ring3_nt::machine::thread::{ProcessId, ThreadId};
use ring3_nt::memory::Gva;
use ring3_nt::ntstatus::{
    NTSTATUS, STATUS_ACCESS_DENIED, STATUS_ACCESS_VIOLATION, STATUS_CANCELLED, STATUS_DEVICE_BUSY,
    STATUS_INVALID_HANDLE, STATUS_NO_SUCH_DEVICE, STATUS_OBJECT_NAME_NOT_FOUND, STATUS_PENDING,
    STATUS_SUCCESS,
};
use ring3_pe::Image;

const CREATE: u8 = 0;
const CLOSE: u8 = 2;
const READ: u8 = 3;
const CONTROL: u8 = 0xe;
const CLEANUP: u8 = 0x12;
const POWER: u8 = 0x16;
const PNP: u8 = 0x1b;

/// A machine with a started driver, and an application.
struct Rig {
    machine: Machine,
    driver: usize,
    object: Gva<DRIVER_OBJECT>,
    /// A count, then one byte per request: its major function, or for PnP its minor function.
    log: Gva,
    system: ThreadId,
    process: ProcessId,
    app: ThreadId,
}

impl Rig {
    fn new() -> Self {
        let mut machine = boot(1, 0);
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../labs/first-driver/first-driver.sys"
        );
        let image = Arc::new(
            Image::parse(std::fs::read(path).expect("a committed lab driver")).expect("a driver"),
        );
        let driver = machine
            .load_driver("first-driver.sys", "first-driver", image, None)
            .expect("loads");
        let system = machine
            .create_user_thread(ProcessId::SYSTEM)
            .expect("a thread");
        let process = machine.create_process("app.exe").expect("a process");
        let app = machine.create_user_thread(process).expect("a thread");
        let object = machine.io.drivers[driver].object;
        let log = data(&mut machine);
        let mut rig = Self {
            machine,
            driver,
            object,
            log,
            system,
            process,
            app,
        };
        assert_eq!(
            rig.ask(system, UserRequest::StartDriver(driver)).status,
            STATUS_SUCCESS
        );
        rig
    }

    fn ask(&mut self, thread: ThreadId, request: UserRequest) -> UserResult {
        let number = self.machine.user_submit(thread, request);
        let end = self.machine.run_until(|m| m.user_result(number).is_some());
        assert_eq!(
            end,
            RunEnd::Done,
            "{:?} {:?}",
            self.machine.stop,
            self.machine.findings
        );
        self.machine.user_result(number).cloned().expect("a result")
    }

    fn settle(&mut self) {
        self.machine.run_until(|_| false);
        assert!(self.machine.stop.is_none(), "{:?}", self.machine.stop);
    }

    fn set(&mut self, major: u8, routine: Gva) {
        let slot = element(
            self.object.at(DRIVER_OBJECT::MajorFunction),
            u64::from(major),
        );
        self.machine
            .memory
            .write(slot, routine.cast())
            .expect("mapped");
    }

    /// A dispatch routine that notes the request and completes it with a status.
    fn completes(&mut self, majors: &[u8], status: NTSTATUS) {
        let log = self.log;
        let at = routine(&mut self.machine, |g| {
            note(g, log, 0);
            g.asm.mov(rcx, rdx).unwrap();
            g.asm.mov(dword_ptr(rcx + 0x30), status.0).unwrap();
            g.asm.mov(qword_ptr(rcx + 0x38), 0).unwrap();
            g.asm.xor(edx, edx).unwrap();
            g.call("IofCompleteRequest");
            g.asm.mov(eax, status.0).unwrap();
        });
        for major in majors {
            self.set(*major, at);
        }
    }

    /// A dispatch routine that keeps the request with a cancel routine; `mark` tells whether it marks it pending.
    fn keeps(&mut self, major: u8, mark: bool) {
        let log = self.log;
        let cancel = routine(&mut self.machine, |g| {
            g.asm.mov(rbx, rdx).unwrap();
            g.asm.mov(cl, byte_ptr(rbx + 0x45)).unwrap();
            g.call("IoReleaseCancelSpinLock");
            g.asm.mov(rcx, rbx).unwrap();
            g.asm
                .mov(dword_ptr(rcx + 0x30), STATUS_CANCELLED.0)
                .unwrap();
            g.asm.mov(qword_ptr(rcx + 0x38), 0).unwrap();
            g.asm.xor(edx, edx).unwrap();
            g.call("IofCompleteRequest");
        });
        let at = routine(&mut self.machine, |g| {
            note(g, log, 0);
            if mark {
                g.asm.mov(rax, qword_ptr(rdx + 0xb8)).unwrap();
                g.asm.or(byte_ptr(rax + 3), 1).unwrap();
            }
            g.asm.mov(rax, cancel.raw()).unwrap();
            g.asm.mov(qword_ptr(rdx + 0x68), rax).unwrap();
            g.asm.mov(eax, STATUS_PENDING.0).unwrap();
        });
        self.set(major, at);
    }

    fn logged(&self) -> Vec<u8> {
        let count = self
            .machine
            .memory
            .peek::<u64>(self.log.cast())
            .expect("mapped");
        (0..count)
            .map(|i| {
                self.machine
                    .memory
                    .peek::<u8>(self.log.byte_add(8 + i))
                    .expect("mapped")
            })
            .collect()
    }

    fn open(&mut self, path: &str, overlapped: bool) -> UserResult {
        let open = UserRequest::Open {
            path: path.into(),
            access: 3,
            share: 0,
            options: 1 << 24,
            overlapped,
        };
        self.ask(self.app, open)
    }

    fn handle(&mut self, overlapped: bool) -> u64 {
        let opened = self.open("\\??\\FirstDriver", overlapped);
        assert_eq!(opened.status, STATUS_SUCCESS);
        opened.information
    }

    fn device(&self) -> Gva<DEVICE_OBJECT> {
        *self
            .machine
            .devices_of(self.object)
            .last()
            .expect("the driver's own device")
    }

    fn rules(&self) -> Vec<&str> {
        self.machine.findings.iter().map(|f| f.rule).collect()
    }
}

/// Appends the major (or at `offset` 1 the minor) function of the IRP in rdx to the log. Changes rax, r8, r9.
fn note(g: &mut common::Guest<'_>, log: Gva, offset: i32) {
    g.asm.mov(rax, qword_ptr(rdx + 0xb8)).unwrap();
    g.asm.movzx(eax, byte_ptr(rax + offset)).unwrap();
    g.asm.mov(r8, log.raw()).unwrap();
    g.asm.mov(r9, qword_ptr(r8)).unwrap();
    g.asm
        .mov(byte_ptr(r8 + r9 + 8), iced_x86::code_asm::al)
        .unwrap();
    g.asm.inc(qword_ptr(r8)).unwrap();
}

fn control(code: u32, input: (u64, u32), output: (u64, u32)) -> Buffers {
    Buffers {
        data: Data::Control(code),
        input,
        output,
        offset: 0,
    }
}

#[test]
fn cleanup_comes_with_the_last_handle_and_close_with_the_last_reference() {
    let mut rig = Rig::new();
    rig.completes(&[CREATE, CLEANUP, CLOSE], STATUS_SUCCESS);
    let handle = rig.handle(false);
    let file = rig.machine.ob.handles[&(rig.process, handle)].object;
    rig.machine.reference_object(file);
    let device = rig.device();
    assert_eq!(
        rig.machine
            .memory
            .get(device, DEVICE_OBJECT::ReferenceCount),
        Ok(1)
    );
    assert_eq!(
        rig.ask(rig.app, UserRequest::Close(handle)).status,
        STATUS_SUCCESS
    );
    assert_eq!(rig.logged(), [CREATE, CLEANUP]);
    let drop = routine(&mut rig.machine, |g| {
        g.asm.mov(rcx, file).unwrap();
        g.call("ObfDereferenceObject");
    });
    thread(&mut rig.machine, drop, 0);
    rig.settle();
    assert_eq!(rig.logged(), [CREATE, CLEANUP, CLOSE]);
    assert_eq!(
        rig.machine
            .memory
            .get(device, DEVICE_OBJECT::ReferenceCount),
        Ok(0)
    );
    assert_eq!(
        rig.ask(rig.app, UserRequest::Close(handle)).status,
        STATUS_INVALID_HANDLE
    );
    assert!(
        rig.machine.findings.is_empty(),
        "{:?}",
        rig.machine.findings
    );
}

#[test]
fn a_failed_create_gets_neither_cleanup_nor_close() {
    let mut rig = Rig::new();
    rig.completes(&[CREATE], STATUS_ACCESS_DENIED);
    rig.completes(&[CLEANUP, CLOSE], STATUS_SUCCESS);
    assert_eq!(
        rig.open("\\??\\FirstDriver", false).status,
        STATUS_ACCESS_DENIED
    );
    rig.settle();
    assert_eq!(rig.logged(), [CREATE]);
    assert_eq!(
        rig.open("\\??\\NoSuchDevice", false).status,
        STATUS_OBJECT_NAME_NOT_FOUND
    );
    assert!(rig.machine.io.irps.is_empty());
}

#[test]
fn a_started_request_is_cancelled() {
    let mut rig = Rig::new();
    rig.completes(&[CREATE, CLEANUP, CLOSE], STATUS_SUCCESS);
    rig.keeps(READ, true);
    let handle = rig.handle(true);
    let output = rig.machine.user_allocate(rig.process, 16).expect("memory");
    let read = Buffers {
        data: Data::Read,
        input: (0, 0),
        output: (output, 16),
        offset: 0,
    };
    let number = rig
        .machine
        .user_submit(rig.app, UserRequest::Start(handle, read));
    rig.settle();
    assert_eq!(
        rig.machine.user_result(number).map(|r| r.status),
        Some(STATUS_PENDING)
    );
    assert_eq!(
        rig.ask(rig.app, UserRequest::Cancel(number)).status,
        STATUS_SUCCESS
    );
    assert_eq!(
        rig.machine.user_result(number).map(|r| r.status),
        Some(STATUS_CANCELLED)
    );
    assert_eq!(
        rig.ask(rig.app, UserRequest::Close(handle)).status,
        STATUS_SUCCESS
    );
    assert_eq!(rig.logged(), [CREATE, READ, CLEANUP, CLOSE]);
    assert!(
        rig.machine.findings.is_empty(),
        "{:?}",
        rig.machine.findings
    );
    assert!(rig.machine.io.irps.is_empty());
}

#[test]
fn a_request_in_flight_keeps_its_file_open() {
    let mut rig = Rig::new();
    rig.completes(&[CREATE, CLEANUP, CLOSE], STATUS_SUCCESS);
    rig.keeps(READ, true);
    let handle = rig.handle(true);
    let read = Buffers {
        data: Data::Read,
        ..Buffers::default()
    };
    let number = rig
        .machine
        .user_submit(rig.app, UserRequest::Start(handle, read));
    rig.settle();
    assert_eq!(
        rig.ask(rig.app, UserRequest::Close(handle)).status,
        STATUS_SUCCESS
    );
    rig.settle();
    assert_eq!(rig.logged(), [CREATE, READ, CLEANUP]);
    rig.ask(rig.app, UserRequest::Cancel(number));
    rig.settle();
    assert_eq!(rig.logged(), [CREATE, READ, CLEANUP, CLOSE]);
}

#[test]
fn the_end_of_a_process_cancels_and_closes() {
    let mut rig = Rig::new();
    rig.completes(&[CREATE, CLEANUP, CLOSE], STATUS_SUCCESS);
    rig.keeps(READ, true);
    let handle = rig.handle(true);
    let read = Buffers {
        data: Data::Read,
        ..Buffers::default()
    };
    let number = rig
        .machine
        .user_submit(rig.app, UserRequest::Start(handle, read.clone()));
    rig.settle();
    // A second thread is blocked in a request of its own.
    let second = rig
        .machine
        .create_user_thread(rig.process)
        .expect("a thread");
    rig.machine
        .user_submit(second, UserRequest::Transfer(handle, read));
    rig.settle();
    assert_eq!(rig.ask(rig.app, UserRequest::Exit).status, STATUS_SUCCESS);
    rig.settle();
    assert_eq!(
        rig.machine.user_result(number).map(|r| r.status),
        Some(STATUS_CANCELLED)
    );
    assert_eq!(rig.logged(), [CREATE, READ, READ, CLEANUP, CLOSE]);
    assert!(
        rig.machine
            .ob
            .handles
            .keys()
            .all(|(process, _)| *process != rig.process)
    );
    let over = |t: &&ring3_nt::machine::thread::Thread| t.process == rig.process;
    let terminated = ring3_nt::machine::thread::ThreadState::Terminated;
    assert!(
        rig.machine
            .threads
            .values()
            .filter(over)
            .all(|t| t.state == terminated)
    );
    assert!(rig.machine.io.irps.is_empty());
    assert!(
        rig.machine.findings.is_empty(),
        "{:?}",
        rig.machine.findings
    );
}

#[test]
fn exclusive_devices_are_opened_once() {
    let mut rig = Rig::new();
    let device = rig.device();
    let flags = rig
        .machine
        .memory
        .get(device, DEVICE_OBJECT::Flags)
        .expect("mapped");
    rig.machine
        .memory
        .set(device, DEVICE_OBJECT::Flags, flags | 8)
        .expect("mapped");
    let handle = rig.handle(false);
    assert_eq!(
        rig.open("\\??\\FirstDriver", false).status,
        STATUS_ACCESS_DENIED
    );
    rig.ask(rig.app, UserRequest::Close(handle));
    rig.handle(false);
    // A device that is still initialising cannot be opened at all.
    rig.machine
        .memory
        .set(device, DEVICE_OBJECT::Flags, flags | 0x80)
        .expect("mapped");
    assert_eq!(
        rig.open("\\??\\FirstDriver", false).status,
        STATUS_NO_SUCH_DEVICE
    );
    assert_eq!(rig.rules(), ["device/still-initializing"]);
}

#[test]
fn what_is_behind_the_device_is_the_file_name() {
    let mut rig = Rig::new();
    let device = rig.device();
    let opened = rig.open("\\??\\FirstDriver\\a\\B", false);
    assert_eq!(opened.status, STATUS_SUCCESS);
    assert!(rig.machine.findings.is_empty());
    let file =
        Gva::<FILE_OBJECT>::new(rig.machine.ob.handles[&(rig.process, opened.information)].object);
    let name: Gva<UNICODE_STRING> = file.at(FILE_OBJECT::FileName);
    assert_eq!(
        ring3_nt::io::device::read_string(&rig.machine, name).as_deref(),
        Ok("\\a\\B")
    );
    // FILE_DEVICE_SECURE_OPEN is what protects such opens.
    rig.machine
        .memory
        .set(device, DEVICE_OBJECT::Characteristics, 0)
        .expect("mapped");
    rig.open("\\??\\FirstDriver\\x", false);
    assert_eq!(rig.rules(), ["device/no-secure-open"]);
    assert_eq!(rig.machine.findings[0].severity, Severity::Note);
}

#[test]
fn bad_buffers_never_reach_the_driver_unless_it_asked_for_it() {
    let mut rig = Rig::new();
    rig.completes(&[CONTROL], STATUS_SUCCESS);
    let handle = rig.handle(false);
    let good = rig
        .machine
        .user_allocate(rig.process, 4096)
        .expect("memory");
    let kernel = rig.log.raw();
    for bad in [0x1000, good + 4000, kernel, u64::MAX - 8] {
        for method in 0..3u32 {
            let output = control(0x22_2000 | method, (good, 16), (bad, 200));
            let input = control(0x22_2000 | method, (bad, 200), (good, 16));
            for buffers in [output, input] {
                let io = rig.ask(rig.app, UserRequest::Transfer(handle, buffers));
                assert_eq!(
                    io.status, STATUS_ACCESS_VIOLATION,
                    "method {method}, {bad:#x}"
                );
            }
        }
    }
    assert_eq!(rig.logged(), []);
    // METHOD_NEITHER gives the driver what the application gave.
    let neither = control(0x22_2003, (kernel, 8), (0x1000, 8));
    assert_eq!(
        rig.ask(rig.app, UserRequest::Transfer(handle, neither))
            .status,
        STATUS_SUCCESS
    );
    assert_eq!(rig.logged(), [CONTROL]);
    assert!(rig.machine.io.irps.is_empty());
    assert!(rig.machine.mm.locked_mdls.is_empty());
}

#[test]
fn the_access_that_a_control_code_requires_is_checked() {
    let mut rig = Rig::new();
    rig.completes(&[CONTROL], STATUS_SUCCESS);
    let open = UserRequest::Open {
        path: "\\??\\FirstDriver".into(),
        access: 0x8000_0000,
        share: 0,
        options: 0,
        overlapped: false,
    };
    let handle = rig.ask(rig.app, open).information;
    // FILE_READ_ACCESS and FILE_WRITE_ACCESS in bits 14 and 15.
    let read = control(0x22_6000, (0, 0), (0, 0));
    let write = control(0x22_a000, (0, 0), (0, 0));
    assert_eq!(
        rig.ask(rig.app, UserRequest::Transfer(handle, read)).status,
        STATUS_SUCCESS
    );
    assert_eq!(
        rig.ask(rig.app, UserRequest::Transfer(handle, write))
            .status,
        STATUS_ACCESS_DENIED
    );
}

#[test]
fn completing_twice_is_a_bugcheck() {
    let mut rig = Rig::new();
    let handle = rig.handle(false);
    let at = routine(&mut rig.machine, |g| {
        g.asm.mov(rbx, rdx).unwrap();
        for _ in 0..2 {
            g.asm.mov(rcx, rbx).unwrap();
            g.asm.mov(dword_ptr(rcx + 0x30), 0).unwrap();
            g.asm.xor(edx, edx).unwrap();
            g.call("IofCompleteRequest");
        }
        g.asm.xor(eax, eax).unwrap();
    });
    rig.set(CONTROL, at);
    rig.machine.user_submit(
        rig.app,
        UserRequest::Transfer(handle, control(0x22_2000, (0, 0), (0, 0))),
    );
    assert_eq!(rig.machine.run_until(|_| false), RunEnd::Stopped);
    assert!(
        matches!(&rig.machine.stop, Some(Stop::Bugcheck(b)) if b.code == 0x44),
        "{:?}",
        rig.machine.stop
    );
    assert_eq!(rig.rules(), ["irp/double-completion"]);
}

#[test]
fn returning_pending_takes_a_mark() {
    let mut rig = Rig::new();
    rig.keeps(READ, false);
    let handle = rig.handle(true);
    let read = Buffers {
        data: Data::Read,
        ..Buffers::default()
    };
    rig.machine
        .user_submit(rig.app, UserRequest::Start(handle, read));
    rig.settle();
    assert_eq!(rig.rules(), ["irp/pending-not-marked"]);
}

#[test]
fn a_dispatch_routine_that_forgets_its_request() {
    let mut rig = Rig::new();
    let handle = rig.handle(true);
    let at = routine(&mut rig.machine, |g| g.asm.xor(eax, eax).unwrap());
    rig.set(READ, at);
    let read = Buffers {
        data: Data::Read,
        ..Buffers::default()
    };
    rig.machine
        .user_submit(rig.app, UserRequest::Start(handle, read));
    rig.settle();
    assert_eq!(rig.rules(), ["irp/not-completed"]);
}

/// A counted string in a page of data, for the path of a device.
fn counted(machine: &mut Machine, text: &str) -> Gva<UNICODE_STRING> {
    let at = data(machine);
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let string = at.cast::<UNICODE_STRING>();
    machine
        .memory
        .write_bytes(at.byte_add(16), &bytes)
        .expect("mapped");
    machine
        .memory
        .set(string, UNICODE_STRING::Length, bytes.len() as u16)
        .expect("mapped");
    machine
        .memory
        .set(string, UNICODE_STRING::MaximumLength, bytes.len() as u16)
        .expect("mapped");
    machine
        .memory
        .set(string, UNICODE_STRING::Buffer, at.byte_add(16).cast())
        .expect("mapped");
    string
}

#[test]
fn a_driver_gets_a_device_by_name() {
    let mut rig = Rig::new();
    rig.completes(&[CREATE, CLEANUP, CLOSE], STATUS_SUCCESS);
    let name = counted(&mut rig.machine, "\\Device\\FirstDriver");
    let out = data(&mut rig.machine);
    let get = routine(&mut rig.machine, |g| {
        g.asm.mov(rcx, name.raw()).unwrap();
        g.asm.mov(edx, 3).unwrap();
        g.asm.mov(r8, out.raw()).unwrap();
        g.asm.mov(r9, out.raw() + 8).unwrap();
        g.call("IoGetDeviceObjectPointer");
        g.asm.mov(rcx, out.raw()).unwrap();
        g.asm.mov(dword_ptr(rcx + 16), eax).unwrap();
        g.asm.mov(rcx, qword_ptr(rcx)).unwrap();
        g.call("ObfDereferenceObject");
    });
    thread(&mut rig.machine, get, 0);
    rig.settle();
    assert_eq!(
        rig.machine.memory.peek::<u32>(out.byte_add(16).cast()),
        Some(0)
    );
    assert_eq!(
        rig.machine.memory.peek::<u64>(out.byte_add(8).cast()),
        Some(rig.device().raw())
    );
    assert_eq!(rig.logged(), [CREATE, CLEANUP, CLOSE]);
    assert!(
        rig.machine.findings.is_empty(),
        "{:?}",
        rig.machine.findings
    );
}

/// A dispatch routine that notes the minor function and hands the request down; with `removes` it takes the device
/// away when its removal has come back up.
fn pass_down(rig: &mut Rig, page: Gva, removes: bool) -> Gva {
    let (own, lower, log) = (page.raw(), page.raw() + 8, rig.log);
    routine(&mut rig.machine, |g| {
        let mut kept = g.asm.create_label();
        note(g, log, 1);
        g.asm.mov(ecx, eax).unwrap();
        g.asm.mov(rbx, rcx).unwrap();
        // IoSkipCurrentIrpStackLocation.
        g.asm.inc(byte_ptr(rdx + 0x43)).unwrap();
        g.asm.add(qword_ptr(rdx + 0xb8), 0x48).unwrap();
        g.asm.mov(rax, lower).unwrap();
        g.asm.mov(rcx, qword_ptr(rax)).unwrap();
        g.call("IofCallDriver");
        g.asm.mov(rdi, rax).unwrap();
        if removes {
            g.asm.cmp(rbx, 2).unwrap();
            g.asm.jne(kept).unwrap();
            g.asm.mov(rax, lower).unwrap();
            g.asm.mov(rcx, qword_ptr(rax)).unwrap();
            g.call("IoDetachDevice");
            g.asm.mov(rax, own).unwrap();
            g.asm.mov(rcx, qword_ptr(rax)).unwrap();
            g.call("IoDeleteDevice");
            g.asm.set_label(&mut kept).unwrap();
        }
        g.asm.mov(rax, rdi).unwrap();
    })
}

/// AddDevice and a PnP dispatch routine that hands everything down. Gives the page where the lower and the own
/// device are kept. `tidy` false leaves the device attached after its removal.
fn function_driver(rig: &mut Rig, tidy: bool) -> Gva {
    let page = data(&mut rig.machine);
    let own = page.raw();
    let add = routine(&mut rig.machine, |g| {
        g.asm.mov(rdi, rdx).unwrap();
        g.asm.sub(rsp, 0x20).unwrap();
        g.asm.xor(edx, edx).unwrap();
        g.asm.xor(r8d, r8d).unwrap();
        g.asm.mov(r9d, 0x22).unwrap();
        g.asm.mov(qword_ptr(rsp + 0x20), 0).unwrap();
        g.asm.mov(qword_ptr(rsp + 0x28), 0).unwrap();
        g.asm.mov(rax, own).unwrap();
        g.asm.mov(qword_ptr(rsp + 0x30), rax).unwrap();
        g.call("IoCreateDevice");
        g.asm.add(rsp, 0x20).unwrap();
        g.asm.mov(rsi, own).unwrap();
        g.asm.mov(rcx, qword_ptr(rsi)).unwrap();
        // DO_DEVICE_INITIALIZING is cleared.
        g.asm.and(dword_ptr(rcx + 0x30), !0x80i32).unwrap();
        g.asm.mov(rdx, rdi).unwrap();
        g.call("IoAttachDeviceToDeviceStack");
        g.asm.mov(qword_ptr(rsi + 8), rax).unwrap();
        g.asm.xor(eax, eax).unwrap();
    });
    for (major, removes) in [(PNP, tidy), (POWER, false)] {
        let at = pass_down(rig, page, removes);
        rig.set(major, at);
    }
    let extension = rig
        .machine
        .memory
        .get(rig.object, DRIVER_OBJECT::DriverExtension)
        .expect("mapped");
    rig.machine
        .memory
        .set(extension, DRIVER_EXTENSION::AddDevice, add.cast())
        .expect("mapped");
    page
}

fn plug(rig: &mut Rig) -> UserResult {
    let plug = UserRequest::Plug {
        driver: rig.driver,
        hardware_id: "root\\first".into(),
    };
    rig.ask(rig.system, plug)
}

#[test]
fn a_device_is_plugged_in_and_removed() {
    let mut rig = Rig::new();
    function_driver(&mut rig, true);
    let before = rig.machine.io.devices.len();
    let plugged = plug(&mut rig);
    assert_eq!(plugged.status, STATUS_SUCCESS, "{:?}", rig.machine.findings);
    let device = plugged.information as usize;
    // Start, capabilities, state, relations.
    assert_eq!(rig.logged(), [0, 9, 0x14, 7]);
    for action in [
        PnpAction::Stop,
        PnpAction::Start,
        PnpAction::DevicePower(3),
        PnpAction::QueryRemove,
    ] {
        assert_eq!(
            rig.ask(rig.system, UserRequest::Pnp(device, action)).status,
            STATUS_SUCCESS,
            "{action:?}"
        );
    }
    assert_eq!(rig.logged()[4..], [5, 4, 0, 9, 0x14, 7, 2, 1, 3][..]);
    assert_eq!(
        rig.ask(rig.system, UserRequest::Pnp(device, PnpAction::Remove))
            .status,
        STATUS_SUCCESS
    );
    assert_eq!(rig.logged()[13..], [1, 2][..]);
    assert_eq!(rig.machine.io.devices.len(), before);
    assert_eq!(
        rig.ask(rig.system, UserRequest::Pnp(device, PnpAction::Start))
            .status,
        STATUS_NO_SUCH_DEVICE
    );
    assert!(
        rig.machine.findings.is_empty(),
        "{:?}",
        rig.machine.findings
    );
    assert!(rig.machine.io.irps.is_empty());
}

#[test]
fn open_files_hold_a_device_until_it_is_pulled_out() {
    let mut rig = Rig::new();
    function_driver(&mut rig, true);
    let device = plug(&mut rig).information as usize;
    let pdo = rig.machine.io.pnp.nodes[device].pdo;
    let path = rig.machine.ob.objects[&pdo.raw()].name.clone();
    let opened = rig.open(&path, false);
    assert_eq!(opened.status, STATUS_SUCCESS);
    let remove = UserRequest::Pnp(device, PnpAction::Remove);
    assert_eq!(rig.ask(rig.system, remove).status, STATUS_DEVICE_BUSY);
    let pull = UserRequest::Pnp(device, PnpAction::SurpriseRemove);
    assert_eq!(rig.ask(rig.system, pull).status, STATUS_SUCCESS);
    assert_eq!(rig.logged()[4..], [1, 3, 0x17][..]);
    rig.ask(rig.app, UserRequest::Close(opened.information));
    rig.settle();
    assert_eq!(rig.logged()[7..], [2][..]);
    assert!(
        rig.machine.findings.is_empty(),
        "{:?}",
        rig.machine.findings
    );
}

#[test]
fn a_removed_device_must_detach() {
    let mut rig = Rig::new();
    function_driver(&mut rig, false);
    let device = plug(&mut rig).information as usize;
    rig.ask(rig.system, UserRequest::Pnp(device, PnpAction::Remove));
    assert_eq!(rig.rules(), ["pnp/not-detached"]);
}

#[test]
fn start_io_serves_one_request_at_a_time() {
    let mut rig = Rig::new();
    let log = rig.log;
    // Dispatch: pending, IoStartPacket. StartIo: note only. A control request ends the current one.
    let dispatch = routine(&mut rig.machine, |g| {
        g.asm.mov(rax, qword_ptr(rdx + 0xb8)).unwrap();
        g.asm.or(byte_ptr(rax + 3), 1).unwrap();
        g.asm.xor(r8d, r8d).unwrap();
        g.asm.xor(r9d, r9d).unwrap();
        g.call("IoStartPacket");
        g.asm.mov(eax, STATUS_PENDING.0).unwrap();
    });
    let start = routine(&mut rig.machine, |g| note(g, log, 0));
    let next = routine(&mut rig.machine, |g| {
        g.asm.mov(rbx, rdx).unwrap();
        g.asm.mov(rdi, rcx).unwrap();
        // CurrentIrp of the device.
        g.asm.mov(rsi, qword_ptr(rcx + 0x20)).unwrap();
        g.call("KeRaiseIrqlToDpcLevel");
        g.asm.mov(rcx, rdi).unwrap();
        g.asm.xor(edx, edx).unwrap();
        g.call("IoStartNextPacket");
        g.asm.xor(ecx, ecx).unwrap();
        g.call("KeLowerIrql");
        for irp in [rsi, rbx] {
            g.asm.mov(rcx, irp).unwrap();
            g.asm.mov(dword_ptr(rcx + 0x30), 0).unwrap();
            g.asm.mov(qword_ptr(rcx + 0x38), 0).unwrap();
            g.asm.xor(edx, edx).unwrap();
            g.call("IofCompleteRequest");
        }
        g.asm.xor(eax, eax).unwrap();
    });
    rig.set(READ, dispatch);
    rig.set(CONTROL, next);
    rig.machine
        .memory
        .set(rig.object, DRIVER_OBJECT::DriverStartIo, start.cast())
        .expect("mapped");
    let handle = rig.handle(true);
    let read = Buffers {
        data: Data::Read,
        ..Buffers::default()
    };
    let first = rig
        .machine
        .user_submit(rig.app, UserRequest::Start(handle, read.clone()));
    let second = rig
        .machine
        .user_submit(rig.app, UserRequest::Start(handle, read));
    rig.settle();
    assert_eq!(rig.logged(), [READ]);
    for (done, pending) in [(first, Some(second)), (second, None)] {
        let io = rig.ask(
            rig.app,
            UserRequest::Transfer(handle, control(0x22_2000, (0, 0), (0, 0))),
        );
        assert_eq!(io.status, STATUS_SUCCESS);
        assert_eq!(
            rig.machine.user_result(done).map(|r| r.status),
            Some(STATUS_SUCCESS)
        );
        if let Some(other) = pending {
            assert_eq!(
                rig.machine.user_result(other).map(|r| r.status),
                Some(STATUS_PENDING)
            );
        }
        assert_eq!(rig.logged(), [READ, READ]);
    }
    assert!(
        rig.machine.findings.is_empty(),
        "{:?}",
        rig.machine.findings
    );
}

#[test]
fn a_named_event_is_one_object_behind_two_handles() {
    let mut rig = Rig::new();
    let name = counted(&mut rig.machine, "\\BaseNamedObjects\\Ready");
    let out = data(&mut rig.machine);
    let make = routine(&mut rig.machine, |g| {
        for slot in 0..2 {
            g.asm.mov(rcx, name.raw()).unwrap();
            g.asm.mov(rdx, out.raw() + 16 * slot).unwrap();
            g.call("IoCreateNotificationEvent");
            g.asm.mov(rcx, out.raw() + 16 * slot).unwrap();
            g.asm.mov(qword_ptr(rcx + 8), rax).unwrap();
        }
        // Signalled when new, so the wait by handle is over at once.
        g.asm.mov(rcx, qword_ptr(rcx)).unwrap();
        g.asm.xor(edx, edx).unwrap();
        g.asm.xor(r8d, r8d).unwrap();
        g.call("ZwWaitForSingleObject");
        g.asm.mov(rbx, out.raw()).unwrap();
        g.asm.mov(dword_ptr(rbx + 32), eax).unwrap();
        for slot in 0..2 {
            g.asm.mov(rcx, qword_ptr(rbx + 16 * slot)).unwrap();
            g.call("ZwClose");
        }
    });
    thread(&mut rig.machine, make, 0);
    rig.settle();
    let word = |at: u64| {
        rig.machine
            .memory
            .peek::<u64>(out.byte_add(at).cast())
            .expect("mapped")
    };
    assert_ne!(word(0), word(16));
    assert_ne!(word(8), 0);
    assert_eq!(word(8), word(24));
    assert_eq!(word(32), 0);
    assert!(!rig.machine.ob.objects.contains_key(&word(8)));
    assert!(
        rig.machine.findings.is_empty(),
        "{:?}",
        rig.machine.findings
    );
}

#[test]
fn an_unload_waits_for_the_last_file() {
    let mut rig = Rig::new();
    let handle = rig.handle(false);
    assert_eq!(
        rig.ask(rig.system, UserRequest::UnloadDriver(rig.driver))
            .status,
        STATUS_SUCCESS
    );
    rig.settle();
    assert!(!rig.machine.io.drivers[rig.driver].unloaded);
    assert_eq!(
        rig.ask(rig.app, UserRequest::Close(handle)).status,
        STATUS_SUCCESS
    );
    rig.settle();
    assert!(rig.machine.io.drivers[rig.driver].unloaded);
    assert!(
        rig.machine.findings.is_empty(),
        "{:?}",
        rig.machine.findings
    );
}
