//! Routines on tokens. Documentation: ntifs.h, ntddk.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::token::Token;
use super::token_object::{create, of_process, token_at};
use super::{token, token_information};
use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::layout::{EPROCESS, OBJECT_ATTRIBUTES, TOKEN};
use crate::machine::thread::ProcessId;
use crate::ntstatus::{
    NTSTATUS, STATUS_BAD_IMPERSONATION_LEVEL, STATUS_BUFFER_TOO_SMALL,
    STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_HANDLE, STATUS_INVALID_INFO_CLASS,
    STATUS_NO_TOKEN, STATUS_NOT_ALL_ASSIGNED, STATUS_OBJECT_TYPE_MISMATCH, STATUS_SUCCESS,
};
use crate::ob::duplicate::process_of;
use crate::ob::handles;

const TAG: u32 = u32::from_le_bytes(*b"SeTi");
/// `OBJ_KERNEL_HANDLE`.
const OBJ_KERNEL_HANDLE: u32 = 0x200;

/// The token behind a handle.
fn by_handle(cx: &Machine, handle: u64) -> Result<u64, NTSTATUS> {
    let entry = handles::find(cx, handle).ok_or(STATUS_INVALID_HANDLE)?;
    match token_at(cx, entry.object) {
        Some(_) => Ok(entry.object),
        None => Err(STATUS_OBJECT_TYPE_MISMATCH),
    }
}

/// The process of a process object.
pub(super) fn process_at(cx: &Machine, object: u64) -> ProcessId {
    cx.processes
        .values()
        .find(|p| p.object.raw() == object)
        .map_or(ProcessId::SYSTEM, |p| p.id)
}

fn open(
    cx: &mut Machine,
    token: u64,
    access: u32,
    attributes: u32,
    out: Gva<u64>,
) -> Result<NTSTATUS, Fault> {
    let process = cx.thread().space();
    let handle = handles::open(
        cx,
        token,
        access,
        process,
        attributes & OBJ_KERNEL_HANDLE != 0,
    );
    cx.memory.write(out, handle)?;
    Ok(STATUS_SUCCESS)
}

fn open_of_process(
    cx: &mut Machine,
    process: u64,
    access: u32,
    attributes: u32,
    out: Gva<u64>,
) -> Result<NTSTATUS, Fault> {
    cx.memory.read(out)?;
    let process = match process_of(cx, process) {
        Ok(process) => process,
        Err(status) => return Ok(status),
    };
    let token = of_process(cx, process);
    if token.is_null() {
        return Ok(STATUS_INSUFFICIENT_RESOURCES);
    }
    open(cx, token.raw(), access, attributes, out)
}

fn open_of_thread(
    cx: &mut Machine,
    thread: u64,
    access: u32,
    attributes: u32,
    out: Gva<u64>,
) -> Result<NTSTATUS, Fault> {
    cx.memory.read(out)?;
    let object = if thread == u64::MAX - 1 {
        cx.thread().object.raw()
    } else {
        match handles::find(cx, thread) {
            Some(entry) => entry.object,
            None => return Ok(STATUS_INVALID_HANDLE),
        }
    };
    let Some(id) = cx
        .threads
        .values()
        .find(|t| t.object.raw() == object)
        .map(|t| t.id)
    else {
        return Ok(STATUS_OBJECT_TYPE_MISMATCH);
    };
    match cx.se.impersonating.get(&id).map(|i| i.token) {
        Some(token) => open(cx, token, access, attributes, out),
        None => Ok(STATUS_NO_TOKEN),
    }
}

/// Routines on tokens.
pub struct Tokens;

#[exports("ntoskrnl.exe")]
impl Tokens {
    /// The primary token of a process, with a reference.
    #[page("ntifs/nf-ntifs-psreferenceprimarytoken")]
    #[irql(..=APC_LEVEL)]
    fn PsReferencePrimaryToken(cx: &mut Machine, Process: Gva<EPROCESS>) -> Gva<TOKEN> {
        let process = process_at(cx, Process.raw());
        let token = of_process(cx, process);
        cx.reference_object(token.raw());
        token
    }

