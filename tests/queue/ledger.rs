//! A scheduler beside a ledger of all that goes in and comes out.

use std::collections::{BTreeMap, VecDeque};

use fastpath::exit::DropReason;
use fastpath::id::{QueueId, SliceId};
use fastpath::queue::{
    Arrival, BoxedWdrr, Departure, Quantum, QueueConfig, QueueStats, TailDrop, Verdict, WdrrScheduler,
};
use fastpath::time::Nanos;

/// A scheduler whose queues belong to slices of the same number plus one.
pub(crate) fn wdrr(queues: usize, packets: usize, unit: u32, longest: u32) -> BoxedWdrr<u32> {
    BoxedWdrr::boxed(queues, packets, 0, TailDrop, Quantum { unit, longest }).unwrap()
}

pub(crate) fn config(queue: usize, weight: u32) -> QueueConfig {
    QueueConfig { weight, ..QueueConfig::new(SliceId(queue as u16 + 1)) }
}

/// What came and went at one queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub(crate) waiting: VecDeque<(u32, u32)>,
    pub(crate) offered: u64,
    pub(crate) refused: BTreeMap<DropReason, u64>,
    pub(crate) flushed: u64,
    /// Dropped when their turn came.
    pub(crate) dropped: u64,
    pub(crate) stats: QueueStats,
}

/// Panics at the first packet that is lost, made up or out of order, and at the first count
/// that is not exact.
#[derive(Clone, Debug)]
pub(crate) struct Ledger<W> {
    pub(crate) scheduler: W,
    pub(crate) pages: Vec<Page>,
    /// Octets that the scheduler counts for each packet on top of its length.
    pub(crate) overhead: u32,
    next: u32,
}

impl<W: WdrrScheduler<Handle = u32>> Ledger<W> {
    pub(crate) fn new(scheduler: W, queues: usize, overhead: u32) -> Self {
        Self { scheduler, pages: vec![Page::default(); queues], overhead, next: 0 }
    }

    /// The same with a weight for each queue.
    pub(crate) fn weighted(scheduler: W, weights: &[u32], overhead: u32) -> Self {
        let mut ledger = Self::new(scheduler, weights.len(), overhead);
        for (queue, weight) in weights.iter().enumerate() {
            ledger.scheduler.configure(QueueId(queue as u32), config(queue, *weight)).unwrap();
        }
        ledger
    }

    pub(crate) fn quantum(&self, queue: usize) -> i128 {
        self.scheduler.quantum(QueueId(queue as u32)).into()
    }

    /// Offers a packet; its handle if it was taken.
    pub(crate) fn offer(&mut self, now: Nanos, queue: usize, octets: u32) -> Result<u32, DropReason> {
        self.arrive(now, queue, Arrival::new(octets))
    }

    pub(crate) fn arrive(&mut self, now: Nanos, queue: usize, arrival: Arrival) -> Result<u32, DropReason> {
        let octets = arrival.octets;
        let handle = self.next;
        self.next += 1;
        self.pages[queue].offered += 1;
        let taken = self.scheduler.enqueue(now, QueueId(queue as u32), handle, arrival);
        let taken = taken.map(|()| handle).map_err(|refused| {
            assert_eq!(refused.handle, handle, "what is refused is given back");
            refused.reason
        });
        let page = &mut self.pages[queue];
        match taken {
            Ok(_) => {
                page.waiting.push_back((handle, octets));
                page.stats.packets += 1;
                page.stats.octets += u64::from(octets + self.overhead);
                page.stats.most_packets = page.stats.most_packets.max(page.stats.packets);
            }
            Err(reason) => *page.refused.entry(reason).or_default() += 1,
        }
        self.check(queue);
        taken
    }

    /// The next packet of the scheduler.
    pub(crate) fn take(&mut self, now: Nanos) -> Option<Departure<u32>> {
        let waits = self.pages.iter().any(|page| !page.waiting.is_empty());
        let due = self.scheduler.next_due(now);
        assert_eq!(due.is_some(), waits, "next_due is {due:?}");
        let departure = self.scheduler.dequeue(now);
        assert_eq!(departure.is_some(), due.is_some_and(|due| due <= now), "work conserving");
        let departure = departure?;
        let counted = self.leave(&departure);
        let page = &mut self.pages[departure.queue.0 as usize];
        if matches!(departure.verdict, Verdict::Drop(_)) {
            page.dropped += 1;
        } else {
            page.stats.out_packets += 1;
            page.stats.out_octets += counted;
        }
        self.check(departure.queue.0 as usize);
        Some(departure)
    }

    /// Takes the first packet of a queue out of turn.
    pub(crate) fn flush(&mut self, queue: usize) -> Option<u32> {
        let departure = self.scheduler.flush(QueueId(queue as u32));
        assert_eq!(departure.is_some(), !self.pages[queue].waiting.is_empty());
        let departure = departure?;
        assert_eq!(departure.queue.0 as usize, queue);
        assert_eq!(departure.verdict, Verdict::Drop(DropReason::QueueDeleted));
        self.leave(&departure);
        self.pages[queue].flushed += 1;
        self.check(queue);
        Some(departure.handle)
    }

    fn leave(&mut self, departure: &Departure<u32>) -> u64 {
        let page = &mut self.pages[departure.queue.0 as usize];
        let first = page.waiting.pop_front();
        assert_eq!(first, Some((departure.handle, departure.octets)), "first in, first out");
        let counted = u64::from(departure.octets + self.overhead);
        page.stats.packets -= 1;
        page.stats.octets -= counted;
        counted
    }

    /// The queue was removed: what it counted is void, what it waits for is nothing.
    pub(crate) fn removed(&mut self, queue: usize) {
        self.pages[queue] = Page::default();
        self.check(queue);
    }

    fn check(&self, queue: usize) {
        let (page, id) = (&self.pages[queue], QueueId(queue as u32));
        assert_eq!(self.scheduler.stats(id), page.stats, "stats of queue {queue}");
        assert_eq!(self.scheduler.backlog(id), page.stats.packets);
        let refused = page.refused.values().sum::<u64>();
        let out = page.stats.out_packets + page.flushed + page.dropped + refused;
        assert_eq!(page.offered, out + page.waiting.len() as u64, "in is out and waiting and dropped");
    }
}
