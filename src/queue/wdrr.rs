//! Deficit round robin with weights, over lists of descriptors from one pool.
//!
//! M. Shreedhar, G. Varghese, "Efficient Fair Queuing Using Deficit Round-Robin",
//! IEEE/ACM Trans. Networking 4(3), 1996, with the rounds of [`super::rounds`]: O(1) also
//! where a queue earns far less in a round than its packets are long.

use crate::arch::prefetch;
use crate::id::{QueueId, SliceId};
use crate::queue::fifos::{Descriptor, Fifos, MOST_OCTETS, NONE, Pool, Queue, Reserve};
use crate::queue::outlet::{Outlet, UpTo, turns};
use crate::queue::policy::{DropPolicy, TailDrop};
use crate::queue::rounds::{Line, Lines, Ring, block_lines, ring_lines, rounds};
use crate::queue::turns::Turns;
use crate::queue::{Arrival, ConfigError, Departure, QueueConfig, QueueStats, Rejected, WdrrScheduler};
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
/// arrays, lent slices, boxed slices. `A` holds [`Reserve`]s, what slices have for themselves of
/// the descriptors, and `P` is a [`DropPolicy`]: see [`with`](Self::with).
///
/// Cost: a packet touches its queue's line and its descriptor on the way in and on the way
/// out, and on the way in the descriptor before it. [`dequeue_batch`] fetches ahead.
///
/// [`dequeue_batch`]: WdrrScheduler::dequeue_batch
#[derive(Clone, Debug)]
pub struct Wdrr<Q, D, L, A = [Reserve; 0], P = TailDrop> {
    memory: Memory<Q, D, L, A>,
    policy: P,
    state: State,
    /// Octets that a weight of 1 earns a round.
    unit: u32,
    /// Queues that had their turn in the last batch.
    turns: usize,
}

#[derive(Clone, Copy, Debug)]
struct State {
    pool: Pool,
    /// The first free line.
    free: u32,
    turns: Turns,
}

/// What an operation works on.
struct View<'a, H, P> {
    fifos: Fifos<'a, H, P>,
    lines: Lines<'a>,
    turns: &'a mut Turns,
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

/// What a weight earns a round.
pub(super) const fn weighed(weight: u32, unit: u32) -> Result<u32, ConfigError> {
    if weight == 0 || weight > QueueConfig::MAX_WEIGHT {
        return Err(ConfigError::Weight(weight));
    }
    // Within 32 bits, see `Quantum::rounds`.
    Ok(weight.wrapping_mul(unit))
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
        Self::with(Memory::boxed(queues, packets, lines(queues, quantum), slices), policy, quantum)
    }
}

#[cfg(feature = "alloc")]
impl<H>
    Memory<
        alloc::boxed::Box<[Queue]>,
        alloc::boxed::Box<[Descriptor<H>]>,
        alloc::boxed::Box<[Line]>,
        alloc::boxed::Box<[Reserve]>,
    >
{
    /// For so many queues, packets, lines and slices.
    pub(super) fn boxed(queues: usize, packets: usize, lines: usize, slices: usize) -> Self {
        Self {
            queues: boxed(queues, || Queue::NEW),
            descriptors: boxed(packets, || Descriptor::NEW),
            lines: boxed(lines, || Line::NEW),
            reserves: boxed(slices, || Reserve::NEW),
        }
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
        let (mut memory, rounds) = (memory, quantum.rounds()?);
        let (queues, lines) = (memory.queues.items_mut(), memory.lines.items_mut());
        let (needed, has) = (self::lines(queues.len(), quantum), lines.len());
        if has < needed {
            return Err(ConfigError::Lines { needed, has });
        }
        let (ring, mut free) = (Ring::new(rounds, 0), NONE);
        let mut lines = Lines { lines, free: &mut free };
        lines.begin(ring_lines(rounds));
        ring.begin(&mut lines);
        let descriptors = memory.descriptors.items_mut();
        let pool = Pool::new(queues, descriptors, memory.reserves.items_mut(), quantum.longest);
        Ok(Self {
            memory,
            policy,
            state: State { pool, free, turns: Turns::new(ring) },
            unit: quantum.unit,
            turns: 0,
        })
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
        self.view().fifos.reserve(slice, packets)
    }

    /// Queues, configured or not.
    pub fn queues(&self) -> usize {
        self.memory.queues.items().len()
    }

    /// The packets that wait in all queues.
    pub fn waiting(&self) -> u64 {
        self.state.pool.waiting()
    }

    /// The policy, with what it counted.
    pub fn policy(&self) -> &P {
        &self.policy
    }

    /// The policy, to be changed.
    pub fn policy_mut(&mut self) -> &mut P {
        &mut self.policy
    }

    fn get(&self, id: QueueId) -> Option<&Queue> {
        self.memory.queues.items().get(id.0 as usize)
    }

    #[inline(always)]
    fn view(&mut self) -> View<'_, H, P> {
        view(&mut self.memory, &mut self.policy, &mut self.state)
    }

    /// Up to [`AHEAD`] departures; how many. A function for itself, with the state in registers.
    #[inline(never)]
    fn serve(&mut self, now: Nanos, places: &mut [Option<Departure<H>>]) -> usize {
        if self.queues() > NEAR {
            self.fetch(places.len());
        }
        let mut state = self.state;
        let mut outlet = places.iter_mut();
        let turns = view(&mut self.memory, &mut self.policy, &mut state).serve(now, &mut outlet);
        let left = outlet.len();
        (self.state, self.turns) = (state, turns);
        places.len() - left
    }

    /// Starts fetching what the next departures touch.
    #[inline(never)]
    fn fetch(&self, most: usize) {
        let mut ahead = Ahead::new(self.memory.queues.items());
        self.state.turns.upcoming(self.memory.lines.items(), most.min(self.turns + 2), |id| ahead.add(id));
        ahead.fetch(self.memory.descriptors.items());
    }
}

