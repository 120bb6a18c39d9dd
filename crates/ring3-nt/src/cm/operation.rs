//! What a driver can ask of the registry, as values: so that callbacks see an operation before and
//! after it is performed.

use ring3_memory::{Fault, Gva};

use super::tree::{LINK_VALUE, REG_LINK, canonical, fold};
use super::{information, notify};
use crate::Machine;
use crate::io::device::read_string;
use crate::layout::{OBJECT_ATTRIBUTES, UNICODE_STRING};
use crate::machine::thread::ProcessId;
use crate::ntstatus::{
    NTSTATUS, STATUS_ACCESS_DENIED, STATUS_CANNOT_DELETE, STATUS_CHILD_MUST_BE_VOLATILE,
    STATUS_INFO_LENGTH_MISMATCH, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_HANDLE,
    STATUS_INVALID_INFO_CLASS, STATUS_INVALID_PARAMETER, STATUS_KEY_DELETED,
    STATUS_NO_MORE_ENTRIES, STATUS_OBJECT_NAME_COLLISION, STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_OBJECT_PATH_SYNTAX_BAD, STATUS_OBJECT_TYPE_MISMATCH, STATUS_SUCCESS,
};
use crate::ob::{Kind, handles};

/// `OBJ_KERNEL_HANDLE`.
const OBJ_KERNEL_HANDLE: u32 = 0x200;
/// `OBJ_OPENLINK`.
const OBJ_OPENLINK: u32 = 0x100;
/// `REG_OPTION_VOLATILE`, `REG_OPTION_CREATE_LINK`, `REG_OPTION_OPEN_LINK`.
const VOLATILE: u32 = 1;
const CREATE_LINK: u32 = 2;
/// `REG_OPTION_OPEN_LINK`.
pub const OPEN_LINK: u32 = 8;
/// Longest name of a key, in characters ("Registry Element Size Limits").
const LONGEST_NAME: usize = 256;
/// `REG_CREATED_NEW_KEY`, `REG_OPENED_EXISTING_KEY`.
const CREATED: u32 = 1;
const OPENED: u32 = 2;

/// A buffer for an answer.
#[derive(Clone, Copy, Hash, Debug)]
pub struct Buffer {
    /// The information class.
    pub class: u32,
    /// Where.
    pub at: Gva,
    /// How long.
    pub length: u32,
    /// Where the needed length goes.
    pub needed: Gva<u32>,
}

/// What a key to be opened or created is called.
#[derive(Clone, Hash, Debug)]
pub struct Name {
    /// The full path.
    pub path: String,
    /// `Attributes` of the OBJECT_ATTRIBUTES.
    pub flags: u32,
    /// The string that the caller gave.
    pub given: Gva<UNICODE_STRING>,
    /// The object of the root handle; 0 for none.
    pub root: u64,
    /// Access that is asked for.
    pub access: u32,
    /// Where the handle goes.
    pub handle: Gva<u64>,
    /// Whether a symbolic link at the end is opened itself.
    pub open_link: bool,
}

/// A key behind a handle.
#[derive(Clone, Hash, Debug)]
pub struct Target {
    /// The key object.
    pub object: u64,
    /// Its path.
    pub path: String,
}

/// An operation.
#[derive(Clone, Hash, Debug)]
pub enum Operation {
    /// ZwOpenKey.
    Open(Name),
    /// ZwCreateKey: class, options, where the disposition goes.
    Create(Name, Gva<UNICODE_STRING>, u32, Gva<u32>),
    /// ZwDeleteKey.
    DeleteKey(Target),
    /// ZwSetValueKey: name, type, data, size.
    SetValue(Target, Gva<UNICODE_STRING>, u32, Gva, u32),
    /// ZwDeleteValueKey.
    DeleteValue(Target, Gva<UNICODE_STRING>),
    /// ZwQueryKey.
    QueryKey(Target, Buffer),
    /// ZwQueryValueKey.
    QueryValue(Target, Gva<UNICODE_STRING>, Buffer),
    /// ZwEnumerateKey.
    EnumerateKey(Target, u32, Buffer),
    /// ZwEnumerateValueKey.
    EnumerateValue(Target, u32, Buffer),
    /// ZwRenameKey: the new name.
    Rename(Target, Gva<UNICODE_STRING>),
    /// ZwSetInformationKey: class, data, size.
    SetInformation(Target, u32, Gva, u32),
    /// ZwFlushKey.
    Flush(Target),
}

