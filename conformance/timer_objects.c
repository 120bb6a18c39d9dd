/* Timers: one-shot and periodic, notification and synchronisation, cancelling, EX_TIMERs. */
#include "conformance.h"

static KTIMER Timer;
static KDPC Dpc;
static volatile LONG Ticks;
static PVOID Arguments[2];
static KIRQL Level;

static VOID Tick(PKDPC Which, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Which);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    Arguments[0] = Context;
    Level = KeGetCurrentIrql();
    InterlockedIncrement(&Ticks);
}

static LARGE_INTEGER After(LONGLONG Milliseconds)
{
    LARGE_INTEGER due;
    due.QuadPart = -10000LL * Milliseconds;
    return due;
}

static NTSTATUS Wait(PVOID Object, LONGLONG Milliseconds)
{
    LARGE_INTEGER due = After(Milliseconds);
    return KeWaitForSingleObject(Object, Executive, KernelMode, FALSE, &due);
}

static VOID OneShot(VOID)
{
    ULONGLONG before = KeQueryInterruptTime();
    LARGE_INTEGER past;

    KeInitializeTimer(&Timer);
    CHECK("wdm/nf-wdm-keinitializetimer", !KeReadStateTimer(&Timer));
    CHECK("wdm/nf-wdm-kecanceltimer", !KeCancelTimer(&Timer));
    CHECK("wdm/nf-wdm-kesettimer", !KeSetTimer(&Timer, After(50), NULL));
    CHECK("wdm/nf-wdm-kesettimer", !KeReadStateTimer(&Timer));
    CHECK_EQUAL("wdm/nf-wdm-kewaitforsingleobject", (ULONG)Wait(&Timer, 0), STATUS_TIMEOUT);
    CHECK("wdm/nf-wdm-kesettimer", KeSetTimer(&Timer, After(50), NULL));
    CHECK_EQUAL("wdm/nf-wdm-kesettimer", (ULONG)Wait(&Timer, 5000), STATUS_SUCCESS);
    CHECK("wdm/nf-wdm-kesettimer", KeQueryInterruptTime() - before + KeQueryTimeIncrement() >= 10000ULL * 50);
    /* A notification timer stays signalled until it is set again. */
    CHECK("wdm/nf-wdm-kereadstatetimer", KeReadStateTimer(&Timer));
    CHECK_EQUAL("kernel/timer-objects-and-dpcs", (ULONG)Wait(&Timer, 0), STATUS_SUCCESS);
    CHECK("wdm/nf-wdm-kecanceltimer", !KeCancelTimer(&Timer));
    KeSetTimer(&Timer, After(10000), NULL);
    CHECK("wdm/nf-wdm-kesettimer", !KeReadStateTimer(&Timer));
    CHECK("wdm/nf-wdm-kecanceltimer", KeCancelTimer(&Timer));
    CHECK("wdm/nf-wdm-kecanceltimer", !KeCancelTimer(&Timer));
    CHECK_EQUAL("wdm/nf-wdm-kecanceltimer", (ULONG)Wait(&Timer, 20), STATUS_TIMEOUT);
    /* An absolute time in the past is due at once. */
    past.QuadPart = 1;
    KeSetTimer(&Timer, past, NULL);
    CHECK_EQUAL("wdm/nf-wdm-kesettimer", (ULONG)Wait(&Timer, 1000), STATUS_SUCCESS);
    KeQuerySystemTime(&past);
    past.QuadPart += 10000LL * 30;
    KeSetTimer(&Timer, past, NULL);
    CHECK("wdm/nf-wdm-kesettimer", !KeReadStateTimer(&Timer));
    CHECK_EQUAL("wdm/nf-wdm-kesettimer", (ULONG)Wait(&Timer, 5000), STATUS_SUCCESS);
}

static VOID WithDpc(VOID)
{
    KeInitializeDpc(&Dpc, Tick, &Timer);
    KeInitializeTimerEx(&Timer, SynchronizationTimer);
    Ticks = 0;
    KeSetTimer(&Timer, After(20), &Dpc);
    CHECK_EQUAL("wdm/nf-wdm-keinitializetimerex", (ULONG)Wait(&Timer, 5000), STATUS_SUCCESS);
    KeFlushQueuedDpcs();
    CHECK_EQUAL("wdm/nf-wdm-kesettimer", Ticks, 1);
    CHECK_EQUAL("wdm/nf-wdm-kesettimer", Level, DISPATCH_LEVEL);
    CHECK_EQUAL("wdm/nf-wdm-kesettimer", (ULONG_PTR)Arguments[0], (ULONG_PTR)&Timer);
    /* A synchronisation timer is reset by the wait that it satisfies. */
    CHECK("wdm/nf-wdm-keinitializetimerex", !KeReadStateTimer(&Timer));
    CHECK_EQUAL("wdm/nf-wdm-keinitializetimerex", (ULONG)Wait(&Timer, 20), STATUS_TIMEOUT);

    Ticks = 0;
    CHECK("wdm/nf-wdm-kesettimerex", !KeSetTimerEx(&Timer, After(10), 20, &Dpc));
    ConformanceSleep(200);
    /* A periodic timer is set until it is cancelled. */
    CHECK("wdm/nf-wdm-kesettimerex", KeCancelTimer(&Timer));
    KeFlushQueuedDpcs();
    CHECK("wdm/nf-wdm-kesettimerex", Ticks >= 4 && Ticks <= 12);
    Ticks = 0;
    ConformanceSleep(60);
    CHECK_EQUAL("wdm/nf-wdm-kecanceltimer", Ticks, 0);

    Ticks = 0;
    CHECK("wdm/nf-wdm-kesetcoalescabletimer", !KeSetCoalescableTimer(&Timer, After(40), 0, 50, &Dpc));
    CHECK("wdm/nf-wdm-kesetcoalescabletimer", KeSetCoalescableTimer(&Timer, After(40), 0, 50, &Dpc));
    ConformanceSleep(250);
    KeFlushQueuedDpcs();
    CHECK_EQUAL("wdm/nf-wdm-kesetcoalescabletimer", Ticks, 1);
    CHECK("wdm/nf-wdm-kecanceltimer", !KeCancelTimer(&Timer));
}

