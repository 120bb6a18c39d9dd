/* Critical and guarded regions, APC_LEVEL, and which APCs each holds off. */
#include "conformance.h"

#define REGIONS "kernel/critical-regions-and-guarded-regions"

static KAPC Apc, Normal;
static volatile LONG Kernels, Normals, Bad;

static VOID KernelRoutine(PKAPC Which, PKNORMAL_ROUTINE *NormalRoutine, PVOID *Context, PVOID *First, PVOID *Second)
{
    UNREFERENCED_PARAMETER(Which);
    UNREFERENCED_PARAMETER(NormalRoutine);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    if (KeGetCurrentIrql() != APC_LEVEL) {
        InterlockedIncrement(&Bad);
    }
    InterlockedIncrement(&Kernels);
}

static VOID NormalRoutine(PVOID Context, PVOID First, PVOID Second)
{
    if (KeGetCurrentIrql() != PASSIVE_LEVEL || Context != &Normal || First != &Kernels || Second != &Normals) {
        InterlockedIncrement(&Bad);
    }
    InterlockedIncrement(&Normals);
}

/* Queues a special and a normal kernel APC to the current thread; both are its own. */
static VOID Queue(VOID)
{
    Kernels = Normals = Bad = 0;
    KeInitializeApc(&Apc, KeGetCurrentThread(), OriginalApcEnvironment, KernelRoutine, NULL, NULL, KernelMode, NULL);
    KeInitializeApc(&Normal, KeGetCurrentThread(), OriginalApcEnvironment, KernelRoutine, NULL, NormalRoutine,
                    KernelMode, &Normal);
    CHECK("kernel/types-of-apcs", KeInsertQueueApc(&Normal, (PVOID)&Kernels, (PVOID)&Normals, IO_NO_INCREMENT));
    CHECK("kernel/types-of-apcs", KeInsertQueueApc(&Apc, NULL, NULL, IO_NO_INCREMENT));
}

static VOID States(VOID)
{
    KIRQL old;

    CHECK("wdm/nf-wdm-keareapcsdisabled", !KeAreApcsDisabled());
    CHECK("wdm/nf-wdm-keareallapcsdisabled", !KeAreAllApcsDisabled());
    KeEnterCriticalRegion();
    CHECK("wdm/nf-wdm-keareapcsdisabled", KeAreApcsDisabled());
    CHECK("wdm/nf-wdm-keareallapcsdisabled", !KeAreAllApcsDisabled());
    KeEnterCriticalRegion();
    KeLeaveCriticalRegion();
    CHECK("ntddk/nf-ntddk-keleavecriticalregion", KeAreApcsDisabled());
    KeLeaveCriticalRegion();
    CHECK("ntddk/nf-ntddk-keleavecriticalregion", !KeAreApcsDisabled());
    KeEnterGuardedRegion();
    CHECK("wdm/nf-wdm-keareapcsdisabled", KeAreApcsDisabled());
    CHECK("wdm/nf-wdm-keareallapcsdisabled", KeAreAllApcsDisabled());
    CHECK_EQUAL(REGIONS, KeGetCurrentIrql(), PASSIVE_LEVEL);
    KeEnterCriticalRegion();
    KeLeaveGuardedRegion();
    CHECK("wdm/nf-wdm-keleaveguardedregion", !KeAreAllApcsDisabled());
    CHECK("wdm/nf-wdm-keareapcsdisabled", KeAreApcsDisabled());
    KeLeaveCriticalRegion();
    CHECK("wdm/nf-wdm-keareapcsdisabled", !KeAreApcsDisabled());
    KeRaiseIrql(APC_LEVEL, &old);
    CHECK("wdm/nf-wdm-keareallapcsdisabled", KeAreAllApcsDisabled());
    KeLowerIrql(old);
    CHECK("wdm/nf-wdm-keareallapcsdisabled", !KeAreAllApcsDisabled());
}

/* The same counts in the places where compiled code looks: KTHREAD.KernelApcDisable, SpecialApcDisable. */
static VOID Delivery(VOID)
{
    KIRQL old;

    Queue();
    CHECK_EQUAL("kernel/types-of-apcs", Kernels, 2);
    CHECK_EQUAL("kernel/types-of-apcs", Normals, 1);
    CHECK_EQUAL("kernel/types-of-apcs", Bad, 0);

    KeEnterCriticalRegion();
    Queue();
    CHECK_EQUAL(REGIONS, Kernels, 1);
    CHECK_EQUAL(REGIONS, Normals, 0);
    KeLeaveCriticalRegion();
    CHECK_EQUAL(REGIONS, Kernels, 2);
    CHECK_EQUAL(REGIONS, Normals, 1);
    CHECK_EQUAL(REGIONS, Bad, 0);

    KeEnterGuardedRegion();
    Queue();
    CHECK_EQUAL(REGIONS, Kernels, 0);
    KeLeaveGuardedRegion();
    CHECK_EQUAL(REGIONS, Kernels, 2);
    CHECK_EQUAL(REGIONS, Normals, 1);

    KeRaiseIrql(APC_LEVEL, &old);
    Queue();
    CHECK_EQUAL("kernel/disabling-apcs", Kernels, 0);
    KeLowerIrql(old);
    CHECK_EQUAL("kernel/disabling-apcs", Kernels, 2);
    CHECK_EQUAL("kernel/disabling-apcs", Normals, 1);

    KeRaiseIrql(DISPATCH_LEVEL, &old);
    Queue();
    CHECK_EQUAL("kernel/disabling-apcs", Kernels, 0);
    KeLowerIrql(old);
    CHECK_EQUAL("kernel/disabling-apcs", Kernels, 2);
    CHECK_EQUAL("kernel/disabling-apcs", Bad, 0);
}

/* A mutex holds off normal kernel APCs; a fast mutex holds off all. */
static VOID Locks(VOID)
{
    KMUTEX mutex;
    FAST_MUTEX fast;
    KGUARDED_MUTEX guarded;

    KeInitializeMutex(&mutex, 0);
    KeWaitForSingleObject(&mutex, Executive, KernelMode, FALSE, NULL);
    Queue();
    CHECK_EQUAL("kernel/disabling-apcs", Kernels, 1);
    CHECK_EQUAL("kernel/disabling-apcs", Normals, 0);
    KeReleaseMutex(&mutex, FALSE);
    CHECK_EQUAL("kernel/disabling-apcs", Normals, 1);

    ExInitializeFastMutex(&fast);
    ExAcquireFastMutex(&fast);
    CHECK("kernel/fast-mutexes-and-guarded-mutexes", KeAreAllApcsDisabled());
    Queue();
    CHECK_EQUAL("kernel/fast-mutexes-and-guarded-mutexes", Kernels, 0);
    ExReleaseFastMutex(&fast);
    CHECK_EQUAL("kernel/fast-mutexes-and-guarded-mutexes", Normals, 1);

    KeInitializeGuardedMutex(&guarded);
    KeAcquireGuardedMutex(&guarded);
    CHECK("kernel/fast-mutexes-and-guarded-mutexes", KeAreAllApcsDisabled());
    Queue();
    CHECK_EQUAL("kernel/fast-mutexes-and-guarded-mutexes", Kernels, 0);
    KeReleaseGuardedMutex(&guarded);
    CHECK_EQUAL("kernel/fast-mutexes-and-guarded-mutexes", Normals, 1);
}

VOID Conform_apc_regions(VOID)
{
    States();
    Delivery();
    Locks();
}
