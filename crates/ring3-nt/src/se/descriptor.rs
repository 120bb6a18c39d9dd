//! Security descriptors and their parts. Documentation: wdm.h, ntifs.h, "Security Descriptors".

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::layout::{ACL, SECURITY_DESCRIPTOR, SECURITY_DESCRIPTOR_RELATIVE};
use crate::ntstatus::{
    NTSTATUS, STATUS_ALLOTTED_SPACE_EXCEEDED, STATUS_BAD_DESCRIPTOR_FORMAT,
    STATUS_BUFFER_TOO_SMALL, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_SECURITY_DESCR,
    STATUS_SUCCESS, STATUS_UNKNOWN_REVISION,
};

const TAG: u32 = u32::from_le_bytes(*b"SeSd");

/// `SE_*` control bits of ntifs.h.
pub mod control {
    /// `SE_OWNER_DEFAULTED`.
    pub const OWNER_DEFAULTED: u16 = 0x0001;
    /// `SE_GROUP_DEFAULTED`.
    pub const GROUP_DEFAULTED: u16 = 0x0002;
    /// `SE_DACL_PRESENT`.
    pub const DACL_PRESENT: u16 = 0x0004;
    /// `SE_DACL_DEFAULTED`.
    pub const DACL_DEFAULTED: u16 = 0x0008;
    /// `SE_SACL_PRESENT`.
    pub const SACL_PRESENT: u16 = 0x0010;
    /// `SE_SACL_DEFAULTED`.
    pub const SACL_DEFAULTED: u16 = 0x0020;
    /// `SE_DACL_PROTECTED`.
    pub const DACL_PROTECTED: u16 = 0x1000;
    /// `SE_SELF_RELATIVE`.
    pub const SELF_RELATIVE: u16 = 0x8000;
}

/// The parts of a descriptor, by address.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts {
    /// `Control`.
    pub control: u16,
    /// The owner; 0 for none, as the others.
    pub owner: u64,
    /// The group.
    pub group: u64,
    /// The system list.
    pub sacl: u64,
    /// The list.
    pub dacl: u64,
}

/// The parts of a descriptor of either form.
///
/// # Errors
/// A fault if it cannot be read.
pub fn parts(cx: &Machine, descriptor: Gva<SECURITY_DESCRIPTOR>) -> Result<Parts, Fault> {
    let control = cx.memory.get(descriptor, SECURITY_DESCRIPTOR::Control)?;
    if control & control::SELF_RELATIVE == 0 {
        return Ok(Parts {
            control,
            owner: cx.memory.get(descriptor, SECURITY_DESCRIPTOR::Owner)?.raw(),
            group: cx.memory.get(descriptor, SECURITY_DESCRIPTOR::Group)?.raw(),
            sacl: cx.memory.get(descriptor, SECURITY_DESCRIPTOR::Sacl)?.raw(),
            dacl: cx.memory.get(descriptor, SECURITY_DESCRIPTOR::Dacl)?.raw(),
        });
    }
    let relative = descriptor.cast::<SECURITY_DESCRIPTOR_RELATIVE>();
    let at = |offset: u32| {
        if offset == 0 {
            0
        } else {
            descriptor.raw().wrapping_add(u64::from(offset))
        }
    };
    Ok(Parts {
        control,
        owner: at(cx
            .memory
            .get(relative, SECURITY_DESCRIPTOR_RELATIVE::Owner)?),
        group: at(cx
            .memory
            .get(relative, SECURITY_DESCRIPTOR_RELATIVE::Group)?),
        sacl: at(cx
            .memory
            .get(relative, SECURITY_DESCRIPTOR_RELATIVE::Sacl)?),
        dacl: at(cx
            .memory
            .get(relative, SECURITY_DESCRIPTOR_RELATIVE::Dacl)?),
    })
}

/// The bytes of a security identifier; none for NULL.
///
/// # Errors
/// A fault if it cannot be read.
pub fn sid_bytes(cx: &Machine, at: u64) -> Result<Vec<u8>, Fault> {
    if at == 0 {
        return Ok(Vec::new());
    }
    let count: u8 = cx.memory.read(Gva::new(at.wrapping_add(1)))?;
    cx.memory
        .read_vec(Gva::<u8>::new(at), 8 + 4 * u64::from(count))
}

/// The bytes of an access control list; none for NULL.
///
/// # Errors
/// A fault if it cannot be read.
pub fn acl_bytes(cx: &Machine, at: u64) -> Result<Vec<u8>, Fault> {
    if at == 0 {
        return Ok(Vec::new());
    }
    let size = cx.memory.get(Gva::<ACL>::new(at), ACL::AclSize)?;
    cx.memory.read_vec(Gva::<u8>::new(at), u64::from(size))
}

