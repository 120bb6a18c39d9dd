//! Loading, starting and unloading drivers. Documentation: wdm.h, "DriverEntry", "Unload".

use std::sync::Arc;

use ring3_macros::resumable;
use ring3_memory::{Fault, Gva};
use ring3_pe::Image;
use ring3_symbols::SymbolFile;

use super::Driver;
use super::device::{DO_DEVICE_INITIALIZING, device_name};
use super::work_items_left::{finish_items, report_items_left};
use crate::Machine;
use crate::flow::Flow;
use crate::layout::{DEVICE_OBJECT, DRIVER_EXTENSION, DRIVER_OBJECT, UNICODE_STRING, element};
use crate::machine::finding::Severity;
use crate::machine::modules::within;
use crate::machine::thread::{ProcessId, ThreadState};
use crate::mm::loader::LoadError;
use crate::ntstatus::{NTSTATUS, STATUS_INVALID_DEVICE_REQUEST, STATUS_SUCCESS};
use crate::ob::Kind;

/// `IO_TYPE_DRIVER`.
const IO_TYPE_DRIVER: i16 = 4;
/// `DRVO_LEGACY_DRIVER`, set for drivers without AddDevice.
const DRVO_LEGACY_DRIVER: u32 = 2;

/// Writes a counted string with its text right behind, at `text`.
fn write_string(
    cx: &mut Machine,
    string: Gva<UNICODE_STRING>,
    text: Gva,
    value: &str,
) -> Result<u64, Fault> {
    let bytes: Vec<u8> = value
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect();
    cx.memory.write_bytes(text, &bytes)?;
    let length = (bytes.len() - 2) as u16;
    cx.memory.set(string, UNICODE_STRING::Length, length)?;
    cx.memory
        .set(string, UNICODE_STRING::MaximumLength, length + 2)?;
    cx.memory.set(string, UNICODE_STRING::Buffer, text.cast())?;
    Ok((bytes.len() as u64).next_multiple_of(16))
}

/// The registry path of a service.
#[must_use]
pub fn registry_path(service: &str) -> String {
    format!("\\Registry\\Machine\\System\\CurrentControlSet\\Services\\{service}")
}

