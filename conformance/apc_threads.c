/* Kernel APCs for other threads: waits go on, order, what a kernel routine may change, alerts. */
#include "conformance.h"

#define WAITING "kernel/do-waiting-threads-receive-alerts-and-apcs-"
#define TYPES "kernel/types-of-apcs"

static KEVENT Ready, Stop;
static NTSTATUS WaitResult;
static BOOLEAN Alertable;
static KPROCESSOR_MODE Mode;
static volatile LONG Order[8], Next;
static PKTHREAD Target;

static VOID Waiter(PVOID Context)
{
    LARGE_INTEGER patience;

    UNREFERENCED_PARAMETER(Context);
    patience.QuadPart = -10000LL * 5000;
    KeSetEvent(&Ready, IO_NO_INCREMENT, FALSE);
    WaitResult = KeWaitForSingleObject(&Stop, Executive, Mode, Alertable, &patience);
}

static VOID Note(LONG Value)
{
    LONG at = InterlockedIncrement(&Next) - 1;
    if (at < 8) {
        Order[at] = Value;
    }
}

static VOID Kernel(PKAPC Apc, PKNORMAL_ROUTINE *NormalRoutine, PVOID *Context, PVOID *First, PVOID *Second)
{
    UNREFERENCED_PARAMETER(Apc);
    UNREFERENCED_PARAMETER(NormalRoutine);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Second);
    CHECK_EQUAL(TYPES, (ULONG_PTR)KeGetCurrentThread(), (ULONG_PTR)Target);
    CHECK_EQUAL(TYPES, KeGetCurrentIrql(), APC_LEVEL);
    Note((LONG)(ULONG_PTR)*First);
}

static VOID Normal(PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Second);
    CHECK_EQUAL(TYPES, KeGetCurrentIrql(), PASSIVE_LEVEL);
    Note(100 + (LONG)(ULONG_PTR)First);
}

/* A kernel routine may take the normal routine away, or change its arguments. */
static VOID TakesAway(PKAPC Apc, PKNORMAL_ROUTINE *NormalRoutine, PVOID *Context, PVOID *First, PVOID *Second)
{
    UNREFERENCED_PARAMETER(Apc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    *NormalRoutine = NULL;
    Note(50);
}

static VOID Changes(PKAPC Apc, PKNORMAL_ROUTINE *NormalRoutine, PVOID *Context, PVOID *First, PVOID *Second)
{
    UNREFERENCED_PARAMETER(Apc);
    UNREFERENCED_PARAMETER(NormalRoutine);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Second);
    *First = (PVOID)(ULONG_PTR)77;
}

static BOOLEAN Begin(BOOLEAN IsAlertable, KPROCESSOR_MODE WaitMode)
{
    KeInitializeEvent(&Ready, SynchronizationEvent, FALSE);
    KeInitializeEvent(&Stop, NotificationEvent, FALSE);
    Alertable = IsAlertable;
    Mode = WaitMode;
    WaitResult = STATUS_PENDING;
    Next = 0;
    Target = ConformanceThread(Waiter, NULL);
    if (Target == NULL) {
        return FALSE;
    }
    KeWaitForSingleObject(&Ready, Executive, KernelMode, FALSE, NULL);
    ConformanceSleep(20);
    return TRUE;
}

