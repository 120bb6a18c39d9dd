//! Bitmaps. Documentation: wdm.h, "RtlInitializeBitMap" and neighbours.
//!
//! The pages name APC_LEVEL for pageable bitmaps only; a resident one may be used at any IRQL, and a
//! page that is not resident is found by the access itself.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::bit_runs::{NOT_FOUND, Runs, find_run};
use crate::Machine;
use crate::layout::RTL_BITMAP;

/// Bytes read at a time, so that a wild size faults before much is read.
const CHUNK: u64 = 4096;

fn size(cx: &Machine, map: Gva<RTL_BITMAP>) -> Result<u64, Fault> {
    Ok(u64::from(cx.memory.get(map, RTL_BITMAP::SizeOfBitMap)?))
}

/// The bits, one `bool` each.
fn load(cx: &Machine, map: Gva<RTL_BITMAP>) -> Result<Vec<bool>, Fault> {
    let count = size(cx, map)?;
    let buffer = cx.memory.get(map, RTL_BITMAP::Buffer)?.cast::<u8>();
    let mut bits = Vec::new();
    let bytes = count.div_ceil(8);
    let mut at = 0;
    while at < bytes {
        let part = cx
            .memory
            .read_vec(buffer.byte_add(at), CHUNK.min(bytes - at))?;
        bits.extend(
            part.iter()
                .flat_map(|byte| (0..8).map(move |i| byte >> i & 1 != 0)),
        );
        at += CHUNK;
    }
    bits.truncate(count as usize);
    Ok(bits)
}

/// Sets bits from `start` on to `value`, as far as the bitmap reaches.
fn store(
    cx: &mut Machine,
    map: Gva<RTL_BITMAP>,
    start: u64,
    count: u64,
    value: bool,
) -> Result<(), Fault> {
    let end = size(cx, map)?.min(start.saturating_add(count));
    let buffer = cx.memory.get(map, RTL_BITMAP::Buffer)?.cast::<u8>();
    let mut at = start;
    while at < end {
        let byte = buffer.byte_add(at / 8);
        let inside = (8 - at % 8).min(end - at);
        let mask = ((0xff_u16 >> (8 - inside)) << (at % 8)) as u8;
        let old: u8 = cx.memory.read(byte)?;
        cx.memory
            .write(byte, if value { old | mask } else { old & !mask })?;
        at += inside;
    }
    Ok(())
}

/// Sets whole words, padding bits included.
fn fill(cx: &mut Machine, map: Gva<RTL_BITMAP>, value: u8) -> Result<(), Fault> {
    let bytes = size(cx, map)?.div_ceil(32) * 4;
    let buffer = cx.memory.get(map, RTL_BITMAP::Buffer)?;
    cx.memory.fill(buffer, bytes, value)
}

