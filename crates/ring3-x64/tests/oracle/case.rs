//! What one test case is: an encoded instruction, the state before it, and the state after it.

use iced_x86::{Code, Instruction, OpKind};

/// Where the instruction lies, with its landing places.
pub const CODE_PAGE: u64 = 0x3000_0000;
/// The instruction itself.
pub const CASE: u64 = CODE_PAGE + 0x800;
/// Where taken branches go.
pub const TAKEN: u64 = CASE + 0x40;
/// Two pages of data, with nothing mapped around them.
pub const SCRATCH: u64 = 0x3001_0000;
/// Bytes of data.
pub const SCRATCH_SIZE: usize = 0x2000;
/// Base of GS: inside the data.
pub const GS_BASE: u64 = SCRATCH + 0x800;

/// The registers an instruction can see or change.
#[repr(C, align(16))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// RAX RCX RDX RBX RSP RBP RSI RDI R8 to R15.
    pub gpr: [u64; 16],
    /// RFLAGS.
    pub rflags: u64,
    /// MXCSR.
    pub mxcsr: u32,
    /// Unused.
    pub pad: u32,
    /// XMM0 to XMM15.
    pub xmm: [u128; 16],
}

/// One instruction with everything it depends on.
#[derive(Clone, Debug)]
pub struct Case {
    pub code: Code,
    pub instruction: Instruction,
    pub bytes: Vec<u8>,
    pub state: State,
    /// The contents of the data pages.
    pub scratch: Vec<u8>,
    /// The address of the explicit memory operand, if any.
    pub address: Option<u64>,
    /// Instructions in `bytes`; `code` and `instruction` are the last one.
    pub steps: u64,
    /// RFLAGS bits that are undefined at the end and at any place before, if that is not for the
    /// instruction alone to say.
    pub unknown_flags: Option<(u64, u64)>,
}

/// What running a case did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The instruction ended, or raised the exception with this vector.
    Done {
        state: Box<State>,
        rip: u64,
        vector: Option<u8>,
        scratch: Vec<u8>,
    },
    /// The engine does not have it; its text.
    NotModelled(String),
}

/// Something that can run cases.
pub trait Executor {
    fn run(&mut self, case: &Case) -> Outcome;
}

/// The RFLAGS bits of iced's `RflagsBits`.
pub fn rflags_bits(bits: u32) -> u64 {
    use iced_x86::RflagsBits as R;
    [
        (R::OF, 0x800),
        (R::SF, 0x80),
        (R::ZF, 0x40),
        (R::AF, 0x10),
        (R::CF, 0x1),
        (R::PF, 0x4),
        (R::DF, 0x400),
        (R::IF, 0x200),
        (R::AC, 0x4_0000),
    ]
    .iter()
    .filter(|&&(bit, _)| bits & bit != 0)
    .fold(0, |sum, &(_, bit)| sum | bit)
}

/// The masked count of a shift or rotate and the width of the operand in bits.
pub fn shift_count(case: &Case) -> (u64, u64) {
    let i = &case.instruction;
    let bytes = if i.op0_kind() == OpKind::Register {
        i.op0_register().size()
    } else {
        i.memory_size().size()
    };
    let count = match i.op_kind(i.op_count() - 1) {
        OpKind::Register => case.state.gpr[1],
        _ => i.immediate(i.op_count() - 1),
    };
    (count & if bytes == 8 { 63 } else { 31 }, 8 * bytes as u64)
}

/// The RFLAGS bits that the case defines: the manual leaves the others to the processor.
pub fn defined_flags(case: &Case) -> u64 {
    use iced_x86::Mnemonic as M;
    if let Some((at_end, _)) = case.unknown_flags {
        return !at_end & 0x8d5 | 0x400;
    }
    let mut undefined = rflags_bits(case.instruction.rflags_undefined());
    let i = &case.instruction;
    let double = matches!(i.mnemonic(), M::Shld | M::Shrd);
    let single = matches!(i.mnemonic(), M::Shl | M::Sal | M::Shr | M::Sar);
    let rotate = matches!(i.mnemonic(), M::Rol | M::Ror | M::Rcl | M::Rcr);
    if double || single || rotate {
        let (count, width) = shift_count(case);
        // A count of one defines OF, a larger one does not, zero changes nothing.
        undefined = match count {
            0 => 0,
            1 => undefined & !0x800,
            _ => undefined | 0x800,
        };
        // A shift by the whole operand or more loses the carry (SAR keeps the sign).
        if count >= width && single && i.mnemonic() != M::Sar {
            undefined |= 1;
        }
    }
    !undefined & 0x8d5 | 0x400
}

