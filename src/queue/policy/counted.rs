//! Counts of what a policy, and the limits before it, did to each queue.

use super::{Depth, DropPolicy, Histogram};
use crate::exit::DropReason;
use crate::id::QueueId;
use crate::queue::{Arrival, Verdict};
use crate::store::Store;
use crate::time::Nanos;

/// Packets and their octets, both wrapping at 2^64.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Packets.
    pub packets: u64,
    /// Octets.
    pub octets: u64,
}

impl Tally {
    /// None.
    pub const ZERO: Self = Self { packets: 0, octets: 0 };

    #[inline(always)]
    const fn add(&mut self, octets: u32) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(octets as u64);
    }

    const fn plus(self, other: Self) -> Self {
        let packets = self.packets.wrapping_add(other.packets);
        Self { packets, octets: self.octets.wrapping_add(other.octets) }
    }

    const fn minus(self, other: Self) -> Self {
        let packets = self.packets.wrapping_sub(other.packets);
        Self { packets, octets: self.octets.wrapping_sub(other.octets) }
    }
}

/// What happened to the packets of a queue since it was given to its owner.
///
/// `taken` = `sent` + `dropped` + `flushed` + those that wait, exactly, in packets and in
/// octets; what came is `taken` and [`refused`](Self::refused).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct QueueCounts {
    /// Let into the queue.
    pub taken: Tally,
    /// Refused: the queue was at its limit.
    pub full: Tally,
    /// Refused: the memory of the scheduler was used up.
    pub no_buffer: Tally,
    /// Refused: longer than the scheduler takes.
    pub too_long: Tally,
    /// Refused by the policy, which is how RED drops.
    pub policy: Tally,
    /// Left the queue to be sent.
    pub sent: Tally,
    /// Dropped by the policy as they left, which is how `CoDel` drops.
    pub dropped: Tally,
    /// Taken out of turn, to be dropped.
    pub flushed: Tally,
    /// Marked by the policy, in place of a drop: as they came, or as they left.
    pub marked: Tally,
}

impl QueueCounts {
    /// Nothing happened.
    pub const ZERO: Self = Self {
        taken: Tally::ZERO,
        full: Tally::ZERO,
        no_buffer: Tally::ZERO,
        too_long: Tally::ZERO,
        policy: Tally::ZERO,
        sent: Tally::ZERO,
        dropped: Tally::ZERO,
        flushed: Tally::ZERO,
        marked: Tally::ZERO,
    };

    /// What was not let in, for whatever reason.
    pub const fn refused(&self) -> Tally {
        self.full.plus(self.no_buffer).plus(self.too_long).plus(self.policy)
    }

    /// What waits.
    pub const fn waiting(&self) -> Tally {
        self.taken.minus(self.sent).minus(self.dropped).minus(self.flushed)
    }
}

/// What [`Counted`] keeps of a queue.
pub trait QueueRecord {
    /// The counts.
    fn counts(&self) -> &QueueCounts;

    /// The counts, to be counted up.
    fn counts_mut(&mut self) -> &mut QueueCounts;

    /// A packet was sent, or dropped as it left, after it `waited`.
    fn waited(&mut self, waited: Nanos);

    /// Begins anew.
    fn reset(&mut self);
}

impl QueueRecord for QueueCounts {
    #[inline(always)]
    fn counts(&self) -> &QueueCounts {
        self
    }
    #[inline(always)]
    fn counts_mut(&mut self) -> &mut QueueCounts {
        self
    }
    #[inline(always)]
    fn waited(&mut self, _: Nanos) {}
    fn reset(&mut self) {
        *self = Self::ZERO;
    }
}

/// Counts, and the times that packets waited.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TimedCounts {
    /// The counts.
    pub counts: QueueCounts,
    /// The time in queue of what was sent, and of what the policy dropped as it left, to
    /// within 1,024 ns and the class of the [`Histogram`].
    pub times: Histogram,
}

impl TimedCounts {
    /// Nothing happened.
    pub const ZERO: Self = Self { counts: QueueCounts::ZERO, times: Histogram::NEW };
}

