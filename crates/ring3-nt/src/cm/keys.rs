//! Registry routines. Documentation: wdm.h, "Zw" registry routines.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::io::device::read_string;
use crate::layout::{OBJECT_ATTRIBUTES, UNICODE_STRING};
use crate::machine::thread::ProcessId;
use crate::ntstatus::{
    NTSTATUS, STATUS_BUFFER_OVERFLOW, STATUS_BUFFER_TOO_SMALL, STATUS_CANNOT_DELETE, STATUS_INSUFFICIENT_RESOURCES,
    STATUS_INVALID_HANDLE, STATUS_INVALID_PARAMETER, STATUS_NO_MORE_ENTRIES, STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_OBJECT_TYPE_MISMATCH, STATUS_SUCCESS,
};
use crate::ob::{Kind, handles};

/// `OBJ_KERNEL_HANDLE`.
const OBJ_KERNEL_HANDLE: u32 = 0x200;
/// `REG_CREATED_NEW_KEY`, `REG_OPENED_EXISTING_KEY`.
const CREATED: u32 = 1;
const OPENED: u32 = 2;

/// The path and attributes of an OBJECT_ATTRIBUTES that names a key.
fn key_path(cx: &Machine, attributes: Gva<OBJECT_ATTRIBUTES>) -> Result<Result<(String, u32), NTSTATUS>, Fault> {
    let name = cx.memory.get(attributes, OBJECT_ATTRIBUTES::ObjectName)?;
    let root = cx.memory.get(attributes, OBJECT_ATTRIBUTES::RootDirectory)?.raw();
    let flags = cx.memory.get(attributes, OBJECT_ATTRIBUTES::Attributes)?;
    let text = read_string(cx, name)?;
    if root == 0 {
        return Ok(Ok((text, flags)));
    }
    let base = match path_of(cx, root) {
        Ok(base) => base,
        Err(status) => return Ok(Err(status)),
    };
    let path = if text.is_empty() { base } else { format!("{base}\\{text}") };
    Ok(Ok((path, flags)))
}

fn path_of(cx: &Machine, handle: u64) -> Result<String, NTSTATUS> {
    let entry = handles::find(cx, handle).ok_or(STATUS_INVALID_HANDLE)?;
    match cx.ob.objects.get(&entry.object).map(|o| &o.kind) {
        Some(Kind::Key(path)) => Ok(path.clone()),
        _ => Err(STATUS_OBJECT_TYPE_MISMATCH),
    }
}

fn open(cx: &mut Machine, path: &str, access: u32, flags: u32, handle: Gva<u64>) -> Result<NTSTATUS, Fault> {
    let Some(object) = cx.create_object(Kind::Key(path.to_owned()), 0x10, "", 0) else {
        return Ok(STATUS_INSUFFICIENT_RESOURCES);
    };
    let process: ProcessId = cx.thread().process;
    let value = handles::open(cx, object.raw(), access, process, flags & OBJ_KERNEL_HANDLE != 0);
    // The handle holds the only reference.
    cx.dereference_object(object.raw());
    cx.memory.write(handle, value)?;
    Ok(STATUS_SUCCESS)
}

