/*
 * A table that many read and one changes, under a reader/writer spin lock.
 *
 * IOCTL_RUN lets three threads read and one write, and returns what the readers saw. IOCTL_READ and
 * IOCTL_WRITE do one of it.
 *
 * WRONG_SHARED: the writer acquires the lock for shared access.
 * WRONG_NESTED: a reader acquires the lock a second time while a writer waits for it.
 * WRONG_CONVERT: a reader becomes the writer and releases as a reader.
 * WRONG_GLOBAL_IRQL: the old IRQL is kept in one variable for everybody.
 */
#include <ntifs.h>

#define IOCTL_RUN CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_CONVERT CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_LEVEL CTL_CODE(FILE_DEVICE_UNKNOWN, 0x802, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define ENTRIES 8
#define ROUNDS 50

typedef struct _RESULT { ULONG Reads, Writes, Torn, Together; } RESULT;

static EX_SPIN_LOCK Lock;
static volatile ULONG Table[ENTRIES], Sum;
static volatile LONG Reads, Writes, Torn, Inside, Together;
#ifdef WRONG_NESTED
static volatile LONG ReaderIsIn, WriterComes;
#endif
static PDEVICE_OBJECT Device;

static VOID Read(PVOID Context)
{
    ULONG round, i, sum;
    UNREFERENCED_PARAMETER(Context);
    for (round = 0; round < ROUNDS; round++) {
        KIRQL old = ExAcquireSpinLockShared(&Lock);
        LONG inside = InterlockedIncrement(&Inside);
        if (inside > Together) {
            Together = inside;
        }
#ifdef WRONG_NESTED
        /* The moment that comes once in a million, arranged: a writer waits, and this reader asks again. */
        InterlockedExchange(&ReaderIsIn, 1);
        while (!WriterComes) {
            KeStallExecutionProcessor(1);
        }
        KeStallExecutionProcessor(20);
        ExAcquireSpinLockSharedAtDpcLevel(&Lock);
        ExReleaseSpinLockSharedFromDpcLevel(&Lock);
#endif
        for (sum = 0, i = 0; i < ENTRIES; i++) {
            sum += Table[i];
        }
        if (sum != Sum) {
            InterlockedIncrement(&Torn);
        }
        InterlockedIncrement(&Reads);
        InterlockedDecrement(&Inside);
        ExReleaseSpinLockShared(&Lock, old);
    }
}

static VOID Write(PVOID Context)
{
    ULONG round, i;
    UNREFERENCED_PARAMETER(Context);
    for (round = 0; round < ROUNDS; round++) {
        KIRQL old;
#ifdef WRONG_NESTED
        KeRaiseIrql(DISPATCH_LEVEL, &old);
        while (!ReaderIsIn) {
            KeStallExecutionProcessor(1);
        }
        InterlockedExchange(&WriterComes, 1);
        KeLowerIrql(old);
#endif
#ifdef WRONG_SHARED
        old = ExAcquireSpinLockShared(&Lock);
#else
        old = ExAcquireSpinLockExclusive(&Lock);
#endif
        for (i = 0; i < ENTRIES; i++) {
            Table[i] += i + 1;
#ifdef WRONG_SHARED
            KeStallExecutionProcessor(2);
#endif
            Sum += i + 1;
        }
        Writes = Writes + 1;
#ifdef WRONG_SHARED
        ExReleaseSpinLockShared(&Lock, old);
#else
        ExReleaseSpinLockExclusive(&Lock, old);
#endif
    }
}

static PKTHREAD Start(PKSTART_ROUTINE Routine)
{
    HANDLE handle;
    OBJECT_ATTRIBUTES attributes;
    PKTHREAD thread = NULL;

    InitializeObjectAttributes(&attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    if (NT_SUCCESS(PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, &attributes, NULL, NULL, Routine, NULL))) {
        ObReferenceObjectByHandle(handle, THREAD_ALL_ACCESS, *PsThreadType, KernelMode, (PVOID *)&thread, NULL);
        ZwClose(handle);
    }
    return thread;
}

