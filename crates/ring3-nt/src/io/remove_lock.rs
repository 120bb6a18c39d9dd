//! Remove locks. Documentation: wdm.h, "Using Remove Locks".

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::flow::Flow;
use crate::ke::dispatcher::{self, kind};
use crate::ke::event::initialize_header;
use crate::ke::waiting::{self, Timeout};
use crate::layout::{IO_REMOVE_LOCK, IO_REMOVE_LOCK_COMMON_BLOCK, KEVENT};
use crate::machine::finding::Severity;
use crate::ntstatus::{NTSTATUS, STATUS_DELETE_PENDING, STATUS_SUCCESS};

fn common(lock: Gva<IO_REMOVE_LOCK>) -> Gva<IO_REMOVE_LOCK_COMMON_BLOCK> {
    lock.at(IO_REMOVE_LOCK::Common)
}

/// Adds to the count; the new value.
fn count(cx: &mut Machine, lock: Gva<IO_REMOVE_LOCK>, by: i32) -> Result<i32, Fault> {
    let value = cx
        .memory
        .get(common(lock), IO_REMOVE_LOCK_COMMON_BLOCK::IoCount)?
        .wrapping_add(by);
    cx.memory
        .set(common(lock), IO_REMOVE_LOCK_COMMON_BLOCK::IoCount, value)?;
    Ok(value)
}

fn event(lock: Gva<IO_REMOVE_LOCK>) -> Gva<KEVENT> {
    common(lock).at(IO_REMOVE_LOCK_COMMON_BLOCK::RemoveEvent)
}

/// One acquisition less; the last one lets the remover go on.
fn release(cx: &mut Machine, lock: Gva<IO_REMOVE_LOCK>) -> Result<i32, Fault> {
    let left = count(cx, lock, -1)?;
    if left < 0 {
        let text = format!(
            "the remove lock {:#x} is released more often than it was acquired",
            lock.raw()
        );
        cx.report("remove-lock/over-released", Severity::Error, text);
    }
    if left == 0 {
        dispatcher::signal(cx, event(lock).cast(), 1);
    }
    Ok(left)
}

/// Routines on remove locks.
pub struct RemoveLocks;

#[exports("ntoskrnl.exe")]
impl RemoveLocks {
    /// Initialises a remove lock.
    #[page("wdm/nf-wdm-ioinitializeremovelock")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("the checked form, which keeps track of tags")]
    fn IoInitializeRemoveLockEx(
        cx: &mut Machine,
        Lock: Gva<IO_REMOVE_LOCK>,
        AllocateTag: u32,
        MaxLockedMinutes: u32,
        HighWatermark: u32,
        RemlockSize: u32,
    ) -> Result<(), Fault> {
        let _ = (AllocateTag, MaxLockedMinutes, HighWatermark, RemlockSize);
        cx.memory
            .set(common(Lock), IO_REMOVE_LOCK_COMMON_BLOCK::Removed, 0)?;
        cx.memory
            .set(common(Lock), IO_REMOVE_LOCK_COMMON_BLOCK::IoCount, 1)?;
        initialize_header(
            cx,
            event(Lock).cast(),
            kind::EVENT_SYNCHRONIZATION,
            KEVENT::SIZE,
            0,
        )
    }

    /// Keeps a device from being removed; fails once its removal has begun.
    #[page("wdm/nf-wdm-ioacquireremovelock")]
    #[irql(..=DISPATCH_LEVEL)]
    #[partial("the tag is ignored")]
    fn IoAcquireRemoveLockEx(
        cx: &mut Machine,
        RemoveLock: Gva<IO_REMOVE_LOCK>,
        Tag: Gva,
        File: Gva,
        Line: u32,
        RemlockSize: u32,
    ) -> Result<NTSTATUS, Fault> {
        let _ = (Tag, File, Line, RemlockSize);
        count(cx, RemoveLock, 1)?;
        if cx
            .memory
            .get(common(RemoveLock), IO_REMOVE_LOCK_COMMON_BLOCK::Removed)?
            != 0
        {
            release(cx, RemoveLock)?;
            return Ok(STATUS_DELETE_PENDING);
        }
        Ok(STATUS_SUCCESS)
    }

    /// Undoes one acquisition.
    #[page("wdm/nf-wdm-ioreleaseremovelock")]
    #[irql(..=DISPATCH_LEVEL)]
    #[partial("the tag is ignored")]
    fn IoReleaseRemoveLockEx(
        cx: &mut Machine,
        RemoveLock: Gva<IO_REMOVE_LOCK>,
        Tag: Gva,
        RemlockSize: u32,
    ) -> Result<(), Fault> {
        let _ = (Tag, RemlockSize);
        release(cx, RemoveLock)?;
        Ok(())
    }

    /// Lets no more acquisitions in and waits until all are undone.
    #[page("wdm/nf-wdm-ioreleaseremovelockandwait")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(())]
    #[partial("the tag is ignored")]
    fn IoReleaseRemoveLockAndWaitEx(
        cx: &mut Machine,
        RemoveLock: Gva<IO_REMOVE_LOCK>,
        Tag: Gva,
        RemlockSize: u32,
    ) -> Result<Flow, Fault> {
        let _ = (Tag, RemlockSize);
        cx.memory
            .set(common(RemoveLock), IO_REMOVE_LOCK_COMMON_BLOCK::Removed, 1)?;
        // The caller's own acquisition, and the one that the lock starts with.
        release(cx, RemoveLock)?;
        if release(cx, RemoveLock)? <= 0 {
            return Ok(Flow::Return(0));
        }
        Ok(waiting::wait(
            cx,
            vec![event(RemoveLock).cast()],
            false,
            false,
            Timeout::Never,
        ))
    }
}
