//! What an access token says. Documentation: "Access Tokens" and "Mandatory Integrity Control" of the
//! Windows SDK; ntifs.h, `TOKEN_INFORMATION_CLASS`.

use super::exports_variable::sid;

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
    /// `SeRelabelPrivilege`.
    pub const RELABEL: u32 = 32;
}

/// `SE_GROUP_*` of ntifs.h.
pub mod group {
    /// `SE_GROUP_MANDATORY | SE_GROUP_ENABLED_BY_DEFAULT | SE_GROUP_ENABLED`.
    pub const ON: u32 = 7;
    /// `SE_GROUP_ENABLED`.
    pub const ENABLED: u32 = 4;
    /// `SE_GROUP_OWNER`.
    pub const OWNER: u32 = 8;
    /// `SE_GROUP_USE_FOR_DENY_ONLY`.
    pub const DENY_ONLY: u32 = 0x10;
    /// `SE_GROUP_INTEGRITY | SE_GROUP_INTEGRITY_ENABLED`.
    pub const INTEGRITY: u32 = 0x60;
}

/// `SE_PRIVILEGE_ENABLED_BY_DEFAULT`, `SE_PRIVILEGE_ENABLED`.
pub const ENABLED_BY_DEFAULT: u32 = 1;
/// `SE_PRIVILEGE_ENABLED`.
pub const ENABLED: u32 = 2;

/// Integrity levels: the last sub-authority of a mandatory label.
pub mod integrity {
    /// `SECURITY_MANDATORY_LOW_RID`.
    pub const LOW: u32 = 0x1000;
    /// `SECURITY_MANDATORY_MEDIUM_RID`.
    pub const MEDIUM: u32 = 0x2000;
    /// `SECURITY_MANDATORY_HIGH_RID`.
    pub const HIGH: u32 = 0x3000;
    /// `SECURITY_MANDATORY_SYSTEM_RID`.
    pub const SYSTEM: u32 = 0x4000;
}

/// Whose token a process of a workload has.
#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq, Default)]
pub enum Profile {
    /// An administrator who runs elevated.
    #[default]
    Admin,
    /// A user who is no administrator.
    User,
    /// A user's process with low integrity, as that of a browser.
    Low,
    /// The local system account.
    System,
}

impl Profile {
    /// The profile with a name that a scenario may use.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "admin" => Self::Admin,
            "user" => Self::User,
            "low" => Self::Low,
            "system" => Self::System,
            _ => return None,
        })
    }
}

/// `SECURITY_IMPERSONATION_LEVEL`.
pub const SECURITY_IMPERSONATION: i32 = 2;

/// An access token.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct Token {
    /// The user.
    pub user: Vec<u8>,
    /// Groups and their attributes, the mandatory label last.
    pub groups: Vec<(Vec<u8>, u32)>,
    /// Privileges and their attributes.
    pub privileges: Vec<(u32, u32)>,
    /// Restricting identifiers; none for a token that is not restricted.
    pub restricted: Vec<Vec<u8>>,
    /// The level of an impersonation token; `None` for a primary token.
    pub level: Option<i32>,
    /// The session.
    pub session: u32,
    /// `AuthenticationId`: the logon session.
    pub logon: u64,
    /// Its source: 8 characters.
    pub source: [u8; 8],
}

fn elevated_privileges() -> Vec<(u32, u32)> {
    let on = ENABLED | ENABLED_BY_DEFAULT;
    let mut all: Vec<(u32, u32)> = [
        5, 8, 9, 10, 11, 12, 13, 14, 15, 17, 18, 19, 20, 22, 24, 25, 28, 33, 34, 35, 36,
    ]
    .iter()
    .map(|p| (*p, 0))
    .collect();
    all.extend([(privilege::CHANGE_NOTIFY, on), (29, on), (30, on)]);
    all.sort_unstable();
    all
}

impl Token {
    /// The token of the System process.
    #[must_use]
    pub fn system() -> Self {
        let on = ENABLED | ENABLED_BY_DEFAULT;
        Self {
            user: sid(5, &[18]),
            groups: vec![
                (sid(5, &[32, 544]), 6 | group::OWNER),
                (sid(1, &[0]), group::ON),
                (sid(5, &[11]), group::ON),
                (sid(16, &[integrity::SYSTEM]), group::INTEGRITY),
            ],
            privileges: (2..=36).map(|p| (p, on)).collect(),
            restricted: Vec::new(),
            level: None,
            session: 0,
            // SYSTEM_LUID.
            logon: 0x3e7,
            source: *b"*SYSTEM*",
        }
    }

