//! Work that a driver makes for the kernel: requests, switches between threads, pool, timers. Beside
//! each stands what the host's own counterpart costs here, where it has one.

#![forbid(unsafe_code)]

use std::collections::BinaryHeap;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;

use anyhow::{Context, ensure};
use ring3::nt::machine::boot::Config;
use ring3::session::{File, LoadOptions, OpenOptions};
use ring3::{DriverFile, Session};
use ring3_bench::clock::{Stopwatch, median, wall};
use ring3_bench::table::{Row, exit, print};

const ROUNDS: usize = 5;

/// One control code of `guest/kernel-work.c`.
struct Work {
    what: &'static str,
    code: u32,
    /// How often per measurement.
    count: u32,
    /// What one repetition consists of: switches per round, for instance.
    parts: f64,
}

const WORK: [Work; 5] = [
    Work {
        what: "request through one device",
        code: 0x0022_2000,
        count: 20_000,
        parts: 1.0,
    },
    Work {
        what: "request through three devices",
        code: 0x0022_2004,
        count: 10_000,
        parts: 1.0,
    },
    Work {
        what: "switch to another thread",
        code: 0x0022_2008,
        count: 10_000,
        parts: 2.0,
    },
    Work {
        what: "allocation and free of 268 bytes",
        code: 0x0022_200c,
        count: 20_000,
        parts: 1.0,
    },
    Work {
        what: "timer among 10,000, set and fired",
        code: 0x0022_2010,
        count: 10_000,
        parts: 1.0,
    },
];

/// Median nanoseconds of one part.
fn measure(session: &mut Session, file: File, work: &Work) -> anyhow::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let watch = Stopwatch::start();
        let io = file.ioctl(session, work.code, &work.count.to_le_bytes(), 0)?;
        times.push(watch.elapsed().as_secs_f64() * 1e9);
        ensure!(
            io.status.is_success(),
            "{} came to {:?}",
            work.what,
            io.status
        );
    }
    Ok(median(&times) / f64::from(work.count) / work.parts)
}

/// Nanoseconds of the host for the same thing, where it has one.
fn host(work: &Work) -> Option<(f64, &'static str)> {
    const COUNT: usize = 20_000;
    let time = |work: &mut dyn FnMut()| {
        let times: Vec<f64> = (0..ROUNDS)
            .map(|_| wall(&mut *work).0.as_secs_f64() * 1e9 / COUNT as f64)
            .collect();
        median(&times)
    };
    match work.code {
        0x0022_2008 => Some((
            time(&mut || {
                let (to, from) = (sync_channel::<()>(0), sync_channel::<()>(0));
                std::thread::scope(|scope| {
                    scope.spawn(move || {
                        while to.1.recv().is_ok() {
                            let _ = from.0.send(());
                        }
                    });
                    for _ in 0..COUNT / 2 {
                        let _ = to.0.send(());
                        let _ = from.1.recv();
                    }
                    drop(to.0);
                });
            }),
            "two threads of the host",
        )),
        0x0022_200c => Some((
            time(&mut || {
                for _ in 0..COUNT {
                    drop(black_box(Vec::<u8>::with_capacity(268)));
                }
            }),
            "the host's allocator",
        )),
        0x0022_2010 => Some((
            time(&mut || {
                let mut mixed = 12345_u32;
                let mut heap = BinaryHeap::new();
                for _ in 0..COUNT {
                    mixed = mixed.wrapping_mul(1_103_515_245).wrapping_add(12345);
                    heap.push(mixed);
                }
                while heap.pop().is_some() {}
            }),
            "a heap of numbers",
        )),
        _ => None,
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let path = ring3_bench::folder().join("guest/kernel-work.sys");
    let driver = DriverFile::read(&path)?;
    let mut session = Session::new(&Config {
        budget: u64::MAX,
        ..Config::default()
    });
    session.load(&driver, &LoadOptions::default())?;
    let app = session.process("bench.exe")?;
    let file = app
        .open(&mut session, r"\\.\KernelWork", &OpenOptions::default())
        .context("opening the driver's device")?;
    let mut rows = Vec::new();
    for work in &WORK {
        let value = measure(&mut session, file, work)?;
        let note = host(work).map_or_else(
            || format!("{:.0} per second", 1e9 / value),
            |(ns, what)| {
                format!(
                    "{:.0} per second; {:.1} times {what} ({ns:.0} ns)",
                    1e9 / value,
                    value / ns
                )
            },
        );
        rows.push(Row {
            what: work.what.to_owned(),
            value,
            budget: f64::INFINITY,
            unit: "ns",
            note,
        });
    }
    let findings = session.machine.findings.len();
    ensure!(findings == 0, "the driver has {findings} findings");
    Ok(exit(print("work for the kernel", &rows)))
}
