//! Loading and unloading drivers.

use ring3_nt::cm::tree::REG_DWORD;
use ring3_nt::io::driver::registry_path;
use ring3_nt::io::user::UserRequest;
use ring3_nt::layout::{DRIVER_EXTENSION, DRIVER_OBJECT};
use ring3_nt::machine::thread::{ProcessId, ThreadId};
use ring3_nt::memory::Gva;
use ring3_nt::mm::loader::LoadError;
use ring3_nt::ntstatus::NTSTATUS;

use super::log::Answer;
use super::process::number;
use super::{Session, SessionError};
use crate::DriverFile;

/// Virtual milliseconds that go by after the last unload, so that what was left behind shows.
const AFTERMATH: u64 = 5000;

/// A loaded driver: a number, valid in the session that loaded it and in its clones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Driver(pub(super) usize);

/// What a session knows of a driver.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// File name.
    pub name: String,
    /// Service name.
    pub service: String,
    /// Where its image was loaded.
    pub base: u64,
    /// Its driver object.
    pub object: Gva<DRIVER_OBJECT>,
    /// Its number in the kernel's list.
    pub(super) number: usize,
    /// Whether it has been unloaded.
    pub unloaded: bool,
}

/// How to load a driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// Service name; the file name without its extension if none is given.
    pub service: Option<String>,
    /// `Start` value of the service: 0 boot, 1 system, 2 automatic, 3 on demand.
    pub start: u32,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            service: None,
            start: 3,
        }
    }
}

impl Session {
    /// Provides an image that drivers may import from. It is loaded when a driver needs it, and wins
    /// over a module that is modelled.
    pub fn add_image(&mut self, file: &DriverFile) {
        self.images.push(file.clone());
    }

    /// Loads a driver and runs its DriverEntry.
    ///
    /// # Errors
    /// [`SessionError::Image`] if the image cannot be loaded, [`SessionError::Status`] if DriverEntry
    /// fails; errors that end the run.
    pub fn load(
        &mut self,
        file: &DriverFile,
        options: &LoadOptions,
    ) -> Result<Driver, SessionError> {
        let service = options
            .service
            .clone()
            .unwrap_or_else(|| file.service().to_owned());
        let first = self.story.driver_entry.is_none();
        let answer = self.verb(
            format!("load({}, {service}, {})", file.name, options.start),
            |session| {
                session.load_images_for(file, 0)?;
                let symbols = file.symbols.clone();
                let number = session.machine.load_driver(
                    &file.name,
                    &service,
                    file.image.clone(),
                    symbols,
                )?;
                let start = options.start.to_le_bytes().to_vec();
                session
                    .machine
                    .cm
                    .set(&registry_path(&service), "Start", REG_DWORD, start);
                let (base, object) = session
                    .machine
                    .io
                    .drivers
                    .get(number)
                    .map_or((0, Gva::NULL), |d| (d.base, d.object));
                let loaded = Loaded {
                    name: file.name.clone(),
                    service: service.clone(),
                    base,
                    object,
                    number,
                    unloaded: false,
                };
                session.drivers.push(loaded);
                let what = format!("DriverEntry of {}", file.name);
                let thread = session.system_thread()?;
                let (status, _) = session.ask(thread, &what, UserRequest::StartDriver(number))?;
                if status.is_error() {
                    if let Some(loaded) = session.drivers.last_mut() {
                        loaded.unloaded = true;
                    }
                    return Err(SessionError::Status { what, status });
                }
                session.entry_status = status.0;
                Ok(Answer::Number(session.drivers.len() as u64 - 1))
            },
        );
        if first {
            match &answer {
                Ok(_) => self.story.driver_entry = Some(self.entry_status),
                Err(SessionError::Status { status, .. }) => {
                    self.story.driver_entry = Some(status.0)
                }
                Err(_) => {}
            }
        }
        number(&answer?).map(Driver)
    }

    /// Loads the given images that an image imports from, and theirs.
    fn load_images_for(&mut self, file: &DriverFile, depth: usize) -> Result<(), LoadError> {
        if depth > self.images.len() {
            return Ok(());
        }
        for module in &file.image.imports {
            let wanted = self
                .images
                .iter()
                .find(|i| i.name.eq_ignore_ascii_case(&module.module))
                .cloned();
            let Some(image) = wanted else { continue };
            if self
                .machine
                .modules
                .by_name(&image.name)
                .is_some_and(|m| !m.modelled)
            {
                continue;
            }
            self.load_images_for(&image, depth + 1)?;
            self.machine
                .load_image(&image.name, image.image.clone(), image.symbols.clone())?;
        }
        Ok(())
    }

