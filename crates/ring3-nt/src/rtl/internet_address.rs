//! Internet addresses as text. Documentation: ip2string.h.

use std::net::{Ipv4Addr, Ipv6Addr};

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::unicode_string::bytes_of;
use crate::Machine;
use crate::export::argument::{CHAR, WCHAR};
use crate::ntstatus::{NTSTATUS, STATUS_INVALID_PARAMETER, STATUS_SUCCESS};
use crate::rtl::format::read_string;

/// Longer text is no address.
const LIMIT: usize = 128;

/// The characters of a string; what is not ASCII ends every address.
fn text(cx: &Machine, at: u64, wide: bool) -> Result<Vec<char>, Fault> {
    Ok(read_string(cx, at, wide, LIMIT)?
        .into_iter()
        .map(|unit| u8::try_from(unit).map_or('\u{fffd}', char::from))
        .collect())
}

/// A number in C's notation at the start: its value and length.
fn number(text: &[char]) -> Option<(u32, usize)> {
    let (radix, skip) = match text {
        ['0', 'x' | 'X', ..] => (16, 2),
        ['0', next, ..] if next.is_ascii_digit() => (8, 1),
        _ => (10, 0),
    };
    let digits: Vec<u32> = text
        .iter()
        .skip(skip)
        .map_while(|c| c.to_digit(radix))
        .collect();
    if digits.is_empty() {
        return None;
    }
    let mut value = 0u32;
    for digit in &digits {
        value = value.checked_mul(radix)?.checked_add(*digit)?;
    }
    Some((value, skip + digits.len()))
}

/// An IPv4 address at the start, and its length. Not strict means one to four parts, of which the
/// last takes all bytes that are left.
fn ipv4(text: &[char], strict: bool) -> Option<([u8; 4], usize)> {
    let mut parts = Vec::new();
    let mut at = 0;
    loop {
        let (value, length) = number(text.get(at..)?)?;
        parts.push(value);
        at += length;
        if parts.len() == 4 || text.get(at) != Some(&'.') {
            break;
        }
        at += 1;
    }
    if strict && parts.len() != 4 {
        return None;
    }
    let last = parts.pop()?;
    let room = 8 * (4 - parts.len() as u32);
    if room < 32 && last >> room != 0 {
        return None;
    }
    let mut value = last;
    for (place, part) in parts.iter().enumerate() {
        if *part > 255 {
            return None;
        }
        value |= part << (24 - 8 * place as u32);
    }
    Some((value.to_be_bytes(), at))
}

/// The longest IPv6 address at the start, and its length.
fn ipv6(text: &[char]) -> Option<([u8; 16], usize)> {
    let most = text
        .iter()
        .take_while(|c| c.is_ascii_hexdigit() || **c == ':' || **c == '.')
        .count();
    (2..=most).rev().find_map(|length| {
        let head: String = text.iter().take(length).collect();
        let address: Ipv6Addr = head.parse().ok()?;
        Some((address.octets(), length))
    })
}

/// An IPv6 address as text: the last four bytes in decimals for IPv4-mapped and -compatible ones.
fn ipv6_text(bytes: [u8; 16]) -> String {
    let [.., a, b, c, d] = bytes;
    let compatible = bytes.iter().take(12).all(|byte| *byte == 0) && (a, b) != (0, 0);
    if compatible {
        format!("::{a}.{b}.{c}.{d}")
    } else {
        Ipv6Addr::from(bytes).to_string()
    }
}

/// Answers a conversion from text.
fn answer<const N: usize>(
    cx: &mut Machine,
    text: u64,
    unit: u64,
    terminator: Gva<u64>,
    to: Gva,
    parsed: Option<([u8; N], usize)>,
) -> Result<NTSTATUS, Fault> {
    let Some((bytes, length)) = parsed else {
        return Ok(STATUS_INVALID_PARAMETER);
    };
    cx.memory.write_bytes(to, &bytes)?;
    cx.memory
        .write(terminator, text.wrapping_add(unit * length as u64))?;
    Ok(STATUS_SUCCESS)
}

/// Writes text with its terminator; gives the address of the terminator.
fn put(cx: &mut Machine, to: u64, wide: bool, text: &str) -> Result<Gva, Fault> {
    let bytes = if wide {
        bytes_of(&text.encode_utf16().chain([0]).collect::<Vec<u16>>())
    } else {
        text.bytes().chain([0]).collect()
    };
    cx.memory.write_bytes(Gva::<u8>::new(to), &bytes)?;
    let end = bytes.len() as u64 - if wide { 2 } else { 1 };
    Ok(Gva::new(to.wrapping_add(end)))
}

/// Internet addresses.
pub struct InternetAddresses;

#[exports("ntoskrnl.exe")]
impl InternetAddresses {
    /// An IPv4 address from wide text.
    #[page("ip2string/nf-ip2string-rtlipv4stringtoaddressw")]
    #[irql(..=APC_LEVEL)]
    #[assumed("octal and hexadecimal parts are taken in strict form too")]
    fn RtlIpv4StringToAddressW(
        cx: &mut Machine,
        S: Gva<WCHAR>,
        Strict: bool,
        Terminator: Gva<u64>,
        Addr: Gva,
    ) -> Result<NTSTATUS, Fault> {
        let parsed = ipv4(&text(cx, S.raw(), true)?, Strict);
        answer(cx, S.raw(), 2, Terminator, Addr, parsed)
    }

