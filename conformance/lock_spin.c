/* Spin locks: KSPIN_LOCK and its routines. */
#include "conformance.h"

#define ACQUIRE "wdm/nf-wdm-keacquirespinlock"
#define RELEASE "wdm/nf-wdm-kereleasespinlock"
#define TRY "wdm/nf-wdm-ketrytoacquirespinlockatdpclevel"
#define TEST "wdm/nf-wdm-ketestspinlock"

static KSPIN_LOCK First, Second;

/* What a DPC sees of the IRQL and of a lock. */
typedef struct _SEEN {
    KIRQL Before, Inside, After;
    BOOLEAN Tried, TestedFree, TestedHeld;
    KEVENT Done;
} SEEN;
static SEEN Seen;
static KDPC Dpc;

static VOID InDpc(PKDPC Self, PVOID Context, PVOID One, PVOID Two)
{
    SEEN *seen = Context;
    UNREFERENCED_PARAMETER(Self);
    UNREFERENCED_PARAMETER(One);
    UNREFERENCED_PARAMETER(Two);
    seen->Before = KeGetCurrentIrql();
    seen->TestedFree = KeTestSpinLock(&First);
    KeAcquireSpinLockAtDpcLevel(&First);
    seen->Inside = KeGetCurrentIrql();
    seen->TestedHeld = KeTestSpinLock(&First);
    seen->Tried = KeTryToAcquireSpinLockAtDpcLevel(&Second);
    if (seen->Tried) {
        KeReleaseSpinLockFromDpcLevel(&Second);
    }
    KeReleaseSpinLockFromDpcLevel(&First);
    seen->After = KeGetCurrentIrql();
    KeSetEvent(&seen->Done, IO_NO_INCREMENT, FALSE);
}

static VOID Basic(void)
{
    KIRQL old = 0xff, inner = 0xff;

    KeInitializeSpinLock(&First);
    KeInitializeSpinLock(&Second);
    CHECK("wdm/nf-wdm-keinitializespinlock", KeTestSpinLock(&First));

    KeAcquireSpinLock(&First, &old);
    CHECK_EQUAL(ACQUIRE, old, PASSIVE_LEVEL);
    CHECK_EQUAL(ACQUIRE, KeGetCurrentIrql(), DISPATCH_LEVEL);
    CHECK(TEST, !KeTestSpinLock(&First));
    /* A second lock inside the first: the level to go back to is DISPATCH_LEVEL. */
    KeAcquireSpinLock(&Second, &inner);
    CHECK_EQUAL(ACQUIRE, inner, DISPATCH_LEVEL);
    CHECK_EQUAL(ACQUIRE, KeGetCurrentIrql(), DISPATCH_LEVEL);
    KeReleaseSpinLock(&Second, inner);
    CHECK_EQUAL(RELEASE, KeGetCurrentIrql(), DISPATCH_LEVEL);
    CHECK(TEST, KeTestSpinLock(&Second));
    CHECK(TEST, !KeTestSpinLock(&First));
    KeReleaseSpinLock(&First, old);
    CHECK_EQUAL(RELEASE, KeGetCurrentIrql(), PASSIVE_LEVEL);
    CHECK(RELEASE, KeTestSpinLock(&First));

    old = KeAcquireSpinLockRaiseToDpc(&First);
    CHECK_EQUAL("wdm/nf-wdm-keacquirespinlockraisetodpc", old, PASSIVE_LEVEL);
    CHECK_EQUAL("wdm/nf-wdm-keacquirespinlockraisetodpc", KeGetCurrentIrql(), DISPATCH_LEVEL);
    KeReleaseSpinLock(&First, old);

    /* From APC_LEVEL, and back to it. */
    KeRaiseIrql(APC_LEVEL, &old);
    KeAcquireSpinLock(&First, &inner);
    CHECK_EQUAL(ACQUIRE, inner, APC_LEVEL);
    KeReleaseSpinLock(&First, inner);
    CHECK_EQUAL(RELEASE, KeGetCurrentIrql(), APC_LEVEL);
    KeLowerIrql(old);
}

static VOID Trying(void)
{
    KIRQL old;

    KeRaiseIrql(DISPATCH_LEVEL, &old);
    CHECK(TRY, KeTryToAcquireSpinLockAtDpcLevel(&First));
    CHECK_EQUAL(TRY, KeGetCurrentIrql(), DISPATCH_LEVEL);
    CHECK(TRY, !KeTestSpinLock(&First));
    CHECK(TRY, !KeTryToAcquireSpinLockAtDpcLevel(&First));
    /* A failed try changes nothing. */
    CHECK(TRY, !KeTestSpinLock(&First));
    KeReleaseSpinLockFromDpcLevel(&First);
    CHECK("wdm/nf-wdm-kereleasespinlockfromdpclevel", KeTestSpinLock(&First));
    CHECK_EQUAL("wdm/nf-wdm-kereleasespinlockfromdpclevel", KeGetCurrentIrql(), DISPATCH_LEVEL);

    KeAcquireSpinLockAtDpcLevel(&First);
    CHECK_EQUAL("wdm/nf-wdm-keacquirespinlockatdpclevel", KeGetCurrentIrql(), DISPATCH_LEVEL);
    CHECK("wdm/nf-wdm-keacquirespinlockatdpclevel", !KeTryToAcquireSpinLockAtDpcLevel(&First));
    KeReleaseSpinLockFromDpcLevel(&First);
    /* What was acquired by trying may be released by KeReleaseSpinLock, which sets the level. */
    CHECK(TRY, KeTryToAcquireSpinLockAtDpcLevel(&First));
    KeReleaseSpinLock(&First, old);
    CHECK_EQUAL(TRY, KeGetCurrentIrql(), PASSIVE_LEVEL);
    CHECK(TRY, KeTestSpinLock(&First));
}

