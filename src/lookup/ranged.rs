//! Filters with ranges where ports stand, and what they are as ternary filters.
//!
//! A ternary filter says of each bit 0, 1 or any. A range of ports takes several: one for
//! each of the fewest prefixes that make it up, at most 30 for 16 bits (1 to 65,534), so
//! 900 for two such ranges (V. Srinivasan, G. Varghese, S. Suri, M. Waldvogel, "Fast and
//! Scalable Layer Four Switching", SIGCOMM 1998). A table that compares ranges needs one.
//!
//! ```
//! use fastpath::id::SliceId;
//! use fastpath::key::{LookupKey, TableKey};
//! use fastpath::lookup::{Filter, RangedFilter};
//!
//! // Any packet to a port from 1,024 on; the port stands at bit 64.
//! let any = Filter::new(SliceId(1), LookupKey::new(0), LookupKey::new(0));
//! let filter = RangedFilter::new(any, 1024..=65535, 0..=65535).unwrap();
//! let to = |port: u128| TableKey::new(SliceId(1), LookupKey::new(port << 64));
//! assert!(filter.matches(to(8080)) && !filter.matches(to(80)));
//! assert_eq!(filter.expand().count(), 6, "1,024 to 2,047, 2,048 to 4,095, and so on");
//! ```

use core::iter::FusedIterator;
use core::ops::RangeInclusive;

use crate::key::{LookupKey, TableKey};
use crate::lookup::Filter;

/// A [`Filter`] and a range for each of the two 16-bit fields at bits 64 and 80 of a key:
/// destination and source port of an IPv4 packet's key.
///
/// In one form only, so that equal filters compare equal: a range that is a prefix (one
/// number or all of them, too) stands in value and mask.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct RangedFilter {
    filter: Filter,
    /// Low and high end; all numbers where value and mask say it.
    ranges: [(u16, u16); 2],
}

impl RangedFilter {
    /// The lowest bit of each field that may have a range.
    pub const FIELDS: [u32; 2] = [64, 80];

    /// Every number.
    pub const ALL: (u16, u16) = (0, u16::MAX);

    /// `filter`, of whose keys bits 64 to 79 are in the range `low` and bits 80 to 95 in
    /// `high`. `None` if a range is empty, or if `filter` says something of the same
    /// field.
    pub fn new(filter: Filter, low: RangeInclusive<u16>, high: RangeInclusive<u16>) -> Option<Self> {
        let (mut value, mut mask, mut ranges) = (filter.value(), filter.mask(), [Self::ALL; 2]);
        for ((range, at), kept) in [low, high].into_iter().zip(Self::FIELDS).zip(&mut ranges) {
            let mut prefixes = prefixes(&range);
            let first = prefixes.next()?;
            if (range.start(), range.end()) == (&0, &u16::MAX) {
                continue;
            }
            if mask >> at & 0xffff != 0 {
                return None;
            }
            if prefixes.next().is_none() {
                value |= u128::from(first.value) << at;
                mask |= u128::from(first.mask) << at;
            } else {
                *kept = (*range.start(), *range.end());
            }
        }
        let filter = Filter::new(filter.slice(), LookupKey::new(value), LookupKey::new(mask));
        Some(Self { filter, ranges })
    }

    /// True if `key` falls under this filter.
    #[inline(always)]
    pub fn matches(&self, key: TableKey) -> bool {
        let inside = |at: u32, (low, high): (u16, u16)| {
            let field = (key.bits() >> at) as u16;
            low <= field && field <= high
        };
        let [low, high] = self.ranges;
        self.filter.matches(key) && inside(64, low) && inside(80, high)
    }

    /// What value and mask say.
    pub const fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Low and high end of each field's range; [`ALL`](Self::ALL) where value and mask
    /// say it.
    pub const fn ranges(&self) -> [(u16, u16); 2] {
        self.ranges
    }

    /// Whether value and mask say it all.
    pub fn is_ternary(&self) -> bool {
        self.ranges == [Self::ALL; 2]
    }

    /// The ternary filters that match what this one matches: 1 to 900, and no two of them
    /// match one key.
    pub fn expand(&self) -> impl Iterator<Item = Filter> + Clone + use<> {
        let filter = self.filter;
        let [low, high] = self.ranges.map(|(low, high)| prefixes(&(low..=high)));
        high.flat_map(move |high| {
            low.clone().map(move |low| {
                let ports = |low: u16, high: u16| u128::from(low) << 64 | u128::from(high) << 80;
                let value = LookupKey::new(filter.value() | ports(low.value, high.value));
                let mask = LookupKey::new(filter.mask() | ports(low.mask, high.mask));
                Filter::new(filter.slice(), value, mask)
            })
        })
    }
}

