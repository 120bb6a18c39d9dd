//! The machine is a value: the same run is the same run, and a clone goes on exactly as the original.
#![allow(missing_docs)]

mod common;

use common::{first_driver, lab};
use ring3::nt::Machine;
use ring3::nt::machine::boot::Config;
use ring3::nt::machine::run::RunEnd;
use ring3::session::{LoadOptions, OpenOptions};
use ring3::{DriverFile, Session, run};

/// What must be equal between two runs.
fn fingerprint(machine: &Machine) -> (u64, u64, u64, u64) {
    (
        machine.trace.hash(),
        machine.trace.events(),
        machine.state_hash(),
        machine.instructions(),
    )
}

fn scenario(processors: usize, seed: u64, clone_every: u64) -> Session {
    let options = run::Options {
        config: Config {
            processors,
            seed,
            ..Config::default()
        },
        scenario: Some(lab("first-driver/first-driver.rhai")),
        clone_every,
        ..run::Options::default()
    };
    let driver = DriverFile::read(first_driver()).expect("the first driver is in the repository");
    let session = run::run(&driver, &options).expect("the scenario is in the repository");
    assert!(session.story.error.is_none(), "{:?}", session.story.error);
    session
}

#[test]
fn repeated_runs_are_equal_to_the_byte() {
    for (processors, seed) in [(1, 0), (1, 5), (4, 0), (4, 9)] {
        let first = scenario(processors, seed, 0);
        let second = scenario(processors, seed, 0);
        assert_eq!(
            fingerprint(&first.machine),
            fingerprint(&second.machine),
            "{processors} processors, seed {seed}"
        );
        assert_eq!(first.log().entries(), second.log().entries());
    }
}

/// Two threads of a program ask at once: which of them comes first is the schedule's choice.
#[test]
fn seeds_make_different_schedules() {
    let first = |seed| {
        let mut session = on_the_way(4, seed);
        let second = session.process("other.exe").expect("starts");
        let file = second
            .open(&mut session, r"\\.\FirstDriver", &OpenOptions::default())
            .expect("opens");
        for byte in 0..4 {
            file.ioctl_async(&mut session, 0x0022_2000, &[byte; 200], 256)
                .expect("is sent");
        }
        session.run_until_idle().expect("goes on");
        session.machine.trace.hash()
    };
    let hashes: std::collections::BTreeSet<u64> = (0..6).map(first).collect();
    assert!(hashes.len() > 1, "six seeds, one schedule");
}

#[test]
fn cloning_all_the_time_changes_nothing() {
    for (processors, seed) in [(1, 0), (4, 3)] {
        let plain = scenario(processors, seed, 0);
        for every in [1, 7, 50] {
            let cloned = scenario(processors, seed, every);
            assert_eq!(
                fingerprint(&plain.machine),
                fingerprint(&cloned.machine),
                "{processors} processors, seed {seed}, a clone every {every} host calls"
            );
        }
    }
}

/// A session with an ioctl on its way that nobody waits for.
fn on_the_way(processors: usize, seed: u64) -> Session {
    let driver = DriverFile::read(first_driver()).expect("the first driver is in the repository");
    let mut session = Session::new(&Config {
        processors,
        seed,
        ..Config::default()
    });
    session
        .load(&driver, &LoadOptions::default())
        .expect("loads");
    let app = session.process("app.exe").expect("starts");
    let file = app
        .open(&mut session, r"\\.\FirstDriver", &OpenOptions::default())
        .expect("opens");
    file.ioctl_async(&mut session, 0x0022_2000, &[7; 200], 256)
        .expect("is sent");
    session
}

/// Clones at instruction counts spread by a fixed sequence over a request; both copies end alike.
#[test]
fn a_clone_at_any_instruction_goes_on_as_the_original() {
    for (processors, seed) in [(1, 0), (1, 11), (4, 2)] {
        let session = on_the_way(processors, seed);
        let start = session.machine.instructions();
        let mut whole = session.machine.clone();
        assert_eq!(whole.run_until(|_| false), RunEnd::Idle);
        let end = fingerprint(&whole);
        let length = whole.instructions() - start;
        assert!(length > 50, "{length} instructions are too few to cut");
        let mut state = 0x2545_f491_4f6c_dd1du64 ^ seed;
        for _ in 0..12 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let cut = start + (state >> 33) % length;
            let mut original = session.machine.clone();
            original.run_until(|m| m.instructions() >= cut);
            let mut copy = original.clone();
            assert_eq!(
                copy.state_hash(),
                original.state_hash(),
                "a fresh clone differs at {cut}"
            );
            original.run_until(|_| false);
            copy.run_until(|_| false);
            assert_eq!(
                fingerprint(&original),
                end,
                "the original after a clone at {cut}"
            );
            assert_eq!(fingerprint(&copy), end, "the clone at {cut}");
        }
    }
}

#[test]
fn a_snapshot_brings_everything_back() {
    let mut machine = on_the_way(1, 0).machine;
    let before = fingerprint(&machine);
    let snapshot = machine.snapshot();
    machine.run_until(|_| false);
    let after = fingerprint(&machine);
    assert_ne!(before, after);
    for _ in 0..3 {
        machine.restore(&snapshot);
        assert_eq!(fingerprint(&machine), before);
        machine.run_until(|_| false);
        assert_eq!(fingerprint(&machine), after);
    }
}

/// A workload that is started again gets the recorded answers and leaves the machine alone.
#[test]
fn a_restarted_workload_is_answered_from_the_log() {
    fn workload(session: &mut Session, last: bool) -> Vec<u8> {
        let driver =
            DriverFile::read(first_driver()).expect("the first driver is in the repository");
        let driver = session
            .load(&driver, &LoadOptions::default())
            .expect("loads");
        let app = session.process("app.exe").expect("starts");
        let file = app
            .open(session, r"\\.\FirstDriver", &OpenOptions::default())
            .expect("opens");
        let io = file
            .ioctl(session, 0x0022_2000, b"once", 64)
            .expect("is carried out");
        if last {
            let io = file
                .ioctl(session, 0x0022_2004, b"", 256)
                .expect("is carried out");
            file.close(session).expect("is carried out");
            driver.unload(session).expect("is carried out");
            return io.output;
        }
        io.output
    }
    let mut session = common::session(1, 0);
    assert_eq!(workload(&mut session, false), b"once");
    let before = fingerprint(&session.machine);
    let mut fork = session.clone();
    fork.restart_workload();
    assert_eq!(workload(&mut fork, false), b"once");
    assert_eq!(
        fingerprint(&fork.machine),
        before,
        "answers from the log ran the machine"
    );
    assert_eq!(workload_goes_on(&mut fork), b"once");
    fn workload_goes_on(session: &mut Session) -> Vec<u8> {
        session.restart_workload();
        workload(session, true)
    }
    assert_eq!(
        fingerprint(&session.machine),
        before,
        "the fork touched the original"
    );
    session.restart_workload();
    let other = session.process("other.exe");
    assert!(other.is_err(), "another path is accepted");
}
