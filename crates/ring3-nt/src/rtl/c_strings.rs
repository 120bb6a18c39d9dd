//! The part of the C library that the kernel exports: strings and formatted output.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::format::{format, read_string};
use super::unicode_string::downcase;
use crate::Machine;
use crate::export::VarArgs;
use crate::export::argument::{CHAR, WCHAR};

/// Longest string looked at.
const LIMIT: usize = 1 << 20;

/// Stores formatted text of at most `count` units; -1 if it did not fit, as `_snprintf` has it.
fn store(cx: &mut Machine, buffer: u64, count: u64, text: &[u16], wide: bool) -> Result<i32, Fault> {
    let width = if wide { 2 } else { 1 };
    let fits = (text.len() as u64).min(count);
    for (i, unit) in text.iter().take(fits as usize).enumerate() {
        let at = buffer.wrapping_add(width * i as u64);
        if wide {
            cx.memory.write(Gva::<u16>::new(at), *unit)?;
        } else {
            cx.memory.write(Gva::<u8>::new(at), *unit as u8)?;
        }
    }
    if fits < count {
        let at = buffer.wrapping_add(width * fits);
        if wide {
            cx.memory.write(Gva::<u16>::new(at), 0)?;
        } else {
            cx.memory.write(Gva::<u8>::new(at), 0)?;
        }
    }
    Ok(if text.len() as u64 > count { -1 } else { text.len() as i32 })
}

fn print(cx: &mut Machine, buffer: u64, count: u64, text: u64, args: &mut VarArgs, wide: bool) -> Result<i32, Fault> {
    let template = read_string(cx, text, wide, LIMIT)?;
    let units = format(cx, &template, args, wide)?;
    store(cx, buffer, count, &units, wide)
}

fn compare(a: &[u16], b: &[u16]) -> i32 {
    a.cmp(b) as i32
}

fn folded(cx: &Machine, at: u64, wide: bool, limit: usize) -> Result<Vec<u16>, Fault> {
    Ok(read_string(cx, at, wide, limit)?.into_iter().map(downcase).collect())
}

/// C library routines.
pub struct CStrings;

#[exports("ntoskrnl.exe")]
impl CStrings {
    /// Formats into a buffer of a size in wide characters.
    #[page("")]
    #[irql(PASSIVE_LEVEL)]
    fn _snwprintf(
        cx: &mut Machine,
        buffer: Gva<u16>,
        count: u64,
        Format: Gva<WCHAR>,
        mut arguments: VarArgs,
    ) -> Result<i32, Fault> {
        print(cx, buffer.raw(), count, Format.raw(), &mut arguments, true)
    }

    /// Formats into a buffer of a size in characters.
    #[page("")]
    #[irql(any)]
    fn _snprintf(
        cx: &mut Machine,
        buffer: Gva<u8>,
        count: u64,
        Format: Gva<CHAR>,
        mut arguments: VarArgs,
    ) -> Result<i32, Fault> {
        print(cx, buffer.raw(), count, Format.raw(), &mut arguments, false)
    }

    /// As _snwprintf, with a list of arguments.
    #[page("")]
    #[irql(PASSIVE_LEVEL)]
    fn _vsnwprintf(cx: &mut Machine, buffer: Gva<u16>, count: u64, Format: Gva<WCHAR>, argptr: Gva) -> Result<i32, Fault> {
        print(cx, buffer.raw(), count, Format.raw(), &mut VarArgs::from_list(argptr.raw()), true)
    }

    /// As _snprintf, with a list of arguments.
    #[page("")]
    #[irql(any)]
    fn _vsnprintf(cx: &mut Machine, buffer: Gva<u8>, count: u64, Format: Gva<CHAR>, argptr: Gva) -> Result<i32, Fault> {
        print(cx, buffer.raw(), count, Format.raw(), &mut VarArgs::from_list(argptr.raw()), false)
    }

    /// Formats into a buffer.
    #[page("")]
    #[irql(any)]
    fn sprintf(cx: &mut Machine, buffer: Gva<u8>, Format: Gva<CHAR>, mut arguments: VarArgs) -> Result<i32, Fault> {
        print(cx, buffer.raw(), u64::from(u32::MAX), Format.raw(), &mut arguments, false)
    }

    /// Formats into a wide buffer.
    #[page("")]
    #[irql(PASSIVE_LEVEL)]
    fn swprintf(cx: &mut Machine, buffer: Gva<u16>, Format: Gva<WCHAR>, mut arguments: VarArgs) -> Result<i32, Fault> {
        print(cx, buffer.raw(), u64::from(u32::MAX), Format.raw(), &mut arguments, true)
    }

    /// Length of a string.
    #[page("")]
    #[irql(any)]
    fn strlen(cx: &mut Machine, string: Gva<CHAR>) -> Result<u64, Fault> {
        Ok(read_string(cx, string.raw(), false, LIMIT)?.len() as u64)
    }

