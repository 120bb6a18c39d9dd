//! Structured exception handling, by a driver with eighteen cases that a C compiler translated.
#![allow(missing_docs)]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{boot, data, thread};
use ring3_nt::Machine;
use ring3_nt::layout::{CONTEXT, EXCEPTION_RECORD};
use ring3_nt::machine::Stop;
use ring3_nt::memory::Gva;
use ring3_pe::Image;
use ring3_symbols::SymbolFile;

/// A driver of the labs, loaded.
fn load(cx: &mut Machine, lab: &str, name: &str) -> u64 {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../labs")
        .join(lab);
    let read = |ending: &str| {
        std::fs::read(folder.join(format!("{name}.{ending}"))).expect("the lab is there")
    };
    let image = Arc::new(Image::parse(read("sys")).expect("an image"));
    let symbols = Arc::new(SymbolFile::from_pdb(read("pdb")).expect("symbols"));
    cx.load_image(&format!("{name}.sys"), image, Some(symbols))
        .expect("loaded")
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

/// Search, filters, termination handlers and unwinds in the middle of being done are values too.
#[test]
fn a_clone_at_every_step_changes_nothing() {
    let run = |every: u64| {
        let mut cx = boot(1, 0);
        cx.clone_every(every);
        let base = load(&mut cx, "seh-cases", "seh-cases");
        let text = run_entry(&mut cx, base);
        assert!(cx.threads.values().all(|t| t.frames.is_empty()));
        (text, cx.trace.hash(), cx.instructions(), cx.state_hash())
    };
    assert_eq!(run(0), run(1));
}

/// The same source without the compiler's flags has no handler around the first fault: nobody handles it.
#[test]
fn an_unhandled_exception_names_the_faulting_function() {
    let mut cx = boot(1, 0);
    let base = load(&mut cx, "seh-cases", "seh-cases-without-flags");
    run_entry(&mut cx, base);
    let Some(Stop::Bugcheck(stop)) = &cx.stop else {
        panic!("{:?}", cx.stop)
    };
    assert_eq!(
        (stop.code, stop.parameters[0]),
        (0x7e, 0xffff_ffff_c000_0005)
    );
    // The record and the context that the parameters point to are those of the fault.
    let address = cx
        .memory
        .get(
            Gva::new(stop.parameters[2]),
            EXCEPTION_RECORD::ExceptionAddress,
        )
        .expect("a record");
    let rip = cx
        .memory
        .get(Gva::new(stop.parameters[3]), CONTEXT::Rip)
        .expect("a context");
    assert_eq!(
        (address.raw(), rip),
        (stop.parameters[1], stop.parameters[1])
    );
    assert_eq!(stop.place.address, rip);
    let names: Vec<&str> = stop
        .stack
        .iter()
        .filter_map(|p| p.symbol.as_deref())
        .collect();
    assert!(
        names
            .first()
            .is_some_and(|n| n.starts_with("KiExceptionDispatch")),
        "{names:?}"
    );
    assert!(
        names.iter().any(|n| n.starts_with("DriverEntry")),
        "{names:?}"
    );
    assert!(
        names
            .last()
            .is_some_and(|n| n.starts_with("PspSystemThreadStartup")),
        "{names:?}"
    );
}
