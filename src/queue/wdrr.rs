//! Deficit round robin with weights, over lists of descriptors from one pool.
//!
//! M. Shreedhar, G. Varghese, "Efficient Fair Queuing Using Deficit Round-Robin",
//! IEEE/ACM Trans. Networking 4(3), 1996, with the rounds of [`super::rounds`]: O(1) also
//! where a queue earns far less in a round than its packets are long.

use crate::id::{QueueId, SliceId};
use crate::queue::fifos::{Descriptor, Fifos, MOST_OCTETS, NONE, Queue, Reserve};
use crate::queue::policy::{DropPolicy, TailDrop};
use crate::queue::rounds::{Line, Lines, Ring, block_lines, ring_lines, rounds};
use crate::queue::{
    Arrival, ConfigError, Departure, QueueConfig, QueueStats, Rejected, Verdict, WdrrScheduler,
};
use crate::store::Store;
use crate::time::Nanos;

/// Weighted deficit round robin.
///
/// A queue costs 64 octets and a waiting packet one descriptor, so that a hundred
/// thousand queues may share what a few could fill. Only queues that hold packets are ever
/// looked at, and each of them only when it has earned its first packet.
///
/// A weight of 1 earns `unit` octets a round. The smaller the unit, the shorter a round, and
/// the sooner a queue is served again; the larger, the more packets leave in one turn, which
/// costs less. A unit may be as small as a 4,095th of the longest packet.
///
/// `Q` holds [`Queue`]s, `D` [`Descriptor`]s, `L` [`Line`]s, of which [`lines`] says how many:
/// arrays, lent slices, boxed slices. [`reserving`](Self::reserving) adds `A`, what slices have
/// for themselves of the descriptors, and [`with_policy`](Self::with_policy) a [`DropPolicy`].
///
/// Cost: a packet touches its queue's line and its descriptor on the way in and on the way
/// out, and on the way in the descriptor before it. [`dequeue_batch`] fetches ahead.
///
/// [`dequeue_batch`]: WdrrScheduler::dequeue_batch
#[derive(Clone, Debug)]
pub struct Wdrr<Q, D, L, A = [Reserve; 0], P = TailDrop> {
    fifos: Fifos<Q, D, A, P>,
    lines: L,
    /// The first free line.
    free: u32,
    ring: Ring,
    /// Whose turn it is: a queue that can send its first packet, and is in no list.
    turn: u32,
    /// Octets that a weight of 1 earns a round.
    unit: u32,
}

/// A scheduler that has its memory to itself.
#[cfg(feature = "alloc")]
pub type BoxedWdrr<H, P = TailDrop> = Wdrr<
    alloc::boxed::Box<[Queue]>,
    alloc::boxed::Box<[Descriptor<H>]>,
    alloc::boxed::Box<[Line]>,
    alloc::boxed::Box<[Reserve]>,
    P,
>;

/// What a round is made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quantum {
    /// Octets that a weight of 1 earns a round: 1 to 65,535.
    pub unit: u32,
    /// Octets of the longest packet, up to 2^28 - 1.
    pub longest: u32,
}

impl Quantum {
    /// A round in which a weight of 1 earns the longest packet: no queue waits for more than
    /// one round, and none has to be put far ahead.
    pub const fn of_longest(longest: u32) -> Self {
        Self { unit: longest, longest }
    }

    /// The rounds that a scheduler must tell apart.
    pub(super) const fn rounds(self) -> Result<u32, ConfigError> {
        let Self { unit, longest } = self;
        // A deficit is what is left for a packet, and what a round earns.
        let highest = QueueConfig::MAX_WEIGHT as u64 * unit as u64 + longest as u64;
        match rounds(unit, longest) {
            Some(rounds) if highest <= u32::MAX as u64 && longest <= MOST_OCTETS => Ok(rounds),
            _ => Err(ConfigError::Unit { unit, longest }),
        }
    }
}

/// Lines that a scheduler of so many queues needs for its rounds; 0 if it does not take the
/// quantum.
pub const fn lines(queues: usize, quantum: Quantum) -> usize {
    match quantum.rounds() {
        Ok(rounds) => ring_lines(rounds) + block_lines(queues, 1, rounds),
        Err(_) => 0,
    }
}

