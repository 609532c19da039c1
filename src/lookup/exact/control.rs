//! The write side: where filters stand, what waits for readers, and who makes room.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use crate::arch::prefetch_line;
use crate::epoch::{Epoch, Epochs};
use crate::id::SliceId;
use crate::key::LookupKey;
use crate::lookup::{Filter, Place, Rank};

use super::ExactError;
use super::read::{Entry, ExactRead, Slot, WAYS};

/// Filters a bucket holds on average at capacity, in tenths: 16 of 30.
const TENTHS: u64 = 16;

/// Buckets in each half of the smallest table: 2 KiB, for up to 51 filters.
const LEAST: u64 = if cfg!(loom) { 1 } else { 16 };

/// Slots looked at in one update, of those that wait for readers.
const SETTLED_AT_ONCE: usize = 64;

/// Buckets searched for a place when both of a filter's are full.
const SEARCHED_FOR_ROOM: usize = 256;

/// Buckets searched when one has become full and a slot of it is to be freed again.
const SEARCHED_FOR_BALANCE: usize = 24;

/// The write side of an [`ExactRead`], for one writer.
///
/// All methods take the read side that it was made with, and the epochs that its readers
/// pass. `Epochs::new(0)` says that nobody reads meanwhile: then nothing waits.
///
/// # What waits for readers
///
/// A slot that was cleared is free when all readers have passed an epoch: whoever saw the
/// old filter there must not see the value of the next. A filter that moves is published
/// in its new slot first, and its old one is cleared when all readers have passed an
/// epoch: whoever looked into the one bucket before it was there will find it in the
/// other. In between it stands in both; its value is then replaced, and it is removed, in
/// the first bucket first, since readers read that first: who has seen the new state will
/// not see the old one again.
///
/// # Invariant
///
/// A slot is live or not (`ExactRead`), and waits or not (`waits`): four states. Live and
/// waiting: the old place of a filter that has moved. Neither: free.
#[derive(Debug)]
pub struct ExactControl {
    capacity: usize,
    len: usize,
    /// Filters that came so far, and so the order of the next.
    inserted: u64,
    moved: u64,
    /// Ranks and orders of live slots, `WAYS` a bucket. Lookups do not touch them.
    ranks: Box<[Rank]>,
    orders: Box<[u64]>,
    /// For each bucket a bit for each slot that waits.
    waits: Box<[u8]>,
    /// Each slot that waits, once, in the order of epochs.
    waiting: VecDeque<Waiting>,
    /// Of the last search.
    nodes: Vec<Node>,
}

/// 16 octets.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    until: Epoch,
    /// Its number.
    slot: u32,
    /// It is to be cleared then, and to wait once more; else it is free then.
    clear: bool,
}

/// A bucket that a search has reached: by moving the filter in `way` of the bucket of
/// node `from` there.
#[derive(Clone, Copy, Debug)]
struct Node {
    bucket: usize,
    from: usize,
    way: usize,
}

/// Filters that memory is fetched for at once when a table is built.
const AHEAD: usize = 16;

/// Searches for room in one insertion, if readers pass epochs meanwhile.
const TRIES: usize = 8;

/// Where a path begins.
const ROOT: usize = usize::MAX;

impl ExactControl {
    /// An empty table of `slice`, with room for `capacity` filters (2^30 at most) of
    /// `mask`: 40 octets of lookup memory and 24 of control for each, in 2 KiB at least.
    ///
    /// `seed` decides where filters stand. Draw all its bits at random where filters come
    /// from outside, and keep it to yourself.
    pub fn new(slice: SliceId, mask: LookupKey, capacity: usize, seed: u128) -> (Self, ExactRead) {
        let capacity = capacity.min(1 << 30);
        let half = (capacity as u64 * 10).div_ceil(2 * TENTHS).max(LEAST);
        let read = ExactRead::new(slice, mask, half as u32, seed);
        let slots = WAYS * read.buckets();
        let control = Self {
            capacity,
            len: 0,
            inserted: 0,
            moved: 0,
            ranks: vec![Rank(0); slots].into_boxed_slice(),
            orders: vec![0; slots].into_boxed_slice(),
            waits: vec![0; read.buckets()].into_boxed_slice(),
            waiting: VecDeque::new(),
            nodes: Vec::with_capacity(SEARCHED_FOR_ROOM),
        };
        (control, read)
    }

