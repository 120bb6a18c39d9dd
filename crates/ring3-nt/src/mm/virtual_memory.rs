//! Private memory of processes: ZwAllocateVirtualMemory and its neighbours. Documentation: ntifs.h.

use std::collections::BTreeMap;

use ring3_macros::exports;
use ring3_memory::{Fault, Gva, PageFlags};

use super::locked::release_frame;
use super::secure::is_secured;
use super::space::{PAGE, data};
use crate::Machine;
use crate::flow::Flow;
use crate::machine::thread::ProcessId;
use crate::ntstatus::{
    NTSTATUS, STATUS_CONFLICTING_ADDRESSES, STATUS_FREE_VM_NOT_AT_BASE,
    STATUS_INFO_LENGTH_MISMATCH, STATUS_INVALID_PAGE_PROTECTION, STATUS_INVALID_PARAMETER,
    STATUS_INVALID_PARAMETER_2, STATUS_INVALID_PARAMETER_4, STATUS_INVALID_PARAMETER_5,
    STATUS_MEMORY_NOT_ALLOCATED, STATUS_NO_MEMORY, STATUS_NOT_COMMITTED, STATUS_SUCCESS,
    STATUS_UNABLE_TO_FREE_VM,
};

/// Reservations start at multiples of this.
pub const GRANULARITY: u64 = 0x1_0000;
/// Where the search for free addresses begins, in 64-bit and 32-bit processes: our choice.
const FIRST_64: u64 = 0x0000_0200_0000_0000;
const FIRST_32: u64 = 0x2000_0000;
/// The end of user space of a 32-bit process.
const END_32: u64 = 0x7ffe_0000;
/// Pages of one allocation at most: more than any machine here has.
const MOST_PAGES: u64 = 1 << 24;

const MEM_COMMIT: u32 = 0x1000;
const MEM_RESERVE: u32 = 0x2000;
const MEM_DECOMMIT: u32 = 0x4000;
const MEM_RELEASE: u32 = 0x8000;
const MEM_FREE: u32 = 0x1_0000;
const MEM_PRIVATE: u32 = 0x2_0000;
const MEM_MAPPED: u32 = 0x4_0000;
const MEM_TOP_DOWN: u32 = 0x10_0000;

/// A reserved range.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct Range {
    /// Pages.
    pub pages: u64,
    /// Protection it was reserved with.
    pub protect: u32,
    /// Protection of the pages that are committed, by number.
    pub committed: BTreeMap<u64, u32>,
}

/// The page flags of a protection; `None` for what is no protection. PAGE_NOACCESS gives a page that is not
/// present.
#[must_use]
pub fn page_flags(protect: u32) -> Option<PageFlags> {
    let base = (data() | PageFlags::USER) - PageFlags::GLOBAL;
    Some(match protect & 0xff {
        1 => base - PageFlags::PRESENT,
        2 => base - PageFlags::WRITE,
        4 => base,
        0x10 | 0x20 => (base - PageFlags::WRITE) - PageFlags::NX,
        0x40 => base - PageFlags::NX,
        _ => return None,
    })
}

/// Where user addresses of a process end.
#[must_use]
pub fn end_of_user(cx: &Machine, process: ProcessId) -> u64 {
    if cx.is_wow64(process) {
        END_32
    } else {
        cx.build.user_probe_address
    }
}

/// Whether nothing is reserved or mapped in a range of user addresses.
#[must_use]
pub fn is_free(cx: &Machine, process: ProcessId, at: u64, pages: u64) -> bool {
    let Some(end) = pages.checked_mul(PAGE).and_then(|n| at.checked_add(n)) else {
        return false;
    };
    if at == 0 || end > end_of_user(cx, process) {
        return false;
    }
    let reserved = cx.mm.private.range((process, 0)..(process, end));
    if reserved
        .into_iter()
        .any(|((_, start), r)| start + r.pages * PAGE > at)
    {
        return false;
    }
    let Some(cr3) = cx.processes.get(&process).map(|p| p.cr3) else {
        return false;
    };
    (0..pages).all(|i| cx.memory.translate(cr3, at + i * PAGE).is_none())
}

