//! Conversions between character sets. Documentation: ntifs.h, wdm.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::code_page;
use super::unicode_string::{ansi, bytes_of, store, units};
use crate::Machine;
use crate::layout::{ANSI_STRING, UNICODE_STRING};
use crate::ntstatus::{
    NTSTATUS, STATUS_BUFFER_TOO_SMALL, STATUS_INVALID_PARAMETER_4, STATUS_SOME_NOT_MAPPED,
    STATUS_SUCCESS,
};

/// Longest text that is converted.
const LIMIT: u64 = 1 << 20;

/// UTF-16 of UTF-8, and whether all of it was well formed.
fn from_utf8(bytes: &[u8]) -> (Vec<u16>, bool) {
    let text = String::from_utf8_lossy(bytes);
    let clean = matches!(text, std::borrow::Cow::Borrowed(_));
    (text.encode_utf16().collect(), clean)
}

/// UTF-8 of UTF-16, and whether all of it was well formed.
fn to_utf8(units: &[u16]) -> (Vec<u8>, bool) {
    let text = String::from_utf16_lossy(units);
    (text.into_bytes(), String::from_utf16(units).is_ok())
}

fn read_units(cx: &Machine, at: Gva<u16>, bytes: u32) -> Result<Vec<u16>, Fault> {
    let bytes = cx.memory.read_vec(at, u64::from(bytes & !1).min(LIMIT))?;
    Ok(bytes
        .chunks_exact(2)
        .map(|c| u16::from_le_bytes([c[0], c[1]]))
        .collect())
}

fn give(cx: &mut Machine, to: Gva<u32>, value: usize) -> Result<(), Fault> {
    if to.is_null() {
        Ok(())
    } else {
        cx.memory.write(to, value as u32)
    }
}

/// Answers a request for converted text whose buffer may be absent or too small.
fn answer(
    cx: &mut Machine,
    to: Gva,
    room: u32,
    result: Gva<u32>,
    bytes: &[u8],
    unit: usize,
    clean: bool,
) -> Result<NTSTATUS, Fault> {
    if to.is_null() {
        if result.is_null() {
            return Ok(STATUS_INVALID_PARAMETER_4);
        }
        give(cx, result, bytes.len())?;
        return Ok(STATUS_SUCCESS);
    }
    let fits = bytes.len().min(room as usize / unit * unit);
    cx.memory
        .write_bytes(to, bytes.get(..fits).unwrap_or(bytes))?;
    give(cx, result, fits)?;
    Ok(if fits < bytes.len() {
        STATUS_BUFFER_TOO_SMALL
    } else if clean {
        STATUS_SUCCESS
    } else {
        STATUS_SOME_NOT_MAPPED
    })
}

/// Conversions.
pub struct Conversions;

#[exports("ntoskrnl.exe")]
impl Conversions {
    /// Converts bytes of the ANSI code page; what does not fit is cut.
    #[page("ntifs/nf-ntifs-rtlmultibytetounicoden")]
    #[irql(PASSIVE_LEVEL)]
    #[assumed("the ANSI code page is 1252")]
    fn RtlMultiByteToUnicodeN(
        cx: &mut Machine,
        UnicodeString: Gva<u16>,
        MaxBytesInUnicodeString: u32,
        BytesInUnicodeString: Gva<u32>,
        MultiByteString: Gva,
        BytesInMultiByteString: u32,
    ) -> Result<NTSTATUS, Fault> {
        let bytes = cx.memory.read_vec(
            MultiByteString,
            u64::from(BytesInMultiByteString).min(LIMIT),
        )?;
        let mut text: Vec<u16> = bytes.into_iter().map(code_page::to_unicode).collect();
        text.truncate(MaxBytesInUnicodeString as usize / 2);
        cx.memory.write_bytes(UnicodeString, &bytes_of(&text))?;
        give(cx, BytesInUnicodeString, 2 * text.len())?;
        Ok(STATUS_SUCCESS)
    }

    /// Converts to bytes of the ANSI code page; what does not fit is cut.
    #[page("ntifs/nf-ntifs-rtlunicodetomultibyten")]
    #[irql(PASSIVE_LEVEL)]
    #[assumed("the ANSI code page is 1252, without best fit")]
    fn RtlUnicodeToMultiByteN(
        cx: &mut Machine,
        MultiByteString: Gva,
        MaxBytesInMultiByteString: u32,
        BytesInMultiByteString: Gva<u32>,
        UnicodeString: Gva<u16>,
        BytesInUnicodeString: u32,
    ) -> Result<NTSTATUS, Fault> {
        let mut bytes: Vec<u8> = read_units(cx, UnicodeString, BytesInUnicodeString)?
            .into_iter()
            .map(code_page::to_ansi)
            .collect();
        bytes.truncate(MaxBytesInMultiByteString as usize);
        cx.memory.write_bytes(MultiByteString, &bytes)?;
        give(cx, BytesInMultiByteString, bytes.len())?;
        Ok(STATUS_SUCCESS)
    }