impl QueueRecord for TimedCounts {
    #[inline(always)]
    fn counts(&self) -> &QueueCounts {
        &self.counts
    }
    #[inline(always)]
    fn counts_mut(&mut self) -> &mut QueueCounts {
        &mut self.counts
    }
    #[inline(always)]
    fn waited(&mut self, waited: Nanos) {
        self.times.record(waited);
    }
    fn reset(&mut self) {
        *self = Self::ZERO;
    }
}

/// Another policy, counted: `S` holds a [`QueueCounts`] for each queue, or a [`TimedCounts`]
/// where the time in queue is wanted. A queue beyond its end is not counted.
///
/// Costs two additions of 64 bits on the way in and two on the way out, in a line of the
/// queue's that nothing else touches.
#[derive(Clone, Debug)]
pub struct Counted<P, S> {
    policy: P,
    records: S,
}

impl<P: DropPolicy, S: Store<Item: QueueRecord>> Counted<P, S> {
    /// Counts what `policy` does. What `records` hold is void.
    pub fn new(policy: P, mut records: S) -> Self {
        records.items_mut().iter_mut().for_each(QueueRecord::reset);
        Self { policy, records }
    }

    /// The policy that is counted.
    pub const fn policy(&self) -> &P {
        &self.policy
    }

    /// The policy that is counted, to be changed.
    pub const fn policy_mut(&mut self) -> &mut P {
        &mut self.policy
    }

    /// What was kept of a queue; `None` beyond the end of the store.
    pub fn record(&self, queue: QueueId) -> Option<&S::Item> {
        self.records.items().get(queue.0 as usize)
    }

    /// The counts of a queue; `None` beyond the end of the store.
    pub fn counts(&self, queue: QueueId) -> Option<&QueueCounts> {
        self.record(queue).map(QueueRecord::counts)
    }

    #[inline(always)]
    fn record_mut(&mut self, queue: u32) -> Option<&mut S::Item> {
        self.records.items_mut().get_mut(queue as usize)
    }
}

impl<P: DropPolicy, S: Store<Item: QueueRecord>> DropPolicy for Counted<P, S> {
    #[inline(always)]
    fn arriving(&mut self, now: Nanos, queue: u32, depth: Depth, arrival: Arrival) -> Verdict {
        let verdict = self.policy.arriving(now, queue, depth, arrival);
        // What is refused is told of in `refused`.
        if !matches!(verdict, Verdict::Drop(_))
            && let Some(record) = self.record_mut(queue)
        {
            record.counts_mut().taken.add(arrival.octets);
            if verdict == Verdict::SendMarked {
                record.counts_mut().marked.add(arrival.octets);
            }
        }
        verdict
    }

    #[inline(always)]
    fn leaving(&mut self, now: Nanos, queue: u32, depth: Depth, arrival: Arrival, waited: Nanos) -> Verdict {
        let verdict = self.policy.leaving(now, queue, depth, arrival, waited);
        if let Some(record) = self.record_mut(queue) {
            record.waited(waited);
            let counts = record.counts_mut();
            match verdict {
                Verdict::Drop(_) => counts.dropped.add(arrival.octets),
                Verdict::Send => counts.sent.add(arrival.octets),
                Verdict::SendMarked => {
                    counts.sent.add(arrival.octets);
                    counts.marked.add(arrival.octets);
                }
            }
        }
        verdict
    }

    #[inline(always)]
    fn refused(&mut self, queue: u32, reason: DropReason, octets: u32) {
        self.policy.refused(queue, reason, octets);
        if let Some(record) = self.record_mut(queue) {
            let counts = record.counts_mut();
            let tally = match reason {
                DropReason::QueueFull => &mut counts.full,
                DropReason::NoBuffer => &mut counts.no_buffer,
                DropReason::TooLong => &mut counts.too_long,
                _ => &mut counts.policy,
            };
            tally.add(octets);
        }
    }

    fn flushed(&mut self, queue: u32, depth: Depth, octets: u32) {
        self.policy.flushed(queue, depth, octets);
        if let Some(record) = self.record_mut(queue) {
            record.counts_mut().flushed.add(octets);
        }
    }

    fn reset(&mut self, queue: u32) {
        self.policy.reset(queue);
        if let Some(record) = self.record_mut(queue) {
            record.reset();
        }
    }
}

#[cfg(test)]
mod tests;
