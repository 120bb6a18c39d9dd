//! Keys and values.

use std::collections::BTreeMap;

/// A value.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct Value {
    /// Its name as it was first spelled.
    pub name: String,
    /// `REG_*`.
    pub kind: u32,
    /// Its data.
    pub data: Vec<u8>,
}

/// A key.
#[derive(Clone, Hash, Debug, Default)]
pub struct Key {
    /// Its full path as it was first spelled.
    pub path: String,
    /// Values by name in upper case.
    pub values: BTreeMap<String, Value>,
}

/// `REG_SZ`.
pub const REG_SZ: u32 = 1;
/// `REG_EXPAND_SZ`.
pub const REG_EXPAND_SZ: u32 = 2;
/// `REG_DWORD`.
pub const REG_DWORD: u32 = 4;

/// The registry: keys by path in upper case.
#[derive(Clone, Hash, Debug)]
pub struct State {
    keys: BTreeMap<String, Key>,
}

/// A string as the registry stores it.
#[must_use]
pub fn text(value: &str) -> Vec<u8> {
    value.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// Upper case, `ControlSet001` for `CurrentControlSet`, no backslash at the end.
fn canonical(path: &str) -> String {
    let upper = path.trim_end_matches('\\').to_uppercase();
    upper.replace("\\SYSTEM\\CURRENTCONTROLSET", "\\SYSTEM\\CONTROLSET001")
}

impl Default for State {
    fn default() -> Self {
        let mut state = Self { keys: BTreeMap::new() };
        for path in [
            r"\Registry",
            r"\Registry\User",
            r"\Registry\Machine",
            r"\Registry\Machine\Hardware",
            r"\Registry\Machine\Software",
            r"\Registry\Machine\Software\Microsoft",
            r"\Registry\Machine\Software\Microsoft\Windows NT",
            r"\Registry\Machine\Software\Microsoft\Windows NT\CurrentVersion",
            r"\Registry\Machine\System",
            r"\Registry\Machine\System\CurrentControlSet",
            r"\Registry\Machine\System\CurrentControlSet\Control",
            r"\Registry\Machine\System\CurrentControlSet\Control\Class",
            r"\Registry\Machine\System\CurrentControlSet\Control\Session Manager",
            r"\Registry\Machine\System\CurrentControlSet\Control\Session Manager\Debug Print Filter",
            r"\Registry\Machine\System\CurrentControlSet\Enum",
            r"\Registry\Machine\System\CurrentControlSet\Services",
        ] {
            state.create(path);
        }
        state
    }
}

impl State {
    /// Whether a key exists.
    #[must_use]
    pub fn exists(&self, path: &str) -> bool {
        self.keys.contains_key(&canonical(path))
    }

    /// A key.
    #[must_use]
    pub fn key(&self, path: &str) -> Option<&Key> {
        self.keys.get(&canonical(path))
    }

    /// Creates a key under an existing parent. True if it is new; `None` if the parent does not exist.
    pub fn create(&mut self, path: &str) -> Option<bool> {
        let name = canonical(path);
        if self.keys.contains_key(&name) {
            return Some(false);
        }
        let parent = name.rfind('\\')?;
        if parent > 0 && !self.keys.contains_key(name.get(..parent)?) {
            return None;
        }
        self.keys.insert(name, Key { path: path.trim_end_matches('\\').to_owned(), values: BTreeMap::new() });
        Some(true)
    }

    /// Creates a key and its parents.
    pub fn create_all(&mut self, path: &str) {
        let mut at = 1;
        while let Some(next) = path.get(at..).and_then(|rest| rest.find('\\')) {
            let end = at + next;
            if let Some(head) = path.get(..end) {
                self.create(head);
            }
            at = end + 1;
        }
        self.create(path);
    }

    /// Sets a value of an existing key. False if the key does not exist.
    pub fn set(&mut self, path: &str, name: &str, kind: u32, data: Vec<u8>) -> bool {
        let Some(key) = self.keys.get_mut(&canonical(path)) else { return false };
        let value = key
            .values
            .entry(name.to_uppercase())
            .or_insert_with(|| Value { name: name.to_owned(), kind, data: Vec::new() });
        value.kind = kind;
        value.data = data;
        true
    }

    /// A value of a key.
    #[must_use]
    pub fn value(&self, path: &str, name: &str) -> Option<&Value> {
        self.key(path)?.values.get(&name.to_uppercase())
    }

    /// Deletes a value. False if it does not exist.
    pub fn delete_value(&mut self, path: &str, name: &str) -> bool {
        self.keys.get_mut(&canonical(path)).is_some_and(|k| k.values.remove(&name.to_uppercase()).is_some())
    }

    /// Names of the keys directly below one.
    #[must_use]
    pub fn children(&self, path: &str) -> Vec<String> {
        let prefix = canonical(path) + "\\";
        self.keys
            .range(prefix.clone()..)
            .take_while(|(name, _)| name.starts_with(&prefix))
            .filter(|(name, _)| !name[prefix.len()..].contains('\\'))
            .filter_map(|(_, key)| Some(key.path.rsplit_once('\\')?.1.to_owned()))
            .collect()
    }

    /// Deletes a key without children. False if it has some or does not exist.
    pub fn delete(&mut self, path: &str) -> bool {
        self.children(path).is_empty() && self.keys.remove(&canonical(path)).is_some()
    }

    /// The key that says how a driver is loaded.
    pub fn create_service_key(&mut self, service: &str, start: u32, image: &str) {
        let path = crate::io::driver::registry_path(service);
        self.create_all(&path);
        for (name, value) in [("Type", 1u32), ("Start", start), ("ErrorControl", 1)] {
            self.set(&path, name, REG_DWORD, value.to_le_bytes().to_vec());
        }
        let file = format!("\\SystemRoot\\System32\\drivers\\{image}");
        self.set(&path, "ImagePath", REG_EXPAND_SZ, text(&file));
        self.set(&path, "DisplayName", REG_SZ, text(service));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_case_and_parents_must_exist() {
        let mut state = State::default();
        let path = r"\Registry\Machine\System\CurrentControlSet\Services\Echo";
        assert_eq!(state.create(&format!("{path}\\A\\B")), None);
        assert_eq!(state.create(path), Some(true));
        assert_eq!(state.create(&path.to_uppercase()), Some(false));
        assert!(state.exists(r"\registry\machine\system\ControlSet001\services\echo"));
        assert!(state.set(path, "Value", REG_DWORD, vec![1, 0, 0, 0]));
        assert_eq!(state.value(path, "VALUE").map(|v| v.kind), Some(REG_DWORD));
        assert_eq!(state.children(r"\Registry\Machine\System\CurrentControlSet\Services"), ["Echo"]);
        assert!(state.delete_value(path, "value"));
        assert!(!state.delete_value(path, "value"));
        assert!(state.delete(path));
    }
}
