/* Registry callbacks and notifications of changes. */
#include "conformance.h"

#define BASE L"\\Registry\\Machine\\Software\\Ring3Filtered"

static const char *Page = "wdm/nf-wdm-cmregistercallbackex";
static LARGE_INTEGER Low, High;
static PKTHREAD Self;
/* The order in which the two callbacks saw the class of interest, two bits each. */
static ULONG Watched, Order, Posts, Closes, Cleanups;
static PVOID KeyObject, SeenContext, CleanedContext, CallContext;
static NTSTATUS PreStatus, PostStatus, Answer;

static NTSTATUS Callback(PVOID Context, PVOID Class, PVOID Information)
{
    ULONG class = (ULONG)(ULONG_PTR)Class;
    PREG_POST_OPERATION_INFORMATION post = Information;
    PREG_QUERY_VALUE_KEY_INFORMATION query = Information;

    if (KeGetCurrentThread() != Self) {
        return STATUS_SUCCESS;
    }
    if (class == Watched) {
        Order = Order << 2 | (ULONG)(ULONG_PTR)Context;
        if (class == CLASS_RegNtPreQueryValueKey) {
            query->CallContext = (PVOID)((ULONG_PTR)Context + 0x100);
            if (Context == (PVOID)1) {
                SeenContext = query->ObjectContext;
            }
        }
        return Context == (PVOID)1 ? Answer : STATUS_SUCCESS;
    }
    if (class == CLASS_RegNtPostQueryValueKey) {
        Posts = Posts << 2 | (ULONG)(ULONG_PTR)Context;
        PreStatus = post->Status;
        CallContext = post->CallContext;
        KeyObject = post->Object;
        if (!NT_SUCCESS(PostStatus) && Context == (PVOID)1) {
            post->ReturnStatus = PostStatus;
            return STATUS_CALLBACK_BYPASS;
        }
    } else if (class == CLASS_RegNtPostOpenKeyEx && NT_SUCCESS(post->Status)) {
        KeyObject = post->Object;
    } else if (class == CLASS_RegNtPreKeyHandleClose && *(PVOID *)Information == KeyObject) {
        Closes++;
    } else if (class == CLASS_RegNtCallbackObjectContextCleanup) {
        Cleanups++;
        CleanedContext = ((PREG_CALLBACK_CONTEXT_CLEANUP_INFORMATION)Information)->ObjectContext;
    }
    return STATUS_SUCCESS;
}

static NTSTATUS Query(HANDLE Key)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"Value");
    UCHAR buffer[64];
    ULONG length;
    Order = Posts = 0;
    PreStatus = -1;
    return ZwQueryValueKey(Key, &name, KeyValuePartialInformation, buffer, sizeof(buffer), &length);
}

