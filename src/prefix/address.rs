//! Addresses: bits that are numbered from the top.

use core::fmt::Debug;
use core::hash::Hash;

/// A word whose top bits a prefix fixes: `u32`, `u64` or `u128`, and no other type.
///
/// A field narrower than its word stands at the word's top: shift it there first.
pub trait Address: sealed::Sealed + Copy + Debug + Default + Eq + Hash + Ord + Send + Sync + 'static {
    /// Bits of the word.
    const BITS: u32;

    /// The top 64 bits; a shorter word stands at their top.
    fn high(self) -> u64;
    /// The 64 bits after those.
    fn low(self) -> u64;
    /// The top `count` bits, as a number; at most 32.
    fn top(self, count: u32) -> usize;
    /// Without the top `count` bits; the rest moves up. 0 from [`BITS`](Self::BITS) on.
    fn after(self, count: u32) -> Self;
    /// The top `len` bits of it; the rest is 0.
    fn masked(self, len: u32) -> Self;
    /// How many of the top bits are those of `other`.
    fn common(self, other: Self) -> u32;
    /// `self` with the bits of `low` put in, `low` moved down by `by` bits.
    fn with(self, low: Self, by: u32) -> Self;
    /// The low `count` bits of `number` moved to the top.
    fn from_top(number: usize, count: u32) -> Self;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! address {
    ($word:ty, |$at:ident| $high:expr, $low:expr) => {
        impl sealed::Sealed for $word {}

        impl Address for $word {
            const BITS: u32 = <$word>::BITS;

            #[inline(always)]
            fn high(self) -> u64 {
                let $at = self;
                $high
            }
            #[inline(always)]
            fn low(self) -> u64 {
                let $at = self;
                let _ = $at;
                $low
            }
            #[inline(always)]
            fn top(self, count: u32) -> usize {
                // Two shifts, since one by all bits is none at all.
                (self >> 1 >> (Self::BITS - 1 - count)) as usize
            }
            #[inline(always)]
            fn after(self, count: u32) -> Self {
                self.checked_shl(count).unwrap_or(0)
            }
            #[inline(always)]
            fn masked(self, len: u32) -> Self {
                self & !<$word>::MAX.checked_shr(len).unwrap_or(0)
            }
            #[inline(always)]
            fn common(self, other: Self) -> u32 {
                (self ^ other).leading_zeros()
            }
            #[inline(always)]
            fn with(self, low: Self, by: u32) -> Self {
                self | low.checked_shr(by).unwrap_or(0)
            }
            #[inline(always)]
            fn from_top(number: usize, count: u32) -> Self {
                (number as $word).checked_shl(Self::BITS - count).unwrap_or(0)
            }
        }
    };
}

address!(u32, |at| u64::from(at) << 32, 0);
address!(u64, |at| at, 0);
address!(u128, |at| (at >> 64) as u64, at as u64);

/// The bits of an address from bit `at` on, at the top of the word; below the rest of 64
/// of them anything may stand.
#[inline(always)]
pub(super) fn window<A: Address>(key: A, at: u32) -> u64 {
    if at <= FIRST || A::BITS <= 64 {
        key.high() << (at & 63)
    } else if at >= 64 {
        key.low() << (at & 63)
    } else {
        key.high() << at | key.low() >> (64 - at)
    }
}

/// The last bit from which six stand in the high half.
pub(super) const FIRST: u32 = 58;

/// A prefix: the top `len` bits of an address.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Prefix<A> {
    bits: A,
    len: u8,
}

impl<A: Address> Prefix<A> {
    /// The prefix of `len` bits of `address`, `None` if there are not that many.
    pub fn new(address: A, len: u32) -> Option<Self> {
        (len <= A::BITS).then(|| Self { bits: address.masked(len), len: len as u8 })
    }

    /// The prefix of no bits, which covers every address: the default route.
    pub fn everything() -> Self {
        Self { bits: A::default(), len: 0 }
    }

    /// Its bits; below the first `len` all are 0.
    pub fn bits(self) -> A {
        self.bits
    }

    /// How many bits it fixes.
    pub fn len(self) -> u32 {
        u32::from(self.len)
    }

    /// Whether it fixes no bit at all.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Whether `address` falls under it.
    pub fn covers(self, address: A) -> bool {
        address.masked(self.len()) == self.bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_numbered_from_the_top() {
        assert_eq!(0x8000_0000u32.top(1), 1);
        assert_eq!(u32::MAX.top(0), 0);
        assert_eq!(0x1234_5678u32.after(8), 0x3456_7800);
        assert_eq!(0x1234_5678u32.after(32), 0);
        assert_eq!(0x1234_5678u32.masked(12), 0x1230_0000);
        assert_eq!((u128::MAX.masked(0), u128::MAX.masked(128)), (0, u128::MAX));
        assert_eq!(0x1234_0000u32.common(0x1235_0000), 15);
        assert_eq!(u32::from_top(0x12, 8), 0x1200_0000);
        assert_eq!((u32::from_top(0, 0), 0x1200_0000u32.with(0x3400_0000, 8)), (0, 0x1234_0000));
        assert!(Prefix::new(0u32, 33).is_none());
    }
}
