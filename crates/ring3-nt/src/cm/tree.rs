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
    /// Its class.
    pub class: String,
    /// Whether it goes with the next boot.
    pub volatile: bool,
    /// Whether it is a symbolic link: `REG_OPTION_CREATE_LINK`.
    pub link: bool,
    /// What `CmCallbackGetKeyObjectID` gives: unique among all keys, and the same after a new name.
    pub id: u64,
    /// User flags of `KEY_CONTROL_FLAGS_INFORMATION` and its like, by information class.
    pub settings: BTreeMap<u32, u32>,
    /// When it was last written: system time; 0 for before boot.
    pub written: u64,
    /// Values by folded name.
    pub values: BTreeMap<String, Value>,
}

impl Key {
    /// The last part of its path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit_once('\\').map_or("", |(_, name)| name)
    }

    /// Where a symbolic link leads; `None` for a link that has no target yet.
    #[must_use]
    pub fn target(&self) -> Option<String> {
        let value = self.values.get(&fold(LINK_VALUE))?;
        let units = value
            .data
            .chunks_exact(2)
            .map(|c| u16::from_le_bytes([c[0], c[1]]));
        Some(String::from_utf16_lossy(&units.collect::<Vec<u16>>()))
    }
}

/// The value of a symbolic link that holds its target, without a terminator.
pub const LINK_VALUE: &str = "SymbolicLinkValue";
/// Links are followed this many times at most.
const MAX_LINKS: u32 = 64;

/// `REG_NONE`.
pub const REG_NONE: u32 = 0;
/// `REG_SZ`.
pub const REG_SZ: u32 = 1;
/// `REG_EXPAND_SZ`.
pub const REG_EXPAND_SZ: u32 = 2;
/// `REG_BINARY`.
pub const REG_BINARY: u32 = 3;
/// `REG_DWORD`.
pub const REG_DWORD: u32 = 4;
/// `REG_LINK`.
pub const REG_LINK: u32 = 6;
/// `REG_MULTI_SZ`.
pub const REG_MULTI_SZ: u32 = 7;

/// The registry: keys by folded path.
#[derive(Clone, Hash, Debug)]
pub struct State {
    keys: BTreeMap<String, Key>,
    /// Registered callbacks, highest altitude first.
    pub callbacks: Vec<super::callback::Callback>,
    /// Number of the next callback.
    pub next_cookie: u64,
    /// Number of the next key.
    next_id: u64,
    /// Contexts that callbacks gave to key objects, by object and cookie.
    pub contexts: BTreeMap<(u64, u64), u64>,
    /// Names that CmCallbackGetKeyObjectID gave, by key object: pool blocks.
    pub names: BTreeMap<u64, u64>,
    /// Who wants to hear of changes.
    pub watches: Vec<super::notify::Watch>,
}

/// A string as the registry stores it.
#[must_use]
pub fn text(value: &str) -> Vec<u8> {
    value
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}

/// The text of a value: up to its first NUL.
#[must_use]
pub fn string(data: &[u8]) -> String {
    let units = data
        .chunks_exact(2)
        .map(|c| u16::from_le_bytes([c[0], c[1]]))
        .take_while(|u| *u != 0);
    String::from_utf16_lossy(&units.collect::<Vec<u16>>())
}

/// Names without case: every character in upper case.
#[must_use]
pub fn fold(name: &str) -> String {
    let upcase = |c: char| {
        let mut upper = c.to_uppercase();
        match (upper.next(), upper.next()) {
            (Some(one), None) => one,
            _ => c,
        }
    };
    name.chars().map(upcase).collect()
}

/// Folded, `ControlSet001` for `CurrentControlSet`, no backslash at the end.
#[must_use]
pub fn canonical(path: &str) -> String {
    const LINK: &str = "\\REGISTRY\\MACHINE\\SYSTEM\\CURRENTCONTROLSET";
    let folded = fold(path.trim_end_matches('\\'));
    match folded.strip_prefix(LINK) {
        Some(rest) if rest.is_empty() || rest.starts_with('\\') => {
            format!("\\REGISTRY\\MACHINE\\SYSTEM\\CONTROLSET001{rest}")
        }
        _ => folded,
    }
}

