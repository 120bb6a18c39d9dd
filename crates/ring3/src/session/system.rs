//! Verbs on the machine as a whole: time, debug output, pool, expectations.

use ring3_nt::dbg::filter;

use super::log::Answer;
use super::{Session, SessionError};
use crate::report::Check;

impl Session {
    /// Lets so many milliseconds of virtual time pass.
    ///
    /// # Errors
    /// Errors that end the run.
    pub fn advance(&mut self, milliseconds: u64) -> Result<(), SessionError> {
        self.verb(format!("advance({milliseconds})"), |session| {
            session.wait_for(&format!("advance({milliseconds})"), milliseconds, |_| false)?;
            Ok(Answer::Done)
        })?;
        Ok(())
    }

    /// Runs until nothing can run without time passing. Timers that are not due stay pending.
    ///
    /// # Errors
    /// Errors that end the run.
    pub fn run_until_idle(&mut self) -> Result<(), SessionError> {
        self.verb("run_until_idle()".to_owned(), |session| {
            session.settle("run_until_idle()")?;
            Ok(Answer::Done)
        })?;
        Ok(())
    }

    /// A device on this vector interrupts; false if nothing is connected to it. What the service routine does
    /// and queues is done when the verb returns.
    ///
    /// # Errors
    /// Errors that end the run.
    pub fn interrupt(&mut self, vector: u32) -> Result<bool, SessionError> {
        let answer = self.verb(format!("interrupt({vector:#x})"), |session| {
            let raised = session.machine.raise_interrupt(vector);
            session.settle(&format!("interrupt({vector:#x})"))?;
            Ok(Answer::Number(u64::from(raised)))
        })?;
        Ok(super::process::number(&answer)? != 0)
    }

    /// All debug output so far, what the debug print filter hides from a debugger included.
    ///
    /// # Errors
    /// [`SessionError::Stopped`] and the like once the run is over.
    pub fn dbgprint(&mut self) -> Result<String, SessionError> {
        let all = |session: &mut Self| {
            Ok(Answer::Text(
                session
                    .machine
                    .dbg
                    .messages
                    .iter()
                    .map(|m| m.text.as_str())
                    .collect(),
            ))
        };
        self.verb("dbgprint()".to_owned(), all)?.text()
    }

    /// The debug output that a debugger would show: what the debug print filter lets through.
    ///
    /// # Errors
    /// [`SessionError::Stopped`] and the like once the run is over.
    pub fn dbgprint_shown(&mut self) -> Result<String, SessionError> {
        let shown = |session: &mut Self| Ok(Answer::Text(session.machine.dbg.shown()));
        self.verb("dbgprint_shown()".to_owned(), shown)?.text()
    }

    /// Sets the mask of a component of debug output, as `ed nt!Kd_NAME_Mask` does in a debugger.
    ///
    /// # Errors
    /// [`SessionError::Usage`] if there is no such component.
    pub fn dbgprint_mask(&mut self, component: &str, mask: u32) -> Result<(), SessionError> {
        self.verb(format!("dbgprint_mask({component}, {mask:#x})"), |session| {
            if filter::set_mask(&mut session.machine, component, mask) {
                return Ok(Answer::Done);
            }
            Err(SessionError::Usage(format!(
                "{component} is no component of debug output: DEFAULT, IHVDRIVER, WIN2000 and the others of dpfilter.h are"
            )))
        })?;
        Ok(())
    }

    /// Lets allocations of drivers succeed `n` times, then fail once; `None` lets all succeed again. Gives whether the
    /// one that was to fail before is still to come.
    ///
    /// # Errors
    /// [`SessionError::Stopped`] and the like once the run is over.
    pub fn fail_allocation(&mut self, n: Option<u64>) -> Result<bool, SessionError> {
        let answer = self.verb(format!("fail_allocation({n:?})"), |session| {
            let waiting = session.machine.ex.fail_allocation.is_some();
            session.machine.ex.fail_allocation = n;
            Ok(Answer::Flag(waiting))
        })?;
        Ok(answer == Answer::Flag(true))
    }

