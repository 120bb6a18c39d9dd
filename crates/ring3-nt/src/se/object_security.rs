//! The security descriptors of objects. Documentation: ntifs.h, `ZwSetSecurityObject`,
//! `ZwQuerySecurityObject`, `ObGetObjectSecurity`.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::descriptor::{control, self_relative};
use super::exports_variable::sid;
use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::layout::SECURITY_DESCRIPTOR;
use crate::ntstatus::{
    NTSTATUS, STATUS_BUFFER_TOO_SMALL, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_HANDLE,
    STATUS_SUCCESS,
};
use crate::ob::{Kind, handles};

const TAG: u32 = u32::from_le_bytes(*b"SeSd");

/// `*_SECURITY_INFORMATION` of ntifs.h.
pub mod part {
    /// `OWNER_SECURITY_INFORMATION`.
    pub const OWNER: u32 = 1;
    /// `GROUP_SECURITY_INFORMATION`.
    pub const GROUP: u32 = 2;
    /// `DACL_SECURITY_INFORMATION`.
    pub const DACL: u32 = 4;
    /// `SACL_SECURITY_INFORMATION`, with `LABEL_SECURITY_INFORMATION`.
    pub const SACL: u32 = 0x18;
    /// `PROTECTED_DACL_SECURITY_INFORMATION`, `UNPROTECTED_DACL_SECURITY_INFORMATION`.
    pub const PROTECTED_DACL: u32 = 0x8000_0000;
    /// `UNPROTECTED_DACL_SECURITY_INFORMATION`.
    pub const UNPROTECTED_DACL: u32 = 0x2000_0000;
}

/// A descriptor's parts as bytes; a part that is not there has none.
#[derive(Clone, Hash, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// `Control` without `SE_SELF_RELATIVE`.
    pub control: u16,
    /// The owner.
    pub owner: Vec<u8>,
    /// The group.
    pub group: Vec<u8>,
    /// The system list.
    pub sacl: Vec<u8>,
    /// The list.
    pub dacl: Vec<u8>,
}

impl Descriptor {
    /// Takes the bytes of a self-relative descriptor apart.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let word = |at: usize| {
            bytes
                .get(at..at + 4)
                .map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize)
        };
        let sid_at = |at: usize| {
            let count = bytes.get(at + 1).copied().unwrap_or(0);
            let all = bytes.get(at..at + 8 + 4 * usize::from(count));
            all.filter(|_| at != 0).unwrap_or(&[]).to_vec()
        };
        let acl_at = |at: usize| {
            let size = bytes
                .get(at + 2..at + 4)
                .map_or(0, |b| usize::from(u16::from_le_bytes([b[0], b[1]])));
            let all = bytes.get(at..at + size);
            all.filter(|_| at != 0).unwrap_or(&[]).to_vec()
        };
        let flags = bytes
            .get(2..4)
            .map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
        Self {
            control: flags & !control::SELF_RELATIVE,
            owner: sid_at(word(4)),
            group: sid_at(word(8)),
            sacl: acl_at(word(12)),
            dacl: acl_at(word(16)),
        }
    }

    /// The self-relative form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0u8; 20];
        bytes[0] = 1;
        bytes[2..4].copy_from_slice(&(self.control | control::SELF_RELATIVE).to_le_bytes());
        let fields = [
            (12, &self.sacl),
            (16, &self.dacl),
            (4, &self.owner),
            (8, &self.group),
        ];
        for (field, content) in fields {
            if content.is_empty() {
                continue;
            }
            let offset = bytes.len() as u32;
            bytes[field..field + 4].copy_from_slice(&offset.to_le_bytes());
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    /// The list that counts: `None` for none, which allows everything.
    #[must_use]
    pub fn list(&self) -> Option<&[u8]> {
        let present = self.control & control::DACL_PRESENT != 0;
        (present && !self.dacl.is_empty()).then_some(&self.dacl)
    }

    /// Takes the parts over that `information` names.
    pub fn set(&mut self, information: u32, from: &Self) {
        if information & part::OWNER != 0 {
            self.owner.clone_from(&from.owner);
            self.control &= !control::OWNER_DEFAULTED;
        }
        if information & part::GROUP != 0 {
            self.group.clone_from(&from.group);
            self.control &= !control::GROUP_DEFAULTED;
        }
        if information & part::DACL != 0 {
            self.dacl.clone_from(&from.dacl);
            let bits = control::DACL_PRESENT | control::DACL_DEFAULTED;
            self.control = self.control & !bits | from.control & bits;
        }
        if information & part::SACL != 0 {
            self.sacl.clone_from(&from.sacl);
            let bits = control::SACL_PRESENT | control::SACL_DEFAULTED;
            self.control = self.control & !bits | from.control & bits;
        }
        if information & part::PROTECTED_DACL != 0 {
            self.control |= control::DACL_PROTECTED;
        }
        if information & part::UNPROTECTED_DACL != 0 {
            self.control &= !control::DACL_PROTECTED;
        }
    }

    /// Only the parts that `information` names.
    #[must_use]
    pub fn only(&self, information: u32) -> Self {
        let mut out = Self::default();
        out.set(information & 0x1f, self);
        if information & part::DACL != 0 {
            out.control |= self.control & control::DACL_PROTECTED;
        }
        out
    }
}

