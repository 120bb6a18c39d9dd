//! The machine with its kernel: boot, calls through an import, clone, snapshot and restore.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::{Context, ensure};
use iced_x86::code_asm::{CodeAssembler, r10, rbx, rsp};
use ring3_bench::clock::{Stopwatch, median};
use ring3_bench::table::{Row, exit, print};
use ring3_nt::Machine;
use ring3_nt::machine::boot::Config;
use ring3_nt::memory::{Gva, PAGE_SIZE};
use ring3_nt::mm::space::{self, Region};
use ring3_nt::ob::Kind;
use ring3_nt::ps::threads::create_system_thread;

const ROUNDS: usize = 7;
const CALLS: u64 = 200_000;
const PAGES: u64 = 50;
const OBJECTS: u64 = 1000;
const MANY_OBJECTS: u64 = 10_000;
const REPETITIONS: u64 = 200;

fn boot() -> Machine {
    Machine::boot(&Config {
        budget: u64::MAX,
        ..Config::default()
    })
}

/// Nanoseconds per repetition of the middle round.
fn measure(
    rounds: usize,
    repetitions: u64,
    mut work: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..rounds {
        let watch = Stopwatch::start();
        for _ in 0..repetitions {
            work()?;
        }
        times.push(watch.elapsed().as_secs_f64() * 1e9 / repetitions as f64);
    }
    Ok(median(&times))
}

/// A system thread that calls an export of the kernel over and over: five instructions per round.
fn calls(name: &str) -> anyhow::Result<f64> {
    let mut machine = boot();
    let target = machine
        .export_address("ntoskrnl.exe", name)
        .with_context(|| format!("{name} is no export"))?;
    let at = machine
        .allocate_pages(Region::Objects, 1, space::executable_data())
        .context("no page for code")?;
    let mut asm = CodeAssembler::new(64)?;
    let mut again = asm.create_label();
    asm.push(rbx)?;
    asm.sub(rsp, 0x20)?;
    asm.mov(rbx, CALLS)?;
    asm.set_label(&mut again)?;
    asm.mov(r10, target.raw())?;
    asm.call(r10)?;
    asm.dec(rbx)?;
    asm.jnz(again)?;
    asm.add(rsp, 0x20)?;
    asm.pop(rbx)?;
    asm.ret()?;
    let code = asm.assemble(at.raw())?;
    machine
        .memory
        .poke_bytes(None, at, &code)
        .context("writing code")?;
    let round = measure(ROUNDS, 1, || {
        create_system_thread(&mut machine, at.cast(), 0).context("no thread")?;
        machine.run_until(|_| false);
        ensure!(
            machine.stop.is_none(),
            "the machine stopped: {:?}",
            machine.stop
        );
        Ok(())
    })?;
    let made: u64 = machine.calls.values().sum();
    ensure!(
        made == CALLS * ROUNDS as u64,
        "{made} calls of {name} were made"
    );
    Ok(round / CALLS as f64)
}

/// A machine with this many kernel objects, and pages to write to.
fn populated(objects: u64) -> anyhow::Result<(Machine, Gva)> {
    let mut machine = boot();
    for _ in 0..objects {
        machine
            .create_object(Kind::Event, 0x18, "", 0)
            .context("no object")?;
    }
    let pages = machine
        .allocate_pages(Region::Objects, PAGES, space::data())
        .context("no pages")?;
    Ok((machine, pages))
}

fn dirty(machine: &mut Machine, pages: Gva, value: u64) -> anyhow::Result<()> {
    for page in 0..PAGES {
        machine
            .memory
            .write(pages.byte_add(page * PAGE_SIZE as u64).cast(), value)?;
    }
    Ok(())
}

fn main() -> anyhow::Result<ExitCode> {
    let mut rows = Vec::new();
    let mut row = |what: &str, nanoseconds: f64, unit: &'static str, budget: f64, note: &str| {
        let value = match unit {
            "ms" => nanoseconds / 1e6,
            "us" => nanoseconds / 1e3,
            _ => nanoseconds,
        };
        rows.push(Row {
            what: what.to_owned(),
            value,
            budget,
            unit,
            note: note.to_owned(),
        });
    };

    let first = Stopwatch::start();
    drop(boot());
    let first = first.elapsed().as_secs_f64() * 1e9;
    row(
        "boot, first in a process",
        first,
        "ms",
        8.0,
        "builds the images of the kernel's own modules",
    );
    row(
        "boot, later",
        measure(ROUNDS, 3, || {
            drop(boot());
            Ok(())
        })?,
        "ms",
        8.0,
        "",
    );

    for name in ["PsGetCurrentThreadId", "KeQueryActiveProcessors"] {
        row(
            &format!("call of {name}"),
            calls(name)?,
            "ns",
            100.0,
            "with the four instructions of the guest's loop",
        );
    }

    for objects in [0, OBJECTS] {
        let (mut machine, pages) = populated(objects)?;
        let snapshot = machine.snapshot();
        let before = machine.state_hash();
        // Both halves for themselves, then the sum of the two is what an iteration pays.
        let (mut write, mut restore) = (Vec::new(), Vec::new());
        for value in 0..REPETITIONS {
            let watch = Stopwatch::start();
            dirty(&mut machine, pages, value + 1)?;
            write.push(watch.elapsed().as_secs_f64() * 1e9);
            let watch = Stopwatch::start();
            machine.restore(&snapshot);
            restore.push(watch.elapsed().as_secs_f64() * 1e9);
        }
        ensure!(machine.state_hash() == before, "restored to something else");
        let note = format!(
            "and {:.1} us for the first write to each page",
            median(&write) / 1e3
        );
        row(
            &format!("restore, {PAGES} pages written, {objects} objects"),
            median(&restore),
            "us",
            40.0,
            &note,
        );
        let clone = measure(ROUNDS, REPETITIONS, || {
            drop(machine.clone());
            Ok(())
        })?;
        row(
            &format!("clone and drop, {objects} objects"),
            clone,
            "us",
            40.0,
            "",
        );
        let snapshot = measure(ROUNDS, REPETITIONS, || {
            drop(machine.snapshot());
            Ok(())
        })?;
        row(
            &format!("snapshot and drop, {objects} objects"),
            snapshot,
            "us",
            40.0,
            "",
        );
    }
    let (machine, _) = populated(MANY_OBJECTS)?;
    let clone = measure(ROUNDS, REPETITIONS, || {
        drop(machine.clone());
        Ok(())
    })?;
    row(
        &format!("clone and drop, {MANY_OBJECTS} objects"),
        clone,
        "us",
        200.0,
        "",
    );
    Ok(exit(print("machine with its kernel", &rows)))
}
