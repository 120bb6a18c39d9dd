//! [`Guest`]: values that have a fixed little-endian image in guest memory.

use crate::address::{Gpa, Gva, UserGva};

/// A value with a fixed-size little-endian image in guest memory.
///
/// Any bytes must be a valid image: the guest chooses them.
pub trait Guest: Copy + 'static {
    /// Size of the image in bytes.
    const SIZE: usize;

    /// The value of an image; `bytes` holds exactly [`Self::SIZE`] bytes.
    fn load(bytes: &[u8]) -> Self;

    /// Writes the image to `bytes`, which holds exactly [`Self::SIZE`] bytes.
    fn store(self, bytes: &mut [u8]);
}

macro_rules! guest_integer {
    ($($kind:ty)*) => {$(
        impl Guest for $kind {
            const SIZE: usize = size_of::<$kind>();

            #[inline]
            fn load(bytes: &[u8]) -> Self {
                let mut image = [0; size_of::<$kind>()];
                image.copy_from_slice(bytes);
                <$kind>::from_le_bytes(image)
            }

            #[inline]
            fn store(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

guest_integer!(u8 u16 u32 u64 u128 i8 i16 i32 i64 i128);

/// One byte; any value but 0 reads as true (BOOLEAN).
impl Guest for bool {
    const SIZE: usize = 1;

    fn load(bytes: &[u8]) -> Self {
        u8::load(bytes) != 0
    }

    fn store(self, bytes: &mut [u8]) {
        u8::from(self).store(bytes);
    }
}

impl<T: ?Sized + 'static> Guest for Gva<T> {
    const SIZE: usize = 8;

    fn load(bytes: &[u8]) -> Self {
        Gva::new(u64::load(bytes))
    }

    fn store(self, bytes: &mut [u8]) {
        self.raw().store(bytes);
    }
}

impl<T: ?Sized + 'static> Guest for UserGva<T> {
    const SIZE: usize = 8;

    fn load(bytes: &[u8]) -> Self {
        UserGva::new(u64::load(bytes))
    }

    fn store(self, bytes: &mut [u8]) {
        self.raw().store(bytes);
    }
}

impl Guest for Gpa {
    const SIZE: usize = 8;

    fn load(bytes: &[u8]) -> Self {
        Gpa(u64::load(bytes))
    }

    fn store(self, bytes: &mut [u8]) {
        self.0.store(bytes);
    }
}

impl<T: Guest, const N: usize> Guest for [T; N] {
    const SIZE: usize = T::SIZE * N;

    fn load(bytes: &[u8]) -> Self {
        std::array::from_fn(|index| T::load(&bytes[index * T::SIZE..(index + 1) * T::SIZE]))
    }

    fn store(self, bytes: &mut [u8]) {
        for (index, element) in self.into_iter().enumerate() {
            element.store(&mut bytes[index * T::SIZE..(index + 1) * T::SIZE]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_little_endian() {
        let mut image = [0; 8];
        [0x0102u16, 0x0304, 0x0506, 0x0708].store(&mut image);
        assert_eq!(image, [2, 1, 4, 3, 6, 5, 8, 7]);
        assert_eq!(Gva::<u8>::load(&image).raw(), 0x0708_0506_0304_0102);
        assert!(bool::load(&[0x80]));
        assert_eq!(<[[u8; 2]; 3]>::SIZE, 6);
    }
}
