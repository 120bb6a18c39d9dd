//! Small routines: status codes, versions, memory patterns, checksums, images. Documentation: wdm.h,
//! ntddk.h, ntifs.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::layout::{LUID, RTL_OSVERSIONINFOEXW};
use crate::ntstatus::{
    NTSTATUS, STATUS_INVALID_PARAMETER, STATUS_REVISION_MISMATCH, STATUS_SUCCESS,
};

/// `ERROR_MR_MID_NOT_FOUND`: what a code without a counterpart becomes.
const UNKNOWN: u32 = 317;

/// Win32 error codes of status codes: the published list in "System Error Codes" and ntstatus.h.
const ERRORS: &[(u32, u32)] = &[
    (0x0000_0000, 0),    // SUCCESS
    (0x0000_0102, 258),  // TIMEOUT -> WAIT_TIMEOUT
    (0x0000_0103, 997),  // PENDING -> IO_PENDING
    (0x8000_0005, 234),  // BUFFER_OVERFLOW -> MORE_DATA
    (0x8000_0006, 18),   // NO_MORE_FILES
    (0x8000_001a, 259),  // NO_MORE_ENTRIES -> NO_MORE_ITEMS
    (0xc000_0001, 31),   // UNSUCCESSFUL -> GEN_FAILURE
    (0xc000_0002, 1),    // NOT_IMPLEMENTED -> INVALID_FUNCTION
    (0xc000_0003, 87),   // INVALID_INFO_CLASS -> INVALID_PARAMETER
    (0xc000_0004, 24),   // INFO_LENGTH_MISMATCH -> BAD_LENGTH
    (0xc000_0005, 998),  // ACCESS_VIOLATION -> NOACCESS
    (0xc000_0008, 6),    // INVALID_HANDLE
    (0xc000_000d, 87),   // INVALID_PARAMETER
    (0xc000_000e, 2),    // NO_SUCH_DEVICE -> FILE_NOT_FOUND
    (0xc000_000f, 2),    // NO_SUCH_FILE
    (0xc000_0010, 1),    // INVALID_DEVICE_REQUEST -> INVALID_FUNCTION
    (0xc000_0011, 38),   // END_OF_FILE -> HANDLE_EOF
    (0xc000_0017, 8),    // NO_MEMORY -> NOT_ENOUGH_MEMORY
    (0xc000_0018, 487),  // CONFLICTING_ADDRESSES -> INVALID_ADDRESS
    (0xc000_0022, 5),    // ACCESS_DENIED
    (0xc000_0023, 122),  // BUFFER_TOO_SMALL -> INSUFFICIENT_BUFFER
    (0xc000_0024, 6),    // OBJECT_TYPE_MISMATCH -> INVALID_HANDLE
    (0xc000_0033, 123),  // OBJECT_NAME_INVALID -> INVALID_NAME
    (0xc000_0034, 2),    // OBJECT_NAME_NOT_FOUND -> FILE_NOT_FOUND
    (0xc000_0035, 183),  // OBJECT_NAME_COLLISION -> ALREADY_EXISTS
    (0xc000_003a, 3),    // OBJECT_PATH_NOT_FOUND
    (0xc000_003b, 161),  // OBJECT_PATH_SYNTAX_BAD -> BAD_PATHNAME
    (0xc000_0043, 32),   // SHARING_VIOLATION
    (0xc000_0054, 33),   // FILE_LOCK_CONFLICT -> LOCK_VIOLATION
    (0xc000_0056, 5),    // DELETE_PENDING -> ACCESS_DENIED
    (0xc000_0061, 1314), // PRIVILEGE_NOT_HELD
    (0xc000_007f, 112),  // DISK_FULL
    (0xc000_009a, 1450), // INSUFFICIENT_RESOURCES -> NO_SYSTEM_RESOURCES
    (0xc000_009d, 1167), // DEVICE_NOT_CONNECTED
    (0xc000_00a2, 19),   // MEDIA_WRITE_PROTECTED -> WRITE_PROTECT
    (0xc000_00a3, 21),   // DEVICE_NOT_READY -> NOT_READY
    (0xc000_00b5, 121),  // IO_TIMEOUT -> SEM_TIMEOUT
    (0xc000_00ba, 5),    // FILE_IS_A_DIRECTORY -> ACCESS_DENIED
    (0xc000_00bb, 50),   // NOT_SUPPORTED
    (0xc000_0120, 995),  // CANCELLED -> OPERATION_ABORTED
    (0xc000_0128, 6),    // FILE_CLOSED -> INVALID_HANDLE
    (0xc000_0184, 22),   // INVALID_DEVICE_STATE -> BAD_COMMAND
    (0xc000_0206, 1784), // INVALID_BUFFER_SIZE -> INVALID_USER_BUFFER
    (0xc000_0225, 1168), // NOT_FOUND
];

