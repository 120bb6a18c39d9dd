//! The checksum of the optional header.

/// The checksum of an image file whose CheckSum field lies at `field`: the sum of all 16-bit words with end-around carry, the
/// field itself taken as zero, plus the file's length (what `CheckSumMappedFile` computes).
pub(crate) fn checksum(bytes: &[u8], field: usize) -> u32 {
    let sum = |part: &[u8], mut total: u64| {
        let (words, rest) = part.as_chunks::<2>();
        total += words
            .iter()
            .map(|word| u64::from(u16::from_le_bytes(*word)))
            .sum::<u64>();
        total + rest.first().map_or(0, |byte| u64::from(*byte))
    };
    let field = field.min(bytes.len());
    let (head, tail) = bytes.split_at(field);
    let tail = tail.get(4..).unwrap_or_default();
    let mut total = if field.is_multiple_of(2) {
        sum(tail, sum(head, 0))
    } else {
        // A field at an odd place straddles words: add the two parts as one file with zeros in its place.
        let mut patched = bytes.to_vec();
        if let Some(field) = patched.get_mut(field..field + 4) {
            field.fill(0);
        }
        sum(&patched, 0)
    };
    while total > 0xffff {
        total = (total >> 16) + (total & 0xffff);
    }
    (total as u32).wrapping_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX))
}
