//! A fake memory, and a function made of instructions whose effect on registers and stack is known.
#![allow(dead_code)]

use std::collections::BTreeMap;

use ring3_pe::RuntimeFunction;
use ring3_symbols::unwind::{CodeMemory, Registers};

/// Where the fake image lies.
pub const BASE: u64 = 0xffff_f800_1000_0000;
/// RVA of the function under test.
pub const BEGIN: u32 = 0x1000;
/// RVA of its unwind information.
pub const UNWIND: u32 = 0x8000;
/// Number of rsp.
pub const RSP: usize = 4;

/// Byte-wise memory.
#[derive(Clone, Default)]
pub struct Fake {
    bytes: BTreeMap<u64, u8>,
    functions: Vec<RuntimeFunction>,
}

impl Fake {
    /// Stores bytes.
    pub fn write(&mut self, va: u64, bytes: &[u8]) {
        for (offset, byte) in (0..).zip(bytes) {
            self.bytes.insert(va.wrapping_add(offset), *byte);
        }
    }

    /// Stores eight bytes.
    pub fn write_u64(&mut self, va: u64, value: u64) {
        self.write(va, &value.to_le_bytes());
    }

    /// Makes a function known to jumps.
    pub fn function(&mut self, function: RuntimeFunction) {
        self.functions.push(function);
    }
}

impl CodeMemory for Fake {
    fn read(&self, va: u64, buf: &mut [u8]) -> bool {
        (0..).zip(buf).all(|(offset, slot)| {
            self.bytes
                .get(&va.wrapping_add(offset))
                .map(|byte| *slot = *byte)
                .is_some()
        })
    }

    fn function_at(&self, image_base: u64, va: u64) -> Option<RuntimeFunction> {
        let rva = u32::try_from(va.checked_sub(image_base)?).ok()?;
        self.functions
            .iter()
            .find(|function| function.contains(rva))
            .copied()
    }
}

/// One instruction of a synthetic function.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Push(u8),
    Sub(u32),
    Save(u8, u32),
    SaveXmm(u8, u32),
    /// `lea register, [rsp + offset]`.
    SetFrame(u8, u32),
    /// Overwrites a register, as a body does.
    Clobber(u8),
    ClobberXmm(u8),
    Load(u8, u32),
    LoadXmm(u8, u32),
    Add(u32),
    /// `lea rsp, [register + offset]`.
    Lea(u8, i32),
    Pop(u8),
    Ret,
    /// `jmp rel32`, distance from its end.
    Jump(i32),
    Nop,
}

impl Step {
    /// The instruction's bytes.
    pub fn encode(self) -> Vec<u8> {
        let rex = |w: u8, r: u8, b: u8| 0x40 | w << 3 | (r >> 3) << 2 | b >> 3;
        // ModRM and SIB of [rsp + disp32].
        let at_rsp = |prefix: &[u8], register: u8, offset: u32| {
            let mut bytes = prefix.to_vec();
            bytes.extend([0x84 | (register & 7) << 3, 0x24]);
            bytes.extend(offset.to_le_bytes());
            bytes
        };
        match self {
            Self::Push(r) if r < 8 => vec![0x50 + r],
            Self::Push(r) => vec![0x41, 0x48 + r],
            Self::Pop(r) if r < 8 => vec![0x58 + r],
            Self::Pop(r) => vec![0x41, 0x50 + r],
            Self::Sub(size) => [&[0x48, 0x81, 0xec], &size.to_le_bytes()[..]].concat(),
            Self::Add(size) => match i8::try_from(size) {
                Ok(short) => vec![0x48, 0x83, 0xc4, short as u8],
                Err(_) => [&[0x48, 0x81, 0xc4], &size.to_le_bytes()[..]].concat(),
            },
            Self::Save(r, offset) => at_rsp(&[rex(1, r, 0), 0x89], r, offset),
            Self::Load(r, offset) => at_rsp(&[rex(1, r, 0), 0x8b], r, offset),
            Self::SaveXmm(r, offset) => at_rsp(&[rex(0, r, 0), 0x0f, 0x29], r, offset),
            Self::LoadXmm(r, offset) => at_rsp(&[rex(0, r, 0), 0x0f, 0x28], r, offset),
            Self::SetFrame(r, offset) => at_rsp(&[rex(1, r, 0), 0x8d], r, offset),
            Self::Lea(r, offset) => {
                let mut bytes = vec![rex(1, 0, r), 0x8d, 0xa0 | r & 7];
                if r & 7 == 4 {
                    bytes.push(0x24);
                }
                bytes.extend(offset.to_le_bytes());
                bytes
            }
            Self::Clobber(r) => vec![rex(1, r, r), 0x31, 0xc0 | (r & 7) << 3 | r & 7],
            Self::ClobberXmm(r) => vec![rex(0, r, r), 0x0f, 0x57, 0xc0 | (r & 7) << 3 | r & 7],
            Self::Ret => vec![0xc3],
            Self::Jump(distance) => [&[0xe9], &distance.to_le_bytes()[..]].concat(),
            Self::Nop => vec![0x90],
        }
    }

