//! Counted strings. Documentation: wdm.h, ntifs.h, "Rtl" string routines.

use std::cmp::Ordering;

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::export::argument::{CHAR, WCHAR};
use crate::layout::{ANSI_STRING, UNICODE_STRING};
use crate::ntstatus::{
    NTSTATUS, STATUS_BUFFER_OVERFLOW, STATUS_BUFFER_TOO_SMALL, STATUS_INVALID_PARAMETER,
    STATUS_NO_MEMORY, STATUS_SUCCESS,
};
use crate::rtl::code_page;
use crate::rtl::format::read_string;

const TAG: u32 = u32::from_le_bytes(*b"Strg");
/// Longest counted string in bytes.
const MAX: u64 = 0xfffe;

/// The units of a counted string.
///
/// # Errors
/// A fault if it cannot be read.
pub fn units(cx: &Machine, string: Gva<UNICODE_STRING>) -> Result<Vec<u16>, Fault> {
    let length = cx.memory.get(string, UNICODE_STRING::Length)?;
    let buffer = cx.memory.get(string, UNICODE_STRING::Buffer)?;
    let bytes = cx.memory.read_vec(buffer, u64::from(length & !1))?;
    Ok(bytes
        .chunks_exact(2)
        .map(|c| u16::from_le_bytes([c[0], c[1]]))
        .collect())
}

pub(super) fn ansi(cx: &Machine, string: Gva<ANSI_STRING>) -> Result<Vec<u8>, Fault> {
    let length = cx.memory.get(string.cast(), UNICODE_STRING::Length)?;
    let buffer = cx.memory.get(string.cast(), UNICODE_STRING::Buffer)?;
    cx.memory.read_vec(buffer, u64::from(length))
}

/// Writes the three fields.
pub(super) fn set(
    cx: &mut Machine,
    string: Gva<UNICODE_STRING>,
    length: u64,
    maximum: u64,
    buffer: Gva,
) -> Result<(), Fault> {
    cx.memory
        .set(string, UNICODE_STRING::Length, length as u16)?;
    cx.memory
        .set(string, UNICODE_STRING::MaximumLength, maximum as u16)?;
    cx.memory.set(string, UNICODE_STRING::Buffer, buffer.cast())
}

pub(crate) fn bytes_of(units: &[u16]) -> Vec<u8> {
    units.iter().flat_map(|u| u.to_le_bytes()).collect()
}

/// Upper case of a unit: one unit to one unit, as the kernel's table maps it.
#[must_use]
pub fn upcase(unit: u16) -> u16 {
    let Some(c) = char::from_u32(u32::from(unit)) else {
        return unit;
    };
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(u), None) => u16::try_from(u as u32).unwrap_or(unit),
        _ => unit,
    }
}

/// Lower case of a unit.
#[must_use]
pub fn downcase(unit: u16) -> u16 {
    let Some(c) = char::from_u32(u32::from(unit)) else {
        return unit;
    };
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(u), None) => u16::try_from(u as u32).unwrap_or(unit),
        _ => unit,
    }
}

/// Compares as `RtlCompareUnicodeString` does.
#[must_use]
pub fn compare(a: &[u16], b: &[u16], insensitive: bool) -> Ordering {
    let fold = |u: &u16| if insensitive { upcase(*u) } else { *u };
    a.iter().map(fold).cmp(b.iter().map(fold))
}

/// Appends text to a counted string.
pub(super) fn append(
    cx: &mut Machine,
    string: Gva<UNICODE_STRING>,
    text: &[u16],
) -> Result<NTSTATUS, Fault> {
    let length = u64::from(cx.memory.get(string, UNICODE_STRING::Length)?);
    let maximum = u64::from(cx.memory.get(string, UNICODE_STRING::MaximumLength)?);
    let buffer = cx.memory.get(string, UNICODE_STRING::Buffer)?;
    let bytes = bytes_of(text);
    let after = length + bytes.len() as u64;
    if after > maximum {
        return Ok(STATUS_BUFFER_TOO_SMALL);
    }
    cx.memory
        .write_bytes(buffer.cast::<u8>().byte_add(length), &bytes)?;
    if after + 2 <= maximum {
        cx.memory
            .write(buffer.cast::<u8>().byte_add(after).cast::<u16>(), 0)?;
    }
    cx.memory
        .set(string, UNICODE_STRING::Length, after as u16)?;
    Ok(STATUS_SUCCESS)
}