/// An access control list of entries that allow access.
#[must_use]
pub fn allow(entries: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut list = Vec::new();
    for (mask, who) in entries {
        list.extend([0, 0]);
        list.extend(((8 + who.len()) as u16).to_le_bytes());
        list.extend(mask.to_le_bytes());
        list.extend(who);
    }
    let mut acl = vec![2, 0];
    acl.extend(((8 + list.len()) as u16).to_le_bytes());
    acl.extend((entries.len() as u16).to_le_bytes());
    acl.extend([0, 0]);
    acl.extend(list);
    acl
}

/// What an object is protected with that nobody gave a descriptor: system and administrators may do
/// everything, for a device everybody may read, write and execute ("Securing Device Objects").
#[must_use]
pub fn default_descriptor(device: bool) -> Descriptor {
    let (system, administrators) = (sid(5, &[18]), sid(5, &[32, 544]));
    let all = 0x1000_0000;
    let mut entries = vec![(all, system.clone()), (all, administrators.clone())];
    if device {
        for who in [sid(1, &[0]), sid(5, &[12])] {
            entries.push((0xe000_0000, who));
        }
    } else {
        entries.push((0x8000_0000, sid(1, &[0])));
    }
    let mapping = if device {
        Some([0x12_0089, 0x12_0116, 0x12_00a0, 0x1f_01ff])
    } else {
        None
    };
    if let Some(mapping) = mapping {
        for entry in &mut entries {
            entry.0 = super::access::map(entry.0, mapping);
        }
    }
    Descriptor {
        control: control::DACL_PRESENT,
        owner: administrators,
        group: system,
        sacl: Vec::new(),
        dacl: allow(&entries),
    }
}

/// The descriptor of an object: its own, or the default of its kind.
#[must_use]
pub fn of(cx: &Machine, object: u64) -> Descriptor {
    match cx.se.descriptors.get(&object) {
        Some(bytes) => Descriptor::from_bytes(bytes),
        None => {
            let device = matches!(
                cx.ob.objects.get(&object).map(|o| &o.kind),
                Some(Kind::Device)
            );
            default_descriptor(device)
        }
    }
}

/// The descriptor of the guest at an address in self-relative form; `None` for NULL.
///
/// # Errors
/// A fault if it cannot be read.
pub fn read(cx: &Machine, descriptor: Gva<SECURITY_DESCRIPTOR>) -> Result<Option<Vec<u8>>, Fault> {
    if descriptor.is_null() {
        return Ok(None);
    }
    self_relative(cx, descriptor).map(Some)
}

