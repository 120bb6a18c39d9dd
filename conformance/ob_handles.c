/* Handles and references: access, types, modes, duplicates, names of objects. */
#include "conformance.h"

static HANDLE Event(PCWSTR Name, ULONG Flags, ACCESS_MASK Access, NTSTATUS *Status)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    HANDLE handle = NULL;
    RtlInitUnicodeString(&name, Name);
    InitializeObjectAttributes(&attributes, Name == NULL ? NULL : &name, Flags, NULL, NULL);
    *Status = ZwCreateEvent(&handle, Access, &attributes, NotificationEvent, FALSE);
    return handle;
}

static VOID References(VOID)
{
    const char *page = "wdm/nf-wdm-obreferenceobjectbyhandle";
    OBJECT_HANDLE_INFORMATION information = {9, 9};
    PVOID object = NULL, second = NULL;
    NTSTATUS status;
    LONG_PTR count;
    HANDLE handle = Event(NULL, OBJ_KERNEL_HANDLE, EVENT_MODIFY_STATE, &status);

    CHECK_EQUAL("ntifs/nf-ntifs-zwcreateevent", status, STATUS_SUCCESS);
    CHECK("ntifs/nf-ntifs-obiskernelhandle", ObIsKernelHandle(handle));
    CHECK_EQUAL(page, ObReferenceObjectByHandle(handle, EVENT_ALL_ACCESS, *ExEventObjectType, KernelMode, &object, &information), STATUS_SUCCESS);
    CHECK_EQUAL(page, information.GrantedAccess, EVENT_MODIFY_STATE);
    CHECK_EQUAL(page, information.HandleAttributes, 0);
    CHECK_EQUAL(page, ObReferenceObjectByHandle(handle, 0, *PsThreadType, KernelMode, &second, NULL), STATUS_OBJECT_TYPE_MISMATCH);
    CHECK_EQUAL(page, ObReferenceObjectByHandle(handle, 0, NULL, KernelMode, &second, NULL), STATUS_SUCCESS);
    CHECK_EQUAL(page, second, object);
    ObDereferenceObject(second);
    CHECK_EQUAL(page, ObReferenceObjectByHandle((HANDLE)0x7ffffff0, 0, NULL, KernelMode, &second, NULL), STATUS_INVALID_HANDLE);
    CHECK("wdm/nf-wdm-kesetevent", KeReadStateEvent(object) == 0);
    CHECK_EQUAL("ntifs/nf-ntifs-zwsetevent", ZwSetEvent(handle, NULL), STATUS_SUCCESS);
    CHECK("ntifs/nf-ntifs-zwsetevent", KeReadStateEvent(object) != 0);

    count = ObfReferenceObject(object);
    CHECK_EQUAL("wdm/nf-wdm-obfreferenceobject", ObfReferenceObject(object), count + 1);
    CHECK_EQUAL("wdm/nf-wdm-obfdereferenceobject", ObfDereferenceObject(object), count);
    ObDereferenceObject(object);
    CHECK_EQUAL("wdm/nf-wdm-obreferenceobjectbypointer", ObReferenceObjectByPointer(object, 0, *ExEventObjectType, KernelMode), STATUS_SUCCESS);
    ObDereferenceObject(object);
    CHECK_EQUAL("wdm/nf-wdm-obreferenceobjectbypointer", ObReferenceObjectByPointer(object, 0, *PsProcessType, KernelMode), STATUS_OBJECT_TYPE_MISMATCH);
    CHECK_EQUAL("wdm/nf-wdm-obreferenceobjectbypointerwithtag", ObReferenceObjectByPointerWithTag(object, 0, *ExEventObjectType, KernelMode, CONFORMANCE_TAG), STATUS_SUCCESS);
    ObDereferenceObjectWithTag(object, CONFORMANCE_TAG);
    CHECK_EQUAL("wdm/nf-wdm-obreferenceobjectbyhandlewithtag", ObReferenceObjectByHandleWithTag(handle, 0, *ExEventObjectType, KernelMode, CONFORMANCE_TAG, &second, NULL), STATUS_SUCCESS);
    ObDereferenceObjectWithTag(second, CONFORMANCE_TAG);
    CHECK("ntifs/nf-ntifs-obreferenceobjectsafe", ObReferenceObjectSafe(object));
    ObDereferenceObject(object);

    /* The object outlives its handle for as long as there is a reference. */
    CHECK_EQUAL("ntifs/nf-ntifs-zwclose", ZwClose(handle), STATUS_SUCCESS);
    CHECK("wdm/nf-wdm-obreferenceobjectbyhandle", KeReadStateEvent(object) != 0);
    CHECK_EQUAL("ntifs/nf-ntifs-obopenobjectbypointer", ObOpenObjectByPointer(object, OBJ_KERNEL_HANDLE, NULL, EVENT_ALL_ACCESS, *ExEventObjectType, KernelMode, &handle), STATUS_SUCCESS);
    CHECK("ntifs/nf-ntifs-obopenobjectbypointer", ObIsKernelHandle(handle));
    ObDereferenceObject(object);
    CHECK_EQUAL("ntifs/nf-ntifs-zwresetevent", ZwResetEvent(handle, NULL), STATUS_SUCCESS);
    CHECK_EQUAL("ntifs/nf-ntifs-obopenobjectbypointer", ObReferenceObjectByHandle(handle, 0, *ExEventObjectType, KernelMode, &second, NULL), STATUS_SUCCESS);
    CHECK_EQUAL("ntifs/nf-ntifs-obopenobjectbypointer", second, object);
    ObDereferenceObject(second);
    ZwClose(handle);
}

