//! More entries of access control lists, and descriptors made for new objects.
//! Documentation: ntifs.h, wdm.h, `SeAssignSecurity`, `SeSetSecurityDescriptorInfo`.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::access_exports::{mapping, token_of_subject};
use super::acl;
use super::descriptor::{control, self_relative};
use super::object_security::{Descriptor, allow, part};
use super::token::Token;
use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::layout::{GENERIC_MAPPING, SECURITY_DESCRIPTOR, SECURITY_SUBJECT_CONTEXT};
use crate::ntstatus::{
    NTSTATUS, STATUS_INSUFFICIENT_RESOURCES, STATUS_NO_SECURITY_ON_OBJECT, STATUS_SUCCESS,
};

const TAG: u32 = u32::from_le_bytes(*b"SeSd");

/// A self-relative descriptor in pool that belongs to the caller.
fn give(cx: &mut Machine, bytes: &[u8], pool: u32, out: Gva<u64>) -> Result<NTSTATUS, Fault> {
    let kind = if pool & 1 != 0 {
        Pool::Paged
    } else {
        Pool::NonPaged
    };
    let owner = cx.caller;
    let Some(block) = cx.pool_allocate_for(kind, bytes.len() as u64, TAG, owner) else {
        return Ok(STATUS_INSUFFICIENT_RESOURCES);
    };
    cx.memory.write_bytes(block, bytes)?;
    cx.memory.write(out, block.raw())?;
    Ok(STATUS_SUCCESS)
}

/// The entries of a parent's list that a new object gets: those for its kind, without the flags of
/// inheritance for what has no children.
fn inherited(list: &[u8], container: bool) -> Vec<u8> {
    /// `OBJECT_INHERIT_ACE`, `CONTAINER_INHERIT_ACE`, `NO_PROPAGATE_INHERIT_ACE`, `INHERIT_ONLY_ACE`,
    /// `INHERITED_ACE`.
    const FOR_OBJECTS: u8 = 1;
    const FOR_CONTAINERS: u8 = 2;
    const ONCE: u8 = 4;
    const INHERITED: u8 = 0x10;
    let count = list
        .get(4..6)
        .map_or(0, |b| usize::from(u16::from_le_bytes([b[0], b[1]])));
    let Some(offsets) = acl::offsets(list, count) else {
        return Vec::new();
    };
    let (mut entries, mut number) = (Vec::new(), 0u16);
    for pair in offsets.windows(2) {
        let Some(entry) = list.get(pair[0]..pair[1]) else {
            continue;
        };
        let flags = entry.get(1).copied().unwrap_or(0);
        let wanted = if container {
            FOR_CONTAINERS
        } else {
            FOR_OBJECTS
        };
        if flags & wanted == 0 {
            continue;
        }
        let mut copy = entry.to_vec();
        let keep = if container && flags & ONCE == 0 {
            flags & (FOR_OBJECTS | FOR_CONTAINERS)
        } else {
            0
        };
        copy[1] = keep | INHERITED;
        entries.extend(copy);
        number += 1;
    }
    if number == 0 {
        return Vec::new();
    }
    let mut acl = vec![2, 0];
    acl.extend(((8 + entries.len()) as u16).to_le_bytes());
    acl.extend(number.to_le_bytes());
    acl.extend([0, 0]);
    acl.extend(entries);
    acl
}

/// The descriptor of a new object: what was given, else what its parent hands down, else what the token says.
fn assign(
    parent: Option<&Descriptor>,
    explicit: Option<&Descriptor>,
    container: bool,
    token: &Token,
) -> Descriptor {
    let mut out = Descriptor {
        owner: token.owner().to_vec(),
        group: token.user.clone(),
        ..Descriptor::default()
    };
    if let Some(given) = explicit {
        if !given.owner.is_empty() {
            out.owner.clone_from(&given.owner);
        }
        if !given.group.is_empty() {
            out.group.clone_from(&given.group);
        }
        if given.control & control::DACL_PRESENT != 0 {
            out.set(part::DACL, given);
            out.control |= given.control & control::DACL_PROTECTED;
        }
        if given.control & control::SACL_PRESENT != 0 {
            out.set(part::SACL, given);
        }
    }
    if out.control & control::DACL_PRESENT == 0 {
        out.dacl = parent.map_or_else(Vec::new, |p| inherited(&p.dacl, container));
        if out.dacl.is_empty() {
            let system = super::exports_variable::sid(5, &[18]);
            out.dacl = allow(&[(0x1000_0000, out.owner.clone()), (0x1000_0000, system)]);
        }
        out.control |= control::DACL_PRESENT;
    }
    out
}

