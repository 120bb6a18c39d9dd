//! The version of the system, and bug check callbacks.

use ring3_memory::Gva;

use crate::export::argument::Code;
use crate::guest_struct;
use crate::layout::LIST_ENTRY;

// Source: the public headers of the WDK; not among the types of that PDB.
guest_struct! {
    /// The version of the system.
    pub struct RTL_OSVERSIONINFOW("RTL_OSVERSIONINFOW", 0x114) {
        dwOSVersionInfoSize: u32 = 0x0,
        dwMajorVersion: u32 = 0x4,
        dwMinorVersion: u32 = 0x8,
        dwBuildNumber: u32 = 0xc,
        dwPlatformId: u32 = 0x10,
        szCSDVersion: [u16; 128] = 0x14,
    }

    /// The version of the system, with the product.
    pub struct RTL_OSVERSIONINFOEXW("RTL_OSVERSIONINFOEXW", 0x11c) {
        dwOSVersionInfoSize: u32 = 0x0,
        dwMajorVersion: u32 = 0x4,
        dwMinorVersion: u32 = 0x8,
        dwBuildNumber: u32 = 0xc,
        dwPlatformId: u32 = 0x10,
        szCSDVersion: [u16; 128] = 0x14,
        wServicePackMajor: u16 = 0x114,
        wServicePackMinor: u16 = 0x116,
        wSuiteMask: u16 = 0x118,
        wProductType: u8 = 0x11a,
    }

    /// A registered bug check callback.
    pub struct KBUGCHECK_CALLBACK_RECORD("KBUGCHECK_CALLBACK_RECORD", 0x40) {
        Entry: LIST_ENTRY = 0x0,
        CallbackRoutine: Gva<Code> = 0x10,
        Buffer: Gva = 0x18,
        Length: u32 = 0x20,
        Component: Gva = 0x28,
        Checksum: u64 = 0x30,
        State: u8 = 0x38,
    }

    /// A registered bug check callback with a reason.
    pub struct KBUGCHECK_REASON_CALLBACK_RECORD("KBUGCHECK_REASON_CALLBACK_RECORD", 0x30) {
        Entry: LIST_ENTRY = 0x0,
        CallbackRoutine: Gva<Code> = 0x10,
        Component: Gva = 0x18,
        Checksum: u64 = 0x20,
        Reason: i32 = 0x28,
        State: u8 = 0x2c,
    }
}
