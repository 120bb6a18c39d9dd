//! Views of physical memory: the section `\Device\PhysicalMemory`. Documentation: wdm.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gpa, Gva, PageFlags};

use super::space::{PAGE, data};
use crate::Machine;
use crate::flow::Flow;
use crate::io::device::read_string;
use crate::layout::OBJECT_ATTRIBUTES;
use crate::machine::thread::ProcessId;
use crate::ntstatus::{
    NTSTATUS, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_HANDLE, STATUS_INVALID_PAGE_PROTECTION,
    STATUS_INVALID_PARAMETER, STATUS_NOT_MAPPED_VIEW, STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_OBJECT_TYPE_MISMATCH, STATUS_SUCCESS,
};
use crate::ob::{Kind, handles};

/// The name of the section of all physical memory.
const PHYSICAL_MEMORY: &str = "\\Device\\PhysicalMemory";
/// First address of views in a process's user half.
const FIRST_VIEW: u64 = 0x0000_0200_0000_0000;

/// A mapped view.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct View {
    /// Pages.
    pub pages: u64,
    /// Who mapped it: a return address.
    pub owner: u64,
}

/// Makes the section a named object of a fresh machine.
pub fn initialize(cx: &mut Machine) {
    let _ = cx.create_object(
        Kind::Section(PHYSICAL_MEMORY.to_owned()),
        0x40,
        PHYSICAL_MEMORY,
        0,
    );
}

/// The pages of a protection; `None` for what is no protection.
fn protection(value: u32) -> Option<PageFlags> {
    // PAGE_NOACCESS 1, READONLY 2, READWRITE 4, WRITECOPY 8, EXECUTE 10h..80h, GUARD, NOCACHE, WRITECOMBINE.
    let base = (data() | PageFlags::USER) - PageFlags::GLOBAL;
    Some(match value & 0xff {
        2 => base - PageFlags::WRITE,
        4 | 8 => base,
        0x10 | 0x20 => (base - PageFlags::WRITE) - PageFlags::NX,
        0x40 | 0x80 => base - PageFlags::NX,
        _ => return None,
    })
}

/// Routines on sections.
pub struct Sections;

#[exports("ntoskrnl.exe")]
impl Sections {
    /// Opens a section.
    #[page("wdm/nf-wdm-zwopensection")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("access is not checked")]
    fn ZwOpenSection(
        cx: &mut Machine,
        SectionHandle: Gva<u64>,
        DesiredAccess: u32,
        ObjectAttributes: Gva<OBJECT_ATTRIBUTES>,
    ) -> Result<NTSTATUS, Fault> {
        let name = cx
            .memory
            .get(ObjectAttributes, OBJECT_ATTRIBUTES::ObjectName)?;
        let flags = cx
            .memory
            .get(ObjectAttributes, OBJECT_ATTRIBUTES::Attributes)?;
        let path = read_string(cx, name)?;
        cx.memory.read(SectionHandle)?;
        let Some(found) = cx.lookup_path(&path) else {
            return Ok(STATUS_OBJECT_NAME_NOT_FOUND);
        };
        if !matches!(
            cx.ob.objects.get(&found.body).map(|o| &o.kind),
            Some(Kind::Section(_))
        ) {
            return Ok(STATUS_OBJECT_TYPE_MISMATCH);
        }
        let process: ProcessId = cx.thread().process;
        // OBJ_KERNEL_HANDLE is 0x200.
        let handle = handles::open(cx, found.body, DesiredAccess, process, flags & 0x200 != 0);
        cx.memory.write(SectionHandle, handle)?;
        Ok(STATUS_SUCCESS)
    }

    /// Maps a view of a section into the current process.
    #[page("wdm/nf-wdm-zwmapviewofsection")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[assumed(
        "views of physical memory start at page granularity; only they, the current process and a base chosen by the system are modelled"
    )]
    fn ZwMapViewOfSection(
        cx: &mut Machine,
        SectionHandle: u64,
        ProcessHandle: u64,
        BaseAddress: Gva<u64>,
        ZeroBits: u64,
        CommitSize: u64,
        SectionOffset: Gva<u64>,
        ViewSize: Gva<u64>,
        InheritDisposition: u32,
        AllocationType: u32,
        Win32Protect: u32,
    ) -> Result<Flow, Fault> {
        let _ = (ZeroBits, CommitSize, InheritDisposition, AllocationType);
        let status = |s: NTSTATUS| Ok(Flow::Return(u64::from(s.0)));
        let Some(entry) = handles::find(cx, SectionHandle) else {
            return status(STATUS_INVALID_HANDLE);
        };
        match cx.ob.objects.get(&entry.object).map(|o| &o.kind) {
            Some(Kind::Section(name)) if name == PHYSICAL_MEMORY => {}
            _ => return status(STATUS_OBJECT_TYPE_MISMATCH),
        }
        // ZwCurrentProcess() is -1.
        if ProcessHandle != u64::MAX {
            return Ok(Flow::NotModelled(
                "ZwMapViewOfSection into another process".into(),
            ));
        }
        if cx.memory.read(BaseAddress)? != 0 {
            return Ok(Flow::NotModelled(
                "ZwMapViewOfSection at a chosen address".into(),
            ));
        }
        let offset = if SectionOffset.is_null() {
            0
        } else {
            cx.memory.read(SectionOffset)?
        };
        let size = cx.memory.read(ViewSize)?;
        let Some(flags) = protection(Win32Protect) else {
            return status(STATUS_INVALID_PAGE_PROTECTION);
        };
        let first = offset & !(PAGE - 1);
        let pages = (offset - first).saturating_add(size).div_ceil(PAGE);
        if size == 0 || pages > 1 << 20 {
            return status(STATUS_INVALID_PARAMETER);
        }
        let space = cx.thread().space();
        let cr3 = cx.memory.context().cr3;
        let mut at = FIRST_VIEW;
        for ((owner, start), view) in &cx.mm.views {
            if *owner == space {
                at = at.max(start + (view.pages + 1) * PAGE);
            }
        }
        for i in 0..pages {
            if cx
                .memory
                .map(cr3, at + i * PAGE, Gpa(first + i * PAGE), flags)
                .is_err()
            {
                return status(STATUS_INSUFFICIENT_RESOURCES);
            }
        }
        let owner = cx.caller;
        cx.mm.views.insert((space, at), View { pages, owner });
        if !SectionOffset.is_null() {
            cx.memory.write(SectionOffset, first)?;
        }
        cx.memory.write(ViewSize, pages * PAGE)?;
        cx.memory.write(BaseAddress, at)?;
        status(STATUS_SUCCESS)
    }

    /// Unmaps a view.
    #[page("wdm/nf-wdm-zwunmapviewofsection")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial("other processes than the current one")]
    fn ZwUnmapViewOfSection(cx: &mut Machine, ProcessHandle: u64, BaseAddress: Gva) -> Flow {
        if ProcessHandle != u64::MAX {
            return Flow::NotModelled("ZwUnmapViewOfSection in another process".into());
        }
        let space = cx.thread().space();
        let at = BaseAddress.raw() & !(PAGE - 1);
        let Some(view) = cx.mm.views.remove(&(space, at)) else {
            return Flow::Return(u64::from(STATUS_NOT_MAPPED_VIEW.0));
        };
        let cr3 = cx.memory.context().cr3;
        for i in 0..view.pages {
            cx.memory.unmap(cr3, at + i * PAGE);
        }
        Flow::Return(u64::from(STATUS_SUCCESS.0))
    }
}
