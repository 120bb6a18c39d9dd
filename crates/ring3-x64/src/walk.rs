//! The page tables that a translation goes through.

use ring3_memory::{Gpa, Memory};

/// Physical address bits of an entry.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;

/// The frames of the (up to four) page tables on the way to `va`.
pub(crate) fn table_frames(mem: &Memory, cr3: u64, va: u64) -> [Option<u64>; 4] {
    let mut frames = [None; 4];
    let mut table = cr3 & ADDRESS;
    for (level, frame) in frames.iter_mut().enumerate() {
        *frame = Some(table >> 12);
        let index = va >> (39 - 9 * level) & 0x1ff;
        let mut entry = [0; 8];
        if mem
            .read_physical(Gpa(table + index * 8), &mut entry)
            .is_err()
        {
            break;
        }
        let entry = u64::from_le_bytes(entry);
        if entry & PRESENT == 0 || (entry & LARGE != 0 && level > 0) {
            break;
        }
        table = entry & ADDRESS;
    }
    frames
}
