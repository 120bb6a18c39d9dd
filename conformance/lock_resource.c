/* Executive resources: one thread, and what another one gets without waiting. */
#include "conformance.h"

#define INIT "wdm/nf-wdm-exinitializeresourcelite"
#define EXCLUSIVE "wdm/nf-wdm-exacquireresourceexclusivelite"
#define SHARED "wdm/nf-wdm-exacquireresourcesharedlite"
#define STARVE "wdm/nf-wdm-exacquiresharedstarveexclusive"
#define WAIT_FOR "wdm/nf-wdm-exacquiresharedwaitforexclusive"
#define IS_EXCLUSIVE "wdm/nf-wdm-exisresourceacquiredexclusivelite"
#define IS_SHARED "wdm/nf-wdm-exisresourceacquiredsharedlite"
#define CONVERT "wdm/nf-wdm-exconvertexclusivetosharedlite"
#define RELEASE "wdm/nf-wdm-exreleaseresourcelite"
#define FOR_THREAD "wdm/nf-wdm-exreleaseresourceforthreadlite"
#define OWNER "wdm/nf-wdm-exsetresourceownerpointer"
#define OWNER_EX "wdm/nf-wdm-exsetresourceownerpointerex"
#define REGION "wdm/nf-wdm-exentercriticalregionandacquireresourceexclusive"

static ERESOURCE Resource, Second;

typedef enum _WAY { ByExclusive, ByShared, ByStarve, ByWaitFor } WAY;
typedef struct _TRIAL {
    WAY Way;
    BOOLEAN Got, IsExclusive;
    ULONG Shared;
} TRIAL;

static BOOLEAN Acquire(WAY Way, BOOLEAN Wait)
{
    switch (Way) {
    case ByExclusive: return ExAcquireResourceExclusiveLite(&Resource, Wait);
    case ByShared: return ExAcquireResourceSharedLite(&Resource, Wait);
    case ByStarve: return ExAcquireSharedStarveExclusive(&Resource, Wait);
    default: return ExAcquireSharedWaitForExclusive(&Resource, Wait);
    }
}

static VOID Try(PVOID Context)
{
    TRIAL *trial = Context;
    KeEnterCriticalRegion();
    trial->Got = Acquire(trial->Way, FALSE);
    trial->IsExclusive = ExIsResourceAcquiredExclusiveLite(&Resource);
    trial->Shared = ExIsResourceAcquiredSharedLite(&Resource);
    if (trial->Got) {
        ExReleaseResourceLite(&Resource);
    }
    KeLeaveCriticalRegion();
}

/* Whether another thread gets the resource at once. */
static TRIAL Other(WAY Way)
{
    TRIAL trial = {0};
    trial.Way = Way;
    ConformanceInThread(Try, &trial);
    return trial;
}

static VOID Recursion(void)
{
    KeEnterCriticalRegion();
    CHECK_EQUAL(IS_SHARED, ExIsResourceAcquiredSharedLite(&Resource), 0);
    CHECK(IS_EXCLUSIVE, !ExIsResourceAcquiredExclusiveLite(&Resource));
    CHECK(EXCLUSIVE, ExAcquireResourceExclusiveLite(&Resource, TRUE));
    CHECK(IS_EXCLUSIVE, ExIsResourceAcquiredExclusiveLite(&Resource));
    /* Exclusive access counts as shared access. */
    CHECK_EQUAL(IS_SHARED, ExIsResourceAcquiredSharedLite(&Resource), 1);
    CHECK(EXCLUSIVE, ExAcquireResourceExclusiveLite(&Resource, FALSE));
    CHECK_EQUAL(IS_SHARED, ExIsResourceAcquiredSharedLite(&Resource), 2);
    /* An owner who asks for shared access gets the same kind of access again. */
    CHECK(SHARED, ExAcquireResourceSharedLite(&Resource, FALSE));
    CHECK(SHARED, ExIsResourceAcquiredExclusiveLite(&Resource));
    CHECK(STARVE, ExAcquireSharedStarveExclusive(&Resource, FALSE));
    CHECK(STARVE, ExIsResourceAcquiredExclusiveLite(&Resource));
    CHECK_EQUAL(IS_SHARED, ExIsResourceAcquiredSharedLite(&Resource), 4);
    ExReleaseResourceLite(&Resource);
    ExReleaseResourceLite(&Resource);
    ExReleaseResourceLite(&Resource);
    CHECK_EQUAL(RELEASE, ExIsResourceAcquiredSharedLite(&Resource), 1);
    CHECK(RELEASE, ExIsResourceAcquiredExclusiveLite(&Resource));
    ExReleaseResourceLite(&Resource);
    CHECK_EQUAL(RELEASE, ExIsResourceAcquiredSharedLite(&Resource), 0);

    CHECK(SHARED, ExAcquireResourceSharedLite(&Resource, TRUE));
    CHECK(IS_EXCLUSIVE, !ExIsResourceAcquiredExclusiveLite(&Resource));
    CHECK(SHARED, ExAcquireResourceSharedLite(&Resource, FALSE));
    CHECK_EQUAL(IS_SHARED, ExIsResourceAcquiredSharedLite(&Resource), 2);
    /* Shared access does not become exclusive by itself. */
    CHECK(EXCLUSIVE, !ExAcquireResourceExclusiveLite(&Resource, FALSE));
    ExReleaseResourceLite(&Resource);
    ExReleaseResourceLite(&Resource);
    CHECK(WAIT_FOR, ExAcquireSharedWaitForExclusive(&Resource, FALSE));
    CHECK_EQUAL(WAIT_FOR, ExIsResourceAcquiredLite(&Resource), 1);
    ExReleaseResourceLite(&Resource);
    CHECK_EQUAL("wdm/nf-wdm-exgetexclusivewaitercount", ExGetExclusiveWaiterCount(&Resource), 0);
    CHECK_EQUAL("wdm/nf-wdm-exgetsharedwaitercount", ExGetSharedWaiterCount(&Resource), 0);
    KeLeaveCriticalRegion();
}

