//! `RtlQueryRegistryValues`: a table of values to fetch, each into a variable or through a routine of
//! the driver. Documentation: wdm.h, "RtlQueryRegistryValues" with its remarks.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use super::registry::{OPTIONAL, is_text, path, text};
use crate::Machine;
use crate::cm::tree::{self, REG_EXPAND_SZ, REG_MULTI_SZ, REG_NONE, REG_SZ, Value};
use crate::ex::pool::Kind as Pool;
use crate::flow::Flow;
use crate::layout::{RTL_QUERY_REGISTRY_TABLE, UNICODE_STRING};
use crate::machine::finding::Severity;
use crate::ntstatus::{
    NTSTATUS, STATUS_BUFFER_TOO_SMALL, STATUS_INVALID_PARAMETER, STATUS_NO_MEMORY,
    STATUS_OBJECT_NAME_NOT_FOUND, STATUS_OBJECT_TYPE_MISMATCH, STATUS_SUCCESS,
};

const TAG: u32 = u32::from_le_bytes(*b"RqRv");

/// `RTL_QUERY_REGISTRY_*` of wdm.h.
mod flag {
    pub const SUBKEY: u32 = 0x1;
    pub const TOPKEY: u32 = 0x2;
    pub const REQUIRED: u32 = 0x4;
    pub const NOVALUE: u32 = 0x8;
    pub const NOEXPAND: u32 = 0x10;
    pub const DIRECT: u32 = 0x20;
    pub const DELETE: u32 = 0x40;
    pub const TYPECHECK: u32 = 0x100;
}

/// An entry of the table.
#[derive(Clone, Hash, Debug)]
struct Entry {
    routine: u64,
    flags: u32,
    name_at: u64,
    name: String,
    context: u64,
    default_type: u32,
    default_data: u64,
    default_length: u32,
}

/// A call of a routine of the driver.
#[derive(Clone, Hash, Debug)]
struct Item {
    name: String,
    kind: u32,
    /// `None` for a call without a value.
    data: Option<Vec<u8>>,
}

fn entry(cx: &Machine, at: Gva<RTL_QUERY_REGISTRY_TABLE>) -> Result<Option<Entry>, Fault> {
    let name_at = cx.memory.get(at, RTL_QUERY_REGISTRY_TABLE::Name)?.raw();
    let entry = Entry {
        routine: cx
            .memory
            .get(at, RTL_QUERY_REGISTRY_TABLE::QueryRoutine)?
            .raw(),
        flags: cx.memory.get(at, RTL_QUERY_REGISTRY_TABLE::Flags)?,
        name_at,
        name: text(cx, name_at)?,
        context: cx
            .memory
            .get(at, RTL_QUERY_REGISTRY_TABLE::EntryContext)?
            .raw(),
        default_type: cx.memory.get(at, RTL_QUERY_REGISTRY_TABLE::DefaultType)?,
        default_data: cx
            .memory
            .get(at, RTL_QUERY_REGISTRY_TABLE::DefaultData)?
            .raw(),
        default_length: cx.memory.get(at, RTL_QUERY_REGISTRY_TABLE::DefaultLength)?,
    };
    let end = entry.routine == 0 && entry.flags & (flag::SUBKEY | flag::DIRECT) == 0;
    Ok((!end).then_some(entry))
}

/// The strings of REG_MULTI_SZ data.
fn strings(data: &[u8]) -> Vec<Vec<u8>> {
    let units: Vec<u16> = data
        .chunks_exact(2)
        .map(|c| u16::from_le_bytes([c[0], c[1]]))
        .collect();
    units
        .split(|u| *u == 0)
        .take_while(|s| !s.is_empty())
        .map(|s| s.iter().chain(&[0]).flat_map(|u| u.to_le_bytes()).collect())
        .collect()
}

/// Replaces `%name%`: of the environment of the system only SystemRoot and its like are known.
fn expand(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let Some((name, behind)) = after.split_once('%') else {
            out.push('%');
            rest = after;
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "systemroot" | "windir" => out.push_str(r"C:\Windows"),
            "systemdrive" => out.push_str("C:"),
            _ => {
                out.push('%');
                out.push_str(name);
                out.push('%');
            }
        }
        rest = behind;
    }
    out + rest
}

