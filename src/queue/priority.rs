//! A class of queues that is served first, as long as it keeps to a rate.

use crate::exit::DropReason;
use crate::id::QueueId;
use crate::queue::{
    Arrival, ConfigError, Departure, QueueConfig, QueueStats, Rejected, TokenBucket, Verdict, WdrrScheduler,
};
use crate::time::Nanos;

/// Two schedulers, of which one comes first: strict priority, bounded so that it starves nobody
/// (known as low-latency queueing).
///
/// While its [`TokenBucket`] covers the longest packet, a packet of the class `high` leaves
/// before any of `low`, and pays with its octets. Otherwise the class `low` comes first, and
/// `high` gets what it leaves, for nothing. So no link is idle while packets wait, and:
///
/// - a packet of `high` that finds no other one there, and the bucket full, waits for one packet
///   of `low` at most, the one that is being sent;
/// - in any time `t` in which `low` has packets, `high` is sent no more than `burst + rate * t`.
///
/// The rate must be below the link's for `low` to get the rest of it. Either class may be a
/// [`Wdrr`](crate::queue::Wdrr), or another such pair. Put it into a
/// [`Paced`](crate::queue::Paced), and not the reverse.
///
/// Queues are numbered through: those of `high` from 0 on, and behind as many as it has those of
/// `low`. Shares are owed within a class.
///
/// ```
/// use fastpath::id::{QueueId, SliceId};
/// use fastpath::queue::{self, Arrival, Descriptor, Line, Priority, Quantum, Queue, QueueConfig, Rate};
/// use fastpath::queue::{TokenBucket, Wdrr, WdrrScheduler};
/// use fastpath::time::Nanos;
///
/// const QUANTUM: Quantum = Quantum::of_longest(1500);
/// let class = || {
///     let lines = [Line::NEW; queue::lines(2, QUANTUM)];
///     Wdrr::new([Queue::NEW; 2], [const { Descriptor::NEW }; 16], lines, QUANTUM)
/// };
/// // 1 Mb/s, and two packets at once.
/// let bucket = TokenBucket::new(Rate::bits_per_second(1_000_000)?, 3000)?;
/// let mut queues = Priority::new(class()?, 2, class()?, bucket, 1500)?;
/// let (now, voice, rest) = (Nanos::ZERO, QueueId(0), QueueId(2));
/// for queue in [rest, voice] {
///     queues.configure(queue, QueueConfig::new(SliceId(1)))?;
///     for _ in 0..3 {
///         queues.enqueue(now, queue, "packet", Arrival::new(1500)).unwrap();
///     }
/// }
/// let sent: Vec<_> = std::iter::from_fn(|| queues.dequeue(now)).map(|d| d.queue.0).collect();
/// assert_eq!(sent, [0, 0, 2, 2, 2, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Priority<H, L> {
    high: H,
    low: L,
    /// Queues of `high`: the number of the first one of `low`.
    first: u32,
    bucket: TokenBucket,
    /// Octets of the longest packet of `high`.
    longest: u32,
}

/// Why a bucket cannot bound a class.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a burst of {burst} octets never covers a packet of {longest}")]
pub struct PriorityError {
    /// What the bucket holds at most, in octets.
    pub burst: u32,
    /// The longest packet, in octets.
    pub longest: u32,
}

impl<H: WdrrScheduler, L: WdrrScheduler<Handle = H::Handle>> Priority<H, L> {
    /// The `queues` queues of `high` before those of `low`, while `bucket` covers a packet of
    /// `longest` octets. The class `high` takes no longer ones.
    ///
    /// # Errors
    ///
    /// [`PriorityError`] if the bucket never does.
    pub fn new(
        high: H, queues: u32, low: L, bucket: TokenBucket, longest: u32,
    ) -> Result<Self, PriorityError> {
        let burst = bucket.burst();
        if burst < longest {
            return Err(PriorityError { burst, longest });
        }
        Ok(Self { high, low, first: queues, bucket, longest })
    }

    /// The bucket, with what it held when it was asked last.
    pub const fn bucket(&self) -> &TokenBucket {
        &self.bucket
    }

    /// Another bucket from now on.
    ///
    /// # Errors
    ///
    /// [`PriorityError`] if it never covers the longest packet; nothing has changed.
    pub const fn set_bucket(&mut self, bucket: TokenBucket) -> Result<(), PriorityError> {
        let (burst, longest) = (bucket.burst(), self.longest);
        if burst < longest {
            return Err(PriorityError { burst, longest });
        }
        self.bucket = bucket;
        Ok(())
    }

    /// The class that comes first.
    pub const fn high(&self) -> &H {
        &self.high
    }

    /// The class that comes first, to be changed.
    pub const fn high_mut(&mut self) -> &mut H {
        &mut self.high
    }

    /// The class that gets the rest.
    pub const fn low(&self) -> &L {
        &self.low
    }

    /// The class that gets the rest, to be changed.
    pub const fn low_mut(&mut self) -> &mut L {
        &mut self.low
    }

    /// The queue's number in its class: `Err` in the class `low`.
    #[inline(always)]
    pub(crate) const fn local(&self, queue: QueueId) -> Result<QueueId, QueueId> {
        match queue.0.checked_sub(self.first) {
            None => Ok(queue),
            Some(local) => Err(QueueId(local)),
        }
    }

