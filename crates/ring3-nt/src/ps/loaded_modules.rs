//! PsLoadedModuleList: the list of images that drivers and debuggers walk.

use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::ke::list;
use crate::layout::{KLDR_DATA_TABLE_ENTRY, LIST_ENTRY, UNICODE_STRING};
use crate::mm::space::{self, Region};

/// Where in the page of an entry the names lie.
const NAMES: u64 = 0x200;

fn head(cx: &Machine) -> Option<Gva<LIST_ENTRY>> {
    cx.export_address("ntoskrnl.exe", "PsLoadedModuleList")
        .map(Gva::cast)
}

/// Writes an entry for a loaded image and links it at the end of the list.
pub fn insert(cx: &mut Machine, base: u64) {
    let Some(page) = cx.allocate_pages(Region::Objects, 1, space::data()) else {
        return;
    };
    let Some(module) = cx.modules.at(base).cloned() else {
        return;
    };
    let entry = page.cast::<KLDR_DATA_TABLE_ENTRY>();
    let path = format!("\\SystemRoot\\system32\\drivers\\{}", module.name);
    let written = (|| -> Result<(), Fault> {
        let full: Vec<u8> = path.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let text = page.byte_add(NAMES);
        cx.memory.write_bytes(text, &full)?;
        let full_length = full.len() as u16;
        let base_length = 2 * module.name.encode_utf16().count() as u16;
        let m = &mut cx.memory;
        for (string, length, buffer) in [
            (
                entry.at(KLDR_DATA_TABLE_ENTRY::FullDllName),
                full_length,
                text,
            ),
            (
                entry.at(KLDR_DATA_TABLE_ENTRY::BaseDllName),
                base_length,
                text.byte_add(u64::from(full_length - base_length)),
            ),
        ] {
            m.set(string, UNICODE_STRING::Length, length)?;
            m.set(string, UNICODE_STRING::MaximumLength, length)?;
            m.set(string, UNICODE_STRING::Buffer, buffer.cast())?;
        }
        m.set(entry, KLDR_DATA_TABLE_ENTRY::DllBase, Gva::new(base))?;
        m.set(
            entry,
            KLDR_DATA_TABLE_ENTRY::EntryPoint,
            Gva::new(module.entry),
        )?;
        m.set(entry, KLDR_DATA_TABLE_ENTRY::SizeOfImage, module.size)?;
        m.set(entry, KLDR_DATA_TABLE_ENTRY::LoadCount, 1u16)?;
        let Some(head) = head(cx) else { return Ok(()) };
        let link = entry.cast::<LIST_ENTRY>();
        list::insert_before(&mut cx.memory, head, link)
    })();
    if written.is_ok() {
        cx.modules.update(base, |m| m.entry_in_list = entry);
    }
}

/// Takes an entry off the list. A list that a driver has damaged stays as it is.
pub fn remove(cx: &mut Machine, base: u64) {
    let Some(entry) = cx
        .modules
        .at(base)
        .map(|m| m.entry_in_list)
        .filter(|e| !e.is_null())
    else {
        return;
    };
    let link = entry.cast::<LIST_ENTRY>();
    let _ = list::remove(&mut cx.memory, link);
    cx.free_pages(Region::Objects, entry.cast());
}
