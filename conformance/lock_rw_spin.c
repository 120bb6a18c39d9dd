/* Reader/writer spin locks: EX_SPIN_LOCK. */
#include "conformance.h"

#define GUIDE "kernel/reader-writer-spin-locks"
#define SHARED "wdm/nf-wdm-exacquirespinlockshared"
#define EXCLUSIVE "wdm/nf-wdm-exacquirespinlockexclusive"
#define CONVERT "wdm/nf-wdm-extryconvertsharedspinlockexclusive"
#define SHARED_DPC "wdm/nf-wdm-exacquirespinlocksharedatdpclevel"
#define EXCLUSIVE_DPC "wdm/nf-wdm-exacquirespinlockexclusiveatdpclevel"

/* Initialised to zero, as the guide asks for. */
static EX_SPIN_LOCK Lock, Other;

static VOID Levels(void)
{
    KIRQL old, inner;

    old = ExAcquireSpinLockShared(&Lock);
    CHECK_EQUAL(SHARED, old, PASSIVE_LEVEL);
    CHECK_EQUAL(SHARED, KeGetCurrentIrql(), DISPATCH_LEVEL);
    inner = ExAcquireSpinLockExclusive(&Other);
    CHECK_EQUAL(EXCLUSIVE, inner, DISPATCH_LEVEL);
    CHECK_EQUAL(EXCLUSIVE, KeGetCurrentIrql(), DISPATCH_LEVEL);
    ExReleaseSpinLockExclusive(&Other, inner);
    CHECK_EQUAL("wdm/nf-wdm-exreleasespinlockexclusive", KeGetCurrentIrql(), DISPATCH_LEVEL);
    ExReleaseSpinLockShared(&Lock, old);
    CHECK_EQUAL("wdm/nf-wdm-exreleasespinlockshared", KeGetCurrentIrql(), PASSIVE_LEVEL);
    CHECK_EQUAL("wdm/nf-wdm-exreleasespinlockshared", Lock, 0);

    old = ExAcquireSpinLockExclusive(&Lock);
    CHECK_EQUAL(EXCLUSIVE, old, PASSIVE_LEVEL);
    CHECK_EQUAL(EXCLUSIVE, KeGetCurrentIrql(), DISPATCH_LEVEL);
    CHECK(EXCLUSIVE, Lock != 0);
    ExReleaseSpinLockExclusive(&Lock, old);
    CHECK_EQUAL("wdm/nf-wdm-exreleasespinlockexclusive", KeGetCurrentIrql(), PASSIVE_LEVEL);
    CHECK_EQUAL("wdm/nf-wdm-exreleasespinlockexclusive", Lock, 0);

    KeRaiseIrql(APC_LEVEL, &old);
    inner = ExAcquireSpinLockShared(&Lock);
    CHECK_EQUAL(SHARED, inner, APC_LEVEL);
    ExReleaseSpinLockShared(&Lock, inner);
    CHECK_EQUAL("wdm/nf-wdm-exreleasespinlockshared", KeGetCurrentIrql(), APC_LEVEL);
    inner = ExAcquireSpinLockExclusive(&Lock);
    CHECK_EQUAL(EXCLUSIVE, inner, APC_LEVEL);
    ExReleaseSpinLockExclusive(&Lock, inner);
    KeLowerIrql(old);
}

static VOID AtDpcLevel(void)
{
    KIRQL old;

    KeRaiseIrql(DISPATCH_LEVEL, &old);
    ExAcquireSpinLockSharedAtDpcLevel(&Lock);
    CHECK_EQUAL(SHARED_DPC, KeGetCurrentIrql(), DISPATCH_LEVEL);
    CHECK(SHARED_DPC, Lock != 0);
    ExReleaseSpinLockSharedFromDpcLevel(&Lock);
    CHECK_EQUAL("wdm/nf-wdm-exreleasespinlocksharedfromdpclevel", KeGetCurrentIrql(), DISPATCH_LEVEL);
    CHECK_EQUAL("wdm/nf-wdm-exreleasespinlocksharedfromdpclevel", Lock, 0);
    ExAcquireSpinLockExclusiveAtDpcLevel(&Lock);
    CHECK_EQUAL(EXCLUSIVE_DPC, KeGetCurrentIrql(), DISPATCH_LEVEL);
    CHECK(EXCLUSIVE_DPC, Lock != 0);
    ExReleaseSpinLockExclusiveFromDpcLevel(&Lock);
    CHECK_EQUAL("wdm/nf-wdm-exreleasespinlockexclusivefromdpclevel", KeGetCurrentIrql(), DISPATCH_LEVEL);
    CHECK_EQUAL("wdm/nf-wdm-exreleasespinlockexclusivefromdpclevel", Lock, 0);
    KeLowerIrql(old);
}

/* The only reader may become the writer; it releases as a writer then. */
static VOID Converting(void)
{
    KIRQL old = ExAcquireSpinLockShared(&Lock);

    CHECK(CONVERT, ExTryConvertSharedSpinLockExclusive(&Lock));
    CHECK_EQUAL(CONVERT, KeGetCurrentIrql(), DISPATCH_LEVEL);
    ExReleaseSpinLockExclusive(&Lock, old);
    CHECK_EQUAL(CONVERT, KeGetCurrentIrql(), PASSIVE_LEVEL);
    CHECK_EQUAL(CONVERT, Lock, 0);

    KeRaiseIrql(DISPATCH_LEVEL, &old);
    ExAcquireSpinLockSharedAtDpcLevel(&Lock);
    CHECK(CONVERT, ExTryConvertSharedSpinLockExclusive(&Lock));
    ExReleaseSpinLockExclusiveFromDpcLevel(&Lock);
    CHECK_EQUAL(CONVERT, Lock, 0);
    KeLowerIrql(old);
}

/* A thread of low value: two numbers that belong together. */
static volatile LONG Left, Right, Torn, Reads;

static VOID Reader(PVOID Context)
{
    ULONG i;
    UNREFERENCED_PARAMETER(Context);
    for (i = 0; i < 100; i++) {
        KIRQL old = ExAcquireSpinLockShared(&Lock);
        if (Left != Right) {
            InterlockedIncrement(&Torn);
        }
        InterlockedIncrement(&Reads);
        ExReleaseSpinLockShared(&Lock, old);
    }
}

static VOID Writer(PVOID Context)
{
    ULONG i;
    UNREFERENCED_PARAMETER(Context);
    for (i = 0; i < 100; i++) {
        KIRQL old = ExAcquireSpinLockExclusive(&Lock);
        Left = Left + 1;
        Right = Right + 1;
        ExReleaseSpinLockExclusive(&Lock, old);
    }
}

VOID Conform_lock_rw_spin(VOID)
{
    PKTHREAD threads[4];
    ULONG i;

    Levels();
    AtDpcLevel();
    Converting();
    threads[0] = ConformanceThread(Reader, NULL);
    threads[1] = ConformanceThread(Writer, NULL);
    threads[2] = ConformanceThread(Reader, NULL);
    threads[3] = ConformanceThread(Writer, NULL);
    for (i = 0; i < 4; i++) {
        KeWaitForSingleObject(threads[i], Executive, KernelMode, FALSE, NULL);
        ObDereferenceObject(threads[i]);
    }
    CHECK_EQUAL(GUIDE, Torn, 0);
    CHECK_EQUAL(GUIDE, Reads, 200);
    CHECK(GUIDE, Left == 200 && Right == 200);
    CHECK_EQUAL(GUIDE, Lock, 0);
}
