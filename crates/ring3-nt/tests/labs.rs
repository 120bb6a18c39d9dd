//! Lab drivers, through the kernel's own interface.

mod common;

use std::sync::Arc;

use common::boot;
use ring3_nt::Machine;
use ring3_nt::io::file::{Buffers, Data};
use ring3_nt::io::user::{UserRequest, UserResult};
use ring3_nt::machine::run::RunEnd;
use ring3_nt::machine::thread::{ProcessId, ThreadId};
use ring3_nt::ntstatus::STATUS_SUCCESS;
use ring3_pe::Image;

fn lab(path: &str) -> Arc<Image> {
    let full = concat!(env!("CARGO_MANIFEST_DIR"), "/../../labs/").to_owned() + path;
    Arc::new(Image::parse(std::fs::read(full).expect("a committed lab driver")).expect("a driver"))
}

fn ask(machine: &mut Machine, thread: ThreadId, request: UserRequest) -> UserResult {
    let number = machine.user_submit(thread, request);
    let end = machine.run_until(|m| m.user_result(number).is_some());
    assert_eq!(
        end,
        RunEnd::Done,
        "{:?} {:?}",
        machine.stop,
        machine.findings
    );
    machine.user_result(number).cloned().expect("a result")
}

#[test]
fn first_driver_echoes() {
    for processors in [1, 4] {
        let mut machine = boot(processors, 0);
        let number = machine
            .load_driver(
                "first-driver.sys",
                "first-driver",
                lab("first-driver/first-driver.sys"),
                None,
            )
            .expect("loads");
        let system = machine
            .create_user_thread(ProcessId::SYSTEM)
            .expect("a thread");
        assert_eq!(
            ask(&mut machine, system, UserRequest::StartDriver(number)).status,
            STATUS_SUCCESS
        );
        let process = machine.create_process("app.exe").expect("a process");
        let app = machine.create_user_thread(process).expect("a thread");
        let open = UserRequest::Open {
            path: "\\??\\FirstDriver".into(),
            access: 3,
            share: 0,
            options: 0,
            overlapped: false,
        };
        let opened = ask(&mut machine, app, open);
        assert_eq!(opened.status, STATUS_SUCCESS);
        let handle = opened.information;
        let input = machine.user_allocate(process, 64).expect("memory");
        let output = machine.user_allocate(process, 64).expect("memory");
        assert!(machine.user_write(process, input, b"hello, driver"));
        let buffers = Buffers {
            data: Data::Control(0x22_2000),
            input: (input, 13),
            output: (output, 64),
            offset: 0,
        };
        let io = ask(&mut machine, app, UserRequest::Transfer(handle, buffers));
        assert_eq!((io.status, io.information), (STATUS_SUCCESS, 13));
        assert_eq!(
            machine.user_read(process, output, 13).expect("mapped"),
            b"hello, driver"
        );
        assert_eq!(
            ask(&mut machine, app, UserRequest::Close(handle)).status,
            STATUS_SUCCESS
        );
        assert_eq!(
            ask(&mut machine, system, UserRequest::UnloadDriver(number)).status,
            STATUS_SUCCESS
        );
        assert!(machine.findings.is_empty(), "{:?}", machine.findings);
        assert_eq!(machine.ex.pool.in_use(), (0, 0));
        assert!(machine.io.irps.is_empty());
    }
}

/// A shipped driver from the folder that `RING3_DRIVERS` names; `None`, said aloud, without it.
fn shipped(name: &str) -> Option<Arc<Image>> {
    let Some(folder) = std::env::var_os("RING3_DRIVERS") else {
        eprintln!("skipped: RING3_DRIVERS does not name a folder with {name}");
        return None;
    };
    let path = std::path::Path::new(&folder).join(name);
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    };
    Some(Arc::new(Image::parse(bytes).expect("a driver")))
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

