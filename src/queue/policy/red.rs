//! Random early detection: drops that begin before a queue is full, and come evenly spaced.
//!
//! S. Floyd, V. Jacobson, "Random Early Detection Gateways for Congestion Avoidance",
//! IEEE/ACM Trans. Networking 1(4), 1993, in the efficient form of its figure 17; S. Floyd,
//! "Recommendation on using the gentle variant of RED", 2000; thresholds for each drop
//! precedence as RFC 2597 has it (known as WRED); marks in place of drops by RFC 3168.
//!
//! All is integer arithmetic: an arrival at a queue that is not empty costs shifts and, between
//! the thresholds, two multiplications. An arrival at an empty queue costs up to two
//! multiplications for each bit of the idle time in packets, unless the average is 0. There is no
//! division, and a random number is drawn once for each drop.
//!
//! Where this differs from the paper:
//!
//! - Limits come first, so a packet that finds a queue full does not move the average.
//! - Measured in octets, a short packet is dropped as likely as a long one (RFC 7141, 2.2).
//! - An idle time counts once, also if the packet that ends it is dropped.
//! - A queue that is [flushed](crate::queue::WdrrScheduler::flush) begins anew.

use super::{Depth, QueuePolicy, Random};
use crate::exit::DropReason;
use crate::queue::{Arrival, Verdict};
use crate::time::Nanos;

/// What thresholds and the average count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RedUnit {
    /// Packets that wait.
    Packets,
    /// Octets that wait.
    Octets,
}

/// How likely a packet is dropped: not below `min`, from there rising to `max_p` at `max`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RedCurve {
    /// The average from which packets are dropped, in the unit.
    pub min: u32,
    /// The average from which all are dropped, or with `gentle` from which their part rises
    /// to all at twice as much. Above `min`, below 2^31.
    pub max: u32,
    /// The probability at `max`, in 65,536ths: 1 to 65,536.
    pub max_p: u32,
}

/// The parameters of [`Red`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RedConfig {
    /// What is counted.
    pub unit: RedUnit,
    /// A new length moves the average by a `2^weight`th of the difference: 0 to 16.
    pub weight: u8,
    /// What a typical packet takes to be sent, up to 2^32 - 1 ns: in an idle time the average falls as if so many
    /// packets had found the queue empty.
    pub transmission: Nanos,
    /// Whether the part dropped rises on between `max` and twice as much.
    pub gentle: bool,
    /// Whether packets that can be marked are marked in place of being dropped, while the
    /// average is below `max`.
    pub marks: bool,
    /// For each drop precedence, from 0, which is dropped last; a higher one than 2 is 2.
    pub curves: [RedCurve; 3],
}

impl RedConfig {
    /// What Floyd recommends for a queue whose average may be `min` without a drop: `max` three
    /// times as much, a weight of 1/512, at most a tenth dropped below `max`, gentle; marks,
    /// and all drop precedences alike.
    pub const fn recommended(unit: RedUnit, min: u32, transmission: Nanos) -> Self {
        let curve = RedCurve { min, max: min.saturating_mul(3), max_p: 6554 };
        Self { unit, weight: 9, transmission, gentle: true, marks: true, curves: [curve; 3] }
    }
}

/// Why the parameters of [`Red`] were refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RedError {
    /// The weight.
    #[error("a weight of 2^-{0} is out of range: 2^0 to 2^-16")]
    Weight(u8),
    /// The time of a typical packet.
    #[error("a packet of {} ns is out of range: 1 to 4294967295", .0.0)]
    Transmission(Nanos),
    /// The thresholds of a drop precedence.
    #[error("precedence {precedence}: thresholds {min} and {max} are not in order below 2^31")]
    Thresholds {
        /// The drop precedence.
        precedence: u8,
        /// The lower threshold.
        min: u32,
        /// The upper threshold.
        max: u32,
    },
    /// The probability of a drop precedence.
    #[error("precedence {precedence}: a probability of {max_p}/65536 is out of range: 1/65536 to 1")]
    Probability {
        /// The drop precedence.
        precedence: u8,
        /// The probability at the upper threshold, in 65,536ths.
        max_p: u32,
    },
}

