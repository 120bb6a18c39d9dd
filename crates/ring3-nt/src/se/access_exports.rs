//! Routines that check access. Documentation: wdm.h, ntifs.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::access::{self, Mapping, Request};
use super::token::Token;
use super::{impersonation, token_object};
use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::layout::{
    GENERIC_MAPPING, LUID_AND_ATTRIBUTES, PRIVILEGE_SET, SECURITY_DESCRIPTOR,
    SECURITY_SUBJECT_CONTEXT,
};
use crate::ntstatus::{NTSTATUS, STATUS_ACCESS_DENIED, STATUS_SUCCESS};

const TAG: u32 = u32::from_le_bytes(*b"SePr");
/// `SE_PRIVILEGE_USED_FOR_ACCESS`.
const USED_FOR_ACCESS: u32 = 0x8000_0000;

/// `PRIVILEGE_SET_ALL_NECESSARY`.
const ALL_NECESSARY: u32 = 1;

/// A GENERIC_MAPPING.
pub(super) fn mapping(cx: &Machine, at: Gva<GENERIC_MAPPING>) -> Result<Mapping, Fault> {
    Ok([
        cx.memory.get(at, GENERIC_MAPPING::GenericRead)?,
        cx.memory.get(at, GENERIC_MAPPING::GenericWrite)?,
        cx.memory.get(at, GENERIC_MAPPING::GenericExecute)?,
        cx.memory.get(at, GENERIC_MAPPING::GenericAll)?,
    ])
}

/// The token that counts in a subject context: the client's, else the process's, if they are tokens.
pub(super) fn token_of_subject(
    cx: &Machine,
    context: Gva<SECURITY_SUBJECT_CONTEXT>,
) -> Result<Option<Token>, Fault> {
    let client = cx
        .memory
        .get(context, SECURITY_SUBJECT_CONTEXT::ClientToken)?
        .raw();
    let primary = cx
        .memory
        .get(context, SECURITY_SUBJECT_CONTEXT::PrimaryToken)?
        .raw();
    let found = token_object::token_at(cx, client).or_else(|| token_object::token_at(cx, primary));
    Ok(found.cloned())
}

fn effective(cx: &Machine, context: Gva<SECURITY_SUBJECT_CONTEXT>) -> Result<Token, Fault> {
    Ok(token_of_subject(cx, context)?.unwrap_or_else(Token::administrator))
}

/// A PRIVILEGE_SET of privileges that were used, in pool; 0 for none.
fn privilege_set(cx: &mut Machine, used: &[u32]) -> Result<u64, Fault> {
    if used.is_empty() {
        return Ok(0);
    }
    let size = 8 + LUID_AND_ATTRIBUTES::SIZE * used.len() as u64;
    let owner = cx.caller;
    let Some(block) = cx.pool_allocate_for(Pool::Paged, size, TAG, owner) else {
        return Ok(0);
    };
    let mut bytes = Vec::new();
    bytes.extend((used.len() as u32).to_le_bytes());
    bytes.extend(ALL_NECESSARY.to_le_bytes());
    for value in used {
        bytes.extend(u64::from(*value).to_le_bytes());
        bytes.extend(USED_FOR_ACCESS.to_le_bytes());
    }
    cx.memory.write_bytes(block, &bytes)?;
    Ok(block.raw())
}

/// Access checks.
pub struct AccessChecks;

#[exports("ntoskrnl.exe")]
impl AccessChecks {
    /// Notes the tokens of the current thread.
    #[page("ntifs/nf-ntifs-secapturesubjectcontext")]
    #[irql(PASSIVE_LEVEL)]
    fn SeCaptureSubjectContext(
        cx: &mut Machine,
        SubjectContext: Gva<SECURITY_SUBJECT_CONTEXT>,
    ) -> Result<(), Fault> {
        let (thread, process) = (cx.thread().id, cx.thread().process);
        impersonation::capture(cx, Some(thread), process, SubjectContext)
    }

    /// Gives the tokens back.
    #[page("ntifs/nf-ntifs-sereleasesubjectcontext")]
    #[irql(PASSIVE_LEVEL)]
    fn SeReleaseSubjectContext(
        cx: &mut Machine,
        SubjectContext: Gva<SECURITY_SUBJECT_CONTEXT>,
    ) -> Result<(), Fault> {
        for field in [
            SECURITY_SUBJECT_CONTEXT::ClientToken,
            SECURITY_SUBJECT_CONTEXT::PrimaryToken,
        ] {
            let token = cx.memory.get(SubjectContext, field)?.raw();
            if token_object::token_at(cx, token).is_some() {
                cx.dereference_object(token);
            }
        }
        cx.memory.set(
            SubjectContext,
            SECURITY_SUBJECT_CONTEXT::ClientToken,
            Gva::NULL,
        )?;
        cx.memory.set(
            SubjectContext,
            SECURITY_SUBJECT_CONTEXT::PrimaryToken,
            Gva::NULL,
        )
    }

    /// Locks the tokens. They never change here.
    #[page("ntifs/nf-ntifs-selocksubjectcontext")]
    #[irql(PASSIVE_LEVEL)]
    #[alias("SeUnlockSubjectContext")]
    fn SeLockSubjectContext(
        cx: &mut Machine,
        SubjectContext: Gva<SECURITY_SUBJECT_CONTEXT>,
    ) -> Result<(), Fault> {
        cx.memory
            .get(SubjectContext, SECURITY_SUBJECT_CONTEXT::PrimaryToken)?;
        Ok(())
    }

