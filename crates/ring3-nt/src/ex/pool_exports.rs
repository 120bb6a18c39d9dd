//! Pool allocation. Documentation: wdm.h, "ExAllocatePool2", "ExAllocatePoolWithTag".

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::pool::{Kind, tag_text};
use crate::Machine;
use crate::export::irql::DISPATCH_LEVEL;
use crate::flow::{Exception, Flow, IntoFlow};
use crate::machine::finding::Severity;
use crate::ntstatus::STATUS_INSUFFICIENT_RESOURCES;

/// `POOL_TYPE` bits of wdm.h.
mod pool_type {
    pub const PAGED: u32 = 1;
    pub const RAISE_IF_ALLOCATION_FAILURE: u32 = 16;
    pub const NX: u32 = 512;
    pub const ZERO: u32 = 1024;
}

/// `POOL_FLAG_*` bits of wdm.h.
mod pool_flag {
    pub const UNINITIALIZED: u64 = 0x2;
    pub const RAISE_ON_FAILURE: u64 = 0x20;
    pub const NON_PAGED: u64 = 0x40;
    pub const NON_PAGED_EXECUTE: u64 = 0x80;
    pub const PAGED: u64 = 0x100;
}

/// What ExAllocatePool uses as tag: "None".
const NO_TAG: u32 = u32::from_le_bytes(*b"None");

/// Allocates for the driver that calls; a zero size gets the smallest block, with a finding.
fn allocate(cx: &mut Machine, kind: Kind, size: u64, tag: u32, zero: bool, raise: bool) -> Flow {
    if kind == Kind::Paged && cx.irql() >= DISPATCH_LEVEL {
        let text = format!(
            "paged pool with tag '{}' allocated at IRQL {}",
            tag_text(tag),
            cx.irql()
        );
        cx.report("pool/paged-at-dispatch", Severity::Error, text);
    }
    if size == 0 {
        cx.report(
            "pool/zero-size",
            Severity::Warning,
            "a pool allocation of 0 bytes",
        );
    }
    if tag == 0 {
        cx.report(
            "pool/no-tag",
            Severity::Warning,
            "a pool allocation with the tag 0",
        );
    }
    let owner = cx.caller;
    match cx.pool_allocate_for(kind, size, tag, owner) {
        Some(at) => {
            if zero {
                let _ = cx.memory.poke_bytes(None, at, &vec![0u8; size as usize]);
            }
            Flow::Return(at.raw())
        }
        None if raise => Flow::Raise(Exception::new(STATUS_INSUFFICIENT_RESOURCES)),
        None => Flow::Return(0),
    }
}

fn kind_of_type(pool_type: u32) -> Kind {
    if pool_type & self::pool_type::PAGED != 0 {
        Kind::Paged
    } else if pool_type & self::pool_type::NX != 0 {
        Kind::NonPaged
    } else {
        Kind::NonPagedExecute
    }
}

fn free(cx: &mut Machine, block: Gva, tag: Option<u32>) -> Flow {
    if let (Some(tag), Some(found)) = (tag, cx.ex.pool.get(block.raw())) {
        // The protected bit (the sign bit) does not count.
        if tag != 0 && tag & 0x7fff_ffff != found.tag & 0x7fff_ffff {
            let text = format!(
                "a pool block with tag '{}' freed with tag '{}'",
                tag_text(found.tag),
                tag_text(tag)
            );
            cx.report("pool/wrong-tag", Severity::Warning, text);
        }
    }
    if cx.pool_free(block) {
        return ().into_flow();
    }
    // BAD_POOL_CALLER: 7 = already freed, 0x46 = not an allocated address.
    let tag = u64::from(tag.unwrap_or(0));
    if cx.pool_was_freed(block.raw()) {
        cx.report(
            "pool/double-free",
            Severity::Error,
            format!("the pool block {:#x} is freed twice", block.raw()),
        );
        return Flow::Bugcheck(0xc2, [7, 0, tag, block.raw()]);
    }
    cx.report(
        "pool/bad-free",
        Severity::Error,
        format!("{:#x} is not the address of a pool block", block.raw()),
    );
    Flow::Bugcheck(0xc2, [0x46, block.raw(), 0, 0])
}