    /// A table with these filters, which keep their places.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert), but never [`ExactError::Busy`].
    pub fn build(
        slice: SliceId, mask: LookupKey, capacity: usize, seed: u128,
        filters: impl IntoIterator<Item = (Place, Filter, u32)>,
    ) -> Result<(Self, ExactRead), ExactError> {
        let (mut control, read) = Self::new(slice, mask, capacity, seed);
        let (mut nobody, mut filters) = (Epochs::new(0), filters.into_iter());
        let mut ahead = Vec::with_capacity(AHEAD);
        loop {
            ahead.extend(filters.by_ref().take(AHEAD));
            if ahead.is_empty() {
                return Ok((control, read));
            }
            for (_, filter, _) in &ahead {
                control.prefetch(&read, filter);
            }
            for (place, filter, word) in ahead.drain(..) {
                control.insert_at(&read, &mut nobody, place, &filter, word)?;
            }
        }
    }

    /// The same filters at the same places in a new table: larger, or under a new seed.
    /// Readers go on with the old one until the owner shows them the new.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn rebuilt(
        &self, read: &ExactRead, capacity: usize, seed: u128,
    ) -> Result<(Self, ExactRead), ExactError> {
        let (mut control, new) = Self::build(read.slice(), read.mask(), capacity, seed, self.iter(read))?;
        control.inserted = control.inserted.max(self.inserted);
        Ok((control, new))
    }

    /// Filters in the table.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Filters it has room for.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Slots that wait for readers.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Filters moved so far to make room for others: 20 octets each in lookup memory.
    pub const fn moved(&self) -> u64 {
        self.moved
    }

    /// Octets of memory beside the read side's.
    pub fn octets(&self) -> usize {
        size_of_val(&*self.ranks)
            + size_of_val(&*self.orders)
            + size_of_val(&*self.waits)
            + self.waiting.capacity() * size_of::<Waiting>()
            + self.nodes.capacity() * size_of::<Node>()
    }

    /// All filters with their places and values, in no order.
    pub fn iter(&self, read: &ExactRead) -> impl Iterator<Item = (Place, Filter, u32)> {
        let slots = (0..self.ranks.len() as u32).map(Slot::numbered);
        slots.filter(|slot| !self.waits(*slot)).filter_map(move |slot| {
            let (entry, word) = read.get(slot)?;
            Some((self.place(slot)?, read.filter(entry), word))
        })
    }

    /// The place and the value of `filter`, if it is here.
    pub fn get(&self, read: &ExactRead, filter: &Filter) -> Option<(Place, u32)> {
        let (entry, buckets) = read.entry(filter)?;
        let slot = copies(read, &entry, buckets).next()?;
        Some((self.place(slot)?, read.get(slot)?.1))
    }

    /// Stores `word` with `filter` at `rank`, and returns what was stored with the same
    /// filter at the same rank. Such a filter keeps its place.
    ///
    /// # Errors
    ///
    /// Lookups answer as before.
    ///
    /// - [`ExactError::Unsupported`]: the slice, the mask or, for a filter that is here, the rank
    ///   is another.
    /// - [`ExactError::Full`] at capacity.
    /// - [`ExactError::Busy`]: too much waits for readers. Try again when they have passed
    ///   an epoch or two. Filters may have moved.
    /// - [`ExactError::RebuildDue`]: all places within reach are taken. With a secret seed
    ///   this does not happen below capacity, but by a chance of one in a million.
    pub fn insert(
        &mut self, read: &ExactRead, epochs: &mut Epochs, rank: Rank, filter: &Filter, word: u32,
    ) -> Result<Option<u32>, ExactError> {
        self.insert_at(read, epochs, Place::new(rank, self.inserted), filter, word)
    }

    fn insert_at(
        &mut self, read: &ExactRead, epochs: &mut Epochs, place: Place, filter: &Filter, word: u32,
    ) -> Result<Option<u32>, ExactError> {
        let (entry, buckets) = read.entry(filter).ok_or(ExactError::Unsupported)?;
        self.settle(read, epochs);
        if let Some(slot) = copies(read, &entry, buckets).next() {
            if self.place(slot).is_none_or(|known| known.rank() != place.rank()) {
                return Err(ExactError::Unsupported);
            }
            return Ok(replace(read, &entry, buckets, word));
        }
        if self.len >= self.capacity {
            return Err(ExactError::Full);
        }
        // Within an eighth of the capacity, what waits does not crowd out what is to come.
        let most = (self.capacity / 8).max(SETTLED_AT_ONCE);
        while self.waiting.len() > most {
            if self.settle(read, epochs) == 0 {
                return Err(ExactError::Busy);
            }
        }
        let [first, second] = buckets;
        let emptier = if self.free(read, second) > self.free(read, first) { second } else { first };
        let slot = match self.free_slot(read, emptier) {
            Some(slot) => slot,
            None => self.make_room(read, epochs, buckets)?,
        };
        read.publish(slot, entry, word);
        self.set_place(slot, place);
        self.inserted = self.inserted.max(place.order.saturating_add(1));
        self.len += 1;
        if self.waiting.len() <= most / 2 {
            self.balance(read, epochs, first);
            self.balance(read, epochs, second);
        }
        Ok(None)
    }

    /// Replaces what is stored with `filter` at `rank`, if it is there: one store. Never
    /// waits for readers.
    pub fn replace(&mut self, read: &ExactRead, rank: Rank, filter: &Filter, word: u32) -> Option<u32> {
        let (entry, buckets) = read.entry(filter)?;
        let slot = copies(read, &entry, buckets).next()?;
        let same = self.place(slot)?.rank() == rank;
        if same { replace(read, &entry, buckets, word) } else { None }
    }

    /// Takes out `filter` at `rank`, if it is there. Its slot waits for readers, with 16
    /// octets of notes; the removal does not.
    pub fn remove(
        &mut self, read: &ExactRead, epochs: &mut Epochs, rank: Rank, filter: &Filter,
    ) -> Option<u32> {
        let (entry, buckets) = read.entry(filter)?;
        let slot = copies(read, &entry, buckets).next()?;
        if self.place(slot)?.rank() != rank {
            return None;
        }
        let (_, word) = read.get(slot)?;
        let mut last = None;
        // In the first bucket first.
        for slot in copies(read, &entry, buckets) {
            read.clear(slot);
            if !self.waits(slot) {
                last = Some(slot);
            }
        }
        // An old copy waits already, and longer than it has to.
        if let Some(slot) = last {
            self.defer(epochs, slot, false);
        }
        self.len -= 1;
        self.settle(read, epochs);
        Some(word)
    }

    /// Goes on with what waited for readers and need not any more; returns how many slots
    /// that were. At most 64 at once; updates do it by themselves.
    pub fn settle(&mut self, read: &ExactRead, epochs: &mut Epochs) -> usize {
        if self.waiting.is_empty() {
            return 0;
        }
        let passed = epochs.oldest();
        let due = self.waiting.iter().take(SETTLED_AT_ONCE).take_while(|waiting| waiting.until <= passed);
        let (mut count, mut cleared) = (0, 0);
        for waiting in due {
            count += 1;
            if waiting.clear {
                read.clear(Slot::numbered(waiting.slot));
                cleared += 1;
            }
        }
        // One epoch for all that were cleared just now.
        let epoch = if cleared > 0 { Some(epochs.advance()) } else { None };
        for _ in 0..count {
            let Some(waiting) = self.waiting.pop_front() else { break };
            match epoch {
                Some(until) if waiting.clear => {
                    self.waiting.push_back(Waiting { until, clear: false, ..waiting });
                }
                _ => self.set_waits(Slot::numbered(waiting.slot), false),
            }
        }
        count
    }
}

