/* DPCs: level, arguments, queueing, targets, threaded ones, calls on all processors. */
#include "conformance.h"

#define INSERT "wdm/nf-wdm-keinsertqueuedpc"

static KDPC Dpc, Other, Third;
static volatile LONG Runs, Order[4];
static KIRQL Level;
static PVOID Seen[3];
static ULONG On;
static KEVENT Ran;

static VOID Routine(PKDPC Which, PVOID Context, PVOID First, PVOID Second)
{
    LONG at = InterlockedIncrement(&Runs) - 1;

    Level = KeGetCurrentIrql();
    On = KeGetCurrentProcessorNumberEx(NULL);
    Seen[0] = Context;
    Seen[1] = First;
    Seen[2] = Second;
    if (at < 4) {
        Order[at] = Which == &Dpc ? 1 : Which == &Other ? 2 : 3;
    }
    KeSetEvent(&Ran, IO_NO_INCREMENT, FALSE);
}

static VOID Queueing(VOID)
{
    KIRQL old;

    Runs = 0;
    KeInitializeEvent(&Ran, SynchronizationEvent, FALSE);
    KeInitializeDpc(&Dpc, Routine, (PVOID)&Runs);
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    CHECK(INSERT, KeInsertQueueDpc(&Dpc, &Level, &On));
    /* Queued once only, with the first arguments; it does not run before the level drops. */
    CHECK(INSERT, !KeInsertQueueDpc(&Dpc, NULL, NULL));
    CHECK_EQUAL("kernel/introduction-to-dpcs", Runs, 0);
    KeLowerIrql(old);
    KeWaitForSingleObject(&Ran, Executive, KernelMode, FALSE, NULL);
    CHECK_EQUAL("wdm/nc-wdm-kdeferred_routine", Runs, 1);
    CHECK_EQUAL("wdm/nc-wdm-kdeferred_routine", Level, DISPATCH_LEVEL);
    CHECK_EQUAL("wdm/nc-wdm-kdeferred_routine", (ULONG_PTR)Seen[0], (ULONG_PTR)&Runs);
    CHECK_EQUAL("wdm/nc-wdm-kdeferred_routine", (ULONG_PTR)Seen[1], (ULONG_PTR)&Level);
    CHECK_EQUAL("wdm/nc-wdm-kdeferred_routine", (ULONG_PTR)Seen[2], (ULONG_PTR)&On);

    KeRaiseIrql(DISPATCH_LEVEL, &old);
    CHECK("wdm/nf-wdm-keremovequeuedpc", !KeRemoveQueueDpc(&Dpc));
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    CHECK("wdm/nf-wdm-keremovequeuedpc", KeRemoveQueueDpc(&Dpc));
    CHECK("wdm/nf-wdm-keremovequeuedpc", !KeRemoveQueueDpc(&Dpc));
    KeLowerIrql(old);
    KeFlushQueuedDpcs();
    CHECK_EQUAL("wdm/nf-wdm-keremovequeuedpc", Runs, 1);

    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeFlushQueuedDpcs();
    CHECK_EQUAL("wdm/nf-wdm-keflushqueueddpcs", Runs, 2);
    KeWaitForSingleObject(&Ran, Executive, KernelMode, FALSE, NULL);
}

/* High importance goes to the front of the queue. */
static VOID Importance(VOID)
{
    KIRQL old;
    KAFFINITY before = KeSetSystemAffinityThreadEx(1);

    KeInitializeDpc(&Dpc, Routine, NULL);
    KeInitializeDpc(&Other, Routine, NULL);
    KeInitializeDpc(&Third, Routine, NULL);
    KeSetTargetProcessorDpc(&Dpc, 0);
    KeSetTargetProcessorDpc(&Other, 0);
    KeSetTargetProcessorDpc(&Third, 0);
    KeSetImportanceDpc(&Third, HighImportance);
    Runs = 0;
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeInsertQueueDpc(&Other, NULL, NULL);
    KeInsertQueueDpc(&Third, NULL, NULL);
    KeLowerIrql(old);
    KeFlushQueuedDpcs();
    CHECK_EQUAL("wdm/nf-wdm-kesetimportancedpc", Runs, 3);
    CHECK_EQUAL("wdm/nf-wdm-kesetimportancedpc", Order[0], 3);
    CHECK_EQUAL("kernel/organization-of-dpc-queues", Order[1], 1);
    CHECK_EQUAL("kernel/organization-of-dpc-queues", Order[2], 2);
    KeRevertToUserAffinityThreadEx(before);
}

static VOID Targets(VOID)
{
    ULONG count = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS), i;
    PROCESSOR_NUMBER number;

    for (i = 0; i < count; i++) {
        CHECK_EQUAL("wdm/nf-wdm-kegetprocessornumberfromindex", (ULONG)KeGetProcessorNumberFromIndex(i, &number),
                    STATUS_SUCCESS);
        KeInitializeDpc(&Dpc, Routine, NULL);
        CHECK_EQUAL("wdm/nf-wdm-kesettargetprocessordpcex", (ULONG)KeSetTargetProcessorDpcEx(&Dpc, &number),
                    STATUS_SUCCESS);
        On = 0xffff;
        KeInsertQueueDpc(&Dpc, NULL, NULL);
        KeFlushQueuedDpcs();
        CHECK_EQUAL("wdm/nf-wdm-kesettargetprocessordpcex", On, i);
    }
    number.Group = 0x7fff;
    number.Number = 0;
    number.Reserved = 0;
    CHECK_EQUAL("wdm/nf-wdm-kesettargetprocessordpcex", (ULONG)KeSetTargetProcessorDpcEx(&Dpc, &number),
                (ULONG)STATUS_INVALID_PARAMETER);
}

