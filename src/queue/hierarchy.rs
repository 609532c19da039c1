//! Two levels: slices share a link, and the queues of each share what it gets.
//!
//! Deficit round robin of slices, and of the queues of a slice: what a slice leaves, the others
//! have in proportion to their weights, and what a queue leaves, first the other queues of its
//! slice. After the hierarchical link sharing of S. Floyd, V. Jacobson, "Link-sharing and
//! Resource Management Models for Packet Networks", IEEE/ACM Trans. Networking 3(4), 1995.
//!
//! ```
//! use fastpath::id::{QueueId, SliceId};
//! use fastpath::queue::{Arrival, BoxedHierarchy, Quantum, QueueConfig, TailDrop, WdrrScheduler};
//! use fastpath::time::Nanos;
//!
//! let quantum = Quantum::of_longest(1500);
//! let mut link = BoxedHierarchy::boxed(4, 100, 2, TailDrop, [quantum, quantum])?;
//! // A slice with one queue, and one with three: half of the link each.
//! for slice in [SliceId(1), SliceId(2)] {
//!     link.set_share(slice, 1)?;
//!     link.reserve(slice, 50)?;
//! }
//! for (queue, slice) in [(0, 1), (1, 2), (2, 2), (3, 2)] {
//!     link.configure(QueueId(queue), QueueConfig::new(SliceId(slice)))?;
//!     for _ in 0..10 {
//!         link.enqueue(Nanos::ZERO, QueueId(queue), (), Arrival::new(1500)).unwrap();
//!     }
//! }
//! let sent: Vec<_> = (0..12).filter_map(|_| link.dequeue(Nanos::ZERO)).map(|d| d.queue.0).collect();
//! assert_eq!(sent.iter().filter(|queue| **queue == 0).count(), 6);
//! assert_eq!(sent.iter().filter(|queue| **queue == 3).count(), 2);
//! # Ok::<(), fastpath::queue::ConfigError>(())
//! ```

use crate::arch::prefetch;
use crate::id::{QueueId, SliceId};
use crate::queue::fifos::{Descriptor, Fifos, NONE, Pool, Queue, Reserve};
use crate::queue::outlet::{Outlet, UpTo, turns};
use crate::queue::policy::{DropPolicy, TailDrop};
use crate::queue::rounds::{Line, Lines, Ring, block_lines, ring_lines};
use crate::queue::turns::{Share, Turns};
use crate::queue::wdrr::{Ahead, Memory, NEAR, Quantum, in_pieces, weighed};
use crate::queue::{Arrival, ConfigError, Departure, QueueConfig, QueueStats, Rejected, WdrrScheduler};
use crate::store::Store;
use crate::time::Nanos;

/// Weighted deficit round robin at two levels: slices, and queues of a slice.
///
/// A queue belongs to the slice that owns it. Its weight counts among the queues of its slice,
/// and the slice's [share](Self::set_share) among the slices. Reserves are of slices, too.
///
/// `C` holds [`Class`]es, as many as the [`Memory`] has [`Reserve`]s: one for each slice.
/// [`hierarchy_lines`] says how many lines there must be.
///
/// Cost: that of a [`Wdrr`](super::Wdrr) and a line for the slice; a slice's ring of rounds
/// takes 520 octets and more.
#[derive(Clone, Debug)]
pub struct Hierarchy<Q, D, L, A, C, P = TailDrop> {
    memory: Memory<Q, D, L, A>,
    classes: C,
    policy: P,
    state: State,
    /// Octets that a weight of 1 earns a round, of a slice and of a queue.
    units: [u32; 2],
    /// Slices that had their turn in the last batch.
    turns: usize,
}

#[derive(Clone, Copy, Debug)]
struct State {
    pool: Pool,
    /// The first free line.
    free: u32,
    /// The rounds of the slices.
    turns: Turns,
}

/// A slice's part of a [`Hierarchy`], in a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Class {
    /// The rounds of its queues. While one has packets, one has its turn.
    turns: Turns,
    /// Packets in its queues.
    packets: u32,
    share: Share,
}

impl Class {
    /// Of no slice.
    pub const NEW: Self = Self { turns: Turns::new(Ring::new(1, 0)), packets: 0, share: Share::NEW };
}

const _: () = assert!(size_of::<Class>() == 64);

/// A hierarchy that has its memory to itself.
#[cfg(feature = "alloc")]
pub type BoxedHierarchy<H, P = TailDrop> = Hierarchy<
    alloc::boxed::Box<[Queue]>,
    alloc::boxed::Box<[Descriptor<H>]>,
    alloc::boxed::Box<[Line]>,
    alloc::boxed::Box<[Reserve]>,
    alloc::boxed::Box<[Class]>,
    P,
>;

