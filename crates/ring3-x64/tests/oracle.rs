//! The interpreter against a real processor, one instruction at a time.
//!
//! On x86-64 Linux each instruction runs natively and in the interpreter from the same random state and all registers, defined flags, memory and
//! exceptions must agree. Every host replays recorded outcomes of the same cases. `RING3_ORACLE_CASES=n`
//! multiplies the number of cases, `RING3_ORACLE_RECORD=1` makes the recorded file anew.

// Hosts that only replay the recorded outcomes do not need the rest.
#![cfg_attr(
    not(all(target_arch = "x86_64", target_os = "linux")),
    allow(dead_code)
)]

#[path = "oracle/addressing.rs"]
mod addressing;
#[path = "oracle/case.rs"]
mod case;
#[path = "oracle/facts.rs"]
mod facts;
#[path = "oracle/generate.rs"]
mod generate;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[path = "oracle/glue.rs"]
mod glue;
#[path = "oracle/machine.rs"]
mod machine;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[path = "oracle/native.rs"]
mod native;
#[path = "oracle/random.rs"]
mod random;
#[path = "oracle/recorded.rs"]
mod recorded;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[path = "oracle/report.rs"]
mod report;

#[path = "oracle/select.rs"]
mod select;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[path = "oracle/sequence.rs"]
mod sequence;

use case::{Executor, Outcome, fingerprint};
use machine::Machine;

/// The interpreter does what the processor of this host does.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn interpreter_agrees_with_the_processor() {
    let codes: Vec<_> = select::candidates()
        .into_iter()
        .filter(|&code| select::host_has(code))
        .collect();
    let mut native = native::Native::new();
    if std::env::var("RING3_ORACLE_RECORD").is_ok_and(|value| value == "1") {
        let text = recorded::record(&codes, &mut native);
        std::fs::write(recorded::FILE, text).expect("the file can be written");
    }
    let report = report::compare(&codes, report::amount(60), &mut native, &mut Machine::new());
    report.print("interpreter");
    assert!(!report.groups.is_empty(), "nothing was compared");
    assert!(
        report.differences.is_empty(),
        "{} codes differ from the processor",
        report.differences.len()
    );
}

/// Sequences give the same in one go, stopped after each instruction, and on the processor.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn sequences_agree_with_the_processor() {
    let codes: Vec<_> = select::candidates()
        .into_iter()
        .filter(|&code| select::host_has(code))
        .collect();
    let pool = sequence::Pool::new(&codes);
    let mut native = native::Native::new();
    let (mut whole, mut sliced) = (Machine::new(), Machine::new());
    sliced.sliced = true;
    let (mut compared, mut wrong) = (0, Vec::new());
    let cases = (0..report::amount(20_000)).flat_map(|index| {
        let any = sequence::make(&pool, index).map(|case| (index, case));
        let crowded = sequence::make_crowded(&pool, index).map(|case| (index, case));
        any.into_iter().chain(crowded)
    });
    for (index, case) in cases {
        let actual = whole.run(&case);
        if matches!(actual, Outcome::NotModelled(_)) {
            continue;
        }
        compared += 1;
        let expected = native.run(&case);
        let stepped = sliced.run(&case);
        if actual != stepped {
            // In all flags, the undefined ones too: a run must not depend on where it was cut.
            wrong.push(format!(
                "sequence {index} depends on slicing\n{}",
                sequence::listing(&case)
            ));
        }
        let differences = [("in one go", &actual), ("step by step", &stepped)];
        for (how, found) in differences {
            if let Some(text) = case::difference(&case, &expected, found) {
                wrong.push(format!(
                    "sequence {index} {how}: {text}\n{}",
                    sequence::listing(&case)
                ));
            }
        }
    }
    eprintln!("oracle: {compared} sequences");
    assert!(
        compared > 0 && wrong.is_empty(),
        "{} differ: {}",
        wrong.len(),
        wrong[..wrong.len().min(10)].join("\n")
    );
}

/// The vector functions do what the processor of this host does, without the interpreter.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn vector_functions_agree_with_the_processor() {
    let codes: Vec<_> = iced_x86::Code::values()
        .filter(|&code| ring3_x64::vector::lookup(code).is_some() && select::host_has(code))
        .collect();
    let report = report::compare(
        &codes,
        report::amount(60),
        &mut native::Native::new(),
        &mut glue::Glue,
    );
    report.print("vector functions");
    assert!(
        report.missing.is_empty() && report.not_generated.is_empty(),
        "each code must be compared"
    );
    assert!(
        report.differences.is_empty(),
        "{} codes differ from the processor",
        report.differences.len()
    );
}

/// The interpreter does what a processor did when the file was made.
#[test]
fn interpreter_agrees_with_the_recorded_outcomes() {
    let text = std::fs::read_to_string(recorded::FILE).expect("the recorded outcomes are there");
    let lines = recorded::parse(&text).expect("well formed");
    let mut machine = Machine::new();
    let (mut compared, mut missing, mut wrong) = (0, 0, Vec::new());
    'lines: for line in &lines {
        let cases = recorded::cases(line.code);
        assert_eq!(
            recorded::inputs(&cases),
            line.inputs,
            "{:?}: the generator has changed; record again with RING3_ORACLE_RECORD=1",
            line.code
        );
        for (index, (case, expected)) in cases.iter().zip(&line.outcomes).enumerate() {
            let Some(case) = case else { continue };
            let outcome = machine.run(case);
            if matches!(outcome, Outcome::NotModelled(_)) {
                missing += 1;
                continue 'lines;
            }
            compared += 1;
            if Some(fingerprint(case, &outcome)) != *expected {
                wrong.push(format!(
                    "{:?} case {index} `{}`",
                    line.code, case.instruction
                ));
            }
        }
    }
    eprintln!(
        "recorded outcomes: {compared} cases of {} codes, {missing} codes not in the engine",
        lines.len()
    );
    assert!(
        compared > 0 && wrong.is_empty(),
        "{} cases differ: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(20)]
    );
}
