//! The object manager.

use ring3_memory::Gva;

use crate::export::argument::Code;
use crate::export::show;
use crate::guest_struct;
use crate::layout::{EPROCESS, EX_PUSH_LOCK, GENERIC_MAPPING, LIST_ENTRY, UNICODE_STRING};
use crate::ntstatus::NTSTATUS;

// Source: the public types of ntkrnlmp.pdb, 10.0.19041.
guest_struct! {
    /// What is to be opened or created.
    pub struct OBJECT_ATTRIBUTES("_OBJECT_ATTRIBUTES", 0x30, show = show::object_attributes) {
        Length: u32 = 0x0,
        RootDirectory: Gva = 0x8,
        ObjectName: Gva<UNICODE_STRING> = 0x10,
        Attributes: u32 = 0x18,
        SecurityDescriptor: Gva = 0x20,
        SecurityQualityOfService: Gva = 0x28,
    }

    /// The header before every object body.
    pub struct OBJECT_HEADER("_OBJECT_HEADER", 0x38) {
        PointerCount: i64 = 0x0,
        HandleCount: i64 = 0x8,
        NextToFree: Gva = 0x8,
        Lock: EX_PUSH_LOCK = 0x10,
        TypeIndex: u8 = 0x18,
        TraceFlags: u8 = 0x19,
        InfoMask: u8 = 0x1a,
        Flags: u8 = 0x1b,
        ObjectCreateInfo: Gva = 0x20,
        QuotaBlockCharged: Gva = 0x20,
        SecurityDescriptor: Gva = 0x28,
        Body: u64 = 0x30,
    }

    /// The name of a named object, before its header.
    pub struct OBJECT_HEADER_NAME_INFO("_OBJECT_HEADER_NAME_INFO", 0x20) {
        Directory: Gva<OBJECT_DIRECTORY> = 0x0,
        Name: UNICODE_STRING = 0x8,
        ReferenceCount: i32 = 0x18,
    }

    /// Who made the object, before its header.
    pub struct OBJECT_HEADER_CREATOR_INFO("_OBJECT_HEADER_CREATOR_INFO", 0x20) {
        TypeList: LIST_ENTRY = 0x0,
        CreatorUniqueProcess: Gva = 0x10,
        CreatorBackTraceIndex: u16 = 0x18,
    }

    /// The processes with handles, before its header.
    pub struct OBJECT_HEADER_HANDLE_INFO("_OBJECT_HEADER_HANDLE_INFO", 0x10) {
        HandleCountDataBase: Gva = 0x0,
        SingleEntry: [u8; 0x10] = 0x0,
    }

    /// What the object costs, before its header.
    pub struct OBJECT_HEADER_QUOTA_INFO("_OBJECT_HEADER_QUOTA_INFO", 0x20) {
        PagedPoolCharge: u32 = 0x0,
        NonPagedPoolCharge: u32 = 0x4,
        SecurityDescriptorCharge: u32 = 0x8,
        SecurityDescriptorQuotaBlock: Gva = 0x10,
    }

    /// The process of an exclusive object, before its header.
    pub struct OBJECT_HEADER_PROCESS_INFO("_OBJECT_HEADER_PROCESS_INFO", 0x10) {
        ExclusiveProcess: Gva<EPROCESS> = 0x0,
    }

    /// A type of objects.
    pub struct OBJECT_TYPE("_OBJECT_TYPE", 0xd8) {
        TypeList: LIST_ENTRY = 0x0,
        Name: UNICODE_STRING = 0x10,
        DefaultObject: Gva = 0x20,
        Index: u8 = 0x28,
        TotalNumberOfObjects: u32 = 0x2c,
        TotalNumberOfHandles: u32 = 0x30,
        HighWaterNumberOfObjects: u32 = 0x34,
        HighWaterNumberOfHandles: u32 = 0x38,
        TypeInfo: OBJECT_TYPE_INITIALIZER = 0x40,
        TypeLock: EX_PUSH_LOCK = 0xb8,
        Key: u32 = 0xc0,
        CallbackList: LIST_ENTRY = 0xc8,
    }

    /// The properties of a type of objects.
    pub struct OBJECT_TYPE_INITIALIZER("_OBJECT_TYPE_INITIALIZER", 0x78) {
        Length: u16 = 0x0,
        ObjectTypeFlags: u16 = 0x2,
        CaseInsensitive: u8 = 0x2 bits(0, 1),
        UnnamedObjectsOnly: u8 = 0x2 bits(1, 1),
        UseDefaultObject: u8 = 0x2 bits(2, 1),
        SecurityRequired: u8 = 0x2 bits(3, 1),
        MaintainHandleCount: u8 = 0x2 bits(4, 1),
        MaintainTypeList: u8 = 0x2 bits(5, 1),
        SupportsObjectCallbacks: u8 = 0x2 bits(6, 1),
        CacheAligned: u8 = 0x2 bits(7, 1),
        UseExtendedParameters: u8 = 0x3 bits(0, 1),
        ObjectTypeCode: u32 = 0x4,
        InvalidAttributes: u32 = 0x8,
        GenericMapping: GENERIC_MAPPING = 0xc,
        ValidAccessMask: u32 = 0x1c,
        RetainAccess: u32 = 0x20,
        PoolType: i32 = 0x24,
        DefaultPagedPoolCharge: u32 = 0x28,
        DefaultNonPagedPoolCharge: u32 = 0x2c,
        DumpProcedure: Gva<Code> = 0x30,
        OpenProcedure: Gva<Code> = 0x38,
        CloseProcedure: Gva<Code> = 0x40,
        DeleteProcedure: Gva<Code> = 0x48,
        ParseProcedure: Gva<Code> = 0x50,
        ParseProcedureEx: Gva<Code> = 0x50,
        SecurityProcedure: Gva<Code> = 0x58,
        QueryNameProcedure: Gva<Code> = 0x60,
        OkayToCloseProcedure: Gva<Code> = 0x68,
        WaitObjectFlagMask: u32 = 0x70,
        WaitObjectFlagOffset: u16 = 0x74,
        WaitObjectPointerOffset: u16 = 0x76,
    }

    /// A directory of the object namespace.
    pub struct OBJECT_DIRECTORY("_OBJECT_DIRECTORY", 0x158) {
        HashBuckets: [Gva<OBJECT_DIRECTORY_ENTRY>; 0x25] = 0x0,
        Lock: EX_PUSH_LOCK = 0x128,
        DeviceMap: Gva = 0x130,
        ShadowDirectory: Gva<OBJECT_DIRECTORY> = 0x138,
        NamespaceEntry: Gva = 0x140,
        SessionObject: Gva = 0x148,
        Flags: u32 = 0x150,
        SessionId: u32 = 0x154,
    }

    /// An entry of a directory.
    pub struct OBJECT_DIRECTORY_ENTRY("_OBJECT_DIRECTORY_ENTRY", 0x18) {
        ChainLink: Gva<OBJECT_DIRECTORY_ENTRY> = 0x0,
        Object: Gva = 0x8,
        HashValue: u32 = 0x10,
    }

    /// A symbolic link of the object namespace.
    pub struct OBJECT_SYMBOLIC_LINK("_OBJECT_SYMBOLIC_LINK", 0x28) {
        CreationTime: i64 = 0x0,
        Callback: Gva<Code> = 0x8,
        LinkTarget: UNICODE_STRING = 0x8,
        CallbackContext: Gva = 0x10,
        DosDeviceDriveIndex: u32 = 0x18,
        Flags: u32 = 0x1c,
        AccessMask: u32 = 0x20,
    }

    /// The result of `ObQueryNameString`: the string, its text behind it.
    pub struct OBJECT_NAME_INFORMATION("_OBJECT_NAME_INFORMATION", 0x10) {
        Name: UNICODE_STRING = 0x0,
    }

    /// What a handle gives: its attributes and access.
    pub struct OBJECT_HANDLE_INFORMATION("_OBJECT_HANDLE_INFORMATION", 0x8) {
        HandleAttributes: u32 = 0x0,
        GrantedAccess: u32 = 0x4,
    }

    /// The handles of a process.
    pub struct HANDLE_TABLE("_HANDLE_TABLE", 0x80) {
        NextHandleNeedingPool: u32 = 0x0,
        ExtraInfoPages: i32 = 0x4,
        TableCode: u64 = 0x8,
        QuotaProcess: Gva<EPROCESS> = 0x10,
        HandleTableList: LIST_ENTRY = 0x18,
        UniqueProcessId: u32 = 0x28,
        Flags: u32 = 0x2c,
    }

    /// A handle.
    pub struct HANDLE_TABLE_ENTRY("_HANDLE_TABLE_ENTRY", 0x10) {
        InfoTable: Gva = 0x0,
        LowValue: i64 = 0x0,
        RefCountField: i64 = 0x0,
        VolatileLowValue: i64 = 0x0,
        HighValue: i64 = 0x8,
        NextFreeHandleEntry: Gva<HANDLE_TABLE_ENTRY> = 0x8,
    }
}

