//! What a workload can do with a driver that takes its time, and with devices. The drivers are built
//! here; without clang and lld each test says so and ends.
#![allow(missing_docs)]

mod common;

use std::path::{Path, PathBuf};

use common::{code, ring3, stderr, stdout};
use ring3::labs::build::{Options, build_driver_with};
use ring3::labs::toolchain::Toolchain;
use ring3::nt::machine::boot::Config;
use ring3::nt::ntstatus::{STATUS_CANCELLED, STATUS_NOT_FOUND, STATUS_SUCCESS};
use ring3::session::{File, LoadOptions, OpenOptions, Process, SessionError};
use ring3::{DriverFile, Session};

const TIMER: u32 = 0x0022_2000;
const CANCELABLE: u32 = 0x0022_2004;
const FOREVER: u32 = 0x0022_2008;
const WAIT: u32 = 0x0022_200c;
const LOOP: u32 = 0x0022_2010;

/// Builds a driver of `tests/drivers` into a folder of its own.
fn build(name: &str, test: &str) -> Option<PathBuf> {
    let tools = match Toolchain::find() {
        Ok(tools) => tools,
        Err(error) => {
            eprintln!("skipped: {error}");
            return None;
        }
    };
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/drivers/{name}.c"));
    let built =
        build_driver_with(&tools, &[source], &Options::new(name)).unwrap_or_else(|e| panic!("{e}"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join(format!("{name}.sys"));
    std::fs::write(&path, built.sys).expect("a file");
    std::fs::write(path.with_extension("pdb"), built.pdb).expect("a file");
    Some(path)
}

/// The slow driver, loaded and opened.
fn slow(test: &str, budget: u64) -> Option<(Session, Process, File)> {
    let file = DriverFile::read(build("slow", test)?).unwrap_or_else(|e| panic!("{e}"));
    let mut session = Session::new(&Config {
        budget,
        ..Config::default()
    });
    session.machine.clone_every(common::clone_every());
    session
        .load(&file, &LoadOptions::default())
        .unwrap_or_else(|e| panic!("{e}"));
    let app = session.process("app.exe").expect("starts");
    let options = OpenOptions {
        overlapped: true,
        ..OpenOptions::default()
    };
    let handle = app
        .open(&mut session, r"\\.\Slow", &options)
        .unwrap_or_else(|e| panic!("{e}"));
    Some((session, app, handle))
}

#[test]
fn a_request_ends_when_its_time_has_come() {
    let Some((mut session, _, handle)) = slow("timer", 10_000_000) else {
        return;
    };
    let before = session.machine.clock.now();
    let operation = handle
        .ioctl_async(&mut session, TIMER, b"", 8)
        .expect("is sent");
    assert!(
        !operation.wait(&mut session, 50).expect("goes on"),
        "done after 50 of 100 ms"
    );
    assert_eq!(operation.result(&mut session).expect("goes on"), None);
    assert!(
        operation.wait(&mut session, 60).expect("goes on"),
        "not done after 110 of 100 ms"
    );
    let io = operation
        .result(&mut session)
        .expect("goes on")
        .expect("is over");
    assert_eq!(
        (io.status, io.information, io.output.as_slice()),
        (STATUS_SUCCESS, 4, b"done".as_slice())
    );
    assert_eq!(
        operation.result(&mut session).expect("goes on"),
        Some(io),
        "asked for twice"
    );
    let passed = session.machine.clock.now() - before;
    assert!(
        (1_000_000..1_100_000).contains(&passed),
        "{passed} units of 100 ns passed"
    );
    // A verb that waits takes the same time.
    let io = handle.ioctl(&mut session, TIMER, b"", 8).expect("goes on");
    assert_eq!(io.output, b"done");
    session
        .exit_all()
        .and_then(|()| session.unload_all())
        .expect("nothing hangs");
    assert!(
        session.machine.findings.is_empty(),
        "{:?}",
        session.machine.findings
    );
}

#[test]
fn requests_are_cancelled_by_handle_by_operation_and_by_exit() {
    let Some((mut session, app, handle)) = slow("cancel", 10_000_000) else {
        return;
    };
    let one = handle
        .ioctl_async(&mut session, CANCELABLE, b"", 0)
        .expect("is sent");
    let two = handle
        .ioctl_async(&mut session, CANCELABLE, b"", 0)
        .expect("is sent");
    session.run_until_idle().expect("goes on");
    assert_eq!(one.cancel(&mut session).expect("goes on"), STATUS_SUCCESS);
    assert_eq!(
        one.join(&mut session).expect("goes on").status,
        STATUS_CANCELLED
    );
    assert_eq!(
        two.result(&mut session).expect("goes on"),
        None,
        "only the first was cancelled"
    );
    assert_eq!(one.cancel(&mut session).expect("goes on"), STATUS_NOT_FOUND);
    assert_eq!(
        handle.cancel_all(&mut session).expect("goes on"),
        STATUS_SUCCESS
    );
    assert_eq!(
        two.join(&mut session).expect("goes on").status,
        STATUS_CANCELLED
    );
    handle
        .ioctl_async(&mut session, CANCELABLE, b"", 0)
        .expect("is sent");
    session.run_until_idle().expect("goes on");
    app.exit(&mut session)
        .expect("the exit cancels what is in flight");
    assert!(
        matches!(
            handle.read(&mut session, 1, None),
            Err(SessionError::Usage(_))
        ),
        "the process has ended"
    );
    session.unload_all().expect("nothing hangs");
    assert!(
        session.machine.findings.is_empty(),
        "{:?}",
        session.machine.findings
    );
    assert!(session.machine.io.irps.is_empty());
}

#[test]
fn a_hang_says_who_waits_for_what() {
    let Some((mut session, _, handle)) = slow("hang", 10_000_000) else {
        return;
    };
    let end = handle.ioctl(&mut session, WAIT, b"", 0);
    assert!(matches!(end, Err(SessionError::Hang(_))), "{end:?}");
    let report = session.story.hang.clone().expect("a report");
    for words in [
        "ioctl 0x22200c",
        "app.exe",
        "notification event",
        "slow!WaitForEver",
        "slow!DeviceControl",
    ] {
        assert!(report.contains(words), "no {words:?} in:\n{report}");
    }
    let after = session.advance(1);
    assert!(
        matches!(after, Err(SessionError::Hang(_))),
        "the run is over: {after:?}"
    );

    let Some((mut session, _, handle)) = slow("hang", 10_000_000) else {
        return;
    };
    let end = handle.ioctl(&mut session, FOREVER, b"", 0);
    assert!(matches!(end, Err(SessionError::Hang(_))), "{end:?}");
    assert!(
        session
            .story
            .hang
            .is_some_and(|r| r.contains("ioctl 0x222008"))
    );
}

#[test]
fn an_endless_loop_is_a_finding_with_its_place() {
    let Some((mut session, _, handle)) = slow("loop", 300_000) else {
        return;
    };
    let end = handle.ioctl(&mut session, LOOP, b"", 0);
    assert!(matches!(end, Err(SessionError::Budget(_))), "{end:?}");
    let finding = session
        .machine
        .findings
        .iter()
        .find(|f| f.rule == "time/endless-loop")
        .expect("a finding");
    let symbol = finding.place.symbol.as_deref().unwrap_or_default();
    assert!(symbol.starts_with("LoopForEver"), "{:?}", finding.place);
}

#[test]
fn exit_codes_of_hangs_loops_and_expectations() {
    let Some(driver) = build("slow", "codes") else {
        return;
    };
    let driver = driver.to_string_lossy();
    let open = "let h = process(\"a\").open(`\\\\.\\Slow`);\n";
    for (name, script, outcome, exit) in [
        ("hang", "h.ioctl(0x22200c);", "hang", 1),
        ("loop", "h.ioctl(0x222010);", "findings", 1),
        (
            "loop-expected",
            "expect_finding(\"time/endless-loop\"); h.ioctl(0x222010);",
            "findings",
            0,
        ),
        (
            "missing",
            "expect_finding(\"pool/leak\");",
            "check-failed",
            1,
        ),
        ("no-bugcheck", "expect_bugcheck(0xD1);", "check-failed", 1),
        (
            "check",
            "check(h.ioctl(0x222000, (), 1).status == STATUS_SUCCESS, \"four bytes fit into one\");",
            "check-failed",
            1,
        ),
        (
            "uncaught",
            "process(\"b\").open(`\\\\.\\Nothing`);",
            "check-failed",
            1,
        ),
        (
            "caught",
            "let s = 0; try { process(\"b\").open(`\\\\.\\Nothing`); } catch (e) { s = e.status; } \
          check(s == STATUS_OBJECT_NAME_NOT_FOUND, \"the status is told\");",
            "clean",
            0,
        ),
        (
            "async",
            "let o = h.ioctl_async(0x222000, (), 4); check(!o.done && o.status == STATUS_PENDING, \"sent\"); \
          check(o.wait(200), \"ends\"); check(o.output.text() == \"done\" && o.information == 4, \"told\");",
            "clean",
            0,
        ),
    ] {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("codes");
        let path = folder.join(format!("{name}.rhai"));
        std::fs::write(&path, format!("{open}{script}\n")).expect("a file");
        let output = ring3(&[
            "run",
            &driver,
            "--json",
            "--budget",
            "1000000",
            "--scenario",
            &path.to_string_lossy(),
        ]);
        let all = format!("{}{}", stdout(&output), stderr(&output));
        assert_eq!(code(&output), exit, "{name}: {all}");
        assert!(
            all.contains(&format!("\"outcome\": \"{outcome}\"")),
            "{name}: {all}"
        );
    }
}

#[test]
fn a_device_lives_its_life() {
    let Some(path) = build("plug", "plug") else {
        return;
    };
    let file = DriverFile::read(path).unwrap_or_else(|e| panic!("{e}"));
    let mut session = common::session(1, 0);
    assert!(
        matches!(session.plug(r"ROOT\PLUG"), Err(SessionError::Usage(_))),
        "no driver yet"
    );
    let driver = session
        .load(&file, &LoadOptions::default())
        .unwrap_or_else(|e| panic!("{e}"));
    let device = session.plug(r"ROOT\PLUG").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        device.query_remove(&mut session).expect("goes on"),
        STATUS_SUCCESS
    );
    assert_eq!(session.power("S3").expect("goes on"), STATUS_SUCCESS);
    assert_eq!(session.power("S0").expect("goes on"), STATUS_SUCCESS);
    assert!(matches!(session.power("S9"), Err(SessionError::Usage(_))));
    assert_eq!(
        device.disable(&mut session).expect("goes on"),
        STATUS_SUCCESS
    );
    assert_eq!(
        device.enable(&mut session).expect("goes on"),
        STATUS_SUCCESS
    );
    assert_eq!(
        device.surprise_remove(&mut session).expect("goes on"),
        STATUS_SUCCESS
    );
    let text = session.dbgprint().expect("goes on");
    let told: Vec<&str> = text.lines().collect();
    assert_eq!(
        told,
        [
            "added",
            "pnp 0",
            "pnp 1",
            "pnp 3",
            "power type 0 state 4",
            "power type 0 state 1",
            "pnp 1",
            "pnp 2",
            "added",
            "pnp 0",
            "pnp 23",
            "pnp 2",
        ]
    );
    assert_eq!(
        driver.unload(&mut session).expect("goes on"),
        STATUS_SUCCESS
    );
    session.unload_all().expect("nothing hangs");
    assert!(
        session.machine.findings.is_empty(),
        "{:?}",
        session.machine.findings
    );
}

#[test]
fn without_a_scenario_a_device_is_plugged_in() {
    let Some(path) = build("plug", "default") else {
        return;
    };
    let output = ring3(&["run", &path.to_string_lossy()]);
    let text = stdout(&output);
    assert_eq!(code(&output), 0, "{text}{}", stderr(&output));
    for words in [
        "added and started",
        "suspended",
        "device removed: STATUS_SUCCESS",
        "unloaded",
    ] {
        assert!(text.contains(words), "no {words:?} in:\n{text}");
    }
}
