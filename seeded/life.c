/* Mistakes with devices, objects, and with what is left behind. */
#include "seeded.h"

// case device_left: device/left in -
#if CASE_device_left
#if BUG
#define KEEP_DEVICE
#endif
#endif

// case link_left: object/symbolic-link-left in -
#if CASE_link_left
#if BUG
#define KEEP_LINK
#endif
#endif

// case device_deleted_twice: device/bad-delete in Delete
#if CASE_device_deleted_twice
static NOINLINE VOID Delete(PDEVICE_OBJECT Object, ULONG Times)
{
    while (Times-- != 0) {
        IoDeleteDevice(Object);
    }
}
static VOID Work(VOID)
{
    PDEVICE_OBJECT object;
    if (NT_SUCCESS(IoCreateDevice(Driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &object))) {
        Delete(object, BUG ? 2 : 1);
    }
}
#define WORK Work
#endif

// case attached_to_itself: device/attached-to-itself in Attach
#if CASE_attached_to_itself
static NOINLINE VOID Attach(PDEVICE_OBJECT Object)
{
    PDEVICE_OBJECT other;
    if (BUG) {
        IoAttachDeviceToDeviceStack(Object, Object);
    } else if (NT_SUCCESS(IoCreateDevice(Driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &other))) {
        PDEVICE_OBJECT below = IoAttachDeviceToDeviceStack(other, Object);
        if (below != NULL) {
            IoDetachDevice(below);
        }
        IoDeleteDevice(other);
    }
}
static VOID Work(VOID) { Attach(Device); }
#define WORK Work
#endif

// case dereferenced_too_often: object/bad-dereference in Forget
#if CASE_dereferenced_too_often
static NOINLINE VOID Forget(PVOID Object) { ObDereferenceObject(Object); }
static VOID Work(VOID)
{
    PULONG block = Allocate(64);
    if (block != NULL) {
        if (BUG) {
            Forget(block + 8);
        } else {
            ObReferenceObject(Device);
            Forget(Device);
        }
        Free(block);
    }
}
#define WORK Work
#endif

// case referenced_nothing: object/bad-reference in Remember
#if CASE_referenced_nothing
static NOINLINE VOID Remember(PVOID Object) { ObReferenceObject(Object); }
static VOID Work(VOID)
{
    PULONG block = Allocate(64);
    if (block != NULL) {
        if (BUG) {
            Remember(block + 8);
        } else {
            Remember(Device);
            ObDereferenceObject(Device);
        }
        Free(block);
    }
}
#define WORK Work
#endif

// case callback_left: callback/left in -
#if CASE_callback_left
static PCALLBACK_OBJECT Callback;
static PVOID Registration;
static VOID Called(PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
}
static NTSTATUS Entry(VOID)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Callback\\PowerState");
    OBJECT_ATTRIBUTES attributes;
    NTSTATUS status;
    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE, NULL, NULL);
    status = ExCreateCallback(&Callback, &attributes, TRUE, TRUE);
    if (NT_SUCCESS(status)) {
        Registration = ExRegisterCallback(Callback, Called, NULL);
    }
    return status;
}
static VOID Unload(VOID)
{
    if (!BUG) {
        ExUnregisterCallback(Registration);
    }
    ObDereferenceObject(Callback);
}
#define ENTRY Entry
#define UNLOAD Unload
#endif

// case registry_callback_left: registry/callback-left in -
#if CASE_registry_callback_left
static LARGE_INTEGER Cookie;
static NTSTATUS Called(PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    return STATUS_SUCCESS;
}
static NTSTATUS Entry(VOID)
{
    UNICODE_STRING altitude = RTL_CONSTANT_STRING(L"370030");
    return CmRegisterCallbackEx(Called, &altitude, Driver, NULL, &Cookie, NULL);
}
static VOID Unload(VOID)
{
    if (!BUG) {
        CmUnRegisterCallback(Cookie);
    }
}
#define ENTRY Entry
#define UNLOAD Unload
#endif

