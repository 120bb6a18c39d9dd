//! The file of recorded outcomes: for each code a line `Code inputs outcome outcome ...`, all in hexadecimal fingerprints.
//!
//! The generator gives the same cases on every host, so the inputs need only one fingerprint that notices when the generator has changed.
//! A case that cannot be encoded has the outcome `-`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use iced_x86::Code;

use super::case::{Case, Executor, Fnv, fingerprint, is_approximate};
use super::generate;

/// The recorded outcomes.
pub const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/outcomes.txt");
/// Cases per code.
pub const CASES: u64 = 24;

/// One line.
pub struct Line {
    pub code: Code,
    pub inputs: u32,
    pub outcomes: Vec<Option<u32>>,
}

/// The fingerprint of everything that the cases start from.
pub fn inputs(cases: &[Option<Case>]) -> u32 {
    let mut hash = Fnv::default();
    for case in cases.iter().flatten() {
        hash.add(&case.bytes);
        case.state
            .gpr
            .iter()
            .for_each(|v| hash.add(&v.to_le_bytes()));
        case.state
            .xmm
            .iter()
            .for_each(|v| hash.add(&v.to_le_bytes()));
        hash.add(&case.state.rflags.to_le_bytes());
        hash.add(&case.state.mxcsr.to_le_bytes());
        hash.add(&case.scratch[0xe00..0x1200]);
    }
    hash.finish()
}

/// The cases of a code.
pub fn cases(code: Code) -> Vec<Option<Case>> {
    (0..CASES)
        .map(|index| generate::make(code, index))
        .collect()
}

/// Runs everything on `oracle` and makes the file.
#[cfg_attr(
    not(all(target_arch = "x86_64", target_os = "linux")),
    allow(dead_code)
)]
pub fn record(codes: &[Code], oracle: &mut dyn Executor) -> String {
    let mut text = String::from(
        "# Fingerprints of what a real processor did; made by tests/oracle.rs with RING3_ORACLE_RECORD=1.\n",
    );
    for &code in codes.iter().filter(|&&code| !is_approximate(code)) {
        let cases = cases(code);
        if cases.iter().all(Option::is_none) {
            continue;
        }
        let _ = write!(text, "{code:?} {:08x}", inputs(&cases));
        for case in &cases {
            let _ = match case {
                Some(case) => write!(text, " {:x}", fingerprint(case, &oracle.run(case))),
                None => write!(text, " -"),
            };
        }
        text.push('\n');
    }
    text
}

/// Reads the file.
pub fn parse(text: &str) -> Result<Vec<Line>, String> {
    let names: BTreeMap<String, Code> = Code::values()
        .map(|code| (format!("{code:?}"), code))
        .collect();
    let number =
        |word: &str| u32::from_str_radix(word, 16).map_err(|_| format!("not a number: {word}"));
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split(' ');
            let name = words.next().unwrap_or_default();
            let code = *names
                .get(name)
                .ok_or_else(|| format!("unknown code {name}"))?;
            let inputs = number(words.next().unwrap_or_default())?;
            let outcomes = words
                .map(|word| {
                    if word == "-" {
                        Ok(None)
                    } else {
                        number(word).map(Some)
                    }
                })
                .collect::<Result<_, _>>()?;
            Ok(Line {
                code,
                inputs,
                outcomes,
            })
        })
        .collect()
}
