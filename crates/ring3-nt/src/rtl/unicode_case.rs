//! More routines on counted strings: case, copies, hashes, checks. Documentation: wdm.h, ntifs.h, ntstrsafe.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::unicode_string::{bytes_of, compare, downcase, set, store, units, upcase};
use crate::Machine;
use crate::export::argument::WCHAR;
use crate::layout::UNICODE_STRING;
use crate::ntstatus::{NTSTATUS, STATUS_INVALID_PARAMETER, STATUS_NAME_TOO_LONG, STATUS_SUCCESS};
use crate::rtl::format::read_string;

/// Longest UNICODE_STRING in bytes with its terminator.
const MAX: usize = 0xfffe;
/// `RTL_DUPLICATE_UNICODE_STRING_NULL_TERMINATE`, `.._ALLOCATE_NULL_STRING`.
const NULL_TERMINATE: u32 = 1;
const ALLOCATE_NULL_STRING: u32 = 2;
/// `HASH_STRING_ALGORITHM_DEFAULT` and `.._X65599`.
const HASH_DEFAULT: u32 = 0;
const HASH_X65599: u32 = 1;

/// The X65599 hash: multiply by 65599 and add each unit.
#[must_use]
pub fn hash(units: &[u16], insensitive: bool) -> u32 {
    units.iter().fold(0u32, |value, unit| {
        let unit = if insensitive { upcase(*unit) } else { *unit };
        value.wrapping_mul(65599).wrapping_add(u32::from(unit))
    })
}

fn units_at(cx: &Machine, at: Gva<u16>, count: u64) -> Result<Vec<u16>, Fault> {
    let bytes = cx
        .memory
        .read_vec(at, count.saturating_mul(2).min(1 << 20))?;
    Ok(bytes
        .chunks_exact(2)
        .map(|c| u16::from_le_bytes([c[0], c[1]]))
        .collect())
}

/// More routines on counted strings.
pub struct UnicodeCase;

