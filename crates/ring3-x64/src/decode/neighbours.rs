//! What makes fewer or faster ops of neighbouring instructions: values handed from one op to the next, moves that become
//! part of what follows, comparisons with their jump, and flags that nobody sees.

use super::builder::{Builder, Form};
use crate::block::Parts;
use crate::op::{FIRST, FLAT, Handler, Op, SECOND};
use crate::ops::fused;
use crate::width::{HIGH, Slot, ZERO};

/// What the next instruction may want to know of one.
#[derive(Clone, Copy, Default)]
pub(super) struct Last {
    /// CMP (true) or TEST: its operands, their size, and its `FROM`.
    pub compare: Option<(bool, Form, usize, u8)>,
    /// A move between registers of 4 or 8 bytes.
    pub copy: Option<Copied>,
    /// A move between XMM registers: to, from.
    pub vector_copy: Option<(u8, u8)>,
    /// A bit for each register that has the value which the last op hands on.
    pub held: u32,
}

/// A move between registers.
#[derive(Clone, Copy)]
pub(super) struct Copied {
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
    /// `FROM` for an op of the present instruction that reads these registers: [`NONE`] for none.
    pub fn from(&self, first: impl Into<u8>, second: impl Into<u8>) -> u8 {
        let (first, second) = (first.into(), second.into());
        let held = |number: u8| number < 16 && self.before.held >> number & 1 != 0;
        (u8::from(held(first)) * FIRST) | (u8::from(held(second)) * SECOND)
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
