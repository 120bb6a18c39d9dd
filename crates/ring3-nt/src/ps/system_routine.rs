//! Finding routines by name, and the version. Documentation: wdm.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::layout::{RTL_OSVERSIONINFOEXW, UNICODE_STRING};
use crate::machine::finding::Severity;
use crate::ntstatus::{NTSTATUS, STATUS_SUCCESS};

/// `OSVERSIONINFOW` ends before the fields that `OSVERSIONINFOEXW` adds.
const SHORT_VERSION: u32 = 276;

/// Routines about the system itself.
pub struct SystemRoutines;

#[exports("ntoskrnl.exe")]
impl SystemRoutines {
    /// The address of an exported routine of the kernel or the HAL; NULL if there is none.
    #[page("wdm/nf-wdm-mmgetsystemroutineaddress")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("names that the build exports but that are not modelled give NULL")]
    fn MmGetSystemRoutineAddress(
        cx: &mut Machine,
        SystemRoutineName: Gva<UNICODE_STRING>,
    ) -> Result<Gva, Fault> {
        let name = crate::io::device::read_string(cx, SystemRoutineName)?;
        for module in ["ntoskrnl.exe", "HAL.dll"] {
            let exported = cx.build.module(module).is_some_and(|m| m.exports(&name));
            if exported && cx.stubs.is_modelled(module, &name) {
                return Ok(cx.export_address(module, &name).unwrap_or(Gva::NULL));
            }
        }
        let nt = cx.build.module("ntoskrnl.exe");
        if nt.is_some_and(|m| m.exports(&name)) {
            let text = format!(
                "MmGetSystemRoutineAddress: {name} exists in this build but is not modelled; NULL was given"
            );
            cx.report("model/routine-hidden", Severity::Note, text);
        }
        Ok(Gva::NULL)
    }

    /// The version of the system.
    #[page("wdm/nf-wdm-rtlgetversion")]
    #[irql(PASSIVE_LEVEL)]
    fn RtlGetVersion(
        cx: &mut Machine,
        lpVersionInformation: Gva<RTL_OSVERSIONINFOEXW>,
    ) -> Result<NTSTATUS, Fault> {
        let at = lpVersionInformation;
        let size: u32 = cx.memory.read(at.cast())?;
        let build = cx.build;
        let m = &mut cx.memory;
        m.set(at, RTL_OSVERSIONINFOEXW::dwMajorVersion, build.major)?;
        m.set(at, RTL_OSVERSIONINFOEXW::dwMinorVersion, build.minor)?;
        m.set(at, RTL_OSVERSIONINFOEXW::dwBuildNumber, build.build)?;
        m.set(at, RTL_OSVERSIONINFOEXW::dwPlatformId, build.platform)?;
        m.write(at.at(RTL_OSVERSIONINFOEXW::szCSDVersion).cast::<u16>(), 0)?;
        if size > SHORT_VERSION {
            m.set(at, RTL_OSVERSIONINFOEXW::wServicePackMajor, 0)?;
            m.set(at, RTL_OSVERSIONINFOEXW::wServicePackMinor, 0)?;
            m.set(
                at,
                RTL_OSVERSIONINFOEXW::wSuiteMask,
                build.suite_mask as u16,
            )?;
            m.set(
                at,
                RTL_OSVERSIONINFOEXW::wProductType,
                build.product_type as u8,
            )?;
        }
        Ok(STATUS_SUCCESS)
    }

    /// The version of the system, in parts.
    #[page("ntddk/nf-ntddk-psgetversion")]
    #[irql(any)]
    fn PsGetVersion(
        cx: &mut Machine,
        MajorVersion: Gva<u32>,
        MinorVersion: Gva<u32>,
        BuildNumber: Gva<u32>,
        CSDVersion: Gva<UNICODE_STRING>,
    ) -> Result<bool, Fault> {
        let build = cx.build;
        for (at, value) in [
            (MajorVersion, build.major),
            (MinorVersion, build.minor),
            (BuildNumber, build.build),
        ] {
            if !at.is_null() {
                cx.memory.write(at, value)?;
            }
        }
        if !CSDVersion.is_null() {
            cx.memory.set(CSDVersion, UNICODE_STRING::Length, 0)?;
        }
        Ok(false)
    }
}