    /// A departure of the class `low`.
    #[inline(always)]
    const fn outward(&self, mut departure: Departure<H::Handle>) -> Departure<H::Handle> {
        departure.queue.0 += self.first;
        departure
    }

    /// The next packet of the class `high`, if its bucket pays for it.
    #[inline(always)]
    fn serve_high(&mut self, now: Nanos) -> Option<Departure<H::Handle>> {
        if !self.bucket.covers(self.longest) {
            return None;
        }
        let departure = self.high.dequeue(now)?;
        if !matches!(departure.verdict, Verdict::Drop(_)) {
            self.bucket.take(now, departure.octets);
        }
        Some(departure)
    }

    /// An error of the class `low` by the names outside.
    fn outward_error(&self, queue: QueueId, error: ConfigError) -> ConfigError {
        match error.of(queue) {
            ConfigError::UnknownQueue { queue, queues } => {
                ConfigError::UnknownQueue { queue, queues: queues.saturating_add(self.first as usize) }
            }
            error => error,
        }
    }
}

impl<H: WdrrScheduler, L: WdrrScheduler<Handle = H::Handle>> WdrrScheduler for Priority<H, L> {
    type Handle = H::Handle;

    fn configure(&mut self, queue: QueueId, config: QueueConfig) -> Result<(), ConfigError> {
        match self.local(queue) {
            Ok(local) => self.high.configure(local, config),
            Err(local) => self.low.configure(local, config).map_err(|error| self.outward_error(queue, error)),
        }
    }

    fn remove(&mut self, queue: QueueId) -> Result<(), ConfigError> {
        match self.local(queue) {
            Ok(local) => self.high.remove(local),
            Err(local) => self.low.remove(local).map_err(|error| self.outward_error(queue, error)),
        }
    }

    fn flush(&mut self, queue: QueueId) -> Option<Departure<Self::Handle>> {
        match self.local(queue) {
            Ok(local) => self.high.flush(local),
            Err(local) => self.low.flush(local).map(|departure| self.outward(departure)),
        }
    }

    #[inline(always)]
    fn enqueue(
        &mut self, now: Nanos, queue: QueueId, handle: Self::Handle, arrival: Arrival,
    ) -> Result<(), Rejected<Self::Handle>> {
        match self.local(queue) {
            Ok(local) if arrival.octets > self.longest && self.high.quantum(local) > 0 => {
                Err(Rejected { handle, reason: DropReason::TooLong })
            }
            Ok(local) => self.high.enqueue(now, local, handle, arrival),
            Err(local) => self.low.enqueue(now, local, handle, arrival),
        }
    }

    #[inline(always)]
    fn dequeue(&mut self, now: Nanos) -> Option<Departure<Self::Handle>> {
        self.bucket.earn(now);
        if let Some(departure) = self.serve_high(now) {
            return Some(departure);
        }
        match self.low.dequeue(now) {
            Some(departure) => Some(self.outward(departure)),
            None => self.high.dequeue(now),
        }
    }

    #[inline(always)]
    fn dequeue_batch(&mut self, now: Nanos, departures: &mut [Option<Departure<Self::Handle>>]) -> usize {
        self.bucket.earn(now);
        let mut count = 0;
        for place in &mut *departures {
            *place = self.serve_high(now);
            if place.is_none() {
                break;
            }
            count += 1;
        }
        // In one instant nothing is earned: from here on it is the turn of `low`, and then of
        // what it leaves.
        let from = departures.get_mut(count..).unwrap_or_default();
        let more = self.low.dequeue_batch(now, from);
        for departure in from.iter_mut().take(more).flatten() {
            departure.queue.0 += self.first;
        }
        let rest = from.get_mut(more..).unwrap_or_default();
        count + more + self.high.dequeue_batch(now, rest)
    }

    fn backlog(&self, queue: QueueId) -> u32 {
        match self.local(queue) {
            Ok(local) => self.high.backlog(local),
            Err(local) => self.low.backlog(local),
        }
    }

    fn stats(&self, queue: QueueId) -> QueueStats {
        match self.local(queue) {
            Ok(local) => self.high.stats(local),
            Err(local) => self.low.stats(local),
        }
    }

    fn quantum(&self, queue: QueueId) -> u64 {
        match self.local(queue) {
            Ok(local) => self.high.quantum(local),
            Err(local) => self.low.quantum(local),
        }
    }

    fn next_due(&self, now: Nanos) -> Option<Nanos> {
        [self.high.next_due(now), self.low.next_due(now)].into_iter().flatten().min()
    }

    #[inline(always)]
    fn prefetch(&self, queue: QueueId) {
        match self.local(queue) {
            Ok(local) => self.high.prefetch(local),
            Err(local) => self.low.prefetch(local),
        }
    }

    #[inline(always)]
    fn prefetch_deeper(&self, queue: QueueId) {
        match self.local(queue) {
            Ok(local) => self.high.prefetch_deeper(local),
            Err(local) => self.low.prefetch_deeper(local),
        }
    }
}

#[cfg(test)]
mod tests;