    /// Drops the reference of PsReferencePrimaryToken.
    #[page("ntifs/nf-ntifs-psdereferenceprimarytoken")]
    #[irql(..=APC_LEVEL)]
    #[alias("PsDereferenceImpersonationToken")]
    fn PsDereferencePrimaryToken(cx: &mut Machine, PrimaryToken: Gva<TOKEN>) {
        cx.dereference_object(PrimaryToken.raw());
    }

    /// Opens the token of a process.
    #[page("ntifs/nf-ntifs-zwopenprocesstokenex")]
    #[irql(PASSIVE_LEVEL)]
    #[alias("NtOpenProcessTokenEx")]
    fn ZwOpenProcessTokenEx(
        cx: &mut Machine,
        ProcessHandle: u64,
        DesiredAccess: u32,
        HandleAttributes: u32,
        TokenHandle: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        open_of_process(
            cx,
            ProcessHandle,
            DesiredAccess,
            HandleAttributes,
            TokenHandle,
        )
    }

    /// Opens the token of a process; the handle is one of the process.
    #[page("ntifs/nf-ntifs-ntopenprocesstoken")]
    #[irql(PASSIVE_LEVEL)]
    #[alias("NtOpenProcessToken")]
    fn ZwOpenProcessToken(
        cx: &mut Machine,
        ProcessHandle: u64,
        DesiredAccess: u32,
        TokenHandle: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        open_of_process(cx, ProcessHandle, DesiredAccess, 0, TokenHandle)
    }

    /// Opens the token that a thread acts with.
    #[page("ntifs/nf-ntifs-zwopenthreadtokenex")]
    #[irql(PASSIVE_LEVEL)]
    #[alias("NtOpenThreadTokenEx")]
    fn ZwOpenThreadTokenEx(
        cx: &mut Machine,
        ThreadHandle: u64,
        DesiredAccess: u32,
        OpenAsSelf: bool,
        HandleAttributes: u32,
        TokenHandle: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        let _ = OpenAsSelf;
        open_of_thread(
            cx,
            ThreadHandle,
            DesiredAccess,
            HandleAttributes,
            TokenHandle,
        )
    }

    /// Opens the token that a thread acts with; the handle is one of the process.
    #[page("ntifs/nf-ntifs-ntopenthreadtoken")]
    #[irql(PASSIVE_LEVEL)]
    #[alias("NtOpenThreadToken")]
    fn ZwOpenThreadToken(
        cx: &mut Machine,
        ThreadHandle: u64,
        DesiredAccess: u32,
        OpenAsSelf: bool,
        TokenHandle: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        let _ = OpenAsSelf;
        open_of_thread(cx, ThreadHandle, DesiredAccess, 0, TokenHandle)
    }

    /// Tells about a token.
    #[page("ntifs/nf-ntifs-zwqueryinformationtoken")]
    #[irql(PASSIVE_LEVEL)]
    #[alias("NtQueryInformationToken")]
    #[partial("the classes of access information, of capabilities and of attributes")]
    fn ZwQueryInformationToken(
        cx: &mut Machine,
        TokenHandle: u64,
        TokenInformationClass: u32,
        TokenInformation: Gva,
        TokenInformationLength: u32,
        ReturnLength: Gva<u32>,
    ) -> Result<NTSTATUS, Fault> {
        let at = match by_handle(cx, TokenHandle) {
            Ok(at) => at,
            Err(status) => return Ok(status),
        };
        let (base, id) = (TokenInformation.raw(), at & 0xffff_ffff);
        let found = token_at(cx, at)
            .and_then(|t| token_information::of(t, TokenInformationClass, base, id));
        let Some(bytes) = found else {
            return Ok(STATUS_INVALID_INFO_CLASS);
        };
        cx.memory.write(ReturnLength, bytes.len() as u32)?;
        if (TokenInformationLength as usize) < bytes.len() {
            return Ok(STATUS_BUFFER_TOO_SMALL);
        }
        cx.memory.write_bytes(TokenInformation, &bytes)?;
        Ok(STATUS_SUCCESS)
    }

