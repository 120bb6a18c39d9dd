/*
 * One counter, eleven ways to protect it, and the mistakes that people make with locks.
 *
 * IOCTL_COUNT (input: which lock, rounds) lets four threads count under that lock and returns the
 * counter, how often the lock changed hands, and the longest wait in 100 ns. IOCTL_FORWARD and
 * IOCTL_BACKWARD take two locks; IOCTL_ONE is where most wrong variants do their one mistake.
 *
 * WRONG_ORDER: IOCTL_BACKWARD takes the two locks in the opposite order.
 * WRONG_RECURSION: a fast mutex is acquired by its owner.
 * WRONG_OTHER_THREAD: a fast mutex is released by another thread.
 * WRONG_NO_REGION: a resource is acquired without a critical region.
 * WRONG_FREED: memory is freed with a resource in it that is held.
 * WRONG_NOT_OWNED: a resource is released that nobody holds.
 * WRONG_AT_DISPATCH: a fast mutex is acquired at DISPATCH_LEVEL.
 * WRONG_THREAD_END: a thread ends and owns a mutex.
 */
#include <ntifs.h>

#define TAG 'ooZL'
#define IOCTL_COUNT CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_FORWARD CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_BACKWARD CTL_CODE(FILE_DEVICE_UNKNOWN, 0x802, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_ONE CTL_CODE(FILE_DEVICE_UNKNOWN, 0x803, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define THREADS 4

enum { Spin, Queued, ReaderWriter, Fast, Guarded, Mutex, Event, Semaphore, Resource, Push, Interlocked, Kinds };

typedef struct _REQUEST { ULONG Kind, Rounds; } REQUEST;
typedef struct _RESULT { ULONG Count, Handovers; ULONG64 LongestWait; } RESULT;

static KSPIN_LOCK SpinLock, QueuedLock;
static EX_SPIN_LOCK ReaderWriterLock;
static FAST_MUTEX FastMutex, First, Second;
static KGUARDED_MUTEX GuardedMutex;
static KMUTEX KernelMutex;
static KEVENT KernelEvent;
static KSEMAPHORE KernelSemaphore;
static ERESOURCE ExecutiveResource;
static EX_PUSH_LOCK PushLock;
static PDEVICE_OBJECT Device;

static REQUEST Job;
static volatile LONG Counter;
static PKTHREAD LastOwner;
static ULONG Handovers;
static ULONG64 LongestWait;

/* What is remembered between acquiring and releasing. */
typedef struct _HELD { KIRQL Irql; KLOCK_QUEUE_HANDLE Queue; } HELD;

static VOID Acquire(ULONG Kind, HELD *Held)
{
    switch (Kind) {
    case Spin: KeAcquireSpinLock(&SpinLock, &Held->Irql); break;
    case Queued: KeAcquireInStackQueuedSpinLock(&QueuedLock, &Held->Queue); break;
    case ReaderWriter: Held->Irql = ExAcquireSpinLockExclusive(&ReaderWriterLock); break;
    case Fast: ExAcquireFastMutex(&FastMutex); break;
    case Guarded: KeAcquireGuardedMutex(&GuardedMutex); break;
    case Mutex: KeWaitForSingleObject(&KernelMutex, Executive, KernelMode, FALSE, NULL); break;
    case Event: KeWaitForSingleObject(&KernelEvent, Executive, KernelMode, FALSE, NULL); break;
    case Semaphore: KeWaitForSingleObject(&KernelSemaphore, Executive, KernelMode, FALSE, NULL); break;
    case Resource:
        KeEnterCriticalRegion();
        ExAcquireResourceExclusiveLite(&ExecutiveResource, TRUE);
        break;
    case Push:
        KeEnterCriticalRegion();
        ExAcquirePushLockExclusive(&PushLock);
        break;
    }
}

