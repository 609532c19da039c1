//! A scheduler beside what it should hold, step by step.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use crate::exit::DropReason;
use crate::id::{QueueId, SliceId};
use crate::queue::{Arrival, Departure, QueueConfig, QueueStats, Verdict, WdrrScheduler};
use crate::time::Nanos;

use super::QueueSet;

/// A scheduler beside what it should hold.
pub(super) struct Trial<'a, S> {
    pub(super) scheduler: S,
    pub(super) set: QueueSet<'a>,
    pub(super) now: Nanos,
    pub(super) lanes: Vec<Lane>,
    /// For each pair of lanes: what the first sent, times the quantum of the second,
    /// less the reverse, while both had packets.
    gaps: Vec<Gap>,
    /// A queue was flushed meanwhile: who comes before whom in a round may have changed.
    reordered: bool,
    handles: u32,
    pub(super) doing: &'static str,
}

pub(super) struct Lane {
    pub(super) id: QueueId,
    scheduler: usize,
    pub(super) config: QueueConfig,
    /// 0 while it is not configured.
    pub(super) quantum: u64,
    pub(super) waiting: VecDeque<(u32, u32)>,
    pub(super) stats: QueueStats,
}

#[derive(Clone, Copy, Debug, Default)]
struct Gap {
    now: i128,
    lowest: i128,
    highest: i128,
}

impl<'a, S: WdrrScheduler<Handle = u32>> Trial<'a, S> {
    pub(super) fn new(scheduler: S, set: QueueSet<'a>) -> Self {
        let ids = set.schedulers.iter().enumerate();
        let ids = ids.flat_map(|(scheduler, queues)| queues.iter().map(move |id| (scheduler, *id)));
        let lanes: Vec<_> = ids
            .map(|(scheduler, id)| Lane {
                id,
                scheduler,
                config: QueueConfig::new(SliceId(1)),
                quantum: 0,
                waiting: VecDeque::new(),
                stats: QueueStats::default(),
            })
            .collect();
        assert!(!lanes.is_empty(), "wdrr_scheduler: no queue to check");
        let gaps = vec![Gap::default(); lanes.len() * lanes.len()];
        let now = Nanos::ZERO;
        Self { scheduler, set, now, lanes, gaps, reordered: false, handles: 0, doing: "at first" }
    }

    /// Configures all lanes with weights of one to four times the lowest.
    pub(super) fn configured(&mut self) {
        for at in 0..self.lanes.len() {
            let weight = self.weight(at as u64);
            let owner = SliceId(1 + at as u16);
            self.configure(at, QueueConfig { weight, ..QueueConfig::new(owner) });
        }
    }

    pub(super) fn weight(&self, n: u64) -> u32 {
        (self.set.weight * (1 + (n % 4) as u32)).min(QueueConfig::MAX_WEIGHT)
    }

    pub(super) fn configure(&mut self, at: usize, config: QueueConfig) {
        let (id, doing) = (self.lanes[at].id, self.doing);
        if let Err(error) = self.scheduler.configure(id, config) {
            panic!("wdrr_scheduler: {doing}: queue {id} was not configured: {error}");
        }
        let quantum = self.scheduler.quantum(id);
        assert!(quantum > 0, "wdrr_scheduler: {doing}: queue {id} is configured and has no quantum");
        let lane = &mut self.lanes[at];
        (lane.config, lane.quantum) = (config, quantum);
        for other in self.lanes.iter().filter(|other| other.quantum > 0) {
            let lane = &self.lanes[at];
            let (ours, theirs) = (u64::from(lane.config.weight), u64::from(other.config.weight));
            let off = (u128::from(quantum) * u128::from(theirs))
                .abs_diff(u128::from(other.quantum) * u128::from(ours));
            let same = lane.scheduler != other.scheduler || off < u128::from(ours + theirs);
            assert!(same, "wdrr_scheduler: the quanta of {id} and {} are not as their weights", other.id);
        }
        // Who is served when may change in a round.
        self.gaps.fill(Gap::default());
        self.reordered = false;
        self.account();
    }

