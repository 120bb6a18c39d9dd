/* Interlocked lists, sequenced lists and interlocked numbers. */
#include "conformance.h"

#define HEAD "wdm/nf-wdm-exinterlockedinsertheadlist"
#define TAIL "wdm/nf-wdm-exinterlockedinserttaillist"
#define REMOVE "wdm/nf-wdm-exinterlockedremoveheadlist"
#define PUSH "wdm/nf-wdm-exinterlockedpushentrylist"
#define POP "wdm/nf-wdm-exinterlockedpopentrylist"
#define SPUSH "wdm/nf-wdm-exinterlockedpushentryslist"
#define SPOP "wdm/nf-wdm-exinterlockedpopentryslist"
#define SFLUSH "wdm/nf-wdm-exinterlockedflushslist"
#define SDEPTH "wdm/nf-wdm-exquerydepthslist"

static KSPIN_LOCK Lock;
static LIST_ENTRY List, Items[4];
static SINGLE_LIST_ENTRY Single, Nodes[3];
static SLIST_HEADER Sequenced;
static SLIST_ENTRY Entries[5];

static VOID Doubly(void)
{
    KIRQL old;

    InitializeListHead(&List);
    CHECK(REMOVE, ExInterlockedRemoveHeadList(&List, &Lock) == NULL);
    CHECK(TAIL, ExInterlockedInsertTailList(&List, &Items[0], &Lock) == NULL);
    CHECK(TAIL, ExInterlockedInsertTailList(&List, &Items[1], &Lock) == &Items[0]);
    CHECK(HEAD, ExInterlockedInsertHeadList(&List, &Items[2], &Lock) == &Items[0]);
    CHECK(HEAD, List.Flink == &Items[2] && List.Blink == &Items[1]);
    CHECK(HEAD, Items[2].Flink == &Items[0] && Items[0].Blink == &Items[2]);
    CHECK(REMOVE, ExInterlockedRemoveHeadList(&List, &Lock) == &Items[2]);
    CHECK(REMOVE, ExInterlockedRemoveHeadList(&List, &Lock) == &Items[0]);
    CHECK(REMOVE, ExInterlockedRemoveHeadList(&List, &Lock) == &Items[1]);
    CHECK(REMOVE, ExInterlockedRemoveHeadList(&List, &Lock) == NULL && IsListEmpty(&List));
    CHECK(HEAD, ExInterlockedInsertHeadList(&List, &Items[3], &Lock) == NULL);
    CHECK(REMOVE, ExInterlockedRemoveHeadList(&List, &Lock) == &Items[3]);
    /* The lock is not kept, and the IRQL not changed. */
    CHECK("wdm/nf-wdm-ketestspinlock", KeTestSpinLock(&Lock));
    CHECK_EQUAL(HEAD, KeGetCurrentIrql(), PASSIVE_LEVEL);
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    ExInterlockedInsertTailList(&List, &Items[0], &Lock);
    CHECK_EQUAL(TAIL, KeGetCurrentIrql(), DISPATCH_LEVEL);
    CHECK(REMOVE, ExInterlockedRemoveHeadList(&List, &Lock) == &Items[0]);
    KeLowerIrql(old);
}

static VOID Singly(void)
{
    Single.Next = NULL;
    CHECK(POP, ExInterlockedPopEntryList(&Single, &Lock) == NULL);
    CHECK(PUSH, ExInterlockedPushEntryList(&Single, &Nodes[0], &Lock) == NULL);
    CHECK(PUSH, ExInterlockedPushEntryList(&Single, &Nodes[1], &Lock) == &Nodes[0]);
    CHECK(PUSH, Single.Next == &Nodes[1] && Nodes[1].Next == &Nodes[0]);
    CHECK(POP, ExInterlockedPopEntryList(&Single, &Lock) == &Nodes[1]);
    CHECK(POP, ExInterlockedPopEntryList(&Single, &Lock) == &Nodes[0]);
    CHECK(POP, ExInterlockedPopEntryList(&Single, &Lock) == NULL);
}

static VOID SequencedOnes(void)
{
    PSLIST_ENTRY all;

    ExInitializeSListHead(&Sequenced);
    CHECK_EQUAL(SDEPTH, ExQueryDepthSList(&Sequenced), 0);
    CHECK(SPOP, ExInterlockedPopEntrySList(&Sequenced, &Lock) == NULL);
    CHECK(SPUSH, ExInterlockedPushEntrySList(&Sequenced, &Entries[0], &Lock) == NULL);
    CHECK(SPUSH, ExInterlockedPushEntrySList(&Sequenced, &Entries[1], &Lock) == &Entries[0]);
    CHECK(SPUSH, ExInterlockedPushEntrySList(&Sequenced, &Entries[2], &Lock) == &Entries[1]);
    CHECK_EQUAL(SDEPTH, ExQueryDepthSList(&Sequenced), 3);
    CHECK(SPOP, ExInterlockedPopEntrySList(&Sequenced, &Lock) == &Entries[2]);
    CHECK_EQUAL(SDEPTH, ExQueryDepthSList(&Sequenced), 2);
    ExInterlockedPushEntrySList(&Sequenced, &Entries[3], &Lock);
    all = ExInterlockedFlushSList(&Sequenced);
    CHECK(SFLUSH, all == &Entries[3]);
    CHECK(SFLUSH, all->Next == &Entries[1] && all->Next->Next == &Entries[0]);
    CHECK(SFLUSH, all->Next->Next->Next == NULL);
    CHECK_EQUAL(SFLUSH, ExQueryDepthSList(&Sequenced), 0);
    CHECK(SFLUSH, ExInterlockedFlushSList(&Sequenced) == NULL);
    CHECK(SPUSH, ExInterlockedPushEntrySList(&Sequenced, &Entries[4], &Lock) == NULL);
    CHECK(SPOP, ExInterlockedPopEntrySList(&Sequenced, &Lock) == &Entries[4]);
}

static VOID Numbers(void)
{
    ULONG small = 5;
    LARGE_INTEGER large, by, before;

    CHECK_EQUAL("wdm/nf-wdm-exinterlockedaddulong", ExInterlockedAddUlong(&small, 3, &Lock), 5);
    CHECK_EQUAL("wdm/nf-wdm-exinterlockedaddulong", small, 8);
    CHECK_EQUAL("wdm/nf-wdm-exinterlockedaddulong", ExInterlockedAddUlong(&small, (ULONG)-9, &Lock), 8);
    CHECK_EQUAL("wdm/nf-wdm-exinterlockedaddulong", small, 0xffffffff);
    large.QuadPart = 0xffffffffLL;
    by.QuadPart = 1;
    before = ExInterlockedAddLargeInteger(&large, by, &Lock);
    CHECK_EQUAL("wdm/nf-wdm-exinterlockedaddlargeinteger", before.QuadPart, 0xffffffffLL);
    CHECK_EQUAL("wdm/nf-wdm-exinterlockedaddlargeinteger", large.QuadPart, 0x100000000LL);
    CHECK("wdm/nf-wdm-ketestspinlock", KeTestSpinLock(&Lock));
}

VOID Conform_lock_lists(VOID)
{
    KeInitializeSpinLock(&Lock);
    Doubly();
    Singly();
    SequencedOnes();
    Numbers();
}