    /// Tells about a token that the caller has a pointer to. A session or an integrity level is given as
    /// a number, all else in pool that the caller frees.
    #[page("ntifs/nf-ntifs-sequeryinformationtoken")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("the classes of access information, of capabilities and of attributes")]
    fn SeQueryInformationToken(
        cx: &mut Machine,
        Token: Gva<TOKEN>,
        TokenInformationClass: u32,
        TokenInformation: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        let Some(token) = token_at(cx, Token.raw()).cloned() else {
            return Ok(STATUS_INVALID_HANDLE);
        };
        match TokenInformationClass {
            12 => {
                cx.memory.write(TokenInformation.cast(), token.session)?;
                return Ok(STATUS_SUCCESS);
            }
            25 => {
                cx.memory
                    .write(TokenInformation.cast(), token.integrity())?;
                return Ok(STATUS_SUCCESS);
            }
            _ => {}
        }
        cx.memory.read(TokenInformation)?;
        let id = Token.raw() & 0xffff_ffff;
        let Some(bytes) = token_information::of(&token, TokenInformationClass, 0, id) else {
            return Ok(STATUS_INVALID_INFO_CLASS);
        };
        let owner = cx.caller;
        let Some(block) = cx.pool_allocate_for(Pool::Paged, bytes.len() as u64, TAG, owner) else {
            return Ok(STATUS_INSUFFICIENT_RESOURCES);
        };
        let bytes = token_information::of(&token, TokenInformationClass, block.raw(), id)
            .unwrap_or_default();
        cx.memory.write_bytes(block, &bytes)?;
        cx.memory.write(TokenInformation, block.raw())?;
        Ok(STATUS_SUCCESS)
    }

    /// A copy of a token, primary or for impersonation.
    #[page("ntifs/nf-ntifs-zwduplicatetoken")]
    #[irql(PASSIVE_LEVEL)]
    #[alias("NtDuplicateToken")]
    #[partial("EffectiveOnly")]
    fn ZwDuplicateToken(
        cx: &mut Machine,
        ExistingTokenHandle: u64,
        DesiredAccess: u32,
        ObjectAttributes: Gva<OBJECT_ATTRIBUTES>,
        EffectiveOnly: bool,
        TokenType: i32,
        NewTokenHandle: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        let _ = EffectiveOnly;
        cx.memory.read(NewTokenHandle)?;
        let at = match by_handle(cx, ExistingTokenHandle) {
            Ok(at) => at,
            Err(status) => return Ok(status),
        };
        let (mut attributes, mut level) = (0, 0);
        if !ObjectAttributes.is_null() {
            attributes = cx
                .memory
                .get(ObjectAttributes, OBJECT_ATTRIBUTES::Attributes)?;
            let quality = cx.memory.get(
                ObjectAttributes,
                OBJECT_ATTRIBUTES::SecurityQualityOfService,
            )?;
            if !quality.is_null() {
                level = cx.memory.read(quality.byte_add(4).cast::<i32>())?;
            }
        }
        let Some(mut copy) = token_at(cx, at).cloned() else {
            return Ok(STATUS_INVALID_HANDLE);
        };
        // An impersonation token never gets a higher level than it has.
        if copy.level.is_some_and(|old| level > old) {
            return Ok(STATUS_BAD_IMPERSONATION_LEVEL);
        }
        copy.level = (TokenType == 2).then_some(level);
        let access = if DesiredAccess == 0 {
            handles::find(cx, ExistingTokenHandle).map_or(0, |entry| entry.access)
        } else {
            DesiredAccess
        };
        let new = create(cx, copy);
        if new.is_null() {
            return Ok(STATUS_INSUFFICIENT_RESOURCES);
        }
        let status = open(cx, new.raw(), access, attributes, NewTokenHandle)?;
        cx.dereference_object(new.raw());
        Ok(status)
    }