static VOID Duplicates(VOID)
{
    const char *page = "ntifs/nf-ntifs-zwduplicateobject";
    PUBLIC_OBJECT_BASIC_INFORMATION basic;
    UCHAR buffer[256];
    PPUBLIC_OBJECT_TYPE_INFORMATION type = (PVOID)buffer;
    PVOID first = NULL, second = NULL;
    NTSTATUS status;
    ULONG length = 0;
    HANDLE copy = NULL, handle = Event(NULL, OBJ_KERNEL_HANDLE, EVENT_ALL_ACCESS, &status);

    CHECK_EQUAL(page, ZwDuplicateObject(NtCurrentProcess(), handle, NtCurrentProcess(), &copy, EVENT_MODIFY_STATE, OBJ_KERNEL_HANDLE, 0), STATUS_SUCCESS);
    CHECK(page, copy != handle && copy != NULL);
    ObReferenceObjectByHandle(handle, 0, NULL, KernelMode, &first, NULL);
    ObReferenceObjectByHandle(copy, 0, NULL, KernelMode, &second, NULL);
    CHECK_EQUAL(page, second, first);
    CHECK_EQUAL("ntifs/nf-ntifs-zwqueryobject", ZwQueryObject(copy, ObjectBasicInformation, &basic, sizeof(basic), &length), STATUS_SUCCESS);
    CHECK_EQUAL(page, basic.GrantedAccess, EVENT_MODIFY_STATE);
    CHECK_EQUAL("ntifs/ns-ntifs-_public_object_basic_information", basic.HandleCount, 2);
    CHECK("ntifs/ns-ntifs-_public_object_basic_information", basic.PointerCount >= 3);
    ZwClose(copy);
    CHECK_EQUAL("ntifs/nf-ntifs-zwqueryobject", ZwQueryObject(handle, ObjectBasicInformation, &basic, sizeof(basic), NULL), STATUS_SUCCESS);
    CHECK_EQUAL("ntifs/ns-ntifs-_public_object_basic_information", basic.HandleCount, 1);
    CHECK_EQUAL("ntifs/nf-ntifs-zwqueryobject", ZwQueryObject(handle, ObjectBasicInformation, &basic, 4, NULL), STATUS_INFO_LENGTH_MISMATCH);
    CHECK_EQUAL("ntifs/nf-ntifs-zwqueryobject", ZwQueryObject(handle, ObjectTypeInformation, buffer, sizeof(buffer), &length), STATUS_SUCCESS);
    CHECK("ntifs/ns-ntifs-_public_object_type_information", type->TypeName.Length == 10 && RtlCompareMemory(type->TypeName.Buffer, L"Event", 10) == 10);
    CHECK_EQUAL(page, ZwDuplicateObject(NtCurrentProcess(), handle, NtCurrentProcess(), &copy, 0, OBJ_KERNEL_HANDLE, DUPLICATE_SAME_ACCESS | DUPLICATE_CLOSE_SOURCE), STATUS_SUCCESS);
    ZwQueryObject(copy, ObjectBasicInformation, &basic, sizeof(basic), NULL);
    CHECK_EQUAL(page, basic.GrantedAccess, EVENT_ALL_ACCESS);
    CHECK_EQUAL(page, basic.HandleCount, 1);
    ObDereferenceObject(first);
    ObDereferenceObject(second);
    ZwClose(copy);
}

