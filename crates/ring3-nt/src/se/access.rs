//! Who may do what: tokens, and evaluation of access control lists.
//!
//! Documentation: "How DACLs Control Access to an Object", "Order of ACEs in a DACL", `SeAccessCheck`.

use ring3_memory::{Fault, Gva};

use super::descriptor::{Parts, acl_bytes, control, parts, sid_bytes};
use super::exports_variable::sid;
use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::layout::{SECURITY_DESCRIPTOR, SID_AND_ATTRIBUTES, TOKEN};
use crate::machine::thread::ProcessId;
use crate::ntstatus::{NTSTATUS, STATUS_ACCESS_DENIED, STATUS_PRIVILEGE_NOT_HELD, STATUS_SUCCESS};

const TAG: u32 = u32::from_le_bytes(*b"Toke");

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
    /// `MAXIMUM_ALLOWED`.
    pub const MAXIMUM: u32 = 0x0200_0000;
}

/// Privileges by value.
pub mod privilege {
    /// `SeSecurityPrivilege`.
    pub const SECURITY: u32 = 8;
    /// `SeTakeOwnershipPrivilege`.
    pub const TAKE_OWNERSHIP: u32 = 9;
    /// `SeLoadDriverPrivilege`.
    pub const LOAD_DRIVER: u32 = 10;
    /// `SeDebugPrivilege`.
    pub const DEBUG: u32 = 20;
    /// `SeChangeNotifyPrivilege`.
    pub const CHANGE_NOTIFY: u32 = 23;
}

/// `SE_GROUP_MANDATORY | SE_GROUP_ENABLED_BY_DEFAULT | SE_GROUP_ENABLED`.
const GROUP: u32 = 7;

/// An access token.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct Token {
    /// The user.
    pub user: Vec<u8>,
    /// Groups, all enabled.
    pub groups: Vec<Vec<u8>>,
    /// Enabled privileges.
    pub privileges: Vec<u32>,
}

impl Token {
    /// The token of the System process.
    #[must_use]
    pub fn system() -> Self {
        Self {
            user: sid(5, &[18]),
            groups: vec![
                sid(5, &[32, 544]),
                sid(1, &[0]),
                sid(5, &[11]),
                sid(16, &[0x4000]),
            ],
            privileges: (2..=36).collect(),
        }
    }

    /// The token of a user's process: an administrator who runs elevated. By assumption.
    #[must_use]
    pub fn administrator() -> Self {
        Self {
            user: sid(5, &[21, 1_000_000_000, 1_000_000_001, 1_000_000_002, 1001]),
            groups: vec![
                sid(1, &[0]),
                sid(5, &[32, 544]),
                sid(5, &[32, 545]),
                sid(5, &[4]),
                sid(5, &[11]),
                sid(16, &[0x3000]),
            ],
            // Those that an elevated process starts with enabled.
            privileges: vec![privilege::CHANGE_NOTIFY, 29, 30],
        }
    }

    fn has(&self, wanted: &[u8]) -> bool {
        self.user == wanted || self.groups.iter().any(|g| g == wanted)
    }

    /// Whether a privilege is enabled.
    #[must_use]
    pub fn holds(&self, privilege: u32) -> bool {
        self.privileges.contains(&privilege)
    }

    /// Whether it is an administrator's.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.has(&sid(5, &[32, 544]))
    }
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

