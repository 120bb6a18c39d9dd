//! The part of the C library that the kernel exports. Documentation: "Microsoft C runtime library".

pub mod characters;
pub mod compare;
pub mod copy;
pub mod numbers;
pub mod print;
pub mod search;
pub mod secure;
pub mod sort;

use ring3_memory::{Fault, Gva};

use crate::Machine;

/// Units after which a string without an end is taken to end.
const LIMIT: u64 = 1 << 24;

/// `errno_t` values that the secure functions return: errno.h.
pub mod errno {
    /// `EINVAL`.
    pub const EINVAL: i32 = 22;
    /// `ERANGE`.
    pub const ERANGE: i32 = 34;
    /// `STRUNCATE`.
    pub const STRUNCATE: i32 = 80;
}

/// A NUL-terminated string of the guest, of bytes or UTF-16 units.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    at: u64,
    wide: bool,
}

impl Text {
    /// A string of bytes.
    #[must_use]
    pub fn narrow<T: ?Sized>(at: Gva<T>) -> Self {
        Self {
            at: at.raw(),
            wide: false,
        }
    }

    /// A string of UTF-16 units.
    #[must_use]
    pub fn wide<T: ?Sized>(at: Gva<T>) -> Self {
        Self {
            at: at.raw(),
            wide: true,
        }
    }

    /// Whether the pointer is NULL.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.at == 0
    }

    /// The address of the unit with this index.
    #[must_use]
    pub fn address(self, index: u64) -> Gva {
        Gva::new(self.at.wrapping_add(if self.wide {
            index.wrapping_mul(2)
        } else {
            index
        }))
    }

    /// A unit.
    ///
    /// # Errors
    /// A fault if it cannot be read.
    pub fn get(self, cx: &Machine, index: u64) -> Result<u16, Fault> {
        let at = self.address(index);
        if self.wide {
            cx.memory.read(at.cast::<u16>())
        } else {
            Ok(u16::from(cx.memory.read(at)?))
        }
    }

    /// Writes a unit.
    ///
    /// # Errors
    /// A fault if it cannot be written.
    pub fn put(self, cx: &mut Machine, index: u64, unit: u16) -> Result<(), Fault> {
        let at = self.address(index);
        if self.wide {
            cx.memory.write(at.cast::<u16>(), unit)
        } else {
            cx.memory.write(at, unit as u8)
        }
    }

    /// Units before the terminator, at most `limit`.
    ///
    /// # Errors
    /// A fault where it cannot be read.
    pub fn length(self, cx: &Machine, limit: u64) -> Result<u64, Fault> {
        let limit = limit.min(LIMIT);
        let mut length = 0;
        while length < limit && self.get(cx, length)? != 0 {
            length += 1;
        }
        Ok(length)
    }

    /// The units before the terminator, at most `limit`.
    ///
    /// # Errors
    /// A fault where it cannot be read.
    pub fn units(self, cx: &Machine, limit: u64) -> Result<Vec<u16>, Fault> {
        let limit = limit.min(LIMIT);
        let mut units = Vec::new();
        while (units.len() as u64) < limit {
            match self.get(cx, units.len() as u64)? {
                0 => break,
                unit => units.push(unit),
            }
        }
        Ok(units)
    }

    /// Writes units from an index on; no terminator.
    ///
    /// # Errors
    /// A fault where it cannot be written.
    pub fn write(self, cx: &mut Machine, index: u64, units: &[u16]) -> Result<(), Fault> {
        let bytes: Vec<u8> = if self.wide {
            units.iter().flat_map(|u| u.to_le_bytes()).collect()
        } else {
            units.iter().map(|u| *u as u8).collect()
        };
        cx.memory.write_bytes(self.address(index), &bytes)
    }
}

/// Lower case in the "C" locale, which the kernel's C library uses: only A to Z change.
#[must_use]
pub fn lower(unit: u16) -> u16 {
    if (0x41..=0x5a).contains(&unit) {
        unit + 0x20
    } else {
        unit
    }
}

/// Upper case in the "C" locale: only a to z change.
#[must_use]
pub fn upper(unit: u16) -> u16 {
    if (0x61..=0x7a).contains(&unit) {
        unit - 0x20
    } else {
        unit
    }
}
