/*
 * Nineteen cases of requests between drivers, each with one right answer.
 *
 * DriverEntry makes two devices, a lower and an upper one, and sends requests of its own to
 * them. One line per case is printed. What each pins down is in README.md.
 *
 * WRONG_COMPLETED_TWICE: a dispatch routine completes the same IRP twice.
 * WRONG_NOT_STOPPED: a completion routine lets go of an IRP of the driver's own.
 */
#include <ntifs.h>

#define TAG 'sCrI'
#define IOCTL_BUFFERED CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_DIRECT CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_OUT_DIRECT, FILE_ANY_ACCESS)
#define IOCTL_PEND CTL_CODE(FILE_DEVICE_UNKNOWN, 0x802, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_FAIL CTL_CODE(FILE_DEVICE_UNKNOWN, 0x803, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_QUEUE CTL_CODE(FILE_DEVICE_UNKNOWN, 0x804, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_START CTL_CODE(FILE_DEVICE_UNKNOWN, 0x805, METHOD_NEITHER, FILE_ANY_ACCESS)

static PDRIVER_OBJECT Driver;
static PDEVICE_OBJECT Lower, Upper;
static ULONG Seen[IRP_MJ_MAXIMUM_FUNCTION + 1];

/* Cases note the order of events in decimal digits: 123 means 1, then 2, then 3. */
static volatile LONG Trail;
/* Two threads may mark at the same time, on two processors. */
static void Mark(ULONG Digit)
{
    LONG before;
    do {
        before = Trail;
    } while (InterlockedCompareExchange(&Trail, before * 10 + (LONG)Digit, before) != before);
}

/* The cancel-safe queue of the lower device. */
static IO_CSQ Queue;
static LIST_ENTRY QueueHead;
static KSPIN_LOCK QueueLock;

static VOID CsqInsert(PIO_CSQ Csq, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Csq);
    InsertTailList(&QueueHead, &Irp->Tail.Overlay.ListEntry);
}

static VOID CsqRemove(PIO_CSQ Csq, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Csq);
    RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
}

static PIRP CsqPeek(PIO_CSQ Csq, PIRP Irp, PVOID PeekContext)
{
    PLIST_ENTRY next = Irp == NULL ? QueueHead.Flink : Irp->Tail.Overlay.ListEntry.Flink;
    UNREFERENCED_PARAMETER(Csq);
    UNREFERENCED_PARAMETER(PeekContext);
    return next == &QueueHead ? NULL : CONTAINING_RECORD(next, IRP, Tail.Overlay.ListEntry);
}

static VOID CsqAcquire(PIO_CSQ Csq, PKIRQL Irql)
{
    UNREFERENCED_PARAMETER(Csq);
    KeAcquireSpinLock(&QueueLock, Irql);
}

static VOID CsqRelease(PIO_CSQ Csq, KIRQL Irql)
{
    UNREFERENCED_PARAMETER(Csq);
    KeReleaseSpinLock(&QueueLock, Irql);
}

static NTSTATUS Complete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

static VOID CsqCancelled(PIO_CSQ Csq, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Csq);
    Mark(7);
    Complete(Irp, STATUS_CANCELLED, 0);
}

/* A pended request is completed by a worker thread. */
static VOID CompleteLater(PVOID Device, PVOID Context, PIO_WORKITEM Item)
{
    PIRP irp = Context;
    UNREFERENCED_PARAMETER(Device);
    Mark(2);
    IoFreeWorkItem(Item);
    *(PULONG)irp->AssociatedIrp.SystemBuffer = 0x600d;
    Complete(irp, STATUS_SUCCESS, sizeof(ULONG));
}

static NTSTATUS LowerControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    PIO_WORKITEM item;
    PULONG bytes;
    switch (stack->Parameters.DeviceIoControl.IoControlCode) {
    case IOCTL_BUFFERED:
        *(PULONG)Irp->AssociatedIrp.SystemBuffer += 1;
#ifdef WRONG_COMPLETED_TWICE
        Complete(Irp, STATUS_SUCCESS, sizeof(ULONG));
#endif
        return Complete(Irp, STATUS_SUCCESS, sizeof(ULONG));
    case IOCTL_DIRECT:
        bytes = MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority);
        *bytes = *(PULONG)Irp->AssociatedIrp.SystemBuffer + 2;
        return Complete(Irp, STATUS_SUCCESS, sizeof(ULONG));
    case IOCTL_PEND:
        item = IoAllocateWorkItem(Device);
        IoMarkIrpPending(Irp);
        IoQueueWorkItemEx(item, CompleteLater, DelayedWorkQueue, Irp);
        return STATUS_PENDING;
    case IOCTL_QUEUE:
        IoCsqInsertIrp(&Queue, Irp, NULL);
        return STATUS_PENDING;
    case IOCTL_START:
        IoMarkIrpPending(Irp);
        IoStartPacket(Device, Irp, NULL, NULL);
        return STATUS_PENDING;
    default:
        return Complete(Irp, STATUS_DEVICE_NOT_READY, 0);
    }
}

