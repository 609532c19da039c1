//! Several schedulers as one: the queue manager of section 4.

use crate::exit::DropReason;
use crate::id::QueueId;
use crate::queue::{Arrival, ConfigError, Departure, QueueConfig, QueueStats, Rejected, WdrrScheduler};
use crate::store::Store;
use crate::time::Nanos;

/// Schedulers, each with queues, a rate and an interface of its own; ten in the paper
/// (one for each interface of the line card).
///
/// The upper bits of a [`QueueId`] name the scheduler and the lower ones a queue of it:
/// [`queue_id`](Self::queue_id) joins the two. `S` holds the schedulers, an array of
/// [`Paced`](crate::queue::Paced) ones, say.
///
/// `dequeue` goes round the schedulers that are due, a few packets at each, so that
/// none waits for another; with `n` of them it looks at `n` before it gives up.
#[derive(Clone, Debug)]
pub struct QueueManager<S> {
    schedulers: S,
    /// Bits of a queue id that name a queue of the scheduler.
    bits: u32,
    /// Whose turn it is, and for how many packets more.
    turn: usize,
    left: u32,
}

/// Packets that a scheduler may send before the next one is asked.
const TURN: u32 = 16;

impl<S: Store<Item: WdrrScheduler>> QueueManager<S> {
    /// Schedulers of the paper's node.
    pub const SCHEDULERS: usize = 10;

    /// Joins `schedulers`, of which none has more than `2^bits` queues.
    pub const fn new(schedulers: S, bits: u32) -> Self {
        let bits = if bits > 31 { 31 } else { bits };
        Self { schedulers, bits, turn: 0, left: TURN }
    }

    /// The name of queue `queue` of scheduler `scheduler`, or `None` if there is no
    /// such scheduler or the number does not fit.
    pub fn queue_id(&self, scheduler: usize, queue: u32) -> Option<QueueId> {
        let known = scheduler < self.schedulers.items().len() && queue >> self.bits == 0;
        let scheduler = u32::try_from(scheduler).ok().filter(|_| known)?;
        Some(QueueId(scheduler.checked_mul(1 << self.bits)? | queue))
    }

    /// The scheduler that a queue belongs to.
    #[inline(always)]
    pub const fn scheduler_of(&self, queue: QueueId) -> usize {
        (queue.0 >> self.bits) as usize
    }

    /// The store of the schedulers: to add one, if it grows.
    pub const fn store_mut(&mut self) -> &mut S {
        &mut self.schedulers
    }

    /// The schedulers.
    pub fn schedulers(&self) -> &[S::Item] {
        self.schedulers.items()
    }

    /// The schedulers, to be changed.
    pub fn schedulers_mut(&mut self) -> &mut [S::Item] {
        self.schedulers.items_mut()
    }

    /// Takes the next packet of one scheduler only: of one interface that is ready.
    pub fn dequeue_from(
        &mut self, now: Nanos, scheduler: usize,
    ) -> Option<Departure<<S::Item as WdrrScheduler>::Handle>> {
        let departure = self.schedulers.items_mut().get_mut(scheduler)?.dequeue(now)?;
        Some(self.outward(scheduler, departure))
    }

    #[inline(always)]
    const fn local(&self, queue: QueueId) -> QueueId {
        QueueId(queue.0 & ((1 << self.bits) - 1))
    }

    #[inline(always)]
    fn outward<H>(&self, scheduler: usize, mut departure: Departure<H>) -> Departure<H> {
        departure.queue.0 |= (scheduler as u32) << self.bits;
        departure
    }

    #[inline(always)]
    fn at(&self, queue: QueueId) -> Option<(&S::Item, QueueId)> {
        Some((self.schedulers.items().get(self.scheduler_of(queue))?, self.local(queue)))
    }
}

impl<S: Store<Item: WdrrScheduler>> WdrrScheduler for QueueManager<S> {
    type Handle = <S::Item as WdrrScheduler>::Handle;

    fn configure(&mut self, queue: QueueId, config: QueueConfig) -> Result<(), ConfigError> {
        let (at, local) = (self.scheduler_of(queue), self.local(queue));
        let schedulers = self.schedulers.items_mut();
        let unknown = ConfigError::UnknownQueue { queue, queues: schedulers.len() << self.bits };
        let done = schedulers.get_mut(at).ok_or(unknown)?.configure(local, config);
        done.map_err(|error| error.of(queue))
    }

    fn remove(&mut self, queue: QueueId) -> Result<(), ConfigError> {
        let (at, local) = (self.scheduler_of(queue), self.local(queue));
        let schedulers = self.schedulers.items_mut();
        let unknown = ConfigError::UnknownQueue { queue, queues: schedulers.len() << self.bits };
        let done = schedulers.get_mut(at).ok_or(unknown)?.remove(local);
        done.map_err(|error| error.of(queue))
    }

    fn flush(&mut self, queue: QueueId) -> Option<Departure<Self::Handle>> {
        let (at, local) = (self.scheduler_of(queue), self.local(queue));
        let departure = self.schedulers.items_mut().get_mut(at)?.flush(local)?;
        Some(self.outward(at, departure))
    }

