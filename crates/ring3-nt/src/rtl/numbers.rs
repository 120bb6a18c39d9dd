//! Numbers and GUIDs as text. Documentation: wdm.h, ntddk.h, ntifs.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::unicode_string::{bytes_of, store, units};
use crate::Machine;
use crate::export::argument::CHAR;
use crate::layout::{GUID, UNICODE_STRING};
use crate::ntstatus::{NTSTATUS, STATUS_BUFFER_OVERFLOW, STATUS_INVALID_PARAMETER, STATUS_SUCCESS};
use crate::rtl::format::read_string;

/// Longest text of a number that is looked at.
const LONGEST: usize = 256;

/// The digits of a number, capitals from A on.
#[must_use]
pub fn digits(mut value: u64, base: u32) -> Option<String> {
    let base = match base {
        0 => 10,
        2 | 8 | 10 | 16 => u64::from(base),
        _ => return None,
    };
    let mut text = Vec::new();
    loop {
        text.push(char::from_digit((value % base) as u32, 16)?.to_ascii_uppercase());
        value /= base;
        if value == 0 {
            break;
        }
    }
    Some(text.into_iter().rev().collect())
}

/// A number as `RtlUnicodeStringToInteger` reads it: blanks, a sign, for base 0 a prefix 0x, 0o or 0b,
/// then digits as far as there are any. `None` for a base that is none.
fn parse(text: &str, base: u32) -> Option<u64> {
    let rest = text.trim_start_matches(|c: char| c <= ' ');
    let (negative, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest.strip_prefix('+').unwrap_or(rest)),
    };
    let (base, rest) = match base {
        0 if rest.starts_with("0x") => (16, rest.get(2..)?),
        0 if rest.starts_with("0o") => (8, rest.get(2..)?),
        0 if rest.starts_with("0b") => (2, rest.get(2..)?),
        0 => (10, rest),
        2 | 8 | 10 | 16 => (base, rest),
        _ => return None,
    };
    let value = rest
        .chars()
        .map_while(|c| c.to_digit(base))
        .fold(0u64, |value, digit| {
            value
                .wrapping_mul(u64::from(base))
                .wrapping_add(u64::from(digit))
        });
    Some(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

/// A GUID in its registry form.
#[must_use]
pub fn guid_text(bytes: [u8; 16]) -> String {
    let b = bytes;
    format!(
        "{{{:08X}-{:04X}-{:04X}-{:02X}{:02X}-{:02X}{:02X}{:02X}{:02X}{:02X}{:02X}}}",
        u32::from_le_bytes([b[0], b[1], b[2], b[3]]),
        u16::from_le_bytes([b[4], b[5]]),
        u16::from_le_bytes([b[6], b[7]]),
        b[8],
        b[9],
        b[10],
        b[11],
        b[12],
        b[13],
        b[14],
        b[15]
    )
}

/// The bytes of a GUID in its registry form.
#[must_use]
pub fn guid_bytes(text: &str) -> Option<[u8; 16]> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    let parts: Vec<&str> = inner.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|p| p.len()).collect();
    if lengths != [8, 4, 4, 4, 12] || !inner.chars().all(|c| c == '-' || c.is_ascii_hexdigit()) {
        return None;
    }
    let number = |at: usize| u64::from_str_radix(parts.get(at)?, 16).ok();
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&(number(0)? as u32).to_le_bytes());
    bytes[4..6].copy_from_slice(&(number(1)? as u16).to_le_bytes());
    bytes[6..8].copy_from_slice(&(number(2)? as u16).to_le_bytes());
    bytes[8..10].copy_from_slice(&(number(3)? as u16).to_be_bytes());
    bytes[10..].copy_from_slice(&number(4)?.to_be_bytes()[2..]);
    Some(bytes)
}

fn store_text(
    cx: &mut Machine,
    string: Gva<UNICODE_STRING>,
    text: &str,
    allocate: bool,
) -> Result<NTSTATUS, Fault> {
    let units: Vec<u16> = text.encode_utf16().collect();
    store(cx, string, &bytes_of(&units), 2, allocate)
}

fn text_of(cx: &Machine, string: Gva<UNICODE_STRING>) -> Result<String, Fault> {
    Ok(String::from_utf16_lossy(&units(cx, string)?))
}

/// Numbers and GUIDs.
pub struct Numbers;

