//! Guest addresses: virtual ([`Gva`], [`UserGva`]), physical ([`Gpa`]), and typed field offsets ([`Field`]).
//!
//! An address is a claim, not a proof: nothing here says that something is mapped there. Only an access through
//! [`Memory`](crate::Memory) checks it.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use crate::guest::Guest;

/// A guest-physical address in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Gpa(pub u64);

impl Gpa {
    /// The address as a number of bytes.
    #[inline]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The number of the page frame that holds this address.
    #[inline]
    pub const fn pfn(self) -> u64 {
        self.0 >> 12
    }

    /// The first byte of page frame `pfn`.
    #[inline]
    pub const fn from_pfn(pfn: u64) -> Self {
        Self(pfn << 12)
    }
}

impl fmt::Debug for Gpa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gpa({:#x})", self.0)
    }
}

impl fmt::LowerHex for Gpa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

macro_rules! virtual_address {
    ($name:ident) => {
        impl<T: ?Sized> $name<T> {
            /// The null address.
            pub const NULL: Self = Self::new(0);

            /// An address from its 64-bit value; any value is accepted.
            #[inline]
            pub const fn new(raw: u64) -> Self {
                Self {
                    raw,
                    kind: PhantomData,
                }
            }

            /// The 64-bit value.
            #[inline]
            pub const fn raw(self) -> u64 {
                self.raw
            }

            /// Whether this is the null address.
            #[inline]
            pub const fn is_null(self) -> bool {
                self.raw == 0
            }

            /// The same address, claimed to hold a `U`.
            #[inline]
            pub const fn cast<U: ?Sized>(self) -> $name<U> {
                $name::new(self.raw)
            }

            /// The address `bytes` higher; wraps at 2^64.
            #[inline]
            #[must_use]
            pub const fn byte_add(self, bytes: u64) -> Self {
                Self::new(self.raw.wrapping_add(bytes))
            }

            /// The address `bytes` lower; wraps at 0.
            #[inline]
            #[must_use]
            pub const fn byte_sub(self, bytes: u64) -> Self {
                Self::new(self.raw.wrapping_sub(bytes))
            }
        }

        impl<T: Guest> $name<T> {
            /// The address `count` elements of `T` higher; wraps at 2^64.
            #[inline]
            #[must_use]
            pub const fn add(self, count: u64) -> Self {
                self.byte_add(count.wrapping_mul(T::SIZE as u64))
            }
        }

        impl<S> $name<S> {
            /// The address of one field of the structure at this address; wraps at 2^64.
            #[inline]
            pub const fn at<F>(self, field: Field<S, F>) -> $name<F> {
                $name::new(self.raw.wrapping_add(field.offset() as u64))
            }
        }

        // By hand, because derived implementations would ask the same of `T`, which is only a name here.
        impl<T: ?Sized> Clone for $name<T> {
            #[inline]
            fn clone(&self) -> Self {
                *self
            }
        }
        impl<T: ?Sized> Copy for $name<T> {}
        impl<T: ?Sized> PartialEq for $name<T> {
            #[inline]
            fn eq(&self, other: &Self) -> bool {
                self.raw == other.raw
            }
        }
        impl<T: ?Sized> Eq for $name<T> {}
        impl<T: ?Sized> PartialOrd for $name<T> {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
        impl<T: ?Sized> Ord for $name<T> {
            fn cmp(&self, other: &Self) -> Ordering {
                self.raw.cmp(&other.raw)
            }
        }
        impl<T: ?Sized> Hash for $name<T> {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.raw.hash(state);
            }
        }
        impl<T: ?Sized> Default for $name<T> {
            fn default() -> Self {
                Self::NULL
            }
        }
        impl<T: ?Sized> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:#x})", stringify!($name), self.raw)
            }
        }
        impl<T: ?Sized> fmt::LowerHex for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.raw, f)
            }
        }
        impl<T: ?Sized> fmt::UpperHex for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::UpperHex::fmt(&self.raw, f)
            }
        }
        impl<T: ?Sized> From<$name<T>> for u64 {
            fn from(address: $name<T>) -> u64 {
                address.raw
            }
        }
    };
}

/// A guest-virtual address that is claimed to hold a `T`.
pub struct Gva<T: ?Sized = u8> {
    raw: u64,
    kind: PhantomData<fn(&T)>,
}

/// A guest-virtual address that came from user mode: it must be probed before the kernel may use it.
pub struct UserGva<T: ?Sized = u8> {
    raw: u64,
    kind: PhantomData<fn(&T)>,
}

virtual_address!(Gva);
virtual_address!(UserGva);

impl<T: ?Sized> UserGva<T> {
    /// The same address as an ordinary one. The caller states that it was probed, or that the emulated routine
    /// does not probe either.
    #[inline]
    pub const fn assume_probed(self) -> Gva<T> {
        Gva::new(self.raw)
    }
}

/// A field of type `T` at a fixed byte offset in the guest structure `S`.
pub struct Field<S, T> {
    offset: u32,
    kind: PhantomData<fn(&S, &T)>,
}

impl<S, T> Field<S, T> {
    /// A field `offset` bytes into the structure.
    #[inline]
    pub const fn new(offset: u32) -> Self {
        Self {
            offset,
            kind: PhantomData,
        }
    }

    /// The offset in bytes.
    #[inline]
    pub const fn offset(self) -> u32 {
        self.offset
    }

    /// The field `inner` of the structure in this field, as a field of the outer structure.
    #[inline]
    pub const fn then<U>(self, inner: Field<T, U>) -> Field<S, U> {
        Field::new(self.offset.wrapping_add(inner.offset))
    }
}

impl<S, T> Clone for Field<S, T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, T> Copy for Field<S, T> {}

impl<S, T> fmt::Debug for Field<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({:#x})", self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Outer;
    struct Inner;

    #[test]
    fn fields_compose_and_addresses_wrap() {
        let outer: Field<Outer, Inner> = Field::new(0x18);
        let inner: Field<Inner, u32> = Field::new(8);
        let base = Gva::<Outer>::new(u64::MAX - 0x1f);
        assert_eq!(outer.then(inner).offset(), 0x20);
        assert_eq!(base.at(outer.then(inner)), Gva::NULL);
        assert_eq!(Gva::<u32>::new(0x1000).add(3).raw(), 0x100c);
        assert_eq!(
            format!("{:?} {:x}", Gva::<u8>::new(0x1f), Gva::<str>::new(0x20)),
            "Gva(0x1f) 20"
        );
    }
}
