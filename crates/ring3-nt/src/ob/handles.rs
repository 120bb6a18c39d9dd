//! Handles. Documentation: "Object Handles".

use super::{Handle, Kind};
use crate::Machine;
use crate::flow::Flow;
use crate::machine::finding::Severity;
use crate::machine::modules::within;
use crate::machine::thread::ProcessId;
use crate::ntstatus::{STATUS_HANDLE_NOT_CLOSABLE, STATUS_INVALID_HANDLE};

/// Kernel handles have the upper half set and belong to the System process.
const KERNEL: u64 = 0xffff_ffff_8000_0000;
/// `OBJ_INHERIT`.
pub const OBJ_INHERIT: u32 = 2;
/// `OBJ_PROTECT_CLOSE`.
pub const OBJ_PROTECT_CLOSE: u32 = 1;
/// `INVALID_KERNEL_HANDLE`.
const INVALID_KERNEL_HANDLE: u32 = 0x93;
/// `THREAD_ALL_ACCESS`.
const THREAD_ALL_ACCESS: u32 = 0x001f_ffff;

/// Whether a handle value is that of a kernel handle.
#[must_use]
pub const fn is_kernel(handle: u64) -> bool {
    handle & KERNEL == KERNEL
}

/// The table and the slot that a handle value means for the current thread.
fn slot(cx: &Machine, handle: u64) -> (ProcessId, u64) {
    // Handle values are sign extended from 32 bits by callers that keep them in a LONG.
    if is_kernel(handle) || cx.thread().space() == ProcessId::SYSTEM {
        (ProcessId::SYSTEM, handle & 0x7fff_fffc)
    } else {
        (cx.thread().space(), handle & 0x7fff_fffc)
    }
}

/// Opens a handle; `kernel` handles are usable in every process.
pub fn open(cx: &mut Machine, object: u64, access: u32, process: ProcessId, kernel: bool) -> u64 {
    let table = if kernel { ProcessId::SYSTEM } else { process };
    let mut value = 4;
    while cx.ob.handles.contains_key(&(table, value)) {
        value += 4;
    }
    let owner = cx.caller;
    let access = granted(cx, object, access);
    cx.ob.handles.insert(
        (table, value),
        Handle {
            object,
            access,
            owner,
            attributes: 0,
        },
    );
    cx.reference_object(object);
    if let Some(found) = cx.ob.objects.get_mut(&object) {
        found.handles += 1;
    }
    if kernel { KERNEL | value } else { value }
}

/// What an access mask means for an object: generic rights and MAXIMUM_ALLOWED replaced by rights of its type.
#[must_use]
pub fn granted(cx: &Machine, object: u64, access: u32) -> u32 {
    let kind = cx.ob.objects.get(&object).map(|o| o.kind.type_name());
    let Some(which) = super::types::TYPES.iter().find(|t| Some(t.name) == kind) else {
        return access;
    };
    let maximum = crate::se::access::right::MAXIMUM;
    let all = if access & maximum != 0 {
        which.mapping[3]
    } else {
        0
    };
    crate::se::access::map(access & !maximum, which.mapping) | all
}

/// What a handle of a process means.
#[must_use]
pub fn find_in(cx: &Machine, process: ProcessId, handle: u64) -> Option<Handle> {
    cx.ob
        .handles
        .get(&(table_of(process, handle), handle & 0x7fff_fffc))
        .cloned()
}

const fn table_of(process: ProcessId, handle: u64) -> ProcessId {
    if is_kernel(handle) {
        ProcessId::SYSTEM
    } else {
        process
    }
}

/// A kernel handle to a thread.
pub fn open_thread(cx: &mut Machine, object: u64) -> u64 {
    if !cx.ob.objects.contains_key(&object) {
        cx.adopt_object(object, super::Kind::Thread, "", 0);
    }
    open(cx, object, THREAD_ALL_ACCESS, ProcessId::SYSTEM, true)
}

/// What a handle of the current process means. Requests of user mode may not name kernel handles;
/// that is checked where they come in.
#[must_use]
pub fn find(cx: &Machine, handle: u64) -> Option<Handle> {
    cx.ob.handles.get(&slot(cx, handle)).cloned()
}

/// Takes a handle off its table. The object, and whether it was its last handle.
pub fn take(cx: &mut Machine, handle: u64) -> Option<(u64, bool)> {
    take_slot(cx, slot(cx, handle))
}

/// Takes a handle of a process off its table. The object, and whether it was its last handle.
pub fn take_from(cx: &mut Machine, process: ProcessId, handle: u64) -> Option<(u64, bool)> {
    take_slot(cx, (table_of(process, handle), handle & 0x7fff_fffc))
}

