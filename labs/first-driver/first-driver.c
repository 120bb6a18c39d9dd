/*
 * A first driver: one device with a name, one request that echoes what it was given.
 *
 * Built without defines it is right. Each WRONG_... define below plants exactly one
 * mistake; README.md says what each of them shows.
 */
#include <ntddk.h>

/* Applications write these two with CreateFile and DeviceIoControl. */
#define FIRST_LINK L"\\DosDevices\\FirstDriver"
#define IOCTL_FIRST_ECHO CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_FIRST_LAST CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_BUFFERED, FILE_ANY_ACCESS)

#define FIRST_DEVICE L"\\Device\\FirstDriver"
#define FIRST_TAG '1tsF' /* reads "Fst1" in memory, as tools show it */
#define FIRST_MAXIMUM 256

/* What the driver keeps for its device: the last message, and a lock around it. */
typedef struct _FIRST_EXTENSION {
    FAST_MUTEX Lock;
    ULONG Length;
    PUCHAR Last;
} FIRST_EXTENSION, *PFIRST_EXTENSION;

#ifdef WRONG_DPC_QUEUED
/* Outside the image and outside the device, so that only the DPC's code goes away. */
typedef struct _FIRST_TICK {
    KTIMER Timer;
    KDPC Dpc;
} FIRST_TICK, *PFIRST_TICK;
#endif

DRIVER_INITIALIZE DriverEntry;
static DRIVER_UNLOAD FirstUnload;
static DRIVER_DISPATCH FirstCreateClose;
static DRIVER_DISPATCH FirstDeviceControl;
static NTSTATUS FirstSetUp(PDRIVER_OBJECT DriverObject);
static VOID FirstGreet(PCSTR When);

/* The code of these two is needed once: Windows gives the memory of INIT back after DriverEntry. */
#pragma alloc_text(INIT, DriverEntry)
#pragma alloc_text(INIT, FirstSetUp)
#pragma alloc_text(INIT, FirstGreet)

static DECLSPEC_NOINLINE VOID FirstGreet(PCSTR When)
{
    DbgPrint("first-driver: hello from INIT (%s)\n", When);
}

static NTSTATUS FirstComplete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

static NTSTATUS FirstCreateClose(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return FirstComplete(Irp, STATUS_SUCCESS, 0);
}

/* METHOD_BUFFERED: input and output share one buffer, which the I/O manager copies in and out. */
static NTSTATUS FirstDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PFIRST_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    ULONG input = location->Parameters.DeviceIoControl.InputBufferLength;
    ULONG output = location->Parameters.DeviceIoControl.OutputBufferLength;
    PUCHAR buffer = Irp->AssociatedIrp.SystemBuffer;
    NTSTATUS status = STATUS_SUCCESS;
    ULONG_PTR information = 0;

    switch (location->Parameters.DeviceIoControl.IoControlCode) {
    case IOCTL_FIRST_ECHO:
        if (input == 0 || input > FIRST_MAXIMUM) {
            status = STATUS_INVALID_PARAMETER;
        } else if (output < input) {
            status = STATUS_BUFFER_TOO_SMALL;
        } else {
            ExAcquireFastMutex(&extension->Lock);
            RtlCopyMemory(extension->Last, buffer, input);
            extension->Length = input;
            ExReleaseFastMutex(&extension->Lock);
            information = input; /* the echo is already in the shared buffer */
        }
        break;

    case IOCTL_FIRST_LAST:
#ifdef WRONG_INIT_CALL
        FirstGreet("much later"); /* this code is no longer there */
#endif
        ExAcquireFastMutex(&extension->Lock);
        if (output < extension->Length) {
            status = STATUS_BUFFER_TOO_SMALL;
        } else {
            RtlCopyMemory(buffer, extension->Last, extension->Length);
            information = extension->Length;
        }
        ExReleaseFastMutex(&extension->Lock);
        break;

    default:
        status = STATUS_INVALID_DEVICE_REQUEST;
        break;
    }
    return FirstComplete(Irp, status, information);
}

