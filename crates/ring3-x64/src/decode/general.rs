//! Translators of moves, stack operations and branches.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use super::Then;
use super::builder::{
    Builder, Form, NONE, Note, by_width, by_width_from, by_width_of, cut_to, flat, form, general,
};
use super::integer::operand_size;
use crate::cpu::{RAX, RDX};
use crate::op::{FIRST, Handler, SLOTS};
use crate::ops::{branch, moves, processor, stack, system};
use crate::width::{HIGH, ZERO};

/// MOV, MOVNTI.
pub(super) fn mov(b: &mut Builder, i: &Instruction) -> Then {
    let (to, from) = (i.op0_register(), i.op1_register());
    if to.is_cr() || from.is_cr() {
        return b.slow_cut(i, processor::mov_cr);
    }
    if to.is_dr() || from.is_dr() {
        return b.slow(i, processor::mov_dr);
    }
    if from.is_segment_register() {
        return b.slow(i, system::mov_from_selector);
    }
    if to.is_segment_register() {
        // A base would have to come from the descriptor tables.
        return if matches!(to, Register::FS | Register::GS) {
            b.not_modelled()
        } else {
            b.slow(i, system::mov_to_selector)
        };
    }
    let Some(form) = form(i) else {
        return b.not_modelled();
    };
    let size = operand_size(i, 0);
    let (dst, src) = (general(i, 0), general(i, 1));
    let mut op = b.op(moves::nop);
    op.dst = dst.into();
    op.src = src.into();
    if matches!(form, Form::Ri | Form::Mi) {
        op.imm = cut_to(i.immediate(1), size);
    }
    b.address(&mut op, i);
    let from = match form {
        Form::Rr => b.from(src, NONE),
        Form::Rm => b.from(op.base, NONE) | flat(&op),
        Form::Mr => b.from(NONE, src) | flat(&op),
        Form::Mi => flat(&op),
        Form::Ri => SLOTS,
    };
    op.handler = match form {
        Form::Rr => by_width_from!(size, from, W, F => moves::mov_rr::<W, F>),
        Form::Ri => by_width!(size, W => moves::mov_ri::<W>),
        Form::Rm => by_width_of!(size, from, W, F, [1 4 5] => moves::mov_rm::<W, F>),
        Form::Mr => by_width_of!(size, from, W, F, [2 4 6] => moves::mov_mr::<W, F>),
        Form::Mi => by_width_of!(size, from, W, F, [4] => moves::mov_mi::<W, F>),
    };
    let mut note = Note::default();
    match form {
        Form::Rr => {
            b.note_copy(size, dst, src);
            note = Note::PASSES;
        }
        Form::Ri => {
            b.keeps(dst);
            note = Note::PASSES;
        }
        Form::Rm if size >= 4 => b.hands_on(dst),
        Form::Rm => b.keeps(dst),
        Form::Mr | Form::Mi => b.keeps(NONE),
    }
    b.more_noted(op, note)
}

/// The handler for a destination width over a source width.
macro_rules! extension {
    ($to:expr, $from:expr, $handler:ident) => {
        match ($to, $from) {
            (2, 1) => moves::$handler::<u16, u8> as Handler,
            (4, 1) => moves::$handler::<u32, u8>,
            (_, 1) => moves::$handler::<u64, u8>,
            (2, 2) => moves::$handler::<u16, u16>,
            (4, 2) => moves::$handler::<u32, u16>,
            (_, 2) => moves::$handler::<u64, u16>,
            (4, _) => moves::$handler::<u32, u32>,
            (2, _) => moves::$handler::<u16, u32>,
            _ => moves::$handler::<u64, u32>,
        }
    };
}

/// The same with a `FROM`.
macro_rules! extension_from {
    ($to:expr, $from:expr, $first:expr, $handler:ident) => {
        match ($to, $from, $first) {
            (2, 1, _) => moves::$handler::<u16, u8, SLOTS> as Handler,
            (4, 1, false) => moves::$handler::<u32, u8, SLOTS>,
            (4, 1, true) => moves::$handler::<u32, u8, FIRST>,
            (_, 1, false) => moves::$handler::<u64, u8, SLOTS>,
            (_, 1, true) => moves::$handler::<u64, u8, FIRST>,
            (2, 2, _) => moves::$handler::<u16, u16, SLOTS>,
            (4, 2, false) => moves::$handler::<u32, u16, SLOTS>,
            (4, 2, true) => moves::$handler::<u32, u16, FIRST>,
            (_, 2, false) => moves::$handler::<u64, u16, SLOTS>,
            (_, 2, true) => moves::$handler::<u64, u16, FIRST>,
            (4, _, _) => moves::$handler::<u32, u32, SLOTS>,
            (2, _, _) => moves::$handler::<u16, u32, SLOTS>,
            (_, _, false) => moves::$handler::<u64, u32, SLOTS>,
            (_, _, true) => moves::$handler::<u64, u32, FIRST>,
        }
    };
}

