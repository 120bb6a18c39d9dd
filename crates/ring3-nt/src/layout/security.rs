//! Security.

use ring3_memory::Gva;

use crate::guest_struct;
use crate::layout::{ERESOURCE, LUID, UNICODE_STRING};

// Source: the public types of ntkrnlmp.pdb, 10.0.19041.
guest_struct! {
    /// An absolute security descriptor.
    pub struct SECURITY_DESCRIPTOR("_SECURITY_DESCRIPTOR", 0x28) {
        Revision: u8 = 0x0,
        Sbz1: u8 = 0x1,
        Control: u16 = 0x2,
        Owner: Gva = 0x8,
        Group: Gva = 0x10,
        Sacl: Gva<ACL> = 0x18,
        Dacl: Gva<ACL> = 0x20,
    }

    /// A self-relative security descriptor.
    pub struct SECURITY_DESCRIPTOR_RELATIVE("_SECURITY_DESCRIPTOR_RELATIVE", 0x14) {
        Revision: u8 = 0x0,
        Sbz1: u8 = 0x1,
        Control: u16 = 0x2,
        Owner: u32 = 0x4,
        Group: u32 = 0x8,
        Sacl: u32 = 0xc,
        Dacl: u32 = 0x10,
    }

    /// An access control list; its entries follow.
    pub struct ACL("_ACL", 0x8) {
        AclRevision: u8 = 0x0,
        Sbz1: u8 = 0x1,
        AclSize: u16 = 0x2,
        AceCount: u16 = 0x4,
        Sbz2: u16 = 0x6,
    }

    /// A security identifier.
    pub struct SID("_SID", 0xc) {
        Revision: u8 = 0x0,
        SubAuthorityCount: u8 = 0x1,
        IdentifierAuthority: [u8; 0x6] = 0x2,
        SubAuthority: [u32; 1] = 0x8,
    }

    /// A security identifier in a token.
    pub struct SID_AND_ATTRIBUTES("_SID_AND_ATTRIBUTES", 0x10) {
        Sid: Gva = 0x0,
        Attributes: u32 = 0x8,
    }

    /// An access token.
    pub struct TOKEN("_TOKEN", 0x498) {
        TokenSource: [u8; 0x10] = 0x0,
        TokenId: LUID = 0x10,
        AuthenticationId: LUID = 0x18,
        ParentTokenId: LUID = 0x20,
        ExpirationTime: i64 = 0x28,
        TokenLock: Gva<ERESOURCE> = 0x30,
        ModifiedId: LUID = 0x38,
        Privileges: [u8; 0x18] = 0x40,
        AuditPolicy: [u8; 0x1f] = 0x58,
        SessionId: u32 = 0x78,
        UserAndGroupCount: u32 = 0x7c,
        RestrictedSidCount: u32 = 0x80,
        UserAndGroups: Gva<SID_AND_ATTRIBUTES> = 0x98,
        RestrictedSids: Gva<SID_AND_ATTRIBUTES> = 0xa0,
        PrimaryGroup: Gva = 0xa8,
        DefaultDacl: Gva<ACL> = 0xb8,
        TokenType: i32 = 0xc0,
        ImpersonationLevel: i32 = 0xc4,
        TokenFlags: u32 = 0xc8,
        TokenInUse: u8 = 0xcc,
        IntegrityLevelIndex: u32 = 0xd0,
        MandatoryPolicy: u32 = 0xd4,
        LogonSession: Gva = 0xd8,
        OriginatingLogonSession: LUID = 0xe0,
        Capabilities: Gva<SID_AND_ATTRIBUTES> = 0x318,
        CapabilityCount: u32 = 0x320,
    }

    /// An open in progress: who opens, and with which access.
    pub struct ACCESS_STATE("_ACCESS_STATE", 0xa0) {
        OperationID: LUID = 0x0,
        SecurityEvaluated: u8 = 0x8,
        GenerateAudit: u8 = 0x9,
        GenerateOnClose: u8 = 0xa,
        PrivilegesAllocated: u8 = 0xb,
        Flags: u32 = 0xc,
        RemainingDesiredAccess: u32 = 0x10,
        PreviouslyGrantedAccess: u32 = 0x14,
        OriginalDesiredAccess: u32 = 0x18,
        SubjectSecurityContext: SECURITY_SUBJECT_CONTEXT = 0x20,
        SecurityDescriptor: Gva = 0x40,
        AuxData: Gva = 0x48,
        Privileges_InitialPrivilegeSet("Privileges.InitialPrivilegeSet"): [u8; 0x2c] = 0x50,
        Privileges_PrivilegeSet("Privileges.PrivilegeSet"): PRIVILEGE_SET = 0x50,
        AuditPrivileges: u8 = 0x7c,
        ObjectName: UNICODE_STRING = 0x80,
        ObjectTypeName: UNICODE_STRING = 0x90,
    }

    /// The tokens of a caller.
    pub struct SECURITY_SUBJECT_CONTEXT("_SECURITY_SUBJECT_CONTEXT", 0x20) {
        ClientToken: Gva = 0x0,
        ImpersonationLevel: i32 = 0x8,
        PrimaryToken: Gva = 0x10,
        ProcessAuditId: Gva = 0x18,
    }

    /// The security part of IRP_MJ_CREATE.
    pub struct IO_SECURITY_CONTEXT("_IO_SECURITY_CONTEXT", 0x18) {
        SecurityQos: Gva<SECURITY_QUALITY_OF_SERVICE> = 0x0,
        AccessState: Gva<ACCESS_STATE> = 0x8,
        DesiredAccess: u32 = 0x10,
        FullCreateOptions: u32 = 0x14,
    }

    /// How a server may impersonate.
    pub struct SECURITY_QUALITY_OF_SERVICE("_SECURITY_QUALITY_OF_SERVICE", 0xc) {
        Length: u32 = 0x0,
        ImpersonationLevel: i32 = 0x4,
        ContextTrackingMode: u8 = 0x8,
        EffectiveOnly: u8 = 0x9,
    }

    /// A privilege.
    pub struct LUID_AND_ATTRIBUTES("_LUID_AND_ATTRIBUTES", 0xc) {
        Luid: LUID = 0x0,
        Attributes: u32 = 0x8,
    }

    /// Privileges.
    pub struct PRIVILEGE_SET("_PRIVILEGE_SET", 0x14) {
        PrivilegeCount: u32 = 0x0,
        Control: u32 = 0x4,
        Privilege: [LUID_AND_ATTRIBUTES; 1] = 0x8,
    }

    /// What the generic access rights mean for a type.
    pub struct GENERIC_MAPPING("_GENERIC_MAPPING", 0x10) {
        GenericRead: u32 = 0x0,
        GenericWrite: u32 = 0x4,
        GenericExecute: u32 = 0x8,
        GenericAll: u32 = 0xc,
    }
}

// Source: the public headers of the WDK; not among the types of that PDB.
guest_struct! {
    /// The head of an access control entry.
    pub struct ACE_HEADER("ACE_HEADER", 0x4) {
        AceType: u8 = 0x0,
        AceFlags: u8 = 0x1,
        AceSize: u16 = 0x2,
    }

    /// An entry that grants access; its SID follows.
    pub struct ACCESS_ALLOWED_ACE("ACCESS_ALLOWED_ACE", 0xc) {
        Header: ACE_HEADER = 0x0,
        Mask: u32 = 0x4,
        SidStart: u32 = 0x8,
    }

    /// A client that a server can impersonate.
    pub struct SECURITY_CLIENT_CONTEXT("SECURITY_CLIENT_CONTEXT", 0x48) {
        SecurityQos: SECURITY_QUALITY_OF_SERVICE = 0x0,
        ClientToken: Gva = 0x10,
        DirectlyAccessClientToken: u8 = 0x18,
        DirectAccessEffectiveOnly: u8 = 0x19,
        ServerIsRemote: u8 = 0x1a,
        ClientTokenControl: [u8; 40] = 0x1c,
    }
}
