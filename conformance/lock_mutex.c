/* Mutex objects: KMUTEX. */
#include "conformance.h"

#define INIT "wdm/nf-wdm-keinitializemutex"
#define WAIT "wdm/nf-wdm-kewaitforsingleobject"
#define RELEASE "wdm/nf-wdm-kereleasemutex"
#define READ "wdm/nf-wdm-kereadstatemutex"
#define GUIDE "kernel/introduction-to-mutex-objects"

static KMUTEX Mutex;
static KEVENT LetGo;
static volatile LONG Owners;

typedef struct _TRIAL { NTSTATUS Wait; } TRIAL;

static NTSTATUS Poll(void)
{
    LARGE_INTEGER now = {0};
    return KeWaitForSingleObject(&Mutex, Executive, KernelMode, FALSE, &now);
}

static VOID Try(PVOID Context)
{
    TRIAL *trial = Context;
    trial->Wait = Poll();
    if (trial->Wait == STATUS_SUCCESS) {
        KeReleaseMutex(&Mutex, FALSE);
    }
}

static NTSTATUS Other(void)
{
    TRIAL trial = {0};
    ConformanceInThread(Try, &trial);
    return trial.Wait;
}

static VOID Own(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    KeWaitForMutexObject(&Mutex, Executive, KernelMode, FALSE, NULL);
    InterlockedIncrement(&Owners);
    KeReleaseMutex(&Mutex, FALSE);
}

VOID Conform_lock_mutex(VOID)
{
    LARGE_INTEGER soon;
    PKTHREAD threads[2];

    KeInitializeEvent(&LetGo, NotificationEvent, FALSE);
    KeInitializeMutex(&Mutex, 0);
    CHECK_EQUAL(INIT, KeReadStateMutex(&Mutex), 1);
    CHECK_EQUAL(WAIT, Other(), STATUS_SUCCESS);
    CHECK_EQUAL(WAIT, KeWaitForSingleObject(&Mutex, Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    CHECK(READ, KeReadStateMutex(&Mutex) != 1);
    /* The owner may take it again, and must release it as often. */
    CHECK_EQUAL(GUIDE, Poll(), STATUS_SUCCESS);
    CHECK_EQUAL(GUIDE, Other(), STATUS_TIMEOUT);
    CHECK(RELEASE, KeReleaseMutex(&Mutex, FALSE) != 0);
    CHECK_EQUAL(GUIDE, Other(), STATUS_TIMEOUT);
    CHECK_EQUAL(RELEASE, KeReleaseMutex(&Mutex, FALSE), 0);
    CHECK_EQUAL(READ, KeReadStateMutex(&Mutex), 1);
    CHECK_EQUAL(RELEASE, Other(), STATUS_SUCCESS);

    /* A wait with a time limit ends without the mutex. */
    KeWaitForSingleObject(&Mutex, Executive, KernelMode, FALSE, NULL);
    soon.QuadPart = -10000;
    CHECK_EQUAL(WAIT, KeWaitForSingleObject(&LetGo, Executive, KernelMode, FALSE, &soon), STATUS_TIMEOUT);
    threads[0] = ConformanceThread(Own, NULL);
    threads[1] = ConformanceThread(Own, NULL);
    ConformanceSleep(50);
    CHECK_EQUAL(WAIT, Owners, 0);
    KeReleaseMutex(&Mutex, FALSE);
    KeWaitForSingleObject(threads[0], Executive, KernelMode, FALSE, NULL);
    KeWaitForSingleObject(threads[1], Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(threads[0]);
    ObDereferenceObject(threads[1]);
    CHECK_EQUAL(RELEASE, Owners, 2);
    CHECK_EQUAL(READ, KeReadStateMutex(&Mutex), 1);
}