impl Machine {
    /// Loads a driver image and makes its driver object; DriverEntry has not run yet. Gives the
    /// number of the driver.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load_driver(
        &mut self,
        name: &str,
        service: &str,
        image: Arc<Image>,
        symbols: Option<Arc<SymbolFile>>,
    ) -> Result<usize, LoadError> {
        let base = self.load_image(name, image, symbols)?;
        self.cm.create_service_key(service, 3, name);
        let module = self.modules.at(base).cloned();
        let (size, entry, section) =
            module.map_or((0, 0, Gva::NULL), |m| (m.size, m.entry, m.entry_in_list));
        let no_memory = || LoadError::NoMemory(name.to_owned());
        let path = format!("\\Driver\\{service}");
        // Driver object, extension, and the text of its strings.
        let extension_at = DRIVER_OBJECT::SIZE;
        let text_at = (extension_at + DRIVER_EXTENSION::SIZE).next_multiple_of(16);
        let bytes =
            text_at + 64 + 2 * 2 * (path.len() as u64 + registry_path(service).len() as u64 + 64);
        let body = self
            .create_object(Kind::Driver, bytes, &path, 0)
            .ok_or_else(no_memory)?;
        let object = body.cast::<DRIVER_OBJECT>();
        let extension = body.byte_add(extension_at).cast::<DRIVER_EXTENSION>();
        let invalid = self.stubs.invalid_device_request;
        let written = (|| -> Result<(), Fault> {
            let m = &mut self.memory;
            m.set(object, DRIVER_OBJECT::Type, IO_TYPE_DRIVER)?;
            m.set(object, DRIVER_OBJECT::Size, DRIVER_OBJECT::SIZE as i16)?;
            m.set(object, DRIVER_OBJECT::Flags, DRVO_LEGACY_DRIVER)?;
            m.set(object, DRIVER_OBJECT::DriverStart, Gva::new(base))?;
            m.set(object, DRIVER_OBJECT::DriverSize, size)?;
            m.set(object, DRIVER_OBJECT::DriverSection, section.cast())?;
            m.set(object, DRIVER_OBJECT::DriverExtension, extension)?;
            m.set(object, DRIVER_OBJECT::DriverInit, Gva::new(entry))?;
            m.set(extension, DRIVER_EXTENSION::DriverObject, object)?;
            for major in 0..28 {
                let slot = element(object.at(DRIVER_OBJECT::MajorFunction), major);
                self.memory.write(slot, Gva::new(invalid))?;
            }
            let mut text = body.byte_add(text_at + 16);
            let strings = [
                (object.at(DRIVER_OBJECT::DriverName), path.clone()),
                (
                    extension.at(DRIVER_EXTENSION::ServiceKeyName),
                    service.to_owned(),
                ),
                (body.byte_add(text_at).cast(), registry_path(service)),
            ];
            for (string, value) in strings {
                let used = write_string(self, string, text, &value)?;
                text = text.byte_add(used);
            }
            Ok(())
        })();
        written.map_err(|_| no_memory())?;
        self.io.drivers.push(Driver {
            object,
            service: service.to_owned(),
            base,
            entry_status: None,
            unloaded: false,
        });
        Ok(self.io.drivers.len() - 1)
    }

    /// Where the registry path string of a driver lies.
    fn registry_string(&self, object: Gva<DRIVER_OBJECT>) -> Gva<UNICODE_STRING> {
        let text_at = (DRIVER_OBJECT::SIZE + DRIVER_EXTENSION::SIZE).next_multiple_of(16);
        object.cast::<u8>().byte_add(text_at).cast()
    }
}

/// A driver object without an image, for a driver that is part of the kernel; all its dispatch slots hold the
/// same routine. `None` if memory is used up.
///
/// # Errors
/// A fault if it cannot be written.
pub fn create_object(
    cx: &mut Machine,
    name: &str,
    dispatch: u64,
) -> Result<Option<Gva<DRIVER_OBJECT>>, Fault> {
    let path = format!("\\Driver\\{name}");
    let text_at = (DRIVER_OBJECT::SIZE + DRIVER_EXTENSION::SIZE).next_multiple_of(16);
    let size = text_at + 2 * path.len() as u64 + 16;
    let Some(body) = cx.create_object(Kind::Driver, size, &path, 0) else {
        return Ok(None);
    };
    let object = body.cast::<DRIVER_OBJECT>();
    let extension = body
        .byte_add(DRIVER_OBJECT::SIZE)
        .cast::<DRIVER_EXTENSION>();
    let m = &mut cx.memory;
    m.set(object, DRIVER_OBJECT::Type, IO_TYPE_DRIVER)?;
    m.set(object, DRIVER_OBJECT::Size, DRIVER_OBJECT::SIZE as i16)?;
    m.set(object, DRIVER_OBJECT::DriverExtension, extension)?;
    m.set(extension, DRIVER_EXTENSION::DriverObject, object)?;
    for major in 0..28 {
        cx.memory.write(
            element(object.at(DRIVER_OBJECT::MajorFunction), major),
            Gva::new(dispatch),
        )?;
    }
    write_string(
        cx,
        object.at(DRIVER_OBJECT::DriverName),
        body.byte_add(text_at),
        &path,
    )?;
    Ok(Some(object))
}

