//! Lookaside lists. Documentation: wdm.h, "Using Lookaside Lists".
//!
//! Allocating from a list and freeing to it is inline code of wdm.h: it pops or pushes on the list
//! head, counts, and calls the routines whose addresses stand in the list. So those are addresses
//! of guest code even for the defaults.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use super::slist;
use crate::Machine;
use crate::export::argument::Code;
use crate::flow::Flow;
use crate::layout::{
    GENERAL_LOOKASIDE, LOOKASIDE_LIST_EX, NPAGED_LOOKASIDE_LIST, PAGED_LOOKASIDE_LIST,
};
use crate::machine::finding::Severity;
use crate::ntstatus::{
    NTSTATUS, STATUS_INVALID_PARAMETER_4, STATUS_INVALID_PARAMETER_5, STATUS_SUCCESS,
};

/// Entries that a fresh list keeps, and that a list keeps at most: `ExMinimumLookasideDepth` and the
/// default of `MaximumDepth`. The balance set manager that tunes the depth is not modelled.
const MINIMUM_DEPTH: u16 = 4;
const MAXIMUM_DEPTH: u16 = 256;
/// A free block holds the link of the list.
const SMALLEST: u64 = 8;
/// `NonPagedPool`, `PagedPool`, `POOL_QUOTA_FAIL_INSTEAD_OF_RAISE`, `POOL_RAISE_IF_ALLOCATION_FAILURE`.
const NON_PAGED: u32 = 0;
const PAGED: u32 = 1;
const FAIL_NO_RAISE: u32 = 8;
const RAISE: u32 = 16;
/// `POOL_NX_ALLOCATION`: the initialisation routines take it as a flag.
const NX: u32 = 512;
/// `EX_LOOKASIDE_LIST_EX_FLAGS_RAISE_ON_FAIL`, `.._FAIL_NO_RAISE`.
const EX_RAISE_ON_FAIL: u32 = 1;
const EX_FAIL_NO_RAISE: u32 = 2;

struct Settings {
    pool_type: u32,
    tag: u32,
    size: u64,
    allocate: Gva<Code>,
    free: Gva<Code>,
}

fn initialize(
    cx: &mut Machine,
    list: Gva<GENERAL_LOOKASIDE>,
    bytes: u64,
    with: &Settings,
) -> Result<(), Fault> {
    cx.memory.fill(list, bytes, 0)?;
    cx.memory
        .set(list, GENERAL_LOOKASIDE::Depth, MINIMUM_DEPTH)?;
    cx.memory
        .set(list, GENERAL_LOOKASIDE::MaximumDepth, MAXIMUM_DEPTH)?;
    cx.memory
        .set(list, GENERAL_LOOKASIDE::Type, with.pool_type as i32)?;
    cx.memory.set(list, GENERAL_LOOKASIDE::Tag, with.tag)?;
    cx.memory.set(
        list,
        GENERAL_LOOKASIDE::Size,
        with.size.max(SMALLEST) as u32,
    )?;
    let or = |given: Gva<Code>, cx: &Machine, default: &str| {
        if given.is_null() {
            cx.export_address("ntoskrnl.exe", default)
                .unwrap_or(Gva::NULL)
                .cast()
        } else {
            given
        }
    };
    let allocate = or(with.allocate, cx, "ExAllocatePoolWithTag");
    let free = or(with.free, cx, "ExFreePool");
    cx.memory.set(list, GENERAL_LOOKASIDE::Allocate, allocate)?;
    cx.memory.set(list, GENERAL_LOOKASIDE::Free, free)?;
    let owner = cx.caller;
    if cx.ex.lookaside_lists.insert(list.raw(), owner).is_some() {
        let text = format!(
            "the lookaside list {:#x} is initialised again without having been deleted",
            list.raw()
        );
        cx.report("lookaside/initialised-twice", Severity::Error, text);
    }
    Ok(())
}

/// Frees all entries that a list keeps.
#[resumable]
fn flush(cx: &mut Machine, list: Gva<GENERAL_LOOKASIDE>, extended: bool) -> Result<(), Fault> {
    loop {
        let entry: u64 = slist::pop(cx, list.at(GENERAL_LOOKASIDE::ListHead))?.raw();
        if entry == 0 {
            break;
        }
        let free: u64 = cx.memory.get(list, GENERAL_LOOKASIDE::Free)?.raw();
        // A routine of LOOKASIDE_LIST_EX gets the list too; the others ignore the second register.
        call!(free, entry, if extended { list.raw() } else { 0 });
    }
    Ok(())
}

