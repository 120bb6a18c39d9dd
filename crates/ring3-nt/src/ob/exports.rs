//! References and handles, as drivers use them. Documentation: wdm.h, ntifs.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::{Kind, handles};
use crate::Machine;
use crate::flow::Flow;
use crate::layout::{OBJECT_HANDLE_INFORMATION, OBJECT_TYPE};
use crate::machine::finding::Severity;
use crate::machine::thread::ProcessId;
use crate::ntstatus::{
    NTSTATUS, STATUS_ACCESS_DENIED, STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH,
    STATUS_SUCCESS,
};

/// `OBJ_KERNEL_HANDLE` of ntdef.h.
const OBJ_KERNEL_HANDLE: u32 = 0x200;
/// `ZwCurrentProcess()` and `ZwCurrentThread()`.
const CURRENT_PROCESS: u64 = u64::MAX;
const CURRENT_THREAD: u64 = u64::MAX - 1;

/// Counts a reference that a driver took (1) or dropped (-1), for the report at its unload.
fn count(cx: &mut Machine, object: u64, change: i64) {
    let caller = cx.caller;
    let entry = cx.ob.taken.entry(object).or_insert((0, caller));
    entry.0 += change;
    if change > 0 {
        entry.1 = caller;
    }
    if entry.0 == 0 {
        cx.ob.taken.remove(&object);
    }
}

fn dereference(cx: &mut Machine, object: u64) -> Flow {
    if cx.ob.objects.contains_key(&object) {
        count(cx, object, -1);
    }
    match cx.dereference_object(object) {
        None => {
            cx.report(
                "object/bad-dereference",
                Severity::Error,
                format!("{object:#x} is not an object"),
            );
            Flow::Return(0)
        }
        Some(count)
            if count <= 0
                && matches!(
                    cx.ob.objects.get(&object).map(|o| &o.kind),
                    Some(Kind::File)
                ) =>
        {
            Flow::Become(crate::io::open::release_dead(object))
        }
        Some(count) => Flow::Return(count.max(0) as u64),
    }
}

/// Adds a reference for a driver.
fn reference(cx: &mut Machine, object: u64) -> u64 {
    match cx.reference_object(object) {
        Some(references) => {
            count(cx, object, 1);
            references.max(0) as u64
        }
        None => {
            let text = format!("{object:#x} is not an object");
            cx.report("object/bad-reference", Severity::Error, text);
            0
        }
    }
}

/// The object behind a handle value, its granted access, and whether it is a handle of user mode.
fn object_of(cx: &mut Machine, handle: u64, user: bool) -> Option<(u64, u32, bool)> {
    match handle {
        CURRENT_PROCESS => {
            let object = cx.processes.get(&cx.thread().space())?.object.raw();
            if !cx.ob.objects.contains_key(&object) {
                cx.adopt_object(object, Kind::Process, "", 0);
            }
            Some((object, 0x001f_ffff, false))
        }
        CURRENT_THREAD => {
            let object = cx.thread().object.raw();
            if !cx.ob.objects.contains_key(&object) {
                cx.adopt_object(object, Kind::Thread, "", 0);
            }
            Some((object, 0x001f_ffff, false))
        }
        _ => {
            let kernel = handles::is_kernel(handle);
            if kernel && user {
                return None;
            }
            let entry = handles::find(cx, handle)?;
            let system = cx.thread().space() == ProcessId::SYSTEM;
            Some((entry.object, entry.access, !kernel && !system))
        }
    }
}

/// ObReferenceObjectByHandle and its kin.
fn by_handle(
    cx: &mut Machine,
    handle: u64,
    access: u32,
    wanted: Gva<OBJECT_TYPE>,
    mode: u8,
    object: Gva<u64>,
    information: Gva<OBJECT_HANDLE_INFORMATION>,
) -> Result<NTSTATUS, Fault> {
    cx.memory.read(object)?;
    let user = mode != 0;
    let Some((body, granted, of_user)) = object_of(cx, handle, user) else {
        cx.memory.write(object, 0)?;
        return Ok(STATUS_INVALID_HANDLE);
    };
    if !wanted.is_null() && wanted != cx.type_of_object(body) {
        cx.memory.write(object, 0)?;
        return Ok(STATUS_OBJECT_TYPE_MISMATCH);
    }
    if of_user && cx.thread().previous_mode != 0 {
        if wanted.is_null() {
            let text = format!(
                "the handle {handle:#x} of user mode is referenced without an object type: it may be of any"
            );
            cx.report("object/handle-of-any-type", Severity::Warning, text);
        }
        if !user {
            let text = format!(
                "the handle {handle:#x} of user mode is referenced with AccessMode KernelMode: its access is not checked"
            );
            cx.report("object/user-handle-as-kernel", Severity::Warning, text);
        }
    }
    if user && access & !granted != 0 {
        cx.memory.write(object, 0)?;
        return Ok(STATUS_ACCESS_DENIED);
    }
    if !information.is_null() {
        let attributes = handles::find(cx, handle).map_or(0, |entry| entry.attributes);
        cx.memory.set(
            information,
            OBJECT_HANDLE_INFORMATION::HandleAttributes,
            attributes,
        )?;
        cx.memory.set(
            information,
            OBJECT_HANDLE_INFORMATION::GrantedAccess,
            granted,
        )?;
    }
    cx.reference_object(body);
    count(cx, body, 1);
    cx.memory.write(object, body)?;
    Ok(STATUS_SUCCESS)
}

