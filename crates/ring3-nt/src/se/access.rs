//! Who may do what: evaluation of access control lists.
//!
//! Documentation: "How DACLs Control Access to an Object", "Order of ACEs in a DACL", `SeAccessCheck`.

use ring3_memory::{Fault, Gva};

use super::descriptor::self_relative;
use super::exports_variable::sid;
use super::object_security::Descriptor;
use super::token::{Token, integrity, privilege};
use crate::Machine;
use crate::layout::SECURITY_DESCRIPTOR;
use crate::ntstatus::{NTSTATUS, STATUS_ACCESS_DENIED, STATUS_PRIVILEGE_NOT_HELD};

/// Access rights of ntifs.h.
pub mod right {
    /// `READ_CONTROL`.
    pub const READ_CONTROL: u32 = 0x0002_0000;
    /// `WRITE_DAC`.
    pub const WRITE_DAC: u32 = 0x0004_0000;
    /// `WRITE_OWNER`.
    pub const WRITE_OWNER: u32 = 0x0008_0000;
    /// `ACCESS_SYSTEM_SECURITY`.
    pub const SYSTEM_SECURITY: u32 = 0x0100_0000;
    /// `DELETE`.
    pub const DELETE: u32 = 0x0001_0000;
    /// `MAXIMUM_ALLOWED`.
    pub const MAXIMUM: u32 = 0x0200_0000;
}

/// What the generic rights mean: read, write, execute, all.
pub type Mapping = [u32; 4];

/// Replaces generic rights by what they mean.
#[must_use]
pub fn map(access: u32, mapping: Mapping) -> u32 {
    let [read, write, execute, all] = mapping;
    let generic = [
        (0x8000_0000, read),
        (0x4000_0000, write),
        (0x2000_0000, execute),
        (0x1000_0000, all),
    ];
    generic
        .iter()
        .fold(access & 0x0fff_ffff, |value, (bit, meaning)| {
            if access & bit != 0 {
                value | meaning
            } else {
                value
            }
        })
}

/// An entry: type, flags, mask, identifier.
fn entries(acl: &[u8]) -> Vec<(u8, u8, u32, &[u8])> {
    let count = acl
        .get(4..6)
        .map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
    let mut found = Vec::new();
    let mut at = 8;
    for _ in 0..count {
        let Some(head) = acl.get(at..at + 8) else {
            break;
        };
        let size = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let mask = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let Some(rest) = acl.get(at + 8..at + size.max(8)) else {
            break;
        };
        let length = rest.get(1).map_or(0, |n| 8 + 4 * usize::from(*n));
        found.push((head[0], head[1], mask, rest.get(..length).unwrap_or(rest)));
        at += size.max(8);
    }
    found
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Access that is wanted.
    pub desired: u32,
    /// Access that was granted before.
    pub previous: u32,
    /// What the generic rights mean.
    pub mapping: Mapping,
}

/// What was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The access.
    pub access: u32,
    /// Privileges that were needed for it.
    pub privileges: Vec<u32>,
}

/// The rights that a token may have at most by its integrity level; all bits for one that dominates the
/// label. An object without a label has the medium one, with no write up ("Mandatory Integrity Control";
/// [MS-DTYP] 2.5.3.3).
fn mandatory(token: &Token, sacl: &[u8], mapping: Mapping) -> u32 {
    /// `SYSTEM_MANDATORY_LABEL_ACE_TYPE`.
    const LABEL: u8 = 0x11;
    let label = entries(sacl)
        .into_iter()
        .find(|(kind, flags, ..)| *kind == LABEL && flags & INHERIT_ONLY == 0)
        .and_then(|(_, _, policy, who)| {
            let rid = who.get(8..12)?;
            let level = u32::from_le_bytes([rid[0], rid[1], rid[2], rid[3]]);
            Some((level, policy))
        });
    let (level, policy) = label.unwrap_or((integrity::MEDIUM, 1));
    if token.integrity() >= level {
        return u32::MAX;
    }
    let [read, write, execute, _] = mapping;
    let mut allowed = 0;
    // SYSTEM_MANDATORY_LABEL_NO_WRITE_UP, .._NO_READ_UP, .._NO_EXECUTE_UP.
    for (bit, rights) in [(1, write), (2, read), (4, execute)] {
        if policy & bit == 0 {
            allowed |= rights;
        }
    }
    if token.holds(privilege::RELABEL) {
        allowed |= right::WRITE_OWNER;
    }
    allowed | right::SYSTEM_SECURITY
}

/// `INHERIT_ONLY_ACE`.
const INHERIT_ONLY: u8 = 8;

