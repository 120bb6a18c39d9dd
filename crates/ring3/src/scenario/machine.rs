//! Time, debug output, pool, the registry, and what the scenario expects.

use rhai::{Dynamic, Engine, NativeCallContext};

use super::shared::{Outcome, Shared, mistake, unsigned};

/// Kinds of registry values, of winnt.h.
const REG_SZ: u32 = 1;
const REG_BINARY: u32 = 3;
const REG_DWORD: u32 = 4;

pub(super) fn register(engine: &mut Engine, shared: &Shared) {
    let own = shared.clone();
    engine.register_fn("advance", move |milliseconds: i64| -> Outcome<()> {
        let milliseconds = unsigned(milliseconds, "time in milliseconds")?;
        own.verb(|session| session.advance(milliseconds))
    });
    let own = shared.clone();
    engine.register_fn("run_until_idle", move || {
        own.verb(|session| session.run_until_idle())
    });
    let own = shared.clone();
    engine.register_fn("interrupt", move |vector: i64| -> Outcome<bool> {
        let vector = unsigned(vector, "interrupt vector")?;
        own.verb(|session| session.interrupt(vector))
    });
    let own = shared.clone();
    engine.register_fn("dbgprint", move || own.verb(|session| session.dbgprint()));
    let own = shared.clone();
    engine.register_fn("dbgprint_shown", move || {
        own.verb(|session| session.dbgprint_shown())
    });
    let own = shared.clone();
    engine.register_fn(
        "dbgprint_mask",
        move |component: &str, mask: i64| -> Outcome<()> {
            let mask = unsigned(mask, "mask")?;
            own.verb(|session| session.dbgprint_mask(component, mask))
        },
    );
    let own = shared.clone();
    engine.register_fn("pool", move |tag: &str| -> Outcome<i64> {
        Ok(own.verb(|session| session.pool(tag))? as i64)
    });
    let own = shared.clone();
    engine.register_fn("fail_allocation", move |n: i64| -> Outcome<bool> {
        let n = unsigned(n, "number of allocations")?;
        own.verb(|session| session.fail_allocation(Some(n)))
    });
    let own = shared.clone();
    engine.register_fn("fail_no_allocation", move || {
        own.verb(|session| session.fail_allocation(None))
    });
    let own = shared.clone();
    engine.register_fn("power", move |state: &str| -> Outcome<i64> {
        Ok(i64::from(own.verb(|session| session.power(state))?.0))
    });
    registry(engine, shared);
    expectations(engine, shared);
}

fn registry(engine: &mut Engine, shared: &Shared) {
    let own = shared.clone();
    engine.register_fn(
        "registry_set",
        move |key: &str, name: &str, value: Dynamic| -> Outcome<()> {
            let (kind, data) = if let Ok(number) = value.as_int() {
                match u32::try_from(number) {
                    Ok(number) => (REG_DWORD, number.to_le_bytes().to_vec()),
                    Err(_) => return mistake(format!("{number} does not fit into a REG_DWORD")),
                }
            } else if value.is_blob() {
                (REG_BINARY, value.cast::<rhai::Blob>())
            } else {
                match value.into_string() {
                    Ok(text) => (
                        REG_SZ,
                        text.encode_utf16()
                            .chain([0])
                            .flat_map(u16::to_le_bytes)
                            .collect(),
                    ),
                    Err(kind) => {
                        return mistake(format!(
                            "a registry value is a number, a string or a blob, not {kind}"
                        ));
                    }
                }
            };
            own.verb(|session| session.registry_set(key, name, kind, &data))
        },
    );
    let own = shared.clone();
    engine.register_fn(
        "registry_get",
        move |key: &str, name: &str| -> Outcome<Dynamic> {
            let data = own.verb(|session| session.registry_get(key, name))?;
            Ok(data.map_or(Dynamic::UNIT, Dynamic::from_blob))
        },
    );
}

fn expectations(engine: &mut Engine, shared: &Shared) {
    let own = shared.clone();
    engine.register_fn("expect_bugcheck", move |code: i64| -> Outcome<()> {
        let code = unsigned(code, "bugcheck code")?;
        own.verb(|session| {
            session.expect_bugcheck(code);
            Ok(())
        })
    });
    let own = shared.clone();
    engine.register_fn("expect_finding", move |rule: &str| {
        own.verb(|session| {
            session.expect_finding(rule);
            Ok(())
        })
    });
    let own = shared.clone();
    engine.register_fn(
        "check",
        move |context: NativeCallContext, holds: bool, message: &str| {
            let line = context.call_position().line();
            let text = line.map_or_else(
                || message.to_owned(),
                |line| format!("{message} (line {line})"),
            );
            own.verb(|session| {
                session.check(holds, text);
                Ok(())
            })
        },
    );
}