/// The default of an entry as a value; its length for text may be left to the terminator.
fn default_value(cx: &Machine, entry: &Entry) -> Result<Option<Value>, Fault> {
    let kind = if entry.flags & flag::TYPECHECK != 0 {
        entry.default_type & 0xff_ffff
    } else {
        entry.default_type
    };
    if kind == REG_NONE {
        return Ok(None);
    }
    let data = if entry.default_length == 0 && is_text(kind) && kind != REG_MULTI_SZ {
        tree::text(&text(cx, entry.default_data)?)
    } else {
        cx.memory.read_vec(
            Gva::<u8>::new(entry.default_data),
            u64::from(entry.default_length),
        )?
    };
    Ok(Some(Value {
        name: entry.name.clone(),
        kind,
        data,
    }))
}

/// Stores text in the UNICODE_STRING that EntryContext is.
fn store_text(
    cx: &mut Machine,
    at: Gva<UNICODE_STRING>,
    data: &[u8],
    kind: u32,
) -> Result<NTSTATUS, Fault> {
    if data.len() > 0xffff {
        return Ok(STATUS_BUFFER_TOO_SMALL);
    }
    let mut buffer = cx.memory.get(at, UNICODE_STRING::Buffer)?.cast::<u8>();
    let maximum = cx.memory.get(at, UNICODE_STRING::MaximumLength)?;
    if buffer.is_null() {
        // The caller frees it, so it is the caller's.
        let owner = cx.caller;
        let Some(block) = cx.pool_allocate_for(Pool::Paged, data.len() as u64, TAG, owner) else {
            return Ok(STATUS_NO_MEMORY);
        };
        buffer = block;
        cx.memory.set(at, UNICODE_STRING::Buffer, buffer.cast())?;
        cx.memory
            .set(at, UNICODE_STRING::MaximumLength, data.len() as u16)?;
    } else if usize::from(maximum) < data.len() {
        return Ok(STATUS_BUFFER_TOO_SMALL);
    }
    cx.memory.write_bytes(buffer, data)?;
    // The length leaves out the terminator, that of the list for REG_MULTI_SZ too.
    let terminated = kind == REG_MULTI_SZ || data.ends_with(&[0, 0]);
    let length = if terminated {
        data.len().saturating_sub(2)
    } else {
        data.len()
    };
    cx.memory.set(at, UNICODE_STRING::Length, length as u16)?;
    Ok(STATUS_SUCCESS)
}

/// RTL_QUERY_REGISTRY_DIRECT: stores the value where EntryContext points.
fn store(cx: &mut Machine, entry: &Entry, kind: u32, data: &[u8]) -> Result<NTSTATUS, Fault> {
    if is_text(kind) {
        return store_text(cx, Gva::new(entry.context), data, kind);
    }
    let to = Gva::<u8>::new(entry.context);
    if data.len() <= 4 {
        cx.memory.write_bytes(to, data)?;
        return Ok(STATUS_SUCCESS);
    }
    // Larger data: the first LONG says how large the buffer is; negative for data alone, positive for
    // data behind its length and type.
    let room: i32 = cx.memory.read(to.cast::<i32>())?;
    if room < 0 {
        if (room.unsigned_abs() as usize) < data.len() {
            return Ok(STATUS_BUFFER_TOO_SMALL);
        }
        cx.memory.write_bytes(to, data)?;
        return Ok(STATUS_SUCCESS);
    }
    if (room as usize) < data.len() + 8 {
        return Ok(STATUS_BUFFER_TOO_SMALL);
    }
    cx.memory.write(to.cast::<u32>(), data.len() as u32)?;
    cx.memory.write(to.byte_add(4).cast::<u32>(), kind)?;
    cx.memory.write_bytes(to.byte_add(8), data)?;
    Ok(STATUS_SUCCESS)
}

fn expanded(value: &Value, flags: u32) -> (u32, Vec<u8>) {
    if value.kind == REG_EXPAND_SZ && flags & flag::NOEXPAND == 0 {
        return (REG_SZ, tree::text(&expand(&tree::string(&value.data))));
    }
    (value.kind, value.data.clone())
}

