//! Security identifiers and locally unique identifiers. Documentation: ntifs.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::descriptor::sid_bytes;
use crate::Machine;
use crate::layout::{SID, UNICODE_STRING};
use crate::ntstatus::{
    NTSTATUS, STATUS_BUFFER_TOO_SMALL, STATUS_INVALID_PARAMETER, STATUS_INVALID_SID, STATUS_SUCCESS,
};
use crate::rtl::unicode_string::{bytes_of, store};

/// `SID_REVISION`, `SID_MAX_SUB_AUTHORITIES`.
const REVISION: u8 = 1;
const MOST: u8 = 15;

/// Whether bytes are a SID as `RtlValidSid` has it.
#[must_use]
pub fn is_valid(bytes: &[u8]) -> bool {
    matches!(bytes, [REVISION, count, ..] if *count <= MOST && bytes.len() == 8 + 4 * usize::from(*count))
}

/// A SID in text: `S-1-5-18`.
#[must_use]
pub fn text(bytes: &[u8]) -> Option<String> {
    if !is_valid(bytes) {
        return None;
    }
    let authority = bytes
        .get(2..8)?
        .iter()
        .fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    let mut text = if authority < 1 << 32 {
        format!("S-1-{authority}")
    } else {
        format!("S-1-0x{authority:X}")
    };
    for sub in bytes.get(8..)?.chunks_exact(4) {
        text.push_str(&format!(
            "-{}",
            u32::from_le_bytes([sub[0], sub[1], sub[2], sub[3]])
        ));
    }
    Some(text)
}

/// Routines on identifiers.
pub struct Sids;

#[exports("ntoskrnl.exe")]
impl Sids {
    /// Bytes of a security identifier with a number of sub-authorities.
    #[page("ntifs/nf-ntifs-rtllengthrequiredsid")]
    #[irql(any)]
    fn RtlLengthRequiredSid(cx: &mut Machine, SubAuthorityCount: u32) -> u32 {
        let _ = &cx;
        SubAuthorityCount.wrapping_mul(4).wrapping_add(8)
    }

    /// Makes a security identifier without its sub-authorities.
    #[page("ntifs/nf-ntifs-rtlinitializesid")]
    #[irql(any)]
    fn RtlInitializeSid(
        cx: &mut Machine,
        Sid: Gva<SID>,
        IdentifierAuthority: Gva<[u8; 6]>,
        SubAuthorityCount: u8,
    ) -> Result<NTSTATUS, Fault> {
        if SubAuthorityCount > MOST {
            return Ok(STATUS_INVALID_PARAMETER);
        }
        let mut authority = [0; 6];
        cx.memory.read_bytes(IdentifierAuthority, &mut authority)?;
        cx.memory.write_bytes(Sid, &[REVISION, SubAuthorityCount])?;
        cx.memory
            .write_bytes(Sid.at(SID::IdentifierAuthority), &authority)?;
        Ok(STATUS_SUCCESS)
    }

    /// Where a sub-authority lies.
    #[page("ntifs/nf-ntifs-rtlsubauthoritysid")]
    #[irql(any)]
    fn RtlSubAuthoritySid(cx: &mut Machine, Sid: Gva<SID>, SubAuthority: u32) -> Gva {
        let _ = &cx;
        Sid.at(SID::SubAuthority)
            .cast::<u8>()
            .byte_add(4 * u64::from(SubAuthority))
    }

    /// Where the number of sub-authorities lies.
    #[page("ntifs/nf-ntifs-rtlsubauthoritycountsid")]
    #[irql(any)]
    fn RtlSubAuthorityCountSid(cx: &mut Machine, Sid: Gva<SID>) -> Gva {
        let _ = &cx;
        Sid.at(SID::SubAuthorityCount).cast()
    }

    /// Where the authority lies.
    #[page("")]
    #[irql(any)]
    fn RtlIdentifierAuthoritySid(cx: &mut Machine, Sid: Gva<SID>) -> Gva {
        let _ = &cx;
        Sid.at(SID::IdentifierAuthority).cast()
    }

    /// TRUE if an identifier is well formed.
    #[page("ntifs/nf-ntifs-rtlvalidsid")]
    #[irql(any)]
    fn RtlValidSid(cx: &mut Machine, Sid: Gva<SID>) -> Result<bool, Fault> {
        Ok(is_valid(&sid_bytes(cx, Sid.raw())?))
    }

    /// TRUE if two identifiers are equal.
    #[page("ntifs/nf-ntifs-rtlequalsid")]
    #[irql(any)]
    fn RtlEqualSid(cx: &mut Machine, Sid1: Gva<SID>, Sid2: Gva<SID>) -> Result<bool, Fault> {
        Ok(sid_bytes(cx, Sid1.raw())? == sid_bytes(cx, Sid2.raw())?)
    }

    /// Copies an identifier.
    #[page("ntifs/nf-ntifs-rtlcopysid")]
    #[irql(any)]
    fn RtlCopySid(
        cx: &mut Machine,
        DestinationSidLength: u32,
        DestinationSid: Gva<SID>,
        SourceSid: Gva<SID>,
    ) -> Result<NTSTATUS, Fault> {
        let bytes = sid_bytes(cx, SourceSid.raw())?;
        if (DestinationSidLength as usize) < bytes.len() {
            return Ok(STATUS_BUFFER_TOO_SMALL);
        }
        cx.memory.write_bytes(DestinationSid, &bytes)?;
        Ok(STATUS_SUCCESS)
    }

    /// Writes an identifier as text.
    #[page("ntifs/nf-ntifs-rtlconvertsidtounicodestring")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlConvertSidToUnicodeString(
        cx: &mut Machine,
        UnicodeString: Gva<UNICODE_STRING>,
        Sid: Gva<SID>,
        AllocateDestinationString: bool,
    ) -> Result<NTSTATUS, Fault> {
        let Some(text) = text(&sid_bytes(cx, Sid.raw())?) else {
            return Ok(STATUS_INVALID_SID);
        };
        let units: Vec<u16> = text.encode_utf16().collect();
        store(
            cx,
            UnicodeString,
            &bytes_of(&units),
            2,
            AllocateDestinationString,
        )
    }

    /// Copies a locally unique identifier.
    #[page("ntifs/nf-ntifs-rtlcopyluid")]
    #[irql(any)]
    fn RtlCopyLuid(
        cx: &mut Machine,
        DestinationLuid: Gva<u64>,
        SourceLuid: Gva<u64>,
    ) -> Result<(), Fault> {
        let value = cx.memory.read(SourceLuid)?;
        cx.memory.write(DestinationLuid, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::se::exports_variable::sid;

    #[test]
    fn identifiers_as_text() {
        assert_eq!(text(&sid(5, &[32, 544])).as_deref(), Some("S-1-5-32-544"));
        assert_eq!(text(&sid(1, &[0])).as_deref(), Some("S-1-1-0"));
        assert_eq!(
            text(&[1, 0, 1, 0, 0, 0, 0, 0]).as_deref(),
            Some("S-1-0x10000000000")
        );
        assert_eq!(text(&[2, 0, 0, 0, 0, 0, 0, 5]), None);
        assert!(!is_valid(&[1, 1, 0, 0, 0, 0, 0, 5]));
        assert!(!is_valid(&[1]));
    }
}