/// Random early detection in one queue.
///
/// Two cache lines and a half, of which a packet touches two: the first, and on its way in
/// that of its precedence.
#[derive(Clone, Copy, Debug)]
pub struct Red {
    /// The average, in 2^-32 of the unit.
    average: u64,
    /// Since when the queue is empty, if it is.
    idle_since: Nanos,
    spacing: [Spacing; 3],
    /// 2^63 divided by `transmission`, rounded up: 2^64 would not fit for 1 ns.
    per_nano: u64,
    transmission: u32,
    weight: u8,
    unit: RedUnit,
    marks: bool,
    curves: [Curve; 3],
}

/// How far the next drop is away.
#[derive(Clone, Copy, Debug)]
struct Spacing {
    /// Packets since the last drop, and one; 0 if the last one was below `min`, or dropped above `max`.
    since: u32,
    /// The next is dropped when their number times the probability exceeds this, in 2^-32.
    random: u32,
}

impl Spacing {
    const NEW: Self = Self { since: 0, random: 0 };

    /// One more packet: whether it is the one to be dropped.
    #[inline(always)]
    fn hits(&mut self, probability: u64, random: &mut Random) -> bool {
        let hits = u64::from(self.since) * probability > u64::from(self.random);
        self.since = if hits { 1 } else { self.since.saturating_add(1) };
        if self.since == 1 {
            self.random = random.bits();
        }
        hits
    }
}

/// A [`RedCurve`] with its slopes.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Curve {
    min: u32,
    max: u32,
    /// From here on all are dropped: `max`, or twice as much.
    end: u32,
    max_p: u32,
    /// Probability for each unit above `min`, and above `max`, in 2^-64.
    slope: u64,
    gentle: u64,
}

impl Curve {
    const fn new(curve: RedCurve, gentle: bool) -> Self {
        let RedCurve { min, max, max_p } = curve;
        let end = if gentle { 2 * max } else { max };
        Self { min, max, end, max_p, slope: slope(max_p, max - min), gentle: slope(ONE - max_p, max) }
    }

    /// The probability at an average between `min` and `end`, in 2^-32.
    #[inline(always)]
    fn probability(&self, average: u64) -> u64 {
        if average < fixed(self.max) {
            high(average - fixed(self.min), self.slope)
        } else {
            (u64::from(self.max_p) << 16) + high(average - fixed(self.max), self.gentle)
        }
    }
}

/// Certainty, in 65,536ths.
const ONE: u32 = 1 << 16;

/// A probability spread over a range, in 2^-64.
const fn slope(probability: u32, range: u32) -> u64 {
    // One for a range of one is the only value that does not fit.
    let slope = ((probability as u128) << 48) / (range as u128);
    if slope > u64::MAX as u128 { u64::MAX } else { slope as u64 }
}

/// In 2^-32.
#[inline(always)]
const fn fixed(units: u32) -> u64 {
    (units as u64) << 32
}

/// The upper half of a product.
#[inline(always)]
const fn high(a: u64, b: u64) -> u64 {
    ((a as u128 * b as u128) >> 64) as u64
}

impl Red {
    /// With an average of 0.
    ///
    /// # Errors
    ///
    /// [`RedError`].
    pub const fn new(config: RedConfig) -> Result<Self, RedError> {
        let RedConfig { unit, weight, transmission, gentle, marks, curves: [low, middle, most] } = config;
        if weight > 16 {
            return Err(RedError::Weight(weight));
        }
        if transmission.0 == 0 || transmission.0 > u32::MAX as u64 {
            return Err(RedError::Transmission(transmission));
        }
        let curves = match (checked(0, low), checked(1, middle), checked(2, most)) {
            (Ok(a), Ok(b), Ok(c)) => [Curve::new(a, gentle), Curve::new(b, gentle), Curve::new(c, gentle)],
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => return Err(error),
        };
        let (per_nano, transmission) = ((1_u64 << 63).div_ceil(transmission.0), transmission.0 as u32);
        let (average, idle_since, spacing) = (0, Nanos::ZERO, [Spacing::NEW; 3]);
        Ok(Self { average, idle_since, spacing, per_nano, transmission, weight, unit, marks, curves })
    }