    /// Length of a wide string.
    #[page("")]
    #[irql(any)]
    fn wcslen(cx: &mut Machine, string: Gva<WCHAR>) -> Result<u64, Fault> {
        Ok(read_string(cx, string.raw(), true, LIMIT)?.len() as u64)
    }

    /// Compares strings.
    #[page("")]
    #[irql(any)]
    fn strcmp(cx: &mut Machine, string1: Gva<CHAR>, string2: Gva<CHAR>) -> Result<i32, Fault> {
        let a = read_string(cx, string1.raw(), false, LIMIT)?;
        Ok(compare(&a, &read_string(cx, string2.raw(), false, LIMIT)?))
    }

    /// Compares at most `count` characters.
    #[page("")]
    #[irql(any)]
    fn strncmp(cx: &mut Machine, string1: Gva<CHAR>, string2: Gva<CHAR>, count: u64) -> Result<i32, Fault> {
        let limit = (count as usize).min(LIMIT);
        let a = read_string(cx, string1.raw(), false, limit)?;
        Ok(compare(&a, &read_string(cx, string2.raw(), false, limit)?))
    }

    /// Compares wide strings.
    #[page("")]
    #[irql(any)]
    fn wcscmp(cx: &mut Machine, string1: Gva<WCHAR>, string2: Gva<WCHAR>) -> Result<i32, Fault> {
        let a = read_string(cx, string1.raw(), true, LIMIT)?;
        Ok(compare(&a, &read_string(cx, string2.raw(), true, LIMIT)?))
    }

    /// Compares at most `count` wide characters.
    #[page("")]
    #[irql(any)]
    fn wcsncmp(cx: &mut Machine, string1: Gva<WCHAR>, string2: Gva<WCHAR>, count: u64) -> Result<i32, Fault> {
        let limit = (count as usize).min(LIMIT);
        let a = read_string(cx, string1.raw(), true, limit)?;
        Ok(compare(&a, &read_string(cx, string2.raw(), true, limit)?))
    }

    /// Compares wide strings without case.
    #[page("")]
    #[irql(any)]
    fn _wcsicmp(cx: &mut Machine, string1: Gva<WCHAR>, string2: Gva<WCHAR>) -> Result<i32, Fault> {
        let a = folded(cx, string1.raw(), true, LIMIT)?;
        Ok(compare(&a, &folded(cx, string2.raw(), true, LIMIT)?))
    }

    /// Compares at most `count` wide characters without case.
    #[page("")]
    #[irql(any)]
    fn _wcsnicmp(cx: &mut Machine, string1: Gva<WCHAR>, string2: Gva<WCHAR>, count: u64) -> Result<i32, Fault> {
        let limit = (count as usize).min(LIMIT);
        let a = folded(cx, string1.raw(), true, limit)?;
        Ok(compare(&a, &folded(cx, string2.raw(), true, limit)?))
    }

    /// Compares strings without case.
    #[page("")]
    #[irql(any)]
    fn _stricmp(cx: &mut Machine, string1: Gva<CHAR>, string2: Gva<CHAR>) -> Result<i32, Fault> {
        let a = folded(cx, string1.raw(), false, LIMIT)?;
        Ok(compare(&a, &folded(cx, string2.raw(), false, LIMIT)?))
    }

    /// The first place of a wide character in a string; NULL if there is none.
    #[page("")]
    #[irql(any)]
    fn wcschr(cx: &mut Machine, str: Gva<WCHAR>, c: u16) -> Result<Gva, Fault> {
        let text = read_string(cx, str.raw(), true, LIMIT)?;
        let at = if c == 0 { Some(text.len()) } else { text.iter().position(|u| *u == c) };
        Ok(at.map_or(Gva::NULL, |i| str.cast::<u8>().byte_add(2 * i as u64)))
    }

    /// The last place of a wide character in a string; NULL if there is none.
    #[page("")]
    #[irql(any)]
    fn wcsrchr(cx: &mut Machine, str: Gva<WCHAR>, c: u16) -> Result<Gva, Fault> {
        let text = read_string(cx, str.raw(), true, LIMIT)?;
        let at = if c == 0 { Some(text.len()) } else { text.iter().rposition(|u| *u == c) };
        Ok(at.map_or(Gva::NULL, |i| str.cast::<u8>().byte_add(2 * i as u64)))
    }

    /// The first place of a string in another one; NULL if there is none.
    #[page("")]
    #[irql(any)]
    fn strstr(cx: &mut Machine, str: Gva<CHAR>, strSearch: Gva<CHAR>) -> Result<Gva, Fault> {
        let text = read_string(cx, str.raw(), false, LIMIT)?;
        let wanted = read_string(cx, strSearch.raw(), false, LIMIT)?;
        if wanted.is_empty() {
            return Ok(str.cast());
        }
        let at = text.windows(wanted.len()).position(|w| w == wanted);
        Ok(at.map_or(Gva::NULL, |i| str.cast::<u8>().byte_add(i as u64)))
    }
}
