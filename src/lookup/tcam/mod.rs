//! What replaces a TCAM: one table for all slices, private to each, updated while other
//! cores read.
//!
//! Each slice has an engine of its own that fits its filters, and that is changed as they
//! change: [`Tcam::plan`] says which, and what a lookup may cost. A slice has a bound on
//! that, and a filter that cannot be kept within it is refused: a TCAM's constant time in
//! software.
//!
//! ```
//! use fastpath::code_option::ipv4::Ipv4Key;
//! use fastpath::id::SliceId;
//! use fastpath::key::{LookupKey, TableKey};
//! use fastpath::lookup::{Filter, Rank, Tcam, TcamConfig, TernaryTable, TernaryUpdate};
//!
//! let slice = SliceId(1);
//! let mut tcam = Tcam::<u32>::new(TcamConfig::default());
//! for (number, len) in [(1, 8), (2, 16)] {
//!     let (value, mask) = Ipv4Key::route(0x0a01_0000, len);
//!     tcam.insert(Rank::longest_prefix(32, len), Filter::new(slice, value, mask), number)?;
//! }
//! // A reader for each core that forwards; what it sees changes as the table does.
//! let mut reader = tcam.reader().unwrap();
//! let key = |to| TableKey::new(slice, LookupKey::from(Ipv4Key { destination: to, ..Default::default() }));
//! assert_eq!((reader.lookup(key(0x0a01_0203)), reader.lookup(key(0x0a02_0203))), (Some(2), Some(1)));
//! let (value, mask) = Ipv4Key::route(0x0a01_0000, 16);
//! tcam.remove(Rank::longest_prefix(32, 16), &Filter::new(slice, value, mask))?;
//! assert_eq!(reader.lookup(key(0x0a01_0203)), Some(1));
//! // The end of a vector: what was removed may be reclaimed.
//! reader.quiescent();
//! # Ok::<(), fastpath::lookup::TcamError>(())
//! ```

mod engine;
mod find;
mod report;
mod routes;
mod row;
mod shape;
#[cfg(test)]
#[cfg(all(feature = "conformance", not(loom)))]
mod tests;

pub use report::{Explanation, Match, Plan, Shadowed};

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Acquire, Release};

use crate::epoch::{Board, View};
use crate::id::{EgressId, SliceId};
use crate::key::TableKey;
use crate::lookup::forest::Machine;
use crate::lookup::{
    AllMatches, Filter, Hit, Place, RangedFilter, Rank, TableError, TableErrorKind, TernaryTable,
    TernaryUpdate, Word,
};

use engine::{Control, Engine, Order, TooMuch, UpperControl, build, build_upper};
use row::{Changed, Row};

/// What a [`Tcam`] is made with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TcamConfig {
    /// Filters of all slices together.
    pub filters: usize,
    /// Slices, by number from 0 on.
    pub slices: usize,
    /// Readers at once.
    pub readers: usize,
    /// Cache lines that a lookup may touch, for slices that are not given a bound of their
    /// own.
    pub lines: u32,
    /// Octets that may wait for readers; beyond, updates are refused.
    pub deferred: usize,
    /// Seed of whatever is hashed: not to be guessed by who sends packets.
    pub seed: u64,
}

impl Default for TcamConfig {
    /// The paper's 131,072 filters, 64 slices, 64 readers, lookups of up to 128 lines,
    /// 64 MiB deferred. The seed is fixed: choose one where hashed keys come from strangers.
    fn default() -> Self {
        Self {
            filters: 131_072,
            slices: 64,
            readers: 64,
            lines: 128,
            deferred: 64 << 20,
            seed: 0x9e37_79b9_7f4a_7c15,
        }
    }
}