    #[inline(always)]
    fn enqueue(
        &mut self, now: Nanos, queue: QueueId, handle: Self::Handle, arrival: Arrival,
    ) -> Result<(), Rejected<Self::Handle>> {
        let (at, local) = (self.scheduler_of(queue), self.local(queue));
        match self.schedulers.items_mut().get_mut(at) {
            Some(scheduler) => scheduler.enqueue(now, local, handle, arrival),
            None => Err(Rejected { handle, reason: DropReason::UnknownQueue }),
        }
    }

    #[inline(always)]
    fn dequeue(&mut self, now: Nanos) -> Option<Departure<Self::Handle>> {
        let count = self.schedulers.items().len();
        for _ in 0..=count {
            let turn = self.turn;
            let scheduler = self.schedulers.items_mut().get_mut(turn);
            if let Some(left) = self.left.checked_sub(1)
                && let Some(departure) = scheduler.and_then(|scheduler| scheduler.dequeue(now))
            {
                self.left = left;
                return Some(self.outward(turn, departure));
            }
            self.left = TURN;
            self.turn = if turn + 1 < count { turn + 1 } else { 0 };
        }
        None
    }

    fn backlog(&self, queue: QueueId) -> u32 {
        self.at(queue).map_or(0, |(scheduler, local)| scheduler.backlog(local))
    }

    fn stats(&self, queue: QueueId) -> QueueStats {
        self.at(queue).map_or_else(QueueStats::default, |(scheduler, local)| scheduler.stats(local))
    }

    fn quantum(&self, queue: QueueId) -> u64 {
        self.at(queue).map_or(0, |(scheduler, local)| scheduler.quantum(local))
    }

    fn next_due(&self, now: Nanos) -> Option<Nanos> {
        self.schedulers.items().iter().filter_map(|scheduler| scheduler.next_due(now)).min()
    }

    #[inline(always)]
    fn prefetch(&self, queue: QueueId) {
        if let Some((scheduler, local)) = self.at(queue) {
            scheduler.prefetch(local);
        }
    }

    #[inline(always)]
    fn prefetch_deeper(&self, queue: QueueId) {
        if let Some((scheduler, local)) = self.at(queue) {
            scheduler.prefetch_deeper(local);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SliceId;
    use crate::queue::{Descriptor, Line, Paced, Quantum, Queue, Rate, Wdrr, lines};
    use std::vec::Vec;

    const QUANTUM: Quantum = Quantum::of_longest(1000);
    type Scheduler = Paced<Wdrr<[Queue; 4], [Descriptor<u32>; 64], [Line; lines(4, QUANTUM)]>>;

    /// Ten schedulers of four queues; scheduler n sends 1000 octets in n + 1 us.
    fn manager() -> QueueManager<[Scheduler; 10]> {
        QueueManager::new(
            core::array::from_fn(|n| {
                let lines = [Line::NEW; lines(4, QUANTUM)];
                let wdrr =
                    Wdrr::new([Queue::NEW; 4], [const { Descriptor::NEW }; 64], lines, QUANTUM).unwrap();
                let rate = Rate::bits_per_second(8_000_000_000 / (n as u64 + 1)).unwrap();
                Paced::new(wdrr, rate, 0, Nanos::ZERO)
            }),
            2,
        )
    }

    #[test]
    fn each_scheduler_holds_its_rate_and_waits_for_no_other() {
        let mut manager = manager();
        for scheduler in 0..10 {
            let queue = manager.queue_id(scheduler, 1).unwrap();
            assert_eq!(manager.scheduler_of(queue), scheduler);
            manager.configure(queue, QueueConfig::new(SliceId(1))).unwrap();
            for n in 0..64 {
                manager.enqueue(Nanos::ZERO, queue, n, Arrival::new(1000)).unwrap();
            }
            assert_eq!((manager.backlog(queue), manager.quantum(queue)), (64, 1000));
        }
        let mut sent = [0; 10];
        let mut now = Nanos::ZERO;
        while now < Nanos::from_micros(60) {
            while let Some(departure) = manager.dequeue(now) {
                assert_eq!(departure.queue.0 & 3, 1);
                sent[manager.scheduler_of(departure.queue)] += 1;
            }
            now = manager.next_due(now).unwrap();
        }
        let expected: Vec<u64> = (1..=10).map(|us| 60_000_u64.div_ceil(us * 1000)).collect();
        assert_eq!(sent.as_slice(), expected, "packets that start within 60 us");
    }

    #[test]
    fn queues_that_are_not_there_are_refused() {
        let mut manager = manager();
        assert_eq!((manager.queue_id(10, 0), manager.queue_id(9, 4)), (None, None));
        let missing = QueueId(40);
        assert!(matches!(
            manager.configure(missing, QueueConfig::new(SliceId(1))),
            Err(ConfigError::UnknownQueue { queue: QueueId(40), .. })
        ));
        let refused = manager.enqueue(Nanos::ZERO, missing, 7, Arrival::new(1)).unwrap_err();
        assert_eq!((refused.handle, refused.reason), (7, DropReason::UnknownQueue));
        assert_eq!((manager.backlog(missing), manager.dequeue(Nanos::MAX)), (0, None));
    }
}
