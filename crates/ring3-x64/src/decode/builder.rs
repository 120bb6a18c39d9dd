//! What the translators of single instructions share: operands, addresses, and the ops so far.

use iced_x86::{Instruction, InstructionInfoFactory, OpAccess, OpKind, Register};

use super::neighbours::{Last, Note};
use super::{Options, Then};
use crate::block::{Parts, SlowOp};
use crate::op::{Handler, Op, STACK};
pub(super) use crate::ops::fused::Operands as Form;
use crate::ops::slow::{Slow, register_number};
use crate::ops::{moves, recording, slow, sse, sse::Vector, system};
use crate::vector::VectorOp;
use crate::width::{ADDRESS, FS_BASE, GS_BASE, ZERO};

/// A block in the making.
pub(super) struct Builder {
    pub parts: Parts,
    pub options: Options,
    /// The op that [`Self::op`] starts from: place and length of the present instruction.
    blank: Op,
    info: Option<InstructionInfoFactory>,
    /// What the last instruction was.
    pub(super) last: Last,
    /// What the one before the present one was.
    pub(super) before: Last,
    /// What the optimiser knows of each op.
    pub(super) notes: Vec<Note>,
}

impl Builder {
    pub fn new(rip: u64, options: Options) -> Self {
        let blank = Op {
            handler: moves::nop,
            imm: 0,
            disp: 0,
            dst: ZERO.into(),
            src: ZERO.into(),
            base: ZERO.into(),
            index: ZERO.into(),
            scale: 0,
            length: 0,
            offset: 0,
            left: 0,
            marks: 0,
            extra: 0,
        };
        let parts = Parts {
            rip,
            ops: Vec::with_capacity(12),
            ..Parts::default()
        };
        let info = options.log.then(InstructionInfoFactory::new);
        Self {
            parts,
            options,
            blank,
            info,
            last: Last::default(),
            before: Last::default(),
            notes: Vec::with_capacity(12),
        }
    }

    /// Starts an instruction.
    pub fn begin(&mut self, instruction: &Instruction) {
        let offset = if instruction.is_invalid() {
            self.blank.offset + u16::from(self.blank.length)
        } else {
            instruction.ip().wrapping_sub(self.parts.rip) as u16
        };
        self.before = std::mem::take(&mut self.last);
        self.blank.offset = offset;
        self.blank.length = instruction.len() as u8;
        // Counted down from the end in `finish`.
        self.blank.left = self.parts.count;
        self.parts.count += 1;
        if self.parts.count == 1 && self.options.coverage {
            let op = self.op(recording::cover);
            self.push(op);
        }
        self.record_accesses(instruction);
    }

    /// An op of the present instruction without operands.
    pub fn op(&self, handler: Handler) -> Op {
        Op {
            handler,
            ..self.blank
        }
    }

    /// Appends an op.
    pub fn push(&mut self, op: Op) {
        self.parts.ops.push(op);
        self.notes.push(Note::default());
    }

    /// Appends an op with what is known of its flags, and goes on.
    pub fn more_noted(&mut self, op: Op, note: Note) -> Then {
        self.parts.ops.push(op);
        self.notes.push(note);
        Then::More
    }

    /// Appends an op and goes on.
    pub fn more(&mut self, op: Op) -> Then {
        self.push(op);
        Then::More
    }

    /// Appends an op that leaves the block.
    pub fn end(&mut self, op: Op) -> Then {
        self.push(op);
        Then::End
    }

    /// An instruction that is executed from its decoded form.
    pub fn slow(&mut self, instruction: &Instruction, run: Slow) -> Then {
        let mut op = self.op(slow::run);
        self.address(&mut op, instruction);
        op.imm = self.parts.slow.len() as u64;
        self.parts.slow.push(SlowOp {
            instruction: *instruction,
            run,
        });
        self.push(op);
        Then::More
    }

    /// The same, and the block ends behind it.
    pub fn slow_cut(&mut self, instruction: &Instruction, run: Slow) -> Then {
        self.slow(instruction, run);
        Then::Cut
    }

    /// An instruction of the SSE family that has no handler of its own.
    pub fn vector(
        &mut self,
        instruction: &Instruction,
        handler: Handler,
        vector: VectorOp,
    ) -> Then {
        let mut op = self.op(handler);
        op.dst = xmm_number(instruction.op0_register()).into();
        op.src = xmm_number(instruction.op1_register()).into();
        if vector.imm {
            op.extra = instruction.immediate(instruction.op_count() - 1) as u8;
        }
        self.address(&mut op, instruction);
        op.imm = self.parts.vectors.len() as u64;
        self.parts.vectors.push(Vector {
            op: vector,
            instruction: *instruction,
        });
        self.more(op)
    }

