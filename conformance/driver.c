/*
 * The frame of the conformance driver: runs the groups, counts, prints.
 *
 * Output, one line each: every assertion that does not hold, `GROUP: N passed, N failed` for each
 * group, and at unload `conformance: N passed, N failed`.
 */
#include "conformance.h"

#ifndef CONFORMANCE_GROUPS
#include "groups.h"
#endif
#ifndef CONFORMANCE_USER_GROUPS
#define CONFORMANCE_USER_GROUPS
#endif

#define GROUP(NAME) VOID Conform_##NAME(VOID);
#define USER_GROUP(NAME) VOID Conform_user_##NAME(PDEVICE_OBJECT Device, PIRP Irp);
CONFORMANCE_GROUPS
CONFORMANCE_USER_GROUPS
#undef GROUP
#undef USER_GROUP

PDRIVER_OBJECT ConformanceDriver;
PDEVICE_OBJECT ConformanceDevice;

static volatile LONG Passed, Failed;
static LONG TotalPassed, TotalFailed;

DRIVER_INITIALIZE DriverEntry;

static VOID Count(BOOLEAN Holds)
{
    if (Holds) {
        InterlockedIncrement(&Passed);
    } else {
        InterlockedIncrement(&Failed);
    }
}

BOOLEAN ConformanceCheck(BOOLEAN Holds, PCSTR File, ULONG Line, PCSTR Page, PCSTR Text)
{
    Count(Holds);
    if (!Holds) {
        DbgPrintEx(DPFLTR_IHVDRIVER_ID, DPFLTR_ERROR_LEVEL, "FAILED %s:%u: %s (%s)\n", File, Line, Text, Page);
    }
    return Holds;
}

BOOLEAN ConformanceEqual(ULONG64 Is, ULONG64 Must, PCSTR File, ULONG Line, PCSTR Page, PCSTR Text)
{
    Count(Is == Must);
    if (Is != Must) {
        DbgPrintEx(DPFLTR_IHVDRIVER_ID, DPFLTR_ERROR_LEVEL, "FAILED %s:%u: %s, is 0x%I64x and not 0x%I64x (%s)\n",
                   File, Line, Text, Is, Must, Page);
    }
    return Is == Must;
}

/* Closes the account of a group. */
static VOID Report(PCSTR Group)
{
    DbgPrintEx(DPFLTR_IHVDRIVER_ID, DPFLTR_ERROR_LEVEL, "%s: %d passed, %d failed\n", Group, Passed, Failed);
    TotalPassed += Passed;
    TotalFailed += Failed;
    Passed = Failed = 0;
}

PKTHREAD ConformanceThread(PKSTART_ROUTINE Routine, PVOID Context)
{
    OBJECT_ATTRIBUTES attributes;
    HANDLE handle;
    PKTHREAD thread = NULL;
    NTSTATUS status;

    InitializeObjectAttributes(&attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    status = PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, &attributes, NULL, NULL, Routine, Context);
    if (CHECK_EQUAL("wdm/nf-wdm-pscreatesystemthread", (ULONG)status, STATUS_SUCCESS)) {
        status = ObReferenceObjectByHandle(handle, THREAD_ALL_ACCESS, *PsThreadType, KernelMode, (PVOID *)&thread, NULL);
        CHECK_EQUAL("wdm/nf-wdm-obreferenceobjectbyhandle", (ULONG)status, STATUS_SUCCESS);
        ZwClose(handle);
    }
    return thread;
}

VOID ConformanceInThread(PKSTART_ROUTINE Routine, PVOID Context)
{
    PKTHREAD thread = ConformanceThread(Routine, Context);
    if (thread != NULL) {
        KeWaitForSingleObject(thread, Executive, KernelMode, FALSE, NULL);
        ObDereferenceObject(thread);
    }
}

VOID ConformanceSleep(ULONG Milliseconds)
{
    LARGE_INTEGER interval;
    interval.QuadPart = -10000LL * Milliseconds;
    KeDelayExecutionThread(KernelMode, FALSE, &interval);
}

static NTSTATUS CreateClose(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = 0;
#define USER_GROUP(NAME)             \
    Conform_user_##NAME(Device, Irp); \
    Report("user_" #NAME);
    CONFORMANCE_USER_GROUPS
#undef USER_GROUP
    UNREFERENCED_PARAMETER(Device);
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\DosDevices\\Ring3Conformance");
    UNREFERENCED_PARAMETER(Driver);
    IoDeleteSymbolicLink(&link);
    IoDeleteDevice(ConformanceDevice);
    DbgPrintEx(DPFLTR_IHVDRIVER_ID, DPFLTR_ERROR_LEVEL, "conformance: %d passed, %d failed\n", TotalPassed, TotalFailed);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(CONFORMANCE_DEVICE);
    UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\DosDevices\\Ring3Conformance");
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);
    ConformanceDriver = Driver;
    Driver->DriverUnload = Unload;
    Driver->MajorFunction[IRP_MJ_CREATE] = CreateClose;
    Driver->MajorFunction[IRP_MJ_CLOSE] = CreateClose;
    Driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = DeviceControl;
    status = IoCreateDevice(Driver, 0, &name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &ConformanceDevice);
    if (!NT_SUCCESS(status)) {
        return status;
    }
    /* Groups open the device while DriverEntry still runs. */
    ConformanceDevice->Flags &= ~DO_DEVICE_INITIALIZING;
    status = IoCreateSymbolicLink(&link, &name);
    if (!NT_SUCCESS(status)) {
        IoDeleteDevice(ConformanceDevice);
        return status;
    }
#define GROUP(NAME)   \
    Conform_##NAME(); \
    Report(#NAME);
    CONFORMANCE_GROUPS
#undef GROUP
    return STATUS_SUCCESS;
}
