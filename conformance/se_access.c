/* Tokens and access checks, as the system process has them. */
#include "conformance.h"

static SID_IDENTIFIER_AUTHORITY NtAuthority = {{0, 0, 0, 0, 0, 5}}, WorldAuthority = {{0, 0, 0, 0, 0, 1}};
static GENERIC_MAPPING Mapping = {READ_CONTROL | 1, READ_CONTROL | 2, READ_CONTROL | 4, STANDARD_RIGHTS_REQUIRED | 7};

/* Access of user mode to a descriptor whose list allows and denies something to everybody. */
static NTSTATUS Check(PSECURITY_SUBJECT_CONTEXT Subject, ACCESS_MASK Denied, ACCESS_MASK Allowed, ACCESS_MASK Desired, KPROCESSOR_MODE Mode, PACCESS_MASK Granted)
{
    UCHAR list[128], world[16], nobody[16];
    SECURITY_DESCRIPTOR descriptor;
    PPRIVILEGE_SET privileges = NULL;
    NTSTATUS status = 1;
    BOOLEAN allowed;

    RtlInitializeSid(world, &WorldAuthority, 1);
    *RtlSubAuthoritySid(world, 0) = 0;
    RtlInitializeSid(nobody, &NtAuthority, 1);
    *RtlSubAuthoritySid(nobody, 0) = 99;
    RtlCreateAcl((PACL)list, sizeof(list), ACL_REVISION);
    if (Denied != 0) {
        /* No routine of this version adds such an entry; it differs from the other kind in its type. */
        RtlAddAccessAllowedAce((PACL)list, ACL_REVISION, Denied, world);
        ((PACE_HEADER)((PACL)list + 1))->AceType = ACCESS_DENIED_ACE_TYPE;
    }
    RtlAddAccessAllowedAce((PACL)list, ACL_REVISION, Allowed, world);
    RtlCreateSecurityDescriptor(&descriptor, SECURITY_DESCRIPTOR_REVISION);
    RtlSetDaclSecurityDescriptor(&descriptor, TRUE, list, FALSE);
    RtlSetOwnerSecurityDescriptor(&descriptor, nobody, FALSE);
    RtlSetGroupSecurityDescriptor(&descriptor, nobody, FALSE);
    *Granted = 0xdead;
    allowed = SeAccessCheck(&descriptor, Subject, TRUE, Desired, 0, &privileges, &Mapping, Mode, Granted, &status);
    CHECK_EQUAL("wdm/nf-wdm-seaccesscheck", allowed, NT_SUCCESS(status));
    if (privileges != NULL) {
        SeFreePrivileges(privileges);
    }
    return status;
}

static VOID Access(PSECURITY_SUBJECT_CONTEXT Subject)
{
    const char *page = "wdm/nf-wdm-seaccesscheck";
    ACCESS_MASK granted, mask = GENERIC_READ | GENERIC_WRITE;

    CHECK_EQUAL(page, Check(Subject, 0, 3, 1, UserMode, &granted), STATUS_SUCCESS);
    CHECK_EQUAL(page, granted, 1);
    CHECK_EQUAL(page, Check(Subject, 0, 1, 3, UserMode, &granted), STATUS_ACCESS_DENIED);
    CHECK_EQUAL(page, granted, 0);
    CHECK_EQUAL(page, Check(Subject, 1, 3, 1, UserMode, &granted), STATUS_ACCESS_DENIED);
    CHECK_EQUAL(page, Check(Subject, 1, 3, 2, UserMode, &granted), STATUS_SUCCESS);
    CHECK_EQUAL(page, Check(Subject, 1, 7, MAXIMUM_ALLOWED, UserMode, &granted), STATUS_SUCCESS);
    CHECK_EQUAL(page, granted, 6);
    CHECK_EQUAL(page, Check(Subject, 0, READ_CONTROL | 1, GENERIC_READ, UserMode, &granted), STATUS_SUCCESS);
    CHECK_EQUAL(page, granted, READ_CONTROL | 1);
    CHECK_EQUAL(page, Check(Subject, 0, 1, 7, KernelMode, &granted), STATUS_SUCCESS);
    CHECK_EQUAL(page, granted, 7);
    RtlMapGenericMask(&mask, &Mapping);
    CHECK_EQUAL("wdm/nf-wdm-rtlmapgenericmask", mask, READ_CONTROL | 3);
}

