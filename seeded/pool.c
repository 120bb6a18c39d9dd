/* Mistakes with pool and lookaside lists. */
#include "seeded.h"

// case overrun: pool/overrun in Fill
#if CASE_overrun
static NOINLINE VOID Fill(PUCHAR Block, ULONG Length)
{
    for (ULONG n = 0; n < Length; n++) {
        Block[n] = (UCHAR)n;
    }
}
static VOID Work(VOID)
{
    PUCHAR block = Allocate(20);
    if (block != NULL) {
        Fill(block, BUG ? 21 : 20);
        Free(block);
    }
}
#define WORK Work
#endif

// case overrun_read: pool/overrun in Sum
#if CASE_overrun_read
static volatile ULONG Total;
static NOINLINE VOID Sum(PULONG Block, ULONG Count)
{
    for (ULONG n = 0; n < Count; n++) {
        Total += Block[n];
    }
}
static VOID Work(VOID)
{
    PULONG block = Allocate(40);
    if (block != NULL) {
        RtlZeroMemory(block, 40);
        Sum(block, BUG ? 11 : 10);
        Free(block);
    }
}
#define WORK Work
#endif

// case overrun_by_kernel: pool/overrun in CopyName
#if CASE_overrun_by_kernel
static NOINLINE VOID CopyName(PVOID To)
{
    RtlCopyMemory(To, L"a name of 30 characters, 60 by", 60);
}
static VOID Work(VOID)
{
    PVOID block = Allocate(BUG ? 48 : 60);
    if (block != NULL) {
        CopyName(block);
        Free(block);
    }
}
#define WORK Work
#endif

// case underrun: pool/underrun in Mark
#if CASE_underrun
static NOINLINE VOID Mark(PULONG Block, LONG Index) { Block[Index] = 1; }
static VOID Work(VOID)
{
    PULONG block = Allocate(32);
    if (block != NULL) {
        Mark(block, BUG ? -1 : 0);
        Free(block);
    }
}
#define WORK Work
#endif

// case use_after_free: pool/use-after-free in Late
#if CASE_use_after_free
static volatile ULONG Seen;
static NOINLINE VOID Late(PULONG Block) { Seen = Block[2]; }
static VOID Work(VOID)
{
    PULONG block = Allocate(32);
    if (block != NULL) {
        RtlZeroMemory(block, 32);
        if (BUG) {
            Free(block);
            Late(block);
        } else {
            Late(block);
            Free(block);
        }
    }
}
#define WORK Work
#endif

// case use_after_free_in_list: pool/use-after-free in Walk
#if CASE_use_after_free_in_list
typedef struct _ITEM { LIST_ENTRY Link; ULONG Value; } ITEM, *PITEM;
static LIST_ENTRY Head;
static volatile ULONG Total;
static NOINLINE VOID Walk(VOID)
{
    for (PLIST_ENTRY at = Head.Flink; at != &Head; at = at->Flink) {
        Total += CONTAINING_RECORD(at, ITEM, Link)->Value;
    }
}
static VOID Work(VOID)
{
    PITEM item = Allocate(sizeof(ITEM));
    InitializeListHead(&Head);
    if (item != NULL) {
        item->Value = 1;
        InsertTailList(&Head, &item->Link);
        if (!BUG) {
            RemoveEntryList(&item->Link);
        }
        Free(item);
        Walk();
    }
}
#define WORK Work
#endif

// case double_free: pool/double-free in Release
#if CASE_double_free
static NOINLINE VOID Release(PVOID Block, ULONG Times)
{
    while (Times-- != 0) {
        Free(Block);
    }
}
static VOID Work(VOID)
{
    PVOID block = Allocate(64);
    if (block != NULL) {
        Release(block, BUG ? 2 : 1);
    }
}
#define WORK Work
#endif

// case bad_free: pool/bad-free in Release
#if CASE_bad_free
static NOINLINE VOID Release(PUCHAR Block) { Free(Block); }
static VOID Work(VOID)
{
    PUCHAR block = Allocate(64);
    if (block != NULL) {
        Release(BUG ? block + 16 : block);
    }
}
#define WORK Work
#endif

// case wrong_tag: pool/wrong-tag in Release
#if CASE_wrong_tag
static NOINLINE VOID Release(PVOID Block) { ExFreePoolWithTag(Block, BUG ? 'rehO' : TAG); }
static VOID Work(VOID)
{
    PVOID block = Allocate(64);
    if (block != NULL) {
        Release(block);
    }
}
#define WORK Work
#endif