    /// Does what the instruction does, without moving rip.
    fn execute(self, regs: &mut Registers, memory: &mut Fake) {
        let rsp = regs.gpr[RSP];
        let read = |memory: &Fake, va: u64, len: usize| {
            let mut bytes = [0; 16];
            assert!(memory.read(va, &mut bytes[..len]), "stack at {va:#x}");
            u128::from_le_bytes(bytes)
        };
        match self {
            Self::Push(r) => {
                regs.gpr[RSP] = rsp - 8;
                memory.write_u64(rsp - 8, regs.gpr[usize::from(r)]);
            }
            Self::Pop(r) => {
                regs.gpr[usize::from(r)] = read(memory, rsp, 8) as u64;
                regs.gpr[RSP] = rsp + 8;
            }
            Self::Sub(size) => regs.gpr[RSP] = rsp - u64::from(size),
            Self::Add(size) => regs.gpr[RSP] = rsp + u64::from(size),
            Self::Save(r, offset) => {
                memory.write_u64(rsp + u64::from(offset), regs.gpr[usize::from(r)])
            }
            Self::Load(r, offset) => {
                regs.gpr[usize::from(r)] = read(memory, rsp + u64::from(offset), 8) as u64
            }
            Self::SaveXmm(r, offset) => memory.write(
                rsp + u64::from(offset),
                &regs.xmm[usize::from(r)].to_le_bytes(),
            ),
            Self::LoadXmm(r, offset) => {
                regs.xmm[usize::from(r)] = read(memory, rsp + u64::from(offset), 16)
            }
            Self::SetFrame(r, offset) => regs.gpr[usize::from(r)] = rsp + u64::from(offset),
            Self::Lea(r, offset) => {
                regs.gpr[RSP] = regs.gpr[usize::from(r)].wrapping_add_signed(i64::from(offset))
            }
            Self::Clobber(r) => regs.gpr[usize::from(r)] = 0,
            Self::ClobberXmm(r) => regs.xmm[usize::from(r)] = 0,
            Self::Ret | Self::Jump(_) | Self::Nop => {}
        }
    }
}

/// A caller: recognisable values in all registers, rsp right after the call pushed the return address.
pub fn caller() -> (Registers, Fake) {
    let mut regs = Registers::default();
    for index in 0..16u8 {
        regs.gpr[usize::from(index)] = 0x1111_0000_0000_0000 + u64::from(index);
        regs.xmm[usize::from(index)] = 0x2222_u128 << 96 | u128::from(index);
    }
    regs.gpr[RSP] = 0xffff_c000_0080_0000;
    regs.rip = 0xffff_f800_2000_1234;
    let mut memory = Fake::default();
    // The caller's frame: room that the callee may read past its own.
    memory.write(regs.gpr[RSP], &[0xee; 256]);
    (regs, memory)
}

/// Runs the steps from `BEGIN` on and calls `look` before each with the registers (rip at it) and memory of that moment.
/// The memory has the code in it. Answers the caller's registers as they are after the return.
pub fn run(
    steps: &[Step],
    unwind: &[u8],
    mut look: impl FnMut(usize, &Registers, &Fake, &Registers),
) -> Registers {
    let (expected, mut memory) = caller();
    let code: Vec<u8> = steps.iter().flat_map(|step| step.encode()).collect();
    memory.write(BASE + u64::from(BEGIN), &code);
    memory.write(BASE + u64::from(UNWIND), unwind);
    let mut regs = expected;
    regs.gpr[RSP] -= 8;
    memory.write_u64(regs.gpr[RSP], expected.rip);
    regs.rip = BASE + u64::from(BEGIN);
    for (index, step) in steps.iter().enumerate() {
        look(index, &regs, &memory, &expected);
        step.execute(&mut regs, &mut memory);
        regs.rip += step.encode().len() as u64;
    }
    expected
}

/// The function's entry, over `steps`.
pub fn entry(steps: &[Step]) -> RuntimeFunction {
    let size: usize = steps.iter().map(|step| step.encode().len()).sum();
    RuntimeFunction {
        begin: BEGIN,
        end: BEGIN + size as u32,
        unwind: UNWIND,
    }
}

/// Registers that a callee must keep: rbx, rsp, rbp, rsi, rdi, r12 to r15.
pub const NONVOLATILE: [usize; 9] = [3, 4, 5, 6, 7, 12, 13, 14, 15];

/// Checks that `got` is the caller's frame.
pub fn same_caller(got: &Registers, expected: &Registers, place: &str) {
    assert_eq!(got.rip, expected.rip, "rip, {place}");
    for register in NONVOLATILE {
        assert_eq!(
            got.gpr[register], expected.gpr[register],
            "register {register}, {place}"
        );
    }
    assert_eq!(got.xmm[6..], expected.xmm[6..], "xmm, {place}");
}
