//! Text to numbers and back.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::errno::{EINVAL, ERANGE};
use super::{LIMIT, Text};
use crate::Machine;
use crate::export::argument::{CHAR, WCHAR};

/// Longest text of a number that is looked at.
const LONGEST: u64 = 4096;

/// A number read from text.
#[derive(Debug, PartialEq, Eq)]
struct Parsed {
    negative: bool,
    /// The magnitude; cut to 64 bits with `overflow` set.
    value: u64,
    overflow: bool,
    /// Units used; 0 if there was no number.
    used: usize,
}

fn is_space(unit: u16) -> bool {
    unit == 0x20 || (9..=13).contains(&unit)
}

/// Reads white space, a sign and digits as `strtoul` does; base 0 means by prefix.
fn parse(units: &[u16], base: u32) -> Parsed {
    let none = Parsed {
        negative: false,
        value: 0,
        overflow: false,
        used: 0,
    };
    let at = |i: usize| {
        units
            .get(i)
            .and_then(|u| char::from_u32(u32::from(*u)))
            .unwrap_or('\0')
    };
    let mut i = units.iter().take_while(|u| is_space(**u)).count();
    let negative = at(i) == '-';
    if matches!(at(i), '-' | '+') {
        i += 1;
    }
    let hex = at(i) == '0' && matches!(at(i + 1), 'x' | 'X') && at(i + 2).is_ascii_hexdigit();
    let base = match base {
        0 if hex => 16,
        0 if at(i) == '0' => 8,
        0 => 10,
        2..=36 => base,
        _ => return none,
    };
    if base == 16 && hex {
        i += 2;
    }
    let start = i;
    let (mut value, mut overflow) = (0u64, false);
    while let Some(digit) = at(i).to_digit(base) {
        let next = value
            .checked_mul(u64::from(base))
            .and_then(|v| v.checked_add(u64::from(digit)));
        overflow |= next.is_none();
        value = next.unwrap_or(u64::MAX);
        i += 1;
    }
    if i == start {
        return none;
    }
    Parsed {
        negative,
        value,
        overflow,
        used: i,
    }
}

fn store_end(cx: &mut Machine, text: Text, end: Gva<u64>, used: usize) -> Result<(), Fault> {
    if end.is_null() {
        return Ok(());
    }
    cx.memory.write(end, text.address(used as u64).raw())
}

/// `strtoul`: clamped at the top; a minus sign negates in unsigned arithmetic.
fn unsigned(cx: &mut Machine, text: Text, end: Gva<u64>, base: i32) -> Result<u32, Fault> {
    let found = parse(&text.units(cx, LONGEST)?, base as u32);
    store_end(cx, text, end, found.used)?;
    let Ok(value) = u32::try_from(found.value) else {
        return Ok(u32::MAX);
    };
    Ok(if found.negative {
        value.wrapping_neg()
    } else {
        value
    })
}

/// `strtol`: clamped at both ends.
fn signed(cx: &mut Machine, text: Text, end: Gva<u64>, base: i32) -> Result<i32, Fault> {
    let found = parse(&text.units(cx, LONGEST)?, base as u32);
    store_end(cx, text, end, found.used)?;
    let magnitude = i64::try_from(found.value).unwrap_or(i64::MAX);
    let value = if found.negative {
        -magnitude
    } else {
        magnitude
    };
    Ok(value.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32)
}

fn decimal(cx: &Machine, text: Text) -> Result<i32, Fault> {
    let found = parse(&text.units(cx, LONGEST)?, 10);
    let value = found.value as i32;
    Ok(if found.negative {
        value.wrapping_neg()
    } else {
        value
    })
}

/// Digits of a number; only base 10 has a minus sign, other bases show `bits` bits.
fn digits(value: i64, radix: u32, bits: u32, is_signed: bool) -> Option<Vec<u16>> {
    if !(2..=36).contains(&radix) {
        return None;
    }
    let negative = is_signed && radix == 10 && value < 0;
    let mut rest = if negative {
        value.unsigned_abs()
    } else {
        value as u64
    };
    if bits < 64 {
        rest &= (1 << bits) - 1;
    }
    let mut units = Vec::new();
    loop {
        let digit = char::from_digit((rest % u64::from(radix)) as u32, radix)?;
        units.push(digit as u16);
        rest /= u64::from(radix);
        if rest == 0 {
            break;
        }
    }
    if negative {
        units.push(u16::from(b'-'));
    }
    units.reverse();
    Some(units)
}

fn print(cx: &mut Machine, to: Text, units: Option<Vec<u16>>) -> Result<(), Fault> {
    let mut units = units.unwrap_or_default();
    units.push(0);
    to.write(cx, 0, &units)
}

