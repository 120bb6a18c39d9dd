//! A serial port: a 16550 with its FIFO, as PCI cards carry it. Registers after the data sheet of the National
//! Semiconductor PC16550D; every transmission is over at once.

use std::collections::VecDeque;
use std::hash::Hasher;

use super::model::{Bus, Identity, Model, Range};
use crate::hash::Fnv;

/// Line status: data is there; an overrun; the transmitter is empty (both bits).
const DATA_READY: u8 = 0x01;
const OVERRUN: u8 = 0x02;
const EMPTY: u8 = 0x60;
/// Line control: the first two registers are the divisor.
const DIVISOR: u8 = 0x80;
/// Modem control: what is sent comes back; the interrupt pin is connected.
const LOOP: u8 = 0x10;
const OUT2: u8 = 0x08;
/// FIFO depth.
const DEPTH: usize = 16;

/// The device.
#[derive(Clone, Debug, Default)]
pub struct Uart {
    received: VecDeque<u8>,
    sent: Vec<u8>,
    enabled: u8,
    fifo: u8,
    control: u8,
    modem: u8,
    scratch: u8,
    divisor: u16,
    overrun: bool,
    /// The transmitter became empty and nobody was told yet.
    empty: bool,
}

impl Uart {
    /// Interrupt identification: the highest of what is enabled and there; bit 0 set for none.
    fn identification(&self) -> u8 {
        if self.enabled & 4 != 0 && self.overrun {
            0x06
        } else if self.enabled & 1 != 0 && !self.received.is_empty() {
            0x04
        } else if self.enabled & 2 != 0 && self.empty {
            0x02
        } else {
            0x01
        }
    }

    fn line(&self, bus: &mut Bus<'_>) {
        bus.interrupt(self.identification() & 1 == 0 && self.modem & OUT2 != 0);
    }

    fn take(&mut self, byte: u8) {
        let room = if self.fifo & 1 != 0 { DEPTH } else { 1 };
        if self.received.len() < room {
            self.received.push_back(byte);
        } else {
            self.overrun = true;
        }
    }
}

impl Model for Uart {
    fn boxed(&self) -> Box<dyn Model> {
        Box::new(self.clone())
    }

    fn hash(&self, into: &mut Fnv) {
        into.write_u64(self.received.len() as u64);
        for byte in &self.received {
            into.write_u64(u64::from(*byte));
        }
        into.write_u64(self.sent.len() as u64);
        into.write(&self.sent);
        let registers = [
            self.enabled,
            self.fifo,
            self.control,
            self.modem,
            self.scratch,
            u8::from(self.overrun),
            u8::from(self.empty),
        ];
        into.write(&registers);
        into.write_u64(u64::from(self.divisor));
    }

    fn identity(&self) -> Identity {
        Identity {
            vendor: 0x1d33,
            device: 0x0002,
            // Simple communication controller, serial, 16550 compatible.
            class: [0x07, 0x00, 0x02],
            revision: 1,
            ranges: &[Range::Ports(8)],
            interrupt: true,
        }
    }

    fn read(&mut self, _range: usize, offset: u64, _size: u8, bus: &mut Bus<'_>) -> u64 {
        let value = match (offset, self.control & DIVISOR != 0) {
            (0, true) => self.divisor as u8,
            (1, true) => (self.divisor >> 8) as u8,
            (0, false) => self.received.pop_front().unwrap_or(0),
            (1, false) => self.enabled,
            (2, _) => {
                let identification = self.identification();
                if identification == 0x02 {
                    self.empty = false;
                }
                // The two top bits say that the FIFOs are on.
                identification | if self.fifo & 1 != 0 { 0xc0 } else { 0 }
            }
            (3, _) => self.control,
            (4, _) => self.modem,
            (5, _) => {
                let data = if self.received.is_empty() {
                    0
                } else {
                    DATA_READY
                };
                let overrun = if self.overrun { OVERRUN } else { 0 };
                self.overrun = false;
                EMPTY | data | overrun
            }
            // Clear to send, data set ready, carrier: somebody is there.
            (6, _) => 0xb0,
            (7, _) => self.scratch,
            _ => 0xff,
        };
        self.line(bus);
        u64::from(value)
    }

    fn write(&mut self, _range: usize, offset: u64, _size: u8, value: u64, bus: &mut Bus<'_>) {
        let value = value as u8;
        match (offset, self.control & DIVISOR != 0) {
            (0, true) => self.divisor = self.divisor & 0xff00 | u16::from(value),
            (1, true) => self.divisor = self.divisor & 0x00ff | u16::from(value) << 8,
            (0, false) => {
                if self.modem & LOOP != 0 {
                    self.take(value);
                } else {
                    self.sent.push(value);
                }
                self.empty = true;
            }
            (1, false) => {
                // Enabling it while the transmitter is empty asks for one interrupt at once.
                if value & 2 != 0 && self.enabled & 2 == 0 {
                    self.empty = true;
                }
                self.enabled = value & 0x0f;
            }
            (2, _) => {
                self.fifo = value & 0xc9;
                if value & 2 != 0 {
                    self.received.clear();
                }
            }
            (3, _) => self.control = value,
            (4, _) => self.modem = value & 0x1f,
            (7, _) => self.scratch = value,
            _ => {}
        }
        self.line(bus);
    }

    fn receive(&mut self, bytes: &[u8], bus: &mut Bus<'_>) {
        for byte in bytes {
            self.take(*byte);
        }
        self.line(bus);
    }

    fn sent(&self) -> &[u8] {
        &self.sent
    }
}
