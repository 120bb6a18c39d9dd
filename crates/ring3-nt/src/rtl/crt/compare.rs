//! Lengths and comparisons of strings.

use std::cmp::Ordering;

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::{LIMIT, Text, lower};
use crate::Machine;
use crate::export::argument::{CHAR, WCHAR};

/// Compares unit by unit, so that nothing behind the first difference is read.
fn compare(cx: &Machine, a: Text, b: Text, count: u64, fold: bool) -> Result<i32, Fault> {
    for i in 0..count.min(LIMIT) {
        let (mut x, mut y) = (a.get(cx, i)?, b.get(cx, i)?);
        if fold {
            (x, y) = (lower(x), lower(y));
        }
        match x.cmp(&y) {
            Ordering::Equal if x == 0 => break,
            Ordering::Equal => {}
            other => return Ok(other as i32),
        }
    }
    Ok(0)
}

/// Lengths and comparisons.
pub struct Comparing;

#[exports("ntoskrnl.exe")]
impl Comparing {
    /// Length of a string.
    #[page("")]
    #[irql(any)]
    fn strlen(cx: &mut Machine, string: Gva<CHAR>) -> Result<u64, Fault> {
        Text::narrow(string).length(cx, LIMIT)
    }

    /// Length of a wide string.
    #[page("")]
    #[irql(any)]
    fn wcslen(cx: &mut Machine, string: Gva<WCHAR>) -> Result<u64, Fault> {
        Text::wide(string).length(cx, LIMIT)
    }

    /// Length of a string, at most a number.
    #[page("")]
    #[irql(any)]
    fn strnlen(cx: &mut Machine, string: Gva<CHAR>, numberOfElements: u64) -> Result<u64, Fault> {
        Text::narrow(string).length(cx, numberOfElements)
    }

    /// Length of a wide string, at most a number.
    #[page("")]
    #[irql(any)]
    fn wcsnlen(cx: &mut Machine, string: Gva<WCHAR>, numberOfElements: u64) -> Result<u64, Fault> {
        Text::wide(string).length(cx, numberOfElements)
    }

    /// Compares strings.
    #[page("")]
    #[irql(any)]
    fn strcmp(cx: &mut Machine, string1: Gva<CHAR>, string2: Gva<CHAR>) -> Result<i32, Fault> {
        compare(
            cx,
            Text::narrow(string1),
            Text::narrow(string2),
            LIMIT,
            false,
        )
    }

    /// Compares at most `count` characters.
    #[page("")]
    #[irql(any)]
    fn strncmp(
        cx: &mut Machine,
        string1: Gva<CHAR>,
        string2: Gva<CHAR>,
        count: u64,
    ) -> Result<i32, Fault> {
        compare(
            cx,
            Text::narrow(string1),
            Text::narrow(string2),
            count,
            false,
        )
    }

    /// Compares strings without case.
    #[page("")]
    #[irql(any)]
    fn _stricmp(cx: &mut Machine, string1: Gva<CHAR>, string2: Gva<CHAR>) -> Result<i32, Fault> {
        compare(
            cx,
            Text::narrow(string1),
            Text::narrow(string2),
            LIMIT,
            true,
        )
    }

    /// Compares at most `count` characters without case.
    #[page("")]
    #[irql(any)]
    fn _strnicmp(
        cx: &mut Machine,
        string1: Gva<CHAR>,
        string2: Gva<CHAR>,
        count: u64,
    ) -> Result<i32, Fault> {
        compare(
            cx,
            Text::narrow(string1),
            Text::narrow(string2),
            count,
            true,
        )
    }

    /// Compares wide strings.
    #[page("")]
    #[irql(any)]
    fn wcscmp(cx: &mut Machine, string1: Gva<WCHAR>, string2: Gva<WCHAR>) -> Result<i32, Fault> {
        compare(cx, Text::wide(string1), Text::wide(string2), LIMIT, false)
    }

    /// Compares at most `count` wide characters.
    #[page("")]
    #[irql(any)]
    fn wcsncmp(
        cx: &mut Machine,
        string1: Gva<WCHAR>,
        string2: Gva<WCHAR>,
        count: u64,
    ) -> Result<i32, Fault> {
        compare(cx, Text::wide(string1), Text::wide(string2), count, false)
    }

    /// Compares wide strings without case.
    #[page("")]
    #[irql(any)]
    fn _wcsicmp(cx: &mut Machine, string1: Gva<WCHAR>, string2: Gva<WCHAR>) -> Result<i32, Fault> {
        compare(cx, Text::wide(string1), Text::wide(string2), LIMIT, true)
    }

    /// Compares at most `count` wide characters without case.
    #[page("")]
    #[irql(any)]
    fn _wcsnicmp(
        cx: &mut Machine,
        string1: Gva<WCHAR>,
        string2: Gva<WCHAR>,
        count: u64,
    ) -> Result<i32, Fault> {
        compare(cx, Text::wide(string1), Text::wide(string2), count, true)
    }
}
