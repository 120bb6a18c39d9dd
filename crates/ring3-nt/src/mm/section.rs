//! Sections and views: memory without a file behind it, and the section of all physical memory,
//! `\Device\PhysicalMemory`. Documentation: wdm.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gpa, Gva, PageFlags};

use super::locked::release_frame;
use super::space::PAGE;
use super::virtual_memory::{self, GRANULARITY};
use crate::Machine;
use crate::flow::Flow;
use crate::io::device::read_string;
use crate::layout::OBJECT_ATTRIBUTES;
use crate::machine::thread::ProcessId;
use crate::ntstatus::{
    NTSTATUS, STATUS_CONFLICTING_ADDRESSES, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_HANDLE,
    STATUS_INVALID_PAGE_PROTECTION, STATUS_INVALID_PARAMETER, STATUS_INVALID_PARAMETER_4,
    STATUS_INVALID_PARAMETER_6, STATUS_INVALID_PARAMETER_8, STATUS_INVALID_VIEW_SIZE,
    STATUS_MAPPED_ALIGNMENT, STATUS_NOT_MAPPED_VIEW, STATUS_OBJECT_NAME_COLLISION,
    STATUS_OBJECT_NAME_NOT_FOUND, STATUS_OBJECT_TYPE_MISMATCH, STATUS_SECTION_PROTECTION,
    STATUS_SUCCESS,
};
use crate::ob::{Kind, handles};

/// The name of the section of all physical memory.
const PHYSICAL_MEMORY: &str = "\\Device\\PhysicalMemory";

/// A mapped view.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct View {
    /// Pages.
    pub pages: u64,
    /// Protection.
    pub protect: u32,
    /// The section's object, which the view keeps; 0 for physical memory.
    pub object: u64,
    /// Who mapped it: a return address.
    pub owner: u64,
}

/// A section that no file stands behind.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct Section {
    /// Bytes, as asked for.
    pub size: u64,
    /// Its frames, by number.
    pub frames: Vec<u64>,
    /// The protection it was made with.
    pub protect: u32,
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
    // Copy on write is plain writing here, of one process.
    match value & 0xff {
        8 => virtual_memory::page_flags(4),
        0x80 => virtual_memory::page_flags(0x40),
        other => virtual_memory::page_flags(other),
    }
}

/// Whether a view may have this protection if the section has that: no view allows more.
const fn allows(section: u32, view: u32) -> bool {
    let write = matches!(section & 0xff, 4 | 0x40);
    let execute = section & 0xf0 != 0;
    (write || !matches!(view & 0xff, 4 | 0x40)) && (execute || view & 0xf0 == 0)
}

/// A section's object has gone: so do its pages.
pub fn object_deleted(cx: &mut Machine, object: u64) {
    if let Some(section) = cx.mm.sections.remove(&object) {
        for frame in section.frames {
            release_frame(cx, Gpa(frame * PAGE));
        }
    }
}

/// Takes the views out of a process that ends.
pub fn unmap_all(cx: &mut Machine, process: ProcessId) {
    let views: Vec<u64> = cx
        .mm
        .views
        .range((process, 0)..=(process, u64::MAX))
        .map(|((_, at), _)| *at)
        .collect();
    for at in views {
        unmap_view(cx, process, at);
    }
}

/// Takes a view out of a process. False if there is none.
fn unmap_view(cx: &mut Machine, process: ProcessId, at: u64) -> bool {
    let Some(view) = cx.mm.views.remove(&(process, at)) else {
        return false;
    };
    let cr3 = cx.processes.get(&process).map_or(0, |p| p.cr3);
    for i in 0..view.pages {
        cx.memory.unmap(cr3, at + i * PAGE);
    }
    if view.object != 0 {
        cx.dereference_object(view.object);
    }
    true
}

/// What a view is to show: frames and the offset that was really used.
type Shown = (Vec<Gpa>, u64);