/// MOVZX, MOVSX, MOVSXD.
pub(super) fn extend(b: &mut Builder, i: &Instruction, signed: bool) -> Then {
    let (to, from) = (operand_size(i, 0), operand_size(i, 1));
    let memory = i.op1_kind() == OpKind::Memory;
    // AH and its kind are above 16, so never what is handed on.
    let first = b.from(general(i, 1), NONE) == FIRST;
    let mut op = b.op(match (signed, memory) {
        (false, false) => extension_from!(to, from, first, zx_rr),
        (false, true) => extension!(to, from, zx_rm),
        (true, false) => extension_from!(to, from, first, sx_rr),
        (true, true) => extension!(to, from, sx_rm),
    });
    op.dst = general(i, 0).into();
    op.src = general(i, 1).into();
    b.address(&mut op, i);
    if to >= 4 {
        b.hands_on(op.dst);
    } else {
        b.keeps(op.dst);
    }
    b.more_noted(
        op,
        if memory {
            Note::default()
        } else {
            Note::PASSES
        },
    )
}

/// LEA. The segment does not count.
pub(super) fn lea(b: &mut Builder, i: &Instruction) -> Then {
    let size = operand_size(i, 0);
    let mut plain = *i;
    plain.set_segment_prefix(Register::None);
    let mut op = b.op(moves::nop);
    op.dst = general(i, 0).into();
    b.address(&mut op, &plain);
    let from = b.from(op.base, op.index);
    op.handler = if size == 8 && op.index == ZERO.into() {
        if from == FIRST {
            moves::lea_base::<FIRST>
        } else {
            moves::lea_base::<SLOTS>
        }
    } else {
        by_width_from!(size, from, W, F => moves::lea::<W, F>)
    };
    if size >= 4 {
        b.hands_on(op.dst);
    } else {
        b.keeps(op.dst);
    }
    b.more_noted(op, Note::PASSES)
}

/// PUSH.
pub(super) fn push(b: &mut Builder, i: &Instruction) -> Then {
    let wide = i.stack_pointer_increment() == -8;
    let mut op = match i.op0_kind() {
        OpKind::Register if i.op0_register().is_segment_register() => {
            return b.slow(i, system::push_selector);
        }
        OpKind::Register => b.op(if wide {
            stack::push_r::<u64>
        } else {
            stack::push_r::<u16>
        }),
        OpKind::Memory => b.op(if wide {
            stack::push_m::<u64>
        } else {
            stack::push_m::<u16>
        }),
        _ => b.op(if wide {
            stack::push_i::<u64>
        } else {
            stack::push_i::<u16>
        }),
    };
    match i.op0_kind() {
        OpKind::Register => op.src = general(i, 0).into(),
        OpKind::Memory => b.address(&mut op, i),
        _ => op.imm = i.immediate(0),
    }
    b.more(op)
}

/// POP.
pub(super) fn pop(b: &mut Builder, i: &Instruction) -> Then {
    match i.op0_kind() {
        OpKind::Register if i.op0_register().is_segment_register() => b.not_modelled(),
        OpKind::Register => {
            let wide = i.stack_pointer_increment() == 8;
            let mut op = b.op(if wide {
                stack::pop_r::<u64>
            } else {
                stack::pop_r::<u16>
            });
            op.dst = general(i, 0).into();
            b.more(op)
        }
        _ => b.slow(i, system::pop_memory),
    }
}

/// LEAVE.
pub(super) fn leave(b: &mut Builder, i: &Instruction) -> Then {
    let op = b.op(
        if i.stack_pointer_increment() == 2 || i.code() == iced_x86::Code::Leavew {
            stack::leave::<u16>
        } else {
            stack::leave::<u64>
        },
    );
    b.more(op)
}

/// XCHG; `xchg eax, eax` as NOP does not come here.
pub(super) fn xchg(b: &mut Builder, i: &Instruction) -> Then {
    let size = operand_size(i, 0);
    let rr = by_width!(size, W => moves::xchg_rr::<W>);
    let mr = by_width!(size, W => moves::xchg_mr::<W>);
    super::integer::exchange(b, i, rr, mr)
}