/// winpmem end to end: its memory ranges, then pages of physical memory in three ways of reading.
#[test]
fn winpmem_reads_physical_memory() {
    let Some(image) = shipped("winpmem_x64.sys") else {
        return;
    };
    let mut machine = boot(1, 0);
    let number = machine
        .load_driver("winpmem_x64.sys", "winpmem", image, None)
        .expect("loads");
    let system = machine
        .create_user_thread(ProcessId::SYSTEM)
        .expect("a thread");
    let started = ask(&mut machine, system, UserRequest::StartDriver(number));
    assert_eq!(
        started.status,
        STATUS_SUCCESS,
        "{}",
        machine
            .dbg
            .messages
            .iter()
            .map(|m| m.text.as_str())
            .collect::<String>()
    );
    let process = machine.create_process("app.exe").expect("a process");
    let app = machine.create_user_thread(process).expect("a thread");
    let open = UserRequest::Open {
        path: "\\??\\pmem".into(),
        access: 3,
        share: 0,
        options: 0,
        overlapped: false,
    };
    let opened = ask(&mut machine, app, open);
    assert_eq!(opened.status, STATUS_SUCCESS);
    let handle = opened.information;
    let output = machine.user_allocate(process, 102_400).expect("memory");
    let info = Buffers {
        data: Data::Control(0x22_c40c),
        input: (0, 0),
        output: (output, 102_400),
        offset: 0,
    };
    let io = ask(&mut machine, app, UserRequest::Transfer(handle, info));
    assert_eq!(io.status, STATUS_SUCCESS);
    let reply = machine
        .user_read(process, output, io.information)
        .expect("mapped");
    let ranges = machine.physical_memory_ranges();
    assert_eq!(word(&reply, 0x930), ranges.len() as u64);
    for (i, (base, size)) in ranges.iter().enumerate() {
        assert_eq!(
            (word(&reply, 0x938 + 16 * i), word(&reply, 0x940 + 16 * i)),
            (*base, *size)
        );
    }
    let kernel = word(&reply, 0x10);
    assert_eq!(
        machine
            .modules
            .at(kernel)
            .map(|m| (m.name.as_str(), m.base)),
        Some(("ntoskrnl.exe", kernel))
    );
    // What the machine holds at the kernel's first page is what the driver reads there.
    let physical = machine.physical(kernel).expect("mapped").0;
    let mut expected = vec![0u8; 4096];
    machine
        .memory
        .read_physical(ring3_nt::memory::Gpa(physical), &mut expected)
        .expect("RAM");
    assert_eq!(&expected[..2], b"MZ");
    for mode in [1u8, 0, 2] {
        let input = machine.user_allocate(process, 16).expect("memory");
        machine.user_write(process, input, &[mode, 0, 0, 0]);
        let set = Buffers {
            data: Data::Control(0x22_c404),
            input: (input, 4),
            output: (0, 0),
            offset: 0,
        };
        assert_eq!(
            ask(&mut machine, app, UserRequest::Transfer(handle, set)).status,
            STATUS_SUCCESS
        );
        machine.user_write(process, output, &[0xaa; 4096]);
        let read = Buffers {
            data: Data::Read,
            input: (0, 0),
            output: (output, 4096),
            offset: physical,
        };
        let io = ask(&mut machine, app, UserRequest::Transfer(handle, read));
        assert_eq!(
            (io.status, io.information),
            (STATUS_SUCCESS, 4096),
            "mode {mode}"
        );
        assert_eq!(
            machine.user_read(process, output, 4096).expect("mapped"),
            expected,
            "mode {mode}"
        );
    }
    assert_eq!(
        ask(&mut machine, app, UserRequest::Close(handle)).status,
        STATUS_SUCCESS
    );
    assert_eq!(
        ask(&mut machine, system, UserRequest::UnloadDriver(number)).status,
        STATUS_SUCCESS
    );
    for finding in &machine.findings {
        eprintln!("{}: {} at {}", finding.rule, finding.message, finding.place);
    }
    assert!(
        machine
            .findings
            .iter()
            .all(|f| f.severity == ring3_nt::machine::finding::Severity::Note)
    );
}

/// The eighteen cases of structured exception handling, in a driver built with the right flags.
#[test]
fn exceptions_are_handled_as_on_windows() {
    for processors in [1, 4] {
        let mut machine = boot(processors, 0);
        let number = machine
            .load_driver(
                "seh-cases.sys",
                "seh-cases",
                lab("seh-cases/seh-cases.sys"),
                None,
            )
            .expect("loads");
        let system = machine
            .create_user_thread(ProcessId::SYSTEM)
            .expect("a thread");
        let request = machine.user_submit(system, UserRequest::StartDriver(number));
        machine.run_until(|m| m.user_result(request).is_some());
        let text: String = machine
            .dbg
            .messages
            .iter()
            .map(|m| m.text.as_str())
            .collect();
        assert!(
            text.contains("18 of 18 right"),
            "{text}{:?}{:?}",
            machine.stop,
            machine.findings
        );
    }
}

/// Drivers of frameworks that are not modelled yet load, and stop at the first routine that is missing,
/// named with its caller.
#[test]
fn framework_drivers_stop_at_what_is_missing() {
    for name in [
        "WinDivert64-2.1.0.sys",
        "WinDivert64-4.0.1.sys",
        "ViGEmBus.sys",
    ] {
        let Some(image) = shipped(name) else { continue };
        let mut machine = boot(1, 0);
        let number = machine
            .load_driver(name, "driver", image, None)
            .expect("every import is known");
        let system = machine
            .create_user_thread(ProcessId::SYSTEM)
            .expect("a thread");
        machine.user_submit(system, UserRequest::StartDriver(number));
        assert_eq!(machine.run_until(|_| false), RunEnd::Stopped);
        match &machine.stop {
            Some(ring3_nt::machine::Stop::NotModelled {
                what,
                caller,
                arguments,
                ..
            }) => {
                eprintln!("{name}: {what} at {caller}");
                assert!(what.contains("WdfVersionBind"), "{what}");
                assert_eq!(caller.module, name);
                assert!(!arguments.is_empty());
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}
