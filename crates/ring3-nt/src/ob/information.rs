//! What a handle and its object are: for whoever has the handle. Documentation: ntifs.h, `ZwQueryObject`;
//! winternl.h, `NtQueryDirectoryObject`.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::{Kind, handles, names};
use crate::Machine;
use crate::layout::UNICODE_STRING;
use crate::ntstatus::{
    NTSTATUS, STATUS_BUFFER_TOO_SMALL, STATUS_INFO_LENGTH_MISMATCH, STATUS_INVALID_HANDLE,
    STATUS_INVALID_INFO_CLASS, STATUS_MORE_ENTRIES, STATUS_NO_MORE_ENTRIES,
    STATUS_OBJECT_TYPE_MISMATCH, STATUS_SUCCESS,
};

/// Bytes of PUBLIC_OBJECT_BASIC_INFORMATION and PUBLIC_OBJECT_TYPE_INFORMATION.
const BASIC: u32 = 0x38;
const TYPE: u64 = 0x68;
/// Bytes of OBJECT_DIRECTORY_INFORMATION.
const ENTRY: u64 = 2 * UNICODE_STRING::SIZE;

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}

/// Writes a UNICODE_STRING whose text, with a terminator, lies at `place`.
pub(super) fn put(
    cx: &mut Machine,
    string: Gva<UNICODE_STRING>,
    place: Gva,
    text: &str,
) -> Result<u64, Fault> {
    let bytes = utf16(text);
    let length = bytes.len() as u16;
    cx.memory.write_bytes(place, &bytes)?;
    cx.memory.set(string, UNICODE_STRING::Length, length - 2)?;
    cx.memory
        .set(string, UNICODE_STRING::MaximumLength, length)?;
    cx.memory
        .set(string, UNICODE_STRING::Buffer, place.cast())?;
    Ok(bytes.len() as u64)
}

fn tell(cx: &mut Machine, at: Gva<u32>, value: u32) -> Result<(), Fault> {
    if at.is_null() {
        return Ok(());
    }
    cx.memory.write(at, value)
}

/// Information on objects.
pub struct ObjectQueries;

#[exports("ntoskrnl.exe")]
impl ObjectQueries {
    /// Tells about the object of a handle: counts, name or type.
    #[page("ntifs/nf-ntifs-zwqueryobject")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("of the type only the name")]
    fn ZwQueryObject(
        cx: &mut Machine,
        Handle: u64,
        ObjectInformationClass: u32,
        ObjectInformation: Gva,
        ObjectInformationLength: u32,
        ReturnLength: Gva<u32>,
    ) -> Result<NTSTATUS, Fault> {
        let Some(entry) = handles::find(cx, Handle) else {
            return Ok(STATUS_INVALID_HANDLE);
        };
        let Some(object) = cx.ob.objects.get(&entry.object) else {
            return Ok(STATUS_INVALID_HANDLE);
        };
        let (handle_count, references) = (object.handles as u32, object.references as u32);
        let kind = object.kind.type_name();
        match ObjectInformationClass {
            // ObjectBasicInformation.
            0 => {
                tell(cx, ReturnLength, BASIC)?;
                if ObjectInformationLength != BASIC {
                    return Ok(STATUS_INFO_LENGTH_MISMATCH);
                }
                cx.memory.fill(ObjectInformation, u64::from(BASIC), 0)?;
                let words = [entry.attributes, entry.access, handle_count, references];
                for (n, word) in words.iter().enumerate() {
                    let at = ObjectInformation.byte_add(4 * n as u64).cast::<u32>();
                    cx.memory.write(at, *word)?;
                }
                Ok(STATUS_SUCCESS)
            }
            // ObjectNameInformation.
            1 => super::query::name(
                cx,
                entry.object,
                ObjectInformation.cast(),
                ObjectInformationLength,
                ReturnLength,
            ),
            // ObjectTypeInformation: the name lies behind the structure.
            2 => {
                let need = TYPE + utf16(kind).len() as u64;
                tell(cx, ReturnLength, need as u32)?;
                if u64::from(ObjectInformationLength) < need {
                    return Ok(STATUS_INFO_LENGTH_MISMATCH);
                }
                cx.memory.fill(ObjectInformation, TYPE, 0)?;
                let place = ObjectInformation.byte_add(TYPE);
                put(cx, ObjectInformation.cast(), place, kind)?;
                Ok(STATUS_SUCCESS)
            }
            _ => Ok(STATUS_INVALID_INFO_CLASS),
        }
    }