/// The memory of a scheduler: arrays, lent slices or boxed slices, whatever they hold.
#[derive(Clone, Debug)]
pub struct Memory<Q, D, L, A> {
    /// [`Queue`]s, as many as there are to be.
    pub queues: Q,
    /// [`Descriptor`]s, for as many packets as may wait.
    pub descriptors: D,
    /// [`Line`]s, as many as [`lines`] says.
    pub lines: L,
    /// A [`Reserve`] for each slice that is to own a queue; none where all share.
    pub reserves: A,
}

impl<H, Q, D, L> Wdrr<Q, D, L>
where
    Q: Store<Item = Queue>,
    D: Store<Item = Descriptor<H>>,
    L: Store<Item = Line>,
{
    /// No queue configured, no reserves, no policy but limits. What the memory holds is void.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unit`] if the unit is 0 or less than a 4,095th of the longest packet, or
    /// if 65,536 units and the longest packet are more than 32 bits hold;
    /// [`ConfigError::Lines`] if [`lines`] asks for more.
    pub fn new(queues: Q, descriptors: D, lines: L, quantum: Quantum) -> Result<Self, ConfigError> {
        Self::with(Memory { queues, descriptors, lines, reserves: [] }, TailDrop, quantum)
    }
}

#[cfg(feature = "alloc")]
impl<H, P: DropPolicy> BoxedWdrr<H, P> {
    /// In memory of its own: so many queues and packets, and slices that own queues (0 where
    /// none is to have a [`reserve`](Self::reserve)).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unit`], as [`Wdrr::new`].
    pub fn boxed(
        queues: usize, packets: usize, slices: usize, policy: P, quantum: Quantum,
    ) -> Result<Self, ConfigError> {
        let memory = Memory {
            queues: boxed(queues, || Queue::NEW),
            descriptors: boxed(packets, || Descriptor::NEW),
            lines: boxed(lines(queues, quantum), || Line::NEW),
            reserves: boxed(slices, || Reserve::NEW),
        };
        Self::with(memory, policy, quantum)
    }
}

#[cfg(feature = "alloc")]
fn boxed<T>(count: usize, item: impl Fn() -> T) -> alloc::boxed::Box<[T]> {
    core::iter::repeat_with(item).take(count).collect()
}

