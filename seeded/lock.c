/* Mistakes with locks. */
#include "seeded.h"

// case recursive_spin: lock/recursive-spin-lock in Inner
#if CASE_recursive_spin
static KSPIN_LOCK Lock;
static NOINLINE VOID Inner(VOID)
{
    KIRQL irql;
    KeAcquireSpinLock(&Lock, &irql);
    KeReleaseSpinLock(&Lock, irql);
}
static VOID Work(VOID)
{
    KIRQL irql;
    KeInitializeSpinLock(&Lock);
    KeAcquireSpinLock(&Lock, &irql);
    if (BUG) {
        Inner();
    }
    KeReleaseSpinLock(&Lock, irql);
    Inner();
}
#define WORK Work
#endif

// case spin_not_held: lock/not-held in Leave
#if CASE_spin_not_held
static KSPIN_LOCK Lock;
static NOINLINE VOID Leave(KIRQL Irql)
{
    KeReleaseSpinLock(&Lock, Irql);
}
static VOID Work(VOID)
{
    KIRQL irql;
    KeInitializeSpinLock(&Lock);
    if (BUG) {
        KeRaiseIrql(DISPATCH_LEVEL, &irql);
    } else {
        KeAcquireSpinLock(&Lock, &irql);
    }
    Leave(irql);
}
#define WORK Work
#endif

// case recursive_mutex: lock/recursive-mutex in Inner
#if CASE_recursive_mutex
static FAST_MUTEX Mutex;
static NOINLINE VOID Inner(VOID)
{
    ExAcquireFastMutex(&Mutex);
    ExReleaseFastMutex(&Mutex);
}
static VOID Work(VOID)
{
    ExInitializeFastMutex(&Mutex);
    ExAcquireFastMutex(&Mutex);
    if (BUG) {
        Inner();
    }
    ExReleaseFastMutex(&Mutex);
}
#define WORK Work
#endif

// case mutex_of_another: lock/not-owner in Release
#if CASE_mutex_of_another
static FAST_MUTEX Mutex;
static NOINLINE VOID Release(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    Sleep(5);
    if (BUG) {
        ExReleaseFastMutex(&Mutex);
    }
}
static VOID Work(VOID)
{
    HANDLE handle;
    ExInitializeFastMutex(&Mutex);
    if (NT_SUCCESS(PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Release, NULL))) {
        ExAcquireFastMutex(&Mutex);
        Sleep(10);
        if (!BUG) {
            ExReleaseFastMutex(&Mutex);
        }
        ZwWaitForSingleObject(handle, FALSE, NULL);
        ZwClose(handle);
    }
}
#define WORK Work
#endif

// case cancel_lock_twice: lock/recursive-cancel-lock in Inner
#if CASE_cancel_lock_twice
static NOINLINE VOID Inner(VOID)
{
    KIRQL irql;
    IoAcquireCancelSpinLock(&irql);
    IoReleaseCancelSpinLock(irql);
}
static VOID Work(VOID)
{
    KIRQL irql;
    IoAcquireCancelSpinLock(&irql);
    if (BUG) {
        Inner();
    }
    IoReleaseCancelSpinLock(irql);
}
#define WORK Work
#endif

// case cancel_lock_not_held: lock/cancel-lock-not-held in Leave
#if CASE_cancel_lock_not_held
static NOINLINE VOID Leave(KIRQL Irql)
{
    IoReleaseCancelSpinLock(Irql);
}
static VOID Work(VOID)
{
    KIRQL irql;
    if (BUG) {
        KeRaiseIrql(DISPATCH_LEVEL, &irql);
    } else {
        IoAcquireCancelSpinLock(&irql);
    }
    Leave(irql);
}
#define WORK Work
#endif

#if CASE_resource_not_initialised || CASE_resource_not_owned || CASE_resource_upgrade || CASE_resource_apcs || \
    CASE_resource_deleted || CASE_resource_left
static ERESOURCE Resource;
#endif

// case resource_not_initialised: lock/resource-not-initialised in Enter
#if CASE_resource_not_initialised
static NOINLINE VOID Enter(VOID)
{
    ExAcquireResourceExclusiveLite(&Resource, TRUE);
    ExReleaseResourceLite(&Resource);
}
static VOID Work(VOID)
{
    if (!BUG) {
        ExInitializeResourceLite(&Resource);
    }
    KeEnterCriticalRegion();
    Enter();
    KeLeaveCriticalRegion();
    if (!BUG) {
        ExDeleteResourceLite(&Resource);
    }
}
#define WORK Work
#endif

