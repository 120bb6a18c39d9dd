//! More routines on security descriptors: their other parts, their checks, their absolute form.
//! Documentation: ntifs.h, wdm.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::descriptor::{acl_bytes, control, parts, sid_bytes};
use super::{acl, sid};
use crate::Machine;
use crate::layout::{ACL, SECURITY_DESCRIPTOR};
use crate::ntstatus::{
    NTSTATUS, STATUS_BAD_DESCRIPTOR_FORMAT, STATUS_BUFFER_TOO_SMALL, STATUS_INVALID_SECURITY_DESCR,
    STATUS_SUCCESS,
};

/// Sets one of the pointers of an absolute descriptor, and its bits in Control.
fn set_part(
    cx: &mut Machine,
    descriptor: Gva<SECURITY_DESCRIPTOR>,
    field: ring3_memory::Field<SECURITY_DESCRIPTOR, Gva>,
    value: Gva,
    clear: u16,
    set: u16,
) -> Result<NTSTATUS, Fault> {
    let flags = cx.memory.get(descriptor, SECURITY_DESCRIPTOR::Control)?;
    if flags & control::SELF_RELATIVE != 0 {
        return Ok(STATUS_INVALID_SECURITY_DESCR);
    }
    cx.memory.set(descriptor, field, value)?;
    cx.memory.set(
        descriptor,
        SECURITY_DESCRIPTOR::Control,
        flags & !clear | set,
    )?;
    Ok(STATUS_SUCCESS)
}

