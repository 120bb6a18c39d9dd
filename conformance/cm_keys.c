/* Keys: creating, opening, listing, deleting, volatile keys, links, names. */
#include "conformance.h"

#define BASE L"\\Registry\\Machine\\Software\\Ring3Conformance"

static NTSTATUS Create(HANDLE Root, PCWSTR Name, ULONG Options, PHANDLE Key, PULONG Disposition)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    RtlInitUnicodeString(&name, Name);
    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, Root, NULL);
    return ZwCreateKey(Key, KEY_ALL_ACCESS, &attributes, 0, NULL, Options, Disposition);
}

static NTSTATUS Open(HANDLE Root, PCWSTR Name, PHANDLE Key)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    RtlInitUnicodeString(&name, Name);
    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, Root, NULL);
    return ZwOpenKey(Key, KEY_ALL_ACCESS, &attributes);
}

static VOID Delete(HANDLE Key)
{
    CHECK_EQUAL("wdm/nf-wdm-zwdeletekey", ZwDeleteKey(Key), STATUS_SUCCESS);
    ZwClose(Key);
}

/* The information classes of a key with two subkeys and a value. */
static VOID Information(HANDLE Base)
{
    UCHAR buffer[256];
    PKEY_BASIC_INFORMATION basic = (PVOID)buffer;
    PKEY_NODE_INFORMATION node = (PVOID)buffer;
    PKEY_FULL_INFORMATION full = (PVOID)buffer;
    PKEY_NAME_INFORMATION path = (PVOID)buffer;
    UNICODE_STRING value = RTL_CONSTANT_STRING(L"Value");
    ULONG length = 0, data = 5;
    HANDLE first, second;

    Create(Base, L"Ab", 0, &first, NULL);
    Create(Base, L"Abcd", 0, &second, NULL);
    ZwSetValueKey(Base, &value, 0, REG_DWORD, &data, sizeof(data));

    CHECK_EQUAL("wdm/nf-wdm-zwquerykey", ZwQueryKey(Base, KeyBasicInformation, buffer, sizeof(buffer), &length), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/ns-wdm-_key_basic_information", basic->NameLength, 16 * sizeof(WCHAR));
    CHECK_EQUAL("wdm/nf-wdm-zwquerykey", length, FIELD_OFFSET(KEY_BASIC_INFORMATION, Name) + basic->NameLength);
    CHECK("wdm/ns-wdm-_key_basic_information", RtlCompareMemory(basic->Name, L"Ring3Conformance", 32) == 32);
    CHECK("wdm/ns-wdm-_key_basic_information", basic->LastWriteTime.QuadPart > 0);
    CHECK_EQUAL("wdm/nf-wdm-zwquerykey", ZwQueryKey(Base, KeyBasicInformation, buffer, 4, &length), STATUS_BUFFER_TOO_SMALL);
    CHECK_EQUAL("wdm/nf-wdm-zwquerykey", length, FIELD_OFFSET(KEY_BASIC_INFORMATION, Name) + 32);
    CHECK_EQUAL("wdm/nf-wdm-zwquerykey", ZwQueryKey(Base, KeyBasicInformation, buffer, FIELD_OFFSET(KEY_BASIC_INFORMATION, Name) + 4, &length), STATUS_BUFFER_OVERFLOW);
    CHECK_EQUAL("wdm/nf-wdm-zwquerykey", length, FIELD_OFFSET(KEY_BASIC_INFORMATION, Name) + 32);
    CHECK_EQUAL("wdm/ns-wdm-_key_basic_information", basic->NameLength, 32);

    CHECK_EQUAL("wdm/nf-wdm-zwquerykey", ZwQueryKey(Base, KeyNodeInformation, buffer, sizeof(buffer), &length), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/ns-wdm-_key_node_information", node->ClassLength, 0);
    CHECK_EQUAL("wdm/ns-wdm-_key_node_information", node->NameLength, 32);
    CHECK_EQUAL("wdm/nf-wdm-zwquerykey", ZwQueryKey(Base, KeyFullInformation, buffer, sizeof(buffer), &length), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/ns-wdm-_key_full_information", full->SubKeys, 2);
    CHECK_EQUAL("wdm/ns-wdm-_key_full_information", full->MaxNameLen, 8);
    CHECK_EQUAL("wdm/ns-wdm-_key_full_information", full->Values, 1);
    CHECK_EQUAL("wdm/ns-wdm-_key_full_information", full->MaxValueNameLen, 10);
    CHECK_EQUAL("wdm/ns-wdm-_key_full_information", full->MaxValueDataLen, sizeof(data));
    CHECK_EQUAL("wdm/nf-wdm-zwquerykey", ZwQueryKey(Base, KeyNameInformation, buffer, sizeof(buffer), &length), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/ns-wdm-_key_name_information", path->NameLength, sizeof(BASE) - sizeof(WCHAR));
    CHECK_EQUAL("wdm/nf-wdm-zwquerykey", ZwQueryKey(Base, (KEY_INFORMATION_CLASS)99, buffer, sizeof(buffer), &length), STATUS_INVALID_PARAMETER);

    CHECK_EQUAL("wdm/nf-wdm-zwenumeratekey", ZwEnumerateKey(Base, 0, KeyBasicInformation, buffer, sizeof(buffer), &length), STATUS_SUCCESS);
    CHECK("wdm/nf-wdm-zwenumeratekey", basic->NameLength == 4 || basic->NameLength == 8);
    CHECK_EQUAL("wdm/nf-wdm-zwenumeratekey", ZwEnumerateKey(Base, 1, KeyBasicInformation, buffer, sizeof(buffer), &length), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwenumeratekey", ZwEnumerateKey(Base, 2, KeyBasicInformation, buffer, sizeof(buffer), &length), STATUS_NO_MORE_ENTRIES);
    CHECK_EQUAL("wdm/nf-wdm-zwenumeratekey", ZwEnumerateKey(Base, 0, KeyBasicInformation, buffer, 0, &length), STATUS_BUFFER_TOO_SMALL);

    Delete(first);
    CHECK_EQUAL("wdm/nf-wdm-zwenumeratekey", ZwEnumerateKey(Base, 1, KeyBasicInformation, buffer, sizeof(buffer), &length), STATUS_NO_MORE_ENTRIES);
    Delete(second);
}

static VOID Volatile(HANDLE Base)
{
    HANDLE key, child;
    ULONG disposition = 0;

    CHECK_EQUAL("wdm/nf-wdm-zwcreatekey", Create(Base, L"Volatile", REG_OPTION_VOLATILE, &key, &disposition), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwcreatekey", disposition, REG_CREATED_NEW_KEY);
    CHECK_EQUAL("wdm/nf-wdm-zwcreatekey", Create(key, L"Child", REG_OPTION_NON_VOLATILE, &child, NULL), STATUS_CHILD_MUST_BE_VOLATILE);
    CHECK_EQUAL("wdm/nf-wdm-zwcreatekey", Create(key, L"Child", REG_OPTION_VOLATILE, &child, NULL), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwdeletekey", ZwDeleteKey(key), STATUS_CANNOT_DELETE);
    Delete(child);
    Delete(key);
}

static VOID Deleted(HANDLE Base)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"Value");
    UCHAR buffer[64];
    HANDLE key, second, again;
    ULONG length, disposition = 0, data = 1;

    Create(Base, L"Gone", 0, &key, NULL);
    CHECK_EQUAL("wdm/nf-wdm-zwopenkey", Open(Base, L"gone", &second), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwcreatekey", Create(Base, L"Gone", 0, &again, &disposition), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwcreatekey", disposition, REG_OPENED_EXISTING_KEY);
    ZwClose(again);
    CHECK_EQUAL("wdm/nf-wdm-zwdeletekey", ZwDeleteKey(key), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwdeletekey", ZwQueryKey(second, KeyBasicInformation, buffer, sizeof(buffer), &length), STATUS_KEY_DELETED);
    CHECK_EQUAL("wdm/nf-wdm-zwdeletekey", ZwSetValueKey(second, &name, 0, REG_DWORD, &data, sizeof(data)), STATUS_KEY_DELETED);
    CHECK_EQUAL("wdm/nf-wdm-zwopenkey", Open(Base, L"Gone", &again), STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK_EQUAL("wdm/nf-wdm-zwcreatekey", Create(Base, L"Gone", 0, &again, &disposition), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwcreatekey", disposition, REG_CREATED_NEW_KEY);
    CHECK_EQUAL("wdm/nf-wdm-zwdeletekey", ZwSetValueKey(second, &name, 0, REG_DWORD, &data, sizeof(data)), STATUS_KEY_DELETED);
    CHECK_EQUAL("wdm/nf-wdm-zwclose", ZwClose(second), STATUS_SUCCESS);
    ZwClose(key);
    Delete(again);
}

static VOID Links(HANDLE Base)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"SymbolicLinkValue"), link = RTL_CONSTANT_STRING(L"Link");
    UNICODE_STRING other = RTL_CONSTANT_STRING(L"Here");
    static const WCHAR target[] = BASE L"\\Target";
    OBJECT_ATTRIBUTES attributes;
    UCHAR buffer[128];
    HANDLE to, from, through;
    ULONG length, data = 7;

    Create(Base, L"Target", 0, &to, NULL);
    CHECK_EQUAL("wdm/nf-wdm-zwcreatekey", Create(Base, L"Link", REG_OPTION_CREATE_LINK | REG_OPTION_VOLATILE, &from, NULL), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwsetvaluekey", ZwSetValueKey(from, &name, 0, REG_LINK, (PVOID)target, sizeof(target) - sizeof(WCHAR)), STATUS_SUCCESS);
    ZwSetValueKey(to, &other, 0, REG_DWORD, &data, sizeof(data));
    CHECK_EQUAL("wdm/nf-wdm-zwopenkey", Open(Base, L"Link", &through), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwqueryvaluekey", ZwQueryValueKey(through, &other, KeyValuePartialInformation, buffer, sizeof(buffer), &length), STATUS_SUCCESS);
    ZwClose(through);
    InitializeObjectAttributes(&attributes, &link, OBJ_OPENLINK | OBJ_KERNEL_HANDLE, Base, NULL);
    CHECK_EQUAL("wdm/nf-wdm-zwopenkeyex", ZwOpenKey(&through, KEY_ALL_ACCESS, &attributes), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwopenkeyex", ZwQueryValueKey(through, &name, KeyValuePartialInformation, buffer, sizeof(buffer), &length), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwopenkeyex", ((PKEY_VALUE_PARTIAL_INFORMATION)buffer)->Type, REG_LINK);
    ZwClose(through);
    InitializeObjectAttributes(&attributes, &link, OBJ_KERNEL_HANDLE, Base, NULL);
    CHECK_EQUAL("wdm/nf-wdm-zwopenkeyex", ZwOpenKeyEx(&through, KEY_ALL_ACCESS, &attributes, REG_OPTION_OPEN_LINK), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwopenkeyex", ZwQueryValueKey(through, &other, KeyValuePartialInformation, buffer, sizeof(buffer), &length), STATUS_OBJECT_NAME_NOT_FOUND);
    ZwClose(through);
    Delete(from);
    Delete(to);
}

VOID Conform_cm_keys(VOID)
{
    ULONG disposition = 0;
    HANDLE base, key, child;

    CHECK_EQUAL("wdm/nf-wdm-zwopenkey", Open(NULL, BASE, &base), STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK_EQUAL("wdm/nf-wdm-zwcreatekey", Create(NULL, BASE L"\\A\\B", 0, &key, NULL), STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK_EQUAL("wdm/nf-wdm-zwcreatekey", Create(NULL, BASE, 0, &base, &disposition), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwcreatekey", disposition, REG_CREATED_NEW_KEY);
    CHECK("ntifs/nf-ntifs-obiskernelhandle", ObIsKernelHandle(base));
    CHECK_EQUAL("wdm/nf-wdm-zwflushkey", ZwFlushKey(base), STATUS_SUCCESS);
    Information(base);
    Volatile(base);
    Deleted(base);
    Links(base);

    Create(base, L"Named", 0, &key, NULL);
    Create(key, L"Below", 0, &child, NULL);
    Delete(child);
    Delete(key);
    Delete(base);
}