impl Operation {
    /// The key that it works on; none for those that open one.
    #[must_use]
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::Open(_) | Self::Create(..) => None,
            Self::DeleteKey(t)
            | Self::SetValue(t, ..)
            | Self::DeleteValue(t, ..)
            | Self::QueryKey(t, ..)
            | Self::QueryValue(t, ..)
            | Self::EnumerateKey(t, ..)
            | Self::EnumerateValue(t, ..)
            | Self::Rename(t, ..)
            | Self::SetInformation(t, ..)
            | Self::Flush(t) => Some(t),
        }
    }
}

/// The key that a handle means.
///
/// # Errors
/// The status that the routine returns.
pub fn target(cx: &Machine, handle: u64) -> Result<Target, NTSTATUS> {
    let entry = handles::find(cx, handle).ok_or(STATUS_INVALID_HANDLE)?;
    let Some(Kind::Key(path)) = cx.ob.objects.get(&entry.object).map(|o| &o.kind) else {
        return Err(STATUS_OBJECT_TYPE_MISMATCH);
    };
    if !cx.cm.exists(path) {
        return Err(STATUS_KEY_DELETED);
    }
    Ok(Target {
        object: entry.object,
        path: path.clone(),
    })
}

/// What an OBJECT_ATTRIBUTES names.
///
/// # Errors
/// A fault if it cannot be read; inside, the status that the routine returns.
pub fn name(
    cx: &Machine,
    attributes: Gva<OBJECT_ATTRIBUTES>,
    access: u32,
    handle: Gva<u64>,
) -> Result<Result<Name, NTSTATUS>, Fault> {
    let given = cx.memory.get(attributes, OBJECT_ATTRIBUTES::ObjectName)?;
    let root = cx
        .memory
        .get(attributes, OBJECT_ATTRIBUTES::RootDirectory)?
        .raw();
    let flags = cx.memory.get(attributes, OBJECT_ATTRIBUTES::Attributes)?;
    cx.memory.read(handle)?;
    let text = read_string(cx, given)?;
    let named = |path: String, root: u64| {
        Ok(Ok(Name {
            path,
            flags,
            given,
            root,
            access,
            handle,
            open_link: flags & OBJ_OPENLINK != 0,
        }))
    };
    if root == 0 {
        return match text.starts_with('\\') {
            true => named(text, 0),
            false => Ok(Err(STATUS_OBJECT_PATH_SYNTAX_BAD)),
        };
    }
    let base = match target(cx, root) {
        Ok(base) => base,
        Err(status) => return Ok(Err(status)),
    };
    if text.starts_with('\\') {
        return Ok(Err(STATUS_OBJECT_PATH_SYNTAX_BAD));
    }
    let path = if text.is_empty() {
        base.path
    } else {
        format!("{}\\{text}", base.path)
    };
    named(path, base.object)
}

/// Opens a handle to an existing key.
fn open(cx: &mut Machine, name: &Name, path: &str) -> Result<NTSTATUS, Fault> {
    let path = cx
        .cm
        .key(path)
        .map_or_else(|| path.to_owned(), |k| k.path.clone());
    let Some(object) = cx.create_object(Kind::Key(path), 0x10, "", 0) else {
        return Ok(STATUS_INSUFFICIENT_RESOURCES);
    };
    let process: ProcessId = cx.thread().process;
    let value = handles::open(
        cx,
        object.raw(),
        name.access,
        process,
        name.flags & OBJ_KERNEL_HANDLE != 0,
    );
    // The handle holds the only reference.
    cx.dereference_object(object.raw());
    cx.memory.write(name.handle, value)?;
    Ok(STATUS_SUCCESS)
}

