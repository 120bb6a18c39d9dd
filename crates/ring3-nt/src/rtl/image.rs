//! Images in memory. Documentation: the PE format; `RtlImageDirectoryEntryToData` and its neighbours
//! have no page, their behaviour is that of `ImageDirectoryEntryToData` of dbghelp.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::export::argument::CHAR;
use crate::ntstatus::{
    NTSTATUS, STATUS_INVALID_IMAGE_FORMAT, STATUS_INVALID_PARAMETER, STATUS_SUCCESS,
};
use crate::rtl::format::read_string;

/// `IMAGE_DIRECTORY_ENTRY_EXPORT`.
const EXPORT: u16 = 0;
/// `RTL_IMAGE_NT_HEADER_EX_FLAG_NO_RANGE_CHECK`.
const NO_RANGE_CHECK: u32 = 1;

/// The address of the NT headers; `None` if there are none.
fn nt_headers(cx: &Machine, base: u64) -> Result<Option<u64>, Fault> {
    if cx.memory.read::<u16>(Gva::new(base))? != 0x5a4d {
        return Ok(None);
    }
    let offset: u32 = cx.memory.read(Gva::new(base.wrapping_add(0x3c)))?;
    if offset >= 256 << 20 {
        return Ok(None);
    }
    let at = base.wrapping_add(u64::from(offset));
    let signature: u32 = cx.memory.read(Gva::new(at))?;
    Ok((signature == 0x4550).then_some(at))
}

/// Address and size of a data directory, in an image or in a flat file.
fn directory(
    cx: &Machine,
    base: u64,
    mapped: bool,
    entry: u16,
) -> Result<Option<(u64, u32)>, Fault> {
    let Some(nt) = nt_headers(cx, base)? else {
        return Ok(None);
    };
    let optional = nt.wrapping_add(0x18);
    let count_at = match cx.memory.read::<u16>(Gva::new(optional))? {
        0x20b => optional.wrapping_add(0x6c),
        0x10b => optional.wrapping_add(0x5c),
        _ => return Ok(None),
    };
    if u32::from(entry) >= cx.memory.read::<u32>(Gva::new(count_at))? {
        return Ok(None);
    }
    let at = count_at.wrapping_add(4 + 8 * u64::from(entry));
    let rva: u32 = cx.memory.read(Gva::new(at))?;
    let size: u32 = cx.memory.read(Gva::new(at.wrapping_add(4)))?;
    if rva == 0 {
        return Ok(None);
    }
    let headers: u32 = cx.memory.read(Gva::new(optional.wrapping_add(0x3c)))?;
    if mapped || rva < headers {
        return Ok(Some((base.wrapping_add(u64::from(rva)), size)));
    }
    let sections: u16 = cx.memory.read(Gva::new(nt.wrapping_add(6)))?;
    let optional_size: u16 = cx.memory.read(Gva::new(nt.wrapping_add(0x14)))?;
    for number in 0..u64::from(sections) {
        let section = optional
            .wrapping_add(u64::from(optional_size))
            .wrapping_add(40 * number);
        let field = |offset| {
            cx.memory
                .read::<u32>(Gva::new(section.wrapping_add(offset)))
        };
        let (start, raw_size, raw) = (field(12)?, field(16)?, field(20)?);
        if rva >= start && rva - start < raw_size {
            let offset = u64::from(raw) + u64::from(rva - start);
            return Ok(Some((base.wrapping_add(offset), size)));
        }
    }
    Ok(None)
}

/// Images in memory.
pub struct Images;

#[exports("ntoskrnl.exe")]
impl Images {
    /// The address of the NT headers of an image whose size is known.
    #[page("")]
    #[irql(any)]
    #[assumed("as RtlImageNtHeader, with a check of the size")]
    fn RtlImageNtHeaderEx(
        cx: &mut Machine,
        Flags: u32,
        Base: Gva,
        Size: u64,
        OutHeaders: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        if OutHeaders.is_null() {
            return Ok(STATUS_INVALID_PARAMETER);
        }
        cx.memory.write(OutHeaders, 0)?;
        if Flags & !NO_RANGE_CHECK != 0 || Base.is_null() {
            return Ok(STATUS_INVALID_PARAMETER);
        }
        let check = Flags & NO_RANGE_CHECK == 0;
        if check && Size < 0x40 {
            return Ok(STATUS_INVALID_IMAGE_FORMAT);
        }
        match nt_headers(cx, Base.raw())? {
            Some(at) if !check || at.wrapping_sub(Base.raw()) < Size => {
                cx.memory.write(OutHeaders, at)?;
                Ok(STATUS_SUCCESS)
            }
            _ => Ok(STATUS_INVALID_IMAGE_FORMAT),
        }
    }

    /// A data directory of an image, or of a file as it lies on the disk; NULL if there is none.
    #[page("")]
    #[irql(any)]
    #[assumed("as ImageDirectoryEntryToData of dbghelp.h")]
    fn RtlImageDirectoryEntryToData(
        cx: &mut Machine,
        BaseOfImage: Gva,
        MappedAsImage: bool,
        DirectoryEntry: u16,
        Size: Gva<u32>,
    ) -> Result<Gva, Fault> {
        // An odd base is that of a mapped data file.
        let mapped = MappedAsImage && BaseOfImage.raw() & 1 == 0;
        let base = BaseOfImage.raw() & !3;
        match directory(cx, base, mapped, DirectoryEntry)? {
            Some((at, size)) => {
                cx.memory.write(Size, size)?;
                Ok(Gva::new(at))
            }
            None => Ok(Gva::NULL),
        }
    }

    /// The address of an export by name; NULL if there is none.
    #[page("")]
    #[irql(..=APC_LEVEL)]
    #[assumed("forwarded exports give NULL")]
    fn RtlFindExportedRoutineByName(
        cx: &mut Machine,
        ImageBase: Gva,
        RoutineName: Gva<CHAR>,
    ) -> Result<Gva, Fault> {
        let wanted = read_string(cx, RoutineName.raw(), false, 1024)?;
        let base = ImageBase.raw();
        let Some((table, size)) = directory(cx, base, true, EXPORT)? else {
            return Ok(Gva::NULL);
        };
        let field = |offset: u64| cx.memory.read::<u32>(Gva::new(table.wrapping_add(offset)));
        let at = |rva: u32, index: u64| base.wrapping_add(u64::from(rva)).wrapping_add(index);
        let (names, functions) = (field(0x18)?, field(0x14)?);
        let (function_table, name_table, ordinals) = (field(0x1c)?, field(0x20)?, field(0x24)?);
        for number in 0..u64::from(names.min(1 << 16)) {
            let name: u32 = cx.memory.read(Gva::new(at(name_table, 4 * number)))?;
            if read_string(cx, at(name, 0), false, 1024)? != wanted {
                continue;
            }
            let ordinal: u16 = cx.memory.read(Gva::new(at(ordinals, 2 * number)))?;
            if u32::from(ordinal) >= functions {
                return Ok(Gva::NULL);
            }
            let slot = at(function_table, 4 * u64::from(ordinal));
            let address = at(cx.memory.read(Gva::new(slot))?, 0);
            // An address inside the table is the text of a forwarder.
            let forwarded = address.wrapping_sub(table) < u64::from(size);
            return Ok(if forwarded {
                Gva::NULL
            } else {
                Gva::new(address)
            });
        }
        Ok(Gva::NULL)
    }
}