/// Walks a list: what it grants of `wanted` (of everything for `None`).
fn walk(
    acl: &[u8],
    mapping: Mapping,
    wanted: Option<u32>,
    allows: impl Fn(&[u8]) -> bool,
    denies: impl Fn(&[u8]) -> bool,
) -> u32 {
    let (mut granted, mut denied) = (0, 0);
    for (kind, flags, mask, who) in entries(acl) {
        if flags & INHERIT_ONLY != 0 {
            continue;
        }
        let mask = map(mask, mapping);
        match kind {
            // ACCESS_ALLOWED_ACE_TYPE.
            0 if allows(who) => granted |= mask & !denied & wanted.unwrap_or(u32::MAX),
            // ACCESS_DENIED_ACE_TYPE.
            1 if denies(who) => denied |= mask & !granted,
            _ => {}
        }
    }
    granted
}

/// Evaluates a descriptor for user mode: what is granted, or why not.
///
/// # Errors
/// STATUS_ACCESS_DENIED or STATUS_PRIVILEGE_NOT_HELD.
pub fn evaluate(
    token: &Token,
    descriptor: &Descriptor,
    request: Request,
) -> Result<Granted, NTSTATUS> {
    let Request {
        previous, mapping, ..
    } = request;
    let desired = map(request.desired, mapping);
    let maximum = desired & right::MAXIMUM != 0;
    let mut granted = 0;
    let mut privileges = Vec::new();
    let mut wanted = desired & !right::MAXIMUM & !previous;
    if request.desired == 0 && previous == 0 {
        return Err(STATUS_ACCESS_DENIED);
    }
    if wanted & right::SYSTEM_SECURITY != 0 {
        if !token.holds(privilege::SECURITY) {
            return Err(STATUS_PRIVILEGE_NOT_HELD);
        }
        privileges.push(privilege::SECURITY);
        granted |= right::SYSTEM_SECURITY;
        wanted &= !right::SYSTEM_SECURITY;
    }
    let allowed = mandatory(token, &descriptor.sacl, mapping);
    if wanted & !allowed != 0 {
        return Err(STATUS_ACCESS_DENIED);
    }
    let Some(acl) = descriptor.list() else {
        // No list allows everything.
        let all = if maximum {
            map(0x1000_0000, mapping) & allowed
        } else {
            0
        };
        return Ok(Granted {
            access: granted | wanted | all | previous,
            privileges,
        });
    };
    if wanted & right::WRITE_OWNER != 0 && token.holds(privilege::TAKE_OWNERSHIP) {
        privileges.push(privilege::TAKE_OWNERSHIP);
        granted |= right::WRITE_OWNER;
        wanted &= !right::WRITE_OWNER;
    }
    // The owner may always read and change the list, unless it says what owners may.
    let owner_rights = sid(3, &[4]);
    let owns = !descriptor.owner.is_empty() && token.has(&descriptor.owner);
    let says = entries(acl).iter().any(|(.., who)| *who == owner_rights);
    let own = if owns && !says {
        (right::READ_CONTROL | right::WRITE_DAC) & allowed
    } else {
        0
    };
    granted |= if maximum { own } else { wanted & own };
    wanted &= !own;
    let limit = (!maximum).then_some(wanted);
    let mut listed = walk(
        acl,
        mapping,
        limit,
        |who| token.has(who) || owns && who == owner_rights,
        |who| token.has_for_denial(who) || owns && who == owner_rights,
    );
    if !token.restricted.is_empty() {
        let restricting = |who: &[u8]| token.restricted.iter().any(|r| r == who);
        listed &= walk(acl, mapping, limit, restricting, restricting);
    }
    listed &= allowed;
    granted |= listed;
    if wanted & !listed != 0 || maximum && granted | previous == 0 {
        return Err(STATUS_ACCESS_DENIED);
    }
    Ok(Granted {
        access: granted | previous,
        privileges,
    })
}