    /// Lists the objects of a directory.
    #[irql(PASSIVE_LEVEL)]
    #[assumed("as NtQueryDirectoryObject of user mode; the order is that of the names")]
    fn ZwQueryDirectoryObject(
        cx: &mut Machine,
        DirectoryHandle: u64,
        Buffer: Gva,
        Length: u32,
        ReturnSingleEntry: bool,
        RestartScan: bool,
        Context: Gva<u32>,
        ReturnLength: Gva<u32>,
    ) -> Result<NTSTATUS, Fault> {
        let Some(entry) = handles::find(cx, DirectoryHandle) else {
            return Ok(STATUS_INVALID_HANDLE);
        };
        let directory = match cx.ob.objects.get(&entry.object) {
            Some(object) if object.kind == Kind::Directory => object.name.clone(),
            _ => return Ok(STATUS_OBJECT_TYPE_MISMATCH),
        };
        let prefix = names::key(directory.trim_end_matches('\\')) + "\\";
        let children: Vec<(String, &'static str)> = cx
            .ob
            .names
            .range(prefix.clone()..)
            .take_while(|(name, _)| name.starts_with(&prefix))
            .filter(|(name, _)| {
                let rest = name.get(prefix.len()..).unwrap_or("");
                !rest.is_empty() && !rest.contains('\\')
            })
            .filter_map(|(_, body)| cx.ob.objects.get(body))
            .map(|object| {
                let name = object.name.rsplit('\\').next().unwrap_or("").to_owned();
                (name, object.kind.type_name())
            })
            .collect();
        let first = if RestartScan {
            0
        } else {
            cx.memory.read(Context)? as usize
        };
        // As many as fit, with an empty entry at the end and the texts behind that.
        let (mut count, mut size) = (0u64, ENTRY);
        for (name, kind) in children.get(first..).unwrap_or(&[]) {
            let more = ENTRY + utf16(name).len() as u64 + utf16(kind).len() as u64;
            if size + more > u64::from(Length) {
                if count == 0 {
                    tell(cx, ReturnLength, (size + more) as u32)?;
                    return Ok(STATUS_BUFFER_TOO_SMALL);
                }
                break;
            }
            size += more;
            count += 1;
            if ReturnSingleEntry {
                break;
            }
        }
        if count == 0 {
            tell(cx, ReturnLength, 0)?;
            return Ok(STATUS_NO_MORE_ENTRIES);
        }
        cx.memory.fill(Buffer, ENTRY * (count + 1), 0)?;
        let mut place = Buffer.byte_add(ENTRY * (count + 1));
        let shown: Vec<(String, &'static str)> = children
            .get(first..first + count as usize)
            .unwrap_or(&[])
            .to_vec();
        for (n, (name, kind)) in shown.iter().enumerate() {
            let at = Buffer.byte_add(ENTRY * n as u64).cast::<UNICODE_STRING>();
            let second = at.cast::<u8>().byte_add(UNICODE_STRING::SIZE).cast();
            place = place.byte_add(put(cx, at, place, name)?);
            place = place.byte_add(put(cx, second, place, kind)?);
        }
        let next = first + count as usize;
        cx.memory.write(Context, next as u32)?;
        tell(cx, ReturnLength, size as u32)?;
        Ok(if next < children.len() && !ReturnSingleEntry {
            STATUS_MORE_ENTRIES
        } else {
            STATUS_SUCCESS
        })
    }
}