/// Why an update was refused. The table is unchanged.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TcamError {
    /// No such slice.
    #[error("slice {slice} is out of range: the table has {slices} slices")]
    UnknownSlice {
        /// The slice named.
        slice: SliceId,
        /// How many there are.
        slices: usize,
    },
    /// No filter is left for this slice: all are in use, or reserved for others.
    #[error("no filter is left for slice {0}: remove filters, or reserve more")]
    Full(SliceId),
    /// So many cannot be reserved.
    #[error("{asked} filters asked for, {left} are neither in use nor reserved")]
    Reserve {
        /// Asked for.
        asked: usize,
        /// Left.
        left: usize,
    },
    /// A lookup might touch more cache lines than the slice may.
    #[error("a lookup of slice {slice} might touch {lines} cache lines, {bound} is its bound")]
    Cost {
        /// The slice.
        slice: SliceId,
        /// What it would take.
        lines: u32,
        /// What is allowed.
        bound: u32,
    },
    /// Too much memory waits for readers that do not say that they are quiescent.
    #[error("{0} octets wait for readers: let every reader say that it is quiescent, or drop it")]
    Deferred(usize),
    /// A filter to be loaded is of another slice.
    #[error("a filter of slice {other} was to be loaded into slice {slice}")]
    OtherSlice {
        /// The slice that is loaded.
        slice: SliceId,
        /// The filter's.
        other: SliceId,
    },
    /// The filter that a handle named is gone.
    #[error("the handle names a filter that was removed")]
    UnknownHandle,
}

impl TableError for TcamError {
    fn kind(&self) -> TableErrorKind {
        match self {
            Self::UnknownSlice { .. } | Self::OtherSlice { .. } => TableErrorKind::UnknownSlice,
            Self::Full(_) | Self::Reserve { .. } | Self::Deferred(_) => TableErrorKind::Full,
            Self::Cost { .. } | Self::UnknownHandle => TableErrorKind::Unsupported,
        }
    }
}

/// A filter of a table, its rank and what is stored with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry<V> {
    /// Where it stands.
    pub place: Place,
    /// What it matches.
    pub filter: RangedFilter,
    /// What is stored with it.
    pub value: V,
}

/// Names one filter of a table for as long as it is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Handle {
    rank: Rank,
    filter: RangedFilter,
}

/// A ternary table of many slices: the writer's side, and a table of its own for a single
/// thread.
///
/// Other threads read through [`reader`](Self::reader)s. Every lookup sees the table before
/// or after an update, and a vector that begins after an update has returned sees it.
#[derive(Debug)]
pub struct Tcam<V = EgressId> {
    board: Board<Engine>,
    slices: Vec<Slice>,
    config: TcamConfig,
    /// Filters in use or promised.
    taken: usize,
    machine: Machine,
    /// Octets of engines that were replaced and may be seen still, the oldest first.
    retired: alloc::collections::VecDeque<usize>,
    values: PhantomData<fn() -> V>,
}

/// A reader of a [`Tcam`] in a thread of its own. Lookups are wait-free.
///
/// Whoever reads calls [`quiescent`](TernaryTable::quiescent) after each vector, and drops
/// the reader when it reads no more: the memory of what was removed waits for it.
#[derive(Debug)]
pub struct TcamReader<V = EgressId> {
    view: View<Engine>,
    values: PhantomData<fn() -> V>,
}

/// What the writer knows of a slice.
#[derive(Debug, Default)]
struct Slice {
    control: Control,
    filters: usize,
    reserved: usize,
    /// The bound, where it is its own.
    lines: Option<u32>,
    generation: Arc<AtomicU64>,
}

impl<V: Word> Tcam<V> {
    /// An empty table.
    pub fn new(config: TcamConfig) -> Self {
        Self {
            board: Board::new(config.slices, config.readers),
            slices: core::iter::repeat_with(Slice::default).take(config.slices).collect(),
            config,
            taken: 0,
            machine: Machine::detect(),
            retired: alloc::collections::VecDeque::new(),
            values: PhantomData,
        }
    }

    /// What it was made with.
    pub const fn config(&self) -> &TcamConfig {
        &self.config
    }

    /// A reader, if there are fewer than were asked for.
    pub fn reader(&self) -> Option<TcamReader<V>> {
        Some(TcamReader { view: self.board.view()?, values: PhantomData })
    }

    /// Promises `filters` to `slice`, those that it has included; what no slice was
    /// promised is anybody's. 0 takes a promise back.
    ///
    /// # Errors
    ///
    /// [`TcamError::Reserve`], [`TcamError::UnknownSlice`].
    pub fn reserve(&mut self, slice: SliceId, filters: usize) -> Result<(), TcamError> {
        let of = self.slice(slice)?;
        let left = self.config.filters - (self.taken - of.taken());
        if filters.max(of.filters) > left {
            return Err(TcamError::Reserve { asked: filters, left });
        }
        self.account(slice, |of| of.reserved = filters);
        Ok(())
    }

