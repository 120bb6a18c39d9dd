//! Guest structures: what a driver can see by layout, at the true offsets of one Windows build.
//!
//! A structure is an uninhabited type that only names what lies at a guest address:
//! `Gva<IRP>` is the address of an IRP, `IRP::IoStatus` is where its status block lies in it, and
//! `irp.at(IRP::IoStatus).at(IO_STATUS_BLOCK::Information)` is the address of a field of a field.
//! Names are those of Windows. A field inside unnamed members is named by its path with
//! underscores (`Tail_Overlay_CurrentStackLocation`); every arm of a union is a field.
//!
//! `LARGE_INTEGER` fields are `i64`, `BOOLEAN` fields `u8`, enumerations `i32`, handles and
//! untyped pointers `Gva`, code pointers `Gva<Code>`, and structures that nobody needs are bytes.
//! Bit fields are [`BitField`]s, so that nobody takes the whole container for one.

mod context;
mod device;
mod file_information;
mod file_system;
mod interrupt;
mod io;
mod irp;
mod list;
mod memory;
mod module;
mod object;
mod process;
mod processor;
mod registry;
mod security;
mod shared_data;
mod stack_location;
mod string;
mod sync;
mod system;
mod thread;
mod timer;

pub use context::*;
pub use device::*;
pub use file_information::*;
pub use file_system::*;
pub use interrupt::*;
pub use io::*;
pub use irp::*;
pub use list::*;
pub use memory::*;
pub use module::*;
pub use object::*;
pub use process::*;
pub use processor::*;
pub use registry::*;
pub use security::*;
pub use shared_data::*;
pub use stack_location::*;
pub use string::*;
pub use sync::*;
pub use system::*;
pub use thread::*;
pub use timer::*;

use ring3_memory::{Fault, Field, Gpa, Guest, Gva, Memory, UserGva};

use crate::ntstatus::NTSTATUS;

/// A guest structure with a fixed layout.
pub trait Layout {
    /// Its tag in the kernel's symbols (`_IRP`), or its public name where those do not have it.
    const SYMBOL: &'static str;
    /// Its size in bytes.
    const SIZE: u64;
    /// Its declared fields, by offset.
    const FIELDS: &'static [FieldLayout];
}

/// One field of a guest structure, as data: for debuggers and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldLayout {
    /// Its path in the symbols: `Tail.Overlay.Thread`.
    pub path: &'static str,
    /// Its Rust type as declared.
    pub ty: &'static str,
    /// Bytes from the start of the structure.
    pub offset: u32,
    /// Bytes; of the container for a bit field.
    pub size: u64,
    /// First bit and number of bits, for a bit field.
    pub bits: Option<(u8, u8)>,
}

/// A bit field of type `T` in the guest structure `S`.
pub struct BitField<S, T> {
    container: Field<S, T>,
    position: u8,
    length: u8,
}

impl<S, T> BitField<S, T> {
    /// `length` bits from bit `position` on, in the container `offset` bytes into the structure.
    #[must_use]
    pub const fn new(offset: u32, position: u8, length: u8) -> Self {
        Self {
            container: Field::new(offset),
            position,
            length,
        }
    }

    /// The whole container.
    #[must_use]
    pub const fn container(self) -> Field<S, T> {
        self.container
    }

    /// The bits that belong to the field, in place.
    #[must_use]
    pub const fn mask(self) -> u64 {
        let low = if self.length >= 64 {
            u64::MAX
        } else {
            (1 << self.length) - 1
        };
        low << self.position
    }

    /// The field in the value of a container.
    #[must_use]
    pub const fn extract(self, container: u64) -> u64 {
        (container & self.mask()) >> self.position
    }

    /// The value of a container with the field replaced; bits of `value` that do not fit are lost.
    #[must_use]
    pub const fn insert(self, container: u64, value: u64) -> u64 {
        container & !self.mask() | value << self.position & self.mask()
    }
}

impl<S, T: Extent> BitField<S, T> {
    /// Reads the field of the structure at `base`.
    ///
    /// # Errors
    /// A fault if the container cannot be read.
    pub fn read(self, memory: &Memory, base: Gva<S>) -> Result<u64, Fault> {
        Ok(self.extract(self.read_container(memory, base)?))
    }

    /// Writes the field of the structure at `base` and leaves its neighbours as they are.
    ///
    /// # Errors
    /// A fault if the container cannot be read or written.
    pub fn write(self, memory: &mut Memory, base: Gva<S>, value: u64) -> Result<(), Fault> {
        let bytes = self
            .insert(self.read_container(memory, base)?, value)
            .to_le_bytes();
        let length = bytes.len().min(T::BYTES as usize);
        memory.write_bytes(base.at(self.container), &bytes[..length])
    }