    /// An IPv4 address from narrow text.
    #[page("ip2string/nf-ip2string-rtlipv4stringtoaddressa")]
    #[irql(..=APC_LEVEL)]
    #[assumed("octal and hexadecimal parts are taken in strict form too")]
    fn RtlIpv4StringToAddressA(
        cx: &mut Machine,
        S: Gva<CHAR>,
        Strict: bool,
        Terminator: Gva<u64>,
        Addr: Gva,
    ) -> Result<NTSTATUS, Fault> {
        let parsed = ipv4(&text(cx, S.raw(), false)?, Strict);
        answer(cx, S.raw(), 1, Terminator, Addr, parsed)
    }

    /// An IPv6 address from wide text.
    #[page("ip2string/nf-ip2string-rtlipv6stringtoaddressw")]
    #[irql(..=APC_LEVEL)]
    fn RtlIpv6StringToAddressW(
        cx: &mut Machine,
        S: Gva<WCHAR>,
        Terminator: Gva<u64>,
        Addr: Gva,
    ) -> Result<NTSTATUS, Fault> {
        let parsed = ipv6(&text(cx, S.raw(), true)?);
        answer(cx, S.raw(), 2, Terminator, Addr, parsed)
    }

    /// An IPv6 address from narrow text.
    #[page("ip2string/nf-ip2string-rtlipv6stringtoaddressa")]
    #[irql(..=APC_LEVEL)]
    fn RtlIpv6StringToAddressA(
        cx: &mut Machine,
        S: Gva<CHAR>,
        Terminator: Gva<u64>,
        Addr: Gva,
    ) -> Result<NTSTATUS, Fault> {
        let parsed = ipv6(&text(cx, S.raw(), false)?);
        answer(cx, S.raw(), 1, Terminator, Addr, parsed)
    }

    /// Wide text of an IPv4 address; gives the address of its terminator.
    #[page("ip2string/nf-ip2string-rtlipv4addresstostringw")]
    #[irql(..=APC_LEVEL)]
    fn RtlIpv4AddressToStringW(cx: &mut Machine, Addr: Gva, S: Gva<u16>) -> Result<Gva, Fault> {
        let bytes: [u8; 4] = cx.memory.read(Addr.cast())?;
        put(cx, S.raw(), true, &Ipv4Addr::from(bytes).to_string())
    }

    /// Narrow text of an IPv4 address; gives the address of its terminator.
    #[page("ip2string/nf-ip2string-rtlipv4addresstostringa")]
    #[irql(..=APC_LEVEL)]
    fn RtlIpv4AddressToStringA(cx: &mut Machine, Addr: Gva, S: Gva) -> Result<Gva, Fault> {
        let bytes: [u8; 4] = cx.memory.read(Addr.cast())?;
        put(cx, S.raw(), false, &Ipv4Addr::from(bytes).to_string())
    }

    /// Wide text of an IPv6 address; gives the address of its terminator.
    #[page("ip2string/nf-ip2string-rtlipv6addresstostringw")]
    #[irql(..=APC_LEVEL)]
    #[partial("ISATAP addresses are written without decimals")]
    fn RtlIpv6AddressToStringW(cx: &mut Machine, Addr: Gva, S: Gva<u16>) -> Result<Gva, Fault> {
        let bytes: [u8; 16] = cx.memory.read(Addr.cast())?;
        put(cx, S.raw(), true, &ipv6_text(bytes))
    }

    /// Narrow text of an IPv6 address; gives the address of its terminator.
    #[page("ip2string/nf-ip2string-rtlipv6addresstostringa")]
    #[irql(..=APC_LEVEL)]
    #[partial("ISATAP addresses are written without decimals")]
    fn RtlIpv6AddressToStringA(cx: &mut Machine, Addr: Gva, S: Gva) -> Result<Gva, Fault> {
        let bytes: [u8; 16] = cx.memory.read(Addr.cast())?;
        put(cx, S.raw(), false, &ipv6_text(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::{ipv4, ipv6, ipv6_text};

    fn chars(text: &str) -> Vec<char> {
        text.chars().collect()
    }

    #[test]
    fn ipv4_in_its_forms() {
        let four = |text, strict| ipv4(&chars(text), strict);
        assert_eq!(four("1.2.3.4", true), Some(([1, 2, 3, 4], 7)));
        assert_eq!(four("1.2.3.4:80", true), Some(([1, 2, 3, 4], 7)));
        assert_eq!(four("1.2.3", true), None);
        assert_eq!(four("1.2.3", false), Some(([1, 2, 0, 3], 5)));
        assert_eq!(four("0x7f000001", false), Some(([127, 0, 0, 1], 10)));
        assert_eq!(four("1.2.3.256", true), None);
        assert_eq!(four("", false), None);
        assert_eq!(four("4294967296", false), None);
    }

    #[test]
    fn ipv6_there_and_back() {
        for text in [
            "::",
            "::1",
            "fe80::1:2",
            "1:2:3:4:5:6:7:8",
            "::ffff:1.2.3.4",
            "::1.2.3.4",
        ] {
            let (bytes, length) = ipv6(&chars(text)).expect(text);
            assert_eq!(length, text.len());
            assert_eq!(ipv6_text(bytes), text);
        }
        assert_eq!(ipv6(&chars("::1%3")).map(|(_, length)| length), Some(3));
        assert_eq!(ipv6(&chars("1:2")), None);
    }
}
