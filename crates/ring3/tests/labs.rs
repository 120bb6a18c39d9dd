//! Every variant of every lab comes out as it must, on one processor and on four, under several
//! schedules.
#![allow(missing_docs)]

mod common;

use ring3::lab::run_variant;
use ring3::labs::lab;
use ring3::nt::machine::boot::Config;

fn all(processors: usize, seed: u64) {
    let labs = lab::list(&common::root().join("labs")).unwrap_or_else(|e| panic!("{e}"));
    assert!(!labs.is_empty(), "no labs");
    let config = Config {
        processors,
        seed,
        ..Config::default()
    };
    let mut wrong = Vec::new();
    for lab in &labs {
        for variant in &lab.variants {
            let name = format!(
                "{}/{} with {processors} processors, seed {seed}",
                lab.slug, variant.name
            );
            match run_variant(lab, variant, &config, common::clone_every()) {
                Ok(ran) => wrong.extend(ran.differences.iter().map(|d| format!("{name}: {d}"))),
                Err(error) => wrong.push(format!("{name}: {error:#}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn one_processor() {
    for seed in 0..3 {
        all(1, seed);
    }
}

#[test]
fn four_processors() {
    for seed in 0..3 {
        all(4, seed);
    }
}
