/* In-stack queued spin locks. */
#include "conformance.h"

#define ACQUIRE "wdm/nf-wdm-keacquireinstackqueuedspinlock"
#define RELEASE "wdm/nf-wdm-kereleaseinstackqueuedspinlock"
#define AT_DPC "wdm/nf-wdm-keacquireinstackqueuedspinlockatdpclevel"
#define FROM_DPC "wdm/nf-wdm-kereleaseinstackqueuedspinlockfromdpclevel"
#define FOR_DPC "wdm/nf-wdm-keacquireinstackqueuedspinlockfordpc"
#define GUIDE "kernel/queued-spin-locks"

static KSPIN_LOCK Lock, Inner;

static VOID Levels(void)
{
    KLOCK_QUEUE_HANDLE handle, second;
    KIRQL old;

    KeInitializeSpinLock(&Lock);
    KeInitializeSpinLock(&Inner);
    KeAcquireInStackQueuedSpinLock(&Lock, &handle);
    CHECK_EQUAL(ACQUIRE, KeGetCurrentIrql(), DISPATCH_LEVEL);
    CHECK_EQUAL(ACQUIRE, handle.OldIrql, PASSIVE_LEVEL);
    CHECK(ACQUIRE, !KeTestSpinLock(&Lock));
    /* Each acquisition has a handle of its own. */
    KeAcquireInStackQueuedSpinLock(&Inner, &second);
    CHECK_EQUAL(ACQUIRE, second.OldIrql, DISPATCH_LEVEL);
    CHECK(GUIDE, !KeTestSpinLock(&Inner) && !KeTestSpinLock(&Lock));
    KeReleaseInStackQueuedSpinLock(&second);
    CHECK_EQUAL(RELEASE, KeGetCurrentIrql(), DISPATCH_LEVEL);
    CHECK(RELEASE, KeTestSpinLock(&Inner));
    CHECK(RELEASE, !KeTestSpinLock(&Lock));
    KeReleaseInStackQueuedSpinLock(&handle);
    CHECK_EQUAL(RELEASE, KeGetCurrentIrql(), PASSIVE_LEVEL);
    CHECK(RELEASE, KeTestSpinLock(&Lock));

    KeRaiseIrql(APC_LEVEL, &old);
    KeAcquireInStackQueuedSpinLock(&Lock, &handle);
    CHECK_EQUAL(ACQUIRE, handle.OldIrql, APC_LEVEL);
    KeReleaseInStackQueuedSpinLock(&handle);
    CHECK_EQUAL(RELEASE, KeGetCurrentIrql(), APC_LEVEL);
    KeLowerIrql(old);

    KeRaiseIrql(DISPATCH_LEVEL, &old);
    KeAcquireInStackQueuedSpinLockAtDpcLevel(&Lock, &handle);
    CHECK_EQUAL(AT_DPC, KeGetCurrentIrql(), DISPATCH_LEVEL);
    CHECK(AT_DPC, !KeTestSpinLock(&Lock));
    KeReleaseInStackQueuedSpinLockFromDpcLevel(&handle);
    CHECK_EQUAL(FROM_DPC, KeGetCurrentIrql(), DISPATCH_LEVEL);
    CHECK(FROM_DPC, KeTestSpinLock(&Lock));
    KeAcquireInStackQueuedSpinLockForDpc(&Lock, &handle);
    CHECK_EQUAL(FOR_DPC, KeGetCurrentIrql(), DISPATCH_LEVEL);
    KeReleaseInStackQueuedSpinLockForDpc(&handle);
    CHECK_EQUAL("wdm/nf-wdm-kereleaseinstackqueuedspinlockfordpc", KeGetCurrentIrql(), DISPATCH_LEVEL);
    KeLowerIrql(old);

    KeAcquireInStackQueuedSpinLockForDpc(&Lock, &handle);
    CHECK_EQUAL(FOR_DPC, KeGetCurrentIrql(), DISPATCH_LEVEL);
    CHECK(FOR_DPC, !KeTestSpinLock(&Lock));
    KeReleaseInStackQueuedSpinLockForDpc(&handle);
    CHECK_EQUAL("wdm/nf-wdm-kereleaseinstackqueuedspinlockfordpc", KeGetCurrentIrql(), PASSIVE_LEVEL);
    CHECK("wdm/nf-wdm-kereleaseinstackqueuedspinlockfordpc", KeTestSpinLock(&Lock));
}

static volatile LONG Counter, Overlaps, InSection;

static VOID CountUp(PVOID Context)
{
    KLOCK_QUEUE_HANDLE handle;
    ULONG i;
    UNREFERENCED_PARAMETER(Context);
    for (i = 0; i < 200; i++) {
        KeAcquireInStackQueuedSpinLock(&Lock, &handle);
        if (InSection != 0) {
            Overlaps = Overlaps + 1;
        }
        InSection = 1;
        Counter = Counter + 1;
        InSection = 0;
        KeReleaseInStackQueuedSpinLock(&handle);
    }
}

VOID Conform_lock_queued(VOID)
{
    PKTHREAD threads[3];
    ULONG i;

    Levels();
    for (i = 0; i < 3; i++) {
        threads[i] = ConformanceThread(CountUp, NULL);
    }
    CountUp(NULL);
    for (i = 0; i < 3; i++) {
        KeWaitForSingleObject(threads[i], Executive, KernelMode, FALSE, NULL);
        ObDereferenceObject(threads[i]);
    }
    CHECK_EQUAL(GUIDE, Counter, 800);
    CHECK_EQUAL(GUIDE, Overlaps, 0);
    CHECK(RELEASE, KeTestSpinLock(&Lock));
}