/// Replaces the generic rights in a list.
fn map_list(list: &mut [u8], mapping: [u32; 4]) {
    let count = list
        .get(4..6)
        .map_or(0, |b| usize::from(u16::from_le_bytes([b[0], b[1]])));
    for at in acl::offsets(list, count)
        .unwrap_or_default()
        .iter()
        .take(count)
    {
        if let Some(mask) = list.get_mut(at + 4..at + 8) {
            let value = u32::from_le_bytes([mask[0], mask[1], mask[2], mask[3]]);
            mask.copy_from_slice(&super::access::map(value, mapping).to_le_bytes());
        }
    }
}

fn read(cx: &Machine, at: Gva<SECURITY_DESCRIPTOR>) -> Result<Option<Descriptor>, Fault> {
    if at.is_null() {
        return Ok(None);
    }
    Ok(Some(Descriptor::from_bytes(&self_relative(cx, at)?)))
}

/// The descriptor of a new object from its parent's and an explicit one, the subject context and the generic mapping.
fn new_descriptor(
    cx: &Machine,
    (parent, explicit): (Gva<SECURITY_DESCRIPTOR>, Gva<SECURITY_DESCRIPTOR>),
    container: bool,
    (context, generic): (Gva<SECURITY_SUBJECT_CONTEXT>, Gva<GENERIC_MAPPING>),
) -> Result<Descriptor, Fault> {
    let (parent, explicit) = (read(cx, parent)?, read(cx, explicit)?);
    let token = token_of_subject(cx, context)?.unwrap_or_else(Token::system);
    let mut made = assign(parent.as_ref(), explicit.as_ref(), container, &token);
    map_list(&mut made.dacl, mapping(cx, generic)?);
    Ok(made)
}

/// More routines on lists and descriptors.
pub struct MoreLists;

#[exports("ntoskrnl.exe")]
impl MoreLists {
    /// Makes the descriptor of a new object.
    #[page("wdm/nf-wdm-seassignsecurity")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("creator owner and creator group; privileges to set other owners are not asked for")]
    fn SeAssignSecurity(
        cx: &mut Machine,
        ParentDescriptor: Gva<SECURITY_DESCRIPTOR>,
        ExplicitDescriptor: Gva<SECURITY_DESCRIPTOR>,
        NewDescriptor: Gva<u64>,
        IsDirectoryObject: bool,
        SubjectContext: Gva<SECURITY_SUBJECT_CONTEXT>,
        GenericMapping: Gva<GENERIC_MAPPING>,
        PoolType: u32,
    ) -> Result<NTSTATUS, Fault> {
        let given = (ParentDescriptor, ExplicitDescriptor);
        let rights = (SubjectContext, GenericMapping);
        cx.memory.read(NewDescriptor)?;
        let made = new_descriptor(cx, given, IsDirectoryObject, rights)?;
        give(cx, &made.to_bytes(), PoolType, NewDescriptor)
    }

    /// The same, with a type of objects and flags.
    #[page("wdm/nf-wdm-seassignsecurityex")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("types of objects, the flags of automatic inheritance; as SeAssignSecurity")]
    fn SeAssignSecurityEx(
        cx: &mut Machine,
        ParentDescriptor: Gva<SECURITY_DESCRIPTOR>,
        ExplicitDescriptor: Gva<SECURITY_DESCRIPTOR>,
        NewDescriptor: Gva<u64>,
        ObjectType: Gva,
        IsDirectoryObject: bool,
        AutoInheritFlags: u32,
        SubjectContext: Gva<SECURITY_SUBJECT_CONTEXT>,
        GenericMapping: Gva<GENERIC_MAPPING>,
        PoolType: u32,
    ) -> Result<NTSTATUS, Fault> {
        let _ = (ObjectType, AutoInheritFlags);
        let given = (ParentDescriptor, ExplicitDescriptor);
        let rights = (SubjectContext, GenericMapping);
        cx.memory.read(NewDescriptor)?;
        let made = new_descriptor(cx, given, IsDirectoryObject, rights)?;
        give(cx, &made.to_bytes(), PoolType, NewDescriptor)
    }