/// Pool routines.
pub struct PoolRoutines;

#[exports("ntoskrnl.exe")]
impl PoolRoutines {
    /// Allocates pool by flags; the memory is zeroed unless POOL_FLAG_UNINITIALIZED is given.
    #[page("wdm/nf-wdm-exallocatepool2")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(Gva)]
    fn ExAllocatePool2(cx: &mut Machine, Flags: u64, NumberOfBytes: u64, Tag: u32) -> Flow {
        let kinds =
            Flags & (pool_flag::NON_PAGED | pool_flag::NON_PAGED_EXECUTE | pool_flag::PAGED);
        let kind = match kinds {
            pool_flag::NON_PAGED => Kind::NonPaged,
            pool_flag::NON_PAGED_EXECUTE => Kind::NonPagedExecute,
            pool_flag::PAGED => Kind::Paged,
            _ => {
                let text = format!(
                    "ExAllocatePool2 with flags {Flags:#x}: exactly one kind of pool must be named"
                );
                cx.report("pool/bad-flags", Severity::Error, text);
                return Flow::Return(0);
            }
        };
        let zero = Flags & pool_flag::UNINITIALIZED == 0;
        allocate(
            cx,
            kind,
            NumberOfBytes,
            Tag,
            zero,
            Flags & pool_flag::RAISE_ON_FAILURE != 0,
        )
    }

    /// Allocates pool of a type, with a tag.
    #[page("wdm/nf-wdm-exallocatepoolwithtag")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(Gva)]
    fn ExAllocatePoolWithTag(
        cx: &mut Machine,
        PoolType: u32,
        NumberOfBytes: u64,
        Tag: u32,
    ) -> Flow {
        let zero = PoolType & pool_type::ZERO != 0;
        let raise = PoolType & pool_type::RAISE_IF_ALLOCATION_FAILURE != 0;
        allocate(cx, kind_of_type(PoolType), NumberOfBytes, Tag, zero, raise)
    }

    /// Allocates pool charged to the current process; raises an exception on failure.
    #[page("wdm/nf-wdm-exallocatepoolwithquotatag")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(Gva)]
    #[partial("quota is not counted")]
    fn ExAllocatePoolWithQuotaTag(
        cx: &mut Machine,
        PoolType: u32,
        NumberOfBytes: u64,
        Tag: u32,
    ) -> Flow {
        // POOL_QUOTA_FAIL_INSTEAD_OF_RAISE is 8.
        allocate(
            cx,
            kind_of_type(PoolType),
            NumberOfBytes,
            Tag,
            false,
            PoolType & 8 == 0,
        )
    }

    /// Allocates pool without a tag.
    #[page("wdm/nf-wdm-exallocatepool")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(Gva)]
    fn ExAllocatePool(cx: &mut Machine, PoolType: u32, NumberOfBytes: u64) -> Flow {
        allocate(
            cx,
            kind_of_type(PoolType),
            NumberOfBytes,
            NO_TAG,
            false,
            false,
        )
    }

    /// Frees a block.
    #[page("wdm/nf-wdm-exfreepool")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(())]
    fn ExFreePool(cx: &mut Machine, P: Gva) -> Result<Flow, Fault> {
        Ok(free(cx, P, None))
    }

    /// Frees a block that has this tag.
    #[page("wdm/nf-wdm-exfreepoolwithtag")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(())]
    fn ExFreePoolWithTag(cx: &mut Machine, P: Gva, Tag: u32) -> Result<Flow, Fault> {
        Ok(free(cx, P, Some(Tag)))
    }
}
