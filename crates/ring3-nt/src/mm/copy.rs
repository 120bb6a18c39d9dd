//! MmCopyMemory and small questions. Documentation: ntddk.h.

use ring3_macros::exports;
use ring3_memory::{Access, Fault, Gpa, Gva, Privilege};

use super::space::PAGE;
use crate::Machine;
use crate::ntstatus::{NTSTATUS, STATUS_INVALID_PARAMETER, STATUS_PARTIAL_COPY, STATUS_SUCCESS};

/// `MM_COPY_MEMORY_PHYSICAL`, `MM_COPY_MEMORY_VIRTUAL`.
const PHYSICAL: u32 = 1;
const VIRTUAL: u32 = 2;

/// Routines that copy.
pub struct Copying;

#[exports("ntoskrnl.exe")]
impl Copying {
    /// Copies from a virtual or physical address that need not be valid.
    #[page("ntddk/nf-ntddk-mmcopymemory")]
    #[irql(..=APC_LEVEL)]
    fn MmCopyMemory(
        cx: &mut Machine,
        TargetAddress: Gva,
        SourceAddress: u64,
        NumberOfBytes: u64,
        Flags: u32,
        NumberOfBytesTransferred: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        cx.memory.write(NumberOfBytesTransferred, 0)?;
        if Flags != PHYSICAL && Flags != VIRTUAL {
            return Ok(STATUS_INVALID_PARAMETER);
        }
        let mut done = 0;
        while done < NumberOfBytes {
            let from = SourceAddress.wrapping_add(done);
            let piece = (PAGE - from % PAGE).min(NumberOfBytes - done);
            let mut bytes = vec![0u8; piece as usize];
            let read = if Flags == PHYSICAL {
                cx.memory.read_physical(Gpa(from), &mut bytes).is_ok()
            } else {
                let source = Gva::<u8>::new(from);
                let there = cx
                    .memory
                    .check(from, piece, Access::Read, Privilege::Supervisor);
                there.is_ok() && cx.memory.peek_bytes(None, source, &mut bytes).is_ok()
            };
            if !read {
                break;
            }
            cx.memory
                .write_bytes(TargetAddress.byte_add(done), &bytes)?;
            done += piece;
        }
        cx.memory.write(NumberOfBytesTransferred, done)?;
        Ok(if done == NumberOfBytes {
            STATUS_SUCCESS
        } else {
            STATUS_PARTIAL_COPY
        })
    }

    /// How much memory the machine has: 0 small, 1 medium, 2 large.
    #[page("wdm/nf-wdm-mmquerysystemsize")]
    #[irql(any)]
    #[assumed("below 1 GiB a system is small, below 2 GiB medium")]
    fn MmQuerySystemSize(cx: &mut Machine) -> u32 {
        match cx.memory.ram_size() >> 30 {
            0 => 0,
            1 => 1,
            _ => 2,
        }
    }
}