/// Writes an answer that may not fit: all of it, the fixed part only, or nothing.
fn answer(
    cx: &mut Machine,
    bytes: &[u8],
    fixed: usize,
    buffer: Gva,
    length: u32,
    result: Gva<u32>,
) -> Result<NTSTATUS, Fault> {
    cx.memory.write(result, bytes.len() as u32)?;
    let room = length as usize;
    if room < fixed {
        return Ok(STATUS_BUFFER_TOO_SMALL);
    }
    let fits = bytes.len().min(room);
    cx.memory.write_bytes(buffer, &bytes[..fits])?;
    Ok(if fits < bytes.len() { STATUS_BUFFER_OVERFLOW } else { STATUS_SUCCESS })
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn name_bytes(name: &str) -> Vec<u8> {
    name.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A value in the form of an information class; its bytes and those of the fixed part.
fn value_information(value: &super::tree::Value, class: u32) -> Option<(Vec<u8>, usize)> {
    let name = name_bytes(&value.name);
    let data = &value.data;
    Some(match class {
        // KeyValueBasicInformation.
        0 => {
            let mut bytes = words(&[0, value.kind, name.len() as u32]);
            bytes.extend_from_slice(&name);
            (bytes, 12)
        }
        // KeyValueFullInformation: the data is aligned to 8 bytes.
        1 => {
            let offset = (20 + name.len()).next_multiple_of(8);
            let mut bytes = words(&[0, value.kind, offset as u32, data.len() as u32, name.len() as u32]);
            bytes.extend_from_slice(&name);
            bytes.resize(offset, 0);
            bytes.extend_from_slice(data);
            (bytes, 20)
        }
        // KeyValuePartialInformation.
        2 => {
            let mut bytes = words(&[0, value.kind, data.len() as u32]);
            bytes.extend_from_slice(data);
            (bytes, 12)
        }
        _ => return None,
    })
}

/// Registry routines.
pub struct Keys;

#[exports("ntoskrnl.exe")]
impl Keys {
    /// Opens a key.
    #[page("wdm/nf-wdm-zwopenkey")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("access is not checked")]
    fn ZwOpenKey(
        cx: &mut Machine,
        KeyHandle: Gva<u64>,
        DesiredAccess: u32,
        ObjectAttributes: Gva<OBJECT_ATTRIBUTES>,
    ) -> Result<NTSTATUS, Fault> {
        let (path, flags) = match key_path(cx, ObjectAttributes)? {
            Ok(found) => found,
            Err(status) => return Ok(status),
        };
        if !cx.cm.exists(&path) {
            return Ok(STATUS_OBJECT_NAME_NOT_FOUND);
        }
        open(cx, &path, DesiredAccess, flags, KeyHandle)
    }

    /// Creates or opens a key.
    #[page("wdm/nf-wdm-zwcreatekey")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("access is not checked; volatile keys are kept like others")]
    fn ZwCreateKey(
        cx: &mut Machine,
        KeyHandle: Gva<u64>,
        DesiredAccess: u32,
        ObjectAttributes: Gva<OBJECT_ATTRIBUTES>,
        TitleIndex: u32,
        Class: Gva<UNICODE_STRING>,
        CreateOptions: u32,
        Disposition: Gva<u32>,
    ) -> Result<NTSTATUS, Fault> {
        let _ = (TitleIndex, Class, CreateOptions);
        let (path, flags) = match key_path(cx, ObjectAttributes)? {
            Ok(found) => found,
            Err(status) => return Ok(status),
        };
        cx.memory.read(KeyHandle)?;
        let Some(new) = cx.cm.create(&path) else { return Ok(STATUS_OBJECT_NAME_NOT_FOUND) };
        if !Disposition.is_null() {
            cx.memory.write(Disposition, if new { CREATED } else { OPENED })?;
        }
        open(cx, &path, DesiredAccess, flags, KeyHandle)
    }

    /// Reads a value.
    #[page("wdm/nf-wdm-zwqueryvaluekey")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("information classes other than basic, full and partial")]
    fn ZwQueryValueKey(
        cx: &mut Machine,
        KeyHandle: u64,
        ValueName: Gva<UNICODE_STRING>,
        KeyValueInformationClass: u32,
        KeyValueInformation: Gva,
        Length: u32,
        ResultLength: Gva<u32>,
    ) -> Result<NTSTATUS, Fault> {
        let path = match path_of(cx, KeyHandle) {
            Ok(path) => path,
            Err(status) => return Ok(status),
        };
        let name = read_string(cx, ValueName)?;
        let Some(value) = cx.cm.value(&path, &name) else { return Ok(STATUS_OBJECT_NAME_NOT_FOUND) };
        let Some((bytes, fixed)) = value_information(value, KeyValueInformationClass) else {
            return Ok(STATUS_INVALID_PARAMETER);
        };
        answer(cx, &bytes, fixed, KeyValueInformation, Length, ResultLength)
    }

    /// Reads the n-th value of a key.
    #[page("wdm/nf-wdm-zwenumeratevaluekey")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("information classes other than basic, full and partial")]
    fn ZwEnumerateValueKey(
        cx: &mut Machine,
        KeyHandle: u64,
        Index: u32,
        KeyValueInformationClass: u32,
        KeyValueInformation: Gva,
        Length: u32,
        ResultLength: Gva<u32>,
    ) -> Result<NTSTATUS, Fault> {
        let path = match path_of(cx, KeyHandle) {
            Ok(path) => path,
            Err(status) => return Ok(status),
        };
        let value = cx.cm.key(&path).and_then(|k| k.values.values().nth(Index as usize));
        let Some(value) = value else { return Ok(STATUS_NO_MORE_ENTRIES) };
        let Some((bytes, fixed)) = value_information(value, KeyValueInformationClass) else {
            return Ok(STATUS_INVALID_PARAMETER);
        };
        answer(cx, &bytes, fixed, KeyValueInformation, Length, ResultLength)
    }

    /// Reads the name of the n-th key below one.
    #[page("wdm/nf-wdm-zwenumeratekey")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("information classes other than basic")]
    fn ZwEnumerateKey(
        cx: &mut Machine,
        KeyHandle: u64,
        Index: u32,
        KeyInformationClass: u32,
        KeyInformation: Gva,
        Length: u32,
        ResultLength: Gva<u32>,
    ) -> Result<NTSTATUS, Fault> {
        let path = match path_of(cx, KeyHandle) {
            Ok(path) => path,
            Err(status) => return Ok(status),
        };
        if KeyInformationClass != 0 {
            return Ok(STATUS_INVALID_PARAMETER);
        }
        let children = cx.cm.children(&path);
        let Some(name) = children.get(Index as usize) else { return Ok(STATUS_NO_MORE_ENTRIES) };
        // KEY_BASIC_INFORMATION: last write time, title index, name length, name.
        let name = name_bytes(name);
        let mut bytes = vec![0u8; 8];
        bytes.extend(words(&[0, name.len() as u32]));
        bytes.extend_from_slice(&name);
        answer(cx, &bytes, 16, KeyInformation, Length, ResultLength)
    }

    /// Writes a value.
    #[page("wdm/nf-wdm-zwsetvaluekey")]
    #[irql(PASSIVE_LEVEL)]
    fn ZwSetValueKey(
        cx: &mut Machine,
        KeyHandle: u64,
        ValueName: Gva<UNICODE_STRING>,
        TitleIndex: u32,
        Type: u32,
        Data: Gva,
        DataSize: u32,
    ) -> Result<NTSTATUS, Fault> {
        let _ = TitleIndex;
        let path = match path_of(cx, KeyHandle) {
            Ok(path) => path,
            Err(status) => return Ok(status),
        };
        let name = read_string(cx, ValueName)?;
        let data = cx.memory.read_vec(Data, u64::from(DataSize))?;
        cx.cm.set(&path, &name, Type, data);
        Ok(STATUS_SUCCESS)
    }

    /// Deletes a value.
    #[page("wdm/nf-wdm-zwdeletevaluekey")]
    #[irql(PASSIVE_LEVEL)]
    fn ZwDeleteValueKey(cx: &mut Machine, KeyHandle: u64, ValueName: Gva<UNICODE_STRING>) -> Result<NTSTATUS, Fault> {
        let path = match path_of(cx, KeyHandle) {
            Ok(path) => path,
            Err(status) => return Ok(status),
        };
        let name = read_string(cx, ValueName)?;
        Ok(if cx.cm.delete_value(&path, &name) { STATUS_SUCCESS } else { STATUS_OBJECT_NAME_NOT_FOUND })
    }

    /// Deletes a key.
    #[page("wdm/nf-wdm-zwdeletekey")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("the key goes at once, not with its last handle")]
    fn ZwDeleteKey(cx: &mut Machine, KeyHandle: u64) -> NTSTATUS {
        match path_of(cx, KeyHandle) {
            Ok(path) if cx.cm.delete(&path) => STATUS_SUCCESS,
            Ok(_) => STATUS_CANNOT_DELETE,
            Err(status) => status,
        }
    }

    /// Writes a key to disk: there is none, all is kept.
    #[page("wdm/nf-wdm-zwflushkey")]
    #[irql(PASSIVE_LEVEL)]
    fn ZwFlushKey(cx: &mut Machine, KeyHandle: u64) -> NTSTATUS {
        path_of(cx, KeyHandle).map_or_else(|status| status, |_| STATUS_SUCCESS)
    }
}
