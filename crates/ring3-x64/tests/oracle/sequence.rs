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
        Self { all, flags, jumps }
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
