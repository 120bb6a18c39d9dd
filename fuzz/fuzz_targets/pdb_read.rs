//! Any bytes: the PDB reader answers or refuses, and its answers can be asked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ring3_symbols::SymbolFile;

fuzz_target!(|data: &[u8]| {
    if let Ok(file) = SymbolFile::from_pdb(data) {
        for function in file.functions() {
            let _ = file.function_at(function.rva);
            let _ = file.line_at(function.rva);
        }
    }
});
