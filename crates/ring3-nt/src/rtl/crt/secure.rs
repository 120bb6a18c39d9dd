//! The secure forms of string and memory functions. Documentation: "Security features in the CRT".
//!
//! In the kernel the handler of invalid parameters does nothing, so that a bad call returns its error.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::errno::{EINVAL, ERANGE, STRUNCATE};
use super::{LIMIT, Text};
use crate::Machine;
use crate::export::argument::{CHAR, WCHAR};

/// `_TRUNCATE`.
const TRUNCATE: u64 = u64::MAX;

/// Copies at most `count` units behind the first `at` ones of a buffer of `size` units.
fn place(
    cx: &mut Machine,
    to: Text,
    size: u64,
    append: bool,
    from: Text,
    count: u64,
) -> Result<i32, Fault> {
    if to.is_null() || size == 0 {
        return Ok(EINVAL);
    }
    if from.is_null() && count != 0 {
        to.put(cx, 0, 0)?;
        return Ok(EINVAL);
    }
    let at = if append { to.length(cx, size)? } else { 0 };
    if at == size {
        // No terminator inside the buffer.
        to.put(cx, 0, 0)?;
        return Ok(EINVAL);
    }
    let room = size - at;
    let mut units = from.units(cx, count.min(room.min(LIMIT)))?;
    let mut status = 0;
    if units.len() as u64 >= room {
        if count != TRUNCATE {
            to.put(cx, 0, 0)?;
            return Ok(ERANGE);
        }
        units.truncate((room - 1) as usize);
        status = STRUNCATE;
    }
    units.push(0);
    to.write(cx, at, &units)?;
    Ok(status)
}

/// Secure functions.
pub struct Secure;

#[exports("ntoskrnl.exe")]
impl Secure {
    /// Copies a string into a buffer of a size.
    #[page("")]
    #[irql(any)]
    fn strcpy_s(cx: &mut Machine, dest: Gva, dest_size: u64, src: Gva<CHAR>) -> Result<i32, Fault> {
        place(
            cx,
            Text::narrow(dest),
            dest_size,
            false,
            Text::narrow(src),
            LIMIT,
        )
    }

    /// Copies a wide string into a buffer of a size.
    #[page("")]
    #[irql(any)]
    fn wcscpy_s(
        cx: &mut Machine,
        dest: Gva<u16>,
        dest_size: u64,
        src: Gva<WCHAR>,
    ) -> Result<i32, Fault> {
        place(
            cx,
            Text::wide(dest),
            dest_size,
            false,
            Text::wide(src),
            LIMIT,
        )
    }

    /// Copies at most `count` characters into a buffer of a size.
    #[page("")]
    #[irql(any)]
    fn strncpy_s(
        cx: &mut Machine,
        strDest: Gva,
        numberOfElements: u64,
        strSource: Gva<CHAR>,
        count: u64,
    ) -> Result<i32, Fault> {
        place(
            cx,
            Text::narrow(strDest),
            numberOfElements,
            false,
            Text::narrow(strSource),
            count,
        )
    }

    /// Copies at most `count` wide characters into a buffer of a size.
    #[page("")]
    #[irql(any)]
    fn wcsncpy_s(
        cx: &mut Machine,
        strDest: Gva<u16>,
        numberOfElements: u64,
        strSource: Gva<WCHAR>,
        count: u64,
    ) -> Result<i32, Fault> {
        place(
            cx,
            Text::wide(strDest),
            numberOfElements,
            false,
            Text::wide(strSource),
            count,
        )
    }

    /// Appends a string in a buffer of a size.
    #[page("")]
    #[irql(any)]
    fn strcat_s(
        cx: &mut Machine,
        strDestination: Gva,
        numberOfElements: u64,
        strSource: Gva<CHAR>,
    ) -> Result<i32, Fault> {
        place(
            cx,
            Text::narrow(strDestination),
            numberOfElements,
            true,
            Text::narrow(strSource),
            LIMIT,
        )
    }

    /// Appends a wide string in a buffer of a size.
    #[page("")]
    #[irql(any)]
    fn wcscat_s(
        cx: &mut Machine,
        strDestination: Gva<u16>,
        numberOfElements: u64,
        strSource: Gva<WCHAR>,
    ) -> Result<i32, Fault> {
        place(
            cx,
            Text::wide(strDestination),
            numberOfElements,
            true,
            Text::wide(strSource),
            LIMIT,
        )
    }

    /// Appends at most `count` characters in a buffer of a size.
    #[page("")]
    #[irql(any)]
    fn strncat_s(
        cx: &mut Machine,
        strDest: Gva,
        numberOfElements: u64,
        strSource: Gva<CHAR>,
        count: u64,
    ) -> Result<i32, Fault> {
        place(
            cx,
            Text::narrow(strDest),
            numberOfElements,
            true,
            Text::narrow(strSource),
            count,
        )
    }

    /// Appends at most `count` wide characters in a buffer of a size.
    #[page("")]
    #[irql(any)]
    fn wcsncat_s(
        cx: &mut Machine,
        strDest: Gva<u16>,
        numberOfElements: u64,
        strSource: Gva<WCHAR>,
        count: u64,
    ) -> Result<i32, Fault> {
        place(
            cx,
            Text::wide(strDest),
            numberOfElements,
            true,
            Text::wide(strSource),
            count,
        )
    }

    /// Copies bytes into a buffer of a size.
    #[page("")]
    #[irql(any)]
    fn memcpy_s(
        cx: &mut Machine,
        dest: Gva,
        destSize: u64,
        src: Gva,
        count: u64,
    ) -> Result<i32, Fault> {
        if count == 0 {
            return Ok(0);
        }
        if dest.is_null() {
            return Ok(EINVAL);
        }
        if src.is_null() || count > destSize {
            cx.memory.fill(dest, destSize, 0)?;
            return Ok(if src.is_null() { EINVAL } else { ERANGE });
        }
        cx.memory.copy(dest, src, count)?;
        Ok(0)
    }

    /// Copies bytes into a buffer of a size; the buffers may overlap.
    #[page("")]
    #[irql(any)]
    fn memmove_s(
        cx: &mut Machine,
        dest: Gva,
        numberOfElements: u64,
        src: Gva,
        count: u64,
    ) -> Result<i32, Fault> {
        if count == 0 {
            return Ok(0);
        }
        if dest.is_null() || src.is_null() {
            return Ok(EINVAL);
        }
        if count > numberOfElements {
            return Ok(ERANGE);
        }
        cx.memory.copy(dest, src, count)?;
        Ok(0)
    }
}