/// Runs DriverEntry of a loaded driver, and what the system does afterwards. Gives its status.
#[resumable]
pub fn start_driver(cx: &mut Machine, number: usize) -> Result<NTSTATUS, Fault> {
    let Some(driver) = cx.io.drivers.get(number).cloned() else {
        return Ok(STATUS_INVALID_DEVICE_REQUEST);
    };
    let object: Gva<DRIVER_OBJECT> = driver.object;
    let base: u64 = driver.base;
    crate::dbg::filter::read_registry(cx);
    host!(crate::ps::notify::driver_loaded(base));
    let registry = cx.registry_string(object);
    let entry = cx.memory.get(object, DRIVER_OBJECT::DriverInit)?;
    let status: NTSTATUS = call!(entry, object, registry);
    if let Some(driver) = cx.io.drivers.get_mut(number) {
        driver.entry_status = Some(status.0);
    }
    if cx.irql() != 0 {
        let text = format!("DriverEntry returned at IRQL {}", cx.irql());
        cx.report("irql/driver-entry", Severity::Error, text);
        cx.set_irql(0);
    }
    if status.is_error() {
        let text = format!("DriverEntry failed with {status}");
        let at = entry_address(cx, object);
        cx.report_at("driver/entry-failed", Severity::Error, text, at);
        let size: u32 = cx.modules.at(base).map_or(0, |m| m.size);
        host!(finish_items(base, size));
        finish_unload(cx, number);
        return Ok(status);
    }
    cx.discard_init(base);
    for device in cx.devices_of(object) {
        let flags = cx.memory.get(device, DEVICE_OBJECT::Flags)?;
        cx.memory.set(
            device,
            DEVICE_OBJECT::Flags,
            flags & !DO_DEVICE_INITIALIZING,
        )?;
    }
    host!(super::driver_extension::reinitialize(object));
    Ok(status)
}

fn entry_address(cx: &Machine, object: Gva<DRIVER_OBJECT>) -> u64 {
    cx.memory
        .get(object, DRIVER_OBJECT::DriverInit)
        .unwrap_or(Gva::NULL)
        .raw()
}

/// Unloads a driver: its DriverUnload, then a look at what it left behind.
#[resumable]
pub fn unload_driver(cx: &mut Machine, number: usize) -> Result<Flow, Fault> {
    let Some(driver) = cx.io.drivers.get(number).cloned() else {
        return Ok(Flow::Return(u64::from(STATUS_INVALID_DEVICE_REQUEST.0)));
    };
    if driver.unloaded {
        return Ok(Flow::Return(u64::from(STATUS_INVALID_DEVICE_REQUEST.0)));
    }
    let object: Gva<DRIVER_OBJECT> = driver.object;
    let base: u64 = driver.base;
    let size: u32 = cx.modules.at(base).map_or(0, |m| m.size);
    let routine: u64 = cx.memory.get(object, DRIVER_OBJECT::DriverUnload)?.raw();
    if routine == 0 {
        let at = entry_address(cx, object);
        let text = format!(
            "{} has no DriverUnload and cannot be unloaded",
            driver.service
        );
        cx.report_at("driver/no-unload", Severity::Note, text, at);
        return Ok(Flow::Return(u64::from(STATUS_INVALID_DEVICE_REQUEST.0)));
    }
    if has_open_devices(cx, object) {
        // DriverUnload waits for the last file ("Unload Routine Environment").
        if !cx.io.unloads.contains(&number) {
            cx.io.unloads.push(number);
        }
        return Ok(Flow::Return(u64::from(STATUS_SUCCESS.0)));
    }
    call!(routine, object);
    if cx.irql() != 0 {
        let text = format!("DriverUnload returned at IRQL {}", cx.irql());
        cx.report("irql/driver-unload", Severity::Error, text);
        cx.set_irql(0);
    }
    host!(finish_items(base, size));
    finish_unload(cx, number);
    Ok(Flow::Return(u64::from(STATUS_SUCCESS.0)))
}

/// Whether a file is open on one of the driver's devices.
fn has_open_devices(cx: &Machine, object: Gva<DRIVER_OBJECT>) -> bool {
    let count = |d: &Gva<DEVICE_OBJECT>| {
        cx.memory
            .peek(d.at(DEVICE_OBJECT::ReferenceCount))
            .unwrap_or(0)
    };
    cx.devices_of(object).iter().any(|d| count(d) > 0)
}