// case resource_not_owned: lock/resource-not-owned in Leave
#if CASE_resource_not_owned
static NOINLINE VOID Leave(VOID)
{
    ExReleaseResourceLite(&Resource);
}
static VOID Work(VOID)
{
    ExInitializeResourceLite(&Resource);
    KeEnterCriticalRegion();
    if (!BUG) {
        ExAcquireResourceSharedLite(&Resource, TRUE);
    }
    Leave();
    KeLeaveCriticalRegion();
    ExDeleteResourceLite(&Resource);
}
#define WORK Work
#endif

// case resource_upgrade: lock/resource-upgrade in Upgrade
#if CASE_resource_upgrade
static NOINLINE VOID Upgrade(VOID)
{
    ExAcquireResourceExclusiveLite(&Resource, TRUE);
    ExReleaseResourceLite(&Resource);
}
static VOID Work(VOID)
{
    ExInitializeResourceLite(&Resource);
    KeEnterCriticalRegion();
    ExAcquireResourceSharedLite(&Resource, TRUE);
    if (BUG) {
        Upgrade();
    }
    ExReleaseResourceLite(&Resource);
    if (!BUG) {
        Upgrade();
    }
    KeLeaveCriticalRegion();
    ExDeleteResourceLite(&Resource);
}
#define WORK Work
#endif

// case resource_apcs: lock/resource-apcs-enabled in Enter
#if CASE_resource_apcs
static NOINLINE VOID Enter(VOID)
{
    ExAcquireResourceExclusiveLite(&Resource, TRUE);
    ExReleaseResourceLite(&Resource);
}
static VOID Work(VOID)
{
    ExInitializeResourceLite(&Resource);
    if (!BUG) {
        KeEnterCriticalRegion();
    }
    Enter();
    if (!BUG) {
        KeLeaveCriticalRegion();
    }
    ExDeleteResourceLite(&Resource);
}
#define WORK Work
#endif

// case resource_deleted: lock/resource-in-use in Delete
#if CASE_resource_deleted
static NOINLINE VOID Delete(VOID)
{
    ExDeleteResourceLite(&Resource);
}
static VOID Work(VOID)
{
    ExInitializeResourceLite(&Resource);
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(&Resource, TRUE);
    if (!BUG) {
        ExReleaseResourceLite(&Resource);
    }
    KeLeaveCriticalRegion();
    Delete();
}
#define WORK Work
#endif

// case resource_left: lock/resource-left in -
#if CASE_resource_left
static NTSTATUS Entry(VOID) { return ExInitializeResourceLite(&Resource); }
static VOID Unload(VOID)
{
    if (!BUG) {
        ExDeleteResourceLite(&Resource);
    }
}
#define ENTRY Entry
#define UNLOAD Unload
#endif

// case remove_lock: remove-lock/over-released in Leave
#if CASE_remove_lock
static IO_REMOVE_LOCK Lock;
static NOINLINE VOID Leave(ULONG Times)
{
    while (Times-- != 0) {
        IoReleaseRemoveLock(&Lock, NULL);
    }
}
static VOID Work(VOID)
{
    IoInitializeRemoveLock(&Lock, TAG, 0, 0);
    IoAcquireRemoveLock(&Lock, NULL);
    Leave(BUG ? 3 : 1);
}
#define WORK Work
#endif

// case rundown: rundown/over-release in Leave
#if CASE_rundown
static EX_RUNDOWN_REF Rundown;
static NOINLINE VOID Leave(VOID)
{
    ExReleaseRundownProtection(&Rundown);
}
static VOID Work(VOID)
{
    ExInitializeRundownProtection(&Rundown);
    if (BUG || ExAcquireRundownProtection(&Rundown)) {
        Leave();
    }
}
#define WORK Work
#endif

// case list_twice: list/entry-twice in Push
#if CASE_list_twice
static SLIST_HEADER Head;
static SLIST_ENTRY Entry;
static NOINLINE VOID Push(VOID) { InterlockedPushEntrySList(&Head, &Entry); }
static VOID Work(VOID)
{
    InitializeSListHead(&Head);
    Push();
    if (!BUG) {
        InterlockedPopEntrySList(&Head);
    }
    Push();
}
#define WORK Work
#endif

// case slist_misaligned: list/misaligned-entry in Push
#if CASE_slist_misaligned
static SLIST_HEADER Head;
static DECLSPEC_ALIGN(16) UCHAR Entries[64];
static NOINLINE VOID Push(PSLIST_ENTRY Entry)
{
    InterlockedPushEntrySList(&Head, Entry);
}
static VOID Work(VOID)
{
    InitializeSListHead(&Head);
    Push((PSLIST_ENTRY)(PVOID)(Entries + (BUG ? 8 : 16)));
}
#define WORK Work
#endif

#include "frame.h"
