//! The kit of [`WdrrScheduler`].

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use crate::exit::DropReason;
use crate::id::{QueueId, SliceId};
use crate::queue::{Arrival, ConfigError, QueueConfig, Verdict, WdrrScheduler};
use crate::time::Nanos;

use super::Rng;

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
/// - `configure` under way keeps what waits, in order; weights of 0 and above 65,536 and
///   unknown queues are refused, with nothing changed.
///
/// `new` makes a scheduler with none of its queues configured, and without the queue
/// of number 2^32 - 1.
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
    for _ in 0..rounds {
        trial().shares(&mut rng);
        trial().lives(&mut rng);
    }
}

/// A scheduler beside what it should hold.
struct Trial<'a, S> {
    scheduler: S,
    set: QueueSet<'a>,
    now: Nanos,
    lanes: Vec<Lane>,
    /// For each pair of lanes: what the first sent, times the quantum of the second,
    /// less the reverse, while both had packets.
    gaps: Vec<Gap>,
    handles: u32,
    doing: &'static str,
}

struct Lane {
    id: QueueId,
    scheduler: usize,
    config: QueueConfig,
    quantum: u64,
    waiting: VecDeque<(u32, u32)>,
    octets: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Gap {
    now: i128,
    lowest: i128,
    highest: i128,
}

impl<'a, S: WdrrScheduler<Handle = u32>> Trial<'a, S> {
    fn new(scheduler: S, set: QueueSet<'a>) -> Self {
        let ids = set.schedulers.iter().enumerate();
        let ids = ids.flat_map(|(scheduler, queues)| queues.iter().map(move |id| (scheduler, *id)));
        let lanes: Vec<_> = ids
            .map(|(scheduler, id)| Lane {
                id,
                scheduler,
                config: QueueConfig::new(SliceId(1)),
                quantum: 0,
                waiting: VecDeque::new(),
                octets: 0,
            })
            .collect();
        assert!(!lanes.is_empty(), "wdrr_scheduler: no queue to check");
        let gaps = vec![Gap::default(); lanes.len() * lanes.len()];
        Self { scheduler, set, now: Nanos::ZERO, lanes, gaps, handles: 0, doing: "at first" }
    }

    /// Configures all lanes with weights of one to four times the lowest.
    fn configured(&mut self) {
        for at in 0..self.lanes.len() {
            let weight = self.weight(at as u64);
            let owner = SliceId(1 + at as u16);
            self.configure(at, QueueConfig { weight, ..QueueConfig::new(owner) });
        }
    }

    fn weight(&self, n: u64) -> u32 {
        (self.set.weight * (1 + (n % 4) as u32)).min(QueueConfig::MAX_WEIGHT)
    }

    fn configure(&mut self, at: usize, config: QueueConfig) {
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
        self.account();
    }