/// The lowest free range of a process at or above where the search begins.
#[must_use]
pub fn find_free(cx: &Machine, process: ProcessId, pages: u64) -> Option<u64> {
    let (mut at, end) = if cx.is_wow64(process) {
        (FIRST_32, END_32)
    } else {
        (FIRST_64, cx.build.user_probe_address)
    };
    // Behind everything that is known there; gaps below are used again when nothing is left.
    let used = cx.mm.private.range((process, at)..(process, end));
    let behind = |start: u64, pages: u64| (start + pages * PAGE).next_multiple_of(GRANULARITY);
    for ((_, start), range) in used {
        if start.saturating_sub(at) >= pages * PAGE && is_free(cx, process, at, pages) {
            return Some(at);
        }
        at = at.max(behind(*start, range.pages));
    }
    while at + pages * PAGE <= end {
        if is_free(cx, process, at, pages) {
            return Some(at);
        }
        at += GRANULARITY;
    }
    None
}

/// The process that a handle value means, for services on address spaces.
///
/// # Errors
/// The status of the service.
pub fn process_of(cx: &Machine, handle: u64) -> Result<ProcessId, NTSTATUS> {
    // ZwCurrentProcess() is -1.
    if handle == u64::MAX {
        return Ok(cx.thread().space());
    }
    crate::ps::handles::process_of_handle(cx, handle)
}

/// Takes a page out of a process and frees it.
fn drop_page(cx: &mut Machine, process: ProcessId, at: u64) {
    let Some(cr3) = cx.processes.get(&process).map(|p| p.cr3) else {
        return;
    };
    // A page without access is there all the same.
    cx.memory
        .protect(cr3, at, page_flags(4).unwrap_or_default());
    if let Some(frame) = cx.memory.unmap(cr3, at) {
        release_frame(cx, frame);
    }
}

/// Commits pages `first..end` of a range. False if memory is used up.
fn commit(cx: &mut Machine, key: (ProcessId, u64), first: u64, end: u64, protect: u32) -> bool {
    let (Some(cr3), Some(flags)) = (cx.processes.get(&key.0).map(|p| p.cr3), page_flags(protect))
    else {
        return false;
    };
    let before: BTreeMap<u64, u32> = cx
        .mm
        .private
        .get(&key)
        .map(|r| r.committed.clone())
        .unwrap_or_default();
    if end - first > cx.memory.free_frames() as u64 {
        return false;
    }
    for i in first..end {
        let at = key.1 + i * PAGE;
        if before.contains_key(&i) {
            cx.memory.protect(cr3, at, flags);
        } else {
            let Some(frame) = cx.memory.alloc_frame() else {
                return false;
            };
            if cx.memory.map(cr3, at, frame, flags).is_err() {
                cx.memory.free_frame(frame);
                return false;
            }
        }
        if let Some(range) = cx.mm.private.get_mut(&key) {
            range.committed.insert(i, protect);
        }
    }
    true
}

/// The range that holds a page, and its number there.
fn range_at(cx: &Machine, process: ProcessId, at: u64) -> Option<((ProcessId, u64), u64)> {
    let (key, range) = cx.mm.private.range(..=(process, at)).next_back()?;
    let page = (at - key.1) / PAGE;
    (key.0 == process && at >= key.1 && page < range.pages).then_some((*key, page))
}

/// Frees all memory of a process that ends.
pub fn free_all(cx: &mut Machine, process: ProcessId) {
    let keys: Vec<(ProcessId, u64)> = cx
        .mm
        .private
        .range((process, 0)..=(process, u64::MAX))
        .map(|(key, _)| *key)
        .collect();
    for key in keys {
        let pages: Vec<u64> = cx.mm.private[&key].committed.keys().copied().collect();
        for page in pages {
            drop_page(cx, process, key.1 + page * PAGE);
        }
        cx.mm.private.remove(&key);
    }
    cx.mm.secured.retain(|_, s| s.process != process);
    super::mapping::free_all(cx, process);
    super::section::unmap_all(cx, process);
}

