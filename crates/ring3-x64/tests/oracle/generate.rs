//! Makes cases: for one `Code` random operands, registers and memory, from a fixed seed.

use iced_x86::{
    Code, Encoder, FlowControl, Instruction, Mnemonic, OpCodeOperandKind, OpKind, Register,
};

use super::addressing::{Forms, GPR64, set_memory};
use super::case::{CASE, Case, SCRATCH, SCRATCH_SIZE, State, TAKEN};
use super::random::{Random, lanes};

/// Case number `index` of `code`. The same on every host.
pub fn make(code: Code, index: u64) -> Option<Case> {
    let name: u64 = format!("{code:?}").bytes().fold(0, |sum, byte| {
        sum.wrapping_mul(131).wrapping_add(byte.into())
    });
    let mut random = Random::new(name ^ index.wrapping_mul(0x1_0000_0001));
    // Some combinations cannot be encoded (AH with a REX prefix).
    (0..20).find_map(|_| attempt(code, Forms::All, &mut random))
}

pub fn attempt(code: Code, forms: Forms, random: &mut Random) -> Option<Case> {
    let lanes = lanes(code);
    let mut state = State {
        gpr: std::array::from_fn(|_| random.integer()),
        rflags: 0x202 | random.next() & 0x8d5,
        mxcsr: 0x1f80,
        pad: 0,
        xmm: std::array::from_fn(|_| random.vector(lanes)),
    };
    if random.one_in(2) {
        state.mxcsr = 0x1f80 | random.next() as u32 & 0xe07f;
        if random.one_in(4) {
            state.mxcsr &= !(random.next() as u32 & 0x1f80);
        }
    }
    let middle = SCRATCH + SCRATCH_SIZE as u64 / 2;
    state.gpr[4] = middle - 0x100 + 8 * random.below(64);
    let mut scratch = vec![0u8; SCRATCH_SIZE];
    for chunk in scratch.chunks_mut(16) {
        chunk.copy_from_slice(&random.vector(lanes).to_le_bytes());
    }
    let mut instruction = Instruction::default();
    instruction.set_code(code);
    let info = code.op_code();
    let indirect = matches!(
        code.flow_control(),
        FlowControl::IndirectBranch | FlowControl::IndirectCall
    );
    let mut memory = false;
    for (i, &kind) in info.op_kinds().iter().enumerate() {
        memory |= set_operand(&mut instruction, i as u32, kind, random)?;
    }
    special_values(&mut instruction, &mut state, &mut scratch, random);
    if indirect && instruction.op0_kind() == OpKind::Register {
        let number = instruction.op0_register().number();
        if number == 4 {
            return None;
        }
        state.gpr[number] = TAKEN;
    }
    let mut address = None;
    if memory {
        let size = instruction.memory_size().size() as u64;
        let aligned = size == 16 && !random.one_in(16);
        let target = match random.below(40) {
            // Across the page boundary, around the end of the data, anywhere.
            0 | 1 if !aligned => middle - random.below(size.max(1) + 1),
            2 => SCRATCH + SCRATCH_SIZE as u64 - random.below(2 * size + 1),
            _ => middle - 0x180 + random.below(0x300),
        };
        let target = if aligned { target & !15 } else { target };
        if indirect
            && let Some(place) = scratch
                .get_mut((target - SCRATCH) as usize..)
                .and_then(|s| s.get_mut(..8))
        {
            place.copy_from_slice(&TAKEN.to_le_bytes());
        }
        // Most values are valid; bit 17 exists on AMD processors only.
        if instruction.mnemonic() == Mnemonic::Ldmxcsr
            && let Some(place) = scratch
                .get_mut((target - SCRATCH) as usize + 2..)
                .and_then(|s| s.get_mut(..2))
        {
            place.copy_from_slice(if random.one_in(4) { &[0, 1] } else { &[0, 0] });
        }
        set_memory(&mut instruction, &mut state, target, forms, random)?;
        address = Some(target);
    }
    if info.can_use_lock_prefix()
        && memory
        && instruction.op0_kind() == OpKind::Memory
        && random.one_in(4)
    {
        instruction.set_has_lock_prefix(true);
    }
    let mut encoder = Encoder::new(64);
    encoder.encode(&instruction, CASE).ok()?;
    let bytes = encoder.take_buffer();
    // Decoded again so that everything derived (length, displacement sizes) is as an engine sees it.
    let instruction =
        iced_x86::Decoder::with_ip(64, &bytes, CASE, iced_x86::DecoderOptions::NONE).decode();
    if instruction.code() != code {
        return None;
    }
    Some(Case {
        code,
        instruction,
        bytes,
        state,
        scratch,
        address,
        steps: 1,
        unknown_flags: None,
    })
}

