//! The Rhai engine: limits, names of statuses, and the vocabulary.

use std::path::Path;

use rhai::module_resolvers::FileModuleResolver;
use rhai::{Engine, Module};

use super::shared::{Outcome, Shared, mistake};
use super::{bytes, driver, file, machine, process};

/// Operations after which a script is stopped: it hangs.
const OPERATIONS: u64 = 50_000_000;
/// Bytes of a string or blob.
const LONGEST_STRING: usize = 64 << 20;
/// Elements of an array.
const LARGEST_ARRAY: usize = 64 << 20;
/// Entries of a map.
const LARGEST_MAP: usize = 100_000;
/// The host's time must not pass for a script.
const NO_SLEEP: &str = "sleep is not for scenarios; advance(milliseconds) lets virtual time pass";
/// Depth of calls.
const CALLS: usize = 64;

/// An engine with exactly the vocabulary of scenarios. Nothing of the host reaches a script: no
/// clock, no sleep, no files but modules beside it.
pub(super) fn engine(shared: &Shared, directory: &Path) -> Engine {
    let mut engine = Engine::new();
    engine.set_max_operations(OPERATIONS);
    engine.set_max_string_size(LONGEST_STRING);
    engine.set_max_array_size(LARGEST_ARRAY);
    engine.set_max_map_size(LARGEST_MAP);
    engine.set_max_call_levels(CALLS);
    engine.register_fn("sleep", |_: i64| -> Outcome<()> { mistake(NO_SLEEP) });
    engine.register_fn("sleep", |_: f64| -> Outcome<()> { mistake(NO_SLEEP) });
    engine.set_module_resolver(FileModuleResolver::new_with_path(directory));
    let printed = shared.clone();
    engine.on_print(move |text| say(&printed, text));
    let debugged = shared.clone();
    engine.on_debug(move |text, _, position| say(&debugged, &format!("{position:?}: {text}")));
    engine.register_global_module(statuses().into());
    bytes::register(&mut engine);
    process::register(&mut engine, shared);
    file::register(&mut engine);
    driver::register(&mut engine, shared, directory);
    machine::register(&mut engine, shared);
    engine
}

fn say(shared: &Shared, text: &str) {
    let _ = shared.with(|session| {
        session
            .story
            .narrative
            .extend(text.lines().map(str::to_owned));
        Ok(())
    });
}

/// Every status by its name, as an unsigned 32-bit number.
fn statuses() -> Module {
    let mut module = Module::new();
    for (code, name) in ring3_nt::ntstatus::all() {
        module.set_var(name, i64::from(code));
    }
    module
}
