/* Remove locks. */
#include "conformance.h"

#define ACQUIRE "wdm/nf-wdm-ioacquireremovelock"
#define RELEASE "wdm/nf-wdm-ioreleaseremovelock"
#define WAIT "wdm/nf-wdm-ioreleaseremovelockandwait"
#define GUIDE "kernel/using-remove-locks"

static IO_REMOVE_LOCK Lock;
static volatile LONG Over;
static int TagOne, TagTwo, TagThree;

static VOID Remove(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    CHECK_EQUAL(ACQUIRE, (ULONG)IoAcquireRemoveLock(&Lock, &TagThree), STATUS_SUCCESS);
    IoReleaseRemoveLockAndWait(&Lock, &TagThree);
    InterlockedExchange(&Over, 1);
}

VOID Conform_lock_remove(VOID)
{
    PKTHREAD thread;
    KIRQL old;

    IoInitializeRemoveLock(&Lock, CONFORMANCE_TAG, 0, 0);
    CHECK_EQUAL(ACQUIRE, (ULONG)IoAcquireRemoveLock(&Lock, &TagOne), STATUS_SUCCESS);
    CHECK_EQUAL(GUIDE, (ULONG)IoAcquireRemoveLock(&Lock, &TagTwo), STATUS_SUCCESS);
    /* The same tag may be used again. */
    CHECK_EQUAL(ACQUIRE, (ULONG)IoAcquireRemoveLock(&Lock, &TagTwo), STATUS_SUCCESS);
    IoReleaseRemoveLock(&Lock, &TagTwo);
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    CHECK_EQUAL(ACQUIRE, (ULONG)IoAcquireRemoveLock(&Lock, NULL), STATUS_SUCCESS);
    IoReleaseRemoveLock(&Lock, NULL);
    CHECK_EQUAL(RELEASE, KeGetCurrentIrql(), DISPATCH_LEVEL);
    KeLowerIrql(old);

    thread = ConformanceThread(Remove, NULL);
    ConformanceSleep(50);
    CHECK_EQUAL(WAIT, Over, 0);
    CHECK_EQUAL(ACQUIRE, (ULONG)IoAcquireRemoveLock(&Lock, &TagOne), (ULONG)STATUS_DELETE_PENDING);
    IoReleaseRemoveLock(&Lock, &TagOne);
    ConformanceSleep(50);
    CHECK_EQUAL(WAIT, Over, 0);
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    CHECK_EQUAL(ACQUIRE, (ULONG)IoAcquireRemoveLock(&Lock, NULL), (ULONG)STATUS_DELETE_PENDING);
    KeLowerIrql(old);
    IoReleaseRemoveLock(&Lock, &TagTwo);
    KeWaitForSingleObject(thread, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(thread);
    CHECK_EQUAL(WAIT, Over, 1);
    CHECK_EQUAL(WAIT, (ULONG)IoAcquireRemoveLock(&Lock, &TagOne), (ULONG)STATUS_DELETE_PENDING);
}
