/* Waits: one object, any and all of several, time-outs, threads, pulses. */
#include "conformance.h"

#define WAIT_ONE "wdm/nf-wdm-kewaitforsingleobject"
#define WAIT_SEVERAL "wdm/nf-wdm-kewaitformultipleobjects"

static NTSTATUS Several(ULONG Count, PVOID *Objects, WAIT_TYPE Type, LONGLONG Timeout)
{
    LARGE_INTEGER due;
    static KWAIT_BLOCK blocks[MAXIMUM_WAIT_OBJECTS];

    due.QuadPart = Timeout;
    return KeWaitForMultipleObjects(Count, Objects, Type, Executive, KernelMode, FALSE, &due,
                                    Count > THREAD_WAIT_OBJECTS ? blocks : NULL);
}

static NTSTATUS One(PVOID Object, LONGLONG Timeout)
{
    LARGE_INTEGER due;
    due.QuadPart = Timeout;
    return KeWaitForSingleObject(Object, Executive, KernelMode, FALSE, &due);
}

static VOID Any(VOID)
{
    static KEVENT events[MAXIMUM_WAIT_OBJECTS];
    static PVOID objects[MAXIMUM_WAIT_OBJECTS];
    ULONG i;

    for (i = 0; i < MAXIMUM_WAIT_OBJECTS; i++) {
        KeInitializeEvent(&events[i], SynchronizationEvent, FALSE);
        objects[i] = &events[i];
    }
    CHECK_EQUAL(WAIT_SEVERAL, (ULONG)Several(3, objects, WaitAny, 0), STATUS_TIMEOUT);
    KeSetEvent(&events[2], IO_NO_INCREMENT, FALSE);
    CHECK_EQUAL(WAIT_SEVERAL, (ULONG)Several(3, objects, WaitAny, 0), STATUS_WAIT_0 + 2);
    CHECK_EQUAL(WAIT_SEVERAL, (ULONG)Several(3, objects, WaitAny, 0), STATUS_TIMEOUT);
    /* The lowest index of those that are signalled, and only that object changes. */
    KeSetEvent(&events[1], IO_NO_INCREMENT, FALSE);
    KeSetEvent(&events[2], IO_NO_INCREMENT, FALSE);
    CHECK_EQUAL(WAIT_SEVERAL, (ULONG)Several(3, objects, WaitAny, 0), STATUS_WAIT_0 + 1);
    CHECK_EQUAL(WAIT_SEVERAL, KeReadStateEvent(&events[1]), 0);
    CHECK(WAIT_SEVERAL, KeReadStateEvent(&events[2]) != 0);
    KeClearEvent(&events[2]);
    /* As many as there may be, with wait blocks of the caller. */
    CHECK_EQUAL(WAIT_SEVERAL, (ULONG)Several(MAXIMUM_WAIT_OBJECTS, objects, WaitAny, 0), STATUS_TIMEOUT);
    KeSetEvent(&events[63], IO_NO_INCREMENT, FALSE);
    CHECK_EQUAL(WAIT_SEVERAL, (ULONG)Several(MAXIMUM_WAIT_OBJECTS, objects, WaitAny, 0), STATUS_WAIT_0 + 63);
    KeSetEvent(&events[4], IO_NO_INCREMENT, FALSE);
    CHECK_EQUAL(WAIT_SEVERAL, (ULONG)Several(5, objects, WaitAny, -10000), STATUS_WAIT_0 + 4);
    CHECK_EQUAL(WAIT_SEVERAL, (ULONG)Several(5, objects, WaitAny, -10000), STATUS_TIMEOUT);
}

