//! Starting a process of the workload. Documentation: ntddk.h, PsSetCreateProcessNotifyRoutineEx.
//!
//! A process has an image of one page, its headers, and an environment block; no code of it runs.

use ring3_macros::resumable;
use ring3_memory::{Gva, PageFlags};

use super::{Details, notify};
use crate::Machine;
use crate::flow::Flow;
use crate::layout::{EPROCESS, PEB};
use crate::machine::thread::{ProcessId, ThreadId, ThreadState};
use crate::machine::wait::Wait;
use crate::mm::space::{PAGE, data};
use crate::ntstatus::{NTSTATUS, STATUS_INSUFFICIENT_RESOURCES, STATUS_SUCCESS};

/// Where the folder of programs is.
const FOLDER: &str = r"\Device\HarddiskVolume1\ring3\";
/// Where images are mapped: our choice, out of the way of the addresses that scenarios like to use.
const IMAGE_64: u64 = 0x0000_7ff6_0000_0000;
const IMAGE_32: u64 = 0x7f00_0000;
/// Where environment blocks are.
const PEB_64: u64 = 0x0000_00ff_0000_0000;
const PEB_32: u64 = 0x7efd_e000;
/// Bytes of the image: its headers.
pub const IMAGE_SIZE: u64 = PAGE;

/// The headers of an image without sections.
fn headers(wow64: bool) -> Vec<u8> {
    let mut page = vec![0u8; 0x200];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(slot) = page.get_mut(at..at + bytes.len()) {
            slot.copy_from_slice(bytes);
        }
    };
    put(0, b"MZ");
    put(0x3c, &0x80u32.to_le_bytes());
    put(0x80, b"PE\0\0");
    // Machine, size of the optional header, characteristics: executable, and 32-bit or large address aware.
    let (machine, optional, characteristics, magic) = if wow64 {
        (0x014cu16, 0xe0u16, 0x0102u16, 0x010bu16)
    } else {
        (0x8664, 0xf0, 0x0022, 0x020b)
    };
    put(0x84, &machine.to_le_bytes());
    put(0x94, &optional.to_le_bytes());
    put(0x96, &characteristics.to_le_bytes());
    put(0x98, &magic.to_le_bytes());
    // SizeOfImage and SizeOfHeaders.
    put(0xd0, &(IMAGE_SIZE as u32).to_le_bytes());
    put(0xd4, &0x200u32.to_le_bytes());
    page
}

/// A page of user memory with these bytes at its start.
fn page(cx: &mut Machine, process: ProcessId, at: u64, bytes: &[u8], write: bool) -> bool {
    let Some(cr3) = cx.processes.get(&process).map(|p| p.cr3) else {
        return false;
    };
    let mut flags = (data() | PageFlags::USER) - PageFlags::GLOBAL;
    flags.set(PageFlags::WRITE, write);
    let Some(frame) = cx.memory.alloc_frame() else {
        return false;
    };
    cx.memory.write_physical(frame, bytes).is_ok() && cx.memory.map(cr3, at, frame, flags).is_ok()
}

/// Gives a fresh process an image and an environment block. False if memory is used up.
fn furnish(cx: &mut Machine, process: ProcessId, name: &str, wow64: bool) -> bool {
    let base = if wow64 { IMAGE_32 } else { IMAGE_64 };
    let details = Details {
        image: format!("{FOLDER}{name}"),
        wow64,
        peb32: if wow64 { PEB_32 } else { 0 },
        image_base: base,
        ..Details::default()
    };
    cx.ps.processes.insert(process, details);
    // BeingDebugged and the like are 0; ImageBaseAddress lies at 8 in the 32-bit block.
    let mut block = vec![0u8; 0x20];
    block[PEB::ImageBaseAddress.offset() as usize..][..8].copy_from_slice(&base.to_le_bytes());
    let mut block32 = vec![0u8; 0x20];
    block32[8..12].copy_from_slice(&(base as u32).to_le_bytes());
    let done = page(cx, process, base, &headers(wow64), false)
        && page(cx, process, PEB_64, &block, true)
        && (!wow64 || page(cx, process, PEB_32, &block32, true));
    let Some(object) = cx.processes.get(&process).map(|p| p.object) else {
        return false;
    };
    let parent = cx.thread().process.guest();
    let m = &mut cx.memory;
    done && m.set(object, EPROCESS::Peb, Gva::new(PEB_64)).is_ok()
        && m.set(object, EPROCESS::SectionBaseAddress, Gva::new(base))
            .is_ok()
        && m.set(
            object,
            EPROCESS::InheritedFromUniqueProcessId,
            Gva::new(parent),
        )
        .is_ok()
        && m.set(
            object,
            EPROCESS::WoW64Process,
            Gva::new(if wow64 { PEB_32 } else { 0 }),
        )
        .is_ok()
}

/// Starts a process with one thread; tells those who asked. The note of the calling thread is the number of the
/// process; the status is theirs if they refuse.
#[resumable]
pub fn create_process(cx: &mut Machine, name: String, wow64: bool) -> Flow {
    let caller: ThreadId = cx.thread().id;
    cx.io.user.note(caller, 0);
    let failed = Flow::Return(u64::from(STATUS_INSUFFICIENT_RESOURCES.0));
    let Some(created) = cx.create_process(&name) else {
        return failed;
    };
    if !furnish(cx, created, &name, wow64) {
        return failed;
    }
    let process: ProcessId = created;
    let Some(first) = cx.create_user_thread(process) else {
        return Flow::Return(u64::from(STATUS_INSUFFICIENT_RESOURCES.0));
    };
    let thread: ThreadId = first;
    // It does not run before everybody has been told.
    let hold = cx.next_wait_number();
    cx.thread_by_mut(thread).state =
        ThreadState::Waiting(Wait::On(notify::start_key(thread)), hold);
    let status: NTSTATUS = host!(notify::process_created(process));
    if !status.is_success() {
        if let Some(found) = cx.processes.get_mut(&process) {
            found.exited = true;
        }
        // Its start was not told, so its end is not.
        cx.ps.processes.entry(process).or_default().told_end = Some(thread);
        cx.wake(notify::start_key(thread));
        return Flow::Return(u64::from(status.0));
    }
    host!(notify::thread_created(thread));
    cx.wake(notify::start_key(thread));
    cx.io.user.note(caller, u64::from(process.0));
    Flow::Return(u64::from(STATUS_SUCCESS.0))
}

impl Machine {
    /// Whether the pointers of a process have 32 bits.
    #[must_use]
    pub fn is_wow64(&self, process: ProcessId) -> bool {
        self.ps.processes.get(&process).is_some_and(|p| p.wow64)
    }
}
