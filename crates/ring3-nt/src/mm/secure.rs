//! Holding user memory in place: MmSecureVirtualMemory. Documentation: ntddk.h.

use ring3_macros::exports;
use ring3_memory::{Access, Gva, Privilege};

use super::space::PAGE;
use crate::Machine;
use crate::machine::finding::Severity;
use crate::machine::thread::ProcessId;

/// A secured range.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct Secured {
    /// The process.
    pub process: ProcessId,
    /// First page.
    pub start: u64,
    /// Behind the last page.
    pub end: u64,
    /// Who secured it: a return address.
    pub owner: u64,
}

/// Whether a range of a process may not be freed or protected otherwise.
#[must_use]
pub fn is_secured(cx: &Machine, process: ProcessId, at: u64, pages: u64) -> bool {
    let end = at.saturating_add(pages * PAGE);
    cx.mm
        .secured
        .values()
        .any(|s| s.process == process && at < s.end && s.start < end)
}

/// Routines that secure memory.
pub struct SecuredMemory;

#[exports("ntoskrnl.exe")]
impl SecuredMemory {
    /// Secures a range of the current process; NULL if it is not accessible.
    #[page("ntddk/nf-ntddk-mmsecurevirtualmemory")]
    #[irql(..=APC_LEVEL)]
    fn MmSecureVirtualMemory(cx: &mut Machine, Address: Gva, Size: u64, ProbeMode: u32) -> u64 {
        let at = Address.raw();
        // PAGE_READONLY 2, PAGE_READWRITE 4.
        let access = match ProbeMode {
            2 => Access::Read,
            4 => Access::Write,
            _ => return 0,
        };
        let end = at.saturating_add(Size);
        if Size == 0
            || end > cx.build.user_probe_address
            || cx.memory.check(at, Size, access, Privilege::User).is_err()
        {
            return 0;
        }
        // Not an address, as the handles of Windows are none.
        let mut handle = 0x10;
        while cx.mm.secured.contains_key(&handle) {
            handle += 0x10;
        }
        let secured = Secured {
            process: cx.thread().space(),
            start: at & !(PAGE - 1),
            end: end.next_multiple_of(PAGE),
            owner: cx.caller,
        };
        cx.mm.secured.insert(handle, secured);
        handle
    }

    /// Undoes MmSecureVirtualMemory, in the same process.
    #[page("ntddk/nf-ntddk-mmunsecurevirtualmemory")]
    #[irql(..=APC_LEVEL)]
    fn MmUnsecureVirtualMemory(cx: &mut Machine, SecureHandle: u64) {
        let space = cx.thread().space();
        match cx.mm.secured.get(&SecureHandle) {
            Some(found) if found.process == space => {
                cx.mm.secured.remove(&SecureHandle);
            }
            _ => {
                let text = format!("{SecureHandle:#x} secures no memory of the current process");
                cx.report("mm/bad-unsecure", Severity::Error, text);
            }
        }
    }
}
