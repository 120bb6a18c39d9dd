//! State of the layers above the kernel, found by type.

use std::any::Any;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};

use crate::flow::Key;
use crate::hash::Fnv;

/// The state of a layer (a driver framework, a file system) inside the machine.
pub trait Layer: Any + Debug + Send + Sync {
    /// A copy.
    fn boxed(&self) -> Box<dyn Layer>;
    /// Feeds the state hash.
    fn hash_into(&self, hasher: &mut Fnv);
    /// What a host condition of this layer needs to become true.
    fn explain(&self, key: Key) -> Vec<Key> {
        let _ = key;
        Vec::new()
    }
    /// As any type.
    fn as_any(&self) -> &dyn Any;
    /// As any type.
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

/// The layers of a machine.
#[derive(Debug, Default)]
pub struct Layers(Vec<Box<dyn Layer>>);

impl Clone for Layers {
    fn clone(&self) -> Self {
        Self(self.0.iter().map(|l| l.boxed()).collect())
    }
}

impl Hash for Layers {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for layer in &self.0 {
            let mut inner = Fnv::default();
            layer.hash_into(&mut inner);
            state.write_u64(inner.finish());
        }
    }
}

impl Layers {
    /// Adds a layer's state.
    pub fn add(&mut self, layer: Box<dyn Layer>) {
        self.0.push(layer);
    }

    /// A layer's state by type.
    #[must_use]
    pub fn get<T: Layer>(&self) -> Option<&T> {
        self.0.iter().find_map(|l| l.as_any().downcast_ref())
    }

    /// A layer's state by type.
    pub fn get_mut<T: Layer>(&mut self) -> Option<&mut T> {
        self.0
            .iter_mut()
            .find_map(|l| l.as_any_mut().downcast_mut())
    }
}
