//! The scope table of `__C_specific_handler`.

use super::CodeMemory;

/// Scopes beyond this number mean that the table is not one.
const MOST_SCOPES: u32 = 0x4000;

/// One `__try` (an entry of SCOPE_TABLE_AMD64), all RVAs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// First byte guarded.
    pub begin: u32,
    /// First byte after the guarded ones.
    pub end: u32,
    /// The filter of an `__except` (1: EXCEPTION_EXECUTE_HANDLER without a filter), or the `__finally` where `target` is 0.
    pub handler: u32,
    /// Where an `__except` block starts; 0 for a `__finally`.
    pub target: u32,
}

/// The scope table at `data_va`, the handler data of a function whose handler is `__C_specific_handler`. A table that cannot
/// be read, or has an absurd count, is empty.
pub fn scope_table(mem: &dyn CodeMemory, data_va: u64) -> Vec<Scope> {
    let mut count = [0; 4];
    if !mem.read(data_va, &mut count) {
        return Vec::new();
    }
    let count = u32::from_le_bytes(count);
    if count > MOST_SCOPES {
        return Vec::new();
    }
    let mut scopes = Vec::new();
    for index in 0..u64::from(count) {
        let mut entry = [0; 16];
        if !mem.read(data_va.wrapping_add(4 + index * 16), &mut entry) {
            return Vec::new();
        }
        let [begin, end, handler, target] = words(&entry);
        scopes.push(Scope {
            begin,
            end,
            handler,
            target,
        });
    }
    scopes
}

/// Sixteen bytes as four little-endian words.
fn words(entry: &[u8; 16]) -> [u32; 4] {
    let all = u128::from_le_bytes(*entry);
    [
        all as u32,
        (all >> 32) as u32,
        (all >> 64) as u32,
        (all >> 96) as u32,
    ]
}
