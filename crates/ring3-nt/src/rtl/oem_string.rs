//! Strings of the OEM code page. Documentation: ntifs.h, "RtlUnicodeStringToOemString" and neighbours.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::code_page::{oem_of, oem_to_unicode, to_oem};
use super::unicode_string::{ansi, bytes_of, set, store, units, upcase};
use crate::Machine;
use crate::layout::{ANSI_STRING, UNICODE_STRING};
use crate::ntstatus::{NTSTATUS, STATUS_SUCCESS, STATUS_UNMAPPABLE_CHARACTER};

/// Longest text that is converted.
const LIMIT: u64 = 1 << 20;

/// The upper case of text as the OEM code page has it: there and back, upper case, there again.
fn upcase_oem(units: &[u16]) -> impl Iterator<Item = u16> + '_ {
    units
        .iter()
        .map(|unit| upcase(oem_to_unicode(to_oem(*unit))))
}

/// Stores text whose characters must all be in the code page.
fn store_counted(
    cx: &mut Machine,
    to: Gva<ANSI_STRING>,
    text: &[u16],
    upper: bool,
    allocate: bool,
) -> Result<NTSTATUS, Fault> {
    let to = to.cast();
    if text.is_empty() {
        set(cx, to, 0, 0, Gva::NULL)?;
        return Ok(STATUS_SUCCESS);
    }
    let bytes: Option<Vec<u8>> = if upper {
        text.iter()
            .map(|unit| oem_of(*unit).and_then(|byte| oem_of(upcase(oem_to_unicode(byte)))))
            .collect()
    } else {
        text.iter().map(|unit| oem_of(*unit)).collect()
    };
    match bytes {
        Some(bytes) => store(cx, to, &bytes, 0, allocate),
        None => Ok(STATUS_UNMAPPABLE_CHARACTER),
    }
}

/// Units of a buffer of so many bytes.
fn units_at(cx: &Machine, at: Gva<u16>, bytes: u32) -> Result<Vec<u16>, Fault> {
    let bytes = cx.memory.read_vec(at, u64::from(bytes & !1).min(LIMIT))?;
    Ok(bytes
        .chunks_exact(2)
        .map(|c| u16::from_le_bytes([c[0], c[1]]))
        .collect())
}

/// Writes as many bytes as there is room for, and tells how many.
fn give(
    cx: &mut Machine,
    to: Gva,
    room: u32,
    written: Gva<u32>,
    mut bytes: Vec<u8>,
) -> Result<NTSTATUS, Fault> {
    bytes.truncate(room as usize);
    cx.memory.write_bytes(to, &bytes)?;
    if !written.is_null() {
        cx.memory.write(written, bytes.len() as u32)?;
    }
    Ok(STATUS_SUCCESS)
}

/// Strings of the OEM code page.
pub struct OemStrings;

#[exports("ntoskrnl.exe")]
impl OemStrings {
    /// Converts an OEM string to Unicode, with a terminator.
    #[page("ntifs/nf-ntifs-rtloemstringtounicodestring")]
    #[irql(..=APC_LEVEL)]
    #[assumed("the OEM code page is 437")]
    fn RtlOemStringToUnicodeString(
        cx: &mut Machine,
        DestinationString: Gva<UNICODE_STRING>,
        SourceString: Gva<ANSI_STRING>,
        AllocateDestinationString: bool,
    ) -> Result<NTSTATUS, Fault> {
        let text: Vec<u16> = ansi(cx, SourceString)?
            .into_iter()
            .map(oem_to_unicode)
            .collect();
        store(
            cx,
            DestinationString,
            &bytes_of(&text),
            2,
            AllocateDestinationString,
        )
    }

    /// Converts an OEM string to Unicode, without a terminator.
    #[page("ntifs/nf-ntifs-rtloemstringtocountedunicodestring")]
    #[irql(..=APC_LEVEL)]
    #[assumed("the OEM code page is 437")]
    fn RtlOemStringToCountedUnicodeString(
        cx: &mut Machine,
        DestinationString: Gva<UNICODE_STRING>,
        SourceString: Gva<ANSI_STRING>,
        AllocateDestinationString: bool,
    ) -> Result<NTSTATUS, Fault> {
        let text: Vec<u16> = ansi(cx, SourceString)?
            .into_iter()
            .map(oem_to_unicode)
            .collect();
        if text.is_empty() {
            set(cx, DestinationString, 0, 0, Gva::NULL)?;
            return Ok(STATUS_SUCCESS);
        }
        store(
            cx,
            DestinationString,
            &bytes_of(&text),
            0,
            AllocateDestinationString,
        )
    }

