//! What a run without a scenario does: a first test of any driver.
//!
//! Load, DriverEntry, plug a device in where there is an AddDevice routine, open and close every named
//! device, suspend and resume, remove, unload, look for leaks.

use ring3_nt::io::device::device_name;
use ring3_nt::ntstatus::NTSTATUS;

use crate::DriverFile;
use crate::session::{Device, Driver, LoadOptions, OpenOptions, Process, Session, SessionError};

/// Runs the default scenario. What comes of it is told by the session.
pub fn run(session: &mut Session, driver: &DriverFile) {
    let result = steps(session, driver);
    match result {
        Ok(()) => {}
        Err(error) if error.ends_run() => {}
        // DriverEntry failed: the report has its status.
        Err(SessionError::Status { .. }) => {}
        Err(error) => session.story.error = Some(error.to_string()),
    }
}

fn steps(session: &mut Session, file: &DriverFile) -> Result<(), SessionError> {
    let driver = session.load(file, &LoadOptions::default())?;
    let status = NTSTATUS(session.story.driver_entry.unwrap_or(0));
    let base = session.loaded(driver).map_or(0, |d| d.base);
    tell(
        session,
        format!("loaded {} at {base:#x}, DriverEntry = {status}", file.name),
    );
    let device = if driver.has_add_device(session) {
        plug(session, file)?
    } else {
        None
    };
    let app = session.process("app.exe")?;
    for (device, links) in devices(session, driver) {
        session.story.devices.push(device.clone());
        if links.is_empty() {
            let result = open_and_close(session, app, &device)?;
            tell(session, format!("device {device}, no link: {result}"));
        }
        for link in links {
            session.story.links.push(link.clone());
            let path = win32(&link);
            let result = open_and_close(session, app, &path)?;
            tell(session, format!("device {device}, link {path}: {result}"));
        }
    }
    app.exit(session)?;
    if let Some(device) = device {
        let down = session.power("S3")?;
        let up = session.power("S0")?;
        tell(session, format!("suspended: {down}, resumed: {up}"));
        let status = device.remove(session)?;
        tell(session, format!("device removed: {status}"));
    }
    let status = driver.unload(session)?;
    if status.is_success() {
        tell(session, "unloaded".to_owned());
    } else {
        tell(session, format!("not unloaded: {status}"));
    }
    session.unload_all()
}

/// Plugs in a root-enumerated device. A driver may refuse it: that is a result.
fn plug(session: &mut Session, file: &DriverFile) -> Result<Option<Device>, SessionError> {
    let id = format!(r"ROOT\{}", file.service().to_uppercase());
    match session.plug(&id) {
        Ok(device) => {
            tell(session, format!("device {id}: added and started"));
            Ok(Some(device))
        }
        Err(SessionError::Status { status, .. }) => {
            tell(session, format!("device {id}: refused with {status}"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn tell(session: &mut Session, text: String) {
    session.story.narrative.push(text);
}

/// The named devices of a driver, oldest first, with the links that lead to them.
fn devices(session: &Session, driver: Driver) -> Vec<(String, Vec<String>)> {
    let machine = &session.machine;
    let Some(loaded) = session.loaded(driver) else {
        return Vec::new();
    };
    let mut devices = machine.devices_of(loaded.object);
    devices.reverse();
    let named = devices.into_iter().filter(|d| {
        machine
            .ob
            .objects
            .get(&d.raw())
            .is_some_and(|o| !o.name.is_empty())
    });
    named
        .map(|device| {
            let name = device_name(machine, device);
            let links = machine.links_to(&name);
            (name, links)
        })
        .collect()
}

/// A link in the MS-DOS device directory as programs spell it.
fn win32(link: &str) -> String {
    for prefix in [
        r"\DosDevices\Global\",
        r"\DosDevices\",
        r"\??\Global\",
        r"\??\",
        r"\GLOBAL??\",
    ] {
        if let (Some(head), Some(rest)) = (link.get(..prefix.len()), link.get(prefix.len()..))
            && head.eq_ignore_ascii_case(prefix)
        {
            return format!(r"\\.\{rest}");
        }
    }
    link.to_owned()
}

/// Opens and closes a path. A driver may refuse: that is a result.
fn open_and_close(session: &mut Session, app: Process, path: &str) -> Result<String, SessionError> {
    match app.open(session, path, &OpenOptions::default()) {
        Ok(file) => {
            file.close(session)?;
            Ok("opened and closed".to_owned())
        }
        Err(SessionError::Status { status, .. }) => Ok(format!("the open is refused: {status}")),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::win32;

    #[test]
    fn links_are_spelled_as_programs_do() {
        assert_eq!(win32(r"\DosDevices\Echo"), r"\\.\Echo");
        assert_eq!(win32(r"\??\Echo"), r"\\.\Echo");
        assert_eq!(win32(r"\dosdevices\global\Echo"), r"\\.\Echo");
        assert_eq!(win32(r"\Other\Echo"), r"\Other\Echo");
    }
}