// case leak: pool/leak in Remember
#if CASE_leak
static PVOID Kept;
static NOINLINE VOID Remember(VOID) { Kept = ExAllocatePoolWithTag(NonPagedPoolNx, 100, TAG); }
static VOID Forget(VOID)
{
    if (!BUG && Kept != NULL) {
        Free(Kept);
    }
}
#define WORK Remember
#define UNLOAD Forget
#endif

// case leak_on_error: pool/leak in Prepare
#if CASE_leak_on_error
static NOINLINE NTSTATUS Prepare(ULONG Size)
{
    PVOID block = ExAllocatePoolWithTag(PagedPool, 64, TAG);
    if (block == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    if (Size > 16) {
        if (!BUG) {
            ExFreePoolWithTag(block, TAG);
        }
        return STATUS_INVALID_BUFFER_SIZE;
    }
    ExFreePoolWithTag(block, TAG);
    return STATUS_SUCCESS;
}
static VOID Work(VOID) { Prepare(32); }
#define WORK Work
#endif

// case zero_size: pool/zero-size in Ask
#if CASE_zero_size
static NOINLINE PVOID Ask(SIZE_T Size) { return ExAllocatePoolWithTag(NonPagedPoolNx, Size, TAG); }
static VOID Work(VOID)
{
    PVOID block = Ask(BUG ? 0 : 8);
    if (block != NULL) {
        Free(block);
    }
}
#define WORK Work
#endif

// case bad_flags: pool/bad-flags in Ask
#if CASE_bad_flags
static NOINLINE PVOID Ask(ULONG64 Flags) { return ExAllocatePool2(Flags, 32, TAG); }
static VOID Work(VOID)
{
    PVOID block = Ask(BUG ? POOL_FLAG_NON_PAGED | POOL_FLAG_PAGED : POOL_FLAG_NON_PAGED);
    if (block != NULL) {
        Free(block);
    }
}
#define WORK Work
#endif

// case paged_at_dispatch: pool/paged-at-dispatch in Ask
#if CASE_paged_at_dispatch
static NOINLINE PVOID Ask(VOID) { return ExAllocatePoolWithTag(BUG ? PagedPool : NonPagedPoolNx, 32, TAG); }
static VOID Work(VOID)
{
    KIRQL irql;
    PVOID block;
    KeRaiseIrql(DISPATCH_LEVEL, &irql);
    block = Ask();
    KeLowerIrql(irql);
    if (block != NULL) {
        Free(block);
    }
}
#define WORK Work
#endif

// case lookaside_left: lookaside/left in -
#if CASE_lookaside_left
static NPAGED_LOOKASIDE_LIST List;
static NTSTATUS Prepare(VOID)
{
    ExInitializeNPagedLookasideList(&List, NULL, NULL, 0, 64, TAG, 0);
    return STATUS_SUCCESS;
}
static VOID Finish(VOID)
{
    if (!BUG) {
        ExDeleteNPagedLookasideList(&List);
    }
}
#define ENTRY Prepare
#define UNLOAD Finish
#endif

// case lookaside_not_initialised: lookaside/not-initialised in Finish
#if CASE_lookaside_not_initialised
static NPAGED_LOOKASIDE_LIST List;
static NTSTATUS Prepare(VOID)
{
    if (!BUG) {
        ExInitializeNPagedLookasideList(&List, NULL, NULL, 0, 64, TAG, 0);
    }
    return STATUS_SUCCESS;
}
static NOINLINE VOID Finish(VOID)
{
    ExDeleteNPagedLookasideList(&List);
}
#define ENTRY Prepare
#define UNLOAD Finish
#endif

// case lookaside_twice: lookaside/initialised-twice in Prepare
#if CASE_lookaside_twice
static NPAGED_LOOKASIDE_LIST List;
static NOINLINE NTSTATUS Prepare(VOID)
{
    for (ULONG n = 0; n < (BUG ? 2 : 1); n++) {
        ExInitializeNPagedLookasideList(&List, NULL, NULL, 0, 64, TAG, 0);
    }
    return STATUS_SUCCESS;
}
static VOID Finish(VOID) { ExDeleteNPagedLookasideList(&List); }
#define ENTRY Prepare
#define UNLOAD Finish
#endif

#include "frame.h"