#[exports("ntoskrnl.exe")]
impl Numbers {
    /// Writes a number in a base.
    #[page("wdm/nf-wdm-rtlintegertounicodestring")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlIntegerToUnicodeString(
        cx: &mut Machine,
        Value: u32,
        Base: u32,
        String: Gva<UNICODE_STRING>,
    ) -> Result<NTSTATUS, Fault> {
        match digits(u64::from(Value), Base) {
            Some(text) => store_text(cx, String, &text, false),
            None => Ok(STATUS_INVALID_PARAMETER),
        }
    }

    /// Writes a 64-bit number in a base.
    #[page("wdm/nf-wdm-rtlint64tounicodestring")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlInt64ToUnicodeString(
        cx: &mut Machine,
        Value: u64,
        Base: u32,
        String: Gva<UNICODE_STRING>,
    ) -> Result<NTSTATUS, Fault> {
        match digits(Value, Base) {
            Some(text) => store_text(cx, String, &text, false),
            None => Ok(STATUS_INVALID_PARAMETER),
        }
    }

    /// Writes a number in a base as NUL-terminated bytes, the terminator where there is room.
    #[page("")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlIntegerToChar(
        cx: &mut Machine,
        Value: u32,
        Base: u32,
        OutputLength: i32,
        String: Gva,
    ) -> Result<NTSTATUS, Fault> {
        let Some(text) = digits(u64::from(Value), Base) else {
            return Ok(STATUS_INVALID_PARAMETER);
        };
        // A negative length asks for leading zeros to exactly that length.
        let length = OutputLength.unsigned_abs() as usize;
        if text.len() > length {
            return Ok(STATUS_BUFFER_OVERFLOW);
        }
        let mut bytes = if OutputLength < 0 {
            vec![b'0'; length - text.len()]
        } else {
            Vec::new()
        };
        bytes.extend_from_slice(text.as_bytes());
        if bytes.len() < length {
            bytes.push(0);
        }
        cx.memory.write_bytes(String, &bytes)?;
        Ok(STATUS_SUCCESS)
    }

    /// Reads a number.
    #[page("wdm/nf-wdm-rtlunicodestringtointeger")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlUnicodeStringToInteger(
        cx: &mut Machine,
        String: Gva<UNICODE_STRING>,
        Base: u32,
        Value: Gva<u32>,
    ) -> Result<NTSTATUS, Fault> {
        let Some(value) = parse(&text_of(cx, String)?, Base) else {
            return Ok(STATUS_INVALID_PARAMETER);
        };
        cx.memory.write(Value, value as u32)?;
        Ok(STATUS_SUCCESS)
    }

    /// Reads a 64-bit number.
    #[page("wdm/nf-wdm-rtlunicodestringtoint64")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("the end of the number is not given")]
    fn RtlUnicodeStringToInt64(
        cx: &mut Machine,
        String: Gva<UNICODE_STRING>,
        Base: u32,
        Number: Gva<u64>,
        EndPointer: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        let _ = EndPointer;
        let Some(value) = parse(&text_of(cx, String)?, Base) else {
            return Ok(STATUS_INVALID_PARAMETER);
        };
        cx.memory.write(Number, value)?;
        Ok(STATUS_SUCCESS)
    }

    /// Reads a number from NUL-terminated text.
    #[page("ntddk/nf-ntddk-rtlchartointeger")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlCharToInteger(
        cx: &mut Machine,
        String: Gva<CHAR>,
        Base: u32,
        Value: Gva<u32>,
    ) -> Result<NTSTATUS, Fault> {
        let text = String::from_utf16_lossy(&read_string(cx, String.raw(), false, LONGEST)?);
        let Some(value) = parse(&text, Base) else {
            return Ok(STATUS_INVALID_PARAMETER);
        };
        cx.memory.write(Value, value as u32)?;
        Ok(STATUS_SUCCESS)
    }

    /// Writes a GUID as text into a string that is allocated.
    #[page("wdm/nf-wdm-rtlstringfromguid")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlStringFromGUID(
        cx: &mut Machine,
        Guid: Gva<GUID>,
        GuidString: Gva<UNICODE_STRING>,
    ) -> Result<NTSTATUS, Fault> {
        let mut bytes = [0; 16];
        cx.memory.read_bytes(Guid, &mut bytes)?;
        store_text(cx, GuidString, &guid_text(bytes), true)
    }

    /// Reads a GUID.
    #[page("wdm/nf-wdm-rtlguidfromstring")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlGUIDFromString(
        cx: &mut Machine,
        GuidString: Gva<UNICODE_STRING>,
        Guid: Gva<GUID>,
    ) -> Result<NTSTATUS, Fault> {
        let Some(bytes) = guid_bytes(&text_of(cx, GuidString)?) else {
            return Ok(STATUS_INVALID_PARAMETER);
        };
        cx.memory.write_bytes(Guid, &bytes)?;
        Ok(STATUS_SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_and_out() {
        assert_eq!(digits(0xbeef, 16).as_deref(), Some("BEEF"));
        assert_eq!(digits(0, 0).as_deref(), Some("0"));
        assert_eq!(
            digits(u64::MAX, 10).as_deref(),
            Some("18446744073709551615")
        );
        assert_eq!(digits(1, 7), None);
        assert_eq!(parse("  -12abc", 10), Some(12u64.wrapping_neg()));
        assert_eq!(parse("0x1F", 0), Some(31));
        assert_eq!(parse("0b101", 0), Some(5));
        assert_eq!(parse("x", 10), Some(0));
        assert_eq!(parse("1", 3), None);
    }

    #[test]
    fn guids_in_and_out() {
        let text = "{5E1CE668-47CB-410E-A664-5C705AE4D71B}";
        let bytes = guid_bytes(&text.to_lowercase()).expect("a GUID");
        assert_eq!(bytes[..4], [0x68, 0xe6, 0x1c, 0x5e]);
        assert_eq!(guid_text(bytes), text);
        assert_eq!(guid_bytes("{5E1CE668-47CB-410E-A6645C705AE4D71B}"), None);
        assert_eq!(guid_bytes("5E1CE668-47CB-410E-A664-5C705AE4D71B"), None);
        assert_eq!(guid_bytes("{+E1CE668-47CB-410E-A664-5C705AE4D71B}"), None);
    }
}
