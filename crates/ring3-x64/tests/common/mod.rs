//! A small machine for tests: code, data and stack, each with unmapped pages around.
#![allow(dead_code)]

use iced_x86::code_asm::CodeAssembler;
use ring3_memory::{Gva, Memory, PageFlags};
use ring3_x64::{Cpu, Engine, Exit, Interpreter, RSP};

/// Where code starts.
pub const CODE: u64 = 0xffff_8000_0010_0000;
/// Where data starts.
pub const DATA: u64 = 0xffff_8000_0020_0000;
/// The top of the stack.
pub const STACK: u64 = 0xffff_8000_0031_0000;
/// Bytes of each region.
pub const SIZE: u64 = 0x10000;

/// Processor, memory and interpreter.
#[derive(Clone)]
pub struct Machine {
    pub cpu: Cpu,
    pub mem: Memory,
    pub engine: Interpreter,
}

/// Maps `size` bytes of fresh frames.
pub fn map(mem: &mut Memory, cr3: u64, va: u64, size: u64, flags: PageFlags) {
    for page in 0..size / 4096 {
        let frame = mem.alloc_frame().expect("enough frames");
        mem.map(cr3, va + page * 4096, frame, flags).expect("free");
    }
}

impl Machine {
    /// A machine with `code` at [`CODE`].
    pub fn new(code: &[u8]) -> Self {
        let mut mem = Memory::new(8 << 20);
        let cr3 = mem.new_address_space(None).expect("enough frames");
        let flags = PageFlags::PRESENT | PageFlags::WRITE;
        for base in [CODE, DATA, STACK - SIZE] {
            map(&mut mem, cr3, base, SIZE, flags);
        }
        let mut cpu = Cpu {
            cr3,
            rip: CODE,
            ..Cpu::default()
        };
        cpu.gpr[RSP] = STACK - 0x100;
        mem.set_context(cpu.context());
        mem.write_bytes(Gva::<u8>::new(CODE), code).expect("mapped");
        Self {
            cpu,
            mem,
            engine: Interpreter::new(),
        }
    }

    /// A machine with an assembled program.
    pub fn assemble(program: impl FnOnce(&mut CodeAssembler)) -> Self {
        Self::new(&assemble(program))
    }

    /// Runs until something else than the limit of many instructions.
    pub fn run(&mut self) -> Exit {
        let until = self.cpu.icount + 100_000_000;
        self.engine.run(&mut self.cpu, &mut self.mem, until)
    }

    /// Runs at most `count` instructions.
    pub fn steps(&mut self, count: u64) -> Exit {
        let until = self.cpu.icount + count;
        self.engine.run(&mut self.cpu, &mut self.mem, until)
    }

    /// A quadword of memory.
    pub fn quad(&self, va: u64) -> u64 {
        self.mem.read(Gva::<u64>::new(va)).expect("mapped")
    }

    /// Changes a quadword of memory.
    pub fn set_quad(&mut self, va: u64, value: u64) {
        self.mem.write(Gva::<u64>::new(va), value).expect("mapped");
    }
}

/// Assembles for [`CODE`].
pub fn assemble(program: impl FnOnce(&mut CodeAssembler)) -> Vec<u8> {
    let mut assembler = CodeAssembler::new(64).expect("64 is a bitness");
    program(&mut assembler);
    assembler.assemble(CODE).expect("encodable")
}
