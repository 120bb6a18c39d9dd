//! An XMM register in the form that the host moves at once. A host waits when it must load 16 bytes that two stores of 8
//! are still bringing, so whatever is common stores and loads whole registers.

#[cfg(target_arch = "x86_64")]
mod host {
    use std::arch::x86_64::__m128i;

    /// 16 bytes in a vector register of the host.
    pub(crate) type Wide = __m128i;

    /// The same bits.
    #[inline(always)]
    pub(crate) fn from_u128(value: u128) -> Wide {
        // SAFETY: both are 16 bytes, and all values are valid.
        unsafe { std::mem::transmute(value) }
    }

    /// The same bits.
    #[inline(always)]
    pub(crate) fn to_u128(value: Wide) -> u128 {
        // SAFETY: as above.
        unsafe { std::mem::transmute(value) }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod host {
    /// 16 bytes.
    pub(crate) type Wide = u128;

    /// The same bits.
    #[inline(always)]
    pub(crate) fn from_u128(value: u128) -> Wide {
        value
    }

    /// The same bits.
    #[inline(always)]
    pub(crate) fn to_u128(value: Wide) -> u128 {
        value
    }
}

pub(crate) use host::{Wide, from_u128, to_u128};
