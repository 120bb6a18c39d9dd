//! Short random sequences: what an instruction leaves for the next ones, which the engine translates together.

use iced_x86::{Code, FlowControl, Instruction, Mnemonic, OpKind, Register};

use super::addressing::Forms;
use super::case::{CASE, Case, TAKEN, is_approximate, rflags_bits};
use super::generate;
use super::random::Random;

/// What sequences are made of.
pub struct Pool {
    /// Anything that suits.
    all: Vec<Code>,
    /// Readers and writers of flags.
    flags: Vec<Code>,
    /// Conditional jumps, for the end.
    jumps: Vec<Code>,
    /// What compilers use most between registers, and their loads and stores.
    common: Vec<Code>,
}

impl Pool {
    /// Takes what suits from `codes`.
    pub fn new(codes: &[Code]) -> Self {
        let instruction = |code: Code| {
            let mut instruction = Instruction::default();
            instruction.set_code(code);
            instruction
        };
        let all: Vec<Code> = codes.iter().copied().filter(|&code| suits(code)).collect();
        let flags = all
            .iter()
            .copied()
            .filter(|&code| {
                let i = instruction(code);
                !code
                    .op_code()
                    .op_kinds()
                    .contains(&iced_x86::OpCodeOperandKind::xmm_reg)
                    && i.rflags_read() | i.rflags_modified() != 0
            })
            .collect();
        let jumps = codes
            .iter()
            .copied()
            .filter(|code| code.flow_control() == FlowControl::ConditionalBranch && !code.is_loop())
            .collect();
        let common = all
            .iter()
            .copied()
            .filter(|&code| is_common(code))
            .collect();
        Self {
            all,
            flags,
            jumps,
            common,
        }
    }
}

/// No string, stack or implicit memory, which would need registers with chosen values.
fn suits(code: Code) -> bool {
    use Mnemonic as M;
    let mut instruction = Instruction::default();
    instruction.set_code(code);
    code.flow_control() == FlowControl::Next
        && !instruction.is_string_instruction()
        && !instruction.is_stack_instruction()
        && !is_approximate(code)
        && !matches!(
            code.mnemonic(),
            M::Xlatb
                | M::Maskmovdqu
                | M::Enter
                | M::Leave
                | M::Popfq
                | M::Ldmxcsr
                | M::Bsf
                | M::Bsr
        )
}

/// Integer instructions that the engine has handlers of its own for.
fn is_common(code: Code) -> bool {
    use Mnemonic as M;
    let alone = matches!(
        code.mnemonic(),
        M::Mov
            | M::Movzx
            | M::Movsx
            | M::Movsxd
            | M::Lea
            | M::Add
            | M::Adc
            | M::Sub
            | M::Sbb
            | M::And
            | M::Or
            | M::Xor
            | M::Cmp
            | M::Test
            | M::Inc
            | M::Dec
            | M::Neg
            | M::Not
            | M::Shl
            | M::Shr
            | M::Sar
            | M::Rol
            | M::Ror
            | M::Rcl
            | M::Imul
    );
    let mut instruction = Instruction::default();
    instruction.set_code(code);
    alone || instruction.condition_code() != iced_x86::ConditionCode::None
}

/// Makes the registers of an instruction be among four, so that what one writes the next ones read.
fn crowd(instruction: &mut Instruction, random: &mut Random) {
    let full = [Register::RAX, Register::RCX, Register::RDX, Register::RBX];
    for operand in 0..instruction.op_count() {
        let register = instruction.op_register(operand);
        let implied = matches!(
            instruction.op_code().op_kind(operand),
            iced_x86::OpCodeOperandKind::al
                | iced_x86::OpCodeOperandKind::ax
                | iced_x86::OpCodeOperandKind::eax
                | iced_x86::OpCodeOperandKind::rax
                | iced_x86::OpCodeOperandKind::cl
        );
        if instruction.op_kind(operand) != OpKind::Register || !register.is_gpr() || implied {
            continue;
        }
        let number = random.below(4) as u32;
        let base = match register.size() {
            // AL to BL and AH to BH.
            1 => Register::AL as u32 + number + if random.one_in(4) { 4 } else { 0 },
            2 => Register::AX as u32 + number,
            4 => Register::EAX as u32 + number,
            _ => Register::RAX as u32 + number,
        };
        if let Ok(register) = Register::try_from(base as usize) {
            instruction.set_op_register(operand, register);
        }
    }
    if instruction.mnemonic() == Mnemonic::Lea && random.one_in(2) {
        instruction.set_memory_base(random.pick(&full));
        instruction.set_memory_index(random.pick(&full));
        instruction.set_memory_index_scale(random.pick(&[1, 2, 4, 8]));
        instruction.set_memory_displacement64(random.below(256));
        instruction.set_memory_displ_size(4);
    }
}