/// Lines that a hierarchy of so many queues and slices needs, with the quanta of slices and of
/// queues; 0 if it does not take these.
pub const fn hierarchy_lines(queues: usize, slices: usize, quanta: [Quantum; 2]) -> usize {
    match rounds(quanta) {
        Ok([of_slices, of_queues]) => {
            let rings = ring_lines(of_slices) + slices * ring_lines(of_queues);
            rings + block_lines(slices, 1, of_slices) + block_lines(queues, slices, of_queues)
        }
        Err(_) => 0,
    }
}

const fn rounds(quanta: [Quantum; 2]) -> Result<[u32; 2], ConfigError> {
    let [slices, queues] = quanta;
    match (slices.rounds(), queues.rounds()) {
        (Ok(of_slices), Ok(of_queues)) if slices.longest == queues.longest => Ok([of_slices, of_queues]),
        (Err(error), _) | (_, Err(error)) => Err(error),
        _ => Err(ConfigError::Unit { unit: slices.unit, longest: queues.longest }),
    }
}

#[cfg(feature = "alloc")]
impl<H, P: DropPolicy> BoxedHierarchy<H, P> {
    /// In memory of its own: so many queues, packets and slices; the quanta of slices and of
    /// queues, which have the longest packet in common.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unit`], as [`Wdrr::new`](super::Wdrr::new).
    pub fn boxed(
        queues: usize, packets: usize, slices: usize, policy: P, quanta: [Quantum; 2],
    ) -> Result<Self, ConfigError> {
        let lines = hierarchy_lines(queues, slices, quanta);
        let memory = Memory::boxed(queues, packets, lines, slices);
        let classes = core::iter::repeat_n(Class::NEW, slices).collect();
        Self::with(memory, classes, policy, quanta)
    }
}

impl<H, Q, D, L, A, C, P> Hierarchy<Q, D, L, A, C, P>
where
    Q: Store<Item = Queue>,
    D: Store<Item = Descriptor<H>>,
    L: Store<Item = Line>,
    A: Store<Item = Reserve>,
    C: Store<Item = Class>,
    P: DropPolicy,
{
    /// No slice has a share, and no queue is configured. What the memory holds is void.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unit`], as [`Wdrr::new`](super::Wdrr::new), or if the longest packets of
    /// the two levels differ; [`ConfigError::Lines`] if [`hierarchy_lines`] asks for more;
    /// [`ConfigError::Slices`] if there are more classes than reserves.
    pub fn with(
        mut memory: Memory<Q, D, L, A>, mut classes: C, policy: P, quanta: [Quantum; 2],
    ) -> Result<Self, ConfigError> {
        let [of_slices, of_queues] = rounds(quanta)?;
        let (queues, lines, reserves) =
            (memory.queues.items_mut(), memory.lines.items_mut(), memory.reserves.items_mut());
        let slices = classes.items().len();
        if slices != reserves.len() {
            return Err(ConfigError::Slices(reserves.len()));
        }
        let (needed, has) = (hierarchy_lines(queues.len(), slices, quanta), lines.len());
        if has < needed {
            return Err(ConfigError::Lines { needed, has });
        }
        let mut free = NONE;
        let mut lines = Lines { lines, free: &mut free };
        let (first, each) = (ring_lines(of_slices), ring_lines(of_queues));
        lines.begin(first + slices * each);
        let ring = Ring::new(of_slices, 0);
        ring.begin(&mut lines);
        for (class, nth) in classes.items_mut().iter_mut().zip(0..) {
            let ring = Ring::new(of_queues, first + nth * each);
            ring.begin(&mut lines);
            *class = Class { turns: Turns::new(ring), ..Class::NEW };
        }
        let [slice, queue] = quanta;
        let pool = Pool::new(queues, memory.descriptors.items_mut(), reserves, slice.longest);
        let state = State { pool, free, turns: Turns::new(ring) };
        Ok(Self { memory, classes, policy, state, units: [slice.unit, queue.unit], turns: 0 })
    }

    /// Gives `slice` a weight among the slices, or another one: 1 to 65,536, for as long as
    /// there is a hierarchy. Its packets stay, in order.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Weight`]; [`ConfigError::Slices`] if there is no class left for it; nothing
    /// has changed.
    pub fn set_share(&mut self, slice: SliceId, weight: u32) -> Result<(), ConfigError> {
        let [unit, _] = self.units;
        let quantum = weighed(weight, unit)?;
        let mut view = self.view();
        let known = view.fifos.reserve_of(slice);
        let has = known.and_then(|at| view.classes.get(usize::from(at)));
        let class = match has {
            Some(class) if class.share.quantum > 0 => known,
            // It stays, whatever queues come and go.
            _ => Some(view.fifos.join(slice)?),
        };
        if let Some(at) = class {
            view.reweigh_class(at.into(), quantum);
        }
        Ok(())
    }

    /// Octets that a slice may send in a round of slices, 0 if it has no share.
    pub fn share(&self, slice: SliceId) -> u64 {
        let reserves = self.memory.reserves.items().iter();
        let of = reserves.zip(self.classes.items()).find(|(reserve, _)| reserve.is_of(slice));
        of.map_or(0, |(_, class)| class.share.quantum.into())
    }

    /// Keeps `packets` descriptors for the packets of `slice`: see
    /// [`Wdrr::reserve`](super::Wdrr::reserve).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn reserve(&mut self, slice: SliceId, packets: u32) -> Result<(), ConfigError> {
        self.view().fifos.reserve(slice, packets)
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

    /// The next packets to leave; how many. A function for itself, with the state in registers.
    #[inline(never)]
    fn serve(&mut self, now: Nanos, places: &mut [Option<Departure<H>>]) -> usize {
        if self.is_far() {
            self.fetch();
        }
        let mut state = self.state;
        let mut view = view(&mut self.memory, self.classes.items_mut(), &mut self.policy, &mut state);
        let mut outlet = places.iter_mut();
        let turns = view.serve(now, &mut outlet);
        let left = outlet.len();
        (self.state, self.turns) = (state, turns);
        places.len() - left
    }

    /// Whether there are so many queues that their lines are fetched ahead.
    #[inline(always)]
    fn is_far(&self) -> bool {
        self.memory.queues.items().len() > NEAR
    }

    /// Starts fetching what the next departures touch: queues first, then their first packets,
    /// then those behind.
    #[inline(never)]
    fn fetch(&self) {
        let (queues, classes) = (self.memory.queues.items(), self.classes.items());
        let (lines, descriptors) = (self.memory.lines.items(), self.memory.descriptors.items());
        let mut ahead = Ahead::new(queues);
        self.state.turns.upcoming(lines, self.turns + 2, |at| {
            if let Some(class) = classes.get(at as usize) {
                class.turns.upcoming(lines, EACH, |id| ahead.add(id));
            }
        });
        ahead.fetch(descriptors);
    }

    #[inline(always)]
    fn view(&mut self) -> View<'_, H, P> {
        view(&mut self.memory, self.classes.items_mut(), &mut self.policy, &mut self.state)
    }
}

