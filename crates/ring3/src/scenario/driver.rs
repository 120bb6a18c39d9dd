//! `load(..)`, the driver under test, and devices.

use std::path::Path;

use rhai::{Array, Engine, Map};

use super::options;
use super::shared::{Outcome, Shared, mistake};
use crate::DriverFile;
use crate::session::{Device, Driver, LoadOptions};

/// A loaded driver in a script.
#[derive(Clone, Debug)]
pub(super) struct DriverObject {
    shared: Shared,
    driver: Driver,
}

/// A device in a script.
#[derive(Clone, Debug)]
struct DeviceObject {
    shared: Shared,
    device: Device,
}

/// The driver of the command line; none if its DriverEntry failed.
pub(super) fn under_test(shared: &Shared) -> Option<DriverObject> {
    Some(DriverObject {
        shared: shared.clone(),
        driver: shared.driver()?,
    })
}

fn load(
    shared: &Shared,
    directory: &Path,
    name: &str,
    options: &LoadOptions,
) -> Outcome<DriverObject> {
    let file = match DriverFile::read(directory.join(name)) {
        Ok(file) => file,
        Err(error) => return mistake(error.to_string()),
    };
    let driver = shared.verb(|session| session.load(&file, options))?;
    Ok(DriverObject {
        shared: shared.clone(),
        driver,
    })
}

/// Calls a function of a driver. Its result is a signed number of 64 bits.
fn call(d: &DriverObject, function: &str, arguments: &Array, irql: u8) -> Outcome<i64> {
    let mut values = Vec::new();
    for argument in arguments {
        match argument.as_int() {
            Ok(number) => values.push(number as u64),
            Err(kind) => return mistake(format!("{function}: arguments are numbers, not {kind}")),
        }
    }
    if values.len() > ring3_nt::flow::Args::MAX {
        return mistake(format!("{function}: more arguments than a call can have"));
    }
    let result = d
        .shared
        .verb(|session| d.driver.call(session, function, &values, irql))?;
    Ok(result as i64)
}

pub(super) fn register(engine: &mut Engine, shared: &Shared, directory: &Path) {
    engine.register_type_with_name::<DriverObject>("driver");
    let (own, folder) = (shared.clone(), directory.to_owned());
    engine.register_fn("load", move |name: &str| {
        load(&own, &folder, name, &LoadOptions::default())
    });
    let (own, folder) = (shared.clone(), directory.to_owned());
    engine.register_fn("load", move |name: &str, map: Map| {
        load(&own, &folder, name, &options::load(&map)?)
    });
    let own = shared.clone();
    engine.register_fn("driver", move || match under_test(&own) {
        Some(driver) => Ok(driver),
        None if own.is_over() => Err(super::shared::run_is_over()),
        None => mistake("the driver under test is not loaded: its DriverEntry failed"),
    });
    engine.register_fn("unload", |d: &mut DriverObject| -> Outcome<i64> {
        Ok(i64::from(
            d.shared.verb(|session| d.driver.unload(session))?.0,
        ))
    });

    engine.register_fn(
        "call",
        |d: &mut DriverObject, function: &str, arguments: Array| call(d, function, &arguments, 0),
    );
    engine.register_fn(
        "call",
        |d: &mut DriverObject, function: &str, arguments: Array, map: Map| {
            call(d, function, &arguments, options::call(&map)?)
        },
    );

    engine.register_type_with_name::<DeviceObject>("device");
    let own = shared.clone();
    engine.register_fn("plug", move |hardware_id: &str| -> Outcome<DeviceObject> {
        let device = own.verb(|session| session.plug(hardware_id))?;
        Ok(DeviceObject {
            shared: own.clone(),
            device,
        })
    });
    engine.register_fn("remove", |d: &mut DeviceObject| -> Outcome<i64> {
        Ok(i64::from(
            d.shared.verb(|session| d.device.remove(session))?.0,
        ))
    });
    engine.register_fn("query_remove", |d: &mut DeviceObject| -> Outcome<i64> {
        Ok(i64::from(
            d.shared.verb(|session| d.device.query_remove(session))?.0,
        ))
    });
    engine.register_fn("surprise_remove", |d: &mut DeviceObject| -> Outcome<i64> {
        Ok(i64::from(
            d.shared
                .verb(|session| d.device.surprise_remove(session))?
                .0,
        ))
    });
    engine.register_fn("stop", |d: &mut DeviceObject| -> Outcome<i64> {
        Ok(i64::from(
            d.shared.verb(|session| d.device.stop(session))?.0,
        ))
    });
    engine.register_fn("start", |d: &mut DeviceObject| -> Outcome<i64> {
        Ok(i64::from(
            d.shared.verb(|session| d.device.start(session))?.0,
        ))
    });
    engine.register_fn("disable", |d: &mut DeviceObject| -> Outcome<i64> {
        Ok(i64::from(
            d.shared.verb(|session| d.device.disable(session))?.0,
        ))
    });
    engine.register_fn("enable", |d: &mut DeviceObject| -> Outcome<i64> {
        Ok(i64::from(
            d.shared.verb(|session| d.device.enable(session))?.0,
        ))
    });
    engine.register_fn(
        "power",
        |d: &mut DeviceObject, state: &str| -> Outcome<i64> {
            Ok(i64::from(
                d.shared.verb(|session| d.device.power(session, state))?.0,
            ))
        },
    );
}
