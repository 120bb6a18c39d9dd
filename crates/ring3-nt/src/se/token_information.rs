//! What can be asked of a token, in the form of TOKEN_INFORMATION_CLASS. Documentation: ntifs.h.

use super::object_security::allow;
use super::token::{ENABLED, ENABLED_BY_DEFAULT, Token, integrity, privilege};

/// Information with pointers into itself.
struct Writer {
    bytes: Vec<u8>,
    base: u64,
}

impl Writer {
    /// Puts bytes at the end, aligned; where they lie in the guest.
    fn place(&mut self, content: &[u8]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let at = self.base + self.bytes.len() as u64;
        self.bytes.extend_from_slice(content);
        at
    }

    fn patch(&mut self, at: usize, value: u64) {
        if let Some(slot) = self.bytes.get_mut(at..at + 8) {
            slot.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// SID_AND_ATTRIBUTES entries, the identifiers behind them.
    fn sids(&mut self, entries: &[(&[u8], u32)]) {
        let first = self.bytes.len();
        for (_, attributes) in entries {
            self.bytes.extend_from_slice(&[0; 8]);
            self.bytes
                .extend_from_slice(&u64::from(*attributes).to_le_bytes());
        }
        for (n, (sid, _)) in entries.iter().enumerate() {
            let at = self.place(sid);
            self.patch(first + 16 * n, at);
        }
    }

    fn pointer_to(&mut self, content: &[u8]) {
        let first = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 8]);
        let at = self.place(content);
        self.patch(first, at);
    }