/// Sets parts of an object's descriptor.
fn set(cx: &mut Machine, object: u64, information: u32, from: &[u8]) {
    let mut whole = of(cx, object);
    whole.set(information, &Descriptor::from_bytes(from));
    cx.se.descriptors.insert(object, whole.to_bytes());
    if let Some(Kind::Key(path)) = cx.ob.objects.get(&object).map(|o| o.kind.clone()) {
        crate::cm::notify::changed(cx, &path, crate::cm::notify::SECURITY);
    }
}

/// Routines on the security of objects.
pub struct ObjectSecurity;

#[exports("ntoskrnl.exe")]
impl ObjectSecurity {
    /// Sets parts of the security descriptor of an object.
    #[page("ntifs/nf-ntifs-zwsetsecurityobject")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("it belongs to the object that is open, not to the file or key behind it")]
    fn ZwSetSecurityObject(
        cx: &mut Machine,
        Handle: u64,
        SecurityInformation: u32,
        SecurityDescriptor: Gva<SECURITY_DESCRIPTOR>,
    ) -> Result<NTSTATUS, Fault> {
        let Some(entry) = handles::find(cx, Handle) else {
            return Ok(STATUS_INVALID_HANDLE);
        };
        let bytes = self_relative(cx, SecurityDescriptor)?;
        set(cx, entry.object, SecurityInformation, &bytes);
        Ok(STATUS_SUCCESS)
    }

    /// Gives parts of the security descriptor of an object, in self-relative form.
    #[page("ntifs/nf-ntifs-zwquerysecurityobject")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("it belongs to the object that is open, not to the file or key behind it")]
    fn ZwQuerySecurityObject(
        cx: &mut Machine,
        Handle: u64,
        SecurityInformation: u32,
        SecurityDescriptor: Gva,
        Length: u32,
        LengthNeeded: Gva<u32>,
    ) -> Result<NTSTATUS, Fault> {
        let Some(entry) = handles::find(cx, Handle) else {
            return Ok(STATUS_INVALID_HANDLE);
        };
        let bytes = of(cx, entry.object).only(SecurityInformation).to_bytes();
        cx.memory.write(LengthNeeded, bytes.len() as u32)?;
        if (Length as usize) < bytes.len() {
            return Ok(STATUS_BUFFER_TOO_SMALL);
        }
        cx.memory.write_bytes(SecurityDescriptor, &bytes)?;
        Ok(STATUS_SUCCESS)
    }

    /// Sets parts of the security descriptor of an object that the caller has a pointer to.
    #[irql(PASSIVE_LEVEL)]
    #[assumed("as ZwSetSecurityObject; it has no page of its own")]
    fn ObSetSecurityObjectByPointer(
        cx: &mut Machine,
        Object: u64,
        SecurityInformation: u32,
        SecurityDescriptor: Gva<SECURITY_DESCRIPTOR>,
    ) -> Result<NTSTATUS, Fault> {
        let bytes = self_relative(cx, SecurityDescriptor)?;
        set(cx, Object, SecurityInformation, &bytes);
        Ok(STATUS_SUCCESS)
    }

    /// A copy of the security descriptor of an object.
    #[page("ntifs/nf-ntifs-obgetobjectsecurity")]
    #[irql(..=APC_LEVEL)]
    #[assumed("what nobody gave a descriptor has that of its kind")]
    fn ObGetObjectSecurity(
        cx: &mut Machine,
        Object: u64,
        SecurityDescriptor: Gva<u64>,
        MemoryAllocated: Gva<bool>,
    ) -> Result<NTSTATUS, Fault> {
        cx.memory.read(SecurityDescriptor)?;
        cx.memory.write(MemoryAllocated, false)?;
        let bytes = of(cx, Object).to_bytes();
        let owner = cx.caller;
        let Some(block) = cx.pool_allocate_for(Pool::Paged, bytes.len() as u64, TAG, owner) else {
            return Ok(STATUS_INSUFFICIENT_RESOURCES);
        };
        cx.memory.write_bytes(block, &bytes)?;
        cx.memory.write(SecurityDescriptor, block.raw())?;
        cx.memory.write(MemoryAllocated, true)?;
        Ok(STATUS_SUCCESS)
    }

