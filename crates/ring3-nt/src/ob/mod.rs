//! The object manager: objects, names, handles.
//!
//! Objects live in nonpaged pool behind a real OBJECT_HEADER; type, counts and name are kept here,
//! by the address of the body.

pub mod callbacks;
pub mod directories;
pub mod duplicate;
pub mod exports;
pub mod handles;
pub mod information;
pub mod names;
pub mod query;
pub mod types;

use std::collections::BTreeMap;

use ring3_memory::Gva;

use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::layout::OBJECT_HEADER;
use crate::machine::thread::ProcessId;

/// What an object is.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory of the name space.
    Directory,
    /// A symbolic link, and where it leads.
    SymbolicLink(String),
    /// A driver object.
    Driver,
    /// A device object.
    Device,
    /// A file object.
    File,
    /// A thread.
    Thread,
    /// A process.
    Process,
    /// An event.
    Event,
    /// A section; the text names what it maps.
    Section(String),
    /// A registry key, by path.
    Key(String),
    /// A callback object.
    Callback,
    /// An access token.
    Token,
}

/// An object.
#[derive(Clone, Hash, Debug)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// Full path; empty if it has no name.
    pub name: String,
    /// Pointer count.
    pub references: i64,
    /// Handle count.
    pub handles: u64,
    /// Stays when the last handle goes.
    pub permanent: bool,
    /// Who created it: a return address; 0 for the kernel itself.
    pub owner: u64,
}

/// A handle.
#[derive(Clone, Hash, Debug)]
pub struct Handle {
    /// The object's body.
    pub object: u64,
    /// Granted access.
    pub access: u32,
    /// Who opened it.
    pub owner: u64,
    /// `OBJ_INHERIT`, `OBJ_PROTECT_CLOSE`.
    pub attributes: u32,
}

/// State of the object manager.
#[derive(Clone, Hash, Debug, Default)]
pub struct State {
    /// Objects by body address.
    pub objects: BTreeMap<u64, Object>,
    /// Bodies by path in upper case.
    pub names: BTreeMap<String, u64>,
    /// The OBJECT_TYPE of each type, by name.
    pub types: BTreeMap<String, u64>,
    /// Who is asked when handles of processes and threads are opened.
    pub callbacks: callbacks::State,
    /// Handles by process and value.
    pub handles: BTreeMap<(ProcessId, u64), Handle>,
    /// References that drivers took and have not dropped, by body, with who took the last one.
    pub taken: BTreeMap<u64, (i64, u64)>,
}

const TAG: u32 = u32::from_le_bytes(*b"ObOb");

/// Bytes of the header that lie before the body.
pub const HEADER: u64 = 0x30;

impl Machine {
    /// A new object with one reference; the body is zeroed. `None` if memory is used up or the name
    /// is taken.
    pub fn create_object(&mut self, kind: Kind, size: u64, name: &str, owner: u64) -> Option<Gva> {
        let key = names::key(name);
        if !name.is_empty() && self.ob.names.contains_key(&key) {
            return None;
        }
        let block = self.pool_allocate(Pool::NonPaged, HEADER + size, TAG)?;
        let body = block.byte_add(HEADER);
        let index = types::stored_index(types::index_of(kind.type_name()), block.raw());
        let header = block.cast::<OBJECT_HEADER>();
        let _ = self.memory.set(header, OBJECT_HEADER::PointerCount, 1);
        let _ = self.memory.set(header, OBJECT_HEADER::TypeIndex, index);
        self.adopt_object(body.raw(), kind, name, owner);
        Some(body)
    }

    /// Makes a structure that exists already an object.
    pub fn adopt_object(&mut self, body: u64, kind: Kind, name: &str, owner: u64) {
        if !name.is_empty() {
            self.ob.names.insert(names::key(name), body);
        }
        // The I/O manager makes the objects that it names permanent.
        let permanent =
            !name.is_empty() && matches!(kind, Kind::Device | Kind::Driver | Kind::SymbolicLink(_));
        let object = Object {
            kind,
            name: name.to_owned(),
            references: 1,
            handles: 0,
            permanent,
            owner,
        };
        self.ob.objects.insert(body, object);
    }

    /// Takes a name off the name space.
    pub fn forget_name(&mut self, body: u64) {
        let Some(object) = self.ob.objects.get(&body) else {
            return;
        };
        let key = names::key(&object.name);
        if self.ob.names.get(&key) == Some(&body) {
            self.ob.names.remove(&key);
        }
    }

    /// Makes an object stay, or not, when its last handle is closed. One that is not permanent any more and has no
    /// handle loses its name at once.
    pub fn set_permanent(&mut self, body: u64, permanent: bool) {
        /// `OB_FLAG_PERMANENT_OBJECT`.
        const PERMANENT: u8 = 0x10;
        let Some(object) = self.ob.objects.get_mut(&body) else {
            return;
        };
        object.permanent = permanent;
        let nameless = !permanent && object.handles == 0;
        let pooled = !matches!(object.kind, Kind::Thread | Kind::Process);
        if pooled {
            let header = Gva::<OBJECT_HEADER>::new(body.wrapping_sub(HEADER));
            let flags = self
                .memory
                .peek(header.at(OBJECT_HEADER::Flags))
                .unwrap_or(0);
            let flags = if permanent {
                flags | PERMANENT
            } else {
                flags & !PERMANENT
            };
            let _ = self.memory.set(header, OBJECT_HEADER::Flags, flags);
        }
        if nameless {
            self.forget_name(body);
        }
    }

    fn mirror_count(&mut self, body: u64, count: i64) {
        let header = Gva::<OBJECT_HEADER>::new(body.wrapping_sub(HEADER));
        let _ = self.memory.set(header, OBJECT_HEADER::PointerCount, count);
    }

    /// Adds a reference. The new count, if it is an object.
    pub fn reference_object(&mut self, body: u64) -> Option<i64> {
        let object = self.ob.objects.get_mut(&body)?;
        object.references += 1;
        let count = object.references;
        let pooled = !matches!(object.kind, Kind::Thread | Kind::Process);
        if pooled {
            self.mirror_count(body, count);
        }
        Some(count)
    }

    /// Drops a reference; the object goes with the last one. The new count, if it is an object.
    pub fn dereference_object(&mut self, body: u64) -> Option<i64> {
        let object = self.ob.objects.get_mut(&body)?;
        object.references -= 1;
        let count = object.references;
        let pooled = !matches!(object.kind, Kind::Thread | Kind::Process);
        if !pooled {
            return Some(count);
        }
        self.mirror_count(body, count);
        if count <= 0 && !matches!(self.ob.objects[&body].kind, Kind::File) {
            self.delete_object(body);
        }
        Some(count)
    }

    /// Removes an object and frees its memory.
    pub fn delete_object(&mut self, body: u64) {
        self.forget_name(body);
        crate::mm::section::object_deleted(self, body);
        self.ob.taken.remove(&body);
        self.se.tokens.remove(&body);
        self.se.descriptors.remove(&body);
        if self.ob.objects.remove(&body).is_some() {
            self.pool_free(Gva::new(body.wrapping_sub(HEADER)));
        }
    }
}