fn print_secure(
    cx: &mut Machine,
    to: Text,
    size: u64,
    units: Option<Vec<u16>>,
) -> Result<i32, Fault> {
    if to.is_null() || size == 0 {
        return Ok(EINVAL);
    }
    let error = match &units {
        None => EINVAL,
        Some(units) if units.len() as u64 >= size.min(LIMIT) => ERANGE,
        Some(_) => 0,
    };
    print(cx, to, units.filter(|_| error == 0))?;
    Ok(error)
}

/// Numbers.
pub struct Numbers;

#[exports("ntoskrnl.exe")]
impl Numbers {
    /// A decimal number at the start of a string.
    #[page("")]
    #[irql(any)]
    #[alias("atol")]
    fn atoi(cx: &mut Machine, str: Gva<CHAR>) -> Result<i32, Fault> {
        decimal(cx, Text::narrow(str))
    }

    /// A decimal number at the start of a wide string.
    #[page("")]
    #[irql(any)]
    #[alias("_wtol")]
    fn _wtoi(cx: &mut Machine, str: Gva<WCHAR>) -> Result<i32, Fault> {
        decimal(cx, Text::wide(str))
    }

    /// A number in a base at the start of a string.
    #[page("")]
    #[irql(any)]
    fn strtol(
        cx: &mut Machine,
        strSource: Gva<CHAR>,
        endptr: Gva<u64>,
        base: i32,
    ) -> Result<i32, Fault> {
        signed(cx, Text::narrow(strSource), endptr, base)
    }

    /// An unsigned number in a base at the start of a string.
    #[page("")]
    #[irql(any)]
    fn strtoul(
        cx: &mut Machine,
        strSource: Gva<CHAR>,
        endptr: Gva<u64>,
        base: i32,
    ) -> Result<u32, Fault> {
        unsigned(cx, Text::narrow(strSource), endptr, base)
    }

    /// An unsigned number in a base at the start of a wide string.
    #[page("")]
    #[irql(any)]
    fn wcstoul(
        cx: &mut Machine,
        strSource: Gva<WCHAR>,
        endptr: Gva<u64>,
        base: i32,
    ) -> Result<u32, Fault> {
        unsigned(cx, Text::wide(strSource), endptr, base)
    }

    /// An unsigned 64-bit number in a base at the start of a string.
    #[page("")]
    #[irql(any)]
    fn _strtoui64(
        cx: &mut Machine,
        strSource: Gva<CHAR>,
        endptr: Gva<u64>,
        base: i32,
    ) -> Result<u64, Fault> {
        let text = Text::narrow(strSource);
        let found = parse(&text.units(cx, LONGEST)?, base as u32);
        store_end(cx, text, endptr, found.used)?;
        Ok(if found.negative && !found.overflow {
            found.value.wrapping_neg()
        } else {
            found.value
        })
    }

    /// Writes a number in a base.
    #[page("")]
    #[irql(any)]
    fn _itoa(cx: &mut Machine, value: i32, buffer: Gva, radix: i32) -> Result<Gva, Fault> {
        print(
            cx,
            Text::narrow(buffer),
            digits(i64::from(value), radix as u32, 32, true),
        )?;
        Ok(buffer)
    }

    /// Writes a number in a base, as wide text.
    #[page("")]
    #[irql(any)]
    fn _itow(
        cx: &mut Machine,
        value: i32,
        buffer: Gva<u16>,
        radix: i32,
    ) -> Result<Gva<u16>, Fault> {
        print(
            cx,
            Text::wide(buffer),
            digits(i64::from(value), radix as u32, 32, true),
        )?;
        Ok(buffer)
    }

    /// Writes a number in a base into a buffer of a size.
    #[page("")]
    #[irql(any)]
    #[alias("_ltoa_s")]
    fn _itoa_s(
        cx: &mut Machine,
        value: i32,
        buffer: Gva,
        size: u64,
        radix: i32,
    ) -> Result<i32, Fault> {
        print_secure(
            cx,
            Text::narrow(buffer),
            size,
            digits(i64::from(value), radix as u32, 32, true),
        )
    }

    /// Writes a number in a base into a wide buffer of a size.
    #[page("")]
    #[irql(any)]
    #[alias("_ltow_s")]
    fn _itow_s(
        cx: &mut Machine,
        value: i32,
        buffer: Gva<u16>,
        size: u64,
        radix: i32,
    ) -> Result<i32, Fault> {
        print_secure(
            cx,
            Text::wide(buffer),
            size,
            digits(i64::from(value), radix as u32, 32, true),
        )
    }