    /// Other parameters under way. The average stays, unless it is of another unit.
    ///
    /// # Errors
    ///
    /// [`RedError`]; nothing has changed.
    pub const fn set(&mut self, config: RedConfig) -> Result<(), RedError> {
        let mut new = match Self::new(config) {
            Ok(new) => new,
            Err(error) => return Err(error),
        };
        if new.unit as u8 == self.unit as u8 {
            (new.average, new.idle_since, new.spacing) = (self.average, self.idle_since, self.spacing);
        }
        *self = new;
        Ok(())
    }

    /// The parameters.
    pub fn config(&self) -> RedConfig {
        let curves = self.curves.map(|Curve { min, max, max_p, .. }| RedCurve { min, max, max_p });
        let [Curve { end, max, .. }, ..] = self.curves;
        let (transmission, gentle) = (Nanos(self.transmission.into()), end > max);
        RedConfig { unit: self.unit, weight: self.weight, transmission, gentle, marks: self.marks, curves }
    }

    /// The average that the last arrival found, in 2^-32 of the unit.
    pub const fn average(&self) -> u64 {
        self.average
    }

    /// A queue that is not empty: one step of the moving average.
    #[inline(always)]
    fn weigh(&mut self, filled: u32) {
        self.average = self.average - (self.average >> self.weight) + (fixed(filled) >> self.weight);
    }

    /// A queue that is empty: as many steps as packets could have been sent since it is. What
    /// is left of that time counts later.
    #[inline(always)]
    fn decay(&mut self, now: Nanos) {
        let packets = ((u128::from((now - self.idle_since).0) * u128::from(self.per_nano)) >> 63) as u64;
        if self.average > 0 && packets > 0 {
            self.average = high(self.average, self.left_after(packets));
            self.idle_since += Nanos(packets.saturating_mul(self.transmission.into()));
        }
    }

    /// `(1 - 2^-weight)^packets` in 2^-64, by squaring, in as many steps as `packets` has bits.
    #[inline(never)]
    const fn left_after(&self, mut packets: u64) -> u64 {
        let mut power = match 1_u64.checked_shl(64 - self.weight as u32) {
            Some(weight) => 0_u64.wrapping_sub(weight),
            None => 0,
        };
        let mut product = u64::MAX;
        while packets > 0 {
            if packets & 1 != 0 {
                product = high(product, power);
            }
            power = high(power, power);
            packets >>= 1;
        }
        product
    }
}

/// Parameters that can be counted with.
const fn checked(precedence: u8, curve: RedCurve) -> Result<RedCurve, RedError> {
    let RedCurve { min, max, max_p } = curve;
    if min >= max || max > i32::MAX as u32 {
        Err(RedError::Thresholds { precedence, min, max })
    } else if max_p == 0 || max_p > ONE {
        Err(RedError::Probability { precedence, max_p })
    } else {
        Ok(curve)
    }
}

impl QueuePolicy for Red {
    #[inline(always)]
    fn arriving(&mut self, now: Nanos, depth: Depth, arrival: Arrival, random: &mut Random) -> Verdict {
        match (depth.packets, self.unit) {
            (0, _) => self.decay(now),
            (packets, RedUnit::Packets) => self.weigh(packets),
            (_, RedUnit::Octets) => self.weigh(depth.octets),
        }
        let [.., last] = &self.curves;
        let average = self.average;
        let at = usize::from(arrival.precedence.min(2));
        let curve = self.curves.get(at).unwrap_or(last);
        let Some(spacing) = self.spacing.get_mut(at) else { return Verdict::Send };
        if average < fixed(curve.min) {
            spacing.since = 0;
            return Verdict::Send;
        }
        if average >= fixed(curve.end) {
            spacing.since = 0;
            return Verdict::Drop(DropReason::QueuePolicy);
        }
        if !spacing.hits(curve.probability(average), random) {
            Verdict::Send
        } else if self.marks && arrival.ecn_capable && average < fixed(curve.max) {
            Verdict::SendMarked
        } else {
            Verdict::Drop(DropReason::QueuePolicy)
        }
    }

    #[inline(always)]
    fn leaving(&mut self, now: Nanos, depth: Depth, _: Arrival, _: Nanos) -> Verdict {
        if depth.packets == 0 {
            self.idle_since = now;
        }
        Verdict::Send
    }

    fn reset(&mut self) {
        (self.average, self.idle_since, self.spacing) = (0, Nanos::ZERO, [Spacing::NEW; 3]);
    }
}

#[cfg(test)]
mod tests;