    /// Sets what a lookup of `slice` may touch, in cache lines. Its filters are found anew
    /// if they take more as they are.
    ///
    /// # Errors
    ///
    /// [`TcamError::Cost`] if they take more then, too, [`TcamError::UnknownSlice`].
    pub fn set_bound(&mut self, slice: SliceId, lines: u32) -> Result<(), TcamError> {
        let now = self.plan(slice)?.lines;
        let of = self.slice_mut(slice)?;
        let before = of.lines.replace(lines);
        if now > lines
            && let Err(error) = self.rebuild(slice, None)
        {
            self.slice_mut(slice)?.lines = before;
            return Err(error);
        }
        Ok(())
    }

    /// [`insert`](TernaryUpdate::insert) of a filter with ranges.
    ///
    /// # Errors
    ///
    /// [`TcamError`]; the table is unchanged.
    pub fn insert_ranged(
        &mut self, rank: Rank, filter: RangedFilter, value: V,
    ) -> Result<Option<V>, TcamError> {
        let slice = filter.filter().slice();
        let of = self.slice(slice)?;
        let room = of.filters < of.reserved || self.taken < self.config.filters;
        let row = Row { place: Place::new(rank, 0), filter, word: value.word() };
        let bound = self.bound(slice);
        let known = self.get(rank, &filter).map(V::word);
        if known.is_none() && !room {
            return Err(TcamError::Full(slice));
        }
        let changed = self.change(slice, |control, engine, epochs| {
            control.insert(engine, epochs, &row, known.is_some(), bound)
        });
        match changed {
            Changed::Done(_) => {}
            // A small part's own memory is soon used up, and a late reader no reason to
            // refuse: a new one takes its place. A large one has more, and whoever holds so
            // much of it back has stalled.
            Changed::Busy if self.engine(slice).is_some_and(Engine::is_large) => {
                return Err(TcamError::Deferred(self.deferred() + self.waiting(slice)));
            }
            Changed::Cost(lines) => return Err(TcamError::Cost { slice, lines, bound }),
            Changed::Misfit | Changed::RebuildDue | Changed::Busy => {
                self.rebuild(slice, Some(row))?;
            }
        }
        self.account(slice, |of| of.changed(of.filters + usize::from(known.is_none())));
        Ok(known.map(V::of))
    }

    /// [`remove`](TernaryUpdate::remove) of a filter with ranges.
    pub fn remove_ranged(&mut self, rank: Rank, filter: &RangedFilter) -> Option<V> {
        let slice = filter.filter().slice();
        let changed =
            self.change(slice, |control, engine, epochs| control.remove(engine, epochs, rank, filter));
        let old = match changed {
            Changed::Done(old) => old?,
            // The part keeps memory for removals; if that is used up, or waits for readers,
            // the slice is found anew without the filter.
            _ => self.rebuild_without(slice, rank, filter)?,
        };
        self.account(slice, |of| of.changed(of.filters - 1));
        Some(V::of(old))
    }

    /// Puts `filters` in the place of all that `slice` has: a lookup sees the old ones or
    /// the new ones. Of filters with one identity the last one's value stands, in the place
    /// of the first.
    ///
    /// # Errors
    ///
    /// [`TcamError`]; [`TcamError::OtherSlice`] where a filter is of another slice. The
    /// table is unchanged.
    pub fn load(
        &mut self, slice: SliceId, filters: impl IntoIterator<Item = (Rank, RangedFilter, V)>,
    ) -> Result<(), TcamError> {
        let of = self.slice(slice)?;
        let left = self.config.filters - (self.taken - of.taken());
        let mut rows: Vec<Row> = Vec::new();
        for (order, (rank, filter, value)) in (0..).zip(filters) {
            if filter.filter().slice() != slice {
                return Err(TcamError::OtherSlice { slice, other: filter.filter().slice() });
            }
            rows.push(Row { place: Place::new(rank, order), filter, word: value.word() });
        }
        let rows = row::distinct(rows);
        if rows.len() > left {
            return Err(TcamError::Full(slice));
        }
        let count = rows.len();
        self.publish_all(slice, &rows)?;
        self.account(slice, |of| of.changed(count));
        Ok(())
    }

    /// Removes all filters of `slice`, as [`load`](Self::load) of none.
    pub fn clear(&mut self, slice: SliceId) {
        self.account(slice, |of| {
            of.control = Control::default();
            of.changed(0);
        });
        self.replace(slice, None);
    }

    /// Filters of `slice`.
    pub fn len(&self, slice: SliceId) -> usize {
        self.slice(slice).map_or(0, |of| of.filters)
    }

