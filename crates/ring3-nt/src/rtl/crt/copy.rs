//! Copying, appending and changing strings in place.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::{LIMIT, Text, lower, upper};
use crate::Machine;
use crate::export::argument::{CHAR, WCHAR};

fn copy(cx: &mut Machine, to: Text, at: u64, from: Text) -> Result<(), Fault> {
    let mut units = from.units(cx, LIMIT)?;
    units.push(0);
    to.write(cx, at, &units)
}

/// At most `count` units, the rest of them zero: no terminator if the source is as long.
fn copy_padded(cx: &mut Machine, to: Text, from: Text, count: u64) -> Result<(), Fault> {
    let units = from.units(cx, count)?;
    to.write(cx, 0, &units)?;
    for i in units.len() as u64..count {
        to.put(cx, i, 0)?;
    }
    Ok(())
}

/// At most `count` units behind the end, and a terminator.
fn append_some(cx: &mut Machine, to: Text, from: Text, count: u64) -> Result<(), Fault> {
    let end = to.length(cx, LIMIT)?;
    let mut units = from.units(cx, count)?;
    units.push(0);
    to.write(cx, end, &units)
}

fn map(cx: &mut Machine, text: Text, change: fn(u16) -> u16) -> Result<(), Fault> {
    let units: Vec<u16> = text.units(cx, LIMIT)?.into_iter().map(change).collect();
    text.write(cx, 0, &units)
}

fn reverse(cx: &mut Machine, text: Text) -> Result<(), Fault> {
    let units: Vec<u16> = text.units(cx, LIMIT)?.into_iter().rev().collect();
    text.write(cx, 0, &units)
}

fn set(cx: &mut Machine, text: Text, unit: u16, count: u64) -> Result<(), Fault> {
    let length = text.length(cx, count)?;
    text.write(cx, 0, &vec![unit; length as usize])
}

/// Copying and changing.
pub struct Copying;

#[exports("ntoskrnl.exe")]
impl Copying {
    /// Copies a string.
    #[page("")]
    #[irql(any)]
    fn strcpy(cx: &mut Machine, dest: Gva, source: Gva<CHAR>) -> Result<Gva, Fault> {
        copy(cx, Text::narrow(dest), 0, Text::narrow(source))?;
        Ok(dest)
    }

    /// Copies a wide string.
    #[page("")]
    #[irql(any)]
    fn wcscpy(cx: &mut Machine, dest: Gva<u16>, source: Gva<WCHAR>) -> Result<Gva<u16>, Fault> {
        copy(cx, Text::wide(dest), 0, Text::wide(source))?;
        Ok(dest)
    }

    /// Copies exactly `count` characters, zeros behind the end.
    #[page("")]
    #[irql(any)]
    fn strncpy(cx: &mut Machine, dest: Gva, source: Gva<CHAR>, count: u64) -> Result<Gva, Fault> {
        copy_padded(cx, Text::narrow(dest), Text::narrow(source), count)?;
        Ok(dest)
    }

    /// Copies exactly `count` wide characters, zeros behind the end.
    #[page("")]
    #[irql(any)]
    fn wcsncpy(
        cx: &mut Machine,
        dest: Gva<u16>,
        source: Gva<WCHAR>,
        count: u64,
    ) -> Result<Gva<u16>, Fault> {
        copy_padded(cx, Text::wide(dest), Text::wide(source), count)?;
        Ok(dest)
    }

    /// Appends a string.
    #[page("")]
    #[irql(any)]
    fn strcat(cx: &mut Machine, dest: Gva, source: Gva<CHAR>) -> Result<Gva, Fault> {
        append_some(cx, Text::narrow(dest), Text::narrow(source), LIMIT)?;
        Ok(dest)
    }

    /// Appends a wide string.
    #[page("")]
    #[irql(any)]
    fn wcscat(cx: &mut Machine, dest: Gva<u16>, source: Gva<WCHAR>) -> Result<Gva<u16>, Fault> {
        append_some(cx, Text::wide(dest), Text::wide(source), LIMIT)?;
        Ok(dest)
    }

    /// Appends at most `count` characters.
    #[page("")]
    #[irql(any)]
    fn strncat(cx: &mut Machine, dest: Gva, source: Gva<CHAR>, count: u64) -> Result<Gva, Fault> {
        append_some(cx, Text::narrow(dest), Text::narrow(source), count)?;
        Ok(dest)
    }

    /// Appends at most `count` wide characters.
    #[page("")]
    #[irql(any)]
    fn wcsncat(
        cx: &mut Machine,
        dest: Gva<u16>,
        source: Gva<WCHAR>,
        count: u64,
    ) -> Result<Gva<u16>, Fault> {
        append_some(cx, Text::wide(dest), Text::wide(source), count)?;
        Ok(dest)
    }

    /// Turns a string to lower case.
    #[page("")]
    #[irql(any)]
    #[alias("strlwr")]
    fn _strlwr(cx: &mut Machine, str: Gva) -> Result<Gva, Fault> {
        map(cx, Text::narrow(str), lower)?;
        Ok(str)
    }

    /// Turns a string to upper case.
    #[page("")]
    #[irql(any)]
    fn _strupr(cx: &mut Machine, str: Gva) -> Result<Gva, Fault> {
        map(cx, Text::narrow(str), upper)?;
        Ok(str)
    }

    /// Turns a wide string to lower case.
    #[page("")]
    #[irql(any)]
    #[alias("wcslwr")]
    fn _wcslwr(cx: &mut Machine, str: Gva<u16>) -> Result<Gva<u16>, Fault> {
        map(cx, Text::wide(str), lower)?;
        Ok(str)
    }

    /// Turns a wide string to upper case.
    #[page("")]
    #[irql(any)]
    fn _wcsupr(cx: &mut Machine, str: Gva<u16>) -> Result<Gva<u16>, Fault> {
        map(cx, Text::wide(str), upper)?;
        Ok(str)
    }

    /// Turns a string around.
    #[page("")]
    #[irql(any)]
    fn _strrev(cx: &mut Machine, str: Gva) -> Result<Gva, Fault> {
        reverse(cx, Text::narrow(str))?;
        Ok(str)
    }

    /// Turns a wide string around.
    #[page("")]
    #[irql(any)]
    fn _wcsrev(cx: &mut Machine, str: Gva<u16>) -> Result<Gva<u16>, Fault> {
        reverse(cx, Text::wide(str))?;
        Ok(str)
    }

    /// Sets all characters of a string.
    #[page("")]
    #[irql(any)]
    fn _strset(cx: &mut Machine, str: Gva, c: i32) -> Result<Gva, Fault> {
        set(cx, Text::narrow(str), c as u16, LIMIT)?;
        Ok(str)
    }

    /// Sets the first characters of a string.
    #[page("")]
    #[irql(any)]
    fn _strnset(cx: &mut Machine, str: Gva, c: i32, count: u64) -> Result<Gva, Fault> {
        set(cx, Text::narrow(str), c as u16, count)?;
        Ok(str)
    }

    /// Sets the first characters of a wide string.
    #[page("")]
    #[irql(any)]
    fn _wcsnset(cx: &mut Machine, str: Gva<u16>, c: u16, count: u64) -> Result<Gva<u16>, Fault> {
        set(cx, Text::wide(str), c, count)?;
        Ok(str)
    }
}