    /// Bytes that text of the ANSI code page has in Unicode.
    #[page("ntifs/nf-ntifs-rtlmultibytetounicodesize")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlMultiByteToUnicodeSize(
        cx: &mut Machine,
        BytesInUnicodeString: Gva<u32>,
        MultiByteString: Gva,
        BytesInMultiByteString: u32,
    ) -> Result<NTSTATUS, Fault> {
        let _ = MultiByteString;
        cx.memory
            .write(BytesInUnicodeString, BytesInMultiByteString.wrapping_mul(2))?;
        Ok(STATUS_SUCCESS)
    }

    /// Bytes that Unicode text has in the ANSI code page.
    #[page("ntifs/nf-ntifs-rtlunicodetomultibytesize")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlUnicodeToMultiByteSize(
        cx: &mut Machine,
        BytesInMultiByteString: Gva<u32>,
        UnicodeString: Gva<u16>,
        BytesInUnicodeString: u32,
    ) -> Result<NTSTATUS, Fault> {
        let _ = UnicodeString;
        cx.memory
            .write(BytesInMultiByteString, BytesInUnicodeString / 2)?;
        Ok(STATUS_SUCCESS)
    }

    /// Bytes, with a terminator, that an ANSI string has in Unicode.
    #[page("wdm/nf-wdm-rtlxansistringtounicodesize")]
    #[irql(PASSIVE_LEVEL)]
    #[alias("RtlAnsiStringToUnicodeSize")]
    fn RtlxAnsiStringToUnicodeSize(
        cx: &mut Machine,
        AnsiString: Gva<ANSI_STRING>,
    ) -> Result<u32, Fault> {
        let length = cx.memory.get(AnsiString, ANSI_STRING::Length)?;
        Ok(2 * (u32::from(length) + 1))
    }

    /// Bytes, with a terminator, that a Unicode string has in the ANSI code page.
    #[page("wdm/nf-wdm-rtlxunicodestringtoansisize")]
    #[irql(PASSIVE_LEVEL)]
    #[alias("RtlUnicodeStringToAnsiSize")]
    fn RtlxUnicodeStringToAnsiSize(
        cx: &mut Machine,
        UnicodeString: Gva<UNICODE_STRING>,
    ) -> Result<u32, Fault> {
        let length = cx.memory.get(UnicodeString, UNICODE_STRING::Length)?;
        Ok(u32::from(length) / 2 + 1)
    }

    /// Converts UTF-8 to UTF-16. STATUS_SOME_NOT_MAPPED if some of it was not well formed.
    #[page("wdm/nf-wdm-rtlutf8tounicoden")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlUTF8ToUnicodeN(
        cx: &mut Machine,
        UnicodeStringDestination: Gva<u16>,
        UnicodeStringMaxByteCount: u32,
        UnicodeStringActualByteCount: Gva<u32>,
        UTF8StringSource: Gva,
        UTF8StringByteCount: u32,
    ) -> Result<NTSTATUS, Fault> {
        let bytes = cx
            .memory
            .read_vec(UTF8StringSource, u64::from(UTF8StringByteCount).min(LIMIT))?;
        let (text, clean) = from_utf8(&bytes);
        let bytes = bytes_of(&text);
        answer(
            cx,
            UnicodeStringDestination.cast(),
            UnicodeStringMaxByteCount,
            UnicodeStringActualByteCount,
            &bytes,
            2,
            clean,
        )
    }

    /// Converts UTF-16 to UTF-8. STATUS_SOME_NOT_MAPPED if some of it was not well formed.
    #[page("wdm/nf-wdm-rtlunicodetoutf8n")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("a buffer that is too small may end in a part of a character")]
    fn RtlUnicodeToUTF8N(
        cx: &mut Machine,
        UTF8StringDestination: Gva,
        UTF8StringMaxByteCount: u32,
        UTF8StringActualByteCount: Gva<u32>,
        UnicodeStringSource: Gva<u16>,
        UnicodeStringByteCount: u32,
    ) -> Result<NTSTATUS, Fault> {
        let (bytes, clean) = to_utf8(&read_units(
            cx,
            UnicodeStringSource,
            UnicodeStringByteCount,
        )?);
        answer(
            cx,
            UTF8StringDestination,
            UTF8StringMaxByteCount,
            UTF8StringActualByteCount,
            &bytes,
            1,
            clean,
        )
    }

    /// Converts a counted UTF-8 string.
    #[page("wdm/nf-wdm-rtlutf8stringtounicodestring")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlUTF8StringToUnicodeString(
        cx: &mut Machine,
        DestinationString: Gva<UNICODE_STRING>,
        SourceString: Gva<ANSI_STRING>,
        AllocateDestinationString: bool,
    ) -> Result<NTSTATUS, Fault> {
        let (text, _) = from_utf8(&ansi(cx, SourceString)?);
        store(
            cx,
            DestinationString,
            &bytes_of(&text),
            2,
            AllocateDestinationString,
        )
    }

    /// Converts a counted string to UTF-8.
    #[page("wdm/nf-wdm-rtlunicodestringtoutf8string")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlUnicodeStringToUTF8String(
        cx: &mut Machine,
        DestinationString: Gva<ANSI_STRING>,
        SourceString: Gva<UNICODE_STRING>,
        AllocateDestinationString: bool,
    ) -> Result<NTSTATUS, Fault> {
        let (bytes, _) = to_utf8(&units(cx, SourceString)?);
        store(
            cx,
            DestinationString.cast(),
            &bytes,
            1,
            AllocateDestinationString,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_text_is_replaced_and_said_to_be_bad() {
        assert_eq!(from_utf8("aä".as_bytes()), (vec![0x61, 0xe4], true));
        assert_eq!(from_utf8(&[0x61, 0xff]), (vec![0x61, 0xfffd], false));
        assert_eq!(to_utf8(&[0xd83d, 0xde00]), ("😀".as_bytes().to_vec(), true));
        assert_eq!(to_utf8(&[0xd83d]), ("\u{fffd}".as_bytes().to_vec(), false));
    }
}