static VOID All(VOID)
{
    KEVENT event, kept;
    KSEMAPHORE semaphore;
    PVOID objects[3] = {&event, &semaphore, &kept};

    KeInitializeEvent(&event, SynchronizationEvent, TRUE);
    KeInitializeEvent(&kept, NotificationEvent, TRUE);
    KeInitializeSemaphore(&semaphore, 0, 5);
    CHECK_EQUAL(WAIT_SEVERAL, (ULONG)Several(3, objects, WaitAll, 0), STATUS_TIMEOUT);
    CHECK(WAIT_SEVERAL, KeReadStateEvent(&event) != 0);
    KeReleaseSemaphore(&semaphore, IO_NO_INCREMENT, 2, FALSE);
    CHECK_EQUAL(WAIT_SEVERAL, (ULONG)Several(3, objects, WaitAll, 0), STATUS_SUCCESS);
    CHECK_EQUAL(WAIT_SEVERAL, KeReadStateEvent(&event), 0);
    CHECK_EQUAL(WAIT_SEVERAL, KeReadStateSemaphore(&semaphore), 1);
    CHECK(WAIT_SEVERAL, KeReadStateEvent(&kept) != 0);
    CHECK_EQUAL(WAIT_SEVERAL, (ULONG)Several(3, objects, WaitAll, -10000), STATUS_TIMEOUT);
    CHECK_EQUAL(WAIT_SEVERAL, KeReadStateSemaphore(&semaphore), 1);
}

static KEVENT Start, Pulse;
static volatile LONG Woken;

static VOID Waiter(PVOID Context)
{
    LARGE_INTEGER patience;

    UNREFERENCED_PARAMETER(Context);
    KeSetEvent(&Start, IO_NO_INCREMENT, FALSE);
    patience.QuadPart = -10000LL * 2000;
    if (KeWaitForSingleObject(&Pulse, Executive, KernelMode, FALSE, &patience) == STATUS_SUCCESS) {
        InterlockedIncrement(&Woken);
    }
}

