/* Mistakes with IRQL and waiting. */
#include "seeded.h"

// case export_too_high: irql/export in Ask
#if CASE_export_too_high
static NOINLINE VOID Ask(VOID)
{
    HANDLE key;
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Registry\\Machine\\System");
    OBJECT_ATTRIBUTES attributes;
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    if (NT_SUCCESS(ZwOpenKey(&key, KEY_READ, &attributes))) {
        ZwClose(key);
    }
}
static VOID Work(VOID)
{
    KIRQL irql;
    KeRaiseIrql(BUG ? APC_LEVEL : PASSIVE_LEVEL, &irql);
    Ask();
    KeLowerIrql(irql);
}
#define WORK Work
#endif

// case wait_at_dispatch: irql/wait in Pause
#if CASE_wait_at_dispatch
static KEVENT Event;
static NOINLINE VOID Pause(VOID)
{
    LARGE_INTEGER interval;
    interval.QuadPart = -10000;
    KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, &interval);
}
static VOID Work(VOID)
{
    KIRQL irql;
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    KeRaiseIrql(BUG ? DISPATCH_LEVEL : PASSIVE_LEVEL, &irql);
    Pause();
    KeLowerIrql(irql);
}
#define WORK Work
#endif

// case wait_with_lock: irql/wait in Pause
#if CASE_wait_with_lock
static KSPIN_LOCK Lock;
static KEVENT Event;
static NOINLINE VOID Pause(VOID)
{
    KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, NULL);
}
static VOID Work(VOID)
{
    KIRQL irql;
    KeInitializeEvent(&Event, NotificationEvent, !BUG);
    KeInitializeSpinLock(&Lock);
    KeAcquireSpinLock(&Lock, &irql);
    if (BUG) {
        Pause();
    }
    KeReleaseSpinLock(&Lock, irql);
    if (!BUG) {
        Pause();
    }
}
#define WORK Work
#endif

// case dispatch_returns_raised: irql/dispatch-routine in -
#if CASE_dispatch_returns_raised
static KSPIN_LOCK Lock;
static NTSTATUS Control(PDEVICE_OBJECT Object, PIRP Irp)
{
    KIRQL irql;
    UNREFERENCED_PARAMETER(Object);
    KeAcquireSpinLock(&Lock, &irql);
    if (!BUG) {
        KeReleaseSpinLock(&Lock, irql);
    }
    return Done(Irp, STATUS_SUCCESS, 0);
}
#define CONTROL Control
#endif

// case entry_raised: irql/driver-entry in -
#if CASE_entry_raised
static NTSTATUS Entry(VOID)
{
    KIRQL irql;
    KeRaiseIrql(APC_LEVEL, &irql);
    if (!BUG) {
        KeLowerIrql(irql);
    }
    return STATUS_SUCCESS;
}
#define ENTRY Entry
#endif

// case unload_raised: irql/driver-unload in -
#if CASE_unload_raised
#define KEEP_DEVICE
#define KEEP_LINK
static VOID Unload(VOID)
{
    UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\DosDevices\\Seeded");
    KIRQL irql;
    IoDeleteSymbolicLink(&link);
    IoDeleteDevice(Device);
    KeRaiseIrql(APC_LEVEL, &irql);
    if (!BUG) {
        KeLowerIrql(irql);
    }
}
#define UNLOAD Unload
#endif

// case thread_ends_raised: irql/thread-end in -
#if CASE_thread_ends_raised
static VOID Routine(PVOID Context)
{
    KIRQL irql;
    UNREFERENCED_PARAMETER(Context);
    KeRaiseIrql(APC_LEVEL, &irql);
    if (!BUG) {
        KeLowerIrql(irql);
    }
}
static VOID Work(VOID)
{
    HANDLE handle;
    if (NT_SUCCESS(PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Routine, NULL))) {
        ZwWaitForSingleObject(handle, FALSE, NULL);
        ZwClose(handle);
    }
}
#define WORK Work
#endif

// case unicode_in_dpc: irql/dbgprint-unicode in Print
#if CASE_unicode_in_dpc
static UNICODE_STRING Text = RTL_CONSTANT_STRING(L"text");
static NOINLINE VOID Print(VOID)
{
    if (BUG) {
        DbgPrint("%wZ\n", &Text);
    } else {
        DbgPrint("%u bytes\n", Text.Length);
    }
}
static VOID Work(VOID)
{
    KIRQL irql;
    KeRaiseIrql(DISPATCH_LEVEL, &irql);
    Print();
    KeLowerIrql(irql);
}
#define WORK Work
#endif

// case long_stall: time/long-stall in Stall
#if CASE_long_stall
static NOINLINE VOID Stall(VOID)
{
    KeStallExecutionProcessor(BUG ? 5000 : 20);
}
#define WORK Stall
#endif

// case endless_loop: time/endless-loop in Spin
#if CASE_endless_loop
static volatile LONG Flag;
static NOINLINE VOID Spin(VOID)
{
    while (BUG && Flag == 0) {
    }
}
#define WORK Spin
#endif

#include "frame.h"
