//! SSE to SSE4.2, AES, PCLMULQDQ and CRC32: the meaning of each instruction as a pure function of its operands.
//!
//! Nothing here knows the CPU state or guest memory. [`lookup`] says for an `iced_x86::Code` where the operands
//! live and which function computes the result; one generic piece of glue in the interpreter does the rest:
//!
//! 1. `source`: [`Source::Operand`]`(n)`: if operand `n` of the instruction is memory, load [`VectorOp::memory`] bytes
//!    (if [`VectorOp::aligned`] and the address is not a multiple of 16, raise #GP(0) instead) and zero-extend
//!    them to `u128`; if it is an XMM register take all of it; if it is a general register take it (by its iced
//!    register, so 8, 16, 32 or 64 bits) zero-extended. [`Source::None`]: pass 0.
//! 2. `dst`: the old value of the destination: the XMM register or general register that operand 0 names. For memory and for
//!    [`Destination::Flags`] see those variants.
//! 3. `imm`: the last operand when [`VectorOp::imm`], otherwise 0.
//! 4. Fill a [`VectorContext`] (`mxcsr` always; the other inputs are cheap to fill always) and call [`VectorOp::f`].
//! 5. If [`VectorContext::exception`] is set: put `context.mxcsr` into the CPU and raise #XM; nothing else changes.
//! 6. Otherwise write the result to where [`VectorOp::destination`] says, put `context.mxcsr` back, and replace the RFLAGS bits
//!    in [`VectorOp::flags`] by those of `context.flags`.
//!
//! A store to memory ([`Destination::Operand0`] with memory as operand 0) must succeed before anything else changes; stores never
//! change MXCSR or flags. #UD for `CR0.EM`/`CR4.OSFXSR` and #NM for `CR0.TS` apply to every [`VectorOp::sse`] instruction and are
//! the glue's business. Not here because they are about CPU state and not values: `ldmxcsr`, `stmxcsr` (see [`MXCSR_MASK`]),
//! `fxsave`, `movnti`, prefetches and fences.
//!
//! Floating point follows the Intel SDM volume 1 chapters 4 and 11 on every host: rounding control, denormals-are-zero,
//! flush-to-zero, sticky flags, NaN selection and unmasked exceptions come from integer arithmetic
//! in `softfloat.rs`; the host's own floating point unit is used only where it cannot make a difference.
//! `rcpps`/`rsqrtps` and their scalar forms differ between processors (the SDM only bounds the error): see `approximate.rs`.

mod approximate;
mod arithmetic;
mod bits;
mod compare;
mod convert;
mod crypto;
mod float;
mod lanes;
mod moves;
mod multiply;
mod round;
mod shift;
mod shuffle;
mod softfloat;
mod strings;
#[cfg(test)]
mod tests;

use iced_x86::Code;

/// MXCSR: the six sticky exception flags IE, DE, ZE, OE, UE, PE (bits 0 to 5).
pub const MXCSR_FLAGS: u32 = 0x3f;
/// MXCSR: invalid operation.
pub const MXCSR_IE: u32 = 1;
/// MXCSR: denormal operand.
pub const MXCSR_DE: u32 = 2;
/// MXCSR: division by zero.
pub const MXCSR_ZE: u32 = 4;
/// MXCSR: overflow.
pub const MXCSR_OE: u32 = 8;
/// MXCSR: underflow.
pub const MXCSR_UE: u32 = 16;
/// MXCSR: precision (inexact result).
pub const MXCSR_PE: u32 = 32;
/// MXCSR: denormals are zeros.
pub const MXCSR_DAZ: u32 = 0x40;
/// MXCSR: the masks of the six exceptions start at this bit.
pub const MXCSR_MASK_SHIFT: u32 = 7;
/// MXCSR: rounding control starts at this bit (0 nearest even, 1 down, 2 up, 3 toward zero).
pub const MXCSR_RC_SHIFT: u32 = 13;
/// MXCSR: flush to zero.
pub const MXCSR_FTZ: u32 = 0x8000;
/// The MXCSR bits that exist; `ldmxcsr` of any other bit is #GP(0).
pub const MXCSR_MASK: u32 = 0xffff;
/// MXCSR at reset and as Windows starts kernel code: all exceptions masked, round to nearest.
pub const MXCSR_DEFAULT: u32 = 0x1f80;

/// RFLAGS.CF.
const CF: u32 = 0x001;
/// RFLAGS.PF.
const PF: u32 = 0x004;
/// RFLAGS.AF.
const AF: u32 = 0x010;
/// RFLAGS.ZF.
const ZF: u32 = 0x040;
/// RFLAGS.SF.
const SF: u32 = 0x080;
/// RFLAGS.OF.
const OF: u32 = 0x800;
/// The six status flags: what `comiss`, `ptest` and `pcmpistri` write.
const STATUS: u32 = CF | PF | AF | ZF | SF | OF;

