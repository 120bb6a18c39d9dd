/* Values of keys, and the helpers of the run-time library for them. */
#include "conformance.h"

#define BASE L"\\Registry\\Machine\\Software\\Ring3Values"

static const UCHAR Bytes[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};

static VOID Classes(HANDLE Key)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"Binary"), upper = RTL_CONSTANT_STRING(L"BINARY"), absent = RTL_CONSTANT_STRING(L"Absent");
    UNICODE_STRING nameless = RTL_CONSTANT_STRING(L"");
    UCHAR buffer[128];
    PKEY_VALUE_BASIC_INFORMATION basic = (PVOID)buffer;
    PKEY_VALUE_PARTIAL_INFORMATION partial = (PVOID)buffer;
    PKEY_VALUE_FULL_INFORMATION full = (PVOID)buffer;
    const ULONG head = FIELD_OFFSET(KEY_VALUE_PARTIAL_INFORMATION, Data);
    ULONG length = 0, data = 9;

    CHECK_EQUAL("wdm/nf-wdm-zwsetvaluekey", ZwSetValueKey(Key, &name, 0, REG_BINARY, (PVOID)Bytes, sizeof(Bytes)), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwqueryvaluekey", ZwQueryValueKey(Key, &name, KeyValuePartialInformation, buffer, sizeof(buffer), &length), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/ns-wdm-_key_value_partial_information", partial->Type, REG_BINARY);
    CHECK_EQUAL("wdm/ns-wdm-_key_value_partial_information", partial->DataLength, sizeof(Bytes));
    CHECK("wdm/ns-wdm-_key_value_partial_information", RtlCompareMemory(partial->Data, Bytes, sizeof(Bytes)) == sizeof(Bytes));
    CHECK_EQUAL("wdm/nf-wdm-zwqueryvaluekey", length, head + sizeof(Bytes));
    CHECK_EQUAL("wdm/nf-wdm-zwqueryvaluekey", ZwQueryValueKey(Key, &name, KeyValuePartialInformation, buffer, length, &length), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwqueryvaluekey", ZwQueryValueKey(Key, &upper, KeyValuePartialInformation, buffer, sizeof(buffer), &length), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwqueryvaluekey", ZwQueryValueKey(Key, &absent, KeyValuePartialInformation, buffer, sizeof(buffer), &length), STATUS_OBJECT_NAME_NOT_FOUND);

    RtlFillMemory(buffer, sizeof(buffer), 0xcc);
    CHECK_EQUAL("wdm/nf-wdm-zwqueryvaluekey", ZwQueryValueKey(Key, &name, KeyValuePartialInformation, buffer, head + 4, &length), STATUS_BUFFER_OVERFLOW);
    CHECK_EQUAL("wdm/nf-wdm-zwqueryvaluekey", length, head + sizeof(Bytes));
    CHECK_EQUAL("wdm/nf-wdm-zwqueryvaluekey", partial->DataLength, sizeof(Bytes));
    CHECK_EQUAL("wdm/nf-wdm-zwqueryvaluekey", partial->Data[3], 3);
    CHECK_EQUAL("wdm/nf-wdm-zwqueryvaluekey", partial->Data[4], 0xcc);
    RtlFillMemory(buffer, sizeof(buffer), 0xcc);
    CHECK_EQUAL("wdm/nf-wdm-zwqueryvaluekey", ZwQueryValueKey(Key, &name, KeyValuePartialInformation, buffer, head - 1, &length), STATUS_BUFFER_TOO_SMALL);
    CHECK_EQUAL("wdm/nf-wdm-zwqueryvaluekey", length, head + sizeof(Bytes));
    CHECK_EQUAL("wdm/nf-wdm-zwqueryvaluekey", partial->Type, 0xcccccccc);
    CHECK_EQUAL("wdm/nf-wdm-zwqueryvaluekey", ZwQueryValueKey(Key, &name, KeyValuePartialInformation, NULL, 0, &length), STATUS_BUFFER_TOO_SMALL);

    CHECK_EQUAL("wdm/nf-wdm-zwqueryvaluekey", ZwQueryValueKey(Key, &name, KeyValueBasicInformation, buffer, sizeof(buffer), &length), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/ns-wdm-_key_value_basic_information", basic->Type, REG_BINARY);
    CHECK_EQUAL("wdm/ns-wdm-_key_value_basic_information", basic->NameLength, name.Length);
    CHECK("wdm/ns-wdm-_key_value_basic_information", RtlCompareMemory(basic->Name, name.Buffer, name.Length) == name.Length);
    CHECK_EQUAL("wdm/nf-wdm-zwqueryvaluekey", ZwQueryValueKey(Key, &upper, KeyValueFullInformation, buffer, sizeof(buffer), &length), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/ns-wdm-_key_value_full_information", full->NameLength, name.Length);
    CHECK("wdm/ns-wdm-_key_value_full_information", RtlCompareMemory(full->Name, name.Buffer, name.Length) == name.Length);
    CHECK_EQUAL("wdm/ns-wdm-_key_value_full_information", full->DataLength, sizeof(Bytes));
    CHECK("wdm/ns-wdm-_key_value_full_information", full->DataOffset >= FIELD_OFFSET(KEY_VALUE_FULL_INFORMATION, Name) + name.Length);
    CHECK("wdm/ns-wdm-_key_value_full_information", RtlCompareMemory(buffer + full->DataOffset, Bytes, sizeof(Bytes)) == sizeof(Bytes));
    CHECK_EQUAL("wdm/nf-wdm-zwqueryvaluekey", ZwQueryValueKey(Key, &name, (KEY_VALUE_INFORMATION_CLASS)77, buffer, sizeof(buffer), &length), STATUS_INVALID_PARAMETER);

    /* A value is replaced with its type; the value without a name is one like the others. */
    CHECK_EQUAL("wdm/nf-wdm-zwsetvaluekey", ZwSetValueKey(Key, &name, 0, REG_DWORD, &data, sizeof(data)), STATUS_SUCCESS);
    ZwQueryValueKey(Key, &name, KeyValuePartialInformation, buffer, sizeof(buffer), &length);
    CHECK("wdm/nf-wdm-zwsetvaluekey", partial->Type == REG_DWORD && partial->DataLength == 4 && *(PULONG)partial->Data == 9);
    CHECK_EQUAL("wdm/nf-wdm-zwsetvaluekey", ZwSetValueKey(Key, &nameless, 0, REG_NONE, NULL, 0), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwqueryvaluekey", ZwQueryValueKey(Key, &nameless, KeyValuePartialInformation, buffer, sizeof(buffer), &length), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwqueryvaluekey", partial->DataLength, 0);

    CHECK_EQUAL("wdm/nf-wdm-zwenumeratevaluekey", ZwEnumerateValueKey(Key, 0, KeyValueBasicInformation, buffer, sizeof(buffer), &length), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwenumeratevaluekey", ZwEnumerateValueKey(Key, 1, KeyValueFullInformation, buffer, sizeof(buffer), &length), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwenumeratevaluekey", ZwEnumerateValueKey(Key, 2, KeyValueFullInformation, buffer, sizeof(buffer), &length), STATUS_NO_MORE_ENTRIES);
    CHECK_EQUAL("wdm/nf-wdm-zwenumeratevaluekey", ZwEnumerateValueKey(Key, 0, KeyValueFullInformation, buffer, 4, &length), STATUS_BUFFER_TOO_SMALL);
    CHECK_EQUAL("wdm/nf-wdm-zwdeletevaluekey", ZwDeleteValueKey(Key, &upper), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwdeletevaluekey", ZwDeleteValueKey(Key, &name), STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK_EQUAL("wdm/nf-wdm-zwdeletevaluekey", ZwDeleteValueKey(Key, &nameless), STATUS_SUCCESS);
}

static ULONG Calls, LastType, LastLength;

static NTSTATUS Routine(PWSTR Name, ULONG Type, PVOID Data, ULONG Length, PVOID Context, PVOID EntryContext)
{
    UNREFERENCED_PARAMETER(Name);
    UNREFERENCED_PARAMETER(Data);
    Calls++;
    LastType = Type;
    LastLength = Length;
    return Context == (PVOID)1 && EntryContext == (PVOID)2 ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}

/* One entry of a table, for the key. */
static NTSTATUS Query(HANDLE Key, PRTL_QUERY_REGISTRY_ROUTINE Call, ULONG Flags, PCWSTR Name, PVOID Context, ULONG DefaultType, PVOID Default, ULONG Length)
{
    RTL_QUERY_REGISTRY_TABLE table[2];
    RtlZeroMemory(table, sizeof(table));
    table[0].QueryRoutine = Call;
    table[0].Flags = Flags;
    table[0].Name = (PWSTR)Name;
    table[0].EntryContext = Context;
    table[0].DefaultType = DefaultType;
    table[0].DefaultData = Default;
    table[0].DefaultLength = Length;
    Calls = 0;
    return RtlQueryRegistryValues(RTL_REGISTRY_HANDLE, (PCWSTR)Key, table, (PVOID)1, NULL);
}

#define CHECKED (RTL_QUERY_REGISTRY_DIRECT | RTL_QUERY_REGISTRY_TYPECHECK)
#define AS(Type) ((ULONG)(Type) << RTL_QUERY_REGISTRY_TYPECHECK_SHIFT)

static VOID Tables(HANDLE Key)
{
    static const WCHAR list[] = L"one\0two\0three\0";
    static const WCHAR expandable[] = L"%SystemRoot%\\x";
    ULONG number = 0, fallback = 77;
    UNICODE_STRING text = {0};
    WCHAR room[4];
    UNICODE_STRING small = {0, sizeof(room), room};
    const char *page = "wdm/nf-wdm-rtlqueryregistryvalues";

    ULONG data = 41;
    RtlWriteRegistryValue(RTL_REGISTRY_HANDLE, (PCWSTR)Key, L"Number", REG_DWORD, &data, sizeof(data));
    RtlWriteRegistryValue(RTL_REGISTRY_HANDLE, (PCWSTR)Key, L"List", REG_MULTI_SZ, (PVOID)list, sizeof(list));
    RtlWriteRegistryValue(RTL_REGISTRY_HANDLE, (PCWSTR)Key, L"Path", REG_EXPAND_SZ, (PVOID)expandable, sizeof(expandable));

    CHECK_EQUAL(page, Query(Key, NULL, CHECKED, L"Number", &number, AS(REG_DWORD), NULL, 0), STATUS_SUCCESS);
    CHECK_EQUAL(page, number, 41);
    CHECK_EQUAL(page, Query(Key, NULL, CHECKED, L"Number", &text, AS(REG_SZ), NULL, 0), STATUS_OBJECT_TYPE_MISMATCH);
    CHECK_EQUAL(page, Query(Key, NULL, CHECKED | RTL_QUERY_REGISTRY_REQUIRED, L"Absent", &number, AS(REG_DWORD), NULL, 0), STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK_EQUAL(page, Query(Key, NULL, CHECKED, L"Absent", &number, AS(REG_DWORD) | REG_DWORD, &fallback, sizeof(fallback)), STATUS_SUCCESS);
    CHECK_EQUAL(page, number, 77);
    number = 5;
    CHECK_EQUAL(page, Query(Key, NULL, CHECKED, L"Absent", &number, AS(REG_DWORD) | REG_NONE, NULL, 0), STATUS_SUCCESS);
    CHECK_EQUAL(page, number, 5);
    CHECK_EQUAL(page, Query(Key, NULL, CHECKED | RTL_QUERY_REGISTRY_NOEXPAND, L"Path", &text, AS(REG_EXPAND_SZ), NULL, 0), STATUS_SUCCESS);
    CHECK_EQUAL(page, text.Length, sizeof(expandable) - sizeof(WCHAR));
    CHECK(page, text.Buffer != NULL && text.Buffer[0] == L'%');
    RtlFreeUnicodeString(&text);
    CHECK_EQUAL(page, Query(Key, NULL, CHECKED | RTL_QUERY_REGISTRY_NOEXPAND, L"Path", &small, AS(REG_EXPAND_SZ), NULL, 0), STATUS_BUFFER_TOO_SMALL);

    CHECK_EQUAL(page, Query(Key, Routine, 0, L"Number", (PVOID)2, REG_NONE, NULL, 0), STATUS_SUCCESS);
    CHECK_EQUAL(page, Calls, 1);
    CHECK_EQUAL(page, LastType, REG_DWORD);
    CHECK_EQUAL(page, LastLength, sizeof(ULONG));
    CHECK_EQUAL(page, Query(Key, Routine, 0, L"List", (PVOID)2, REG_NONE, NULL, 0), STATUS_SUCCESS);
    CHECK_EQUAL(page, Calls, 3);
    CHECK_EQUAL(page, LastType, REG_SZ);
    CHECK_EQUAL(page, Query(Key, Routine, RTL_QUERY_REGISTRY_NOEXPAND, L"List", (PVOID)2, REG_NONE, NULL, 0), STATUS_SUCCESS);
    CHECK_EQUAL(page, Calls, 1);
    CHECK_EQUAL(page, LastType, REG_MULTI_SZ);
    CHECK_EQUAL(page, LastLength, sizeof(list));
    CHECK_EQUAL(page, Query(Key, Routine, 0, L"Path", (PVOID)2, REG_NONE, NULL, 0), STATUS_SUCCESS);
    CHECK_EQUAL(page, LastType, REG_SZ);
    CHECK_EQUAL(page, Query(Key, Routine, 0, L"Absent", (PVOID)2, REG_NONE, NULL, 0), STATUS_SUCCESS);
    CHECK_EQUAL(page, Calls, 0);
    CHECK_EQUAL(page, Query(Key, Routine, 0, L"Number", (PVOID)3, REG_NONE, NULL, 0), STATUS_UNSUCCESSFUL);
    CHECK_EQUAL(page, Query(Key, Routine, RTL_QUERY_REGISTRY_DELETE, L"Number", (PVOID)2, REG_NONE, NULL, 0), STATUS_SUCCESS);
    CHECK_EQUAL(page, Query(Key, Routine, RTL_QUERY_REGISTRY_REQUIRED, L"Number", (PVOID)2, REG_NONE, NULL, 0), STATUS_OBJECT_NAME_NOT_FOUND);
}

VOID Conform_cm_values(VOID)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(BASE);
    OBJECT_ATTRIBUTES attributes;
    ULONG data = 3;
    HANDLE key;

    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    CHECK_EQUAL("wdm/nf-wdm-zwcreatekey", ZwCreateKey(&key, KEY_ALL_ACCESS, &attributes, 0, NULL, REG_OPTION_VOLATILE, NULL), STATUS_SUCCESS);
    Classes(key);
    Tables(key);
    CHECK_EQUAL("wdm/nf-wdm-rtlcheckregistrykey", RtlCheckRegistryKey(RTL_REGISTRY_ABSOLUTE, BASE), STATUS_SUCCESS);
    CHECK("wdm/nf-wdm-rtlcheckregistrykey", !NT_SUCCESS(RtlCheckRegistryKey(RTL_REGISTRY_ABSOLUTE, BASE L"\\Absent")));
    CHECK_EQUAL("wdm/nf-wdm-rtlcheckregistrykey", RtlCheckRegistryKey(RTL_REGISTRY_CONTROL, L"Class"), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-rtlwriteregistryvalue", RtlWriteRegistryValue(RTL_REGISTRY_ABSOLUTE, BASE, L"Written", REG_DWORD, &data, sizeof(data)), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-rtldeleteregistryvalue", RtlDeleteRegistryValue(RTL_REGISTRY_ABSOLUTE, BASE, L"Written"), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-rtldeleteregistryvalue", RtlDeleteRegistryValue(RTL_REGISTRY_ABSOLUTE, BASE, L"Written"), STATUS_OBJECT_NAME_NOT_FOUND);
    ZwDeleteKey(key);
    ZwClose(key);
}