/// Queues of a slice that are fetched ahead.
const EACH: usize = 3;

/// Apart, so that a batch may have the state in registers.
#[inline(always)]
fn view<'a, H, Q, D, L, A, P>(
    memory: &'a mut Memory<Q, D, L, A>, classes: &'a mut [Class], policy: &'a mut P, state: &'a mut State,
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
    View { fifos, classes, lines: Lines { lines: memory.lines.items_mut(), free }, turns }
}

/// What an operation works on.
struct View<'a, H, P> {
    fifos: Fifos<'a, H, P>,
    classes: &'a mut [Class],
    lines: Lines<'a>,
    turns: &'a mut Turns,
}

impl<H, P: DropPolicy> View<'_, H, P> {
    /// Gives packets that leave next to `outlet`, until it is full; from how many slices.
    #[inline(always)]
    fn serve(&mut self, now: Nanos, outlet: &mut impl Outlet<H>) -> usize {
        turns(outlet, |outlet| self.turn(now, outlet))
    }

    /// Gives packets of the slice whose turn it is to `outlet`, which has room.
    #[inline(always)]
    fn turn(&mut self, now: Nanos, outlet: &mut impl Outlet<H>) -> Option<()> {
        let at = self.turns.turn(&mut self.lines)?;
        while self.serve_class(now, at, outlet)? && !outlet.is_full() {}
        Some(())
    }

    /// Gives packets of the slice whose turn it is, of one queue, to `outlet`, which has room;
    /// whether it goes on.
    #[inline(always)]
    fn serve_class(&mut self, now: Nanos, at: u32, outlet: &mut impl Outlet<H>) -> Option<bool> {
        let class = self.classes.get_mut(at as usize)?;
        let id = class.turns.turn(&mut self.lines)?;
        let served = self.fifos.serve(now, id, &mut class.share.deficit, outlet)?;
        let (taken, first) = (served.taken, served.first);
        class.packets -= taken;
        let first = match class.turns.go_on(&mut self.lines, id, served.share, first) {
            true => first,
            false => first_of(class, &mut self.lines, &mut self.fifos),
        };
        let goes_on = self.turns.go_on(&mut self.lines, at, &mut class.share, first);
        (taken > 0).then_some(goes_on)
    }

    /// The next packet that leaves.
    #[inline(always)]
    fn next(&mut self, now: Nanos) -> Option<Departure<H>> {
        let mut departure = None;
        let at = self.turns.turn(&mut self.lines)?;
        self.serve_class(now, at, &mut UpTo { left: 1, each: |next| departure = Some(next) })?;
        departure
    }

    #[inline(always)]
    fn enqueue(&mut self, now: Nanos, id: QueueId, handle: H, arrival: Arrival) -> Result<(), Rejected<H>> {
        let begins = self.fifos.push(now, id, handle, arrival)?;
        let Some(queue) = self.fifos.queue(id.0) else { return Ok(()) };
        let at = queue.reserve;
        let Some(class) = self.classes.get_mut(usize::from(at)) else { return Ok(()) };
        class.packets += 1;
        if begins {
            class.turns.begin(&mut self.lines, id.0, &mut queue.share, arrival.octets);
            if class.packets == 1 {
                // The only queue of its slice has its turn.
                let _ = class.turns.turn(&mut self.lines);
                self.turns.begin(&mut self.lines, at.into(), &mut class.share, arrival.octets);
            }
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
        let queue = self.fifos.queue(id)?;
        let quantum = queue.share.quantum;
        if let Some(class) = self.classes.get_mut(usize::from(queue.reserve)) {
            class.packets -= 1;
        }
        self.change(id, quantum);
        Some(departure)
    }

    /// A queue has another first packet, or another quantum than `before`.
    fn change(&mut self, id: u32, before: u32) {
        let longest = self.fifos.pool.longest;
        let Some(queue) = self.fifos.queue(id) else { return };
        let (at, first) = (queue.reserve, queue.first());
        let Some(class) = self.classes.get_mut(usize::from(at)) else { return };
        let moved = class.turns.change(&mut self.lines, id, &mut queue.share, first, before, longest);
        if let Some(moved) = moved
            && let Some(queue) = self.fifos.queue(moved.member)
        {
            moved.put(&mut queue.share);
        }
        let quantum = class.share.quantum;
        self.change_class(at.into(), quantum);
    }

    /// A slice has another weight: what waits in its queues goes on with it.
    fn reweigh_class(&mut self, at: u32, quantum: u32) {
        let Some(class) = self.classes.get_mut(at as usize) else { return };
        let before = core::mem::replace(&mut class.share.quantum, quantum);
        if class.packets > 0 {
            self.change_class(at, before);
        }
    }

    /// A slice that had packets has another one first, or another quantum than `before`.
    fn change_class(&mut self, at: u32, before: u32) {
        let longest = self.fifos.pool.longest;
        let Some(class) = self.classes.get_mut(at as usize) else { return };
        let first = first_of(class, &mut self.lines, &mut self.fifos);
        let moved = self.turns.change(&mut self.lines, at, &mut class.share, first, before, longest);
        if let Some(moved) = moved
            && let Some(class) = self.classes.get_mut(moved.member as usize)
        {
            moved.put(&mut class.share);
        }
    }
}

