//! Run-down protection with a count for each processor. Documentation: wdm.h, "Run-Down Protection".
//!
//! The structure of the 19041 symbols: the address of the counts, the pool block to free, and how many
//! there are. A reference may be given back on another processor than the one on which it was taken,
//! so that only the sum of all counts says how many references there are.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::pool::Kind;
use super::rundown::{ACTIVE, ONE, note_left, report_over_release, wait_for_last};
use crate::Machine;
use crate::flow::Flow;
use crate::layout::{EX_RUNDOWN_REF, EX_RUNDOWN_REF_CACHE_AWARE};
use crate::machine::finding::Severity;

/// Distance of the counts where there is more than one: a cache line.
const LINE: u32 = 64;

type Aware = Gva<EX_RUNDOWN_REF_CACHE_AWARE>;

/// How many counts there are, and their distance.
fn shape(cx: &Machine) -> (u32, u32) {
    match cx.processors.len() as u32 {
        0 | 1 => (1, EX_RUNDOWN_REF::SIZE as u32),
        n => (n, LINE),
    }
}

/// Bytes of the structure with its counts behind it, wherever it begins.
fn size(cx: &Machine) -> u64 {
    let (number, distance) = shape(cx);
    let slack = if number > 1 { u64::from(LINE) } else { 0 };
    EX_RUNDOWN_REF_CACHE_AWARE::SIZE + slack + u64::from(number) * u64::from(distance)
}

fn counts(cx: &Machine, at: Aware) -> Result<Vec<Gva<EX_RUNDOWN_REF>>, Fault> {
    let first = cx.memory.get(at, EX_RUNDOWN_REF_CACHE_AWARE::RunRefs)?;
    let number = cx.memory.get(at, EX_RUNDOWN_REF_CACHE_AWARE::Number)?;
    let distance = cx.memory.get(at, EX_RUNDOWN_REF_CACHE_AWARE::RunRefSize)?;
    let number = number.min(64);
    Ok((0..number)
        .map(|i| Gva::new(first.raw() + u64::from(i) * u64::from(distance)))
        .collect())
}

/// The count of the current processor.
fn count(cx: &Machine, at: Aware) -> Result<Gva<EX_RUNDOWN_REF>, Fault> {
    let all = counts(cx, at)?;
    let here = all.get(cx.current % all.len().max(1)).or(all.first());
    Ok(here.copied().unwrap_or(Gva::NULL))
}

/// References of all counts together.
fn references(cx: &Machine, at: Aware) -> Result<u64, Fault> {
    let mut sum = 0u64;
    for count in counts(cx, at)? {
        sum = sum.wrapping_add(cx.memory.get(count, EX_RUNDOWN_REF::Count)? & !ACTIVE);
    }
    Ok(sum / ONE)
}

fn set_all(cx: &mut Machine, at: Aware, value: u64) -> Result<(), Fault> {
    for count in counts(cx, at)? {
        cx.memory.set(count, EX_RUNDOWN_REF::Count, value)?;
    }
    Ok(())
}

fn initialize(cx: &mut Machine, at: Aware, bytes: u64, pool: Gva) -> Result<(), Fault> {
    let (number, distance) = shape(cx);
    let mut first = at.raw() + EX_RUNDOWN_REF_CACHE_AWARE::SIZE;
    if number > 1 {
        first = first.next_multiple_of(u64::from(LINE));
    }
    cx.memory.fill(at, bytes, 0)?;
    cx.memory
        .set(at, EX_RUNDOWN_REF_CACHE_AWARE::RunRefs, Gva::new(first))?;
    cx.memory
        .set(at, EX_RUNDOWN_REF_CACHE_AWARE::PoolToFree, pool)?;
    cx.memory
        .set(at, EX_RUNDOWN_REF_CACHE_AWARE::RunRefSize, distance)?;
    cx.memory
        .set(at, EX_RUNDOWN_REF_CACHE_AWARE::Number, number)
}

