//! New identifiers. Documentation: wdm.h, "ExUuidCreate".

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::layout::GUID;
use crate::machine::decide::Choice;
use crate::ntstatus::{NTSTATUS, STATUS_SUCCESS};

/// 100 ns units from 1582-10-15, where the time of an identifier starts, to 1601-01-01.
const GREGORIAN_TO_WINDOWS: u64 = 0x0014_6bf3_3e42_c000;

/// An identifier of version 1 (RFC 4122, section 4.2): time, clock sequence, node.
fn version_1(time: u64, sequence: u16, node: [u8; 6]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&(time as u32).to_le_bytes());
    bytes[4..6].copy_from_slice(&((time >> 32) as u16).to_le_bytes());
    bytes[6..8].copy_from_slice(&((time >> 48) as u16 & 0x0fff | 0x1000).to_le_bytes());
    bytes[8] = (sequence >> 8) as u8 & 0x3f | 0x80;
    bytes[9] = sequence as u8;
    bytes[10..].copy_from_slice(&node);
    bytes
}

/// The routine.
pub struct Uuids;

#[exports("ntoskrnl.exe")]
impl Uuids {
    /// Makes a new UUID.
    #[page("wdm/nf-wdm-exuuidcreate")]
    #[irql(..=APC_LEVEL)]
    #[assumed("of version 1, with a node made of decided random numbers")]
    fn ExUuidCreate(cx: &mut Machine, Uuid: Gva<GUID>) -> Result<NTSTATUS, Fault> {
        cx.memory.get(Uuid, GUID::Data1)?;
        cx.ex.uuids += 1;
        let time = cx
            .clock
            .system()
            .wrapping_add(GREGORIAN_TO_WINDOWS)
            .wrapping_add(cx.ex.uuids);
        let mut random = || cx.decide(Choice::Random, 0x1_0000) as u16;
        let sequence = random();
        let mut node = [0; 6];
        for pair in node.chunks_exact_mut(2) {
            pair.copy_from_slice(&random().to_le_bytes());
        }
        // The multicast bit marks a node that is no network address.
        node[0] |= 1;
        cx.memory
            .write_bytes(Uuid, &version_1(time, sequence, node))?;
        Ok(STATUS_SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_and_variant_are_where_they_belong() {
        let bytes = version_1(0x0123_4567_89ab_cdef, 0xffff, [1; 6]);
        assert_eq!(bytes[..8], [0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x11]);
        assert_eq!(bytes[8..10], [0xbf, 0xff]);
    }
}
