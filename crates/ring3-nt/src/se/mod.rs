//! Security: identifiers, access control lists, descriptors, tokens.

pub mod access;
pub mod access_exports;
pub mod acl;
pub mod acl_more;
pub mod descriptor;
pub mod descriptor_parts;
pub mod exports_variable;
pub mod impersonation;
pub mod object_security;
pub mod sid;
pub mod token;
pub mod token_exports;
pub mod token_information;
pub mod token_object;

use std::collections::BTreeMap;

use crate::machine::thread::{ProcessId, ThreadId};

/// State of security that is not in guest memory.
#[derive(Clone, Hash, Debug, Default)]
pub struct State {
    /// Security descriptors set on objects, as self-relative bytes, by body address.
    pub descriptors: BTreeMap<u64, Vec<u8>>,
    /// Descriptors of ObLogSecurityDescriptor: bytes and references, by address.
    pub shared: BTreeMap<u64, (Vec<u8>, u64)>,
    /// Tokens by the address of their object.
    pub tokens: BTreeMap<u64, token::Token>,
    /// The token of each process that was asked for one.
    pub primary: BTreeMap<ProcessId, u64>,
    /// Whose token a process gets, if it is not the default.
    pub profiles: BTreeMap<ProcessId, token::Profile>,
    /// Threads that act for somebody else.
    pub impersonating: BTreeMap<ThreadId, impersonation::Impersonation>,
}
