//! `process(..)` and what a process can do.

use rhai::{Engine, FnPtr, Map};

use super::file::FileObject;
use super::options;
use super::shared::{Outcome, Shared, mistake, unsigned};
use crate::session::{OpenOptions, Process, ProcessOptions};

/// A process in a script.
#[derive(Clone, Debug)]
pub(super) struct ProcessObject {
    shared: Shared,
    process: Process,
}

impl ProcessObject {
    fn start(shared: &Shared, name: &str, options: ProcessOptions) -> Outcome<Self> {
        let process = shared.verb(|session| session.process_with(name, options))?;
        Ok(Self {
            shared: shared.clone(),
            process,
        })
    }

    fn open(&self, path: &str, options: &OpenOptions) -> Outcome<FileObject> {
        let file = self
            .shared
            .verb(|session| self.process.open(session, path, options))?;
        Ok(FileObject::new(&self.shared, file))
    }
}

pub(super) fn register(engine: &mut Engine, shared: &Shared) {
    let own = shared.clone();
    engine.register_type_with_name::<ProcessObject>("process");
    engine.register_fn("process", move |name: &str| {
        ProcessObject::start(&own, name, ProcessOptions::default())
    });
    let own = shared.clone();
    engine.register_fn("process", move |name: &str, map: Map| {
        ProcessObject::start(&own, name, options::process(&map)?)
    });

    engine.register_fn("open", |app: &mut ProcessObject, path: &str| {
        app.open(path, &OpenOptions::default())
    });
    engine.register_fn("open", |app: &mut ProcessObject, path: &str, map: Map| {
        app.open(path, &options::open(&map)?)
    });
    engine.register_fn("exit", |app: &mut ProcessObject| {
        app.shared.verb(|session| app.process.exit(session))
    });
    engine.register_fn("suspend", |app: &mut ProcessObject| {
        app.shared.verb(|session| app.process.suspend(session))
    });
    engine.register_fn("resume", |app: &mut ProcessObject| {
        app.shared.verb(|session| app.process.resume(session))
    });
    engine.register_fn("thread", |_: &mut ProcessObject, _: FnPtr| -> Outcome<()> {
        mistake("app.thread is not modelled yet; use the verbs that end in _async")
    });
    engine.register_fn(
        "map",
        |app: &mut ProcessObject, address: i64, size: i64, access: &str| -> Outcome<()> {
            let writable = match access {
                "r" => false,
                "rw" | "w" => true,
                other => {
                    return mistake(format!("map: access {other:?}: \"r\" or \"rw\" is needed"));
                }
            };
            // Addresses of the user half are positive numbers of the script.
            let (at, size) = (unsigned(address, "address")?, unsigned(size, "size")?);
            app.shared
                .verb(|session| app.process.map(session, at, size, writable))
        },
    );
    engine.register_fn(
        "allocate",
        |app: &mut ProcessObject, size: i64| -> Outcome<i64> {
            let size = unsigned(size, "size")?;
            Ok(app
                .shared
                .verb(|session| app.process.allocate(session, size))? as i64)
        },
    );
}
