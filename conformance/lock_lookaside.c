/* Lookaside lists. */
#include "conformance.h"

#define NONPAGED "wdm/nf-wdm-exinitializenpagedlookasidelist"
#define PAGED "wdm/nf-wdm-exinitializepagedlookasidelist"
#define EX "wdm/nf-wdm-exinitializelookasidelistex"
#define GUIDE "kernel/using-lookaside-lists"

static NPAGED_LOOKASIDE_LIST NonPaged;
static PAGED_LOOKASIDE_LIST Pageable;
static LOOKASIDE_LIST_EX Extended;

/* What the driver's own routines were called with. */
static ULONG Allocations, Frees, LastTag;
static SIZE_T LastSize;
static PLOOKASIDE_LIST_EX LastList;
static POOL_TYPE LastType;

static PVOID Allocate(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
    Allocations++;
    LastType = PoolType;
    LastSize = NumberOfBytes;
    LastTag = Tag;
    return ExAllocatePool2(POOL_FLAG_NON_PAGED, NumberOfBytes, Tag);
}

static VOID Free(PVOID Buffer)
{
    Frees++;
    ExFreePoolWithTag(Buffer, CONFORMANCE_TAG);
}

static PVOID AllocateEx(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag, PLOOKASIDE_LIST_EX Lookaside)
{
    LastList = Lookaside;
    return Allocate(PoolType, NumberOfBytes, Tag);
}

static VOID FreeEx(PVOID Buffer, PLOOKASIDE_LIST_EX Lookaside)
{
    LastList = Lookaside;
    Free(Buffer);
}

static VOID OwnRoutines(void)
{
    PVOID one, two;

    Allocations = Frees = 0;
    ExInitializeNPagedLookasideList(&NonPaged, Allocate, Free, 0, 48, CONFORMANCE_TAG, 0);
    CHECK_EQUAL(NONPAGED, Allocations, 0);
    one = ExAllocateFromNPagedLookasideList(&NonPaged);
    CHECK(NONPAGED, one != NULL);
    CHECK_EQUAL(NONPAGED, Allocations, 1);
    CHECK_EQUAL(NONPAGED, LastSize, 48);
    CHECK_EQUAL(NONPAGED, LastTag, CONFORMANCE_TAG);
    two = ExAllocateFromNPagedLookasideList(&NonPaged);
    CHECK(GUIDE, two != NULL && two != one);
    CHECK_EQUAL(GUIDE, Allocations, 2);
    /* What is given back is kept, and given out again. */
    ExFreeToNPagedLookasideList(&NonPaged, one);
    CHECK_EQUAL(GUIDE, Frees, 0);
    CHECK(GUIDE, ExAllocateFromNPagedLookasideList(&NonPaged) == one);
    CHECK_EQUAL(GUIDE, Allocations, 2);
    ExFreeToNPagedLookasideList(&NonPaged, one);
    ExFreeToNPagedLookasideList(&NonPaged, two);
    ExDeleteNPagedLookasideList(&NonPaged);
    CHECK_EQUAL("wdm/nf-wdm-exdeletenpagedlookasidelist", Frees, 2);
}

static VOID DefaultRoutines(void)
{
    PUCHAR bytes;

    ExInitializePagedLookasideList(&Pageable, NULL, NULL, 0, 100, CONFORMANCE_TAG, 0);
    bytes = ExAllocateFromPagedLookasideList(&Pageable);
    if (CHECK(PAGED, bytes != NULL)) {
        bytes[0] = 1;
        bytes[99] = 2;
        CHECK(PAGED, bytes[0] == 1 && bytes[99] == 2);
        ExFreeToPagedLookasideList(&Pageable, bytes);
        CHECK(GUIDE, ExAllocateFromPagedLookasideList(&Pageable) == bytes);
        ExFreeToPagedLookasideList(&Pageable, bytes);
    }
    ExDeletePagedLookasideList(&Pageable);

    ExInitializeNPagedLookasideList(&NonPaged, NULL, NULL, 0, 16, CONFORMANCE_TAG, 0);
    bytes = ExAllocateFromNPagedLookasideList(&NonPaged);
    CHECK(NONPAGED, bytes != NULL);
    if (bytes != NULL) {
        ExFreeToNPagedLookasideList(&NonPaged, bytes);
    }
    ExDeleteNPagedLookasideList(&NonPaged);
}

static VOID WithTheList(void)
{
    PVOID one;

    Allocations = Frees = 0;
    CHECK_EQUAL(EX, (ULONG)ExInitializeLookasideListEx(&Extended, AllocateEx, FreeEx, NonPagedPoolNx, 0, 32, CONFORMANCE_TAG, 0), STATUS_SUCCESS);
    one = ExAllocateFromLookasideListEx(&Extended);
    CHECK("wdm/nf-wdm-exallocatefromlookasidelistex", one != NULL && Allocations == 1);
    CHECK("wdm/nc-wdm-allocate_function_ex", LastList == &Extended);
    CHECK_EQUAL("wdm/nc-wdm-allocate_function_ex", LastType, NonPagedPoolNx);
    CHECK_EQUAL("wdm/nc-wdm-allocate_function_ex", LastSize, 32);
    CHECK_EQUAL("wdm/nc-wdm-allocate_function_ex", LastTag, CONFORMANCE_TAG);
    ExFreeToLookasideListEx(&Extended, one);
    CHECK_EQUAL("wdm/nf-wdm-exfreetolookasidelistex", Frees, 0);
    LastList = NULL;
    ExFlushLookasideListEx(&Extended);
    CHECK_EQUAL("wdm/nf-wdm-exflushlookasidelistex", Frees, 1);
    CHECK("wdm/nc-wdm-free_function_ex", LastList == &Extended);
    one = ExAllocateFromLookasideListEx(&Extended);
    CHECK_EQUAL("wdm/nf-wdm-exflushlookasidelistex", Allocations, 2);
    ExFreeToLookasideListEx(&Extended, one);
    ExDeleteLookasideListEx(&Extended);
    CHECK_EQUAL("wdm/nf-wdm-exdeletelookasidelistex", Frees, 2);

    /* The flags that exclude each other. */
    CHECK_EQUAL(EX, (ULONG)ExInitializeLookasideListEx(&Extended, AllocateEx, FreeEx, NonPagedPoolNx,
                EX_LOOKASIDE_LIST_EX_FLAGS_RAISE_ON_FAIL | EX_LOOKASIDE_LIST_EX_FLAGS_FAIL_NO_RAISE, 32, CONFORMANCE_TAG, 0),
                (ULONG)STATUS_INVALID_PARAMETER_5);
    CHECK_EQUAL(EX, (ULONG)ExInitializeLookasideListEx(&Extended, AllocateEx, FreeEx, NonPagedPoolNx,
                EX_LOOKASIDE_LIST_EX_FLAGS_FAIL_NO_RAISE, 32, CONFORMANCE_TAG, 0), STATUS_SUCCESS);
    one = ExAllocateFromLookasideListEx(&Extended);
    CHECK_EQUAL(EX, LastType, NonPagedPoolNx | 8);
    ExFreeToLookasideListEx(&Extended, one);
    ExDeleteLookasideListEx(&Extended);
}

VOID Conform_lock_lookaside(VOID)
{
    OwnRoutines();
    DefaultRoutines();
    WithTheList();
}