/* The routines for threaded DPCs raise from PASSIVE_LEVEL too. */
static VOID ForDpc(void)
{
    KIRQL old = KeAcquireSpinLockForDpc(&First), inner;

    CHECK_EQUAL("wdm/nf-wdm-keacquirespinlockfordpc", old, PASSIVE_LEVEL);
    CHECK_EQUAL("wdm/nf-wdm-keacquirespinlockfordpc", KeGetCurrentIrql(), DISPATCH_LEVEL);
    CHECK("wdm/nf-wdm-keacquirespinlockfordpc", !KeTestSpinLock(&First));
    KeReleaseSpinLockForDpc(&First, old);
    CHECK_EQUAL("wdm/nf-wdm-kereleasespinlockfordpc", KeGetCurrentIrql(), PASSIVE_LEVEL);
    CHECK("wdm/nf-wdm-kereleasespinlockfordpc", KeTestSpinLock(&First));

    KeRaiseIrql(DISPATCH_LEVEL, &old);
    inner = KeAcquireSpinLockForDpc(&First);
    CHECK_EQUAL("wdm/nf-wdm-keacquirespinlockfordpc", inner, DISPATCH_LEVEL);
    KeReleaseSpinLockForDpc(&First, inner);
    CHECK_EQUAL("wdm/nf-wdm-kereleasespinlockfordpc", KeGetCurrentIrql(), DISPATCH_LEVEL);
    KeLowerIrql(old);
}

static VOID FromDpc(void)
{
    KeInitializeEvent(&Seen.Done, NotificationEvent, FALSE);
    KeInitializeDpc(&Dpc, InDpc, &Seen);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeWaitForSingleObject(&Seen.Done, Executive, KernelMode, FALSE, NULL);
    KeFlushQueuedDpcs();
    CHECK_EQUAL("wdm/nc-wdm-kdeferred_routine", Seen.Before, DISPATCH_LEVEL);
    CHECK_EQUAL("wdm/nf-wdm-keacquirespinlockatdpclevel", Seen.Inside, DISPATCH_LEVEL);
    CHECK_EQUAL("wdm/nf-wdm-kereleasespinlockfromdpclevel", Seen.After, DISPATCH_LEVEL);
    CHECK(TEST, Seen.TestedFree);
    CHECK(TEST, !Seen.TestedHeld);
    CHECK(TRY, Seen.Tried);
    CHECK(RELEASE, KeTestSpinLock(&First) && KeTestSpinLock(&Second));
}

/* Several threads count under one lock. */
static volatile LONG Plain;

static VOID CountUp(PVOID Context)
{
    ULONG i;
    KIRQL old;
    UNREFERENCED_PARAMETER(Context);
    for (i = 0; i < 200; i++) {
        KeAcquireSpinLock(&First, &old);
        Plain = Plain + 1;
        KeReleaseSpinLock(&First, old);
    }
}

static VOID Exclusion(void)
{
    PKTHREAD threads[3];
    ULONG i;

    Plain = 0;
    for (i = 0; i < 3; i++) {
        threads[i] = ConformanceThread(CountUp, NULL);
    }
    CountUp(NULL);
    for (i = 0; i < 3; i++) {
        KeWaitForSingleObject(threads[i], Executive, KernelMode, FALSE, NULL);
        ObDereferenceObject(threads[i]);
    }
    CHECK_EQUAL("kernel/introduction-to-spin-locks", Plain, 800);
}

/* Spin locks of the system, by number and by name. */
static VOID OfTheSystem(void)
{
    KIRQL old = 0xff, inner = 0xff;

    IoAcquireCancelSpinLock(&old);
    CHECK_EQUAL("wdm/nf-wdm-ioacquirecancelspinlock", old, PASSIVE_LEVEL);
    CHECK_EQUAL("wdm/nf-wdm-ioacquirecancelspinlock", KeGetCurrentIrql(), DISPATCH_LEVEL);
    IoReleaseCancelSpinLock(old);
    CHECK_EQUAL("wdm/nf-wdm-ioreleasecancelspinlock", KeGetCurrentIrql(), PASSIVE_LEVEL);

    IoAcquireVpbSpinLock(&old);
    CHECK_EQUAL("ntifs/nf-ntifs-ioacquirevpbspinlock", old, PASSIVE_LEVEL);
    CHECK_EQUAL("ntifs/nf-ntifs-ioacquirevpbspinlock", KeGetCurrentIrql(), DISPATCH_LEVEL);
    /* The two are different locks. */
    IoAcquireCancelSpinLock(&inner);
    CHECK_EQUAL("wdm/nf-wdm-ioacquirecancelspinlock", inner, DISPATCH_LEVEL);
    IoReleaseCancelSpinLock(inner);
    CHECK_EQUAL("wdm/nf-wdm-ioreleasecancelspinlock", KeGetCurrentIrql(), DISPATCH_LEVEL);
    IoReleaseVpbSpinLock(old);
    CHECK_EQUAL("ntifs/nf-ntifs-ioreleasevpbspinlock", KeGetCurrentIrql(), PASSIVE_LEVEL);
}

VOID Conform_lock_spin(VOID)
{
    Basic();
    Trying();
    ForDpc();
    FromDpc();
    Exclusion();
    OfTheSystem();
}