/// Stores text in a counted string, with or without a buffer of its own.
pub(crate) fn store(
    cx: &mut Machine,
    string: Gva<UNICODE_STRING>,
    text: &[u8],
    terminator: u64,
    allocate: bool,
) -> Result<NTSTATUS, Fault> {
    let length = text.len() as u64;
    if length + terminator > MAX {
        return Ok(STATUS_INVALID_PARAMETER);
    }
    let buffer = if allocate {
        let owner = cx.caller;
        let Some(at) = cx.pool_allocate_for(Pool::Paged, length + terminator, TAG, owner) else {
            return Ok(STATUS_NO_MEMORY);
        };
        set(cx, string, length, length + terminator, at)?;
        at
    } else {
        let maximum = u64::from(cx.memory.get(string, UNICODE_STRING::MaximumLength)?);
        // Conversions, which terminate, also want room behind the text.
        if length + terminator.min(1) > maximum {
            return Ok(STATUS_BUFFER_OVERFLOW);
        }
        let at = cx.memory.get(string, UNICODE_STRING::Buffer)?;
        cx.memory
            .set(string, UNICODE_STRING::Length, length as u16)?;
        at.cast()
    };
    cx.memory.write_bytes(buffer, text)?;
    let maximum = u64::from(cx.memory.get(string, UNICODE_STRING::MaximumLength)?);
    if length + terminator <= maximum {
        cx.memory.fill(buffer.byte_add(length), terminator, 0)?;
    }
    Ok(STATUS_SUCCESS)
}

fn free(cx: &mut Machine, string: Gva<UNICODE_STRING>) -> Result<(), Fault> {
    let buffer = cx.memory.get(string, UNICODE_STRING::Buffer)?;
    if !buffer.is_null() {
        cx.pool_free(buffer.cast());
        set(cx, string, 0, 0, Gva::NULL)?;
    }
    Ok(())
}

/// Routines on counted strings.
pub struct UnicodeStrings;