/// Takes an entry of a list, or a fresh block.
#[resumable]
fn allocate(cx: &mut Machine, list: Gva<GENERAL_LOOKASIDE>) -> Result<u64, Fault> {
    let total = cx.memory.get(list, GENERAL_LOOKASIDE::TotalAllocates)?;
    cx.memory.set(
        list,
        GENERAL_LOOKASIDE::TotalAllocates,
        total.wrapping_add(1),
    )?;
    let entry = slist::pop(cx, list.at(GENERAL_LOOKASIDE::ListHead))?;
    if !entry.is_null() {
        return Ok(entry.raw());
    }
    let misses = cx.memory.get(list, GENERAL_LOOKASIDE::AllocateMisses)?;
    cx.memory.set(
        list,
        GENERAL_LOOKASIDE::AllocateMisses,
        misses.wrapping_add(1),
    )?;
    let routine: u64 = cx.memory.get(list, GENERAL_LOOKASIDE::Allocate)?.raw();
    let pool_type: i32 = cx.memory.get(list, GENERAL_LOOKASIDE::Type)?;
    let size: u32 = cx.memory.get(list, GENERAL_LOOKASIDE::Size)?;
    let tag: u32 = cx.memory.get(list, GENERAL_LOOKASIDE::Tag)?;
    let block: u64 = call!(routine, pool_type as u32, u64::from(size), tag);
    Ok(block)
}

/// Gives an entry back to a list, or frees it if the list is full.
#[resumable]
fn free(cx: &mut Machine, list: Gva<GENERAL_LOOKASIDE>, entry: Gva) -> Result<(), Fault> {
    let total = cx.memory.get(list, GENERAL_LOOKASIDE::TotalFrees)?;
    cx.memory
        .set(list, GENERAL_LOOKASIDE::TotalFrees, total.wrapping_add(1))?;
    let head = list.at(GENERAL_LOOKASIDE::ListHead);
    if slist::depth(cx, head)? < cx.memory.get(list, GENERAL_LOOKASIDE::Depth)? {
        slist::push(cx, head, entry.cast())?;
        return Ok(());
    }
    let misses = cx.memory.get(list, GENERAL_LOOKASIDE::FreeMisses)?;
    cx.memory
        .set(list, GENERAL_LOOKASIDE::FreeMisses, misses.wrapping_add(1))?;
    let routine: u64 = cx.memory.get(list, GENERAL_LOOKASIDE::Free)?.raw();
    call!(routine, entry);
    Ok(())
}

fn forget(cx: &mut Machine, list: u64) {
    if cx.ex.lookaside_lists.remove(&list).is_none() {
        let text = format!(
            "the lookaside list {list:#x} is deleted but was not initialised, or was deleted before"
        );
        cx.report("lookaside/not-initialised", Severity::Error, text);
    }
}

/// Reports the lists that code of this image initialised and did not delete.
pub fn report_left(cx: &mut Machine, base: u64, size: u32) {
    let left: Vec<(u64, u64)> = cx
        .ex
        .lookaside_lists
        .iter()
        .map(|(list, owner)| (*list, *owner))
        .filter(|(_, owner)| *owner >= base && owner - base < u64::from(size))
        .collect();
    for (list, owner) in left {
        cx.ex.lookaside_lists.remove(&list);
        let text = format!("the lookaside list {list:#x} was not deleted before unload");
        cx.report_at(
            "lookaside/left",
            Severity::Error,
            text,
            owner.wrapping_sub(1),
        );
    }
}

/// Routines on lookaside lists.
pub struct LookasideLists;

#[exports("ntoskrnl.exe")]
impl LookasideLists {
    /// Makes a lookaside list of nonpaged blocks.
    #[page("wdm/nf-wdm-exinitializenpagedlookasidelist")]
    #[irql(..=DISPATCH_LEVEL)]
    #[partial("the depth stays at its minimum")]
    fn ExInitializeNPagedLookasideList(
        cx: &mut Machine,
        Lookaside: Gva<NPAGED_LOOKASIDE_LIST>,
        Allocate: Gva<Code>,
        Free: Gva<Code>,
        Flags: u32,
        Size: u64,
        Tag: u32,
        Depth: u16,
    ) -> Result<(), Fault> {
        let _ = Depth;
        let pool_type = NON_PAGED | Flags & (NX | RAISE);
        let with = Settings {
            pool_type,
            tag: Tag,
            size: Size,
            allocate: Allocate,
            free: Free,
        };
        initialize(cx, Lookaside.cast(), NPAGED_LOOKASIDE_LIST::SIZE, &with)
    }

    /// Makes a lookaside list of paged blocks.
    #[page("wdm/nf-wdm-exinitializepagedlookasidelist")]
    #[irql(..=APC_LEVEL)]
    #[partial("the depth stays at its minimum")]
    fn ExInitializePagedLookasideList(
        cx: &mut Machine,
        Lookaside: Gva<PAGED_LOOKASIDE_LIST>,
        Allocate: Gva<Code>,
        Free: Gva<Code>,
        Flags: u32,
        Size: u64,
        Tag: u32,
        Depth: u16,
    ) -> Result<(), Fault> {
        let _ = Depth;
        let pool_type = PAGED | Flags & RAISE;
        let with = Settings {
            pool_type,
            tag: Tag,
            size: Size,
            allocate: Allocate,
            free: Free,
        };
        initialize(cx, Lookaside.cast(), PAGED_LOOKASIDE_LIST::SIZE, &with)
    }

