/* Directories and symbolic links of the object name space. */
#include "conformance.h"

static VOID Attributes(POBJECT_ATTRIBUTES Attributes, PUNICODE_STRING String, PCWSTR Name, HANDLE Root, ULONG Flags)
{
    RtlInitUnicodeString(String, Name);
    InitializeObjectAttributes(Attributes, String, Flags | OBJ_KERNEL_HANDLE, Root, NULL);
}

VOID Conform_ob_directories(VOID)
{
    const char *directory = "wdm/nf-wdm-zwcreatedirectoryobject", *symbolic = "wdm/nf-wdm-zwopensymboliclinkobject";
    UNICODE_STRING name, to = RTL_CONSTANT_STRING(CONFORMANCE_DEVICE), answer;
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK block;
    HANDLE folder, other, link, file;
    WCHAR buffer[64];
    ULONG length = 0;

    Attributes(&attributes, &name, L"\\Ring3Conformance", NULL, 0);
    CHECK_EQUAL(directory, ZwOpenDirectoryObject(&other, DIRECTORY_ALL_ACCESS, &attributes), STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK_EQUAL(directory, ZwCreateDirectoryObject(&folder, DIRECTORY_ALL_ACCESS, &attributes), STATUS_SUCCESS);
    CHECK_EQUAL(directory, ZwCreateDirectoryObject(&other, DIRECTORY_ALL_ACCESS, &attributes), STATUS_OBJECT_NAME_COLLISION);
    Attributes(&attributes, &name, L"\\ring3conformance", NULL, OBJ_CASE_INSENSITIVE | OBJ_OPENIF);
    CHECK_EQUAL(directory, ZwCreateDirectoryObject(&other, DIRECTORY_ALL_ACCESS, &attributes), STATUS_OBJECT_NAME_EXISTS);
    ZwClose(other);
    CHECK_EQUAL(directory, ZwOpenDirectoryObject(&other, DIRECTORY_ALL_ACCESS, &attributes), STATUS_SUCCESS);
    ZwClose(other);
    Attributes(&attributes, &name, L"\\Ring3Conformance\\A\\B", NULL, 0);
    CHECK_EQUAL(directory, ZwCreateDirectoryObject(&other, DIRECTORY_ALL_ACCESS, &attributes), STATUS_OBJECT_PATH_NOT_FOUND);
    Attributes(&attributes, &name, L"Relative", NULL, 0);
    CHECK_EQUAL(directory, ZwCreateDirectoryObject(&other, DIRECTORY_ALL_ACCESS, &attributes), STATUS_OBJECT_PATH_SYNTAX_BAD);

    /* A symbolic link in the directory, by a name below its handle. */
    Attributes(&attributes, &name, L"Link", folder, 0);
    CHECK_EQUAL(symbolic, ZwCreateSymbolicLinkObject(&link, SYMBOLIC_LINK_ALL_ACCESS, &attributes, &to), STATUS_SUCCESS);
    CHECK_EQUAL(symbolic, ZwCreateSymbolicLinkObject(&other, SYMBOLIC_LINK_ALL_ACCESS, &attributes, &to), STATUS_OBJECT_NAME_COLLISION);
    CHECK_EQUAL(symbolic, ZwOpenDirectoryObject(&other, DIRECTORY_ALL_ACCESS, &attributes), STATUS_OBJECT_TYPE_MISMATCH);
    Attributes(&attributes, &name, L"\\Ring3Conformance\\Link", NULL, 0);
    CHECK_EQUAL(symbolic, ZwOpenSymbolicLinkObject(&other, SYMBOLIC_LINK_QUERY, &attributes), STATUS_SUCCESS);
    RtlZeroMemory(buffer, sizeof(buffer));
    answer.Buffer = buffer;
    answer.Length = 0;
    answer.MaximumLength = sizeof(buffer);
    CHECK_EQUAL("wdm/nf-wdm-zwquerysymboliclinkobject", ZwQuerySymbolicLinkObject(other, &answer, &length), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwquerysymboliclinkobject", answer.Length, to.Length);
    CHECK("wdm/nf-wdm-zwquerysymboliclinkobject", RtlEqualUnicodeString(&answer, &to, FALSE));
    CHECK("wdm/nf-wdm-zwquerysymboliclinkobject", length >= to.Length);
    answer.MaximumLength = 4;
    CHECK_EQUAL("wdm/nf-wdm-zwquerysymboliclinkobject", ZwQuerySymbolicLinkObject(other, &answer, &length), STATUS_BUFFER_TOO_SMALL);
    CHECK("wdm/nf-wdm-zwquerysymboliclinkobject", length >= to.Length);
    ZwClose(other);

    /* Opening the link as a file opens the device behind it, from kernel mode without an access check. */
    CHECK_EQUAL("wdm/nf-wdm-zwcreatefile", ZwOpenFile(&file, FILE_GENERIC_READ, &attributes, &block, FILE_SHARE_READ, FILE_SYNCHRONOUS_IO_NONALERT), STATUS_SUCCESS);
    ZwClose(file);
    ZwClose(link);
    CHECK_EQUAL("wdm/nf-wdm-zwmaketemporaryobject", ZwOpenSymbolicLinkObject(&other, SYMBOLIC_LINK_QUERY, &attributes), STATUS_OBJECT_NAME_NOT_FOUND);

    /* A permanent object keeps its name without handles until it is made temporary. */
    Attributes(&attributes, &name, L"Kept", folder, OBJ_PERMANENT);
    CHECK_EQUAL("wudfwdm/ns-wudfwdm-_object_attributes", ZwCreateSymbolicLinkObject(&link, SYMBOLIC_LINK_ALL_ACCESS, &attributes, &to), STATUS_SUCCESS);
    ZwClose(link);
    Attributes(&attributes, &name, L"Kept", folder, 0);
    CHECK_EQUAL("wudfwdm/ns-wudfwdm-_object_attributes", ZwOpenSymbolicLinkObject(&link, SYMBOLIC_LINK_ALL_ACCESS, &attributes), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-zwmaketemporaryobject", ZwMakeTemporaryObject(link), STATUS_SUCCESS);
    ZwClose(link);
    CHECK_EQUAL("wdm/nf-wdm-zwmaketemporaryobject", ZwOpenSymbolicLinkObject(&link, SYMBOLIC_LINK_ALL_ACCESS, &attributes), STATUS_OBJECT_NAME_NOT_FOUND);
    ZwClose(folder);
    Attributes(&attributes, &name, L"\\Ring3Conformance", NULL, 0);
    CHECK_EQUAL(directory, ZwOpenDirectoryObject(&other, DIRECTORY_ALL_ACCESS, &attributes), STATUS_OBJECT_NAME_NOT_FOUND);
}