/// The frames of a part of a section. `size` 0 means up to its end.
fn frames_of(cx: &Machine, object: u64, offset: u64, size: u64) -> Result<Shown, NTSTATUS> {
    let Some(section) = cx.mm.sections.get(&object) else {
        // Physical memory: by page.
        let first = offset & !(PAGE - 1);
        let pages = (offset - first).saturating_add(size).div_ceil(PAGE);
        if size == 0 || pages > 1 << 20 {
            return Err(STATUS_INVALID_PARAMETER);
        }
        return Ok(((0..pages).map(|i| Gpa(first + i * PAGE)).collect(), first));
    };
    if !offset.is_multiple_of(GRANULARITY) {
        return Err(STATUS_MAPPED_ALIGNMENT);
    }
    let total = section.frames.len() as u64 * PAGE;
    let end = if size == 0 {
        total
    } else {
        offset.saturating_add(size)
    };
    if offset >= total || end > total {
        return Err(STATUS_INVALID_VIEW_SIZE);
    }
    let frames = section
        .frames
        .iter()
        .skip((offset / PAGE) as usize)
        .take((end - offset).div_ceil(PAGE) as usize);
    Ok((frames.map(|f| Gpa(f * PAGE)).collect(), offset))
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

    /// Creates a section; without a file it is memory that can be mapped more than once.
    #[page("wdm/nf-wdm-zwcreatesection")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial("sections of files and images are not modelled; all pages are committed at once")]
    fn ZwCreateSection(
        cx: &mut Machine,
        SectionHandle: Gva<u64>,
        DesiredAccess: u32,
        ObjectAttributes: Gva<OBJECT_ATTRIBUTES>,
        MaximumSize: Gva<u64>,
        SectionPageProtection: u32,
        AllocationAttributes: u32,
        FileHandle: u64,
    ) -> Result<Flow, Fault> {
        let status = |s: NTSTATUS| Ok(Flow::Return(u64::from(s.0)));
        cx.memory.read(SectionHandle)?;
        if FileHandle != 0 {
            return Ok(Flow::NotModelled("ZwCreateSection of a file".into()));
        }
        let mut path = String::new();
        let mut flags = 0;
        if !ObjectAttributes.is_null() {
            (path, flags) = match crate::ob::directories::path_of(cx, ObjectAttributes)? {
                Ok(found) => found,
                Err(failed) => return status(failed),
            };
        }
        // Exactly one of SEC_RESERVE 04000000h and SEC_COMMIT 08000000h.
        if !matches!(
            AllocationAttributes & 0x0c00_0000,
            0x0400_0000 | 0x0800_0000
        ) {
            return status(STATUS_INVALID_PARAMETER_6);
        }
        if protection(SectionPageProtection).is_none() {
            return status(STATUS_INVALID_PAGE_PROTECTION);
        }
        if MaximumSize.is_null() {
            return status(STATUS_INVALID_PARAMETER_4);
        }
        let size = cx.memory.read(MaximumSize)?;
        let pages = size.div_ceil(PAGE);
        if pages == 0 {
            return status(STATUS_INVALID_PARAMETER_4);
        }
        if pages > cx.memory.free_frames() as u64 / 2 {
            return status(STATUS_INSUFFICIENT_RESOURCES);
        }
        if !path.is_empty() && cx.lookup_path(&path).is_some() {
            return status(STATUS_OBJECT_NAME_COLLISION);
        }
        let frames: Vec<u64> = (0..pages)
            .filter_map(|_| cx.memory.alloc_frame())
            .map(|f| f.0 / PAGE)
            .collect();
        let owner = cx.caller;
        let made = cx.create_object(Kind::Section(String::new()), 0x40, &path, owner);
        let Some(object) = made.map(|o| o.raw()) else {
            return status(STATUS_INSUFFICIENT_RESOURCES);
        };
        let section = Section {
            size,
            frames,
            protect: SectionPageProtection,
        };
        cx.mm.sections.insert(object, section);
        let process: ProcessId = cx.thread().process;
        // OBJ_KERNEL_HANDLE is 0x200.
        let handle = handles::open(cx, object, DesiredAccess, process, flags & 0x200 != 0);
        // The handle keeps it from now on.
        cx.dereference_object(object);
        cx.memory.write(SectionHandle, handle)?;
        status(STATUS_SUCCESS)
    }

    /// Maps a view of a section into a process.
    #[page("wdm/nf-wdm-zwmapviewofsection")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial(
        "ZeroBits, CommitSize and InheritDisposition; views of physical memory start at page granularity"
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
        let _ = (ZeroBits, CommitSize, AllocationType);
        let status = |s: NTSTATUS| Ok(Flow::Return(u64::from(s.0)));
        let wanted = cx.memory.read(BaseAddress)?;
        let size = cx.memory.read(ViewSize)?;
        let offset = if SectionOffset.is_null() {
            0
        } else {
            cx.memory.read(SectionOffset)?
        };
        // ViewShare 1, ViewUnmap 2.
        if InheritDisposition != 1 && InheritDisposition != 2 {
            return status(STATUS_INVALID_PARAMETER_8);
        }
        let Some(flags) = protection(Win32Protect) else {
            return status(STATUS_INVALID_PAGE_PROTECTION);
        };
        let space = match virtual_memory::process_of(cx, ProcessHandle) {
            Ok(process) => process,
            Err(failed) => return status(failed),
        };
        let Some(entry) = handles::find(cx, SectionHandle) else {
            return status(STATUS_INVALID_HANDLE);
        };
        let object = entry.object;
        if !matches!(
            cx.ob.objects.get(&object).map(|o| &o.kind),
            Some(Kind::Section(_))
        ) {
            return status(STATUS_OBJECT_TYPE_MISMATCH);
        }
        if let Some(section) = cx.mm.sections.get(&object)
            && !allows(section.protect, Win32Protect)
        {
            return status(STATUS_SECTION_PROTECTION);
        }
        let (frames, used) = match frames_of(cx, object, offset, size) {
            Ok(shown) => shown,
            Err(failed) => return status(failed),
        };
        let pages = frames.len() as u64;
        let at = if wanted == 0 {
            virtual_memory::find_free(cx, space, pages)
        } else if wanted % GRANULARITY != 0 {
            return status(STATUS_MAPPED_ALIGNMENT);
        } else {
            Some(wanted).filter(|at| virtual_memory::is_free(cx, space, *at, pages))
        };
        let Some(at) = at else {
            return status(STATUS_CONFLICTING_ADDRESSES);
        };
        let cr3 = cx.processes.get(&space).map_or(0, |p| p.cr3);
        for (frame, i) in frames.into_iter().zip(0..) {
            if cx.memory.map(cr3, at + i * PAGE, frame, flags).is_err() {
                for done in 0..i {
                    cx.memory.unmap(cr3, at + done * PAGE);
                }
                return status(STATUS_INSUFFICIENT_RESOURCES);
            }
        }
        let kept = cx.mm.sections.contains_key(&object);
        if kept {
            cx.reference_object(object);
        }
        let view = View {
            pages,
            protect: Win32Protect,
            object: if kept { object } else { 0 },
            owner: cx.caller,
        };
        cx.mm.views.insert((space, at), view);
        if !SectionOffset.is_null() {
            cx.memory.write(SectionOffset, used)?;
        }
        cx.memory.write(ViewSize, pages * PAGE)?;
        cx.memory.write(BaseAddress, at)?;
        status(STATUS_SUCCESS)
    }

    /// Unmaps a view; any address in it will do.
    #[page("wdm/nf-wdm-zwunmapviewofsection")]
    #[irql(PASSIVE_LEVEL)]
    fn ZwUnmapViewOfSection(cx: &mut Machine, ProcessHandle: u64, BaseAddress: Gva) -> NTSTATUS {
        let space = match virtual_memory::process_of(cx, ProcessHandle) {
            Ok(process) => process,
            Err(status) => return status,
        };
        let address = BaseAddress.raw();
        let found = cx
            .mm
            .views
            .range((space, 0)..=(space, address))
            .next_back()
            .filter(|((_, at), view)| address - at < view.pages * PAGE)
            .map(|((_, at), _)| *at);
        match found {
            Some(at) if unmap_view(cx, space, at) => STATUS_SUCCESS,
            _ => STATUS_NOT_MAPPED_VIEW,
        }
    }
}