/* A threaded DPC runs at PASSIVE_LEVEL, or at DISPATCH_LEVEL where threaded DPCs are turned off. */
static VOID Threaded(VOID)
{
    KeInitializeThreadedDpc(&Dpc, Routine, (PVOID)(ULONG_PTR)&Threaded);
    Runs = 0;
    Level = HIGH_LEVEL;
    KeClearEvent(&Ran);
    CHECK("kernel/introduction-to-threaded-dpcs", KeInsertQueueDpc(&Dpc, NULL, NULL));
    KeWaitForSingleObject(&Ran, Executive, KernelMode, FALSE, NULL);
    CHECK_EQUAL("kernel/introduction-to-threaded-dpcs", Runs, 1);
    CHECK("kernel/introduction-to-threaded-dpcs", Level == PASSIVE_LEVEL || Level == DISPATCH_LEVEL);
    CHECK_EQUAL("kernel/introduction-to-threaded-dpcs", (ULONG_PTR)Seen[0], (ULONG_PTR)&Threaded);
}

static KDPC_WATCHDOG_INFORMATION Information;
static NTSTATUS InDpc;

static VOID AsksWatchdog(PKDPC Which, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Which);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    InDpc = KeQueryDpcWatchdogInformation(&Information);
    KeSetEvent(&Ran, IO_NO_INCREMENT, FALSE);
}

static VOID Watchdog(VOID)
{
    KIRQL old;

    KeInitializeDpc(&Dpc, AsksWatchdog, NULL);
    KeClearEvent(&Ran);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeWaitForSingleObject(&Ran, Executive, KernelMode, FALSE, NULL);
    CHECK_EQUAL("wdm/nf-wdm-kequerydpcwatchdoginformation", (ULONG)InDpc, STATUS_SUCCESS);
    CHECK("wdm/ns-wdm-_kdpc_watchdog_information", Information.DpcTimeCount <= Information.DpcTimeLimit);
    CHECK("wdm/ns-wdm-_kdpc_watchdog_information", Information.DpcWatchdogCount <= Information.DpcWatchdogLimit);
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    CHECK_EQUAL("wdm/nf-wdm-kequerydpcwatchdoginformation", (ULONG)KeQueryDpcWatchdogInformation(&Information),
                (ULONG)STATUS_UNSUCCESSFUL);
    KeLowerIrql(old);
}

static volatile LONG Calls, Firsts;
static volatile LONG64 Mask;

static ULONG_PTR Broadcast(ULONG_PTR Context)
{
    ULONG number = KeGetCurrentProcessorNumberEx(NULL);

    InterlockedIncrement(&Calls);
    InterlockedOr64(&Mask, 1LL << number);
    if (KeGetCurrentIrql() != IPI_LEVEL) {
        InterlockedIncrement(&Firsts);
    }
    return Context + number;
}

static VOID OnAll(PKDPC Which, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Which);
    if (Context != (PVOID)&Mask || KeGetCurrentIrql() != DISPATCH_LEVEL) {
        InterlockedExchange(&Firsts, 100);
    }
    InterlockedIncrement(&Calls);
    InterlockedOr64(&Mask, 1LL << KeGetCurrentProcessorNumberEx(NULL));
    if (KeSignalCallDpcSynchronize(Second)) {
        InterlockedIncrement(&Firsts);
    }
    KeSignalCallDpcSynchronize(Second);
    KeSignalCallDpcDone(First);
}

static VOID AllProcessors(VOID)
{
    ULONG count = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
    KAFFINITY all = KeQueryActiveProcessors(), before = KeSetSystemAffinityThreadEx(1);

    Calls = Firsts = 0;
    Mask = 0;
    CHECK_EQUAL("wdm/nf-wdm-keipigenericcall", KeIpiGenericCall(Broadcast, 1000), 1000);
    KeRevertToUserAffinityThreadEx(before);
    CHECK_EQUAL("wdm/nf-wdm-keipigenericcall", Calls, count);
    CHECK_EQUAL("wdm/nf-wdm-keipigenericcall", (ULONG64)Mask, all);
    CHECK_EQUAL("wdm/nf-wdm-keipigenericcall", Firsts, 0);
    CHECK_EQUAL("wdm/nf-wdm-keipigenericcall", KeGetCurrentIrql(), PASSIVE_LEVEL);

    Calls = Firsts = 0;
    Mask = 0;
    KeGenericCallDpc(OnAll, (PVOID)&Mask);
    CHECK_EQUAL("wdm/nc-wdm-kdeferred_routine", Calls, count);
    CHECK_EQUAL("wdm/nc-wdm-kdeferred_routine", (ULONG64)Mask, all);
    CHECK_EQUAL("wdm/nc-wdm-kdeferred_routine", Firsts, 1);
    CHECK_EQUAL("wdm/nc-wdm-kdeferred_routine", KeGetCurrentIrql(), PASSIVE_LEVEL);
}

VOID Conform_dpc_queue(VOID)
{
    Queueing();
    Importance();
    Targets();
    Threaded();
    Watchdog();
    AllProcessors();
}
