/* Executive resources: threads that wait, and who comes before whom. */
#include "conformance.h"

#define EXCLUSIVE "wdm/nf-wdm-exacquireresourceexclusivelite"
#define SHARED "wdm/nf-wdm-exacquireresourcesharedlite"
#define STARVE "wdm/nf-wdm-exacquiresharedstarveexclusive"
#define WAIT_FOR "wdm/nf-wdm-exacquiresharedwaitforexclusive"
#define CONVERT "wdm/nf-wdm-exconvertexclusivetosharedlite"
#define EXCLUSIVE_WAITERS "wdm/nf-wdm-exgetexclusivewaitercount"
#define SHARED_WAITERS "wdm/nf-wdm-exgetsharedwaitercount"

static ERESOURCE Resource;
static KEVENT LetGo;
static volatile LONG Readers, Writers;

/* A reader and a writer that keep the resource until the event is set. */
static VOID Read(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    KeEnterCriticalRegion();
    ExAcquireResourceSharedLite(&Resource, TRUE);
    InterlockedIncrement(&Readers);
    KeWaitForSingleObject(&LetGo, Executive, KernelMode, FALSE, NULL);
    InterlockedDecrement(&Readers);
    ExReleaseResourceLite(&Resource);
    KeLeaveCriticalRegion();
}

static VOID Write(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(&Resource, TRUE);
    InterlockedIncrement(&Writers);
    KeWaitForSingleObject(&LetGo, Executive, KernelMode, FALSE, NULL);
    InterlockedDecrement(&Writers);
    ExReleaseResourceLite(&Resource);
    KeLeaveCriticalRegion();
}