/// BSWAP; of 16 bits it is undefined, and gives 0 (as processors do).
pub(super) fn bswap(b: &mut Builder, i: &Instruction) -> Then {
    let mut op = b.op(match operand_size(i, 0) {
        2 => moves::mov_ri::<u16>,
        4 => moves::bswap::<u32>,
        _ => moves::bswap::<u64>,
    });
    op.dst = general(i, 0).into();
    b.more(op)
}

/// CBW, CWDE, CDQE, CWD, CDQ, CQO.
pub(super) fn accumulator(b: &mut Builder, i: &Instruction) -> Then {
    let (handler, dst): (Handler, usize) = match i.mnemonic() {
        Mnemonic::Cbw => (moves::sx_rr::<u16, u8, SLOTS>, RAX),
        Mnemonic::Cwde => (moves::sx_rr::<u32, u16, SLOTS>, RAX),
        Mnemonic::Cdqe => (moves::sx_rr::<u64, u32, SLOTS>, RAX),
        Mnemonic::Cwd => (moves::sign::<u16>, RDX),
        Mnemonic::Cdq => (moves::sign::<u32>, RDX),
        _ => (moves::sign::<u64>, RDX),
    };
    let mut op = b.op(handler);
    op.dst = (dst as u8).into();
    op.src = (RAX as u8).into();
    b.more(op)
}

/// CLC, STC, CMC, LAHF, SAHF.
pub(super) fn flag(b: &mut Builder, i: &Instruction) -> Then {
    let mut op = b.op(match i.mnemonic() {
        Mnemonic::Clc | Mnemonic::Stc => moves::set_carry,
        Mnemonic::Cmc => moves::flip_carry,
        Mnemonic::Lahf => moves::lahf,
        _ => moves::sahf,
    });
    op.imm = u64::from(i.mnemonic() == Mnemonic::Stc);
    op.dst = HIGH.into();
    b.more(op)
}

/// JMP.
pub(super) fn jmp(b: &mut Builder, i: &Instruction) -> Then {
    match i.op0_kind() {
        OpKind::NearBranch64 => {
            b.parts.targets[0] = i.near_branch_target();
            let op = b.op(branch::jmp);
            b.end(op)
        }
        OpKind::Register if operand_size(i, 0) == 8 => {
            let mut op = b.op(branch::jmp_r);
            op.src = general(i, 0).into();
            b.end(op)
        }
        OpKind::Memory if i.is_jmp_near_indirect() => {
            let mut op = b.op(branch::jmp_m);
            b.address(&mut op, i);
            b.end(op)
        }
        _ => b.not_modelled(),
    }
}

/// CALL.
pub(super) fn call(b: &mut Builder, i: &Instruction) -> Then {
    let mut op = match i.op0_kind() {
        OpKind::NearBranch64 => {
            b.parts.targets[0] = i.near_branch_target();
            b.op(branch::call)
        }
        OpKind::Register if operand_size(i, 0) == 8 => b.op(branch::call_r),
        OpKind::Memory if i.is_call_near_indirect() => b.op(branch::call_m),
        _ => return b.not_modelled(),
    };
    op.src = general(i, 0).into();
    b.address(&mut op, i);
    op.imm = i.next_ip();
    b.end(op)
}

/// RET.
pub(super) fn ret(b: &mut Builder, i: &Instruction) -> Then {
    let mut op = b.op(branch::ret);
    op.imm = 8 + if i.op_count() == 1 {
        u64::from(i.immediate16())
    } else {
        0
    };
    b.end(op)
}

/// JRCXZ, JECXZ, LOOP, LOOPE, LOOPNE.
pub(super) fn counted(b: &mut Builder, i: &Instruction) -> Then {
    use iced_x86::Code::*;
    b.parts.targets = [i.next_ip(), i.near_branch_target()];
    let mut op = b.op(
        if matches!(i.mnemonic(), Mnemonic::Jrcxz | Mnemonic::Jecxz) {
            branch::jcxz
        } else {
            branch::loop_
        },
    );
    let narrow = matches!(
        i.code(),
        Jecxz_rel8_64 | Loop_rel8_64_ECX | Loope_rel8_64_ECX | Loopne_rel8_64_ECX
    );
    op.extra = if narrow { 4 } else { 8 };
    op.src = (match i.mnemonic() {
        Mnemonic::Loope => 1,
        Mnemonic::Loopne => 2,
        _ => 0,
    })
    .into();
    b.end(op)
}
