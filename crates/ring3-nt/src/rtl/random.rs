//! Pseudo-random numbers. Documentation: ntddk.h, "RtlRandom", "RtlRandomEx".

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;

/// Numbers are 0 to MAXLONG - 1.
const MODULUS: u64 = 0x7fff_ffff;

/// The linear congruential generator that the documentation of RtlUniform names: 7FFFFFEDh times the
/// seed plus 7FFFFFC3h, modulo MAXLONG.
fn uniform(seed: u32) -> u32 {
    ((u64::from(seed) * 0x7fff_ffed + 0x7fff_ffc3) % MODULUS) as u32
}

/// Routines that give pseudo-random numbers.
pub struct RandomNumbers;

#[exports("ntoskrnl.exe")]
impl RandomNumbers {
    /// A pseudo-random number; the seed is replaced.
    #[page("ntddk/nf-ntddk-rtlrandomex")]
    #[irql(..=APC_LEVEL)]
    #[alias("RtlRandom")]
    #[assumed(
        "the generator of RtlUniform, twice, without the table that RtlRandom shuffles; the values differ from Windows'"
    )]
    fn RtlRandomEx(cx: &mut Machine, Seed: Gva<u32>) -> Result<u32, Fault> {
        let seed = uniform(cx.memory.read(Seed)?);
        cx.memory.write(Seed, seed)?;
        Ok(uniform(seed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_stays_in_range_and_moves() {
        let mut seed = 1;
        for _ in 0..1000 {
            let next = uniform(seed);
            assert!(u64::from(next) < MODULUS);
            assert_ne!(next, seed);
            seed = next;
        }
    }
}
