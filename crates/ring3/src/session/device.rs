//! Plug and play devices, and power.

use ring3_nt::io::pnp::{PnpAction, State as Life};
use ring3_nt::io::user::UserRequest;
use ring3_nt::ntstatus::{NTSTATUS, STATUS_SUCCESS};

use super::log::Answer;
use super::process::number;
use super::{Driver, Session, SessionError};

/// A root-enumerated device: a number, valid in the session that plugged it in and in its clones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device(usize);

/// What a session knows of a device.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// Its number in the kernel; another one each time it is enabled again.
    node: usize,
    driver: usize,
    hardware_id: String,
}

impl Session {
    /// Plugs a root-enumerated device in for the newest loaded driver that has an AddDevice routine:
    /// AddDevice, then the start.
    ///
    /// # Errors
    /// [`SessionError::Status`] if AddDevice or the start fails, [`SessionError::Usage`] if no driver has
    /// an AddDevice routine; errors that end the run.
    pub fn plug(&mut self, hardware_id: &str) -> Result<Device, SessionError> {
        let answer = self.verb(format!("plug({hardware_id})"), |session| {
            let Some(driver) = session.plug_and_play_driver() else {
                return Err(SessionError::Usage(format!(
                    "plug({hardware_id}): no loaded driver has an AddDevice routine"
                )));
            };
            let node = session.enumerate(driver, hardware_id)?;
            session.devices.push(State {
                node,
                driver,
                hardware_id: hardware_id.to_owned(),
            });
            Ok(Answer::Number(session.devices.len() as u64 - 1))
        })?;
        number(&answer).map(Device)
    }

    /// The kernel's number of the newest driver with an AddDevice routine.
    fn plug_and_play_driver(&self) -> Option<usize> {
        let newest = (0..self.drivers.len()).rev().map(Driver);
        let found = newest
            .filter(|d| self.loaded(*d).is_some_and(|l| !l.unloaded))
            .find(|d| d.has_add_device(self))?;
        self.loaded(found).map(|l| l.number)
    }

    fn enumerate(&mut self, driver: usize, hardware_id: &str) -> Result<usize, SessionError> {
        let what = format!("the start of {hardware_id}");
        let thread = self.system_thread()?;
        let request = UserRequest::Plug {
            driver,
            hardware_id: hardware_id.to_owned(),
        };
        let (status, node) = self.ask(thread, &what, request)?;
        if !status.is_success() {
            return Err(SessionError::Status { what, status });
        }
        Ok(node as usize)
    }

    fn act(
        &mut self,
        device: Device,
        text: &str,
        action: PnpAction,
    ) -> Result<NTSTATUS, SessionError> {
        self.verb(format!("v{}.{text}", device.0), |session| {
            let status = session.act_now(device, text, action)?;
            Ok(Answer::Status(status))
        })?
        .status()
    }

    fn act_now(
        &mut self,
        device: Device,
        text: &str,
        action: PnpAction,
    ) -> Result<NTSTATUS, SessionError> {
        let Some(State {
            node, hardware_id, ..
        }) = self.devices.get(device.0).cloned()
        else {
            return Err(SessionError::Usage(
                "no such device in this session".to_owned(),
            ));
        };
        let thread = self.system_thread()?;
        let (status, _) = self.ask(
            thread,
            &format!("{text} of {hardware_id}"),
            UserRequest::Pnp(node, action),
        )?;
        Ok(status)
    }

    /// Puts the whole system into a power state, `S0` to `S5`: every device that is there, the newest first on the
    /// way down and last on the way up. Gives the first failure, or success.
    ///
    /// # Errors
    /// [`SessionError::Usage`] for another word; errors that end the run.
    pub fn power(&mut self, state: &str) -> Result<NTSTATUS, SessionError> {
        let level = power_level(state, 'S', 5)?;
        self.verb(format!("power({state})"), |session| {
            let mut all: Vec<usize> = (0..session.devices.len()).collect();
            if level > 0 {
                all.reverse();
            }
            let mut worst = STATUS_SUCCESS;
            for n in all {
                if session.is_there(Device(n)) {
                    let status =
                        session.act_now(Device(n), state, PnpAction::SystemPower(level))?;
                    worst = if worst.is_success() { status } else { worst };
                }
            }
            Ok(Answer::Status(worst))
        })?
        .status()
    }

    /// Whether a device has not been removed.
    pub(super) fn is_there(&self, device: Device) -> bool {
        let node = self.devices.get(device.0).map_or(usize::MAX, |d| d.node);
        self.machine
            .io
            .pnp
            .nodes
            .get(node)
            .is_some_and(|n| !matches!(n.state, Life::Removed | Life::Surprised))
    }

