/* IoCreateDeviceSecure: makes a device and gives it the access list that a text describes.
 *
 * Text form: [MS-DTYP] section 2.5.1, as far as drivers use it: D: with an optional P, then
 * entries (A;;RIGHTS;;;SID) with the rights and SIDs of the two tables below. Unlike Microsoft's
 * routine this one does not look into the registry for a descriptor that an administrator has set
 * for the device class; the class GUID is not used. */
#include <wdmsec.h>

#define WDMSEC_TAG 'ceSd'
#define DACL_SECURITY_INFORMATION 0x00000004UL
#define PROTECTED_DACL_SECURITY_INFORMATION 0x80000000UL
#define SE_DACL_PRESENT 0x0004
#define SE_DACL_PROTECTED 0x1000
#define SE_SELF_RELATIVE 0x8000
#define MAXIMUM_ENTRIES 16

#define TEXT_OF(name, text) const UNICODE_STRING name = RTL_CONSTANT_STRING(text)
TEXT_OF(SDDL_DEVOBJ_KERNEL_ONLY, L"D:P");
TEXT_OF(SDDL_DEVOBJ_SYS_ALL, L"D:P(A;;GA;;;SY)");
TEXT_OF(SDDL_DEVOBJ_SYS_ALL_ADM_ALL, L"D:P(A;;GA;;;SY)(A;;GA;;;BA)");
TEXT_OF(SDDL_DEVOBJ_SYS_ALL_ADM_RX, L"D:P(A;;GA;;;SY)(A;;GRGX;;;BA)");
TEXT_OF(SDDL_DEVOBJ_SYS_ALL_ADM_RWX_WORLD_R, L"D:P(A;;GA;;;SY)(A;;GRGWGX;;;BA)(A;;GR;;;WD)");
TEXT_OF(SDDL_DEVOBJ_SYS_ALL_ADM_RWX_WORLD_RWX_RES_RWX, L"D:P(A;;GA;;;SY)(A;;GRGWGX;;;BA)(A;;GRGWGX;;;WD)(A;;GRGWGX;;;RC)");

static const struct { WCHAR Name[2]; ACCESS_MASK Mask; } Rights[] = {
    { { 'G', 'A' }, GENERIC_ALL }, { { 'G', 'R' }, GENERIC_READ }, { { 'G', 'W' }, GENERIC_WRITE }, { { 'G', 'X' }, GENERIC_EXECUTE },
    { { 'R', 'C' }, READ_CONTROL }, { { 'S', 'D' }, DELETE }, { { 'W', 'D' }, WRITE_DAC }, { { 'W', 'O' }, WRITE_OWNER },
};

/* Well-known SIDs: authority and one or two sub-authorities. */
static const struct { WCHAR Name[2]; UCHAR Authority; UCHAR Count; ULONG Sub[2]; } Sids[] = {
    { { 'W', 'D' }, 1, 1, { 0 } },        { { 'N', 'U' }, 5, 1, { 2 } },        { { 'I', 'U' }, 5, 1, { 4 } },  { { 'A', 'N' }, 5, 1, { 7 } },
    { { 'A', 'U' }, 5, 1, { 11 } },       { { 'R', 'C' }, 5, 1, { 12 } },       { { 'S', 'Y' }, 5, 1, { 18 } }, { { 'L', 'S' }, 5, 1, { 19 } },
    { { 'N', 'S' }, 5, 1, { 20 } },       { { 'B', 'A' }, 5, 2, { 32, 544 } },  { { 'B', 'U' }, 5, 2, { 32, 545 } }, { { 'B', 'G' }, 5, 2, { 32, 546 } },
};

/* A self-relative descriptor with its access list behind it ([MS-DTYP] 2.4.4, 2.4.5, 2.4.6). */
typedef struct _ENTRY { UCHAR Type; UCHAR Flags; USHORT Size; ACCESS_MASK Mask; UCHAR Revision; UCHAR Count; UCHAR Authority[6]; ULONG Sub[2]; } ENTRY;
typedef struct _DESCRIPTOR {
    UCHAR Revision; UCHAR Sbz1; USHORT Control; ULONG Owner; ULONG Group; ULONG Sacl; ULONG Dacl;
    UCHAR AclRevision; UCHAR AclSbz1; USHORT AclSize; USHORT AceCount; USHORT AclSbz2;
    UCHAR Entries[MAXIMUM_ENTRIES * sizeof(ENTRY)];
} DESCRIPTOR;
_Static_assert(sizeof(ENTRY) == 24 && FIELD_OFFSET(DESCRIPTOR, AclRevision) == 20 && FIELD_OFFSET(DESCRIPTOR, Entries) == 28, "descriptor");

typedef struct _TEXT { const WCHAR *At; const WCHAR *End; } TEXT;

static BOOLEAN Take(TEXT *Text, const char *Expected)
{
    const WCHAR *at = Text->At;
    for (; *Expected != 0; Expected++, at++) {
        if (at == Text->End || *at != (WCHAR)*Expected) {
            return FALSE;
        }
    }
    Text->At = at;
    return TRUE;
}