#[resumable]
fn unload_and_end(cx: &mut Machine, number: usize) -> Flow {
    let _ = &cx;
    host!(unload_driver(number));
    Flow::ThreadEnd
}

/// A file was closed: drivers whose unload waited for it go now.
pub(super) fn file_closed(cx: &mut Machine) {
    let ready = |n: &usize| {
        cx.io
            .drivers
            .get(*n)
            .is_none_or(|d| !has_open_devices(cx, d.object))
    };
    let Some(number) = cx.io.unloads.iter().copied().find(ready) else {
        return;
    };
    cx.io.unloads.retain(|n| *n != number);
    cx.create_thread(ProcessId::SYSTEM, "unload", unload_and_end(number));
}

/// Reports what a driver leaves behind, and takes its image away.
fn finish_unload(cx: &mut Machine, number: usize) {
    let Some(driver) = cx.io.drivers.get_mut(number) else {
        return;
    };
    driver.unloaded = true;
    let (object, base) = (driver.object, driver.base);
    let size = cx.modules.at(base).map_or(0, |m| m.size);
    let inside = within(base, size);
    for device in cx.devices_of(object) {
        let owner = cx.ob.objects.get(&device.raw()).map_or(0, |o| o.owner);
        let text = format!("{} still exists after unload", device_name(cx, device));
        cx.report_at("device/left", Severity::Error, text, owner.wrapping_sub(1));
    }
    let links: Vec<(String, u64)> = cx
        .ob
        .objects
        .values()
        .filter(|o| matches!(o.kind, Kind::SymbolicLink(_)) && inside(o.owner))
        .map(|o| (o.name.clone(), o.owner))
        .collect();
    for (name, owner) in links {
        let text = format!("the symbolic link {name} still exists after unload");
        cx.report_at(
            "object/symbolic-link-left",
            Severity::Error,
            text,
            owner.wrapping_sub(1),
        );
    }
    let timers: Vec<u64> = cx.ke.timers.iter().map(|(_, t)| t.raw()).collect();
    for timer in timers {
        let dpc = cx
            .memory
            .peek(Gva::<crate::layout::KTIMER>::new(timer).at(crate::layout::KTIMER::Dpc));
        let routine = dpc
            .filter(|d| !d.is_null())
            .and_then(|d| cx.memory.peek(d.at(crate::layout::KDPC::DeferredRoutine)))
            .map_or(0, |r| r.raw());
        if inside(timer) || inside(routine) {
            let text = format!("the timer {timer:#x} is still set after unload");
            cx.report_at(
                "driver/timer-left",
                Severity::Error,
                text,
                routine.max(base),
            );
        }
    }
    let threads: Vec<(String, u64)> = cx
        .threads
        .values()
        .filter(|t| t.state != ThreadState::Terminated)
        .filter_map(|t| {
            let owner = cx
                .ps
                .thread_owners
                .get(&t.id)
                .copied()
                .filter(|o| inside(*o))?;
            Some((t.name.clone(), owner))
        })
        .collect();
    for (name, owner) in threads {
        let text = format!("the system thread {name} still runs after unload");
        cx.report_at(
            "driver/thread-left",
            Severity::Error,
            text,
            owner.wrapping_sub(1),
        );
    }
    crate::cm::callback::report_left(cx, base, size);
    crate::ob::handles::report_left(cx, base, size);
    crate::ex::callback::report_left(cx, base, size);
    crate::ob::callbacks::report_left(cx, base, size);
    crate::ps::notify::report_left(cx, base, size);
    crate::mm::report_left(cx, base, size);
    crate::ex::lookaside::report_left(cx, base, size);
    crate::ex::resource::report_left(cx, base, size);
    report_items_left(cx, base, size);
    cx.report_pool_leaks(base, size);
    let _ = super::driver_extension::free_all(cx, object);
    cx.io.reinitializations.retain(|r| r.driver != object.raw());
    cx.delete_object(object.raw());
    cx.unload_image(base);
}