static VOID Filtered(HANDLE Key)
{
    Watched = CLASS_RegNtPreQueryValueKey;
    CHECK_EQUAL("kernel/handling-notifications", Query(Key), STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK_EQUAL("kernel/specifying-an-altitude", Order, 2 << 2 | 1);
    CHECK_EQUAL("kernel/specifying-an-altitude", Posts, 1 << 2 | 2);
    CHECK_EQUAL("wdm/ns-wdm-_reg_post_operation_information", PreStatus, STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK_EQUAL("wdm/ns-wdm-_reg_post_operation_information", CallContext, 0x102);
    CHECK("wdm/ns-wdm-_reg_post_operation_information", KeyObject != NULL);

    Answer = STATUS_ACCESS_DENIED;
    CHECK_EQUAL("kernel/handling-notifications", Query(Key), STATUS_ACCESS_DENIED);
    Answer = STATUS_CALLBACK_BYPASS;
    CHECK_EQUAL("kernel/handling-notifications", Query(Key), STATUS_SUCCESS);
    CHECK("kernel/handling-notifications", (Posts & 3) != 1 && (Posts >> 2 & 3) != 1);
    Answer = STATUS_SUCCESS;
    PostStatus = STATUS_INSUFFICIENT_RESOURCES;
    CHECK_EQUAL("kernel/handling-notifications", Query(Key), STATUS_INSUFFICIENT_RESOURCES);
    PostStatus = STATUS_SUCCESS;
}

static VOID Objects(HANDLE Key, POBJECT_ATTRIBUTES Attributes)
{
    LARGE_INTEGER wrong;
    ULONG_PTR first = 0, second = 0;
    PCUNICODE_STRING name = NULL;
    PVOID old = (PVOID)1, object;
    HANDLE again;

    Query(Key);
    object = KeyObject;
    CHECK_EQUAL("wdm/nf-wdm-cmcallbackgetkeyobjectidex", CmCallbackGetKeyObjectIDEx(&Low, object, &first, &name, 0), STATUS_SUCCESS);
    CHECK("wdm/nf-wdm-cmcallbackgetkeyobjectidex", name != NULL && name->Length == sizeof(BASE) - sizeof(WCHAR));
    if (name != NULL) {
        CmCallbackReleaseKeyObjectIDEx(name);
    }
    CHECK_EQUAL("wdm/nf-wdm-cmcallbackgetkeyobjectidex", CmCallbackGetKeyObjectIDEx(&Low, object, &first, NULL, 1), STATUS_INVALID_PARAMETER);
    wrong.QuadPart = Low.QuadPart ^ 0x123456789;
    CHECK_EQUAL("wdm/nf-wdm-cmcallbackgetkeyobjectidex", CmCallbackGetKeyObjectIDEx(&wrong, object, &first, NULL, 0), STATUS_INVALID_PARAMETER);

    CHECK_EQUAL("wdm/nf-wdm-zwopenkey", ZwOpenKey(&again, KEY_READ, Attributes), STATUS_SUCCESS);
    Query(again);
    CHECK("wdm/nf-wdm-cmcallbackgetkeyobjectid", KeyObject != object);
    CHECK_EQUAL("wdm/nf-wdm-cmcallbackgetkeyobjectid", CmCallbackGetKeyObjectID(&Low, KeyObject, &second, NULL), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-cmcallbackgetkeyobjectidex", second, first);

    CHECK_EQUAL("wdm/nf-wdm-cmsetcallbackobjectcontext", CmSetCallbackObjectContext(KeyObject, &Low, (PVOID)0x55, &old), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-cmsetcallbackobjectcontext", old, 0);
    Query(again);
    CHECK_EQUAL("wdm/ns-wdm-_reg_query_value_key_information", SeenContext, 0x55);
    CHECK_EQUAL("wdm/nf-wdm-cmsetcallbackobjectcontext", CmSetCallbackObjectContext(KeyObject, &Low, (PVOID)0x66, &old), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-cmsetcallbackobjectcontext", old, 0x55);
    Closes = Cleanups = 0;
    ZwClose(again);
    CHECK_EQUAL("wdm/ne-wdm-_reg_notify_class", Closes, 2);
    CHECK_EQUAL("wdm/nf-wdm-cmsetcallbackobjectcontext", Cleanups, 1);
    CHECK_EQUAL("wdm/nf-wdm-cmsetcallbackobjectcontext", CleanedContext, 0x66);

    /* The context of an object that stays goes with the callback. */
    Query(Key);
    CmSetCallbackObjectContext(KeyObject, &High, (PVOID)0x77, NULL);
    Cleanups = 0;
    CHECK_EQUAL("wdm/nf-wdm-cmunregistercallback", CmUnRegisterCallback(High), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-cmsetcallbackobjectcontext", Cleanups, 1);
    CHECK_EQUAL("wdm/nf-wdm-cmunregistercallback", CmUnRegisterCallback(High), STATUS_INVALID_PARAMETER);
    Query(Key);
    CHECK_EQUAL("wdm/nf-wdm-cmunregistercallback", Order, 1);
    CHECK_EQUAL("wdm/nf-wdm-cmunregistercallback", CmUnRegisterCallback(Low), STATUS_SUCCESS);
    Query(Key);
    CHECK_EQUAL("wdm/nf-wdm-cmunregistercallback", Order, 0);
}

static VOID Write(PVOID Context)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"Changed");
    ULONG data = 1;
    ConformanceSleep(20);
    ZwSetValueKey((HANDLE)Context, &name, 0, REG_DWORD, &data, sizeof(data));
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID Changes(HANDLE Key)
{
    const char *page = "ntifs/nf-ntifs-zwnotifychangekey";
    UNICODE_STRING value = RTL_CONSTANT_STRING(L"Number"), sub = RTL_CONSTANT_STRING(L"Sub");
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK block = {{0}, 0};
    LARGE_INTEGER now = {0};
    ULONG data = 1;
    HANDLE event, child;
    PKTHREAD thread;

    InitializeObjectAttributes(&attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    ZwCreateEvent(&event, EVENT_ALL_ACCESS, &attributes, NotificationEvent, FALSE);
    CHECK_EQUAL(page, ZwNotifyChangeKey(Key, event, NULL, NULL, &block, REG_NOTIFY_CHANGE_LAST_SET, FALSE, NULL, 0, TRUE), STATUS_PENDING);
    CHECK_EQUAL(page, ZwWaitForSingleObject(event, FALSE, &now), STATUS_TIMEOUT);
    ZwSetValueKey(Key, &value, 0, REG_DWORD, &data, sizeof(data));
    CHECK_EQUAL(page, ZwWaitForSingleObject(event, FALSE, NULL), STATUS_SUCCESS);
    CHECK_EQUAL(page, ZwNotifyChangeKey(Key, event, NULL, NULL, &block, REG_NOTIFY_CHANGE_NAME, FALSE, NULL, 0, TRUE), STATUS_PENDING);
    CHECK_EQUAL(page, ZwWaitForSingleObject(event, FALSE, &now), STATUS_TIMEOUT);
    InitializeObjectAttributes(&attributes, &sub, OBJ_KERNEL_HANDLE, Key, NULL);
    ZwCreateKey(&child, KEY_ALL_ACCESS, &attributes, 0, NULL, REG_OPTION_VOLATILE, NULL);
    CHECK_EQUAL(page, ZwWaitForSingleObject(event, FALSE, NULL), STATUS_SUCCESS);
    CHECK_EQUAL(page, ZwNotifyChangeKey(Key, event, NULL, NULL, &block, REG_NOTIFY_CHANGE_LAST_SET, TRUE, NULL, 0, TRUE), STATUS_PENDING);
    ZwSetValueKey(child, &value, 0, REG_DWORD, &data, sizeof(data));
    CHECK_EQUAL(page, ZwWaitForSingleObject(event, FALSE, NULL), STATUS_SUCCESS);
    ZwDeleteKey(child);
    ZwClose(child);
    thread = ConformanceThread(Write, Key);
    CHECK_EQUAL(page, ZwNotifyChangeKey(Key, NULL, NULL, NULL, &block, REG_NOTIFY_CHANGE_LAST_SET, FALSE, NULL, 0, FALSE), STATUS_SUCCESS);
    KeWaitForSingleObject(thread, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(thread);
    ZwClose(event);
}

VOID Conform_cm_callbacks(VOID)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(BASE), low = RTL_CONSTANT_STRING(L"85000.5"), high = RTL_CONSTANT_STRING(L"360000.25");
    OBJECT_ATTRIBUTES attributes;
    LARGE_INTEGER third;
    ULONG major = 0, minor = 9;
    HANDLE key;

    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    CHECK_EQUAL("wdm/nf-wdm-zwcreatekey", ZwCreateKey(&key, KEY_ALL_ACCESS, &attributes, 0, NULL, REG_OPTION_VOLATILE, NULL), STATUS_SUCCESS);
    Self = KeGetCurrentThread();
    CmGetCallbackVersion(&major, &minor);
    CHECK("wdm/nf-wdm-cmgetcallbackversion", major >= 1);
    CHECK_EQUAL(Page, CmRegisterCallbackEx(Callback, &low, ConformanceDriver, (PVOID)1, &Low, NULL), STATUS_SUCCESS);
    CHECK_EQUAL(Page, CmRegisterCallbackEx(Callback, &high, ConformanceDriver, (PVOID)2, &High, NULL), STATUS_SUCCESS);
    CHECK_EQUAL(Page, CmRegisterCallbackEx(Callback, &low, ConformanceDriver, (PVOID)3, &third, NULL), STATUS_FLT_INSTANCE_ALTITUDE_COLLISION);
    CHECK(Page, Low.QuadPart != High.QuadPart);
    Filtered(key);
    Objects(key, &attributes);
    Changes(key);
    ZwDeleteKey(key);
    ZwClose(key);
}
