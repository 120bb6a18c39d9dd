/* Run-down protection, plain and cache-aware. */
#include "conformance.h"

#define GUIDE "kernel/run-down-protection"
#define ACQUIRE "wdm/nf-wdm-exacquirerundownprotection"
#define ACQUIRE_EX "wdm/nf-wdm-exacquirerundownprotectionex"
#define RELEASE "wdm/nf-wdm-exreleaserundownprotection"
#define WAIT "wdm/nf-wdm-exwaitforrundownprotectionrelease"
#define REINIT "wdm/nf-wdm-exreinitializerundownprotection"
#define COMPLETED "wdm/nf-wdm-exrundowncompleted"
#define ALLOCATE "wdm/nf-wdm-exallocatecacheawarerundownprotection"
#define SIZE_OF "wdm/nf-wdm-exsizeofrundownprotectioncacheaware"
#define AWARE "wdm/nf-wdm-exacquirerundownprotectioncacheaware"
#define WAIT_AWARE "wdm/nf-wdm-exwaitforrundownprotectionreleasecacheaware"

static EX_RUNDOWN_REF Plain;
static PEX_RUNDOWN_REF_CACHE_AWARE Aware;
static volatile LONG Over;

static VOID RunDown(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    ExWaitForRundownProtectionRelease(&Plain);
    InterlockedExchange(&Over, 1);
}

static VOID RunDownAware(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    ExWaitForRundownProtectionReleaseCacheAware(Aware);
    InterlockedExchange(&Over, 1);
}

static VOID End(PKTHREAD Thread)
{
    KeWaitForSingleObject(Thread, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(Thread);
}

static VOID PlainOne(void)
{
    PKTHREAD thread;
    KIRQL old;

    ExInitializeRundownProtection(&Plain);
    CHECK(ACQUIRE, ExAcquireRundownProtection(&Plain));
    CHECK(GUIDE, ExAcquireRundownProtection(&Plain));
    CHECK(ACQUIRE_EX, ExAcquireRundownProtectionEx(&Plain, 3));
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    CHECK(ACQUIRE, ExAcquireRundownProtection(&Plain));
    ExReleaseRundownProtection(&Plain);
    KeLowerIrql(old);

    Over = 0;
    thread = ConformanceThread(RunDown, NULL);
    ConformanceSleep(50);
    CHECK_EQUAL(WAIT, Over, 0);
    /* Who comes now is turned away. */
    CHECK(ACQUIRE, !ExAcquireRundownProtection(&Plain));
    CHECK(ACQUIRE_EX, !ExAcquireRundownProtectionEx(&Plain, 2));
    ExReleaseRundownProtectionEx(&Plain, 3);
    ExReleaseRundownProtection(&Plain);
    ConformanceSleep(50);
    CHECK_EQUAL(WAIT, Over, 0);
    ExReleaseRundownProtection(&Plain);
    End(thread);
    CHECK_EQUAL(RELEASE, Over, 1);
    CHECK(GUIDE, !ExAcquireRundownProtection(&Plain));
    /* A second run-down has nothing to wait for. */
    ExWaitForRundownProtectionRelease(&Plain);
    CHECK(WAIT, !ExAcquireRundownProtection(&Plain));
    ExRundownCompleted(&Plain);
    CHECK(COMPLETED, !ExAcquireRundownProtection(&Plain));
    ExWaitForRundownProtectionRelease(&Plain);
    CHECK(COMPLETED, !ExAcquireRundownProtection(&Plain));
    ExReInitializeRundownProtection(&Plain);
    CHECK(REINIT, ExAcquireRundownProtection(&Plain));
    ExReleaseRundownProtection(&Plain);
    ExWaitForRundownProtectionRelease(&Plain);
    CHECK(WAIT, !ExAcquireRundownProtection(&Plain));
    ExRundownCompleted(&Plain);
}

static VOID CacheAware(void)
{
    PKTHREAD thread;
    PVOID memory;

    CHECK(AWARE, ExAcquireRundownProtectionCacheAware(Aware));
    CHECK("wdm/nf-wdm-exacquirerundownprotectioncacheawareex", ExAcquireRundownProtectionCacheAwareEx(Aware, 4));
    Over = 0;
    thread = ConformanceThread(RunDownAware, NULL);
    ConformanceSleep(50);
    CHECK_EQUAL(WAIT_AWARE, Over, 0);
    CHECK(AWARE, !ExAcquireRundownProtectionCacheAware(Aware));
    ExReleaseRundownProtectionCacheAwareEx(Aware, 4);
    ConformanceSleep(50);
    CHECK_EQUAL(WAIT_AWARE, Over, 0);
    ExReleaseRundownProtectionCacheAware(Aware);
    End(thread);
    CHECK_EQUAL("wdm/nf-wdm-exreleaserundownprotectioncacheaware", Over, 1);
    CHECK(AWARE, !ExAcquireRundownProtectionCacheAware(Aware));
    ExRundownCompletedCacheAware(Aware);
    CHECK("wdm/nf-wdm-exrundowncompletedcacheaware", !ExAcquireRundownProtectionCacheAware(Aware));
    ExReInitializeRundownProtectionCacheAware(Aware);
    CHECK("wdm/nf-wdm-exreinitializerundownprotectioncacheaware", ExAcquireRundownProtectionCacheAware(Aware));
    ExReleaseRundownProtectionCacheAware(Aware);
    ExFreeCacheAwareRundownProtection(Aware);

    /* The same in memory of the driver's own. */
    CHECK(SIZE_OF, ExSizeOfRundownProtectionCacheAware() >= sizeof(EX_RUNDOWN_REF));
    memory = ExAllocatePool2(POOL_FLAG_NON_PAGED, ExSizeOfRundownProtectionCacheAware(), CONFORMANCE_TAG);
    if (CHECK("wdm/nf-wdm-exallocatepool2", memory != NULL)) {
        Aware = memory;
        ExInitializeRundownProtectionCacheAware(Aware, ExSizeOfRundownProtectionCacheAware());
        CHECK("wdm/nf-wdm-exinitializerundownprotectioncacheaware", ExAcquireRundownProtectionCacheAware(Aware));
        ExReleaseRundownProtectionCacheAware(Aware);
        ExWaitForRundownProtectionReleaseCacheAware(Aware);
        CHECK(WAIT_AWARE, !ExAcquireRundownProtectionCacheAware(Aware));
        ExFreePoolWithTag(memory, CONFORMANCE_TAG);
    }
}

VOID Conform_lock_rundown(VOID)
{
    PlainOne();
    Aware = ExAllocateCacheAwareRundownProtection(NonPagedPoolNx, CONFORMANCE_TAG);
    if (CHECK(ALLOCATE, Aware != NULL)) {
        CacheAware();
    }
}
