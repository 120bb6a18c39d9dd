//! Plug and play devices.

use ring3_nt::ntstatus::NTSTATUS;

use super::{Session, SessionError};

/// A device that was plugged in. Plug and play is not modelled yet, so there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {}

impl Session {
    /// Plugs in a device for the driver's AddDevice routine.
    ///
    /// # Errors
    /// [`SessionError::Usage`]: plug and play is not modelled yet.
    pub fn plug(&mut self, hardware_id: &str) -> Result<Device, SessionError> {
        Err(SessionError::Usage(format!(
            "plug({hardware_id}): plug and play is not modelled yet; control devices that DriverEntry creates can be opened"
        )))
    }
}

impl Device {
    /// Asks the drivers whether it may be removed, then removes it.
    ///
    /// # Errors
    /// As [`Session::plug`].
    pub fn remove(self, _session: &mut Session) -> Result<NTSTATUS, SessionError> {
        match self {}
    }

    /// Asks the drivers whether it may be removed.
    ///
    /// # Errors
    /// As [`Session::plug`].
    pub fn query_remove(self, _session: &mut Session) -> Result<NTSTATUS, SessionError> {
        match self {}
    }

    /// Removes it without asking, as if it were pulled out.
    ///
    /// # Errors
    /// As [`Session::plug`].
    pub fn surprise_remove(self, _session: &mut Session) -> Result<NTSTATUS, SessionError> {
        match self {}
    }

    /// Disables it.
    ///
    /// # Errors
    /// As [`Session::plug`].
    pub fn disable(self, _session: &mut Session) -> Result<NTSTATUS, SessionError> {
        match self {}
    }

    /// Enables it again.
    ///
    /// # Errors
    /// As [`Session::plug`].
    pub fn enable(self, _session: &mut Session) -> Result<NTSTATUS, SessionError> {
        match self {}
    }

    /// Puts it into a power state, `D0` to `D3`.
    ///
    /// # Errors
    /// As [`Session::plug`].
    pub fn power(self, _session: &mut Session, _state: &str) -> Result<NTSTATUS, SessionError> {
        match self {}
    }
}