    /// The general vector op.
    pub fn vector_general(&mut self, instruction: &Instruction, vector: VectorOp) -> Then {
        self.vector(instruction, sse::general, vector)
    }

    /// A valid instruction that is not modelled.
    pub fn not_modelled(&mut self) -> Then {
        let op = self.op(system::not_modelled);
        self.end(op)
    }

    /// Puts the memory operand, if there is one, into an op.
    pub fn address(&mut self, op: &mut Op, instruction: &Instruction) {
        if !(0..instruction.op_count())
            .any(|operand| instruction.op_kind(operand) == OpKind::Memory)
        {
            return;
        }
        let base = instruction.memory_base();
        let relative = matches!(base, Register::RIP | Register::EIP);
        let narrow = base.is_gpr32()
            || base == Register::EIP
            || instruction.memory_index().is_gpr32()
            || (base == Register::None
                && instruction.memory_index() == Register::None
                && instruction.memory_displ_size() == 4);
        op.base = (if relative {
            ZERO
        } else {
            register_number(base).unwrap_or(ZERO)
        })
        .into();
        // XLATB has AL as its index; its handler adds that itself.
        let index = instruction.memory_index();
        op.index = (if index == Register::AL {
            ZERO
        } else {
            register_number(index).unwrap_or(ZERO)
        })
        .into();
        op.scale = instruction.memory_index_scale().trailing_zeros() as u8;
        op.disp = instruction.memory_displacement64();
        let segment = segment_slot(instruction.memory_segment());
        if instruction.memory_segment() == Register::SS {
            op.marks |= STACK;
        }
        if !narrow && segment != ZERO && op.index == ZERO.into() {
            op.index = segment.into();
            op.scale = 0;
        } else if narrow || segment != ZERO {
            let handler = if narrow {
                moves::prepare_address32
            } else {
                moves::prepare_address
            };
            let prepare = Op {
                handler,
                dst: segment.into(),
                base: op.base,
                index: op.index,
                scale: op.scale,
                disp: op.disp,
                ..self.blank
            };
            self.parts.ops.push(prepare);
            self.notes.push(Note::PASSES);
            (op.base, op.index, op.scale, op.disp) = (ADDRESS.into(), ZERO.into(), 0, 0);
        }
    }

    /// Puts ops that log accesses before the instruction.
    fn record_accesses(&mut self, instruction: &Instruction) {
        let string = instruction.is_string_instruction();
        let Some(info) = &mut self.info else { return };
        if instruction.is_invalid() || string {
            return;
        }
        let mut ops = Vec::new();
        for used in info.info(instruction).used_memory() {
            let (reads, writes) = match used.access() {
                OpAccess::Read | OpAccess::CondRead => (true, false),
                OpAccess::Write | OpAccess::CondWrite => (false, true),
                OpAccess::ReadWrite | OpAccess::ReadCondWrite => (true, true),
                _ => continue,
            };
            for write in [reads.then_some(0), writes.then_some(1)]
                .into_iter()
                .flatten()
            {
                ops.push(Op {
                    handler: recording::log,
                    dst: segment_slot(used.segment()).into(),
                    src: write.into(),
                    base: register_number(used.base()).unwrap_or(ZERO).into(),
                    index: register_number(used.index()).unwrap_or(ZERO).into(),
                    scale: used.scale().trailing_zeros() as u8,
                    disp: used.displacement(),
                    extra: used.memory_size().size().min(255) as u8,
                    ..self.blank
                });
            }
        }
        self.notes
            .resize(self.notes.len() + ops.len(), Note::PASSES);
        self.parts.ops.append(&mut ops);
    }
}

/// The slot with the base of a segment.
pub(super) fn segment_slot(segment: Register) -> u8 {
    match segment {
        Register::FS => FS_BASE,
        Register::GS => GS_BASE,
        _ => ZERO,
    }
}

/// The number of an XMM register, 0 for others.
pub(super) fn xmm_number(register: Register) -> u8 {
    if register.is_xmm() {
        register.number() as u8
    } else {
        0
    }
}

/// The number of the general register that an operand is.
pub(super) fn general(instruction: &Instruction, operand: u32) -> u8 {
    register_number(instruction.op_register(operand)).unwrap_or(ZERO)
}

