//! Translators of integer arithmetic.

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::Then;
use super::builder::{
    Builder, Form, NONE, Note, by_width, by_width_from, by_width_of, cut_to, flat, form, general,
};
use crate::op::{Handler, SLOTS};
use crate::ops::alu::{self, Alu, Unary};
use crate::ops::bits;
use crate::ops::moves;
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
    let (dst, mut src) = (general(i, 0), general(i, 1));
    let mut first = dst;
    let mut note = Note::default();
    if matches!(form, Form::Rr | Form::Ri) {
        if A::WRITES
            && let Some(from) = b.take_copy(size, dst)
        {
            first = from;
            if src == dst {
                src = from;
            }
        }
        // ADC and SBB read the carry, whoever sees the flags behind them.
        note.passes = !A::READS;
        note.sets = !A::READS;
    }
    let wide = size >= 4;
    let mut op = b.op(moves::nop);
    op.dst = dst.into();
    op.src = src.into();
    op.base = first.into();
    if matches!(form, Form::Ri | Form::Mi) {
        op.imm = cut_to(i.immediate(1), size);
    }
    b.address(&mut op, i);
    let from = if !wide {
        SLOTS
    } else {
        match form {
            Form::Rr => b.from(first, src),
            Form::Ri | Form::Rm => b.from(first, NONE),
            Form::Mr => b.from(NONE, src),
            Form::Mi => SLOTS,
        }
    } | match form {
        Form::Rr | Form::Ri => 0,
        Form::Rm | Form::Mr | Form::Mi => flat(&op),
    };
    if form == Form::Rr && src == first && A::CLEARS {
        op.handler = by_width!(size, W => alu::zero::<W, true>);
        note.quiet = Some(by_width!(size, W => alu::zero::<W, false>));
        b.keeps(dst);
        return b.more_noted(op, note);
    }
    op.handler = match form {
        Form::Rr => by_width_from!(size, from, W, F => alu::rr::<A, W, F, true>),
        Form::Ri => by_width_of!(size, from, W, F, [1] => alu::ri::<A, W, F, true>),
        Form::Rm => by_width_of!(size, from, W, F, [1 4 5] => alu::rm::<A, W, F, true>),
        Form::Mr => by_width_of!(size, from, W, F, [2 4 6] => alu::mr::<A, W, F>),
        Form::Mi => by_width_of!(size, from, W, F, [4] => alu::mi::<A, W, F>),
    };
    if A::WRITES {
        note.quiet = match form {
            Form::Rr => Some(by_width_from!(size, from, W, F => alu::rr::<A, W, F, false>)),
            Form::Ri => Some(by_width_of!(size, from, W, F, [1] => alu::ri::<A, W, F, false>)),
            Form::Rm => Some(by_width_of!(size, from, W, F, [1 4 5] => alu::rm::<A, W, F, false>)),
            _ => None,
        };
    }
    if !A::WRITES || matches!(form, Form::Mr | Form::Mi) {
        b.keeps(NONE);
    } else if wide {
        b.hands_on(dst);
    } else {
        b.keeps(dst);
    }
    if matches!(i.mnemonic(), Mnemonic::Cmp | Mnemonic::Test) {
        b.note_compare(i.mnemonic() == Mnemonic::Cmp, form, size, from);
    }
    b.more_noted(op, note)
}

/// One operand, read and written.
pub(super) fn unary<U: Unary>(b: &mut Builder, i: &Instruction) -> Then {
    let size = operand_size(i, 0);
    if i.op0_kind() != OpKind::Register {
        let m = by_width!(size, W => alu::unary_m::<U, W>);
        return destination(b, i, m, m);
    }
    let dst = general(i, 0);
    let first = b.take_copy(size, dst).unwrap_or(dst);
    let from = b.from(first, NONE);
    let mut op = b.op(by_width_from!(size, from, W, F => alu::unary_r::<U, W, F, true>));
    (op.dst, op.base) = (dst.into(), first.into());
    if size >= 4 {
        b.hands_on(dst);
    } else {
        b.keeps(dst);
    }
    let note = if i.mnemonic() == Mnemonic::Not {
        Note::PASSES
    } else {
        Note {
            quiet: Some(by_width_from!(size, from, W, F => alu::unary_r::<U, W, F, false>)),
            // INC and DEC leave CF alone.
            sets: i.mnemonic() == Mnemonic::Neg,
            passes: true,
        }
    };
    b.more_noted(op, note)
}

