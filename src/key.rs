//! Lookup keys: what a slice may ask for, and the same with the slice put in.

use crate::id::SliceId;

/// What a code option may look up: 112 opaque bits, in the low bits of a `u128`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LookupKey(u128);

impl LookupKey {
    /// Width of a key in bits (section 4).
    pub const BITS: u32 = 112;

    /// All bits set: the mask of an exact match.
    pub const MAX: Self = Self(u128::MAX >> (128 - Self::BITS));

    /// Keeps the low 112 bits of `bits`.
    #[inline(always)]
    pub const fn new(bits: u128) -> Self {
        Self(bits & Self::MAX.0)
    }

    /// `bits`, or `None` if one of the top 16 is set: for values that come from
    /// outside and must not be cut silently.
    pub const fn checked(bits: u128) -> Option<Self> {
        if bits & !Self::MAX.0 == 0 { Some(Self(bits)) } else { None }
    }

    /// The low 48 bits of `high` above all 64 of `low`.
    ///
    /// Two words that are put together so cost no shift across them.
    #[inline(always)]
    pub const fn from_words(high: u64, low: u64) -> Self {
        Self::new((high as u128) << 64 | low as u128)
    }

    /// The 112 bits.
    #[inline(always)]
    pub const fn bits(self) -> u128 {
        self.0
    }
}

/// A lookup key that carries its slice in the top 16 bits.
///
/// A code option returns a [`LookupKey`] and is never asked for one of these, so
/// it cannot reach another slice's filters.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TableKey(u128);

impl TableKey {
    /// Puts `key` into the table space of `slice`.
    #[inline(always)]
    pub const fn new(slice: SliceId, key: LookupKey) -> Self {
        Self((((slice.0 as u64) << 48) as u128) << 64 | key.0)
    }

    /// The slice whose filters it can match.
    #[inline(always)]
    pub const fn slice(self) -> SliceId {
        SliceId(((self.0 >> 64) as u64 >> 48) as u16)
    }

    /// Key and slice, where they stand.
    #[cfg(feature = "alloc")]
    #[inline(always)]
    pub(crate) const fn as_bits(&self) -> &u128 {
        &self.0
    }

    /// The key without its slice.
    #[inline(always)]
    pub const fn key(self) -> LookupKey {
        LookupKey::new(self.0)
    }

    /// All 128 bits: the slice in the top 16, its key below.
    #[inline(always)]
    pub const fn bits(self) -> u128 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cannot_reach_the_bits_of_the_slice() {
        let key = TableKey::new(SliceId(0xabcd), LookupKey::new(u128::MAX));
        assert_eq!((key.slice(), key.key()), (SliceId(0xabcd), LookupKey::MAX));
        let key = TableKey::new(SliceId(1), LookupKey::from_words(u64::MAX, 5));
        assert_eq!((key.slice(), key.bits() as u64), (SliceId(1), 5));
        assert_eq!(LookupKey::checked(1 << 112), None);
        assert_eq!(LookupKey::checked(7), Some(LookupKey::new(7)));
    }
}
