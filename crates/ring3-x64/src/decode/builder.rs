//! What the translators of single instructions share: operands, addresses, and the ops so far.

use iced_x86::{Instruction, InstructionInfoFactory, OpAccess, OpKind, Register};

use super::{Options, Then};
use crate::block::{Parts, SlowOp};
use crate::op::{FIRST, FLAT, Handler, Op, SECOND, STACK};
use crate::ops::fused;
pub(super) use crate::ops::fused::Operands as Form;
use crate::ops::slow::{Slow, register_number};
use crate::ops::{moves, recording, slow, sse, sse::Vector, system};
use crate::vector::VectorOp;
use crate::width::{ADDRESS, FS_BASE, GS_BASE, HIGH, Slot, ZERO};

/// A block in the making.
pub(super) struct Builder {
    pub parts: Parts,
    pub options: Options,
    /// The op that [`Self::op`] starts from: place and length of the present instruction.
    blank: Op,
    info: Option<InstructionInfoFactory>,
    /// What the last instruction was.
    last: Last,
    /// What the one before the present one was.
    before: Last,
    /// What the optimiser knows of each op.
    notes: Vec<Note>,
}

/// What the next instruction may want to know of one.
#[derive(Clone, Copy, Default)]
struct Last {
    /// CMP (true) or TEST: its operands, their size, and its `FROM`.
    compare: Option<(bool, Form, usize, u8)>,
    /// A move between registers of 4 or 8 bytes.
    copy: Option<Copied>,
    /// A move between XMM registers: to, from.
    vector_copy: Option<(u8, u8)>,
    /// A bit for each register that has the value which the last op hands on.
    held: u32,
}

/// A move between registers.
#[derive(Clone, Copy)]
struct Copied {
    size: usize,
    to: u8,
    from: u8,
    /// [`Last::held`] before it.
    held: u32,
}

/// What an op has to do with the status flags.
#[derive(Clone, Copy, Default)]
pub(super) struct Note {
    /// The handler to take if nobody sees the flags it leaves.
    pub quiet: Option<Handler>,
    /// It writes all of them and reads none.
    pub sets: bool,
    /// It neither reads nor writes them, and never ends a run: no one can look at them there. (With `quiet` it may
    /// read or write them, but not any more if that is taken.)
    pub passes: bool,
}

impl Note {
    /// An op that has nothing to do with flags.
    pub const PASSES: Self = Self {
        quiet: None,
        sets: false,
        passes: true,
    };
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

    /// `FROM` for an op of the present instruction that reads these registers: [`NONE`] for none.
    pub fn from(&self, first: impl Into<u8>, second: impl Into<u8>) -> u8 {
        let (first, second) = (first.into(), second.into());
        let held = |number: u8| number < 16 && self.before.held >> number & 1 != 0;
        u8::from(held(first)) * FIRST | u8::from(held(second)) * SECOND
    }

    /// The present instruction hands on what it puts into `register`.
    pub fn hands_on(&mut self, register: impl Into<u8>) {
        self.last.held = bit(register.into());
    }

    /// The present instruction hands on what it got, and writes `register` ([`NONE`] for none).
    pub fn keeps(&mut self, register: impl Into<u8>) {
        self.last.held = self.before.held & !bit(register.into() & !HIGH);
    }

    /// Notes that the present instruction is a move between registers of `size` bytes, and what it hands on.
    pub fn note_copy(&mut self, size: usize, to: u8, from: u8) {
        if size >= 4 {
            self.last.copy = Some(Copied {
                size,
                to,
                from,
                held: self.before.held,
            });
            self.last.held = bit(to);
            if size == 8 {
                self.last.held |= bit(from);
            }
        } else {
            self.keeps(to);
        }
    }

    /// Notes that the present instruction is a move between XMM registers.
    pub fn note_vector_copy(&mut self, to: Slot, from: Slot) {
        self.last.vector_copy = Some((to.into(), from.into()));
    }

    /// [`Self::take_copy`] for XMM registers.
    pub fn take_vector_copy(&mut self, to: u8) -> Option<u8> {
        let (_, from) = self.before.vector_copy.filter(|copy| copy.0 == to)?;
        self.parts.ops.pop();
        self.notes.pop();
        Some(from)
    }

    /// Takes back the move before the present instruction if that goes on to change its destination. Gives
    /// where the value comes from.
    pub fn take_copy(&mut self, size: usize, to: u8) -> Option<u8> {
        let copy = self.before.copy?;
        if copy.to != to || size < 4 || size > copy.size {
            return None;
        }
        self.parts.ops.pop();
        self.notes.pop();
        self.before.held = copy.held;
        Some(copy.from)
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

    /// Notes that the present instruction is a CMP (or a TEST).
    pub fn note_compare(&mut self, cmp: bool, form: Form, size: usize, from: u8) {
        self.last.compare = Some((cmp, form, size, from));
    }

    /// Lets the op of the CMP or TEST before the present conditional jump do both. Gives whether that was possible.
    pub fn fuse(&mut self, cc: u8) -> bool {
        let Some((cmp, form, size, from)) = self.before.compare else {
            return false;
        };
        let handler = if cmp {
            fused::cmp(form, size, cc, from)
        } else {
            fused::test(form, size, cc, from)
        };
        match (handler, self.parts.ops.last_mut()) {
            (Some(handler), Some(op)) => {
                op.handler = handler;
                true
            }
            _ => false,
        }
    }

    /// The finished block.
    pub fn finish(mut self) -> Parts {
        let count = self.parts.count;
        // Backwards: whether somebody may see the flags behind this op.
        let mut seen = true;
        for (op, note) in self.parts.ops.iter_mut().zip(&self.notes).rev() {
            op.left = count - op.left;
            match note.quiet {
                Some(quiet) if !seen => {
                    op.handler = quiet;
                    seen = !note.passes;
                }
                _ if note.sets => seen = !note.passes,
                _ if note.passes && note.quiet.is_none() => {}
                _ => seen = true,
            }
        }
        self.parts
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

/// [`FLAT`] if the memory operand of an op has no index.
pub(super) fn flat(op: &Op) -> u8 {
    if op.index == ZERO.into() { FLAT } else { 0 }
}

/// The bit of a register in a set; none for a slot or a number that is no register.
fn bit(register: u8) -> u32 {
    if register < 16 { 1 << register } else { 0 }
}

/// No register, for [`Builder::from`] and [`Builder::keeps`].
pub(super) const NONE: u8 = 64;

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
