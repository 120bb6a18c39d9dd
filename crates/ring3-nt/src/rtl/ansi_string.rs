//! Counted 8-bit strings. Documentation: wdm.h, ntddk.h, ntifs.h.

use std::cmp::Ordering;

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::code_page;
use super::unicode_string::{ansi, downcase, set, upcase};
use crate::Machine;
use crate::export::argument::CHAR;
use crate::layout::{ANSI_STRING, UNICODE_STRING};
use crate::ntstatus::{NTSTATUS, STATUS_BUFFER_TOO_SMALL, STATUS_NAME_TOO_LONG, STATUS_SUCCESS};
use crate::rtl::format::read_string;

/// Upper case of a byte of the ANSI code page.
#[must_use]
pub fn upper(byte: u8) -> u8 {
    let unit = code_page::to_unicode(byte);
    let up = upcase(unit);
    // A character whose capital is not in the code page stays as it is.
    if downcase(up) == unit || up == unit {
        keep(code_page::to_ansi(up), byte, up)
    } else {
        byte
    }
}

fn keep(new: u8, old: u8, unit: u16) -> u8 {
    if new == b'?' && unit != u16::from(b'?') {
        old
    } else {
        new
    }
}

fn compare(a: &[u8], b: &[u8], insensitive: bool) -> Ordering {
    let fold = |c: &u8| if insensitive { upper(*c) } else { *c };
    a.iter().map(fold).cmp(b.iter().map(fold))
}

fn append(cx: &mut Machine, to: Gva<ANSI_STRING>, text: &[u8]) -> Result<NTSTATUS, Fault> {
    let to = to.cast::<UNICODE_STRING>();
    let length = cx.memory.get(to, UNICODE_STRING::Length)?;
    let maximum = cx.memory.get(to, UNICODE_STRING::MaximumLength)?;
    let after = usize::from(length) + text.len();
    if after > usize::from(maximum) {
        return Ok(STATUS_BUFFER_TOO_SMALL);
    }
    let buffer = cx.memory.get(to, UNICODE_STRING::Buffer)?.cast::<u8>();
    cx.memory
        .write_bytes(buffer.byte_add(u64::from(length)), text)?;
    cx.memory.set(to, UNICODE_STRING::Length, after as u16)?;
    Ok(STATUS_SUCCESS)
}

/// Routines on 8-bit strings.
pub struct AnsiStrings;

#[exports("ntoskrnl.exe")]
impl AnsiStrings {
    /// Makes a counted ANSI string of NUL-terminated text that is not too long.
    #[page("wdm/nf-wdm-rtlinitansistring")]
    #[irql(..=DISPATCH_LEVEL)]
    #[alias("RtlInitStringEx")]
    fn RtlInitAnsiStringEx(
        cx: &mut Machine,
        DestinationString: Gva<ANSI_STRING>,
        SourceString: Gva<CHAR>,
    ) -> Result<NTSTATUS, Fault> {
        let text = if SourceString.is_null() {
            Vec::new()
        } else {
            read_string(cx, SourceString.raw(), false, 0x1_0000)?
        };
        if text.len() > 0xfffe {
            return Ok(STATUS_NAME_TOO_LONG);
        }
        let maximum = if SourceString.is_null() {
            0
        } else {
            text.len() as u64 + 1
        };
        set(
            cx,
            DestinationString.cast(),
            text.len() as u64,
            maximum,
            SourceString.cast(),
        )?;
        Ok(STATUS_SUCCESS)
    }

