/*
 * Work that keeps the kernel busy: requests through stacks of one and of three devices, two threads that
 * hand over to each other, pool, timers. Each control code does its work as often as its input says.
 */
#include <ntddk.h>

#define CODE(N) CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800 + (N), METHOD_BUFFERED, FILE_ANY_ACCESS)
#define TAG 'hcnB'

typedef struct _LAYER {
    PDEVICE_OBJECT Lower; /* NULL at the bottom */
} LAYER, *PLAYER;

typedef struct _PING {
    KEVENT Mine, Yours;
    ULONG Rounds;
} PING, *PPING;

typedef struct _ALARM {
    KTIMER Timer;
    KDPC Dpc;
} ALARM, *PALARM;

static PDEVICE_OBJECT Bottom, Middle, Top;
static volatile LONG Fired;

static NTSTATUS PassedDown(PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(Device);
    UNREFERENCED_PARAMETER(Context);
    if (Irp->PendingReturned) {
        IoMarkIrpPending(Irp);
    }
    return STATUS_CONTINUE_COMPLETION;
}

static NTSTATUS ComeBack(PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(Device);
    UNREFERENCED_PARAMETER(Irp);
    UNREFERENCED_PARAMETER(Context);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static NTSTATUS Read(PDEVICE_OBJECT Device, PIRP Irp)
{
    PLAYER layer = Device->DeviceExtension;
    if (layer->Lower != NULL) {
        IoCopyCurrentIrpStackLocationToNext(Irp);
        IoSetCompletionRoutine(Irp, PassedDown, NULL, TRUE, TRUE, TRUE);
        return IoCallDriver(layer->Lower, Irp);
    }
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}

static NTSTATUS Requests(PDEVICE_OBJECT Device, ULONG Count)
{
    PIRP irp = IoAllocateIrp(Device->StackSize, FALSE);
    if (irp == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    while (Count-- != 0) {
        IoReuseIrp(irp, STATUS_SUCCESS);
        IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_READ;
        IoSetCompletionRoutine(irp, ComeBack, NULL, TRUE, TRUE, TRUE);
        IoCallDriver(Device, irp);
    }
    IoFreeIrp(irp);
    return STATUS_SUCCESS;
}

static VOID Partner(PVOID Context)
{
    PPING ping = Context;
    for (ULONG n = 0; n < ping->Rounds; n++) {
        KeWaitForSingleObject(&ping->Yours, Executive, KernelMode, FALSE, NULL);
        KeSetEvent(&ping->Mine, IO_NO_INCREMENT, FALSE);
    }
    PsTerminateSystemThread(STATUS_SUCCESS);
}

/* Two switches per round. */
static NTSTATUS Switches(ULONG Count)
{
    PPING ping = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*ping), TAG);
    HANDLE handle;
    PVOID thread;
    NTSTATUS status;

    if (ping == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    KeInitializeEvent(&ping->Mine, SynchronizationEvent, FALSE);
    KeInitializeEvent(&ping->Yours, SynchronizationEvent, FALSE);
    ping->Rounds = Count;
    status = PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Partner, ping);
    if (NT_SUCCESS(status)) {
        status = ObReferenceObjectByHandle(handle, SYNCHRONIZE, *PsThreadType, KernelMode, &thread, NULL);
        ZwClose(handle);
    }
    if (NT_SUCCESS(status)) {
        while (Count-- != 0) {
            KeSetEvent(&ping->Yours, IO_NO_INCREMENT, FALSE);
            KeWaitForSingleObject(&ping->Mine, Executive, KernelMode, FALSE, NULL);
        }
        KeWaitForSingleObject(thread, Executive, KernelMode, FALSE, NULL);
        ObDereferenceObject(thread);
    }
    ExFreePoolWithTag(ping, TAG);
    return status;
}

static NTSTATUS Pool(ULONG Count)
{
    while (Count-- != 0) {
        PVOID block = ExAllocatePoolWithTag(NonPagedPoolNx, 268, TAG);
        if (block == NULL) {
            return STATUS_INSUFFICIENT_RESOURCES;
        }
        ExFreePoolWithTag(block, TAG);
    }
    return STATUS_SUCCESS;
}

static VOID Alarm(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    InterlockedIncrement(&Fired);
}

/* Timers whose times are spread over a second, in no order. */
static NTSTATUS Timers(ULONG Count)
{
    PALARM alarms = ExAllocatePoolWithTag(NonPagedPoolNx, Count * sizeof(ALARM), TAG);
    LARGE_INTEGER due;
    ULONG mixed = 12345;

    if (alarms == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    Fired = 0;
    for (ULONG n = 0; n < Count; n++) {
        mixed = mixed * 1103515245 + 12345;
        due.QuadPart = -(LONGLONG)(1 + (mixed >> 8) % 10000000);
        KeInitializeTimer(&alarms[n].Timer);
        KeInitializeDpc(&alarms[n].Dpc, Alarm, NULL);
        KeSetTimer(&alarms[n].Timer, due, &alarms[n].Dpc);
    }
    due.QuadPart = -10500000;
    KeDelayExecutionThread(KernelMode, FALSE, &due);
    ExFreePoolWithTag(alarms, TAG);
    return (ULONG)Fired == Count ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}

static NTSTATUS Control(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    PLAYER layer = Device->DeviceExtension;
    NTSTATUS status = STATUS_INVALID_PARAMETER;
    ULONG count;

    if (layer->Lower != NULL) {
        IoSkipCurrentIrpStackLocation(Irp);
        return IoCallDriver(layer->Lower, Irp);
    }
    if (stack->Parameters.DeviceIoControl.InputBufferLength == sizeof(ULONG)) {
        count = *(PULONG)Irp->AssociatedIrp.SystemBuffer;
        switch (stack->Parameters.DeviceIoControl.IoControlCode) {
        case CODE(0): status = Requests(Bottom, count); break;
        case CODE(1): status = Requests(Top, count); break;
        case CODE(2): status = Switches(count); break;
        case CODE(3): status = Pool(count); break;
        case CODE(4): status = Timers(count); break;
        default: status = STATUS_INVALID_DEVICE_REQUEST; break;
        }
    }
    Irp->IoStatus.Status = status;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return status;
}

static NTSTATUS CreateClose(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}

static NTSTATUS Layer(PDRIVER_OBJECT Driver, PUNICODE_STRING Name, PDEVICE_OBJECT *Device, PDEVICE_OBJECT Below)
{
    NTSTATUS status = IoCreateDevice(Driver, sizeof(LAYER), Name, FILE_DEVICE_UNKNOWN, 0, FALSE, Device);
    if (NT_SUCCESS(status) && Below != NULL) {
        ((PLAYER)(*Device)->DeviceExtension)->Lower = IoAttachDeviceToDeviceStack(*Device, Below);
    }
    return status;
}

DRIVER_INITIALIZE DriverEntry;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\KernelWork");
    UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\DosDevices\\KernelWork");
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->MajorFunction[IRP_MJ_CREATE] = CreateClose;
    Driver->MajorFunction[IRP_MJ_CLOSE] = CreateClose;
    Driver->MajorFunction[IRP_MJ_READ] = Read;
    Driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = Control;
    status = Layer(Driver, &name, &Bottom, NULL);
    if (NT_SUCCESS(status)) {
        status = Layer(Driver, NULL, &Middle, Bottom);
    }
    if (NT_SUCCESS(status)) {
        status = Layer(Driver, NULL, &Top, Middle);
    }
    if (NT_SUCCESS(status)) {
        status = IoCreateSymbolicLink(&link, &name);
    }
    return status;
}
