//! The checks of `remove`, `flush` and `dequeue_batch`.

use alloc::vec;
use alloc::vec::Vec;

use crate::exit::DropReason;
use crate::id::{QueueId, SliceId};
use crate::queue::{Arrival, ConfigError, QueueConfig, QueueStats, WdrrScheduler};
use crate::time::Nanos;

use super::{Rng, Trial};

impl<S: WdrrScheduler<Handle = u32>> Trial<'_, S> {
    /// A queue that is not configured cannot be removed.
    pub(super) fn is_unknown(&mut self, id: QueueId) {
        let (refused, doing) = (self.scheduler.remove(id), self.doing);
        assert!(
            matches!(refused, Err(ConfigError::UnknownQueue { queue, .. }) if queue == id),
            "wdrr_scheduler: {doing}: queue {id} is not configured, and was removed: {refused:?}"
        );
    }

    pub(super) fn removes(mut self, rng: &mut Rng) {
        self.configured();
        let longest = u64::from(self.set.longest);
        for at in 0..self.lanes.len() {
            self.doing = "removed while packets wait";
            let (id, queues) = (self.lanes[at].id, self.lanes.len());
            for n in 0..4 * queues {
                self.offer(n % queues, 1 + rng.below(longest) as u32);
            }
            // Refused from the first to the last packet.
            while let packets @ 1.. = self.lanes[at].waiting.len() as u32 {
                let refused = self.scheduler.remove(id);
                let expected = Err(ConfigError::NotEmpty { queue: id, packets });
                assert_eq!(refused, expected, "wdrr_scheduler: queue {id} was removed with packets in it");
                self.account();
                self.take();
            }
            self.doing = "removed";
            self.remove(at);
            assert!(self.scheduler.flush(id).is_none(), "wdrr_scheduler: a removed queue had packets");
            let refused = self.scheduler.enqueue(self.now, id, 7, Arrival::new(64));
            let refused = refused.map_err(|refused| (refused.handle, refused.reason));
            let expected = Err((7, DropReason::UnknownQueue));
            assert_eq!(refused, expected, "wdrr_scheduler: a packet for queue {id}, which was removed");
            self.is_unknown(id);
            // The others go on.
            self.drain();
            self.doing = "removed and given to another";
            let weight = self.set.weight;
            // The next queue's, so that no other slices come in.
            let owner = SliceId(1 + ((at + 1) % queues.max(2)) as u16);
            self.configure(at, QueueConfig { weight, ..QueueConfig::new(owner) });
            self.fill(at, || longest as u32);
            self.drain();
        }
    }

    fn remove(&mut self, at: usize) {
        let lane = &mut self.lanes[at];
        let (id, removed) = (lane.id, self.scheduler.remove(lane.id));
        assert_eq!(removed, Ok(()), "wdrr_scheduler: queue {id} is empty, and was not removed");
        (lane.quantum, lane.stats) = (0, QueueStats::default());
        self.account();
    }

    pub(super) fn flushes(mut self, rng: &mut Rng) {
        self.doing = "flushed";
        self.configured();
        let longest = u64::from(self.set.longest);
        for at in 0..self.lanes.len() {
            assert!(!self.flush(at), "wdrr_scheduler: a packet from an empty queue");
            for other in 0..self.lanes.len() {
                self.fill(other, || 1 + rng.below(longest) as u32);
            }
            // In the middle of a round, and of a turn.
            for _ in 0..rng.below(8) {
                self.take();
            }
            while self.flush(at) {}
            self.offer(at, longest as u32);
            self.take();
            self.flush(at);
            self.drain();
        }
    }

    /// All queues backlogged, and one of them is flushed all the time: the others share as if
    /// it were not.
    pub(super) fn shares_beside_a_flush(mut self, rng: &mut Rng) {
        self.doing = "all queues backlogged, and one flushed";
        self.configured();
        let (longest, room) = (u64::from(self.set.longest), self.set.room);
        for flushed in 0..self.lanes.len() {
            for at in 0..self.lanes.len() {
                self.fill(at, || 1 + rng.below(longest) as u32);
            }
            for _ in 0..2 * room {
                self.flush(flushed);
                if let Some(at) = self.take() {
                    self.fill(at, || 1 + rng.below(longest) as u32);
                }
                self.fill(flushed, || 1 + rng.below(longest) as u32);
            }
            self.drain();
        }
    }

    /// Two schedulers of the same life: one gives batches, the other one packet at a time.
    pub(super) fn batches(mut self, mut singles: Self, rng: &mut Rng) {
        for trial in [&mut self, &mut singles] {
            trial.doing = "in batches";
            trial.configured();
        }
        let (lanes, longest) = (self.lanes.len() as u64, u64::from(self.set.longest));
        for _ in 0..256 {
            for _ in 0..rng.below(24) {
                let (at, octets) = (rng.below(lanes) as usize, 1 + rng.below(longest) as u32);
                if self.lanes[at].waiting.len() < self.set.room as usize {
                    self.offer(at, octets);
                    singles.offer(at, octets);
                }
            }
            let due = self.scheduler.next_due(self.now);
            self.now = due.filter(|_| rng.one_in(2)).unwrap_or(self.now) + Nanos(rng.below(longest));
            singles.now = self.now;
            self.batch(&mut singles, rng.below(34) as usize);
        }
        self.drain();
        singles.drain();
    }

    fn batch(&mut self, singles: &mut Self, size: usize) {
        let mut places = vec![None; size];
        let count = self.scheduler.dequeue_batch(self.now, &mut places);
        let departures: Vec<_> = places.into_iter().flatten().collect();
        assert_eq!(
            departures.len(),
            count,
            "wdrr_scheduler: dequeue_batch gives {} and says {count}",
            departures.len()
        );
        for departure in &departures {
            let single = singles.scheduler.dequeue(singles.now);
            assert_eq!(
                Some(*departure),
                single,
                "wdrr_scheduler: dequeue_batch gives other packets than dequeue"
            );
            singles.left(*departure);
            singles.account();
        }
        if count < size {
            let more = singles.depart();
            assert!(
                more.is_none(),
                "wdrr_scheduler: dequeue_batch gives {count} of {size}, and more are due"
            );
        }
        for departure in departures {
            self.left(departure);
        }
        self.account();
    }
}
