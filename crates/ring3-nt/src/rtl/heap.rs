//! Heaps. Documentation: ntifs.h, "RtlCreateHeap" and neighbours.

use std::collections::{BTreeMap, BTreeSet};

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::ex::pool::Kind;
use crate::flow::{Exception, Flow, IntoFlow};
use crate::ntstatus::STATUS_NO_MEMORY;

const TAG: u32 = u32::from_le_bytes(*b"Heap");
/// `HEAP_GENERATE_EXCEPTIONS`.
const GENERATE_EXCEPTIONS: u32 = 4;
/// `HEAP_ZERO_MEMORY`.
const ZERO_MEMORY: u32 = 8;
/// Bytes behind a handle.
const HANDLE: u64 = 0x40;

/// A heap.
#[derive(Clone, Hash, Debug, Default)]
pub struct Heap {
    flags: u32,
    blocks: BTreeSet<u64>,
}

/// All heaps by handle.
pub type Heaps = BTreeMap<u64, Heap>;

/// Heaps.
pub struct HeapRoutines;

#[exports("ntoskrnl.exe")]
impl HeapRoutines {
    /// Makes a heap. NULL if there is no memory.
    #[page("ntifs/nf-ntifs-rtlcreateheap")]
    #[irql(..=APC_LEVEL)]
    #[returns(Gva)]
    #[partial("memory of the caller; sizes; the blocks lie in paged pool and not in the process")]
    fn RtlCreateHeap(
        cx: &mut Machine,
        Flags: u32,
        HeapBase: Gva,
        ReserveSize: u64,
        CommitSize: u64,
        Lock: Gva,
        Parameters: Gva,
    ) -> Flow {
        let _ = (ReserveSize, CommitSize, Lock);
        if !HeapBase.is_null() || !Parameters.is_null() {
            return Flow::NotModelled("RtlCreateHeap with a base or parameters".into());
        }
        let owner = cx.caller;
        let Some(at) = cx.pool_allocate_for(Kind::Paged, HANDLE, TAG, owner) else {
            return 0u64.into_flow();
        };
        let heap = Heap {
            flags: Flags,
            blocks: BTreeSet::new(),
        };
        cx.rtl.heaps.insert(at.raw(), heap);
        at.into_flow()
    }

    /// Allocates from a heap.
    #[page("ntifs/nf-ntifs-rtlallocateheap")]
    #[irql(..=APC_LEVEL)]
    #[returns(Gva)]
    #[partial("a handle that is none stops the run")]
    fn RtlAllocateHeap(
        cx: &mut Machine,
        HeapHandle: Gva,
        Flags: u32,
        Size: u64,
    ) -> Result<Flow, Fault> {
        let Some(heap) = cx.rtl.heaps.get(&HeapHandle.raw()) else {
            return Ok(Flow::NotModelled(format!(
                "RtlAllocateHeap with {HeapHandle:?}, which is no heap"
            )));
        };
        let flags = Flags | heap.flags;
        let owner = cx.caller;
        let Some(at) = cx.pool_allocate_for(Kind::Paged, Size.max(1), TAG, owner) else {
            return Ok(if flags & GENERATE_EXCEPTIONS != 0 {
                Flow::Raise(Exception::new(STATUS_NO_MEMORY))
            } else {
                0u64.into_flow()
            });
        };
        if flags & ZERO_MEMORY != 0 {
            cx.memory.fill(at, Size, 0)?;
        }
        if let Some(heap) = cx.rtl.heaps.get_mut(&HeapHandle.raw()) {
            heap.blocks.insert(at.raw());
        }
        Ok(at.into_flow())
    }

    /// Frees a block of a heap. TRUE if it was one.
    #[page("ntifs/nf-ntifs-rtlfreeheap")]
    #[irql(..=APC_LEVEL)]
    fn RtlFreeHeap(cx: &mut Machine, HeapHandle: Gva, Flags: u32, BaseAddress: Gva) -> bool {
        let _ = Flags;
        if BaseAddress.is_null() {
            return true;
        }
        let known = cx
            .rtl
            .heaps
            .get_mut(&HeapHandle.raw())
            .is_some_and(|heap| heap.blocks.remove(&BaseAddress.raw()));
        known && cx.pool_free(BaseAddress)
    }

    /// Bytes of a block of a heap; all ones if it is none.
    #[page("")]
    #[irql(..=APC_LEVEL)]
    fn RtlSizeHeap(cx: &mut Machine, HeapHandle: Gva, Flags: u32, BaseAddress: Gva) -> u64 {
        let _ = (HeapHandle, Flags);
        cx.ex
            .pool
            .get(BaseAddress.raw())
            .map_or(u64::MAX, |block| block.size)
    }

    /// Destroys a heap with all its blocks. NULL, or the handle if it is none.
    #[page("ntifs/nf-ntifs-rtldestroyheap")]
    #[irql(..=APC_LEVEL)]
    fn RtlDestroyHeap(cx: &mut Machine, HeapHandle: Gva) -> Gva {
        let Some(heap) = cx.rtl.heaps.remove(&HeapHandle.raw()) else {
            return HeapHandle;
        };
        for block in heap.blocks {
            cx.pool_free(Gva::new(block));
        }
        cx.pool_free(HeapHandle);
        Gva::NULL
    }
}
