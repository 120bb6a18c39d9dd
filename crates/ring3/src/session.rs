//! A machine with drivers in it, and a workload that talks to them as applications do.
//!
//! ```no_run
//! use ring3::session::{LoadOptions, OpenOptions};
//! use ring3::{DriverFile, Session};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let file = DriverFile::read("first-driver.sys")?;
//! let mut session = Session::new(&ring3::nt::machine::boot::Config::default());
//! let driver = session.load(&file, &LoadOptions::default())?;
//! let app = session.process("app.exe")?;
//! let handle = app.open(&mut session, r"\\.\FirstDriver", &OpenOptions::default())?;
//! let io = handle.ioctl(&mut session, 0x0022_2000, b"hello", 64)?;
//! assert!(io.status.is_success());
//! handle.close(&mut session)?;
//! driver.unload(&mut session)?;
//! assert!(session.machine.findings.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! Processes, files, operations, drivers and devices are numbers: they stay valid in a clone of the
//! session. Every verb is an input to the machine followed by a wait, and is kept in a [`Log`].

mod device;
mod driver;
mod error;
mod file;
mod hang;
mod log;
mod operation;
mod process;
mod system;
mod user;
mod wait;

use ring3_nt::Machine;
use ring3_nt::machine::boot::Config;
use ring3_nt::machine::thread::ThreadId;
use ring3_nt::machine::trace::Line;

pub use device::Device;
pub use driver::{Driver, LoadOptions, Loaded};
pub use error::SessionError;
pub use file::{File, Io};
pub use log::{Answer, Entry, Log};
pub use operation::Operation;
pub use process::{OpenOptions, Process, ProcessOptions};

use crate::DriverFile;
use crate::report::Story;

/// A machine and its workload. See the module for an example.
#[derive(Clone, Debug)]
pub struct Session {
    /// The machine.
    pub machine: Machine,
    /// What the workload has to say.
    pub story: Story,
    log: Log,
    drivers: Vec<Loaded>,
    processes: Vec<process::State>,
    files: Vec<file::State>,
    operations: Vec<operation::State>,
    devices: Vec<device::State>,
    images: Vec<DriverFile>,
    system: Option<ThreadId>,
    entry_status: u32,
    ended: Option<SessionError>,
    hang: Option<String>,
    printer: Option<fn(&Line)>,
}

impl Session {
    /// Boots a machine.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            machine: Machine::boot(config),
            story: Story::default(),
            log: Log::default(),
            drivers: Vec::new(),
            processes: Vec::new(),
            files: Vec::new(),
            operations: Vec::new(),
            devices: Vec::new(),
            images: Vec::new(),
            system: None,
            entry_status: 0,
            ended: None,
            hang: None,
            printer: None,
        }
    }

    /// Where trace lines go. Without a printer they stay in the machine's trace.
    pub fn print_trace(&mut self, printer: fn(&Line)) {
        self.printer = Some(printer);
    }

    /// Prints the trace lines that have come since the last time.
    pub fn flush_trace(&mut self) {
        if let Some(print) = self.printer {
            self.machine.trace.take().iter().for_each(print);
        }
    }

    /// All verbs so far with their answers.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Whether the run is over: the machine has stopped, hangs, or has used up its budget.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.machine.stop.is_some() || self.ended.is_some()
    }
}