static VOID Privileges(PSECURITY_SUBJECT_CONTEXT Subject)
{
    LUID load = {SE_LOAD_DRIVER_PRIVILEGE, 0}, none = {999, 0};
    PRIVILEGE_SET set = {1, PRIVILEGE_SET_ALL_NECESSARY, {{{SE_LOAD_DRIVER_PRIVILEGE, 0}, 0}}};

    CHECK("ntddk/nf-ntddk-sesingleprivilegecheck", SeSinglePrivilegeCheck(load, KernelMode));
    CHECK("ntddk/nf-ntddk-sesingleprivilegecheck", SeSinglePrivilegeCheck(none, KernelMode));
    CHECK("ntddk/nf-ntddk-sesingleprivilegecheck", !SeSinglePrivilegeCheck(none, UserMode));
    CHECK("ntifs/nf-ntifs-seprivilegecheck", SePrivilegeCheck(&set, Subject, KernelMode));
    set.Privilege[0].Luid = none;
    CHECK("ntifs/nf-ntifs-seprivilegecheck", !SePrivilegeCheck(&set, Subject, UserMode));
}

static VOID Tokens(VOID)
{
    PACCESS_TOKEN token = PsReferencePrimaryToken(PsInitialSystemProcess);
    SECURITY_QUALITY_OF_SERVICE quality = {sizeof(quality), SecurityImpersonation, FALSE, FALSE};
    OBJECT_ATTRIBUTES attributes;
    SECURITY_IMPERSONATION_LEVEL level = SecurityAnonymous;
    UCHAR system[12], buffer[512];
    PTOKEN_USER user = NULL;
    BOOLEAN copy = TRUE, effective = TRUE;
    HANDLE handle, second;
    PVOID object = NULL;
    ULONG length = 0, session = 9;

    RtlInitializeSid(system, &NtAuthority, 1);
    *RtlSubAuthoritySid(system, 0) = 18;
    CHECK("ntifs/nf-ntifs-psreferenceprimarytoken", token != NULL);
    CHECK_EQUAL("ntifs/nf-ntifs-setokentype", SeTokenType(token), TokenPrimary);
    CHECK("ntifs/nf-ntifs-setokenisadmin", SeTokenIsAdmin(token));
    CHECK("ntifs/nf-ntifs-setokenisrestricted", !SeTokenIsRestricted(token));
    CHECK_EQUAL("ntifs/nf-ntifs-sequerysessionidtoken", SeQuerySessionIdToken(token, &session), STATUS_SUCCESS);
    CHECK_EQUAL("ntifs/nf-ntifs-sequerysessionidtoken", session, 0);
    CHECK_EQUAL("ntifs/nf-ntifs-sequeryinformationtoken", SeQueryInformationToken(token, TokenUser, (PVOID *)&user), STATUS_SUCCESS);
    CHECK("ntifs/nf-ntifs-sequeryinformationtoken", user != NULL && RtlEqualSid(user->User.Sid, system));
    ExFreePool(user);

    CHECK_EQUAL("ntifs/nf-ntifs-zwopenprocesstokenex", ZwOpenProcessTokenEx(NtCurrentProcess(), TOKEN_QUERY | TOKEN_DUPLICATE, OBJ_KERNEL_HANDLE, &handle), STATUS_SUCCESS);
    CHECK("ntifs/nf-ntifs-zwopenprocesstokenex", ObIsKernelHandle(handle));
    CHECK_EQUAL("wdm/nf-wdm-obreferenceobjectbyhandle", ObReferenceObjectByHandle(handle, 0, *SeTokenObjectType, KernelMode, &object, NULL), STATUS_SUCCESS);
    CHECK_EQUAL("ntifs/nf-ntifs-psreferenceprimarytoken", object, token);
    ObDereferenceObject(object);
    CHECK_EQUAL("ntifs/nf-ntifs-zwqueryinformationtoken", ZwQueryInformationToken(handle, TokenUser, NULL, 0, &length), STATUS_BUFFER_TOO_SMALL);
    CHECK("ntifs/nf-ntifs-zwqueryinformationtoken", length >= sizeof(TOKEN_USER) + sizeof(system));
    CHECK_EQUAL("ntifs/nf-ntifs-zwqueryinformationtoken", ZwQueryInformationToken(handle, TokenUser, buffer, sizeof(buffer), &length), STATUS_SUCCESS);
    CHECK("ntifs/ns-ntifs-_token_user", RtlEqualSid(((PTOKEN_USER)buffer)->User.Sid, system));
    CHECK_EQUAL("ntifs/nf-ntifs-zwqueryinformationtoken", ZwQueryInformationToken(handle, TokenType, buffer, sizeof(ULONG), &length), STATUS_SUCCESS);
    CHECK_EQUAL("ntifs/ne-ntifs-_token_information_class", *(PULONG)buffer, TokenPrimary);
    CHECK_EQUAL("ntifs/nf-ntifs-zwopenthreadtokenex", ZwOpenThreadTokenEx(NtCurrentThread(), TOKEN_QUERY, TRUE, OBJ_KERNEL_HANDLE, &second), STATUS_NO_TOKEN);
    CHECK("ntifs/nf-ntifs-psreferenceimpersonationtoken", PsReferenceImpersonationToken((PETHREAD)KeGetCurrentThread(), &copy, &effective, &level) == NULL);

    /* Acting with a copy of the token, and not any more. */
    InitializeObjectAttributes(&attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    attributes.SecurityQualityOfService = &quality;
    CHECK_EQUAL("ntifs/nf-ntifs-zwduplicatetoken", ZwDuplicateToken(handle, TOKEN_ALL_ACCESS, &attributes, FALSE, TokenImpersonation, &second), STATUS_SUCCESS);
    ObReferenceObjectByHandle(second, 0, *SeTokenObjectType, KernelMode, &object, NULL);
    CHECK("ntifs/nf-ntifs-zwduplicatetoken", object != token);
    CHECK_EQUAL("ntifs/nf-ntifs-setokentype", SeTokenType(object), TokenImpersonation);
    CHECK_EQUAL("ntifs/nf-ntifs-psimpersonateclient", PsImpersonateClient((PETHREAD)KeGetCurrentThread(), object, FALSE, FALSE, SecurityImpersonation), STATUS_SUCCESS);
    {
        PACCESS_TOKEN client = PsReferenceImpersonationToken((PETHREAD)KeGetCurrentThread(), &copy, &effective, &level);
        CHECK_EQUAL("ntifs/nf-ntifs-psreferenceimpersonationtoken", client, object);
        CHECK_EQUAL("ntifs/nf-ntifs-psreferenceimpersonationtoken", level, SecurityImpersonation);
        CHECK("ntifs/nf-ntifs-psreferenceimpersonationtoken", !copy && !effective);
        if (client != NULL) {
            PsDereferenceImpersonationToken(client);
        }
    }
    PsRevertToSelf();
    CHECK("ntifs/nf-ntifs-psreverttoself", PsReferenceImpersonationToken((PETHREAD)KeGetCurrentThread(), &copy, &effective, &level) == NULL);
    ObDereferenceObject(object);
    ZwClose(second);
    ZwClose(handle);
    PsDereferencePrimaryToken(token);
}

static VOID Objects(VOID)
{
    PSECURITY_DESCRIPTOR descriptor = NULL, first = NULL, second = NULL;
    SECURITY_SUBJECT_CONTEXT subject;
    BOOLEAN allocated = FALSE, present, defaulted;
    UCHAR buffer[512];
    PACL acl;
    HANDLE handle;
    ULONG length = 0;

    CHECK_EQUAL("ntifs/nf-ntifs-obgetobjectsecurity", ObGetObjectSecurity(ConformanceDevice, &descriptor, &allocated), STATUS_SUCCESS);
    CHECK("ntifs/nf-ntifs-obgetobjectsecurity", descriptor != NULL && RtlValidSecurityDescriptor(descriptor));
    CHECK_EQUAL("ntifs/nf-ntifs-oblogsecuritydescriptor", ObLogSecurityDescriptor(descriptor, &first, 1), STATUS_SUCCESS);
    CHECK_EQUAL("ntifs/nf-ntifs-oblogsecuritydescriptor", ObLogSecurityDescriptor(descriptor, &second, 1), STATUS_SUCCESS);
    CHECK_EQUAL("ntifs/nf-ntifs-oblogsecuritydescriptor", first, second);
    ObDereferenceSecurityDescriptor(first, 2);
    ObReleaseObjectSecurity(descriptor, allocated);

    ObOpenObjectByPointer(ConformanceDevice, OBJ_KERNEL_HANDLE, NULL, READ_CONTROL | WRITE_DAC, *IoDeviceObjectType, KernelMode, &handle);
    CHECK_EQUAL("ntifs/nf-ntifs-zwquerysecurityobject", ZwQuerySecurityObject(handle, DACL_SECURITY_INFORMATION, buffer, 0, &length), STATUS_BUFFER_TOO_SMALL);
    CHECK("ntifs/nf-ntifs-zwquerysecurityobject", length >= 20);
    CHECK_EQUAL("ntifs/nf-ntifs-zwquerysecurityobject", ZwQuerySecurityObject(handle, DACL_SECURITY_INFORMATION, buffer, sizeof(buffer), &length), STATUS_SUCCESS);
    CHECK("ntifs/nf-ntifs-zwquerysecurityobject", *(PUSHORT)(buffer + 2) & SE_SELF_RELATIVE);
    RtlGetDaclSecurityDescriptor(buffer, &present, &acl, &defaulted);
    CHECK("ntifs/nf-ntifs-zwquerysecurityobject", present && acl != NULL && acl->AceCount > 0);
    CHECK_EQUAL("ntifs/nf-ntifs-zwsetsecurityobject", ZwSetSecurityObject(handle, DACL_SECURITY_INFORMATION, buffer), STATUS_SUCCESS);
    ZwClose(handle);

    SeCaptureSubjectContext(&subject);
    CHECK_EQUAL("wdm/nf-wdm-seassignsecurity", SeAssignSecurity(NULL, buffer, &descriptor, FALSE, &subject, &Mapping, PagedPool), STATUS_SUCCESS);
    CHECK("wdm/nf-wdm-seassignsecurity", RtlValidSecurityDescriptor(descriptor));
    RtlGetDaclSecurityDescriptor(descriptor, &present, &acl, &defaulted);
    CHECK("wdm/nf-wdm-seassignsecurity", present && acl != NULL);
    CHECK_EQUAL("wdm/nf-wdm-sedeassignsecurity", SeDeassignSecurity(&descriptor), STATUS_SUCCESS);
    SeReleaseSubjectContext(&subject);
}

VOID Conform_se_access(VOID)
{
    SECURITY_SUBJECT_CONTEXT subject;
    SeCaptureSubjectContext(&subject);
    CHECK("ntifs/nf-ntifs-secapturesubjectcontext", subject.PrimaryToken != NULL && subject.ClientToken == NULL);
    SeLockSubjectContext(&subject);
    Access(&subject);
    SeUnlockSubjectContext(&subject);
    Privileges(&subject);
    SeReleaseSubjectContext(&subject);
    Tokens();
    Objects();
}