    /// TRUE if the access that is asked for may be granted.
    #[page("wdm/nf-wdm-seaccesscheck")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("entries for object types, and conditional entries, which count for nothing")]
    fn SeAccessCheck(
        cx: &mut Machine,
        SecurityDescriptor: Gva<SECURITY_DESCRIPTOR>,
        SubjectSecurityContext: Gva<SECURITY_SUBJECT_CONTEXT>,
        SubjectContextLocked: bool,
        DesiredAccess: u32,
        PreviouslyGrantedAccess: u32,
        Privileges: Gva<u64>,
        GenericMapping: Gva<GENERIC_MAPPING>,
        AccessMode: u8,
        GrantedAccess: Gva<u32>,
        AccessStatus: Gva<NTSTATUS>,
    ) -> Result<bool, Fault> {
        let _ = SubjectContextLocked;
        let mapping = mapping(cx, GenericMapping)?;
        cx.memory.read(GrantedAccess)?;
        cx.memory.read(AccessStatus.cast::<u32>())?;
        if !Privileges.is_null() {
            cx.memory.write(Privileges, 0)?;
        }
        let (status, granted, used) = if AccessMode == 0 {
            // Kernel mode may do everything.
            let all = if DesiredAccess & access::right::MAXIMUM != 0 {
                mapping[3]
            } else {
                0
            };
            let wanted = access::map(DesiredAccess & !access::right::MAXIMUM, mapping);
            (
                STATUS_SUCCESS,
                wanted | all | PreviouslyGrantedAccess,
                Vec::new(),
            )
        } else if SecurityDescriptor.is_null() {
            (STATUS_ACCESS_DENIED, 0, Vec::new())
        } else {
            let token = effective(cx, SubjectSecurityContext)?;
            let request = Request {
                desired: DesiredAccess,
                previous: PreviouslyGrantedAccess,
                mapping,
            };
            match access::check(cx, SecurityDescriptor, &token, request)? {
                Ok(granted) => (STATUS_SUCCESS, granted.access, granted.privileges),
                Err(status) => (status, 0, Vec::new()),
            }
        };
        if !Privileges.is_null() {
            let set = privilege_set(cx, &used)?;
            cx.memory.write(Privileges, set)?;
        }
        cx.memory.write(GrantedAccess, granted)?;
        cx.memory.write(AccessStatus, status)?;
        Ok(status.is_success())
    }

    /// Frees a set of privileges that SeAccessCheck gave.
    #[page("ntifs/nf-ntifs-sefreeprivileges")]
    #[irql(PASSIVE_LEVEL)]
    fn SeFreePrivileges(cx: &mut Machine, Privileges: Gva) {
        if !Privileges.is_null() {
            cx.pool_free(Privileges);
        }
    }

    /// TRUE if the current thread has a privilege. Kernel mode has all of them.
    #[page("ntddk/nf-ntddk-sesingleprivilegecheck")]
    #[irql(PASSIVE_LEVEL)]
    fn SeSinglePrivilegeCheck(cx: &mut Machine, PrivilegeValue: u64, PreviousMode: u8) -> bool {
        PreviousMode == 0 || token_object::effective(cx).holds(PrivilegeValue as u32)
    }

    /// TRUE if a context has privileges.
    #[page("ntifs/nf-ntifs-seprivilegecheck")]
    #[irql(PASSIVE_LEVEL)]
    fn SePrivilegeCheck(
        cx: &mut Machine,
        RequiredPrivileges: Gva<PRIVILEGE_SET>,
        SubjectSecurityContext: Gva<SECURITY_SUBJECT_CONTEXT>,
        AccessMode: u8,
    ) -> Result<bool, Fault> {
        if AccessMode == 0 {
            return Ok(true);
        }
        let token = effective(cx, SubjectSecurityContext)?;
        let count = cx
            .memory
            .get(RequiredPrivileges, PRIVILEGE_SET::PrivilegeCount)?;
        let flags = cx.memory.get(RequiredPrivileges, PRIVILEGE_SET::Control)?;
        let first = RequiredPrivileges.at(PRIVILEGE_SET::Privilege).cast::<u8>();
        let mut held = 0;
        for i in 0..u64::from(count.min(64)) {
            let value: u32 = cx
                .memory
                .read(first.byte_add(i * LUID_AND_ATTRIBUTES::SIZE).cast())?;
            if token.holds(value) {
                held += 1;
                // The caller sees which privileges were used.
                let at = first
                    .byte_add(i * LUID_AND_ATTRIBUTES::SIZE + 8)
                    .cast::<u32>();
                let attributes = cx.memory.read(at)?;
                cx.memory.write(at, attributes | USED_FOR_ACCESS)?;
            }
        }
        Ok(if flags & ALL_NECESSARY != 0 {
            held == count
        } else {
            held > 0
        })
    }

    /// Replaces generic rights by what they mean.
    #[page("wdm/nf-wdm-rtlmapgenericmask")]
    #[irql(any)]
    fn RtlMapGenericMask(
        cx: &mut Machine,
        AccessMask: Gva<u32>,
        GenericMapping: Gva<GENERIC_MAPPING>,
    ) -> Result<(), Fault> {
        let mapping = mapping(cx, GenericMapping)?;
        let mapped = access::map(cx.memory.read(AccessMask)?, mapping);
        cx.memory.write(AccessMask, mapped)
    }

    /// TRUE if all wanted rights were granted.
    #[page("")]
    #[irql(any)]
    fn RtlAreAllAccessesGranted(cx: &mut Machine, GrantedAccess: u32, DesiredAccess: u32) -> bool {
        let _ = &cx;
        DesiredAccess & !GrantedAccess == 0
    }

    /// TRUE if some wanted right was granted.
    #[page("")]
    #[irql(any)]
    fn RtlAreAnyAccessesGranted(cx: &mut Machine, GrantedAccess: u32, DesiredAccess: u32) -> bool {
        let _ = &cx;
        DesiredAccess & GrantedAccess != 0
    }
}
