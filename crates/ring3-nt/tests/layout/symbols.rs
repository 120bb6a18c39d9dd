//! The types and symbols of the kernel whose layouts and names are declared, from the corpus.

use std::path::PathBuf;

use serde_json::Value;

const SYMBOLS: &str = "kdump/ntkrnlmp-19041.804-5278AFF8.isf.json.xz";

/// The symbol table, or `None` with a message where the corpus is not there.
pub fn load() -> Option<Value> {
    let corpus = std::env::var_os("RING3_CORPUS").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../../shared/corpus"
            ))
        },
        PathBuf::from,
    );
    let path = corpus.join(SYMBOLS);
    let Ok(packed) = std::fs::read(&path) else {
        eprintln!(
            "skipped: no symbol table at {} (set RING3_CORPUS)",
            path.display()
        );
        return None;
    };
    let mut text = Vec::new();
    lzma_rs::xz_decompress(&mut packed.as_slice(), &mut text).expect("the symbol table unpacks");
    Some(serde_json::from_slice(&text).expect("the symbol table is JSON"))
}