impl From<Filter> for RangedFilter {
    fn from(filter: Filter) -> Self {
        Self { filter, ranges: [Self::ALL; 2] }
    }
}

/// 16-bit numbers that start with the same bits.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PortPrefix {
    /// The first number.
    pub value: u16,
    /// Ones in place of the bits that count, all on top.
    pub mask: u16,
}

/// The fewest prefixes that make up `ports`, in ascending order: 1 to 30, none for an
/// empty range.
pub fn prefixes(ports: &RangeInclusive<u16>) -> PortPrefixes {
    let end = if ports.is_empty() { *ports.start() } else { ports.end().saturating_add(1) };
    // Of a range up to 65,535 the end has a 17th bit.
    let end = u32::from(end) + u32::from(!ports.is_empty() && *ports.end() == u16::MAX);
    PortPrefixes { next: (*ports.start()).into(), end }
}

/// The iterator that [`prefixes`] returns.
///
/// Each prefix is the longest run that starts at `next`, is aligned and fits; any other
/// choice of prefixes would only split it.
#[derive(Clone, Debug)]
pub struct PortPrefixes {
    next: u32,
    end: u32,
}

impl Iterator for PortPrefixes {
    type Item = PortPrefix;

    fn next(&mut self) -> Option<PortPrefix> {
        let fits = self.end.checked_sub(self.next)?.checked_ilog2()?;
        let free_bits = fits.min(self.next.trailing_zeros());
        let value = self.next as u16;
        self.next += 1 << free_bits;
        Some(PortPrefix { value, mask: (u32::MAX << free_bits) as u16 })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.next < self.end), Some(30))
    }
}

impl FusedIterator for PortPrefixes {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SliceId;
    use proptest::prelude::*;

    proptest! {
        /// Ranges compare as the filters they expand to, of which one matches at most.
        #[test]
        fn a_range_is_what_it_expands_to(
            ends in prop::array::uniform4(0u16..24), edge in prop::array::uniform2(any::<bool>()),
            value: u8, mask: u8, keys in prop::collection::vec((0u16..24, 0u16..24, any::<u8>()), 1..40),
        ) {
            let [a, b, c, d] = ends;
            let end = |end: u16, edge| if edge { u16::MAX - end } else { end };
            let (low, high) = (a..=end(b, edge[0]), c..=end(d, edge[1]));
            let filter = Filter::new(SliceId(3), LookupKey::new(value.into()), LookupKey::new(mask.into()));
            let Some(ranged) = RangedFilter::new(filter, low.clone(), high.clone()) else {
                prop_assert!(low.is_empty() || high.is_empty());
                return Ok(());
            };
            for (x, y, bits) in keys {
                for (x, y) in [(x, y), (u16::MAX - x, y), (x, u16::MAX - y)] {
                    let bits = u128::from(bits) | u128::from(x) << 64 | u128::from(y) << 80;
                    let key = TableKey::new(SliceId(3), LookupKey::new(bits));
                    let expected = filter.matches(key) && low.contains(&x) && high.contains(&y);
                    prop_assert_eq!(ranged.matches(key), expected);
                    prop_assert_eq!(ranged.expand().filter(|f| f.matches(key)).count(), usize::from(expected));
                }
            }
        }
    }

    #[test]
    fn a_range_that_is_a_prefix_stands_in_the_mask() {
        let any = Filter::new(SliceId(1), LookupKey::new(0), LookupKey::new(0));
        let exactly = RangedFilter::new(any, 80..=80, 0..=1023).unwrap();
        assert!(exactly.is_ternary());
        let mask = 0xffff << 64 | 0xfc00u128 << 80;
        let by_mask = Filter::new(SliceId(1), LookupKey::new(80 << 64), LookupKey::new(mask));
        assert_eq!(exactly, by_mask.into());
        assert_eq!(RangedFilter::new(any, RangedFilter::ALL.0..=u16::MAX, 0..=u16::MAX), Some(any.into()));
        assert_eq!(RangedFilter::new(by_mask, 80..=81, 0..=u16::MAX), None, "the field is taken");
        assert_eq!(RangedFilter::new(any, RangeInclusive::new(2, 1), 0..=9), None, "an empty range");
        let worst = RangedFilter::new(any, 1..=65_534, 1..=65_534).unwrap();
        assert_eq!((worst.is_ternary(), worst.expand().count()), (false, 900));
    }
}
