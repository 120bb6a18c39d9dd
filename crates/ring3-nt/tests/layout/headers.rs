//! The structures that the public symbols of the kernel do not have, against the declarations of
//! the windows-sys crate, which are made from the public headers.

use std::mem::{offset_of, size_of};

/// A structure as the headers have it: its size, and its fields with their offsets.
pub struct Header {
    pub name: &'static str,
    pub size: usize,
    pub fields: Vec<(&'static str, usize)>,
}

macro_rules! headers {
    ($($name:ident: $ty:path { $($field:ident $(= $($member:ident).+)?),* $(,)? })*) => {
        /// Every structure that is checked here.
        pub fn all() -> Vec<Header> {
            vec![$(Header {
                name: stringify!($name),
                size: size_of::<$ty>(),
                fields: vec![$((stringify!($field), headers!(@offset $ty, $field $($($member).+)?))),*],
            }),*]
        }
    };
    (@offset $ty:path, $field:ident) => { offset_of!($ty, $field) };
    (@offset $ty:path, $field:ident $($member:ident).+) => { offset_of!($ty, $($member).+) };
}

headers! {
    RTL_GENERIC_TABLE: windows_sys::Wdk::System::SystemServices::RTL_GENERIC_TABLE {
        TableRoot, InsertOrderList, OrderedPointer, WhichOrderedElement, NumberGenericTableElements,
        CompareRoutine, AllocateRoutine, FreeRoutine, TableContext,
    }
    OB_CALLBACK_REGISTRATION: windows_sys::Wdk::System::SystemServices::OB_CALLBACK_REGISTRATION {
        Version, OperationRegistrationCount, Altitude, RegistrationContext, OperationRegistration,
    }
    OB_OPERATION_REGISTRATION: windows_sys::Wdk::System::SystemServices::OB_OPERATION_REGISTRATION {
        ObjectType, Operations, PreOperation, PostOperation,
    }
    OB_PRE_OPERATION_INFORMATION: windows_sys::Wdk::System::SystemServices::OB_PRE_OPERATION_INFORMATION {
        Operation, Flags = Anonymous.Flags, Object, ObjectType, CallContext, Parameters,
    }
    OB_POST_OPERATION_INFORMATION: windows_sys::Wdk::System::SystemServices::OB_POST_OPERATION_INFORMATION {
        Operation, Flags = Anonymous.Flags, Object, ObjectType, CallContext, ReturnStatus,
        Parameters,
    }
    IO_CONNECT_INTERRUPT_PARAMETERS: windows_sys::Wdk::System::SystemServices::IO_CONNECT_INTERRUPT_PARAMETERS {
        Version, PhysicalDeviceObject = Anonymous.FullySpecified.PhysicalDeviceObject,
        InterruptObject = Anonymous.FullySpecified.InterruptObject,
        ServiceRoutine = Anonymous.FullySpecified.ServiceRoutine,
        ServiceContext = Anonymous.FullySpecified.ServiceContext,
        SpinLock = Anonymous.FullySpecified.SpinLock,
        SynchronizeIrql = Anonymous.FullySpecified.SynchronizeIrql,
        FloatingSave = Anonymous.FullySpecified.FloatingSave,
        ShareVector = Anonymous.FullySpecified.ShareVector,
        Vector = Anonymous.FullySpecified.Vector,
        FallBackServiceRoutine = Anonymous.MessageBased.FallBackServiceRoutine,
        Irql = Anonymous.FullySpecified.Irql,
        InterruptMode = Anonymous.FullySpecified.InterruptMode,
        ProcessorEnableMask = Anonymous.FullySpecified.ProcessorEnableMask,
        Group = Anonymous.FullySpecified.Group,
    }
    IO_DISCONNECT_INTERRUPT_PARAMETERS: windows_sys::Wdk::System::SystemServices::IO_DISCONNECT_INTERRUPT_PARAMETERS {
        Version, ConnectionContext,
    }
    IO_INTERRUPT_MESSAGE_INFO: windows_sys::Wdk::System::SystemServices::IO_INTERRUPT_MESSAGE_INFO {
        UnifiedIrql, MessageCount, MessageInfo,
    }
    IO_INTERRUPT_MESSAGE_INFO_ENTRY: windows_sys::Wdk::System::SystemServices::IO_INTERRUPT_MESSAGE_INFO_ENTRY {
        MessageAddress, TargetProcessorSet, InterruptObject, MessageData, Vector, Irql, Mode,
        Polarity,
    }
    IO_CSQ: windows_sys::Wdk::System::SystemServices::IO_CSQ {
        Type, CsqInsertIrp, CsqRemoveIrp, CsqPeekNextIrp, CsqAcquireLock, CsqReleaseLock,
        CsqCompleteCanceledIrp, ReservePointer,
    }
    SHARE_ACCESS: windows_sys::Wdk::System::SystemServices::SHARE_ACCESS {
        OpenCount, Readers, Writers, Deleters, SharedRead, SharedWrite, SharedDelete,
    }
    IO_ERROR_LOG_PACKET: windows_sys::Wdk::System::SystemServices::IO_ERROR_LOG_PACKET {
        MajorFunctionCode, RetryCount, DumpDataSize, NumberOfStrings, StringOffset, EventCategory,
        ErrorCode, UniqueErrorValue, FinalStatus, SequenceNumber, IoControlCode, DeviceOffset,
        DumpData,
    }
    CONFIGURATION_INFORMATION: windows_sys::Wdk::System::SystemServices::CONFIGURATION_INFORMATION {
        DiskCount, FloppyCount, CdRomCount, TapeCount, ScsiPortCount, SerialCount, ParallelCount,
        AtDiskPrimaryAddressClaimed, AtDiskSecondaryAddressClaimed, Version, MediumChangerCount,
    }
    PNP_BUS_INFORMATION: windows_sys::Wdk::System::SystemServices::PNP_BUS_INFORMATION {
        BusTypeGuid, LegacyBusType, BusNumber,
    }
    BUS_INTERFACE_STANDARD: windows_sys::Wdk::System::SystemServices::BUS_INTERFACE_STANDARD {
        Size, Version, Context, InterfaceReference, InterfaceDereference, TranslateBusAddress,
        GetDmaAdapter, SetBusData, GetBusData,
    }
    PLUGPLAY_NOTIFICATION_HEADER: windows_sys::Wdk::System::SystemServices::PLUGPLAY_NOTIFICATION_HEADER {
        Version, Size, Event,
    }
    DEVICE_INTERFACE_CHANGE_NOTIFICATION: windows_sys::Wdk::System::SystemServices::DEVICE_INTERFACE_CHANGE_NOTIFICATION {
        Version, Size, Event, InterfaceClassGuid, SymbolicLinkName,
    }
    TARGET_DEVICE_REMOVAL_NOTIFICATION: windows_sys::Wdk::System::SystemServices::TARGET_DEVICE_REMOVAL_NOTIFICATION {
        Version, Size, Event, FileObject,
    }
    DISPATCHER_CONTEXT: windows_sys::Win32::System::Diagnostics::Debug::DISPATCHER_CONTEXT {
        ControlPc, ImageBase, FunctionEntry, EstablisherFrame, TargetIp, ContextRecord,
        LanguageHandler, HandlerData, HistoryTable, ScopeIndex,
    }
    PS_CREATE_NOTIFY_INFO: windows_sys::Wdk::System::SystemServices::PS_CREATE_NOTIFY_INFO {
        Size, Flags = Anonymous.Flags, ParentProcessId, CreatingThreadId, FileObject, ImageFileName,
        CommandLine, CreationStatus,
    }
    IMAGE_INFO: windows_sys::Wdk::System::SystemServices::IMAGE_INFO {
        Properties = Anonymous.Properties, ImageBase, ImageSelector, ImageSize, ImageSectionNumber,
    }
    IMAGE_EXPORT_DIRECTORY: windows_sys::Win32::System::SystemServices::IMAGE_EXPORT_DIRECTORY {
        Characteristics, TimeDateStamp, MajorVersion, MinorVersion, Name, Base, NumberOfFunctions,
        NumberOfNames, AddressOfFunctions, AddressOfNames, AddressOfNameOrdinals,
    }
    ACE_HEADER: windows_sys::Win32::Security::ACE_HEADER {
        AceType, AceFlags, AceSize,
    }
    ACCESS_ALLOWED_ACE: windows_sys::Win32::Security::ACCESS_ALLOWED_ACE {
        Header, Mask, SidStart,
    }
    SECURITY_CLIENT_CONTEXT: windows_sys::Wdk::Storage::FileSystem::SECURITY_CLIENT_CONTEXT {
        SecurityQos, ClientToken, DirectlyAccessClientToken, DirectAccessEffectiveOnly,
        ServerIsRemote, ClientTokenControl,
    }
    PHYSICAL_MEMORY_RANGE: windows_sys::Wdk::System::SystemServices::PHYSICAL_MEMORY_RANGE {
        BaseAddress, NumberOfBytes,
    }
    KEY_BASIC_INFORMATION: windows_sys::Wdk::System::SystemServices::KEY_BASIC_INFORMATION {
        LastWriteTime, TitleIndex, NameLength, Name,
    }
    KEY_NODE_INFORMATION: windows_sys::Wdk::System::SystemServices::KEY_NODE_INFORMATION {
        LastWriteTime, TitleIndex, ClassOffset, ClassLength, NameLength, Name,
    }
    KEY_FULL_INFORMATION: windows_sys::Wdk::System::SystemServices::KEY_FULL_INFORMATION {
        LastWriteTime, TitleIndex, ClassOffset, ClassLength, SubKeys, MaxNameLen, MaxClassLen,
        Values, MaxValueNameLen, MaxValueDataLen, Class,
    }
    KEY_NAME_INFORMATION: windows_sys::Wdk::System::SystemServices::KEY_NAME_INFORMATION {
        NameLength, Name,
    }
    KEY_VALUE_BASIC_INFORMATION: windows_sys::Wdk::System::SystemServices::KEY_VALUE_BASIC_INFORMATION {
        TitleIndex, Type, NameLength, Name,
    }
    KEY_VALUE_FULL_INFORMATION: windows_sys::Wdk::System::SystemServices::KEY_VALUE_FULL_INFORMATION {
        TitleIndex, Type, DataOffset, DataLength, NameLength, Name,
    }
    KEY_VALUE_PARTIAL_INFORMATION: windows_sys::Wdk::System::SystemServices::KEY_VALUE_PARTIAL_INFORMATION {
        TitleIndex, Type, DataLength, Data,
    }
    KEY_VALUE_ENTRY: windows_sys::Wdk::System::Registry::KEY_VALUE_ENTRY {
        ValueName, DataLength, DataOffset, Type,
    }
    REG_CREATE_KEY_INFORMATION: windows_sys::Wdk::System::SystemServices::REG_CREATE_KEY_INFORMATION {
        CompleteName, RootObject, ObjectType, CreateOptions, Class, SecurityDescriptor,
        SecurityQualityOfService, DesiredAccess, GrantedAccess, Disposition, ResultObject,
        CallContext, RootObjectContext, Transaction,
    }
    REG_POST_OPERATION_INFORMATION: windows_sys::Wdk::System::SystemServices::REG_POST_OPERATION_INFORMATION {
        Object, Status, PreInformation, ReturnStatus, CallContext, ObjectContext,
    }
    REG_SET_VALUE_KEY_INFORMATION: windows_sys::Wdk::System::SystemServices::REG_SET_VALUE_KEY_INFORMATION {
        Object, ValueName, TitleIndex, Type, Data, DataSize, CallContext, ObjectContext,
    }
    RTL_OSVERSIONINFOW: windows_sys::Win32::System::SystemInformation::OSVERSIONINFOW {
        dwOSVersionInfoSize, dwMajorVersion, dwMinorVersion, dwBuildNumber, dwPlatformId,
        szCSDVersion,
    }
    RTL_OSVERSIONINFOEXW: windows_sys::Win32::System::SystemInformation::OSVERSIONINFOEXW {
        dwOSVersionInfoSize, dwMajorVersion, dwMinorVersion, dwBuildNumber, dwPlatformId,
        szCSDVersion, wServicePackMajor, wServicePackMinor, wSuiteMask, wProductType,
    }
    KBUGCHECK_CALLBACK_RECORD: windows_sys::Wdk::System::SystemServices::KBUGCHECK_CALLBACK_RECORD {
        Entry, CallbackRoutine, Buffer, Length, Component, Checksum, State,
    }
    KBUGCHECK_REASON_CALLBACK_RECORD: windows_sys::Wdk::System::SystemServices::KBUGCHECK_REASON_CALLBACK_RECORD {
        Entry, CallbackRoutine, Component, Checksum, Reason, State,
    }
    FSRTL_COMMON_FCB_HEADER: windows_sys::Wdk::Storage::FileSystem::FSRTL_COMMON_FCB_HEADER {
        NodeTypeCode, NodeByteSize, Flags, IsFastIoPossible, Flags2, Resource, PagingIoResource,
        AllocationSize, FileSize, ValidDataLength,
    }
    FILE_BASIC_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_BASIC_INFORMATION {
        CreationTime, LastAccessTime, LastWriteTime, ChangeTime, FileAttributes,
    }
    FILE_STANDARD_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_STANDARD_INFORMATION {
        AllocationSize, EndOfFile, NumberOfLinks, DeletePending, Directory,
    }
    FILE_INTERNAL_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_INTERNAL_INFORMATION {
        IndexNumber,
    }
    FILE_EA_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_EA_INFORMATION {
        EaSize,
    }
    FILE_ACCESS_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_ACCESS_INFORMATION {
        AccessFlags,
    }
    FILE_POSITION_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_POSITION_INFORMATION {
        CurrentByteOffset,
    }
    FILE_MODE_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_MODE_INFORMATION {
        Mode,
    }
    FILE_ALIGNMENT_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_ALIGNMENT_INFORMATION {
        AlignmentRequirement,
    }
    FILE_NAME_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_NAME_INFORMATION {
        FileNameLength, FileName,
    }
    FILE_ALL_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_ALL_INFORMATION {
        BasicInformation, StandardInformation, InternalInformation, EaInformation,
        AccessInformation, PositionInformation, ModeInformation, AlignmentInformation,
        NameInformation,
    }
    FILE_NETWORK_OPEN_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_NETWORK_OPEN_INFORMATION {
        CreationTime, LastAccessTime, LastWriteTime, ChangeTime, AllocationSize, EndOfFile,
        FileAttributes,
    }
    FILE_ATTRIBUTE_TAG_INFORMATION: windows_sys::Wdk::System::SystemServices::FILE_ATTRIBUTE_TAG_INFORMATION {
        FileAttributes, ReparseTag,
    }
    FILE_DISPOSITION_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_DISPOSITION_INFORMATION {
        DeleteFile,
    }
    FILE_END_OF_FILE_INFORMATION: windows_sys::Wdk::System::SystemServices::FILE_END_OF_FILE_INFORMATION {
        EndOfFile,
    }
    FILE_ALLOCATION_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_ALLOCATION_INFORMATION {
        AllocationSize,
    }
    FILE_RENAME_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_RENAME_INFORMATION {
        ReplaceIfExists = Anonymous.ReplaceIfExists, Flags = Anonymous.Flags, RootDirectory,
        FileNameLength, FileName,
    }
    FILE_LINK_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_LINK_INFORMATION {
        ReplaceIfExists = Anonymous.ReplaceIfExists, Flags = Anonymous.Flags, RootDirectory,
        FileNameLength, FileName,
    }
    FILE_STREAM_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_STREAM_INFORMATION {
        NextEntryOffset, StreamNameLength, StreamSize, StreamAllocationSize, StreamName,
    }
    FILE_FULL_EA_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_FULL_EA_INFORMATION {
        NextEntryOffset, Flags, EaNameLength, EaValueLength, EaName,
    }
    FILE_DIRECTORY_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_DIRECTORY_INFORMATION {
        NextEntryOffset, FileIndex, CreationTime, LastAccessTime, LastWriteTime, ChangeTime,
        EndOfFile, AllocationSize, FileAttributes, FileNameLength, FileName,
    }
    FILE_FULL_DIR_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_FULL_DIR_INFORMATION {
        NextEntryOffset, FileIndex, CreationTime, LastAccessTime, LastWriteTime, ChangeTime,
        EndOfFile, AllocationSize, FileAttributes, FileNameLength, EaSize, FileName,
    }
    FILE_BOTH_DIR_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_BOTH_DIR_INFORMATION {
        NextEntryOffset, FileIndex, CreationTime, LastAccessTime, LastWriteTime, ChangeTime,
        EndOfFile, AllocationSize, FileAttributes, FileNameLength, EaSize, ShortNameLength,
        ShortName, FileName,
    }
    FILE_ID_BOTH_DIR_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_ID_BOTH_DIR_INFORMATION {
        NextEntryOffset, FileIndex, CreationTime, LastAccessTime, LastWriteTime, ChangeTime,
        EndOfFile, AllocationSize, FileAttributes, FileNameLength, EaSize, ShortNameLength,
        ShortName, FileId, FileName,
    }
    FILE_NAMES_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_NAMES_INFORMATION {
        NextEntryOffset, FileIndex, FileNameLength, FileName,
    }
    FILE_FS_VOLUME_INFORMATION: windows_sys::Wdk::System::SystemServices::FILE_FS_VOLUME_INFORMATION {
        VolumeCreationTime, VolumeSerialNumber, VolumeLabelLength, SupportsObjects, VolumeLabel,
    }
    FILE_FS_SIZE_INFORMATION: windows_sys::Wdk::System::SystemServices::FILE_FS_SIZE_INFORMATION {
        TotalAllocationUnits, AvailableAllocationUnits, SectorsPerAllocationUnit, BytesPerSector,
    }
    FILE_FS_FULL_SIZE_INFORMATION: windows_sys::Wdk::System::SystemServices::FILE_FS_FULL_SIZE_INFORMATION {
        TotalAllocationUnits, CallerAvailableAllocationUnits, ActualAvailableAllocationUnits,
        SectorsPerAllocationUnit, BytesPerSector,
    }
    FILE_FS_DEVICE_INFORMATION: windows_sys::Wdk::System::SystemServices::FILE_FS_DEVICE_INFORMATION {
        DeviceType, Characteristics,
    }
    FILE_FS_ATTRIBUTE_INFORMATION: windows_sys::Wdk::Storage::FileSystem::FILE_FS_ATTRIBUTE_INFORMATION {
        FileSystemAttributes, MaximumComponentNameLength, FileSystemNameLength, FileSystemName,
    }
}