fn acquire(cx: &mut Machine, at: Aware, by: u32) -> Result<bool, Fault> {
    let count = count(cx, at)?;
    let value = cx.memory.get(count, EX_RUNDOWN_REF::Count)?;
    if value & ACTIVE != 0 {
        return Ok(false);
    }
    let after = value.wrapping_add(ONE.wrapping_mul(u64::from(by)));
    cx.memory.set(count, EX_RUNDOWN_REF::Count, after)?;
    Ok(true)
}

fn release(cx: &mut Machine, at: Aware, by: u32) -> Result<(), Fault> {
    let count = count(cx, at)?;
    let value = cx.memory.get(count, EX_RUNDOWN_REF::Count)?;
    let left = if value & ACTIVE == 0 {
        Some(references(cx, at)?)
    } else {
        cx.ex.rundowns.get(&at.raw()).copied()
    };
    let Some(after) = left.and_then(|left| left.checked_sub(u64::from(by))) else {
        report_over_release(cx, at.raw());
        return Ok(());
    };
    if value & ACTIVE == 0 {
        let after = value.wrapping_sub(ONE.wrapping_mul(u64::from(by)));
        return cx.memory.set(count, EX_RUNDOWN_REF::Count, after);
    }
    note_left(cx, at.raw(), after);
    Ok(())
}

fn wait_for_release(cx: &mut Machine, at: Aware) -> Result<Flow, Fault> {
    let value: u64 = cx.memory.get(count(cx, at)?, EX_RUNDOWN_REF::Count)?;
    if value & ACTIVE == 0 {
        let left: u64 = references(cx, at)?;
        if left > 0 {
            cx.ex.rundowns.insert(at.raw(), left);
        }
        set_all(cx, at, ACTIVE)?;
    }
    Ok(Flow::Become(wait_for_last(at.raw())))
}

/// Routines on cache-aware run-down protection.
pub struct CacheAwareRundowns;

#[exports("ntoskrnl.exe")]
impl CacheAwareRundowns {
    /// Allocates and initialises run-down protection with a count for each processor.
    #[page("wdm/nf-wdm-exallocatecacheawarerundownprotection")]
    #[irql(..=APC_LEVEL)]
    fn ExAllocateCacheAwareRundownProtection(
        cx: &mut Machine,
        PoolType: u32,
        PoolTag: u32,
    ) -> Result<Aware, Fault> {
        let kind = if PoolType & 1 != 0 {
            Kind::Paged
        } else {
            Kind::NonPaged
        };
        let (bytes, owner) = (size(cx), cx.caller);
        let Some(block) = cx.pool_allocate_for(kind, bytes, PoolTag, owner) else {
            return Ok(Gva::NULL);
        };
        initialize(cx, block.cast(), bytes, block.cast())?;
        Ok(block.cast())
    }

    /// Frees what ExAllocateCacheAwareRundownProtection allocated.
    #[page("wdm/nf-wdm-exfreecacheawarerundownprotection")]
    #[irql(..=APC_LEVEL)]
    fn ExFreeCacheAwareRundownProtection(
        cx: &mut Machine,
        RunRefCacheAware: Gva<EX_RUNDOWN_REF_CACHE_AWARE>,
    ) -> Result<(), Fault> {
        let pool = cx
            .memory
            .get(RunRefCacheAware, EX_RUNDOWN_REF_CACHE_AWARE::PoolToFree)?;
        if !cx.pool_free(pool.cast()) {
            let text = format!(
                "{:#x} is no cache-aware run-down protection that was allocated",
                RunRefCacheAware.raw()
            );
            cx.report("rundown/bad-free", Severity::Error, text);
        }
        Ok(())
    }

    /// Bytes that cache-aware run-down protection needs.
    #[page("wdm/nf-wdm-exsizeofrundownprotectioncacheaware")]
    #[irql(..=APC_LEVEL)]
    fn ExSizeOfRundownProtectionCacheAware(cx: &mut Machine) -> u64 {
        size(cx)
    }

