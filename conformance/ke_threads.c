/* Priorities, affinity, processors, kernel stacks, bugcheck callbacks. */
#include "conformance.h"

static KEVENT Stop;
static volatile LONG Sequence;
static LONG HighAt, LowAt;

static VOID Waits(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    KeWaitForSingleObject(&Stop, Executive, KernelMode, FALSE, NULL);
}

static VOID Priorities(VOID)
{
    PKTHREAD thread;
    KPRIORITY before;

    KeInitializeEvent(&Stop, NotificationEvent, FALSE);
    thread = ConformanceThread(Waits, NULL);
    if (thread == NULL) {
        return;
    }
    ConformanceSleep(10);
    before = KeQueryPriorityThread(thread);
    CHECK("ntddk/nf-ntddk-kequeryprioritythread", before > 0 && before < LOW_REALTIME_PRIORITY);
    CHECK_EQUAL("wdm/nf-wdm-kesetprioritythread", KeSetPriorityThread(thread, LOW_REALTIME_PRIORITY), before);
    CHECK_EQUAL("ntddk/nf-ntddk-kequeryprioritythread", KeQueryPriorityThread(thread), LOW_REALTIME_PRIORITY);
    CHECK_EQUAL("wdm/nf-wdm-kesetprioritythread", KeSetPriorityThread(thread, 9), LOW_REALTIME_PRIORITY);
    CHECK_EQUAL("ntddk/nf-ntddk-kequeryprioritythread", KeQueryPriorityThread(thread), 9);
    KeSetBasePriorityThread(thread, 2);
    CHECK_EQUAL("ntifs/nf-ntifs-kesetbaseprioritythread", KeSetBasePriorityThread(thread, -1), 2);
    CHECK_EQUAL("ntifs/nf-ntifs-kesetbaseprioritythread", (ULONG)KeSetBasePriorityThread(thread, 0), (ULONG)-1);
    KeSetEvent(&Stop, IO_NO_INCREMENT, FALSE);
    KeWaitForSingleObject(thread, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(thread);
}

static KEVENT Both;
static VOID Sprinter(PVOID Context)
{
    KAFFINITY before = KeSetSystemAffinityThreadEx(1);

    KeSetPriorityThread(KeGetCurrentThread(), Context != NULL ? 20 : 10);
    KeWaitForSingleObject(&Both, Executive, KernelMode, FALSE, NULL);
    *(Context != NULL ? &HighAt : &LowAt) = InterlockedIncrement(&Sequence);
    KeRevertToUserAffinityThreadEx(before);
}

/* Of two threads that become ready on one processor the one of higher priority runs first. */
static VOID HigherFirst(VOID)
{
    PKTHREAD low, high;
    KAFFINITY before = KeSetSystemAffinityThreadEx(1);
    KPRIORITY own;

    KeInitializeEvent(&Both, NotificationEvent, FALSE);
    Sequence = 0;
    low = ConformanceThread(Sprinter, NULL);
    high = ConformanceThread(Sprinter, (PVOID)1);
    ConformanceSleep(50);
    own = KeSetPriorityThread(KeGetCurrentThread(), 25);
    KeSetEvent(&Both, IO_NO_INCREMENT, FALSE);
    CHECK_EQUAL("kernel/thread-scheduling", Sequence, 0);
    KeSetPriorityThread(KeGetCurrentThread(), own);
    KeRevertToUserAffinityThreadEx(before);
    if (low != NULL && high != NULL) {
        KeWaitForSingleObject(low, Executive, KernelMode, FALSE, NULL);
        KeWaitForSingleObject(high, Executive, KernelMode, FALSE, NULL);
        CHECK("kernel/thread-scheduling", HighAt < LowAt);
        ObDereferenceObject(low);
        ObDereferenceObject(high);
    }
}

static VOID Affinity(VOID)
{
    ULONG count = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS), i;
    KAFFINITY all = KeQueryActiveProcessors(), mask, before;
    GROUP_AFFINITY wanted, previous;
    PROCESSOR_NUMBER number;

    CHECK("wdm/nf-wdm-kequeryactiveprocessors", (all & 1) != 0);
    CHECK_EQUAL("wdm/nf-wdm-kequeryactiveprocessorcount", KeQueryActiveProcessorCount(&mask), count);
    CHECK_EQUAL("wdm/nf-wdm-kequeryactiveprocessorcount", mask, all);
    CHECK_EQUAL("wdm/nf-wdm-kequeryactiveprocessorcountex", KeQueryActiveProcessorCountEx(0), count);
    CHECK_EQUAL("wdm/nf-wdm-kequeryactiveprocessorcountex", KeQueryActiveProcessorCountEx(0x7fff), 0);
    CHECK("wdm/nf-wdm-kequerymaximumprocessorcountex", KeQueryMaximumProcessorCountEx(ALL_PROCESSOR_GROUPS) >= count);
    CHECK("wdm/nf-wdm-kequeryactivegroupcount", KeQueryActiveGroupCount() >= 1);
    CHECK("wdm/nf-wdm-kequerymaximumgroupcount", KeQueryMaximumGroupCount() >= KeQueryActiveGroupCount());
    CHECK_EQUAL("wdm/nf-wdm-kequerygroupaffinity", KeQueryGroupAffinity(0), all);
    CHECK_EQUAL("wdm/nf-wdm-kequerygroupaffinity", KeQueryGroupAffinity(0x7fff), 0);
    CHECK("wdm/nf-wdm-kegetcurrentnodenumber", KeGetCurrentNodeNumber() <= KeQueryHighestNodeNumber());
    CHECK_EQUAL("wdm/nf-wdm-kegetprocessornumberfromindex", (ULONG)KeGetProcessorNumberFromIndex(count, &number),
                (ULONG)STATUS_INVALID_PARAMETER);
    for (i = 0; i < count; i++) {
        before = KeSetSystemAffinityThreadEx(1ULL << i);
        CHECK_EQUAL("wdm/nf-wdm-kesetsystemaffinitythreadex", before, 0);
        CHECK_EQUAL("wdm/nf-wdm-kegetcurrentprocessornumberex", KeGetCurrentProcessorNumberEx(&number), i);
        CHECK_EQUAL("wdm/nf-wdm-kegetcurrentprocessornumberex", number.Number, i);
        CHECK_EQUAL("wdm/nf-wdm-kegetprocessorindexfromnumber", KeGetProcessorIndexFromNumber(&number), i);
        CHECK_EQUAL("wdm/nf-wdm-kesetsystemaffinitythreadex", KeSetSystemAffinityThreadEx(1), 1ULL << i);
        KeRevertToUserAffinityThreadEx(1ULL << i);
        CHECK_EQUAL("wdm/nf-wdm-kereverttouseraffinitythreadex", KeGetCurrentProcessorNumberEx(NULL), i);
        KeRevertToUserAffinityThreadEx(0);
    }
    RtlZeroMemory(&wanted, sizeof(wanted));
    wanted.Mask = 1ULL << (count - 1);
    KeSetSystemGroupAffinityThread(&wanted, &previous);
    CHECK_EQUAL("wdm/nf-wdm-kesetsystemgroupaffinitythread", KeGetCurrentProcessorNumberEx(NULL), count - 1);
    CHECK_EQUAL("wdm/nf-wdm-kesetsystemgroupaffinitythread", previous.Mask, 0);
    KeRevertToUserGroupAffinityThread(&previous);
    number.Group = 0x7fff;
    CHECK_EQUAL("wdm/nf-wdm-kegetprocessorindexfromnumber", KeGetProcessorIndexFromNumber(&number),
                INVALID_PROCESSOR_INDEX);
}

