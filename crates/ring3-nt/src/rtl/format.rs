//! printf formatting as the kernel does it.
//!
//! Documentation: "Format specification syntax: printf and wprintf functions", and the remarks of
//! `DbgPrint` (no floating point; `%wZ` takes a UNICODE_STRING, `%Z` an ANSI_STRING).

use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::export::VarArgs;
use crate::layout::UNICODE_STRING;

/// Text is handled as UTF-16 units; bytes of ANSI text are units below 256.
pub type Units = Vec<u16>;

/// One `%` specification.
#[derive(Default)]
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
    size: Size,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Size {
    #[default]
    None,
    Char,
    Short,
    Long,
    LongLong,
    Wide,
}

/// Longest width or precision honoured, so that a wild argument cannot use up the host's memory.
const MAX_WIDTH: usize = 4096;
/// Longest result.
const MAX_RESULT: usize = 64 * 1024;

/// Reads a NUL-terminated string of bytes or UTF-16 units from the guest.
///
/// # Errors
/// A fault where it cannot be read.
pub fn read_string(cx: &Machine, at: u64, wide: bool, limit: usize) -> Result<Units, Fault> {
    let mut units = Vec::new();
    let mut at = at;
    while units.len() < limit {
        let unit = if wide {
            cx.memory.read(Gva::<u16>::new(at))?
        } else {
            u16::from(cx.memory.read(Gva::<u8>::new(at))?)
        };
        if unit == 0 {
            break;
        }
        units.push(unit);
        at = at.wrapping_add(if wide { 2 } else { 1 });
    }
    Ok(units)
}

/// A string argument; NULL prints as `(null)`.
fn string(cx: &Machine, at: u64, wide: bool, spec: &Spec) -> Result<Units, Fault> {
    if at == 0 {
        return Ok("(null)".encode_utf16().collect());
    }
    read_string(cx, at, wide, spec.precision.unwrap_or(MAX_RESULT))
}

/// A counted string: UNICODE_STRING and ANSI_STRING have one layout.
fn counted(cx: &Machine, at: u64, wide: bool, spec: &Spec) -> Result<Units, Fault> {
    if at == 0 {
        return Ok("(null)".encode_utf16().collect());
    }
    let string = Gva::<UNICODE_STRING>::new(at);
    let length = u64::from(cx.memory.get(string, UNICODE_STRING::Length)?);
    let buffer = cx.memory.get(string, UNICODE_STRING::Buffer)?.raw();
    if buffer == 0 {
        return Ok("(null)".encode_utf16().collect());
    }
    let bytes = cx.memory.read_vec(Gva::<u8>::new(buffer), length)?;
    let mut units: Units = if wide {
        bytes
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect()
    } else {
        bytes.into_iter().map(u16::from).collect()
    };
    units.truncate(spec.precision.unwrap_or(usize::MAX));
    Ok(units)
}

fn integer(spec: &Spec, raw: u64, conversion: char) -> Units {
    let bits = match spec.size {
        Size::Char => 8,
        Size::Short => 16,
        Size::LongLong => 64,
        _ => 32,
    };
    let value = if bits == 64 {
        raw
    } else {
        raw & ((1 << bits) - 1)
    };
    let negative = matches!(conversion, 'd' | 'i') && value >> (bits - 1) & 1 == 1;
    let magnitude = if negative {
        let extended = if bits == 64 {
            value
        } else {
            value | (u64::MAX << bits)
        };
        extended.wrapping_neg()
    } else {
        value
    };
    let mut digits = match conversion {
        'x' => format!("{magnitude:x}"),
        'X' => format!("{magnitude:X}"),
        'o' => format!("{magnitude:o}"),
        _ => magnitude.to_string(),
    };
    if spec.precision == Some(0) && magnitude == 0 {
        digits.clear();
    }
    while digits.len() < spec.precision.unwrap_or(0) {
        digits.insert(0, '0');
    }
    let prefix = match conversion {
        'd' | 'i' if negative => "-",
        'd' | 'i' if spec.plus => "+",
        'd' | 'i' if spec.space => " ",
        'x' if spec.alternate && magnitude != 0 => "0x",
        'X' if spec.alternate && magnitude != 0 => "0X",
        'o' if spec.alternate && !digits.starts_with('0') => "0",
        _ => "",
    };
    if spec.zero && !spec.left && spec.precision.is_none() {
        while digits.len() + prefix.len() < spec.width {
            digits.insert(0, '0');
        }
    }
    format!("{prefix}{digits}").encode_utf16().collect()
}

fn pad(out: &mut Units, spec: &Spec, text: &[u16]) {
    let fill = spec.width.saturating_sub(text.len());
    let blank = if spec.zero && !spec.left {
        u16::from(b'0')
    } else {
        u16::from(b' ')
    };
    if !spec.left {
        out.extend(std::iter::repeat_n(blank, fill));
    }
    out.extend_from_slice(text);
    if spec.left {
        out.extend(std::iter::repeat_n(u16::from(b' '), fill));
    }
}