/// CRC-32 as Ethernet and zip have it, going on from an earlier part.
#[must_use]
pub fn crc32(start: u32, bytes: &[u8]) -> u32 {
    let mut crc = !start;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 != 0 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

/// Compares as the three bits of a condition mask say: VER_EQUAL 1 to VER_LESS_EQUAL 5, VER_AND 6, VER_OR 7.
fn holds(ours: u32, wanted: u32, condition: u64) -> Option<bool> {
    Some(match condition {
        1 => ours == wanted,
        2 => ours > wanted,
        3 => ours >= wanted,
        4 => ours < wanted,
        5 => ours <= wanted,
        _ => return None,
    })
}

/// Small routines.
pub struct SmallRoutines;

#[exports("ntoskrnl.exe")]
impl SmallRoutines {
    /// The Win32 error code of a status code.
    #[page("ntifs/nf-ntifs-rtlntstatustodoserror")]
    #[irql(any)]
    #[alias("RtlNtStatusToDosErrorNoTeb")]
    #[partial("codes that drivers rarely use give ERROR_MR_MID_NOT_FOUND")]
    fn RtlNtStatusToDosError(cx: &mut Machine, Status: NTSTATUS) -> u32 {
        let _ = &cx;
        ERRORS
            .iter()
            .find(|(status, _)| *status == Status.0)
            .map_or(UNKNOWN, |(_, error)| *error)
    }

    /// Compares the version of the system with a wanted one.
    #[page("wdm/nf-wdm-rtlverifyversioninfo")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("service packs, product type and suites are compared as zero, workstation and none")]
    fn RtlVerifyVersionInfo(
        cx: &mut Machine,
        VersionInfo: Gva<RTL_OSVERSIONINFOEXW>,
        TypeMask: u32,
        ConditionMask: u64,
    ) -> Result<NTSTATUS, Fault> {
        if TypeMask == 0 || ConditionMask == 0 {
            return Ok(STATUS_INVALID_PARAMETER);
        }
        let build = cx.build;
        let wanted = |field| cx.memory.get(VersionInfo, field);
        // Bit of the type mask, our value, the wanted one. Major and minor version count together with
        // the service pack: the first that differs decides.
        let parts = [
            (
                1,
                0x2,
                build.major,
                wanted(RTL_OSVERSIONINFOEXW::dwMajorVersion)?,
            ),
            (
                0,
                0x1,
                build.minor,
                wanted(RTL_OSVERSIONINFOEXW::dwMinorVersion)?,
            ),
            (
                2,
                0x4,
                build.build,
                wanted(RTL_OSVERSIONINFOEXW::dwBuildNumber)?,
            ),
            (
                3,
                0x8,
                build.platform,
                wanted(RTL_OSVERSIONINFOEXW::dwPlatformId)?,
            ),
        ];
        for (place, bit, ours, theirs) in parts {
            if TypeMask & bit == 0 {
                continue;
            }
            let condition = ConditionMask >> (3 * place) & 7;
            let Some(good) = holds(ours, theirs, condition) else {
                return Ok(STATUS_INVALID_PARAMETER);
            };
            if !good {
                return Ok(STATUS_REVISION_MISMATCH);
            }
            let decided = matches!(condition, 2..=5) && ours != theirs && place < 2;
            if decided {
                break;
            }
        }
        Ok(STATUS_SUCCESS)
    }

    /// TRUE if the system is at least of a version, given as NTDDI_*.
    #[page("wdm/nf-wdm-rtlisntddiversionavailable")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlIsNtDdiVersionAvailable(cx: &mut Machine, Version: u32) -> bool {
        // NTDDI_WIN10_VB, i.e. 10.0.19041; a version with a service pack is refused.
        let _ = &cx;
        Version & 0xff00 == 0 && Version <= 0x0a00_0008
    }

    /// How many bytes from the start on are a pattern of four bytes.
    #[page("ntifs/nf-ntifs-rtlcomparememoryulong")]
    #[irql(any)]
    fn RtlCompareMemoryUlong(
        cx: &mut Machine,
        Source: Gva,
        Length: u64,
        Pattern: u32,
    ) -> Result<u64, Fault> {
        let mut done = 0;
        while done + 4 <= Length {
            if cx.memory.read(Source.byte_add(done).cast::<u32>())? != Pattern {
                break;
            }
            done += 4;
        }
        Ok(done)
    }

    /// TRUE if all bytes are zero.
    #[page("wdm/nf-wdm-rtliszeromemory")]
    #[irql(any)]
    fn RtlIsZeroMemory(cx: &mut Machine, Buffer: Gva, Length: u64) -> Result<bool, Fault> {
        for i in 0..Length {
            if cx.memory.read(Buffer.byte_add(i))? != 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Fills bytes, past the cache.
    #[page("wdm/nf-wdm-rtlfillmemorynontemporal")]
    #[irql(any)]
    fn RtlFillMemoryNonTemporal(
        cx: &mut Machine,
        Destination: Gva,
        Length: u64,
        Value: u8,
    ) -> Result<(), Fault> {
        cx.memory.fill(Destination, Length, Value)
    }

    /// A hint to the cache. There is none.
    #[page("wdm/nf-wdm-rtlprefetchmemorynontemporal")]
    #[irql(any)]
    fn RtlPrefetchMemoryNonTemporal(cx: &mut Machine, Source: Gva, Length: u64) {
        let _ = (&cx, Source, Length);
    }

    /// The CRC-32 of bytes.
    #[page("")]
    #[irql(any)]
    fn RtlComputeCrc32(
        cx: &mut Machine,
        PartialCrc: u32,
        Buffer: Gva,
        Length: u32,
    ) -> Result<u32, Fault> {
        let bytes = cx.memory.read_vec(Buffer, u64::from(Length))?;
        Ok(crc32(PartialCrc, &bytes))
    }

    /// TRUE if two locally unique identifiers are equal.
    #[page("ntifs/nf-ntifs-rtlequalluid")]
    #[irql(any)]
    fn RtlEqualLuid(cx: &mut Machine, Luid1: Gva<LUID>, Luid2: Gva<LUID>) -> Result<bool, Fault> {
        Ok(cx.memory.read(Luid1.cast::<u64>())? == cx.memory.read(Luid2.cast::<u64>())?)
    }

    /// The NT headers of a mapped image; NULL if it is none.
    #[page("")]
    #[irql(any)]
    fn RtlImageNtHeader(cx: &mut Machine, Base: Gva) -> Result<Gva, Fault> {
        // `MZ`, then e_lfanew at 3Ch, then `PE\0\0`.
        if Base.is_null() || cx.memory.read(Base.cast::<u16>())? != 0x5a4d {
            return Ok(Gva::NULL);
        }
        let offset = cx.memory.read(Base.byte_add(0x3c).cast::<u32>())?;
        let headers = Base.byte_add(u64::from(offset));
        Ok(
            if offset < 1 << 28 && cx.memory.read(headers.cast::<u32>())? == 0x4550 {
                headers
            } else {
                Gva::NULL
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_the_usual_text() {
        assert_eq!(crc32(0, b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(crc32(0, b"1234"), b"56789"), 0xcbf4_3926);
    }

    #[test]
    fn conditions() {
        assert_eq!(holds(10, 6, 3), Some(true));
        assert_eq!(holds(6, 10, 3), Some(false));
        assert_eq!(holds(1, 1, 2), Some(false));
        assert_eq!(holds(1, 1, 0), None);
    }
}