    fn read_container(self, memory: &Memory, base: Gva<S>) -> Result<u64, Fault> {
        let mut bytes = [0; 8];
        let length = bytes.len().min(T::BYTES as usize);
        memory.read_bytes(base.at(self.container), &mut bytes[..length])?;
        Ok(u64::from_le_bytes(bytes))
    }
}

impl<S, T> Clone for BitField<S, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, T> Copy for BitField<S, T> {}

impl<S, T> std::fmt::Debug for BitField<S, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} bits {}+{}",
            self.container, self.position, self.length
        )
    }
}

/// Something of a fixed size in guest memory: a value or a structure.
pub trait Extent {
    /// Its size in bytes.
    const BYTES: u64;
}

macro_rules! values {
    ($($kind:ty)*) => {$(
        impl Extent for $kind {
            const BYTES: u64 = <$kind as Guest>::SIZE as u64;
        }
    )*};
}

values!(bool u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 Gpa NTSTATUS);

impl<T: ?Sized + 'static> Extent for Gva<T> {
    const BYTES: u64 = 8;
}

impl<T: ?Sized + 'static> Extent for UserGva<T> {
    const BYTES: u64 = 8;
}

impl<T: Extent, const N: usize> Extent for [T; N] {
    const BYTES: u64 = T::BYTES * N as u64;
}

/// The address of an element of an array. The index is not checked: arrays at the end of a
/// structure are declared with one element and are as long as their owner makes them.
#[must_use]
pub const fn element<T: Extent, const N: usize>(array: Gva<[T; N]>, index: u64) -> Gva<T> {
    Gva::new(array.raw().wrapping_add(index.wrapping_mul(T::BYTES)))
}

/// Declares guest structures.
///
/// ```text
/// guest_struct! {
///     /// What it is.
///     pub struct IRP("_IRP", 0xd0) {
///         Type: i16 = 0x0,                                          // value: Field<IRP, i16>
///         IoStatus: IO_STATUS_BLOCK = 0x30,                         // structure inside
///         Tail_Overlay_Thread("Tail.Overlay.Thread"): Gva<ETHREAD> = 0x98,
///         SomeBits: u32 = 0x40 bits(3, 2),                          // BitField
///     }
/// }
/// ```
/// `show = path` after the size names the function that prints what a pointer to it points to.
#[macro_export]
macro_rules! guest_struct {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident($symbol:literal, $size:literal $(, show = $show:path)?) {
            $($field:ident $(($path:literal))? : $ty:ty = $offset:literal
                $(bits($position:literal, $length:literal))?),* $(,)?
        }
    )*) => {$(
        $(#[$meta])*
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        pub enum $name {}

        #[allow(non_upper_case_globals, missing_docs)]
        impl $name {
            /// Its size in bytes.
            pub const SIZE: u64 = $size;
            $($crate::guest_struct!(@field $name $field: $ty = $offset $(bits $position $length)?);)*
        }

        impl $crate::layout::Layout for $name {
            const SYMBOL: &'static str = $symbol;
            const SIZE: u64 = $size;
            const FIELDS: &'static [$crate::layout::FieldLayout] = &[$(
                $crate::layout::FieldLayout {
                    path: $crate::guest_struct!(@path $field $($path)?),
                    ty: stringify!($ty),
                    offset: $offset,
                    size: <$ty as $crate::layout::Extent>::BYTES,
                    bits: $crate::guest_struct!(@bits $($position $length)?),
                },
            )*];
        }

        impl $crate::layout::Extent for $name {
            const BYTES: u64 = $size;
        }

        impl $crate::export::Pointee for $name {
            $(fn show(cx: &$crate::Machine, pointer: $crate::memory::Gva<Self>) -> String {
                $show(cx, pointer)
            })?
        }
    )*};
    (@field $name:ident $field:ident: $ty:ty = $offset:literal) => {
        pub const $field: $crate::memory::Field<$name, $ty> = $crate::memory::Field::new($offset);
    };
    (@field $name:ident $field:ident: $ty:ty = $offset:literal bits $position:literal $length:literal) => {
        pub const $field: $crate::layout::BitField<$name, $ty> =
            $crate::layout::BitField::new($offset, $position, $length);
    };
    (@path $field:ident) => { stringify!($field) };
    (@path $field:ident $path:literal) => { $path };
    (@bits) => { None };
    (@bits $position:literal $length:literal) => { Some(($position, $length)) };
}