static ULONG_PTR Remaining, Low, High, Here;
static VOID Deep(PVOID Parameter)
{
    volatile UCHAR space[0x800];

    IoGetStackLimits(&Low, &High);
    Remaining = IoGetRemainingStackSize();
    space[0] = 1;
    Here = (ULONG_PTR)&space[0];
    *(PULONG)Parameter += space[0];
}

static VOID Stacks(VOID)
{
    ULONG called = 0;

    IoGetStackLimits(&Low, &High);
    CHECK("ntddk/nf-ntddk-iogetstacklimits", Low < (ULONG_PTR)&called && (ULONG_PTR)&called < High);
    CHECK("wdm/nf-wdm-iogetremainingstacksize", IoGetRemainingStackSize() < High - Low);
    CHECK_EQUAL("ntddk/nf-ntddk-keexpandkernelstackandcallout",
                (ULONG)KeExpandKernelStackAndCallout(Deep, &called, 0xC000), STATUS_SUCCESS);
    CHECK_EQUAL("ntddk/nf-ntddk-keexpandkernelstackandcallout", called, 1);
    CHECK("ntddk/nf-ntddk-keexpandkernelstackandcallout", Low <= Here && Here < High);
    CHECK("ntddk/nf-ntddk-keexpandkernelstackandcallout", Remaining + 0x1800 >= 0xC000);
    CHECK_EQUAL("ntddk/nf-ntddk-keexpandkernelstackandcalloutex",
                (ULONG)KeExpandKernelStackAndCalloutEx(Deep, &called, 0x1000, TRUE, NULL), STATUS_SUCCESS);
    CHECK_EQUAL("ntddk/nf-ntddk-keexpandkernelstackandcalloutex", called, 2);
    IoGetStackLimits(&Low, &High);
    CHECK("ntddk/nf-ntddk-iogetstacklimits", Low < (ULONG_PTR)&called && (ULONG_PTR)&called < High);
}