    /// Initialises cache-aware run-down protection in memory of the caller's.
    #[page("wdm/nf-wdm-exinitializerundownprotectioncacheaware")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ExInitializeRundownProtectionCacheAware(
        cx: &mut Machine,
        RunRefCacheAware: Gva<EX_RUNDOWN_REF_CACHE_AWARE>,
        RunRefSize: u64,
    ) -> Result<Flow, Fault> {
        if RunRefSize < size(cx) {
            return Ok(Flow::NotModelled(format!(
                "ExInitializeRundownProtectionCacheAware with {RunRefSize} bytes, which is less than \
                 ExSizeOfRundownProtectionCacheAware gives"
            )));
        }
        initialize(cx, RunRefCacheAware, RunRefSize, Gva::NULL)?;
        Ok(Flow::Return(crate::machine::SCRUBBED))
    }

    /// Makes cache-aware run-down protection usable again after a run-down.
    #[page("wdm/nf-wdm-exreinitializerundownprotectioncacheaware")]
    #[irql(..=APC_LEVEL)]
    fn ExReInitializeRundownProtectionCacheAware(
        cx: &mut Machine,
        RunRefCacheAware: Gva<EX_RUNDOWN_REF_CACHE_AWARE>,
    ) -> Result<(), Fault> {
        set_all(cx, RunRefCacheAware, 0)
    }

    /// Tries to keep an object from being run down.
    #[page("wdm/nf-wdm-exacquirerundownprotectioncacheaware")]
    #[irql(..=DISPATCH_LEVEL)]
    fn ExAcquireRundownProtectionCacheAware(
        cx: &mut Machine,
        RunRefCacheAware: Gva<EX_RUNDOWN_REF_CACHE_AWARE>,
    ) -> Result<bool, Fault> {
        acquire(cx, RunRefCacheAware, 1)
    }

    /// Tries to keep an object from being run down, several times.
    #[page("wdm/nf-wdm-exacquirerundownprotectioncacheawareex")]
    #[irql(..=DISPATCH_LEVEL)]
    fn ExAcquireRundownProtectionCacheAwareEx(
        cx: &mut Machine,
        RunRefCacheAware: Gva<EX_RUNDOWN_REF_CACHE_AWARE>,
        Count: u32,
    ) -> Result<bool, Fault> {
        acquire(cx, RunRefCacheAware, Count)
    }

    /// Gives run-down protection back.
    #[page("wdm/nf-wdm-exreleaserundownprotectioncacheaware")]
    #[irql(..=DISPATCH_LEVEL)]
    fn ExReleaseRundownProtectionCacheAware(
        cx: &mut Machine,
        RunRefCacheAware: Gva<EX_RUNDOWN_REF_CACHE_AWARE>,
    ) -> Result<(), Fault> {
        release(cx, RunRefCacheAware, 1)
    }

    /// Gives run-down protection back, several times.
    #[page("wdm/nf-wdm-exreleaserundownprotectioncacheawareex")]
    #[irql(..=DISPATCH_LEVEL)]
    fn ExReleaseRundownProtectionCacheAwareEx(
        cx: &mut Machine,
        RunRefCacheAware: Gva<EX_RUNDOWN_REF_CACHE_AWARE>,
        Count: u32,
    ) -> Result<(), Fault> {
        release(cx, RunRefCacheAware, Count)
    }

    /// Begins a run-down and waits until nobody has protection any more.
    #[page("wdm/nf-wdm-exwaitforrundownprotectionreleasecacheaware")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ExWaitForRundownProtectionReleaseCacheAware(
        cx: &mut Machine,
        RunRefCacheAware: Gva<EX_RUNDOWN_REF_CACHE_AWARE>,
    ) -> Result<Flow, Fault> {
        wait_for_release(cx, RunRefCacheAware)
    }

    /// Marks a run-down as over.
    #[page("wdm/nf-wdm-exrundowncompletedcacheaware")]
    #[irql(..=APC_LEVEL)]
    fn ExRundownCompletedCacheAware(
        cx: &mut Machine,
        RunRefCacheAware: Gva<EX_RUNDOWN_REF_CACHE_AWARE>,
    ) -> Result<(), Fault> {
        set_all(cx, RunRefCacheAware, ACTIVE)
    }
}
