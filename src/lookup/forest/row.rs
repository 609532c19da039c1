//! Filters as they are compared: each a cache line, and once in a forest.
//!
//! A key has eight lanes of 16 bits, and matches if in each of them
//! `(key & mask) - low <= span`, modulo 2^16. A lane of a ternary filter has its value for
//! `low` and no span; one of a range a full mask, the low end, and the distance of the
//! other.
//!
//! Readers read the lanes as plain memory: they are written while no slot leads to the
//! row, and a slot is stored with release after that. Place and value may change
//! under readers, each by a single store.

use core::mem::offset_of;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU32, AtomicU64};

use super::rule::Rule;
use crate::lookup::RangedFilter;

/// A filter of a forest.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Row {
    /// Mask, low end and span, two words each, the first lane at the bottom of the first.
    pub(super) lanes: [AtomicU64; 6],
    place: AtomicU64,
    value: AtomicU32,
}

/// The place of a filter that was taken out: behind all others.
pub(super) const GONE: u64 = i64::MAX as u64;

/// The row of no filter: its place is [`GONE`].
pub(super) const NOBODY: usize = 0;

/// Rank and number of a row in a word, in order of precedence: rows are taken in the order
/// in which filters come, and none twice. Below [`GONE`].
pub(super) fn place(rank: u32, row: u32) -> u64 {
    u64::from(rank) << 31 | u64::from(row)
}

/// All ones for [`GONE`], else 0: no comparison, which the compiler might make a branch of.
#[inline(always)]
pub(super) fn is_gone(place: u64) -> u64 {
    (place.wrapping_add(1).cast_signed() >> 63).cast_unsigned()
}

/// The bits of a place that are the number of its row.
pub(super) const NUMBER: u64 = 0x7fff_ffff;

/// Where a row has its value, in octets.
pub(super) const VALUE: usize = offset_of!(Row, value);

/// The number of the row that has a place.
#[inline(always)]
pub(super) fn number(place: u64) -> usize {
    (place & NUMBER) as usize
}

impl Row {
    /// Writes a rule, to the row of the rule's order. No slot may lead here.
    pub(super) fn set(&self, rule: &Rule) {
        let (mut mask, mut low, mut span) = (rule.mask, rule.value & rule.mask, 0u128);
        for (&(first, last), at) in rule.ranges.iter().zip(RangedFilter::FIELDS) {
            if (first, last) != RangedFilter::ALL {
                mask |= 0xffff << at;
                low |= u128::from(first) << at;
                span |= u128::from(last - first) << at;
            }
        }
        let words = [mask, low, span].into_iter().flat_map(|lanes| [lanes as u64, (lanes >> 64) as u64]);
        self.lanes.iter().zip(words).for_each(|(lanes, word)| lanes.store(word, Relaxed));
        self.value.store(rule.word, Relaxed);
        self.place.store(place(rule.rank, rule.order), Relaxed);
    }

    /// The rule as it was set; `None` if it was taken out.
    pub(super) fn rule(&self) -> Option<Rule> {
        let place = self.place();
        if place == GONE {
            return None;
        }
        let [m0, m1, l0, l1, s0, s1] = self.words();
        let join = |low: u64, high: u64| u128::from(low) | u128::from(high) << 64;
        let (mut mask, mut value, span) = (join(m0, m1), join(l0, l1), join(s0, s1));
        let mut ranges = [RangedFilter::ALL; 2];
        for (range, at) in ranges.iter_mut().zip(RangedFilter::FIELDS) {
            let (low, span) = ((value >> at) as u16, (span >> at) as u16);
            if span != 0 {
                *range = (low, low + span);
                mask &= !(0xffff << at);
                value &= !(0xffff << at);
            }
        }
        let (rank, order) = ((place >> 31) as u32, number(place) as u32);
        Some(Rule { value, mask, ranges, rank, order, word: self.value() })
    }

    #[inline(always)]
    pub(super) fn place(&self) -> u64 {
        self.place.load(Acquire)
    }

    #[inline(always)]
    pub(super) fn value(&self) -> u32 {
        self.value.load(Acquire)
    }

    pub(super) fn replace(&self, value: u32) {
        self.value.store(value, Release);
    }

    /// Takes the rule out where there is no memory for leaves without it.
    pub(super) fn bury(&self) {
        self.place.store(GONE, Release);
    }

    /// Whether a key matches. Plain words, for every machine.
    #[inline(always)]
    pub(super) fn matches(&self, key: u128) -> bool {
        let [m0, m1, l0, l1, s0, s1] = self.words();
        let masked = [key as u64 & m0, (key >> 64) as u64 & m1];
        if s0 | s1 == 0 {
            return masked == [l0, l1];
        }
        let within = |shift: u32| {
            let lane = |words: [u64; 2]| [(words[0] >> shift) as u16, (words[1] >> shift) as u16];
            let ([k0, k1], [l0, l1], [s0, s1]) = (lane(masked), lane([l0, l1]), lane([s0, s1]));
            k0.wrapping_sub(l0) <= s0 && k1.wrapping_sub(l1) <= s1
        };
        within(0) && within(16) && within(32) && within(48)
    }

    #[inline(always)]
    fn words(&self) -> [u64; 6] {
        self.lanes.each_ref().map(|word| word.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SliceId;
    use crate::key::{LookupKey, TableKey};
    use crate::lookup::{Filter, Rank};

    #[test]
    fn a_row_is_its_rule() {
        let zero = || AtomicU64::new(0);
        let row = Row {
            lanes: [zero(), zero(), zero(), zero(), zero(), zero()],
            place: zero(),
            value: AtomicU32::new(0),
        };
        let slice = SliceId(3);
        for (rank, ranges) in
            [(0, [5..=9, 0..=65535]), (u32::MAX, [0..=65535, 1..=65535]), (7, [8..=8, 0..=0])]
        {
            let filter = Filter::new(slice, LookupKey::new(5 << 96 | 77), LookupKey::new(7 << 96 | 0xff));
            let [low, high] = ranges;
            let filter = RangedFilter::new(filter, low, high).unwrap();
            let rule = Rule { order: 0xff_ffff, ..Rule::new(Rank(rank), &filter, 9) };
            row.set(&rule);
            assert_eq!(row.rule(), Some(rule));
            for key in [5u128 << 96 | 77, 5 << 96 | 78, 4 << 96 | 77] {
                for ports in [0u128, 4, 5, 8, 9, 10, 0xffff, 1 << 16, 0xffff << 16, 8 | 1 << 16] {
                    let key = TableKey::new(slice, LookupKey::new(key | ports << 64));
                    assert_eq!(row.matches(key.bits()), filter.matches(key), "{key:x?}");
                }
            }
        }
        row.replace(4);
        assert_eq!(row.value(), 4);
        row.bury();
        assert!(row.rule().is_none() && place(u32::MAX, 0xff_ffff) < GONE);
    }
}
