//! Addressing forms of memory operands.

use iced_x86::{Instruction, Mnemonic, OpCodeOperandKind, OpKind, Register};

use super::case::{GS_BASE, State};
use super::random::Random;

/// The general registers in encoding order.
pub const GPR64: [Register; 16] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RBX,
    Register::RSP,
    Register::RBP,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];

/// Which forms to choose from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Forms {
    All,
    /// Those without registers, so that an earlier instruction cannot change the address.
    Fixed,
}

/// Chooses an addressing form for `target` and sets the registers it needs.
pub fn set_memory(
    instruction: &mut Instruction,
    state: &mut State,
    target: u64,
    forms: Forms,
    random: &mut Random,
) -> Option<()> {
    if instruction
        .op_code()
        .op_kinds()
        .contains(&OpCodeOperandKind::mem_offs)
    {
        instruction.set_memory_displacement64(target);
        return Some(());
    }
    let gs = forms == Forms::All && random.one_in(12);
    let mut linear = target;
    if gs {
        instruction.set_segment_prefix(Register::GS);
        linear = target.wrapping_sub(GS_BASE);
    }
    if instruction.mnemonic() == Mnemonic::Lea {
        instruction.set_segment_prefix(Register::None);
    }
    let uses = |register: Register| {
        (0..instruction.op_count()).any(|i| {
            instruction.op_kind(i) == OpKind::Register
                && instruction.op_register(i).full_register() == register
        })
    };
    // A bit offset in a register with a 32-bit address: the engine says that it does not have that.
    let bit_offset = matches!(
        instruction.mnemonic(),
        Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc
    ) && instruction.op1_kind() == OpKind::Register;
    match random.below(if forms == Forms::All { 10 } else { 2 }) {
        0 => {
            instruction.set_memory_base(Register::RIP);
            instruction.set_memory_displ_size(8);
            instruction.set_memory_displacement64(linear);
            if gs {
                return None;
            }
        }
        1 => {
            // Without registers 4 means 32-bit addressing.
            let narrow = random.one_in(4) && !bit_offset;
            instruction.set_memory_displ_size(if narrow { 4 } else { 8 });
            instruction.set_memory_displacement64(linear);
            if linear > 0x7fff_ffff {
                return None;
            }
        }
        form => {
            let base = random.pick(&GPR64);
            if base == Register::RSP {
                // RSP keeps its value.
                let displacement = linear.wrapping_sub(state.gpr[4]) as i64;
                let short = displacement == i64::from(displacement as i8);
                instruction.set_memory_base(base);
                instruction.set_memory_displ_size(if short { 1 } else { 8 });
                instruction.set_memory_displacement64(displacement as u64);
                return (displacement == i64::from(displacement as i32)).then_some(());
            }
            let displacement = match random.below(3) {
                0 => 0,
                1 => random.next() as i8 as i64,
                _ => random.next() as i32 as i64,
            };
            // A base that is also an operand keeps its role only if nobody minds its value.
            if uses(base) && !random.one_in(4) {
                return None;
            }
            if is_implicit(instruction.mnemonic(), base.number()) {
                return None;
            }
            let narrow = random.one_in(12) && !bit_offset;
            let name = |register: Register| {
                if narrow {
                    register.full_register32()
                } else {
                    register
                }
            };
            instruction.set_memory_base(name(base));
            let mut sum = displacement as u64;
            if form > 5 {
                let index = random.pick(&GPR64);
                if index == Register::RSP || index == base {
                    return None;
                }
                let scale = 1 << random.below(4);
                instruction.set_memory_index(name(index));
                instruction.set_memory_index_scale(scale);
                sum = sum.wrapping_add(state.gpr[index.number()].wrapping_mul(scale.into()));
            }
            let value = linear.wrapping_sub(sum);
            state.gpr[base.number()] = if narrow {
                if gs && linear >> 32 != 0 {
                    return None;
                }
                value & 0xffff_ffff | random.next() << 32
            } else {
                value
            };
            instruction.set_memory_displ_size(if displacement == 0 {
                0
            } else if displacement == i64::from(displacement as i8) {
                1
            } else {
                8
            });
            instruction.set_memory_displacement64(displacement as u64);
            if narrow && displacement != 0 {
                instruction.set_memory_displ_size(
                    if displacement == i64::from(displacement as i8) {
                        1
                    } else {
                        4
                    },
                );
                instruction.set_memory_displacement64(u64::from(displacement as u32));
            }
        }
    }
    Some(())
}

/// Registers that the instruction uses without naming them and whose value was chosen on purpose.
fn is_implicit(mnemonic: Mnemonic, number: usize) -> bool {
    use Mnemonic as M;
    match mnemonic {
        M::Div | M::Idiv | M::Cmpxchg8b | M::Cmpxchg16b | M::Pcmpestri | M::Pcmpestrm => {
            number == 0 || number == 2
        }
        M::Cmpxchg | M::Mul | M::Imul => number == 0,
        M::Shld | M::Shrd => number == 1,
        _ => false,
    }
}
