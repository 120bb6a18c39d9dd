//! How argument values are printed in traces and findings.

use ring3_memory::Gva;

use crate::Machine;
use crate::ntstatus::NTSTATUS;

/// Longest string printed, in characters.
const MAX_TEXT: usize = 96;

/// An address: `NULL` or hexadecimal.
#[must_use]
pub fn pointer(value: u64) -> String {
    if value == 0 {
        "NULL".into()
    } else {
        format!("{value:#x}")
    }
}

/// An unsigned number: small ones decimal, others hexadecimal.
#[must_use]
pub fn unsigned(value: impl Into<u64>) -> String {
    let value = value.into();
    if value < 0x1_0000 {
        value.to_string()
    } else {
        format!("{value:#x}")
    }
}

/// A size.
#[must_use]
pub fn size(value: usize) -> String {
    unsigned(value as u64)
}

/// A signed number.
#[must_use]
pub fn signed(value: impl Into<i64>) -> String {
    value.into().to_string()
}

/// A `BOOLEAN`.
#[must_use]
pub fn boolean(value: bool) -> String {
    if value { "TRUE".into() } else { "FALSE".into() }
}

/// A status by name.
#[must_use]
pub fn status(value: NTSTATUS) -> String {
    value
        .name()
        .map_or_else(|| format!("{:#010x}", value.0), str::to_owned)
}

/// A NUL-terminated ANSI string.
#[must_use]
pub fn ansi(cx: &Machine, pointer: Gva<u8>) -> String {
    if pointer.is_null() {
        return "NULL".into();
    }
    let mut text = String::new();
    for i in 0..MAX_TEXT as u64 {
        match cx.memory.peek::<u8>(pointer.byte_add(i)) {
            Some(0) => return quoted(&text, false),
            Some(byte) => text.push(byte as char),
            None => return self::pointer(pointer.raw()),
        }
    }
    quoted(&text, true)
}

/// A NUL-terminated UTF-16 string.
#[must_use]
pub fn wide(cx: &Machine, pointer: Gva<u16>) -> String {
    if pointer.is_null() {
        return "NULL".into();
    }
    let mut units = Vec::new();
    for i in 0..MAX_TEXT as u64 {
        match cx.memory.peek::<u16>(pointer.byte_add(2 * i)) {
            Some(0) => return quoted(&String::from_utf16_lossy(&units), false),
            Some(unit) => units.push(unit),
            None => return self::pointer(pointer.raw()),
        }
    }
    quoted(&String::from_utf16_lossy(&units), true)
}

fn quoted(text: &str, cut: bool) -> String {
    let mut out = format!("\"{}\"", text.escape_debug());
    if cut {
        out.push('…');
    }
    out
}

/// Length at +0 in bytes and buffer at +8: `UNICODE_STRING` and `ANSI_STRING` alike.
fn counted(cx: &Machine, address: u64) -> Option<(u16, u64)> {
    let length = cx.memory.peek::<u16>(Gva::new(address))?;
    let buffer = cx.memory.peek::<u64>(Gva::new(address.wrapping_add(8)))?;
    Some((length, buffer))
}

/// The text of a `UNICODE_STRING`, without checks against the driver; for display only.
#[must_use]
pub fn unicode_text(cx: &Machine, address: u64) -> Option<String> {
    let (length, buffer) = counted(cx, address)?;
    let mut units = Vec::new();
    for i in 0..u64::from(length / 2).min(MAX_TEXT as u64 * 4) {
        units.push(
            cx.memory
                .peek::<u16>(Gva::new(buffer.wrapping_add(2 * i)))?,
        );
    }
    Some(String::from_utf16_lossy(&units))
}

/// A `UNICODE_STRING`.
pub fn unicode_string<T: ?Sized>(cx: &Machine, p: Gva<T>) -> String {
    if p.is_null() {
        return "NULL".into();
    }
    match unicode_text(cx, p.raw()) {
        Some(text) => quoted(&text, false),
        None => pointer(p.raw()),
    }
}

/// An `ANSI_STRING`.
pub fn ansi_string<T: ?Sized>(cx: &Machine, p: Gva<T>) -> String {
    let text = || {
        let (length, buffer) = counted(cx, p.raw())?;
        let mut text = String::new();
        for i in 0..u64::from(length).min(MAX_TEXT as u64 * 4) {
            text.push(cx.memory.peek::<u8>(Gva::new(buffer.wrapping_add(i)))? as char);
        }
        Some(text)
    };
    if p.is_null() {
        return "NULL".into();
    }
    text().map_or_else(|| pointer(p.raw()), |t| quoted(&t, false))
}

/// An `OBJECT_ATTRIBUTES`, by its name (at +0x10).
pub fn object_attributes<T: ?Sized>(cx: &Machine, p: Gva<T>) -> String {
    let name = || {
        let string = cx
            .memory
            .peek::<u64>(Gva::new(p.raw().wrapping_add(0x10)))?;
        if string == 0 {
            None
        } else {
            unicode_text(cx, string)
        }
    };
    if p.is_null() {
        return "NULL".into();
    }
    name().map_or_else(
        || pointer(p.raw()),
        |t| format!("{{{}}}", quoted(&t, false)),
    )
}

/// A `LARGE_INTEGER` behind a pointer.
pub fn large_integer<T: ?Sized>(cx: &Machine, p: Gva<T>) -> String {
    if p.is_null() {
        return "NULL".into();
    }
    cx.memory
        .peek::<i64>(p.cast())
        .map_or_else(|| pointer(p.raw()), |v| format!("&{v}"))
}
