//! Epilogues: found by decoding the instructions from the instruction pointer on.
//!
//! "x64 prolog and epilog" (learn.microsoft.com) fixes what an epilogue may be, so that unwinders can tell it from its bytes:
//! one `add rsp, constant` or `lea rsp, constant[frame register]`, pops of 8-byte registers, and a return or a jump. With
//! version 2 of the unwind information, codes say where the epilogues are.

use ring3_pe::RuntimeFunction;

use super::CodeMemory;
use super::info::{self, CHAININFO, Code, Info, Operation};

/// Longest run of bytes an epilogue may have: an adjustment of 8, 16 pops of 2 and a jump of 7 fit.
const LONGEST: usize = 64;

/// What is left of an epilogue from the instruction pointer on.
#[derive(Default)]
pub(super) struct Epilog {
    /// How the fixed allocation is released.
    pub(super) release: Option<Release>,
    /// The registers popped, in order.
    pub(super) pops: Vec<u8>,
}

/// The instruction that releases the fixed allocation.
pub(super) enum Release {
    /// `add rsp, constant`.
    Add(i32),
    /// `lea rsp, constant[frame register]`.
    Lea(i32),
}

/// The rest of the epilogue that `rip` lies in; none where it lies in none.
pub(super) fn find(
    mem: &dyn CodeMemory,
    base: u64,
    chain: &[(RuntimeFunction, Info)],
    codes: &[Code],
    rip: u64,
) -> Option<Epilog> {
    let (function, info) = chain.first()?;
    let rva = u32::try_from(rip.wrapping_sub(base)).ok()?;
    let stated = stated(function, info, codes, rva);
    if stated == Some(false) {
        return None;
    }
    let code = bytes_at(mem, rip);
    let (epilog, used) = decode(&code, info.frame_register)?;
    let rest = code.get(used..)?;
    if stated == Some(true) && matches!(rest, [0xff, modrm, ..] if modrm & 0x38 == 0x20) {
        // Where the codes vouch for the epilogue, a jump through a register needs no prefix to mark it.
        return Some(epilog);
    }
    match end(rest)? {
        End::Return => Some(epilog),
        End::Jump(distance, length) => {
            let after = rva.wrapping_add(used as u32).wrapping_add(length);
            let target = after.wrapping_add(distance as u32);
            (stated == Some(true) || leaves(mem, base, chain, target)).then_some(epilog)
        }
    }
}

/// The bytes from `rip` on, fewer where the readable memory ends.
fn bytes_at(mem: &dyn CodeMemory, rip: u64) -> Vec<u8> {
    let mut code = vec![0; LONGEST];
    if !mem.read(rip, &mut code) {
        let mut byte = [0];
        code.clear();
        while code.len() < LONGEST && mem.read(rip.wrapping_add(code.len() as u64), &mut byte) {
            code.extend_from_slice(&byte);
        }
    }
    code
}

/// Whether the codes of version 2 say that `rva` lies in an epilogue; none for version 1, which has no such codes. A function of
/// version 2 without such codes has no epilogue: so are the parts of separated functions in shipped drivers.
fn stated(function: &RuntimeFunction, info: &Info, codes: &[Code], rva: u32) -> Option<bool> {
    if info.version < 2 {
        return None;
    }
    let mut size = None;
    let mut inside = false;
    for code in codes {
        let Operation::Epilog(high) = code.operation else {
            continue;
        };
        let distance = match size {
            // The first code has the size of all epilogues, and in bit 0 whether one ends the function.
            None => {
                size = Some(u32::from(code.at));
                if high & 1 == 0 {
                    continue;
                }
                u32::from(code.at)
            }
            // The others have the distance of an epilogue from the function's end; 0 pads.
            Some(_) => u32::from(code.at) | u32::from(high) << 8,
        };
        let start = function.end.wrapping_sub(distance);
        inside |= distance != 0 && rva.wrapping_sub(start) < size.unwrap_or(0);
    }
    Some(inside)
}