    /// Offers a packet; true if it was taken.
    fn offer(&mut self, at: usize, octets: u32) -> bool {
        let (handle, doing) = (self.handles, self.doing);
        self.handles += 1;
        let counted = u64::from(octets) + u64::from(self.set.overhead);
        let lane = &mut self.lanes[at];
        let id = lane.id;
        let filled = lane.waiting.len() as u64;
        let within = filled < u64::from(lane.config.limit_packets)
            && lane.octets.saturating_add(counted) <= lane.config.limit_octets;
        self.scheduler.prefetch(id);
        let taken = match self.scheduler.enqueue(self.now, id, handle, Arrival::new(octets)) {
            Ok(()) => {
                assert!(within, "wdrr_scheduler: {doing}: queue {id} took a packet beyond its limits");
                lane.waiting.push_back((handle, octets));
                lane.octets += counted;
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
    fn depart(&mut self) -> Option<usize> {
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
        let id = departure.queue;
        let at = self.lanes.iter().position(|lane| lane.id == id);
        let at =
            at.unwrap_or_else(|| panic!("wdrr_scheduler: {doing}: a packet of queue {id}, which has none"));
        let both: Vec<_> = self.lanes.iter().map(|lane| !lane.waiting.is_empty()).collect();
        let lane = &mut self.lanes[at];
        let first = lane.waiting.pop_front();
        let Some((handle, octets)) = first else {
            panic!("wdrr_scheduler: {doing}: queue {id} is empty, and packet {} leaves it", departure.handle)
        };
        assert_eq!(
            departure.handle, handle,
            "wdrr_scheduler: {doing}: not first in, first out, or a packet of queue {id} was lost"
        );
        assert_eq!(departure.octets, octets, "wdrr_scheduler: {doing}: octets of a departure of queue {id}");
        assert_eq!(departure.owner, lane.config.owner, "wdrr_scheduler: {doing}: owner of queue {id}");
        assert!(
            due.is_some_and(|due| due <= now),
            "wdrr_scheduler: {doing}: a packet left at {now}, but next_due said {due:?}"
        );
        let counted = u64::from(octets) + u64::from(self.set.overhead);
        lane.octets -= counted;
        if !matches!(departure.verdict, Verdict::Drop(_)) {
            self.sent(at, counted, &both);
        }
        if self.lanes[at].waiting.is_empty() {
            self.begin(at);
        }
        self.account();
        Some(at)
    }

    /// The next packet, waiting for it if need be.
    fn take(&mut self) -> Option<usize> {
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
            let bound = bound(lanes[at].quantum, lanes[other].quantum, longest);
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
    fn begin(&mut self, at: usize) {
        for other in 0..self.lanes.len() {
            let (low, high) = (at.min(other), at.max(other));
            self.gaps[low * self.lanes.len() + high] = Gap::default();
        }
    }

    fn account(&self) {
        for lane in &self.lanes {
            let (backlog, waiting) = (self.scheduler.backlog(lane.id), lane.waiting.len() as u32);
            let (id, doing) = (lane.id, self.doing);
            assert_eq!(backlog, waiting, "wdrr_scheduler: {doing}: backlog of queue {id}");
            let quantum = self.scheduler.quantum(id);
            assert_eq!(quantum, lane.quantum, "wdrr_scheduler: {doing}: quantum of queue {id}");
        }
    }

    fn drain(&mut self) {
        while self.take().is_some() {}
        let left = self.lanes.iter().map(|lane| lane.waiting.len()).sum::<usize>();
        assert_eq!(left, 0, "wdrr_scheduler: {}: packets stay for ever", self.doing);
    }

    fn fill(&mut self, at: usize, mut octets: impl FnMut() -> u32) {
        // Bounded, for queues with a policy that refuses some.
        for _ in 0..8 * self.set.room {
            if self.lanes[at].waiting.len() >= self.set.room as usize {
                break;
            }
            self.offer(at, octets());
        }
    }

    fn refuses_what_it_does_not_know(mut self) {
        self.doing = "before any queue is configured";
        self.account();
        assert!(self.depart().is_none());
        let nowhere = QueueId(u32::MAX);
        for id in self.lanes.iter().map(|lane| lane.id).chain([nowhere]) {
            let refused = self.scheduler.enqueue(self.now, id, 7, Arrival::new(64));
            let refused = refused.map_err(|refused| (refused.handle, refused.reason));
            let expected = Err((7, DropReason::UnknownQueue));
            assert_eq!(refused, expected, "wdrr_scheduler: a packet for queue {id}, which is not configured");
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
            let allowed = bound(lane.quantum, other.quantum, counted) / i128::from(other.quantum);
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
                _ => {
                    self.take();
                }
            }
        }
        self.drain();
    }
}

/// `1 + longest / a + longest / b` rounds, or one more, times both quanta.
fn bound(a: u64, b: u64, longest: u64) -> i128 {
    let rounds = if a.min(b) < longest { 2 } else { 1 };
    let (a, b, longest) = (i128::from(a), i128::from(b), i128::from(longest));
    rounds * a * b + longest * (a + b)
}
