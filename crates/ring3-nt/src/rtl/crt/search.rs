//! Finding characters and strings.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::{LIMIT, Text};
use crate::Machine;
use crate::export::argument::{CHAR, WCHAR};

/// The first place of a unit; the terminator counts as part of the string.
fn first(cx: &Machine, text: Text, wanted: u16) -> Result<Gva, Fault> {
    for i in 0..LIMIT {
        let unit = text.get(cx, i)?;
        if unit == wanted {
            return Ok(text.address(i));
        }
        if unit == 0 {
            break;
        }
    }
    Ok(Gva::NULL)
}

fn last(cx: &Machine, text: Text, wanted: u16) -> Result<Gva, Fault> {
    let units = text.units(cx, LIMIT)?;
    let at = if wanted == 0 {
        Some(units.len())
    } else {
        units.iter().rposition(|u| *u == wanted)
    };
    Ok(at.map_or(Gva::NULL, |i| text.address(i as u64)))
}

fn string(cx: &Machine, text: Text, wanted: Text) -> Result<Gva, Fault> {
    let wanted = wanted.units(cx, LIMIT)?;
    if wanted.is_empty() {
        return Ok(text.address(0));
    }
    let units = text.units(cx, LIMIT)?;
    let at = units.windows(wanted.len()).position(|w| w == wanted);
    Ok(at.map_or(Gva::NULL, |i| text.address(i as u64)))
}

/// How many units at the start are in the set, or are not.
fn span(cx: &Machine, text: Text, set: Text, inside: bool) -> Result<u64, Fault> {
    let set = set.units(cx, LIMIT)?;
    let units = text.units(cx, LIMIT)?;
    Ok(units
        .iter()
        .take_while(|u| set.contains(u) == inside)
        .count() as u64)
}

/// Searching.
pub struct Searching;

#[exports("ntoskrnl.exe")]
impl Searching {
    /// The first place of a character in a string; NULL if there is none.
    #[page("")]
    #[irql(any)]
    fn strchr(cx: &mut Machine, str: Gva<CHAR>, c: i32) -> Result<Gva, Fault> {
        first(cx, Text::narrow(str), u16::from(c as u8))
    }

    /// The first place of a wide character in a string; NULL if there is none.
    #[page("")]
    #[irql(any)]
    fn wcschr(cx: &mut Machine, str: Gva<WCHAR>, c: u16) -> Result<Gva, Fault> {
        first(cx, Text::wide(str), c)
    }

    /// The last place of a character in a string; NULL if there is none.
    #[page("")]
    #[irql(any)]
    fn strrchr(cx: &mut Machine, str: Gva<CHAR>, c: i32) -> Result<Gva, Fault> {
        last(cx, Text::narrow(str), u16::from(c as u8))
    }

    /// The last place of a wide character in a string; NULL if there is none.
    #[page("")]
    #[irql(any)]
    fn wcsrchr(cx: &mut Machine, str: Gva<WCHAR>, c: u16) -> Result<Gva, Fault> {
        last(cx, Text::wide(str), c)
    }

    /// The first place of a string in another one; NULL if there is none.
    #[page("")]
    #[irql(any)]
    fn strstr(cx: &mut Machine, str: Gva<CHAR>, strSearch: Gva<CHAR>) -> Result<Gva, Fault> {
        string(cx, Text::narrow(str), Text::narrow(strSearch))
    }

    /// The first place of a wide string in another one; NULL if there is none.
    #[page("")]
    #[irql(any)]
    fn wcsstr(cx: &mut Machine, str: Gva<WCHAR>, strSearch: Gva<WCHAR>) -> Result<Gva, Fault> {
        string(cx, Text::wide(str), Text::wide(strSearch))
    }

    /// How many characters at the start of a string are in a set.
    #[page("")]
    #[irql(any)]
    fn strspn(cx: &mut Machine, str: Gva<CHAR>, strCharSet: Gva<CHAR>) -> Result<u64, Fault> {
        span(cx, Text::narrow(str), Text::narrow(strCharSet), true)
    }

    /// How many characters at the start of a wide string are in a set.
    #[page("")]
    #[irql(any)]
    fn wcsspn(cx: &mut Machine, str: Gva<WCHAR>, strCharSet: Gva<WCHAR>) -> Result<u64, Fault> {
        span(cx, Text::wide(str), Text::wide(strCharSet), true)
    }

    /// How many characters at the start of a wide string are not in a set.
    #[page("")]
    #[irql(any)]
    fn wcscspn(cx: &mut Machine, str: Gva<WCHAR>, strCharSet: Gva<WCHAR>) -> Result<u64, Fault> {
        span(cx, Text::wide(str), Text::wide(strCharSet), false)
    }

    /// The first place of a byte in a buffer; NULL if there is none.
    #[page("")]
    #[irql(any)]
    fn memchr(cx: &mut Machine, buffer: Gva, c: i32, count: u64) -> Result<Gva, Fault> {
        for i in 0..count {
            if cx.memory.read(buffer.byte_add(i))? == c as u8 {
                return Ok(buffer.byte_add(i));
            }
        }
        Ok(Gva::NULL)
    }
}