/// The calls that a value leads to; for RTL_QUERY_REGISTRY_DIRECT it is stored instead.
fn present(
    cx: &mut Machine,
    entry: &Entry,
    value: &Value,
    items: &mut Vec<Item>,
) -> Result<NTSTATUS, Fault> {
    let (kind, data) = expanded(value, entry.flags);
    if entry.flags & flag::DIRECT != 0 {
        // REG_NONE in the top byte checks nothing.
        let wanted = entry.default_type >> 24;
        if entry.flags & flag::TYPECHECK != 0
            && wanted != REG_NONE
            && wanted != value.kind
            && wanted != kind
        {
            return Ok(STATUS_OBJECT_TYPE_MISMATCH);
        }
        return store(cx, entry, kind, &data);
    }
    if kind == REG_MULTI_SZ && entry.flags & flag::NOEXPAND == 0 {
        items.extend(strings(&data).into_iter().map(|s| Item {
            name: value.name.clone(),
            kind: REG_SZ,
            data: Some(s),
        }));
    } else {
        items.push(Item {
            name: value.name.clone(),
            kind,
            data: Some(data),
        });
    }
    Ok(STATUS_SUCCESS)
}

/// Looks at an entry: what to call for it.
fn prepare(
    cx: &mut Machine,
    entry: &Entry,
    current: &str,
    items: &mut Vec<Item>,
) -> Result<NTSTATUS, Fault> {
    let flags = entry.flags;
    if flags & flag::DIRECT != 0
        && (entry.name_at == 0 || flags & flag::SUBKEY != 0 || entry.routine != 0)
    {
        return Ok(STATUS_INVALID_PARAMETER);
    }
    let all = entry.name_at == 0 || flags & flag::SUBKEY != 0;
    if flags & flag::NOVALUE != 0 {
        items.push(Item {
            name: entry.name.clone(),
            kind: REG_NONE,
            data: None,
        });
        return Ok(STATUS_SUCCESS);
    }
    if all {
        if entry.routine == 0 {
            return Ok(STATUS_SUCCESS);
        }
        let values: Vec<Value> = cx
            .cm
            .key(current)
            .map_or(Vec::new(), |k| k.values.values().cloned().collect());
        if values.is_empty() && flags & flag::REQUIRED != 0 {
            return Ok(STATUS_OBJECT_NAME_NOT_FOUND);
        }
        for value in &values {
            let status = present(cx, entry, value, items)?;
            if status.is_error() {
                return Ok(status);
            }
        }
        return Ok(STATUS_SUCCESS);
    }
    let (value, stored) = match cx.cm.value(current, &entry.name).cloned() {
        Some(value) => (value, true),
        None if flags & flag::REQUIRED != 0 => return Ok(STATUS_OBJECT_NAME_NOT_FOUND),
        None => match default_value(cx, entry)? {
            Some(value) => (value, false),
            None => return Ok(STATUS_SUCCESS),
        },
    };
    let status = present(cx, entry, &value, items)?;
    if stored && status.is_success() && flags & flag::DELETE != 0 {
        cx.cm.delete_value(current, &entry.name);
    }
    Ok(status)
}

/// Puts name and data of a call into memory; their addresses, and the block to free.
fn lay_out(
    cx: &mut Machine,
    item: &Item,
    has_name: bool,
) -> Result<Option<(u64, u64, u64)>, Fault> {
    let name = tree::text(&item.name);
    let data = item.data.clone().unwrap_or_default();
    let data_at = (name.len() as u64).next_multiple_of(16);
    let Some(block) = cx.pool_allocate(Pool::Paged, data_at + data.len() as u64, TAG) else {
        return Ok(None);
    };
    cx.memory.write_bytes(block, &name)?;
    cx.memory.write_bytes(block.byte_add(data_at), &data)?;
    let name_at = if has_name { block.raw() } else { 0 };
    let data_at = if item.data.is_some() {
        block.raw() + data_at
    } else {
        0
    };
    Ok(Some((name_at, data_at, block.raw())))
}

