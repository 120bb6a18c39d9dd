//! A 128-bit register seen as lanes.

/// Sixteen bytes, lane 0 lowest.
pub fn u8s(v: u128) -> [u8; 16] {
    v.to_le_bytes()
}

/// The register with these byte lanes.
pub fn from_u8s(v: [u8; 16]) -> u128 {
    u128::from_le_bytes(v)
}

/// Eight words.
pub fn u16s(v: u128) -> [u16; 8] {
    std::array::from_fn(|i| (v >> (16 * i)) as u16)
}

/// The register with these word lanes.
pub fn from_u16s(v: [u16; 8]) -> u128 {
    v.iter()
        .rev()
        .fold(0, |sum, &lane| sum << 16 | u128::from(lane))
}

/// Four doublewords.
pub fn u32s(v: u128) -> [u32; 4] {
    std::array::from_fn(|i| (v >> (32 * i)) as u32)
}

/// The register with these doubleword lanes.
pub fn from_u32s(v: [u32; 4]) -> u128 {
    v.iter()
        .rev()
        .fold(0, |sum, &lane| sum << 32 | u128::from(lane))
}

/// Two quadwords.
pub fn u64s(v: u128) -> [u64; 2] {
    [v as u64, (v >> 64) as u64]
}

/// The register with these quadword lanes.
pub fn from_u64s(v: [u64; 2]) -> u128 {
    u128::from(v[0]) | u128::from(v[1]) << 64
}

/// `dst` with its low 32 bits replaced.
pub fn merge32(dst: u128, low: u32) -> u128 {
    dst & !0xffff_ffff | u128::from(low)
}

/// `dst` with its low 64 bits replaced.
pub fn merge64(dst: u128, low: u64) -> u128 {
    dst & !0xffff_ffff_ffff_ffff | u128::from(low)
}

/// Combines the byte lanes of two registers.
pub fn zip8(a: u128, b: u128, f: impl Fn(u8, u8) -> u8) -> u128 {
    let (a, b) = (u8s(a), u8s(b));
    from_u8s(std::array::from_fn(|i| f(a[i], b[i])))
}

/// Combines the word lanes of two registers.
pub fn zip16(a: u128, b: u128, f: impl Fn(u16, u16) -> u16) -> u128 {
    let (a, b) = (u16s(a), u16s(b));
    from_u16s(std::array::from_fn(|i| f(a[i], b[i])))
}

/// Combines the doubleword lanes of two registers.
pub fn zip32(a: u128, b: u128, f: impl Fn(u32, u32) -> u32) -> u128 {
    let (a, b) = (u32s(a), u32s(b));
    from_u32s(std::array::from_fn(|i| f(a[i], b[i])))
}

/// Combines the quadword lanes of two registers.
pub fn zip64(a: u128, b: u128, f: impl Fn(u64, u64) -> u64) -> u128 {
    let (a, b) = (u64s(a), u64s(b));
    from_u64s([f(a[0], b[0]), f(a[1], b[1])])
}