    /// The thread of the System process that loads and unloads drivers.
    pub(super) fn system_thread(&mut self) -> Result<ThreadId, SessionError> {
        if let Some(thread) = self.system {
            return Ok(thread);
        }
        let thread = self.user_thread(ProcessId::SYSTEM)?;
        self.system = Some(thread);
        Ok(thread)
    }

    /// What is known of a driver.
    #[must_use]
    pub fn loaded(&self, driver: Driver) -> Option<&Loaded> {
        self.drivers.get(driver.0)
    }

    /// Removes every device, unloads every driver that is still loaded, the newest first, and lets five
    /// seconds of virtual time go by, so that what was left behind shows.
    ///
    /// # Errors
    /// Errors that end the run.
    pub fn unload_all(&mut self) -> Result<(), SessionError> {
        self.remove_all()?;
        for n in (0..self.drivers.len()).rev() {
            if self.drivers.get(n).is_some_and(|d| !d.unloaded) {
                Driver(n).unload(self)?;
            }
        }
        self.advance(AFTERMATH)
    }
}

impl Driver {
    /// Unloads it. `STATUS_INVALID_DEVICE_REQUEST` if it has no DriverUnload or is unloaded already.
    ///
    /// # Errors
    /// Errors that end the run.
    pub fn unload(self, session: &mut Session) -> Result<NTSTATUS, SessionError> {
        let answer = session.verb(format!("d{}.unload()", self.0), |session| {
            let Some(loaded) = session.drivers.get(self.0).cloned() else {
                return Err(SessionError::Usage(
                    "no such driver in this session".to_owned(),
                ));
            };
            let thread = session.system_thread()?;
            let what = format!("the unload of {}", loaded.name);
            let (status, _) =
                session.ask(thread, &what, UserRequest::UnloadDriver(loaded.number))?;
            if let Some(loaded) = session
                .drivers
                .get_mut(self.0)
                .filter(|_| status.is_success())
            {
                loaded.unloaded = true;
            }
            Ok(Answer::Status(status))
        })?;
        answer.status()
    }

    /// Calls an internal function of the driver by its symbol, with up to twelve arguments, in a system thread at an
    /// IRQL from 0 to 2, as a unit test does. Gives what it returns.
    ///
    /// # Errors
    /// [`SessionError::Usage`] if there is no such symbol or the driver is not loaded; errors that end the run.
    pub fn call(
        self,
        session: &mut Session,
        function: &str,
        arguments: &[u64],
        irql: u8,
    ) -> Result<u64, SessionError> {
        let verb = format!("d{}.call({function}, {arguments:x?}, {irql})", self.0);
        let answer = session.verb(verb, |session| {
            let base = match session.drivers.get(self.0) {
                Some(loaded) if !loaded.unloaded => loaded.base,
                _ => return Err(SessionError::Usage("the driver is not loaded".to_owned())),
            };
            let symbols = session
                .machine
                .modules
                .at(base)
                .and_then(|m| m.symbols.clone());
            let Some(symbols) = symbols else {
                return Err(SessionError::Usage(format!(
                    "{function} cannot be found: there is no PDB beside the driver"
                )));
            };
            let Some(rva) = symbols.address_of(function) else {
                return Err(SessionError::Usage(format!(
                    "the driver's PDB has no symbol {function}"
                )));
            };
            let request = UserRequest::CallFunction {
                address: base + u64::from(rva),
                arguments: arguments.to_vec(),
                irql: irql.min(2),
            };
            let thread = session.system_thread()?;
            let (_, result) = session.ask(thread, function, request)?;
            Ok(Answer::Number(result))
        })?;
        match answer {
            Answer::Number(result) => Ok(result),
            other => Err(SessionError::Usage(format!(
                "the log has {other} where a number belongs"
            ))),
        }
    }

    /// Whether it has an AddDevice routine: a plug and play driver.
    #[must_use]
    pub fn has_add_device(self, session: &Session) -> bool {
        let Some(loaded) = session.loaded(self) else {
            return false;
        };
        let memory = &session.machine.memory;
        let extension = memory.peek(loaded.object.at(DRIVER_OBJECT::DriverExtension));
        let routine = extension.and_then(|e| memory.peek(e.at(DRIVER_EXTENSION::AddDevice)));
        routine.is_some_and(|r| !r.is_null())
    }
}
