//! Acting for a client: impersonation of a thread. Documentation: ntifs.h, `PsImpersonateClient`,
//! `SeCreateClientSecurity`, `SeImpersonateClientEx`.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::token_exports::process_at;
use super::token_object::{create, of_process, token_at};
use crate::Machine;
use crate::layout::{ETHREAD, SECURITY_QUALITY_OF_SERVICE, SECURITY_SUBJECT_CONTEXT, TOKEN};
use crate::machine::thread::ThreadId;
use crate::ntstatus::{
    NTSTATUS, STATUS_BAD_IMPERSONATION_LEVEL, STATUS_INSUFFICIENT_RESOURCES,
    STATUS_INVALID_PARAMETER, STATUS_SUCCESS,
};

/// `SecurityImpersonation`.
const SECURITY_IMPERSONATION: i32 = 2;
/// Offsets in SECURITY_CLIENT_CONTEXT of ntifs.h: the quality of service comes first.
const CLIENT_TOKEN: u64 = 0x10;
const DIRECT_ACCESS: u64 = 0x18;

/// Whom a thread acts for.
#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq)]
pub struct Impersonation {
    /// The token object, with a reference.
    pub token: u64,
    /// `CopyOnOpen`.
    pub copy_on_open: bool,
    /// `EffectiveOnly`.
    pub effective_only: bool,
    /// `SECURITY_IMPERSONATION_LEVEL`.
    pub level: i32,
}

fn thread_at(cx: &Machine, object: u64) -> Option<ThreadId> {
    cx.threads
        .values()
        .find(|t| t.object.raw() == object)
        .map(|t| t.id)
}

/// Ends what a thread does for somebody else.
fn revert(cx: &mut Machine, thread: ThreadId) {
    if let Some(old) = cx.se.impersonating.remove(&thread) {
        cx.dereference_object(old.token);
    }
}

fn impersonate(cx: &mut Machine, thread: ThreadId, new: Impersonation) {
    cx.reference_object(new.token);
    revert(cx, thread);
    cx.se.impersonating.insert(thread, new);
}

/// Fills a SECURITY_CLIENT_CONTEXT with a copy of the token that counts in a subject context.
fn client_security(
    cx: &mut Machine,
    token: u64,
    quality: Gva<SECURITY_QUALITY_OF_SERVICE>,
    context: Gva,
) -> Result<NTSTATUS, Fault> {
    let level = cx
        .memory
        .get(quality, SECURITY_QUALITY_OF_SERVICE::ImpersonationLevel)?;
    let mut quality_bytes = [0u8; 12];
    cx.memory
        .read_bytes(quality.cast::<[u8; 12]>(), &mut quality_bytes)?;
    let Some(mut copy) = token_at(cx, token).cloned() else {
        return Ok(STATUS_INVALID_PARAMETER);
    };
    if copy.level.is_some_and(|old| old < level) {
        return Ok(STATUS_BAD_IMPERSONATION_LEVEL);
    }
    copy.level = Some(level);
    cx.memory.fill(context, 0x48, 0)?;
    let made = create(cx, copy);
    if made.is_null() {
        return Ok(STATUS_INSUFFICIENT_RESOURCES);
    }
    cx.memory.write_bytes(context, &quality_bytes)?;
    cx.memory
        .write(context.byte_add(CLIENT_TOKEN).cast::<u64>(), made.raw())?;
    cx.memory.write(context.byte_add(DIRECT_ACCESS), 0u8)?;
    Ok(STATUS_SUCCESS)
}

/// Routines on impersonation.
pub struct Impersonations;

#[exports("ntoskrnl.exe")]
impl Impersonations {
    /// The token that a thread acts with, with a reference; NULL if it acts for itself.
    #[page("ntifs/nf-ntifs-psreferenceimpersonationtoken")]
    #[irql(..=APC_LEVEL)]
    fn PsReferenceImpersonationToken(
        cx: &mut Machine,
        Thread: Gva<ETHREAD>,
        CopyOnOpen: Gva<bool>,
        EffectiveOnly: Gva<bool>,
        ImpersonationLevel: Gva<i32>,
    ) -> Result<Gva<TOKEN>, Fault> {
        let found = thread_at(cx, Thread.raw())
            .and_then(|thread| cx.se.impersonating.get(&thread))
            .copied();
        let Some(found) = found else {
            return Ok(Gva::NULL);
        };
        cx.memory.write(CopyOnOpen, found.copy_on_open)?;
        cx.memory.write(EffectiveOnly, found.effective_only)?;
        cx.memory.write(ImpersonationLevel, found.level)?;
        cx.reference_object(found.token);
        Ok(Gva::new(found.token))
    }

    /// Lets a thread act with a token; with none it acts for itself again.
    #[page("ntifs/nf-ntifs-psimpersonateclient")]
    #[irql(PASSIVE_LEVEL)]
    fn PsImpersonateClient(
        cx: &mut Machine,
        Thread: Gva<ETHREAD>,
        Token: Gva<TOKEN>,
        CopyOnOpen: bool,
        EffectiveOnly: bool,
        ImpersonationLevel: i32,
    ) -> NTSTATUS {
        let Some(thread) = thread_at(cx, Thread.raw()) else {
            return STATUS_INVALID_PARAMETER;
        };
        if Token.is_null() {
            revert(cx, thread);
            return STATUS_SUCCESS;
        }
        if token_at(cx, Token.raw()).is_none() {
            return STATUS_INVALID_PARAMETER;
        }
        let new = Impersonation {
            token: Token.raw(),
            copy_on_open: CopyOnOpen,
            effective_only: EffectiveOnly,
            level: ImpersonationLevel,
        };
        impersonate(cx, thread, new);
        STATUS_SUCCESS
    }