/// One operand, a destination, in a register or in memory.
pub(super) fn destination(b: &mut Builder, i: &Instruction, r: Handler, m: Handler) -> Then {
    let mut op = b.op(if i.op0_kind() == OpKind::Register {
        r
    } else {
        m
    });
    op.dst = general(i, 0).into();
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
    op.src = general(i, 0).into();
    b.address(&mut op, i);
    b.more(op)
}

/// A register or memory operand, and a register.
pub(super) fn exchange(b: &mut Builder, i: &Instruction, rr: Handler, mr: Handler) -> Then {
    match form(i) {
        Some(Form::Rr) => {
            let mut op = b.op(rr);
            op.dst = general(i, 0).into();
            op.src = general(i, 1).into();
            b.more(op)
        }
        Some(form @ (Form::Mr | Form::Rm)) => {
            let mut op = b.op(mr);
            op.src = general(i, u32::from(form == Form::Mr)).into();
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
    if register && !by_cl {
        return shift_register::<S>(b, i, size);
    }
    let mut op = b.op(match (register, by_cl) {
        (true, _) => by_width!(size, W => shift::rc::<S, W>),
        (false, false) => by_width!(size, W => shift::mi::<S, W>),
        (false, true) => by_width!(size, W => shift::mc::<S, W>),
    });
    op.dst = general(i, 0).into();
    if !by_cl {
        op.imm = i.immediate(1);
    }
    b.address(&mut op, i);
    b.more(op)
}

/// Shifts and rotates of a register by a constant.
fn shift_register<S: Shift>(b: &mut Builder, i: &Instruction, size: usize) -> Then {
    let dst = general(i, 0);
    let first = b.take_copy(size, dst).unwrap_or(dst);
    let from = b.from(first, NONE);
    let mut op = b.op(by_width_from!(size, from, W, F => shift::ri::<S, W, F, true>));
    (op.dst, op.base, op.imm) = (dst.into(), first.into(), i.immediate(1));
    if size >= 4 {
        b.hands_on(dst);
    } else {
        b.keeps(dst);
    }
    let counted = op.imm & if size == 8 { 63 } else { 31 } != 0;
    let note = Note {
        quiet: Some(by_width_from!(size, from, W, F => shift::ri::<S, W, F, false>)),
        // Rotates leave most flags alone.
        sets: counted
            && matches!(
                i.mnemonic(),
                Mnemonic::Shl | Mnemonic::Sal | Mnemonic::Shr | Mnemonic::Sar
            ),
        passes: !matches!(i.mnemonic(), Mnemonic::Rcl | Mnemonic::Rcr),
    };
    b.more_noted(op, note)
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
    if i.op_count() == 2 && !memory {
        let (dst, mut src) = (general(i, 0), general(i, 1));
        let first = b.take_copy(size, dst).unwrap_or(dst);
        if src == dst {
            src = first;
        }
        let from = b.from(first, src);
        let mut op = b.op(by_width_from!(size, from, W, F => muldiv::imul_rr::<W, F, true>));
        (op.dst, op.base, op.src) = (dst.into(), first.into(), src.into());
        if size >= 4 {
            b.hands_on(dst);
        } else {
            b.keeps(dst);
        }
        let note = Note {
            quiet: Some(by_width_from!(size, from, W, F => muldiv::imul_rr::<W, F, false>)),
            sets: true,
            passes: true,
        };
        return b.more_noted(op, note);
    }
    let mut op = b.op(match (i.op_count() == 3, memory) {
        (false, _) => by_width!(size, W => muldiv::imul_rm::<W>),
        (true, false) => by_width!(size, W => muldiv::imul_rri::<W>),
        (true, true) => by_width!(size, W => muldiv::imul_rmi::<W>),
    });
    op.dst = general(i, 0).into();
    op.src = general(i, 1).into();
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
    op.dst = general(i, 0).into();
    op.src = general(i, 1).into();
    if matches!(form, Form::Ri | Form::Mi) {
        op.imm = i.immediate(1);
    }
    b.address(&mut op, i);
    b.more(op)
}