/// The inputs and outputs of a [`VectorFn`] beside its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorContext {
    /// MXCSR in; with the new sticky flags out.
    pub mxcsr: u32,
    /// Out: the new values of the RFLAGS bits that [`VectorOp::flags`] names; other bits are 0.
    pub flags: u32,
    /// In: XMM0, the implicit operand of `pblendvb`, `blendvps`, `blendvpd` (and `sha256rnds2`).
    pub xmm0: u128,
    /// In: RAX, the length of the first operand of `pcmpestri`/`pcmpestrm`.
    pub rax: u64,
    /// In: RDX, the length of the second operand of `pcmpestri`/`pcmpestrm`.
    pub rdx: u64,
    /// In: the source operand came from memory (`movss xmm, m32` clears the upper bits, `movss xmm, xmm` keeps them).
    pub from_memory: bool,
    /// Out: an unmasked floating-point exception: raise #XM and write nothing but `mxcsr`.
    pub exception: bool,
}

impl VectorContext {
    /// A context with this MXCSR and everything else zero.
    pub const fn new(mxcsr: u32) -> Self {
        Self {
            mxcsr,
            flags: 0,
            xmm0: 0,
            rax: 0,
            rdx: 0,
            from_memory: false,
            exception: false,
        }
    }
}

/// What an instruction does: `(context, destination, source, immediate) -> new destination`.
///
/// The result is as wide as the destination: all 128 bits for an XMM register (bits that the instruction preserves
/// are already merged in), the low bytes for a general register or memory.
pub type VectorFn = fn(&mut VectorContext, u128, u128, u8) -> u128;

/// Where the result goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Operand 0. An XMM register takes the whole result; a 32-bit general register its low 4 bytes, zero-extended to 64; a 64-bit one its low 8 bytes.
    /// Memory (stores: operand 0 is memory) takes the low [`VectorOp::memory`] bytes; pass `dst` = 0 then and do not load it.
    Operand0,
    /// Only RFLAGS (`comiss`, `ptest`): `dst` is the XMM register of operand 0, the result is to be ignored.
    Flags,
    /// RCX, zero-extended from 32 bits (`pcmpistri`, `pcmpestri`): `dst` is the XMM register of operand 0.
    Ecx,
    /// XMM0 (`pcmpistrm`, `pcmpestrm`): `dst` is the XMM register of operand 0.
    Xmm0,
    /// `maskmovdqu`: `dst` is XMM operand 1 (data), `src` XMM operand 2 (mask); store byte `i` of `dst` to `seg:[rdi]+i` (address operand 0)
    /// for each set bit `i` of the 16-bit result, and no other byte.
    MaskedStore,
}

/// Where the second value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The instruction operand with this number.
    Operand(u8),
    /// No source (`psrldq xmm, imm8`): pass 0.
    None,
}

/// How to execute one instruction; see the module page for the steps.
#[derive(Clone, Copy, Debug)]
pub struct VectorOp {
    /// Computes the result.
    pub f: VectorFn,
    /// Where the result goes.
    pub destination: Destination,
    /// Where the source comes from.
    pub source: Source,
    /// Bytes of the memory operand (load or store) if the instruction has one: 1, 2, 4, 8 or 16; 0 when it cannot have one.
    pub memory: u8,
    /// The memory operand must be 16-byte aligned: otherwise #GP(0).
    pub aligned: bool,
    /// The last operand is an 8-bit immediate.
    pub imm: bool,
    /// The RFLAGS bits that are replaced.
    pub flags: u32,
    /// Touches SSE state (all but `crc32`).
    pub sse: bool,
    /// Reads MXCSR and may set flags in it and raise #XM.
    pub float: bool,
}

impl VectorOp {
    /// `op xmm, xmm/m128` with an aligned memory operand.
    const fn xmm(f: VectorFn) -> Self {
        Self {
            f,
            destination: Destination::Operand0,
            source: Source::Operand(1),
            memory: 16,
            aligned: true,
            imm: false,
            flags: 0,
            sse: true,
            float: false,
        }
    }

    /// The same without an alignment demand, for a memory operand of `bytes`.
    const fn memory(mut self, bytes: u8) -> Self {
        self.memory = bytes;
        self.aligned = false;
        self
    }

    /// With an immediate as the last operand.
    const fn imm(mut self) -> Self {
        self.imm = true;
        self
    }

    /// Reads and writes MXCSR.
    const fn float(mut self) -> Self {
        self.float = true;
        self
    }

    /// Writes RFLAGS bits.
    const fn flags(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }

    /// Sends the result elsewhere.
    const fn to(mut self, destination: Destination) -> Self {
        self.destination = destination;
        self
    }

    /// Takes the source from elsewhere.
    const fn from(mut self, source: Source) -> Self {
        self.source = source;
        self
    }

    /// Does not touch SSE state.
    const fn general(mut self) -> Self {
        self.sse = false;
        self
    }
}

/// How to execute `code`, or `None` if it is not one of the instructions of this module.
///
/// Meant for decode time: it tries one table after the other.
pub fn lookup(code: Code) -> Option<VectorOp> {
    const TABLES: [fn(Code) -> Option<VectorOp>; 12] = [
        moves::lookup,
        arithmetic::lookup,
        multiply::lookup,
        bits::lookup,
        shift::lookup,
        shuffle::lookup,
        float::lookup,
        compare::lookup,
        convert::lookup,
        round::lookup,
        approximate::lookup,
        strings::lookup,
    ];
    TABLES
        .iter()
        .find_map(|table| table(code))
        .or_else(|| crypto::lookup(code))
}