/// Kinds of the first two operands; `None` if they are of another kind or not general registers.
pub(super) fn form(instruction: &Instruction) -> Option<Form> {
    let kind = |operand| match instruction.op_kind(operand) {
        OpKind::Register => instruction.op_register(operand).is_gpr().then_some('r'),
        OpKind::Memory => Some('m'),
        OpKind::Immediate8
        | OpKind::Immediate16
        | OpKind::Immediate32
        | OpKind::Immediate64
        | OpKind::Immediate8to16
        | OpKind::Immediate8to32
        | OpKind::Immediate8to64
        | OpKind::Immediate32to64 => Some('i'),
        _ => None,
    };
    match (kind(0)?, kind(1)?) {
        ('r', 'r') => Some(Form::Rr),
        ('r', 'i') => Some(Form::Ri),
        ('r', 'm') => Some(Form::Rm),
        ('m', 'r') => Some(Form::Mr),
        ('m', 'i') => Some(Form::Mi),
        _ => None,
    }
}

/// The low bits of a value.
pub(super) fn cut_to(value: u64, size: usize) -> u64 {
    match size {
        1 => value & 0xff,
        2 => value & 0xffff,
        4 => value & 0xffff_ffff,
        _ => value,
    }
}

/// The handler for a width in bytes: `by_width!(size, W => path::<W>)`.
macro_rules! by_width {
    ($size:expr, $w:ident => $handler:expr) => {
        match $size {
            1 => {
                type $w = u8;
                let handler: $crate::op::Handler = $handler;
                handler
            }
            2 => {
                type $w = u16;
                let handler: $crate::op::Handler = $handler;
                handler
            }
            4 => {
                type $w = u32;
                let handler: $crate::op::Handler = $handler;
                handler
            }
            _ => {
                type $w = u64;
                let handler: $crate::op::Handler = $handler;
                handler
            }
        }
    };
}

/// The handler for a width in bytes and a `FROM`: `by_width_from!(size, from, W, F => path::<W, F>)`.
/// Below 32 bits all operands come from the slots.
macro_rules! by_width_from {
    ($size:expr, $from:expr, $w:ident, $f:ident => $handler:expr) => {{
        macro_rules! with {
            ($kind:ty, $number:expr) => {{
                type $w = $kind;
                const $f: u8 = $number;
                let handler: $crate::op::Handler = $handler;
                handler
            }};
        }
        match ($size, $from) {
            (1, _) => with!(u8, $crate::op::SLOTS),
            (2, _) => with!(u16, $crate::op::SLOTS),
            (4, $crate::op::SLOTS) => with!(u32, $crate::op::SLOTS),
            (4, $crate::op::FIRST) => with!(u32, $crate::op::FIRST),
            (4, $crate::op::SECOND) => with!(u32, $crate::op::SECOND),
            (4, _) => with!(u32, $crate::op::BOTH),
            (_, $crate::op::SLOTS) => with!(u64, $crate::op::SLOTS),
            (_, $crate::op::FIRST) => with!(u64, $crate::op::FIRST),
            (_, $crate::op::SECOND) => with!(u64, $crate::op::SECOND),
            _ => with!(u64, $crate::op::BOTH),
        }
    }};
}

/// The same where `FROM` is one of a list: `by_width_of!(size, from, W, F, [0 4] => path::<W, F>)`. Others count as 0.
macro_rules! by_width_of {
    ($size:expr, $from:expr, $w:ident, $f:ident, [$($number:literal)*] => $handler:expr) => {
        by_width!($size, $w => match $from {
            $($number => {
                const $f: u8 = $number;
                let handler: $crate::op::Handler = $handler;
                handler
            })*
            _ => {
                const $f: u8 = 0;
                let handler: $crate::op::Handler = $handler;
                handler
            }
        })
    };
}

/// The handler for a condition code: `by_condition!(cc, CC => path::<CC>)`.
macro_rules! by_condition {
    ($cc:expr, $c:ident => $handler:expr) => {
        by_condition!(@ $cc, $c => $handler, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14; 15)
    };
    (@ $cc:expr, $c:ident => $handler:expr, $($number:literal)*; $last:literal) => {
        match $cc {
            $($number => {
                const $c: u8 = $number;
                let handler: $crate::op::Handler = $handler;
                handler
            })*
            _ => {
                const $c: u8 = $last;
                let handler: $crate::op::Handler = $handler;
                handler
            }
        }
    };
}

pub(super) use {by_condition, by_width, by_width_from, by_width_of};
