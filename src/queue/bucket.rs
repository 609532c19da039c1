//! Tokens that come at a rate: the bucket that meters are made of.
//!
//! A bucket earns `rate` bits a second up to its burst, and a packet takes its octets out
//! of it. Nothing is rounded: levels are counted in units of one octet divided by
//! 8 * 10^9, of which a rate of `r` bit/s earns `r` in each nanosecond, whatever `r` is. So
//! the level is that of exact arithmetic after any time, and no rate needs a division or
//! a reciprocal: to earn is one multiplication of 64 by 64 bits, and to take another.
//! What does not fit into 64 bits is more than any bucket holds.
//!
//! The price of one unit for all rates is the largest burst: 2^64 units are 2,305,843,009
//! octets, 18 ms of 1 Tb/s.
//!
//! ```
//! use fastpath::queue::{Rate, TokenBucket};
//! use fastpath::time::Nanos;
//!
//! // 1,000 octets a microsecond, up to 3,000 at once.
//! let mut bucket = TokenBucket::new(Rate::bits_per_second(8_000_000_000)?, 3000)?;
//! assert!(bucket.take(Nanos::ZERO, 3000), "a bucket is full at first");
//! assert!(!bucket.take(Nanos(1499), 1500));
//! assert_eq!(bucket.due(1500), Some(Nanos(1500)));
//! assert!(bucket.take(Nanos(1500), 1500));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::queue::Rate;
use crate::time::Nanos;

/// Units in an octet: bits, and nanoseconds in a second.
const OCTET: u64 = 8_000_000_000;

/// Tokens worth an octet each, earned at a rate up to a burst. Full at first.
///
/// In any span of `t` nanoseconds no more than `burst + rate * t / (8 * 10^9)` octets are
/// taken, and who takes them as they come gets them all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TokenBucket {
    level: Level,
    rate: Rate,
    /// Up to when it has earned.
    at: Nanos,
}

/// Why a bucket was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a burst of {0} octets is out of range: 0 to 2305843009")]
pub struct BurstError(pub u32);

impl TokenBucket {
    /// The largest burst, in octets.
    pub const MAX_BURST: u32 = (u64::MAX / OCTET) as u32;

    /// A full bucket of `burst` octets that earns `rate` from time 0 on.
    ///
    /// # Errors
    ///
    /// [`BurstError`] above [`MAX_BURST`](Self::MAX_BURST). A burst of 0 is a bucket that
    /// is always empty.
    pub const fn new(rate: Rate, burst: u32) -> Result<Self, BurstError> {
        match Level::full(burst) {
            Ok(level) => Ok(Self { level, rate, at: Nanos::ZERO }),
            Err(error) => Err(error),
        }
    }

    /// The rate it earns at.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// The octets it holds when it is full.
    pub const fn burst(&self) -> u32 {
        (self.level.most / OCTET) as u32
    }

    /// The whole octets it holds, as of the last time it was told.
    pub const fn octets(&self) -> u32 {
        self.level.octets()
    }

    /// Earns up to `now`. Time that runs back earns nothing, and is not earned again when
    /// it has caught up.
    #[inline(always)]
    pub fn earn(&mut self, now: Nanos) {
        self.earn_and_spill(now);
    }

    /// Whether a packet of `octets` may pass, as of the last time it was told.
    #[inline(always)]
    pub const fn covers(&self, octets: u32) -> bool {
        self.level.covers(octets)
    }

    /// Earns up to `now` and takes `octets` out, if there are so many: whether there were.
    #[inline(always)]
    pub fn take(&mut self, now: Nanos, octets: u32) -> bool {
        self.earn(now);
        self.level.take(octets)
    }

    /// When there will be `octets`, if nothing is taken meanwhile; `None` if the bucket
    /// never holds so many. One division.
    pub fn due(&self, octets: u32) -> Option<Nanos> {
        let missing = self.level.missing(octets)?;
        Some(self.at + Nanos(missing.div_ceil(self.rate.get())))
    }

    /// Changes the rate from `now` on. What was earned before stays, to the unit.
    pub fn set_rate(&mut self, now: Nanos, rate: Rate) {
        self.earn(now);
        self.rate = rate;
    }

    /// Changes the burst; what the bucket holds beyond it is lost.
    ///
    /// # Errors
    ///
    /// [`BurstError`], as [`new`](Self::new); nothing has changed.
    pub fn set_burst(&mut self, burst: u32) -> Result<(), BurstError> {
        let most = Level::full(burst)?.most;
        self.level = Level { units: self.level.units.min(most), most };
        Ok(())
    }