static VOID Release(ULONG Kind, HELD *Held)
{
    switch (Kind) {
    case Spin: KeReleaseSpinLock(&SpinLock, Held->Irql); break;
    case Queued: KeReleaseInStackQueuedSpinLock(&Held->Queue); break;
    case ReaderWriter: ExReleaseSpinLockExclusive(&ReaderWriterLock, Held->Irql); break;
    case Fast: ExReleaseFastMutex(&FastMutex); break;
    case Guarded: KeReleaseGuardedMutex(&GuardedMutex); break;
    case Mutex: KeReleaseMutex(&KernelMutex, FALSE); break;
    case Event: KeSetEvent(&KernelEvent, IO_NO_INCREMENT, FALSE); break;
    case Semaphore: KeReleaseSemaphore(&KernelSemaphore, IO_NO_INCREMENT, 1, FALSE); break;
    case Resource:
        ExReleaseResourceLite(&ExecutiveResource);
        KeLeaveCriticalRegion();
        break;
    case Push:
        ExReleasePushLockExclusive(&PushLock);
        KeLeaveCriticalRegion();
        break;
    }
}

static VOID CountUp(PVOID Context)
{
    ULONG i;
    HELD held;
    UNREFERENCED_PARAMETER(Context);
    for (i = 0; i < Job.Rounds; i++) {
        ULONG64 stamp, before = KeQueryInterruptTimePrecise(&stamp), waited;
        if (Job.Kind == Interlocked) {
            InterlockedIncrement(&Counter);
            continue;
        }
        Acquire(Job.Kind, &held);
        waited = KeQueryInterruptTimePrecise(&stamp) - before;
        LongestWait = waited > LongestWait ? waited : LongestWait;
        Handovers += LastOwner != KeGetCurrentThread();
        LastOwner = KeGetCurrentThread();
        Counter = Counter + 1;
        Release(Job.Kind, &held);
    }
}

static PKTHREAD Start(PKSTART_ROUTINE Routine, PVOID Context)
{
    HANDLE handle;
    OBJECT_ATTRIBUTES attributes;
    PKTHREAD thread = NULL;

    InitializeObjectAttributes(&attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    if (NT_SUCCESS(PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, &attributes, NULL, NULL, Routine, Context))) {
        ObReferenceObjectByHandle(handle, THREAD_ALL_ACCESS, *PsThreadType, KernelMode, (PVOID *)&thread, NULL);
        ZwClose(handle);
    }
    return thread;
}

static VOID Finish(PKTHREAD Thread)
{
    if (Thread != NULL) {
        KeWaitForSingleObject(Thread, Executive, KernelMode, FALSE, NULL);
        ObDereferenceObject(Thread);
    }
}

static VOID CountWithThreads(RESULT *Result)
{
    PKTHREAD threads[THREADS];
    ULONG i;

    Counter = 0;
    Handovers = 0;
    LongestWait = 0;
    LastOwner = NULL;
    for (i = 0; i < THREADS; i++) {
        threads[i] = Start(CountUp, NULL);
    }
    for (i = 0; i < THREADS; i++) {
        Finish(threads[i]);
    }
    Result->Count = (ULONG)Counter;
    Result->Handovers = Handovers;
    Result->LongestWait = LongestWait;
}

/* Takes two mutexes, and stays a while between the two. */
static VOID TakeBoth(PFAST_MUTEX One, PFAST_MUTEX Two)
{
    LARGE_INTEGER while_;

    while_.QuadPart = -10000;
    ExAcquireFastMutex(One);
    KeDelayExecutionThread(KernelMode, FALSE, &while_);
    ExAcquireFastMutex(Two);
    ExReleaseFastMutex(Two);
    ExReleaseFastMutex(One);
}

#ifdef WRONG_OTHER_THREAD
static VOID ReleaseIt(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    ExReleaseFastMutexUnsafe(&First);
}
#endif
#ifdef WRONG_THREAD_END
static VOID TakeAndEnd(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    KeWaitForSingleObject(&KernelMutex, Executive, KernelMode, FALSE, NULL);
}
#endif