static VOID Callback(PEX_TIMER Which, PVOID Context)
{
    Arguments[0] = Which;
    Arguments[1] = Context;
    Level = KeGetCurrentIrql();
    InterlockedIncrement(&Ticks);
}

static VOID ExTimers(VOID)
{
    PEX_TIMER timer = ExAllocateTimer(Callback, (PVOID)&Ticks, 0);

    if (!CHECK("wdm/nf-wdm-exallocatetimer", timer != NULL)) {
        return;
    }
    Ticks = 0;
    CHECK("wdm/nf-wdm-excanceltimer", !ExCancelTimer(timer, NULL));
    CHECK("wdm/nf-wdm-exsettimer", !ExSetTimer(timer, -10000LL * 20, 0, NULL));
    CHECK("wdm/nf-wdm-exsettimer", ExSetTimer(timer, -10000LL * 20, 0, NULL));
    ConformanceSleep(100);
    CHECK_EQUAL("wdm/nc-wdm-ext_callback", Ticks, 1);
    CHECK_EQUAL("wdm/nc-wdm-ext_callback", Level, DISPATCH_LEVEL);
    CHECK_EQUAL("wdm/nc-wdm-ext_callback", (ULONG_PTR)Arguments[0], (ULONG_PTR)timer);
    CHECK_EQUAL("wdm/nc-wdm-ext_callback", (ULONG_PTR)Arguments[1], (ULONG_PTR)&Ticks);
    Ticks = 0;
    CHECK("wdm/nf-wdm-exsettimer", !ExSetTimer(timer, -10000LL * 10, 10000LL * 20, NULL));
    ConformanceSleep(200);
    CHECK("wdm/nf-wdm-excanceltimer", ExCancelTimer(timer, NULL));
    CHECK("wdm/nf-wdm-exsettimer", Ticks >= 4);
    ExSetTimer(timer, -10000LL * 100000, 0, NULL);
    CHECK("wdm/nf-wdm-exdeletetimer", ExDeleteTimer(timer, TRUE, TRUE, NULL));

    timer = ExAllocateTimer(NULL, NULL, EX_TIMER_NOTIFICATION);
    if (!CHECK("wdm/nf-wdm-exallocatetimer", timer != NULL)) {
        return;
    }
    ExSetTimer(timer, -10000LL * 20, 0, NULL);
    CHECK_EQUAL("kernel/exxxxtimer-routines-and-ex-timer-objects", (ULONG)Wait(timer, 0), STATUS_TIMEOUT);
    CHECK_EQUAL("kernel/exxxxtimer-routines-and-ex-timer-objects", (ULONG)Wait(timer, 5000), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-exallocatetimer", (ULONG)Wait(timer, 0), STATUS_SUCCESS);
    CHECK("wdm/nf-wdm-exdeletetimer", !ExDeleteTimer(timer, TRUE, TRUE, NULL));
}

static VOID Clocks(VOID)
{
    LARGE_INTEGER frequency, counter, system, precise, ticks, later;
    ULONG64 stamp;

    CHECK("wdm/nf-wdm-kequerytimeincrement", KeQueryTimeIncrement() >= 5000 && KeQueryTimeIncrement() <= 160000);
    counter = KeQueryPerformanceCounter(&frequency);
    CHECK("wdm/nf-wdm-kequeryperformancecounter", frequency.QuadPart > 0);
    CHECK("wdm/nf-wdm-kequeryperformancecounter", KeQueryPerformanceCounter(NULL).QuadPart >= counter.QuadPart);
    KeQuerySystemTime(&system);
    KeQuerySystemTimePrecise(&precise);
    CHECK("wdm/nf-wdm-kequerysystemtimeprecise", precise.QuadPart - system.QuadPart > -10000LL * 1000);
    CHECK("wdm/nf-wdm-kequerysystemtimeprecise", precise.QuadPart - system.QuadPart < 10000LL * 1000);
    CHECK("wdm/nf-wdm-kequeryinterrupttimeprecise", KeQueryInterruptTimePrecise(&stamp) >= KeQueryUnbiasedInterruptTime());
    CHECK("wdm/nf-wdm-kequeryinterrupttimeprecise", stamp >= (ULONG64)counter.QuadPart);
    KeQueryTickCount(&ticks);
    ConformanceSleep(100);
    KeQueryTickCount(&later);
    CHECK("wdm/nf-wdm-kequerytickcount", later.QuadPart > ticks.QuadPart);
    CHECK("wdm/nf-wdm-kequerytickcount", (later.QuadPart - ticks.QuadPart) * KeQueryTimeIncrement() >= 10000LL * 80);
}

VOID Conform_timer_objects(VOID)
{
    OneShot();
    WithDpc();
    ExTimers();
    Clocks();
}
