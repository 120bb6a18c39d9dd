//! Reading UNWIND_INFO.

use ring3_pe::RuntimeFunction;

use super::{CodeMemory, UnwindError};

/// UNW_FLAG_CHAININFO: another function's prologue came before this one.
pub(super) const CHAININFO: u8 = 4;
/// UNW_FLAG_EHANDLER and UNW_FLAG_UHANDLER.
pub(super) const HANDLERS: u8 = 3;
/// Chains longer than this mean that they have no end: compilers write a few links.
const LONGEST_CHAIN: usize = 32;

/// One UNWIND_INFO.
pub(super) struct Info {
    /// Its address.
    va: u64,
    pub(super) flags: u8,
    pub(super) prolog_size: u8,
    /// Frame register; 0 for none.
    pub(super) frame_register: u8,
    /// Distance of the frame register's value from the frame's base, in bytes.
    pub(super) frame_offset: u64,
    /// 1, or 2 with codes for epilogues.
    pub(super) version: u8,
    /// The two-byte slots.
    slots: Vec<u8>,
    /// Address of what follows the codes: the handler, or the chained function.
    pub(super) tail: u64,
}

/// One unwind code.
#[derive(Clone, Copy)]
pub(super) struct Code {
    /// Offset of the end of the prologue's instruction.
    pub(super) at: u8,
    pub(super) operation: Operation,
}

/// What a code says; sizes and offsets in bytes.
#[derive(Clone, Copy)]
pub(super) enum Operation {
    PushNonvol(u8),
    Alloc(u32),
    SetFpreg,
    SaveNonvol(u8, u32),
    SaveXmm128(u8, u32),
    PushMachframe {
        error_code: bool,
    },
    /// Of version 2; `at` has the low eight bits, this the other four.
    Epilog(u8),
}

/// Reads the UNWIND_INFO of a function of the image at `base`.
pub(super) fn read(
    mem: &dyn CodeMemory,
    base: u64,
    function: &RuntimeFunction,
) -> Result<Info, UnwindError> {
    let va = base.wrapping_add(u64::from(function.unwind));
    let mut head = [0; 4];
    if !mem.read(va, &mut head) {
        return Err(UnwindError::Data { va });
    }
    let [first, prolog_size, count, frame] = head;
    let version = first & 7;
    if !matches!(version, 1 | 2) {
        return Err(UnwindError::Version { va, version });
    }
    let mut slots = vec![0; usize::from(count) * 2];
    if !mem.read(va.wrapping_add(4), &mut slots) {
        return Err(UnwindError::Data {
            va: va.wrapping_add(4),
        });
    }
    Ok(Info {
        va,
        flags: first >> 3,
        prolog_size,
        frame_register: frame & 15,
        frame_offset: u64::from(frame >> 4) * 16,
        version,
        slots,
        // The array of codes has an even number of slots.
        tail: va.wrapping_add(4 + u64::from(count).next_multiple_of(2) * 2),
    })
}

/// Follows the loader's indirection: an unwind RVA with bit 0 set leads to another RUNTIME_FUNCTION.
pub(super) fn resolve(
    mem: &dyn CodeMemory,
    base: u64,
    function: &RuntimeFunction,
) -> Result<RuntimeFunction, UnwindError> {
    if function.unwind & 1 == 0 {
        return Ok(*function);
    }
    read_function(mem, base.wrapping_add(u64::from(function.unwind & !1)))
}

/// Reads a RUNTIME_FUNCTION.
pub(super) fn read_function(mem: &dyn CodeMemory, va: u64) -> Result<RuntimeFunction, UnwindError> {
    let mut bytes = [0; 12];
    if !mem.read(va, &mut bytes) {
        return Err(UnwindError::Data { va });
    }
    let [b0, b1, b2, b3, e0, e1, e2, e3, u0, u1, u2, u3] = bytes;
    Ok(RuntimeFunction {
        begin: u32::from_le_bytes([b0, b1, b2, b3]),
        end: u32::from_le_bytes([e0, e1, e2, e3]),
        unwind: u32::from_le_bytes([u0, u1, u2, u3]),
    })
}

/// The function's entry and the entries that its unwind information is chained to, the primary one last.
pub(super) fn chain(
    mem: &dyn CodeMemory,
    base: u64,
    function: &RuntimeFunction,
) -> Result<Vec<(RuntimeFunction, Info)>, UnwindError> {
    let mut links = Vec::new();
    let mut next = resolve(mem, base, function)?;
    loop {
        let info = read(mem, base, &next)?;
        let (flags, tail) = (info.flags, info.tail);
        links.push((next, info));
        if flags & CHAININFO == 0 {
            return Ok(links);
        }
        if links.len() == LONGEST_CHAIN {
            return Err(UnwindError::Chain {
                va: base.wrapping_add(u64::from(function.unwind)),
            });
        }
        let link = read_function(mem, tail)?;
        next = resolve(mem, base, &link)?;
    }
}

impl Info {
    /// The codes, last step of the prologue first.
    pub(super) fn codes(&self) -> Result<Vec<Code>, UnwindError> {
        let (slots, _) = self.slots.as_chunks::<2>();
        let mut slots = slots.iter().copied();
        let mut codes = Vec::new();
        while let Some([at, operation]) = slots.next() {
            let (operation, info) = (operation & 15, operation >> 4);
            let bad = UnwindError::Code {
                va: self.va,
                operation,
            };
            let mut near = || {
                slots
                    .next()
                    .map(|slot| u32::from(u16::from_le_bytes(slot)))
                    .ok_or(bad)
            };
            let mut operand = |scale: u32, far: bool| {
                let low = near()?;
                if far {
                    Ok(low | near()? << 16)
                } else {
                    Ok(low * scale)
                }
            };
            let operation = match operation {
                0 => Operation::PushNonvol(info),
                1 if info <= 1 => Operation::Alloc(operand(8, info == 1)?),
                2 => Operation::Alloc(u32::from(info) * 8 + 8),
                3 => Operation::SetFpreg,
                4 => Operation::SaveNonvol(info, operand(8, false)?),
                5 => Operation::SaveNonvol(info, operand(8, true)?),
                6 if self.version == 2 => Operation::Epilog(info),
                8 => Operation::SaveXmm128(info, operand(16, false)?),
                9 => Operation::SaveXmm128(info, operand(16, true)?),
                10 if info <= 1 => Operation::PushMachframe {
                    error_code: info == 1,
                },
                _ => return Err(bad),
            };
            codes.push(Code { at, operation });
        }
        Ok(codes)
    }
}
