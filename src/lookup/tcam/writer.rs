//! The writer of one slice, in the table or in a thread of its own.

#[cfg(test)]
#[cfg(all(feature = "conformance", not(loom)))]
mod tests;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Acquire, Release};

use crate::epoch::{CellWriter, Epochs, Lent, Return, lend};
use crate::id::{EgressId, SliceId};
use crate::key::TableKey;
use crate::lookup::tcam::engine::{Control, Engine, Order, TooMuch, build, build_upper};
use crate::lookup::tcam::refused::Refused;
use crate::lookup::tcam::row::{self, Changed, Row};
use crate::lookup::tcam::share::{Denied, Share, Shared};
use crate::lookup::tcam::{Entry, Handle, TcamError};
use crate::lookup::{AllMatches, Filter, Hit, Place, RangedFilter, Rank, TernaryUpdate, Word};

/// Writes the filters of one slice of a [`Tcam`](super::Tcam), and is a table of these for
/// a single thread. [`Tcam::writer`](super::Tcam::writer) gives it out.
///
/// No update waits for another slice's, whatever that costs. Dropping the writer leaves the
/// filters in force, and gives the slice back to the table.
#[derive(Debug)]
pub struct TcamWriter<V = EgressId> {
    slice: SliceId,
    cell: CellWriter<Engine>,
    control: Control,
    refused: Refused,
    reserved: usize,
    /// What `share` holds, unless it was revoked: filters in use or promised.
    held: usize,
    /// The bound, where it is its own.
    lines: Option<u32>,
    generation: Arc<AtomicU64>,
    share: Arc<Share>,
    shared: Arc<Shared>,
    /// What `shared` knows of what waits for readers.
    waiting: usize,
    home: Option<Return<Self>>,
    values: PhantomData<fn() -> V>,
}

impl<V> TcamWriter<V> {
    pub(super) fn new(slice: SliceId, cell: CellWriter<Engine>, shared: Arc<Shared>) -> Self {
        Self {
            slice,
            cell,
            control: Control::default(),
            refused: Refused::default(),
            reserved: 0,
            held: 0,
            lines: None,
            generation: Arc::default(),
            share: Arc::default(),
            shared,
            waiting: 0,
            home: None,
            values: PhantomData,
        }
    }

    /// Takes all out of it that makes it the slice's writer.
    fn take(&mut self) -> Self {
        let nothing = Self::new(self.slice, self.cell.another(), Arc::clone(&self.shared));
        core::mem::replace(self, nothing)
    }
}

impl<V> Drop for TcamWriter<V> {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.give(Box::new(self.take()));
        }
    }
}

impl<V: Word> TcamWriter<V> {
    /// This writer for another thread, and what the table keeps meanwhile.
    pub(super) fn give_out(&mut self) -> (Self, Lent<Self>, Arc<Share>) {
        let (back, home) = lend();
        let mut writer = self.take();
        writer.home = Some(home);
        let share = Arc::clone(&writer.share);
        (writer, back, share)
    }

    /// The slice that it writes.
    pub const fn slice(&self) -> SliceId {
        self.slice
    }

    /// Whether the table has [taken the slice back](super::Tcam::revoke): updates are refused,
    /// and nobody sees what is here.
    pub fn is_revoked(&self) -> bool {
        self.share.is_revoked()
    }

    /// Promises `filters` to the slice, those that it has included. 0 takes a promise back.
    ///
    /// # Errors
    ///
    /// [`TcamError::Reserve`], [`TcamError::Revoked`].
    pub fn reserve(&mut self, filters: usize) -> Result<(), TcamError> {
        let before = core::mem::replace(&mut self.reserved, filters);
        self.hold(self.len()).map_err(|denied| {
            self.reserved = before;
            match denied {
                Denied::Full => TcamError::Reserve { asked: filters, left: self.shared.left() + self.held },
                Denied::Revoked => TcamError::Revoked(self.slice),
            }
        })
    }

    /// Sets what a lookup may touch, in cache lines. The filters are found anew if they take
    /// more as they are.
    ///
    /// # Errors
    ///
    /// [`TcamError::Cost`] if they take more then, too; [`TcamError::Deferred`],
    /// [`TcamError::Revoked`].
    pub fn set_bound(&mut self, lines: u32) -> Result<(), TcamError> {
        let now = self.plan().lines;
        let before = self.lines.replace(lines);
        if now > lines
            && let Err(error) = self.rebuild(None)
        {
            self.lines = before;
            return Err(error);
        }
        self.refused.forget();
        Ok(())
    }