    /// Offers a packet; true if it was taken.
    pub(super) fn offer(&mut self, at: usize, octets: u32) -> bool {
        let (handle, doing) = (self.handles, self.doing);
        self.handles += 1;
        let counted = u64::from(octets) + u64::from(self.set.overhead);
        let lane = &mut self.lanes[at];
        let id = lane.id;
        let filled = lane.waiting.len() as u64;
        let within = filled < u64::from(lane.config.limit_packets)
            && lane.stats.octets.saturating_add(counted) <= lane.config.limit_octets;
        self.scheduler.prefetch(id);
        let taken = match self.scheduler.enqueue(self.now, id, handle, Arrival::new(octets)) {
            Ok(()) => {
                assert!(within, "wdrr_scheduler: {doing}: queue {id} took a packet beyond its limits");
                lane.waiting.push_back((handle, octets));
                lane.stats.packets += 1;
                lane.stats.octets += counted;
                lane.stats.most_packets = lane.stats.most_packets.max(lane.stats.packets);
                true
            }
            Err(refused) => {
                assert_eq!(refused.handle, handle, "wdrr_scheduler: {doing}: gave back another packet");
                match refused.reason {
                    DropReason::QueuePolicy => {}
                    DropReason::QueueFull | DropReason::NoBuffer => assert!(
                        !within || filled >= u64::from(self.set.room),
                        "wdrr_scheduler: {doing}: queue {id} refused packet {filled} within its limits"
                    ),
                    reason => panic!("wdrr_scheduler: {doing}: queue {id} refused a packet: {reason}"),
                }
                false
            }
        };
        self.account();
        taken
    }

    /// What leaves now, as the number of its lane.
    pub(super) fn depart(&mut self) -> Option<usize> {
        let (now, doing) = (self.now, self.doing);
        let due = self.scheduler.next_due(now);
        let waiting = self.lanes.iter().any(|lane| !lane.waiting.is_empty());
        assert_eq!(
            due.is_some(),
            waiting,
            "wdrr_scheduler: {doing}: next_due is {due:?}, packets wait: {waiting}"
        );
        let Some(departure) = self.scheduler.dequeue(now) else {
            self.account();
            assert!(
                due.is_none_or(|due| due > now),
                "wdrr_scheduler: {doing}: not work conserving: packets wait, are due, and none leaves"
            );
            return None;
        };
        let doing = self.doing;
        assert!(
            due.is_some_and(|due| due <= now),
            "wdrr_scheduler: {doing}: a packet left at {now}, but next_due said {due:?}"
        );
        let at = self.left(departure);
        self.account();
        Some(at)
    }

    /// Holds a departure against what waits; the number of its lane. The accounts are the
    /// caller's to look at.
    pub(super) fn left(&mut self, departure: Departure<u32>) -> usize {
        let both: Vec<_> = self.lanes.iter().map(|lane| !lane.waiting.is_empty()).collect();
        let (at, counted) = self.out(departure);
        if !matches!(departure.verdict, Verdict::Drop(_)) {
            self.lanes[at].stats.out_packets += 1;
            self.lanes[at].stats.out_octets += counted;
            self.sent(at, counted, &both);
        }
        if self.lanes[at].waiting.is_empty() {
            self.begin(at);
        }
        at
    }

    /// The first packet of a queue, taken out of turn; whether there was one.
    pub(super) fn flush(&mut self, at: usize) -> bool {
        let (id, doing, waits) = (self.lanes[at].id, self.doing, !self.lanes[at].waiting.is_empty());
        let due = self.scheduler.next_due(self.now);
        let Some(departure) = self.scheduler.flush(id) else {
            assert!(!waits, "wdrr_scheduler: {doing}: packets wait in queue {id}, and flush gives none");
            self.account();
            return false;
        };
        assert_eq!(departure.queue, id, "wdrr_scheduler: {doing}: flush of queue {id} takes from another");
        let deleted = Verdict::Drop(DropReason::QueueDeleted);
        assert_eq!(departure.verdict, deleted, "wdrr_scheduler: {doing}: verdict of a flush of queue {id}");
        self.out(departure);
        if !self.lanes[at].waiting.is_empty() {
            let after = self.scheduler.next_due(self.now);
            assert_eq!(after, due, "wdrr_scheduler: {doing}: flush of queue {id} changes next_due");
        }
        // Nothing is owed to it, nor by it.
        self.begin(at);
        self.reordered = true;
        self.account();
        true
    }

    /// Takes a departure out of what waits: its lane, and what it counts.
    fn out(&mut self, departure: Departure<u32>) -> (usize, u64) {
        let (id, doing) = (departure.queue, self.doing);
        let at = self.lanes.iter().position(|lane| lane.id == id);
        let at =
            at.unwrap_or_else(|| panic!("wdrr_scheduler: {doing}: a packet of queue {id}, which has none"));
        let lane = &mut self.lanes[at];
        let Some((handle, octets)) = lane.waiting.pop_front() else {
            panic!("wdrr_scheduler: {doing}: queue {id} is empty, and packet {} leaves it", departure.handle)
        };
        assert_eq!(
            departure.handle, handle,
            "wdrr_scheduler: {doing}: not first in, first out, or a packet of queue {id} was lost"
        );
        assert_eq!(departure.octets, octets, "wdrr_scheduler: {doing}: octets of a departure of queue {id}");
        assert_eq!(departure.owner, lane.config.owner, "wdrr_scheduler: {doing}: owner of queue {id}");
        let counted = u64::from(octets) + u64::from(self.set.overhead);
        lane.stats.packets -= 1;
        lane.stats.octets -= counted;
        (at, counted)
    }