fn done(status: NTSTATUS) -> Result<Flow, Fault> {
    Ok(Flow::Return(u64::from(status.0)))
}

/// Routines on the memory of processes.
pub struct VirtualMemory;

#[exports("ntoskrnl.exe")]
impl VirtualMemory {
    /// Reserves or commits memory of a process.
    #[page("ntifs/nf-ntifs-ntallocatevirtualmemory")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial(
        "ZeroBits; MEM_RESET and the like are not modelled; committed pages are there at once"
    )]
    fn ZwAllocateVirtualMemory(
        cx: &mut Machine,
        ProcessHandle: u64,
        BaseAddress: Gva<u64>,
        ZeroBits: u64,
        RegionSize: Gva<u64>,
        AllocationType: u32,
        Protect: u32,
    ) -> Result<Flow, Fault> {
        let _ = ZeroBits;
        let base = cx.memory.read(BaseAddress)?;
        let size = cx.memory.read(RegionSize)?;
        let process = match process_of(cx, ProcessHandle) {
            Ok(process) => process,
            Err(status) => return done(status),
        };
        if AllocationType & (MEM_COMMIT | MEM_RESERVE) == 0 {
            if AllocationType & !MEM_TOP_DOWN == 0 {
                return done(STATUS_INVALID_PARAMETER_5);
            }
            let text = format!("ZwAllocateVirtualMemory with AllocationType {AllocationType:#x}");
            return Ok(Flow::NotModelled(text));
        }
        if size == 0 {
            return done(STATUS_INVALID_PARAMETER_4);
        }
        if page_flags(Protect).is_none() {
            return done(STATUS_INVALID_PAGE_PROTECTION);
        }
        let reserve = AllocationType & MEM_RESERVE != 0 || base == 0;
        let first = if reserve {
            base & !(GRANULARITY - 1)
        } else {
            base & !(PAGE - 1)
        };
        if base >= end_of_user(cx, process) {
            return done(STATUS_INVALID_PARAMETER_2);
        }
        let pages = (base - first).saturating_add(size).div_ceil(PAGE);
        if pages > MOST_PAGES {
            return done(STATUS_NO_MEMORY);
        }
        let (key, page) = if reserve {
            let at = if base == 0 {
                find_free(cx, process, pages)
            } else {
                Some(first).filter(|at| is_free(cx, process, *at, pages))
            };
            let Some(at) = at else {
                return done(if base == 0 {
                    STATUS_NO_MEMORY
                } else {
                    STATUS_CONFLICTING_ADDRESSES
                });
            };
            let range = Range {
                pages,
                protect: Protect,
                committed: BTreeMap::new(),
            };
            cx.mm.private.insert((process, at), range);
            ((process, at), 0)
        } else {
            let found = range_at(cx, process, first)
                .filter(|(key, page)| page + pages <= cx.mm.private[key].pages);
            let Some(found) = found else {
                return done(STATUS_CONFLICTING_ADDRESSES);
            };
            found
        };
        if AllocationType & MEM_COMMIT != 0 && !commit(cx, key, page, page + pages, Protect) {
            if reserve {
                release(cx, key);
            }
            return done(STATUS_NO_MEMORY);
        }
        cx.memory.write(BaseAddress, key.1 + page * PAGE)?;
        cx.memory.write(RegionSize, pages * PAGE)?;
        done(STATUS_SUCCESS)
    }

    /// Releases or decommits memory of a process.
    #[page("ntifs/nf-ntifs-ntfreevirtualmemory")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial("a part of a range cannot be released")]
    fn ZwFreeVirtualMemory(
        cx: &mut Machine,
        ProcessHandle: u64,
        BaseAddress: Gva<u64>,
        RegionSize: Gva<u64>,
        FreeType: u32,
    ) -> Result<Flow, Fault> {
        let base = cx.memory.read(BaseAddress)?;
        let size = cx.memory.read(RegionSize)?;
        if FreeType != MEM_RELEASE && FreeType != MEM_DECOMMIT {
            return done(STATUS_INVALID_PARAMETER_4);
        }
        let process = match process_of(cx, ProcessHandle) {
            Ok(process) => process,
            Err(status) => return done(status),
        };
        let at = base & !(PAGE - 1);
        let Some((key, page)) = range_at(cx, process, at) else {
            return done(STATUS_MEMORY_NOT_ALLOCATED);
        };
        let total = cx.mm.private[&key].pages;
        if size == 0 && page != 0 {
            return done(STATUS_FREE_VM_NOT_AT_BASE);
        }
        let pages = if size == 0 {
            total
        } else {
            (base - at).saturating_add(size).div_ceil(PAGE)
        };
        if page + pages > total {
            return done(STATUS_UNABLE_TO_FREE_VM);
        }
        if is_secured(cx, process, at, pages) {
            return done(STATUS_INVALID_PAGE_PROTECTION);
        }
        if FreeType == MEM_RELEASE {
            if pages != total {
                return Ok(Flow::NotModelled(
                    "ZwFreeVirtualMemory of a part of a range with MEM_RELEASE".into(),
                ));
            }
            release(cx, key);
        } else {
            for i in page..page + pages {
                let was = cx
                    .mm
                    .private
                    .get_mut(&key)
                    .and_then(|r| r.committed.remove(&i));
                if was.is_some() {
                    drop_page(cx, process, key.1 + i * PAGE);
                }
            }
        }
        cx.memory.write(BaseAddress, at)?;
        cx.memory.write(RegionSize, pages * PAGE)?;
        done(STATUS_SUCCESS)
    }

    /// Changes the protection of committed memory of a process.
    #[page("")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[assumed("not documented for drivers; as VirtualProtect")]
    fn ZwProtectVirtualMemory(
        cx: &mut Machine,
        ProcessHandle: u64,
        BaseAddress: Gva<u64>,
        RegionSize: Gva<u64>,
        NewProtect: u32,
        OldProtect: Gva<u32>,
    ) -> Result<Flow, Fault> {
        let base = cx.memory.read(BaseAddress)?;
        let size = cx.memory.read(RegionSize)?;
        cx.memory.read(OldProtect)?;
        let Some(flags) = page_flags(NewProtect) else {
            return done(STATUS_INVALID_PAGE_PROTECTION);
        };
        let process = match process_of(cx, ProcessHandle) {
            Ok(process) => process,
            Err(status) => return done(status),
        };
        let at = base & !(PAGE - 1);
        let pages = (base - at).saturating_add(size).div_ceil(PAGE);
        let Some((key, page)) = range_at(cx, process, at) else {
            return done(STATUS_CONFLICTING_ADDRESSES);
        };
        let range = &cx.mm.private[&key];
        if page + pages > range.pages {
            return done(STATUS_CONFLICTING_ADDRESSES);
        }
        if !(page..page + pages).all(|i| range.committed.contains_key(&i)) {
            return done(STATUS_NOT_COMMITTED);
        }
        if is_secured(cx, process, at, pages) {
            return done(STATUS_INVALID_PAGE_PROTECTION);
        }
        let old = range.committed.get(&page).copied().unwrap_or(0);
        let cr3 = cx.processes.get(&process).map_or(0, |p| p.cr3);
        for i in page..page + pages {
            cx.memory.protect(cr3, key.1 + i * PAGE, flags);
            if let Some(range) = cx.mm.private.get_mut(&key) {
                range.committed.insert(i, NewProtect);
            }
        }
        cx.memory.write(OldProtect, old)?;
        cx.memory.write(BaseAddress, at)?;
        cx.memory.write(RegionSize, pages * PAGE)?;
        done(STATUS_SUCCESS)
    }

    /// Tells about a range of pages of a process.
    #[page("ntifs/nf-ntifs-zwqueryvirtualmemory")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial(
        "MemoryBasicInformation alone; what a workload mapped counts as private and read-write"
    )]
    fn ZwQueryVirtualMemory(
        cx: &mut Machine,
        ProcessHandle: u64,
        BaseAddress: Gva,
        MemoryInformationClass: u32,
        MemoryInformation: Gva<u64>,
        MemoryInformationLength: u64,
        ReturnLength: Gva<u64>,
    ) -> Result<Flow, Fault> {
        // MEMORY_BASIC_INFORMATION: 30h bytes.
        const SIZE: u64 = 0x30;
        if MemoryInformationClass != 0 {
            let text = format!("ZwQueryVirtualMemory with class {MemoryInformationClass}");
            return Ok(Flow::NotModelled(text));
        }
        if MemoryInformationLength < SIZE {
            return done(STATUS_INFO_LENGTH_MISMATCH);
        }
        let process = match process_of(cx, ProcessHandle) {
            Ok(process) => process,
            Err(status) => return done(status),
        };
        let at = BaseAddress.raw() & !(PAGE - 1);
        if at >= cx.build.user_probe_address {
            return done(STATUS_INVALID_PARAMETER);
        }
        let told = basic(cx, process, at);
        for (value, slot) in told.into_iter().zip(0..) {
            cx.memory.write(MemoryInformation.add(slot), value)?;
        }
        if !ReturnLength.is_null() {
            cx.memory.write(ReturnLength, SIZE)?;
        }
        done(STATUS_SUCCESS)
    }
}