static BOOLEAN TakeRights(TEXT *Text, ACCESS_MASK *Mask)
{
    *Mask = 0;
    if (Take(Text, "0x")) {
        const WCHAR *start = Text->At;
        for (; Text->At != Text->End; Text->At++) {
            WCHAR c = *Text->At;
            ULONG digit = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10u : 16u;
            if (digit == 16) {
                break;
            }
            *Mask = *Mask * 16 + digit;
        }
        return Text->At != start;
    }
    while (Text->End - Text->At >= 2 && *Text->At != ';') {
        ULONG i = 0;
        while (i < ARRAYSIZE(Rights) && (Rights[i].Name[0] != Text->At[0] || Rights[i].Name[1] != Text->At[1])) {
            i++;
        }
        if (i == ARRAYSIZE(Rights)) {
            return FALSE;
        }
        *Mask |= Rights[i].Mask;
        Text->At += 2;
    }
    return *Mask != 0;
}

static BOOLEAN TakeSid(TEXT *Text, ENTRY *Entry)
{
    for (ULONG i = 0; i < ARRAYSIZE(Sids) && Text->End - Text->At >= 2; i++) {
        if (Sids[i].Name[0] == Text->At[0] && Sids[i].Name[1] == Text->At[1]) {
            Text->At += 2;
            Entry->Revision = 1;
            Entry->Count = Sids[i].Count;
            Entry->Authority[5] = Sids[i].Authority;
            Entry->Sub[0] = Sids[i].Sub[0];
            Entry->Sub[1] = Sids[i].Sub[1];
            return TRUE;
        }
    }
    return FALSE;
}

static BOOLEAN Parse(PCUNICODE_STRING Sddl, DESCRIPTOR *Descriptor)
{
    TEXT text = { Sddl->Buffer, Sddl->Buffer + Sddl->Length / sizeof(WCHAR) };
    USHORT used = 0;

    if (!Take(&text, "D:")) {
        return FALSE;
    }
    Descriptor->Revision = 1;
    Descriptor->Control = SE_DACL_PRESENT | SE_SELF_RELATIVE;
    if (Take(&text, "P")) {
        Descriptor->Control |= SE_DACL_PROTECTED;
    }
    Descriptor->Dacl = FIELD_OFFSET(DESCRIPTOR, AclRevision);
    Descriptor->AclRevision = 2;
    while (text.At != text.End) {
        ENTRY entry = { 0 };
        if (Descriptor->AceCount == MAXIMUM_ENTRIES || !Take(&text, "(A;;") || !TakeRights(&text, &entry.Mask) || !Take(&text, ";;;")
            || !TakeSid(&text, &entry) || !Take(&text, ")")) {
            return FALSE;
        }
        entry.Size = (USHORT)(FIELD_OFFSET(ENTRY, Sub) + entry.Count * sizeof(ULONG));
        RtlCopyMemory(Descriptor->Entries + used, &entry, entry.Size);
        used += entry.Size;
        Descriptor->AceCount++;
    }
    Descriptor->AclSize = (USHORT)(FIELD_OFFSET(DESCRIPTOR, Entries) - FIELD_OFFSET(DESCRIPTOR, AclRevision) + used);
    return TRUE;
}

static NTSTATUS Protect(PDEVICE_OBJECT Device, DESCRIPTOR *Descriptor)
{
    SECURITY_INFORMATION what = DACL_SECURITY_INFORMATION;
    HANDLE handle;
    NTSTATUS status = ObOpenObjectByPointer(Device, OBJ_KERNEL_HANDLE, NULL, WRITE_DAC, *IoDeviceObjectType, KernelMode, &handle);
    if (!NT_SUCCESS(status)) {
        return status;
    }
    if (Descriptor->Control & SE_DACL_PROTECTED) {
        what |= PROTECTED_DACL_SECURITY_INFORMATION;
    }
    status = ZwSetSecurityObject(handle, what, Descriptor);
    ZwClose(handle);
    return status;
}

NTSTATUS IoCreateDeviceSecure(PDRIVER_OBJECT DriverObject, ULONG DeviceExtensionSize, PUNICODE_STRING DeviceName, DEVICE_TYPE DeviceType, ULONG DeviceCharacteristics, BOOLEAN Exclusive, PCUNICODE_STRING DefaultSDDLString, LPCGUID DeviceClassGuid, PDEVICE_OBJECT *DeviceObject)
{
    DESCRIPTOR *descriptor;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(DeviceClassGuid);
    *DeviceObject = NULL;
    /* A device without a name cannot be opened: there is nothing to protect. */
    if (DeviceName == NULL && !(DeviceCharacteristics & FILE_AUTOGENERATED_DEVICE_NAME)) {
        return STATUS_INVALID_PARAMETER;
    }
    descriptor = ExAllocatePoolWithTag(PagedPool, sizeof(*descriptor), WDMSEC_TAG);
    if (descriptor == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    RtlZeroMemory(descriptor, sizeof(*descriptor));
    status = Parse(DefaultSDDLString, descriptor) ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
    if (NT_SUCCESS(status)) {
        status = IoCreateDevice(DriverObject, DeviceExtensionSize, DeviceName, DeviceType, DeviceCharacteristics, Exclusive, DeviceObject);
    }
    if (NT_SUCCESS(status)) {
        status = Protect(*DeviceObject, descriptor);
        if (!NT_SUCCESS(status)) {
            IoDeleteDevice(*DeviceObject);
            *DeviceObject = NULL;
        }
    }
    ExFreePoolWithTag(descriptor, WDMSEC_TAG);
    return status;
}
