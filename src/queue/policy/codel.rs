//! Controlled delay: drops at the way out, at a rate that rises while packets wait too long.
//!
//! K. Nichols, V. Jacobson, "Controlling Queue Delay", ACM Queue 10(5), 2012; RFC 8289, whose
//! section 5 is followed line by line. Marks in place of drops as in section 5.3 of RFC 8290:
//! a mark counts as a drop, but no further packet is judged for it.
//!
//! The RFC's `dequeue` drops packets until it has one to send. A scheduler hands out one packet
//! at a time, so here each packet is judged by itself, and what the RFC does between a drop and
//! the packet behind it is done when that packet is judged. Asked again in the same
//! nanosecond the verdicts are those of the RFC. Later, as it happens where other queues have
//! their turn between the two, they are those of the later time:
//!
//! - the packet behind the first drop may be dropped, too, if the second drop is due by then;
//!   the RFC would have sent it;
//! - drops that are overdue come one a turn.
//!
//! An empty queue is never asked: with its last packet it was below what CoDel drops at.
//!
//! Times are exact up to what the scheduler's stamps are: 1,024 ns, and after 36 minutes they
//! begin again.

use super::{Depth, QueuePolicy, Random};
use crate::exit::DropReason;
use crate::queue::{Arrival, Verdict};
use crate::time::Nanos;

/// The parameters of [`CoDel`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CoDelConfig {
    /// How long a packet may wait while the queue stands: a 20th to a 10th of `interval`
    /// (RFC 8289, 4.3).
    pub target: Nanos,
    /// How long the queue may stand before the first drop: about a round trip, up to
    /// 2^32 - 1 ns.
    pub interval: Nanos,
    /// Octets of the longest packet: nothing is dropped while no more than that waits.
    pub longest: u32,
    /// Whether packets that can be marked are marked in place of being dropped.
    pub marks: bool,
}

impl CoDelConfig {
    /// For paths across the Internet: 5 ms, 100 ms, 1,500 octets, marks.
    pub const INTERNET: Self =
        Self { target: Nanos::from_millis(5), interval: Nanos::from_millis(100), longest: 1500, marks: true };
}

/// Why the parameters of [`CoDel`] were refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CoDelError {
    /// The interval.
    #[error("an interval of {} ns is out of range: 1024 to 4294967295", .0.0)]
    Interval(Nanos),
    /// The target.
    #[error("a target of {} ns is out of range: 1 to the interval", .0.0)]
    Target(Nanos),
}

/// Controlled delay in one queue: 40 octets.
#[derive(Clone, Copy, Debug)]
pub struct CoDel {
    /// When the queue will have stood for an interval; 0 if it does not stand.
    first_above: Nanos,
    drop_next: Nanos,
    /// Drops since dropping began, and what they began with.
    count: u32,
    last_count: u32,
    target: u32,
    interval: u32,
    longest: u32,
    marks: bool,
    dropping: bool,
    /// The last packet was dropped: how the one behind it fares says when the next is due.
    after_drop: bool,
}

impl CoDel {
    /// Where nothing waits too long.
    ///
    /// # Errors
    ///
    /// [`CoDelError`].
    pub const fn new(config: CoDelConfig) -> Result<Self, CoDelError> {
        let CoDelConfig { target, interval, longest, marks } = config;
        if interval.0 < 1024 || interval.0 > u32::MAX as u64 {
            return Err(CoDelError::Interval(interval));
        }
        if target.0 == 0 || target.0 > interval.0 {
            return Err(CoDelError::Target(target));
        }
        Ok(Self {
            first_above: Nanos::ZERO,
            drop_next: Nanos::ZERO,
            count: 0,
            last_count: 0,
            target: target.0 as u32,
            interval: interval.0 as u32,
            longest,
            marks,
            dropping: false,
            after_drop: false,
        })
    }

