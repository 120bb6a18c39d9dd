//! A device that copies memory by itself and then interrupts: the simplest bus master.
//!
//! | offset | register | |
//! |---|---|---|
//! | 00 | identity | reads 0x5233444D |
//! | 04 | control | 1 starts a copy, 2 resets the device |
//! | 08 | status | 1 busy, 2 the last copy failed |
//! | 10 | source | 64-bit physical address |
//! | 18 | target | 64-bit physical address |
//! | 20 | length | bytes, at most 16 MiB |
//! | 24 | interrupt enable | 1: interrupt at the end of a copy |
//! | 28 | interrupt status | 1: a copy has ended; writing 1 clears it |
//!
//! Registers are 32 bits wide; the two addresses may be written in halves or as a whole. A copy takes 1 ns per byte and
//! 1 us on top.

use std::hash::Hasher;

use super::model::{Bus, Identity, Model, Range};
use crate::hash::Fnv;

/// What the identity register reads.
pub const IDENTITY: u32 = 0x5233_444d;
const MOST: u32 = 16 << 20;
const START: u64 = 1;
const RESET: u64 = 2;
const FAILED: u32 = 2;

/// The device.
#[derive(Clone, Debug, Default)]
pub struct Mover {
    source: u64,
    target: u64,
    length: u32,
    enabled: u32,
    ended: u32,
    failed: bool,
    /// When the copy that runs ends.
    end: Option<u64>,
}

impl Mover {
    fn line(&self, bus: &mut Bus<'_>) {
        bus.interrupt(self.enabled & self.ended & 1 != 0);
    }
}

/// Replaces the half of an address that a write of 4 bytes means, or all of it.
fn merge(old: u64, high: bool, size: u8, value: u64) -> u64 {
    match (size, high) {
        (8, _) => value,
        (_, false) => old & !0xffff_ffff | value & 0xffff_ffff,
        (_, true) => old & 0xffff_ffff | value << 32,
    }
}

impl Model for Mover {
    fn boxed(&self) -> Box<dyn Model> {
        Box::new(self.clone())
    }

    fn hash(&self, into: &mut Fnv) {
        for value in [
            self.source,
            self.target,
            u64::from(self.length),
            u64::from(self.enabled),
            u64::from(self.ended),
            u64::from(self.failed),
            self.end.map_or(0, |end| end + 1),
        ] {
            into.write_u64(value);
        }
    }

    fn identity(&self) -> Identity {
        Identity {
            // No vendor has this number; PCI SIG gives 0xFFFF to nobody and small ones to members.
            vendor: 0x1d33,
            device: 0x0001,
            class: [0x08, 0x01, 0x00],
            revision: 1,
            ranges: &[Range::Memory(0x1000)],
            interrupt: true,
        }
    }

    fn read(&mut self, _range: usize, offset: u64, size: u8, _bus: &mut Bus<'_>) -> u64 {
        match offset {
            0x00 => u64::from(IDENTITY),
            0x08 => u64::from(self.end.is_some()) | (u64::from(self.failed) * u64::from(FAILED)),
            0x10 if size == 8 => self.source,
            0x10 => self.source & 0xffff_ffff,
            0x14 => self.source >> 32,
            0x18 if size == 8 => self.target,
            0x18 => self.target & 0xffff_ffff,
            0x1c => self.target >> 32,
            0x20 => u64::from(self.length),
            0x24 => u64::from(self.enabled),
            0x28 => u64::from(self.ended),
            _ => 0,
        }
    }

    fn write(&mut self, _range: usize, offset: u64, size: u8, value: u64, bus: &mut Bus<'_>) {
        // A copy that runs keeps the values that it was started with: the device ignores writes to them.
        let idle = self.end.is_none();
        match offset {
            0x04 if value & RESET != 0 => *self = Self::default(),
            0x04 if value & START != 0 && idle => {
                self.failed = self.length > MOST;
                // 100 ns per 100 bytes, and 1 us.
                self.end = Some(bus.now + 10 + u64::from(self.length.min(MOST)) / 100);
            }
            0x10 | 0x14 if idle => self.source = merge(self.source, offset == 0x14, size, value),
            0x18 | 0x1c if idle => self.target = merge(self.target, offset == 0x1c, size, value),
            0x20 if idle => self.length = value as u32,
            0x24 => self.enabled = value as u32 & 1,
            0x28 => self.ended &= !(value as u32),
            _ => {}
        }
        self.line(bus);
    }

    fn due(&self) -> Option<u64> {
        self.end
    }

    fn tick(&mut self, bus: &mut Bus<'_>) {
        if self.end.take().is_none() {
            return;
        }
        if !self.failed {
            let mut bytes = vec![0; self.length as usize];
            let copied = bus
                .read(self.source, &mut bytes)
                .and_then(|()| bus.write(self.target, &bytes));
            self.failed = copied.is_err();
        }
        self.ended = 1;
        self.line(bus);
    }
}