impl<H, Q, D, L, A, P> Wdrr<Q, D, L, A, P>
where
    Q: Store<Item = Queue>,
    D: Store<Item = Descriptor<H>>,
    L: Store<Item = Line>,
    A: Store<Item = Reserve>,
    P: DropPolicy,
{
    /// No queue configured; with reserves and a policy. What the memory holds is void.
    ///
    /// # Errors
    ///
    /// As [`new`](Wdrr::new).
    pub fn with(memory: Memory<Q, D, L, A>, policy: P, quantum: Quantum) -> Result<Self, ConfigError> {
        let rounds = quantum.rounds()?;
        let Memory { queues, descriptors, mut lines, reserves } = memory;
        let (needed, has) = (self::lines(queues.items().len(), quantum), lines.items().len());
        if has < needed {
            return Err(ConfigError::Lines { needed, has });
        }
        let (ring, mut free) = (Ring::new(rounds, 0), NONE);
        let mut blocks = Lines { lines: lines.items_mut(), free: &mut free };
        blocks.begin(ring_lines(rounds));
        ring.begin(&mut blocks);
        let fifos = Fifos::new(queues, descriptors, reserves, policy, quantum.longest);
        Ok(Self { fifos, lines, free, ring, turn: NONE, unit: quantum.unit })
    }

    /// Keeps `packets` descriptors for the packets of `slice`: no other slice's can take them.
    /// What is nobody's reserve, all share. A reserve that grows into what others use holds
    /// as their packets leave.
    ///
    /// Cost: in proportion to the reserves.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Reserve`] if all reserves were more than there are descriptors,
    /// [`ConfigError::Slices`] if there is no [`Reserve`] left for it; nothing has changed.
    pub fn reserve(&mut self, slice: SliceId, packets: u32) -> Result<(), ConfigError> {
        self.fifos.reserve(slice, packets)
    }

    /// Queues, configured or not.
    pub fn queues(&self) -> usize {
        self.fifos.queues.items().len()
    }

    /// The packets that wait in all queues.
    pub fn waiting(&self) -> u64 {
        self.fifos.waiting
    }

    /// The policy, with what it counted.
    pub fn policy(&self) -> &P {
        &self.fifos.policy
    }

    /// The policy, to be changed.
    pub fn policy_mut(&mut self) -> &mut P {
        &mut self.fifos.policy
    }

    /// A queue has got its first packet, or another one first: puts it in the list of the
    /// round in which it will have earned it, at least one ahead.
    #[inline(always)]
    fn wait(&mut self, id: u32) {
        let Some(queue) = self.fifos.queues.items_mut().get_mut(id as usize) else { return };
        let ahead = queue.earn(queue.first.octets(), 1);
        let mut lines = Lines { lines: self.lines.items_mut(), free: &mut self.free };
        queue.place = self.ring.put(&mut lines, ahead, id);
    }

    /// Takes a queue out of its list.
    fn unlist(&mut self, place: u32) {
        let mut lines = Lines { lines: self.lines.items_mut(), free: &mut self.free };
        if let Some(moved) = self.ring.remove(&mut lines, place)
            && let Some(queue) = self.fifos.get_mut(QueueId(moved))
        {
            queue.place = place;
        }
    }

    /// A queue that waits in a list has another quantum than `before`, or another packet
    /// first: what it has earned so far it keeps, and from here on it earns anew.
    fn relist(&mut self, id: u32, before: u32) {
        let Some(queue) = self.fifos.queues.items_mut().get_mut(id as usize) else { return };
        let lines = Lines { lines: self.lines.items_mut(), free: &mut self.free };
        let (place, ahead) = (queue.place, self.ring.ahead(&lines, queue.place));
        queue.deficit = queue.deficit.saturating_sub(ahead.max(1).wrapping_mul(before));
        if ahead == 0 {
            // Its turn in this round is still to come.
            queue.deficit = queue.deficit.saturating_add(queue.quantum);
            if queue.deficit >= queue.first.octets() {
                return;
            }
        }
        self.unlist(place);
        self.wait(id);
    }

    /// A queue whose first packet left: it goes on, waits, or is empty.
    #[inline(always)]
    fn settle(&mut self, id: u32) {
        let Some(queue) = self.fifos.queues.items_mut().get_mut(id as usize) else { return };
        if queue.packets == 0 {
            queue.deficit = 0;
            self.turn = NONE;
        } else if queue.deficit < queue.first.octets() {
            self.turn = NONE;
            self.wait(id);
        }
    }

    #[inline(always)]
    fn serve(&mut self, now: Nanos) -> Option<Departure<H>> {
        if self.turn == NONE {
            let mut lines = Lines { lines: self.lines.items_mut(), free: &mut self.free };
            self.turn = self.ring.pop(&mut lines)?;
            if let Some(queue) = self.fifos.queues.items_mut().get_mut(self.turn as usize) {
                queue.place = NONE;
            }
        }
        let id = self.turn;
        let departure = self.fifos.pop(now, id)?;
        if !matches!(departure.verdict, Verdict::Drop(_))
            && let Some(queue) = self.fifos.queues.items_mut().get_mut(id as usize)
        {
            queue.deficit = queue.deficit.wrapping_sub(departure.octets);
        }
        self.settle(id);
        Some(departure)
    }

    /// Starts fetching what the next departures touch: queues first, then packets.
    #[inline(never)]
    fn fetch(&self, count: usize) {
        let upcoming = || self.ring.upcoming(self.lines.items()).take(count);
        upcoming().for_each(|id| self.fifos.prefetch(QueueId(id)));
        upcoming().for_each(|id| self.fifos.prefetch_first(QueueId(id)));
    }
}