/// Evaluates a descriptor for user mode: the granted access, or why not. `dacl` is `None` for a
/// descriptor without a list, which allows everything.
///
/// # Errors
/// STATUS_ACCESS_DENIED or STATUS_PRIVILEGE_NOT_HELD.
pub fn evaluate(
    token: &Token,
    owner: &[u8],
    dacl: Option<&[u8]>,
    request: Request,
) -> Result<u32, NTSTATUS> {
    let Request {
        previous, mapping, ..
    } = request;
    let desired = map(request.desired, mapping);
    let maximum = desired & right::MAXIMUM != 0;
    let mut granted = 0;
    let mut wanted = desired & !right::MAXIMUM;
    if wanted & right::SYSTEM_SECURITY != 0 {
        if !token.holds(privilege::SECURITY) {
            return Err(STATUS_PRIVILEGE_NOT_HELD);
        }
        granted |= right::SYSTEM_SECURITY;
        wanted &= !right::SYSTEM_SECURITY;
    }
    if wanted & right::WRITE_OWNER != 0 && token.holds(privilege::TAKE_OWNERSHIP) {
        granted |= right::WRITE_OWNER;
        wanted &= !right::WRITE_OWNER;
    }
    if request.desired == 0 && previous == 0 {
        return Err(STATUS_ACCESS_DENIED);
    }
    let Some(acl) = dacl else {
        let all = if maximum {
            map(0x1000_0000, mapping)
        } else {
            0
        };
        return Ok(granted | wanted | all | previous);
    };
    // The owner may always read and change the list.
    if token.has(owner) {
        let own = right::READ_CONTROL | right::WRITE_DAC;
        granted |= if maximum { own } else { wanted & own };
        wanted &= !own;
    }
    let mut denied = 0;
    for (kind, flags, mask, who) in entries(acl) {
        // INHERIT_ONLY_ACE is 8.
        if flags & 8 != 0 || !token.has(who) {
            continue;
        }
        let mask = map(mask, mapping);
        match kind {
            // ACCESS_ALLOWED_ACE_TYPE.
            0 => {
                granted |= mask & !denied & if maximum { u32::MAX } else { wanted };
                wanted &= !(mask & !denied);
            }
            // ACCESS_DENIED_ACE_TYPE.
            1 => {
                if !maximum && mask & wanted != 0 {
                    return Err(STATUS_ACCESS_DENIED);
                }
                denied |= mask & !granted;
            }
            _ => {}
        }
    }
    if wanted != 0 || maximum && granted | previous == 0 {
        return Err(STATUS_ACCESS_DENIED);
    }
    Ok(granted | previous)
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
) -> Result<Result<u32, NTSTATUS>, Fault> {
    let Parts {
        control: flags,
        owner,
        dacl,
        ..
    } = parts(cx, descriptor)?;
    let owner = sid_bytes(cx, owner)?;
    let list = if flags & control::DACL_PRESENT != 0 && dacl != 0 {
        Some(acl_bytes(cx, dacl)?)
    } else {
        None
    };
    Ok(evaluate(token, &owner, list.as_deref(), request))
}

/// Result of a check as status and granted access.
#[must_use]
pub fn answer(result: Result<u32, NTSTATUS>) -> (NTSTATUS, u32) {
    match result {
        Ok(granted) => (STATUS_SUCCESS, granted),
        Err(status) => (status, 0),
    }
}

/// The token object of a process; made when it is first asked for. NULL without memory.
pub fn token_of(cx: &mut Machine, process: ProcessId) -> Gva<TOKEN> {
    if let Some(at) = cx
        .se
        .tokens
        .iter()
        .find(|(_, (owner, _))| *owner == process)
        .map(|(at, _)| *at)
    {
        return Gva::new(at);
    }
    let token = if process == ProcessId::SYSTEM {
        Token::system()
    } else {
        Token::administrator()
    };
    let sids: Vec<&Vec<u8>> = std::iter::once(&token.user).chain(&token.groups).collect();
    let table = TOKEN::SIZE.next_multiple_of(16);
    let mut text = table + SID_AND_ATTRIBUTES::SIZE * sids.len() as u64;
    let size = text + sids.iter().map(|s| s.len() as u64).sum::<u64>();
    let Some(block) = cx.pool_allocate(Pool::Paged, size, TAG) else {
        return Gva::NULL;
    };
    let at = block.cast::<TOKEN>();
    let mut write = || -> Result<(), Fault> {
        for (i, sid) in sids.iter().enumerate() {
            let entry = block
                .byte_add(table + SID_AND_ATTRIBUTES::SIZE * i as u64)
                .cast::<SID_AND_ATTRIBUTES>();
            cx.memory.write_bytes(block.byte_add(text), sid)?;
            cx.memory
                .set(entry, SID_AND_ATTRIBUTES::Sid, block.byte_add(text))?;
            cx.memory.set(
                entry,
                SID_AND_ATTRIBUTES::Attributes,
                if i == 0 { 0 } else { GROUP },
            )?;
            text += sid.len() as u64;
        }
        cx.memory
            .set(at, TOKEN::UserAndGroupCount, sids.len() as u32)?;
        cx.memory
            .set(at, TOKEN::UserAndGroups, block.byte_add(table).cast())?;
        // TokenPrimary.
        cx.memory.set(at, TOKEN::TokenType, 1)
    };
    if write().is_err() {
        return Gva::NULL;
    }
    cx.se.tokens.insert(at.raw(), (process, token));
    at
}