/// Slots and places.
impl ExactControl {
    /// Starts fetching what the insertion of `filter` will read and write.
    fn prefetch(&self, read: &ExactRead, filter: &Filter) {
        let Some((_, buckets)) = read.entry(filter) else { return };
        read.prefetch(LookupKey::new(filter.value()));
        for bucket in buckets {
            let slot = Slot { bucket, way: 0 }.number();
            prefetch_line(&self.waits, bucket, 0);
            prefetch_line(&self.ranks, slot, 0);
            prefetch_line(&self.orders, slot, 0);
        }
    }

    fn waits(&self, slot: Slot) -> bool {
        self.waits.get(slot.bucket).is_some_and(|waits| waits >> slot.way & 1 != 0)
    }

    fn set_waits(&mut self, slot: Slot, yes: bool) {
        if let Some(waits) = self.waits.get_mut(slot.bucket) {
            *waits = *waits & !(1 << slot.way) | u8::from(yes) << slot.way;
        }
    }

    fn place(&self, slot: Slot) -> Option<Place> {
        let at = slot.number();
        Some(Place::new(*self.ranks.get(at)?, *self.orders.get(at)?))
    }

    fn set_place(&mut self, slot: Slot, place: Place) {
        let at = slot.number();
        if let (Some(rank), Some(order)) = (self.ranks.get_mut(at), self.orders.get_mut(at)) {
            (*rank, *order) = (place.rank, place.order);
        }
    }

    fn free_slots(&self, read: &ExactRead, bucket: usize) -> impl Iterator<Item = Slot> {
        let slots = (0..WAYS).map(move |way| Slot { bucket, way });
        slots.filter(|slot| !self.waits(*slot) && read.get(*slot).is_none())
    }

    fn free(&self, read: &ExactRead, bucket: usize) -> usize {
        self.free_slots(read, bucket).count()
    }

    fn free_slot(&self, read: &ExactRead, bucket: usize) -> Option<Slot> {
        self.free_slots(read, bucket).next()
    }