static VOID Threads(VOID)
{
    PKTHREAD first, second;

    KeInitializeEvent(&Start, SynchronizationEvent, FALSE);
    KeInitializeEvent(&Pulse, NotificationEvent, FALSE);
    Woken = 0;
    first = ConformanceThread(Waiter, NULL);
    KeWaitForSingleObject(&Start, Executive, KernelMode, FALSE, NULL);
    second = ConformanceThread(Waiter, NULL);
    KeWaitForSingleObject(&Start, Executive, KernelMode, FALSE, NULL);
    if (first == NULL || second == NULL) {
        return;
    }
    ConformanceSleep(20);
    /* A thread object is not signalled while the thread runs. */
    CHECK_EQUAL(WAIT_ONE, (ULONG)One(first, 0), STATUS_TIMEOUT);
    CHECK_EQUAL("ntddk/nf-ntddk-kepulseevent", KePulseEvent(&Pulse, IO_NO_INCREMENT, FALSE), 0);
    CHECK_EQUAL("ntddk/nf-ntddk-kepulseevent", KeReadStateEvent(&Pulse), 0);
    CHECK_EQUAL(WAIT_ONE, (ULONG)KeWaitForSingleObject(first, Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    CHECK_EQUAL(WAIT_ONE, (ULONG)KeWaitForSingleObject(second, Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    CHECK_EQUAL("ntddk/nf-ntddk-kepulseevent", Woken, 2);
    /* It stays signalled after the end. */
    CHECK_EQUAL(WAIT_ONE, (ULONG)One(first, 0), STATUS_SUCCESS);
    CHECK_EQUAL(WAIT_ONE, (ULONG)One(first, 0), STATUS_SUCCESS);
    ObDereferenceObject(first);
    ObDereferenceObject(second);
}

static VOID SynchronizationWakesOne(VOID)
{
    PKTHREAD first, second;

    KeInitializeEvent(&Start, SynchronizationEvent, FALSE);
    KeInitializeEvent(&Pulse, SynchronizationEvent, FALSE);
    Woken = 0;
    first = ConformanceThread(Waiter, NULL);
    KeWaitForSingleObject(&Start, Executive, KernelMode, FALSE, NULL);
    second = ConformanceThread(Waiter, NULL);
    KeWaitForSingleObject(&Start, Executive, KernelMode, FALSE, NULL);
    if (first == NULL || second == NULL) {
        return;
    }
    ConformanceSleep(20);
    CHECK_EQUAL("wdm/nf-wdm-kesetevent", KeSetEvent(&Pulse, IO_NO_INCREMENT, FALSE), 0);
    ConformanceSleep(20);
    CHECK_EQUAL("kernel/event-objects", Woken, 1);
    CHECK_EQUAL("kernel/event-objects", KeReadStateEvent(&Pulse), 0);
    KeSetEvent(&Pulse, IO_NO_INCREMENT, FALSE);
    KeWaitForSingleObject(first, Executive, KernelMode, FALSE, NULL);
    KeWaitForSingleObject(second, Executive, KernelMode, FALSE, NULL);
    CHECK_EQUAL("kernel/event-objects", Woken, 2);
    ObDereferenceObject(first);
    ObDereferenceObject(second);
}

static VOID Delays(VOID)
{
    LARGE_INTEGER interval;
    ULONGLONG before = KeQueryInterruptTime();

    interval.QuadPart = -10000LL * 50;
    CHECK_EQUAL("wdm/nf-wdm-kedelayexecutionthread", (ULONG)KeDelayExecutionThread(KernelMode, FALSE, &interval),
                STATUS_SUCCESS);
    /* The resolution is a clock tick. */
    CHECK("wdm/nf-wdm-kedelayexecutionthread",
          KeQueryInterruptTime() - before + KeQueryTimeIncrement() >= 10000ULL * 50);
    KeQuerySystemTime(&interval);
    interval.QuadPart += 10000LL * 30;
    before = KeQueryInterruptTime();
    CHECK_EQUAL("wdm/nf-wdm-kedelayexecutionthread", (ULONG)KeDelayExecutionThread(KernelMode, FALSE, &interval),
                STATUS_SUCCESS);
    CHECK("wdm/nf-wdm-kedelayexecutionthread",
          KeQueryInterruptTime() - before + 2 * KeQueryTimeIncrement() >= 10000ULL * 30);
    interval.QuadPart = -10000;
    CHECK_EQUAL("wdm/nf-wdm-kedelayexecutionthread", (ULONG)KeDelayExecutionThread(KernelMode, TRUE, &interval),
                STATUS_SUCCESS);
}

/* With a time-out of zero a wait is a test, and allowed at DISPATCH_LEVEL. */
static VOID AtDispatchLevel(VOID)
{
    KEVENT event;
    KIRQL old;

    KeInitializeEvent(&event, SynchronizationEvent, TRUE);
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    CHECK_EQUAL(WAIT_ONE, (ULONG)One(&event, 0), STATUS_SUCCESS);
    CHECK_EQUAL(WAIT_ONE, (ULONG)One(&event, 0), STATUS_TIMEOUT);
    CHECK_EQUAL(WAIT_ONE, KeGetCurrentIrql(), DISPATCH_LEVEL);
    KeLowerIrql(old);
}

static VOID Semaphores(VOID)
{
    KSEMAPHORE semaphore;

    KeInitializeSemaphore(&semaphore, 1, 3);
    CHECK_EQUAL("wdm/nf-wdm-keinitializesemaphore", KeReadStateSemaphore(&semaphore), 1);
    CHECK_EQUAL("wdm/nf-wdm-kereleasesemaphore", KeReleaseSemaphore(&semaphore, IO_NO_INCREMENT, 2, FALSE), 1);
    CHECK_EQUAL("wdm/nf-wdm-kereadstatesemaphore", KeReadStateSemaphore(&semaphore), 3);
    CHECK_RAISES("wdm/nf-wdm-kereleasesemaphore", KeReleaseSemaphore(&semaphore, IO_NO_INCREMENT, 1, FALSE),
                 STATUS_SEMAPHORE_LIMIT_EXCEEDED);
    CHECK_EQUAL("wdm/nf-wdm-kereleasesemaphore", KeReadStateSemaphore(&semaphore), 3);
    CHECK_EQUAL("kernel/semaphore-objects", (ULONG)One(&semaphore, 0), STATUS_SUCCESS);
    CHECK_EQUAL("kernel/semaphore-objects", (ULONG)One(&semaphore, 0), STATUS_SUCCESS);
    CHECK_EQUAL("kernel/semaphore-objects", (ULONG)One(&semaphore, 0), STATUS_SUCCESS);
    CHECK_EQUAL("kernel/semaphore-objects", (ULONG)One(&semaphore, 0), STATUS_TIMEOUT);
    CHECK_EQUAL("wdm/nf-wdm-kereleasesemaphore", KeReleaseSemaphore(&semaphore, SEMAPHORE_INCREMENT, 1, FALSE), 0);
}

VOID Conform_ke_wait(VOID)
{
    Any();
    All();
    Threads();
    SynchronizationWakesOne();
    Delays();
    AtDispatchLevel();
    Semaphores();
}