/// Decodes the release and the pops; answers them and how many bytes they take.
fn decode(code: &[u8], frame_register: u8) -> Option<(Epilog, usize)> {
    let mut epilog = Epilog::default();
    let mut rest = code;
    if let [0x48, 0x83, 0xc4, constant, tail @ ..] = rest {
        epilog.release = Some(Release::Add(i32::from(*constant as i8)));
        rest = tail;
    } else if let [0x48, 0x81, 0xc4, a, b, c, d, tail @ ..] = rest {
        epilog.release = Some(Release::Add(i32::from_le_bytes([*a, *b, *c, *d])));
        rest = tail;
    } else if let Some((constant, tail)) = lea(rest, frame_register) {
        epilog.release = Some(Release::Lea(constant));
        rest = tail;
    }
    loop {
        let (register, tail) = match rest {
            [0x41, byte @ 0x58..=0x5f, tail @ ..] => (byte - 0x58 + 8, tail),
            [byte @ 0x58..=0x5f, tail @ ..] if *byte != 0x5c => (byte - 0x58, tail),
            _ => break,
        };
        epilog.pops.push(register);
        rest = tail;
    }
    Some((epilog, code.len() - rest.len()))
}

/// Decodes `lea rsp, constant[frame register]`.
fn lea(code: &[u8], frame_register: u8) -> Option<(i32, &[u8])> {
    let [rex, 0x8d, modrm, rest @ ..] = code else {
        return None;
    };
    let base = (rex & 1) << 3 | modrm & 7;
    if frame_register == 0 || rex & 0xfe != 0x48 || modrm & 0x38 != 0x20 || base != frame_register {
        return None;
    }
    // r12 as a base needs a SIB byte.
    let rest = if modrm & 7 == 4 {
        rest.strip_prefix(&[0x24])?
    } else {
        rest
    };
    match (modrm >> 6, rest) {
        (0, _) if modrm & 7 != 5 => Some((0, rest)),
        (1, [constant, rest @ ..]) => Some((i32::from(*constant as i8), rest)),
        (2, [a, b, c, d, rest @ ..]) => Some((i32::from_le_bytes([*a, *b, *c, *d]), rest)),
        _ => None,
    }
}

/// The last instruction of an epilogue.
enum End {
    /// A return, or a jump through a pointer, which always leaves the function.
    Return,
    /// A relative jump: its distance, and the bytes of the instruction.
    Jump(i32, u32),
}

/// Decodes the last instruction.
fn end(code: &[u8]) -> Option<End> {
    match code {
        [0xc3, ..] | [0xc2, _, _, ..] | [0xf3, 0xc3, ..] => Some(End::Return),
        [0xeb, distance, ..] => Some(End::Jump(i32::from(*distance as i8), 2)),
        [0xe9, a, b, c, d, ..] => Some(End::Jump(i32::from_le_bytes([*a, *b, *c, *d]), 5)),
        // jmp [rip + constant]
        [0xff, 0x25, ..] => Some(End::Return),
        // Jumps with a REX.W prefix that has no other use: compilers mark tail calls so, to tell them from switches.
        [rex, 0xff, modrm, ..] if rex & 0xf8 == 0x48 && modrm & 0x38 == 0x20 => Some(End::Return),
        _ => None,
    }
}

/// Whether a jump to `target` leaves the function, all its separated parts included.
fn leaves(mem: &dyn CodeMemory, base: u64, chain: &[(RuntimeFunction, Info)], target: u32) -> bool {
    let Some((own, own_info)) = chain.first() else {
        return false;
    };
    if target == own.begin && own_info.flags & CHAININFO == 0 {
        // A tail call of the function by itself.
        return true;
    }
    if chain.iter().any(|(part, _)| part.contains(target)) {
        return false;
    }
    let there = mem.function_at(base, base.wrapping_add(u64::from(target)));
    let primary =
        there.and_then(|there| Some(info::chain(mem, base, &there).ok()?.last()?.0.begin));
    primary.is_none() || primary != chain.last().map(|(primary, _)| primary.begin)
}
