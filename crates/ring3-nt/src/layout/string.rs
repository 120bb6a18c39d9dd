//! Strings and numbers.

use ring3_memory::Gva;

use crate::export::show;
use crate::guest_struct;

// Source: the public types of ntkrnlmp.pdb, 10.0.19041.
guest_struct! {
    /// A counted UTF-16 string; lengths in bytes.
    pub struct UNICODE_STRING("_UNICODE_STRING", 0x10, show = show::unicode_string) {
        Length: u16 = 0x0,
        MaximumLength: u16 = 0x2,
        Buffer: Gva<u16> = 0x8,
    }

    /// A counted 8-bit string; lengths in bytes.
    pub struct ANSI_STRING("_STRING", 0x10, show = show::ansi_string) {
        Length: u16 = 0x0,
        MaximumLength: u16 = 0x2,
        Buffer: Gva<i8> = 0x8,
    }

    /// A signed 64-bit number. Fields of this type are declared as `i64`.
    pub struct LARGE_INTEGER("_LARGE_INTEGER", 0x8, show = show::large_integer) {
        LowPart: u32 = 0x0,
        QuadPart: i64 = 0x0,
        u_LowPart("u.LowPart"): u32 = 0x0,
        HighPart: i32 = 0x4,
        u_HighPart("u.HighPart"): i32 = 0x4,
    }

    /// An unsigned 64-bit number. Fields of this type are declared as `u64`.
    pub struct ULARGE_INTEGER("_ULARGE_INTEGER", 0x8) {
        LowPart: u32 = 0x0,
        QuadPart: u64 = 0x0,
        u_LowPart("u.LowPart"): u32 = 0x0,
        HighPart: u32 = 0x4,
        u_HighPart("u.HighPart"): u32 = 0x4,
    }

    /// A globally unique identifier.
    pub struct GUID("_GUID", 0x10) {
        Data1: u32 = 0x0,
        Data2: u16 = 0x4,
        Data3: u16 = 0x6,
        Data4: [u8; 8] = 0x8,
    }

    /// A locally unique identifier.
    pub struct LUID("_LUID", 0x8) {
        LowPart: u32 = 0x0,
        HighPart: i32 = 0x4,
    }

    /// A time as calendar fields.
    pub struct TIME_FIELDS("_TIME_FIELDS", 0x10) {
        Year: i16 = 0x0,
        Month: i16 = 0x2,
        Day: i16 = 0x4,
        Hour: i16 = 0x6,
        Minute: i16 = 0x8,
        Second: i16 = 0xa,
        Milliseconds: i16 = 0xc,
        Weekday: i16 = 0xe,
    }
}

/// Another name of [`ANSI_STRING`].
#[allow(non_camel_case_types, clippy::upper_case_acronyms)]
pub type STRING = ANSI_STRING;

/// Another name of [`LARGE_INTEGER`].
#[allow(non_camel_case_types, clippy::upper_case_acronyms)]
pub type PHYSICAL_ADDRESS = LARGE_INTEGER;