/// Whether a descriptor and all its parts are well formed.
fn is_valid(cx: &Machine, descriptor: Gva<SECURITY_DESCRIPTOR>) -> Result<bool, Fault> {
    if cx.memory.get(descriptor, SECURITY_DESCRIPTOR::Revision)? != 1 {
        return Ok(false);
    }
    let p = parts(cx, descriptor)?;
    for at in [p.owner, p.group] {
        if at != 0 && !sid::is_valid(&sid_bytes(cx, at)?) {
            return Ok(false);
        }
    }
    for (at, present) in [
        (p.dacl, control::DACL_PRESENT),
        (p.sacl, control::SACL_PRESENT),
    ] {
        if p.control & present != 0 && at != 0 && !acl::is_valid(&acl_bytes(cx, at)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// More routines on security descriptors.
pub struct DescriptorParts;

#[exports("ntoskrnl.exe")]
impl DescriptorParts {
    /// Sets the owner of an absolute descriptor.
    #[page("ntifs/nf-ntifs-rtlsetownersecuritydescriptor")]
    #[irql(..=APC_LEVEL)]
    fn RtlSetOwnerSecurityDescriptor(
        cx: &mut Machine,
        SecurityDescriptor: Gva<SECURITY_DESCRIPTOR>,
        Owner: Gva,
        OwnerDefaulted: bool,
    ) -> Result<NTSTATUS, Fault> {
        let bit = control::OWNER_DEFAULTED;
        set_part(
            cx,
            SecurityDescriptor,
            SECURITY_DESCRIPTOR::Owner,
            Owner,
            bit,
            if OwnerDefaulted { bit } else { 0 },
        )
    }

    /// Sets the group of an absolute descriptor.
    #[page("ntifs/nf-ntifs-rtlsetgroupsecuritydescriptor")]
    #[irql(..=APC_LEVEL)]
    fn RtlSetGroupSecurityDescriptor(
        cx: &mut Machine,
        SecurityDescriptor: Gva<SECURITY_DESCRIPTOR>,
        Group: Gva,
        GroupDefaulted: bool,
    ) -> Result<NTSTATUS, Fault> {
        let bit = control::GROUP_DEFAULTED;
        set_part(
            cx,
            SecurityDescriptor,
            SECURITY_DESCRIPTOR::Group,
            Group,
            bit,
            if GroupDefaulted { bit } else { 0 },
        )
    }

    /// Sets the system access control list of an absolute descriptor.
    #[page("")]
    #[irql(..=APC_LEVEL)]
    fn RtlSetSaclSecurityDescriptor(
        cx: &mut Machine,
        SecurityDescriptor: Gva<SECURITY_DESCRIPTOR>,
        SaclPresent: bool,
        Sacl: Gva<ACL>,
        SaclDefaulted: bool,
    ) -> Result<NTSTATUS, Fault> {
        let both = control::SACL_PRESENT | control::SACL_DEFAULTED;
        let defaulted = if SaclDefaulted {
            control::SACL_DEFAULTED
        } else {
            0
        };
        let (list, set) = if SaclPresent {
            (Sacl, control::SACL_PRESENT | defaulted)
        } else {
            (Gva::NULL, 0)
        };
        let field = ring3_memory::Field::new(SECURITY_DESCRIPTOR::Sacl.offset());
        set_part(cx, SecurityDescriptor, field, list.cast(), both, set)
    }

    /// TRUE if a descriptor is well formed.
    #[page("wdm/nf-wdm-rtlvalidsecuritydescriptor")]
    #[irql(..=APC_LEVEL)]
    fn RtlValidSecurityDescriptor(
        cx: &mut Machine,
        SecurityDescriptor: Gva<SECURITY_DESCRIPTOR>,
    ) -> Result<bool, Fault> {
        is_valid(cx, SecurityDescriptor)
    }

    /// TRUE if a self-relative descriptor of a length is well formed.
    #[page("wdm/nf-wdm-sevalidsecuritydescriptor")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("that the parts lie inside the length")]
    fn SeValidSecurityDescriptor(
        cx: &mut Machine,
        Length: u32,
        SecurityDescriptor: Gva<SECURITY_DESCRIPTOR>,
    ) -> Result<bool, Fault> {
        if u64::from(Length) < crate::layout::SECURITY_DESCRIPTOR_RELATIVE::SIZE {
            return Ok(false);
        }
        let flags = cx
            .memory
            .get(SecurityDescriptor, SECURITY_DESCRIPTOR::Control)?;
        Ok(flags & control::SELF_RELATIVE != 0 && is_valid(cx, SecurityDescriptor)?)
    }

    /// Frees a descriptor that was captured.
    #[page("ntifs/nf-ntifs-sereleasesecuritydescriptor")]
    #[irql(PASSIVE_LEVEL)]
    #[assumed("not documented for drivers; the counterpart of SeCaptureSecurityDescriptor")]
    fn SeReleaseSecurityDescriptor(
        cx: &mut Machine,
        CapturedSecurityDescriptor: Gva,
        CurrentMode: u8,
        ForceCapture: bool,
    ) -> NTSTATUS {
        let captured = CurrentMode != 0 || ForceCapture;
        if captured && !CapturedSecurityDescriptor.is_null() {
            cx.pool_free(CapturedSecurityDescriptor);
        }
        STATUS_SUCCESS
    }

    /// Copies a self-relative descriptor into an absolute one and buffers for its parts.
    #[page("ntifs/nf-ntifs-rtlselfrelativetoabsolutesd")]
    #[irql(..=APC_LEVEL)]
    fn RtlSelfRelativeToAbsoluteSD(
        cx: &mut Machine,
        SelfRelativeSecurityDescriptor: Gva<SECURITY_DESCRIPTOR>,
        AbsoluteSecurityDescriptor: Gva<SECURITY_DESCRIPTOR>,
        AbsoluteSecurityDescriptorSize: Gva<u32>,
        Dacl: Gva,
        DaclSize: Gva<u32>,
        Sacl: Gva,
        SaclSize: Gva<u32>,
        Owner: Gva,
        OwnerSize: Gva<u32>,
        PrimaryGroup: Gva,
        PrimaryGroupSize: Gva<u32>,
    ) -> Result<NTSTATUS, Fault> {
        let p = parts(cx, SelfRelativeSecurityDescriptor)?;
        if p.control & control::SELF_RELATIVE == 0 {
            return Ok(STATUS_BAD_DESCRIPTOR_FORMAT);
        }
        let contents = [
            acl_bytes(cx, p.dacl)?,
            acl_bytes(cx, p.sacl)?,
            sid_bytes(cx, p.owner)?,
            sid_bytes(cx, p.group)?,
        ];
        let buffers = [
            (Dacl, DaclSize),
            (Sacl, SaclSize),
            (Owner, OwnerSize),
            (PrimaryGroup, PrimaryGroupSize),
        ];
        let mut small =
            u64::from(cx.memory.read(AbsoluteSecurityDescriptorSize)?) < SECURITY_DESCRIPTOR::SIZE;
        cx.memory.write(
            AbsoluteSecurityDescriptorSize,
            SECURITY_DESCRIPTOR::SIZE as u32,
        )?;
        for (content, (_, size)) in contents.iter().zip(buffers) {
            small |= (cx.memory.read(size)? as usize) < content.len();
            cx.memory.write(size, content.len() as u32)?;
        }
        if small {
            return Ok(STATUS_BUFFER_TOO_SMALL);
        }
        cx.memory
            .fill(AbsoluteSecurityDescriptor, SECURITY_DESCRIPTOR::SIZE, 0)?;
        cx.memory
            .set(AbsoluteSecurityDescriptor, SECURITY_DESCRIPTOR::Revision, 1)?;
        cx.memory.set(
            AbsoluteSecurityDescriptor,
            SECURITY_DESCRIPTOR::Control,
            p.control & !control::SELF_RELATIVE,
        )?;
        let offsets = [
            SECURITY_DESCRIPTOR::Dacl.offset(),
            SECURITY_DESCRIPTOR::Sacl.offset(),
            SECURITY_DESCRIPTOR::Owner.offset(),
            SECURITY_DESCRIPTOR::Group.offset(),
        ];
        for ((content, (buffer, _)), offset) in contents.iter().zip(buffers).zip(offsets) {
            if content.is_empty() {
                continue;
            }
            cx.memory.write_bytes(buffer, content)?;
            cx.memory.write(
                AbsoluteSecurityDescriptor
                    .cast::<u8>()
                    .byte_add(u64::from(offset))
                    .cast::<u64>(),
                buffer.raw(),
            )?;
        }
        Ok(STATUS_SUCCESS)
    }
}
