/* Mutexes and mutants: ownership, recursion, exceptions, abandonment. */
#include "conformance.h"

static KMUTEX Mutex;
static KMUTANT Mutant;
static KEVENT Owned, Go;

static NTSTATUS TryOnce(PVOID Object)
{
    LARGE_INTEGER now = {0};
    return KeWaitForSingleObject(Object, Executive, KernelMode, FALSE, &now);
}

/* Another thread cannot have what is owned, nor release it. */
static VOID Stranger(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    CHECK_EQUAL("wdm/nf-wdm-kewaitforsingleobject", (ULONG)TryOnce(&Mutex), STATUS_TIMEOUT);
    CHECK_RAISES("wdm/nf-wdm-kereleasemutex", KeReleaseMutex(&Mutex, FALSE), STATUS_MUTANT_NOT_OWNED);
    CHECK_EQUAL("wdm/nf-wdm-kereadstatemutex", KeReadStateMutex(&Mutex), 0);
    CHECK("wdm/nf-wdm-keareapcsdisabled", !KeAreApcsDisabled());
}

static VOID Owner(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    CHECK_EQUAL("kernel/mutex-objects", (ULONG)TryOnce(&Mutex), STATUS_SUCCESS);
    KeSetEvent(&Owned, IO_NO_INCREMENT, FALSE);
    KeWaitForSingleObject(&Go, Executive, KernelMode, FALSE, NULL);
    CHECK_EQUAL("wdm/nf-wdm-kereleasemutex", KeReleaseMutex(&Mutex, FALSE), 0);
}

static VOID EndsAsOwner(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    CHECK_EQUAL("wdm/nf-wdm-kewaitforsingleobject", (ULONG)TryOnce(&Mutant), STATUS_SUCCESS);
}

static VOID Recursion(VOID)
{
    ULONG i;

    for (i = 0; i < 3; i++) {
        CHECK_EQUAL("kernel/mutex-objects", (ULONG)TryOnce(&Mutex), STATUS_SUCCESS);
    }
    CHECK("wdm/nf-wdm-kereadstatemutex", KeReadStateMutex(&Mutex) != 1);
    CHECK("wdm/nf-wdm-kereleasemutex", KeReleaseMutex(&Mutex, FALSE) != 0);
    CHECK("wdm/nf-wdm-kereleasemutex", KeReleaseMutex(&Mutex, FALSE) != 0);
    CHECK("kernel/mutex-objects", KeAreApcsDisabled());
    CHECK_EQUAL("wdm/nf-wdm-kereleasemutex", KeReleaseMutex(&Mutex, FALSE), 0);
    CHECK_EQUAL("wdm/nf-wdm-kereadstatemutex", KeReadStateMutex(&Mutex), 1);
}

