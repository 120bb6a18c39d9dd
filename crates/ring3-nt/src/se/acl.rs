//! Entries of access control lists. Documentation: ntifs.h, "ACL", "ACE".

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::descriptor::{acl_bytes, sid_bytes};
use crate::Machine;
use crate::layout::ACL;
use crate::ntstatus::{
    NTSTATUS, STATUS_ALLOTTED_SPACE_EXCEEDED, STATUS_BUFFER_TOO_SMALL, STATUS_INVALID_ACL,
    STATUS_INVALID_PARAMETER, STATUS_REVISION_MISMATCH, STATUS_SUCCESS,
};

/// `ACL_REVISION_DS`, the highest.
const HIGHEST_REVISION: u32 = 4;
/// Bytes of the head of a list and of an entry.
const HEAD: usize = 8;
const ENTRY: usize = 4;

/// Where the entries of a list start, one more for its end; `None` if they do not fit into it.
#[must_use]
pub fn offsets(acl: &[u8], count: usize) -> Option<Vec<usize>> {
    let mut offsets = vec![HEAD];
    let mut at = HEAD;
    for _ in 0..count {
        let size = acl
            .get(at + 2..at + ENTRY)
            .map(|b| usize::from(u16::from_le_bytes([b[0], b[1]])))?;
        if size < ENTRY || at + size > acl.len() {
            return None;
        }
        at += size;
        offsets.push(at);
    }
    Some(offsets)
}

fn count(acl: &[u8]) -> usize {
    acl.get(4..6)
        .map_or(0, |b| usize::from(u16::from_le_bytes([b[0], b[1]])))
}

/// Whether a list is well formed.
#[must_use]
pub fn is_valid(acl: &[u8]) -> bool {
    acl.len() >= HEAD && (2..=4).contains(&acl[0]) && offsets(acl, count(acl)).is_some()
}

/// Sizes of the entries in a buffer of nothing but entries; `None` if they do not fill it.
fn entries_in(list: &[u8]) -> Option<u16> {
    let (mut at, mut entries) = (0, 0);
    while at < list.len() {
        let size = list
            .get(at + 2..at + ENTRY)
            .map(|b| usize::from(u16::from_le_bytes([b[0], b[1]])))?;
        if size < ENTRY {
            return None;
        }
        at += size;
        entries += 1;
    }
    (at == list.len()).then_some(entries)
}

/// Puts bytes of entries before the entry with an index.
fn insert(
    cx: &mut Machine,
    acl: Gva<ACL>,
    revision: u32,
    index: u32,
    list: &[u8],
    full: NTSTATUS,
) -> Result<NTSTATUS, Fault> {
    let mut bytes = acl_bytes(cx, acl.raw())?;
    let Some(offsets) = offsets(&bytes, count(&bytes)) else {
        return Ok(STATUS_INVALID_ACL);
    };
    if revision > HIGHEST_REVISION
        || u32::from(bytes.first().copied().unwrap_or(0)) > HIGHEST_REVISION
    {
        return Ok(STATUS_REVISION_MISMATCH);
    }
    let Some(entries) = entries_in(list) else {
        return Ok(STATUS_INVALID_PARAMETER);
    };
    let end = offsets.last().copied().unwrap_or(HEAD);
    let at = offsets.get(index as usize).copied().unwrap_or(end);
    if end + list.len() > bytes.len() {
        return Ok(full);
    }
    bytes.copy_within(at..end, at + list.len());
    if let Some(gap) = bytes.get_mut(at..at + list.len()) {
        gap.copy_from_slice(list);
    }
    let number = (offsets.len() - 1) as u16 + entries;
    cx.memory
        .write_bytes(acl, bytes.get(..end + list.len()).unwrap_or(&bytes))?;
    cx.memory.set(acl, ACL::AceCount, number)?;
    let revision = revision.max(u32::from(bytes.first().copied().unwrap_or(2)));
    cx.memory.set(acl, ACL::AclRevision, revision as u8)?;
    Ok(STATUS_SUCCESS)
}

/// The bytes of an entry.
#[must_use]
pub fn entry(kind: u8, flags: u8, mask: u32, sid: &[u8]) -> Vec<u8> {
    let mut entry = vec![kind, flags];
    entry.extend_from_slice(&((HEAD + sid.len()) as u16).to_le_bytes());
    entry.extend_from_slice(&mask.to_le_bytes());
    entry.extend_from_slice(sid);
    entry
}