    /// Other parameters under way: what it drops, and when next, stays.
    ///
    /// # Errors
    ///
    /// [`CoDelError`]; nothing has changed.
    pub const fn set(&mut self, config: CoDelConfig) -> Result<(), CoDelError> {
        match Self::new(config) {
            Ok(new) => {
                (self.target, self.interval) = (new.target, new.interval);
                (self.longest, self.marks) = (new.longest, new.marks);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The parameters.
    pub const fn config(&self) -> CoDelConfig {
        CoDelConfig {
            target: Nanos(self.target as u64),
            interval: Nanos(self.interval as u64),
            longest: self.longest,
            marks: self.marks,
        }
    }

    /// Whether it drops, and how many since it began.
    pub const fn dropping(&self) -> Option<u32> {
        if self.dropping { Some(self.count) } else { None }
    }

    /// The RFC's `dodequeue`: whether packets have waited too long for an interval.
    #[inline(always)]
    fn ok_to_drop(&mut self, now: Nanos, depth: Depth, waited: Nanos) -> bool {
        if waited.0 < self.target.into() || depth.octets <= self.longest {
            self.first_above = Nanos::ZERO;
            return false;
        }
        if self.first_above == Nanos::ZERO {
            self.first_above = now + self.interval();
            return false;
        }
        now >= self.first_above
    }

    /// A packet that waited too long while packets are dropped.
    #[inline(never)]
    fn go_on(&mut self, now: Nanos, marks: bool) -> Verdict {
        if core::mem::take(&mut self.after_drop) {
            self.drop_next = self.control_law(self.drop_next);
        }
        if now < self.drop_next {
            return Verdict::Send;
        }
        self.count = self.count.saturating_add(1);
        if marks {
            self.drop_next = self.control_law(self.drop_next);
            return Verdict::SendMarked;
        }
        self.after_drop = true;
        Verdict::Drop(DropReason::QueueDelay)
    }

    /// The first packet to be dropped.
    #[cold]
    fn begin(&mut self, now: Nanos, marks: bool) -> Verdict {
        self.dropping = true;
        // Soon after the last time, the rate that was right then.
        let since = self.count.wrapping_sub(self.last_count);
        let soon = (now - self.drop_next).0 < 16 * u64::from(self.interval);
        self.count = if since > 1 && soon { since } else { 1 };
        self.drop_next = self.control_law(now);
        self.last_count = self.count;
        if marks { Verdict::SendMarked } else { Verdict::Drop(DropReason::QueueDelay) }
    }

    /// The interval divided by the square root of the count, after `time`.
    #[inline(always)]
    fn control_law(&self, time: Nanos) -> Nanos {
        time + Nanos(over_root(self.interval, self.count))
    }

    #[inline(always)]
    const fn interval(&self) -> Nanos {
        Nanos(self.interval as u64)
    }
}

/// `span / sqrt(count)` for a count above 0, to a nanosecond and four of each 2^30.
///
/// Newton's iteration for the inverse root, `x (3 - m x^2) / 2`, with the count brought to
/// `m` between 1/4 and 1. The first guess is within an 8th, and each step squares that.
const fn over_root(span: u32, count: u32) -> u64 {
    let shift = count.leading_zeros() & 30;
    // In 2^-32, and the root in 2^-30.
    let m = (count << shift) as u64;
    let mut x = FIRST - ((m * SLOPE) >> 32);
    let mut steps = 0;
    while steps < 4 {
        let square = (x * x) >> 30;
        x = (x * ((3 << 30) - ((m * square) >> 32))) >> 31;
        steps += 1;
    }
    (span as u64 * x) >> (30 + (32 - shift) / 2)
}

/// 2.13 - 1.2 m, in 2^-30.
const FIRST: u64 = (213 << 30) / 100;
const SLOPE: u64 = (12 << 30) / 10;

impl QueuePolicy for CoDel {
    #[inline(always)]
    fn arriving(&mut self, _: Nanos, _: Depth, _: Arrival, _: &mut Random) -> Verdict {
        Verdict::Send
    }

    #[inline(always)]
    fn leaving(&mut self, now: Nanos, depth: Depth, arrival: Arrival, waited: Nanos) -> Verdict {
        let ok_to_drop = self.ok_to_drop(now, depth, waited);
        let marks = self.marks && arrival.ecn_capable;
        match (ok_to_drop, self.dropping) {
            (true, true) => self.go_on(now, marks),
            (true, false) => self.begin(now, marks),
            (false, _) => {
                (self.dropping, self.after_drop) = (false, false);
                Verdict::Send
            }
        }
    }

    fn reset(&mut self) {
        (self.first_above, self.drop_next) = (Nanos::ZERO, Nanos::ZERO);
        (self.count, self.last_count) = (0, 0);
        (self.dropping, self.after_drop) = (false, false);
    }
}

#[cfg(test)]
mod tests;
