//! The kit of [`WdrrScheduler`].

use alloc::vec::Vec;

use crate::exit::DropReason;
use crate::id::{QueueId, SliceId};
use crate::queue::{Arrival, ConfigError, QueueConfig, QueueStats, WdrrScheduler};
use crate::time::Nanos;

use super::Rng;

mod trial;
mod upkeep;

use trial::{Trial, bound};

/// What the kit must know of a scheduler.
#[derive(Clone, Copy, Debug)]
pub struct QueueSet<'a> {
    /// Queues that the kit may use, a list for each scheduler inside: shares are owed
    /// within a list.
    pub schedulers: &'a [&'a [QueueId]],
    /// The lowest weight it takes. The kit uses up to four times as much.
    pub weight: u32,
    /// Octets of the longest packet it takes.
    pub longest: u32,
    /// Octets that it counts for each packet beyond those of its arrival.
    pub overhead: u32,
    /// Packets that each of the queues may hold while all others hold as many. Some
    /// rounds' worth, or what is unfair cannot be told.
    pub room: u32,
}

/// Checks a scheduler's order, shares, limits and accounts:
///
/// - first in, first out; what is refused is given back and changes nothing; nothing
///   is lost, made up, or sent twice; `backlog` is exact, and so is what a departure
///   says;
/// - work conserving: `dequeue` is `None` only if all queues are empty or until
///   `next_due`, which is then later than `now`, and true: nothing leaves before, and
///   something does then;
/// - queues that are backlogged together get what their [`quantum`] says, over every
///   span of such a time, within the bound of the contract; a quantum is proportional
///   to the weight;
/// - a queue that was idle, or nearly so, has saved no credit;
/// - limits hold in packets and in octets, and nothing within them is refused but by
///   policy;
/// - `stats` is exact at every step;
/// - `remove` takes empty queues only; what is removed is unknown, and may be configured anew
///   for another owner, with `stats` of 0;
/// - `flush` gives what waits in order, to be dropped, and costs no other queue its turn, its
///   credit or its time;
/// - `dequeue_batch` is so many times `dequeue`;
/// - `configure` under way keeps what waits, in order; weights of 0 and above 65,536 and
///   unknown queues are refused, with nothing changed.
///
/// `new` makes a scheduler with none of its queues configured, and without the queue
/// of number 2^32 - 1. They will belong to slices 1, 2 and so on, as many as there are queues,
/// but two at least.
///
/// ```
/// use fastpath::conformance::{self, QueueSet};
/// use fastpath::id::QueueId;
/// use fastpath::queue::{Descriptor, Line, Quantum, Queue, Wdrr, lines};
///
/// const QUANTUM: Quantum = Quantum::of_longest(1500);
/// const LINES: [Line; lines(3, QUANTUM)] = [Line::NEW; lines(3, QUANTUM)];
/// let new = || Wdrr::new([Queue::NEW; 3], [const { Descriptor::NEW }; 120], LINES, QUANTUM).unwrap();
/// let queues = [QueueId(0), QueueId(1), QueueId(2)];
/// let set = QueueSet { schedulers: &[&queues], weight: 1, longest: 1500, overhead: 0, room: 40 };
/// conformance::wdrr_scheduler(new, set, 2, 1);
/// ```
///
/// # Panics
///
/// At the first breach, or if `room` is too small to tell.
///
/// [`quantum`]: WdrrScheduler::quantum
pub fn wdrr_scheduler<S: WdrrScheduler<Handle = u32>>(
    mut new: impl FnMut() -> S, set: QueueSet<'_>, rounds: u32, seed: u64,
) {
    let mut rng = Rng::new(seed);
    let mut trial = || Trial::new(new(), set);
    trial().refuses_what_it_does_not_know();
    trial().refuses_bad_weights();
    trial().keeps_to_limits(&mut rng);
    trial().keeps_order_when_reconfigured(&mut rng);
    for alone in [true, false] {
        trial().saves_no_credit(alone);
    }
    trial().flushes(&mut rng);
    trial().removes(&mut rng);
    for _ in 0..rounds {
        trial().shares(&mut rng);
        trial().lives(&mut rng);
        trial().shares_beside_a_flush(&mut rng);
    }
    for _ in 0..rounds {
        let (batches, singles) = (Trial::new(new(), set), Trial::new(new(), set));
        batches.batches(singles, &mut rng);
    }
}

