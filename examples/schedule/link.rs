//! A link of a fixed rate, in exact time.

use std::num::NonZeroU64;

/// Nanoseconds for which an octet occupies a link of 1 bit a second.
const OCTET: u128 = 8_000_000_000;

/// When a link is free: a nanosecond, and a part of one that is carried and never rounded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// Bits a second.
    rate: NonZeroU64,
    free_ns: u64,
    /// In parts of a nanosecond divided by the rate: less than the rate.
    rest: u128,
}

impl Link {
    /// Free from the start.
    pub(crate) const fn new(rate: NonZeroU64) -> Self {
        Self { rate, free_ns: 0, rest: 0 }
    }

    /// The nanosecond in which it is free. All that arrives in it, or before, is there when the
    /// next packet is chosen: arrivals come at whole nanoseconds, so that none lies between this
    /// and the exact time.
    pub(crate) const fn free_ns(&self) -> u64 {
        self.free_ns
    }

    /// It has nothing to send before `time_ns`.
    pub(crate) fn idle_until(&mut self, time_ns: u64) {
        if time_ns > self.free_ns {
            (self.free_ns, self.rest) = (time_ns, 0);
        }
    }

    /// Sends so many octets; `None` if that ends after 2^64 ns.
    pub(crate) fn send(&mut self, octets: u32) -> Option<()> {
        let rate = u128::from(self.rate.get());
        // Below 2^27 * 2^33 + 2^64.
        let busy = u128::from(octets) * OCTET + self.rest;
        self.free_ns = self.free_ns.checked_add(u64::try_from(busy / rate).ok()?)?;
        self.rest = busy % rate;
        Some(())
    }
}
