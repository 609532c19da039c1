//! Deficit round robin with weights, over lists of descriptors from one pool.
//!
//! M. Shreedhar, G. Varghese, "Efficient Fair Queuing Using Deficit Round-Robin",
//! IEEE/ACM Trans. Networking 4(3), 1996. Enqueue and dequeue are O(1): every queue
//! earns at least the longest packet a round, which `configure` sees to, so that no
//! turn passes without a departure.

use crate::arch::prefetch;
use crate::exit::DropReason;
use crate::id::{QueueId, SliceId};
use crate::queue::{Arrival, ConfigError, Departure, QueueConfig, Rejected, Verdict, WdrrScheduler};
use crate::store::Store;
use crate::time::Nanos;

const NONE: u32 = u32::MAX;

/// Weighted deficit round robin.
///
/// A queue costs 64 octets and a waiting packet one descriptor, so that a hundred
/// thousand queues may share what a few could fill. Queues that hold packets form a
/// ring, in the order of the round; no other is ever looked at.
///
/// `Q` holds [`Queue`]s and `D` [`Descriptor`]s: arrays, lent slices, boxed slices.
#[derive(Debug)]
pub struct Wdrr<Q, D> {
    queues: Q,
    pool: D,
    /// Descriptors that hold nothing.
    free: u32,
    /// Whose turn it is, and who is last in the round.
    turn: u32,
    last: u32,
    /// Whether `turn` has had its quantum.
    credited: bool,
    /// Octets that a weight of 1 earns a round.
    unit: u32,
    /// Octets of the longest packet.
    longest: u32,
}

/// The state of one queue, in a cache line.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct Queue {
    head: u32,
    tail: u32,
    packets: u32,
    limit_packets: u32,
    /// Octets a round; 0 if the queue is not configured.
    quantum: u32,
    deficit: u32,
    octets: u64,
    limit_octets: u64,
    /// Who follows in the round.
    next: u32,
    owner: SliceId,
}

impl Queue {
    /// A queue that is not configured.
    pub const NEW: Self = Self {
        head: NONE,
        tail: NONE,
        packets: 0,
        limit_packets: 0,
        quantum: 0,
        deficit: 0,
        octets: 0,
        limit_octets: 0,
        next: NONE,
        owner: SliceId::SUBSTRATE,
    };
}

/// A waiting packet.
#[derive(Clone, Debug)]
pub struct Descriptor<H> {
    handle: Option<H>,
    octets: u32,
    next: u32,
}

impl<H> Descriptor<H> {
    /// Holds nothing.
    pub const NEW: Self = Self { handle: None, octets: 0, next: NONE };
}

impl<H, Q, D> Wdrr<Q, D>
where
    Q: Store<Item = Queue>,
    D: Store<Item = Descriptor<H>>,
{
    /// No queue configured, in memory that holds nothing. A weight of 1 earns `unit`
    /// octets a round; packets have up to `longest` octets.
    ///
    /// The smaller the units, the shorter a round; the smallest weight in use times
    /// `unit` must be at least `longest`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Quantum`] if even the highest weight would earn less than
    /// `longest`, or more, with `longest` on top, than 32 bits hold.
    pub fn new(mut queues: Q, mut pool: D, unit: u32, longest: u32) -> Result<Self, ConfigError> {
        let highest = u64::from(QueueConfig::MAX_WEIGHT) * u64::from(unit);
        // A deficit is what one round leaves, less than `longest`, and one quantum.
        if highest < u64::from(longest) || highest + u64::from(longest) > u64::from(u32::MAX) {
            return Err(ConfigError::Quantum { weight: QueueConfig::MAX_WEIGHT, quantum: highest, longest });
        }
        queues.items_mut().fill(Queue::NEW);
        let mut free = NONE;
        for (descriptor, at) in pool.items_mut().iter_mut().zip(0..NONE).rev() {
            descriptor.next = core::mem::replace(&mut free, at);
        }
        Ok(Self { queues, pool, free, turn: NONE, last: NONE, credited: false, unit, longest })
    }

    /// Queues, configured or not.
    pub fn queues(&self) -> usize {
        self.queues.items().len()
    }

    /// The packets that wait, in no order, with their queues: to account for them.
    pub fn waiting(&self) -> u64 {
        self.queues.items().iter().map(|queue| u64::from(queue.packets)).sum()
    }

    /// Octets waiting in `queue`.
    pub fn backlog_octets(&self, queue: QueueId) -> u64 {
        self.queues.items().get(queue.0 as usize).map_or(0, |queue| queue.octets)
    }

    #[cold]
    #[inline(never)]
    fn refusal(&self, id: QueueId, octets: u32) -> DropReason {
        match self.queues.items().get(id.0 as usize) {
            Some(queue) if queue.quantum > 0 && octets > self.longest => DropReason::TooLong,
            Some(queue) if queue.quantum > 0 => DropReason::QueueFull,
            _ => DropReason::UnknownQueue,
        }
    }
}