fn create(
    cx: &mut Machine,
    name: &Name,
    class: Gva<UNICODE_STRING>,
    options: u32,
    disposition: Gva<u32>,
) -> Result<NTSTATUS, Fault> {
    let class = read_string(cx, class)?;
    if !disposition.is_null() {
        cx.memory.read(disposition)?;
    }
    let volatile = options & VOLATILE != 0;
    let link = options & CREATE_LINK != 0;
    let follow = !(name.open_link || link || options & OPEN_LINK != 0);
    let Some(path) = cx.cm.resolve(&name.path, follow) else {
        return Ok(STATUS_OBJECT_NAME_NOT_FOUND);
    };
    if path
        .split('\\')
        .any(|part| part.encode_utf16().count() > LONGEST_NAME)
    {
        return Ok(STATUS_INVALID_PARAMETER);
    }
    let exists = cx.cm.exists(&path);
    if exists && link {
        return Ok(STATUS_OBJECT_NAME_COLLISION);
    }
    if !exists && !volatile && cx.cm.parent(&path).is_some_and(|k| k.volatile) {
        return Ok(STATUS_CHILD_MUST_BE_VOLATILE);
    }
    let Some(new) = cx.cm.create(&path) else {
        return Ok(STATUS_OBJECT_NAME_NOT_FOUND);
    };
    if new {
        let now = cx.clock.system();
        if let Some(key) = cx.cm.key_mut(&path) {
            key.class = class;
            key.volatile = volatile;
            key.written = now;
            key.link = link;
        }
        notify::changed_below(cx, &path);
    }
    if !disposition.is_null() {
        cx.memory
            .write(disposition, if new { CREATED } else { OPENED })?;
    }
    open(cx, name, &path)
}

/// Sets a value. A symbolic link takes its target only, and nothing else takes one.
fn set_value(cx: &mut Machine, key: &Target, name: &str, kind: u32, data: Vec<u8>) -> NTSTATUS {
    let link = cx.cm.key(&key.path).is_some_and(|k| k.link);
    let target = kind == REG_LINK && fold(name) == fold(LINK_VALUE);
    if link != target && (link || kind == REG_LINK) {
        return STATUS_ACCESS_DENIED;
    }
    write_value(cx, &key.path, name, kind, data);
    STATUS_SUCCESS
}

/// Sets a value of an existing key; who waits for changes hears of it, unless it had this value already.
pub fn write_value(cx: &mut Machine, path: &str, name: &str, kind: u32, data: Vec<u8>) {
    let same = cx
        .cm
        .value(path, name)
        .is_some_and(|v| v.kind == kind && v.data == data);
    cx.cm.set(path, name, kind, data);
    touch(cx, path);
    if !same {
        notify::changed(cx, path, notify::LAST_SET);
    }
}

/// Deletes a value. False if there is none.
pub fn remove_value(cx: &mut Machine, path: &str, name: &str) -> bool {
    if !cx.cm.delete_value(path, name) {
        return false;
    }
    touch(cx, path);
    notify::changed(cx, path, notify::LAST_SET);
    true
}

/// Deletes a key without children. Handles to it are of no more use, even if one of its name is made again.
fn delete_key(cx: &mut Machine, key: &Target) -> NTSTATUS {
    if !cx.cm.delete(&key.path) {
        return STATUS_CANNOT_DELETE;
    }
    notify::changed_below(cx, &key.path);
    let gone = canonical(&key.path);
    for object in cx.ob.objects.values_mut() {
        if let Kind::Key(path) = &mut object.kind
            && canonical(path) == gone
        {
            path.clear();
        }
    }
    STATUS_SUCCESS
}

fn rename(cx: &mut Machine, key: &Target, name: &str) -> NTSTATUS {
    if name.is_empty() || name.contains('\\') || name.encode_utf16().count() > LONGEST_NAME {
        return STATUS_INVALID_PARAMETER;
    }
    let Some(new) = cx.cm.rename(&key.path, name) else {
        return STATUS_CANNOT_DELETE;
    };
    let old = canonical(&key.path);
    for object in cx.ob.objects.values_mut() {
        if let Kind::Key(path) = &mut object.kind {
            let place = canonical(path);
            if place == old || place.starts_with(&format!("{old}\\")) {
                let rest = path.get(key.path.len()..).unwrap_or("").to_owned();
                *path = format!("{new}{rest}");
            }
        }
    }
    touch(cx, &new);
    notify::changed_below(cx, &new);
    STATUS_SUCCESS
}

