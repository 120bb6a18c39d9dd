//! printf and its family. Documentation: "printf functions" of the C library.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::Text;
use crate::Machine;
use crate::export::VarArgs;
use crate::export::argument::{CHAR, WCHAR};
use crate::rtl::format::{self, Units};

/// `_TRUNCATE`.
const TRUNCATE: u64 = u64::MAX;
/// Longest format that is looked at.
const LONGEST_FORMAT: u64 = 1 << 16;
/// The functions without a size believe the buffer to be as large as this.
const NO_LIMIT: u64 = 0x7fff_ffff;

fn text(cx: &Machine, template: Text, args: &mut VarArgs, wide: bool) -> Result<Units, Fault> {
    let template = template.units(cx, LONGEST_FORMAT)?;
    format::format(cx, &template, args, wide)
}

/// What fits of the text, with a terminator if that fits too; -1 if the text was cut.
fn unsafe_store(cx: &mut Machine, buffer: Text, count: u64, units: &[u16]) -> Result<i32, Fault> {
    let length = units.len() as u64;
    let kept = length.min(count);
    buffer.write(cx, 0, units.get(..kept as usize).unwrap_or(units))?;
    if kept < count {
        buffer.put(cx, kept, 0)?;
    }
    Ok(if length > count { -1 } else { length as i32 })
}

/// As the secure functions do it: always terminated; what does not fit is cut only where the caller
/// says so, and is an error otherwise that leaves an empty string.
fn secure_store(
    cx: &mut Machine,
    buffer: Text,
    size: u64,
    count: u64,
    units: &[u16],
) -> Result<i32, Fault> {
    if buffer.is_null() || size == 0 {
        return Ok(-1);
    }
    let length = units.len() as u64;
    let wanted = length.min(count);
    if wanted < size {
        buffer.write(cx, 0, units.get(..wanted as usize).unwrap_or(units))?;
        buffer.put(cx, wanted, 0)?;
        return Ok(if wanted < length { -1 } else { length as i32 });
    }
    if count == TRUNCATE {
        buffer.write(cx, 0, units.get(..(size - 1) as usize).unwrap_or(units))?;
        buffer.put(cx, size - 1, 0)?;
    } else {
        buffer.put(cx, 0, 0)?;
    }
    Ok(-1)
}

/// Formatted output.
pub struct Printing;

