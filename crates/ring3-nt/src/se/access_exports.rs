//! Routines that check access. Documentation: wdm.h, ntifs.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::access::{self, Mapping, Request};
use crate::Machine;
use crate::layout::{
    GENERIC_MAPPING, LUID_AND_ATTRIBUTES, PRIVILEGE_SET, SECURITY_DESCRIPTOR,
    SECURITY_SUBJECT_CONTEXT, TOKEN,
};
use crate::ntstatus::{NTSTATUS, STATUS_ACCESS_DENIED, STATUS_SUCCESS};

/// `PRIVILEGE_SET_ALL_NECESSARY`.
const ALL_NECESSARY: u32 = 1;

fn mapping(cx: &Machine, at: Gva<GENERIC_MAPPING>) -> Result<Mapping, Fault> {
    Ok([
        cx.memory.get(at, GENERIC_MAPPING::GenericRead)?,
        cx.memory.get(at, GENERIC_MAPPING::GenericWrite)?,
        cx.memory.get(at, GENERIC_MAPPING::GenericExecute)?,
        cx.memory.get(at, GENERIC_MAPPING::GenericAll)?,
    ])
}

/// The token that counts in a subject context: the client's, else the process's.
fn effective(cx: &Machine, context: Gva<SECURITY_SUBJECT_CONTEXT>) -> Result<access::Token, Fault> {
    let client = cx
        .memory
        .get(context, SECURITY_SUBJECT_CONTEXT::ClientToken)?
        .raw();
    let primary = cx
        .memory
        .get(context, SECURITY_SUBJECT_CONTEXT::PrimaryToken)?
        .raw();
    let found = access::token_at(cx, client).or_else(|| access::token_at(cx, primary));
    Ok(found.cloned().unwrap_or_else(access::Token::administrator))
}

fn of_current(cx: &mut Machine) -> access::Token {
    let process = cx.thread().process;
    let at = access::token_of(cx, process);
    access::token_at(cx, at.raw())
        .cloned()
        .unwrap_or_else(access::Token::administrator)
}

/// Access checks.
pub struct AccessChecks;

#[exports("ntoskrnl.exe")]
impl AccessChecks {
    /// Notes the tokens of the current thread.
    #[page("ntifs/nf-ntifs-secapturesubjectcontext")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("impersonation")]
    fn SeCaptureSubjectContext(
        cx: &mut Machine,
        SubjectContext: Gva<SECURITY_SUBJECT_CONTEXT>,
    ) -> Result<(), Fault> {
        let process = cx.thread().process;
        let token = access::token_of(cx, process);
        cx.memory.set(
            SubjectContext,
            SECURITY_SUBJECT_CONTEXT::ClientToken,
            Gva::NULL,
        )?;
        cx.memory.set(
            SubjectContext,
            SECURITY_SUBJECT_CONTEXT::ImpersonationLevel,
            0,
        )?;
        cx.memory.set(
            SubjectContext,
            SECURITY_SUBJECT_CONTEXT::PrimaryToken,
            token.cast(),
        )?;
        cx.memory.set(
            SubjectContext,
            SECURITY_SUBJECT_CONTEXT::ProcessAuditId,
            Gva::new(process.guest()),
        )
    }

    /// Gives the tokens back.
    #[page("ntifs/nf-ntifs-sereleasesubjectcontext")]
    #[irql(PASSIVE_LEVEL)]
    fn SeReleaseSubjectContext(
        cx: &mut Machine,
        SubjectContext: Gva<SECURITY_SUBJECT_CONTEXT>,
    ) -> Result<(), Fault> {
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
    #[partial(
        "object entries, integrity levels, restricted tokens, and the set of privileges that were used"
    )]
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
        let (status, granted) = if AccessMode == 0 {
            // Kernel mode may do everything.
            let all = if DesiredAccess & access::right::MAXIMUM != 0 {
                mapping[3]
            } else {
                0
            };
            let wanted = access::map(DesiredAccess & !access::right::MAXIMUM, mapping);
            (STATUS_SUCCESS, wanted | all | PreviouslyGrantedAccess)
        } else if SecurityDescriptor.is_null() {
            (STATUS_ACCESS_DENIED, 0)
        } else {
            let token = effective(cx, SubjectSecurityContext)?;
            let request = Request {
                desired: DesiredAccess,
                previous: PreviouslyGrantedAccess,
                mapping,
            };
            access::answer(access::check(cx, SecurityDescriptor, &token, request)?)
        };
        cx.memory.write(GrantedAccess, granted)?;
        cx.memory.write(AccessStatus, status)?;
        Ok(status.is_success())
    }

    /// TRUE if the current thread has a privilege. Kernel mode has all of them.
    #[page("ntddk/nf-ntddk-sesingleprivilegecheck")]
    #[irql(PASSIVE_LEVEL)]
    fn SeSinglePrivilegeCheck(cx: &mut Machine, PrivilegeValue: u64, PreviousMode: u8) -> bool {
        PreviousMode == 0 || of_current(cx).holds(PrivilegeValue as u32)
    }

    /// TRUE if a context has privileges.
    #[page("ntifs/nf-ntifs-seprivilegecheck")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("which privileges were used is not noted")]
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
            held += u32::from(token.holds(value));
        }
        Ok(if flags & ALL_NECESSARY != 0 {
            held == count
        } else {
            held > 0
        })
    }

    /// TRUE if a token is an administrator's.
    #[page("ntifs/nf-ntifs-setokenisadmin")]
    #[irql(PASSIVE_LEVEL)]
    fn SeTokenIsAdmin(cx: &mut Machine, Token: Gva<TOKEN>) -> bool {
        access::token_at(cx, Token.raw()).is_some_and(access::Token::is_admin)
    }

    /// TRUE if a token is restricted. None is.
    #[page("ntifs/nf-ntifs-setokenisrestricted")]
    #[irql(PASSIVE_LEVEL)]
    #[alias("SeTokenIsWriteRestricted")]
    fn SeTokenIsRestricted(cx: &mut Machine, Token: Gva<TOKEN>) -> bool {
        let _ = (&cx, Token);
        false
    }

    /// The type of a token: TokenPrimary.
    #[page("ntifs/nf-ntifs-setokentype")]
    #[irql(PASSIVE_LEVEL)]
    fn SeTokenType(cx: &mut Machine, Token: Gva<TOKEN>) -> Result<i32, Fault> {
        cx.memory.get(Token, TOKEN::TokenType)
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