fn take_slot(cx: &mut Machine, slot: (ProcessId, u64)) -> Option<(u64, bool)> {
    let entry = cx.ob.handles.remove(&slot)?;
    let mut temporary = false;
    let last = match cx.ob.objects.get_mut(&entry.object) {
        Some(object) => {
            object.handles = object.handles.saturating_sub(1);
            temporary = object.handles == 0 && !object.permanent && !object.name.is_empty();
            object.handles == 0
        }
        None => false,
    };
    if temporary {
        cx.forget_name(entry.object);
    }
    if last
        && matches!(
            cx.ob.objects.get(&entry.object).map(|o| &o.kind),
            Some(Kind::Key(_))
        )
    {
        crate::cm::notify::closed(cx, entry.object);
        if cx.cm.callbacks.is_empty() {
            crate::cm::object_context::forget(cx, entry.object);
        }
    }
    Some((entry.object, last))
}

/// Sets or clears attributes of a handle: `OBJ_INHERIT`, `OBJ_PROTECT_CLOSE`. False for a handle that is none.
pub fn set_attributes(cx: &mut Machine, handle: u64, attributes: u32) -> bool {
    let slot = slot(cx, handle);
    match cx.ob.handles.get_mut(&slot) {
        Some(entry) => {
            entry.attributes = attributes;
            true
        }
        None => false,
    }
}

/// The same for a handle of a process.
pub fn set_attributes_in(cx: &mut Machine, process: ProcessId, handle: u64, attributes: u32) {
    let slot = (table_of(process, handle), handle & 0x7fff_fffc);
    if let Some(entry) = cx.ob.handles.get_mut(&slot) {
        entry.attributes = attributes;
    }
}

/// What comes of closing a handle that is none or may not be closed; `None` if it may be. A kernel handle
/// stops the machine ("Bug Check 0x93: INVALID_KERNEL_HANDLE"); one of a process gives a status.
pub fn why_not_closed(cx: &mut Machine, handle: u64) -> Option<Flow> {
    let pseudo = handle >= u64::MAX - 5;
    let kernel = is_kernel(handle) && !pseudo;
    let (status, code) = match find(cx, handle).filter(|_| !pseudo) {
        Some(entry) if entry.attributes & OBJ_PROTECT_CLOSE == 0 => return None,
        Some(_) => (STATUS_HANDLE_NOT_CLOSABLE, 0),
        None => (STATUS_INVALID_HANDLE, 1),
    };
    if kernel {
        return Some(Flow::Bugcheck(INVALID_KERNEL_HANDLE, [handle, code, 0, 0]));
    }
    if !cx.thread().user && !pseudo {
        let text = format!("the handle {handle:#x} is closed, which is not open or is protected");
        cx.report("object/bad-close", Severity::Warning, text);
    }
    Some(Flow::Return(u64::from(status.0)))
}

/// The key object that a handle is the last one of, if registry callbacks are to hear of it; else 0.
#[must_use]
pub fn last_of_key(cx: &Machine, handle: u64) -> u64 {
    let Some(entry) = find(cx, handle).filter(|_| !cx.cm.callbacks.is_empty()) else {
        return 0;
    };
    match cx.ob.objects.get(&entry.object) {
        Some(object) if object.handles == 1 && matches!(object.kind, Kind::Key(_)) => entry.object,
        _ => 0,
    }
}

/// Reports the handles that code of this image opened and did not close, and the references that it took
/// and did not drop.
pub fn report_left(cx: &mut Machine, base: u64, size: u32) {
    let inside = within(base, size);
    let open: Vec<(u64, u64, u64)> = cx
        .ob
        .handles
        .iter()
        .filter(|(_, entry)| inside(entry.owner))
        .map(|((_, value), entry)| (*value, entry.object, entry.owner))
        .collect();
    for (value, object, owner) in open {
        let text = format!(
            "the handle {value:#x} to {} is still open after unload",
            describe(cx, object)
        );
        let at = owner.wrapping_sub(1);
        cx.report_at("object/handle-left", Severity::Error, text, at);
    }
    let referenced: Vec<(u64, i64, u64)> = cx
        .ob
        .taken
        .iter()
        .filter(|(_, (count, owner))| *count > 0 && inside(*owner))
        .map(|(object, (count, owner))| (*object, *count, *owner))
        .collect();
    for (object, count, owner) in referenced {
        let text = format!(
            "{} keeps {count} reference(s) that the driver took and did not drop",
            describe(cx, object)
        );
        let at = owner.wrapping_sub(1);
        cx.report_at("object/reference-left", Severity::Error, text, at);
    }
}

/// What an object is called in a finding.
fn describe(cx: &Machine, object: u64) -> String {
    let kind = cx
        .ob
        .objects
        .get(&object)
        .map_or("object", |o| o.kind.type_name());
    let name = cx.name_of_object(object);
    if name.is_empty() {
        format!("the {kind} {object:#x}")
    } else {
        format!("the {kind} {name}")
    }
}