    fn words(&mut self, words: &[u32]) {
        for word in words {
            self.bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
}

/// Information of a class as it lies at `base`; `None` for a class that is not known. `id` is the token's
/// own identifier.
#[must_use]
pub fn of(token: &Token, class: u32, base: u64, id: u64) -> Option<Vec<u8>> {
    let mut out = Writer {
        bytes: Vec::new(),
        base,
    };
    let groups: Vec<(&[u8], u32)> = token
        .groups
        .iter()
        .map(|(g, a)| (g.as_slice(), *a))
        .collect();
    let kind = if token.level.is_some() { 2 } else { 1 };
    match class {
        // TokenUser.
        1 => out.sids(&[(&token.user, 0)]),
        // TokenGroups.
        2 => {
            out.words(&[groups.len() as u32, 0]);
            out.sids(&groups);
        }
        // TokenPrivileges.
        3 => {
            out.words(&[token.privileges.len() as u32]);
            for (value, attributes) in &token.privileges {
                out.words(&[*value, 0, *attributes]);
            }
        }
        // TokenOwner, TokenPrimaryGroup.
        4 => out.pointer_to(token.owner()),
        5 => out.pointer_to(&token.user),
        // TokenDefaultDacl.
        6 => {
            let system = super::exports_variable::sid(5, &[18]);
            let list = allow(&[(0x1000_0000, token.owner().to_vec()), (0x1000_0000, system)]);
            out.pointer_to(&list);
        }
        // TokenSource.
        7 => {
            out.bytes.extend_from_slice(&token.source);
            out.words(&[0, 0]);
        }
        // TokenType, TokenImpersonationLevel.
        8 => out.words(&[kind]),
        9 => out.words(&[token.level? as u32]),
        // TokenStatistics.
        10 => {
            for value in [id, token.logon, i64::MAX as u64] {
                out.bytes.extend_from_slice(&value.to_le_bytes());
            }
            let counts = [groups.len() as u32, token.privileges.len() as u32];
            out.words(&[kind, token.level.unwrap_or(0) as u32, 0, 0]);
            out.words(&counts);
            out.words(&[id as u32, (id >> 32) as u32]);
        }
        // TokenRestrictedSids.
        11 => {
            let restricted: Vec<(&[u8], u32)> =
                token.restricted.iter().map(|r| (r.as_slice(), 7)).collect();
            out.words(&[restricted.len() as u32, 0]);
            out.sids(&restricted);
        }
        // TokenSessionId.
        12 => out.words(&[token.session]),
        // TokenElevationType: default for accounts without a second token.
        18 => out.words(&[1]),
        // TokenElevation.
        20 => out.words(&[u32::from(token.integrity() >= integrity::HIGH)]),
        // TokenHasRestrictions.
        21 => out.words(&[u32::from(!token.restricted.is_empty())]),
        // TokenVirtualizationAllowed, TokenVirtualizationEnabled, TokenUIAccess.
        23 | 24 | 26 => out.words(&[0]),
        // TokenIntegrityLevel.
        25 => {
            let label = super::exports_variable::sid(16, &[token.integrity()]);
            out.sids(&[(&label, super::token::group::INTEGRITY)]);
        }
        // TokenMandatoryPolicy: no write up, new process minimum.
        27 => out.words(&[if token.integrity() >= integrity::SYSTEM {
            1
        } else {
            3
        }]),
        // TokenIsAppContainer.
        29 => out.words(&[0]),
        _ => return None,
    }
    Some(out.bytes)
}

/// Changes privileges as `ZwAdjustPrivilegesToken` does: the state before of those that changed, and whether
/// the token has all of them.
pub fn adjust(
    token: &mut Token,
    changes: &[(u32, u32)],
    disable_all: bool,
) -> (Vec<(u32, u32)>, bool) {
    let mut before = Vec::new();
    let mut all = true;
    let list: Vec<(u32, u32)> = if disable_all {
        token.privileges.iter().map(|(p, _)| (*p, 0)).collect()
    } else {
        changes.to_vec()
    };
    for (value, attributes) in list {
        let Some(at) = token.privileges.iter().position(|(p, _)| *p == value) else {
            all = false;
            continue;
        };
        let Some(entry) = token.privileges.get_mut(at) else {
            continue;
        };
        let old = *entry;
        // SE_PRIVILEGE_REMOVED.
        if attributes & 4 != 0 {
            token.privileges.remove(at);
            before.push(old);
            continue;
        }
        entry.1 = entry.1 & ENABLED_BY_DEFAULT | attributes & ENABLED;
        if *entry != old {
            before.push(old);
        }
    }
    (before, all)
}

/// Whether a token may load drivers, for messages.
#[must_use]
pub fn may_load_drivers(token: &Token) -> bool {
    token
        .privileges
        .iter()
        .any(|(p, _)| *p == privilege::LOAD_DRIVER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::se::token::Profile;

    #[test]
    fn information_points_into_itself() {
        let token = Token::of_profile(Profile::User);
        let user = of(&token, 1, 0x1000, 1).expect("a class");
        let at = u64::from_le_bytes(user[..8].try_into().expect("8 bytes"));
        assert_eq!(&user[(at - 0x1000) as usize..], token.user.as_slice());
        let groups = of(&token, 2, 0, 1).expect("a class");
        assert_eq!(
            u32::from_le_bytes(groups[..4].try_into().expect("4")) as usize,
            token.groups.len()
        );
        assert_eq!(of(&token, 10, 0, 1).map(|b| b.len()), Some(56));
        assert_eq!(of(&token, 9, 0, 1), None, "a primary token has no level");
        assert_eq!(of(&token, 1000, 0, 1), None);
    }

    #[test]
    fn privileges_change() {
        let mut token = Token::administrator();
        assert!(may_load_drivers(&token));
        let (before, all) = adjust(
            &mut token,
            &[(privilege::LOAD_DRIVER, ENABLED), (99, ENABLED)],
            false,
        );
        assert_eq!((before, all), (vec![(privilege::LOAD_DRIVER, 0)], false));
        assert!(token.holds(privilege::LOAD_DRIVER));
        let (before, all) = adjust(&mut token, &[], true);
        assert!(all && before.len() == 4 && !token.holds(privilege::CHANGE_NOTIFY));
        adjust(&mut token, &[(privilege::DEBUG, 4)], false);
        assert!(!token.privileges.iter().any(|(p, _)| *p == privilege::DEBUG));
    }
}
