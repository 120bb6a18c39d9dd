/* Security identifiers, access control lists, descriptors. */
#include "conformance.h"

static SID_IDENTIFIER_AUTHORITY NtAuthority = {{0, 0, 0, 0, 0, 5}}, WorldAuthority = {{0, 0, 0, 0, 0, 1}};

static VOID Make(PSID Sid, PSID_IDENTIFIER_AUTHORITY Authority, ULONG First, ULONG Second)
{
    RtlInitializeSid(Sid, Authority, Second == 0 ? 1 : 2);
    *RtlSubAuthoritySid(Sid, 0) = First;
    if (Second != 0) {
        *RtlSubAuthoritySid(Sid, 1) = Second;
    }
}

static VOID Identifiers(VOID)
{
    UCHAR admins[16], world[16], copy[16];
    UNICODE_STRING text = {0}, wanted = RTL_CONSTANT_STRING(L"S-1-5-32-544");

    CHECK_EQUAL("ntifs/nf-ntifs-rtllengthrequiredsid", RtlLengthRequiredSid(2), 16);
    CHECK_EQUAL("ntifs/nf-ntifs-rtlinitializesid", RtlInitializeSid(admins, &NtAuthority, 2), STATUS_SUCCESS);
    CHECK("ntifs/nf-ntifs-rtlinitializesid", !NT_SUCCESS(RtlInitializeSid(copy, &NtAuthority, 16)));
    *RtlSubAuthoritySid(admins, 0) = 32;
    *RtlSubAuthoritySid(admins, 1) = 544;
    CHECK_EQUAL("ntifs/nf-ntifs-rtlsubauthoritycountsid", *RtlSubAuthorityCountSid(admins), 2);
    CHECK_EQUAL("ntifs/nf-ntifs-rtllengthsid", RtlLengthSid(admins), 16);
    CHECK("ntifs/nf-ntifs-rtlvalidsid", RtlValidSid(admins));
    Make(world, &WorldAuthority, 0, 0);
    CHECK_EQUAL("ntifs/nf-ntifs-rtllengthsid", RtlLengthSid(world), 12);
    CHECK("ntifs/nf-ntifs-rtlequalsid", !RtlEqualSid(world, admins));
    CHECK_EQUAL("ntifs/nf-ntifs-rtlcopysid", RtlCopySid(12, copy, admins), STATUS_BUFFER_TOO_SMALL);
    CHECK_EQUAL("ntifs/nf-ntifs-rtlcopysid", RtlCopySid(sizeof(copy), copy, admins), STATUS_SUCCESS);
    CHECK("ntifs/nf-ntifs-rtlequalsid", RtlEqualSid(copy, admins));
    copy[0] = 2;
    CHECK("ntifs/nf-ntifs-rtlvalidsid", !RtlValidSid(copy));
    CHECK_EQUAL("ntifs/nf-ntifs-rtlconvertsidtounicodestring", RtlConvertSidToUnicodeString(&text, admins, TRUE), STATUS_SUCCESS);
    CHECK("ntifs/nf-ntifs-rtlconvertsidtounicodestring", RtlEqualUnicodeString(&text, &wanted, FALSE));
    RtlFreeUnicodeString(&text);
}

static VOID Lists(VOID)
{
    UCHAR buffer[128], world[16], admins[16];
    PACL acl = (PVOID)buffer;
    PACCESS_ALLOWED_ACE ace = NULL;

    Make(world, &WorldAuthority, 0, 0);
    Make(admins, &NtAuthority, 32, 544);
    CHECK("ntifs/nf-ntifs-rtlcreateacl", !NT_SUCCESS(RtlCreateAcl(acl, 4, ACL_REVISION)));
    CHECK_EQUAL("ntifs/nf-ntifs-rtlcreateacl", RtlCreateAcl(acl, 52, ACL_REVISION), STATUS_SUCCESS);
    CHECK_EQUAL("ntifs/ns-ntifs-_acl", acl->AclSize, 52);
    CHECK_EQUAL("ntifs/ns-ntifs-_acl", acl->AceCount, 0);
    CHECK_EQUAL("ntifs/nf-ntifs-rtladdaccessallowedace", RtlAddAccessAllowedAce(acl, ACL_REVISION, GENERIC_READ, world), STATUS_SUCCESS);
    CHECK_EQUAL("ntifs/nf-ntifs-rtladdaccessallowedaceex", RtlAddAccessAllowedAceEx(acl, ACL_REVISION, 3, GENERIC_ALL, admins), STATUS_SUCCESS);
    CHECK_EQUAL("ntifs/nf-ntifs-rtladdaccessallowedace", RtlAddAccessAllowedAce(acl, ACL_REVISION, GENERIC_READ, world), STATUS_ALLOTTED_SPACE_EXCEEDED);
    CHECK_EQUAL("ntifs/ns-ntifs-_acl", acl->AceCount, 2);
    CHECK_EQUAL("ntifs/nf-ntifs-rtlgetace", RtlGetAce(acl, 1, (PVOID *)&ace), STATUS_SUCCESS);
    CHECK_EQUAL("ntifs/ns-ntifs-_access_allowed_ace", ace->Mask, GENERIC_ALL);
    CHECK_EQUAL("ntifs/ns-ntifs-_ace_header", ace->Header.AceType, ACCESS_ALLOWED_ACE_TYPE);
    CHECK_EQUAL("ntifs/ns-ntifs-_ace_header", ace->Header.AceFlags, 3);
    CHECK_EQUAL("ntifs/ns-ntifs-_ace_header", ace->Header.AceSize, 24);
    CHECK("ntifs/ns-ntifs-_access_allowed_ace", RtlEqualSid(&ace->SidStart, admins));
    CHECK("ntifs/nf-ntifs-rtlgetace", !NT_SUCCESS(RtlGetAce(acl, 2, (PVOID *)&ace)));
    CHECK_EQUAL("ntifs/nf-ntifs-rtldeleteace", RtlDeleteAce(acl, 0), STATUS_SUCCESS);
    CHECK_EQUAL("ntifs/nf-ntifs-rtldeleteace", acl->AceCount, 1);
    RtlGetAce(acl, 0, (PVOID *)&ace);
    CHECK("ntifs/nf-ntifs-rtldeleteace", ace->Mask == GENERIC_ALL && RtlEqualSid(&ace->SidStart, admins));
}