// case direct_without_typecheck: registry/direct-without-typecheck in Query
#if CASE_direct_without_typecheck
static NOINLINE VOID Query(VOID)
{
    ULONG value = 0;
    RTL_QUERY_REGISTRY_TABLE table[2];
    RtlZeroMemory(table, sizeof(table));
    table[0].Name = L"Value";
    table[0].EntryContext = &value;
    table[0].Flags = RTL_QUERY_REGISTRY_DIRECT | (BUG ? 0 : RTL_QUERY_REGISTRY_TYPECHECK);
    table[0].DefaultType = BUG ? REG_NONE : (REG_DWORD << RTL_QUERY_REGISTRY_TYPECHECK_SHIFT) | REG_NONE;
    RtlQueryRegistryValues(RTL_REGISTRY_ABSOLUTE, L"\\Registry\\User", table, NULL, NULL);
}
#define WORK Query
#endif

#if CASE_timer_left || CASE_timer_in_freed_pool
static KTIMER Timer;
static KDPC Dpc;
static VOID Expired(PKDPC Object, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
}
#endif

// case timer_left: driver/timer-left in -
#if CASE_timer_left
static NTSTATUS Entry(VOID)
{
    LARGE_INTEGER due;
    due.QuadPart = -50000000;
    KeInitializeTimer(&Timer);
    KeInitializeDpc(&Dpc, Expired, NULL);
    KeSetTimer(&Timer, due, &Dpc);
    return STATUS_SUCCESS;
}
static VOID Unload(VOID)
{
    if (!BUG) {
        KeCancelTimer(&Timer);
        KeFlushQueuedDpcs();
    }
}
#define ENTRY Entry
#define UNLOAD Unload
#endif

// case thread_left: driver/thread-left in -
#if CASE_thread_left
static KEVENT Stop;
static PVOID Thread;
static VOID Routine(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    KeWaitForSingleObject(&Stop, Executive, KernelMode, FALSE, NULL);
}
static NTSTATUS Entry(VOID)
{
    HANDLE handle;
    NTSTATUS status;
    KeInitializeEvent(&Stop, NotificationEvent, FALSE);
    status = PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Routine, NULL);
    if (NT_SUCCESS(status)) {
        ObReferenceObjectByHandle(handle, SYNCHRONIZE, *PsThreadType, KernelMode, &Thread, NULL);
        ZwClose(handle);
    }
    return status;
}
static VOID Unload(VOID)
{
    if (!BUG) {
        KeSetEvent(&Stop, IO_NO_INCREMENT, FALSE);
        KeWaitForSingleObject(Thread, Executive, KernelMode, FALSE, NULL);
    }
    ObDereferenceObject(Thread);
}
#define ENTRY Entry
#define UNLOAD Unload
#endif

// case used_after_unload: driver/used-after-unload in -
#if CASE_used_after_unload
static KEVENT Stop;
static PVOID Thread;
static VOID Routine(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    Sleep(50);
    KeSetEvent(&Stop, IO_NO_INCREMENT, FALSE);
}
static VOID Work(VOID) {}
static VOID Unload(VOID)
{
    HANDLE handle;
    KeInitializeEvent(&Stop, NotificationEvent, FALSE);
    if (NT_SUCCESS(PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Routine, NULL))) {
        ObReferenceObjectByHandle(handle, SYNCHRONIZE, *PsThreadType, KernelMode, &Thread, NULL);
        ZwClose(handle);
        if (!BUG) {
            KeWaitForSingleObject(Thread, Executive, KernelMode, FALSE, NULL);
        }
        ObDereferenceObject(Thread);
    }
}
#define WORK Work
#define UNLOAD Unload
#endif

#if CASE_work_item_left || CASE_work_item_queued_twice
static WORK_QUEUE_ITEM Item;
static KEVENT Finished;
static VOID Routine(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    Sleep(5);
    KeSetEvent(&Finished, IO_NO_INCREMENT, FALSE);
}
#endif

// case work_item_left: driver/work-item-left in -
#if CASE_work_item_left
static VOID Unload(VOID)
{
    KeInitializeEvent(&Finished, NotificationEvent, FALSE);
    ExInitializeWorkItem(&Item, Routine, NULL);
    ExQueueWorkItem(&Item, DelayedWorkQueue);
    if (!BUG) {
        KeWaitForSingleObject(&Finished, Executive, KernelMode, FALSE, NULL);
        Sleep(20);
    }
}
#define UNLOAD Unload
#endif

