//! Security: identifiers, access control lists, descriptors.

pub mod access;
pub mod access_exports;
pub mod acl;
pub mod descriptor;
pub mod descriptor_parts;
pub mod exports_variable;
pub mod sid;

use std::collections::BTreeMap;

use crate::machine::thread::ProcessId;

/// State of security that is not in guest memory.
#[derive(Clone, Hash, Debug, Default)]
pub struct State {
    /// Security descriptors set on objects, as self-relative bytes, by body address.
    pub descriptors: BTreeMap<u64, Vec<u8>>,
    /// Tokens by the address of their object, with the process that they belong to.
    pub tokens: BTreeMap<u64, (ProcessId, access::Token)>,
}