    /// Removes every device that is still there, the newest first.
    ///
    /// # Errors
    /// Errors that end the run.
    pub fn remove_all(&mut self) -> Result<(), SessionError> {
        for n in (0..self.devices.len()).rev() {
            if self.is_there(Device(n)) {
                Device(n).remove(self)?;
            }
        }
        Ok(())
    }
}

/// The number in `D3` or `S0`.
fn power_level(state: &str, kind: char, most: u8) -> Result<u8, SessionError> {
    let level = state
        .strip_prefix(kind)
        .and_then(|n| n.parse().ok())
        .filter(|n| *n <= most);
    level.ok_or_else(|| {
        SessionError::Usage(format!(
            "{state:?} is no power state; there are {kind}0 to {kind}{most}"
        ))
    })
}

impl Device {
    /// Asks the drivers whether it may be removed, then removes it.
    ///
    /// # Errors
    /// Errors that end the run.
    pub fn remove(self, session: &mut Session) -> Result<NTSTATUS, SessionError> {
        session.act(self, "remove()", PnpAction::Remove)
    }

    /// Asks the drivers whether it may be removed, and takes the question back.
    ///
    /// # Errors
    /// Errors that end the run.
    pub fn query_remove(self, session: &mut Session) -> Result<NTSTATUS, SessionError> {
        session.act(self, "query_remove()", PnpAction::QueryRemove)
    }

    /// Removes it without asking, as if it were pulled out.
    ///
    /// # Errors
    /// Errors that end the run.
    pub fn surprise_remove(self, session: &mut Session) -> Result<NTSTATUS, SessionError> {
        session.act(self, "surprise_remove()", PnpAction::SurpriseRemove)
    }

    /// Asks, then stops it: its resources are taken away. [`Device::start`] gives them back.
    ///
    /// # Errors
    /// Errors that end the run.
    pub fn stop(self, session: &mut Session) -> Result<NTSTATUS, SessionError> {
        session.act(self, "stop()", PnpAction::Stop)
    }

    /// Starts it again after a stop.
    ///
    /// # Errors
    /// Errors that end the run.
    pub fn start(self, session: &mut Session) -> Result<NTSTATUS, SessionError> {
        session.act(self, "start()", PnpAction::Start)
    }

    /// Disables it as Device Manager does: the drivers are asked, and the device stack is removed.
    ///
    /// # Errors
    /// Errors that end the run.
    pub fn disable(self, session: &mut Session) -> Result<NTSTATUS, SessionError> {
        session.act(self, "disable()", PnpAction::Remove)
    }

    /// Enables it again: a new device stack is built and started.
    ///
    /// # Errors
    /// Errors that end the run; [`SessionError::Usage`] if it is not disabled.
    pub fn enable(self, session: &mut Session) -> Result<NTSTATUS, SessionError> {
        session
            .verb(format!("v{}.enable()", self.0), |session| {
                if session.is_there(self) {
                    return Err(SessionError::Usage("the device is not disabled".to_owned()));
                }
                let Some(State {
                    driver,
                    hardware_id,
                    ..
                }) = session.devices.get(self.0).cloned()
                else {
                    return Err(SessionError::Usage(
                        "no such device in this session".to_owned(),
                    ));
                };
                match session.enumerate(driver, &hardware_id) {
                    Ok(node) => {
                        if let Some(state) = session.devices.get_mut(self.0) {
                            state.node = node;
                        }
                        Ok(Answer::Status(STATUS_SUCCESS))
                    }
                    Err(SessionError::Status { status, .. }) => Ok(Answer::Status(status)),
                    Err(error) => Err(error),
                }
            })?
            .status()
    }

    /// Puts it into a power state, `D0` to `D3`.
    ///
    /// # Errors
    /// Errors that end the run; [`SessionError::Usage`] for another word.
    pub fn power(self, session: &mut Session, state: &str) -> Result<NTSTATUS, SessionError> {
        let level = power_level(state, 'D', 3)?;
        session.act(
            self,
            &format!("power({state})"),
            PnpAction::DevicePower(level),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::power_level;

    #[test]
    fn power_states_are_read_by_kind() {
        assert_eq!(power_level("D3", 'D', 3).ok(), Some(3));
        assert_eq!(power_level("S0", 'S', 5).ok(), Some(0));
        for wrong in ["D4", "S3", "D", "", "3", "D-1"] {
            assert!(power_level(wrong, 'D', 3).is_err(), "{wrong}");
        }
    }
}