/// ZwSetInformationKey: the time of the last write and the flags.
fn set_information(
    cx: &mut Machine,
    key: &Target,
    class: u32,
    data: Gva,
    size: u32,
) -> Result<NTSTATUS, Fault> {
    // KeyWriteTimeInformation; KeyWow64FlagsInformation, KeyControlFlagsInformation,
    // KeySetVirtualizationInformation, KeySetDebugInformation, KeySetHandleTagsInformation.
    let wanted = match class {
        0 => 8,
        1..=5 => 4,
        _ => return Ok(STATUS_INVALID_INFO_CLASS),
    };
    if size != wanted {
        return Ok(STATUS_INFO_LENGTH_MISMATCH);
    }
    let time: u64 = if class == 0 {
        cx.memory.read(data.cast())?
    } else {
        0
    };
    let flags: u32 = cx.memory.read(data.cast())?;
    if let Some(found) = cx.cm.key_mut(&key.path) {
        if class == 0 {
            found.written = time;
        } else {
            found.settings.insert(class, flags);
        }
    }
    notify::changed(cx, &key.path, notify::ATTRIBUTES);
    Ok(STATUS_SUCCESS)
}

fn touch(cx: &mut Machine, path: &str) {
    let now = cx.clock.system();
    if let Some(key) = cx.cm.key_mut(path) {
        key.written = now;
    }
}

fn answer(
    cx: &mut Machine,
    found: Result<information::Answer, NTSTATUS>,
    buffer: &Buffer,
) -> Result<NTSTATUS, Fault> {
    match found {
        Ok(answer) => information::give(cx, &answer, buffer.at, buffer.length, buffer.needed),
        Err(status) => Ok(status),
    }
}

/// Performs an operation.
///
/// # Errors
/// A fault if memory of the caller cannot be used.
pub fn perform(cx: &mut Machine, operation: &Operation) -> Result<NTSTATUS, Fault> {
    match operation {
        Operation::Open(name) => {
            let found = cx.cm.resolve(&name.path, !name.open_link);
            match found.filter(|path| cx.cm.exists(path)) {
                Some(path) => open(cx, name, &path),
                None => Ok(STATUS_OBJECT_NAME_NOT_FOUND),
            }
        }
        Operation::Create(name, class, options, disposition) => {
            create(cx, name, *class, *options, *disposition)
        }
        Operation::DeleteKey(key) => Ok(delete_key(cx, key)),
        Operation::SetValue(key, name, kind, data, size) => {
            let name = read_string(cx, *name)?;
            let data = cx.memory.read_vec(*data, u64::from(*size))?;
            Ok(set_value(cx, key, &name, *kind, data))
        }
        Operation::DeleteValue(key, name) => {
            let name = read_string(cx, *name)?;
            Ok(if remove_value(cx, &key.path, &name) {
                STATUS_SUCCESS
            } else {
                STATUS_OBJECT_NAME_NOT_FOUND
            })
        }
        Operation::Rename(key, name) => {
            let name = read_string(cx, *name)?;
            Ok(rename(cx, key, &name))
        }
        Operation::SetInformation(key, class, data, size) => {
            set_information(cx, key, *class, *data, *size)
        }
        Operation::Flush(_) => Ok(STATUS_SUCCESS),
        Operation::QueryKey(key, buffer) => {
            let found = cx.cm.key(&key.path).ok_or(STATUS_KEY_DELETED);
            let found = found.and_then(|k| {
                information::of_key(&cx.cm, k, buffer.class).ok_or(STATUS_INVALID_PARAMETER)
            });
            answer(cx, found, buffer)
        }
        Operation::QueryValue(key, name, buffer) => {
            let name = read_string(cx, *name)?;
            let found = cx
                .cm
                .value(&key.path, &name)
                .ok_or(STATUS_OBJECT_NAME_NOT_FOUND);
            let found = found.and_then(|v| {
                information::of_value(v, buffer.class).ok_or(STATUS_INVALID_PARAMETER)
            });
            answer(cx, found, buffer)
        }
        Operation::EnumerateKey(key, index, buffer) => {
            let children = cx.cm.children(&key.path);
            let found = children
                .get(*index as usize)
                .copied()
                .ok_or(STATUS_NO_MORE_ENTRIES);
            let found = found.and_then(|k| {
                information::of_key(&cx.cm, k, buffer.class).ok_or(STATUS_INVALID_PARAMETER)
            });
            answer(cx, found, buffer)
        }
        Operation::EnumerateValue(key, index, buffer) => {
            let value = cx
                .cm
                .key(&key.path)
                .and_then(|k| k.values.values().nth(*index as usize));
            let found = value.ok_or(STATUS_NO_MORE_ENTRIES);
            let found = found.and_then(|v| {
                information::of_value(v, buffer.class).ok_or(STATUS_INVALID_PARAMETER)
            });
            answer(cx, found, buffer)
        }
    }
}
