//! Several schedulers as one: the queue manager of section 4.

use crate::exit::DropReason;
use crate::id::QueueId;
use crate::queue::wheel::{Timed, Timer, Wheel};
use crate::queue::{Arrival, ConfigError, Departure, QueueConfig, QueueStats, Rejected, WdrrScheduler};
use crate::store::Store;
use crate::time::Nanos;

/// A scheduler of a [`QueueManager`], with the time at which it is due.
#[derive(Clone, Debug)]
pub struct Scheduled<W> {
    scheduler: W,
    timer: Timer,
}

impl<W> Scheduled<W> {
    /// A scheduler without packets.
    pub const fn new(scheduler: W) -> Self {
        Self { scheduler, timer: Timer::NEW }
    }
}

impl<W> Timed for Scheduled<W> {
    #[inline(always)]
    fn timer(&self) -> &Timer {
        &self.timer
    }
    #[inline(always)]
    fn timer_mut(&mut self) -> &mut Timer {
        &mut self.timer
    }
}

/// Schedulers, each with queues, a rate and an interface of its own; ten in the paper
/// (one for each interface of the line card), and as many thousands as you like.
///
/// The upper bits of a [`QueueId`] name the scheduler and the lower ones a queue of it:
/// [`queue_id`](Self::queue_id) joins the two. `S` holds the schedulers, an array of
/// [`Scheduled`] [`Paced`](crate::queue::Paced) ones, say.
///
/// `dequeue` goes round the schedulers that are due, a few packets at each, so that
/// none waits for another. One that has nothing to send, or may not yet, is not looked at: a
/// timing wheel knows when it may.
#[derive(Clone, Debug)]
pub struct QueueManager<S> {
    schedulers: S,
    /// Bits of a queue id that name a queue of the scheduler.
    bits: u32,
    /// How many packets more the first that is due may send, and who that is.
    left: u32,
    turn: u32,
    wheel: Wheel,
}

/// Packets that a scheduler may send before the next one is asked.
const TURN: u32 = 16;

impl<W: WdrrScheduler, S: Store<Item = Scheduled<W>>> QueueManager<S> {
    /// Schedulers of the paper's node.
    pub const SCHEDULERS: usize = 10;

    /// Joins `schedulers` without packets, of which none has more than `2^bits` queues.
    pub fn new(schedulers: S, bits: u32) -> Self {
        Self { schedulers, bits: bits.min(31), left: TURN, turn: 0, wheel: Wheel::new() }
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

    /// The store of the schedulers.
    pub const fn store(&self) -> &S {
        &self.schedulers
    }

    /// The store of the schedulers: to add one without packets at its end, if it grows.
    pub const fn store_mut(&mut self) -> &mut S {
        &mut self.schedulers
    }

    /// A scheduler.
    pub fn scheduler(&self, scheduler: usize) -> Option<&W> {
        self.schedulers.items().get(scheduler).map(|item| &item.scheduler)
    }

    /// A scheduler, to change what does not move the time at which it is due: limits, shares,
    /// policies.
    pub fn scheduler_mut(&mut self, scheduler: usize) -> Option<&mut W> {
        self.schedulers.items_mut().get_mut(scheduler).map(|item| &mut item.scheduler)
    }

    /// Changes a scheduler: its rate, say, which takes effect at once. `None` if there is no
    /// such scheduler.
    pub fn change<T>(&mut self, now: Nanos, scheduler: usize, change: impl FnOnce(&mut W) -> T) -> Option<T> {
        let done = change(&mut self.schedulers.items_mut().get_mut(scheduler)?.scheduler);
        self.settle(now, scheduler);
        Some(done)
    }

    /// Takes the next packet of one scheduler only: of one interface that is ready.
    pub fn dequeue_from(&mut self, now: Nanos, scheduler: usize) -> Option<Departure<W::Handle>> {
        let departure = self.schedulers.items_mut().get_mut(scheduler)?.scheduler.dequeue(now);
        self.settle(now, scheduler);
        Some(self.outward(scheduler, departure?))
    }

    /// Puts a scheduler where it belongs: among those that are due, or will be, or have nothing
    /// to send.
    #[inline(always)]
    fn settle(&mut self, now: Nanos, scheduler: usize) {
        let schedulers = self.schedulers.items_mut();
        let Some(item) = schedulers.get(scheduler) else { return };
        let (due, timer, member) = (item.scheduler.next_due(now), item.timer, scheduler as u32);
        match due {
            Some(due) if due <= now && timer.is_ready() => {}
            Some(due) if due > now && !timer.is_ready() && !timer.is_idle() && timer.due() == due.0 => {}
            None if timer.is_idle() => {}
            due => {
                self.wheel.cancel(schedulers, member);
                match due {
                    Some(due) if due <= now => self.wheel.make_ready(schedulers, member),
                    Some(due) => self.wheel.wait(schedulers, member, due.0),
                    None => {}
                }
            }
        }
    }

    /// How many packets the first of those who are due may send: a whole turn, if it is another
    /// than the last.
    #[inline(always)]
    const fn allowed(&mut self, first: u32) -> usize {
        if first != self.turn {
            (self.turn, self.left) = (first, TURN);
        }
        self.left as usize
    }

    /// The first of those who are due had `taken` packets. `None` if it had none though it was
    /// due: it breaks its contract, and is not asked again in this call.
    #[inline(always)]
    fn served(&mut self, now: Nanos, first: u32, taken: usize) -> Option<()> {
        self.left -= taken as u32;
        if self.left == 0 {
            self.wheel.rotate(self.schedulers.items_mut());
            self.left = TURN;
        }
        self.settle(now, first as usize);
        let stays = || self.schedulers.items().get(first as usize).is_some_and(|item| item.timer.is_ready());
        (taken > 0 || !stays()).then_some(())
    }

    /// The number of a queue in its scheduler.
    #[inline(always)]
    pub const fn local(&self, queue: QueueId) -> QueueId {
        QueueId(queue.0 & ((1 << self.bits) - 1))
    }

    #[inline(always)]
    fn outward<H>(&self, scheduler: usize, mut departure: Departure<H>) -> Departure<H> {
        departure.queue.0 |= (scheduler as u32) << self.bits;
        departure
    }

    #[inline(always)]
    fn at(&self, queue: QueueId) -> Option<(&W, QueueId)> {
        Some((self.scheduler(self.scheduler_of(queue))?, self.local(queue)))
    }
}

impl<W: WdrrScheduler, S: Store<Item = Scheduled<W>>> WdrrScheduler for QueueManager<S> {
    type Handle = W::Handle;

