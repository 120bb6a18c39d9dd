//! Any unwind information, code and stack: one step of unwinding answers or refuses. The first four bytes are the offset of
//! the instruction pointer and the end of the function; the rest is the memory, which the stack pointer points into.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ring3_pe::RuntimeFunction;
use ring3_symbols::unwind::{CodeMemory, Registers, scope_table, virtual_unwind};

struct Bytes<'a>(&'a [u8]);

impl CodeMemory for Bytes<'_> {
    fn read(&self, va: u64, buf: &mut [u8]) -> bool {
        let bytes = usize::try_from(va).ok().and_then(|va| self.0.get(va..va.checked_add(buf.len())?));
        bytes.map(|bytes| buf.copy_from_slice(bytes)).is_some()
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&[a, b, c, d], memory)) = data.split_first_chunk::<4>() else { return };
    let function = RuntimeFunction { begin: 0, end: u32::from(u16::from_le_bytes([a, b])), unwind: u32::from(c) * 4 };
    let mut regs = Registers { rip: u64::from(d), ..Registers::default() };
    regs.gpr[4] = u64::from(c) * 8;
    let before = regs;
    match virtual_unwind(&Bytes(memory), 0, Some(&function), &mut regs) {
        Ok(unwound) => {
            if let Some(handler) = unwound.handler {
                let _ = scope_table(&Bytes(memory), handler.data_va);
            }
        }
        Err(_) => assert_eq!(regs, before),
    }
});