/// ObReferenceObjectByPointer and its kin.
fn by_pointer(cx: &mut Machine, object: Gva, wanted: Gva<OBJECT_TYPE>, mode: u8) -> NTSTATUS {
    let found = cx.type_of_object(object.raw());
    if found.is_null() {
        let text = format!("{:#x} is not an object", object.raw());
        cx.report("object/bad-reference", Severity::Error, text);
        return STATUS_OBJECT_TYPE_MISMATCH;
    }
    // Without a type only kernel mode may pass.
    if found != wanted && !(wanted.is_null() && mode == 0) {
        return STATUS_OBJECT_TYPE_MISMATCH;
    }
    cx.reference_object(object.raw());
    STATUS_SUCCESS
}

/// Routines on objects.
pub struct Objects;

#[exports("ntoskrnl.exe")]
impl Objects {
    /// Adds a reference to an object.
    #[page("wdm/nf-wdm-obfreferenceobject")]
    #[irql(..=DISPATCH_LEVEL)]
    fn ObfReferenceObject(cx: &mut Machine, Object: Gva) -> u64 {
        reference(cx, Object.raw())
    }

    /// Drops a reference to an object.
    #[page("wdm/nf-wdm-obfdereferenceobject")]
    #[irql(..=DISPATCH_LEVEL)]
    #[alias("ObDereferenceObject")]
    #[returns(u64)]
    fn ObfDereferenceObject(cx: &mut Machine, Object: Gva) -> Flow {
        dereference(cx, Object.raw())
    }

    /// Adds a reference, with a tag.
    #[page("wdm/nf-wdm-obfreferenceobjectwithtag")]
    #[irql(..=DISPATCH_LEVEL)]
    #[partial("references are not counted by tag")]
    fn ObfReferenceObjectWithTag(cx: &mut Machine, Object: Gva, Tag: u32) -> u64 {
        let _ = Tag;
        reference(cx, Object.raw())
    }

    /// Drops a reference, with a tag.
    #[page("wdm/nf-wdm-obfdereferenceobjectwithtag")]
    #[irql(..=DISPATCH_LEVEL)]
    #[partial("references are not counted by tag")]
    #[returns(u64)]
    fn ObfDereferenceObjectWithTag(cx: &mut Machine, Object: Gva, Tag: u32) -> Flow {
        let _ = Tag;
        dereference(cx, Object.raw())
    }

    /// Drops a reference; the object, if it goes, goes later.
    #[page("wdm/nf-wdm-obdereferenceobjectdeferdelete")]
    #[irql(..=DISPATCH_LEVEL)]
    #[partial("the object goes at once")]
    #[returns(())]
    fn ObDereferenceObjectDeferDelete(cx: &mut Machine, Object: Gva) -> Flow {
        dereference(cx, Object.raw())
    }

    /// Adds a reference if the object is not going away already.
    #[page("ntifs/nf-ntifs-obreferenceobjectsafe")]
    #[irql(..=DISPATCH_LEVEL)]
    fn ObReferenceObjectSafe(cx: &mut Machine, Object: Gva) -> bool {
        match cx.ob.objects.get(&Object.raw()) {
            Some(object) if object.references > 0 => {
                reference(cx, Object.raw());
                true
            }
            _ => false,
        }
    }

    /// The object behind a handle, with a reference.
    #[page("wdm/nf-wdm-obreferenceobjectbyhandle")]
    #[irql(PASSIVE_LEVEL)]
    fn ObReferenceObjectByHandle(
        cx: &mut Machine,
        Handle: u64,
        DesiredAccess: u32,
        ObjectType: Gva<OBJECT_TYPE>,
        AccessMode: u8,
        Object: Gva<u64>,
        HandleInformation: Gva<OBJECT_HANDLE_INFORMATION>,
    ) -> Result<NTSTATUS, Fault> {
        by_handle(
            cx,
            Handle,
            DesiredAccess,
            ObjectType,
            AccessMode,
            Object,
            HandleInformation,
        )
    }

