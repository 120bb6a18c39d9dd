//! Changing MDLs: advancing, protecting, locking for another process. Documentation: wdm.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva, PageFlags};

use super::locked;
use super::mdl::{self, PFNS, flag, span};
use super::space::{PAGE, data};
use crate::Machine;
use crate::flow::{Exception, Flow};
use crate::layout::{EPROCESS, MDL};
use crate::ntstatus::{
    NTSTATUS, STATUS_ACCESS_VIOLATION, STATUS_INVALID_PAGE_PROTECTION, STATUS_INVALID_PARAMETER_2,
    STATUS_NOT_MAPPED_VIEW, STATUS_SUCCESS,
};

/// Routines that change MDLs.
pub struct MdlChanges;

#[exports("ntoskrnl.exe")]
impl MdlChanges {
    /// Moves the start of what an MDL describes forward; pages left behind are unlocked.
    #[page("wdm/nf-wdm-mmadvancemdl")]
    #[irql(..=DISPATCH_LEVEL)]
    fn MmAdvanceMdl(
        cx: &mut Machine,
        Mdl: Gva<MDL>,
        NumberOfBytes: u32,
    ) -> Result<NTSTATUS, Fault> {
        let (va, length) = mdl::range(cx, Mdl)?;
        let by = u64::from(NumberOfBytes);
        if by > length {
            return Ok(STATUS_INVALID_PARAMETER_2);
        }
        let frames = mdl::pages(cx, Mdl)?;
        let flags = cx.memory.get(Mdl, MDL::MdlFlags)?;
        let mapped = cx.memory.get(Mdl, MDL::MappedSystemVa)?;
        let new = va + by;
        let passed = (new & !(PAGE - 1)).wrapping_sub(va & !(PAGE - 1)) / PAGE;
        let first = Mdl.cast::<u8>().byte_add(PFNS).cast::<u64>();
        let m = &mut cx.memory;
        for (frame, i) in frames.iter().skip(passed as usize).zip(0..) {
            m.write(first.add(i), frame.0 / PAGE)?;
        }
        m.set(Mdl, MDL::StartVa, Gva::new(new & !(PAGE - 1)))?;
        m.set(Mdl, MDL::ByteOffset, (new & (PAGE - 1)) as u32)?;
        m.set(Mdl, MDL::ByteCount, (length - by) as u32)?;
        if flags & (flag::MAPPED_TO_SYSTEM_VA | flag::SOURCE_IS_NONPAGED_POOL) != 0 {
            m.set(Mdl, MDL::MappedSystemVa, mapped.byte_add(by))?;
        }
        if flags & flag::PAGES_LOCKED != 0
            && let Some(entry) = cx.mm.locked_mdls.get_mut(&Mdl.raw())
        {
            let count = (passed as usize).min(entry.frames.len());
            let left: Vec<u64> = entry.frames.drain(..count).collect();
            for frame in left {
                locked::unlock_frame(cx, frame);
            }
        }
        Ok(STATUS_SUCCESS)
    }

    /// Changes the protection of an MDL's mapping in system space.
    #[page("wdm/nf-wdm-mmprotectmdlsystemaddress")]
    #[irql(..=DISPATCH_LEVEL)]
    fn MmProtectMdlSystemAddress(
        cx: &mut Machine,
        MemoryDescriptorList: Gva<MDL>,
        NewProtect: u32,
    ) -> Result<NTSTATUS, Fault> {
        let flags = cx.memory.get(MemoryDescriptorList, MDL::MdlFlags)?;
        if flags & flag::MAPPED_TO_SYSTEM_VA == 0 {
            return Ok(STATUS_NOT_MAPPED_VIEW);
        }
        // PAGE_NOACCESS 1, READONLY 2, READWRITE 4, EXECUTE 10h, EXECUTE_READ 20h, EXECUTE_READWRITE 40h.
        let page = match NewProtect {
            1 => data() - PageFlags::PRESENT,
            2 => data() - PageFlags::WRITE,
            4 => data(),
            0x10 | 0x20 => (data() - PageFlags::WRITE) - PageFlags::NX,
            0x40 => data() - PageFlags::NX,
            _ => return Ok(STATUS_INVALID_PAGE_PROTECTION),
        };
        let (va, length) = mdl::range(cx, MemoryDescriptorList)?;
        let at = cx
            .memory
            .get(MemoryDescriptorList, MDL::MappedSystemVa)?
            .raw()
            & !(PAGE - 1);
        let cr3 = cx.memory.context().cr3;
        for i in 0..span(va, length) {
            cx.memory.protect(cr3, at + i * PAGE, page);
        }
        Ok(STATUS_SUCCESS)
    }

    /// Checks access to a buffer of a process and locks its pages.
    #[page("wdm/nf-wdm-mmprobeandlockprocesspages")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn MmProbeAndLockProcessPages(
        cx: &mut Machine,
        MemoryDescriptorList: Gva<MDL>,
        Process: Gva<EPROCESS>,
        AccessMode: u8,
        Operation: u32,
    ) -> Result<Flow, Fault> {
        let target = crate::ps::processes::id_of(cx, Process.raw());
        let mut locked = false;
        if let Some(id) = target {
            cx.thread_mut().attached.push(id);
            cx.sync_address_space();
            let result =
                mdl::probe_and_lock(cx, MemoryDescriptorList, AccessMode != 0, Operation != 0);
            cx.thread_mut().attached.pop();
            cx.sync_address_space();
            locked = result?;
        }
        Ok(if locked {
            Flow::Return(crate::machine::SCRUBBED)
        } else {
            Flow::Raise(Exception::new(STATUS_ACCESS_VIOLATION))
        })
    }
}