static VOID One(void)
{
#if defined(WRONG_RECURSION)
    ExAcquireFastMutex(&First);
    ExAcquireFastMutex(&First);
    ExReleaseFastMutex(&First);
    ExReleaseFastMutex(&First);
#elif defined(WRONG_OTHER_THREAD)
    KeEnterCriticalRegion();
    ExAcquireFastMutexUnsafe(&First);
    Finish(Start(ReleaseIt, NULL));
    KeLeaveCriticalRegion();
#elif defined(WRONG_NO_REGION)
    ExAcquireResourceExclusiveLite(&ExecutiveResource, TRUE);
    ExReleaseResourceLite(&ExecutiveResource);
#elif defined(WRONG_FREED)
    PERESOURCE resource = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(ERESOURCE), TAG);
    if (resource != NULL) {
        ExInitializeResourceLite(resource);
        KeEnterCriticalRegion();
        ExAcquireResourceExclusiveLite(resource, TRUE);
        ExFreePoolWithTag(resource, TAG);
        KeLeaveCriticalRegion();
    }
#elif defined(WRONG_NOT_OWNED)
    KeEnterCriticalRegion();
    ExReleaseResourceLite(&ExecutiveResource);
    KeLeaveCriticalRegion();
#elif defined(WRONG_AT_DISPATCH)
    KIRQL old;
    KeAcquireSpinLock(&SpinLock, &old);
    ExAcquireFastMutex(&First);
    ExReleaseFastMutex(&First);
    KeReleaseSpinLock(&SpinLock, old);
#elif defined(WRONG_THREAD_END)
    Finish(Start(TakeAndEnd, NULL));
#else
    ExAcquireFastMutex(&First);
    ExReleaseFastMutex(&First);
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
    RESULT result;

    UNREFERENCED_PARAMETER(DeviceObject);
    switch (stack->Parameters.DeviceIoControl.IoControlCode) {
    case IOCTL_COUNT:
        if (stack->Parameters.DeviceIoControl.InputBufferLength < sizeof(REQUEST) ||
            stack->Parameters.DeviceIoControl.OutputBufferLength < sizeof(RESULT)) {
            return Complete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
        }
        Job = *(REQUEST *)Irp->AssociatedIrp.SystemBuffer;
        if (Job.Kind >= Kinds) {
            return Complete(Irp, STATUS_INVALID_PARAMETER, 0);
        }
        CountWithThreads(&result);
        *(RESULT *)Irp->AssociatedIrp.SystemBuffer = result;
        return Complete(Irp, STATUS_SUCCESS, sizeof(RESULT));
    case IOCTL_FORWARD:
        TakeBoth(&First, &Second);
        return Complete(Irp, STATUS_SUCCESS, 0);
    case IOCTL_BACKWARD:
#ifdef WRONG_ORDER
        TakeBoth(&Second, &First);
#else
        TakeBoth(&First, &Second);
#endif
        return Complete(Irp, STATUS_SUCCESS, 0);
    case IOCTL_ONE:
        One();
        return Complete(Irp, STATUS_SUCCESS, 0);
    default:
        return Complete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\DosDevices\\LockZoo");
    UNREFERENCED_PARAMETER(Driver);
    ExDeleteResourceLite(&ExecutiveResource);
    IoDeleteSymbolicLink(&link);
    IoDeleteDevice(Device);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\LockZoo");
    UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\DosDevices\\LockZoo");
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&SpinLock);
    KeInitializeSpinLock(&QueuedLock);
    ExInitializeFastMutex(&FastMutex);
    ExInitializeFastMutex(&First);
    ExInitializeFastMutex(&Second);
    KeInitializeGuardedMutex(&GuardedMutex);
    KeInitializeMutex(&KernelMutex, 0);
    KeInitializeEvent(&KernelEvent, SynchronizationEvent, TRUE);
    KeInitializeSemaphore(&KernelSemaphore, 1, 1);
    ExInitializePushLock(&PushLock);
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
        return status;
    }
    return ExInitializeResourceLite(&ExecutiveResource);
}