static NTSTATUS Dispatch(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    Seen[stack->MajorFunction]++;
    if (Device == Upper) {
        IoSkipCurrentIrpStackLocation(Irp);
        return IoCallDriver(Lower, Irp);
    }
    if (stack->MajorFunction == IRP_MJ_DEVICE_CONTROL || stack->MajorFunction == IRP_MJ_INTERNAL_DEVICE_CONTROL) {
        return LowerControl(Device, Irp);
    }
    if (stack->MajorFunction == IRP_MJ_READ) {
        RtlFillMemory(Irp->AssociatedIrp.SystemBuffer, stack->Parameters.Read.Length, 0x5a);
        return Complete(Irp, STATUS_SUCCESS, stack->Parameters.Read.Length);
    }
    return Complete(Irp, STATUS_SUCCESS, 0);
}

static VOID StartIo(PDEVICE_OBJECT Device, PIRP Irp)
{
    Mark((ULONG)(ULONG_PTR)IoGetCurrentIrpStackLocation(Irp)->Parameters.DeviceIoControl.Type3InputBuffer);
    IoStartNextPacket(Device, FALSE);
    Complete(Irp, STATUS_SUCCESS, 0);
}

/* Sends a control request and waits for it. */
static NTSTATUS Ask(PDEVICE_OBJECT Device, ULONG Code, PULONG In, PULONG Out, PIO_STATUS_BLOCK Block)
{
    KEVENT event;
    PIRP irp;
    NTSTATUS status;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    irp = IoBuildDeviceIoControlRequest(Code, Device, In, sizeof(*In), Out, sizeof(*Out), FALSE, &event, Block);
    if (irp == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    status = IoCallDriver(Device, irp);
    if (status == STATUS_PENDING) {
        Mark(1);
        KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
        status = Block->Status;
    }
    return status;
}

/* 01: input goes down and output comes up through one system buffer. */
static ULONG Buffered(void)
{
    ULONG in = 41, out = 0;
    IO_STATUS_BLOCK block = { 0 };
    NTSTATUS status = Ask(Lower, IOCTL_BUFFERED, &in, &out, &block);
    return NT_SUCCESS(status) && block.Information == 4 ? out : 0;
}

/* 02: the output buffer is locked and mapped, the input is copied. */
static ULONG Direct(void)
{
    ULONG in = 40, out = 0;
    IO_STATUS_BLOCK block = { 0 };
    NTSTATUS status = Ask(Lower, IOCTL_DIRECT, &in, &out, &block);
    return NT_SUCCESS(status) ? out : 0;
}

/* 03: a worker thread completes what was left pending. Whether the sender waits (1) or the worker
 * runs (2) first is not determined. */
static ULONG Pended(void)
{
    ULONG in = 0, out = 0;
    IO_STATUS_BLOCK block = { 0 };
    NTSTATUS status = Ask(Lower, IOCTL_PEND, &in, &out, &block);
    return NT_SUCCESS(status) && (Trail == 12 || Trail == 21) ? out : Trail;
}

/* 04: a request that fails at once leaves the status block and the event alone. */
static ULONG FailsAtOnce(void)
{
    ULONG in = 0, out = 0;
    IO_STATUS_BLOCK block = { .Status = 77, .Information = 88 };
    NTSTATUS status = Ask(Lower, IOCTL_FAIL, &in, &out, &block);
    return status == STATUS_DEVICE_NOT_READY && block.Status == 77 && block.Information == 88;
}

/* 05: the same through a filter that skips its stack location. */
static ULONG ThroughFilter(void)
{
    ULONG in = 7, out = 0;
    IO_STATUS_BLOCK block = { 0 };
    NTSTATUS status = Ask(IoGetAttachedDevice(Lower), IOCTL_BUFFERED, &in, &out, &block);
    return NT_SUCCESS(status) ? out * 10 + Upper->StackSize : 0;
}

/* Stops completion, so that the IRP stays the driver's own. */
static NTSTATUS Stop(PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(Device);
    UNREFERENCED_PARAMETER(Irp);
    Mark(5);
    UNREFERENCED_PARAMETER(Context);
#ifdef WRONG_NOT_STOPPED
    return STATUS_CONTINUE_COMPLETION;
#else
    return STATUS_MORE_PROCESSING_REQUIRED;
#endif
}

static PIRP OwnIrp(ULONG Code)
{
    PIRP irp = IoAllocateIrp(Lower->StackSize, FALSE);
    PIO_STACK_LOCATION next = IoGetNextIrpStackLocation(irp);
    next->MajorFunction = IRP_MJ_DEVICE_CONTROL;
    next->Parameters.DeviceIoControl.IoControlCode = Code;
    return irp;
}

/* 06: an IRP of the driver's own stops in its completion routine, is used again and freed. */
static ULONG OwnIrpStops(void)
{
    PIRP irp = OwnIrp(IOCTL_FAIL);
    ULONG good = 0;
    PIO_STACK_LOCATION next;
    IoSetCompletionRoutine(irp, Stop, NULL, TRUE, TRUE, TRUE);
    if (IoCallDriver(Lower, irp) == STATUS_DEVICE_NOT_READY && Trail == 5) good |= 1;
    IoReuseIrp(irp, STATUS_NOT_SUPPORTED);
    if (irp->IoStatus.Status == STATUS_NOT_SUPPORTED) good |= 2;
    next = IoGetNextIrpStackLocation(irp);
    next->MajorFunction = IRP_MJ_CLEANUP;
    IoSetCompletionRoutine(irp, Stop, NULL, TRUE, TRUE, TRUE);
    if (NT_SUCCESS(IoCallDriver(Lower, irp)) && Trail == 55) good |= 4;
    IoFreeIrp(irp);
    return good;
}

/* 07: a routine for errors only is not called for a success. The IRP has two locations: the routine of
 * the upper one stops it. */
static NTSTATUS OnError(PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(Device);
    UNREFERENCED_PARAMETER(Irp);
    UNREFERENCED_PARAMETER(Context);
    Mark(9);
    return STATUS_CONTINUE_COMPLETION;
}

static ULONG OnlyOnError(void)
{
    PIRP irp = IoAllocateIrp(2, FALSE);
    IoSetNextIrpStackLocation(irp);
    IoSetCompletionRoutine(irp, OnError, NULL, FALSE, TRUE, FALSE);
    IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_CLEANUP;
    /* Completing needs a routine above that keeps the IRP: put it into the location that we skipped. */
    IoGetCurrentIrpStackLocation(irp)->CompletionRoutine = Stop;
    IoGetCurrentIrpStackLocation(irp)->Control = SL_INVOKE_ON_SUCCESS | SL_INVOKE_ON_ERROR;
    IoCallDriver(Lower, irp);
    IoFreeIrp(irp);
    return Trail;
}

/* 08: two associated IRPs; the second to be completed completes the master. */
static ULONG Associated(void)
{
    PIRP master = OwnIrp(IOCTL_FAIL);
    ULONG good = 0;
    IoSetCompletionRoutine(master, Stop, NULL, TRUE, TRUE, TRUE);
    IoSetNextIrpStackLocation(master);
    master->AssociatedIrp.IrpCount = 2;
    master->IoStatus.Status = STATUS_SUCCESS;
    for (ULONG i = 0; i < 2; i++) {
        PIRP irp = IoMakeAssociatedIrp(master, Lower->StackSize);
        IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_CLEANUP;
        if (Trail == 0) good++;
        IoCallDriver(Lower, irp);
    }
    IoFreeIrp(master);
    return good * 10 + Trail;
}

/* 09: a synchronous read into a buffer, by way of the system buffer. */
static ULONG SynchronousRead(void)
{
    KEVENT event;
    IO_STATUS_BLOCK block = { 0 };
    UCHAR bytes[3] = { 0 };
    LARGE_INTEGER offset = { .QuadPart = 0 };
    PIRP irp;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    irp = IoBuildSynchronousFsdRequest(IRP_MJ_READ, Lower, bytes, sizeof(bytes), &offset, &event, &block);
    IoCallDriver(Lower, irp);
    if (block.Information != 3 || KeReadStateEvent(&event) == 0) return 0;
    return bytes[0] == 0x5a && bytes[2] == 0x5a;
}

/* 10: a queue gives requests back in order; the pending ones are completed by us. */
static ULONG QueueOrder(void)
{
    PIRP irps[3];
    ULONG order = 0;
    for (ULONG i = 0; i < 3; i++) {
        irps[i] = OwnIrp(IOCTL_QUEUE);
        IoSetCompletionRoutine(irps[i], Stop, NULL, TRUE, TRUE, TRUE);
        if (IoCallDriver(Lower, irps[i]) != STATUS_PENDING) return 9;
    }
    for (ULONG i = 0; i < 3; i++) {
        PIRP irp = IoCsqRemoveNextIrp(&Queue, NULL);
        for (ULONG k = 0; k < 3; k++) {
            if (irp == irps[k]) order = order * 10 + k + 1;
        }
        if (irp == NULL || irp->CancelRoutine != NULL) return 8;
        Complete(irp, STATUS_SUCCESS, 0);
        IoFreeIrp(irp);
    }
    return IoCsqRemoveNextIrp(&Queue, NULL) == NULL ? order : 7;
}

/* 11: cancelling a queued request completes it with STATUS_CANCELLED. */
static ULONG QueueCancel(void)
{
    PIRP irp = OwnIrp(IOCTL_QUEUE);
    ULONG good = 0;
    IoSetCompletionRoutine(irp, Stop, NULL, TRUE, TRUE, TRUE);
    IoCallDriver(Lower, irp);
    if (IoCancelIrp(irp)) good |= 1;
    if (irp->IoStatus.Status == STATUS_CANCELLED && Trail == 75) good |= 2;
    if (KeGetCurrentIrql() == PASSIVE_LEVEL && IsListEmpty(&QueueHead)) good |= 4;
    IoFreeIrp(irp);
    return good;
}

/* 12: a request cancelled before it is queued is not queued. */
static ULONG CancelBeforeQueue(void)
{
    PIRP irp = OwnIrp(IOCTL_QUEUE);
    ULONG good = 0;
    IoSetCompletionRoutine(irp, Stop, NULL, TRUE, TRUE, TRUE);
    if (!IoCancelIrp(irp)) good |= 1;
    if (IoCallDriver(Lower, irp) == STATUS_PENDING) good |= 2;
    if (irp->IoStatus.Status == STATUS_CANCELLED && IsListEmpty(&QueueHead)) good |= 4;
    IoFreeIrp(irp);
    return good;
}

/* 13: a request taken out by its context. */
static ULONG QueueContext(void)
{
    IO_CSQ_IRP_CONTEXT context;
    PIRP irp = OwnIrp(IOCTL_QUEUE);
    ULONG good = 0;
    /* Not sent: the queue needs no more than a current stack location. */
    IoSetNextIrpStackLocation(irp);
    IoCsqInsertIrp(&Queue, irp, &context);
    if (IoCsqRemoveIrp(&Queue, &context) == irp) good |= 1;
    if (IoCsqRemoveIrp(&Queue, &context) == NULL) good |= 2;
    IoFreeIrp(irp);
    return good;
}

/* 14: the first of three packets starts at once, the others in order after it. */
static ULONG Packets(void)
{
    PIRP irps[3];
    for (ULONG i = 0; i < 3; i++) {
        irps[i] = OwnIrp(IOCTL_START);
        IoGetNextIrpStackLocation(irps[i])->Parameters.DeviceIoControl.Type3InputBuffer = (PVOID)(ULONG_PTR)(i + 1);
        IoSetCompletionRoutine(irps[i], Stop, NULL, TRUE, TRUE, TRUE);
        IoCallDriver(Lower, irps[i]);
    }
    for (ULONG i = 0; i < 3; i++) IoFreeIrp(irps[i]);
    return Trail;
}

/* 15: a remover waits until the last holder of the lock is done, and nobody gets in any more. */
static IO_REMOVE_LOCK RemoveLock;
static VOID ReleaseLater(PDEVICE_OBJECT Device, PVOID Context)
{
    UNREFERENCED_PARAMETER(Device);
    Mark(2);
    IoReleaseRemoveLock(&RemoveLock, Context);
}

static ULONG RemoveLocks(void)
{
    PIO_WORKITEM item = IoAllocateWorkItem(Lower);
    NTSTATUS status;
    IoInitializeRemoveLock(&RemoveLock, TAG, 0, 0);
    IoAcquireRemoveLock(&RemoveLock, NULL);
    IoAcquireRemoveLock(&RemoveLock, item);
    Mark(1);
    IoQueueWorkItem(item, ReleaseLater, CriticalWorkQueue, item);
    IoReleaseRemoveLockAndWait(&RemoveLock, NULL);
    Mark(3);
    status = IoAcquireRemoveLock(&RemoveLock, NULL);
    if (status == STATUS_DELETE_PENDING) Mark(4);
    IoFreeWorkItem(item);
    return Trail;
}

/* 16: an item of ExQueueWorkItem runs at PASSIVE_LEVEL in another thread. */
static KEVENT Ran;
static PKTHREAD Sender;
static VOID Work(PVOID Context)
{
    if (KeGetCurrentThread() != Sender && KeGetCurrentIrql() == PASSIVE_LEVEL) Mark((ULONG)(ULONG_PTR)Context);
    KeSetEvent(&Ran, IO_NO_INCREMENT, FALSE);
}

static ULONG SystemWorker(void)
{
    static WORK_QUEUE_ITEM item;
    KeInitializeEvent(&Ran, NotificationEvent, FALSE);
    Sender = KeGetCurrentThread();
    ExInitializeWorkItem(&item, Work, (PVOID)6);
    ExQueueWorkItem(&item, DelayedWorkQueue);
    KeWaitForSingleObject(&Ran, Executive, KernelMode, FALSE, NULL);
    return Trail;
}

/* 17: a device found by name is opened for the caller; create, cleanup and close reach the driver. */
static ULONG DevicePointer(void)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\IrpCasesLower");
    PFILE_OBJECT file;
    PDEVICE_OBJECT device;
    ULONG good = 0;
    RtlZeroMemory(Seen, sizeof(Seen));
    if (!NT_SUCCESS(IoGetDeviceObjectPointer(&name, FILE_READ_DATA, &file, &device))) return 0;
    if (device == Upper && file->DeviceObject == Lower) good |= 1;
    if (Seen[IRP_MJ_CREATE] == 2 && Seen[IRP_MJ_CLEANUP] == 2 && Seen[IRP_MJ_CLOSE] == 0) good |= 2;
    ObDereferenceObject(file);
    if (Seen[IRP_MJ_CLOSE] == 2) good |= 4;
    return good;
}