    /// Whether no slice has filters.
    pub fn is_empty(&self) -> bool {
        self.slices.iter().all(|of| of.filters == 0)
    }

    /// Filters of `slice`, in no order.
    pub fn iter(&self, slice: SliceId) -> impl Iterator<Item = Entry<V>> {
        let parts = self.slice(slice).ok().zip(self.engine(slice));
        let rows = parts.into_iter().flat_map(move |(of, engine)| of.control.rows(engine, slice));
        rows.map(|row| Entry { place: row.place, filter: row.filter, value: V::of(row.word) })
    }

    /// What is stored with a filter.
    pub fn get(&self, rank: Rank, filter: &RangedFilter) -> Option<V> {
        let slice = filter.filter().slice();
        let word = self.slice(slice).ok()?.control.get(self.engine(slice)?, rank, filter);
        word.map(V::of)
    }

    /// A number that is another after every update of `slice`.
    pub fn generation(&self, slice: SliceId) -> u64 {
        self.slice(slice).map_or(0, |of| of.generation.load(Acquire))
    }

    /// Names a filter that is there.
    pub fn find(&self, rank: Rank, filter: &RangedFilter) -> Option<Handle> {
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
    /// [`TcamError::UnknownHandle`].
    pub fn replace_by(&mut self, handle: Handle, value: V) -> Result<V, TcamError> {
        if self.get(handle.rank, &handle.filter).is_none() {
            return Err(TcamError::UnknownHandle);
        }
        self.insert_ranged(handle.rank, handle.filter, value)?.ok_or(TcamError::UnknownHandle)
    }

    /// Which engine finds the filters of `slice`, and what that costs.
    ///
    /// # Errors
    ///
    /// [`TcamError::UnknownSlice`].
    pub fn plan(&self, slice: SliceId) -> Result<Plan, TcamError> {
        let of = self.slice(slice)?;
        let Some(engine) = self.engine(slice) else { return Ok(Plan::NONE) };
        let upper = match (&of.control.upper, engine.upper.as_deref()) {
            (Some(UpperControl::Exact(_)), _) => Some("exact match"),
            (_, Some(engine::Upper::Forest(forest))) if forest.is_list() => Some("scan"),
            (Some(UpperControl::Forest(_)), _) => Some("forest"),
            (None, _) => None,
        };
        Ok(Plan {
            upper,
            routes: engine.routes.is_some(),
            filters: of.filters,
            lines: of.control.cost(engine),
            octets: of.control.octets(engine),
        })
    }

    /// Which filters match `key`, best first, and what a lookup of its slice may touch.
    pub fn explain(&self, key: TableKey) -> Explanation<V> {
        let matches = self.iter(key.slice()).filter(|entry| entry.filter.matches(key));
        let mut matches: Vec<_> = matches.map(|entry| Match { entry, wins: false }).collect();
        matches.sort_by_key(|found| found.entry.place);
        if let Some(first) = matches.first_mut() {
            first.wins = true;
        }
        let lines = self.engine(key.slice()).zip(self.slice(key.slice()).ok());
        let lines = lines.map_or(0, |(engine, of)| of.control.cost_of(engine, key.bits()));
        Explanation { key, matches, lines }
    }

    /// Filters of `slice` that can never win, each with one that stands before it and
    /// matches all that it matches. O(filters^2).
    pub fn shadowed(&self, slice: SliceId) -> Vec<Shadowed<V>> {
        report::shadowed(self.iter(slice).collect())
    }

    /// Octets of memory in use by all slices.
    pub fn octets(&self) -> usize {
        let slices = self.slices.iter().enumerate();
        let used = slices.filter_map(|(at, of)| Some(of.control.octets(self.board.get(at)?)));
        used.sum::<usize>() + self.slices.len() * (size_of::<Slice>() + size_of::<usize>())
    }

    /// Octets of engines that were replaced and wait for readers.
    pub fn deferred(&self) -> usize {
        self.retired.iter().sum()
    }

    /// Frees what no reader sees any more; updates do it by themselves. Returns the octets
    /// that wait still.
    pub fn reclaim(&mut self) -> usize {
        let left = self.board.reclaim();
        while self.retired.len() > left {
            self.retired.pop_front();
        }
        self.deferred()
    }

    /// After a change of a slice's filters or of what it was promised.
    fn account(&mut self, slice: SliceId, change: impl FnOnce(&mut Slice)) {
        if let Some(of) = self.slices.get_mut(usize::from(slice.0)) {
            let before = of.taken();
            change(of);
            self.taken = self.taken - before + of.taken();
        }
    }

    fn slice(&self, slice: SliceId) -> Result<&Slice, TcamError> {
        let unknown = TcamError::UnknownSlice { slice, slices: self.slices.len() };
        self.slices.get(usize::from(slice.0)).ok_or(unknown)
    }

    fn slice_mut(&mut self, slice: SliceId) -> Result<&mut Slice, TcamError> {
        let unknown = TcamError::UnknownSlice { slice, slices: self.slices.len() };
        self.slices.get_mut(usize::from(slice.0)).ok_or(unknown)
    }

    #[inline(always)]
    fn engine(&self, slice: SliceId) -> Option<&Engine> {
        self.board.get(usize::from(slice.0))
    }

    /// Octets of a slice's routes that wait for readers.
    fn waiting(&self, slice: SliceId) -> usize {
        let of = self.slice(slice).ok().zip(self.engine(slice));
        of.map_or(0, |(of, engine)| of.control.waiting(engine))
    }

    fn bound(&self, slice: SliceId) -> u32 {
        self.slice(slice).ok().and_then(|of| of.lines).unwrap_or(self.config.lines)
    }

    /// Changes the engine of a slice in place.
    fn change(
        &mut self, slice: SliceId,
        change: impl FnOnce(&mut Control, &Engine, &mut crate::epoch::Epochs) -> Changed,
    ) -> Changed {
        let at = usize::from(slice.0);
        let (engine, epochs) = self.board.get_with_epochs(at);
        match (self.slices.get_mut(at), engine) {
            (Some(of), Some(engine)) => change(&mut of.control, engine, epochs),
            _ => Changed::RebuildDue,
        }
    }

    /// All filters of a slice in the order of their places.
    fn rows(&self, slice: SliceId) -> Vec<Row> {
        let parts = self.slice(slice).ok().zip(self.engine(slice));
        let rows = parts.into_iter().flat_map(|(of, engine)| of.control.rows(engine, slice));
        let mut rows: Vec<Row> = rows.collect();
        rows.sort_by_key(|row| row.place);
        rows
    }

    /// Builds a slice anew with one more filter, if there is one: only the part that it
    /// concerns where that will do.
    fn rebuild(&mut self, slice: SliceId, more: Option<Row>) -> Result<(), TcamError> {
        let routes = self.engine(slice).is_some_and(|engine| engine.routes.is_some());
        if let Some(row) = more
            && routes
            && row.place.rank().0 < Rank::ROUTES
        {
            return self.rebuild_upper(slice, row);
        }
        let mut rows = self.rows(slice);
        if let Some(row) = more {
            row::insert(&mut rows, row);
        }
        self.publish_all(slice, &rows)
    }

    /// Builds what stands above the routes of a slice anew, with one more filter.
    fn rebuild_upper(&mut self, slice: SliceId, more: Row) -> Result<(), TcamError> {
        self.admit_deferred()?;
        let order = self.order(slice);
        let Some(old) = self.board.get(usize::from(slice.0)) else { return Ok(()) };
        let (routes, generation) = (old.routes.clone(), Arc::clone(&old.generation));
        let mut engine = Engine { upper: None, routes, generation, octets: [0; 2] };
        let Some(of) = self.slices.get_mut(usize::from(slice.0)) else { return Ok(()) };
        let mut rows: Vec<Row> = of.control.upper_rows(old, slice);
        rows.sort_by_key(|row| row.place);
        row::insert(&mut rows, more);
        let before = of.control.upper.take();
        if let Err(TooMuch(lines)) = build_upper(&order, &rows, &mut engine, &mut of.control) {
            of.control.upper = before;
            return Err(TcamError::Cost { slice, lines, bound: order.bound });
        }
        self.replace(slice, Some(engine));
        Ok(())
    }

    fn rebuild_without(&mut self, slice: SliceId, rank: Rank, filter: &RangedFilter) -> Option<u32> {
        let mut rows = self.rows(slice);
        let at = rows.iter().position(|row| row.place.rank() == rank && row.filter == *filter)?;
        let removed = rows.remove(at);
        // What fewer filters cost is no more, but by chance: a removal is not refused.
        let bound = self.slice_mut(slice).ok()?.lines.replace(u32::MAX);
        let order = self.order(slice);
        self.slice_mut(slice).ok()?.lines = bound;
        self.publish(&order, &rows).ok()?;
        Some(removed.word)
    }

    fn order(&self, slice: SliceId) -> Order {
        Order { slice, machine: self.machine, bound: self.bound(slice), seed: self.config.seed }
    }

    fn admit_deferred(&mut self) -> Result<(), TcamError> {
        let waiting = self.reclaim();
        if waiting > self.config.deferred { Err(TcamError::Deferred(waiting)) } else { Ok(()) }
    }

    fn publish_all(&mut self, slice: SliceId, rows: &[Row]) -> Result<(), TcamError> {
        self.admit_deferred()?;
        let order = self.order(slice);
        self.publish(&order, rows).map_err(|TooMuch(lines)| TcamError::Cost {
            slice,
            lines,
            bound: order.bound,
        })
    }

    /// Builds engines for all of a slice's filters and shows them to readers.
    fn publish(&mut self, order: &Order, rows: &[Row]) -> Result<(), TooMuch> {
        let Some(of) = self.slices.get_mut(usize::from(order.slice.0)) else { return Ok(()) };
        let (engine, control) = build(order, rows, Arc::clone(&of.generation))?;
        of.control = control;
        self.replace(order.slice, Some(engine));
        Ok(())
    }

    fn replace(&mut self, slice: SliceId, engine: Option<Engine>) {
        let at = usize::from(slice.0);
        if let Some(old) = self.board.get(at) {
            self.retired.push_back(old.octets_before(engine.as_ref()));
        }
        // There is such a cell: there is such a slice.
        let _ = self.board.replace(at, engine.map(Box::new));
        self.reclaim();
    }
}

impl Slice {
    /// Filters in use or promised.
    fn taken(&self) -> usize {
        self.filters.max(self.reserved)
    }