    /// Writes an unsigned number in a base into a buffer of a size.
    #[page("")]
    #[irql(any)]
    fn _ultoa_s(
        cx: &mut Machine,
        value: u32,
        buffer: Gva,
        size: u64,
        radix: i32,
    ) -> Result<i32, Fault> {
        print_secure(
            cx,
            Text::narrow(buffer),
            size,
            digits(i64::from(value), radix as u32, 32, false),
        )
    }

    /// Writes an unsigned number in a base into a wide buffer of a size.
    #[page("")]
    #[irql(any)]
    fn _ultow_s(
        cx: &mut Machine,
        value: u32,
        buffer: Gva<u16>,
        size: u64,
        radix: i32,
    ) -> Result<i32, Fault> {
        print_secure(
            cx,
            Text::wide(buffer),
            size,
            digits(i64::from(value), radix as u32, 32, false),
        )
    }

    /// Writes a 64-bit number in a base into a buffer of a size.
    #[page("")]
    #[irql(any)]
    fn _i64toa_s(
        cx: &mut Machine,
        value: i64,
        buffer: Gva,
        size: u64,
        radix: i32,
    ) -> Result<i32, Fault> {
        print_secure(
            cx,
            Text::narrow(buffer),
            size,
            digits(value, radix as u32, 64, true),
        )
    }

    /// Writes a 64-bit number in a base into a wide buffer of a size.
    #[page("")]
    #[irql(any)]
    fn _i64tow_s(
        cx: &mut Machine,
        value: i64,
        buffer: Gva<u16>,
        size: u64,
        radix: i32,
    ) -> Result<i32, Fault> {
        print_secure(
            cx,
            Text::wide(buffer),
            size,
            digits(value, radix as u32, 64, true),
        )
    }

    /// Writes an unsigned 64-bit number in a base into a buffer of a size.
    #[page("")]
    #[irql(any)]
    fn _ui64toa_s(
        cx: &mut Machine,
        value: u64,
        buffer: Gva,
        size: u64,
        radix: i32,
    ) -> Result<i32, Fault> {
        print_secure(
            cx,
            Text::narrow(buffer),
            size,
            digits(value as i64, radix as u32, 64, false),
        )
    }

    /// Writes an unsigned 64-bit number in a base into a wide buffer of a size.
    #[page("")]
    #[irql(any)]
    fn _ui64tow_s(
        cx: &mut Machine,
        value: u64,
        buffer: Gva<u16>,
        size: u64,
        radix: i32,
    ) -> Result<i32, Fault> {
        print_secure(
            cx,
            Text::wide(buffer),
            size,
            digits(value as i64, radix as u32, 64, false),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, base: u32) -> (bool, u64, usize) {
        let units: Vec<u16> = text.encode_utf16().collect();
        let found = parse(&units, base);
        (found.negative, found.value, found.used)
    }

    #[test]
    fn numbers_are_read_as_the_c_library_reads_them() {
        assert_eq!(parsed(" \t-12x", 10), (true, 12, 5));
        assert_eq!(parsed("0x1fg", 0), (false, 0x1f, 4));
        assert_eq!(parsed("0x1f", 16), (false, 0x1f, 4));
        assert_eq!(parsed("0xg", 0), (false, 0, 1), "only the zero is a number");
        assert_eq!(parsed("017", 0), (false, 15, 3));
        assert_eq!(parsed("zz", 36), (false, 35 * 36 + 35, 2));
        assert_eq!(parsed("+", 10), (false, 0, 0));
        assert_eq!(parsed("5", 1), (false, 0, 0));
        assert!(
            parse(
                &"18446744073709551616".encode_utf16().collect::<Vec<_>>(),
                10
            )
            .overflow
        );
    }

    #[test]
    fn numbers_are_written_in_every_base() {
        let text = |value, radix, bits, signed| {
            digits(value, radix, bits, signed).map(|u| String::from_utf16_lossy(&u))
        };
        assert_eq!(text(-1, 10, 32, true).as_deref(), Some("-1"));
        assert_eq!(text(-1, 16, 32, true).as_deref(), Some("ffffffff"));
        assert_eq!(
            text(i64::MIN, 10, 64, true).as_deref(),
            Some("-9223372036854775808")
        );
        assert_eq!(
            text(-1, 10, 64, false).as_deref(),
            Some("18446744073709551615")
        );
        assert_eq!(text(0, 2, 32, true).as_deref(), Some("0"));
        assert_eq!(text(1, 37, 32, true), None);
    }
}