/// Formats. `wide` is whether the format is that of a wide function, which decides what `%s` takes.
///
/// # Errors
/// A fault where an argument or a string cannot be read.
pub fn format(
    cx: &Machine,
    format: &[u16],
    args: &mut VarArgs,
    wide: bool,
) -> Result<Units, Fault> {
    let mut out = Vec::new();
    let mut rest = format.iter().copied().peekable();
    while let Some(unit) = rest.next() {
        if unit != u16::from(b'%') {
            out.push(unit);
            continue;
        }
        let mut spec = Spec::default();
        let ascii = |u: Option<&u16>| {
            u.and_then(|u| u8::try_from(*u).ok())
                .map_or('\0', char::from)
        };
        loop {
            match ascii(rest.peek()) {
                '-' => spec.left = true,
                '+' => spec.plus = true,
                ' ' => spec.space = true,
                '#' => spec.alternate = true,
                '0' => spec.zero = true,
                _ => break,
            }
            rest.next();
        }
        let number = |args: &mut VarArgs,
                      rest: &mut std::iter::Peekable<_>|
         -> Result<Option<i64>, Fault> {
            let rest: &mut std::iter::Peekable<std::iter::Copied<std::slice::Iter<'_, u16>>> = rest;
            if ascii(rest.peek()) == '*' {
                rest.next();
                return Ok(Some(i64::from(args.next(cx)? as i32)));
            }
            let mut value = None;
            while let Some(digit) = ascii(rest.peek()).to_digit(10) {
                rest.next();
                value = Some((value.unwrap_or(0i64) * 10 + i64::from(digit)).min(MAX_WIDTH as i64));
            }
            Ok(value)
        };
        if let Some(width) = number(args, &mut rest)? {
            spec.left |= width < 0;
            spec.width = (width.unsigned_abs() as usize).min(MAX_WIDTH);
        }
        if ascii(rest.peek()) == '.' {
            rest.next();
            let precision = number(args, &mut rest)?.unwrap_or(0);
            spec.precision = usize::try_from(precision).ok().map(|p| p.min(MAX_WIDTH));
        }
        spec.size = size(&mut rest);
        let Some(conversion) = rest.next() else { break };
        let conversion = u8::try_from(conversion).map_or('\0', char::from);
        let text: Units = match conversion {
            'd' | 'i' | 'u' | 'x' | 'X' | 'o' => {
                let text = integer(&spec, args.next(cx)?, conversion);
                spec.zero = false;
                text
            }
            'p' => {
                let mut digits = format!("{:016X}", args.next(cx)?);
                if spec.alternate {
                    digits.insert_str(0, "0X");
                }
                digits.encode_utf16().collect()
            }
            'c' | 'C' => {
                let narrow = spec.size == Size::Short
                    || (wide == (conversion == 'C')) && !is_long(spec.size);
                let value = args.next(cx)?;
                vec![if narrow {
                    value as u16 & 0xff
                } else {
                    value as u16
                }]
            }
            's' | 'S' => {
                let value = args.next(cx)?;
                let is_wide = match spec.size {
                    Size::Short => false,
                    size if is_long(size) => true,
                    _ => wide == (conversion == 's'),
                };
                string(cx, value, is_wide, &spec)?
            }
            'Z' => {
                let value = args.next(cx)?;
                // %Z is an ANSI_STRING and %wZ a UNICODE_STRING, whatever the format itself is made of.
                counted(cx, value, is_long(spec.size), &spec)?
            }
            '%' => vec![u16::from(b'%')],
            // Floating point and %n are not supported in the kernel: the text is printed as it is.
            other => {
                let mut text = vec![u16::from(b'%')];
                text.push(other as u16);
                text
            }
        };
        pad(&mut out, &spec, &text);
        if out.len() > MAX_RESULT {
            out.truncate(MAX_RESULT);
            break;
        }
    }
    Ok(out)
}

fn is_long(size: Size) -> bool {
    matches!(size, Size::Long | Size::Wide)
}

fn size(rest: &mut std::iter::Peekable<std::iter::Copied<std::slice::Iter<'_, u16>>>) -> Size {
    let peek = |rest: &mut std::iter::Peekable<std::iter::Copied<std::slice::Iter<'_, u16>>>| {
        rest.peek()
            .and_then(|u| u8::try_from(*u).ok())
            .map_or('\0', char::from)
    };
    match peek(rest) {
        'h' => {
            rest.next();
            if peek(rest) == 'h' {
                rest.next();
                return Size::Char;
            }
            Size::Short
        }
        'l' => {
            rest.next();
            if peek(rest) == 'l' {
                rest.next();
                return Size::LongLong;
            }
            Size::Long
        }
        'I' => {
            rest.next();
            let mut ahead = rest.clone();
            let two = (ahead.next(), ahead.next());
            if two == (Some(u16::from(b'6')), Some(u16::from(b'4'))) {
                *rest = ahead;
                Size::LongLong
            } else if two == (Some(u16::from(b'3')), Some(u16::from(b'2'))) {
                *rest = ahead;
                Size::None
            } else {
                Size::LongLong
            }
        }
        'w' => {
            rest.next();
            Size::Wide
        }
        'z' | 'j' | 't' => {
            rest.next();
            Size::LongLong
        }
        _ => Size::None,
    }
}