/// Octets of the first packet of a slice, if it has one: that of the queue whose turn it is.
#[inline(always)]
fn first_of<H, P: DropPolicy>(
    class: &mut Class, lines: &mut Lines<'_>, fifos: &mut Fifos<'_, H, P>,
) -> Option<u32> {
    if class.packets == 0 {
        return None;
    }
    fifos.queue(class.turns.turn(lines)?)?.first()
}

impl<H, Q, D, L, A, C, P> WdrrScheduler for Hierarchy<Q, D, L, A, C, P>
where
    Q: Store<Item = Queue>,
    D: Store<Item = Descriptor<H>>,
    L: Store<Item = Line>,
    A: Store<Item = Reserve>,
    C: Store<Item = Class>,
    P: DropPolicy,
{
    type Handle = H;

    /// # Errors
    ///
    /// [`ConfigError::NoShare`] if its owner has no [share](Hierarchy::set_share).
    fn configure(&mut self, id: QueueId, config: QueueConfig) -> Result<(), ConfigError> {
        let [_, unit] = self.units;
        let quantum = weighed(config.weight, unit)?;
        if self.share(config.owner) == 0 {
            return Err(ConfigError::NoShare(config.owner));
        }
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
        if self.is_far() {
            self.fetch();
        }
        let mut outlet = UpTo { left: most, each };
        self.turns = self.view().serve(now, &mut outlet);
        most - outlet.left
    }

    fn backlog(&self, id: QueueId) -> u32 {
        self.get(id).map_or(0, |queue| queue.packets)
    }

    /// A round here is one of the queues of a slice.
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
        if self.is_far()
            && let Some(queue) = self.get(id)
        {
            prefetch(queue);
        }
    }

    #[inline(always)]
    fn prefetch_deeper(&self, id: QueueId) {
        if self.is_far()
            && let Some(queue) = self.get(id)
        {
            queue.prefetch_last(self.memory.descriptors.items());
        }
    }
}

#[cfg(test)]
mod tests;