    /// The current thread acts for itself again.
    #[page("ntifs/nf-ntifs-psreverttoself")]
    #[irql(PASSIVE_LEVEL)]
    fn PsRevertToSelf(cx: &mut Machine) {
        let thread = cx.thread().id;
        revert(cx, thread);
    }

    /// Notes who the client of a thread is, so that it can be impersonated later.
    #[page("ntifs/nf-ntifs-secreateclientsecurity")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("remote clients; tracking of changes of the client's token")]
    fn SeCreateClientSecurity(
        cx: &mut Machine,
        ClientThread: Gva<ETHREAD>,
        ClientSecurityQos: Gva<SECURITY_QUALITY_OF_SERVICE>,
        RemoteSession: bool,
        ClientContext: Gva,
    ) -> Result<NTSTATUS, Fault> {
        let _ = RemoteSession;
        let Some(thread) = thread_at(cx, ClientThread.raw()) else {
            return Ok(STATUS_INVALID_PARAMETER);
        };
        let token = match cx.se.impersonating.get(&thread).copied() {
            // A client that may only be identified cannot be passed on.
            Some(i) if i.level < SECURITY_IMPERSONATION => {
                return Ok(STATUS_BAD_IMPERSONATION_LEVEL);
            }
            Some(i) => i.token,
            None => {
                let process = cx.threads.get(&thread).map(|t| t.process);
                of_process(cx, process.unwrap_or_default()).raw()
            }
        };
        client_security(cx, token, ClientSecurityQos, ClientContext)
    }

    /// The same for a captured subject context.
    #[page("ntifs/nf-ntifs-secreateclientsecurityfromsubjectcontext")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("remote clients; tracking of changes of the client's token")]
    fn SeCreateClientSecurityFromSubjectContext(
        cx: &mut Machine,
        SubjectContext: Gva<SECURITY_SUBJECT_CONTEXT>,
        ClientSecurityQos: Gva<SECURITY_QUALITY_OF_SERVICE>,
        ServerIsRemote: bool,
        ClientContext: Gva,
    ) -> Result<NTSTATUS, Fault> {
        let _ = ServerIsRemote;
        let client = cx
            .memory
            .get(SubjectContext, SECURITY_SUBJECT_CONTEXT::ClientToken)?;
        let primary = cx
            .memory
            .get(SubjectContext, SECURITY_SUBJECT_CONTEXT::PrimaryToken)?;
        let token = if client.is_null() { primary } else { client };
        client_security(cx, token.raw(), ClientSecurityQos, ClientContext)
    }

    /// Lets a thread act for a client; the current one for NULL.
    #[page("ntifs/nf-ntifs-seimpersonateclientex")]
    #[irql(PASSIVE_LEVEL)]
    #[alias("SeImpersonateClient")]
    fn SeImpersonateClientEx(
        cx: &mut Machine,
        ClientContext: Gva,
        ServerThread: Gva<ETHREAD>,
    ) -> Result<NTSTATUS, Fault> {
        let token: u64 = cx
            .memory
            .read(ClientContext.byte_add(CLIENT_TOKEN).cast())?;
        let level: i32 = cx.memory.read(ClientContext.byte_add(4).cast())?;
        let effective_only: bool = cx.memory.read(ClientContext.byte_add(9).cast())?;
        let thread = if ServerThread.is_null() {
            Some(cx.thread().id)
        } else {
            thread_at(cx, ServerThread.raw())
        };
        let Some(thread) = thread.filter(|_| token_at(cx, token).is_some()) else {
            return Ok(STATUS_INVALID_PARAMETER);
        };
        let new = Impersonation {
            token,
            copy_on_open: false,
            effective_only,
            level,
        };
        impersonate(cx, thread, new);
        Ok(STATUS_SUCCESS)
    }

    /// Notes the tokens of a thread and a process.
    #[page("ntifs/nf-ntifs-secapturesubjectcontextex")]
    #[irql(PASSIVE_LEVEL)]
    fn SeCaptureSubjectContextEx(
        cx: &mut Machine,
        Thread: Gva<ETHREAD>,
        Process: Gva,
        SubjectContext: Gva<SECURITY_SUBJECT_CONTEXT>,
    ) -> Result<(), Fault> {
        let process = process_at(cx, Process.raw());
        let thread = thread_at(cx, Thread.raw());
        capture(cx, thread, process, SubjectContext)
    }
}

/// Fills a subject context with referenced tokens.
///
/// # Errors
/// A fault if it cannot be written.
pub(super) fn capture(
    cx: &mut Machine,
    thread: Option<ThreadId>,
    process: crate::machine::thread::ProcessId,
    context: Gva<SECURITY_SUBJECT_CONTEXT>,
) -> Result<(), Fault> {
    let client = thread.and_then(|t| cx.se.impersonating.get(&t)).copied();
    let primary = of_process(cx, process);
    let m = &mut cx.memory;
    m.set(
        context,
        SECURITY_SUBJECT_CONTEXT::ClientToken,
        Gva::new(client.map_or(0, |c| c.token)),
    )?;
    m.set(
        context,
        SECURITY_SUBJECT_CONTEXT::ImpersonationLevel,
        client.map_or(0, |c| c.level),
    )?;
    m.set(
        context,
        SECURITY_SUBJECT_CONTEXT::PrimaryToken,
        primary.cast(),
    )?;
    m.set(
        context,
        SECURITY_SUBJECT_CONTEXT::ProcessAuditId,
        Gva::new(process.guest()),
    )?;
    for token in [client.map_or(0, |c| c.token), primary.raw()] {
        if token != 0 {
            cx.reference_object(token);
        }
    }
    Ok(())
}