    /// The object behind a handle, with a reference that has a tag.
    #[page("wdm/nf-wdm-obreferenceobjectbyhandlewithtag")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("references are not counted by tag")]
    fn ObReferenceObjectByHandleWithTag(
        cx: &mut Machine,
        Handle: u64,
        DesiredAccess: u32,
        ObjectType: Gva<OBJECT_TYPE>,
        AccessMode: u8,
        Tag: u32,
        Object: Gva<u64>,
        HandleInformation: Gva<OBJECT_HANDLE_INFORMATION>,
    ) -> Result<NTSTATUS, Fault> {
        let _ = Tag;
        by_handle(
            cx,
            Handle,
            DesiredAccess,
            ObjectType,
            AccessMode,
            Object,
            HandleInformation,
        )
    }

    /// Checks the type of an object and adds a reference.
    #[page("wdm/nf-wdm-obreferenceobjectbypointer")]
    #[irql(..=DISPATCH_LEVEL)]
    fn ObReferenceObjectByPointer(
        cx: &mut Machine,
        Object: Gva,
        DesiredAccess: u32,
        ObjectType: Gva<OBJECT_TYPE>,
        AccessMode: u8,
    ) -> NTSTATUS {
        let _ = DesiredAccess;
        let status = by_pointer(cx, Object, ObjectType, AccessMode);
        if status.is_success() {
            count(cx, Object.raw(), 1);
        }
        status
    }

    /// Checks the type of an object and adds a reference that has a tag.
    #[page("wdm/nf-wdm-obreferenceobjectbypointerwithtag")]
    #[irql(..=DISPATCH_LEVEL)]
    #[partial("references are not counted by tag")]
    fn ObReferenceObjectByPointerWithTag(
        cx: &mut Machine,
        Object: Gva,
        DesiredAccess: u32,
        ObjectType: Gva<OBJECT_TYPE>,
        AccessMode: u8,
        Tag: u32,
    ) -> NTSTATUS {
        let _ = (DesiredAccess, Tag);
        let status = by_pointer(cx, Object, ObjectType, AccessMode);
        if status.is_success() {
            count(cx, Object.raw(), 1);
        }
        status
    }

    /// A handle to an object that the caller has a pointer to.
    #[page("ntifs/nf-ntifs-obopenobjectbypointer")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("access is not checked against the object's security")]
    fn ObOpenObjectByPointer(
        cx: &mut Machine,
        Object: Gva,
        HandleAttributes: u32,
        PassedAccessState: Gva,
        DesiredAccess: u32,
        ObjectType: Gva<OBJECT_TYPE>,
        AccessMode: u8,
        Handle: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        let _ = PassedAccessState;
        cx.memory.read(Handle)?;
        let status = by_pointer(cx, Object, ObjectType, AccessMode);
        if status.is_error() {
            return Ok(status);
        }
        let process: ProcessId = cx.thread().space();
        let handle = handles::open(
            cx,
            Object.raw(),
            DesiredAccess,
            process,
            HandleAttributes & OBJ_KERNEL_HANDLE != 0,
        );
        handles::set_attributes(cx, handle, HandleAttributes & handles::OBJ_INHERIT);
        // The handle has a reference of its own.
        cx.dereference_object(Object.raw());
        cx.memory.write(Handle, handle)?;
        Ok(STATUS_SUCCESS)
    }

    /// Lets a permanent object go when its last handle goes.
    #[page("ntifs/nf-ntifs-obmaketemporaryobject")]
    #[irql(PASSIVE_LEVEL)]
    fn ObMakeTemporaryObject(cx: &mut Machine, Object: Gva) {
        cx.set_permanent(Object.raw(), false);
    }

    /// TRUE if a handle is a kernel handle.
    #[page("ntifs/nf-ntifs-obiskernelhandle")]
    #[irql(any)]
    fn ObIsKernelHandle(cx: &mut Machine, Handle: u64) -> bool {
        let _ = &cx;
        handles::is_kernel(Handle) && Handle != CURRENT_PROCESS && Handle != CURRENT_THREAD
    }

    /// Closes a handle.
    #[page("ntifs/nf-ntifs-zwclose")]
    #[irql(PASSIVE_LEVEL)]
    #[alias("NtClose")]
    #[returns(NTSTATUS)]
    fn ZwClose(cx: &mut Machine, Handle: u64) -> Flow {
        let _ = &cx;
        Flow::Become(crate::io::open::close_handle(Handle))
    }

    /// Closes a handle that belongs to user mode or to the kernel.
    #[page("ntifs/nf-ntifs-obclosehandle")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    fn ObCloseHandle(cx: &mut Machine, Handle: u64, PreviousMode: u8) -> Flow {
        if PreviousMode != 0 && handles::is_kernel(Handle) {
            return Flow::Return(u64::from(STATUS_INVALID_HANDLE.0));
        }
        let _ = &cx;
        Flow::Become(crate::io::open::close_handle(Handle))
    }
}
