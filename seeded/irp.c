/* Mistakes with requests. */
#include "seeded.h"

// case double_completion: irp/double-completion in Control
#if CASE_double_completion
static NOINLINE NTSTATUS Control(PDEVICE_OBJECT Object, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Object);
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    if (BUG) {
        IoCompleteRequest(Irp, IO_NO_INCREMENT);
    }
    return STATUS_SUCCESS;
}
#define CONTROL Control
#endif

// case completed_pending: irp/completed-pending in Control
#if CASE_completed_pending
static NOINLINE NTSTATUS Control(PDEVICE_OBJECT Object, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Object);
    Irp->IoStatus.Status = BUG ? STATUS_PENDING : STATUS_SUCCESS;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}
#define CONTROL Control
#endif

// case completed_cancelable: irp/completed-cancelable in Control
#if CASE_completed_cancelable
static VOID Cancel(PDEVICE_OBJECT Object, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Object);
    IoReleaseCancelSpinLock(Irp->CancelIrql);
    Done(Irp, STATUS_CANCELLED, 0);
}
static NOINLINE NTSTATUS Control(PDEVICE_OBJECT Object, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Object);
    IoSetCancelRoutine(Irp, Cancel);
    if (!BUG) {
        IoSetCancelRoutine(Irp, NULL);
    }
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}
#define CONTROL Control
#endif

// case not_completed: irp/not-completed in -
#if CASE_not_completed
static NTSTATUS Control(PDEVICE_OBJECT Object, PIRP Irp)
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    UNREFERENCED_PARAMETER(Object);
    if (BUG && stack->Parameters.DeviceIoControl.InputBufferLength < 16) {
        return STATUS_BUFFER_TOO_SMALL;
    }
    return Done(Irp, STATUS_SUCCESS, 0);
}
#define CONTROL Control
#endif

#if CASE_pending_not_marked || CASE_marked_not_pending
static PIRP Later;
static VOID Finish(PDEVICE_OBJECT Object, PVOID Item)
{
    UNREFERENCED_PARAMETER(Object);
    IoFreeWorkItem(Item);
    Done(Later, STATUS_SUCCESS, 0);
}
#endif

// case pending_not_marked: irp/pending-not-marked in -
#if CASE_pending_not_marked
static NTSTATUS Control(PDEVICE_OBJECT Object, PIRP Irp)
{
    PIO_WORKITEM item = IoAllocateWorkItem(Object);
    if (item == NULL) {
        return Done(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    }
    Later = Irp;
    if (!BUG) {
        IoMarkIrpPending(Irp);
    }
    IoQueueWorkItem(item, Finish, DelayedWorkQueue, item);
    return STATUS_PENDING;
}
#define CONTROL Control
#endif

// case marked_not_pending: irp/marked-not-pending in -
#if CASE_marked_not_pending
static NTSTATUS Control(PDEVICE_OBJECT Object, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Finish);
    UNREFERENCED_PARAMETER(Later);
    if (BUG) {
        IoMarkIrpPending(Irp);
    }
    return Done(Irp, STATUS_SUCCESS, 0);
}
#define CONTROL Control
#endif

// case status_mismatch: irp/status-mismatch in -
#if CASE_status_mismatch
static NTSTATUS Control(PDEVICE_OBJECT Object, PIRP Irp)
{
    NTSTATUS status;
    UNREFERENCED_PARAMETER(Object);
    status = Done(Irp, STATUS_INVALID_PARAMETER, 0);
    return BUG ? STATUS_SUCCESS : status;
}
#define CONTROL Control
#endif

// case information_too_large: irp/information-too-large in Control
#if CASE_information_too_large
static NOINLINE NTSTATUS Control(PDEVICE_OBJECT Object, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Object);
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = BUG ? 64 : 16;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}
#define CONTROL Control
#endif

// case irp_of_nobody: irp/not-an-irp in Complete
#if CASE_irp_of_nobody
static UCHAR Memory[sizeof(IRP) + sizeof(IO_STACK_LOCATION)];
static NOINLINE VOID Complete(PIRP Irp) { IoCompleteRequest(Irp, IO_NO_INCREMENT); }
static VOID Work(VOID)
{
    if (BUG) {
        Complete((PIRP)(PVOID)Memory);
    }
}
#define WORK Work
#endif

#if CASE_completed_to_nobody || CASE_freed_twice || CASE_no_location
static NTSTATUS Stop(PDEVICE_OBJECT Object, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Irp);
    UNREFERENCED_PARAMETER(Context);
    return BUG ? STATUS_SUCCESS : STATUS_MORE_PROCESSING_REQUIRED;
}
#endif