static VOID OtherThreads(void)
{
    TRIAL trial;

    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(&Resource, TRUE);
    CHECK(EXCLUSIVE, !Other(ByExclusive).Got);
    CHECK(SHARED, !Other(ByShared).Got);
    CHECK(STARVE, !Other(ByStarve).Got);
    CHECK(WAIT_FOR, !Other(ByWaitFor).Got);
    /* Ownership is asked of the current thread. */
    trial = Other(ByShared);
    CHECK(IS_EXCLUSIVE, !trial.IsExclusive);
    CHECK_EQUAL(IS_SHARED, trial.Shared, 0);
    ExConvertExclusiveToSharedLite(&Resource);
    CHECK(CONVERT, !ExIsResourceAcquiredExclusiveLite(&Resource));
    CHECK_EQUAL(CONVERT, ExIsResourceAcquiredSharedLite(&Resource), 1);
    trial = Other(ByShared);
    CHECK(CONVERT, trial.Got && !trial.IsExclusive);
    CHECK_EQUAL(IS_SHARED, trial.Shared, 1);
    CHECK(EXCLUSIVE, !Other(ByExclusive).Got);
    CHECK(STARVE, Other(ByStarve).Got);
    CHECK(WAIT_FOR, Other(ByWaitFor).Got);
    ExReleaseResourceLite(&Resource);
    trial = Other(ByExclusive);
    CHECK(EXCLUSIVE, trial.Got && trial.IsExclusive);
    KeLeaveCriticalRegion();
}

/* Ownership is passed to a pointer, whose two lowest bits are set. */
static VOID Owners(void)
{
    static ERESOURCE_THREAD place;
    PVOID pointer = (PVOID)((ULONG_PTR)&place | 3);
    PVOID thread = (PVOID)((ULONG_PTR)PsGetCurrentThread() | 3);

    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(&Resource, TRUE);
    ExSetResourceOwnerPointer(&Resource, pointer);
    CHECK(OWNER, !Other(ByShared).Got);
    ExReleaseResourceForThreadLite(&Resource, (ERESOURCE_THREAD)pointer);
    CHECK(FOR_THREAD, Other(ByExclusive).Got);

    ExAcquireResourceSharedLite(&Resource, TRUE);
    ExSetResourceOwnerPointerEx(&Resource, thread, FLAG_OWNER_POINTER_IS_THREAD);
    CHECK(OWNER_EX, Other(ByShared).Got);
    CHECK(OWNER_EX, !Other(ByExclusive).Got);
    ExReleaseResourceForThreadLite(&Resource, (ERESOURCE_THREAD)thread);
    CHECK(FOR_THREAD, Other(ByExclusive).Got);

    ExAcquireResourceExclusiveLite(&Resource, TRUE);
    ExReleaseResourceForThreadLite(&Resource, ExGetCurrentResourceThread());
    CHECK_EQUAL(FOR_THREAD, ExIsResourceAcquiredSharedLite(&Resource), 0);
    KeLeaveCriticalRegion();
}

static VOID Regions(void)
{
    CHECK("wdm/nf-wdm-keareapcsdisabled", !KeAreApcsDisabled());
    ExEnterCriticalRegionAndAcquireResourceExclusive(&Resource);
    CHECK(REGION, KeAreApcsDisabled());
    CHECK(REGION, ExIsResourceAcquiredExclusiveLite(&Resource));
    ExReleaseResourceAndLeaveCriticalRegion(&Resource);
    CHECK("wdm/nf-wdm-exreleaseresourceandleavecriticalregion", !KeAreApcsDisabled());
    CHECK_EQUAL("wdm/nf-wdm-exreleaseresourceandleavecriticalregion", ExIsResourceAcquiredSharedLite(&Resource), 0);
}

VOID Conform_lock_resource(VOID)
{
    CHECK_EQUAL(INIT, ExInitializeResourceLite(&Resource), STATUS_SUCCESS);
    CHECK_EQUAL(INIT, ExInitializeResourceLite(&Second), STATUS_SUCCESS);
    Recursion();
    OtherThreads();
    Owners();
    Regions();
    CHECK_EQUAL("wdm/nf-wdm-exreinitializeresourcelite", ExReinitializeResourceLite(&Resource), STATUS_SUCCESS);
    KeEnterCriticalRegion();
    CHECK("wdm/nf-wdm-exreinitializeresourcelite", ExAcquireResourceExclusiveLite(&Resource, FALSE));
    ExReleaseResourceLite(&Resource);
    KeLeaveCriticalRegion();
    CHECK_EQUAL("wdm/nf-wdm-exdeleteresourcelite", ExDeleteResourceLite(&Resource), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-exdeleteresourcelite", ExDeleteResourceLite(&Second), STATUS_SUCCESS);
}