    /// Converts a Unicode string to OEM, with a terminator.
    #[page("ntifs/nf-ntifs-rtlunicodestringtooemstring")]
    #[irql(..=APC_LEVEL)]
    #[assumed("the OEM code page is 437, without best fit")]
    fn RtlUnicodeStringToOemString(
        cx: &mut Machine,
        DestinationString: Gva<ANSI_STRING>,
        SourceString: Gva<UNICODE_STRING>,
        AllocateDestinationString: bool,
    ) -> Result<NTSTATUS, Fault> {
        let bytes: Vec<u8> = units(cx, SourceString)?.into_iter().map(to_oem).collect();
        store(
            cx,
            DestinationString.cast(),
            &bytes,
            1,
            AllocateDestinationString,
        )
    }

    /// Converts a Unicode string to OEM, in upper case and with a terminator.
    #[page("ntifs/nf-ntifs-rtlupcaseunicodestringtooemstring")]
    #[irql(..=APC_LEVEL)]
    #[assumed("the OEM code page is 437, without best fit")]
    fn RtlUpcaseUnicodeStringToOemString(
        cx: &mut Machine,
        DestinationString: Gva<ANSI_STRING>,
        SourceString: Gva<UNICODE_STRING>,
        AllocateDestinationString: bool,
    ) -> Result<NTSTATUS, Fault> {
        let bytes: Vec<u8> = upcase_oem(&units(cx, SourceString)?).map(to_oem).collect();
        store(
            cx,
            DestinationString.cast(),
            &bytes,
            1,
            AllocateDestinationString,
        )
    }

    /// Converts a Unicode string to OEM, without a terminator.
    #[page("ntifs/nf-ntifs-rtlunicodestringtocountedoemstring")]
    #[irql(..=APC_LEVEL)]
    #[assumed("the OEM code page is 437, without best fit")]
    fn RtlUnicodeStringToCountedOemString(
        cx: &mut Machine,
        DestinationString: Gva<ANSI_STRING>,
        SourceString: Gva<UNICODE_STRING>,
        AllocateDestinationString: bool,
    ) -> Result<NTSTATUS, Fault> {
        let text = units(cx, SourceString)?;
        store_counted(
            cx,
            DestinationString,
            &text,
            false,
            AllocateDestinationString,
        )
    }

    /// Converts a Unicode string to OEM, in upper case and without a terminator.
    #[page("ntifs/nf-ntifs-rtlupcaseunicodestringtocountedoemstring")]
    #[irql(..=APC_LEVEL)]
    #[assumed("the OEM code page is 437, without best fit")]
    fn RtlUpcaseUnicodeStringToCountedOemString(
        cx: &mut Machine,
        DestinationString: Gva<ANSI_STRING>,
        SourceString: Gva<UNICODE_STRING>,
        AllocateDestinationString: bool,
    ) -> Result<NTSTATUS, Fault> {
        let text = units(cx, SourceString)?;
        store_counted(
            cx,
            DestinationString,
            &text,
            true,
            AllocateDestinationString,
        )
    }

    /// Frees the buffer of an OEM string that a conversion has allocated.
    #[page("ntifs/nf-ntifs-rtlfreeoemstring")]
    #[irql(..=APC_LEVEL)]
    fn RtlFreeOemString(cx: &mut Machine, OemString: Gva<ANSI_STRING>) -> Result<(), Fault> {
        let buffer = cx.memory.get(OemString, ANSI_STRING::Buffer)?;
        if !buffer.is_null() {
            cx.pool_free(buffer.cast());
        }
        Ok(())
    }

    /// Converts bytes of the OEM code page; what does not fit is cut.
    #[page("ntifs/nf-ntifs-rtloemtounicoden")]
    #[irql(..=APC_LEVEL)]
    #[assumed("the OEM code page is 437")]
    fn RtlOemToUnicodeN(
        cx: &mut Machine,
        UnicodeString: Gva<u16>,
        MaxBytesInUnicodeString: u32,
        BytesInUnicodeString: Gva<u32>,
        OemString: Gva,
        BytesInOemString: u32,
    ) -> Result<NTSTATUS, Fault> {
        let bytes = cx
            .memory
            .read_vec(OemString, u64::from(BytesInOemString).min(LIMIT))?;
        let text: Vec<u16> = bytes.into_iter().map(oem_to_unicode).collect();
        let room = MaxBytesInUnicodeString & !1;
        give(
            cx,
            UnicodeString.cast(),
            room,
            BytesInUnicodeString,
            bytes_of(&text),
        )
    }

