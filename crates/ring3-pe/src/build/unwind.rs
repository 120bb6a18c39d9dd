//! Making UNWIND_INFO (source: "x64 exception handling", learn.microsoft.com).

use crate::RuntimeFunction;

/// One step of a prologue. `at` is the offset of the instruction's end from the function's start, in bytes; registers are
/// numbered as instructions encode them (0 rax, 1 rcx, 2 rdx, 3 rbx, 4 rsp, 5 rbp, 6 rsi, 7 rdi, 8 to 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnwindCode {
    /// UWOP_PUSH_NONVOL.
    PushNonvol {
        /// Offset of the end of the instruction.
        at: u8,
        /// Register pushed.
        register: u8,
    },
    /// UWOP_ALLOC_SMALL or UWOP_ALLOC_LARGE, whichever is the shortest for the size.
    Alloc {
        /// Offset of the end of the instruction.
        at: u8,
        /// Bytes allocated, a multiple of eight.
        size: u32,
    },
    /// UWOP_SET_FPREG: the frame register of [`UnwindInfo::frame`] is set.
    SetFpreg {
        /// Offset of the end of the instruction.
        at: u8,
    },
    /// UWOP_SAVE_NONVOL or UWOP_SAVE_NONVOL_FAR.
    SaveNonvol {
        /// Offset of the end of the instruction.
        at: u8,
        /// Register saved.
        register: u8,
        /// Bytes from the bottom of the fixed allocation.
        offset: u32,
    },
    /// UWOP_SAVE_XMM128 or UWOP_SAVE_XMM128_FAR.
    SaveXmm128 {
        /// Offset of the end of the instruction.
        at: u8,
        /// XMM register saved.
        register: u8,
        /// Bytes from the bottom of the fixed allocation.
        offset: u32,
    },
    /// UWOP_PUSH_MACHFRAME: the processor pushed an interrupt frame.
    PushMachframe {
        /// Offset of the end of the instruction, in practice 0.
        at: u8,
        /// Whether an error code lies below the frame.
        error_code: bool,
    },
    /// UWOP_EPILOG of version 2: the first of them has the epilogue's size in `offset` and says in `info` whether one epilogue
    /// ends the function; the others have the distance of an epilogue's start from the function's end.
    Epilog {
        /// Low eight bits of size or distance, in bytes.
        offset: u8,
        /// High four bits of the distance, or flags.
        info: u8,
    },
}

/// The language-specific handler of a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnwindHandler {
    /// UNW_FLAG_EHANDLER (1), UNW_FLAG_UHANDLER (2) or both.
    pub flags: u8,
    /// RVA of the handler.
    pub routine_rva: u32,
    /// The handler's own data (for `__C_specific_handler` a scope table).
    pub data: Vec<u8>,
}

/// The unwind information of a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnwindInfo {
    /// 1, or 2 for epilogue codes. 0 is taken as 1.
    pub version: u8,
    /// Bytes of the prologue.
    pub prolog_size: u8,
    /// Frame register and the distance of its value from rsp, in units of 16 bytes.
    pub frame: Option<(u8, u8)>,
    /// The steps in the order the prologue takes them; for version 2 the epilogue codes first.
    pub codes: Vec<UnwindCode>,
    /// The handler, if any.
    pub handler: Option<UnwindHandler>,
    /// The function whose prologue came before this one (UNW_FLAG_CHAININFO); it excludes a handler.
    pub chained: Option<RuntimeFunction>,
}

impl UnwindInfo {
    /// The bytes of the UNWIND_INFO, a multiple of four except for the handler's data.
    pub fn encode(&self) -> Vec<u8> {
        let mut codes = Vec::new();
        let (epilog, prolog): (Vec<&UnwindCode>, Vec<&UnwindCode>) = self
            .codes
            .iter()
            .partition(|code| matches!(code, UnwindCode::Epilog { .. }));
        // Stored last step first, so that an unwinder can walk them in order.
        for code in epilog.into_iter().chain(prolog.into_iter().rev()) {
            code.encode(&mut codes);
        }
        let count = u8::try_from(codes.len() / 2).unwrap_or(u8::MAX);
        let flags = match (&self.chained, &self.handler) {
            (Some(_), _) => 4,
            (None, Some(handler)) => handler.flags & 3,
            (None, None) => 0,
        };
        let (register, offset) = self.frame.unwrap_or((0, 0));
        let mut out = vec![
            self.version.max(1) | flags << 3,
            self.prolog_size,
            count,
            register & 15 | offset << 4,
        ];
        out.extend_from_slice(&codes);
        out.resize(out.len().next_multiple_of(4), 0);
        if let Some(parent) = &self.chained {
            for field in [parent.begin, parent.end, parent.unwind] {
                out.extend_from_slice(&field.to_le_bytes());
            }
        } else if let Some(handler) = &self.handler {
            out.extend_from_slice(&handler.routine_rva.to_le_bytes());
            out.extend_from_slice(&handler.data);
        }
        out
    }
}

impl UnwindCode {
    /// Appends the code's two-byte slots.
    fn encode(&self, out: &mut Vec<u8>) {
        let (at, operation, info) = match *self {
            Self::PushNonvol { at, register } => (at, 0, register),
            Self::Alloc { at, size } if size <= 128 => (at, 2, (size.saturating_sub(8) / 8) as u8),
            Self::Alloc { at, size } => (at, 1, u8::from(far(size, 8))),
            Self::SetFpreg { at } => (at, 3, 0),
            Self::SaveNonvol {
                at,
                register,
                offset,
            } => (at, 4 + u8::from(far(offset, 8)), register),
            Self::SaveXmm128 {
                at,
                register,
                offset,
            } => (at, 8 + u8::from(far(offset, 16)), register),
            Self::PushMachframe { at, error_code } => (at, 10, u8::from(error_code)),
            Self::Epilog { offset, info } => (offset, 6, info),
        };
        out.extend_from_slice(&[at, operation | info << 4]);
        match *self {
            Self::Alloc { size, .. } if size > 128 => operand(out, size, 8),
            Self::SaveNonvol { offset, .. } => operand(out, offset, 8),
            Self::SaveXmm128 { offset, .. } => operand(out, offset, 16),
            _ => {}
        }
    }
}

/// Whether `value` does not fit in one slot when scaled.
fn far(value: u32, scale: u32) -> bool {
    !value.is_multiple_of(scale) || value / scale > 0xffff
}

/// Appends an operand: one scaled slot, or two unscaled ones.
fn operand(out: &mut Vec<u8>, value: u32, scale: u32) {
    if far(value, scale) {
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        out.extend_from_slice(&((value / scale) as u16).to_le_bytes());
    }
}
