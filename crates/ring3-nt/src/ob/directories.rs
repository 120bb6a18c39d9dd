//! Directories and symbolic links by handle. Documentation: "Object Directories", ZwOpenSymbolicLinkObject.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::{Kind, handles};
use crate::Machine;
use crate::io::device::read_string;
use crate::layout::{OBJECT_ATTRIBUTES, UNICODE_STRING};
use crate::ntstatus::{
    NTSTATUS, STATUS_BUFFER_TOO_SMALL, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_HANDLE,
    STATUS_OBJECT_NAME_COLLISION, STATUS_OBJECT_NAME_EXISTS, STATUS_OBJECT_NAME_INVALID,
    STATUS_OBJECT_NAME_NOT_FOUND, STATUS_OBJECT_PATH_SYNTAX_BAD, STATUS_OBJECT_TYPE_MISMATCH,
    STATUS_SUCCESS,
};

/// `OBJ_PERMANENT`, `OBJ_OPENIF`, `OBJ_KERNEL_HANDLE` of ntdef.h.
const OBJ_PERMANENT: u32 = 0x10;
const OBJ_OPENIF: u32 = 0x80;
const OBJ_KERNEL_HANDLE: u32 = 0x200;

/// Directories that are there from the start.
const FIRST: [&str; 16] = [
    "\\",
    "\\ArcName",
    "\\BaseNamedObjects",
    "\\Callback",
    "\\Device",
    "\\Driver",
    "\\FileSystem",
    "\\FileSystem\\Filters",
    "\\GLOBAL??",
    "\\KernelObjects",
    "\\KnownDlls",
    "\\NLS",
    "\\ObjectTypes",
    "\\RPC Control",
    "\\Security",
    "\\Sessions",
];

/// Makes the directories of a fresh machine.
pub fn initialize(cx: &mut Machine) {
    for name in FIRST {
        if let Some(body) = cx.create_object(
            Kind::Directory,
            crate::layout::OBJECT_DIRECTORY::SIZE,
            name,
            0,
        ) {
            cx.set_permanent(body.raw(), true);
        }
    }
}

/// The path and the flags of an OBJECT_ATTRIBUTES; a root directory comes first.
///
/// # Errors
/// The outer error is a fault, the inner one the status that the caller gets.
pub fn path_of(
    cx: &Machine,
    attributes: Gva<OBJECT_ATTRIBUTES>,
) -> Result<Result<(String, u32), NTSTATUS>, Fault> {
    if attributes.is_null() {
        return Ok(Ok((String::new(), 0)));
    }
    let name = cx.memory.get(attributes, OBJECT_ATTRIBUTES::ObjectName)?;
    let root = cx
        .memory
        .get(attributes, OBJECT_ATTRIBUTES::RootDirectory)?
        .raw();
    let flags = cx.memory.get(attributes, OBJECT_ATTRIBUTES::Attributes)?;
    let text = read_string(cx, name)?;
    if root == 0 {
        return Ok(Ok((text, flags)));
    }
    if text.starts_with('\\') {
        return Ok(Err(STATUS_OBJECT_PATH_SYNTAX_BAD));
    }
    let Some(entry) = handles::find(cx, root) else {
        return Ok(Err(STATUS_INVALID_HANDLE));
    };
    Ok(match cx.ob.objects.get(&entry.object) {
        Some(object) if object.kind == Kind::Directory => {
            let base = object.name.trim_end_matches('\\');
            Ok((
                if text.is_empty() {
                    object.name.clone()
                } else {
                    format!("{base}\\{text}")
                },
                flags,
            ))
        }
        _ => Err(STATUS_OBJECT_TYPE_MISMATCH),
    })
}

/// A handle in the table that the attributes ask for.
fn give(
    cx: &mut Machine,
    body: u64,
    access: u32,
    flags: u32,
    handle: Gva<u64>,
) -> Result<(), Fault> {
    let process = cx.thread().space();
    let value = handles::open(cx, body, access, process, flags & OBJ_KERNEL_HANDLE != 0);
    handles::set_attributes(cx, value, flags & handles::OBJ_INHERIT);
    cx.memory.write(handle, value)
}

