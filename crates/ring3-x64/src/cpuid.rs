//! What CPUID says: a fixed processor, the same on each host (Intel SDM volume 2, CPUID).

use crate::cpu::{Cpu, cr4};

/// Highest basic leaf.
const MOST: u32 = 0xd;
/// Highest extended leaf.
const MOST_EXTENDED: u32 = 0x8000_0008;

/// CPUID.1:ECX.
mod ecx1 {
    pub const SSE3: u32 = 1 << 0;
    pub const PCLMULQDQ: u32 = 1 << 1;
    pub const SSSE3: u32 = 1 << 9;
    pub const CX16: u32 = 1 << 13;
    pub const SSE4_1: u32 = 1 << 19;
    pub const SSE4_2: u32 = 1 << 20;
    pub const MOVBE: u32 = 1 << 22;
    pub const POPCNT: u32 = 1 << 23;
    pub const AES: u32 = 1 << 25;
    pub const OSXSAVE: u32 = 1 << 27;
    pub const RDRAND: u32 = 1 << 30;
}

/// CPUID.1:EDX: FPU, VME, DE, PSE, TSC, MSR, PAE, MCE, CX8, APIC, SEP, MTRR, PGE, MCA, CMOV, PAT, PSE36, CLFSH, MMX,
/// FXSR, SSE, SSE2.
const EDX1: u32 = 0x078b_fbff;

/// CPUID.7.0:EBX: FSGSBASE, SMEP, ERMS, RDSEED, SMAP.
const EBX7: u32 = 1 << 0 | 1 << 7 | 1 << 9 | 1 << 18 | 1 << 20;

/// CPUID.7.0:ECX: UMIP.
const ECX7: u32 = 1 << 2;

/// Four letters as a register.
fn letters(text: &[u8]) -> u32 {
    text.iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u32::from(*byte))
}

/// EAX, EBX, ECX, EDX for a leaf and subleaf.
pub(crate) fn cpuid(cpu: &Cpu, leaf: u32, subleaf: u32) -> [u32; 4] {
    let brand = |part: usize| {
        let text: &[u8; 48] = b"ring3 virtual x86-64 processor\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        let word = |number: usize| {
            letters(
                text.get(part * 16 + number * 4..)
                    .and_then(|rest| rest.get(..4))
                    .unwrap_or(&[]),
            )
        };
        [word(0), word(1), word(2), word(3)]
    };
    match (leaf, subleaf) {
        (0, _) => [MOST, letters(b"Genu"), letters(b"ntel"), letters(b"ineI")],
        (1, _) => {
            use ecx1::*;
            let mut ecx =
                SSE3 | PCLMULQDQ | SSSE3 | CX16 | SSE4_1 | SSE4_2 | MOVBE | POPCNT | AES | RDRAND;
            if cpu.cr4 & cr4::OSXSAVE != 0 {
                ecx |= OSXSAVE;
            }
            // Family 6, model 0x1e (the last one with SSE4.2 and without AVX), CLFLUSH line of 64 bytes, one processor.
            [0x0001_06e5, 0x0001_0800, ecx, EDX1]
        }
        // Leaf 2: no descriptors beyond "see leaf 4".
        (2, _) => [0xff01, 0, 0, 0],
        // 32 KiB data and instruction cache, 2 MiB unified, 64-byte lines, 8 ways.
        (4, 0) => [0x121, 7 << 22 | 63, 63, 0],
        (4, 1) => [0x122, 7 << 22 | 63, 63, 0],
        (4, 2) => [0x143, 7 << 22 | 63, 4095, 0],
        (7, 0) => [0, EBX7, ECX7, 0],
        (0x8000_0000, _) => [MOST_EXTENDED, 0, 0, 0],
        // LAHF and LZCNT; SYSCALL, NX, RDTSCP, long mode.
        (0x8000_0001, _) => [0, 0, 1 | 1 << 5, 1 << 11 | 1 << 20 | 1 << 27 | 1 << 29],
        (0x8000_0002..=0x8000_0004, _) => brand((leaf - 0x8000_0002) as usize),
        // Invariant TSC.
        (0x8000_0007, _) => [0, 0, 0, 1 << 8],
        // 40 physical, 48 virtual address bits.
        (0x8000_0008, _) => [0x3028, 0, 0, 0],
        _ => [0; 4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendor_and_features() {
        let cpu = Cpu::default();
        let [most, b, c, d] = cpuid(&cpu, 0, 0);
        let vendor: Vec<u8> = [b, d, c]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        assert_eq!((most, &vendor[..]), (MOST, &b"GenuineIntel"[..]));
        let [.., c, d] = cpuid(&cpu, 1, 0);
        assert_eq!(c & (1 << 28 | 1 << 26 | 1 << 12), 0, "no AVX, XSAVE, FMA");
        assert_eq!(d >> 25 & 3, 3, "SSE and SSE2");
        let [.., c, _] = cpuid(&cpu, 7, 0);
        assert_eq!(c >> 7 & 1, 0, "no shadow stacks");
    }
}