#[exports("ntoskrnl.exe")]
impl UnicodeCase {
    /// Makes a counted string of NUL-terminated text that is not too long.
    #[page("wdm/nf-wdm-rtlinitunicodestring")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlInitUnicodeStringEx(
        cx: &mut Machine,
        DestinationString: Gva<UNICODE_STRING>,
        SourceString: Gva<WCHAR>,
    ) -> Result<NTSTATUS, Fault> {
        if SourceString.is_null() {
            set(cx, DestinationString, 0, 0, Gva::NULL)?;
            return Ok(STATUS_SUCCESS);
        }
        let length = 2 * read_string(cx, SourceString.raw(), true, 0x8000)?.len();
        if length + 2 > MAX {
            return Ok(STATUS_NAME_TOO_LONG);
        }
        set(
            cx,
            DestinationString,
            length as u64,
            length as u64 + 2,
            SourceString.cast(),
        )?;
        Ok(STATUS_SUCCESS)
    }

    /// Copies NUL-terminated text into a counted string that is allocated. FALSE without memory.
    #[page("ntifs/nf-ntifs-rtlcreateunicodestring")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlCreateUnicodeString(
        cx: &mut Machine,
        DestinationString: Gva<UNICODE_STRING>,
        SourceString: Gva<WCHAR>,
    ) -> Result<bool, Fault> {
        let text = read_string(cx, SourceString.raw(), true, 0x8000)?;
        Ok(store(cx, DestinationString, &bytes_of(&text), 2, true)?.is_success())
    }

    /// Copies a counted string into one that is allocated.
    #[page("ntifs/nf-ntifs-rtlduplicateunicodestring")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlDuplicateUnicodeString(
        cx: &mut Machine,
        Flags: u32,
        StringIn: Gva<UNICODE_STRING>,
        StringOut: Gva<UNICODE_STRING>,
    ) -> Result<NTSTATUS, Fault> {
        if Flags & !(NULL_TERMINATE | ALLOCATE_NULL_STRING) != 0 || Flags == ALLOCATE_NULL_STRING {
            return Ok(STATUS_INVALID_PARAMETER);
        }
        let text = units(cx, StringIn)?;
        if text.is_empty() && Flags & ALLOCATE_NULL_STRING == 0 {
            set(cx, StringOut, 0, 0, Gva::NULL)?;
            return Ok(STATUS_SUCCESS);
        }
        let terminator = if Flags & NULL_TERMINATE != 0 { 2 } else { 0 };
        if 2 * text.len() + terminator as usize > MAX {
            return Ok(STATUS_NAME_TOO_LONG);
        }
        store(cx, StringOut, &bytes_of(&text), terminator, true)
    }

    /// Lower case of a character.
    #[page("ntifs/nf-ntifs-rtldowncaseunicodechar")]
    #[irql(PASSIVE_LEVEL)]
    #[assumed("the case table is Unicode's, where it maps one unit to one unit")]
    fn RtlDowncaseUnicodeChar(cx: &mut Machine, SourceCharacter: u16) -> u16 {
        let _ = &cx;
        downcase(SourceCharacter)
    }

    /// Copies a counted string in lower case.
    #[page("wdm/nf-wdm-rtldowncaseunicodestring")]
    #[irql(PASSIVE_LEVEL)]
    #[assumed("the case table is Unicode's, where it maps one unit to one unit")]
    fn RtlDowncaseUnicodeString(
        cx: &mut Machine,
        DestinationString: Gva<UNICODE_STRING>,
        SourceString: Gva<UNICODE_STRING>,
        AllocateDestinationString: bool,
    ) -> Result<NTSTATUS, Fault> {
        let text: Vec<u16> = units(cx, SourceString)?.into_iter().map(downcase).collect();
        store(
            cx,
            DestinationString,
            &bytes_of(&text),
            0,
            AllocateDestinationString,
        )
    }

    /// Compares two buffers of text.
    #[page("ntifs/nf-ntifs-rtlcompareunicodestrings")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlCompareUnicodeStrings(
        cx: &mut Machine,
        String1: Gva<u16>,
        String1Length: u64,
        String2: Gva<u16>,
        String2Length: u64,
        CaseInSensitive: bool,
    ) -> Result<i32, Fault> {
        let (a, b) = (
            units_at(cx, String1, String1Length)?,
            units_at(cx, String2, String2Length)?,
        );
        Ok(compare(&a, &b, CaseInSensitive) as i32)
    }

    /// TRUE if the first counted string ends the second one.
    #[page("ntifs/nf-ntifs-rtlsuffixunicodestring")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlSuffixUnicodeString(
        cx: &mut Machine,
        String1: Gva<UNICODE_STRING>,
        String2: Gva<UNICODE_STRING>,
        CaseInSensitive: bool,
    ) -> Result<bool, Fault> {
        let (suffix, text) = (units(cx, String1)?, units(cx, String2)?);
        let tail = text
            .len()
            .checked_sub(suffix.len())
            .and_then(|at| text.get(at..));
        Ok(tail.is_some_and(|t| compare(&suffix, t, CaseInSensitive).is_eq()))
    }

    /// A hash of a counted string.
    #[page("wdm/nf-wdm-rtlhashunicodestring")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlHashUnicodeString(
        cx: &mut Machine,
        String: Gva<UNICODE_STRING>,
        CaseInSensitive: bool,
        HashAlgorithm: u32,
        HashValue: Gva<u32>,
    ) -> Result<NTSTATUS, Fault> {
        if String.is_null()
            || HashValue.is_null()
            || !matches!(HashAlgorithm, HASH_DEFAULT | HASH_X65599)
        {
            return Ok(STATUS_INVALID_PARAMETER);
        }
        let text = units(cx, String)?;
        cx.memory.write(HashValue, hash(&text, CaseInSensitive))?;
        Ok(STATUS_SUCCESS)
    }

    /// Checks the lengths of a counted string.
    #[page("ntstrsafe/nf-ntstrsafe-rtlunicodestringvalidate")]
    #[irql(any)]
    fn RtlValidateUnicodeString(
        cx: &mut Machine,
        Flags: u32,
        String: Gva<UNICODE_STRING>,
    ) -> Result<NTSTATUS, Fault> {
        if Flags != 0 {
            return Ok(STATUS_INVALID_PARAMETER);
        }
        if String.is_null() {
            return Ok(STATUS_SUCCESS);
        }
        let length = cx.memory.get(String, UNICODE_STRING::Length)?;
        let maximum = cx.memory.get(String, UNICODE_STRING::MaximumLength)?;
        let buffer = cx.memory.get(String, UNICODE_STRING::Buffer)?;
        let odd = length % 2 != 0 || maximum % 2 != 0;
        let missing = buffer.is_null() && maximum != 0;
        Ok(if odd || length > maximum || missing {
            STATUS_INVALID_PARAMETER
        } else {
            STATUS_SUCCESS
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_x65599() {
        assert_eq!(hash(&[], false), 0);
        assert_eq!(hash(&[1, 2], false), 65599 + 2);
        let text = |s: &str| s.encode_utf16().collect::<Vec<_>>();
        assert_eq!(hash(&text("Echo"), true), hash(&text("eCHO"), true));
        assert_ne!(hash(&text("Echo"), false), hash(&text("eCHO"), false));
    }
}