    /// Copies a counted string; what does not fit is cut.
    #[page("ntddk/nf-ntddk-rtlcopystring")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlCopyString(
        cx: &mut Machine,
        DestinationString: Gva<ANSI_STRING>,
        SourceString: Gva<ANSI_STRING>,
    ) -> Result<(), Fault> {
        let mut text = if SourceString.is_null() {
            Vec::new()
        } else {
            ansi(cx, SourceString)?
        };
        let to = DestinationString.cast::<UNICODE_STRING>();
        text.truncate(usize::from(
            cx.memory.get(to, UNICODE_STRING::MaximumLength)?,
        ));
        let buffer = cx.memory.get(to, UNICODE_STRING::Buffer)?;
        cx.memory.write_bytes(buffer, &text)?;
        cx.memory.set(to, UNICODE_STRING::Length, text.len() as u16)
    }

    /// Appends a counted string.
    #[page("ntifs/nf-ntifs-rtlappendstringtostring")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlAppendStringToString(
        cx: &mut Machine,
        Destination: Gva<ANSI_STRING>,
        Source: Gva<ANSI_STRING>,
    ) -> Result<NTSTATUS, Fault> {
        let text = ansi(cx, Source)?;
        append(cx, Destination, &text)
    }

    /// Appends NUL-terminated text.
    #[page("ntifs/nf-ntifs-rtlappendasciiztostring")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlAppendAsciizToString(
        cx: &mut Machine,
        Destination: Gva<ANSI_STRING>,
        Source: Gva<CHAR>,
    ) -> Result<NTSTATUS, Fault> {
        if Source.is_null() {
            return Ok(STATUS_SUCCESS);
        }
        let text: Vec<u8> = read_string(cx, Source.raw(), false, 0x1_0000)?
            .into_iter()
            .map(|u| u as u8)
            .collect();
        append(cx, Destination, &text)
    }

    /// Compares two counted strings.
    #[page("ntddk/nf-ntddk-rtlcomparestring")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlCompareString(
        cx: &mut Machine,
        String1: Gva<ANSI_STRING>,
        String2: Gva<ANSI_STRING>,
        CaseInSensitive: bool,
    ) -> Result<i32, Fault> {
        Ok(compare(&ansi(cx, String1)?, &ansi(cx, String2)?, CaseInSensitive) as i32)
    }

    /// TRUE if two counted strings are equal.
    #[page("ntddk/nf-ntddk-rtlequalstring")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlEqualString(
        cx: &mut Machine,
        String1: Gva<ANSI_STRING>,
        String2: Gva<ANSI_STRING>,
        CaseInSensitive: bool,
    ) -> Result<bool, Fault> {
        Ok(compare(&ansi(cx, String1)?, &ansi(cx, String2)?, CaseInSensitive) == Ordering::Equal)
    }

    /// TRUE if the first counted string starts the second one.
    #[page("ntifs/nf-ntifs-rtlprefixstring")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlPrefixString(
        cx: &mut Machine,
        String1: Gva<ANSI_STRING>,
        String2: Gva<ANSI_STRING>,
        CaseInSensitive: bool,
    ) -> Result<bool, Fault> {
        let (prefix, text) = (ansi(cx, String1)?, ansi(cx, String2)?);
        let head = text.get(..prefix.len());
        Ok(head.is_some_and(|h| compare(&prefix, h, CaseInSensitive) == Ordering::Equal))
    }

    /// Upper case of a character.
    #[page("ntddk/nf-ntddk-rtlupperchar")]
    #[irql(..=DISPATCH_LEVEL)]
    #[assumed("the ANSI code page is 1252")]
    fn RtlUpperChar(cx: &mut Machine, Character: u8) -> u8 {
        let _ = &cx;
        upper(Character)
    }

    /// Copies a counted string in upper case; what does not fit is cut.
    #[page("ntddk/nf-ntddk-rtlupperstring")]
    #[irql(..=DISPATCH_LEVEL)]
    #[assumed("the ANSI code page is 1252")]
    fn RtlUpperString(
        cx: &mut Machine,
        DestinationString: Gva<ANSI_STRING>,
        SourceString: Gva<ANSI_STRING>,
    ) -> Result<(), Fault> {
        let mut text: Vec<u8> = ansi(cx, SourceString)?.into_iter().map(upper).collect();
        let to = DestinationString.cast::<UNICODE_STRING>();
        text.truncate(usize::from(
            cx.memory.get(to, UNICODE_STRING::MaximumLength)?,
        ));
        let buffer = cx.memory.get(to, UNICODE_STRING::Buffer)?;
        cx.memory.write_bytes(buffer, &text)?;
        cx.memory.set(to, UNICODE_STRING::Length, text.len() as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_stays_inside_the_code_page() {
        assert_eq!(upper(b'z'), b'Z');
        assert_eq!(upper(0xe4), 0xc4);
        assert_eq!(upper(0xff), 0x9f, "y with diaeresis");
        assert_eq!(
            upper(0xb5),
            0xb5,
            "the micro sign's capital is not in the code page"
        );
        assert_eq!(upper(0xdf), 0xdf);
        assert_eq!(compare(b"Abc", b"aBC", true), Ordering::Equal);
        assert_eq!(compare(b"Abc", b"aBC", false), Ordering::Less);
        assert_eq!(compare(b"ab", b"abc", true), Ordering::Less);
    }
}