#[exports("ntoskrnl.exe")]
impl Printing {
    /// Formats into a buffer of a size in characters.
    #[page("")]
    #[irql(any)]
    fn _snprintf(
        cx: &mut Machine,
        buffer: Gva,
        count: u64,
        Format: Gva<CHAR>,
        mut arguments: VarArgs,
    ) -> Result<i32, Fault> {
        let units = text(cx, Text::narrow(Format), &mut arguments, false)?;
        unsafe_store(cx, Text::narrow(buffer), count, &units)
    }

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
        let units = text(cx, Text::wide(Format), &mut arguments, true)?;
        unsafe_store(cx, Text::wide(buffer), count, &units)
    }

    /// As _snprintf, with a list of arguments.
    #[page("")]
    #[irql(any)]
    fn _vsnprintf(
        cx: &mut Machine,
        buffer: Gva,
        count: u64,
        Format: Gva<CHAR>,
        argptr: Gva,
    ) -> Result<i32, Fault> {
        let units = text(
            cx,
            Text::narrow(Format),
            &mut VarArgs::from_list(argptr.raw()),
            false,
        )?;
        unsafe_store(cx, Text::narrow(buffer), count, &units)
    }

    /// As _snwprintf, with a list of arguments.
    #[page("")]
    #[irql(PASSIVE_LEVEL)]
    fn _vsnwprintf(
        cx: &mut Machine,
        buffer: Gva<u16>,
        count: u64,
        Format: Gva<WCHAR>,
        argptr: Gva,
    ) -> Result<i32, Fault> {
        let units = text(
            cx,
            Text::wide(Format),
            &mut VarArgs::from_list(argptr.raw()),
            true,
        )?;
        unsafe_store(cx, Text::wide(buffer), count, &units)
    }

    /// Formats into a buffer whose size is not known.
    #[page("")]
    #[irql(any)]
    fn sprintf(
        cx: &mut Machine,
        buffer: Gva,
        Format: Gva<CHAR>,
        mut arguments: VarArgs,
    ) -> Result<i32, Fault> {
        let units = text(cx, Text::narrow(Format), &mut arguments, false)?;
        unsafe_store(cx, Text::narrow(buffer), NO_LIMIT, &units)
    }

    /// Formats into a wide buffer whose size is not known.
    #[page("")]
    #[irql(PASSIVE_LEVEL)]
    #[alias("_swprintf")]
    fn swprintf(
        cx: &mut Machine,
        buffer: Gva<u16>,
        Format: Gva<WCHAR>,
        mut arguments: VarArgs,
    ) -> Result<i32, Fault> {
        let units = text(cx, Text::wide(Format), &mut arguments, true)?;
        unsafe_store(cx, Text::wide(buffer), NO_LIMIT, &units)
    }

    /// As sprintf, with a list of arguments.
    #[page("")]
    #[irql(any)]
    fn vsprintf(
        cx: &mut Machine,
        buffer: Gva,
        Format: Gva<CHAR>,
        argptr: Gva,
    ) -> Result<i32, Fault> {
        let units = text(
            cx,
            Text::narrow(Format),
            &mut VarArgs::from_list(argptr.raw()),
            false,
        )?;
        unsafe_store(cx, Text::narrow(buffer), NO_LIMIT, &units)
    }

    /// As swprintf, with a list of arguments.
    #[page("")]
    #[irql(PASSIVE_LEVEL)]
    fn _vswprintf(
        cx: &mut Machine,
        buffer: Gva<u16>,
        Format: Gva<WCHAR>,
        argptr: Gva,
    ) -> Result<i32, Fault> {
        let units = text(
            cx,
            Text::wide(Format),
            &mut VarArgs::from_list(argptr.raw()),
            true,
        )?;
        unsafe_store(cx, Text::wide(buffer), NO_LIMIT, &units)
    }

    /// Formats into a buffer of a size; an empty string and -1 if the text does not fit.
    #[page("")]
    #[irql(any)]
    fn sprintf_s(
        cx: &mut Machine,
        buffer: Gva,
        sizeOfBuffer: u64,
        Format: Gva<CHAR>,
        mut arguments: VarArgs,
    ) -> Result<i32, Fault> {
        let units = text(cx, Text::narrow(Format), &mut arguments, false)?;
        secure_store(cx, Text::narrow(buffer), sizeOfBuffer, u64::MAX - 1, &units)
    }

    /// Formats into a wide buffer of a size; an empty string and -1 if the text does not fit.
    #[page("")]
    #[irql(PASSIVE_LEVEL)]
    fn swprintf_s(
        cx: &mut Machine,
        buffer: Gva<u16>,
        sizeInWords: u64,
        Format: Gva<WCHAR>,
        mut arguments: VarArgs,
    ) -> Result<i32, Fault> {
        let units = text(cx, Text::wide(Format), &mut arguments, true)?;
        secure_store(cx, Text::wide(buffer), sizeInWords, u64::MAX - 1, &units)
    }

    /// As sprintf_s, with a list of arguments.
    #[page("")]
    #[irql(any)]
    fn vsprintf_s(
        cx: &mut Machine,
        buffer: Gva,
        sizeOfBuffer: u64,
        Format: Gva<CHAR>,
        argptr: Gva,
    ) -> Result<i32, Fault> {
        let units = text(
            cx,
            Text::narrow(Format),
            &mut VarArgs::from_list(argptr.raw()),
            false,
        )?;
        secure_store(cx, Text::narrow(buffer), sizeOfBuffer, u64::MAX - 1, &units)
    }

    /// As swprintf_s, with a list of arguments.
    #[page("")]
    #[irql(PASSIVE_LEVEL)]
    fn vswprintf_s(
        cx: &mut Machine,
        buffer: Gva<u16>,
        sizeInWords: u64,
        Format: Gva<WCHAR>,
        argptr: Gva,
    ) -> Result<i32, Fault> {
        let units = text(
            cx,
            Text::wide(Format),
            &mut VarArgs::from_list(argptr.raw()),
            true,
        )?;
        secure_store(cx, Text::wide(buffer), sizeInWords, u64::MAX - 1, &units)
    }

    /// Formats at most `count` characters into a buffer of a size.
    #[page("")]
    #[irql(any)]
    fn _snprintf_s(
        cx: &mut Machine,
        buffer: Gva,
        sizeOfBuffer: u64,
        count: u64,
        Format: Gva<CHAR>,
        mut arguments: VarArgs,
    ) -> Result<i32, Fault> {
        let units = text(cx, Text::narrow(Format), &mut arguments, false)?;
        secure_store(cx, Text::narrow(buffer), sizeOfBuffer, count, &units)
    }

    /// Formats at most `count` wide characters into a buffer of a size.
    #[page("")]
    #[irql(PASSIVE_LEVEL)]
    fn _snwprintf_s(
        cx: &mut Machine,
        buffer: Gva<u16>,
        sizeInWords: u64,
        count: u64,
        Format: Gva<WCHAR>,
        mut arguments: VarArgs,
    ) -> Result<i32, Fault> {
        let units = text(cx, Text::wide(Format), &mut arguments, true)?;
        secure_store(cx, Text::wide(buffer), sizeInWords, count, &units)
    }

    /// As _snprintf_s, with a list of arguments.
    #[page("")]
    #[irql(any)]
    fn _vsnprintf_s(
        cx: &mut Machine,
        buffer: Gva,
        sizeOfBuffer: u64,
        count: u64,
        Format: Gva<CHAR>,
        argptr: Gva,
    ) -> Result<i32, Fault> {
        let units = text(
            cx,
            Text::narrow(Format),
            &mut VarArgs::from_list(argptr.raw()),
            false,
        )?;
        secure_store(cx, Text::narrow(buffer), sizeOfBuffer, count, &units)
    }

    /// As _snwprintf_s, with a list of arguments.
    #[page("")]
    #[irql(PASSIVE_LEVEL)]
    fn _vsnwprintf_s(
        cx: &mut Machine,
        buffer: Gva<u16>,
        sizeInWords: u64,
        count: u64,
        Format: Gva<WCHAR>,
        argptr: Gva,
    ) -> Result<i32, Fault> {
        let units = text(
            cx,
            Text::wide(Format),
            &mut VarArgs::from_list(argptr.raw()),
            true,
        )?;
        secure_store(cx, Text::wide(buffer), sizeInWords, count, &units)
    }
}
