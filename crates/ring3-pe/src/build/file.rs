//! Laying the planned image out as a file.

use super::tables::{self, put};
use super::{ImageBuilder, PAGE, PlannedSection, SectionFlags, refused, version};
use crate::checksum::checksum;
use crate::{ImageError, LoadConfig};

/// Sections start at multiples of this in the file.
const FILE_ALIGNMENT: usize = 0x200;
/// Offset of the PE signature: right after the DOS header.
const PE: usize = 0x40;
/// Offset of the optional header.
const OPTIONAL: usize = PE + 24;
/// Offset of the data directories.
const DIRECTORIES: usize = OPTIONAL + 112;
/// Offset of the section table.
const SECTION_TABLE: usize = DIRECTORIES + 16 * 8;
/// Size stated by the load configurations made here: as far as Windows 10 version 2004 defines them.
const LOAD_CONFIG_SIZE: usize = 0x118;

/// What is being laid out.
struct Layout {
    sections: Vec<PlannedSection>,
    directories: [(u32, u32); 16],
    next_rva: u32,
    /// Addresses to store: where, and of which RVA.
    pointers: Vec<(u32, u32)>,
}

impl Layout {
    /// Adds a generated section.
    fn add(&mut self, name: &str, flags: SectionFlags, data: Vec<u8>) {
        let size = data.len() as u32;
        let section = PlannedSection {
            name: name.to_owned(),
            flags,
            rva: self.next_rva,
            virtual_size: size,
            data,
        };
        self.next_rva = self
            .next_rva
            .saturating_add(size.max(1))
            .checked_next_multiple_of(PAGE)
            .unwrap_or(u32::MAX);
        self.sections.push(section);
    }

    /// States a data directory.
    fn directory(&mut self, index: usize, place: (u32, u32)) {
        if let Some(directory) = self.directories.get_mut(index) {
            *directory = place;
        }
    }
}

/// Makes the file.
pub(super) fn build(plan: &ImageBuilder, base: u64) -> Result<Vec<u8>, ImageError> {
    let mut layout = Layout {
        sections: plan.sections.clone(),
        directories: [(0, 0); 16],
        next_rva: plan.next_rva,
        pointers: plan.pointers.clone(),
    };
    if let Some([directory, addresses]) = plan.imports {
        layout.directory(1, directory);
        layout.directory(12, addresses);
    }
    if !plan.exports.is_empty() {
        let data = tables::exports(layout.next_rva, &plan.module_name, &plan.exports)?;
        layout.directory(0, (layout.next_rva, data.len() as u32));
        layout.add(".edata", SectionFlags::READ_ONLY, data);
    }
    if !plan.functions.is_empty() {
        let (unwind, table) = tables::functions(layout.next_rva, &plan.functions)?;
        layout.add(".xdata", SectionFlags::READ_ONLY, unwind);
        layout.directory(3, (layout.next_rva, table.len() as u32));
        layout.add(".pdata", SectionFlags::READ_ONLY, table);
    }
    if let Some(config) = &plan.load_config {
        load_config(&mut layout, config);
    }
    if let Some(version) = &plan.version {
        let data = version::resource(layout.next_rva, version)?;
        layout.directory(2, (layout.next_rva, data.len() as u32));
        layout.add(".rsrc", SectionFlags::READ_ONLY, data);
    }
    if plan.debug.is_some() {
        debug(plan, &mut layout);
    }
    if !layout.pointers.is_empty() {
        let data = tables::relocations(layout.pointers.iter().map(|(at, _)| *at).collect());
        layout.directory(5, (layout.next_rva, data.len() as u32));
        layout.add(".reloc", SectionFlags(0x4200_0040), data);
    }
    for (at, target) in layout.pointers.clone() {
        store_pointer(
            &mut layout.sections,
            at,
            base.wrapping_add(u64::from(target)),
        )?;
    }
    write(plan, &layout, base)
}