// Source: the public headers of the WDK; not among the types of that PDB.
guest_struct! {
    /// Callbacks to register with `ObRegisterCallbacks`.
    pub struct OB_CALLBACK_REGISTRATION("OB_CALLBACK_REGISTRATION", 0x28) {
        Version: u16 = 0x0,
        OperationRegistrationCount: u16 = 0x2,
        Altitude: UNICODE_STRING = 0x8,
        RegistrationContext: Gva = 0x18,
        OperationRegistration: Gva<OB_OPERATION_REGISTRATION> = 0x20,
    }

    /// A callback for operations on one type of objects.
    pub struct OB_OPERATION_REGISTRATION("OB_OPERATION_REGISTRATION", 0x20) {
        ObjectType: Gva = 0x0,
        Operations: u32 = 0x8,
        PreOperation: Gva<Code> = 0x10,
        PostOperation: Gva<Code> = 0x18,
    }

    /// What a pre-operation callback gets.
    pub struct OB_PRE_OPERATION_INFORMATION("OB_PRE_OPERATION_INFORMATION", 0x28) {
        Operation: u32 = 0x0,
        Flags: u32 = 0x4,
        Object: Gva = 0x8,
        ObjectType: Gva = 0x10,
        CallContext: Gva = 0x18,
        Parameters: Gva = 0x20,
    }

    /// What a post-operation callback gets.
    pub struct OB_POST_OPERATION_INFORMATION("OB_POST_OPERATION_INFORMATION", 0x30) {
        Operation: u32 = 0x0,
        Flags: u32 = 0x4,
        Object: Gva = 0x8,
        ObjectType: Gva = 0x10,
        CallContext: Gva = 0x18,
        ReturnStatus: NTSTATUS = 0x20,
        Parameters: Gva = 0x28,
    }
}