/// Sets one operand; says whether it is explicit memory whose address is still open.
fn set_operand(
    instruction: &mut Instruction,
    i: u32,
    kind: OpCodeOperandKind,
    random: &mut Random,
) -> Option<bool> {
    use OpCodeOperandKind as K;
    let register = |instruction: &mut Instruction, register: Register| {
        instruction.set_op_kind(i, OpKind::Register);
        instruction.set_op_register(i, register);
    };
    let gpr = random.pick(&GPR64);
    let by_memory = random.one_in(2);
    let byte_register = |random: &mut Random| {
        if random.one_in(4) {
            random.pick(&[Register::AH, Register::CH, Register::DH, Register::BH])
        } else {
            byte_of(gpr)
        }
    };
    let imm8 = match random.below(3) {
        0 => random.next() as u8,
        1 => random.below(65) as u8,
        _ => random.pick(&[
            0u8, 1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 63, 64, 127, 128, 255,
        ]),
    };
    let integer = random.integer();
    match kind {
        K::r8_or_mem | K::r16_or_mem | K::r32_or_mem | K::r64_or_mem | K::xmm_or_mem
            if by_memory =>
        {
            instruction.set_op_kind(i, OpKind::Memory);
            return Some(true);
        }
        K::mem => {
            instruction.set_op_kind(i, OpKind::Memory);
            return Some(true);
        }
        K::mem_offs => {
            instruction.set_op_kind(i, OpKind::Memory);
            instruction.set_memory_displ_size(8);
            return Some(true);
        }
        K::r8_or_mem | K::r8_reg | K::r8_opcode => {
            let byte = byte_register(random);
            register(instruction, byte);
        }
        K::r16_or_mem | K::r16_reg | K::r16_reg_mem | K::r16_rm | K::r16_opcode => {
            register(instruction, word_of(gpr))
        }
        K::r32_or_mem | K::r32_reg | K::r32_reg_mem | K::r32_rm | K::r32_opcode => {
            register(instruction, gpr.full_register32());
        }
        K::r64_or_mem | K::r64_reg | K::r64_reg_mem | K::r64_rm | K::r64_opcode => {
            register(instruction, gpr)
        }
        K::xmm_or_mem | K::xmm_reg | K::xmm_rm => {
            register(instruction, Register::XMM0 + random.below(16) as u32);
        }
        K::al => register(instruction, Register::AL),
        K::cl => register(instruction, Register::CL),
        K::ax => register(instruction, Register::AX),
        K::dx => register(instruction, Register::DX),
        K::eax => register(instruction, Register::EAX),
        K::rax => register(instruction, Register::RAX),
        K::imm8 => {
            let second = (0..i).any(|k| {
                matches!(
                    instruction.op_kind(k),
                    OpKind::Immediate16 | OpKind::Immediate8
                )
            });
            instruction.set_op_kind(
                i,
                if second {
                    OpKind::Immediate8_2nd
                } else {
                    OpKind::Immediate8
                },
            );
            instruction.set_immediate_u64(i, imm8.into());
        }
        K::imm8_const_1 => {
            instruction.set_op_kind(i, OpKind::Immediate8);
            instruction.set_immediate8(1);
        }
        K::imm8sex16 => {
            instruction.set_op_kind(i, OpKind::Immediate8to16);
            instruction.set_immediate8to16((imm8 as i8).into());
        }
        K::imm8sex32 => {
            instruction.set_op_kind(i, OpKind::Immediate8to32);
            instruction.set_immediate8to32((imm8 as i8).into());
        }
        K::imm8sex64 => {
            instruction.set_op_kind(i, OpKind::Immediate8to64);
            instruction.set_immediate8to64((imm8 as i8).into());
        }
        K::imm16 => {
            instruction.set_op_kind(i, OpKind::Immediate16);
            instruction.set_immediate16(integer as u16);
        }
        K::imm32 => {
            instruction.set_op_kind(i, OpKind::Immediate32);
            instruction.set_immediate32(integer as u32);
        }
        K::imm32sex64 => {
            instruction.set_op_kind(i, OpKind::Immediate32to64);
            instruction.set_immediate32to64((integer as i32).into());
        }
        K::imm64 => {
            instruction.set_op_kind(i, OpKind::Immediate64);
            instruction.set_immediate64(integer);
        }
        K::seg_rSI => instruction.set_op_kind(i, OpKind::MemorySegRSI),
        K::es_rDI => instruction.set_op_kind(i, OpKind::MemoryESRDI),
        K::seg_rDI => instruction.set_op_kind(i, OpKind::MemorySegRDI),
        K::seg_rBX_al => {
            instruction.set_op_kind(i, OpKind::Memory);
            instruction.set_memory_base(Register::RBX);
            instruction.set_memory_index(Register::AL);
        }
        K::br64_1 | K::br64_4 => {
            instruction.set_op_kind(i, OpKind::NearBranch64);
            instruction.set_near_branch64(TAKEN);
        }
        _ => return None,
    }
    Some(false)
}

fn byte_of(gpr: Register) -> Register {
    Register::values()
        .find(|r| r.is_gpr8() && r.full_register() == gpr && !is_high(*r))
        .unwrap_or(Register::AL)
}