    /// Makes a lookaside list whose routines get the list itself.
    #[page("wdm/nf-wdm-exinitializelookasidelistex")]
    #[irql(..=DISPATCH_LEVEL)]
    #[partial("the depth stays at its minimum")]
    fn ExInitializeLookasideListEx(
        cx: &mut Machine,
        Lookaside: Gva<LOOKASIDE_LIST_EX>,
        Allocate: Gva<Code>,
        Free: Gva<Code>,
        PoolType: u32,
        Flags: u32,
        Size: u64,
        Tag: u32,
        Depth: u16,
    ) -> Result<NTSTATUS, Fault> {
        let _ = Depth;
        if PoolType & !(PAGED | NX) != 0 {
            return Ok(STATUS_INVALID_PARAMETER_4);
        }
        if Flags & !(EX_RAISE_ON_FAIL | EX_FAIL_NO_RAISE) != 0
            || Flags == EX_RAISE_ON_FAIL | EX_FAIL_NO_RAISE
        {
            return Ok(STATUS_INVALID_PARAMETER_5);
        }
        let mut pool_type = PoolType;
        if Flags & EX_RAISE_ON_FAIL != 0 {
            pool_type |= RAISE;
        }
        if Flags & EX_FAIL_NO_RAISE != 0 {
            pool_type |= FAIL_NO_RAISE;
        }
        let with = Settings {
            pool_type,
            tag: Tag,
            size: Size,
            allocate: Allocate,
            free: Free,
        };
        initialize(cx, Lookaside.cast(), LOOKASIDE_LIST_EX::SIZE, &with)?;
        Ok(STATUS_SUCCESS)
    }

    /// Frees the entries of a lookaside list; the list must not be used any more.
    #[page("wdm/nf-wdm-exdeletenpagedlookasidelist")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(())]
    fn ExDeleteNPagedLookasideList(
        cx: &mut Machine,
        Lookaside: Gva<NPAGED_LOOKASIDE_LIST>,
    ) -> Flow {
        forget(cx, Lookaside.raw());
        Flow::Become(flush(Lookaside.cast(), false))
    }

    /// Frees the entries of a paged lookaside list; the list must not be used any more.
    #[page("wdm/nf-wdm-exdeletepagedlookasidelist")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ExDeletePagedLookasideList(cx: &mut Machine, Lookaside: Gva<PAGED_LOOKASIDE_LIST>) -> Flow {
        forget(cx, Lookaside.raw());
        Flow::Become(flush(Lookaside.cast(), false))
    }

    /// Frees the entries of a lookaside list; the list must not be used any more.
    #[page("wdm/nf-wdm-exdeletelookasidelistex")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(())]
    fn ExDeleteLookasideListEx(cx: &mut Machine, Lookaside: Gva<LOOKASIDE_LIST_EX>) -> Flow {
        forget(cx, Lookaside.raw());
        Flow::Become(flush(Lookaside.cast(), true))
    }

    /// Frees the entries of a lookaside list, which stays usable.
    #[page("wdm/nf-wdm-exflushlookasidelistex")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(())]
    fn ExFlushLookasideListEx(cx: &mut Machine, Lookaside: Gva<LOOKASIDE_LIST_EX>) -> Flow {
        let _ = &cx;
        Flow::Become(flush(Lookaside.cast(), true))
    }

    /// Takes an entry of a lookaside list, or allocates one.
    #[page("wdm/nf-wdm-exallocatefromnpagedlookasidelist")]
    #[irql(..=DISPATCH_LEVEL)]
    #[alias("ExAllocateFromPagedLookasideList")]
    #[returns(Gva)]
    fn ExAllocateFromNPagedLookasideList(
        cx: &mut Machine,
        Lookaside: Gva<NPAGED_LOOKASIDE_LIST>,
    ) -> Flow {
        let _ = &cx;
        Flow::Become(allocate(Lookaside.cast()))
    }

    /// Gives an entry back to a lookaside list.
    #[page("wdm/nf-wdm-exfreetonpagedlookasidelist")]
    #[irql(..=DISPATCH_LEVEL)]
    #[alias("ExFreeToPagedLookasideList")]
    #[returns(())]
    fn ExFreeToNPagedLookasideList(
        cx: &mut Machine,
        Lookaside: Gva<NPAGED_LOOKASIDE_LIST>,
        Entry: Gva,
    ) -> Flow {
        let _ = &cx;
        Flow::Become(free(Lookaside.cast(), Entry))
    }
}
