//! References and handles, as drivers use them. Documentation: wdm.h, ntifs.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::{Kind, handles};
use crate::Machine;
use crate::flow::Flow;
use crate::machine::finding::Severity;
use crate::machine::thread::ProcessId;
use crate::ntstatus::{NTSTATUS, STATUS_INVALID_HANDLE, STATUS_SUCCESS};

fn dereference(cx: &mut Machine, object: u64) -> Flow {
    match cx.dereference_object(object) {
        None => {
            cx.report("object/bad-dereference", Severity::Error, format!("{object:#x} is not an object"));
            Flow::Return(0)
        }
        Some(count) if count <= 0 && matches!(cx.ob.objects.get(&object).map(|o| &o.kind), Some(Kind::File)) => {
            Flow::Become(crate::io::open::close_file(Gva::new(object)))
        }
        Some(count) => Flow::Return(count.max(0) as u64),
    }
}

/// Routines on objects.
pub struct Objects;

#[exports("ntoskrnl.exe")]
impl Objects {
    /// Adds a reference to an object.
    #[page("wdm/nf-wdm-obfreferenceobject")]
    #[irql(..=DISPATCH_LEVEL)]
    fn ObfReferenceObject(cx: &mut Machine, Object: Gva) -> u64 {
        match cx.reference_object(Object.raw()) {
            Some(count) => count.max(0) as u64,
            None => {
                let text = format!("{:#x} is not an object", Object.raw());
                cx.report("object/bad-reference", Severity::Error, text);
                0
            }
        }
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
        cx.reference_object(Object.raw()).map_or(0, |c| c.max(0) as u64)
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

    /// The object behind a handle, with a reference.
    #[page("wdm/nf-wdm-obreferenceobjectbyhandle")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("access and type are not checked")]
    fn ObReferenceObjectByHandle(
        cx: &mut Machine,
        Handle: u64,
        DesiredAccess: u32,
        ObjectType: Gva,
        AccessMode: u8,
        Object: Gva<u64>,
        HandleInformation: Gva,
    ) -> Result<NTSTATUS, Fault> {
        let _ = (DesiredAccess, ObjectType, AccessMode, HandleInformation);
        cx.memory.read(Object)?;
        let Some(entry) = handles::find(cx, Handle) else { return Ok(STATUS_INVALID_HANDLE) };
        cx.reference_object(entry.object);
        cx.memory.write(Object, entry.object)?;
        Ok(STATUS_SUCCESS)
    }

    /// A handle to an object that the caller has a pointer to.
    #[page("ntifs/nf-ntifs-obopenobjectbypointer")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("access and type are not checked")]
    fn ObOpenObjectByPointer(
        cx: &mut Machine,
        Object: Gva,
        HandleAttributes: u32,
        PassedAccessState: Gva,
        DesiredAccess: u32,
        ObjectType: Gva,
        AccessMode: u8,
        Handle: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        let _ = (PassedAccessState, ObjectType, AccessMode);
        cx.memory.read(Handle)?;
        // OBJ_KERNEL_HANDLE is 0x200.
        let kernel = HandleAttributes & 0x200 != 0;
        let process: ProcessId = cx.thread().process;
        let handle = handles::open(cx, Object.raw(), DesiredAccess, process, kernel);
        cx.memory.write(Handle, handle)?;
        Ok(STATUS_SUCCESS)
    }

    /// Closes a handle.
    #[page("ntifs/nf-ntifs-zwclose")]
    #[irql(PASSIVE_LEVEL)]
    #[alias("NtClose", "ObCloseHandle")]
    #[returns(NTSTATUS)]
    fn ZwClose(cx: &mut Machine, Handle: u64) -> Flow {
        let _ = &cx;
        Flow::Become(crate::io::open::close_handle(Handle))
    }
}
