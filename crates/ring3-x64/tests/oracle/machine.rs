//! Runs cases in the interpreter, in user mode as the host does, with the same pages at the same addresses.

use ring3_memory::{Gva, Memory, PageFlags};
use ring3_x64::{Cpu, Engine, Exit, Interpreter};

use super::case::{
    CASE, CODE_PAGE, Case, Executor, GS_BASE, Outcome, SCRATCH, SCRATCH_SIZE, State,
};

/// One interpreter with two data pages and one page of code.
pub struct Machine {
    engine: Interpreter,
    memory: Memory,
    cr3: u64,
    /// Stop after each instruction instead of running a sequence in one go.
    pub sliced: bool,
}

impl Machine {
    pub fn new() -> Self {
        let mut memory = Memory::new(16 << 20);
        let cr3 = memory.new_address_space(None).expect("enough memory");
        let user = PageFlags::PRESENT | PageFlags::USER | PageFlags::ACCESSED | PageFlags::DIRTY;
        for (va, flags) in [
            (CODE_PAGE, user),
            (SCRATCH, user | PageFlags::WRITE),
            (SCRATCH + 0x1000, user | PageFlags::WRITE),
        ] {
            let frame = memory.alloc_frame().expect("enough memory");
            memory.map(cr3, va, frame, flags).expect("not mapped yet");
        }
        Self {
            engine: Interpreter::new(),
            memory,
            cr3,
            sliced: false,
        }
    }
}

impl Executor for Machine {
    fn run(&mut self, case: &Case) -> Outcome {
        let mut code = case.bytes.clone();
        // So that a block which decodes beyond the instruction finds something valid.
        code.extend_from_slice(&[0x90; 4]);
        self.memory
            .poke_bytes(Some(self.cr3), Gva::<u8>::new(CASE), &code)
            .expect("mapped");
        self.memory
            .poke_bytes(Some(self.cr3), Gva::<u8>::new(SCRATCH), &case.scratch)
            .expect("mapped");
        let mut cpu = Cpu {
            gpr: case.state.gpr,
            rflags: case.state.rflags,
            mxcsr: case.state.mxcsr,
            xmm: case.state.xmm,
            rip: CASE,
            cs: 0x33,
            ss: 0x2b,
            cr3: self.cr3,
            gs_base: GS_BASE,
            ..Cpu::default()
        };
        let mut vector = None;
        // A repeated string instruction counts each iteration.
        let stride = if self.sliced { 1 } else { case.steps };
        for _ in 0..64 {
            let until = cpu.icount + stride;
            match self.engine.run(&mut cpu, &mut self.memory, until) {
                Exit::Limit if cpu.rip == CASE || cpu.icount < case.steps => {}
                Exit::Limit => break,
                Exit::Exception { vector: number, .. } => {
                    vector = Some(number);
                    break;
                }
                Exit::NotModelled { text, .. } => return Outcome::NotModelled(text),
                other => panic!("{} left the engine: {other}", case.instruction),
            }
        }
        let mut scratch = vec![0; SCRATCH_SIZE];
        self.memory
            .peek_bytes(Some(self.cr3), Gva::<u8>::new(SCRATCH), &mut scratch)
            .expect("mapped");
        let state = State {
            gpr: cpu.gpr,
            rflags: cpu.rflags,
            mxcsr: cpu.mxcsr,
            pad: 0,
            xmm: cpu.xmm,
        };
        Outcome::Done {
            state: Box::new(state),
            rip: cpu.rip,
            vector,
            scratch,
        }
    }
}
