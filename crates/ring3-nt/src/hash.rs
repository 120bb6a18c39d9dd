//! The fixed hash function of the machine: equal on every host and in every release of Rust.

use std::hash::Hasher;

/// 64-bit FNV-1a over words and bytes, finished with a mixing step.
///
/// The parameters are those of the published FNV-1a; the std default hasher is not used because its
/// function and keys are not promised to stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// Mixes one word.
    #[inline]
    pub fn word(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x0000_0100_0000_01b3);
        self.0 ^= self.0 >> 29;
    }

    /// Mixes a name and words as one. Pairs are spread independently of each other, each by its position, so that a
    /// processor works on all of them at once; only their sum waits for what was mixed before.
    #[inline]
    pub fn record(&mut self, name: &str, values: &[u64]) {
        let (mut sum, mut position) = (0u64, 0u64);
        // The product of two words, folded: all bits of both reach all bits of the result. The step is 2^64 divided by
        // the golden ratio.
        let mut pair = |a: u64, b: u64| {
            position = position.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let product = u128::from(a ^ position) * u128::from(b ^ position.rotate_left(32));
            sum = sum.wrapping_add(product as u64 ^ (product >> 64) as u64);
        };
        let (chunks, rest) = name.as_bytes().as_chunks::<16>();
        for chunk in chunks {
            let both = u128::from_le_bytes(*chunk);
            pair(both as u64, (both >> 64) as u64);
        }
        let mut last = [0; 16];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        let last = u128::from_le_bytes(last);
        pair(last as u64, (last >> 64) as u64);
        let (pairs, rest) = values.as_chunks::<2>();
        for [a, b] in pairs {
            pair(*a, *b);
        }
        if let [only] = rest {
            pair(*only, 0);
        }
        self.word(sum);
        self.word((name.len() as u64) << 32 | values.len() as u64);
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        let mut x = self.0;
        x ^= x >> 32;
        x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x ^ (x >> 29)
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0u8; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
        self.word(bytes.len() as u64);
    }
    fn write_u8(&mut self, i: u8) {
        self.word(u64::from(i));
    }
    fn write_u16(&mut self, i: u16) {
        self.word(u64::from(i));
    }
    fn write_u32(&mut self, i: u32) {
        self.word(u64::from(i));
    }
    fn write_u64(&mut self, i: u64) {
        self.word(i);
    }
    fn write_usize(&mut self, i: usize) {
        self.word(i as u64);
    }
}
