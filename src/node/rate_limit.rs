//! How many packets a second.

use crate::time::Nanos;

/// A limit of packets a second with a burst: the generic cell rate algorithm (ITU-T
/// I.371), which is a token bucket kept as one point in time.
///
/// Exact for every rate. Time is kept in units of one nanosecond divided by the rate, of
/// which there are 10^9 between two packets whatever the rate: nothing is rounded, so
/// nothing drifts. A point in time then takes 64 + 32 bits, and none is too late.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RateLimit {
    /// Packets a second, and units a nanosecond.
    per_second: u32,
    /// How far ahead of time packets may come, in units.
    tolerance: u64,
    /// When the next packet is expected, in units.
    expected: u128,
}

/// Units between two packets: a second's nanoseconds.
const INTERVAL: u64 = 1_000_000_000;

impl RateLimit {
    /// `per_second` packets a second, and up to `burst` at once; at least 1 each.
    pub const fn new(per_second: u32, burst: u32) -> Self {
        let per_second = if per_second == 0 { 1 } else { per_second };
        // Below 2^62.
        let tolerance = INTERVAL * burst.saturating_sub(1) as u64;
        Self { per_second, tolerance, expected: 0 }
    }

    /// Whether a packet may pass at `now`; if so it is counted.
    ///
    /// A clock that steps back earns nothing: what passed later still counts.
    #[inline]
    pub fn admit(&mut self, now: Nanos) -> bool {
        let now = u128::from(now.0) * u128::from(self.per_second);
        let expected = self.expected.max(now);
        let within = expected - now <= u128::from(self.tolerance);
        if within {
            // Below 2^97: never more than a burst past the latest `now`.
            self.expected = expected + u128::from(INTERVAL);
        }
        within
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut limit = RateLimit::new(1000, 10);
        let start = Nanos::from_secs(5);
        assert_eq!((0..100).filter(|_| limit.admit(start)).count(), 10);
        let second = (0..100_000).filter(|n| limit.admit(start + Nanos(n * 10_000))).count();
        assert_eq!(second, 999, "one a millisecond, the burst being used up");
        let mut least = RateLimit::new(0, 0);
        assert!(least.admit(start) && !least.admit(start));
    }

    #[test]
    fn a_rate_is_held_whatever_a_second_divided_by_it_is() {
        for rate in [1, 7, 300_000, 600_000_000, 999_999_937, 1_000_000_000, u32::MAX] {
            // What is asked too late for the rate is made up for by the burst.
            let mut limit = RateLimit::new(rate, 10);
            let times = (0..1_000_000).flat_map(|now| [now; 10]);
            let passed = times.filter(|now| limit.admit(Nanos(*now))).count();
            assert_eq!(passed as u64, 999_999 * u64::from(rate) / INTERVAL + 10, "{rate}");
        }
    }

    #[test]
    fn after_a_million_million_packets_the_next_is_due_to_the_nanosecond() {
        let expected = 1_000_000_000_000 * u128::from(INTERVAL);
        for rate in [1000, 300_007, 600_000_000, 999_999_937, u32::MAX] {
            let mut limit = RateLimit { expected, ..RateLimit::new(rate, 1) };
            let due = expected.div_ceil(u128::from(rate)) as u64;
            assert!(!limit.admit(Nanos(due - 1)), "{rate}");
            assert!(limit.admit(Nanos(due)), "{rate}");
        }
    }

    /// A bucket that leaks, word for word, in packets times 10^9.
    struct Model {
        per_second: i128,
        burst: i128,
        level: i128,
        at: i128,
    }

    impl Model {
        fn admit(&mut self, now: Nanos) -> bool {
            const PACKET: i128 = 1_000_000_000;
            let now = i128::from(now.0);
            // Time that runs back fills it again.
            self.level = (self.level - (now - self.at) * self.per_second).max(0);
            self.at = now;
            let fits = self.level + PACKET <= self.burst * PACKET;
            self.level += if fits { PACKET } else { 0 };
            fits
        }
    }

    /// Steps of a clock, most of them about as long as an interval.
    fn clock(per_second: u32) -> impl Strategy<Value = Vec<Nanos>> {
        let interval = 1_000_000_000 / u64::from(per_second.max(1)) + 2;
        let step = prop_oneof![
            8 => (0..interval).prop_map(|span| (false, span)),
            2 => Just((false, 0)),
            2 => (0..64 * interval).prop_map(|span| (false, span)),
            1 => (0..64 * interval).prop_map(|span| (true, span)),
            1 => Just((false, u64::MAX)),
            1 => any::<u64>().prop_map(|span| (true, span)),
        ];
        (any::<u64>(), prop::collection::vec(step, 1..200)).prop_map(|(start, steps)| {
            let mut now = start >> 1;
            let step = |(back, span): (bool, u64)| {
                now = if back { now.saturating_sub(span) } else { now.saturating_add(span) };
                Nanos(now)
            };
            steps.into_iter().map(step).collect()
        })
    }

    proptest! {
        /// Whatever the clock does, the limit admits what exact arithmetic does.
        #[test]
        fn the_limit_is_an_exact_bucket(
            (per_second, burst, times) in (
                prop_oneof![
                    prop::sample::select(std::vec![0, 1, 3, 7, 300_000, 600_000_000, 999_999_937, u32::MAX]),
                    any::<u32>(),
                ],
                prop_oneof![4 => 0u32..6, 1 => any::<u32>()],
            ).prop_flat_map(|(rate, burst)| (Just(rate), Just(burst), clock(rate))),
        ) {
            let mut limit = RateLimit::new(per_second, burst);
            let (rate, most) = (i128::from(per_second.max(1)), i128::from(burst.max(1)));
            let mut model = Model { per_second: rate, burst: most, level: 0, at: 0 };
            for now in times {
                prop_assert_eq!(limit.admit(now), model.admit(now), "at {}", now);
            }
        }
    }
}