// case completed_to_nobody: irp/completed-to-nobody in -
#if CASE_completed_to_nobody
static VOID Work(VOID)
{
    PIRP irp = IoAllocateIrp(Device->StackSize, FALSE);
    if (irp != NULL) {
        IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_CREATE;
        IoSetCompletionRoutine(irp, Stop, NULL, TRUE, TRUE, TRUE);
        IoCallDriver(Device, irp);
        if (!BUG) {
            IoFreeIrp(irp);
        }
    }
}
#define WORK Work
#endif

// case freed_twice: irp/bad-free in Release
#if CASE_freed_twice
static NOINLINE VOID Release(PIRP Irp, ULONG Times)
{
    while (Times-- != 0) {
        IoFreeIrp(Irp);
    }
}
static VOID Work(VOID)
{
    PIRP irp = IoAllocateIrp(1, FALSE);
    UNREFERENCED_PARAMETER(Stop);
    if (irp != NULL) {
        Release(irp, BUG ? 2 : 1);
    }
}
#define WORK Work
#endif

// case freed_threaded: irp/freed-threaded in Release
#if CASE_freed_threaded
static KEVENT Event;
static IO_STATUS_BLOCK Status;
static NOINLINE VOID Release(PIRP Irp) { IoFreeIrp(Irp); }
static VOID Work(VOID)
{
    PIRP irp;
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    irp = IoBuildDeviceIoControlRequest(0x222004, Device, NULL, 0, NULL, 0, FALSE, &Event, &Status);
    if (irp != NULL) {
        if (BUG) {
            Release(irp);
        } else if (IoCallDriver(Device, irp) == STATUS_PENDING) {
            KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, NULL);
        }
    }
}
static NTSTATUS Control(PDEVICE_OBJECT Object, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Object);
    if (IoGetCurrentIrpStackLocation(Irp)->Parameters.DeviceIoControl.IoControlCode == 0x222000) {
        Work();
    }
    return Done(Irp, STATUS_SUCCESS, 0);
}
#define CONTROL Control
#endif

// case no_location: irp/no-location in Prepare
#if CASE_no_location
static NOINLINE VOID Prepare(PIRP Irp)
{
    IoSetCompletionRoutineEx(Device, Irp, Stop, NULL, TRUE, TRUE, TRUE);
}
static VOID Work(VOID)
{
    PIRP irp = IoAllocateIrp(1, FALSE);
    if (irp != NULL) {
        if (BUG) {
            IoSetNextIrpStackLocation(irp);
        }
        Prepare(irp);
        if (!BUG) {
            IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_CREATE;
            IoCallDriver(Device, irp);
            IoFreeIrp(irp);
        }
    }
}
#define WORK Work
#endif

// case not_a_queue: irp/bad-queue in Ask
#if CASE_not_a_queue
static IO_CSQ Queue;
static KSPIN_LOCK Lock;
static VOID Insert(PIO_CSQ Csq, PIRP Irp) { UNREFERENCED_PARAMETER(Csq); UNREFERENCED_PARAMETER(Irp); }
static PIRP Peek(PIO_CSQ Csq, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(Csq);
    UNREFERENCED_PARAMETER(Irp);
    UNREFERENCED_PARAMETER(Context);
    return NULL;
}
static VOID Acquire(PIO_CSQ Csq, PKIRQL Irql) { UNREFERENCED_PARAMETER(Csq); KeAcquireSpinLock(&Lock, Irql); }
static VOID Release(PIO_CSQ Csq, KIRQL Irql) { UNREFERENCED_PARAMETER(Csq); KeReleaseSpinLock(&Lock, Irql); }
static NOINLINE VOID Ask(VOID) { IoCsqRemoveNextIrp(&Queue, NULL); }
static VOID Work(VOID)
{
    if (!BUG) {
        IoCsqInitialize(&Queue, Insert, Insert, Peek, Acquire, Release, Insert);
    }
    Ask();
}
#define WORK Work
#endif

// case queue_not_busy: queue/not-busy in Next
#if CASE_queue_not_busy
static KDEVICE_QUEUE Queue;
static KDEVICE_QUEUE_ENTRY Entry;
static NOINLINE VOID Next(VOID) { KeRemoveDeviceQueue(&Queue); }
static VOID Work(VOID)
{
    KIRQL irql;
    KeInitializeDeviceQueue(&Queue);
    KeRaiseIrql(DISPATCH_LEVEL, &irql);
    if (!BUG) {
        KeInsertDeviceQueue(&Queue, &Entry);
    }
    Next();
    KeLowerIrql(irql);
}
#define WORK Work
#endif

#include "frame.h"
