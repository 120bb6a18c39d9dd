/* The rest of the frame: included at the end of each source file. */
static NTSTATUS FrameCreateClose(PDEVICE_OBJECT Object, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Object);
    return Done(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS FrameControl(PDEVICE_OBJECT Object, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Object);
#ifdef WORK
    WORK();
#endif
    return Done(Irp, STATUS_SUCCESS, 0);
}

static VOID FrameUnload(PDRIVER_OBJECT Object)
{
    UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\DosDevices\\Seeded");
    UNREFERENCED_PARAMETER(Object);
#ifdef UNLOAD
    UNLOAD();
#endif
#ifndef KEEP_LINK
    IoDeleteSymbolicLink(&link);
#else
    UNREFERENCED_PARAMETER(link);
#endif
#ifndef KEEP_DEVICE
    IoDeleteDevice(Device);
#endif
}

DRIVER_INITIALIZE DriverEntry;

NTSTATUS DriverEntry(PDRIVER_OBJECT Object, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\Seeded");
    UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\DosDevices\\Seeded");
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);
    UNREFERENCED_PARAMETER(Sleep);
    UNREFERENCED_PARAMETER(Allocate);
    UNREFERENCED_PARAMETER(Free);
    UNREFERENCED_PARAMETER(FrameCreateClose);
    UNREFERENCED_PARAMETER(FrameControl);
    Driver = Object;
    Object->DriverUnload = FrameUnload;
#ifdef CREATE
    Object->MajorFunction[IRP_MJ_CREATE] = CREATE;
#else
    Object->MajorFunction[IRP_MJ_CREATE] = FrameCreateClose;
#endif
    Object->MajorFunction[IRP_MJ_CLOSE] = FrameCreateClose;
#ifdef CONTROL
    Object->MajorFunction[IRP_MJ_DEVICE_CONTROL] = CONTROL;
#else
    Object->MajorFunction[IRP_MJ_DEVICE_CONTROL] = FrameControl;
#endif
    status = IoCreateDevice(Object, 64, &name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &Device);
    if (!NT_SUCCESS(status)) {
        return status;
    }
    status = IoCreateSymbolicLink(&link, &name);
#ifdef ENTRY
    if (NT_SUCCESS(status)) {
        status = ENTRY();
    }
#endif
    return status;
}
