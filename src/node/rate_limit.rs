//! How many packets a second.

use crate::time::Nanos;

/// A limit of packets a second with a burst: the generic cell rate algorithm (ITU-T
/// I.371), which is a token bucket kept as one point in time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RateLimit {
    /// Between two packets.
    interval: Nanos,
    /// How far ahead of time packets may come.
    tolerance: Nanos,
    /// When the next packet is expected.
    expected: Nanos,
}

impl RateLimit {
    /// `per_second` packets a second, and up to `burst` at once; at least 1 each.
    pub const fn new(per_second: u32, burst: u32) -> Self {
        let per_second = if per_second == 0 { 1 } else { per_second };
        let interval = 1_000_000_000 / per_second as u64;
        let interval = if interval == 0 { 1 } else { interval };
        let tolerance = interval * burst.saturating_sub(1) as u64;
        Self { interval: Nanos(interval), tolerance: Nanos(tolerance), expected: Nanos::ZERO }
    }

    /// Whether a packet may pass at `now`; if so it is counted.
    #[inline]
    pub fn admit(&mut self, now: Nanos) -> bool {
        let expected = self.expected.max(now);
        let within = expected - now <= self.tolerance;
        if within {
            self.expected = expected + self.interval;
        }
        within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