    /// Earns up to `now`; units that did not fit, or more than any bucket holds.
    #[inline(always)]
    pub(super) fn earn_and_spill(&mut self, now: Nanos) -> u64 {
        let earned = u128::from((now - self.at).0) * u128::from(self.rate.get());
        self.at = self.at.max(now);
        // More than 64 bits fill every bucket: none of them matters beyond that.
        self.level.add(u64::try_from(earned).unwrap_or(u64::MAX))
    }

    /// Takes `octets` out, if there are so many: whether there were.
    #[inline(always)]
    pub(super) const fn take_now(&mut self, octets: u32) -> bool {
        self.level.take(octets)
    }
}

/// What a bucket holds, and can: invariant `units <= most <= MAX_BURST * OCTET`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Level {
    units: u64,
    most: u64,
}

impl Level {
    pub(super) const fn full(burst: u32) -> Result<Self, BurstError> {
        if burst > TokenBucket::MAX_BURST {
            return Err(BurstError(burst));
        }
        let most = burst as u64 * OCTET;
        Ok(Self { units: most, most })
    }

    pub(super) const fn octets(&self) -> u32 {
        (self.units / OCTET) as u32
    }

    /// Adds what fits; units that did not.
    #[inline(always)]
    pub(super) const fn add(&mut self, units: u64) -> u64 {
        let room = self.most - self.units;
        if units <= room {
            self.units += units;
            0
        } else {
            self.units = self.most;
            units - room
        }
    }

    /// What `octets` cost. Saturated it is more than any bucket holds.
    #[inline(always)]
    const fn cost(octets: u32) -> u64 {
        (octets as u64).saturating_mul(OCTET)
    }

    #[inline(always)]
    const fn covers(&self, octets: u32) -> bool {
        Self::cost(octets) <= self.units
    }

    #[inline(always)]
    pub(super) const fn take(&mut self, octets: u32) -> bool {
        let covered = self.covers(octets);
        if covered {
            self.units -= Self::cost(octets);
        }
        covered
    }

