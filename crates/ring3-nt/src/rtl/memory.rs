//! Moving, filling and comparing memory. Documentation: wdm.h; the C library.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;

/// Largest piece compared at a time, so that a wild length costs the host no memory.
const PIECE: u64 = 4096;

/// How many bytes are equal from the start on, and how the first unequal ones compare.
///
/// # Errors
/// A fault where one of them cannot be read.
pub fn compare(
    cx: &Machine,
    a: Gva,
    b: Gva,
    length: u64,
) -> Result<(u64, std::cmp::Ordering), Fault> {
    let mut done = 0;
    while done < length {
        let piece = (length - done).min(PIECE);
        let left = cx.memory.read_vec(a.byte_add(done), piece)?;
        let right = cx.memory.read_vec(b.byte_add(done), piece)?;
        if let Some(at) = left.iter().zip(&right).position(|(x, y)| x != y) {
            return Ok((done + at as u64, left[at].cmp(&right[at])));
        }
        done += piece;
    }
    Ok((length, std::cmp::Ordering::Equal))
}

/// Memory routines.
pub struct MemoryRoutines;

#[exports("ntoskrnl.exe")]
impl MemoryRoutines {
    /// Copies bytes.
    #[page("")]
    #[irql(any)]
    #[alias(
        "memmove",
        "RtlMoveMemory",
        "RtlCopyMemory",
        "RtlCopyMemoryNonTemporal"
    )]
    fn memcpy(cx: &mut Machine, dest: Gva, src: Gva, count: u64) -> Result<Gva, Fault> {
        cx.memory.copy(dest, src, count)?;
        Ok(dest)
    }

    /// Fills bytes.
    #[page("")]
    #[irql(any)]
    fn memset(cx: &mut Machine, dest: Gva, c: i32, count: u64) -> Result<Gva, Fault> {
        cx.memory.fill(dest, count, c as u8)?;
        Ok(dest)
    }

    /// Fills bytes.
    #[page("wdm/nf-wdm-rtlfillmemory")]
    #[irql(any)]
    fn RtlFillMemory(
        cx: &mut Machine,
        Destination: Gva,
        Length: u64,
        Fill: i32,
    ) -> Result<(), Fault> {
        cx.memory.fill(Destination, Length, Fill as u8)
    }

    /// Zeroes bytes.
    #[page("wdm/nf-wdm-rtlzeromemory")]
    #[irql(any)]
    fn RtlZeroMemory(cx: &mut Machine, Destination: Gva, Length: u64) -> Result<(), Fault> {
        cx.memory.fill(Destination, Length, 0)
    }

    /// Compares bytes.
    #[page("")]
    #[irql(any)]
    fn memcmp(cx: &mut Machine, buf1: Gva, buf2: Gva, count: u64) -> Result<i32, Fault> {
        Ok(compare(cx, buf1, buf2, count)?.1 as i32)
    }

    /// How many bytes are equal from the start on.
    #[page("wdm/nf-wdm-rtlcomparememory")]
    #[irql(any)]
    fn RtlCompareMemory(
        cx: &mut Machine,
        Source1: Gva,
        Source2: Gva,
        Length: u64,
    ) -> Result<u64, Fault> {
        Ok(compare(cx, Source1, Source2, Length)?.0)
    }
}