    /// Converts to bytes of the OEM code page; what does not fit is cut.
    #[page("ntifs/nf-ntifs-rtlunicodetooemn")]
    #[irql(..=APC_LEVEL)]
    #[assumed("the OEM code page is 437, without best fit")]
    fn RtlUnicodeToOemN(
        cx: &mut Machine,
        OemString: Gva,
        MaxBytesInOemString: u32,
        BytesInOemString: Gva<u32>,
        UnicodeString: Gva<u16>,
        BytesInUnicodeString: u32,
    ) -> Result<NTSTATUS, Fault> {
        let text = units_at(cx, UnicodeString, BytesInUnicodeString)?;
        let bytes = text.into_iter().map(to_oem).collect();
        give(cx, OemString, MaxBytesInOemString, BytesInOemString, bytes)
    }

    /// Converts to upper case bytes of the OEM code page; what does not fit is cut.
    #[page("ntifs/nf-ntifs-rtlupcaseunicodetooemn")]
    #[irql(..=APC_LEVEL)]
    #[assumed("the OEM code page is 437, without best fit")]
    fn RtlUpcaseUnicodeToOemN(
        cx: &mut Machine,
        OemString: Gva,
        MaxBytesInOemString: u32,
        BytesInOemString: Gva<u32>,
        UnicodeString: Gva<u16>,
        BytesInUnicodeString: u32,
    ) -> Result<NTSTATUS, Fault> {
        let text = units_at(cx, UnicodeString, BytesInUnicodeString)?;
        let bytes = upcase_oem(&text).map(to_oem).collect();
        give(cx, OemString, MaxBytesInOemString, BytesInOemString, bytes)
    }

    /// Converts to upper case bytes of the ANSI code page; what does not fit is cut.
    #[page("ntifs/nf-ntifs-rtlupcaseunicodetomultibyten")]
    #[irql(..=APC_LEVEL)]
    #[assumed("the ANSI code page is 1252, without best fit")]
    fn RtlUpcaseUnicodeToMultiByteN(
        cx: &mut Machine,
        MultiByteString: Gva,
        MaxBytesInMultiByteString: u32,
        BytesInMultiByteString: Gva<u32>,
        UnicodeString: Gva<u16>,
        BytesInUnicodeString: u32,
    ) -> Result<NTSTATUS, Fault> {
        let text = units_at(cx, UnicodeString, BytesInUnicodeString)?;
        let bytes = text
            .into_iter()
            .map(|unit| super::code_page::to_ansi(upcase(unit)))
            .collect();
        give(
            cx,
            MultiByteString,
            MaxBytesInMultiByteString,
            BytesInMultiByteString,
            bytes,
        )
    }

    /// Bytes, with a terminator, that an OEM string has in Unicode.
    #[page("ntifs/nf-ntifs-rtlxoemstringtounicodesize")]
    #[irql(..=APC_LEVEL)]
    #[alias("RtlOemStringToUnicodeSize")]
    fn RtlxOemStringToUnicodeSize(
        cx: &mut Machine,
        OemString: Gva<ANSI_STRING>,
    ) -> Result<u32, Fault> {
        let length = cx.memory.get(OemString, ANSI_STRING::Length)?;
        Ok(2 * (u32::from(length) + 1))
    }

    /// Bytes, with a terminator, that a Unicode string has in the OEM code page.
    #[page("ntifs/nf-ntifs-rtlxunicodestringtooemsize")]
    #[irql(..=APC_LEVEL)]
    #[alias("RtlUnicodeStringToOemSize")]
    fn RtlxUnicodeStringToOemSize(
        cx: &mut Machine,
        UnicodeString: Gva<UNICODE_STRING>,
    ) -> Result<u32, Fault> {
        let length = cx.memory.get(UnicodeString, UNICODE_STRING::Length)?;
        Ok(u32::from(length) / 2 + 1)
    }

    /// TRUE if a character is in the OEM code page; it becomes its upper case there.
    #[page("ntifs/nf-ntifs-rtlisvalidoemcharacter")]
    #[irql(..=APC_LEVEL)]
    #[assumed("the OEM code page is 437")]
    fn RtlIsValidOemCharacter(cx: &mut Machine, Char: Gva<u16>) -> Result<bool, Fault> {
        let unit = cx.memory.read(Char)?;
        let Some(upper) = oem_of(unit).map(|byte| upcase(oem_to_unicode(byte))) else {
            return Ok(false);
        };
        let stays = oem_of(upper).is_some();
        if stays {
            cx.memory.write(Char, upper)?;
        }
        Ok(stays)
    }
}
