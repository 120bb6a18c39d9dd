//! The LZNT1 compression format. Source: [MS-XCA], "LZNT1 Algorithm Details".
//!
//! A buffer is a sequence of chunks, each for up to 4,096 bytes of text: two bytes of header, then either
//! the text itself or groups of eight items behind a byte of flags. An item is a byte, or two bytes with
//! distance and length of text that occurred before in the same chunk.

/// Text of one chunk.
pub const CHUNK: usize = 4096;
/// Bits 12 to 14 of the header.
const SIGNATURE: u16 = 3 << 12;
const COMPRESSED: u16 = 1 << 15;
/// A shorter repetition is not worth its two bytes.
const SHORTEST: usize = 3;

/// Bits of the length in an item at this position of the chunk: the farther in, the more bits the
/// distance needs.
fn length_bits(position: usize) -> u32 {
    let mut bits = 12;
    while bits > 4 && position > 1 << (16 - bits) {
        bits -= 1;
    }
    bits
}

/// Decompresses at most `limit` bytes. `None` if it is no such buffer.
#[must_use]
pub fn decompress(mut bytes: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<2>() {
        let header = u16::from_le_bytes(*header);
        if header == 0 || out.len() >= limit {
            break;
        }
        let size = usize::from(header & 0xfff) + 1;
        let data = rest.get(..size)?;
        bytes = rest.get(size..)?;
        // A chunk but the last one stands for exactly 4,096 bytes.
        out.resize(out.len().next_multiple_of(CHUNK).min(limit), 0);
        if header & COMPRESSED == 0 {
            out.extend_from_slice(data);
        } else {
            expand(data, &mut out)?;
        }
    }
    out.truncate(limit);
    Some(out)
}

/// Appends the text of one compressed chunk.
fn expand(data: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    let mut bytes = data.iter().copied();
    while let Some(flags) = bytes.next() {
        for bit in 0..8 {
            let Some(first) = bytes.next() else {
                return Some(());
            };
            if flags >> bit & 1 == 0 {
                out.push(first);
                continue;
            }
            let item = u16::from_le_bytes([first, bytes.next()?]);
            let bits = length_bits(out.len() - start);
            let length = usize::from(item & ((1 << bits) - 1)) + SHORTEST;
            let distance = usize::from(item >> bits) + 1;
            let from = out.len().checked_sub(distance).filter(|at| *at >= start)?;
            for at in from..from + length {
                out.push(*out.get(at)?);
            }
            if out.len() - start > CHUNK {
                return None;
            }
        }
    }
    Some(())
}

/// Compresses.
#[must_use]
pub fn compress(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in text.chunks(CHUNK) {
        let packed = pack(chunk);
        let (flag, data) = match &packed {
            Some(packed) => (COMPRESSED, packed.as_slice()),
            None => (0, chunk),
        };
        let header = flag | SIGNATURE | (data.len() as u16).wrapping_sub(1);
        out.extend(header.to_le_bytes());
        out.extend_from_slice(data);
    }
    out
}

/// The items of one chunk; `None` if they are not shorter than the text.
fn pack(chunk: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    // The last place where three bytes occurred, by a hash of them, and the place before each place.
    let mut last = [usize::MAX; 4096];
    let mut before = vec![usize::MAX; chunk.len()];
    let slot = |at: usize| {
        let three = chunk.get(at..at + SHORTEST)?;
        let value = three.iter().fold(0u32, |hash, byte| {
            hash.wrapping_mul(0x9e5f) ^ u32::from(*byte)
        });
        Some((value.wrapping_mul(0x9e37_79b1) >> 20) as usize)
    };
    let mut at = 0;
    while at < chunk.len() {
        let flags_at = out.len();
        out.push(0u8);
        for bit in 0..8 {
            if at >= chunk.len() {
                break;
            }
            let longest = (1 << length_bits(at)) - 1 + SHORTEST;
            let farthest = 1 << (16 - length_bits(at));
            let (mut best, mut best_from) = (0, 0);
            let mut candidate = slot(at).map_or(usize::MAX, |s| last[s & 4095]);
            let mut tries = 32;
            while candidate < at && at - candidate <= farthest && tries > 0 {
                let matching = chunk
                    .iter()
                    .skip(candidate)
                    .zip(chunk.iter().skip(at))
                    .take(longest)
                    .take_while(|(a, b)| a == b)
                    .count();
                if matching > best {
                    (best, best_from) = (matching, candidate);
                }
                candidate = before.get(candidate).copied().unwrap_or(usize::MAX);
                tries -= 1;
            }
            let taken = if best >= SHORTEST {
                let bits = length_bits(at);
                let item = (at - best_from - 1) << bits | (best - SHORTEST);
                out.extend((item as u16).to_le_bytes());
                if let Some(flags) = out.get_mut(flags_at) {
                    *flags |= 1 << bit;
                }
                best
            } else {
                out.extend(chunk.get(at));
                1
            };
            for place in at..at + taken {
                if let Some(slot) = slot(place)
                    && let Some(link) = before.get_mut(place)
                {
                    *link = last[slot & 4095];
                    last[slot & 4095] = place;
                }
            }
            at += taken;
        }
        if out.len() >= chunk.len() {
            return None;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that do not repeat, from a small generator.
    fn noise(count: usize) -> Vec<u8> {
        let mut state = 1u32;
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect()
    }

    #[test]
    fn text_comes_back() {
        let words = b"the quick brown fox and the lazy dog and the fox again ".repeat(300);
        for text in [
            Vec::new(),
            b"a".to_vec(),
            vec![7; 10_000],
            words.clone(),
            noise(9_000),
            [noise(100), vec![0; 5000], noise(100)].concat(),
        ] {
            let packed = compress(&text);
            assert_eq!(decompress(&packed, text.len()).as_ref(), Some(&text));
        }
        assert!(compress(&words).len() * 4 < words.len());
        assert_eq!(compress(&noise(4096)).len(), 4098);
    }

    /// The example of [MS-XCA], "LZNT1 example".
    #[test]
    fn the_documents_example() {
        let packed = [
            0x38, 0xb0, 0x88, 0x46, 0x23, 0x20, 0x00, 0x20, 0x47, 0x20, 0x41, 0x00, 0x10, 0xa2,
            0x47, 0x01, 0xa0, 0x45, 0x20, 0x44, 0x00, 0x08, 0x45, 0x01, 0x50, 0x79, 0x00, 0xc0,
            0x45, 0x20, 0x05, 0x24, 0x13, 0x88, 0x05, 0xb4, 0x02, 0x4a, 0x44, 0xef, 0x03, 0x58,
            0x02, 0x8c, 0x09, 0x16, 0x01, 0x48, 0x45, 0x00, 0xbe, 0x00, 0x9e, 0x00, 0x04, 0x01,
            0x18, 0x90, 0x00,
        ];
        let text = "F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E E F# D E F# G F# D E F# G F# E D E A F# F# G A A G F# E D D E F# E D D\0";
        assert_eq!(
            decompress(&packed, 4096).map(|b| String::from_utf8_lossy(&b).into_owned()),
            Some(text.to_owned())
        );
    }

    #[test]
    fn damaged_buffers_are_refused() {
        assert_eq!(decompress(&[0x38, 0xb0, 0x88], 4096), None);
        // Distance 1 with nothing before.
        assert_eq!(decompress(&[0x02, 0xb0, 0x01, 0x00, 0x00], 4096), None);
        for cut in 0..200 {
            let mut packed = compress(&noise(50).repeat(20));
            packed.truncate(cut);
            let _ = decompress(&packed, 4096);
        }
    }
}