VOID Conform_ke_mutex(VOID)
{
    PKTHREAD thread;
    LARGE_INTEGER brief;
    PVOID both[2];
    KEVENT event;

    KeInitializeMutex(&Mutex, 0);
    CHECK_EQUAL("wdm/nf-wdm-keinitializemutex", KeReadStateMutex(&Mutex), 1);
    CHECK("wdm/nf-wdm-keareapcsdisabled", !KeAreApcsDisabled());
    CHECK_EQUAL("wdm/nf-wdm-kewaitforsingleobject", (ULONG)TryOnce(&Mutex), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-kereadstatemutex", KeReadStateMutex(&Mutex), 0);
    /* The owner gets no normal kernel APCs, as in a critical region; special ones it does get. */
    CHECK("kernel/disabling-apcs", KeAreApcsDisabled());
    CHECK("kernel/disabling-apcs", !KeAreAllApcsDisabled());
    ConformanceInThread(Stranger, NULL);
    CHECK_EQUAL("wdm/nf-wdm-kereleasemutex", KeReleaseMutex(&Mutex, FALSE), 0);
    CHECK("kernel/disabling-apcs", !KeAreApcsDisabled());
    CHECK_RAISES("wdm/nf-wdm-kereleasemutex", KeReleaseMutex(&Mutex, FALSE), STATUS_MUTANT_NOT_OWNED);
    Recursion();
    CHECK("kernel/disabling-apcs", !KeAreApcsDisabled());

    /* A region and a mutex together: both must be left. */
    KeEnterCriticalRegion();
    TryOnce(&Mutex);
    KeLeaveCriticalRegion();
    CHECK("kernel/disabling-apcs", KeAreApcsDisabled());
    KeReleaseMutex(&Mutex, FALSE);
    CHECK("kernel/disabling-apcs", !KeAreApcsDisabled());

    KeInitializeEvent(&Owned, NotificationEvent, FALSE);
    KeInitializeEvent(&Go, NotificationEvent, FALSE);
    thread = ConformanceThread(Owner, NULL);
    if (thread != NULL) {
        KeWaitForSingleObject(&Owned, Executive, KernelMode, FALSE, NULL);
        brief.QuadPart = -10000;
        CHECK_EQUAL("wdm/nf-wdm-kewaitforsingleobject",
                    (ULONG)KeWaitForSingleObject(&Mutex, Executive, KernelMode, FALSE, &brief), STATUS_TIMEOUT);
        CHECK("kernel/disabling-apcs", !KeAreApcsDisabled());
        KeSetEvent(&Go, IO_NO_INCREMENT, FALSE);
        CHECK_EQUAL("wdm/nf-wdm-kewaitforsingleobject",
                    (ULONG)KeWaitForSingleObject(&Mutex, Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS);
        CHECK("kernel/disabling-apcs", KeAreApcsDisabled());
        KeReleaseMutex(&Mutex, FALSE);
        KeWaitForSingleObject(thread, Executive, KernelMode, FALSE, NULL);
        ObDereferenceObject(thread);
    }

    /* A wait for all takes the mutex only together with the rest. */
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    both[0] = &Mutex;
    both[1] = &event;
    brief.QuadPart = 0;
    CHECK_EQUAL("wdm/nf-wdm-kewaitformultipleobjects",
                (ULONG)KeWaitForMultipleObjects(2, both, WaitAll, Executive, KernelMode, FALSE, &brief, NULL),
                STATUS_TIMEOUT);
    CHECK_EQUAL("wdm/nf-wdm-kewaitformultipleobjects", KeReadStateMutex(&Mutex), 1);
    KeSetEvent(&event, IO_NO_INCREMENT, FALSE);
    CHECK_EQUAL("wdm/nf-wdm-kewaitformultipleobjects",
                (ULONG)KeWaitForMultipleObjects(2, both, WaitAll, Executive, KernelMode, FALSE, &brief, NULL),
                STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-kewaitformultipleobjects", KeReadStateMutex(&Mutex), 0);
    CHECK_EQUAL("wdm/nf-wdm-kereleasemutex", KeReleaseMutex(&Mutex, FALSE), 0);

    /* Release with Wait TRUE, then the wait that it promises. */
    TryOnce(&Mutex);
    KeClearEvent(&event);
    CHECK_EQUAL("wdm/nf-wdm-kereleasemutex", KeReleaseMutex(&Mutex, TRUE), 0);
    brief.QuadPart = -10000;
    CHECK_EQUAL("wdm/nf-wdm-kereleasemutex",
                (ULONG)KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, &brief), STATUS_TIMEOUT);
    CHECK_EQUAL("wdm/nf-wdm-kereleasemutex", KeGetCurrentIrql(), PASSIVE_LEVEL);

    /* A mutant, unlike a mutex, is abandoned by an owner that ends. */
    KeInitializeMutant(&Mutant, FALSE);
    ConformanceInThread(EndsAsOwner, NULL);
    CHECK_EQUAL("wdm/nf-wdm-kewaitforsingleobject", (ULONG)TryOnce(&Mutant), STATUS_ABANDONED_WAIT_0);
    CHECK("kernel/mutex-objects", !KeAreApcsDisabled());
    KeReleaseMutant(&Mutant, MUTANT_INCREMENT, FALSE, FALSE);
    CHECK_EQUAL("wdm/nf-wdm-kewaitforsingleobject", (ULONG)TryOnce(&Mutant), STATUS_SUCCESS);
    KeReleaseMutant(&Mutant, MUTANT_INCREMENT, FALSE, FALSE);
    KeInitializeMutant(&Mutant, TRUE);
    CHECK_EQUAL("wdm/nf-wdm-kereadstatemutex", KeReadStateMutex(&Mutant), 0);
    CHECK_EQUAL("wdm/nf-wdm-kereleasemutex", KeReleaseMutant(&Mutant, MUTANT_INCREMENT, FALSE, FALSE), 0);
}
