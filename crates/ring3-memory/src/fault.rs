//! Why an access did not happen: [`Fault`], and why it should not have: [`ShadowHit`].

use std::fmt;

use crate::address::Gpa;

/// What an access does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Access {
    /// Reads data.
    Read,
    /// Writes data.
    Write,
    /// Fetches an instruction.
    Execute,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Access::Read => "read",
            Access::Write => "write",
            Access::Execute => "execute",
        })
    }
}

/// On whose behalf an access happens: the paging structures' U/S bit is checked against it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Privilege {
    /// CPL 0 to 2.
    Supervisor = 0,
    /// CPL 3. The number is the bit that tells the two apart in a tag of the TLB.
    User = 8,
}

/// An access that touched bytes which the shadow says must not be touched.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ShadowHit {
    /// Virtual address of the first byte that must not be touched.
    pub va: u64,
    /// Physical address of that byte.
    pub pa: Gpa,
    /// Size in bytes of the whole access.
    pub size: u32,
    /// What the access was.
    pub access: Access,
    /// The reason, one of [`codes`](crate::codes) or the caller's own; below 0x80 when the
    /// reason behind the end of an object isn't known.
    pub code: u8,
}

impl fmt::Display for ShadowHit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            va,
            pa,
            size,
            access,
            code,
        } = self;
        write!(
            f,
            "{access} of {size} bytes touches {va:#x} (physical {pa:#x}), marked {code:#04x}"
        )
    }
}

/// Why an access did not happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// A page fault (#PF): not mapped, or mapped without the right.
    Page {
        /// The first address that could not be accessed (CR2).
        va: u64,
        /// What the access was.
        access: Access,
        /// On whose behalf.
        privilege: Privilege,
        /// Whether a page is mapped there, so that only the right was missing.
        present: bool,
    },
    /// Bits 63 to 47 of the address are not all equal (#GP, or #SS for a stack access).
    NonCanonical {
        /// The address.
        va: u64,
        /// What the access was.
        access: Access,
    },
    /// The page tables lead to a physical address without RAM behind it.
    Device {
        /// The physical address.
        pa: Gpa,
        /// What the access was.
        access: Access,
    },
    /// The shadow forbids the access. Only checked guest accesses fail with it; see [`crate`].
    Shadow(ShadowHit),
}

impl Fault {
    /// The #PF error code (Intel SDM volume 3, 5.7: bit 0 present, 1 write, 2 user, 4 instruction fetch); 0 for other
    /// faults.
    pub fn error_code(&self) -> u32 {
        let Fault::Page {
            access,
            privilege,
            present,
            ..
        } = *self
        else {
            return 0;
        };
        u32::from(present)
            | u32::from(access == Access::Write) << 1
            | u32::from(privilege == Privilege::User) << 2
            | u32::from(access == Access::Execute) << 4
    }

    /// The virtual address that faulted, where there is one.
    pub fn va(&self) -> Option<u64> {
        match *self {
            Fault::Page { va, .. } | Fault::NonCanonical { va, .. } => Some(va),
            Fault::Shadow(hit) => Some(hit.va),
            Fault::Device { .. } => None,
        }
    }

    /// What the access was.
    pub fn access(&self) -> Access {
        match *self {
            Fault::Page { access, .. }
            | Fault::NonCanonical { access, .. }
            | Fault::Device { access, .. } => access,
            Fault::Shadow(hit) => hit.access,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Page {
                va,
                access,
                privilege,
                present,
            } => {
                let who = match privilege {
                    Privilege::Supervisor => "kernel",
                    Privilege::User => "user",
                };
                let why = if *present {
                    "the page is protected against it"
                } else {
                    "nothing is mapped there"
                };
                write!(f, "{who} {access} at {va:#x}: {why}")
            }
            Fault::NonCanonical { va, access } => {
                write!(f, "{access} at {va:#x}: not a canonical address")
            }
            Fault::Device { pa, access } => write!(f, "{access} at physical {pa:#x}: no RAM there"),
            Fault::Shadow(hit) => hit.fmt(f),
        }
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_codes_are_those_of_the_processor() {
        let fault = |access, privilege, present| {
            Fault::Page {
                va: 0,
                access,
                privilege,
                present,
            }
            .error_code()
        };
        assert_eq!(fault(Access::Read, Privilege::Supervisor, false), 0);
        assert_eq!(fault(Access::Write, Privilege::User, true), 7);
        assert_eq!(fault(Access::Execute, Privilege::Supervisor, true), 0x11);
    }
}