impl<H, Q, D> WdrrScheduler for Wdrr<Q, D>
where
    Q: Store<Item = Queue>,
    D: Store<Item = Descriptor<H>>,
{
    type Handle = H;

    fn configure(&mut self, id: QueueId, config: QueueConfig) -> Result<(), ConfigError> {
        let weight = config.weight;
        if weight == 0 || weight > QueueConfig::MAX_WEIGHT {
            return Err(ConfigError::Weight(weight));
        }
        let quantum = u64::from(weight) * u64::from(self.unit);
        if quantum < u64::from(self.longest) {
            return Err(ConfigError::Quantum { weight, quantum, longest: self.longest });
        }
        let queues = self.queues.items_mut();
        let count = queues.len();
        let queue = queues.get_mut(id.0 as usize);
        let queue = queue.ok_or(ConfigError::UnknownQueue { queue: id, queues: count })?;
        if queue.packets > 0 && queue.owner != config.owner {
            return Err(ConfigError::Owner(queue.owner));
        }
        // `new` saw that the highest quantum fits.
        queue.quantum = quantum as u32;
        queue.owner = config.owner;
        (queue.limit_packets, queue.limit_octets) = (config.limit_packets, config.limit_octets);
        // A queue in mid-round keeps no more than a round's worth.
        queue.deficit = queue.deficit.min(queue.quantum.saturating_add(self.longest));
        Ok(())
    }

    #[inline(always)]
    fn enqueue(&mut self, _: Nanos, id: QueueId, handle: H, arrival: Arrival) -> Result<(), Rejected<H>> {
        let octets = arrival.octets;
        let longest = self.longest;
        let (queues, pool) = (self.queues.items_mut(), self.pool.items_mut());
        let at = self.free;
        let queue = queues.get_mut(id.0 as usize).filter(|queue| {
            let filled = queue.octets + u64::from(octets);
            queue.packets < queue.limit_packets && filled <= queue.limit_octets && octets <= longest
        });
        let (Some(queue), Some(descriptor)) = (queue, pool.get_mut(at as usize)) else {
            return Err(Rejected { handle, reason: self.refusal(id, octets) });
        };
        self.free = descriptor.next;
        (descriptor.handle, descriptor.octets) = (Some(handle), octets);
        queue.packets += 1;
        queue.octets += u64::from(octets);
        let tail = core::mem::replace(&mut queue.tail, at);
        if queue.packets > 1 {
            if let Some(tail) = pool.get_mut(tail as usize) {
                tail.next = at;
            }
            return Ok(());
        }
        queue.head = at;
        let last = core::mem::replace(&mut self.last, id.0);
        match queues.get_mut(last as usize) {
            Some(last) if self.turn != NONE => last.next = id.0,
            _ => self.turn = id.0,
        }
        Ok(())
    }

    #[inline(always)]
    fn dequeue(&mut self, _: Nanos) -> Option<Departure<H>> {
        let (queues, pool) = (self.queues.items_mut(), self.pool.items_mut());
        // Twice round a queue at most: what it has left, or its new quantum, will do.
        loop {
            let turn = self.turn;
            let queue = queues.get_mut(turn as usize)?;
            let descriptor = pool.get_mut(queue.head as usize)?;
            if !self.credited {
                queue.deficit += queue.quantum;
                self.credited = true;
            }
            let octets = descriptor.octets;
            if let Some(deficit) = queue.deficit.checked_sub(octets) {
                queue.deficit = deficit;
                let next = core::mem::replace(&mut descriptor.next, self.free);
                self.free = core::mem::replace(&mut queue.head, next);
                queue.packets -= 1;
                queue.octets -= u64::from(octets);
                let owner = queue.owner;
                if queue.packets == 0 {
                    // An idle queue saves no credit and has no turn.
                    queue.deficit = 0;
                    self.credited = false;
                    self.turn = core::mem::replace(&mut queue.next, NONE);
                }
                let handle = descriptor.handle.take()?;
                let verdict = Verdict::Send;
                return Some(Departure { handle, octets, queue: QueueId(turn), owner, verdict });
            }
            self.credited = false;
            if queue.next != NONE {
                self.turn = core::mem::replace(&mut queue.next, NONE);
                let last = core::mem::replace(&mut self.last, turn);
                queues.get_mut(last as usize)?.next = turn;
            }
        }
    }

    fn backlog(&self, queue: QueueId) -> u32 {
        self.queues.items().get(queue.0 as usize).map_or(0, |queue| queue.packets)
    }

    fn quantum(&self, queue: QueueId) -> u64 {
        self.queues.items().get(queue.0 as usize).map_or(0, |queue| u64::from(queue.quantum))
    }

    fn next_due(&self, now: Nanos) -> Option<Nanos> {
        (self.turn != NONE).then_some(now)
    }

    #[inline(always)]
    fn prefetch(&self, queue: QueueId) {
        if let Some(queue) = self.queues.items().get(queue.0 as usize) {
            prefetch(queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::vec::Vec;

    fn wdrr() -> Wdrr<[Queue; 4], [Descriptor<u32>; 16]> {
        let mut wdrr = Wdrr::new([Queue::NEW; 4], [const { Descriptor::NEW }; 16], 100, 300).unwrap();
        for (queue, weight) in [3, 6, 9].into_iter().enumerate() {
            let config = QueueConfig { weight, ..QueueConfig::new(SliceId(1)) };
            wdrr.configure(QueueId(queue as u32), config).unwrap();
        }
        wdrr
    }

    /// The algorithm of the paper, word for word, with a list of active queues.
    struct Model {
        queues: [VecDeque<(u32, u32)>; 4],
        quantum: [u32; 4],
        deficit: [u32; 4],
        active: VecDeque<usize>,
        in_turn: bool,
    }

    impl Model {
        fn enqueue(&mut self, queue: usize, handle: u32, octets: u32) {
            if self.queues[queue].is_empty() {
                self.active.push_back(queue);
            }
            self.queues[queue].push_back((handle, octets));
        }

        fn dequeue(&mut self) -> Option<(usize, u32, u32)> {
            loop {
                let queue = *self.active.front()?;
                if !self.in_turn {
                    self.deficit[queue] += self.quantum[queue];
                    self.in_turn = true;
                }
                let (handle, octets) = *self.queues[queue].front()?;
                if octets <= self.deficit[queue] {
                    self.deficit[queue] -= octets;
                    self.queues[queue].pop_front();
                    if self.queues[queue].is_empty() {
                        self.deficit[queue] = 0;
                        self.active.pop_front();
                        self.in_turn = false;
                    }
                    return Some((queue, handle, octets));
                }
                self.active.rotate_left(1);
                self.in_turn = false;
            }
        }
    }

    proptest! {
        #[test]
        fn departures_are_those_of_the_algorithm_as_published(
            history in prop::collection::vec((any::<bool>(), 0u32..4, 1u32..320), 1..300),
        ) {
            let mut wdrr = wdrr();
            let mut model = Model {
                queues: Default::default(), quantum: [300, 600, 900, 0], deficit: [0; 4],
                active: VecDeque::new(), in_turn: false,
            };
            let mut waiting = 0;
            for (handle, (enqueue, queue, octets)) in (0..).zip(history) {
                if enqueue {
                    let refused = wdrr.enqueue(Nanos::ZERO, QueueId(queue), handle, Arrival::new(octets)).err();
                    let expected = match queue {
                        3 => Some(DropReason::UnknownQueue),
                        _ if octets > 300 => Some(DropReason::TooLong),
                        _ if waiting == 16 => Some(DropReason::QueueFull),
                        _ => None,
                    };
                    prop_assert_eq!(refused, expected.map(|reason| Rejected { handle, reason }));
                    if expected.is_none() {
                        model.enqueue(queue as usize, handle, octets);
                        waiting += 1;
                    }
                } else {
                    let departure = wdrr.dequeue(Nanos::ZERO);
                    let expected = model.dequeue();
                    waiting -= u32::from(expected.is_some());
                    prop_assert_eq!(departure.map(|d| (d.queue.0 as usize, d.handle, d.octets)), expected);
                }
                let backlogs: Vec<u32> = (0..4).map(|queue| wdrr.backlog(QueueId(queue))).collect();
                let expected: Vec<u32> = model.queues.iter().map(|queue| queue.len() as u32).collect();
                prop_assert_eq!(backlogs, expected);
                prop_assert_eq!((wdrr.waiting(), wdrr.next_due(Nanos(7)).is_some()), (waiting.into(), waiting > 0));
            }
        }
    }

    #[test]
    fn limits_count_packets_and_octets() {
        let mut wdrr = wdrr();
        let limited =
            QueueConfig { weight: 3, limit_packets: 2, limit_octets: 350, ..QueueConfig::new(SliceId(1)) };
        wdrr.configure(QueueId(0), limited).unwrap();
        let mut put = |octets| wdrr.enqueue(Nanos::ZERO, QueueId(0), 0, Arrival::new(octets)).is_ok();
        assert_eq!([put(200), put(151), put(150), put(0)], [true, false, true, false]);
        assert_eq!(wdrr.backlog_octets(QueueId(0)), 350);
    }

    #[test]
    fn bad_configurations_change_nothing() {
        let mut wdrr = wdrr();
        let config = QueueConfig::new(SliceId(1));
        let with = |weight| QueueConfig { weight, ..config };
        let queue = QueueId(1);
        wdrr.enqueue(Nanos::ZERO, queue, 7, Arrival::new(10)).unwrap();
        assert_eq!(wdrr.configure(queue, with(0)), Err(ConfigError::Weight(0)));
        assert_eq!(wdrr.configure(queue, with(65_537)), Err(ConfigError::Weight(65_537)));
        let small = ConfigError::Quantum { weight: 2, quantum: 200, longest: 300 };
        assert_eq!(wdrr.configure(queue, with(2)), Err(small));
        let unknown = ConfigError::UnknownQueue { queue: QueueId(4), queues: 4 };
        assert_eq!(wdrr.configure(QueueId(4), with(3)), Err(unknown));
        let foreign = QueueConfig { owner: SliceId(2), ..with(3) };
        assert_eq!(wdrr.configure(queue, foreign), Err(ConfigError::Owner(SliceId(1))));
        assert_eq!((wdrr.quantum(queue), wdrr.backlog(queue)), (600, 1));
        let units = [(0, 1), (65_535, 65_536), (65_536, 1)];
        for (unit, longest) in units {
            assert!(Wdrr::new([Queue::NEW; 1], [const { Descriptor::<u8>::NEW }; 1], unit, longest).is_err());
        }
        assert!(Wdrr::new([Queue::NEW; 1], [const { Descriptor::<u8>::NEW }; 1], 65_535, 65_535).is_ok());
    }
}