/// Evaluates a descriptor of the guest.
///
/// # Errors
/// A fault if it cannot be read.
pub fn check(
    cx: &Machine,
    descriptor: Gva<SECURITY_DESCRIPTOR>,
    token: &Token,
    request: Request,
) -> Result<Result<Granted, NTSTATUS>, Fault> {
    let bytes = self_relative(cx, descriptor)?;
    Ok(evaluate(token, &Descriptor::from_bytes(&bytes), request))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(u8, u8, u32, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = vec![2, 0, 0, 0, entries.len() as u8, 0, 0, 0];
        for (kind, flags, mask, sid) in entries {
            bytes.extend([*kind, *flags]);
            bytes.extend(((8 + sid.len()) as u16).to_le_bytes());
            bytes.extend(mask.to_le_bytes());
            bytes.extend(sid);
        }
        bytes
    }

    fn ask(desired: u32) -> Request {
        Request {
            desired,
            previous: 0,
            mapping: [1, 2, 4, 0xff],
        }
    }

    fn described(owner: &[u8], list: Option<Vec<u8>>) -> Descriptor {
        Descriptor {
            control: 4,
            owner: owner.to_vec(),
            dacl: list.unwrap_or_default(),
            ..Descriptor::default()
        }
    }

    fn judge(token: &Token, descriptor: &Descriptor, desired: u32) -> Result<u32, NTSTATUS> {
        evaluate(token, descriptor, ask(desired)).map(|granted| granted.access)
    }

    #[test]
    fn entries_count_in_their_order() {
        let (token, everyone, nobody) = (Token::administrator(), sid(1, &[0]), sid(5, &[99]));
        let check = |list: &[(u8, u8, u32, Vec<u8>)], desired| {
            judge(&token, &described(&nobody, Some(acl(list))), desired)
        };
        let allow = |mask| (0, 0, mask, everyone.clone());
        let deny = |mask| (1, 0, mask, everyone.clone());
        assert_eq!(check(&[allow(3)], 1), Ok(1));
        assert_eq!(check(&[allow(1)], 3), Err(STATUS_ACCESS_DENIED));
        assert_eq!(check(&[deny(1), allow(3)], 1), Err(STATUS_ACCESS_DENIED));
        assert_eq!(check(&[allow(3), deny(1)], 1), Ok(1));
        assert_eq!(check(&[allow(1), allow(2)], 3), Ok(3));
        let inherited = [(0, 8, 3, everyone.clone())];
        assert_eq!(check(&inherited, 1), Err(STATUS_ACCESS_DENIED));
        let other = [(0, 0, 3, nobody.clone())];
        assert_eq!(check(&other, 1), Err(STATUS_ACCESS_DENIED));
        assert_eq!(check(&[], 1), Err(STATUS_ACCESS_DENIED));
        let generic = [(0, 0, 0x1000_0000, everyone.clone())];
        assert_eq!(
            check(&generic, 0x8000_0000),
            Ok(1),
            "generic rights are mapped"
        );
        assert_eq!(check(&[deny(1), allow(7)], right::MAXIMUM), Ok(6));
    }

    #[test]
    fn owners_privileges_and_absent_lists() {
        let admin = Token::administrator();
        let (own, other) = (
            described(&admin.user, Some(acl(&[]))),
            described(&sid(5, &[99]), Some(acl(&[]))),
        );
        assert_eq!(judge(&admin, &own, right::WRITE_DAC), Ok(right::WRITE_DAC));
        assert_eq!(
            judge(&admin, &other, right::WRITE_DAC),
            Err(STATUS_ACCESS_DENIED)
        );
        let limited = described(&admin.user, Some(acl(&[(0, 0, 1, sid(3, &[4]))])));
        assert_eq!(
            judge(&admin, &limited, right::WRITE_DAC),
            Err(STATUS_ACCESS_DENIED)
        );
        assert_eq!(judge(&admin, &limited, 1), Ok(1));
        let open = described(&[], None);
        assert_eq!(judge(&admin, &open, 0x8000_0000), Ok(1));
        assert_eq!(
            judge(&admin, &open, right::SYSTEM_SECURITY),
            Err(STATUS_PRIVILEGE_NOT_HELD)
        );
        let system = Token::system();
        assert_eq!(
            judge(&system, &other, right::WRITE_OWNER),
            Ok(right::WRITE_OWNER)
        );
        let granted = evaluate(&system, &open, ask(right::SYSTEM_SECURITY)).expect("held");
        assert_eq!(granted.privileges, [privilege::SECURITY]);
    }

    #[test]
    fn integrity_and_restrictions_limit_what_a_list_grants() {
        use crate::se::token::Profile;
        let low = Token::of_profile(Profile::Low);
        let everything = acl(&[(0, 0, 0xff, sid(1, &[0]))]);
        let object = described(&sid(5, &[99]), Some(everything.clone()));
        assert_eq!(judge(&low, &object, 1), Ok(1));
        assert_eq!(
            judge(&low, &object, 2),
            Err(STATUS_ACCESS_DENIED),
            "no write up"
        );
        let mut labelled = object.clone();
        labelled.sacl = acl(&[(0x11, 0, 1, sid(16, &[integrity::LOW]))]);
        assert_eq!(judge(&low, &labelled, 2), Ok(2));
        let mut restricted = Token::administrator();
        restricted.restricted = vec![sid(5, &[12])];
        assert_eq!(judge(&restricted, &object, 1), Err(STATUS_ACCESS_DENIED));
    }

    #[test]
    fn a_broken_list_ends_where_it_breaks() {
        let mut bytes = acl(&[(0, 0, 3, sid(1, &[0])), (0, 0, 4, sid(1, &[0]))]);
        bytes.truncate(bytes.len() - 9);
        assert_eq!(entries(&bytes).len(), 1);
        assert_eq!(entries(&[1, 2, 3]).len(), 0);
    }
}