static VOID End(VOID)
{
    KeSetEvent(&Stop, IO_NO_INCREMENT, FALSE);
    KeWaitForSingleObject(Target, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(Target);
}

static VOID Insert(PKAPC Apc, PKKERNEL_ROUTINE KernelRoutine, PKNORMAL_ROUTINE NormalRoutine, ULONG Number)
{
    KeInitializeApc(Apc, Target, OriginalApcEnvironment, KernelRoutine, NULL, NormalRoutine, KernelMode, NULL);
    CHECK(TYPES, KeInsertQueueApc(Apc, (PVOID)(ULONG_PTR)Number, NULL, IO_NO_INCREMENT));
}

static VOID DuringWaits(VOID)
{
    KAPC special, normal;

    if (!Begin(FALSE, KernelMode)) {
        return;
    }
    Insert(&special, Kernel, NULL, 1);
    ConformanceSleep(20);
    CHECK_EQUAL(WAITING, Next, 1);
    CHECK_EQUAL(WAITING, (ULONG)WaitResult, (ULONG)STATUS_PENDING);
    Insert(&normal, Kernel, Normal, 2);
    ConformanceSleep(20);
    CHECK_EQUAL(WAITING, Next, 3);
    CHECK_EQUAL(TYPES, Order[1], 2);
    CHECK_EQUAL(TYPES, Order[2], 102);
    CHECK_EQUAL(WAITING, (ULONG)WaitResult, (ULONG)STATUS_PENDING);
    Insert(&normal, TakesAway, Normal, 3);
    ConformanceSleep(20);
    CHECK_EQUAL(TYPES, Next, 4);
    CHECK_EQUAL(TYPES, Order[3], 50);
    Insert(&normal, Changes, Normal, 4);
    ConformanceSleep(20);
    CHECK_EQUAL(TYPES, Next, 5);
    CHECK_EQUAL(TYPES, Order[4], 177);
    End();
    CHECK_EQUAL(WAITING, (ULONG)WaitResult, STATUS_SUCCESS);
}

/* A thread in a guarded region gets them when it leaves; special ones come first whatever the order. */
static KEVENT Inside;
static VOID Guarded(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    KeEnterGuardedRegion();
    KeSetEvent(&Inside, IO_NO_INCREMENT, FALSE);
    KeWaitForSingleObject(&Stop, Executive, KernelMode, FALSE, NULL);
    CHECK_EQUAL("wdm/nf-wdm-keenterguardedregion", Next, 0);
    KeLeaveGuardedRegion();
    CHECK_EQUAL("wdm/nf-wdm-keleaveguardedregion", Next, 6);
}

static VOID Sequence(VOID)
{
    static KAPC first, second, third, fourth;

    KeInitializeEvent(&Inside, NotificationEvent, FALSE);
    KeInitializeEvent(&Stop, NotificationEvent, FALSE);
    Next = 0;
    Target = ConformanceThread(Guarded, NULL);
    if (Target == NULL) {
        return;
    }
    KeWaitForSingleObject(&Inside, Executive, KernelMode, FALSE, NULL);
    Insert(&first, Kernel, Normal, 1);
    Insert(&second, Kernel, NULL, 2);
    Insert(&third, Kernel, Normal, 3);
    Insert(&fourth, Kernel, NULL, 4);
    /* What is queued is not queued again. */
    CHECK(TYPES, !KeInsertQueueApc(&fourth, NULL, NULL, IO_NO_INCREMENT));
    ConformanceSleep(20);
    CHECK_EQUAL("wdm/nf-wdm-keenterguardedregion", Next, 0);
    End();
    CHECK_EQUAL(TYPES, Order[0], 2);
    CHECK_EQUAL(TYPES, Order[1], 4);
    CHECK_EQUAL(TYPES, Order[2], 1);
    CHECK_EQUAL(TYPES, Order[3], 101);
    CHECK_EQUAL(TYPES, Order[4], 3);
    CHECK_EQUAL(TYPES, Order[5], 103);
}

static VOID Alerts(VOID)
{
    if (Begin(TRUE, KernelMode)) {
        CHECK(WAITING, !KeAlertThread(Target, KernelMode));
        ConformanceSleep(20);
        CHECK_EQUAL(WAITING, (ULONG)WaitResult, STATUS_ALERTED);
        End();
    }
    if (Begin(FALSE, KernelMode)) {
        KeAlertThread(Target, KernelMode);
        ConformanceSleep(20);
        CHECK_EQUAL(WAITING, (ULONG)WaitResult, (ULONG)STATUS_PENDING);
        End();
        CHECK_EQUAL(WAITING, (ULONG)WaitResult, STATUS_SUCCESS);
    }
    CHECK(WAITING, !KeTestAlertThread(KernelMode));
    KeAlertThread(KeGetCurrentThread(), KernelMode);
    CHECK(WAITING, KeTestAlertThread(KernelMode));
    CHECK(WAITING, !KeTestAlertThread(KernelMode));
}

VOID Conform_apc_threads(VOID)
{
    DuringWaits();
    Sequence();
    Alerts();
}