impl Default for State {
    fn default() -> Self {
        let mut state = Self {
            keys: BTreeMap::new(),
            callbacks: Vec::new(),
            next_cookie: 1,
            next_id: 1,
            contexts: BTreeMap::new(),
            names: BTreeMap::new(),
            watches: Vec::new(),
        };
        for path in [
            r"\Registry",
            r"\Registry\User",
            r"\Registry\User\.Default",
            r"\Registry\Machine",
            r"\Registry\Machine\Hardware",
            r"\Registry\Machine\Hardware\DeviceMap",
            r"\Registry\Machine\Software",
            r"\Registry\Machine\Software\Microsoft",
            r"\Registry\Machine\Software\Microsoft\Windows NT",
            r"\Registry\Machine\Software\Microsoft\Windows NT\CurrentVersion",
            r"\Registry\Machine\System",
            r"\Registry\Machine\System\CurrentControlSet",
            r"\Registry\Machine\System\CurrentControlSet\Control",
            r"\Registry\Machine\System\CurrentControlSet\Control\Class",
            r"\Registry\Machine\System\CurrentControlSet\Control\Session Manager",
            r"\Registry\Machine\System\CurrentControlSet\Control\Session Manager\Environment",
            r"\Registry\Machine\System\CurrentControlSet\Control\Session Manager\Memory Management",
            r"\Registry\Machine\System\CurrentControlSet\Control\Session Manager\Debug Print Filter",
            r"\Registry\Machine\System\CurrentControlSet\Enum",
            r"\Registry\Machine\System\CurrentControlSet\Services",
        ] {
            state.create(path);
        }
        let version = r"\Registry\Machine\Software\Microsoft\Windows NT\CurrentVersion";
        let build = &crate::build::WIN10_2004;
        for (name, value) in [
            ("CurrentBuild", build.build.to_string()),
            ("CurrentBuildNumber", build.build.to_string()),
            // What every version since 8.1 says.
            ("CurrentVersion", "6.3".to_owned()),
            ("BuildLab", build.lab.to_owned()),
            ("SystemRoot", r"C:\Windows".to_owned()),
        ] {
            state.set(version, name, REG_SZ, text(&value));
        }
        for (name, value) in [
            ("CurrentMajorVersionNumber", build.major),
            ("CurrentMinorVersionNumber", build.minor),
        ] {
            state.set(version, name, REG_DWORD, value.to_le_bytes().to_vec());
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
        let volatile = self
            .keys
            .get(name.get(..parent)?)
            .is_some_and(|k| k.volatile);
        let path = path.trim_end_matches('\\').to_owned();
        let id = self.next_id;
        self.next_id += 1;
        self.keys.insert(
            name,
            Key {
                path,
                volatile,
                id,
                ..Key::default()
            },
        );
        Some(true)
    }

    /// The path that a path leads to when symbolic links are followed, the last part's only if
    /// `follow_last`. `None` if a link leads nowhere or in circles.
    #[must_use]
    pub fn resolve(&self, path: &str, follow_last: bool) -> Option<String> {
        let mut path = path.trim_end_matches('\\').to_owned();
        for _ in 0..MAX_LINKS {
            match self.first_link(&path, follow_last) {
                None => return Some(path),
                Some((target, end)) => path = format!("{}{}", target?, path.get(end..)?),
            }
        }
        None
    }

    /// The first link on a path: its target, and where its own name ends.
    fn first_link(&self, path: &str, follow_last: bool) -> Option<(Option<String>, usize)> {
        let mut at = 1;
        loop {
            let end = path
                .get(at..)
                .and_then(|rest| rest.find('\\'))
                .map_or(path.len(), |n| at + n);
            let last = end == path.len();
            let key = path.get(..end).and_then(|head| self.key(head));
            if let Some(key) = key.filter(|k| k.link && (follow_last || !last)) {
                return Some((key.target(), end));
            }
            if last {
                return None;
            }
            at = end + 1;
        }
    }

    /// Gives a key another name; what is below it moves along. The new path; `None` if the name is taken
    /// or the key does not exist.
    pub fn rename(&mut self, path: &str, name: &str) -> Option<String> {
        let old = canonical(path);
        let parent = self.parent(path)?.path.clone();
        let new_path = format!("{parent}\\{name}");
        let new = canonical(&new_path);
        if new != old && self.keys.contains_key(&new) {
            return None;
        }
        let old_path = self.keys.get(&old)?.path.clone();
        let below = format!("{old}\\");
        let moving: Vec<String> = self
            .keys
            .keys()
            .filter(|k| **k == old || k.starts_with(&below))
            .cloned()
            .collect();
        for key_name in moving {
            let Some(mut key) = self.keys.remove(&key_name) else {
                continue;
            };
            let rest = key.path.get(old_path.len()..).unwrap_or("").to_owned();
            key.path = format!("{new_path}{rest}");
            self.keys.insert(canonical(&key.path), key);
        }
        Some(new_path)
    }

    /// A key, to change it.
    pub fn key_mut(&mut self, path: &str) -> Option<&mut Key> {
        self.keys.get_mut(&canonical(path))
    }

    /// The key above one.
    #[must_use]
    pub fn parent(&self, path: &str) -> Option<&Key> {
        let name = canonical(path);
        self.keys.get(name.get(..name.rfind('\\')?)?)
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
        let Some(key) = self.keys.get_mut(&canonical(path)) else {
            return false;
        };
        let value = key.values.entry(fold(name)).or_insert_with(|| Value {
            name: name.to_owned(),
            kind,
            data: Vec::new(),
        });
        value.kind = kind;
        value.data = data;
        true
    }

    /// A value of a key.
    #[must_use]
    pub fn value(&self, path: &str, name: &str) -> Option<&Value> {
        self.key(path)?.values.get(&fold(name))
    }

    /// Deletes a value. False if it does not exist.
    pub fn delete_value(&mut self, path: &str, name: &str) -> bool {
        self.keys
            .get_mut(&canonical(path))
            .is_some_and(|k| k.values.remove(&fold(name)).is_some())
    }

    /// The keys directly below one, in order.
    #[must_use]
    pub fn children(&self, path: &str) -> Vec<&Key> {
        let prefix = canonical(path) + "\\";
        self.keys
            .range(prefix.clone()..)
            .take_while(|(name, _)| name.starts_with(&prefix))
            .filter(|(name, _)| {
                name.get(prefix.len()..)
                    .is_some_and(|rest| !rest.contains('\\'))
            })
            .map(|(_, key)| key)
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
        let services = state.children(r"\Registry\Machine\System\CurrentControlSet\Services");
        assert_eq!(
            services.iter().map(|k| k.name()).collect::<Vec<_>>(),
            ["Echo"]
        );
        assert!(state.delete_value(path, "value"));
        assert!(!state.delete_value(path, "value"));
        assert!(state.delete(path));
        assert!(
            !state.delete(r"\Registry\Machine\System"),
            "it has children"
        );
    }

    #[test]
    fn links_are_followed_and_names_change() {
        let mut state = State::default();
        let base = r"\Registry\Machine\Software";
        for name in ["Real", r"Real\Sub", "Link", "Circle"] {
            state.create(&format!("{base}\\{name}"));
        }
        for (name, target) in [("Link", "Real"), ("Circle", "Circle")] {
            let path = format!("{base}\\{name}");
            state.key_mut(&path).expect("created").link = true;
            let mut data = text(&format!("{base}\\{target}"));
            data.truncate(data.len() - 2);
            state.set(&path, LINK_VALUE, REG_LINK, data);
        }
        let link = format!("{base}\\Link");
        assert_eq!(
            state.resolve(&format!("{link}\\Sub"), true),
            Some(format!("{base}\\Real\\Sub"))
        );
        assert_eq!(state.resolve(&link, false), Some(link.clone()));
        assert_eq!(state.resolve(&link, true), Some(format!("{base}\\Real")));
        assert_eq!(state.resolve(&format!("{base}\\Circle"), true), None);
        let id = state.key(&format!("{base}\\Real")).expect("created").id;
        let new = state.rename(&format!("{base}\\Real"), "New").expect("free");
        assert_eq!(state.key(&new).map(|k| k.id), Some(id));
        assert!(state.exists(&format!("{base}\\New\\Sub")));
        assert!(!state.exists(&format!("{base}\\Real\\Sub")));
        assert_eq!(state.rename(&new, "Link"), None);
    }

    #[test]
    fn only_the_current_control_set_is_a_link() {
        assert_eq!(
            canonical(r"\Registry\Machine\System\CurrentControlSet\"),
            r"\REGISTRY\MACHINE\SYSTEM\CONTROLSET001"
        );
        assert_eq!(
            canonical(r"\Registry\Machine\System\CurrentControlSetX"),
            r"\REGISTRY\MACHINE\SYSTEM\CURRENTCONTROLSETX"
        );
        assert_eq!(fold("straße"), "STRAßE");
    }

    #[test]
    fn strings_end_at_their_first_nul() {
        assert_eq!(string(&text("abc")), "abc");
        assert_eq!(string(&[0x61, 0, 0, 0, 0x62, 0]), "a");
        assert_eq!(string(&[0x61]), "");
    }
}