/// Stores an address into the section that holds `at`.
fn store_pointer(sections: &mut [PlannedSection], at: u32, value: u64) -> Result<(), ImageError> {
    let room = sections.iter_mut().find_map(|section| {
        let offset = at
            .checked_sub(section.rva)
            .filter(|offset| *offset < section.virtual_size)? as usize;
        section.data.get_mut(offset..)?.first_chunk_mut::<8>()
    });
    let room = room.ok_or_else(|| {
        refused(format!(
            "the address at RVA {at:#x} is outside the sections' data"
        ))
    })?;
    *room = value.to_le_bytes();
    Ok(())
}

/// Adds the load configuration.
fn load_config(layout: &mut Layout, config: &LoadConfig) {
    let rva = layout.next_rva;
    let mut data = vec![0; LOAD_CONFIG_SIZE];
    put(&mut data, 0, &(LOAD_CONFIG_SIZE as u32).to_le_bytes());
    let variables = [
        (88, config.security_cookie_rva),
        (112, config.guard_check_rva),
        (120, config.guard_dispatch_rva),
    ];
    for (field, target) in variables {
        layout
            .pointers
            .extend(target.map(|target| (rva + field, target)));
    }
    put(
        &mut data,
        136,
        &(config.function_table.len() as u64).to_le_bytes(),
    );
    put(&mut data, 144, &config.guard_flags.to_le_bytes());
    if !config.function_table.is_empty() {
        layout
            .pointers
            .push((rva + 128, rva + LOAD_CONFIG_SIZE as u32));
        let flag_bytes = vec![0; (config.guard_flags >> 28) as usize];
        for function in &config.function_table {
            data.extend_from_slice(&function.to_le_bytes());
            data.extend_from_slice(&flag_bytes);
        }
    }
    layout.directory(10, (rva, LOAD_CONFIG_SIZE as u32));
    layout.add(".loadcfg", SectionFlags::READ_ONLY, data);
}

/// Adds the debug directory and its CodeView record. The record's file offset is put in by [`write`].
fn debug(plan: &ImageBuilder, layout: &mut Layout) {
    let Some(debug) = &plan.debug else { return };
    let rva = layout.next_rva;
    let mut record = b"RSDS".to_vec();
    record.extend_from_slice(&debug.guid);
    record.extend_from_slice(&debug.age.to_le_bytes());
    record.extend_from_slice(debug.pdb.as_bytes());
    record.push(0);
    let mut data = vec![0; 28];
    put(&mut data, 4, &plan.timestamp.to_le_bytes());
    put(&mut data, 12, &2u32.to_le_bytes());
    put(&mut data, 16, &(record.len() as u32).to_le_bytes());
    put(&mut data, 20, &(rva + 28).to_le_bytes());
    data.extend_from_slice(&record);
    layout.directory(6, (rva, 28));
    layout.add(".buildid", SectionFlags::READ_ONLY, data);
}

