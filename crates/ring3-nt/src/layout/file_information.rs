//! What is asked about files, directories and volumes.

use ring3_memory::Gva;

use crate::guest_struct;

// Source: the public headers of the WDK; not among the types of that PDB.
guest_struct! {
    /// Times and attributes of a file.
    pub struct FILE_BASIC_INFORMATION("FILE_BASIC_INFORMATION", 0x28) {
        CreationTime: i64 = 0x0,
        LastAccessTime: i64 = 0x8,
        LastWriteTime: i64 = 0x10,
        ChangeTime: i64 = 0x18,
        FileAttributes: u32 = 0x20,
    }

    /// Sizes and links of a file.
    pub struct FILE_STANDARD_INFORMATION("FILE_STANDARD_INFORMATION", 0x18) {
        AllocationSize: i64 = 0x0,
        EndOfFile: i64 = 0x8,
        NumberOfLinks: u32 = 0x10,
        DeletePending: u8 = 0x14,
        Directory: u8 = 0x15,
    }

    /// The number of a file.
    pub struct FILE_INTERNAL_INFORMATION("FILE_INTERNAL_INFORMATION", 0x8) {
        IndexNumber: i64 = 0x0,
    }

    /// The size of the extended attributes of a file.
    pub struct FILE_EA_INFORMATION("FILE_EA_INFORMATION", 0x4) {
        EaSize: u32 = 0x0,
    }

    /// The access that a handle gives.
    pub struct FILE_ACCESS_INFORMATION("FILE_ACCESS_INFORMATION", 0x4) {
        AccessFlags: u32 = 0x0,
    }

    /// The position of a file object.
    pub struct FILE_POSITION_INFORMATION("FILE_POSITION_INFORMATION", 0x8) {
        CurrentByteOffset: i64 = 0x0,
    }

    /// The mode of a file object.
    pub struct FILE_MODE_INFORMATION("FILE_MODE_INFORMATION", 0x4) {
        Mode: u32 = 0x0,
    }

    /// The alignment of a device.
    pub struct FILE_ALIGNMENT_INFORMATION("FILE_ALIGNMENT_INFORMATION", 0x4) {
        AlignmentRequirement: u32 = 0x0,
    }

    /// A file name.
    pub struct FILE_NAME_INFORMATION("FILE_NAME_INFORMATION", 0x8) {
        FileNameLength: u32 = 0x0,
        FileName: [u16; 1] = 0x4,
    }

    /// All of the above.
    pub struct FILE_ALL_INFORMATION("FILE_ALL_INFORMATION", 0x68) {
        BasicInformation: FILE_BASIC_INFORMATION = 0x0,
        StandardInformation: FILE_STANDARD_INFORMATION = 0x28,
        InternalInformation: FILE_INTERNAL_INFORMATION = 0x40,
        EaInformation: FILE_EA_INFORMATION = 0x48,
        AccessInformation: FILE_ACCESS_INFORMATION = 0x4c,
        PositionInformation: FILE_POSITION_INFORMATION = 0x50,
        ModeInformation: FILE_MODE_INFORMATION = 0x58,
        AlignmentInformation: FILE_ALIGNMENT_INFORMATION = 0x5c,
        NameInformation: FILE_NAME_INFORMATION = 0x60,
    }

    /// What a network open returns.
    pub struct FILE_NETWORK_OPEN_INFORMATION("FILE_NETWORK_OPEN_INFORMATION", 0x38) {
        CreationTime: i64 = 0x0,
        LastAccessTime: i64 = 0x8,
        LastWriteTime: i64 = 0x10,
        ChangeTime: i64 = 0x18,
        AllocationSize: i64 = 0x20,
        EndOfFile: i64 = 0x28,
        FileAttributes: u32 = 0x30,
    }

    /// Attributes and reparse tag of a file.
    pub struct FILE_ATTRIBUTE_TAG_INFORMATION("FILE_ATTRIBUTE_TAG_INFORMATION", 0x8) {
        FileAttributes: u32 = 0x0,
        ReparseTag: u32 = 0x4,
    }

    /// Whether a file is to be deleted.
    pub struct FILE_DISPOSITION_INFORMATION("FILE_DISPOSITION_INFORMATION", 0x1) {
        DeleteFile: u8 = 0x0,
    }

    /// The size of a file.
    pub struct FILE_END_OF_FILE_INFORMATION("FILE_END_OF_FILE_INFORMATION", 0x8) {
        EndOfFile: i64 = 0x0,
    }

    /// The allocated size of a file.
    pub struct FILE_ALLOCATION_INFORMATION("FILE_ALLOCATION_INFORMATION", 0x8) {
        AllocationSize: i64 = 0x0,
    }

    /// The new name of a file.
    pub struct FILE_RENAME_INFORMATION("FILE_RENAME_INFORMATION", 0x18) {
        ReplaceIfExists: u8 = 0x0,
        Flags: u32 = 0x0,
        RootDirectory: Gva = 0x8,
        FileNameLength: u32 = 0x10,
        FileName: [u16; 1] = 0x14,
    }

    /// A new link to a file.
    pub struct FILE_LINK_INFORMATION("FILE_LINK_INFORMATION", 0x18) {
        ReplaceIfExists: u8 = 0x0,
        Flags: u32 = 0x0,
        RootDirectory: Gva = 0x8,
        FileNameLength: u32 = 0x10,
        FileName: [u16; 1] = 0x14,
    }

    /// A stream of a file.
    pub struct FILE_STREAM_INFORMATION("FILE_STREAM_INFORMATION", 0x20) {
        NextEntryOffset: u32 = 0x0,
        StreamNameLength: u32 = 0x4,
        StreamSize: i64 = 0x8,
        StreamAllocationSize: i64 = 0x10,
        StreamName: [u16; 1] = 0x18,
    }

    /// An extended attribute.
    pub struct FILE_FULL_EA_INFORMATION("FILE_FULL_EA_INFORMATION", 0xc) {
        NextEntryOffset: u32 = 0x0,
        Flags: u8 = 0x4,
        EaNameLength: u8 = 0x5,
        EaValueLength: u16 = 0x6,
        EaName: [i8; 1] = 0x8,
    }

    /// An entry of a directory.
    pub struct FILE_DIRECTORY_INFORMATION("FILE_DIRECTORY_INFORMATION", 0x48) {
        NextEntryOffset: u32 = 0x0,
        FileIndex: u32 = 0x4,
        CreationTime: i64 = 0x8,
        LastAccessTime: i64 = 0x10,
        LastWriteTime: i64 = 0x18,
        ChangeTime: i64 = 0x20,
        EndOfFile: i64 = 0x28,
        AllocationSize: i64 = 0x30,
        FileAttributes: u32 = 0x38,
        FileNameLength: u32 = 0x3c,
        FileName: [u16; 1] = 0x40,
    }

    /// An entry of a directory, with the size of its extended attributes.
    pub struct FILE_FULL_DIR_INFORMATION("FILE_FULL_DIR_INFORMATION", 0x48) {
        NextEntryOffset: u32 = 0x0,
        FileIndex: u32 = 0x4,
        CreationTime: i64 = 0x8,
        LastAccessTime: i64 = 0x10,
        LastWriteTime: i64 = 0x18,
        ChangeTime: i64 = 0x20,
        EndOfFile: i64 = 0x28,
        AllocationSize: i64 = 0x30,
        FileAttributes: u32 = 0x38,
        FileNameLength: u32 = 0x3c,
        EaSize: u32 = 0x40,
        FileName: [u16; 1] = 0x44,
    }

    /// An entry of a directory, with its short name.
    pub struct FILE_BOTH_DIR_INFORMATION("FILE_BOTH_DIR_INFORMATION", 0x60) {
        NextEntryOffset: u32 = 0x0,
        FileIndex: u32 = 0x4,
        CreationTime: i64 = 0x8,
        LastAccessTime: i64 = 0x10,
        LastWriteTime: i64 = 0x18,
        ChangeTime: i64 = 0x20,
        EndOfFile: i64 = 0x28,
        AllocationSize: i64 = 0x30,
        FileAttributes: u32 = 0x38,
        FileNameLength: u32 = 0x3c,
        EaSize: u32 = 0x40,
        ShortNameLength: i8 = 0x44,
        ShortName: [u16; 12] = 0x46,
        FileName: [u16; 1] = 0x5e,
    }

    /// An entry of a directory, with its short name and file number.
    pub struct FILE_ID_BOTH_DIR_INFORMATION("FILE_ID_BOTH_DIR_INFORMATION", 0x70) {
        NextEntryOffset: u32 = 0x0,
        FileIndex: u32 = 0x4,
        CreationTime: i64 = 0x8,
        LastAccessTime: i64 = 0x10,
        LastWriteTime: i64 = 0x18,
        ChangeTime: i64 = 0x20,
        EndOfFile: i64 = 0x28,
        AllocationSize: i64 = 0x30,
        FileAttributes: u32 = 0x38,
        FileNameLength: u32 = 0x3c,
        EaSize: u32 = 0x40,
        ShortNameLength: i8 = 0x44,
        ShortName: [u16; 12] = 0x46,
        FileId: i64 = 0x60,
        FileName: [u16; 1] = 0x68,
    }

    /// The name of an entry of a directory.
    pub struct FILE_NAMES_INFORMATION("FILE_NAMES_INFORMATION", 0x10) {
        NextEntryOffset: u32 = 0x0,
        FileIndex: u32 = 0x4,
        FileNameLength: u32 = 0x8,
        FileName: [u16; 1] = 0xc,
    }

    /// The name of a volume.
    pub struct FILE_FS_VOLUME_INFORMATION("FILE_FS_VOLUME_INFORMATION", 0x18) {
        VolumeCreationTime: i64 = 0x0,
        VolumeSerialNumber: u32 = 0x8,
        VolumeLabelLength: u32 = 0xc,
        SupportsObjects: u8 = 0x10,
        VolumeLabel: [u16; 1] = 0x12,
    }

    /// The size of a volume.
    pub struct FILE_FS_SIZE_INFORMATION("FILE_FS_SIZE_INFORMATION", 0x18) {
        TotalAllocationUnits: i64 = 0x0,
        AvailableAllocationUnits: i64 = 0x8,
        SectorsPerAllocationUnit: u32 = 0x10,
        BytesPerSector: u32 = 0x14,
    }

    /// The size of a volume, for the caller and for all.
    pub struct FILE_FS_FULL_SIZE_INFORMATION("FILE_FS_FULL_SIZE_INFORMATION", 0x20) {
        TotalAllocationUnits: i64 = 0x0,
        CallerAvailableAllocationUnits: i64 = 0x8,
        ActualAvailableAllocationUnits: i64 = 0x10,
        SectorsPerAllocationUnit: u32 = 0x18,
        BytesPerSector: u32 = 0x1c,
    }

    /// The device type of a volume.
    pub struct FILE_FS_DEVICE_INFORMATION("FILE_FS_DEVICE_INFORMATION", 0x8) {
        DeviceType: u32 = 0x0,
        Characteristics: u32 = 0x4,
    }

    /// What the file system of a volume can do.
    pub struct FILE_FS_ATTRIBUTE_INFORMATION("FILE_FS_ATTRIBUTE_INFORMATION", 0x10) {
        FileSystemAttributes: u32 = 0x0,
        MaximumComponentNameLength: i32 = 0x4,
        FileSystemNameLength: u32 = 0x8,
        FileSystemName: [u16; 1] = 0xc,
    }
}
