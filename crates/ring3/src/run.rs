//! One run of a driver: what `ring3 run`, labs and tests do alike.

use std::path::{Path, PathBuf};

use anyhow::Context;
use ring3_nt::machine::boot::Config;
use ring3_nt::machine::trace::Line;

use crate::{DriverFile, Session, default_scenario, scenario};

/// How to run a driver.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The machine.
    pub config: Config,
    /// More images, in load order: export drivers that the driver needs.
    pub with: Vec<PathBuf>,
    /// The scenario; without one the driver is loaded, opened, closed and unloaded.
    pub scenario: Option<PathBuf>,
    /// Clone the machine every so many host calls and go on with the copy; 0 for never.
    pub clone_every: u64,
    /// Where trace lines go.
    pub printer: Option<fn(&Line)>,
}

/// Runs a driver to the end of its workload.
///
/// # Errors
/// Files that cannot be read or are not what they should be. What the driver does is told by the
/// session.
pub fn run(driver: &DriverFile, options: &Options) -> anyhow::Result<Session> {
    let script = match &options.scenario {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            Some((path.as_path(), text))
        }
        None => None,
    };
    let mut session = Session::new(&options.config);
    session.machine.clone_every(options.clone_every);
    if let Some(printer) = options.printer {
        session.print_trace(printer);
    }
    for path in &options.with {
        let image = DriverFile::read(path)?;
        session.add_image(&image);
    }
    match script {
        Some((path, text)) => {
            let directory = path.parent().map(Path::to_owned);
            session = scenario::run(session, driver, &text, path, directory)?;
        }
        None => default_scenario::run(&mut session, driver),
    }
    session.flush_trace();
    Ok(session)
}
