//! Accesses of the guest to registers.

use ring3_memory::{Access, Gpa, PAGE_SIZE};
use ring3_x64::Exit;

use crate::Machine;

/// The most that a model is asked for at once.
const WORD: u64 = 8;

impl Machine {
    /// The guest touches a physical address without RAM.
    pub(crate) fn device_access(&mut self, exit: &Exit) {
        let Exit::Device {
            pa,
            access,
            size,
            read_write,
        } = *exit
        else {
            return;
        };
        let size = u64::from(size);
        let offset = pa.0 % PAGE_SIZE as u64;
        let fits = size > 0 && offset + size <= PAGE_SIZE as u64;
        let Some((device, range, register)) = self.devices.find(pa.0, true).filter(|_| fits) else {
            self.stop_at_rip(exit.to_string());
            return;
        };
        if self.devices.scratch.is_none() {
            self.devices.scratch = self.memory.alloc_frame();
        }
        let Some(scratch) = self.devices.scratch else {
            self.stop_at_rip("an access to a device with no page of RAM left".into());
            return;
        };
        let place = Gpa(scratch.0 + offset);
        let reads = access == Access::Read;
        let writes = access == Access::Write || read_write;
        for at in (0..size).step_by(WORD as usize).filter(|_| reads) {
            let piece = (size - at).min(WORD) as u8;
            let answer = self.with_device(device, |model, bus| {
                model.read(range, register + at, piece, bus)
            });
            let bytes = answer.unwrap_or(u64::MAX).to_le_bytes();
            let bytes = bytes.get(..usize::from(piece)).unwrap_or(&bytes);
            // The page is RAM, so this cannot fail.
            let _ = self.memory.write_physical(Gpa(place.0 + at), bytes);
        }
        if let Some(other) = self.step_over_device(pa, scratch) {
            self.stop_at_rip(format!("an instruction on a register: {other}"));
            return;
        }
        for at in (0..size).step_by(WORD as usize).filter(|_| writes) {
            let piece = (size - at).min(WORD) as u8;
            let mut bytes = [0; 8];
            let len = usize::from(piece);
            let filled = bytes.get_mut(..len).unwrap_or_default();
            let _ = self.memory.read_physical(Gpa(place.0 + at), filled);
            let value = u64::from_le_bytes(bytes);
            self.with_device(device, |model, bus| {
                model.write(range, register + at, piece, value, bus);
            });
        }
    }

    /// Runs one instruction with the scratch page in place of the device's. What stopped it, if it did not retire.
    fn step_over_device(&mut self, pa: Gpa, scratch: Gpa) -> Option<Exit> {
        self.memory.stand_in(Some((pa, scratch)));
        let exit = self.run_one_instruction();
        self.memory.stand_in(None);
        (exit != Exit::Limit).then_some(exit)
    }

    /// `in` and `out`.
    pub(crate) fn port_access(&mut self, exit: &Exit) {
        let (port, size, written) = match *exit {
            Exit::PortIn { port, size, .. } => (port, size, None),
            Exit::PortOut {
                port, size, value, ..
            } => (port, size, Some(value)),
            _ => return,
        };
        let Some((device, range, register)) = self.devices.find(u64::from(port), false) else {
            self.stop_at_rip(exit.to_string());
            return;
        };
        let answer = self.with_device(device, |model, bus| match written {
            Some(value) => {
                model.write(range, register, size, u64::from(value), bus);
                0
            }
            None => model.read(range, register, size, bus),
        });
        exit.complete(&mut self.processor_mut().cpu, answer.unwrap_or(u64::MAX));
    }
}
