/* Mistakes with MDLs, mappings, protections and the stack. */
#include "seeded.h"

// case mdl_not_locked: mdl/not-locked in Unlock
#if CASE_mdl_not_locked
static NOINLINE VOID Unlock(PMDL Mdl) { MmUnlockPages(Mdl); }
static VOID Work(VOID)
{
    PVOID block = ExAllocatePoolWithTag(PagedPool, 64, TAG);
    PMDL mdl;
    if (block != NULL) {
        mdl = IoAllocateMdl(block, 64, FALSE, FALSE, NULL);
        if (mdl != NULL) {
            if (!BUG) {
                MmProbeAndLockPages(mdl, KernelMode, IoWriteAccess);
            }
            Unlock(mdl);
            IoFreeMdl(mdl);
        }
        Free(block);
    }
}
#define WORK Work
#endif

// case mdl_freed_locked: mdl/freed-locked in Release
#if CASE_mdl_freed_locked
static NOINLINE VOID Release(PMDL Mdl) { IoFreeMdl(Mdl); }
static VOID Work(VOID)
{
    PVOID block = ExAllocatePoolWithTag(PagedPool, 64, TAG);
    PMDL mdl;
    if (block != NULL) {
        mdl = IoAllocateMdl(block, 64, FALSE, FALSE, NULL);
        if (mdl != NULL) {
            MmProbeAndLockPages(mdl, KernelMode, IoWriteAccess);
            if (!BUG) {
                MmUnlockPages(mdl);
            }
            Release(mdl);
        }
        Free(block);
    }
}
#define WORK Work
#endif

// case mdl_not_nonpaged: mdl/not-nonpaged in Build
#if CASE_mdl_not_nonpaged
static NOINLINE VOID Build(PMDL Mdl) { MmBuildMdlForNonPagedPool(Mdl); }
static VOID Work(VOID)
{
    PVOID block = ExAllocatePoolWithTag(BUG ? PagedPool : NonPagedPoolNx, 64, TAG);
    PMDL mdl;
    if (block != NULL) {
        mdl = IoAllocateMdl(block, 64, FALSE, FALSE, NULL);
        if (mdl != NULL) {
            Build(mdl);
            IoFreeMdl(mdl);
        }
        Free(block);
    }
}
#define WORK Work
#endif

// case contiguous_bad_free: mm/bad-free in Release
#if CASE_contiguous_bad_free
static NOINLINE VOID Release(PVOID Memory) { MmFreeContiguousMemory(Memory); }
static VOID Work(VOID)
{
    PHYSICAL_ADDRESS highest;
    PVOID memory;
    highest.QuadPart = -1;
    memory = BUG ? Allocate(64) : MmAllocateContiguousMemory(64, highest);
    if (memory != NULL) {
        Release(memory);
        if (BUG) {
            Free(memory);
        }
    }
}
#define WORK Work
#endif

// case bad_unmap: mm/bad-unmap in Unmap
#if CASE_bad_unmap
static NOINLINE VOID Unmap(PVOID Memory) { MmUnmapIoSpace(Memory, 4096); }
static VOID Work(VOID)
{
    PHYSICAL_ADDRESS at;
    PVOID memory;
    at.QuadPart = 0x1000;
    memory = MmMapIoSpace(at, 4096, MmCached);
    if (memory != NULL) {
        Unmap(memory);
        if (BUG) {
            Unmap(memory);
        }
    }
}
#define WORK Work
#endif

// case write_constant: memory/write-read-only in Change
#if CASE_write_constant
static const volatile ULONG Constant = 5;
static volatile ULONG Variable = 5;
static NOINLINE VOID Change(volatile ULONG *At) { *At = 6; }
static VOID Work(VOID) { Change(BUG ? (volatile ULONG *)&Constant : &Variable); }
#define WORK Work
#endif

// case execute_data: memory/execute-data in -
#if CASE_execute_data
static UCHAR Code[16] = {0xc3};
typedef VOID ROUTINE(VOID);
static VOID Nothing(VOID) {}
static ROUTINE *volatile Pointer;
static NOINLINE VOID Call(VOID) { Pointer(); }
static VOID Work(VOID)
{
    Pointer = BUG ? (ROUTINE *)(ULONG_PTR)Code : Nothing;
    Call();
}
#define WORK Work
#endif

// case stack_overflow: stack/overflow in Recurse
#if CASE_stack_overflow
static PUCHAR volatile Kept;
static NOINLINE ULONG Recurse(PUCHAR Before, ULONG Depth)
{
    UCHAR room[512];
    ULONG below = 0;
    Kept = room;
    Kept[0] = (UCHAR)Depth;
    if (Depth != 0) {
        below = Recurse(room, Depth - 1);
    }
    return below + room[0] + (Before != NULL ? Before[0] : 0);
}
static VOID Work(VOID) { Recurse(NULL, BUG ? 400 : 4); }
#define WORK Work
#endif

#include "frame.h"
