/* Fast and guarded mutexes. */
#include "conformance.h"

#define GUIDE "kernel/fast-mutexes-and-guarded-mutexes"
#define ACQUIRE "wdm/nf-wdm-exacquirefastmutex"
#define RELEASE "wdm/nf-wdm-exreleasefastmutex"
#define TRY "wdm/nf-wdm-extrytoacquirefastmutex"
#define UNSAFE "wdm/nf-wdm-exacquirefastmutexunsafe"
#define GUARDED "wdm/nf-wdm-keacquireguardedmutex"
#define TRY_GUARDED "wdm/nf-wdm-ketrytoacquireguardedmutex"
#define GUARDED_UNSAFE "wdm/nf-wdm-keacquireguardedmutexunsafe"

static FAST_MUTEX Fast, SecondFast;
static KGUARDED_MUTEX Guarded;

/* What another thread gets when it tries. */
typedef struct _TRIAL {
    BOOLEAN IsGuarded, Got;
    KIRQL Level;
} TRIAL;

static VOID Try(PVOID Context)
{
    TRIAL *trial = Context;
    trial->Got = trial->IsGuarded ? KeTryToAcquireGuardedMutex(&Guarded) : ExTryToAcquireFastMutex(&Fast);
    trial->Level = KeGetCurrentIrql();
    if (trial->Got) {
        if (trial->IsGuarded) {
            KeReleaseGuardedMutex(&Guarded);
        } else {
            ExReleaseFastMutex(&Fast);
        }
    }
}

static TRIAL OtherThread(BOOLEAN IsGuarded)
{
    TRIAL trial = {0};
    trial.IsGuarded = IsGuarded;
    ConformanceInThread(Try, &trial);
    return trial;
}

static VOID FastMutex(void)
{
    TRIAL trial;
    KIRQL old;

    ExInitializeFastMutex(&Fast);
    ExInitializeFastMutex(&SecondFast);
    ExAcquireFastMutex(&Fast);
    CHECK_EQUAL(ACQUIRE, KeGetCurrentIrql(), APC_LEVEL);
    CHECK(GUIDE, KeAreAllApcsDisabled());
    ExAcquireFastMutex(&SecondFast);
    CHECK_EQUAL(ACQUIRE, KeGetCurrentIrql(), APC_LEVEL);
    ExReleaseFastMutex(&SecondFast);
    CHECK_EQUAL(RELEASE, KeGetCurrentIrql(), APC_LEVEL);
    ExReleaseFastMutex(&Fast);
    CHECK_EQUAL(RELEASE, KeGetCurrentIrql(), PASSIVE_LEVEL);
    CHECK(RELEASE, !KeAreAllApcsDisabled());

    /* A thread that calls at APC_LEVEL stays there. */
    KeRaiseIrql(APC_LEVEL, &old);
    ExAcquireFastMutex(&Fast);
    CHECK_EQUAL(ACQUIRE, KeGetCurrentIrql(), APC_LEVEL);
    ExReleaseFastMutex(&Fast);
    CHECK_EQUAL(RELEASE, KeGetCurrentIrql(), APC_LEVEL);
    KeLowerIrql(old);

    CHECK(TRY, ExTryToAcquireFastMutex(&Fast));
    CHECK_EQUAL(TRY, KeGetCurrentIrql(), APC_LEVEL);
    ExReleaseFastMutex(&Fast);
    CHECK_EQUAL(TRY, KeGetCurrentIrql(), PASSIVE_LEVEL);
    trial = OtherThread(FALSE);
    CHECK(TRY, trial.Got);
    CHECK_EQUAL(TRY, trial.Level, APC_LEVEL);

    KeEnterCriticalRegion();
    ExAcquireFastMutexUnsafe(&Fast);
    CHECK_EQUAL(UNSAFE, KeGetCurrentIrql(), PASSIVE_LEVEL);
    trial = OtherThread(FALSE);
    CHECK(TRY, !trial.Got);
    CHECK_EQUAL(UNSAFE, KeGetCurrentIrql(), PASSIVE_LEVEL);
    ExReleaseFastMutexUnsafe(&Fast);
    KeLeaveCriticalRegion();
    trial = OtherThread(FALSE);
    CHECK("wdm/nf-wdm-exreleasefastmutexunsafe", trial.Got);
}