/// Whether a range lies in the bitmap and all its bits have the value.
fn all(
    cx: &Machine,
    map: Gva<RTL_BITMAP>,
    start: u32,
    count: u32,
    value: bool,
) -> Result<bool, Fault> {
    let (start, count) = (u64::from(start), u64::from(count));
    if count == 0 || start + count > size(cx, map)? {
        return Ok(false);
    }
    let buffer = cx.memory.get(map, RTL_BITMAP::Buffer)?.cast::<u8>();
    for at in start..start + count {
        let byte: u8 = cx.memory.read(buffer.byte_add(at / 8))?;
        if (byte >> (at % 8) & 1 != 0) != value {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The first run of `count` bits of `value`: from the hint on, then from the start.
fn find(
    cx: &Machine,
    map: Gva<RTL_BITMAP>,
    count: u32,
    hint: u32,
    value: bool,
) -> Result<u32, Fault> {
    if count == 0 {
        return Ok(hint & !7);
    }
    Ok(find_run(
        &load(cx, map)?,
        value,
        count as usize,
        hint as usize,
    ))
}

fn find_and_set(
    cx: &mut Machine,
    map: Gva<RTL_BITMAP>,
    count: u32,
    hint: u32,
    value: bool,
) -> Result<u32, Fault> {
    let at = find(cx, map, count, hint, value)?;
    if at != NOT_FOUND {
        store(cx, map, u64::from(at), u64::from(count), !value)?;
    }
    Ok(at)
}

/// Writes where a run starts; gives its length.
fn give_run(
    cx: &mut Machine,
    run: Option<(usize, usize)>,
    start: Gva<u32>,
    otherwise: u32,
) -> Result<u32, Fault> {
    let (at, length) = run.map_or((otherwise, 0), |(at, length)| (at as u32, length as u32));
    cx.memory.write(start, at)?;
    Ok(length)
}

/// Routines on bitmaps.
pub struct Bitmaps;

#[exports("ntoskrnl.exe")]
impl Bitmaps {
    /// Describes a buffer as a bitmap.
    #[page("wdm/nf-wdm-rtlinitializebitmap")]
    #[irql(any)]
    fn RtlInitializeBitMap(
        cx: &mut Machine,
        BitMapHeader: Gva<RTL_BITMAP>,
        BitMapBuffer: Gva<u32>,
        SizeOfBitMap: u32,
    ) -> Result<(), Fault> {
        cx.memory
            .set(BitMapHeader, RTL_BITMAP::SizeOfBitMap, SizeOfBitMap)?;
        cx.memory
            .set(BitMapHeader, RTL_BITMAP::Buffer, BitMapBuffer)
    }

    /// Clears all bits.
    #[page("wdm/nf-wdm-rtlclearallbits")]
    #[irql(any)]
    fn RtlClearAllBits(cx: &mut Machine, BitMapHeader: Gva<RTL_BITMAP>) -> Result<(), Fault> {
        fill(cx, BitMapHeader, 0)
    }

    /// Sets all bits.
    #[page("wdm/nf-wdm-rtlsetallbits")]
    #[irql(any)]
    fn RtlSetAllBits(cx: &mut Machine, BitMapHeader: Gva<RTL_BITMAP>) -> Result<(), Fault> {
        fill(cx, BitMapHeader, 0xff)
    }

    /// Clears a bit.
    #[page("wdm/nf-wdm-rtlclearbit")]
    #[irql(any)]
    fn RtlClearBit(
        cx: &mut Machine,
        BitMapHeader: Gva<RTL_BITMAP>,
        BitNumber: u32,
    ) -> Result<(), Fault> {
        store(cx, BitMapHeader, u64::from(BitNumber), 1, false)
    }

    /// Sets a bit.
    #[page("wdm/nf-wdm-rtlsetbit")]
    #[irql(any)]
    fn RtlSetBit(
        cx: &mut Machine,
        BitMapHeader: Gva<RTL_BITMAP>,
        BitNumber: u32,
    ) -> Result<(), Fault> {
        store(cx, BitMapHeader, u64::from(BitNumber), 1, true)
    }

    /// The value of a bit.
    #[page("wdm/nf-wdm-rtltestbit")]
    #[irql(any)]
    fn RtlTestBit(
        cx: &mut Machine,
        BitMapHeader: Gva<RTL_BITMAP>,
        BitNumber: u32,
    ) -> Result<bool, Fault> {
        all(cx, BitMapHeader, BitNumber, 1, true)
    }

    /// Clears a range of bits.
    #[page("wdm/nf-wdm-rtlclearbits")]
    #[irql(any)]
    fn RtlClearBits(
        cx: &mut Machine,
        BitMapHeader: Gva<RTL_BITMAP>,
        StartingIndex: u32,
        NumberToClear: u32,
    ) -> Result<(), Fault> {
        store(
            cx,
            BitMapHeader,
            u64::from(StartingIndex),
            u64::from(NumberToClear),
            false,
        )
    }

    /// Sets a range of bits.
    #[page("wdm/nf-wdm-rtlsetbits")]
    #[irql(any)]
    fn RtlSetBits(
        cx: &mut Machine,
        BitMapHeader: Gva<RTL_BITMAP>,
        StartingIndex: u32,
        NumberToSet: u32,
    ) -> Result<(), Fault> {
        store(
            cx,
            BitMapHeader,
            u64::from(StartingIndex),
            u64::from(NumberToSet),
            true,
        )
    }

    /// TRUE if all bits of a range are clear.
    #[page("wdm/nf-wdm-rtlarebitsclear")]
    #[irql(any)]
    fn RtlAreBitsClear(
        cx: &mut Machine,
        BitMapHeader: Gva<RTL_BITMAP>,
        StartingIndex: u32,
        Length: u32,
    ) -> Result<bool, Fault> {
        all(cx, BitMapHeader, StartingIndex, Length, false)
    }

    /// TRUE if all bits of a range are set.
    #[page("wdm/nf-wdm-rtlarebitsset")]
    #[irql(any)]
    fn RtlAreBitsSet(
        cx: &mut Machine,
        BitMapHeader: Gva<RTL_BITMAP>,
        StartingIndex: u32,
        Length: u32,
    ) -> Result<bool, Fault> {
        all(cx, BitMapHeader, StartingIndex, Length, true)
    }

    /// Finds a run of clear bits; FFFFFFFFh if there is none.
    #[page("wdm/nf-wdm-rtlfindclearbits")]
    #[irql(any)]
    fn RtlFindClearBits(
        cx: &mut Machine,
        BitMapHeader: Gva<RTL_BITMAP>,
        NumberToFind: u32,
        HintIndex: u32,
    ) -> Result<u32, Fault> {
        find(cx, BitMapHeader, NumberToFind, HintIndex, false)
    }

    /// Finds a run of set bits; FFFFFFFFh if there is none.
    #[page("wdm/nf-wdm-rtlfindsetbits")]
    #[irql(any)]
    fn RtlFindSetBits(
        cx: &mut Machine,
        BitMapHeader: Gva<RTL_BITMAP>,
        NumberToFind: u32,
        HintIndex: u32,
    ) -> Result<u32, Fault> {
        find(cx, BitMapHeader, NumberToFind, HintIndex, true)
    }

    /// Finds a run of clear bits and sets it.
    #[page("wdm/nf-wdm-rtlfindclearbitsandset")]
    #[irql(any)]
    fn RtlFindClearBitsAndSet(
        cx: &mut Machine,
        BitMapHeader: Gva<RTL_BITMAP>,
        NumberToFind: u32,
        HintIndex: u32,
    ) -> Result<u32, Fault> {
        find_and_set(cx, BitMapHeader, NumberToFind, HintIndex, false)
    }

    /// Finds a run of set bits and clears it.
    #[page("wdm/nf-wdm-rtlfindsetbitsandclear")]
    #[irql(any)]
    fn RtlFindSetBitsAndClear(
        cx: &mut Machine,
        BitMapHeader: Gva<RTL_BITMAP>,
        NumberToFind: u32,
        HintIndex: u32,
    ) -> Result<u32, Fault> {
        find_and_set(cx, BitMapHeader, NumberToFind, HintIndex, true)
    }

    /// Counts clear bits.
    #[page("wdm/nf-wdm-rtlnumberofclearbits")]
    #[irql(any)]
    fn RtlNumberOfClearBits(cx: &mut Machine, BitMapHeader: Gva<RTL_BITMAP>) -> Result<u32, Fault> {
        Ok(load(cx, BitMapHeader)?.iter().filter(|b| !**b).count() as u32)
    }

    /// Counts set bits.
    #[page("wdm/nf-wdm-rtlnumberofsetbits")]
    #[irql(any)]
    fn RtlNumberOfSetBits(cx: &mut Machine, BitMapHeader: Gva<RTL_BITMAP>) -> Result<u32, Fault> {
        Ok(load(cx, BitMapHeader)?.iter().filter(|b| **b).count() as u32)
    }

    /// Counts the set bits of a number.
    #[page("wdm/nf-wdm-rtlnumberofsetbitsulongptr")]
    #[irql(any)]
    fn RtlNumberOfSetBitsUlongPtr(cx: &mut Machine, Target: u64) -> u32 {
        let _ = &cx;
        Target.count_ones()
    }

    /// The longest run of clear bits: where it starts, and its length.
    #[page("wdm/nf-wdm-rtlfindlongestrunclear")]
    #[irql(any)]
    fn RtlFindLongestRunClear(
        cx: &mut Machine,
        BitMapHeader: Gva<RTL_BITMAP>,
        StartingIndex: Gva<u32>,
    ) -> Result<u32, Fault> {
        let bits = load(cx, BitMapHeader)?;
        // The first of several of the same length.
        let longest =
            Runs::of(&bits, false).reduce(|best, run| if run.1 > best.1 { run } else { best });
        give_run(cx, longest, StartingIndex, NOT_FOUND)
    }

    /// The first run of clear bits.
    #[page("wdm/nf-wdm-rtlfindfirstrunclear")]
    #[irql(any)]
    fn RtlFindFirstRunClear(
        cx: &mut Machine,
        BitMapHeader: Gva<RTL_BITMAP>,
        StartingIndex: Gva<u32>,
    ) -> Result<u32, Fault> {
        let bits = load(cx, BitMapHeader)?;
        give_run(
            cx,
            Runs::of(&bits, false).next(),
            StartingIndex,
            bits.len() as u32,
        )
    }

    /// The first run of clear bits at or after a place.
    #[page("wdm/nf-wdm-rtlfindnextforwardrunclear")]
    #[irql(any)]
    fn RtlFindNextForwardRunClear(
        cx: &mut Machine,
        BitMapHeader: Gva<RTL_BITMAP>,
        FromIndex: u32,
        StartingRunIndex: Gva<u32>,
    ) -> Result<u32, Fault> {
        let bits = load(cx, BitMapHeader)?;
        let run = Runs::from(&bits, false, FromIndex as usize).next();
        give_run(cx, run, StartingRunIndex, bits.len() as u32)
    }

    /// The last run of clear bits at or before a place.
    #[page("wdm/nf-wdm-rtlfindlastbackwardrunclear")]
    #[irql(any)]
    fn RtlFindLastBackwardRunClear(
        cx: &mut Machine,
        BitMapHeader: Gva<RTL_BITMAP>,
        FromIndex: u32,
        StartingRunIndex: Gva<u32>,
    ) -> Result<u32, Fault> {
        let mut bits = load(cx, BitMapHeader)?;
        bits.truncate((FromIndex as usize).saturating_add(1));
        give_run(
            cx,
            Runs::of(&bits, false).last(),
            StartingRunIndex,
            FromIndex,
        )
    }

    /// Finds runs of clear bits: the first ones, or the longest ones in falling order.
    #[page("wdm/nf-wdm-rtlfindclearruns")]
    #[irql(any)]
    fn RtlFindClearRuns(
        cx: &mut Machine,
        BitMapHeader: Gva<RTL_BITMAP>,
        RunArray: Gva<u32>,
        SizeOfRunArray: u32,
        LocateLongestRuns: bool,
    ) -> Result<u32, Fault> {
        let bits = load(cx, BitMapHeader)?;
        let mut runs: Vec<(usize, usize)> = Runs::of(&bits, false).collect();
        if LocateLongestRuns {
            runs.sort_by_key(|(_, length)| std::cmp::Reverse(*length));
        }
        runs.truncate(SizeOfRunArray as usize);
        // RTL_BITMAP_RUN: StartingIndex, NumberOfBits.
        for (i, (at, length)) in runs.iter().enumerate() {
            let slot = RunArray.add(2 * i as u64);
            cx.memory.write(slot, *at as u32)?;
            cx.memory.write(slot.add(1), *length as u32)?;
        }
        Ok(runs.len() as u32)
    }

    /// The highest set bit of a number; -1 if there is none.
    #[page("wdm/nf-wdm-rtlfindmostsignificantbit")]
    #[irql(any)]
    fn RtlFindMostSignificantBit(cx: &mut Machine, Set: u64) -> i8 {
        let _ = &cx;
        63 - Set.leading_zeros() as i8
    }

    /// The lowest set bit of a number; -1 if there is none.
    #[page("wdm/nf-wdm-rtlfindleastsignificantbit")]
    #[irql(any)]
    fn RtlFindLeastSignificantBit(cx: &mut Machine, Set: u64) -> i8 {
        let _ = &cx;
        if Set == 0 {
            -1
        } else {
            Set.trailing_zeros() as i8
        }
    }
}
