/* Push locks. */
#include "conformance.h"

#define INIT "wdm/nf-wdm-exinitializepushlock"
#define EXCLUSIVE "wdm/nf-wdm-exacquirepushlockexclusive"
#define SHARED "wdm/nf-wdm-exacquirepushlockshared"
#define RELEASE_EXCLUSIVE "wdm/nf-wdm-exreleasepushlockexclusive"
#define RELEASE_SHARED "wdm/nf-wdm-exreleasepushlockshared"

static EX_PUSH_LOCK Lock;
static KEVENT LetGo;
static volatile LONG Readers, Writers, MostReaders;

static VOID Read(PVOID Context)
{
    LONG now;
    UNREFERENCED_PARAMETER(Context);
    KeEnterCriticalRegion();
    ExAcquirePushLockShared(&Lock);
    now = InterlockedIncrement(&Readers);
    if (now > MostReaders) {
        MostReaders = now;
    }
    KeWaitForSingleObject(&LetGo, Executive, KernelMode, FALSE, NULL);
    InterlockedDecrement(&Readers);
    ExReleasePushLockShared(&Lock);
    KeLeaveCriticalRegion();
}

static VOID Write(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    KeEnterCriticalRegion();
    ExAcquirePushLockExclusive(&Lock);
    InterlockedIncrement(&Writers);
    KeWaitForSingleObject(&LetGo, Executive, KernelMode, FALSE, NULL);
    InterlockedDecrement(&Writers);
    ExReleasePushLockExclusive(&Lock);
    KeLeaveCriticalRegion();
}

static VOID End(PKTHREAD Thread)
{
    KeWaitForSingleObject(Thread, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(Thread);
}

VOID Conform_lock_push(VOID)
{
    PKTHREAD threads[3];
    ULONG i;

    KeInitializeEvent(&LetGo, NotificationEvent, FALSE);
    Lock = 5;
    ExInitializePushLock(&Lock);
    CHECK_EQUAL(INIT, Lock, 0);

    KeEnterCriticalRegion();
    ExAcquirePushLockExclusive(&Lock);
    CHECK_EQUAL(EXCLUSIVE, KeGetCurrentIrql(), PASSIVE_LEVEL);
    CHECK(EXCLUSIVE, Lock != 0);
    /* Neither a reader nor a writer gets in. */
    threads[0] = ConformanceThread(Read, NULL);
    threads[1] = ConformanceThread(Write, NULL);
    ConformanceSleep(50);
    CHECK_EQUAL(EXCLUSIVE, Readers, 0);
    CHECK_EQUAL(EXCLUSIVE, Writers, 0);
    ExReleasePushLockExclusive(&Lock);
    ConformanceSleep(50);
    CHECK_EQUAL(RELEASE_EXCLUSIVE, Readers + Writers, 1);
    KeSetEvent(&LetGo, IO_NO_INCREMENT, FALSE);
    End(threads[0]);
    End(threads[1]);
    CHECK_EQUAL(RELEASE_EXCLUSIVE, Lock, 0);

    /* Readers are together, a writer waits for all of them. */
    KeClearEvent(&LetGo);
    ExAcquirePushLockShared(&Lock);
    CHECK_EQUAL(SHARED, KeGetCurrentIrql(), PASSIVE_LEVEL);
    MostReaders = 0;
    for (i = 0; i < 2; i++) {
        threads[i] = ConformanceThread(Read, NULL);
    }
    ConformanceSleep(50);
    CHECK_EQUAL(SHARED, Readers, 2);
    CHECK_EQUAL(SHARED, MostReaders, 2);
    threads[2] = ConformanceThread(Write, NULL);
    ConformanceSleep(50);
    CHECK_EQUAL(SHARED, Writers, 0);
    ExReleasePushLockShared(&Lock);
    ConformanceSleep(50);
    CHECK_EQUAL(RELEASE_SHARED, Writers, 0);
    KeSetEvent(&LetGo, IO_NO_INCREMENT, FALSE);
    for (i = 0; i < 3; i++) {
        End(threads[i]);
    }
    CHECK_EQUAL(RELEASE_SHARED, Lock, 0);
    KeLeaveCriticalRegion();
}
