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
    assert_eq!(end, RunEnd::Done, "{:?} {:?}", machine.stop, machine.findings);
    machine.user_result(number).cloned().expect("a result")
}

#[test]
fn first_driver_echoes() {
    for processors in [1, 4] {
        let mut machine = boot(processors, 0);
        let number = machine
            .load_driver("first-driver.sys", "first-driver", lab("first-driver/first-driver.sys"), None)
            .expect("loads");
        let system = machine.create_user_thread(ProcessId::SYSTEM).expect("a thread");
        assert_eq!(ask(&mut machine, system, UserRequest::StartDriver(number)).status, STATUS_SUCCESS);
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
        let buffers =
            Buffers { data: Data::Control(0x22_2000), input: (input, 13), output: (output, 64), offset: 0 };
        let io = ask(&mut machine, app, UserRequest::Transfer(handle, buffers));
        assert_eq!((io.status, io.information), (STATUS_SUCCESS, 13));
        assert_eq!(machine.user_read(process, output, 13).expect("mapped"), b"hello, driver");
        assert_eq!(ask(&mut machine, app, UserRequest::Close(handle)).status, STATUS_SUCCESS);
        assert_eq!(ask(&mut machine, system, UserRequest::UnloadDriver(number)).status, STATUS_SUCCESS);
        assert!(machine.findings.is_empty(), "{:?}", machine.findings);
        assert_eq!(machine.ex.pool.in_use(), (0, 0));
        assert!(machine.io.irps.is_empty());
    }
}