/// A token by the address of its object.
#[must_use]
pub fn token_at(cx: &Machine, at: u64) -> Option<&Token> {
    cx.se.tokens.get(&at).map(|(_, token)| token)
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

    #[test]
    fn entries_count_in_their_order() {
        let (token, everyone, nobody) = (Token::administrator(), sid(1, &[0]), sid(5, &[99]));
        let check = |list: &[(u8, u8, u32, Vec<u8>)], desired| {
            evaluate(&token, &nobody, Some(&acl(list)), ask(desired))
        };
        let allow = |mask| (0, 0, mask, everyone.clone());
        let deny = |mask| (1, 0, mask, everyone.clone());
        assert_eq!(check(&[allow(3)], 1), Ok(1));
        assert_eq!(check(&[allow(1)], 3), Err(STATUS_ACCESS_DENIED));
        assert_eq!(check(&[deny(1), allow(3)], 1), Err(STATUS_ACCESS_DENIED));
        assert_eq!(check(&[allow(3), deny(1)], 1), Ok(1));
        assert_eq!(check(&[allow(1), allow(2)], 3), Ok(3));
        assert_eq!(
            check(&[(0, 8, 3, everyone.clone())], 1),
            Err(STATUS_ACCESS_DENIED),
            "for children only"
        );
        assert_eq!(
            check(&[(0, 0, 3, nobody.clone())], 1),
            Err(STATUS_ACCESS_DENIED)
        );
        assert_eq!(check(&[], 1), Err(STATUS_ACCESS_DENIED));
        assert_eq!(
            check(&[(0, 0, 0x1000_0000, everyone.clone())], 0x8000_0000),
            Ok(1),
            "generic rights are mapped"
        );
        assert_eq!(check(&[deny(1), allow(7)], right::MAXIMUM), Ok(6));
    }

    #[test]
    fn owners_privileges_and_absent_lists() {
        let admin = Token::administrator();
        let owner = admin.user.clone();
        assert_eq!(
            evaluate(&admin, &owner, Some(&acl(&[])), ask(right::WRITE_DAC)),
            Ok(right::WRITE_DAC)
        );
        assert_eq!(
            evaluate(&admin, &[], Some(&acl(&[])), ask(right::WRITE_DAC)),
            Err(STATUS_ACCESS_DENIED)
        );
        assert_eq!(evaluate(&admin, &[], None, ask(0x8000_0000)), Ok(1));
        assert_eq!(
            evaluate(&admin, &[], None, ask(right::SYSTEM_SECURITY)),
            Err(STATUS_PRIVILEGE_NOT_HELD)
        );
        let system = Token::system();
        assert_eq!(
            evaluate(&system, &[], Some(&acl(&[])), ask(right::WRITE_OWNER)),
            Ok(right::WRITE_OWNER)
        );
        assert_eq!(
            evaluate(&system, &[], None, ask(right::SYSTEM_SECURITY)),
            Ok(right::SYSTEM_SECURITY)
        );
    }

    #[test]
    fn a_broken_list_ends_where_it_breaks() {
        let mut bytes = acl(&[(0, 0, 3, sid(1, &[0])), (0, 0, 4, sid(1, &[0]))]);
        bytes.truncate(bytes.len() - 9);
        assert_eq!(entries(&bytes).len(), 1);
        assert_eq!(entries(&[1, 2, 3]).len(), 0);
    }
}