    /// Units to be earned before it covers `octets`; `None` if it never does.
    fn missing(&self, octets: u32) -> Option<u64> {
        let cost = Self::cost(octets);
        (cost <= self.most).then_some(cost.saturating_sub(self.units))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bucket(rate: u64, burst: u32) -> TokenBucket {
        TokenBucket::new(Rate::bits_per_second(rate).unwrap(), burst).unwrap()
    }

    /// Takes all that is there.
    fn drain(bucket: &mut TokenBucket, now: Nanos) -> u64 {
        bucket.earn(now);
        let octets = bucket.octets();
        assert!(bucket.take(now, octets) && bucket.octets() == 0);
        octets.into()
    }

    #[test]
    fn a_million_million_octets_are_earned_to_the_octet() {
        const OCTETS: u64 = 1_000_000_000_000;
        for rate in [1000, 8000, 7_777_777, 999_999_999_989, 400_000_000_000, 1_000_000_000_000] {
            let mut bucket = bucket(rate, TokenBucket::MAX_BURST);
            drain(&mut bucket, Nanos::ZERO);
            // Steps that earn nothing, some octets, up to 2 * 10^9 of them.
            let end = u128::from(OCTETS) * u128::from(OCTET) / u128::from(rate);
            let longest = 2_000_000_000 * u128::from(OCTET) / u128::from(rate);
            let (mut now, mut taken) = (0, 0);
            for n in 1_u128.. {
                now = (now + n * n * n * 0x9E37_79B9_7F4A_7C15 % longest).min(end);
                taken += drain(&mut bucket, Nanos(now.try_into().unwrap()));
                if now == end {
                    break;
                }
            }
            assert_eq!(u128::from(taken), end * u128::from(rate) / u128::from(OCTET), "{rate}");
        }
    }

    #[test]
    fn who_asks_often_gets_what_who_asks_once_gets() {
        // A nanosecond of these is 1/8,000,000 to 125 octets.
        for rate in [1000, 8000, 7_777_777, 400_000_000_000, 999_999_999_989] {
            let (mut often, mut once) = (bucket(rate, 1_000_000_000), bucket(rate, 1_000_000_000));
            for bucket in [&mut often, &mut once] {
                drain(bucket, Nanos::ZERO);
            }
            (0..=1_000_000).for_each(|now| often.earn(Nanos(now)));
            once.earn(Nanos(1_000_000));
            assert_eq!(often, once);
        }
    }

    #[test]
    fn what_is_due_is_there_to_the_nanosecond_and_not_before() {
        for rate in [1000, 8000, 7_777_777, 400_000_000_000] {
            let mut bucket = bucket(rate, 2000);
            assert_eq!(bucket.due(2000), Some(Nanos::ZERO));
            assert_eq!(bucket.due(2001), None, "it never holds so many");
            drain(&mut bucket, Nanos(5));
            let due = bucket.due(1500).unwrap();
            assert!(!bucket.take(Nanos(due.0 - 1), 1500), "{rate}");
            assert!(bucket.take(due, 1500), "{rate}");
        }
    }

    #[test]
    fn bursts_out_of_range_are_refused() {
        let rate = Rate::bits_per_second(8000).unwrap();
        let most = TokenBucket::MAX_BURST;
        assert_eq!(most, 2_305_843_009);
        assert_eq!(TokenBucket::new(rate, most + 1), Err(BurstError(most + 1)));
        let mut bucket = TokenBucket::new(rate, most).unwrap();
        assert_eq!((bucket.octets(), bucket.burst(), bucket.rate()), (most, most, rate));
        for octets in [most + 1, u32::MAX] {
            assert!(!bucket.take(Nanos::MAX, octets) && bucket.due(octets).is_none());
        }
        assert_eq!(bucket.set_burst(most + 1), Err(BurstError(most + 1)));
        bucket.set_burst(10).unwrap();
        assert_eq!((bucket.octets(), bucket.burst()), (10, 10));
        bucket.set_burst(0).unwrap();
        assert!(bucket.take(Nanos::MAX, 0) && !bucket.take(Nanos::MAX, 1));
    }

    #[test]
    fn a_new_rate_earns_from_its_day_on() {
        let mut bucket = bucket(8_000_000_000, 5000);
        drain(&mut bucket, Nanos::ZERO);
        bucket.set_rate(Nanos(1000), Rate::bits_per_second(16_000_000_000).unwrap());
        bucket.earn(Nanos(1500));
        assert_eq!(bucket.octets(), 2000);
    }

    /// The level as a formula of the history, without state: from whichever of its events
    /// one counts, a bucket that was full there would hold at least what this one holds,
    /// and from one of them, or from the beginning, exactly so much.
    fn exact(rate: u64, burst: u32, taken: &[(u64, u64)], now: u64) -> i128 {
        let since = |start: u64| i128::from(now - start) * i128::from(rate);
        let after = |from: usize| taken[from..].iter().map(|(_, octets)| i128::from(*octets)).sum::<i128>();
        let full = i128::from(burst) * i128::from(OCTET);
        let begun = full - after(0) * i128::from(OCTET);
        let from = |at: usize| full + since(taken[at].0) - after(at) * i128::from(OCTET);
        (0..taken.len()).map(from).fold(full, i128::min).min(begun + since(0))
    }

    /// How the clock goes: about as long as packets take, not at all, or anything.
    fn step() -> impl Strategy<Value = (bool, u64)> {
        prop_oneof![
            6 => (Just(false), 0u64..3000),
            2 => (Just(false), Just(0)),
            1 => (Just(false), 0u64..5_000_000_000),
            1 => (Just(true), 0u64..3000),
            1 => (any::<bool>(), any::<u64>()),
        ]
    }

    proptest! {
        /// Whatever the clock does, what passes is what exact arithmetic lets pass.
        #[test]
        fn a_bucket_is_what_its_history_says(
            rate in prop_oneof![
                prop::sample::select(std::vec![1000, 8000, 7_777_777, 8_000_000_000, 1_000_000_000_000]),
                1000u64..1_000_000_000_000,
            ],
            burst in prop_oneof![0u32..6000, 0..=TokenBucket::MAX_BURST],
            start in prop_oneof![Just(0), any::<u64>()],
            history in prop::collection::vec((step(), prop_oneof![9 => 0u32..3000, 1 => any::<u32>()]), 1..60),
        ) {
            let mut bucket = bucket(rate, burst);
            let (mut now, mut latest) = (start, 0);
            let mut taken = std::vec::Vec::new();
            for ((back, span), octets) in history {
                now = if back { now.saturating_sub(span) } else { now.saturating_add(span) };
                latest = now.max(latest);
                let level = exact(rate, burst, &taken, latest);
                prop_assert!(level >= 0);
                let fits = i128::from(octets) * i128::from(OCTET) <= level;
                prop_assert_eq!(bucket.take(Nanos(now), octets), fits);
                if fits {
                    taken.push((latest, octets.into()));
                }
                let left = exact(rate, burst, &taken, latest);
                prop_assert_eq!(i128::from(bucket.octets()), left / i128::from(OCTET));
            }
        }
    }
}
