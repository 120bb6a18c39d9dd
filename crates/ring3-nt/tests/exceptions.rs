//! Structured exception handling, by a driver with eighteen cases that a C compiler translated.
#![allow(missing_docs)]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{boot, data, thread};
use ring3_nt::Machine;
use ring3_nt::memory::Gva;
use ring3_pe::Image;
use ring3_symbols::SymbolFile;

/// A driver of the labs, loaded.
fn load(cx: &mut Machine, lab: &str, name: &str) -> u64 {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../labs").join(lab);
    let read = |ending: &str| std::fs::read(folder.join(format!("{name}.{ending}"))).expect("the lab is there");
    let image = Arc::new(Image::parse(read("sys")).expect("an image"));
    let symbols = Arc::new(SymbolFile::from_pdb(read("pdb")).expect("symbols"));
    cx.load_image(&format!("{name}.sys"), image, Some(symbols)).expect("loaded")
}

/// Runs a driver's entry on a system thread and gives its debug output.
fn run_entry(cx: &mut Machine, base: u64) -> String {
    let entry = cx.modules.at(base).expect("loaded").entry;
    let driver = data(cx);
    thread(cx, Gva::new(entry), driver.raw());
    cx.run_until(|_| false);
    cx.dbg.messages.iter().map(|m| m.text.as_str()).collect()
}

#[test]
fn all_cases_are_right() {
    let mut cx = boot(1, 0);
    let base = load(&mut cx, "seh-cases", "seh-cases");
    let text = run_entry(&mut cx, base);
    assert_eq!(cx.stop, None, "{text}");
    assert!(text.contains("18 of 18 right"), "{text}");
    assert!(cx.findings.is_empty(), "{:#?}", cx.findings);
}