/// The self-relative form of a descriptor.
pub(super) fn self_relative(
    cx: &Machine,
    descriptor: Gva<SECURITY_DESCRIPTOR>,
) -> Result<Vec<u8>, Fault> {
    let parts = parts(cx, descriptor)?;
    let mut bytes = vec![0u8; SECURITY_DESCRIPTOR_RELATIVE::SIZE as usize];
    bytes[0] = 1;
    bytes[2..4].copy_from_slice(&(parts.control | control::SELF_RELATIVE).to_le_bytes());
    // Offsets at +4 owner, +8 group, +Ch system list, +10h list; the lists come first, as NT puts them.
    let fields = [
        (12, acl_bytes(cx, parts.sacl)?),
        (16, acl_bytes(cx, parts.dacl)?),
        (4, sid_bytes(cx, parts.owner)?),
        (8, sid_bytes(cx, parts.group)?),
    ];
    for (field, content) in fields {
        if content.is_empty() {
            continue;
        }
        let offset = bytes.len() as u32;
        bytes[field..field + 4].copy_from_slice(&offset.to_le_bytes());
        bytes.extend_from_slice(&content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    Ok(bytes)
}

/// Answers "is it there, where, was it defaulted" for a list.
fn give_list(
    cx: &mut Machine,
    present: Option<(u64, bool)>,
    is_present: Gva<bool>,
    list: Gva<u64>,
    defaulted: Gva<bool>,
) -> Result<NTSTATUS, Fault> {
    cx.memory.write(is_present, present.is_some())?;
    if let Some((at, default)) = present {
        cx.memory.write(list, at)?;
        cx.memory.write(defaulted, default)?;
    }
    Ok(STATUS_SUCCESS)
}

/// Routines on security descriptors.
pub struct Descriptors;

#[exports("ntoskrnl.exe")]
impl Descriptors {
    /// Bytes of a security identifier.
    #[page("ntifs/nf-ntifs-rtllengthsid")]
    #[irql(any)]
    fn RtlLengthSid(cx: &mut Machine, Sid: Gva) -> Result<u32, Fault> {
        Ok(8 + 4 * u32::from(cx.memory.read(Sid.byte_add(1))?))
    }

    /// Makes an empty access control list.
    #[page("ntifs/nf-ntifs-rtlcreateacl")]
    #[irql(..=APC_LEVEL)]
    fn RtlCreateAcl(
        cx: &mut Machine,
        Acl: Gva<ACL>,
        AclLength: u32,
        AclRevision: u32,
    ) -> Result<NTSTATUS, Fault> {
        if AclLength < ACL::SIZE as u32 {
            return Ok(STATUS_BUFFER_TOO_SMALL);
        }
        cx.memory.fill(Acl, ACL::SIZE, 0)?;
        cx.memory.set(Acl, ACL::AclRevision, AclRevision as u8)?;
        cx.memory.set(Acl, ACL::AclSize, (AclLength & !3) as u16)?;
        Ok(STATUS_SUCCESS)
    }

    /// Appends an entry that allows access.
    #[page("ntifs/nf-ntifs-rtladdaccessallowedace")]
    #[irql(..=APC_LEVEL)]
    fn RtlAddAccessAllowedAce(
        cx: &mut Machine,
        Acl: Gva<ACL>,
        AceRevision: u32,
        AccessMask: u32,
        Sid: Gva,
    ) -> Result<NTSTATUS, Fault> {
        let _ = AceRevision;
        let size = u64::from(cx.memory.get(Acl, ACL::AclSize)?);
        let count = cx.memory.get(Acl, ACL::AceCount)?;
        let mut at = ACL::SIZE;
        for _ in 0..count {
            let ace: u16 = cx.memory.read(Acl.cast::<u8>().byte_add(at + 2).cast())?;
            at += u64::from(ace);
        }
        let sid = sid_bytes(cx, Sid.raw())?;
        let length = 8 + sid.len() as u64;
        if at + length > size {
            return Ok(STATUS_ALLOTTED_SPACE_EXCEEDED);
        }
        let mut ace = vec![0, 0];
        ace.extend_from_slice(&(length as u16).to_le_bytes());
        ace.extend_from_slice(&AccessMask.to_le_bytes());
        ace.extend_from_slice(&sid);
        cx.memory.write_bytes(Acl.cast::<u8>().byte_add(at), &ace)?;
        cx.memory.set(Acl, ACL::AceCount, count + 1)?;
        Ok(STATUS_SUCCESS)
    }

    /// Makes an absolute descriptor without parts.
    #[page("wdm/nf-wdm-rtlcreatesecuritydescriptor")]
    #[irql(..=APC_LEVEL)]
    fn RtlCreateSecurityDescriptor(
        cx: &mut Machine,
        SecurityDescriptor: Gva<SECURITY_DESCRIPTOR>,
        Revision: u32,
    ) -> Result<NTSTATUS, Fault> {
        if Revision != 1 {
            return Ok(STATUS_UNKNOWN_REVISION);
        }
        cx.memory
            .fill(SecurityDescriptor, SECURITY_DESCRIPTOR::SIZE, 0)?;
        cx.memory
            .set(SecurityDescriptor, SECURITY_DESCRIPTOR::Revision, 1)?;
        Ok(STATUS_SUCCESS)
    }

    /// Sets the access control list of an absolute descriptor.
    #[page("wdm/nf-wdm-rtlsetdaclsecuritydescriptor")]
    #[irql(..=APC_LEVEL)]
    fn RtlSetDaclSecurityDescriptor(
        cx: &mut Machine,
        SecurityDescriptor: Gva<SECURITY_DESCRIPTOR>,
        DaclPresent: bool,
        Dacl: Gva<ACL>,
        DaclDefaulted: bool,
    ) -> Result<NTSTATUS, Fault> {
        let mut flags = cx
            .memory
            .get(SecurityDescriptor, SECURITY_DESCRIPTOR::Control)?;
        if flags & control::SELF_RELATIVE != 0 {
            return Ok(STATUS_INVALID_SECURITY_DESCR);
        }
        flags &= !(control::DACL_PRESENT | control::DACL_DEFAULTED);
        if DaclPresent {
            flags |= control::DACL_PRESENT;
            cx.memory
                .set(SecurityDescriptor, SECURITY_DESCRIPTOR::Dacl, Dacl)?;
            if DaclDefaulted {
                flags |= control::DACL_DEFAULTED;
            }
        }
        cx.memory
            .set(SecurityDescriptor, SECURITY_DESCRIPTOR::Control, flags)?;
        Ok(STATUS_SUCCESS)
    }

    /// Copies an absolute descriptor into self-relative form.
    #[page("ntifs/nf-ntifs-rtlabsolutetoselfrelativesd")]
    #[irql(..=APC_LEVEL)]
    fn RtlAbsoluteToSelfRelativeSD(
        cx: &mut Machine,
        AbsoluteSecurityDescriptor: Gva<SECURITY_DESCRIPTOR>,
        SelfRelativeSecurityDescriptor: Gva,
        BufferLength: Gva<u32>,
    ) -> Result<NTSTATUS, Fault> {
        let flags = cx
            .memory
            .get(AbsoluteSecurityDescriptor, SECURITY_DESCRIPTOR::Control)?;
        if flags & control::SELF_RELATIVE != 0 {
            return Ok(STATUS_BAD_DESCRIPTOR_FORMAT);
        }
        let bytes = self_relative(cx, AbsoluteSecurityDescriptor)?;
        let room = cx.memory.read(BufferLength)?;
        cx.memory.write(BufferLength, bytes.len() as u32)?;
        if (room as usize) < bytes.len() {
            return Ok(STATUS_BUFFER_TOO_SMALL);
        }
        cx.memory
            .write_bytes(SelfRelativeSecurityDescriptor, &bytes)?;
        Ok(STATUS_SUCCESS)
    }

    /// Bytes of a descriptor with all its parts.
    #[page("wdm/nf-wdm-rtllengthsecuritydescriptor")]
    #[irql(..=APC_LEVEL)]
    fn RtlLengthSecurityDescriptor(
        cx: &mut Machine,
        SecurityDescriptor: Gva<SECURITY_DESCRIPTOR>,
    ) -> Result<u32, Fault> {
        let relative = self_relative(cx, SecurityDescriptor)?.len() as u64;
        let flags = cx
            .memory
            .get(SecurityDescriptor, SECURITY_DESCRIPTOR::Control)?;
        let header = if flags & control::SELF_RELATIVE == 0 {
            SECURITY_DESCRIPTOR::SIZE
        } else {
            SECURITY_DESCRIPTOR_RELATIVE::SIZE
        };
        Ok((relative - SECURITY_DESCRIPTOR_RELATIVE::SIZE + header) as u32)
    }

    /// Gives the access control list of a descriptor.
    #[page("ntifs/nf-ntifs-rtlgetdaclsecuritydescriptor")]
    #[irql(..=APC_LEVEL)]
    fn RtlGetDaclSecurityDescriptor(
        cx: &mut Machine,
        SecurityDescriptor: Gva<SECURITY_DESCRIPTOR>,
        DaclPresent: Gva<bool>,
        Dacl: Gva<u64>,
        DaclDefaulted: Gva<bool>,
    ) -> Result<NTSTATUS, Fault> {
        let p = parts(cx, SecurityDescriptor)?;
        let found = p.control & control::DACL_PRESENT != 0;
        let value = found.then_some((p.dacl, p.control & control::DACL_DEFAULTED != 0));
        give_list(cx, value, DaclPresent, Dacl, DaclDefaulted)
    }

    /// Gives the system access control list of a descriptor.
    #[page("ntifs/nf-ntifs-rtlgetsaclsecuritydescriptor")]
    #[irql(..=APC_LEVEL)]
    fn RtlGetSaclSecurityDescriptor(
        cx: &mut Machine,
        SecurityDescriptor: Gva<SECURITY_DESCRIPTOR>,
        SaclPresent: Gva<bool>,
        Sacl: Gva<u64>,
        SaclDefaulted: Gva<bool>,
    ) -> Result<NTSTATUS, Fault> {
        let p = parts(cx, SecurityDescriptor)?;
        let found = p.control & control::SACL_PRESENT != 0;
        let value = found.then_some((p.sacl, p.control & control::SACL_DEFAULTED != 0));
        give_list(cx, value, SaclPresent, Sacl, SaclDefaulted)
    }

    /// Gives the owner of a descriptor.
    #[page("ntifs/nf-ntifs-rtlgetownersecuritydescriptor")]
    #[irql(..=APC_LEVEL)]
    fn RtlGetOwnerSecurityDescriptor(
        cx: &mut Machine,
        SecurityDescriptor: Gva<SECURITY_DESCRIPTOR>,
        Owner: Gva<u64>,
        OwnerDefaulted: Gva<bool>,
    ) -> Result<NTSTATUS, Fault> {
        let p = parts(cx, SecurityDescriptor)?;
        cx.memory.write(Owner, p.owner)?;
        cx.memory
            .write(OwnerDefaulted, p.control & control::OWNER_DEFAULTED != 0)?;
        Ok(STATUS_SUCCESS)
    }

    /// Gives the group of a descriptor.
    #[page("ntifs/nf-ntifs-rtlgetgroupsecuritydescriptor")]
    #[irql(..=APC_LEVEL)]
    fn RtlGetGroupSecurityDescriptor(
        cx: &mut Machine,
        SecurityDescriptor: Gva<SECURITY_DESCRIPTOR>,
        Group: Gva<u64>,
        GroupDefaulted: Gva<bool>,
    ) -> Result<NTSTATUS, Fault> {
        let p = parts(cx, SecurityDescriptor)?;
        cx.memory.write(Group, p.group)?;
        cx.memory
            .write(GroupDefaulted, p.control & control::GROUP_DEFAULTED != 0)?;
        Ok(STATUS_SUCCESS)
    }

    /// Copies a descriptor into pool, in self-relative form.
    #[page("ntifs/nf-ntifs-secapturesecuritydescriptor")]
    #[irql(PASSIVE_LEVEL)]
    #[assumed("not documented for drivers; as the drivers' device-security library uses it")]
    fn SeCaptureSecurityDescriptor(
        cx: &mut Machine,
        InputSecurityDescriptor: Gva<SECURITY_DESCRIPTOR>,
        RequestorMode: u8,
        PoolType: u32,
        ForceCapture: bool,
        OutputSecurityDescriptor: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        if InputSecurityDescriptor.is_null() || RequestorMode == 0 && !ForceCapture {
            cx.memory
                .write(OutputSecurityDescriptor, InputSecurityDescriptor.raw())?;
            return Ok(STATUS_SUCCESS);
        }
        let bytes = self_relative(cx, InputSecurityDescriptor)?;
        let kind = if PoolType & 1 != 0 {
            Pool::Paged
        } else {
            Pool::NonPaged
        };
        // The caller frees it, so it is the caller's.
        let owner = cx.caller;
        let Some(at) = cx.pool_allocate_for(kind, bytes.len() as u64, TAG, owner) else {
            return Ok(STATUS_INSUFFICIENT_RESOURCES);
        };
        cx.memory.write_bytes(at, &bytes)?;
        cx.memory.write(OutputSecurityDescriptor, at.raw())?;
        Ok(STATUS_SUCCESS)
    }
}
