//! Random values with many edge cases.

use iced_x86::Code;

/// xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled").
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        (0..4).for_each(|_| {
            random.next();
        });
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 32) % n
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// An integer: an edge of some width, a single bit, a small number or anything.
    pub fn integer(&mut self) -> u64 {
        let edge = self.pick(&[
            0,
            1,
            u64::MAX,
            0x7f,
            0x80,
            0xff,
            0x7fff,
            0x8000,
            0xffff,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            0x7fff_ffff_ffff_ffff,
            0x8000_0000_0000_0000,
        ]);
        match self.below(8) {
            0 | 1 => edge,
            2 => 1 << self.below(64),
            3 => self.pick(&[0u64, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255]),
            // Edges in the lanes of a vector.
            4 => edge << 32 | self.next() & 0xffff_ffff,
            5 => self.next() & self.next() & self.next(),
            _ => self.next(),
        }
    }

    fn single(&mut self) -> u32 {
        let edge = self.pick(&[
            0x0000_0000,
            0x0000_0001,
            0x007f_ffff,
            0x0080_0000,
            0x0080_0001,
            0x3f80_0000,
            0x3f80_0001,
            0x3f7f_ffff,
            0x3f00_0000,
            0x4b00_0001,
            0x4eff_ffff,
            0x4f00_0000,
            0x5f00_0000,
            0x7f7f_ffff,
            0x7f80_0000,
            0x7f80_0001,
            0x7fc0_0000,
            0x7fff_ffff,
        ]) | (self.next() as u32 & 0x8000_0000);
        match self.below(8) {
            0..=2 => edge,
            // Near one another in size, so that sums cancel and quotients are near one.
            3..=5 => self.next() as u32 & 0x807f_ffff | ((120 + self.below(30)) as u32) << 23,
            6 => self.next() as u32 & 0x80ff_ffff,
            _ => self.next() as u32,
        }
    }

    fn double(&mut self) -> u64 {
        let edge = self.pick(&[
            0x0000_0000_0000_0000,
            0x0000_0000_0000_0001,
            0x000f_ffff_ffff_ffff,
            0x0010_0000_0000_0000,
            0x3ff0_0000_0000_0000,
            0x3ff0_0000_0000_0001,
            0x3fe0_0000_0000_0000,
            0x3fef_ffff_ffff_ffff,
            0x380f_ffff_ffff_ffff,
            0x36a0_0000_0000_0001,
            0x41df_ffff_ffc0_0000,
            0x41e0_0000_0000_0000,
            0x43e0_0000_0000_0000,
            0x4330_0000_0000_0001,
            0x47ef_ffff_f000_0000,
            0x7fef_ffff_ffff_ffff,
            0x7ff0_0000_0000_0000,
            0x7ff0_0000_0000_0001,
            0x7ff8_0000_0000_0000,
            0x7fff_ffff_ffff_ffff,
        ]) | (self.next() & 0x8000_0000_0000_0000);
        match self.below(9) {
            0..=2 => edge,
            3..=5 => self.next() & 0x800f_ffff_ffff_ffff | (1010 + self.below(70)) << 52,
            6 => self.next() & 0x801f_ffff_ffff_ffff,
            // The range of single, with its denormals.
            7 => self.next() & 0x800f_ffff_ffff_ffff | (860 + self.below(300)) << 52,
            _ => self.next(),
        }
    }

    pub fn vector(&mut self, lanes: Lanes) -> u128 {
        match lanes {
            Lanes::Single => (0..4).fold(0, |sum, _| sum << 32 | u128::from(self.single())),
            Lanes::Double => u128::from(self.double()) << 64 | u128::from(self.double()),
            Lanes::Text => {
                let (base, spread) = (self.pick(&[0x41u8, 0x7e, 0xfe]), 1 + self.below(5));
                (0..16).fold(0, |sum, _| {
                    let lane = if self.one_in(12) {
                        0
                    } else {
                        base.wrapping_add(self.below(spread) as u8)
                    };
                    sum << 8 | u128::from(lane)
                })
            }
            Lanes::Integer => u128::from(self.integer()) << 64 | u128::from(self.integer()),
        }
    }
}

#[derive(Clone, Copy)]
pub enum Lanes {
    Integer,
    Single,
    Double,
    Text,
}

/// What the vector operands of an instruction are made of.
pub fn lanes(code: Code) -> Lanes {
    let name = format!("{:?}", code.mnemonic()).to_lowercase();
    if name.starts_with("pcmpis") || name.starts_with("pcmpes") {
        Lanes::Text
    } else if name.starts_with('p') {
        Lanes::Integer
    } else if name.ends_with("ps")
        || name.ends_with("ss")
        || name.starts_with("cvtps")
        || name.starts_with("cvtss")
        || name.starts_with("cvttps")
        || name.starts_with("cvttss")
    {
        if name.starts_with("cvtpd") || name.starts_with("cvtsd2") {
            Lanes::Double
        } else if name.starts_with("cvtdq") {
            Lanes::Integer
        } else {
            Lanes::Single
        }
    } else if name.ends_with("pd")
        || name.ends_with("sd")
        || name.starts_with("cvtpd")
        || name.starts_with("cvtsd")
        || name.starts_with("cvttpd")
        || name.starts_with("cvttsd")
    {
        if name.starts_with("cvtdq") {
            Lanes::Integer
        } else {
            Lanes::Double
        }
    } else {
        Lanes::Integer
    }
}