    fn configure(&mut self, queue: QueueId, config: QueueConfig) -> Result<(), ConfigError> {
        let (at, local) = (self.scheduler_of(queue), self.local(queue));
        let schedulers = self.schedulers.items_mut();
        let unknown = ConfigError::UnknownQueue { queue, queues: schedulers.len() << self.bits };
        let done = schedulers.get_mut(at).ok_or(unknown)?.scheduler.configure(local, config);
        done.map_err(|error| error.of(queue))
    }

    fn remove(&mut self, queue: QueueId) -> Result<(), ConfigError> {
        let (at, local) = (self.scheduler_of(queue), self.local(queue));
        let schedulers = self.schedulers.items_mut();
        let unknown = ConfigError::UnknownQueue { queue, queues: schedulers.len() << self.bits };
        let done = schedulers.get_mut(at).ok_or(unknown)?.scheduler.remove(local);
        done.map_err(|error| error.of(queue))
    }

    fn flush(&mut self, queue: QueueId) -> Option<Departure<Self::Handle>> {
        let (at, local) = (self.scheduler_of(queue), self.local(queue));
        let departure = self.schedulers.items_mut().get_mut(at)?.scheduler.flush(local)?;
        // It may have nothing to send any more; that it may be due later than it is thought to
        // be does no harm.
        if self.scheduler(at)?.next_due(Nanos::ZERO).is_none() {
            self.wheel.cancel(self.schedulers.items_mut(), at as u32);
        }
        Some(self.outward(at, departure))
    }

    #[inline(always)]
    fn enqueue(
        &mut self, now: Nanos, queue: QueueId, handle: Self::Handle, arrival: Arrival,
    ) -> Result<(), Rejected<Self::Handle>> {
        let (at, local) = (self.scheduler_of(queue), self.local(queue));
        let Some(item) = self.schedulers.items_mut().get_mut(at) else {
            return Err(Rejected { handle, reason: DropReason::UnknownQueue });
        };
        item.scheduler.enqueue(now, local, handle, arrival)?;
        if !item.timer.is_ready() {
            self.settle(now, at);
        }
        Ok(())
    }

    #[inline(always)]
    fn dequeue(&mut self, now: Nanos) -> Option<Departure<Self::Handle>> {
        loop {
            let schedulers = self.schedulers.items_mut();
            let first = self.wheel.first(schedulers, now.0)?;
            self.allowed(first);
            let departure = self.schedulers.items_mut().get_mut(first as usize)?.scheduler.dequeue(now);
            self.served(now, first, usize::from(departure.is_some()))?;
            if let Some(departure) = departure {
                return Some(self.outward(first as usize, departure));
            }
        }
    }

    #[inline(always)]
    fn dequeue_batch(&mut self, now: Nanos, departures: &mut [Option<Departure<Self::Handle>>]) -> usize {
        let mut count = 0;
        while let Some(places) = departures.get_mut(count..)
            && !places.is_empty()
        {
            let schedulers = self.schedulers.items_mut();
            let Some(first) = self.wheel.first(schedulers, now.0) else { break };
            let most = places.len().min(self.allowed(first));
            let Some(item) = self.schedulers.items_mut().get_mut(first as usize) else { break };
            let taken = item.scheduler.dequeue_batch(now, places.get_mut(..most).unwrap_or_default());
            for departure in places.get_mut(..taken).unwrap_or_default().iter_mut().flatten() {
                departure.queue.0 |= first << self.bits;
            }
            count += taken;
            if self.served(now, first, taken).is_none() {
                break;
            }
        }
        if let Some(place) = departures.get_mut(count) {
            *place = None;
        }
        count
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
        Some(Nanos(self.wheel.next()?).max(now))
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
    use crate::queue::{Descriptor, Line, Paced, Quantum, Queue, Rate, Scheduled, Wdrr, lines};
    use std::vec::Vec;

    const QUANTUM: Quantum = Quantum::of_longest(1000);
    type Scheduler = Scheduled<Paced<Wdrr<[Queue; 4], [Descriptor<u32>; 64], [Line; lines(4, QUANTUM)]>>>;

    /// Ten schedulers of four queues; scheduler n sends 1000 octets in n + 1 us.
    fn manager() -> QueueManager<[Scheduler; 10]> {
        QueueManager::new(
            core::array::from_fn(|n| {
                let lines = [Line::NEW; lines(4, QUANTUM)];
                let wdrr =
                    Wdrr::new([Queue::NEW; 4], [const { Descriptor::NEW }; 64], lines, QUANTUM).unwrap();
                let rate = Rate::bits_per_second(8_000_000_000 / (n as u64 + 1)).unwrap();
                Scheduled::new(Paced::new(wdrr, rate, 0, Nanos::ZERO))
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