static VOID Names(VOID)
{
    const char *page = "ntifs/nf-ntifs-obquerynamestring";
    static const WCHAR path[] = L"\\BaseNamedObjects\\Ring3ConformanceEvent";
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\BaseNamedObjects\\Ring3ConformanceEvent");
    UCHAR buffer[256];
    POBJECT_NAME_INFORMATION information = (PVOID)buffer;
    OBJECT_ATTRIBUTES attributes;
    HANDLE handle, other;
    PKEVENT event;
    PVOID object;
    NTSTATUS status;
    ULONG length = 0;

    handle = Event(path, OBJ_KERNEL_HANDLE, EVENT_ALL_ACCESS, &status);
    CHECK_EQUAL("ntifs/nf-ntifs-zwcreateevent", status, STATUS_SUCCESS);
    Event(path, OBJ_KERNEL_HANDLE, EVENT_ALL_ACCESS, &status);
    CHECK_EQUAL("ntifs/nf-ntifs-zwcreateevent", status, STATUS_OBJECT_NAME_COLLISION);
    other = Event(path, OBJ_KERNEL_HANDLE | OBJ_OPENIF, EVENT_ALL_ACCESS, &status);
    CHECK_EQUAL("ntifs/nf-ntifs-zwcreateevent", status, STATUS_OBJECT_NAME_EXISTS);
    ZwClose(other);
    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    CHECK_EQUAL("wdm/nf-wdm-zwopenevent", ZwOpenEvent(&other, EVENT_ALL_ACCESS, &attributes), STATUS_SUCCESS);
    ZwClose(other);
    event = IoCreateNotificationEvent(&name, &other);
    CHECK("wdm/nf-wdm-iocreatenotificationevent", event != NULL);
    ObReferenceObjectByHandle(handle, 0, NULL, KernelMode, &object, NULL);
    CHECK_EQUAL("wdm/nf-wdm-iocreatenotificationevent", event, object);
    ZwClose(other);
    CHECK_EQUAL(page, ObQueryNameString(object, information, sizeof(buffer), &length), STATUS_SUCCESS);
    CHECK_EQUAL(page, information->Name.Length, name.Length);
    CHECK_EQUAL(page, length, sizeof(*information) + name.Length + sizeof(WCHAR));
    CHECK(page, RtlCompareMemory(information->Name.Buffer, name.Buffer, name.Length) == name.Length);
    CHECK_EQUAL(page, ObQueryNameString(object, information, 8, &length), STATUS_INFO_LENGTH_MISMATCH);
    CHECK_EQUAL(page, length, sizeof(*information) + name.Length + sizeof(WCHAR));
    ObDereferenceObject(object);
    CHECK_EQUAL("ntifs/nf-ntifs-zwclearevent", ZwClearEvent(handle), STATUS_SUCCESS);
    ZwClose(handle);
    CHECK_EQUAL("kernel/life-cycle-of-an-object", ZwOpenEvent(&other, EVENT_ALL_ACCESS, &attributes), STATUS_OBJECT_NAME_NOT_FOUND);

    CHECK_EQUAL(page, ObQueryNameString(ConformanceDevice, information, sizeof(buffer), &length), STATUS_SUCCESS);
    CHECK_EQUAL(page, information->Name.Length, sizeof(CONFORMANCE_DEVICE) - sizeof(WCHAR));
    CHECK_EQUAL(page, ObQueryNameString(KeGetCurrentThread(), information, sizeof(buffer), &length), STATUS_SUCCESS);
    CHECK_EQUAL(page, information->Name.Length, 0);
}

VOID Conform_ob_handles(VOID)
{
    References();
    Duplicates();
    Names();
}
