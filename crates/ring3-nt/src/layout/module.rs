//! Loaded images.

use ring3_memory::Gva;

use crate::guest_struct;
use crate::layout::{LIST_ENTRY, RTL_BALANCED_NODE, UNICODE_STRING};

// Source: the public types of ntkrnlmp.pdb, 10.0.19041.
guest_struct! {
    /// A kernel image on `PsLoadedModuleList`.
    pub struct KLDR_DATA_TABLE_ENTRY("_KLDR_DATA_TABLE_ENTRY", 0xa0) {
        InLoadOrderLinks: LIST_ENTRY = 0x0,
        ExceptionTable: Gva = 0x10,
        ExceptionTableSize: u32 = 0x18,
        GpValue: Gva = 0x20,
        NonPagedDebugInfo: Gva = 0x28,
        DllBase: Gva = 0x30,
        EntryPoint: Gva = 0x38,
        SizeOfImage: u32 = 0x40,
        FullDllName: UNICODE_STRING = 0x48,
        BaseDllName: UNICODE_STRING = 0x58,
        Flags: u32 = 0x68,
        LoadCount: u16 = 0x6c,
        u1_EntireField("u1.EntireField"): u16 = 0x6e,
        u1_SignatureLevel("u1.SignatureLevel"): u16 = 0x6e bits(0, 4),
        u1_SignatureType("u1.SignatureType"): u16 = 0x6e bits(4, 3),
        SectionPointer: Gva = 0x70,
        CheckSum: u32 = 0x78,
        CoverageSectionSize: u32 = 0x7c,
        CoverageSection: Gva = 0x80,
        LoadedImports: Gva = 0x88,
        SizeOfImageNotRounded: u32 = 0x98,
        TimeDateStamp: u32 = 0x9c,
    }

    /// A user-mode image on the lists of `PEB_LDR_DATA`.
    pub struct LDR_DATA_TABLE_ENTRY("_LDR_DATA_TABLE_ENTRY", 0x120) {
        InLoadOrderLinks: LIST_ENTRY = 0x0,
        InMemoryOrderLinks: LIST_ENTRY = 0x10,
        InInitializationOrderLinks: LIST_ENTRY = 0x20,
        DllBase: Gva = 0x30,
        EntryPoint: Gva = 0x38,
        SizeOfImage: u32 = 0x40,
        FullDllName: UNICODE_STRING = 0x48,
        BaseDllName: UNICODE_STRING = 0x58,
        FlagGroup: [u8; 4] = 0x68,
        Flags: u32 = 0x68,
        PackagedBinary: u32 = 0x68 bits(0, 1),
        MarkedForRemoval: u32 = 0x68 bits(1, 1),
        ImageDll: u32 = 0x68 bits(2, 1),
        LoadNotificationsSent: u32 = 0x68 bits(3, 1),
        TelemetryEntryProcessed: u32 = 0x68 bits(4, 1),
        ProcessStaticImport: u32 = 0x68 bits(5, 1),
        InLegacyLists: u32 = 0x68 bits(6, 1),
        InIndexes: u32 = 0x68 bits(7, 1),
        ShimDll: u32 = 0x68 bits(8, 1),
        InExceptionTable: u32 = 0x68 bits(9, 1),
        ReservedFlags1: u32 = 0x68 bits(10, 2),
        LoadInProgress: u32 = 0x68 bits(12, 1),
        LoadConfigProcessed: u32 = 0x68 bits(13, 1),
        EntryProcessed: u32 = 0x68 bits(14, 1),
        ProtectDelayLoad: u32 = 0x68 bits(15, 1),
        ReservedFlags3: u32 = 0x68 bits(16, 2),
        DontCallForThreads: u32 = 0x68 bits(18, 1),
        ProcessAttachCalled: u32 = 0x68 bits(19, 1),
        ProcessAttachFailed: u32 = 0x68 bits(20, 1),
        CorDeferredValidate: u32 = 0x68 bits(21, 1),
        CorImage: u32 = 0x68 bits(22, 1),
        DontRelocate: u32 = 0x68 bits(23, 1),
        CorILOnly: u32 = 0x68 bits(24, 1),
        ChpeImage: u32 = 0x68 bits(25, 1),
        ReservedFlags5: u32 = 0x68 bits(26, 2),
        Redirected: u32 = 0x68 bits(28, 1),
        ReservedFlags6: u32 = 0x68 bits(29, 2),
        CompatDatabaseProcessed: u32 = 0x68 bits(31, 1),
        ObsoleteLoadCount: u16 = 0x6c,
        TlsIndex: u16 = 0x6e,
        HashLinks: LIST_ENTRY = 0x70,
        TimeDateStamp: u32 = 0x80,
        EntryPointActivationContext: Gva = 0x88,
        Lock: Gva = 0x90,
        DdagNode: Gva = 0x98,
        NodeModuleLink: LIST_ENTRY = 0xa0,
        LoadContext: Gva = 0xb0,
        ParentDllBase: Gva = 0xb8,
        SwitchBackContext: Gva = 0xc0,
        BaseAddressIndexNode: RTL_BALANCED_NODE = 0xc8,
        MappingInfoIndexNode: RTL_BALANCED_NODE = 0xe0,
        OriginalBase: u64 = 0xf8,
        LoadTime: i64 = 0x100,
        BaseNameHashValue: u32 = 0x108,
        LoadReason: i32 = 0x10c,
        ImplicitPathOptions: u32 = 0x110,
        ReferenceCount: u32 = 0x114,
        DependentLoadFlags: u32 = 0x118,
        SigningLevel: u8 = 0x11c,
    }

    /// The first header of an image.
    pub struct IMAGE_DOS_HEADER("_IMAGE_DOS_HEADER", 0x40) {
        e_magic: u16 = 0x0,
        e_cblp: u16 = 0x2,
        e_cp: u16 = 0x4,
        e_crlc: u16 = 0x6,
        e_cparhdr: u16 = 0x8,
        e_minalloc: u16 = 0xa,
        e_maxalloc: u16 = 0xc,
        e_ss: u16 = 0xe,
        e_sp: u16 = 0x10,
        e_csum: u16 = 0x12,
        e_ip: u16 = 0x14,
        e_cs: u16 = 0x16,
        e_lfarlc: u16 = 0x18,
        e_ovno: u16 = 0x1a,
        e_res: [u16; 4] = 0x1c,
        e_oemid: u16 = 0x24,
        e_oeminfo: u16 = 0x26,
        e_res2: [u16; 0xa] = 0x28,
        e_lfanew: i32 = 0x3c,
    }

    /// The headers of an image.
    pub struct IMAGE_NT_HEADERS64("_IMAGE_NT_HEADERS64", 0x108) {
        Signature: u32 = 0x0,
        FileHeader: IMAGE_FILE_HEADER = 0x4,
        OptionalHeader: IMAGE_OPTIONAL_HEADER64 = 0x18,
    }

    /// The COFF header of an image.
    pub struct IMAGE_FILE_HEADER("_IMAGE_FILE_HEADER", 0x14) {
        Machine: u16 = 0x0,
        NumberOfSections: u16 = 0x2,
        TimeDateStamp: u32 = 0x4,
        PointerToSymbolTable: u32 = 0x8,
        NumberOfSymbols: u32 = 0xc,
        SizeOfOptionalHeader: u16 = 0x10,
        Characteristics: u16 = 0x12,
    }

    /// The optional header of an image.
    pub struct IMAGE_OPTIONAL_HEADER64("_IMAGE_OPTIONAL_HEADER64", 0xf0) {
        Magic: u16 = 0x0,
        MajorLinkerVersion: u8 = 0x2,
        MinorLinkerVersion: u8 = 0x3,
        SizeOfCode: u32 = 0x4,
        SizeOfInitializedData: u32 = 0x8,
        SizeOfUninitializedData: u32 = 0xc,
        AddressOfEntryPoint: u32 = 0x10,
        BaseOfCode: u32 = 0x14,
        ImageBase: u64 = 0x18,
        SectionAlignment: u32 = 0x20,
        FileAlignment: u32 = 0x24,
        MajorOperatingSystemVersion: u16 = 0x28,
        MinorOperatingSystemVersion: u16 = 0x2a,
        MajorImageVersion: u16 = 0x2c,
        MinorImageVersion: u16 = 0x2e,
        MajorSubsystemVersion: u16 = 0x30,
        MinorSubsystemVersion: u16 = 0x32,
        Win32VersionValue: u32 = 0x34,
        SizeOfImage: u32 = 0x38,
        SizeOfHeaders: u32 = 0x3c,
        CheckSum: u32 = 0x40,
        Subsystem: u16 = 0x44,
        DllCharacteristics: u16 = 0x46,
        SizeOfStackReserve: u64 = 0x48,
        SizeOfStackCommit: u64 = 0x50,
        SizeOfHeapReserve: u64 = 0x58,
        SizeOfHeapCommit: u64 = 0x60,
        LoaderFlags: u32 = 0x68,
        NumberOfRvaAndSizes: u32 = 0x6c,
        DataDirectory: [IMAGE_DATA_DIRECTORY; 0x10] = 0x70,
    }

    /// A data directory of an image.
    pub struct IMAGE_DATA_DIRECTORY("_IMAGE_DATA_DIRECTORY", 0x8) {
        VirtualAddress: u32 = 0x0,
        Size: u32 = 0x4,
    }

    /// A section of an image.
    pub struct IMAGE_SECTION_HEADER("_IMAGE_SECTION_HEADER", 0x28) {
        Name: [u8; 8] = 0x0,
        Misc_PhysicalAddress("Misc.PhysicalAddress"): u32 = 0x8,
        Misc_VirtualSize("Misc.VirtualSize"): u32 = 0x8,
        VirtualAddress: u32 = 0xc,
        SizeOfRawData: u32 = 0x10,
        PointerToRawData: u32 = 0x14,
        PointerToRelocations: u32 = 0x18,
        PointerToLinenumbers: u32 = 0x1c,
        NumberOfRelocations: u16 = 0x20,
        NumberOfLinenumbers: u16 = 0x22,
        Characteristics: u32 = 0x24,
    }
}

// Source: the public headers of the WDK; not among the types of that PDB.
guest_struct! {
    /// What an image load callback gets.
    pub struct IMAGE_INFO("IMAGE_INFO", 0x28) {
        Properties: u32 = 0x0,
        ImageBase: Gva = 0x8,
        ImageSelector: u32 = 0x10,
        ImageSize: u64 = 0x18,
        ImageSectionNumber: u32 = 0x20,
    }

    /// The export directory of an image.
    pub struct IMAGE_EXPORT_DIRECTORY("IMAGE_EXPORT_DIRECTORY", 0x28) {
        Characteristics: u32 = 0x0,
        TimeDateStamp: u32 = 0x4,
        MajorVersion: u16 = 0x8,
        MinorVersion: u16 = 0xa,
        Name: u32 = 0xc,
        Base: u32 = 0x10,
        NumberOfFunctions: u32 = 0x14,
        NumberOfNames: u32 = 0x18,
        AddressOfFunctions: u32 = 0x1c,
        AddressOfNames: u32 = 0x20,
        AddressOfNameOrdinals: u32 = 0x24,
    }
}