static VOID Descriptors(VOID)
{
    UCHAR list[64], world[16], relative[128];
    SECURITY_DESCRIPTOR absolute;
    PACL acl = (PVOID)list, found = NULL;
    PSID owner = NULL;
    BOOLEAN present = FALSE, defaulted = TRUE;
    ULONG length = 4;

    Make(world, &WorldAuthority, 0, 0);
    RtlCreateAcl(acl, 28, ACL_REVISION);
    RtlAddAccessAllowedAce(acl, ACL_REVISION, GENERIC_READ, world);
    CHECK("wdm/nf-wdm-rtlcreatesecuritydescriptor", !NT_SUCCESS(RtlCreateSecurityDescriptor(&absolute, 7)));
    CHECK_EQUAL("wdm/nf-wdm-rtlcreatesecuritydescriptor", RtlCreateSecurityDescriptor(&absolute, SECURITY_DESCRIPTOR_REVISION), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-rtlcreatesecuritydescriptor", absolute.Control, 0);
    CHECK_EQUAL("ntifs/nf-ntifs-rtlgetdaclsecuritydescriptor", RtlGetDaclSecurityDescriptor(&absolute, &present, &found, &defaulted), STATUS_SUCCESS);
    CHECK("ntifs/nf-ntifs-rtlgetdaclsecuritydescriptor", !present);
    CHECK_EQUAL("wdm/nf-wdm-rtlsetdaclsecuritydescriptor", RtlSetDaclSecurityDescriptor(&absolute, TRUE, acl, FALSE), STATUS_SUCCESS);
    RtlGetDaclSecurityDescriptor(&absolute, &present, &found, &defaulted);
    CHECK("ntifs/nf-ntifs-rtlgetdaclsecuritydescriptor", present && found == acl && !defaulted);
    CHECK_EQUAL("ntifs/nf-ntifs-rtlsetownersecuritydescriptor", RtlSetOwnerSecurityDescriptor(&absolute, world, TRUE), STATUS_SUCCESS);
    CHECK("ntifs/nf-ntifs-rtlsetownersecuritydescriptor", absolute.Control & SE_OWNER_DEFAULTED);
    CHECK_EQUAL("ntifs/nf-ntifs-rtlgetownersecuritydescriptor", RtlGetOwnerSecurityDescriptor(&absolute, &owner, &defaulted), STATUS_SUCCESS);
    CHECK("ntifs/nf-ntifs-rtlgetownersecuritydescriptor", owner == world && defaulted);
    CHECK("wdm/nf-wdm-rtlvalidsecuritydescriptor", RtlValidSecurityDescriptor(&absolute));
    CHECK_EQUAL("wdm/nf-wdm-rtllengthsecuritydescriptor", RtlLengthSecurityDescriptor(&absolute), sizeof(absolute) + 28 + 12);
    CHECK_EQUAL("ntifs/nf-ntifs-rtlabsolutetoselfrelativesd", RtlAbsoluteToSelfRelativeSD(&absolute, relative, &length), STATUS_BUFFER_TOO_SMALL);
    CHECK_EQUAL("ntifs/nf-ntifs-rtlabsolutetoselfrelativesd", length, 20 + 28 + 12);
    CHECK_EQUAL("ntifs/nf-ntifs-rtlabsolutetoselfrelativesd", RtlAbsoluteToSelfRelativeSD(&absolute, relative, &length), STATUS_SUCCESS);
    CHECK("ntifs/nf-ntifs-rtlabsolutetoselfrelativesd", *(PUSHORT)(relative + 2) & SE_SELF_RELATIVE);
    CHECK_EQUAL("wdm/nf-wdm-rtllengthsecuritydescriptor", RtlLengthSecurityDescriptor(relative), length);
    CHECK_EQUAL("ntifs/nf-ntifs-rtlgetownersecuritydescriptor", RtlGetOwnerSecurityDescriptor(relative, &owner, &defaulted), STATUS_SUCCESS);
    CHECK("ntifs/nf-ntifs-rtlgetownersecuritydescriptor", RtlEqualSid(owner, world));
    CHECK_EQUAL("ntifs/nf-ntifs-rtlabsolutetoselfrelativesd", RtlAbsoluteToSelfRelativeSD((PVOID)relative, list, &length), STATUS_BAD_DESCRIPTOR_FORMAT);
    CHECK("wdm/nf-wdm-sevalidsecuritydescriptor", SeValidSecurityDescriptor(length, relative));
    CHECK("wdm/nf-wdm-rtlsetdaclsecuritydescriptor", !NT_SUCCESS(RtlSetDaclSecurityDescriptor((PVOID)relative, TRUE, acl, FALSE)));
}

VOID Conform_se_lists(VOID)
{
    Identifiers();
    Lists();
    Descriptors();
}
