//! Security: identifiers, access control lists, descriptors.

pub mod descriptor;
pub mod exports_variable;

/// State of security that is not in guest memory.
#[derive(Clone, Hash, Debug, Default)]
pub struct State {
    /// Security descriptors set on objects, as self-relative bytes, by body address.
    pub descriptors: std::collections::BTreeMap<u64, Vec<u8>>,
}