    /// Takes note of a slot that was cleared, or is to be when its copy is seen by all.
    fn defer(&mut self, epochs: &mut Epochs, slot: Slot, clear: bool) {
        self.set_waits(slot, true);
        self.waiting.push_back(Waiting { until: epochs.advance(), slot: slot.number() as u32, clear });
    }
}

/// Who makes room: a filter moves to its other bucket, one there to its other, and so on.
impl ExactControl {
    /// A free slot in one of `buckets`, which have none.
    fn make_room(
        &mut self, read: &ExactRead, epochs: &mut Epochs, buckets: [usize; 2],
    ) -> Result<Slot, ExactError> {
        for _ in 0..TRIES {
            let (found, waits) = self.search(read, &buckets, 1, SEARCHED_FOR_ROOM);
            match found {
                // If nobody reads, this frees a slot of the root.
                Some(node) => _ = self.shift(read, epochs, node),
                None if waits => {}
                None => return Err(ExactError::RebuildDue),
            }
            // Or what waited there became free.
            let settled = self.settle(read, epochs);
            let [first, second] = buckets;
            if let Some(slot) = self.free_slot(read, first).or_else(|| self.free_slot(read, second)) {
                return Ok(slot);
            }
            if settled == 0 {
                break;
            }
        }
        Err(ExactError::Busy)
    }

    /// If `bucket` is full, moves one of its filters to where two slots are free. So at
    /// most times every bucket has a free slot, and an insertion needs to wait for nobody.
    fn balance(&mut self, read: &ExactRead, epochs: &mut Epochs, bucket: usize) {
        if self.free(read, bucket) > 0 || self.waits.get(bucket) != Some(&0) {
            return;
        }
        if let (Some(node), _) = self.search(read, &[bucket], 2, SEARCHED_FOR_BALANCE) {
            self.shift(read, epochs, node);
        }
    }

    /// The nearest bucket with so many free slots to which filters can move from `roots`,
    /// breadth first; and whether some slots on the way wait for readers.
    fn search(
        &mut self, read: &ExactRead, roots: &[usize], room: usize, most: usize,
    ) -> (Option<usize>, bool) {
        let mut waits = false;
        self.nodes.clear();
        self.nodes.extend(roots.iter().map(|&bucket| Node { bucket, from: ROOT, way: 0 }));
        let mut from = 0;
        while let Some(node) = self.nodes.get(from).copied() {
            for way in 0..WAYS {
                let slot = Slot { bucket: node.bucket, way };
                if self.waits(slot) {
                    waits = true;
                    continue;
                }
                let Some((entry, _)) = read.get(slot) else { continue };
                let bucket = read.other(entry, node.bucket);
                if self.nodes.iter().any(|node| node.bucket == bucket) {
                    continue;
                }
                // It was there and moved here: two copies at a time are enough.
                if read.find(&entry, bucket).is_some() {
                    waits = true;
                    continue;
                }
                let free = self.free(read, bucket);
                if free + 1 < room {
                    // A path to where two are free leads through buckets with one.
                    continue;
                }
                self.nodes.push(Node { bucket, from, way });
                if free >= room {
                    return (Some(self.nodes.len() - 1), waits);
                }
                if self.nodes.len() >= most {
                    return (None, waits);
                }
            }
            from += 1;
        }
        (None, waits)
    }

    /// Moves the filters on the path to `node`, from its end, as far as there are free
    /// slots. Each move by itself changes no answer.
    fn shift(&mut self, read: &ExactRead, epochs: &mut Epochs, node: usize) -> Option<()> {
        let mut at = self.nodes.get(node).copied()?;
        while let Some(from) = self.nodes.get(at.from).copied() {
            let old = Slot { bucket: from.bucket, way: at.way };
            let new = self.free_slot(read, at.bucket)?;
            let (entry, word) = read.get(old)?;
            read.publish(new, entry, word);
            self.set_place(new, self.place(old)?);
            self.moved += 1;
            self.defer(epochs, old, true);
            // Where nobody reads, the old slot is free after this. Twice: it is cleared,
            // then it is free.
            self.settle(read, epochs);
            self.settle(read, epochs);
            at = from;
        }
        Some(())
    }
}

/// The slots in which a filter stands, in the order in which readers look: one, or two
/// while it moves.
fn copies(read: &ExactRead, entry: &Entry, buckets: [usize; 2]) -> impl Iterator<Item = Slot> {
    buckets.into_iter().filter_map(|bucket| read.find(entry, bucket))
}

fn replace(read: &ExactRead, entry: &Entry, buckets: [usize; 2], word: u32) -> Option<u32> {
    let mut old = None;
    for slot in copies(read, entry, buckets) {
        old = old.or(read.get(slot).map(|(_, word)| word));
        read.replace(slot, word);
    }
    old
}
