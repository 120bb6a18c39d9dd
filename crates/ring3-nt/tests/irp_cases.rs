//! The lab driver that sends requests to itself, under several schedules.

mod common;

use std::sync::Arc;

use ring3_nt::Machine;
use ring3_nt::io::user::UserRequest;
use ring3_nt::machine::boot::Config;
use ring3_nt::machine::thread::ProcessId;
use ring3_nt::ntstatus::STATUS_SUCCESS;
use ring3_pe::Image;

fn driver() -> Arc<Image> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../labs/irp-cases/irp-cases.sys"
    );
    Arc::new(Image::parse(std::fs::read(path).expect("a committed lab driver")).expect("a driver"))
}

fn text(machine: &Machine) -> String {
    machine
        .dbg
        .messages
        .iter()
        .map(|m| m.text.as_str())
        .collect()
}

/// Loads, starts and unloads it; what it printed, and the trace hash.
fn run(processors: usize, seed: u64, clone_every: u64) -> u64 {
    let config = Config {
        processors,
        seed,
        budget: common::BUDGET,
        ..Config::default()
    };
    let mut machine = Machine::boot(&config);
    machine.clone_every(clone_every);
    let number = machine
        .load_driver("irp-cases.sys", "irp-cases", driver(), None)
        .expect("loads");
    let system = machine
        .create_user_thread(ProcessId::SYSTEM)
        .expect("a thread");
    for request in [
        UserRequest::StartDriver(number),
        UserRequest::UnloadDriver(number),
    ] {
        let asked = machine.user_submit(system, request);
        machine.run_until(|m| m.user_result(asked).is_some());
        let status = machine.user_result(asked).map(|r| r.status);
        assert_eq!(
            status,
            Some(STATUS_SUCCESS),
            "{}\n{:?}\n{:?}",
            text(&machine),
            machine.stop,
            machine.findings
        );
    }
    assert!(
        text(&machine).contains("19 of 19 right"),
        "seed {seed}: {}{:?}",
        text(&machine),
        machine.findings
    );
    assert!(
        machine.findings.is_empty(),
        "seed {seed}: {:?}",
        machine.findings
    );
    assert!(
        machine.io.irps.is_empty()
            && machine.io.operations.is_empty()
            && machine.io.threaded.is_empty()
    );
    assert_eq!(machine.ex.pool.in_use(), (0, 0));
    machine.trace.hash()
}

#[test]
fn all_cases_come_out_right() {
    run(1, 0, 0);
    run(4, 0, 0);
}

#[test]
fn all_cases_come_out_right_under_any_schedule() {
    for seed in 1..20 {
        run(2, seed, 0);
    }
}

#[test]
fn a_clone_after_every_host_call_changes_nothing() {
    assert_eq!(run(2, 5, 0), run(2, 5, 1));
}