/// Writes headers and sections.
fn write(plan: &ImageBuilder, layout: &Layout, base: u64) -> Result<Vec<u8>, ImageError> {
    let headers = (SECTION_TABLE + layout.sections.len() * 40).next_multiple_of(FILE_ALIGNMENT);
    if layout.sections.is_empty() || headers > PAGE as usize {
        return Err(refused(format!(
            "{} sections: an image has 1 to 90",
            layout.sections.len()
        )));
    }
    if layout.next_rva > 512 << 20 {
        return Err(refused(format!(
            "the image would have {:#x} bytes, more than 512 MiB",
            layout.next_rva
        )));
    }
    let code = layout
        .sections
        .iter()
        .find(|section| section.flags.0 & 0x20 != 0);
    let entry = plan.entry.or(code.map(|section| section.rva)).unwrap_or(0);
    let mut file = vec![0; headers];
    put(&mut file, 0, b"MZ");
    put(&mut file, 60, &(PE as u32).to_le_bytes());
    put(&mut file, PE, b"PE\0\0");
    let half = |file: &mut [u8], at: usize, value: u16| put(file, at, &value.to_le_bytes());
    let word = |file: &mut [u8], at: usize, value: u32| put(file, at, &value.to_le_bytes());
    half(&mut file, PE + 4, 0x8664);
    half(&mut file, PE + 6, layout.sections.len() as u16);
    word(&mut file, PE + 8, plan.timestamp);
    half(&mut file, PE + 20, 112 + 16 * 8);
    // EXECUTABLE_IMAGE, LARGE_ADDRESS_AWARE, and DLL where asked for.
    half(&mut file, PE + 22, 0x22 | if plan.dll { 0x2000 } else { 0 });
    half(&mut file, OPTIONAL, 0x20b);
    // The linker version that the toolsets of Windows 10 version 2004 write: 14.20.
    put(&mut file, OPTIONAL + 2, &[14, 20]);
    word(&mut file, OPTIONAL + 16, entry);
    word(
        &mut file,
        OPTIONAL + 20,
        code.map_or(0, |section| section.rva),
    );
    put(&mut file, OPTIONAL + 24, &base.to_le_bytes());
    word(&mut file, OPTIONAL + 32, PAGE);
    word(&mut file, OPTIONAL + 36, FILE_ALIGNMENT as u32);
    for version in [40, 44, 48] {
        half(&mut file, OPTIONAL + version, 10);
    }
    word(&mut file, OPTIONAL + 56, layout.next_rva);
    word(&mut file, OPTIONAL + 60, headers as u32);
    half(&mut file, OPTIONAL + 68, plan.subsystem);
    // HIGH_ENTROPY_VA, DYNAMIC_BASE, NX_COMPAT, and GUARD_CF where there is a load configuration that says so.
    let guard = plan
        .load_config
        .as_ref()
        .is_some_and(|config| config.guard_flags & 0x100 != 0);
    half(
        &mut file,
        OPTIONAL + 70,
        0x160 | if guard { 0x4000 } else { 0 },
    );
    put(&mut file, OPTIONAL + 72, &0x10_0000u64.to_le_bytes());
    put(&mut file, OPTIONAL + 80, &0x1000u64.to_le_bytes());
    put(&mut file, OPTIONAL + 88, &0x10_0000u64.to_le_bytes());
    put(&mut file, OPTIONAL + 96, &0x1000u64.to_le_bytes());
    word(&mut file, OPTIONAL + 108, 16);
    for (index, (rva, size)) in layout.directories.iter().enumerate() {
        word(&mut file, DIRECTORIES + index * 8, *rva);
        word(&mut file, DIRECTORIES + index * 8 + 4, *size);
    }
    let mut sizes = [0u32; 2];
    for (index, section) in layout.sections.iter().enumerate() {
        let at = SECTION_TABLE + index * 40;
        let start = file.len();
        let length = section.data.len().next_multiple_of(FILE_ALIGNMENT);
        put(&mut file, at, section.name.as_bytes());
        word(&mut file, at + 8, section.virtual_size);
        word(&mut file, at + 12, section.rva);
        word(&mut file, at + 16, length as u32);
        word(
            &mut file,
            at + 20,
            if length == 0 { 0 } else { start as u32 },
        );
        word(&mut file, at + 36, section.flags.0);
        if let Some(size) = sizes.get_mut(usize::from(section.flags.0 & 0x20 == 0)) {
            *size = size.wrapping_add(length as u32);
        }
        file.extend_from_slice(&section.data);
        file.resize(start + length, 0);
        if Some(section.rva) == layout.directories.get(6).map(|(rva, _)| *rva) {
            word(&mut file, start + 24, (start + 28) as u32);
        }
    }
    let [code_size, data_size] = sizes;
    word(&mut file, OPTIONAL + 4, code_size);
    word(&mut file, OPTIONAL + 8, data_size);
    let sum = checksum(&file, OPTIONAL + 64);
    word(&mut file, OPTIONAL + 64, sum);
    Ok(file)
}