    fn of_user(session_user: u32, administrator: bool, level: u32) -> Self {
        let on = ENABLED | ENABLED_BY_DEFAULT;
        let mut groups = vec![(sid(1, &[0]), group::ON)];
        if administrator {
            groups.push((sid(5, &[32, 544]), group::ON | group::OWNER));
        }
        groups.extend([
            (sid(5, &[32, 545]), group::ON),
            (sid(5, &[4]), group::ON),
            (sid(5, &[11]), group::ON),
            (sid(2, &[0]), group::ON),
            (sid(16, &[level]), group::INTEGRITY),
        ]);
        Self {
            user: sid(
                5,
                &[
                    21,
                    1_000_000_000,
                    1_000_000_001,
                    1_000_000_002,
                    session_user,
                ],
            ),
            groups,
            privileges: if administrator {
                elevated_privileges()
            } else {
                vec![
                    (19, 0),
                    (privilege::CHANGE_NOTIFY, on),
                    (25, 0),
                    (33, 0),
                    (34, 0),
                ]
            },
            restricted: Vec::new(),
            level: None,
            session: 1,
            logon: 0x1_0000 + u64::from(session_user),
            source: *b"User32 \0",
        }
    }

    /// The token of a process by profile. Groups and privileges are those of a local account of
    /// Windows 10, by assumption.
    #[must_use]
    pub fn of_profile(profile: Profile) -> Self {
        match profile {
            Profile::Admin => Self::administrator(),
            Profile::User => Self::of_user(1002, false, integrity::MEDIUM),
            Profile::Low => Self::of_user(1002, false, integrity::LOW),
            Profile::System => Self::system(),
        }
    }

    /// The token of an administrator who runs elevated.
    #[must_use]
    pub fn administrator() -> Self {
        Self::of_user(1001, true, integrity::HIGH)
    }

    /// Whether entries that allow access to an identifier count for it.
    #[must_use]
    pub fn has(&self, wanted: &[u8]) -> bool {
        self.user == wanted
            || self.groups.iter().any(|(g, attributes)| {
                g == wanted
                    && attributes & group::ENABLED != 0
                    && attributes & group::DENY_ONLY == 0
            })
    }

    /// Whether entries that deny access to an identifier count for it.
    #[must_use]
    pub fn has_for_denial(&self, wanted: &[u8]) -> bool {
        self.has(wanted)
            || self
                .groups
                .iter()
                .any(|(g, attributes)| g == wanted && attributes & group::DENY_ONLY != 0)
    }

    /// Whether a privilege is enabled.
    #[must_use]
    pub fn holds(&self, privilege: u32) -> bool {
        self.privileges
            .iter()
            .any(|(p, attributes)| *p == privilege && attributes & ENABLED != 0)
    }

    /// Whether it is an administrator's.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.has(&sid(5, &[32, 544]))
    }

    /// The integrity level: medium for a token without a label.
    #[must_use]
    pub fn integrity(&self) -> u32 {
        self.groups
            .iter()
            .find(|(_, attributes)| attributes & group::INTEGRITY != 0)
            .and_then(|(label, _)| label.get(8..12))
            .map_or(integrity::MEDIUM, |b| {
                u32::from_le_bytes([b[0], b[1], b[2], b[3]])
            })
    }

    /// The identifier that owns what it creates: the administrators for one of them.
    #[must_use]
    pub fn owner(&self) -> &[u8] {
        self.groups
            .iter()
            .find(|(_, attributes)| attributes & group::OWNER != 0)
            .map_or(&self.user, |(g, _)| g)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_differ_in_what_they_may() {
        let [admin, user, low, system] = ["admin", "user", "low", "system"]
            .map(|name| Token::of_profile(Profile::from_name(name).expect("a profile")));
        assert!(admin.is_admin() && system.is_admin());
        assert!(!user.is_admin() && !low.is_admin());
        assert_eq!(
            [&admin, &user, &low, &system].map(Token::integrity),
            [
                integrity::HIGH,
                integrity::MEDIUM,
                integrity::LOW,
                integrity::SYSTEM
            ]
        );
        assert!(system.holds(privilege::LOAD_DRIVER));
        assert!(
            !admin.holds(privilege::LOAD_DRIVER),
            "present, but not enabled"
        );
        assert!(user.holds(privilege::CHANGE_NOTIFY));
        assert_eq!(Profile::from_name("root"), None);
    }
}