    /// Enables and disables privileges of a token.
    #[irql(PASSIVE_LEVEL)]
    #[alias("NtAdjustPrivilegesToken")]
    #[assumed("as AdjustTokenPrivileges of user mode; it has no page of its own")]
    fn ZwAdjustPrivilegesToken(
        cx: &mut Machine,
        TokenHandle: u64,
        DisableAllPrivileges: bool,
        NewState: Gva,
        BufferLength: u32,
        PreviousState: Gva,
        ReturnLength: Gva<u32>,
    ) -> Result<NTSTATUS, Fault> {
        let at = match by_handle(cx, TokenHandle) {
            Ok(at) => at,
            Err(status) => return Ok(status),
        };
        let mut changes = Vec::new();
        if !DisableAllPrivileges {
            let count: u32 = cx.memory.read(NewState.cast())?;
            for n in 0..u64::from(count.min(64)) {
                let entry = NewState.byte_add(4 + 12 * n);
                let value: u32 = cx.memory.read(entry.cast())?;
                let attributes: u32 = cx.memory.read(entry.byte_add(8).cast())?;
                changes.push((value, attributes));
            }
        }
        let Some(mut changed) = token_at(cx, at).cloned() else {
            return Ok(STATUS_INVALID_HANDLE);
        };
        let (before, all) = token_information::adjust(&mut changed, &changes, DisableAllPrivileges);
        if !PreviousState.is_null() {
            let need = 4 + 12 * before.len() as u32;
            cx.memory.write(ReturnLength, need)?;
            if BufferLength < need {
                return Ok(STATUS_BUFFER_TOO_SMALL);
            }
            cx.memory
                .write(PreviousState.cast::<u32>(), before.len() as u32)?;
            for (n, (value, attributes)) in before.iter().enumerate() {
                let entry = PreviousState.byte_add(4 + 12 * n as u64);
                cx.memory.write(entry.cast::<u64>(), u64::from(*value))?;
                cx.memory
                    .write(entry.byte_add(8).cast::<u32>(), *attributes)?;
            }
        }
        cx.se.tokens.insert(at, changed);
        Ok(if all {
            STATUS_SUCCESS
        } else {
            STATUS_NOT_ALL_ASSIGNED
        })
    }

    /// TRUE if a token is an administrator's.
    #[page("ntifs/nf-ntifs-setokenisadmin")]
    #[irql(PASSIVE_LEVEL)]
    fn SeTokenIsAdmin(cx: &mut Machine, Token: Gva<TOKEN>) -> bool {
        token_at(cx, Token.raw()).is_some_and(token::Token::is_admin)
    }

    /// TRUE if a token has restricting identifiers.
    #[page("ntifs/nf-ntifs-setokenisrestricted")]
    #[irql(PASSIVE_LEVEL)]
    fn SeTokenIsRestricted(cx: &mut Machine, Token: Gva<TOKEN>) -> bool {
        token_at(cx, Token.raw()).is_some_and(|t: &Token| !t.restricted.is_empty())
    }

    /// TRUE if restricting identifiers count for writing only. No token is so.
    #[page("ntifs/nf-ntifs-setokenisrestricted")]
    #[irql(PASSIVE_LEVEL)]
    fn SeTokenIsWriteRestricted(cx: &mut Machine, Token: Gva<TOKEN>) -> bool {
        let _ = (&cx, Token);
        false
    }

    /// The type of a token: TokenPrimary or TokenImpersonation.
    #[page("ntifs/nf-ntifs-setokentype")]
    #[irql(PASSIVE_LEVEL)]
    fn SeTokenType(cx: &mut Machine, Token: Gva<TOKEN>) -> Result<i32, Fault> {
        cx.memory.get(Token, TOKEN::TokenType)
    }

    /// The level of an impersonation token.
    #[irql(PASSIVE_LEVEL)]
    #[page("ntifs/nf-ntifs-setokentype")]
    fn SeTokenImpersonationLevel(cx: &mut Machine, Token: Gva<TOKEN>) -> Result<i32, Fault> {
        cx.memory.get(Token, TOKEN::ImpersonationLevel)
    }

    /// The logon session of a token.
    #[page("ntifs/nf-ntifs-sequeryauthenticationidtoken")]
    #[irql(PASSIVE_LEVEL)]
    fn SeQueryAuthenticationIdToken(
        cx: &mut Machine,
        Token: Gva<TOKEN>,
        AuthenticationId: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        let id: u64 = cx.memory.read(Token.at(TOKEN::AuthenticationId).cast())?;
        cx.memory.write(AuthenticationId, id)?;
        Ok(STATUS_SUCCESS)
    }

    /// The session of a token.
    #[page("ntifs/nf-ntifs-sequerysessionidtoken")]
    #[irql(PASSIVE_LEVEL)]
    fn SeQuerySessionIdToken(
        cx: &mut Machine,
        Token: Gva<TOKEN>,
        SessionId: Gva<u32>,
    ) -> Result<NTSTATUS, Fault> {
        let session = cx.memory.get(Token, TOKEN::SessionId)?;
        cx.memory.write(SessionId, session)?;
        Ok(STATUS_SUCCESS)
    }
}