/// Takes a range away.
fn release(cx: &mut Machine, key: (ProcessId, u64)) {
    let Some(range) = cx.mm.private.get(&key) else {
        return;
    };
    let pages: Vec<u64> = range.committed.keys().copied().collect();
    for page in pages {
        drop_page(cx, key.0, key.1 + page * PAGE);
    }
    cx.mm.private.remove(&key);
}

/// A MEMORY_BASIC_INFORMATION as six words: base, allocation base, allocation protection, size, state and
/// protection, type.
fn basic(cx: &Machine, process: ProcessId, at: u64) -> [u64; 6] {
    let joined = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    if let Some((key, page)) = range_at(cx, process, at) {
        let range = &cx.mm.private[&key];
        let this = range.committed.get(&page).copied();
        let alike = (page..range.pages)
            .take_while(|i| range.committed.get(i).copied() == this)
            .count() as u64;
        let state = if this.is_some() {
            MEM_COMMIT
        } else {
            MEM_RESERVE
        };
        return [
            at,
            key.1,
            u64::from(range.protect),
            alike * PAGE,
            joined(state, this.unwrap_or(0)),
            u64::from(MEM_PRIVATE),
        ];
    }
    if let Some(((_, start), view)) = cx.mm.views.range(..=(process, at)).next_back()
        && at >= *start
        && (at - start) / PAGE < view.pages
        && cx.mm.views.contains_key(&(process, *start))
    {
        let left = view.pages * PAGE - (at - start);
        let protect = u64::from(view.protect);
        return [
            at,
            *start,
            protect,
            left,
            joined(MEM_COMMIT, view.protect),
            u64::from(MEM_MAPPED),
        ];
    }
    let cr3 = cx.processes.get(&process).map_or(0, |p| p.cr3);
    if cx.memory.translate(cr3, at).is_some() {
        return [
            at,
            at,
            4,
            PAGE,
            joined(MEM_COMMIT, 4),
            u64::from(MEM_PRIVATE),
        ];
    }
    // Up to the next range or the end.
    let next = cx
        .mm
        .private
        .range((process, at)..(process, u64::MAX))
        .next()
        .map_or(cx.build.user_probe_address, |((_, start), _)| *start);
    // PAGE_NOACCESS.
    [at, 0, 0, next - at, joined(MEM_FREE, 1), 0]
}
