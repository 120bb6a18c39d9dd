//! The session behind the script, and how its errors become the script's.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rhai::{Dynamic, EvalAltResult, Map, Position};

use crate::session::{Driver, Session, SessionError};

/// A result of a function that scripts call.
pub(super) type Outcome<T> = Result<T, Box<EvalAltResult>>;

/// Thrown, uncatchable, when no verb can do anything any more.
#[derive(Clone, Debug)]
pub(super) struct RunIsOver;

/// Thrown when the script uses the vocabulary wrongly.
#[derive(Clone, Debug)]
pub(super) struct Mistake(pub(super) String);

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The session, shared by every object that a script holds.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    session: Arc<Mutex<Option<Session>>>,
    driver: Arc<Mutex<Option<Driver>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Shares a session.
    pub(super) fn new(session: Session) -> Self {
        Self {
            session: Arc::new(Mutex::new(Some(session))),
            driver: Arc::default(),
        }
    }

    /// Takes the session out: objects of the script that are left over are dead from now on.
    pub(super) fn into_session(self) -> anyhow::Result<Session> {
        lock(&self.session)
            .take()
            .ok_or_else(|| anyhow::anyhow!("the session was taken out of its scenario twice"))
    }

    /// Works on the session.
    pub(super) fn with<T>(
        &self,
        act: impl FnOnce(&mut Session) -> Result<T, SessionError>,
    ) -> Result<T, SessionError> {
        match lock(&self.session).as_mut() {
            Some(session) => act(session),
            None => Err(SessionError::Usage("the scenario is over".to_owned())),
        }
    }

    /// Works on the session for a script.
    pub(super) fn verb<T>(
        &self,
        act: impl FnOnce(&mut Session) -> Result<T, SessionError>,
    ) -> Outcome<T> {
        self.with(act).map_err(thrown)
    }

    /// Whether the run is over.
    pub(super) fn is_over(&self) -> bool {
        lock(&self.session).as_ref().is_none_or(Session::is_over)
    }

    /// Remembers the driver under test.
    pub(super) fn set_driver(&self, driver: Option<Driver>) {
        *lock(&self.driver) = driver;
    }

    /// The driver under test, if its DriverEntry succeeded.
    pub(super) fn driver(&self) -> Option<Driver> {
        *lock(&self.driver)
    }
}

/// An error of the session as a script's. Statuses can be caught and have `.status`; the end of the
/// run cannot be caught.
fn thrown(error: SessionError) -> Box<EvalAltResult> {
    let value = match &error {
        over if over.ends_run() => {
            return run_is_over();
        }
        SessionError::Usage(text) => Dynamic::from(Mistake(text.clone())),
        other => {
            let mut map = Map::new();
            let status = other
                .status()
                .map_or(Dynamic::UNIT, |s| Dynamic::from(i64::from(s.0)));
            map.insert("status".into(), status);
            map.insert("message".into(), other.to_string().into());
            Dynamic::from(map)
        }
    };
    Box::new(EvalAltResult::ErrorRuntime(value, Position::NONE))
}

/// What ends a script once no verb can do anything any more.
pub(super) fn run_is_over() -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorTerminated(
        Dynamic::from(RunIsOver),
        Position::NONE,
    ))
}

/// The script asks for something that cannot be.
pub(super) fn mistake<T>(text: impl Into<String>) -> Outcome<T> {
    Err(Box::new(EvalAltResult::ErrorRuntime(
        Dynamic::from(Mistake(text.into())),
        Position::NONE,
    )))
}

/// A number of the script as an unsigned one.
pub(super) fn unsigned<T: TryFrom<i64>>(value: i64, what: &str) -> Outcome<T> {
    match T::try_from(value) {
        Ok(value) => Ok(value),
        Err(_) => mistake(format!("{value} is no {what}")),
    }
}
