//! The workloads in the interpreter: an image in page tables of its own, with no kernel around it. Calls through
//! the import leave the engine with `vmcall` and come back as they do in the kernel.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use ring3_memory::{Gva, Memory, PAGE_SIZE, PageFlags};
use ring3_pe::{Image, Options};
use ring3_x64::{Cpu, Engine, Exit, Interpreter, R8, R9, R10, R11, RAX, RCX, RDX, RSP};

use crate::Workload;
use crate::clock::Stopwatch;

const IMAGE: u64 = 0xffff_f800_2000_0000;
const STUBS: u64 = 0xffff_f800_1000_0000;
const STACK: u64 = 0xffff_f880_0010_0000;
const STACK_SIZE: u64 = 6 * PAGE_SIZE as u64;
/// What the outermost routine returns to.
const END: u64 = STUBS + 16;

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Processor time per round.
    pub ns_per_round: f64,
    /// Guest instructions per round.
    pub instructions_per_round: f64,
    /// What the workload computed.
    pub result: u64,
}

/// A processor, its memory and its engine.
#[derive(Debug)]
pub struct Guest {
    cpu: Cpu,
    memory: Memory,
    engine: Interpreter,
    entry: u64,
}

impl Guest {
    /// Maps the image and binds its import.
    ///
    /// # Errors
    /// The image can't be read or isn't one.
    pub fn new(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let image = Image::parse_with(bytes, Options::default())
            .with_context(|| path.display().to_string())?;
        let mut memory = Memory::new(16 << 20);
        let root = memory
            .new_address_space(None)
            .context("no frame for page tables")?;
        let cpu = Cpu {
            cr3: root,
            ..Cpu::default()
        };
        memory.set_context(cpu.context());

        let mapped = image.map(IMAGE);
        for (number, content) in mapped.chunks(PAGE_SIZE).enumerate() {
            let rva = number as u32 * PAGE_SIZE as u32;
            let (write, execute) = image
                .section_at(rva)
                .map_or((false, false), |s| (s.writable(), s.executable()));
            place(
                &mut memory,
                root,
                IMAGE + u64::from(rva),
                content,
                write,
                execute,
            )?;
        }
        // `vmcall; ret` twice: the import's and the end's.
        let mut stubs = [0x90; 32];
        for start in [0, 16] {
            stubs[start..start + 4].copy_from_slice(&[0x0f, 0x01, 0xc1, 0xc3]);
        }
        place(&mut memory, root, STUBS, &stubs, false, true)?;
        for va in (STACK - STACK_SIZE..STACK).step_by(PAGE_SIZE) {
            place(&mut memory, root, va, &[], true, false)?;
        }
        ensure!(
            mapped.len().is_multiple_of(PAGE_SIZE),
            "the image does not end with a page"
        );
        let slots: Vec<u32> = image
            .imports
            .iter()
            .flat_map(|m| &m.entries)
            .map(|e| e.iat_rva)
            .collect();
        let [slot] = slots.as_slice() else {
            bail!("the image has {} imports instead of one", slots.len())
        };
        let slot = Gva::<u64>::new(IMAGE + u64::from(*slot));
        memory
            .poke_bytes(None, slot, &STUBS.to_le_bytes())
            .context("the import's place is not mapped")?;
        Ok(Self {
            cpu,
            memory,
            engine: Interpreter::new(),
            entry: IMAGE + u64::from(image.entry),
        })
    }

    /// Runs one workload.
    ///
    /// # Errors
    /// The guest did something that no workload does.
    pub fn run(&mut self, workload: &Workload) -> anyhow::Result<Measured> {
        let rsp = STACK - 0x28;
        self.memory
            .write(Gva::<u64>::new(rsp), END)
            .context("the stack is not mapped")?;
        self.cpu.rip = self.entry;
        self.cpu.gpr[RSP] = rsp;
        self.cpu.gpr[RCX] = workload.number;
        self.cpu.gpr[RDX] = workload.rounds;
        let start = self.cpu.icount;
        let watch = Stopwatch::start();
        loop {
            match self.engine.run(&mut self.cpu, &mut self.memory, u64::MAX) {
                Exit::HostCall if self.cpu.rip == END => break,
                Exit::HostCall => self.host_call()?,
                exit => bail!("{} ended with {exit} at {:#x}", workload.name, self.cpu.rip),
            }
        }
        let time = watch.elapsed();
        Ok(Measured {
            ns_per_round: time.as_secs_f64() * 1e9 / workload.rounds as f64,
            instructions_per_round: (self.cpu.icount - start) as f64 / workload.rounds as f64,
            result: self.cpu.gpr[RAX],
        })
    }

    /// The routine behind the import; the same as `handler` in `native/main.c`.
    fn host_call(&mut self) -> anyhow::Result<()> {
        let (input, output) = (
            Gva::<[u64; 4]>::new(self.cpu.gpr[RCX]),
            Gva::<u64>::new(self.cpu.gpr[RDX]),
        );
        let words: [u64; 4] = self.memory.read(input)?;
        let value = words[0]
            .wrapping_add(words[1].wrapping_mul(3))
            .wrapping_add(words[2] ^ words[3]);
        self.memory.write(output, value)?;
        let rsp = self.cpu.gpr[RSP];
        let back = self.memory.read(Gva::<u64>::new(rsp))?;
        for volatile in [RCX, RDX, R8, R9, R10, R11] {
            self.cpu.gpr[volatile] = 0xbad0_bad0_bad0_bad0;
        }
        self.cpu.gpr[RAX] = (value >> 40) & 0xff;
        self.cpu.gpr[RSP] = rsp + 8;
        // The instructions of the stub count as one: the `vmcall`.
        self.cpu.retire(back);
        Ok(())
    }
}

/// Maps one page with this content.
fn place(
    memory: &mut Memory,
    root: u64,
    va: u64,
    content: &[u8],
    write: bool,
    execute: bool,
) -> anyhow::Result<()> {
    let mut flags = PageFlags::PRESENT | PageFlags::ACCESSED | PageFlags::DIRTY;
    flags.set(PageFlags::WRITE, write);
    flags.set(PageFlags::NX, !execute);
    let frame = memory
        .alloc_frame()
        .context("the machine's memory is full")?;
    memory
        .map(root, va, frame, flags)
        .context("mapping a page")?;
    memory
        .poke_bytes(None, Gva::<u8>::new(va), content)
        .context("filling a page")?;
    Ok(())
}
