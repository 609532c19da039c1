//! How many answers are sent (RFC 1812, 4.3.2.8).

#![expect(deprecated, reason = "SipHash with keys, which `core` has in this form only")]

use alloc::boxed::Box;
use core::hash::{Hasher, SipHasher};

use crate::manager::Fate;
use crate::manager::config::Rates;
use crate::node::RateLimit;
use crate::time::Nanos;

/// Buckets for destinations: 32 KB.
const BUCKETS: usize = 1024;

/// The limits of a slice.
///
/// Destinations share so many buckets by a keyed hash: what many of them ask for makes nothing
/// grow and throws nothing out, and nobody can aim at another's bucket. Two destinations that
/// share one share its rate.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    errors: RateLimit,
    replies: RateLimit,
    destinations: Box<[RateLimit]>,
    seed: u64,
}

impl Limits {
    pub(super) fn new(rates: &Rates, seed: u64) -> Self {
        let limit = |(per_second, burst)| RateLimit::new(per_second, burst);
        let to_one = limit(rates.errors_to_one);
        let destinations = core::iter::repeat_n(to_one, BUCKETS).collect();
        Self { errors: limit(rates.errors), replies: limit(rates.replies), destinations, seed }
    }

    /// Whether an error may be sent to `destination`; if `spared`, by the slice's rate alone.
    pub(super) fn error(&mut self, now: Nanos, destination: u32, spared: bool) -> Result<(), Fate> {
        // First, so that what one destination may not have costs others nothing.
        if !spared {
            let mut hasher = SipHasher::new_with_keys(self.seed, !self.seed);
            hasher.write_u32(destination);
            let bucket = self.destinations.get_mut(hasher.finish() as usize % BUCKETS);
            if !bucket.is_some_and(|bucket| bucket.admit(now)) {
                return Err(Fate::DestinationRate);
            }
        }
        if self.errors.admit(now) { Ok(()) } else { Err(Fate::SliceRate) }
    }

    pub(super) fn reply(&mut self, now: Nanos) -> Result<(), Fate> {
        if self.replies.admit(now) { Ok(()) } else { Err(Fate::ReplyRate) }
    }
}