impl<S: WdrrScheduler<Handle = u32>> Trial<'_, S> {
    fn refuses_what_it_does_not_know(mut self) {
        self.doing = "before any queue is configured";
        self.account();
        assert!(self.depart().is_none());
        let nowhere = QueueId(u32::MAX);
        let ids: Vec<_> = self.lanes.iter().map(|lane| lane.id).chain([nowhere]).collect();
        for id in ids {
            let refused = self.scheduler.enqueue(self.now, id, 7, Arrival::new(64));
            let refused = refused.map_err(|refused| (refused.handle, refused.reason));
            let expected = Err((7, DropReason::UnknownQueue));
            assert_eq!(refused, expected, "wdrr_scheduler: a packet for queue {id}, which is not configured");
            self.is_unknown(id);
        }
        self.account();
        self.configured();
        self.doing = "of an unknown queue";
        self.offer(0, 1);
        let weight = self.set.weight;
        let config = QueueConfig { weight, ..QueueConfig::new(SliceId(1)) };
        let refused = self.scheduler.configure(nowhere, config);
        assert!(
            matches!(refused, Err(ConfigError::UnknownQueue { queue, .. }) if queue == nowhere),
            "wdrr_scheduler: an unknown queue was configured: {refused:?}"
        );
        let refused = self.scheduler.enqueue(self.now, nowhere, 7, Arrival::new(64));
        let refused = refused.map_err(|refused| (refused.handle, refused.reason));
        assert_eq!(refused, Err((7, DropReason::UnknownQueue)), "wdrr_scheduler: a packet for no queue");
        let nothing = (self.scheduler.backlog(nowhere), self.scheduler.quantum(nowhere));
        assert_eq!(nothing, (0, 0), "wdrr_scheduler: backlog and quantum of an unknown queue");
        let stats = self.scheduler.stats(nowhere);
        assert_eq!(stats, QueueStats::default(), "wdrr_scheduler: stats of an unknown queue");
        assert!(self.scheduler.flush(nowhere).is_none(), "wdrr_scheduler: a packet from no queue");
        self.is_unknown(nowhere);
        self.account();
        self.drain();
    }

    fn refuses_bad_weights(mut self) {
        self.configured();
        self.doing = "after a weight that is refused";
        for at in 0..self.lanes.len() {
            self.offer(at, 1);
            for weight in [0, QueueConfig::MAX_WEIGHT + 1, u32::MAX] {
                // The rest of the configuration must not come into force either.
                let lane = &self.lanes[at];
                let config = QueueConfig { weight, limit_packets: 0, limit_octets: 0, ..lane.config };
                let refused = self.scheduler.configure(lane.id, config);
                let expected = Err(ConfigError::Weight(weight));
                assert_eq!(refused, expected, "wdrr_scheduler: weight {weight} for queue {}", lane.id);
                self.account();
                self.offer(at, 1);
            }
        }
        self.drain();
    }

    fn keeps_to_limits(mut self, rng: &mut Rng) {
        self.doing = "at its limits";
        self.configured();
        let (longest, room) = (self.set.longest, self.set.room);
        for at in 0..self.lanes.len() {
            for limit in [0, 1, room.min(5)] {
                self.configure(at, QueueConfig { limit_packets: limit, ..self.lanes[at].config });
                for _ in 0..2 * limit + 2 {
                    self.offer(at, 1 + rng.below(longest.into()) as u32);
                }
                self.drain();
            }
            let counted = u64::from(longest) + u64::from(self.set.overhead);
            for limit in [0, counted - 1, counted, counted * 3 + 1] {
                let unlimited = QueueConfig { limit_packets: u32::MAX, ..self.lanes[at].config };
                self.configure(at, QueueConfig { limit_octets: limit, ..unlimited });
                for _ in 0..8 {
                    self.offer(at, longest);
                    self.offer(at, 1 + rng.below(longest.into()) as u32);
                }
                self.take();
                self.offer(at, longest);
                self.offer(at, 1);
                self.drain();
            }
            let owner = self.lanes[at].config.owner;
            self.configure(at, QueueConfig { weight: self.set.weight, ..QueueConfig::new(owner) });
        }
    }

    fn keeps_order_when_reconfigured(mut self, rng: &mut Rng) {
        self.doing = "reconfigured under way";
        self.configured();
        let longest = u64::from(self.set.longest);
        for round in 0..8 {
            for at in 0..self.lanes.len() {
                self.fill(at, || 1 + rng.below(longest) as u32);
            }
            for _ in 0..self.lanes.len() as u32 * self.set.room / 2 {
                self.take();
                let at = rng.below(self.lanes.len() as u64) as usize;
                let weight = self.weight(rng.bits());
                // Fewer than wait: those that wait stay.
                let limit_packets = if round % 2 == 0 { u32::MAX } else { 1 };
                self.configure(at, QueueConfig { weight, limit_packets, ..self.lanes[at].config });
                self.offer(at, 1);
            }
            self.drain();
            (0..self.lanes.len()).for_each(|at| {
                self.configure(at, QueueConfig { limit_packets: u32::MAX, ..self.lanes[at].config });
            });
        }
    }

    /// A queue that keeps running empty, alone or beside others that don't, gets no
    /// more than its share once it is backlogged.
    fn saves_no_credit(mut self, alone: bool) {
        self.doing = "an idle queue saves no credit";
        self.configured();
        let (longest, room) = (self.set.longest, self.set.room);
        for at in 0..self.lanes.len() {
            let others: Vec<_> = (0..self.lanes.len()).filter(|other| *other != at).collect();
            for _ in 0..64 {
                if !alone {
                    others.iter().for_each(|other| self.fill(*other, || longest));
                }
                if self.offer(at, 1) {
                    while self.take().is_some_and(|left| left != at) {}
                }
            }
            self.fill(at, || longest);
            others.iter().for_each(|other| self.fill(*other, || longest));
            for _ in 0..room {
                if self.take() == Some(at) {
                    self.fill(at, || longest);
                }
            }
            self.drain();
        }
    }

    /// All queues backlogged, for many rounds, with packets of all sizes.
    fn shares(mut self, rng: &mut Rng) {
        self.doing = "all queues backlogged";
        self.configured();
        let (longest, room) = (u64::from(self.set.longest), self.set.room);
        let counted = longest + u64::from(self.set.overhead);
        for (lane, other) in self.lanes.iter().flat_map(|a| self.lanes.iter().map(move |b| (a, b))) {
            let allowed = bound(lane.quantum, other.quantum, counted, true) / i128::from(other.quantum);
            assert!(
                allowed <= i128::from(counted) * i128::from(room),
                "wdrr_scheduler: {room} packets a queue are too few to tell fair from unfair: {allowed} octets are \
                 allowed"
            );
        }
        // Each queue has a size of its own that it prefers.
        let mut size = |at: usize| match (at + rng.below(4) as usize) % 4 {
            0 => longest as u32,
            1 => 1 + rng.below(longest / 8 + 1).min(longest - 1) as u32,
            _ => 1 + rng.below(longest) as u32,
        };
        for at in 0..self.lanes.len() {
            self.fill(at, || size(at));
        }
        for _ in 0..16 * room * self.lanes.len() as u32 {
            let Some(at) = self.take() else { break };
            self.fill(at, || size(at));
        }
        self.drain();
    }

    /// Everything at once, in random order.
    fn lives(mut self, rng: &mut Rng) {
        self.doing = "in random use";
        self.configured();
        let (lanes, longest) = (self.lanes.len() as u64, u64::from(self.set.longest));
        for step in 0..4096 {
            let at = rng.below(lanes) as usize;
            // Now more comes than goes, now less.
            let busy = if step / 512 % 2 == 0 { 10 } else { 4 };
            match rng.below(16) {
                n if n < busy => {
                    if self.lanes[at].waiting.len() < self.set.room as usize {
                        self.offer(at, 1 + rng.below(longest) as u32);
                    }
                }
                15 if rng.one_in(8) => {
                    let weight = self.weight(rng.bits());
                    let limit_packets = if rng.one_in(2) { u32::MAX } else { rng.below(8) as u32 };
                    let limit_octets = if rng.one_in(2) { u64::MAX } else { rng.below(8 * longest) };
                    self.configure(
                        at,
                        QueueConfig { weight, limit_packets, limit_octets, ..self.lanes[at].config },
                    );
                }
                14 => self.now += Nanos(rng.below(longest)),
                13 => {
                    self.depart();
                }
                12 if rng.one_in(4) => {
                    self.flush(at);
                }
                _ => {
                    self.take();
                }
            }
        }
        self.drain();
    }
}