static VOID End(PKTHREAD Thread)
{
    KeWaitForSingleObject(Thread, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(Thread);
}

typedef struct _TRIAL { ULONG Way; BOOLEAN Got; } TRIAL;

static VOID Try(PVOID Context)
{
    TRIAL *trial = Context;
    KeEnterCriticalRegion();
    trial->Got = trial->Way == 0   ? ExAcquireResourceSharedLite(&Resource, FALSE)
                 : trial->Way == 1 ? ExAcquireSharedStarveExclusive(&Resource, FALSE)
                                   : ExAcquireSharedWaitForExclusive(&Resource, FALSE);
    if (trial->Got) {
        ExReleaseResourceLite(&Resource);
    }
    KeLeaveCriticalRegion();
}

static BOOLEAN Other(ULONG Way)
{
    TRIAL trial = {0};
    trial.Way = Way;
    ConformanceInThread(Try, &trial);
    return trial.Got;
}

/* A reader has it, a writer waits: what do further readers get? */
static VOID WriterWaits(void)
{
    PKTHREAD writer;

    KeClearEvent(&LetGo);
    KeEnterCriticalRegion();
    ExAcquireResourceSharedLite(&Resource, TRUE);
    writer = ConformanceThread(Write, NULL);
    ConformanceSleep(50);
    CHECK_EQUAL(EXCLUSIVE, Writers, 0);
    CHECK_EQUAL(EXCLUSIVE_WAITERS, ExGetExclusiveWaiterCount(&Resource), 1);
    CHECK_EQUAL(SHARED_WAITERS, ExGetSharedWaiterCount(&Resource), 0);
    CHECK(SHARED, !Other(0));
    CHECK(STARVE, Other(1));
    CHECK(WAIT_FOR, !Other(2));
    /* Its owner gets it again in spite of the writer, unless it asks to wait for writers. */
    CHECK(SHARED, ExAcquireResourceSharedLite(&Resource, FALSE));
    ExReleaseResourceLite(&Resource);
    CHECK(STARVE, ExAcquireSharedStarveExclusive(&Resource, FALSE));
    ExReleaseResourceLite(&Resource);
    CHECK(WAIT_FOR, !ExAcquireSharedWaitForExclusive(&Resource, FALSE));
    ExReleaseResourceLite(&Resource);
    ConformanceSleep(50);
    CHECK_EQUAL(EXCLUSIVE, Writers, 1);
    CHECK_EQUAL(EXCLUSIVE_WAITERS, ExGetExclusiveWaiterCount(&Resource), 0);
    CHECK(SHARED, !ExAcquireResourceSharedLite(&Resource, FALSE));
    KeLeaveCriticalRegion();
    KeSetEvent(&LetGo, IO_NO_INCREMENT, FALSE);
    End(writer);
    CHECK_EQUAL(EXCLUSIVE, Writers, 0);
}

/* A writer has it, readers wait; when it becomes a reader they get in. */
static VOID ReadersWait(void)
{
    PKTHREAD threads[3];
    ULONG i;

    KeClearEvent(&LetGo);
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(&Resource, TRUE);
    for (i = 0; i < 3; i++) {
        threads[i] = ConformanceThread(Read, NULL);
    }
    ConformanceSleep(50);
    CHECK_EQUAL(SHARED, Readers, 0);
    CHECK_EQUAL(SHARED_WAITERS, ExGetSharedWaiterCount(&Resource), 3);
    CHECK_EQUAL(EXCLUSIVE_WAITERS, ExGetExclusiveWaiterCount(&Resource), 0);
    ExConvertExclusiveToSharedLite(&Resource);
    ConformanceSleep(50);
    CHECK_EQUAL(CONVERT, Readers, 3);
    CHECK_EQUAL(CONVERT, ExGetSharedWaiterCount(&Resource), 0);
    CHECK_EQUAL(CONVERT, ExIsResourceAcquiredSharedLite(&Resource), 1);
    CHECK(EXCLUSIVE, !ExAcquireResourceExclusiveLite(&Resource, FALSE));
    ExReleaseResourceLite(&Resource);
    KeSetEvent(&LetGo, IO_NO_INCREMENT, FALSE);
    for (i = 0; i < 3; i++) {
        End(threads[i]);
    }
    CHECK(EXCLUSIVE, ExAcquireResourceExclusiveLite(&Resource, FALSE));
    ExReleaseResourceLite(&Resource);
    KeLeaveCriticalRegion();
}

/* More owners than the structure itself has room for. */
static VOID ManyOwners(void)
{
    PKTHREAD threads[8];
    ULONG i;

    KeClearEvent(&LetGo);
    for (i = 0; i < 8; i++) {
        threads[i] = ConformanceThread(Read, NULL);
    }
    ConformanceSleep(50);
    KeEnterCriticalRegion();
    CHECK_EQUAL("kernel/introduction-to-eresource-routines", Readers, 8);
    CHECK(SHARED, ExAcquireResourceSharedLite(&Resource, FALSE));
    CHECK_EQUAL("wdm/nf-wdm-exisresourceacquiredsharedlite", ExIsResourceAcquiredSharedLite(&Resource), 1);
    ExReleaseResourceLite(&Resource);
    CHECK(EXCLUSIVE, !ExAcquireResourceExclusiveLite(&Resource, FALSE));
    KeSetEvent(&LetGo, IO_NO_INCREMENT, FALSE);
    for (i = 0; i < 8; i++) {
        End(threads[i]);
    }
    CHECK(EXCLUSIVE, ExAcquireResourceExclusiveLite(&Resource, FALSE));
    ExReleaseResourceLite(&Resource);
    KeLeaveCriticalRegion();
}

VOID Conform_lock_resource_waits(VOID)
{
    KeInitializeEvent(&LetGo, NotificationEvent, FALSE);
    ExInitializeResourceLite(&Resource);
    WriterWaits();
    ReadersWait();
    ManyOwners();
    CHECK_EQUAL("wdm/nf-wdm-exdeleteresourcelite", ExDeleteResourceLite(&Resource), STATUS_SUCCESS);
}
