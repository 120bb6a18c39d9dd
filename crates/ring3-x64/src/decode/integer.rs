//! Translators of integer arithmetic.

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::Then;
use super::builder::{Builder, Form, by_width, cut_to, form, general};
use crate::op::Handler;
use crate::ops::alu::{self, Alu, Unary};
use crate::ops::bits;
use crate::ops::muldiv;
use crate::ops::shift::{self, Shift};
use crate::ops::slow::size_of_operand;

/// Bytes of a register or memory operand.
pub(super) fn operand_size(i: &Instruction, operand: u32) -> usize {
    size_of_operand(i, operand)
}

/// Two operands and all flags.
pub(super) fn alu<A: Alu>(b: &mut Builder, i: &Instruction) -> Then {
    let Some(form) = form(i) else {
        return b.not_modelled();
    };
    let size = operand_size(i, 0);
    let mut op = b.op(match form {
        Form::Rr => by_width!(size, W => alu::rr::<A, W>),
        Form::Ri => by_width!(size, W => alu::ri::<A, W>),
        Form::Rm => by_width!(size, W => alu::rm::<A, W>),
        Form::Mr => by_width!(size, W => alu::mr::<A, W>),
        Form::Mi => by_width!(size, W => alu::mi::<A, W>),
    });
    op.dst = general(i, 0);
    op.src = general(i, 1);
    if matches!(form, Form::Ri | Form::Mi) {
        op.imm = cut_to(i.immediate(1), size);
    }
    b.address(&mut op, i);
    if matches!(i.mnemonic(), Mnemonic::Cmp | Mnemonic::Test) {
        b.note_compare(i.mnemonic() == Mnemonic::Cmp, form, size);
    }
    b.more(op)
}

/// One operand, read and written.
pub(super) fn unary<U: Unary>(b: &mut Builder, i: &Instruction) -> Then {
    let size = operand_size(i, 0);
    let r = by_width!(size, W => alu::unary_r::<U, W>);
    let m = by_width!(size, W => alu::unary_m::<U, W>);
    destination(b, i, r, m)
}

/// One operand, a destination, in a register or in memory.
pub(super) fn destination(b: &mut Builder, i: &Instruction, r: Handler, m: Handler) -> Then {
    let mut op = b.op(if i.op0_kind() == OpKind::Register {
        r
    } else {
        m
    });
    op.dst = general(i, 0);
    b.address(&mut op, i);
    b.more(op)
}

/// One operand, a source, in a register or in memory.
pub(super) fn source(b: &mut Builder, i: &Instruction, r: Handler, m: Handler) -> Then {
    let mut op = b.op(if i.op0_kind() == OpKind::Register {
        r
    } else {
        m
    });
    op.src = general(i, 0);
    b.address(&mut op, i);
    b.more(op)
}

/// A register or memory operand, and a register.
pub(super) fn exchange(b: &mut Builder, i: &Instruction, rr: Handler, mr: Handler) -> Then {
    match form(i) {
        Some(Form::Rr) => {
            let mut op = b.op(rr);
            op.dst = general(i, 0);
            op.src = general(i, 1);
            b.more(op)
        }
        Some(form @ (Form::Mr | Form::Rm)) => {
            let mut op = b.op(mr);
            op.src = general(i, u32::from(form == Form::Mr));
            b.address(&mut op, i);
            b.more(op)
        }
        _ => b.not_modelled(),
    }
}

/// Shifts and rotates.
pub(super) fn shift<S: Shift>(b: &mut Builder, i: &Instruction) -> Then {
    let size = operand_size(i, 0);
    let register = i.op0_kind() == OpKind::Register;
    let by_cl = i.op1_kind() == OpKind::Register;
    let mut op = b.op(match (register, by_cl) {
        (true, false) => by_width!(size, W => shift::ri::<S, W>),
        (true, true) => by_width!(size, W => shift::rc::<S, W>),
        (false, false) => by_width!(size, W => shift::mi::<S, W>),
        (false, true) => by_width!(size, W => shift::mc::<S, W>),
    });
    op.dst = general(i, 0);
    if !by_cl {
        op.imm = i.immediate(1);
    }
    b.address(&mut op, i);
    b.more(op)
}

/// IMUL in all its forms.
pub(super) fn imul(b: &mut Builder, i: &Instruction) -> Then {
    let size = operand_size(i, 0);
    if i.op_count() == 1 {
        let r = by_width!(size, W => muldiv::mul_r::<W, true>);
        let m = by_width!(size, W => muldiv::mul_m::<W, true>);
        return source(b, i, r, m);
    }
    let memory = i.op1_kind() == OpKind::Memory;
    let mut op = b.op(match (i.op_count() == 3, memory) {
        (false, false) => by_width!(size, W => muldiv::imul_rr::<W>),
        (false, true) => by_width!(size, W => muldiv::imul_rm::<W>),
        (true, false) => by_width!(size, W => muldiv::imul_rri::<W>),
        (true, true) => by_width!(size, W => muldiv::imul_rmi::<W>),
    });
    op.dst = general(i, 0);
    op.src = general(i, 1);
    if i.op_count() == 3 {
        op.imm = i.immediate(2);
    }
    b.address(&mut op, i);
    b.more(op)
}

/// BT, BTS, BTR, BTC.
pub(super) fn bit<const CHANGE: u8>(b: &mut Builder, i: &Instruction) -> Then {
    let Some(form) = form(i) else {
        return b.not_modelled();
    };
    // With 32-bit addresses the bit offset would have to be added before the address is cut to 32 bits.
    if form == Form::Mr
        && (i.memory_base().is_gpr32() || i.memory_index().is_gpr32() || i.memory_displ_size() == 4)
    {
        return b.not_modelled();
    }
    let size = operand_size(i, 0);
    let mut op = b.op(match form {
        Form::Rr => by_width!(size, W => bits::rr::<W, CHANGE>),
        Form::Ri => by_width!(size, W => bits::ri::<W, CHANGE>),
        Form::Mr => by_width!(size, W => bits::mr::<W, CHANGE>),
        Form::Mi => by_width!(size, W => bits::mi::<W, CHANGE>),
        Form::Rm => return b.not_modelled(),
    });
    op.dst = general(i, 0);
    op.src = general(i, 1);
    if matches!(form, Form::Ri | Form::Mi) {
        op.imm = i.immediate(1);
    }
    b.address(&mut op, i);
    b.more(op)
}