/// Apart, so that a batch may have the state in registers.
#[inline(always)]
fn view<'a, H, Q, D, L, A, P>(
    memory: &'a mut Memory<Q, D, L, A>, policy: &'a mut P, state: &'a mut State,
) -> View<'a, H, P>
where
    Q: Store<Item = Queue>,
    D: Store<Item = Descriptor<H>>,
    L: Store<Item = Line>,
    A: Store<Item = Reserve>,
{
    let State { pool, free, turns } = state;
    let fifos = Fifos {
        queues: memory.queues.items_mut(),
        descriptors: memory.descriptors.items_mut(),
        reserves: memory.reserves.items_mut(),
        policy,
        pool,
    };
    View { fifos, lines: Lines { lines: memory.lines.items_mut(), free }, turns }
}

impl<H, P: DropPolicy> View<'_, H, P> {
    /// Gives packets that leave next to `outlet`, until it is full; from how many queues.
    #[inline(always)]
    fn serve(&mut self, now: Nanos, outlet: &mut impl Outlet<H>) -> usize {
        turns(outlet, |outlet| self.turn(now, outlet))
    }

    /// Gives packets of the queue whose turn it is to `outlet`, which has room.
    #[inline(always)]
    fn turn(&mut self, now: Nanos, outlet: &mut impl Outlet<H>) -> Option<()> {
        let id = self.turns.turn(&mut self.lines)?;
        let served = self.fifos.serve(now, id, &mut { u32::MAX }, outlet)?;
        self.turns.go_on(&mut self.lines, id, served.share, served.first);
        (served.taken > 0).then_some(())
    }

    /// The next packet that leaves.
    #[inline(always)]
    fn next(&mut self, now: Nanos) -> Option<Departure<H>> {
        let mut departure = None;
        self.turn(now, &mut UpTo { left: 1, each: |next| departure = Some(next) })?;
        departure
    }

    #[inline(always)]
    fn enqueue(&mut self, now: Nanos, id: QueueId, handle: H, arrival: Arrival) -> Result<(), Rejected<H>> {
        if self.fifos.push(now, id, handle, arrival)?
            && let Some(queue) = self.fifos.queue(id.0)
        {
            self.turns.begin(&mut self.lines, id.0, &mut queue.share, arrival.octets);
        }
        Ok(())
    }

    /// A queue has another weight: what waits there goes on with it.
    fn reweigh(&mut self, id: u32, quantum: u32) {
        let Some(queue) = self.fifos.queue(id) else { return };
        let before = core::mem::replace(&mut queue.share.quantum, quantum);
        if queue.packets > 0 {
            self.change(id, before);
        }
    }

    fn flush(&mut self, id: u32) -> Option<Departure<H>> {
        let departure = self.fifos.flush(id)?;
        let quantum = self.fifos.queue(id)?.share.quantum;
        self.change(id, quantum);
        Some(departure)
    }

    fn change(&mut self, id: u32, before: u32) {
        let longest = self.fifos.pool.longest;
        let Some(queue) = self.fifos.queue(id) else { return };
        let first = queue.first();
        let moved = self.turns.change(&mut self.lines, id, &mut queue.share, first, before, longest);
        if let Some(moved) = moved
            && let Some(queue) = self.fifos.queue(moved.member)
        {
            moved.put(&mut queue.share);
        }
    }
}

