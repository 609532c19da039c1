//! A filter as the engine sees it: 112 ternary bits, and a range for each of the two
//! 16-bit fields at bits 64 and 80.

use crate::id::SliceId;
use crate::key::LookupKey;
use crate::lookup::{Filter, Place, RangedFilter, Rank};

/// A filter, its place and its value.
///
/// Invariant, as [`RangedFilter`] has it: where a range is not all of its field, the mask
/// of that field is 0 and the range is no prefix.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Rule {
    pub(super) value: u128,
    pub(super) mask: u128,
    pub(super) ranges: [(u16, u16); 2],
    pub(super) rank: u32,
    /// Among equal ranks the lowest wins.
    pub(super) order: u32,
    /// The value, as a word.
    pub(super) word: u32,
}

impl Rule {
    pub(crate) fn new(rank: Rank, filter: &RangedFilter, word: u32) -> Self {
        let (of, bits) = (filter.filter(), LookupKey::MAX.bits());
        let (value, mask) = (of.value() & bits, of.mask() & bits);
        Self { value, mask, ranges: filter.ranges(), rank: rank.0, order: 0, word }
    }

    /// A rule that has its place already.
    pub(crate) fn at(place: Place, filter: &RangedFilter, word: u32) -> Self {
        Self { order: place.order as u32, ..Self::new(place.rank(), filter, word) }
    }

    /// The filter it was made of.
    pub(crate) fn filter(&self, slice: SliceId) -> RangedFilter {
        let filter = Filter::new(slice, LookupKey::new(self.value), LookupKey::new(self.mask));
        let [low, high] = self.ranges.map(|(low, high)| low..=high);
        RangedFilter::new(filter, low, high).unwrap_or(filter.into())
    }

    /// What is stored with it.
    pub(crate) fn word(&self) -> u32 {
        self.word
    }

    /// Rank, then order: the lowest wins.
    pub(super) fn precedence(&self) -> (u32, u32) {
        (self.rank, self.order)
    }

    /// Where it stands.
    pub(crate) fn place(&self) -> Place {
        Place::new(Rank(self.rank), self.order.into())
    }

    /// Whether both are the same filter at the same rank.
    pub(super) fn same(&self, other: &Self) -> bool {
        (self.value, self.mask, self.ranges, self.rank) == (other.value, other.mask, other.ranges, other.rank)
    }

    /// Value and mask of the bits that are known: those of the mask, and those that the
    /// ends of a range have in common from the top. What trees cut on.
    pub(super) fn cut(&self) -> (u128, u128) {
        let (mut value, mut mask) = (self.value, self.mask);
        for (&(low, high), at) in self.ranges.iter().zip(RangedFilter::FIELDS) {
            let common = !u16::MAX.checked_shr((low ^ high).leading_zeros()).unwrap_or(0);
            if (low, high) != RangedFilter::ALL {
                mask |= u128::from(common) << at;
                value |= u128::from(low & common) << at;
            }
        }
        (value, mask)
    }

    /// A key that it matches.
    pub(super) fn sample(&self) -> u128 {
        let low = |(&(low, _), at): (&(u16, u16), u32)| u128::from(low) << at;
        self.ranges.iter().zip(RangedFilter::FIELDS).map(low).fold(self.value, |key, low| key | low)
    }

    /// A key that it matches, the open bits drawn from `noise`.
    pub(super) fn drawn(&self, noise: u128) -> u128 {
        let mut key = self.value | noise & !self.mask & LookupKey::MAX.bits();
        for (&(low, high), at) in self.ranges.iter().zip(RangedFilter::FIELDS) {
            if (low, high) != RangedFilter::ALL {
                let port = u32::from((noise >> at) as u16) % (u32::from(high - low) + 1) + u32::from(low);
                key = key & !(0xffff << at) | u128::from(port) << at;
            }
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_cuts_on_what_its_range_has_in_common() {
        let filter = Filter::new(SliceId(1), LookupKey::new(5), LookupKey::new(7));
        let filter = RangedFilter::new(filter, 0x1200..=0x12fe, 1..=2).unwrap();
        let rule = Rule::new(Rank(3), &filter, 9);
        assert_eq!((rule.filter(SliceId(1)), rule.place().rank()), (filter, Rank(3)));
        assert_eq!(rule.cut(), (5 | 0x1200 << 64, 7 | 0xff00 << 64 | 0xfffc << 80));
        assert_eq!(rule.sample(), 5 | 0x1200 << 64 | 1 << 80);
        for noise in [0, u128::MAX, 0x1234_5678_9abc_def0 << 40] {
            let key = crate::key::TableKey::new(SliceId(1), LookupKey::new(rule.drawn(noise)));
            assert!(filter.matches(key));
        }
    }
}
