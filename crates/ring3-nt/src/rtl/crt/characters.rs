//! Classes and case of characters, in the "C" locale.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::{Text, lower, upper};
use crate::Machine;
use crate::export::argument::{CHAR, WCHAR};

/// A character as a byte; what is none has no class.
fn ascii(c: i32) -> char {
    u8::try_from(c)
        .ok()
        .filter(u8::is_ascii)
        .map_or('\u{fffd}', char::from)
}

fn changed(c: i32, change: fn(u16) -> u16) -> i32 {
    u16::try_from(c).map_or(c, |unit| i32::from(change(unit)))
}

/// Characters.
pub struct Characters;

#[exports("ntoskrnl.exe")]
impl Characters {
    /// Not 0 for a decimal digit.
    #[page("")]
    #[irql(any)]
    fn isdigit(cx: &mut Machine, c: i32) -> i32 {
        let _ = &cx;
        i32::from(ascii(c).is_ascii_digit()) * 0x4
    }

    /// Not 0 for a hexadecimal digit.
    #[page("")]
    #[irql(any)]
    fn isxdigit(cx: &mut Machine, c: i32) -> i32 {
        let _ = &cx;
        i32::from(ascii(c).is_ascii_hexdigit()) * 0x80
    }

    /// Not 0 for a lower case letter.
    #[page("")]
    #[irql(any)]
    fn islower(cx: &mut Machine, c: i32) -> i32 {
        let _ = &cx;
        i32::from(ascii(c).is_ascii_lowercase()) * 0x2
    }

    /// Not 0 for an upper case letter.
    #[page("")]
    #[irql(any)]
    fn isupper(cx: &mut Machine, c: i32) -> i32 {
        let _ = &cx;
        i32::from(ascii(c).is_ascii_uppercase())
    }

    /// Not 0 for white space.
    #[page("")]
    #[irql(any)]
    fn isspace(cx: &mut Machine, c: i32) -> i32 {
        let _ = &cx;
        i32::from(matches!(c, 9..=13 | 32)) * 0x8
    }

    /// Not 0 for a character that can be printed.
    #[page("")]
    #[irql(any)]
    fn isprint(cx: &mut Machine, c: i32) -> i32 {
        let _ = &cx;
        i32::from((0x20..0x7f).contains(&c))
    }

    /// Lower case of a character.
    #[page("")]
    #[irql(any)]
    fn tolower(cx: &mut Machine, c: i32) -> i32 {
        let _ = &cx;
        changed(c, lower)
    }

    /// Upper case of a character.
    #[page("")]
    #[irql(any)]
    fn toupper(cx: &mut Machine, c: i32) -> i32 {
        let _ = &cx;
        changed(c, upper)
    }

    /// Lower case of a wide character.
    #[page("")]
    #[irql(any)]
    #[assumed("only A to Z change, as in the other functions of the kernel's C library")]
    fn towlower(cx: &mut Machine, c: u16) -> u16 {
        let _ = &cx;
        lower(c)
    }

    /// Upper case of a wide character.
    #[page("")]
    #[irql(any)]
    #[assumed("the case table is Unicode's, where it maps one unit to one unit")]
    fn towupper(cx: &mut Machine, c: u16) -> u16 {
        let _ = &cx;
        crate::rtl::unicode_string::upcase(c)
    }

    /// Converts one multibyte character.
    #[page("")]
    #[irql(PASSIVE_LEVEL)]
    #[assumed("bytes are the first 256 characters, as in the \"C\" locale")]
    fn mbtowc(
        cx: &mut Machine,
        wchar: Gva<u16>,
        mbchar: Gva<CHAR>,
        count: u64,
    ) -> Result<i32, Fault> {
        if mbchar.is_null() || count == 0 {
            return Ok(0);
        }
        let unit = Text::narrow(mbchar).get(cx, 0)?;
        if !wchar.is_null() {
            cx.memory.write(wchar, unit)?;
        }
        Ok(i32::from(unit != 0))
    }

    /// Converts one wide character.
    #[page("")]
    #[irql(PASSIVE_LEVEL)]
    #[assumed("bytes are the first 256 characters, as in the \"C\" locale")]
    fn wctomb(cx: &mut Machine, mbchar: Gva, wchar: u16) -> Result<i32, Fault> {
        if mbchar.is_null() {
            return Ok(0);
        }
        let Ok(byte) = u8::try_from(wchar) else {
            return Ok(-1);
        };
        cx.memory.write(mbchar, byte)?;
        Ok(1)
    }

    /// Converts a string to wide characters, at most `count`; with NULL only counts.
    #[page("")]
    #[irql(PASSIVE_LEVEL)]
    #[assumed("bytes are the first 256 characters, as in the \"C\" locale")]
    fn mbstowcs(
        cx: &mut Machine,
        wcstr: Gva<u16>,
        mbstr: Gva<CHAR>,
        count: u64,
    ) -> Result<u64, Fault> {
        if wcstr.is_null() {
            return Text::narrow(mbstr).length(cx, u64::MAX);
        }
        let units = Text::narrow(mbstr).units(cx, count)?;
        Text::wide(wcstr).write(cx, 0, &units)?;
        if (units.len() as u64) < count {
            Text::wide(wcstr).put(cx, units.len() as u64, 0)?;
        }
        Ok(units.len() as u64)
    }

    /// Converts a wide string to bytes, at most `count`; with NULL only counts. -1 for a character without a byte.
    #[page("")]
    #[irql(PASSIVE_LEVEL)]
    #[assumed("bytes are the first 256 characters, as in the \"C\" locale")]
    fn wcstombs(cx: &mut Machine, mbstr: Gva, wcstr: Gva<WCHAR>, count: u64) -> Result<u64, Fault> {
        let limit = if mbstr.is_null() { u64::MAX } else { count };
        let units = Text::wide(wcstr).units(cx, limit)?;
        if units.iter().any(|u| *u > 0xff) {
            return Ok(u64::MAX);
        }
        if !mbstr.is_null() {
            Text::narrow(mbstr).write(cx, 0, &units)?;
            if (units.len() as u64) < count {
                Text::narrow(mbstr).put(cx, units.len() as u64, 0)?;
            }
        }
        Ok(units.len() as u64)
    }
}
