/* Events: KeInitializeEvent and its family. */
#include "conformance.h"

static BOOLEAN Signalled(PKEVENT Event)
{
    LARGE_INTEGER now = {0};
    return KeWaitForSingleObject(Event, Executive, KernelMode, FALSE, &now) == STATUS_SUCCESS;
}

VOID Conform_event(VOID)
{
    KEVENT event;

    KeInitializeEvent(&event, NotificationEvent, FALSE);
    CHECK_EQUAL("wdm/nf-wdm-kereadstateevent", KeReadStateEvent(&event), 0);
    CHECK("wdm/nf-wdm-keinitializeevent", !Signalled(&event));
    CHECK_EQUAL("wdm/nf-wdm-kesetevent", KeSetEvent(&event, IO_NO_INCREMENT, FALSE), 0);
    CHECK("wdm/nf-wdm-kesetevent", KeSetEvent(&event, IO_NO_INCREMENT, FALSE) != 0);
    CHECK("kernel/event-objects", Signalled(&event) && Signalled(&event));
    CHECK("wdm/nf-wdm-keresetevent", KeResetEvent(&event) != 0);
    CHECK_EQUAL("wdm/nf-wdm-keresetevent", KeResetEvent(&event), 0);
    KeSetEvent(&event, IO_NO_INCREMENT, FALSE);
    KeClearEvent(&event);
    CHECK_EQUAL("wdm/nf-wdm-keclearevent", KeReadStateEvent(&event), 0);

    KeInitializeEvent(&event, SynchronizationEvent, TRUE);
    CHECK("wdm/nf-wdm-keinitializeevent", KeReadStateEvent(&event) != 0);
    CHECK("kernel/event-objects", Signalled(&event));
    CHECK("kernel/event-objects", !Signalled(&event));
}