/// Opens an object of one kind by name; links are not followed at the end.
fn open(
    cx: &mut Machine,
    handle: Gva<u64>,
    access: u32,
    attributes: Gva<OBJECT_ATTRIBUTES>,
    wanted: fn(&Kind) -> bool,
) -> Result<NTSTATUS, Fault> {
    cx.memory.read(handle)?;
    let (path, flags) = match path_of(cx, attributes)? {
        Ok(found) => found,
        Err(status) => return Ok(status),
    };
    let Some(body) = cx.object_named(&path) else {
        return Ok(cx.why_not_found(&path));
    };
    if !cx.ob.objects.get(&body).is_some_and(|o| wanted(&o.kind)) {
        return Ok(STATUS_OBJECT_TYPE_MISMATCH);
    }
    give(cx, body, access, flags, handle)?;
    Ok(STATUS_SUCCESS)
}

/// Creates an object with a name and opens it.
fn create(
    cx: &mut Machine,
    handle: Gva<u64>,
    access: u32,
    attributes: Gva<OBJECT_ATTRIBUTES>,
    kind: Kind,
    size: u64,
) -> Result<NTSTATUS, Fault> {
    cx.memory.read(handle)?;
    let (path, flags) = match path_of(cx, attributes)? {
        Ok(found) => found,
        Err(status) => return Ok(status),
    };
    let existing = if path.is_empty() {
        None
    } else {
        cx.object_named(&path)
    };
    if let Some(body) = existing {
        let same = cx
            .ob
            .objects
            .get(&body)
            .is_some_and(|o| o.kind.type_name() == kind.type_name());
        if flags & OBJ_OPENIF == 0 || !same {
            return Ok(if same {
                STATUS_OBJECT_NAME_COLLISION
            } else {
                STATUS_OBJECT_TYPE_MISMATCH
            });
        }
        give(cx, body, access, flags, handle)?;
        return Ok(STATUS_OBJECT_NAME_EXISTS);
    }
    if !path.is_empty()
        && let Err(status) = cx.check_new_name(&path)
    {
        return Ok(status);
    }
    let descriptor = if attributes.is_null() {
        Gva::NULL
    } else {
        cx.memory
            .get(attributes, OBJECT_ATTRIBUTES::SecurityDescriptor)?
    };
    let security = crate::se::object_security::read(cx, descriptor.cast())?;
    let owner = cx.caller;
    let Some(body) = cx.create_object(kind, size, &path, owner) else {
        return Ok(STATUS_INSUFFICIENT_RESOURCES);
    };
    if let Some(bytes) = security {
        cx.se.descriptors.insert(body.raw(), bytes);
    }
    give(cx, body.raw(), access, flags, handle)?;
    let permanent = flags & OBJ_PERMANENT != 0;
    cx.set_permanent(body.raw(), permanent);
    // The handle holds the reference from now on; a permanent object keeps its first one without any.
    if !permanent {
        cx.dereference_object(body.raw());
    }
    Ok(STATUS_SUCCESS)
}

/// Routines on directories and symbolic links.
pub struct Directories;

#[exports("ntoskrnl.exe")]
impl Directories {
    /// Creates or opens an object directory.
    #[page("wdm/nf-wdm-zwcreatedirectoryobject")]
    #[irql(PASSIVE_LEVEL)]
    fn ZwCreateDirectoryObject(
        cx: &mut Machine,
        DirectoryHandle: Gva<u64>,
        DesiredAccess: u32,
        ObjectAttributes: Gva<OBJECT_ATTRIBUTES>,
    ) -> Result<NTSTATUS, Fault> {
        let size = crate::layout::OBJECT_DIRECTORY::SIZE;
        create(
            cx,
            DirectoryHandle,
            DesiredAccess,
            ObjectAttributes,
            Kind::Directory,
            size,
        )
    }

    /// Opens an object directory.
    #[page("wdm/nf-wdm-zwcreatedirectoryobject")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("access is not checked")]
    fn ZwOpenDirectoryObject(
        cx: &mut Machine,
        DirectoryHandle: Gva<u64>,
        DesiredAccess: u32,
        ObjectAttributes: Gva<OBJECT_ATTRIBUTES>,
    ) -> Result<NTSTATUS, Fault> {
        open(cx, DirectoryHandle, DesiredAccess, ObjectAttributes, |k| {
            *k == Kind::Directory
        })
    }