/* 18: names: taken, without a directory, a link and where it leads, and an object of another type. */
static ULONG Names(void)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\IrpCasesLower");
    UNICODE_STRING nowhere = RTL_CONSTANT_STRING(L"\\IrpCasesNowhere\\Device");
    UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\DosDevices\\IrpCases");
    WCHAR text[64];
    UNICODE_STRING target = { .MaximumLength = sizeof(text), .Buffer = text };
    OBJECT_ATTRIBUTES attributes;
    PDEVICE_OBJECT device;
    HANDLE handle;
    PVOID object;
    ULONG good = 0;
    if (IoCreateDevice(Driver, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &device) == STATUS_OBJECT_NAME_COLLISION) good |= 1;
    if (IoCreateDevice(Driver, 0, &nowhere, FILE_DEVICE_UNKNOWN, 0, FALSE, &device) == STATUS_OBJECT_PATH_NOT_FOUND) good |= 2;
    if (!NT_SUCCESS(IoCreateSymbolicLink(&link, &name))) return good;
    InitializeObjectAttributes(&attributes, &link, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    if (NT_SUCCESS(ZwOpenSymbolicLinkObject(&handle, GENERIC_READ, &attributes))) {
        if (NT_SUCCESS(ZwQuerySymbolicLinkObject(handle, &target, NULL)) && target.Length == name.Length) good |= 4;
        if (ObReferenceObjectByHandle(handle, 0, *IoFileObjectType, KernelMode, &object, NULL) == STATUS_OBJECT_TYPE_MISMATCH) good |= 8;
        ZwClose(handle);
    }
    if (NT_SUCCESS(IoDeleteSymbolicLink(&link)) && IoDeleteSymbolicLink(&link) == STATUS_OBJECT_NAME_NOT_FOUND) good |= 16;
    return good;
}