#[exports("ntoskrnl.exe")]
impl UnicodeStrings {
    /// Makes a counted string of NUL-terminated text.
    #[page("wdm/nf-wdm-rtlinitunicodestring")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlInitUnicodeString(
        cx: &mut Machine,
        DestinationString: Gva<UNICODE_STRING>,
        SourceString: Gva<WCHAR>,
    ) -> Result<(), Fault> {
        if SourceString.is_null() {
            return set(cx, DestinationString, 0, 0, Gva::NULL);
        }
        let text = read_string(cx, SourceString.raw(), true, 0x8000)?;
        let length = (2 * text.len() as u64).min(MAX - 2);
        set(
            cx,
            DestinationString,
            length,
            length + 2,
            SourceString.cast(),
        )
    }

    /// Makes a counted ANSI string of NUL-terminated text.
    #[page("wdm/nf-wdm-rtlinitansistring")]
    #[irql(..=DISPATCH_LEVEL)]
    #[alias("RtlInitString")]
    fn RtlInitAnsiString(
        cx: &mut Machine,
        DestinationString: Gva<ANSI_STRING>,
        SourceString: Gva<CHAR>,
    ) -> Result<(), Fault> {
        if SourceString.is_null() {
            return set(cx, DestinationString.cast(), 0, 0, Gva::NULL);
        }
        let text = read_string(cx, SourceString.raw(), false, 0x1_0000)?;
        let length = (text.len() as u64).min(MAX);
        set(
            cx,
            DestinationString.cast(),
            length,
            length + 1,
            SourceString.cast(),
        )
    }

    /// Copies a counted string; what does not fit is cut.
    #[page("wdm/nf-wdm-rtlcopyunicodestring")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlCopyUnicodeString(
        cx: &mut Machine,
        DestinationString: Gva<UNICODE_STRING>,
        SourceString: Gva<UNICODE_STRING>,
    ) -> Result<(), Fault> {
        let text = if SourceString.is_null() {
            Vec::new()
        } else {
            units(cx, SourceString)?
        };
        let maximum = usize::from(
            cx.memory
                .get(DestinationString, UNICODE_STRING::MaximumLength)?,
        );
        let mut bytes = bytes_of(&text);
        bytes.truncate(maximum & !1);
        let buffer = cx
            .memory
            .get(DestinationString, UNICODE_STRING::Buffer)?
            .cast::<u8>();
        cx.memory.write_bytes(buffer, &bytes)?;
        if bytes.len() + 2 <= maximum {
            cx.memory
                .write(buffer.byte_add(bytes.len() as u64).cast::<u16>(), 0)?;
        }
        cx.memory.set(
            DestinationString,
            UNICODE_STRING::Length,
            bytes.len() as u16,
        )
    }

    /// Appends NUL-terminated text.
    #[page("wdm/nf-wdm-rtlappendunicodetostring")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlAppendUnicodeToString(
        cx: &mut Machine,
        Destination: Gva<UNICODE_STRING>,
        Source: Gva<WCHAR>,
    ) -> Result<NTSTATUS, Fault> {
        if Source.is_null() {
            return Ok(STATUS_SUCCESS);
        }
        let text = read_string(cx, Source.raw(), true, 0x8000)?;
        append(cx, Destination, &text)
    }

    /// Appends a counted string.
    #[page("wdm/nf-wdm-rtlappendunicodestringtostring")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlAppendUnicodeStringToString(
        cx: &mut Machine,
        Destination: Gva<UNICODE_STRING>,
        Source: Gva<UNICODE_STRING>,
    ) -> Result<NTSTATUS, Fault> {
        let text = units(cx, Source)?;
        append(cx, Destination, &text)
    }

    /// Compares two counted strings.
    #[page("wdm/nf-wdm-rtlcompareunicodestring")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlCompareUnicodeString(
        cx: &mut Machine,
        String1: Gva<UNICODE_STRING>,
        String2: Gva<UNICODE_STRING>,
        CaseInSensitive: bool,
    ) -> Result<i32, Fault> {
        Ok(compare(&units(cx, String1)?, &units(cx, String2)?, CaseInSensitive) as i32)
    }

    /// TRUE if two counted strings are equal.
    #[page("wdm/nf-wdm-rtlequalunicodestring")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlEqualUnicodeString(
        cx: &mut Machine,
        String1: Gva<UNICODE_STRING>,
        String2: Gva<UNICODE_STRING>,
        CaseInSensitive: bool,
    ) -> Result<bool, Fault> {
        Ok(compare(&units(cx, String1)?, &units(cx, String2)?, CaseInSensitive) == Ordering::Equal)
    }

    /// TRUE if the first counted string starts the second one.
    #[page("ntddk/nf-ntddk-rtlprefixunicodestring")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlPrefixUnicodeString(
        cx: &mut Machine,
        String1: Gva<UNICODE_STRING>,
        String2: Gva<UNICODE_STRING>,
        CaseInSensitive: bool,
    ) -> Result<bool, Fault> {
        let (prefix, text) = (units(cx, String1)?, units(cx, String2)?);
        let head = text.get(..prefix.len());
        Ok(head.is_some_and(|h| compare(&prefix, h, CaseInSensitive) == Ordering::Equal))
    }

    /// Upper case of a character.
    #[page("ntifs/nf-ntifs-rtlupcaseunicodechar")]
    #[irql(PASSIVE_LEVEL)]
    #[assumed("the case table is Unicode's, where it maps one unit to one unit")]
    fn RtlUpcaseUnicodeChar(cx: &mut Machine, SourceCharacter: u16) -> u16 {
        let _ = &cx;
        upcase(SourceCharacter)
    }

    /// Copies a counted string in upper case.
    #[page("ntifs/nf-ntifs-rtlupcaseunicodestring")]
    #[irql(PASSIVE_LEVEL)]
    #[assumed("the case table is Unicode's, where it maps one unit to one unit")]
    fn RtlUpcaseUnicodeString(
        cx: &mut Machine,
        DestinationString: Gva<UNICODE_STRING>,
        SourceString: Gva<UNICODE_STRING>,
        AllocateDestinationString: bool,
    ) -> Result<NTSTATUS, Fault> {
        let text: Vec<u16> = units(cx, SourceString)?.into_iter().map(upcase).collect();
        store(
            cx,
            DestinationString,
            &bytes_of(&text),
            0,
            AllocateDestinationString,
        )
    }

    /// Converts an ANSI string; characters are those of the ANSI code page.
    #[page("wdm/nf-wdm-rtlansistringtounicodestring")]
    #[irql(PASSIVE_LEVEL)]
    #[assumed("the ANSI code page is 1252, without best fit")]
    fn RtlAnsiStringToUnicodeString(
        cx: &mut Machine,
        DestinationString: Gva<UNICODE_STRING>,
        SourceString: Gva<ANSI_STRING>,
        AllocateDestinationString: bool,
    ) -> Result<NTSTATUS, Fault> {
        let text: Vec<u16> = ansi(cx, SourceString)?
            .into_iter()
            .map(code_page::to_unicode)
            .collect();
        store(
            cx,
            DestinationString,
            &bytes_of(&text),
            2,
            AllocateDestinationString,
        )
    }

    /// Converts to an ANSI string; what the ANSI code page does not have becomes a question mark.
    #[page("wdm/nf-wdm-rtlunicodestringtoansistring")]
    #[irql(PASSIVE_LEVEL)]
    #[assumed("the ANSI code page is 1252, without best fit")]
    fn RtlUnicodeStringToAnsiString(
        cx: &mut Machine,
        DestinationString: Gva<ANSI_STRING>,
        SourceString: Gva<UNICODE_STRING>,
        AllocateDestinationString: bool,
    ) -> Result<NTSTATUS, Fault> {
        let text: Vec<u8> = units(cx, SourceString)?
            .into_iter()
            .map(code_page::to_ansi)
            .collect();
        store(
            cx,
            DestinationString.cast(),
            &text,
            1,
            AllocateDestinationString,
        )
    }

    /// Frees the buffer of a string that the system allocated.
    #[page("wdm/nf-wdm-rtlfreeunicodestring")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlFreeUnicodeString(
        cx: &mut Machine,
        UnicodeString: Gva<UNICODE_STRING>,
    ) -> Result<(), Fault> {
        free(cx, UnicodeString)
    }

    /// Frees the buffer of an ANSI string that the system allocated.
    #[page("wdm/nf-wdm-rtlfreeansistring")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlFreeAnsiString(cx: &mut Machine, AnsiString: Gva<ANSI_STRING>) -> Result<(), Fault> {
        free(cx, AnsiString.cast())
    }
}
