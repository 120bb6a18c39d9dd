//! The page tables as the kernel sees them: one top-level entry that points to its own table.
//!
//! With it every page table page has a virtual address, as on Windows, where `MmGetVirtualForPhysical`
//! gives it. The slot is the classic one (FFFFF680`00000000); 10.0.19041 chooses its own at boot.

use ring3_memory::{Gpa, Memory, PageFlags};

/// The top-level slot.
const SLOT: u64 = 493;
/// Physical address bits of an entry.
const FRAME: u64 = 0x000f_ffff_ffff_f000;
/// Bit 7 of an entry above the last level: a large page.
const LARGE: u64 = 1 << 7;

/// Points the slot of an address space to its own top-level table.
pub fn install(memory: &mut Memory, cr3: u64) {
    let flags = PageFlags::PRESENT
        | PageFlags::WRITE
        | PageFlags::NX
        | PageFlags::ACCESSED
        | PageFlags::DIRTY;
    let entry = cr3 & FRAME | flags.bits();
    let _ = memory.write_physical(Gpa((cr3 & FRAME) + 8 * SLOT), &entry.to_le_bytes());
}

/// A sign-extended address from its four table indexes.
const fn address(a: u64, b: u64, c: u64, d: u64) -> u64 {
    0xffff_0000_0000_0000 | a << 39 | b << 30 | c << 21 | d << 12
}

fn entries(memory: &Memory, table: u64) -> Vec<u64> {
    let mut bytes = vec![0u8; 4096];
    if memory.read_physical(Gpa(table), &mut bytes).is_err() {
        return Vec::new();
    }
    bytes
        .chunks_exact(8)
        .map(|c| u64::from_le_bytes(c.try_into().unwrap_or_default()))
        .collect()
}

/// Tables below one, with their indexes.
fn tables(memory: &Memory, table: u64) -> Vec<(u64, u64)> {
    (0u64..)
        .zip(entries(memory, table))
        .filter(|(_, entry)| entry & 1 == 1 && entry & LARGE == 0)
        .map(|(index, entry)| (index, entry & FRAME))
        .collect()
}

/// The virtual address of the page table page in this frame, if it is one.
#[must_use]
pub fn find_table(memory: &Memory, cr3: u64, frame: u64) -> Option<u64> {
    let top = cr3 & FRAME;
    if frame == top {
        return Some(address(SLOT, SLOT, SLOT, SLOT));
    }
    for (i, second) in tables(memory, top).into_iter().filter(|(i, _)| *i != SLOT) {
        if second == frame {
            return Some(address(SLOT, SLOT, SLOT, i));
        }
        for (j, third) in tables(memory, second) {
            if third == frame {
                return Some(address(SLOT, SLOT, i, j));
            }
            for (k, last) in tables(memory, third) {
                if last == frame {
                    return Some(address(SLOT, i, j, k));
                }
            }
        }
    }
    None
}