/* 19: a file opened by name, a control request and a read by handle. */
static ULONG ByHandle(void)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\IrpCasesLower");
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK block;
    HANDLE handle;
    ULONG in = 10, out = 0, good = 0;
    LARGE_INTEGER offset = { .QuadPart = 0 };
    UCHAR byte = 0;
    PVOID object;
    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    if (!NT_SUCCESS(ZwCreateFile(&handle, GENERIC_READ | SYNCHRONIZE, &attributes, &block, NULL, 0, FILE_SHARE_READ,
                                 FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0))) return 0;
    if (NT_SUCCESS(ZwDeviceIoControlFile(handle, NULL, NULL, NULL, &block, IOCTL_BUFFERED, &in, sizeof(in), &out, sizeof(out)))
        && out == 11 && block.Information == 4) good |= 1;
    if (NT_SUCCESS(ZwReadFile(handle, NULL, NULL, NULL, &block, &byte, 1, &offset, NULL)) && byte == 0x5a) good |= 2;
    if (NT_SUCCESS(ZwClose(handle)) &&
        ObReferenceObjectByHandle(handle, 0, *IoFileObjectType, KernelMode, &object, NULL) == STATUS_INVALID_HANDLE) good |= 4;
    return good;
}

static const struct {
    PCSTR Name;
    ULONG (*Run)(void);
    ULONG Want;
} Cases[] = {
    { "buffered", Buffered, 42 },
    { "direct", Direct, 42 },
    { "pended", Pended, 0x600d },
    { "fails-at-once", FailsAtOnce, 1 },
    { "through-filter", ThroughFilter, 82 },
    { "own-irp-stops", OwnIrpStops, 7 },
    { "only-on-error", OnlyOnError, 5 },
    { "associated", Associated, 25 },
    { "synchronous-read", SynchronousRead, 1 },
    { "queue-order", QueueOrder, 123 },
    { "queue-cancel", QueueCancel, 7 },
    { "cancel-before-queue", CancelBeforeQueue, 7 },
    { "queue-context", QueueContext, 3 },
    { "packets", Packets, 152535 },
    { "remove-locks", RemoveLocks, 1234 },
    { "system-worker", SystemWorker, 6 },
    { "device-pointer", DevicePointer, 7 },
    { "names", Names, 31 },
    { "by-handle", ByHandle, 7 },
};

