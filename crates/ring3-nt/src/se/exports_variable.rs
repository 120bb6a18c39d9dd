//! `SeExports`: the well-known privileges and security identifiers.
//!
//! Layout: `SE_EXPORTS` of ntifs.h; identifiers: "Well-known SIDs".

use ring3_memory::Gva;

use crate::Machine;
use crate::export::variable::Variable;
use crate::mm::space::{self, Region};

/// Offset, authority and sub-authorities of each identifier in SE_EXPORTS.
const SIDS: &[(u64, u8, &[u32])] = &[
    (0xb8, 0, &[0]),                  // SeNullSid
    (0xc0, 1, &[0]),                  // SeWorldSid
    (0xc8, 2, &[0]),                  // SeLocalSid
    (0xd0, 3, &[0]),                  // SeCreatorOwnerSid
    (0xd8, 3, &[1]),                  // SeCreatorGroupSid
    (0xe0, 5, &[]),                   // SeNtAuthoritySid
    (0xe8, 5, &[1]),                  // SeDialupSid
    (0xf0, 5, &[2]),                  // SeNetworkSid
    (0xf8, 5, &[3]),                  // SeBatchSid
    (0x100, 5, &[4]),                 // SeInteractiveSid
    (0x108, 5, &[18]),                // SeLocalSystemSid
    (0x110, 5, &[32, 544]),           // SeAliasAdminsSid
    (0x118, 5, &[32, 545]),           // SeAliasUsersSid
    (0x120, 5, &[32, 546]),           // SeAliasGuestsSid
    (0x128, 5, &[32, 547]),           // SeAliasPowerUsersSid
    (0x130, 5, &[32, 548]),           // SeAliasAccountOpsSid
    (0x138, 5, &[32, 549]),           // SeAliasSystemOpsSid
    (0x140, 5, &[32, 550]),           // SeAliasPrintOpsSid
    (0x148, 5, &[32, 551]),           // SeAliasBackupOpsSid
    (0x150, 5, &[11]),                // SeAuthenticatedUsersSid
    (0x158, 5, &[12]),                // SeRestrictedSid
    (0x160, 5, &[7]),                 // SeAnonymousLogonSid
    (0x180, 5, &[19]),                // SeLocalServiceSid
    (0x188, 5, &[20]),                // SeNetworkServiceSid
    (0x1d0, 5, &[17]),                // SeIUserSid
    (0x1d8, 16, &[0]),                // SeUntrustedMandatorySid
    (0x1e0, 16, &[0x1000]),           // SeLowMandatorySid
    (0x1e8, 16, &[0x2000]),           // SeMediumMandatorySid
    (0x1f0, 16, &[0x3000]),           // SeHighMandatorySid
    (0x1f8, 16, &[0x4000]),           // SeSystemMandatorySid
    (0x200, 3, &[4]),                 // SeOwnerRightsSid
    (0x208, 15, &[2, 1]),             // SeAllAppPackagesSid
    (0x210, 5, &[84, 0, 0, 0, 0, 0]), // SeUserModeDriversSid
    (0x218, 19, &[1024, 8192]),       // SeProcTrustWinTcbSid
    (
        0x220,
        5,
        &[
            80,
            956_008_885,
            3_418_522_649,
            1_831_038_044,
            1_853_292_631,
            2_271_478_464,
        ],
    ), // SeTrustedInstallerSid
];

/// The privileges at the start, in the order of SE_EXPORTS, which is not that of their values. The
/// value of SeUnsolicitedInputPrivilege is that of SeMachineAccountPrivilege.
const PRIVILEGES: [u32; 23] = [
    2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 14, 11, 12, 13, 16, 17, 18, 19, 20, 21, 22, 23, 24,
];
/// Offsets and values of those between the identifiers.
const MORE_PRIVILEGES: [(u64, u32); 12] = [
    (0x168, 25), // SeUndockPrivilege
    (0x170, 26), // SeSyncAgentPrivilege
    (0x178, 27), // SeEnableDelegationPrivilege
    (0x190, 28), // SeManageVolumePrivilege
    (0x198, 29), // SeImpersonatePrivilege
    (0x1a0, 30), // SeCreateGlobalPrivilege
    (0x1a8, 31), // SeTrustedCredManAccessPrivilege
    (0x1b0, 32), // SeRelabelPrivilege
    (0x1b8, 33), // SeIncreaseWorkingSetPrivilege
    (0x1c0, 34), // SeTimeZonePrivilege
    (0x1c8, 35), // SeCreateSymbolicLinkPrivilege
    (0x228, 36), // SeDelegateSessionUserImpersonatePrivilege
];

/// A security identifier's bytes.
#[must_use]
pub fn sid(authority: u8, sub_authorities: &[u32]) -> Vec<u8> {
    let mut bytes = vec![1, sub_authorities.len() as u8, 0, 0, 0, 0, 0, authority];
    for sub in sub_authorities {
        bytes.extend_from_slice(&sub.to_le_bytes());
    }
    bytes
}

fn init(cx: &mut Machine, at: Gva) {
    let Some(page) = cx.allocate_pages(Region::Objects, 1, space::data()) else {
        return;
    };
    let poke = |cx: &mut Machine, offset: u64, bytes: &[u8]| {
        let _ = cx.memory.poke_bytes(None, page.byte_add(offset), bytes);
    };
    for (i, privilege) in PRIVILEGES.iter().enumerate() {
        poke(cx, 8 * i as u64, &u64::from(*privilege).to_le_bytes());
    }
    for (offset, privilege) in MORE_PRIVILEGES {
        poke(cx, offset, &u64::from(privilege).to_le_bytes());
    }
    let mut text = 0x400;
    for (offset, authority, subs) in SIDS {
        let bytes = sid(*authority, subs);
        poke(cx, text, &bytes);
        poke(cx, *offset, &(page.raw() + text).to_le_bytes());
        text += (bytes.len() as u64).next_multiple_of(8);
    }
    let _ = cx.memory.poke_bytes(None, at, &page.raw().to_le_bytes());
}

/// The variable.
pub const VARIABLES: &[Variable] = &[Variable {
    module: "ntoskrnl.exe",
    name: "SeExports",
    size: 8,
    summary: "A pointer to the well-known privileges and security identifiers.",
    init,
}];
