//! The ANSI code page: 1252, as English Windows has it.
//!
//! Source: the published mapping of windows-1252. Only 80h to 9Fh differ from Unicode; five of them
//! are undefined and map to the control characters of the same number.

/// What 80h to 9Fh are in Unicode.
const UPPER: [u16; 32] = [
    0x20ac, 0x81, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039,
    0x0152, 0x8d, 0x017d, 0x8f, 0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
    0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x9d, 0x017e, 0x0178,
];

/// The UTF-16 unit of a byte.
#[must_use]
pub fn to_unicode(byte: u8) -> u16 {
    match byte {
        0x80..=0x9f => UPPER
            .get(usize::from(byte - 0x80))
            .copied()
            .unwrap_or(u16::from(byte)),
        _ => u16::from(byte),
    }
}

/// The byte of a UTF-16 unit; `?` if there is none.
#[must_use]
pub fn to_ansi(unit: u16) -> u8 {
    match unit {
        0..=0x7f | 0xa0..=0xff => unit as u8,
        _ => UPPER
            .iter()
            .position(|u| *u == unit)
            .map_or(b'?', |i| 0x80 + i as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        for byte in 0..=255 {
            assert_eq!(to_ansi(to_unicode(byte)), byte);
        }
        assert_eq!(to_unicode(0x80), 0x20ac);
        assert_eq!(to_ansi(0x20ac), 0x80);
        assert_eq!(to_ansi(0x4e2d), b'?');
    }
}