static VOID GuardedMutex(void)
{
    TRIAL trial;
    KIRQL old;

    KeInitializeGuardedMutex(&Guarded);
    CHECK(GUARDED, !KeAreAllApcsDisabled());
    KeAcquireGuardedMutex(&Guarded);
    CHECK(GUARDED, KeAreAllApcsDisabled());
    CHECK(GUIDE, KeGetCurrentIrql() <= APC_LEVEL);
    KeReleaseGuardedMutex(&Guarded);
    CHECK("wdm/nf-wdm-kereleaseguardedmutex", !KeAreAllApcsDisabled());
    CHECK_EQUAL("wdm/nf-wdm-kereleaseguardedmutex", KeGetCurrentIrql(), PASSIVE_LEVEL);

    CHECK(TRY_GUARDED, KeTryToAcquireGuardedMutex(&Guarded));
    CHECK(TRY_GUARDED, KeAreAllApcsDisabled());
    KeReleaseGuardedMutex(&Guarded);
    CHECK(TRY_GUARDED, !KeAreAllApcsDisabled());
    trial = OtherThread(TRUE);
    CHECK(TRY_GUARDED, trial.Got);

    /* Inside a guarded region the routines without one of their own leave it as it is. */
    KeEnterGuardedRegion();
    KeAcquireGuardedMutexUnsafe(&Guarded);
    CHECK(GUARDED_UNSAFE, KeAreAllApcsDisabled());
    CHECK_EQUAL(GUARDED_UNSAFE, KeGetCurrentIrql(), PASSIVE_LEVEL);
    trial = OtherThread(TRUE);
    CHECK(TRY_GUARDED, !trial.Got);
    KeReleaseGuardedMutexUnsafe(&Guarded);
    CHECK("wdm/nf-wdm-kereleaseguardedmutexunsafe", KeAreAllApcsDisabled());
    KeLeaveGuardedRegion();
    CHECK("wdm/nf-wdm-keleaveguardedregion", !KeAreAllApcsDisabled());

    KeRaiseIrql(APC_LEVEL, &old);
    KeAcquireGuardedMutexUnsafe(&Guarded);
    CHECK_EQUAL(GUARDED_UNSAFE, KeGetCurrentIrql(), APC_LEVEL);
    KeReleaseGuardedMutexUnsafe(&Guarded);
    KeLowerIrql(old);
}

/* Threads that wait for the mutex get it one after the other. */
static volatile LONG Counter, Inside, Overlaps;

static VOID CountUp(PVOID Context)
{
    ULONG i;
    UNREFERENCED_PARAMETER(Context);
    for (i = 0; i < 20; i++) {
        ExAcquireFastMutex(&Fast);
        if (InterlockedIncrement(&Inside) != 1) {
            InterlockedIncrement(&Overlaps);
        }
        Counter = Counter + 1;
        InterlockedDecrement(&Inside);
        ExReleaseFastMutex(&Fast);
    }
}

static VOID Waiters(void)
{
    PKTHREAD threads[3];
    ULONG i;

    KeEnterCriticalRegion();
    ExAcquireFastMutexUnsafe(&Fast);
    for (i = 0; i < 3; i++) {
        threads[i] = ConformanceThread(CountUp, NULL);
    }
    ConformanceSleep(50);
    CHECK_EQUAL(ACQUIRE, Counter, 0);
    ExReleaseFastMutexUnsafe(&Fast);
    KeLeaveCriticalRegion();
    for (i = 0; i < 3; i++) {
        KeWaitForSingleObject(threads[i], Executive, KernelMode, FALSE, NULL);
        ObDereferenceObject(threads[i]);
    }
    CHECK_EQUAL(GUIDE, Counter, 60);
    CHECK_EQUAL(GUIDE, Overlaps, 0);
}

VOID Conform_lock_fast_mutex(VOID)
{
    FastMutex();
    GuardedMutex();
    Waiters();
}