    /// Creates a symbolic link of the object name space.
    #[page("wdm/nf-wdm-iocreatesymboliclink")]
    #[irql(PASSIVE_LEVEL)]
    fn ZwCreateSymbolicLinkObject(
        cx: &mut Machine,
        LinkHandle: Gva<u64>,
        DesiredAccess: u32,
        ObjectAttributes: Gva<OBJECT_ATTRIBUTES>,
        LinkTarget: Gva<UNICODE_STRING>,
    ) -> Result<NTSTATUS, Fault> {
        let target = read_string(cx, LinkTarget)?;
        if target.is_empty() {
            return Ok(STATUS_OBJECT_NAME_INVALID);
        }
        let size = crate::layout::OBJECT_SYMBOLIC_LINK::SIZE;
        create(
            cx,
            LinkHandle,
            DesiredAccess,
            ObjectAttributes,
            Kind::SymbolicLink(target),
            size,
        )
    }

    /// Opens a symbolic link.
    #[page("wdm/nf-wdm-zwopensymboliclinkobject")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("access is not checked")]
    fn ZwOpenSymbolicLinkObject(
        cx: &mut Machine,
        LinkHandle: Gva<u64>,
        DesiredAccess: u32,
        ObjectAttributes: Gva<OBJECT_ATTRIBUTES>,
    ) -> Result<NTSTATUS, Fault> {
        open(cx, LinkHandle, DesiredAccess, ObjectAttributes, |k| {
            matches!(k, Kind::SymbolicLink(_))
        })
    }

    /// Where a symbolic link leads.
    #[page("wdm/nf-wdm-zwquerysymboliclinkobject")]
    #[irql(PASSIVE_LEVEL)]
    fn ZwQuerySymbolicLinkObject(
        cx: &mut Machine,
        LinkHandle: u64,
        LinkTarget: Gva<UNICODE_STRING>,
        ReturnedLength: Gva<u32>,
    ) -> Result<NTSTATUS, Fault> {
        let Some(entry) = handles::find(cx, LinkHandle) else {
            return Ok(STATUS_INVALID_HANDLE);
        };
        let Some(Kind::SymbolicLink(target)) =
            cx.ob.objects.get(&entry.object).map(|o| o.kind.clone())
        else {
            return Ok(STATUS_OBJECT_TYPE_MISMATCH);
        };
        let text: Vec<u8> = target.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let room = u64::from(cx.memory.get(LinkTarget, UNICODE_STRING::MaximumLength)?);
        let buffer = cx.memory.get(LinkTarget, UNICODE_STRING::Buffer)?;
        if !ReturnedLength.is_null() {
            cx.memory.write(ReturnedLength, text.len() as u32)?;
        }
        if text.len() as u64 > room {
            return Ok(STATUS_BUFFER_TOO_SMALL);
        }
        cx.memory.write_bytes(buffer, &text)?;
        cx.memory
            .set(LinkTarget, UNICODE_STRING::Length, text.len() as u16)?;
        Ok(STATUS_SUCCESS)
    }

    /// Lets a permanent object go when its last handle goes.
    #[page("wdm/nf-wdm-zwmaketemporaryobject")]
    #[irql(PASSIVE_LEVEL)]
    fn ZwMakeTemporaryObject(cx: &mut Machine, Handle: u64) -> NTSTATUS {
        let Some(entry) = handles::find(cx, Handle) else {
            return STATUS_INVALID_HANDLE;
        };
        if cx
            .ob
            .objects
            .get(&entry.object)
            .is_some_and(|o| o.permanent)
        {
            cx.set_permanent(entry.object, false);
            cx.dereference_object(entry.object);
        }
        STATUS_SUCCESS
    }
}

impl Machine {
    /// Why a path leads to nothing: its directory is not there, or only its last part.
    #[must_use]
    pub fn why_not_found(&self, path: &str) -> NTSTATUS {
        match self.check_new_name(path) {
            Err(STATUS_OBJECT_NAME_COLLISION) | Ok(()) => STATUS_OBJECT_NAME_NOT_FOUND,
            Err(status) => status,
        }
    }
}