    /// Bytes of pool in use with this tag, e.g. `"Tag1"`.
    ///
    /// # Errors
    /// [`SessionError::Usage`] if the tag is not one to four characters long.
    pub fn pool(&mut self, tag: &str) -> Result<u64, SessionError> {
        let answer = self.verb(format!("pool({tag:?})"), |session| {
            let wanted = tag_number(tag)?;
            let bytes = session
                .machine
                .ex
                .pool
                .iter()
                .filter(|(_, b)| b.tag == wanted)
                .map(|(_, b)| b.size)
                .sum();
            Ok(Answer::Number(bytes))
        })?;
        match answer {
            Answer::Number(bytes) => Ok(bytes),
            other => Err(SessionError::Usage(format!(
                "the log has {other} where a number belongs"
            ))),
        }
    }

    /// Sets a registry value; the key is created where it is missing. `kind` is `REG_SZ` 1,
    /// `REG_BINARY` 3, `REG_DWORD` 4 and so on.
    ///
    /// # Errors
    /// [`SessionError::Usage`] if the path does not start with `\Registry`.
    pub fn registry_set(
        &mut self,
        key: &str,
        name: &str,
        kind: u32,
        data: &[u8],
    ) -> Result<(), SessionError> {
        self.verb(format!("registry_set({key}, {name}, {kind}, {data:02x?})"), |session| {
            session.machine.cm.create_all(key);
            if session.machine.cm.set(key, name, kind, data.to_vec()) {
                return Ok(Answer::Done);
            }
            Err(SessionError::Usage(format!(r"{key} is no registry key: paths start with \Registry\Machine or \Registry\User")))
        })?;
        Ok(())
    }

    /// The data of a registry value, if there is one.
    ///
    /// # Errors
    /// [`SessionError::Stopped`] and the like once the run is over.
    pub fn registry_get(&mut self, key: &str, name: &str) -> Result<Option<Vec<u8>>, SessionError> {
        let answer = self.verb(format!("registry_get({key}, {name})"), |session| {
            Ok(Answer::Bytes(
                session.machine.cm.value(key, name).map(|v| v.data.clone()),
            ))
        })?;
        match answer {
            Answer::Bytes(data) => Ok(data),
            other => Err(SessionError::Usage(format!(
                "the log has {other} where bytes belong"
            ))),
        }
    }

    /// A statement that must hold, for the report.
    pub fn check(&mut self, passed: bool, message: impl Into<String>) {
        self.story.checks.push(Check {
            passed,
            message: message.into(),
        });
    }

    /// A bugcheck code with which the run may end; one of the codes named must come.
    pub fn expect_bugcheck(&mut self, code: u32) {
        self.story.expected_bugchecks.push(code);
    }

    /// A rule that must be found broken.
    pub fn expect_finding(&mut self, rule: &str) {
        self.story.expected_findings.push(rule.to_owned());
    }
}

/// A pool tag as the number that stands in the pool header: shorter ones end in spaces, as a
/// driver's `' xyT'` does.
fn tag_number(tag: &str) -> Result<u32, SessionError> {
    let mut bytes = [b' '; 4];
    let text = tag.as_bytes();
    if text.is_empty() || text.len() > 4 {
        return Err(SessionError::Usage(format!(
            "{tag:?} is no pool tag: a tag has one to four characters"
        )));
    }
    for (slot, byte) in bytes.iter_mut().zip(text) {
        *slot = *byte;
    }
    Ok(u32::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::tag_number;

    #[test]
    fn tags() {
        assert_eq!(tag_number("Tag1").ok(), Some(u32::from_le_bytes(*b"Tag1")));
        assert_eq!(tag_number("Ab").ok(), Some(u32::from_le_bytes(*b"Ab  ")));
        assert!(tag_number("").is_err());
        assert!(tag_number("Five5").is_err());
    }
}
