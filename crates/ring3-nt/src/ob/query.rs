//! Names of objects, and objects by name. Documentation: ntifs.h, "ObQueryNameString".

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::{Kind, handles};
use crate::Machine;
use crate::export::show;
use crate::io::device::read_string;
use crate::layout::{
    FILE_OBJECT, OBJECT_ATTRIBUTES, OBJECT_NAME_INFORMATION, OBJECT_TYPE, UNICODE_STRING,
};
use crate::machine::thread::ProcessId;
use crate::ntstatus::{
    NTSTATUS, STATUS_INFO_LENGTH_MISMATCH, STATUS_OBJECT_TYPE_MISMATCH, STATUS_SUCCESS,
};

/// `OBJ_KERNEL_HANDLE` of ntdef.h.
const OBJ_KERNEL_HANDLE: u32 = 0x200;

impl Machine {
    /// The full name of an object; for a file that of its device with the file's own behind it.
    #[must_use]
    pub fn name_of_object(&self, body: u64) -> String {
        let Some(object) = self.ob.objects.get(&body) else {
            return String::new();
        };
        match &object.kind {
            Kind::File => {
                let file = Gva::<FILE_OBJECT>::new(body);
                let device = self
                    .memory
                    .peek(file.at(FILE_OBJECT::DeviceObject))
                    .unwrap_or(Gva::NULL);
                let base = self
                    .ob
                    .objects
                    .get(&device.raw())
                    .map_or("", |o| o.name.as_str());
                let rest = show::unicode_text(self, file.at(FILE_OBJECT::FileName).raw())
                    .unwrap_or_default();
                format!("{base}{rest}")
            }
            Kind::Key(path) => path.clone(),
            _ => object.name.clone(),
        }
    }
}

/// An object by name, of a type if one is given.
fn named(cx: &mut Machine, path: &str, wanted: Gva<OBJECT_TYPE>) -> Result<u64, NTSTATUS> {
    // A symbolic link is found as itself only by its own type.
    let body = if wanted == cx.object_type("SymbolicLink") {
        cx.object_named(path)
    } else {
        cx.lookup_path(path)
            .filter(|f| f.rest.is_empty())
            .map(|f| f.body)
    };
    let Some(body) = body else {
        return Err(cx.why_not_found(path));
    };
    if !wanted.is_null() && wanted != cx.type_of_object(body) {
        return Err(STATUS_OBJECT_TYPE_MISMATCH);
    }
    Ok(body)
}

/// Writes the name of an object as OBJECT_NAME_INFORMATION.
///
/// # Errors
/// A fault if it cannot be written.
pub(super) fn name(
    cx: &mut Machine,
    object: u64,
    information: Gva<OBJECT_NAME_INFORMATION>,
    length: u32,
    needed: Gva<u32>,
) -> Result<NTSTATUS, Fault> {
    let name = cx.name_of_object(object);
    let text: Vec<u8> = name
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect();
    let characters = (text.len() - 2) as u16;
    let need = OBJECT_NAME_INFORMATION::SIZE as u32
        + if name.is_empty() {
            0
        } else {
            text.len() as u32
        };
    if !needed.is_null() {
        cx.memory.write(needed, need)?;
    }
    if length < need {
        return Ok(STATUS_INFO_LENGTH_MISMATCH);
    }
    let string = information.at(OBJECT_NAME_INFORMATION::Name);
    let place = information
        .cast::<u8>()
        .byte_add(OBJECT_NAME_INFORMATION::SIZE);
    let m = &mut cx.memory;
    if name.is_empty() {
        m.set(string, UNICODE_STRING::Length, 0)?;
        m.set(string, UNICODE_STRING::MaximumLength, 0)?;
        m.set(string, UNICODE_STRING::Buffer, Gva::NULL)?;
        return Ok(STATUS_SUCCESS);
    }
    m.write_bytes(place, &text)?;
    m.set(string, UNICODE_STRING::Length, characters)?;
    m.set(string, UNICODE_STRING::MaximumLength, characters + 2)?;
    m.set(string, UNICODE_STRING::Buffer, place.cast())?;
    Ok(STATUS_SUCCESS)
}

/// Routines on names.
pub struct ObjectNames;

#[exports("ntoskrnl.exe")]
impl ObjectNames {
    /// The name of an object.
    #[page("ntifs/nf-ntifs-obquerynamestring")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("a file system is not asked for the name of its file")]
    fn ObQueryNameString(
        cx: &mut Machine,
        Object: Gva,
        ObjectNameInfo: Gva<OBJECT_NAME_INFORMATION>,
        Length: u32,
        ReturnLength: Gva<u32>,
    ) -> Result<NTSTATUS, Fault> {
        name(cx, Object.raw(), ObjectNameInfo, Length, ReturnLength)
    }

    /// The object of a name, with a reference.
    #[page("ntifs/nf-ntifs-obreferenceobjectbypointer")]
    #[irql(PASSIVE_LEVEL)]
    #[assumed("undocumented; the parameters are those that drivers in the field pass")]
    fn ObReferenceObjectByName(
        cx: &mut Machine,
        ObjectName: Gva<UNICODE_STRING>,
        Attributes: u32,
        AccessState: Gva,
        DesiredAccess: u32,
        ObjectType: Gva<OBJECT_TYPE>,
        AccessMode: u8,
        ParseContext: Gva,
        Object: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        let _ = (
            Attributes,
            AccessState,
            DesiredAccess,
            AccessMode,
            ParseContext,
        );
        let path = read_string(cx, ObjectName)?;
        cx.memory.read(Object)?;
        match named(cx, &path, ObjectType) {
            Ok(body) => {
                cx.reference_object(body);
                cx.memory.write(Object, body)?;
                Ok(STATUS_SUCCESS)
            }
            Err(status) => {
                cx.memory.write(Object, 0)?;
                Ok(status)
            }
        }
    }

    /// A handle to the object of a name.
    #[page("ntifs/nf-ntifs-obopenobjectbypointer")]
    #[irql(PASSIVE_LEVEL)]
    #[assumed("undocumented; the parameters are those that drivers in the field pass")]
    fn ObOpenObjectByName(
        cx: &mut Machine,
        ObjectAttributes: Gva<OBJECT_ATTRIBUTES>,
        ObjectType: Gva<OBJECT_TYPE>,
        AccessMode: u8,
        AccessState: Gva,
        DesiredAccess: u32,
        ParseContext: Gva,
        Handle: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        let _ = (AccessMode, AccessState, ParseContext);
        cx.memory.read(Handle)?;
        let (path, flags) = match super::directories::path_of(cx, ObjectAttributes)? {
            Ok(found) => found,
            Err(status) => return Ok(status),
        };
        match named(cx, &path, ObjectType) {
            Ok(body) => {
                let process: ProcessId = cx.thread().space();
                let handle = handles::open(
                    cx,
                    body,
                    DesiredAccess,
                    process,
                    flags & OBJ_KERNEL_HANDLE != 0,
                );
                cx.memory.write(Handle, handle)?;
                Ok(STATUS_SUCCESS)
            }
            Err(status) => Ok(status),
        }
    }

    /// The type of an object.
    #[page("ntifs/nf-ntifs-obreferenceobjectbypointer")]
    #[irql(any)]
    #[assumed("undocumented")]
    fn ObGetObjectType(cx: &mut Machine, Object: Gva) -> Gva<OBJECT_TYPE> {
        cx.type_of_object(Object.raw())
    }
}
