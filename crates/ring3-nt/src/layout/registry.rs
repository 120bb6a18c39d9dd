//! The registry.

use ring3_memory::Gva;

use crate::export::argument::Code;
use crate::guest_struct;
use crate::layout::{LIST_ENTRY, UNICODE_STRING};
use crate::ntstatus::NTSTATUS;

// Source: the public types of ntkrnlmp.pdb, 10.0.19041.
guest_struct! {
    /// What `RtlQueryRegistryValues` is to do.
    pub struct RTL_QUERY_REGISTRY_TABLE("_RTL_QUERY_REGISTRY_TABLE", 0x38) {
        QueryRoutine: Gva<Code> = 0x0,
        Flags: u32 = 0x8,
        Name: Gva<u16> = 0x10,
        EntryContext: Gva = 0x18,
        DefaultType: u32 = 0x20,
        DefaultData: Gva = 0x28,
        DefaultLength: u32 = 0x30,
    }

    /// A registry key object.
    pub struct CM_KEY_BODY("_CM_KEY_BODY", 0x68) {
        Type: u32 = 0x0,
        KeyControlBlock: Gva = 0x8,
        NotifyBlock: Gva = 0x10,
        ProcessID: Gva = 0x18,
        KeyBodyList: LIST_ENTRY = 0x20,
    }
}

// Source: the public headers of the WDK; not among the types of that PDB.
guest_struct! {
    /// `KeyBasicInformation` of a key.
    pub struct KEY_BASIC_INFORMATION("KEY_BASIC_INFORMATION", 0x18) {
        LastWriteTime: i64 = 0x0,
        TitleIndex: u32 = 0x8,
        NameLength: u32 = 0xc,
        Name: [u16; 1] = 0x10,
    }

    /// `KeyNodeInformation` of a key.
    pub struct KEY_NODE_INFORMATION("KEY_NODE_INFORMATION", 0x20) {
        LastWriteTime: i64 = 0x0,
        TitleIndex: u32 = 0x8,
        ClassOffset: u32 = 0xc,
        ClassLength: u32 = 0x10,
        NameLength: u32 = 0x14,
        Name: [u16; 1] = 0x18,
    }

    /// `KeyFullInformation` of a key.
    pub struct KEY_FULL_INFORMATION("KEY_FULL_INFORMATION", 0x30) {
        LastWriteTime: i64 = 0x0,
        TitleIndex: u32 = 0x8,
        ClassOffset: u32 = 0xc,
        ClassLength: u32 = 0x10,
        SubKeys: u32 = 0x14,
        MaxNameLen: u32 = 0x18,
        MaxClassLen: u32 = 0x1c,
        Values: u32 = 0x20,
        MaxValueNameLen: u32 = 0x24,
        MaxValueDataLen: u32 = 0x28,
        Class: [u16; 1] = 0x2c,
    }

    /// `KeyNameInformation` of a key.
    pub struct KEY_NAME_INFORMATION("KEY_NAME_INFORMATION", 0x8) {
        NameLength: u32 = 0x0,
        Name: [u16; 1] = 0x4,
    }

    /// `KeyValueBasicInformation` of a value.
    pub struct KEY_VALUE_BASIC_INFORMATION("KEY_VALUE_BASIC_INFORMATION", 0x10) {
        TitleIndex: u32 = 0x0,
        Type: u32 = 0x4,
        NameLength: u32 = 0x8,
        Name: [u16; 1] = 0xc,
    }

    /// `KeyValueFullInformation` of a value.
    pub struct KEY_VALUE_FULL_INFORMATION("KEY_VALUE_FULL_INFORMATION", 0x18) {
        TitleIndex: u32 = 0x0,
        Type: u32 = 0x4,
        DataOffset: u32 = 0x8,
        DataLength: u32 = 0xc,
        NameLength: u32 = 0x10,
        Name: [u16; 1] = 0x14,
    }

    /// `KeyValuePartialInformation` of a value.
    pub struct KEY_VALUE_PARTIAL_INFORMATION("KEY_VALUE_PARTIAL_INFORMATION", 0x10) {
        TitleIndex: u32 = 0x0,
        Type: u32 = 0x4,
        DataLength: u32 = 0x8,
        Data: [u8; 1] = 0xc,
    }

    /// A value of `ZwQueryMultipleValueKey`.
    pub struct KEY_VALUE_ENTRY("KEY_VALUE_ENTRY", 0x18) {
        ValueName: Gva<UNICODE_STRING> = 0x0,
        DataLength: u32 = 0x8,
        DataOffset: u32 = 0xc,
        Type: u32 = 0x10,
    }

    /// What a registry callback gets before a key is made or opened.
    pub struct REG_CREATE_KEY_INFORMATION("REG_CREATE_KEY_INFORMATION", 0x70) {
        CompleteName: Gva<UNICODE_STRING> = 0x0,
        RootObject: Gva = 0x8,
        ObjectType: Gva = 0x10,
        CreateOptions: u32 = 0x18,
        Class: Gva<UNICODE_STRING> = 0x20,
        SecurityDescriptor: Gva = 0x28,
        SecurityQualityOfService: Gva = 0x30,
        DesiredAccess: u32 = 0x38,
        GrantedAccess: u32 = 0x3c,
        Disposition: Gva<u32> = 0x40,
        ResultObject: Gva = 0x48,
        CallContext: Gva = 0x50,
        RootObjectContext: Gva = 0x58,
        Transaction: Gva = 0x60,
    }

    /// What a registry callback gets after an operation.
    pub struct REG_POST_OPERATION_INFORMATION("REG_POST_OPERATION_INFORMATION", 0x38) {
        Object: Gva = 0x0,
        Status: NTSTATUS = 0x8,
        PreInformation: Gva = 0x10,
        ReturnStatus: NTSTATUS = 0x18,
        CallContext: Gva = 0x20,
        ObjectContext: Gva = 0x28,
    }

    /// What a registry callback gets before a value is set.
    pub struct REG_SET_VALUE_KEY_INFORMATION("REG_SET_VALUE_KEY_INFORMATION", 0x40) {
        Object: Gva = 0x0,
        ValueName: Gva<UNICODE_STRING> = 0x8,
        TitleIndex: u32 = 0x10,
        Type: u32 = 0x14,
        Data: Gva = 0x18,
        DataSize: u32 = 0x20,
        CallContext: Gva = 0x28,
        ObjectContext: Gva = 0x30,
    }
}
