//! Token objects: tokens in guest memory. The layout is that of the kernel's symbols.

use ring3_memory::{Fault, Gva};

use super::token::{Profile, Token};
use crate::Machine;
use crate::layout::{EPROCESS, SID_AND_ATTRIBUTES, TOKEN};
use crate::machine::thread::ProcessId;
use crate::ob::Kind;

/// Makes a token object with one reference. NULL without memory.
pub fn create(cx: &mut Machine, token: Token) -> Gva<TOKEN> {
    let count = 1 + token.groups.len() as u64;
    let table = TOKEN::SIZE.next_multiple_of(16);
    let text = table + SID_AND_ATTRIBUTES::SIZE * count;
    let sids = token.groups.iter().map(|(sid, _)| sid.len() as u64);
    let size = text + token.user.len() as u64 + sids.sum::<u64>();
    let Some(body) = cx.create_object(Kind::Token, size, "", 0) else {
        return Gva::NULL;
    };
    if fill(cx, body, &token, table, text).is_err() {
        return Gva::NULL;
    }
    cx.se.tokens.insert(body.raw(), token);
    body.cast()
}

fn fill(
    cx: &mut Machine,
    body: Gva,
    token: &Token,
    table: u64,
    mut text: u64,
) -> Result<(), Fault> {
    let at = body.cast::<TOKEN>();
    let all = std::iter::once((&token.user, 0)).chain(token.groups.iter().map(|(s, a)| (s, *a)));
    for (n, (sid, attributes)) in all.enumerate() {
        let entry = body
            .byte_add(table + SID_AND_ATTRIBUTES::SIZE * n as u64)
            .cast::<SID_AND_ATTRIBUTES>();
        cx.memory.write_bytes(body.byte_add(text), sid)?;
        cx.memory
            .set(entry, SID_AND_ATTRIBUTES::Sid, body.byte_add(text))?;
        cx.memory
            .set(entry, SID_AND_ATTRIBUTES::Attributes, attributes)?;
        text += sid.len() as u64;
    }
    let id = body.raw() & 0xffff_ffff;
    let m = &mut cx.memory;
    m.write_bytes(at.cast::<u8>(), &token.source)?;
    m.write(at.at(TOKEN::TokenId).cast::<u64>(), id)?;
    m.write(at.at(TOKEN::AuthenticationId).cast::<u64>(), token.logon)?;
    m.set(at, TOKEN::SessionId, token.session)?;
    m.set(at, TOKEN::UserAndGroupCount, 1 + token.groups.len() as u32)?;
    m.set(at, TOKEN::UserAndGroups, body.byte_add(table).cast())?;
    m.set(at, TOKEN::IntegrityLevelIndex, token.groups.len() as u32)?;
    // TokenPrimary is 1, TokenImpersonation 2.
    m.set(
        at,
        TOKEN::TokenType,
        if token.level.is_some() { 2 } else { 1 },
    )?;
    m.set(at, TOKEN::ImpersonationLevel, token.level.unwrap_or(0))
}

/// The token object of a process; made when it is first asked for. NULL without memory.
pub fn of_process(cx: &mut Machine, process: ProcessId) -> Gva<TOKEN> {
    if let Some(at) = cx.se.primary.get(&process) {
        return Gva::new(*at);
    }
    let token = if process == ProcessId::SYSTEM {
        Token::system()
    } else {
        let profile = cx.se.profiles.get(&process).copied();
        Token::of_profile(profile.unwrap_or(Profile::Admin))
    };
    let at = create(cx, token);
    if !at.is_null() {
        cx.se.primary.insert(process, at.raw());
        if let Some(object) = cx.processes.get(&process).map(|p| p.object) {
            let _ = cx.memory.set(object, EPROCESS::Token, at.raw());
        }
    }
    at
}

/// A token by the address of its object.
#[must_use]
pub fn token_at(cx: &Machine, at: u64) -> Option<&Token> {
    cx.se.tokens.get(&at)
}

/// The token that counts for the current thread: that of whom it acts for, or that of its process.
pub fn effective(cx: &mut Machine) -> Token {
    let thread = cx.thread().id;
    let process = cx.thread().process;
    let client = cx.se.impersonating.get(&thread).map(|i| i.token);
    let at = match client {
        Some(at) => at,
        None => of_process(cx, process).raw(),
    };
    token_at(cx, at)
        .cloned()
        .unwrap_or_else(Token::administrator)
}