static VOID Run(RESULT *Result)
{
    PKTHREAD threads[4];
    ULONG i;

    Reads = Writes = Torn = Together = 0;
    threads[0] = Start(Read);
    threads[1] = Start(Write);
#ifdef WRONG_NESTED
    threads[2] = threads[3] = NULL;
#else
    threads[2] = Start(Read);
    threads[3] = Start(Read);
#endif
    for (i = 0; i < 4; i++) {
        if (threads[i] != NULL) {
            KeWaitForSingleObject(threads[i], Executive, KernelMode, FALSE, NULL);
            ObDereferenceObject(threads[i]);
        }
    }
    Result->Reads = Reads;
    Result->Writes = Writes;
    Result->Torn = Torn;
    Result->Together = Together;
}

/* The only reader becomes the writer, and releases as one. */
static VOID Convert(void)
{
    KIRQL old = ExAcquireSpinLockShared(&Lock);

    if (ExTryConvertSharedSpinLockExclusive(&Lock)) {
        Table[0] += 1;
        Sum += 1;
#ifdef WRONG_CONVERT
        ExReleaseSpinLockShared(&Lock, old);
#else
        ExReleaseSpinLockExclusive(&Lock, old);
#endif
        return;
    }
    ExReleaseSpinLockShared(&Lock, old);
}

#ifdef WRONG_GLOBAL_IRQL
static KIRQL OldIrql;
#endif

/* Reads once at PASSIVE_LEVEL, while somebody else may read at DISPATCH_LEVEL. */
static VOID Level(void)
{
    KIRQL raised;
#ifdef WRONG_GLOBAL_IRQL
    OldIrql = ExAcquireSpinLockShared(&Lock);
    ExReleaseSpinLockShared(&Lock, OldIrql);
    KeRaiseIrql(DISPATCH_LEVEL, &raised);
    OldIrql = PASSIVE_LEVEL; /* what another processor has left there in the meantime */
    ExAcquireSpinLockShared(&Lock);
    ExReleaseSpinLockShared(&Lock, OldIrql);
    KeRaiseIrql(DISPATCH_LEVEL, &raised);
    KeLowerIrql(PASSIVE_LEVEL);
#else
    KIRQL old;
    KeRaiseIrql(DISPATCH_LEVEL, &raised);
    old = ExAcquireSpinLockShared(&Lock);
    ExReleaseSpinLockShared(&Lock, old);
    KeLowerIrql(raised);
#endif
}

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

static NTSTATUS Control(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);

    UNREFERENCED_PARAMETER(DeviceObject);
    switch (stack->Parameters.DeviceIoControl.IoControlCode) {
    case IOCTL_RUN:
        if (stack->Parameters.DeviceIoControl.OutputBufferLength < sizeof(RESULT)) {
            return Complete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
        }
        Run(Irp->AssociatedIrp.SystemBuffer);
        return Complete(Irp, STATUS_SUCCESS, sizeof(RESULT));
    case IOCTL_CONVERT:
        Convert();
        return Complete(Irp, STATUS_SUCCESS, 0);
    case IOCTL_LEVEL:
        Level();
        return Complete(Irp, STATUS_SUCCESS, 0);
    default:
        return Complete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\DosDevices\\RwSpin");
    UNREFERENCED_PARAMETER(Driver);
    IoDeleteSymbolicLink(&link);
    IoDeleteDevice(Device);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\RwSpin");
    UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\DosDevices\\RwSpin");
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->DriverUnload = Unload;
    Driver->MajorFunction[IRP_MJ_CREATE] = CreateClose;
    Driver->MajorFunction[IRP_MJ_CLOSE] = CreateClose;
    Driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = Control;
    status = IoCreateDevice(Driver, 0, &name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &Device);
    if (!NT_SUCCESS(status)) {
        return status;
    }
    status = IoCreateSymbolicLink(&link, &name);
    if (!NT_SUCCESS(status)) {
        IoDeleteDevice(Device);
    }
    return status;
}