/// Compares two outcomes where the manual defines them; describes the first differences.
pub fn difference(case: &Case, expected: &Outcome, actual: &Outcome) -> Option<String> {
    let (
        Outcome::Done {
            state: es,
            rip: er,
            vector: ev,
            scratch: em,
        },
        Outcome::Done {
            state: a,
            rip: ar,
            vector: av,
            scratch: am,
        },
    ) = (expected, actual)
    else {
        return None;
    };
    let mut text = Vec::new();
    if ev != av {
        text.push(format!("exception {ev:?} expected, {av:?} found"));
    }
    if er != ar {
        text.push(format!("rip {er:#x} expected, {ar:#x} found"));
    }
    for i in 0..16 {
        if es.gpr[i] != a.gpr[i] {
            text.push(format!(
                "gpr{i} {:#x} -> {:#x} expected, {:#x} found",
                case.state.gpr[i], es.gpr[i], a.gpr[i]
            ));
        }
        if !same_xmm(case, es.xmm[i], a.xmm[i]) {
            text.push(format!(
                "xmm{i} {:#034x} -> {:#034x} expected, {:#034x} found",
                case.state.xmm[i], es.xmm[i], a.xmm[i]
            ));
        }
    }
    let mask = match (ev, case.unknown_flags) {
        (None, _) => defined_flags(case),
        // The fault may be anywhere in the sequence.
        (Some(_), Some((_, before))) => 0xcd5 & !before,
        (Some(_), None) => 0xcd5,
    };
    if (es.rflags ^ a.rflags) & mask != 0 {
        text.push(format!(
            "rflags {:#x} -> {:#x} expected, {:#x} found",
            case.state.rflags & 0xcd5,
            es.rflags & mask,
            a.rflags & mask
        ));
    }
    if es.mxcsr != a.mxcsr {
        text.push(format!(
            "mxcsr {:#x} -> {:#x} expected, {:#x} found",
            case.state.mxcsr, es.mxcsr, a.mxcsr
        ));
    }
    if em != am {
        let at = em.iter().zip(am).position(|(x, y)| x != y).unwrap_or(0);
        let end = (at + 16).min(em.len());
        text.push(format!(
            "memory at {:#x}: {:02x?} expected, {:02x?} found",
            at,
            &em[at..end],
            &am[at..end]
        ));
    }
    (!text.is_empty()).then(|| text.join("; "))
}

/// Equal, or close enough for the instructions that only promise 12 bits.
fn same_xmm(case: &Case, expected: u128, actual: u128) -> bool {
    if !is_approximate(case.code) {
        return expected == actual;
    }
    (0..4).all(|i| {
        let (e, a) = ((expected >> (32 * i)) as u32, (actual >> (32 * i)) as u32);
        let (x, y) = (f64::from(f32::from_bits(e)), f64::from(f32::from_bits(a)));
        // Results at the edge of the normal range may or may not be flushed.
        e == a
            || (x - y).abs() <= 3.0 / 4096.0 * x.abs()
            || x.abs().max(y.abs()) < 2.4e-38 && e >> 31 == a >> 31
    })
}

/// Whether processors differ in the low bits of the result.
pub fn is_approximate(code: Code) -> bool {
    use iced_x86::Mnemonic as M;
    matches!(
        code.mnemonic(),
        M::Rcpps | M::Rcpss | M::Rsqrtps | M::Rsqrtss
    )
}

/// A fingerprint of what is defined of an outcome (FNV-1a).
pub fn fingerprint(case: &Case, outcome: &Outcome) -> u32 {
    let Outcome::Done {
        state,
        rip,
        vector,
        scratch,
    } = outcome
    else {
        return 0;
    };
    let mask = if vector.is_some() {
        0xcd5
    } else {
        defined_flags(case)
    };
    let mut hash = Fnv::default();
    state.gpr.iter().for_each(|v| hash.add(&v.to_le_bytes()));
    state.xmm.iter().for_each(|v| hash.add(&v.to_le_bytes()));
    hash.add(&(state.rflags & mask).to_le_bytes());
    hash.add(&state.mxcsr.to_le_bytes());
    hash.add(&rip.to_le_bytes());
    hash.add(&[vector.map_or(255, |v| v)]);
    // Only what changed, so that it is quick.
    for (i, (new, old)) in scratch
        .iter()
        .zip(&case.scratch)
        .enumerate()
        .filter(|(_, (new, old))| new != old)
    {
        hash.add(&(i as u32).to_le_bytes());
        hash.add(&[*new, *old]);
    }
    hash.finish()
}

/// FNV-1a, folded to 32 bits.
pub struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    pub fn finish(&self) -> u32 {
        (self.0 ^ self.0 >> 32) as u32
    }
}
