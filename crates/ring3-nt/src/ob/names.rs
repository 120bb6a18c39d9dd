//! The name space. Documentation: "Object Names", "Introduction to MS-DOS Device Names".

use crate::Machine;
use crate::ntstatus::{
    NTSTATUS, STATUS_OBJECT_NAME_COLLISION, STATUS_OBJECT_NAME_INVALID,
    STATUS_OBJECT_PATH_NOT_FOUND, STATUS_OBJECT_PATH_SYNTAX_BAD, STATUS_OBJECT_TYPE_MISMATCH,
};

use super::Kind;

/// Links are followed this many times at most.
const MAX_LINKS: u32 = 16;

/// `\??` and `\DosDevices` are the global MS-DOS device directory for everybody here.
fn canonical(path: &str) -> String {
    let upper = path.to_uppercase();
    if upper == "\\??" || upper == "\\DOSDEVICES" {
        return "\\GLOBAL??".to_owned();
    }
    for prefix in [
        "\\DOSDEVICES\\GLOBAL\\",
        "\\??\\GLOBAL\\",
        "\\DOSDEVICES\\",
        "\\??\\",
    ] {
        if let Some(rest) = upper.strip_prefix(prefix) {
            return format!("\\GLOBAL??\\{rest}");
        }
    }
    upper
}

/// The key of a path: upper case, MS-DOS directories made one.
#[must_use]
pub fn key(path: &str) -> String {
    canonical(path)
}

/// An object found by name, and what of the path is left behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The body.
    pub body: u64,
    /// The rest of the path, as it was spelled; starts with a backslash unless empty.
    pub rest: String,
}

impl Machine {
    /// The object of exactly this name, links not followed.
    #[must_use]
    pub fn object_named(&self, path: &str) -> Option<u64> {
        self.ob.names.get(&key(path)).copied()
    }

    /// Whether an object of this name can be created: the name is free and its directory exists.
    ///
    /// # Errors
    /// The status with which Windows refuses the name.
    pub fn check_new_name(&self, path: &str) -> Result<(), NTSTATUS> {
        let path = key(path);
        if !path.starts_with('\\') {
            return Err(STATUS_OBJECT_PATH_SYNTAX_BAD);
        }
        if path.len() > 1 && path.ends_with('\\') {
            return Err(STATUS_OBJECT_NAME_INVALID);
        }
        if self.ob.names.contains_key(&path) {
            return Err(STATUS_OBJECT_NAME_COLLISION);
        }
        let parent = match path.rfind('\\') {
            Some(0) | None => "\\",
            Some(at) => path.get(..at).unwrap_or("\\"),
        };
        match self
            .ob
            .names
            .get(parent)
            .and_then(|body| self.ob.objects.get(body))
            .map(|o| &o.kind)
        {
            Some(Kind::Directory) => Ok(()),
            Some(_) => Err(STATUS_OBJECT_TYPE_MISMATCH),
            None => Err(STATUS_OBJECT_PATH_NOT_FOUND),
        }
    }

    /// Follows a path to an object: symbolic links are followed, and what is behind a device belongs to
    /// the device.
    #[must_use]
    pub fn lookup_path(&self, path: &str) -> Option<Found> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let (body, rest) = self.longest_prefix(&path)?;
            match &self.ob.objects.get(&body)?.kind {
                Kind::SymbolicLink(target) => path = format!("{target}{rest}"),
                Kind::Device => return Some(Found { body, rest }),
                _ if rest.is_empty() => return Some(Found { body, rest }),
                _ => return None,
            }
        }
        None
    }

    fn longest_prefix(&self, path: &str) -> Option<(u64, String)> {
        let mut end = path.len();
        loop {
            let head = path.get(..end)?;
            if let Some(body) = self.object_named(head) {
                return Some((body, path.get(end..)?.to_owned()));
            }
            end = head.rfind('\\').filter(|at| *at > 0)?;
        }
    }

    /// The symbolic links that lead to a path.
    #[must_use]
    pub fn links_to(&self, target: &str) -> Vec<String> {
        let wanted = key(target);
        self.ob
            .objects
            .values()
            .filter_map(|object| match &object.kind {
                Kind::SymbolicLink(to) if key(to) == wanted => Some(object.name.clone()),
                _ => None,
            })
            .collect()
    }
}
