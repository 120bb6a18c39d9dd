/*
 * A control device with requests that take their time, for tests of the workload verbs.
 */
#include <ntddk.h>

#define CODE(n) CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800 + (n), METHOD_BUFFERED, FILE_ANY_ACCESS)
#define SLOW_TIMER CODE(0)      /* completes after 100 ms with four bytes */
#define SLOW_CANCELABLE CODE(1) /* completes when it is cancelled */
#define SLOW_FOREVER CODE(2)    /* is never completed and cannot be cancelled */
#define SLOW_WAIT CODE(3)       /* the dispatch routine waits for ever */
#define SLOW_LOOP CODE(4)       /* the dispatch routine loops for ever */

static KTIMER Timer;
static KDPC Dpc;
static KEVENT Never;
static PIRP TimedIrp;
static volatile LONG Spinning = 1;

DRIVER_INITIALIZE DriverEntry;

static NTSTATUS Complete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

static NTSTATUS CreateClose(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return Complete(Irp, STATUS_SUCCESS, 0);
}

static VOID TimerDpc(PKDPC Object, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    PIRP irp = TimedIrp;
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    RtlCopyMemory(irp->AssociatedIrp.SystemBuffer, "done", 4);
    Complete(irp, STATUS_SUCCESS, 4);
}

static VOID CancelRoutine(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoReleaseCancelSpinLock(Irp->CancelIrql);
    Complete(Irp, STATUS_CANCELLED, 0);
}

static DECLSPEC_NOINLINE VOID WaitForEver(VOID)
{
    KeWaitForSingleObject(&Never, Executive, KernelMode, FALSE, NULL);
}

static DECLSPEC_NOINLINE VOID LoopForEver(VOID)
{
    while (Spinning) {
    }
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    LARGE_INTEGER due = { .QuadPart = -100 * 10 * 1000 };
    UNREFERENCED_PARAMETER(DeviceObject);
    switch (location->Parameters.DeviceIoControl.IoControlCode) {
    case SLOW_TIMER:
        if (location->Parameters.DeviceIoControl.OutputBufferLength < 4) {
            return Complete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
        }
        IoMarkIrpPending(Irp);
        TimedIrp = Irp;
        KeSetTimer(&Timer, due, &Dpc);
        return STATUS_PENDING;
    case SLOW_CANCELABLE:
        IoMarkIrpPending(Irp);
        IoSetCancelRoutine(Irp, CancelRoutine);
        return STATUS_PENDING;
    case SLOW_FOREVER:
        IoMarkIrpPending(Irp);
        return STATUS_PENDING;
    case SLOW_WAIT:
        WaitForEver();
        break;
    case SLOW_LOOP:
        LoopForEver();
        break;
    default:
        break;
    }
    return Complete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

static VOID Unload(PDRIVER_OBJECT DriverObject)
{
    UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\DosDevices\\Slow");
    IoDeleteSymbolicLink(&link);
    IoDeleteDevice(DriverObject->DeviceObject);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\Slow");
    UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\DosDevices\\Slow");
    PDEVICE_OBJECT device;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeTimer(&Timer);
    KeInitializeDpc(&Dpc, TimerDpc, NULL);
    KeInitializeEvent(&Never, NotificationEvent, FALSE);
    DriverObject->MajorFunction[IRP_MJ_CREATE] = CreateClose;
    DriverObject->MajorFunction[IRP_MJ_CLOSE] = CreateClose;
    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = DeviceControl;
    DriverObject->DriverUnload = Unload;
    status = IoCreateDevice(DriverObject, 0, &name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &device);
    if (!NT_SUCCESS(status)) {
        return status;
    }
    status = IoCreateSymbolicLink(&link, &name);
    if (!NT_SUCCESS(status)) {
        IoDeleteDevice(device);
    }
    return status;
}
