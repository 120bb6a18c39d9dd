//! Which translator takes which instruction.

use iced_x86::{Instruction, Mnemonic as M};

use super::Then;
use super::builder::{Builder, by_condition, by_width, by_width_from, form, general};
use super::{general as moves_and_branches, integer, system, vector};
use crate::ops::{alu, atomic, bits, moves, muldiv, shift};

/// Translates one instruction.
pub(super) fn lower(b: &mut Builder, i: &Instruction) -> Then {
    if let Some(then) = system::lower(b, i) {
        return then;
    }
    match i.mnemonic() {
        M::Mov => moves_and_branches::mov(b, i),
        M::Movnti => moves_and_branches::mov(b, i),
        M::Movzx => moves_and_branches::extend(b, i, false),
        M::Movsx | M::Movsxd => moves_and_branches::extend(b, i, true),
        M::Lea => moves_and_branches::lea(b, i),
        M::Push => moves_and_branches::push(b, i),
        M::Pop => moves_and_branches::pop(b, i),
        M::Leave => moves_and_branches::leave(b, i),
        M::Xchg => moves_and_branches::xchg(b, i),
        M::Bswap => moves_and_branches::bswap(b, i),
        M::Cbw | M::Cwde | M::Cdqe | M::Cwd | M::Cdq | M::Cqo => {
            moves_and_branches::accumulator(b, i)
        }
        M::Clc | M::Stc | M::Cmc | M::Lahf | M::Sahf => moves_and_branches::flag(b, i),
        M::Jmp => moves_and_branches::jmp(b, i),
        M::Call => moves_and_branches::call(b, i),
        M::Ret => moves_and_branches::ret(b, i),
        M::Jrcxz | M::Jecxz | M::Loop | M::Loope | M::Loopne => moves_and_branches::counted(b, i),

        M::Add => integer::alu::<alu::Add>(b, i),
        M::Adc => integer::alu::<alu::Adc>(b, i),
        M::Sub => integer::alu::<alu::Sub>(b, i),
        M::Sbb => integer::alu::<alu::Sbb>(b, i),
        M::Cmp => integer::alu::<alu::Cmp>(b, i),
        M::And => integer::alu::<alu::And>(b, i),
        M::Or => integer::alu::<alu::Or>(b, i),
        M::Xor => integer::alu::<alu::Xor>(b, i),
        M::Test => integer::alu::<alu::Test>(b, i),
        M::Inc => integer::unary::<alu::Inc>(b, i),
        M::Dec => integer::unary::<alu::Dec>(b, i),
        M::Neg => integer::unary::<alu::Neg>(b, i),
        M::Not => integer::unary::<alu::Not>(b, i),
        M::Shl | M::Sal => integer::shift::<shift::Shl>(b, i),
        M::Shr => integer::shift::<shift::Shr>(b, i),
        M::Sar => integer::shift::<shift::Sar>(b, i),
        M::Rol => integer::shift::<shift::Rol>(b, i),
        M::Ror => integer::shift::<shift::Ror>(b, i),
        M::Rcl => integer::shift::<shift::Rcl>(b, i),
        M::Rcr => integer::shift::<shift::Rcr>(b, i),
        M::Shld | M::Shrd => b.slow(i, bits::shift_double),
        M::Imul => integer::imul(b, i),
        M::Mul => {
            let size = integer::operand_size(i, 0);
            let (r, m) = (
                by_width!(size, W => muldiv::mul_r::<W, false>),
                by_width!(size, W => muldiv::mul_m::<W, false>),
            );
            integer::source(b, i, r, m)
        }
        M::Div => {
            let size = integer::operand_size(i, 0);
            let (r, m) = (
                by_width!(size, W => muldiv::div_r::<W, false>),
                by_width!(size, W => muldiv::div_m::<W, false>),
            );
            integer::source(b, i, r, m)
        }
        M::Idiv => {
            let size = integer::operand_size(i, 0);
            let (r, m) = (
                by_width!(size, W => muldiv::div_r::<W, true>),
                by_width!(size, W => muldiv::div_m::<W, true>),
            );
            integer::source(b, i, r, m)
        }
        M::Xadd => {
            let size = integer::operand_size(i, 0);
            let (rr, mr) = (
                by_width!(size, W => atomic::xadd_rr::<W>),
                by_width!(size, W => atomic::xadd_mr::<W>),
            );
            integer::exchange(b, i, rr, mr)
        }
        M::Cmpxchg => {
            let size = integer::operand_size(i, 0);
            let (rr, mr) = (
                by_width!(size, W => atomic::cmpxchg_rr::<W>),
                by_width!(size, W => atomic::cmpxchg_mr::<W>),
            );
            integer::exchange(b, i, rr, mr)
        }
        M::Cmpxchg8b => b.slow(i, atomic::cmpxchg8b),
        M::Cmpxchg16b => b.slow(i, atomic::cmpxchg16b),
        M::Bt => integer::bit::<0>(b, i),
        M::Bts => integer::bit::<1>(b, i),
        M::Btr => integer::bit::<2>(b, i),
        M::Btc => integer::bit::<3>(b, i),
        M::Bsf | M::Bsr | M::Popcnt | M::Tzcnt | M::Lzcnt => b.slow(i, bits::scan),
        M::Movbe => b.slow(i, bits::movbe),
        _ => by_condition_code(b, i),
    }
}

/// Jcc, SETcc, CMOVcc; what is left goes to the SSE family.
fn by_condition_code(b: &mut Builder, i: &Instruction) -> Then {
    let Some(cc) = (i.condition_code() as u8).checked_sub(1) else {
        return vector::lower(b, i);
    };
    if i.is_jcc_short_or_near() {
        b.parts.targets = [i.next_ip(), i.near_branch_target()];
        if b.fuse(cc) {
            return Then::End;
        }
        let op = b.op(by_condition!(cc, CC => crate::ops::branch::jcc::<CC>));
        return b.end(op);
    }
    if i.op_count() == 1 {
        let handlers = (
            by_condition!(cc, CC => moves::set_r::<CC>),
            by_condition!(cc, CC => moves::set_m::<CC>),
        );
        return integer::destination(b, i, handlers.0, handlers.1);
    }
    if i.op_count() == 2 && form(i).is_some() {
        let size = integer::operand_size(i, 0);
        let mut op = b.op(if i.op1_kind() == iced_x86::OpKind::Memory {
            by_condition!(cc, CC => match size {
                2 => moves::cmov_rm::<u16, CC>,
                4 => moves::cmov_rm::<u32, CC>,
                _ => moves::cmov_rm::<u64, CC>,
            })
        } else {
            let from = b.from(general(i, 0), general(i, 1));
            by_condition!(cc, CC => by_width_from!(size, from, W, F => moves::cmov_rr::<W, CC, F>))
        });
        op.dst = general(i, 0).into();
        op.src = general(i, 1).into();
        op.base = op.dst;
        b.address(&mut op, i);
        if size >= 4 && i.op1_kind() != iced_x86::OpKind::Memory {
            b.hands_on(op.dst);
        }
        return b.more(op);
    }
    vector::lower(b, i)
}