    /// Gives back what ObGetObjectSecurity gave.
    #[page("ntifs/nf-ntifs-obreleaseobjectsecurity")]
    #[irql(..=APC_LEVEL)]
    fn ObReleaseObjectSecurity(cx: &mut Machine, SecurityDescriptor: Gva, MemoryAllocated: bool) {
        if MemoryAllocated && !SecurityDescriptor.is_null() {
            cx.pool_free(SecurityDescriptor);
        }
    }

    /// A shared copy of a self-relative descriptor, with references.
    #[page("ntifs/nf-ntifs-oblogsecuritydescriptor")]
    #[irql(PASSIVE_LEVEL)]
    fn ObLogSecurityDescriptor(
        cx: &mut Machine,
        InputSecurityDescriptor: Gva<SECURITY_DESCRIPTOR>,
        OutputSecurityDescriptor: Gva<u64>,
        RefBias: u32,
    ) -> Result<NTSTATUS, Fault> {
        cx.memory.read(OutputSecurityDescriptor)?;
        let bytes = self_relative(cx, InputSecurityDescriptor)?;
        let shared = cx.se.shared.iter().find(|(_, (known, _))| *known == bytes);
        let at = match shared.map(|(at, _)| *at) {
            Some(at) => at,
            None => {
                let Some(block) = cx.pool_allocate(Pool::Paged, bytes.len() as u64, TAG) else {
                    return Ok(STATUS_INSUFFICIENT_RESOURCES);
                };
                cx.memory.write_bytes(block, &bytes)?;
                cx.se.shared.insert(block.raw(), (bytes, 0));
                block.raw()
            }
        };
        if let Some((_, count)) = cx.se.shared.get_mut(&at) {
            *count += u64::from(RefBias);
        }
        cx.memory.write(OutputSecurityDescriptor, at)?;
        Ok(STATUS_SUCCESS)
    }

    /// Adds references to a shared descriptor.
    #[page("ntifs/nf-ntifs-obreferencesecuritydescriptor")]
    #[irql(PASSIVE_LEVEL)]
    fn ObReferenceSecurityDescriptor(cx: &mut Machine, SecurityDescriptor: u64, Count: u32) {
        if let Some((_, count)) = cx.se.shared.get_mut(&SecurityDescriptor) {
            *count += u64::from(Count);
        }
    }

    /// Drops references to a shared descriptor; it goes with the last one.
    #[page("ntifs/nf-ntifs-obdereferencesecuritydescriptor")]
    #[irql(PASSIVE_LEVEL)]
    fn ObDereferenceSecurityDescriptor(cx: &mut Machine, SecurityDescriptor: u64, Count: u32) {
        let Some((_, count)) = cx.se.shared.get_mut(&SecurityDescriptor) else {
            return;
        };
        *count = count.saturating_sub(u64::from(Count));
        if *count == 0 {
            cx.se.shared.remove(&SecurityDescriptor);
            cx.pool_free(Gva::new(SecurityDescriptor));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_set_and_taken() {
        let whole = default_descriptor(true);
        let again = Descriptor::from_bytes(&whole.to_bytes());
        assert_eq!(again, whole);
        let mut other = Descriptor::default();
        other.set(part::OWNER, &whole);
        assert_eq!((other.owner.len(), other.dacl.len()), (16, 0));
        other.set(part::DACL | part::PROTECTED_DACL, &whole);
        assert_eq!(other.dacl, whole.dacl);
        assert_ne!(other.control & control::DACL_PROTECTED, 0);
        let only = whole.only(part::GROUP);
        assert_eq!(
            (only.group, only.owner.len(), only.control),
            (whole.group, 0, 0)
        );
        assert!(Descriptor::from_bytes(&[1, 0, 4]).dacl.is_empty());
    }
}