static VOID AtBugCheck(PVOID Buffer, ULONG Length)
{
    UNREFERENCED_PARAMETER(Buffer);
    UNREFERENCED_PARAMETER(Length);
}

static VOID AddsData(KBUGCHECK_CALLBACK_REASON Reason, PKBUGCHECK_REASON_CALLBACK_RECORD Record, PVOID Data,
                     ULONG Length)
{
    UNREFERENCED_PARAMETER(Reason);
    UNREFERENCED_PARAMETER(Record);
    UNREFERENCED_PARAMETER(Data);
    UNREFERENCED_PARAMETER(Length);
}

static VOID BugCheckCallbacks(VOID)
{
    static KBUGCHECK_CALLBACK_RECORD record;
    static KBUGCHECK_REASON_CALLBACK_RECORD reason;
    static UCHAR component[] = "conformance", buffer[16];

    KeInitializeCallbackRecord(&record);
    CHECK("wdm/nf-wdm-kederegisterbugcheckcallback", !KeDeregisterBugCheckCallback(&record));
    CHECK("wdm/nf-wdm-keregisterbugcheckcallback",
          KeRegisterBugCheckCallback(&record, AtBugCheck, buffer, sizeof(buffer), component));
    CHECK("wdm/nf-wdm-keregisterbugcheckcallback",
          !KeRegisterBugCheckCallback(&record, AtBugCheck, buffer, sizeof(buffer), component));
    CHECK("wdm/nf-wdm-kederegisterbugcheckcallback", KeDeregisterBugCheckCallback(&record));
    CHECK("wdm/nf-wdm-kederegisterbugcheckcallback", !KeDeregisterBugCheckCallback(&record));
    KeInitializeCallbackRecord(&reason);
    CHECK("wdm/nf-wdm-keregisterbugcheckreasoncallback",
          KeRegisterBugCheckReasonCallback(&reason, AddsData, KbCallbackSecondaryDumpData, component));
    CHECK("wdm/nf-wdm-keregisterbugcheckreasoncallback",
          !KeRegisterBugCheckReasonCallback(&reason, AddsData, KbCallbackSecondaryDumpData, component));
    CHECK("wdm/nf-wdm-kederegisterbugcheckreasoncallback", KeDeregisterBugCheckReasonCallback(&reason));
    CHECK("wdm/nf-wdm-kederegisterbugcheckreasoncallback", !KeDeregisterBugCheckReasonCallback(&reason));
}

VOID Conform_ke_threads(VOID)
{
    Priorities();
    HigherFirst();
    Affinity();
    Stacks();
    BugCheckCallbacks();
}