    /// [`insert`](TernaryUpdate::insert) of a filter with ranges.
    ///
    /// It is refused for its cost only if the slice's filters and it, found anew, cost more
    /// than the bound: no other history would have it accepted but one that has accepted more
    /// than that. Being refused costs a rebuild the first time, and nothing again while the
    /// slice stays as it is.
    ///
    /// A filter that is there gets another value without being refused for that; but words
    /// above 2^31 - 2, which no [`EgressId`](crate::id::EgressId) of a real table has, cannot be stored with
    /// routes that are found as such: then the slice is found anew by its general engine, and the value
    /// refused if that costs too much.
    ///
    /// # Errors
    ///
    /// [`TcamError`]; the table is unchanged.
    pub fn insert_ranged(
        &mut self, rank: Rank, filter: RangedFilter, value: V,
    ) -> Result<Option<V>, TcamError> {
        self.check(filter.filter())?;
        let known = self.get(rank, &filter);
        let filters = self.len() + usize::from(known.is_none());
        self.hold(filters).map_err(|denied| self.denied(denied))?;
        let row = Row { place: Place::new(rank, 0), filter, word: value.word() };
        let (slice, bound) = (self.slice, self.bound());
        // That one value was too much for a filter says nothing of another value.
        let before = self.refused.lines(rank, &filter).filter(|_| known.is_none());
        let done = match before {
            Some(lines) => Err(TcamError::Cost { slice, lines, bound }),
            None => self.put(row, known.is_some()).inspect_err(|error| {
                if let (TcamError::Cost { lines, .. }, None) = (error, known) {
                    self.refused.remember(rank, &filter, *lines);
                }
            }),
        };
        if let Err(error) = done {
            self.let_go();
            return Err(error);
        }
        self.changed(filters);
        Ok(known)
    }

    fn put(&mut self, row: Row, known: bool) -> Result<(), TcamError> {
        let (slice, bound) = (self.slice, self.bound());
        match self.change(|control, engine, epochs| control.insert(engine, epochs, &row, known, bound)) {
            Changed::Done(_) => Ok(()),
            // Another form may cost less. If none does, it is taken out again.
            Changed::Over => self.rebuild(None).inspect_err(|_| {
                _ = self.take_out(row.place.rank(), &row.filter);
            }),
            // A small part's own memory is soon used up, and a late reader no reason to
            // refuse: a new one takes its place. A large one has more, and whoever holds so
            // much of it back has stalled.
            Changed::Busy if self.cell.get().is_some_and(Engine::is_large) => {
                let waits = self.cell.get().map_or(0, |engine| self.control.waiting(engine));
                Err(TcamError::Deferred(self.deferred() + waits))
            }
            Changed::Cost(lines) => Err(TcamError::Cost { slice, lines, bound }),
            Changed::Misfit | Changed::RebuildDue | Changed::Busy => self.rebuild(Some(row)),
        }
    }

    /// [`remove`](TernaryUpdate::remove) of a filter with ranges.
    pub fn remove_ranged(&mut self, rank: Rank, filter: &RangedFilter) -> Option<V> {
        if filter.filter().slice() != self.slice {
            return None;
        }
        let old = self.take_out(rank, filter)?;
        self.changed(self.len() - 1);
        Some(V::of(old))
    }

    fn take_out(&mut self, rank: Rank, filter: &RangedFilter) -> Option<u32> {
        match self.change(|control, engine, epochs| control.remove(engine, epochs, rank, filter)) {
            Changed::Done(old) => old,
            // The part keeps memory for removals; if that is used up, or waits for readers,
            // the slice is found anew without the filter.
            _ => self.rebuild_without(rank, filter),
        }
    }

    /// Puts `filters` in the place of all that there are: a lookup sees the old ones or the
    /// new ones. Of filters with one identity the last one's value stands, in the place of
    /// the first.
    ///
    /// # Errors
    ///
    /// [`TcamError`]; [`TcamError::OtherSlice`] where a filter is of another slice. The
    /// table is unchanged.
    pub fn load(
        &mut self, filters: impl IntoIterator<Item = (Rank, RangedFilter, V)>,
    ) -> Result<(), TcamError> {
        let mut rows: Vec<Row> = Vec::new();
        for (order, (rank, filter, value)) in (0..).zip(filters) {
            self.check(filter.filter())?;
            rows.push(Row { place: Place::new(rank, order), filter, word: value.word() });
        }
        let rows = row::distinct(rows);
        // Room is taken before, and given back after.
        let count = rows.len();
        self.hold(count.max(self.len())).map_err(|denied| self.denied(denied))?;
        if let Err(error) = self.publish_all(&rows) {
            self.let_go();
            return Err(error);
        }
        self.changed(count);
        Ok(())
    }

    /// Removes all filters, as [`load`](Self::load) of none.
    pub fn clear(&mut self) {
        self.control = Control::default();
        self.show(None);
        self.changed(0);
    }

