//! The interpreter against the same C source compiled for the host.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::ensure;
use ring3_bench::clock::median;
use ring3_bench::guest::Guest;
use ring3_bench::native::Native;
use ring3_bench::table::{Row, exit, print};
use ring3_bench::{WORKLOADS, guest_image};

/// Rounds of host and guest in turn.
const ROUNDS: usize = 7;

fn main() -> anyhow::Result<ExitCode> {
    let native = Native::build()?;
    let mut guest = Guest::new(&guest_image())?;
    let mut rows = Vec::new();
    for workload in &WORKLOADS {
        let (mut fast, mut slow, mut instructions) = (Vec::new(), Vec::new(), 0.0);
        for _ in 0..ROUNDS {
            let outside = native.run(workload, 3)?;
            let inside = guest.run(workload)?;
            for measured in &outside {
                ensure!(
                    measured.result == inside.result,
                    "{}: the host computed {:#x}, the guest {:#x}",
                    workload.name,
                    measured.result,
                    inside.result
                );
            }
            fast.push(median(
                &outside.iter().map(|m| m.ns_per_round).collect::<Vec<_>>(),
            ));
            slow.push(inside.ns_per_round);
            instructions = inside.instructions_per_round;
        }
        let (fast, slow) = (median(&fast), median(&slow));
        rows.push(Row {
            what: workload.name.to_owned(),
            value: slow / fast,
            budget: workload.budget,
            unit: "x",
            note: format!(
                "{:.0} million guest instructions per second; {slow:.1} ns per round of {instructions:.1} instructions, native {fast:.1} ns",
                instructions / slow * 1e3
            ),
        });
    }
    let title = format!(
        "interpreter (shadow on), times slower than native code of {} -O2",
        native.compiler
    );
    Ok(exit(print(&title, &rows)))
}