    /// Frees a descriptor that SeAssignSecurity made.
    #[page("wdm/nf-wdm-sedeassignsecurity")]
    #[irql(PASSIVE_LEVEL)]
    fn SeDeassignSecurity(
        cx: &mut Machine,
        SecurityDescriptor: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        let at = cx.memory.read(SecurityDescriptor)?;
        cx.memory.write(SecurityDescriptor, 0)?;
        if at != 0 {
            cx.pool_free(Gva::new(at));
        }
        Ok(STATUS_SUCCESS)
    }

    /// Changes parts of a descriptor of an object: a new one in pool takes the place of the old.
    #[page("ntifs/nf-ntifs-sesetsecuritydescriptorinfo")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("the old descriptor stays with the caller, as documented for file systems")]
    fn SeSetSecurityDescriptorInfo(
        cx: &mut Machine,
        Object: Gva,
        SecurityInformation: Gva<u32>,
        ModificationDescriptor: Gva<SECURITY_DESCRIPTOR>,
        ObjectsSecurityDescriptor: Gva<u64>,
        PoolType: u32,
        GenericMapping: Gva<GENERIC_MAPPING>,
    ) -> Result<NTSTATUS, Fault> {
        let _ = Object;
        let old = cx.memory.read(ObjectsSecurityDescriptor)?;
        let Some(mut whole) = read(cx, Gva::new(old))? else {
            return Ok(STATUS_NO_SECURITY_ON_OBJECT);
        };
        let information = cx.memory.read(SecurityInformation)?;
        let change = Descriptor::from_bytes(&self_relative(cx, ModificationDescriptor)?);
        whole.set(information, &change);
        let mapping = mapping(cx, GenericMapping)?;
        map_list(&mut whole.dacl, mapping);
        give(cx, &whole.to_bytes(), PoolType, ObjectsSecurityDescriptor)
    }

    /// Copies parts of a descriptor of an object into a buffer, in self-relative form.
    #[page("ntifs/nf-ntifs-sequerysecuritydescriptorinfo")]
    #[irql(PASSIVE_LEVEL)]
    fn SeQuerySecurityDescriptorInfo(
        cx: &mut Machine,
        SecurityInformation: Gva<u32>,
        SecurityDescriptor: Gva,
        Length: Gva<u32>,
        ObjectsSecurityDescriptor: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        let at = cx.memory.read(ObjectsSecurityDescriptor)?;
        let information = cx.memory.read(SecurityInformation)?;
        let whole = read(cx, Gva::new(at))?.unwrap_or_default();
        let bytes = whole.only(information).to_bytes();
        let room = cx.memory.read(Length)?;
        cx.memory.write(Length, bytes.len() as u32)?;
        if (room as usize) < bytes.len() {
            return Ok(crate::ntstatus::STATUS_BUFFER_TOO_SMALL);
        }
        cx.memory.write_bytes(SecurityDescriptor, &bytes)?;
        Ok(STATUS_SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::se::exports_variable::sid;

    #[test]
    fn new_objects_get_what_is_given_or_handed_down() {
        let token = Token::system();
        let plain = assign(None, None, false, &token);
        assert_eq!(plain.owner, token.owner());
        assert_ne!(plain.control & control::DACL_PRESENT, 0);
        let mut list = allow(&[(0x1000_0000, sid(1, &[0])), (1, sid(5, &[11]))]);
        list[9] = 3;
        let parent = Descriptor {
            control: control::DACL_PRESENT,
            dacl: list.clone(),
            ..Descriptor::default()
        };
        let child = assign(Some(&parent), None, false, &token);
        assert_eq!(child.dacl.get(4), Some(&1), "one entry is handed down");
        assert_eq!(child.dacl.get(9), Some(&0x10), "as an inherited one");
        let folder = assign(Some(&parent), None, true, &token);
        assert_eq!(folder.dacl.get(9), Some(&0x13));
        let given = assign(None, Some(&parent), false, &token);
        assert_eq!(given.dacl, list);
        map_list(&mut list, [1, 2, 4, 7]);
        assert_eq!(list.get(12..16), Some(&[7, 0, 0, 0][..]));
    }
}
