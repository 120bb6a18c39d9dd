//! Routines on executive resources. Documentation: wdm.h, ntifs.h.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use super::resource::{self, Mode};
use crate::Machine;
use crate::flow::{Flow, IntoFlow, Kont};
use crate::layout::{ERESOURCE, KTHREAD};
use crate::ntstatus::{NTSTATUS, STATUS_SUCCESS};

fn done(bugcheck: Option<Flow>) -> Flow {
    bugcheck.unwrap_or_else(|| ().into_flow())
}

/// Changes the counter that holds off normal kernel APCs: negative inside a region.
fn region(cx: &mut Machine, by: i16) -> Result<(), Fault> {
    let thread = cx.thread().object.cast::<KTHREAD>();
    let value: i16 = cx.memory.get(thread, KTHREAD::KernelApcDisable)?;
    cx.memory
        .set(thread, KTHREAD::KernelApcDisable, value.wrapping_add(by))
}

/// Acquires, then gives what the forms with a region give.
#[resumable]
fn in_region(cx: &mut Machine, acquisition: Kont) -> u64 {
    let _ = &cx;
    host!(acquisition.clone());
    0
}

fn enter(cx: &mut Machine, at: Gva<ERESOURCE>, mode: Mode) -> Result<Flow, Fault> {
    cx.memory.get(at, ERESOURCE::Flag)?;
    region(cx, -1)?;
    Ok(match resource::acquire(cx, at, mode, true)? {
        Flow::Become(acquisition) => Flow::Become(in_region(acquisition)),
        _ => Flow::Return(0),
    })
}

/// Routines on executive resources.
pub struct Resources;

#[exports("ntoskrnl.exe")]
impl Resources {
    /// Initialises a resource.
    #[page("wdm/nf-wdm-exinitializeresourcelite")]
    #[irql(..=DISPATCH_LEVEL)]
    fn ExInitializeResourceLite(
        cx: &mut Machine,
        Resource: Gva<ERESOURCE>,
    ) -> Result<NTSTATUS, Fault> {
        resource::initialize(cx, Resource)?;
        Ok(STATUS_SUCCESS)
    }

    /// Makes a resource as new that nobody owns.
    #[page("wdm/nf-wdm-exreinitializeresourcelite")]
    #[irql(..=DISPATCH_LEVEL)]
    fn ExReinitializeResourceLite(
        cx: &mut Machine,
        Resource: Gva<ERESOURCE>,
    ) -> Result<NTSTATUS, Fault> {
        cx.memory.get(Resource, ERESOURCE::Flag)?;
        resource::delete(cx, Resource);
        resource::initialize(cx, Resource)?;
        Ok(STATUS_SUCCESS)
    }

    /// Gives up a resource; its memory may be freed then.
    #[page("wdm/nf-wdm-exdeleteresourcelite")]
    #[irql(..=APC_LEVEL)]
    fn ExDeleteResourceLite(cx: &mut Machine, Resource: Gva<ERESOURCE>) -> Result<NTSTATUS, Fault> {
        cx.memory.get(Resource, ERESOURCE::Flag)?;
        resource::delete(cx, Resource);
        Ok(STATUS_SUCCESS)
    }

    /// Acquires a resource alone; FALSE if it would have to wait and Wait is FALSE.
    #[page("wdm/nf-wdm-exacquireresourceexclusivelite")]
    #[irql(..=APC_LEVEL)]
    #[returns(bool)]
    fn ExAcquireResourceExclusiveLite(
        cx: &mut Machine,
        Resource: Gva<ERESOURCE>,
        Wait: bool,
    ) -> Result<Flow, Fault> {
        resource::acquire(cx, Resource, Mode::Exclusive, Wait)
    }

    /// Acquires a resource with others; FALSE if it would have to wait and Wait is FALSE.
    #[page("wdm/nf-wdm-exacquireresourcesharedlite")]
    #[irql(..=APC_LEVEL)]
    #[returns(bool)]
    fn ExAcquireResourceSharedLite(
        cx: &mut Machine,
        Resource: Gva<ERESOURCE>,
        Wait: bool,
    ) -> Result<Flow, Fault> {
        resource::acquire(cx, Resource, Mode::Shared, Wait)
    }

