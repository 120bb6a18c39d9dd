//! Registry helpers of the run-time library. Documentation: wdm.h, "RtlWriteRegistryValue" and neighbours.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::cm::operation;
use crate::cm::tree::{REG_EXPAND_SZ, REG_MULTI_SZ, REG_SZ};
use crate::export::argument::WCHAR;
use crate::ntstatus::{
    NTSTATUS, STATUS_INVALID_PARAMETER, STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_OBJECT_PATH_SYNTAX_BAD, STATUS_SUCCESS,
};
use crate::rtl::format::read_string;

/// `RTL_REGISTRY_HANDLE`: the path is a handle.
const HANDLE: u32 = 0x4000_0000;
/// `RTL_REGISTRY_OPTIONAL`.
pub const OPTIONAL: u32 = 0x8000_0000;
/// Longest path that is read.
const LONGEST: usize = 0x4000;

/// NUL-terminated text of the guest; empty for NULL.
///
/// # Errors
/// A fault where it cannot be read.
pub fn text(cx: &Machine, at: u64) -> Result<String, Fault> {
    if at == 0 {
        return Ok(String::new());
    }
    Ok(String::from_utf16_lossy(&read_string(
        cx, at, true, LONGEST,
    )?))
}

/// The full path that `RelativeTo` and `Path` name.
///
/// # Errors
/// A fault if the path cannot be read; inside, the status that the routine returns.
pub fn path(cx: &Machine, relative_to: u32, path: u64) -> Result<Result<String, NTSTATUS>, Fault> {
    if relative_to & HANDLE != 0 {
        return Ok(operation::target(cx, path).map(|target| target.path));
    }
    let rest = text(cx, path)?;
    let base = match relative_to & !OPTIONAL {
        // RTL_REGISTRY_ABSOLUTE, .._SERVICES, .._CONTROL, .._WINDOWS_NT, .._DEVICEMAP, .._USER.
        0 if rest.starts_with('\\') => return Ok(Ok(rest)),
        0 => return Ok(Err(STATUS_OBJECT_PATH_SYNTAX_BAD)),
        1 => r"\Registry\Machine\System\CurrentControlSet\Services",
        2 => r"\Registry\Machine\System\CurrentControlSet\Control",
        3 => r"\Registry\Machine\Software\Microsoft\Windows NT\CurrentVersion",
        4 => r"\Registry\Machine\Hardware\DeviceMap",
        5 => r"\Registry\User\.Default",
        _ => return Ok(Err(STATUS_INVALID_PARAMETER)),
    };
    if rest.starts_with('\\') {
        return Ok(Err(STATUS_OBJECT_PATH_SYNTAX_BAD));
    }
    Ok(Ok(if rest.is_empty() {
        base.to_owned()
    } else {
        format!("{base}\\{rest}")
    }))
}

/// Registry helpers.
pub struct RegistryHelpers;

#[exports("ntoskrnl.exe")]
impl RegistryHelpers {
    /// Whether a key exists.
    #[page("wdm/nf-wdm-rtlcheckregistrykey")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlCheckRegistryKey(
        cx: &mut Machine,
        RelativeTo: u32,
        Path: u64,
    ) -> Result<NTSTATUS, Fault> {
        Ok(match path(cx, RelativeTo, Path)? {
            Ok(path) if cx.cm.exists(&path) => STATUS_SUCCESS,
            Ok(_) => STATUS_OBJECT_NAME_NOT_FOUND,
            Err(status) => status,
        })
    }

    /// Creates a key below an existing one.
    #[page("wdm/nf-wdm-rtlcreateregistrykey")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("registry callbacks do not see it")]
    fn RtlCreateRegistryKey(
        cx: &mut Machine,
        RelativeTo: u32,
        Path: u64,
    ) -> Result<NTSTATUS, Fault> {
        Ok(match path(cx, RelativeTo, Path)? {
            Ok(path) => cx
                .cm
                .create(&path)
                .map_or(STATUS_OBJECT_NAME_NOT_FOUND, |_| STATUS_SUCCESS),
            Err(status) => status,
        })
    }

    /// Writes a value; a key that does not exist is created.
    #[page("wdm/nf-wdm-rtlwriteregistryvalue")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("registry callbacks do not see it")]
    fn RtlWriteRegistryValue(
        cx: &mut Machine,
        RelativeTo: u32,
        Path: u64,
        ValueName: Gva<WCHAR>,
        ValueType: u32,
        ValueData: Gva,
        ValueLength: u32,
    ) -> Result<NTSTATUS, Fault> {
        let path = match path(cx, RelativeTo, Path)? {
            Ok(path) => path,
            Err(status) => return Ok(status),
        };
        let name = text(cx, ValueName.raw())?;
        let data = cx.memory.read_vec(ValueData, u64::from(ValueLength))?;
        if cx.cm.create(&path).is_none() {
            return Ok(STATUS_OBJECT_NAME_NOT_FOUND);
        }
        cx.cm.set(&path, &name, ValueType, data);
        Ok(STATUS_SUCCESS)
    }

    /// Deletes a value.
    #[page("wdm/nf-wdm-rtldeleteregistryvalue")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("registry callbacks do not see it")]
    fn RtlDeleteRegistryValue(
        cx: &mut Machine,
        RelativeTo: u32,
        Path: u64,
        ValueName: Gva<WCHAR>,
    ) -> Result<NTSTATUS, Fault> {
        let path = match path(cx, RelativeTo, Path)? {
            Ok(path) => path,
            Err(status) => return Ok(status),
        };
        let name = text(cx, ValueName.raw())?;
        Ok(if cx.cm.delete_value(&path, &name) {
            STATUS_SUCCESS
        } else {
            STATUS_OBJECT_NAME_NOT_FOUND
        })
    }
}

/// Whether values of a type are text.
#[must_use]
pub fn is_text(kind: u32) -> bool {
    matches!(kind, REG_SZ | REG_EXPAND_SZ | REG_MULTI_SZ)
}
