//! Handles. Documentation: "Object Handles".

use super::Handle;
use crate::Machine;
use crate::machine::thread::ProcessId;

/// Kernel handles have the upper half set and belong to the System process.
const KERNEL: u64 = 0xffff_ffff_8000_0000;
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
    cx.ob.handles.insert(
        (table, value),
        Handle {
            object,
            access,
            owner,
        },
    );
    cx.reference_object(object);
    if let Some(found) = cx.ob.objects.get_mut(&object) {
        found.handles += 1;
    }
    if kernel { KERNEL | value } else { value }
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
    find(cx, handle)?;
    let slot = slot(cx, handle);
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
    Some((entry.object, last))
}