    /// Acquires a resource with others, ahead of waiting writers.
    #[page("wdm/nf-wdm-exacquiresharedstarveexclusive")]
    #[irql(..=APC_LEVEL)]
    #[returns(bool)]
    fn ExAcquireSharedStarveExclusive(
        cx: &mut Machine,
        Resource: Gva<ERESOURCE>,
        Wait: bool,
    ) -> Result<Flow, Fault> {
        resource::acquire(cx, Resource, Mode::SharedStarveExclusive, Wait)
    }

    /// Acquires a resource with others, behind waiting writers.
    #[page("wdm/nf-wdm-exacquiresharedwaitforexclusive")]
    #[irql(..=APC_LEVEL)]
    #[returns(bool)]
    fn ExAcquireSharedWaitForExclusive(
        cx: &mut Machine,
        Resource: Gva<ERESOURCE>,
        Wait: bool,
    ) -> Result<Flow, Fault> {
        resource::acquire(cx, Resource, Mode::SharedWaitForExclusive, Wait)
    }

    /// Enters a critical region and acquires a resource alone.
    #[page("wdm/nf-wdm-exentercriticalregionandacquireresourceexclusive")]
    #[irql(..=APC_LEVEL)]
    #[returns(Gva)]
    #[partial("the result is NULL, not the Win32 thread")]
    fn ExEnterCriticalRegionAndAcquireResourceExclusive(
        cx: &mut Machine,
        Resource: Gva<ERESOURCE>,
    ) -> Result<Flow, Fault> {
        enter(cx, Resource, Mode::Exclusive)
    }

    /// Enters a critical region and acquires a resource with others.
    #[page("")]
    #[irql(..=APC_LEVEL)]
    #[returns(Gva)]
    #[partial("the result is NULL, not the Win32 thread")]
    fn ExEnterCriticalRegionAndAcquireResourceShared(
        cx: &mut Machine,
        Resource: Gva<ERESOURCE>,
    ) -> Result<Flow, Fault> {
        enter(cx, Resource, Mode::Shared)
    }

    /// Enters a critical region and acquires a resource with others, behind waiting writers.
    #[page("")]
    #[irql(..=APC_LEVEL)]
    #[returns(Gva)]
    #[partial("the result is NULL, not the Win32 thread")]
    fn ExEnterCriticalRegionAndAcquireSharedWaitForExclusive(
        cx: &mut Machine,
        Resource: Gva<ERESOURCE>,
    ) -> Result<Flow, Fault> {
        enter(cx, Resource, Mode::SharedWaitForExclusive)
    }

    /// Enters a priority region and acquires a resource alone.
    #[page("")]
    #[irql(..=APC_LEVEL)]
    #[returns(Gva)]
    #[partial("a critical region only; the result is NULL, not the Win32 thread")]
    fn ExEnterPriorityRegionAndAcquireResourceExclusive(
        cx: &mut Machine,
        Resource: Gva<ERESOURCE>,
    ) -> Result<Flow, Fault> {
        enter(cx, Resource, Mode::Exclusive)
    }

    /// Enters a priority region and acquires a resource with others.
    #[page("")]
    #[irql(..=APC_LEVEL)]
    #[returns(Gva)]
    #[partial("a critical region only; the result is NULL, not the Win32 thread")]
    fn ExEnterPriorityRegionAndAcquireResourceShared(
        cx: &mut Machine,
        Resource: Gva<ERESOURCE>,
    ) -> Result<Flow, Fault> {
        enter(cx, Resource, Mode::Shared)
    }

    /// Releases a resource of the current thread.
    #[page("wdm/nf-wdm-exreleaseresourcelite")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(())]
    fn ExReleaseResourceLite(cx: &mut Machine, Resource: Gva<ERESOURCE>) -> Result<Flow, Fault> {
        let owner = resource::current_owner(cx);
        Ok(done(resource::release(cx, Resource, owner)?))
    }

    /// Releases a resource of some thread or owner pointer.
    #[page("wdm/nf-wdm-exreleaseresourceforthreadlite")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(())]
    fn ExReleaseResourceForThreadLite(
        cx: &mut Machine,
        Resource: Gva<ERESOURCE>,
        ResourceThreadId: u64,
    ) -> Result<Flow, Fault> {
        Ok(done(resource::release(cx, Resource, ResourceThreadId)?))
    }

