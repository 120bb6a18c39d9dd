//! What an open file can do, and operations in flight.

use rhai::{Blob, Dynamic, Engine, Map};
use ring3_nt::ntstatus::{NTSTATUS, STATUS_PENDING};

use super::shared::{Outcome, Shared, mistake, unsigned};
use crate::session::{File, Io, Operation};

/// An open file in a script.
#[derive(Clone, Debug)]
pub(super) struct FileObject {
    shared: Shared,
    file: File,
}

/// An operation in a script.
#[derive(Clone, Debug)]
struct OperationObject {
    shared: Shared,
    operation: Operation,
}

impl FileObject {
    /// A file for a script.
    pub(super) fn new(shared: &Shared, file: File) -> Self {
        Self {
            shared: shared.clone(),
            file,
        }
    }

    fn ioctl(&mut self, code: i64, input: Dynamic, output: i64) -> Outcome<Map> {
        let (code, input, output) = (code_of(code)?, bytes(input)?, unsigned(output, "length")?);
        Ok(map(self.shared.verb(|session| {
            self.file.ioctl(session, code, &input, output)
        })?))
    }

    fn ioctl_async(&mut self, code: i64, input: Dynamic, output: i64) -> Outcome<OperationObject> {
        let (code, input, output) = (code_of(code)?, bytes(input)?, unsigned(output, "length")?);
        let operation = self
            .shared
            .verb(|session| self.file.ioctl_async(session, code, &input, output))?;
        Ok(OperationObject {
            shared: self.shared.clone(),
            operation,
        })
    }

    fn read(&mut self, length: i64, offset: Option<i64>) -> Outcome<Map> {
        let (length, offset) = (unsigned(length, "length")?, offset_of(offset)?);
        Ok(map(self
            .shared
            .verb(|session| self.file.read(session, length, offset))?))
    }

    fn read_async(&mut self, length: i64, offset: Option<i64>) -> Outcome<OperationObject> {
        let (length, offset) = (unsigned(length, "length")?, offset_of(offset)?);
        let operation = self
            .shared
            .verb(|session| self.file.read_async(session, length, offset))?;
        Ok(OperationObject {
            shared: self.shared.clone(),
            operation,
        })
    }

    fn write(&mut self, input: Dynamic, offset: Option<i64>) -> Outcome<Map> {
        let (input, offset) = (bytes(input)?, offset_of(offset)?);
        Ok(map(self.shared.verb(|session| {
            self.file.write(session, &input, offset)
        })?))
    }

    fn write_async(&mut self, input: Dynamic, offset: Option<i64>) -> Outcome<OperationObject> {
        let (input, offset) = (bytes(input)?, offset_of(offset)?);
        let operation = self
            .shared
            .verb(|session| self.file.write_async(session, &input, offset))?;
        Ok(OperationObject {
            shared: self.shared.clone(),
            operation,
        })
    }
}

impl OperationObject {
    fn result(&mut self) -> Outcome<Option<Io>> {
        self.shared.verb(|session| self.operation.result(session))
    }

    fn done(&mut self) -> Outcome<bool> {
        Ok(self.result()?.is_some())
    }

    /// What a program sees in its status block: `STATUS_PENDING` until it is over.
    fn status(&mut self) -> Outcome<i64> {
        Ok(i64::from(
            self.result()?.map_or(STATUS_PENDING, |io| io.status).0,
        ))
    }

    fn information(&mut self) -> Outcome<i64> {
        Ok(self.result()?.map_or(0, |io| io.information as i64))
    }

    fn output(&mut self) -> Outcome<Dynamic> {
        Ok(Dynamic::from_blob(
            self.result()?.map_or_else(Vec::new, |io| io.output),
        ))
    }
}

/// A control code: 32 bits; codes written as negative numbers are none.
fn code_of(code: i64) -> Outcome<u32> {
    unsigned(code, "control code")
}

fn offset_of(offset: Option<i64>) -> Outcome<Option<u64>> {
    offset.map(|at| unsigned(at, "offset")).transpose()
}

/// Input of a request: a blob, text as it is, or nothing.
fn bytes(input: Dynamic) -> Outcome<Vec<u8>> {
    if input.is_unit() {
        return Ok(Vec::new());
    }
    if input.is_blob() {
        return Ok(input.cast::<Blob>());
    }
    match input.into_string() {
        Ok(text) => Ok(text.into_bytes()),
        Err(kind) => mistake(format!("input must be a blob, a string or (), not {kind}")),
    }
}

/// A result as scripts see it.
fn map(io: Io) -> Map {
    let mut map = Map::new();
    map.insert("status".into(), Dynamic::from(i64::from(io.status.0)));
    map.insert("information".into(), Dynamic::from(io.information as i64));
    map.insert("output".into(), Dynamic::from_blob(io.output));
    map
}

pub(super) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<FileObject>("file");
    engine.register_fn("ioctl", FileObject::ioctl);
    engine.register_fn("ioctl", |f: &mut FileObject, code: i64, input: Dynamic| {
        f.ioctl(code, input, 0)
    });
    engine.register_fn("ioctl", |f: &mut FileObject, code: i64| {
        f.ioctl(code, Dynamic::UNIT, 0)
    });
    engine.register_fn("ioctl_async", FileObject::ioctl_async);
    engine.register_fn("read", |f: &mut FileObject, length: i64| {
        f.read(length, None)
    });
    engine.register_fn("read", |f: &mut FileObject, length: i64, at: i64| {
        f.read(length, Some(at))
    });
    engine.register_fn("read_async", |f: &mut FileObject, length: i64| {
        f.read_async(length, None)
    });
    engine.register_fn("read_async", |f: &mut FileObject, length: i64, at: i64| {
        f.read_async(length, Some(at))
    });
    engine.register_fn("write", |f: &mut FileObject, input: Dynamic| {
        f.write(input, None)
    });
    engine.register_fn("write", |f: &mut FileObject, input: Dynamic, at: i64| {
        f.write(input, Some(at))
    });
    engine.register_fn("write_async", |f: &mut FileObject, input: Dynamic| {
        f.write_async(input, None)
    });
    engine.register_fn(
        "write_async",
        |f: &mut FileObject, input: Dynamic, at: i64| f.write_async(input, Some(at)),
    );
    engine.register_fn("cancel_all", |f: &mut FileObject| {
        status(f.shared.verb(|s| f.file.cancel_all(s)))
    });
    engine.register_fn("close", |f: &mut FileObject| {
        status(f.shared.verb(|s| f.file.close(s)))
    });

    engine.register_type_with_name::<OperationObject>("operation");
    engine.register_get("done", OperationObject::done);
    engine.register_get("status", OperationObject::status);
    engine.register_get("information", OperationObject::information);
    engine.register_get("output", OperationObject::output);
    engine.register_fn(
        "wait",
        |o: &mut OperationObject, milliseconds: i64| -> Outcome<bool> {
            let milliseconds = unsigned(milliseconds, "time in milliseconds")?;
            o.shared
                .verb(|session| o.operation.wait(session, milliseconds))
        },
    );
    engine.register_fn("join", |o: &mut OperationObject| -> Outcome<Map> {
        Ok(map(o.shared.verb(|session| o.operation.join(session))?))
    });
    engine.register_fn("cancel", |o: &mut OperationObject| {
        status(o.shared.verb(|s| o.operation.cancel(s)))
    });
}

fn status(status: Outcome<NTSTATUS>) -> Outcome<i64> {
    Ok(i64::from(status?.0))
}