fn word_of(gpr: Register) -> Register {
    Register::values()
        .find(|r| r.is_gpr16() && r.full_register() == gpr)
        .unwrap_or(Register::AX)
}

fn is_high(register: Register) -> bool {
    matches!(
        register,
        Register::AH | Register::CH | Register::DH | Register::BH
    )
}

/// Values without which an instruction would only fault, and repeat prefixes.
fn special_values(
    instruction: &mut Instruction,
    state: &mut State,
    scratch: &mut [u8],
    random: &mut Random,
) {
    use Mnemonic as M;
    let middle = SCRATCH + SCRATCH_SIZE as u64 / 2;
    let stack = (state.gpr[4] - SCRATCH) as usize;
    if instruction.is_string_instruction() {
        state.gpr[6] = middle - 0x80 + random.below(0x100);
        state.gpr[7] = middle - 0x80 + random.below(0x100);
        state.gpr[1] = random.below(10);
        if random.one_in(3) {
            state.rflags |= 0x400;
        }
        // Equal runs for cmps and scas.
        if random.one_in(2) {
            scratch[0xf00..0x1100].fill(state.gpr[0] as u8);
            state.gpr[0] = u64::from(state.gpr[0] as u8).wrapping_mul(0x0101_0101_0101_0101);
        }
        match (instruction.mnemonic(), random.below(3)) {
            (_, 0) => {}
            (
                M::Cmpsb
                | M::Cmpsw
                | M::Cmpsd
                | M::Cmpsq
                | M::Scasb
                | M::Scasw
                | M::Scasd
                | M::Scasq,
                1,
            ) => {
                instruction.set_has_repne_prefix(true);
            }
            _ => instruction.set_has_rep_prefix(true),
        }
    }
    match instruction.mnemonic() {
        M::Xlatb => state.gpr[3] = middle - random.below(256) - (state.gpr[0] & 0xff),
        M::Maskmovdqu => state.gpr[7] = middle - 0x80 + random.below(0x100),
        M::Leave => state.gpr[5] = middle - 0x80 + random.below(0x100),
        M::Enter => {
            state.gpr[5] = middle + 0x80 + random.below(0x100);
            instruction.set_immediate16(random.below(0x80) as u16);
        }
        M::Ret => {
            scratch[stack..stack + 8].copy_from_slice(&TAKEN.to_le_bytes());
        }
        M::Popfq => {
            let flags = 0x202 | random.next() & 0xcd5;
            scratch[stack..stack + 8].copy_from_slice(&flags.to_le_bytes());
        }
        M::Loop | M::Loope | M::Loopne | M::Jecxz | M::Jrcxz if random.one_in(2) => {
            state.gpr[1] = random.below(3);
        }
        // Otherwise nearly every quotient overflows.
        M::Div | M::Idiv if !random.one_in(4) => {
            let small = random.below(3);
            state.gpr[2] = if small == 2 { u64::MAX } else { small };
            if random.one_in(2) {
                state.gpr[0] &= 0x7fff;
            }
        }
        M::Bt | M::Bts | M::Btr | M::Btc
            if instruction.op0_kind() == OpKind::Memory
                && instruction.op1_kind() == OpKind::Register =>
        {
            let offset = (random.below(0x2000) as i64 - 0x1000) as u64;
            let number = instruction.op1_register().full_register().number();
            if number != 4 && !random.one_in(8) {
                state.gpr[number] = offset;
            }
        }
        // A count above the width of a 16-bit operand gives an undefined result.
        M::Shld | M::Shrd if instruction.op1_register().is_gpr16() => {
            if instruction.op2_kind() == OpKind::Immediate8 {
                instruction.set_immediate8(instruction.immediate8() & !16);
            } else {
                state.gpr[1] &= !16;
            }
        }
        M::Cmpxchg if random.one_in(2) => {
            if instruction.op0_kind() == OpKind::Register {
                let number = instruction.op0_register().full_register().number();
                if number != 4 {
                    state.gpr[number] = state.gpr[0];
                }
            } else {
                for chunk in scratch.chunks_mut(8) {
                    chunk.fill(state.gpr[0] as u8);
                }
                state.gpr[0] = u64::from(state.gpr[0] as u8).wrapping_mul(0x0101_0101_0101_0101);
            }
        }
        M::Cmpxchg8b | M::Cmpxchg16b if random.one_in(2) => {
            let byte = state.gpr[0] as u8;
            scratch.fill(byte);
            state.gpr[0] = u64::from(byte).wrapping_mul(0x0101_0101_0101_0101);
            state.gpr[2] = state.gpr[0];
        }
        M::Pcmpestri | M::Pcmpestrm => {
            for number in [0, 2] {
                if !random.one_in(4) {
                    state.gpr[number] = (random.below(40) as i64 - 20) as u64;
                }
            }
        }
        _ => {}
    }
}
