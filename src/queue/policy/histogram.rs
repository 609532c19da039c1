//! Times on a logarithmic scale.

use core::ops::{AddAssign, Range};

use crate::time::Nanos;

/// How often times were seen, in two classes for each power of two of 1,024 ns: 0, 1, 2, 3,
/// 4 to 5, 6 to 7, 8 to 11, 12 to 15, ... of these units, up to 36 minutes.
///
/// 512 octets; to record is to count leading zeros and to add one.
///
/// ```
/// use fastpath::queue::policy::Histogram;
/// use fastpath::time::Nanos;
///
/// let mut times = Histogram::NEW;
/// for millis in 1..=100 {
///     times.record(Nanos::from_millis(millis));
/// }
/// let median = times.quantile(1, 2).unwrap();
/// assert!(median.contains(&Nanos::from_millis(50)));
/// // What it says is never off by more than a half.
/// assert!(median.end.0 <= median.start.0 * 3 / 2);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Histogram {
    classes: [u64; CLASSES],
}

const CLASSES: usize = 64;

/// Nanoseconds of a unit, as a shift.
const UNIT: u32 = 10;

impl Histogram {
    /// Nothing seen.
    pub const NEW: Self = Self { classes: [0; CLASSES] };

    /// Counts one time.
    #[inline(always)]
    pub fn record(&mut self, time: Nanos) {
        if let Some(count) = self.classes.get_mut(class(time)) {
            *count = count.wrapping_add(1);
        }
    }

    /// How many times were counted.
    pub fn count(&self) -> u64 {
        self.classes.iter().fold(0, |sum, count| sum.wrapping_add(*count))
    }

    /// Each class that has times: its bounds, and how many.
    pub fn classes(&self) -> impl Iterator<Item = (Range<Nanos>, u64)> {
        self.classes
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(at, count)| (bounds(at), *count))
    }

    /// The class of the time that `part` of `whole` do not exceed: of the longest if `part` is
    /// `whole`, of the shortest if it is 0. `None` if there are no times, or `whole` is 0.
    ///
    /// The time itself is within the bounds, of which the upper one is at most half as much
    /// again as the lower one, or 1,024 ns more.
    pub fn quantile(&self, part: u32, whole: u32) -> Option<Range<Nanos>> {
        // Its place among all times, from 1 on.
        let count = u128::from(self.count());
        let place = (count * u128::from(part.min(whole))).div_ceil(u128::from(whole).max(1)).max(1);
        let mut below = 0;
        let at = self.classes.iter().position(|count| {
            below += u128::from(*count);
            below >= place
        });
        at.filter(|_| whole > 0).map(bounds)
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::NEW
    }
}

impl AddAssign<&Self> for Histogram {
    /// All times of both.
    fn add_assign(&mut self, other: &Self) {
        for (count, more) in self.classes.iter_mut().zip(&other.classes) {
            *count = count.wrapping_add(*more);
        }
    }
}

/// Where a time is counted.
#[inline(always)]
fn class(time: Nanos) -> usize {
    let units = time.0 >> UNIT;
    if units < 2 {
        return units as usize;
    }
    let power = units.ilog2();
    (2 * power as usize + (units >> (power - 1) & 1) as usize).min(CLASSES - 1)
}

/// What is counted in a class: from a time on, and below another.
fn bounds(class: usize) -> Range<Nanos> {
    let begin = |class: usize| match class {
        0 | 1 => Nanos((class as u64) << UNIT),
        CLASSES => Nanos::MAX,
        _ => Nanos((2 + (class as u64 & 1)) << (class / 2 - 1) << UNIT),
    };
    begin(class)..begin(class + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn classes_meet_without_gaps() {
        let mut end = Nanos::ZERO;
        for at in 0..CLASSES {
            let bounds = bounds(at);
            assert_eq!(bounds.start, end, "class {at}");
            assert_eq!((class(bounds.start), class(Nanos(bounds.end.0 - 1))), (at, at));
            let wide = bounds.end.0 - bounds.start.0;
            assert!(wide <= (bounds.start.0 / 2).max(1024) || at == CLASSES - 1, "class {at}");
            end = bounds.end;
        }
        assert_eq!(end, Nanos::MAX);
    }

    proptest! {
        /// A quantile holds the time that stands there when all are sorted, also when they
        /// were counted apart.
        #[test]
        fn quantiles_are_those_of_the_sorted_times(
            times in prop::collection::vec(prop_oneof![0u64..9000, any::<u64>().prop_map(|n| n >> (n % 64))], 1..60),
            part in 0u32..=100, apart in any::<u64>(),
        ) {
            let (mut one, mut other) = (Histogram::NEW, Histogram::NEW);
            for (at, time) in times.iter().enumerate() {
                if apart >> (at % 64) & 1 == 0 { one.record(Nanos(*time)) } else { other.record(Nanos(*time)) }
            }
            one += &other;
            prop_assert_eq!(one.count(), times.len() as u64);
            prop_assert_eq!(one.classes().map(|(_, count)| count).sum::<u64>(), times.len() as u64);
            let mut sorted: Vec<u64> = times;
            sorted.sort_unstable();
            let place = (sorted.len() * part as usize).div_ceil(100).max(1);
            let (class, time) = (one.quantile(part, 100).unwrap(), Nanos(sorted[place - 1]));
            prop_assert!(class.contains(&time) || time == Nanos::MAX, "{time} not in {class:?}");
            prop_assert_eq!((one.quantile(part, 0), Histogram::NEW.quantile(part, 100)), (None, None));
        }
    }
}