/// Walks the table.
#[resumable]
fn query(
    cx: &mut Machine,
    top: String,
    table: Gva<RTL_QUERY_REGISTRY_TABLE>,
    context: u64,
) -> Result<NTSTATUS, Fault> {
    let mut current: String = top.clone();
    let mut at: u64 = table.raw();
    loop {
        let Some(entry) = entry(cx, Gva::new(at))? else {
            break;
        };
        at += RTL_QUERY_REGISTRY_TABLE::SIZE;
        if entry.flags & (flag::SUBKEY | flag::TOPKEY) != 0 {
            current = top.clone();
        }
        if entry.flags & flag::SUBKEY != 0 {
            if entry.name.is_empty() {
                return Ok(STATUS_INVALID_PARAMETER);
            }
            current = format!("{top}\\{}", entry.name);
            if !cx.cm.exists(&current) {
                return Ok(STATUS_OBJECT_NAME_NOT_FOUND);
            }
        }
        let mut items: Vec<Item> = Vec::new();
        let prepared = prepare(cx, &entry, &current, &mut items)?;
        if prepared.is_error() {
            return Ok(prepared);
        }
        let routine: u64 = entry.routine;
        let entry_context: u64 = entry.context;
        let named: bool =
            entry.name_at != 0 || !entry.name.is_empty() || entry.flags & flag::NOVALUE == 0;
        let mut next: usize = 0;
        while let Some(item) = items.get(next).cloned() {
            next += 1;
            let Some((name, data, memory)) = lay_out(cx, &item, named)? else {
                return Ok(STATUS_NO_MEMORY);
            };
            let block: u64 = memory;
            let length: u32 = item.data.as_ref().map_or(0, |d| d.len() as u32);
            let verdict: NTSTATUS = call!(
                routine,
                name,
                item.kind,
                data,
                length,
                context,
                entry_context
            );
            cx.pool_free(Gva::new(block));
            // A routine that says that its buffer is too small does not end the walk.
            if verdict.is_error() && verdict != STATUS_BUFFER_TOO_SMALL {
                return Ok(verdict);
            }
        }
    }
    Ok(STATUS_SUCCESS)
}

/// The routine.
pub struct RegistryQueries;

#[exports("ntoskrnl.exe")]
impl RegistryQueries {
    /// Fetches several values of a key.
    #[page("wdm/nf-wdm-rtlqueryregistryvalues")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[alias("RtlQueryRegistryValuesEx")]
    #[assumed(
        "a subkey that does not exist ends the walk; of environment variables only those of the system's folders are known; registry callbacks do not see it"
    )]
    fn RtlQueryRegistryValues(
        cx: &mut Machine,
        RelativeTo: u32,
        Path: u64,
        QueryTable: Gva<RTL_QUERY_REGISTRY_TABLE>,
        Context: u64,
        Environment: Gva,
    ) -> Result<Flow, Fault> {
        let _ = Environment;
        let status = |s: NTSTATUS| Ok(Flow::Return(u64::from(s.0)));
        let top = match path(cx, RelativeTo, Path)? {
            Ok(top) => top,
            Err(error) => return status(error),
        };
        if !cx.cm.exists(&top) {
            return status(if RelativeTo & OPTIONAL != 0 {
                STATUS_SUCCESS
            } else {
                STATUS_OBJECT_NAME_NOT_FOUND
            });
        }
        let first = cx.memory.get(QueryTable, RTL_QUERY_REGISTRY_TABLE::Flags)?;
        if first & flag::DIRECT != 0
            && first & flag::TYPECHECK == 0
            && top.to_lowercase().starts_with(r"\registry\user")
        {
            let text = "RTL_QUERY_REGISTRY_DIRECT without RTL_QUERY_REGISTRY_TYPECHECK on a key that users can write: a value of another type overruns the buffer";
            cx.report("registry/direct-without-typecheck", Severity::Error, text);
        }
        Ok(Flow::Become(query(top, QueryTable, Context)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_strings_are_split() {
        let data = [tree::text("one"), tree::text("two"), vec![0, 0]].concat();
        assert_eq!(strings(&data), [tree::text("one"), tree::text("two")]);
        assert_eq!(strings(&[0, 0]), Vec::<Vec<u8>>::new());
        assert_eq!(
            strings(&[0x61, 0]),
            [tree::text("a")],
            "a missing end is the end"
        );
    }

    #[test]
    fn variables_are_replaced() {
        assert_eq!(expand(r"%SystemRoot%\x"), r"C:\Windows\x");
        assert_eq!(expand("100% of %Unknown%"), "100% of %Unknown%");
        assert_eq!(expand("%SYSTEMDRIVE%%windir%"), r"C:C:\Windows");
        assert_eq!(expand("a%b"), "a%b");
    }
}