static DRIVER_UNLOAD Unload;
static VOID Unload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
    IoDetachDevice(Lower);
    IoDeleteDevice(Upper);
    IoDeleteDevice(Lower);
    DbgPrint("irp-cases: unloaded\n");
}

DRIVER_INITIALIZE DriverEntry;
NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\IrpCasesLower");
    ULONG right = 0;
    NTSTATUS status;
    UNREFERENCED_PARAMETER(RegistryPath);
    Driver = DriverObject;
    for (ULONG i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++) DriverObject->MajorFunction[i] = Dispatch;
    DriverObject->DriverStartIo = StartIo;
    DriverObject->DriverUnload = Unload;
    status = IoCreateDevice(DriverObject, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &Lower);
    if (!NT_SUCCESS(status)) return status;
    Lower->Flags |= DO_BUFFERED_IO;
    Lower->Flags &= ~DO_DEVICE_INITIALIZING;
    status = IoCreateDevice(DriverObject, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Upper);
    if (!NT_SUCCESS(status)) {
        IoDeleteDevice(Lower);
        return status;
    }
    Upper->Flags |= DO_BUFFERED_IO;
    IoAttachDeviceToDeviceStack(Upper, Lower);
    Upper->Flags &= ~DO_DEVICE_INITIALIZING;
    InitializeListHead(&QueueHead);
    KeInitializeSpinLock(&QueueLock);
    IoCsqInitialize(&Queue, CsqInsert, CsqRemove, CsqPeek, CsqAcquire, CsqRelease, CsqCancelled);
    for (ULONG i = 0; i < ARRAYSIZE(Cases); i++) {
        ULONG got;
        Trail = 0;
        got = Cases[i].Run();
        if (got == Cases[i].Want) {
            right++;
            DbgPrint("case %02lu %s: ok\n", i + 1, Cases[i].Name);
        } else {
            DbgPrint("case %02lu %s: FAILED (got %lu, want %lu)\n", i + 1, Cases[i].Name, got, Cases[i].Want);
        }
    }
    DbgPrint("%lu of %lu right\n", right, (ULONG)ARRAYSIZE(Cases));
    return STATUS_SUCCESS;
}
