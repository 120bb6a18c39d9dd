//! The run-time library.

pub mod ansi_string;
pub mod avl;
pub mod avl_table;
pub mod bit_runs;
pub mod bitmap;
pub mod code_page;
pub mod compression;
pub mod convert;
pub mod crt;
pub mod exception;
pub mod format;
pub mod generic_table;
pub mod heap;
pub mod image;
pub mod internet_address;
pub mod lznt1;
pub mod memory;
pub mod numbers;
pub mod oem_string;
pub mod query_registry;
pub mod random;
pub mod registry;
pub mod run_once;
pub mod short_name;
pub mod splay;
pub mod system;
pub mod table_search;
pub mod time;
pub mod unicode_case;
pub mod unicode_string;

/// State of the run-time library that is not in guest memory.
#[derive(Clone, Hash, Debug)]
pub struct State {
    /// What `rand` goes on from; 1 until `srand`.
    pub rand: u32,
    /// Heaps by handle.
    pub heaps: heap::Heaps,
}

impl Default for State {
    fn default() -> Self {
        Self {
            rand: 1,
            heaps: heap::Heaps::new(),
        }
    }
}