/// Queues whose lines are not fetched ahead: they stay in the nearest caches.
pub(super) const NEAR: usize = 2048;
/// Packets that are fetched ahead.
const AHEAD: usize = 32;

/// Queues whose turn comes next, up to [`AHEAD`], and whose lines are being fetched.
pub(super) struct Ahead<'a> {
    queues: &'a [Queue],
    next: [u32; AHEAD],
    known: usize,
}

impl<'a> Ahead<'a> {
    pub(super) const fn new(queues: &'a [Queue]) -> Self {
        Self { queues, next: [0; AHEAD], known: 0 }
    }

    #[inline(always)]
    pub(super) fn add(&mut self, id: u32) {
        if let (Some(place), Some(queue)) = (self.next.get_mut(self.known), self.queues.get(id as usize)) {
            *place = id;
            self.known += 1;
            prefetch(queue);
        }
    }

    /// Starts fetching their first packets, and then those behind: a queue sends two or three in
    /// a turn, and whoever is behind would be waited for alone.
    #[inline(always)]
    pub(super) fn fetch<H>(&self, descriptors: &[Descriptor<H>]) {
        let queues = self.next.iter().take(self.known).filter_map(|id| self.queues.get(*id as usize));
        queues.clone().for_each(|queue| queue.prefetch_first(descriptors));
        queues.for_each(|queue| queue.prefetch_second(descriptors));
    }
}

/// Fills places with departures, [`AHEAD`] at a time, until there are no more; how many.
#[inline(always)]
pub(super) fn in_pieces<H>(
    departures: &mut [Option<Departure<H>>], mut serve: impl FnMut(&mut [Option<Departure<H>>]) -> usize,
) -> usize {
    let mut count = 0;
    for places in departures.chunks_mut(AHEAD) {
        let served = serve(places);
        count += served;
        if served < places.len() {
            break;
        }
    }
    if let Some(place) = departures.get_mut(count) {
        *place = None;
    }
    count
}

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
        let quantum = weighed(config.weight, self.unit)?;
        let mut view = self.view();
        view.fifos.configure(id, config)?;
        view.reweigh(id.0, quantum);
        Ok(())
    }

    fn remove(&mut self, id: QueueId) -> Result<(), ConfigError> {
        self.view().fifos.remove(id)
    }

    fn flush(&mut self, id: QueueId) -> Option<Departure<H>> {
        self.view().flush(id.0)
    }

    #[inline(always)]
    fn enqueue(&mut self, now: Nanos, id: QueueId, handle: H, arrival: Arrival) -> Result<(), Rejected<H>> {
        self.view().enqueue(now, id, handle, arrival)
    }

    #[inline(always)]
    fn dequeue(&mut self, now: Nanos) -> Option<Departure<H>> {
        self.view().next(now)
    }

    #[inline(always)]
    fn dequeue_batch(&mut self, now: Nanos, departures: &mut [Option<Departure<H>>]) -> usize {
        in_pieces(departures, |places| self.serve(now, places))
    }

    #[inline(always)]
    fn dequeue_each(&mut self, now: Nanos, most: usize, each: impl FnMut(Departure<H>)) -> usize {
        if self.queues() > NEAR {
            self.fetch(most);
        }
        let mut outlet = UpTo { left: most, each };
        self.turns = self.view().serve(now, &mut outlet);
        most - outlet.left
    }

    fn backlog(&self, id: QueueId) -> u32 {
        self.get(id).map_or(0, |queue| queue.packets)
    }

    fn quantum(&self, id: QueueId) -> u64 {
        self.get(id).map_or(0, |queue| queue.share.quantum.into())
    }

    fn stats(&self, id: QueueId) -> QueueStats {
        self.get(id).map_or_else(QueueStats::default, Queue::stats)
    }

    fn next_due(&self, now: Nanos) -> Option<Nanos> {
        (self.waiting() > 0).then_some(now)
    }

    #[inline(always)]
    fn prefetch(&self, id: QueueId) {
        if self.queues() > NEAR
            && let Some(queue) = self.get(id)
        {
            prefetch(queue);
        }
    }

    #[inline(always)]
    fn prefetch_deeper(&self, id: QueueId) {
        if self.queues() > NEAR
            && let Some(queue) = self.get(id)
        {
            queue.prefetch_last(self.memory.descriptors.items());
        }
    }
}

#[cfg(test)]
mod tests;
