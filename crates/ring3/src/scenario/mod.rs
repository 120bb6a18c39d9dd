//! Scenarios: workloads written in Rhai, for the command line and for labs.
//!
//! The driver under test is loaded before the script starts. After the script everything that it
//! left open is closed and the driver is unloaded, so that leaks show, unless the script did so.
//!
//! Which mistakes count how: a script that cannot be parsed or uses the vocabulary wrongly is wrong
//! itself (exit code 2); a status that a verb throws and the script does not catch is a failed
//! check at that line (exit code 1).

mod bytes;
mod driver;
mod engine;
mod file;
mod machine;
mod options;
mod process;
mod shared;

use std::path::{Path, PathBuf};

use rhai::{EvalAltResult, Position, Scope};

use crate::session::{LoadOptions, Session, SessionError};
use crate::{DriverFile, report::Check};
use shared::Shared;

/// Runs a script with a driver. `path` names the script in messages; `directory` is where
/// `load("other.sys")` looks.
///
/// # Errors
/// Only what makes the session itself unusable; all that the script, the driver or the machine does
/// is told by the session that comes back.
pub fn run(
    session: Session,
    driver: &DriverFile,
    script: &str,
    path: &Path,
    directory: Option<PathBuf>,
) -> anyhow::Result<Session> {
    let directory = directory
        .filter(|d| !d.as_os_str().is_empty())
        .unwrap_or_else(|| PathBuf::from("."));
    let shared = Shared::new(session);
    let engine = engine::engine(&shared, &directory);
    let name = path
        .file_name()
        .map_or_else(|| "scenario".into(), |n| n.to_string_lossy().into_owned());
    let ast = match engine.compile(script) {
        Ok(ast) => ast,
        Err(error) => {
            let text = format!("{name}{}: {}", line(error.position()), error.err_type());
            let mut session = shared.into_session()?;
            session.story.error = Some(text);
            return Ok(session);
        }
    };
    let loaded = shared.with(
        |session| match session.load(driver, &LoadOptions::default()) {
            Ok(driver) => Ok(Some(driver)),
            // The script may expect that DriverEntry fails, or that the machine does not survive it.
            Err(SessionError::Status { .. }) => Ok(None),
            Err(error) if error.ends_run() => Ok(None),
            Err(error) => Err(error),
        },
    );
    match loaded {
        Ok(loaded) => shared.set_driver(loaded),
        Err(error) => {
            let mut session = shared.into_session()?;
            session.story.error = Some(error.to_string());
            return Ok(session);
        }
    }
    let mut scope = Scope::new();
    if let Some(object) = driver::under_test(&shared) {
        scope.push_constant("driver", object);
    }
    let told = engine
        .run_ast_with_scope(&mut scope, &ast)
        .map_err(|error| told(&name, &error));
    drop(scope);
    let mut session = finish(shared)?;
    match told {
        Ok(()) | Err(Told::RunIsOver) => {}
        Err(Told::Status(message)) => session.story.checks.push(Check {
            passed: false,
            message,
        }),
        Err(Told::Mistake(message)) => session.story.error = Some(message),
    }
    Ok(session)
}

/// Takes the session out and clears up as the end of a program and a clean shutdown do.
fn finish(shared: Shared) -> anyhow::Result<Session> {
    let mut session = shared.into_session()?;
    // Errors here end the run, and the report tells them.
    let _ = session.exit_all().and_then(|()| session.unload_all());
    Ok(session)
}

/// What a script that ended early means.
enum Told {
    /// The machine has stopped or hangs: the report tells more.
    RunIsOver,
    /// A status nobody caught, or a `throw` of the script's own.
    Status(String),
    /// The script is wrong.
    Mistake(String),
}

fn line(position: Position) -> String {
    position
        .line()
        .map_or_else(String::new, |line| format!(" line {line}"))
}

/// Sorts an error of the engine.
fn told(name: &str, error: &EvalAltResult) -> Told {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _)
        | EvalAltResult::ErrorInModule(_, inner, _) => told(name, inner),
        EvalAltResult::ErrorTerminated(value, _) if value.is::<shared::RunIsOver>() => {
            Told::RunIsOver
        }
        EvalAltResult::ErrorRuntime(value, position) => {
            let map = value.read_lock::<rhai::Map>();
            let message = map
                .as_ref()
                .and_then(|m| m.get("message"))
                .map(ToString::to_string);
            let text = format!(
                "{name}{}: {}",
                line(*position),
                message.unwrap_or_else(|| value.to_string())
            );
            if value.is::<shared::Mistake>() {
                Told::Mistake(text)
            } else {
                Told::Status(text)
            }
        }
        other => {
            let mut bare = format!("{other}");
            if let Some(at) = bare.rfind(" (line ") {
                bare.truncate(at);
            }
            Told::Mistake(format!("{name}{}: {bare}", line(other.position())))
        }
    }
}