    /// Releases a resource and leaves the region that was entered with it.
    #[page("wdm/nf-wdm-exreleaseresourceandleavecriticalregion")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ExReleaseResourceAndLeaveCriticalRegion(
        cx: &mut Machine,
        Resource: Gva<ERESOURCE>,
    ) -> Result<Flow, Fault> {
        let owner = resource::current_owner(cx);
        let bugcheck = resource::release(cx, Resource, owner)?;
        if bugcheck.is_none() {
            region(cx, 1)?;
        }
        Ok(done(bugcheck))
    }

    /// Releases a resource and leaves the region that was entered with it.
    #[page("")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ExReleaseResourceAndLeavePriorityRegion(
        cx: &mut Machine,
        Resource: Gva<ERESOURCE>,
    ) -> Result<Flow, Fault> {
        let owner = resource::current_owner(cx);
        let bugcheck = resource::release(cx, Resource, owner)?;
        if bugcheck.is_none() {
            region(cx, 1)?;
        }
        Ok(done(bugcheck))
    }

    /// Turns exclusive ownership into shared ownership.
    #[page("wdm/nf-wdm-exconvertexclusivetosharedlite")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ExConvertExclusiveToSharedLite(
        cx: &mut Machine,
        Resource: Gva<ERESOURCE>,
    ) -> Result<Flow, Fault> {
        Ok(done(resource::convert_to_shared(cx, Resource)?))
    }

    /// TRUE if the current thread owns a resource alone.
    #[page("wdm/nf-wdm-exisresourceacquiredexclusivelite")]
    #[irql(..=DISPATCH_LEVEL)]
    fn ExIsResourceAcquiredExclusiveLite(cx: &mut Machine, Resource: Gva<ERESOURCE>) -> bool {
        resource::owned(cx, Resource.raw(), resource::current_owner(cx)).1
    }

    /// How often the current thread has acquired a resource.
    #[page("wdm/nf-wdm-exisresourceacquiredsharedlite")]
    #[irql(..=DISPATCH_LEVEL)]
    fn ExIsResourceAcquiredSharedLite(cx: &mut Machine, Resource: Gva<ERESOURCE>) -> u32 {
        resource::owned(cx, Resource.raw(), resource::current_owner(cx)).0
    }

    /// Threads that wait to own a resource alone.
    #[page("wdm/nf-wdm-exgetexclusivewaitercount")]
    #[irql(..=DISPATCH_LEVEL)]
    fn ExGetExclusiveWaiterCount(cx: &mut Machine, Resource: Gva<ERESOURCE>) -> u32 {
        resource::waiters(cx, Resource.raw()).1
    }

    /// Threads that wait to share a resource.
    #[page("wdm/nf-wdm-exgetsharedwaitercount")]
    #[irql(..=DISPATCH_LEVEL)]
    fn ExGetSharedWaiterCount(cx: &mut Machine, Resource: Gva<ERESOURCE>) -> u32 {
        resource::waiters(cx, Resource.raw()).0
    }

    /// Owners get no boost of priority; the model gives none.
    #[page("ntifs/nf-ntifs-exdisableresourceboostlite")]
    #[irql(..=DISPATCH_LEVEL)]
    fn ExDisableResourceBoostLite(cx: &mut Machine, Resource: Gva<ERESOURCE>) -> Result<(), Fault> {
        cx.memory.get(Resource, ERESOURCE::Flag)?;
        Ok(())
    }

    /// Makes a pointer of the driver the owner instead of the current thread.
    #[page("wdm/nf-wdm-exsetresourceownerpointer")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(())]
    fn ExSetResourceOwnerPointer(
        cx: &mut Machine,
        Resource: Gva<ERESOURCE>,
        OwnerPointer: u64,
    ) -> Result<Flow, Fault> {
        Ok(done(resource::set_owner(cx, Resource, OwnerPointer)?))
    }

    /// As ExSetResourceOwnerPointer, with flags about the thread it points to.
    #[page("wdm/nf-wdm-exsetresourceownerpointerex")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(())]
    fn ExSetResourceOwnerPointerEx(
        cx: &mut Machine,
        Resource: Gva<ERESOURCE>,
        OwnerPointer: u64,
        Flags: u32,
    ) -> Result<Flow, Fault> {
        // FLAG_OWNER_POINTER_IS_THREAD only concerns priority boosts.
        let _ = Flags;
        Ok(done(resource::set_owner(cx, Resource, OwnerPointer)?))
    }
}