    /// After an update that leaves so many filters.
    fn changed(&mut self, filters: usize) {
        self.filters = filters;
        // Release: who sees the number sees the update.
        self.generation.store(self.generation.load(Acquire) + 1, Release);
    }
}

impl<V: Word> TcamReader<V> {
    /// Another reader, if there are fewer than the table was made for.
    pub fn another(&self) -> Option<Self> {
        Some(Self { view: self.view.another()?, values: PhantomData })
    }

    /// A number that is another after every update of `slice`.
    pub fn generation(&self, slice: SliceId) -> u64 {
        self.engine(slice).map_or(0, |engine| engine.generation.load(Acquire))
    }

    #[inline(always)]
    fn engine(&self, slice: SliceId) -> Option<&Engine> {
        self.view.get(usize::from(slice.0))
    }
}

macro_rules! is_a_table {
    ($table:ident $(, $quiescent:item)?) => {
        impl<V: Word> TernaryTable for $table<V> {
            type Value = V;

            #[inline(always)]
            fn lookup(&self, key: TableKey) -> Option<V> {
                self.engine(key.slice())?.lookup(key.bits()).map(V::of)
            }
            #[inline(always)]
            fn prefetch(&self, key: TableKey) {
                if let Some(engine) = self.engine(key.slice()) {
                    engine.prefetch(key.bits());
                }
            }
            #[inline(always)]
            fn lookup_batch(&self, keys: &[TableKey], found: &mut [Option<V>]) {
                find::lookup_batch(|slice| self.engine(slice), keys, found);
            }
            $($quiescent)?
        }
    };
}

is_a_table!(Tcam);
is_a_table!(
    TcamReader,
    #[inline(always)]
    fn quiescent(&mut self) {
        self.view.quiescent();
    }
);

impl<V: Word> AllMatches for Tcam<V> {
    fn next_match(&self, key: TableKey, after: Option<Place>) -> Option<Hit<V>> {
        let (engine, of) = (self.engine(key.slice())?, self.slice(key.slice()).ok()?);
        let Hit { place, value } = engine.next_match(&of.control, key.bits(), after)?;
        Some(Hit { place, value: V::of(value) })
    }
}

impl<V: Word> TernaryUpdate for Tcam<V> {
    type Error = TcamError;

    fn insert(&mut self, rank: Rank, filter: Filter, value: V) -> Result<Option<V>, TcamError> {
        self.insert_ranged(rank, filter.into(), value)
    }

    fn remove(&mut self, rank: Rank, filter: &Filter) -> Result<Option<V>, TcamError> {
        Ok(self.remove_ranged(rank, &(*filter).into()))
    }
}