    /// Filters of the slice.
    pub fn len(&self) -> usize {
        self.share.filters()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its filters, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Entry<V>> {
        let rows = self.cell.get().into_iter().flat_map(|engine| self.control.rows(engine, self.slice));
        rows.map(|row| Entry { place: row.place, filter: row.filter, value: V::of(row.word) })
    }

    /// What is stored with a filter.
    pub fn get(&self, rank: Rank, filter: &RangedFilter) -> Option<V> {
        self.control.get(self.cell.get()?, rank, filter).map(V::of)
    }

    /// A number that is another after every update.
    pub fn generation(&self) -> u64 {
        self.generation.load(Acquire)
    }

    /// Names a filter that is there.
    pub fn find(&self, rank: Rank, filter: &RangedFilter) -> Option<Handle> {
        (filter.filter().slice() == self.slice).then_some(())?;
        self.get(rank, filter).map(|_| Handle { rank, filter: *filter })
    }

    /// Removes the filter that `handle` names.
    ///
    /// # Errors
    ///
    /// [`TcamError::UnknownHandle`].
    pub fn remove_by(&mut self, handle: Handle) -> Result<V, TcamError> {
        self.remove_ranged(handle.rank, &handle.filter).ok_or(TcamError::UnknownHandle)
    }

    /// Stores another value with the filter that `handle` names; returns the old one.
    ///
    /// # Errors
    ///
    /// [`TcamError::UnknownHandle`]; [`TcamError::Cost`] for a value as
    /// [`insert_ranged`](Self::insert_ranged) says. Nothing has changed.
    pub fn replace_by(&mut self, handle: Handle, value: V) -> Result<V, TcamError> {
        self.find(handle.rank, &handle.filter).ok_or(TcamError::UnknownHandle)?;
        self.insert_ranged(handle.rank, handle.filter, value)?.ok_or(TcamError::UnknownHandle)
    }

    /// Octets of engines that were replaced and wait for readers.
    pub const fn deferred(&self) -> usize {
        self.cell.waiting()
    }

    /// Frees what no reader sees any more; updates do it by themselves. Returns the octets
    /// that wait still.
    pub fn reclaim(&mut self) -> usize {
        let waiting = self.cell.reclaim();
        self.shared.waits(self.waiting, waiting);
        self.waiting = waiting;
        waiting
    }

    pub(super) fn parts(&self) -> Option<(&Control, &Engine)> {
        Some((&self.control, self.cell.get()?))
    }

    /// As it was made: without filters, promises, or a bound of its own.
    pub(super) fn reset(&mut self) {
        self.share.revoke(&self.shared);
        (self.share, self.held, self.reserved, self.lines) = (Arc::default(), 0, 0, None);
        self.clear();
    }

    /// After a change of the filters: there are so many now.
    fn changed(&mut self, filters: usize) {
        self.share.set_filters(filters);
        self.refused.forget();
        self.let_go();
        // Release: who sees the number sees the update.
        self.generation.store(self.generation.load(Acquire) + 1, Release);
    }

    /// Holds room for so many filters, or what was promised.
    fn hold(&mut self, filters: usize) -> Result<(), Denied> {
        let held = filters.max(self.reserved);
        if held != self.held {
            self.share.hold(&self.shared, self.held, held)?;
            self.held = held;
        }
        if self.is_revoked() { Err(Denied::Revoked) } else { Ok(()) }
    }

    /// Holds no more than there is.
    fn let_go(&mut self) {
        // It is denied to a revoked slice only, which holds nothing.
        let _ = self.hold(self.len());
    }

    const fn denied(&self, denied: Denied) -> TcamError {
        match denied {
            Denied::Full => TcamError::Full(self.slice),
            Denied::Revoked => TcamError::Revoked(self.slice),
        }
    }

    fn check(&self, filter: &Filter) -> Result<(), TcamError> {
        let (slice, other) = (self.slice, filter.slice());
        if other == slice { Ok(()) } else { Err(TcamError::OtherSlice { slice, other }) }
    }

    #[inline(always)]
    pub(super) fn engine(&self, slice: SliceId) -> Option<&Engine> {
        self.cell.get().filter(|_| slice == self.slice)
    }

    fn bound(&self) -> u32 {
        self.lines.unwrap_or(self.shared.config.lines)
    }

    /// Changes the engine in place.
    fn change(&mut self, change: impl FnOnce(&mut Control, &Engine, &mut Epochs) -> Changed) -> Changed {
        match self.cell.get_with_epochs() {
            (Some(engine), epochs) => change(&mut self.control, engine, epochs),
            (None, _) => Changed::RebuildDue,
        }
    }

    /// All filters in the order of their places.
    fn rows(&self) -> Vec<Row> {
        let rows = self.cell.get().into_iter().flat_map(|engine| self.control.rows(engine, self.slice));
        let mut rows: Vec<Row> = rows.collect();
        rows.sort_by_key(|row| row.place);
        rows
    }

    /// Builds the slice anew with one more filter, if there is one: only the part that it
    /// concerns where that will do.
    fn rebuild(&mut self, more: Option<Row>) -> Result<(), TcamError> {
        // Few routes may be found another way together with what comes.
        let routes = self.cell.get().and_then(|engine| engine.routes.as_deref());
        let routes = routes.is_some_and(|routes| !routes.is_near());
        if let Some(row) = more
            && routes
            && row.place.rank().0 < Rank::ROUTES
        {
            match self.rebuild_upper(row) {
                // The routes may be what costs more than they need.
                Err(TcamError::Cost { .. }) => {}
                done => return done,
            }
        }
        let mut rows = self.rows();
        if let Some(row) = more {
            row::insert(&mut rows, row);
        }
        self.publish_all(&rows)
    }

    /// Builds what stands above the routes anew, with one more filter.
    fn rebuild_upper(&mut self, more: Row) -> Result<(), TcamError> {
        self.admit_deferred()?;
        let order = self.order(self.bound());
        let Some(old) = self.cell.get() else { return Ok(()) };
        let mut engine = Engine::new(old.routes.clone(), Arc::clone(&old.generation));
        let mut rows: Vec<Row> = self.control.upper_rows(old, self.slice);
        rows.sort_by_key(|row| row.place);
        row::insert(&mut rows, more);
        let before = self.control.upper.take();
        if let Err(TooMuch(lines)) = build_upper(&order, &rows, &mut engine, &mut self.control) {
            self.control.upper = before;
            return Err(TcamError::Cost { slice: self.slice, lines, bound: order.bound });
        }
        self.show(Some(engine));
        Ok(())
    }

    fn rebuild_without(&mut self, rank: Rank, filter: &RangedFilter) -> Option<u32> {
        let mut rows = self.rows();
        let at = rows.iter().position(|row| row.place.rank() == rank && row.filter == *filter)?;
        let removed = rows.remove(at);
        // What fewer filters cost is no more, but by chance: a removal is not refused.
        let published = self.publish(&self.order(self.bound()), &rows);
        published.or_else(|_| self.publish(&self.order(u32::MAX), &rows)).ok()?;
        Some(removed.word)
    }

    fn order(&self, bound: u32) -> Order {
        let Shared { config, machine, .. } = &*self.shared;
        Order { slice: self.slice, machine: *machine, bound, seed: config.seed }
    }

    fn admit_deferred(&mut self) -> Result<(), TcamError> {
        let waiting = self.reclaim();
        if self.shared.may_defer(waiting) { Ok(()) } else { Err(TcamError::Deferred(waiting)) }
    }

    fn publish_all(&mut self, rows: &[Row]) -> Result<(), TcamError> {
        self.admit_deferred()?;
        let (slice, bound) = (self.slice, self.bound());
        let published = self.publish(&self.order(bound), rows);
        published.map_err(|TooMuch(lines)| TcamError::Cost { slice, lines, bound })
    }

    /// Builds engines for all filters and shows them to readers.
    fn publish(&mut self, order: &Order, rows: &[Row]) -> Result<(), TooMuch> {
        let (engine, control) = build(order, rows, Arc::clone(&self.generation))?;
        self.control = control;
        self.show(Some(engine));
        Ok(())
    }

    fn show(&mut self, engine: Option<Engine>) {
        let octets = self.cell.get().map_or(0, |old| old.octets_before(engine.as_ref()));
        self.cell.show(engine, octets);
        if self.share.was_revoked() {
            self.cell.hide(self.cell.get().map_or(0, |engine| engine.octets_before(None)));
        }
        self.reclaim();
    }
}

impl<V: Word> AllMatches for TcamWriter<V> {
    fn next_match(&self, key: TableKey, after: Option<Place>) -> Option<Hit<V>> {
        let engine = self.engine(key.slice())?;
        let Hit { place, value } = engine.next_match(&self.control, key.bits(), after)?;
        Some(Hit { place, value: V::of(value) })
    }
}

impl<V: Word> TernaryUpdate for TcamWriter<V> {
    type Error = TcamError;

    fn insert(&mut self, rank: Rank, filter: Filter, value: V) -> Result<Option<V>, TcamError> {
        self.insert_ranged(rank, filter.into(), value)
    }

    fn remove(&mut self, rank: Rank, filter: &Filter) -> Result<Option<V>, TcamError> {
        Ok(self.remove_ranged(rank, &(*filter).into()))
    }
}