/* Undoes what DriverEntry did, in the opposite order. */
static VOID FirstUnload(PDRIVER_OBJECT DriverObject)
{
    PDEVICE_OBJECT device = DriverObject->DeviceObject;
    PFIRST_EXTENSION extension = device->DeviceExtension;

#ifndef WRONG_LINK_LEFT
    UNICODE_STRING link = RTL_CONSTANT_STRING(FIRST_LINK);
    IoDeleteSymbolicLink(&link);
#endif
#ifndef WRONG_LEAK
    ExFreePoolWithTag(extension->Last, FIRST_TAG);
#else
    UNREFERENCED_PARAMETER(extension);
#endif
    IoDeleteDevice(device);
    DbgPrint("first-driver: unloaded\n");
}

#ifdef WRONG_DPC_QUEUED
static VOID FirstTick(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    DbgPrint("first-driver: tick\n");
}

/* One second from now; nothing in this variant cancels it. */
static NTSTATUS FirstStartTick(VOID)
{
    LARGE_INTEGER due = { .QuadPart = -10 * 1000 * 1000 };
    PFIRST_TICK tick = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*tick), FIRST_TAG);
    if (tick == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    KeInitializeDpc(&tick->Dpc, FirstTick, tick);
    KeInitializeTimer(&tick->Timer);
    KeSetTimer(&tick->Timer, due, &tick->Dpc);
    return STATUS_SUCCESS;
}
#endif

/* Makes the device, its memory and its link; what was made is undone when a later step fails. */
static NTSTATUS FirstSetUp(PDRIVER_OBJECT DriverObject)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(FIRST_DEVICE);
    UNICODE_STRING link = RTL_CONSTANT_STRING(FIRST_LINK);
    PDEVICE_OBJECT device;
    PFIRST_EXTENSION extension;
    NTSTATUS status;

    status = IoCreateDevice(DriverObject, sizeof(FIRST_EXTENSION), &name, FILE_DEVICE_UNKNOWN,
                            FILE_DEVICE_SECURE_OPEN, FALSE, &device);
    if (!NT_SUCCESS(status)) {
        DbgPrint("first-driver: no device, status 0x%08X\n", status);
        return status;
    }
    extension = device->DeviceExtension;
    ExInitializeFastMutex(&extension->Lock);
    extension->Last = ExAllocatePool2(POOL_FLAG_NON_PAGED, FIRST_MAXIMUM, FIRST_TAG);
    if (extension->Last == NULL) {
        IoDeleteDevice(device);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    status = IoCreateSymbolicLink(&link, &name);
    if (!NT_SUCCESS(status)) {
        DbgPrint("first-driver: no link, status 0x%08X\n", status);
        ExFreePoolWithTag(extension->Last, FIRST_TAG);
        IoDeleteDevice(device);
        return status;
    }
#ifdef WRONG_DPC_QUEUED
    status = FirstStartTick();
    if (!NT_SUCCESS(status)) {
        IoDeleteSymbolicLink(&link);
        ExFreePoolWithTag(extension->Last, FIRST_TAG);
        IoDeleteDevice(device);
        return status;
    }
#endif
    return STATUS_SUCCESS;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    DbgPrint("first-driver: DriverEntry, %wZ\n", RegistryPath);
    DriverObject->MajorFunction[IRP_MJ_CREATE] = FirstCreateClose;
    DriverObject->MajorFunction[IRP_MJ_CLOSE] = FirstCreateClose;
    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = FirstDeviceControl;
#ifdef WRONG_NO_UNLOAD
    UNREFERENCED_PARAMETER(FirstUnload); /* nobody tells Windows about it */
#else
    DriverObject->DriverUnload = FirstUnload;
#endif
    FirstGreet("from DriverEntry");
    return FirstSetUp(DriverObject);
}