impl Queue {
    /// Earns rounds until it may send so many octets, but so many rounds at least; how many.
    #[inline(always)]
    pub(super) fn earn(&mut self, octets: u32, least: u32) -> u32 {
        let missing = octets.saturating_sub(self.deficit);
        let rounds = if missing <= self.quantum.wrapping_mul(least) {
            least
        } else {
            missing.div_ceil(self.quantum.max(1))
        };
        // Less than a round and the longest packet: within 32 bits, see `Quantum::rounds`.
        self.deficit = self.deficit.wrapping_add(rounds.wrapping_mul(self.quantum));
        rounds
    }
}

/// Queues whose lines are not fetched ahead: they stay in the nearest caches.
const NEAR: usize = 512;

impl<H, Q, D, L, A, P> WdrrScheduler for Wdrr<Q, D, L, A, P>
where
    Q: Store<Item = Queue>,
    D: Store<Item = Descriptor<H>>,
    L: Store<Item = Line>,
    A: Store<Item = Reserve>,
    P: DropPolicy,
{
    type Handle = H;

    fn configure(&mut self, id: QueueId, config: QueueConfig) -> Result<(), ConfigError> {
        let weight = config.weight;
        if weight == 0 || weight > QueueConfig::MAX_WEIGHT {
            return Err(ConfigError::Weight(weight));
        }
        self.fifos.configure(id, config)?;
        let (quantum, longest) = (weight * self.unit, self.fifos.longest);
        let Some(queue) = self.fifos.get_mut(id) else { return Ok(()) };
        let before = core::mem::replace(&mut queue.quantum, quantum);
        if queue.packets == 0 || before == quantum {
            return Ok(());
        }
        if self.turn == id.0 {
            // What it has, up to a round's worth: its first packet is paid for.
            queue.deficit = queue.deficit.min(quantum.saturating_add(longest));
            return Ok(());
        }
        self.relist(id.0, before);
        Ok(())
    }

    fn remove(&mut self, id: QueueId) -> Result<(), ConfigError> {
        self.fifos.remove(id)
    }

    fn flush(&mut self, id: QueueId) -> Option<Departure<H>> {
        let departure = self.fifos.flush(id.0)?;
        let queue = self.fifos.get_mut(id)?;
        if self.turn == id.0 {
            self.settle(id.0);
        } else if queue.packets == 0 {
            queue.deficit = 0;
            let place = core::mem::replace(&mut queue.place, NONE);
            self.unlist(place);
        } else if queue.deficit < queue.first.octets() {
            let quantum = queue.quantum;
            self.relist(id.0, quantum);
        }
        Some(departure)
    }

    #[inline(always)]
    fn enqueue(&mut self, now: Nanos, id: QueueId, handle: H, arrival: Arrival) -> Result<(), Rejected<H>> {
        if self.fifos.push(now, id, handle, arrival)? {
            self.wait(id.0);
        }
        Ok(())
    }

    #[inline(always)]
    fn dequeue(&mut self, now: Nanos) -> Option<Departure<H>> {
        self.serve(now)
    }

    #[inline(always)]
    fn dequeue_batch(&mut self, now: Nanos, departures: &mut [Option<Departure<H>>]) -> usize {
        if self.queues() > NEAR {
            self.fetch(departures.len());
        }
        let mut count = 0;
        for departure in departures {
            *departure = self.serve(now);
            if departure.is_none() {
                break;
            }
            count += 1;
        }
        count
    }

    fn backlog(&self, id: QueueId) -> u32 {
        self.fifos.get(id).map_or(0, |queue| queue.packets)
    }

    fn quantum(&self, id: QueueId) -> u64 {
        self.fifos.get(id).map_or(0, |queue| queue.quantum.into())
    }

    fn stats(&self, id: QueueId) -> QueueStats {
        self.fifos.stats(id)
    }

    fn next_due(&self, now: Nanos) -> Option<Nanos> {
        (self.fifos.waiting > 0).then_some(now)
    }

    #[inline(always)]
    fn prefetch(&self, id: QueueId) {
        self.fifos.prefetch(id);
    }

    #[inline(always)]
    fn prefetch_deeper(&self, id: QueueId) {
        self.fifos.prefetch_last(id);
    }
}

#[cfg(test)]
mod tests;