    /// The next packet, waiting for it if need be.
    pub(super) fn take(&mut self) -> Option<usize> {
        if let Some(at) = self.depart() {
            return Some(at);
        }
        let (now, doing) = (self.now, self.doing);
        let due = self.scheduler.next_due(now)?;
        // Halfway there, nothing may leave.
        self.now = Nanos(now.0 + (due.0 - now.0) / 2);
        if self.now > now {
            let early = self.scheduler.dequeue(self.now).is_some();
            assert!(!early, "wdrr_scheduler: {doing}: a packet left before next_due");
        }
        self.now = due;
        let at = self.depart();
        assert!(at.is_some(), "wdrr_scheduler: {doing}: next_due said {due}, and none left then");
        at
    }

    fn sent(&mut self, at: usize, octets: u64, both: &[bool]) {
        let (lanes, longest) = (&self.lanes, u64::from(self.set.longest) + u64::from(self.set.overhead));
        for other in 0..lanes.len() {
            if other == at || !both[other] || lanes[other].scheduler != lanes[at].scheduler {
                continue;
            }
            let (low, high) = (at.min(other), at.max(other));
            let gap = &mut self.gaps[low * lanes.len() + high];
            let more = i128::from(octets) * i128::from(lanes[other].quantum);
            gap.now += if at == low { more } else { -more };
            (gap.lowest, gap.highest) = (gap.lowest.min(gap.now), gap.highest.max(gap.now));
            let bound = bound(lanes[at].quantum, lanes[other].quantum, longest, self.reordered);
            assert!(
                gap.highest - gap.lowest < bound,
                "wdrr_scheduler: {}: unfair: queues {} and {} are {:.2} rounds apart, {:.2} are allowed",
                self.doing,
                lanes[low].id,
                lanes[high].id,
                (gap.highest - gap.lowest) as f64 / (lanes[at].quantum as f64 * lanes[other].quantum as f64),
                bound as f64 / (lanes[at].quantum as f64 * lanes[other].quantum as f64)
            );
        }
    }

    /// A new time of backlog begins for a lane.
    pub(super) fn begin(&mut self, at: usize) {
        for other in 0..self.lanes.len() {
            let (low, high) = (at.min(other), at.max(other));
            self.gaps[low * self.lanes.len() + high] = Gap::default();
        }
    }

    pub(super) fn account(&self) {
        for lane in &self.lanes {
            let (backlog, waiting) = (self.scheduler.backlog(lane.id), lane.waiting.len() as u32);
            let (id, doing) = (lane.id, self.doing);
            assert_eq!(backlog, waiting, "wdrr_scheduler: {doing}: backlog of queue {id}");
            let quantum = self.scheduler.quantum(id);
            assert_eq!(quantum, lane.quantum, "wdrr_scheduler: {doing}: quantum of queue {id}");
            let stats = self.scheduler.stats(id);
            assert_eq!(stats, lane.stats, "wdrr_scheduler: {doing}: stats of queue {id}");
        }
    }

    pub(super) fn drain(&mut self) {
        while self.take().is_some() {}
        let left = self.lanes.iter().map(|lane| lane.waiting.len()).sum::<usize>();
        assert_eq!(left, 0, "wdrr_scheduler: {}: packets stay for ever", self.doing);
    }

    pub(super) fn fill(&mut self, at: usize, mut octets: impl FnMut() -> u32) {
        // Bounded, for queues with a policy that refuses some.
        for _ in 0..8 * self.set.room {
            if self.lanes[at].waiting.len() >= self.set.room as usize {
                break;
            }
            self.offer(at, octets());
        }
    }
}

/// `1 + longest / a + longest / b` rounds, or one more, times both quanta: one more where the
/// order of the two in a round may change.
pub(super) fn bound(a: u64, b: u64, longest: u64, reordered: bool) -> i128 {
    let rounds = if reordered || a.min(b) < longest { 2 } else { 1 };
    let (a, b, longest) = (i128::from(a), i128::from(b), i128::from(longest));
    rounds * a * b + longest * (a + b)
}
