//! Any bytes: the loader's parser answers with an image that maps, or with an error that says something; it never panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ring3_pe::{Image, Options};

fuzz_target!(|data: &[u8]| {
    match Image::parse_with(data, Options { any_subsystem: true }) {
        Ok(image) => {
            let mapped = image.map(0xffff_f800_0000_0000);
            assert_eq!(mapped.len(), image.size as usize);
            for function in image.functions.iter() {
                assert!(image.function_at(function.begin).is_some());
            }
            for export in &image.exports.entries {
                assert!(image.exports.by_ordinal(export.ordinal).is_some());
            }
        }
        Err(error) => assert!(!error.what().is_empty() && !error.next().is_empty()),
    }
});