/// Calls `visit` with every declared structure: symbol, size and fields.
pub fn for_each(mut visit: impl FnMut(&'static str, u64, &'static [FieldLayout])) {
    macro_rules! all {
        ($($name:ident)*) => {$(
            visit(<$name as Layout>::SYMBOL, <$name as Layout>::SIZE, <$name as Layout>::FIELDS);
        )*};
    }
    all! {
        ACCESS_ALLOWED_ACE ACCESS_STATE ACE_HEADER ACL ANSI_STRING BUS_INTERFACE_STANDARD CLIENT_ID
        CM_FULL_RESOURCE_DESCRIPTOR CM_KEY_BODY CM_PARTIAL_RESOURCE_DESCRIPTOR
        CM_PARTIAL_RESOURCE_LIST CM_RESOURCE_LIST CONFIGURATION_INFORMATION CONTEXT
        CONTROLLER_OBJECT CURDIR DEVICE_CAPABILITIES DEVICE_DESCRIPTION
        DEVICE_INTERFACE_CHANGE_NOTIFICATION DEVICE_OBJECT DEVICE_RELATIONS DEVOBJ_EXTENSION
        DISPATCHER_CONTEXT DISPATCHER_HEADER DMA_ADAPTER DMA_OPERATIONS DRIVER_EXTENSION
        DRIVER_OBJECT EPROCESS ERESOURCE ETHREAD EXCEPTION_POINTERS EXCEPTION_RECORD EX_PUSH_LOCK
        EX_RUNDOWN_REF EX_RUNDOWN_REF_CACHE_AWARE FAST_IO_DISPATCH FAST_MUTEX FILE_ACCESS_INFORMATION
        FILE_ALIGNMENT_INFORMATION FILE_ALLOCATION_INFORMATION FILE_ALL_INFORMATION
        FILE_ATTRIBUTE_TAG_INFORMATION FILE_BASIC_INFORMATION FILE_BOTH_DIR_INFORMATION
        FILE_DIRECTORY_INFORMATION FILE_DISPOSITION_INFORMATION FILE_EA_INFORMATION
        FILE_END_OF_FILE_INFORMATION FILE_FS_ATTRIBUTE_INFORMATION FILE_FS_DEVICE_INFORMATION
        FILE_FS_FULL_SIZE_INFORMATION FILE_FS_SIZE_INFORMATION FILE_FS_VOLUME_INFORMATION
        FILE_FULL_DIR_INFORMATION FILE_FULL_EA_INFORMATION FILE_ID_BOTH_DIR_INFORMATION
        FILE_INTERNAL_INFORMATION FILE_LINK_INFORMATION FILE_MODE_INFORMATION FILE_NAMES_INFORMATION
        FILE_NAME_INFORMATION FILE_NETWORK_OPEN_INFORMATION FILE_OBJECT FILE_POSITION_INFORMATION
        FILE_RENAME_INFORMATION FILE_STANDARD_INFORMATION FILE_STREAM_INFORMATION
        FSRTL_ADVANCED_FCB_HEADER FSRTL_COMMON_FCB_HEADER GENERAL_LOOKASIDE GENERAL_LOOKASIDE_POOL
        GENERIC_MAPPING GROUP_AFFINITY GUID HANDLE_TABLE HANDLE_TABLE_ENTRY IMAGE_DATA_DIRECTORY
        IMAGE_DOS_HEADER IMAGE_EXPORT_DIRECTORY IMAGE_FILE_HEADER IMAGE_INFO IMAGE_NT_HEADERS64
        IMAGE_OPTIONAL_HEADER64 IMAGE_RUNTIME_FUNCTION_ENTRY IMAGE_SECTION_HEADER INTERFACE
        IO_CLIENT_EXTENSION IO_COMPLETION_CONTEXT IO_CONNECT_INTERRUPT_PARAMETERS IO_CSQ
        IO_DISCONNECT_INTERRUPT_PARAMETERS IO_DRIVER_CREATE_CONTEXT IO_INTERRUPT_MESSAGE_INFO
        IO_INTERRUPT_MESSAGE_INFO_ENTRY
        IO_ERROR_LOG_PACKET IO_REMOVE_LOCK IO_REMOVE_LOCK_COMMON_BLOCK IO_RESOURCE_DESCRIPTOR
        IO_RESOURCE_LIST IO_RESOURCE_REQUIREMENTS_LIST IO_SECURITY_CONTEXT IO_STACK_LOCATION
        IO_STATUS_BLOCK IO_TIMER IO_WORKITEM IRP KAFFINITY_EX KAPC KAPC_STATE
        KBUGCHECK_CALLBACK_RECORD KBUGCHECK_REASON_CALLBACK_RECORD KDESCRIPTOR KDEVICE_QUEUE
        KDEVICE_QUEUE_ENTRY KDPC KDPC_DATA KEVENT KEXCEPTION_FRAME KEY_BASIC_INFORMATION
        KEY_FULL_INFORMATION KEY_NAME_INFORMATION KEY_NODE_INFORMATION KEY_VALUE_BASIC_INFORMATION
        KEY_VALUE_ENTRY KEY_VALUE_FULL_INFORMATION KEY_VALUE_PARTIAL_INFORMATION KGATE KGDTENTRY64
        KIDTENTRY64 KINTERRUPT KLDR_DATA_TABLE_ENTRY KLOCK_QUEUE_HANDLE KMUTANT KPCR KPRCB KPROCESS
        KPROCESSOR_STATE KQUEUE KSEMAPHORE KSPECIAL_REGISTERS KSPIN_LOCK_QUEUE KSYSTEM_TIME KTHREAD
        KTIMER KTRAP_FRAME KTSS64 KUSER_SHARED_DATA KWAIT_BLOCK LARGE_INTEGER LDR_DATA_TABLE_ENTRY
        LIST_ENTRY LOOKASIDE_LIST_EX LUID LUID_AND_ATTRIBUTES M128A MAILSLOT_CREATE_PARAMETERS MDL
        NAMED_PIPE_CREATE_PARAMETERS NPAGED_LOOKASIDE_LIST NT_TIB OBJECT_ATTRIBUTES OBJECT_DIRECTORY
        OBJECT_DIRECTORY_ENTRY OBJECT_HANDLE_INFORMATION OBJECT_HEADER OBJECT_HEADER_CREATOR_INFO
        OBJECT_HEADER_HANDLE_INFO OBJECT_HEADER_NAME_INFO OBJECT_HEADER_PROCESS_INFO
        OBJECT_HEADER_QUOTA_INFO OBJECT_NAME_INFORMATION OBJECT_SYMBOLIC_LINK OBJECT_TYPE
        OBJECT_TYPE_INITIALIZER OB_CALLBACK_REGISTRATION OB_OPERATION_REGISTRATION
        OB_POST_OPERATION_INFORMATION OB_PRE_OPERATION_INFORMATION OWNER_ENTRY PAGED_LOOKASIDE_LIST
        PEB PEB_LDR_DATA PHYSICAL_MEMORY_DESCRIPTOR PHYSICAL_MEMORY_RANGE PHYSICAL_MEMORY_RUN
        PLUGPLAY_NOTIFICATION_HEADER PNP_BUS_INFORMATION POOL_HEADER POWER_SEQUENCE PRIVILEGE_SET
        PROCESSOR_NUMBER PS_CREATE_NOTIFY_INFO REG_CREATE_KEY_INFORMATION
        REG_POST_OPERATION_INFORMATION REG_SET_VALUE_KEY_INFORMATION RTL_AVL_TABLE
        RTL_BALANCED_LINKS RTL_BALANCED_NODE RTL_BITMAP RTL_DYNAMIC_HASH_TABLE RTL_GENERIC_TABLE
        RTL_OSVERSIONINFOEXW RTL_OSVERSIONINFOW RTL_QUERY_REGISTRY_TABLE RTL_RB_TREE RTL_SPLAY_LINKS
        RTL_USER_PROCESS_PARAMETERS SCATTER_GATHER_ELEMENT SCATTER_GATHER_LIST
        SECTION_OBJECT_POINTERS SECURITY_CLIENT_CONTEXT SECURITY_DESCRIPTOR
        SECURITY_DESCRIPTOR_RELATIVE SECURITY_QUALITY_OF_SERVICE SECURITY_SUBJECT_CONTEXT
        SE_AUDIT_PROCESS_CREATION_INFO SHARE_ACCESS SID SID_AND_ATTRIBUTES SINGLE_LIST_ENTRY
        SLIST_ENTRY SLIST_HEADER SYSTEM_POWER_STATE_CONTEXT TARGET_DEVICE_REMOVAL_NOTIFICATION TEB
        TIME_FIELDS TOKEN ULARGE_INTEGER UNICODE_STRING VPB WAIT_CONTEXT_BLOCK WORK_QUEUE_ITEM
        XSAVE_FORMAT XSTATE_CONFIGURATION
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_inside_their_structures() {
        for_each(|name, size, fields| {
            for field in fields {
                assert!(
                    u64::from(field.offset) + field.size <= size.max(1),
                    "{name}.{} does not fit in {size:#x} bytes",
                    field.path
                );
            }
            assert!(
                fields
                    .windows(2)
                    .all(|pair| pair[0].offset <= pair[1].offset),
                "{name} is not sorted"
            );
        });
    }

    #[test]
    fn bit_fields_leave_their_neighbours_alone() {
        let field: BitField<IRP, u16> = BitField::new(0, 4, 3);
        assert_eq!(field.mask(), 0x70);
        assert_eq!(field.extract(0xa5), 2);
        assert_eq!(field.insert(0xffff, 0), 0xff8f);
        assert_eq!(field.insert(0, 0xff), 0x70);
        assert_eq!(BitField::<IRP, u64>::new(0, 0, 64).mask(), u64::MAX);
    }
}