/// Puts an entry at the end of a list of the guest.
///
/// # Errors
/// A fault if the list cannot be used.
pub fn append(
    cx: &mut Machine,
    acl: Gva<ACL>,
    revision: u32,
    entry: &[u8],
) -> Result<NTSTATUS, Fault> {
    let full = STATUS_ALLOTTED_SPACE_EXCEEDED;
    insert(cx, acl, revision, u32::MAX, entry, full)
}

/// Routines on entries.
pub struct AccessControlLists;

#[exports("ntoskrnl.exe")]
impl AccessControlLists {
    /// Adds entries before the one with an index; at the end for MAXULONG.
    #[page("ntifs/nf-ntifs-rtladdace")]
    #[irql(..=APC_LEVEL)]
    fn RtlAddAce(
        cx: &mut Machine,
        Acl: Gva<ACL>,
        AceRevision: u32,
        StartingAceIndex: u32,
        AceList: Gva,
        AceListLength: u32,
    ) -> Result<NTSTATUS, Fault> {
        let list = cx
            .memory
            .read_vec(AceList, u64::from(AceListLength.min(0x1_0000)))?;
        insert(
            cx,
            Acl,
            AceRevision,
            StartingAceIndex,
            &list,
            STATUS_BUFFER_TOO_SMALL,
        )
    }

    /// Appends an entry that allows access, with flags.
    #[page("ntifs/nf-ntifs-rtladdaccessallowedaceex")]
    #[irql(..=APC_LEVEL)]
    fn RtlAddAccessAllowedAceEx(
        cx: &mut Machine,
        Acl: Gva<ACL>,
        AceRevision: u32,
        AceFlags: u32,
        AccessMask: u32,
        Sid: Gva,
    ) -> Result<NTSTATUS, Fault> {
        let sid = sid_bytes(cx, Sid.raw())?;
        let entry = entry(0, AceFlags as u8, AccessMask, &sid);
        append(cx, Acl, AceRevision, &entry)
    }

    /// Where an entry lies.
    #[page("ntifs/nf-ntifs-rtlgetace")]
    #[irql(..=APC_LEVEL)]
    fn RtlGetAce(
        cx: &mut Machine,
        Acl: Gva<ACL>,
        AceIndex: u32,
        Ace: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        let bytes = acl_bytes(cx, Acl.raw())?;
        let entries = count(&bytes);
        let found = offsets(&bytes, entries).filter(|_| (AceIndex as usize) < entries);
        let Some(at) = found.and_then(|o| o.get(AceIndex as usize).copied()) else {
            return Ok(STATUS_INVALID_PARAMETER);
        };
        cx.memory.write(Ace, Acl.raw() + at as u64)?;
        Ok(STATUS_SUCCESS)
    }

    /// Removes an entry.
    #[page("ntifs/nf-ntifs-rtldeleteace")]
    #[irql(..=APC_LEVEL)]
    fn RtlDeleteAce(cx: &mut Machine, Acl: Gva<ACL>, AceIndex: u32) -> Result<NTSTATUS, Fault> {
        let mut bytes = acl_bytes(cx, Acl.raw())?;
        let entries = count(&bytes);
        let Some(offsets) = offsets(&bytes, entries) else {
            return Ok(STATUS_INVALID_ACL);
        };
        let index = AceIndex as usize;
        let (Some(at), Some(next), Some(end)) =
            (offsets.get(index), offsets.get(index + 1), offsets.last())
        else {
            return Ok(STATUS_INVALID_PARAMETER);
        };
        bytes.copy_within(*next..*end, *at);
        let gap = next - at;
        bytes
            .get_mut(end - gap..*end)
            .into_iter()
            .flatten()
            .for_each(|b| *b = 0);
        cx.memory.write_bytes(Acl, &bytes)?;
        cx.memory.set(Acl, ACL::AceCount, (entries - 1) as u16)?;
        Ok(STATUS_SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_and_bounded() {
        let acl = [2, 0, 20, 0, 2, 0, 0, 0, 0, 0, 4, 0, 1, 0, 8, 0, 9, 9, 9, 9];
        assert_eq!(offsets(&acl, 2), Some(vec![8, 12, 20]));
        assert!(is_valid(&acl));
        assert!(
            !is_valid(&acl[..16]),
            "the second entry reaches beyond the list"
        );
        assert!(
            !is_valid(&[2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 3, 0]),
            "an entry has a head at least"
        );
        assert_eq!(entries_in(&acl[8..]), Some(2));
        assert_eq!(entries_in(&acl[8..18]), None);
    }
}