// case work_item_queued_twice: work-item/queued-twice in Queue
#if CASE_work_item_queued_twice
/* Another processor may take the item off the queue between two calls, so there are many. */
static NOINLINE VOID Queue(ULONG Times)
{
    while (Times-- != 0) {
        ExQueueWorkItem(&Item, DelayedWorkQueue);
    }
}
static VOID Work(VOID)
{
    KeInitializeEvent(&Finished, NotificationEvent, FALSE);
    ExInitializeWorkItem(&Item, Routine, NULL);
    Queue(BUG ? 40 : 1);
    KeWaitForSingleObject(&Finished, Executive, KernelMode, FALSE, NULL);
    Sleep(20);
}
#define WORK Work
#endif

#if CASE_work_item_freed_queued || CASE_work_item_bad_free
static KEVENT Finished;
static VOID Routine(PDEVICE_OBJECT Object, PVOID Context)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Context);
    KeSetEvent(&Finished, IO_NO_INCREMENT, FALSE);
}
static NOINLINE VOID Release(PVOID Item) { IoFreeWorkItem(Item); }
#endif

// case work_item_freed_queued: work-item/freed-queued in Release
#if CASE_work_item_freed_queued
static VOID Work(VOID)
{
    KIRQL irql;
    /* Another processor may take an item off the queue before it is freed, so there are many. */
    for (ULONG n = 0; n < (BUG ? 40 : 1); n++) {
        PIO_WORKITEM item = IoAllocateWorkItem(Device);
        KeInitializeEvent(&Finished, NotificationEvent, FALSE);
        if (item == NULL) {
            break;
        }
        KeRaiseIrql(DISPATCH_LEVEL, &irql);
        IoQueueWorkItem(item, Routine, DelayedWorkQueue, NULL);
        if (BUG) {
            Release(item);
        }
        KeLowerIrql(irql);
        if (!BUG) {
            KeWaitForSingleObject(&Finished, Executive, KernelMode, FALSE, NULL);
            Sleep(20);
            Release(item);
        }
    }
}
#define WORK Work
#endif

// case work_item_bad_free: work-item/bad-free in Release
#if CASE_work_item_bad_free
static VOID Work(VOID)
{
    PIO_WORKITEM item = IoAllocateWorkItem(Device);
    UNREFERENCED_PARAMETER(Routine);
    UNREFERENCED_PARAMETER(Finished);
    if (item != NULL) {
        Release(item);
        if (BUG) {
            Release(item);
        }
    }
}
#define WORK Work
#endif

// case init_section: driver/init-section-used in -
#if CASE_init_section
#pragma code_seg(push, "INIT")
static NOINLINE ULONG Early(ULONG Value) { return Value * 3 + 1; }
#pragma code_seg(pop)
static volatile ULONG Result;
static NTSTATUS Entry(VOID)
{
    Result = Early(Driver->Size);
    return STATUS_SUCCESS;
}
static VOID Work(VOID)
{
    if (BUG) {
        Result = Early(Result);
    }
}
#define ENTRY Entry
#define WORK Work
#endif

// case handle_of_any_type: object/handle-of-any-type in Look
#if CASE_handle_of_any_type
static NOINLINE VOID Look(HANDLE Handle)
{
    PVOID object;
    if (NT_SUCCESS(ObReferenceObjectByHandle(Handle, 0, BUG ? NULL : *IoFileObjectType, UserMode, &object, NULL))) {
        ObDereferenceObject(object);
    }
}
static VOID Work(VOID)
{
    for (ULONG_PTR handle = 4; handle <= 32; handle += 4) {
        Look((HANDLE)handle);
    }
}
#define WORK Work
#endif

// case user_handle_as_kernel: object/user-handle-as-kernel in Look
#if CASE_user_handle_as_kernel
static NOINLINE VOID Look(HANDLE Handle)
{
    PVOID object;
    if (NT_SUCCESS(ObReferenceObjectByHandle(Handle, 0, *IoFileObjectType, BUG ? KernelMode : UserMode, &object, NULL))) {
        ObDereferenceObject(object);
    }
}
static VOID Work(VOID)
{
    for (ULONG_PTR handle = 4; handle <= 32; handle += 4) {
        Look((HANDLE)handle);
    }
}
#define WORK Work
#endif

#include "frame.h"