/// A sequence of common instructions on four registers, longer than those of [`make`]. Some memory operands have a base
/// that the instruction before has made.
pub fn make_crowded(pool: &Pool, index: u64) -> Option<Case> {
    let mut random = Random::new(0xc04d ^ index << 8);
    let length = 3 + random.below(9);
    let mut case = generate::attempt(Code::Mov_r64_rm64, Forms::Fixed, &mut random)
        .filter(|c| fits(&c.instruction))?;
    let (mut unknown, mut before) = (0, 0);
    let mut add = |case: &mut Case, instruction: &Instruction| -> Option<()> {
        let rip = CASE + case.bytes.len() as u64;
        let mut encoder = iced_x86::Encoder::new(64);
        encoder.encode(instruction, rip).ok()?;
        case.bytes.extend(encoder.take_buffer());
        case.steps += 1;
        before |= unknown;
        follow(instruction, &mut unknown)?;
        (case.code, case.instruction) = (instruction.code(), *instruction);
        Some(())
    };
    case.bytes.clear();
    case.steps = 0;
    for step in 0..length {
        let code = if step + 1 == length && random.one_in(2) {
            random.pick(&pool.jumps)
        } else if random.one_in(4) {
            random.pick(&[Code::Mov_r64_rm64, Code::Mov_r32_rm32, Code::Mov_rm64_r64])
        } else {
            random.pick(&pool.common)
        };
        let mut next = (0..10)
            .find_map(|_| {
                generate::attempt(code, Forms::Fixed, &mut random).filter(|c| fits(&c.instruction))
            })?
            .instruction;
        crowd(&mut next, &mut random);
        if next.memory_base() == Register::RIP
            && code.mnemonic() != Mnemonic::Lea
            && random.one_in(2)
        {
            let base = random.pick(&[Register::RAX, Register::RCX, Register::RDX, Register::RBX]);
            let mut lea = Instruction::default();
            lea.set_code(Code::Lea_r64_m);
            lea.set_op0_kind(OpKind::Register);
            lea.set_op0_register(base);
            lea.set_op1_kind(OpKind::Memory);
            lea.set_memory_base(Register::RIP);
            lea.set_memory_displ_size(8);
            lea.set_memory_displacement64(next.memory_displacement64());
            add(&mut case, &lea)?;
            next.set_memory_base(base);
            next.set_memory_displ_size(0);
            next.set_memory_displacement64(0);
        }
        add(&mut case, &next)?;
    }
    case.unknown_flags = Some((unknown, before));
    (case.bytes.len() as u64 + 5 < TAKEN - CASE).then_some(case)
}

/// Sequence number `index`. The same on every host.
pub fn make(pool: &Pool, index: u64) -> Option<Case> {
    let mut random = Random::new(0x5eed ^ index << 8);
    let length = 2 + random.below(5);
    let first = pick(pool, &mut random);
    let mut case =
        generate::attempt(first, Forms::Fixed, &mut random).filter(|c| fits(&c.instruction))?;
    let (mut unknown, mut before) = (0, 0);
    follow(&case.instruction, &mut unknown)?;
    for step in 1..length {
        let last = step + 1 == length;
        let code = if last && random.one_in(2) {
            random.pick(&pool.jumps)
        } else {
            pick(pool, &mut random)
        };
        let next = (0..10).find_map(|_| {
            generate::attempt(code, Forms::Fixed, &mut random).filter(|c| fits(&c.instruction))
        })?;
        // Encoded again for its own address.
        let rip = CASE + case.bytes.len() as u64;
        let mut encoder = iced_x86::Encoder::new(64);
        encoder.encode(&next.instruction, rip).ok()?;
        case.bytes.extend(encoder.take_buffer());
        before |= unknown;
        follow(&next.instruction, &mut unknown)?;
        (case.code, case.instruction) = (next.code, next.instruction);
    }
    case.steps = length;
    case.unknown_flags = Some((unknown, before));
    // The landing place of the end needs five bytes.
    (case.bytes.len() as u64 + 5 < TAKEN - CASE).then_some(case)
}

/// The disassembly.
pub fn listing(case: &Case) -> String {
    iced_x86::Decoder::with_ip(64, &case.bytes, CASE, iced_x86::DecoderOptions::NONE)
        .iter()
        .map(|i| format!("    {:x} {i}\n", i.ip()))
        .collect()
}

fn pick(pool: &Pool, random: &mut Random) -> Code {
    if random.one_in(3) {
        random.pick(&pool.all)
    } else {
        random.pick(&pool.flags)
    }
}

/// Neither writes RSP nor computes an address from a register.
fn fits(instruction: &Instruction) -> bool {
    let registers =
        (0..instruction.op_count()).filter(|&i| instruction.op_kind(i) == OpKind::Register);
    let bit_offset = matches!(
        instruction.mnemonic(),
        Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc
    ) && instruction.op0_kind() == OpKind::Memory
        && instruction.op1_kind() == OpKind::Register;
    !bit_offset
        && registers
            .clone()
            .all(|i| instruction.op_register(i).full_register() != Register::RSP)
}

/// Tracks which flags the manual leaves undefined; `None` if the instruction would read one of them.
///
/// A count in CL may be zero, which leaves the flags as they are, or make any of them undefined.
fn follow(instruction: &Instruction, unknown: &mut u64) -> Option<()> {
    use Mnemonic as M;
    let last = instruction.op_count().checked_sub(1);
    let by_cl = last.is_some_and(|i| {
        instruction.op_kind(i) == OpKind::Register && instruction.op_register(i) == Register::CL
    });
    let shift = matches!(
        instruction.mnemonic(),
        M::Shl | M::Sal | M::Shr | M::Sar | M::Rol | M::Ror | M::Rcl | M::Rcr | M::Shld | M::Shrd
    );
    if rflags_bits(instruction.rflags_read()) & *unknown != 0 {
        return None;
    }
    if matches!(instruction.mnemonic(), M::Shld | M::Shrd)
        && instruction.op1_register().is_gpr16()
        && by_cl
    {
        // The result itself is undefined for large counts.
        return None;
    }
    let undefined = rflags_bits(instruction.rflags_undefined());
    if shift {
        // The carry goes with a count of the width or more.
        *unknown |= undefined | 0x811;
    } else {
        let modified = rflags_bits(instruction.rflags_modified());
        *unknown = *unknown & !modified | undefined;
    }
    Some(())
}
