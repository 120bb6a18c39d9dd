/*
 * Critical regions: why a lock is not enough when its owner can be suspended.
 *
 * The driver keeps a table that any application may update. An ERESOURCE guards it, and the update
 * takes a while. Built without defines it is right. Each WRONG_... define plants one mistake;
 * README.md says what each of them shows.
 */
#include <ntifs.h>

#define REGIONS_DEVICE L"\\Device\\CriticalRegions"
#define REGIONS_LINK L"\\DosDevices\\CriticalRegions"
/* Update under the resource, update under a mutex. Both return the number of updates so far. */
#define IOCTL_REGIONS_UPDATE CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_REGIONS_UPDATE_MUTEX CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_BUFFERED, FILE_ANY_ACCESS)
/* What an update waits for, in milliseconds: a slow device, say. */
#define REGIONS_SLOW 20

typedef struct _REGIONS_EXTENSION {
    ERESOURCE Resource;
    KMUTEX Mutex;
    ULONG Updates;
    KDPC Dpc;
    KEVENT Done;
} REGIONS_EXTENSION, *PREGIONS_EXTENSION;

DRIVER_INITIALIZE DriverEntry;
static DRIVER_UNLOAD RegionsUnload;
static DRIVER_DISPATCH RegionsCreateClose;
static DRIVER_DISPATCH RegionsDeviceControl;

static NTSTATUS RegionsComplete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

static NTSTATUS RegionsCreateClose(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return RegionsComplete(Irp, STATUS_SUCCESS, 0);
}

/* The work that the locks protect. */
static ULONG RegionsWork(PREGIONS_EXTENSION Extension)
{
    LARGE_INTEGER slow;
    ULONG before = Extension->Updates;

    slow.QuadPart = -10000LL * REGIONS_SLOW;
    KeDelayExecutionThread(KernelMode, FALSE, &slow);
    Extension->Updates = before + 1;
    return before + 1;
}

#ifdef WRONG_DPC
/* A critical region belongs to a thread. A DPC has none of its own: it borrows whichever is there. */
static KDEFERRED_ROUTINE RegionsDpc;
static VOID RegionsDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    PREGIONS_EXTENSION extension = Context;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    KeEnterCriticalRegion();
    KeSetEvent(&extension->Done, IO_NO_INCREMENT, FALSE);
}
#endif

static ULONG RegionsUpdate(PREGIONS_EXTENSION Extension)
{
    ULONG updates;

#if defined(WRONG_IRQL)
    /* APC_LEVEL keeps APCs out as well, but somebody has to lower it again. */
    KIRQL old;
    KeRaiseIrql(APC_LEVEL, &old);
#elif !defined(WRONG_NO_REGION)
    KeEnterCriticalRegion();
#endif
    ExAcquireResourceExclusiveLite(&Extension->Resource, TRUE);
    updates = RegionsWork(Extension);
    ExReleaseResourceLite(&Extension->Resource);
#if !defined(WRONG_NO_REGION) && !defined(WRONG_NO_LEAVE) && !defined(WRONG_IRQL)
    KeLeaveCriticalRegion();
#endif
    return updates;
}

/* The owner of a KMUTEX is in a critical region by itself. */
static ULONG RegionsUpdateMutex(PREGIONS_EXTENSION Extension)
{
    ULONG updates;

    KeWaitForSingleObject(&Extension->Mutex, Executive, KernelMode, FALSE, NULL);
    updates = RegionsWork(Extension);
    KeReleaseMutex(&Extension->Mutex, FALSE);
    return updates;
}

static NTSTATUS RegionsDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PREGIONS_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    PULONG result = Irp->AssociatedIrp.SystemBuffer;

    if (location->Parameters.DeviceIoControl.OutputBufferLength < sizeof(ULONG)) {
        return RegionsComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    }
#ifdef WRONG_DPC
    KeInsertQueueDpc(&extension->Dpc, NULL, NULL);
    KeWaitForSingleObject(&extension->Done, Executive, KernelMode, FALSE, NULL);
#endif
    switch (location->Parameters.DeviceIoControl.IoControlCode) {
    case IOCTL_REGIONS_UPDATE:
        *result = RegionsUpdate(extension);
        break;
    case IOCTL_REGIONS_UPDATE_MUTEX:
        *result = RegionsUpdateMutex(extension);
        break;
    default:
        return RegionsComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    return RegionsComplete(Irp, STATUS_SUCCESS, sizeof(ULONG));
}

static VOID RegionsUnload(PDRIVER_OBJECT DriverObject)
{
    UNICODE_STRING link = RTL_CONSTANT_STRING(REGIONS_LINK);
    PREGIONS_EXTENSION extension = DriverObject->DeviceObject->DeviceExtension;

    DbgPrint("critical-regions: %u updates\n", extension->Updates);
    IoDeleteSymbolicLink(&link);
    ExDeleteResourceLite(&extension->Resource);
    IoDeleteDevice(DriverObject->DeviceObject);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(REGIONS_DEVICE);
    UNICODE_STRING link = RTL_CONSTANT_STRING(REGIONS_LINK);
    PREGIONS_EXTENSION extension;
    PDEVICE_OBJECT device;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);
    status = IoCreateDevice(DriverObject, sizeof(REGIONS_EXTENSION), &name, FILE_DEVICE_UNKNOWN,
                            FILE_DEVICE_SECURE_OPEN, FALSE, &device);
    if (!NT_SUCCESS(status)) {
        return status;
    }
    extension = device->DeviceExtension;
    ExInitializeResourceLite(&extension->Resource);
    KeInitializeMutex(&extension->Mutex, 0);
    KeInitializeEvent(&extension->Done, SynchronizationEvent, FALSE);
#ifdef WRONG_DPC
    KeInitializeDpc(&extension->Dpc, RegionsDpc, extension);
#endif
    extension->Updates = 0;
    DriverObject->MajorFunction[IRP_MJ_CREATE] = RegionsCreateClose;
    DriverObject->MajorFunction[IRP_MJ_CLOSE] = RegionsCreateClose;
    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = RegionsDeviceControl;
    DriverObject->DriverUnload = RegionsUnload;
    status = IoCreateSymbolicLink(&link, &name);
    if (!NT_SUCCESS(status)) {
        ExDeleteResourceLite(&extension->Resource);
        IoDeleteDevice(device);
    }
    return status;
}
