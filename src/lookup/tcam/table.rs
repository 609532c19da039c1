//! The table of all slices.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::epoch::{Board, Lent};
use crate::id::{EgressId, SliceId};
use crate::key::TableKey;
use crate::lookup::tcam::engine::Engine;
use crate::lookup::tcam::share::{Share, Shared};
use crate::lookup::tcam::{
    Entry, Explanation, Handle, Plan, Shadowed, TcamConfig, TcamError, TcamReader, TcamWriter,
};
use crate::lookup::{AllMatches, Filter, Hit, Place, RangedFilter, Rank, TernaryUpdate, Word};

/// A ternary table of many slices: the writer's side, and a table of its own for a single
/// thread.
///
/// Other threads read through [`reader`](Self::reader)s. Every lookup sees the table before
/// or after an update, and a vector that begins after an update has returned sees it.
///
/// Any slice can be [given out](Self::writer) to a writer in another thread. Of such a slice
/// this knows no more than how many filters it has, until its writer is dropped: readers
/// see it, lookups here find nothing, and updates are refused.
#[derive(Debug)]
pub struct Tcam<V = EgressId> {
    board: Board<Engine>,
    slices: Vec<Seat<V>>,
    shared: Arc<Shared>,
    /// Octets of what was taken from readers when slices were taken back.
    waiting: usize,
}

/// Where a slice's writer is.
#[derive(Debug)]
enum Seat<V> {
    Here(Box<TcamWriter<V>>),
    /// The writer comes back when it is dropped.
    Out(Lent<TcamWriter<V>>, Arc<Share>),
}

impl<V: Word> Tcam<V> {
    /// An empty table.
    pub fn new(config: TcamConfig) -> Self {
        Self::on(Board::new(config.slices, config.readers), config)
    }

    /// An empty table, made for at least one reader, and the first one.
    pub fn with_reader(config: TcamConfig) -> (Self, TcamReader<V>) {
        let (board, view) = Board::with_view(config.slices, config.readers);
        (Self::on(board, config), TcamReader::new(view))
    }

    fn on(board: Board<Engine>, config: TcamConfig) -> Self {
        let shared = Arc::new(Shared::new(config));
        let slice = |at: u16| {
            let cell = board.writer(at.into());
            Seat::Here(Box::new(TcamWriter::new(SliceId(at), cell, Arc::clone(&shared))))
        };
        let slices = (0..=u16::MAX).take(config.slices).map(slice).collect();
        Self { board, slices, shared, waiting: 0 }
    }

    /// What it was made with.
    pub fn config(&self) -> &TcamConfig {
        &self.shared.config
    }

    /// A reader, if there are fewer than were asked for.
    pub fn reader(&self) -> Option<TcamReader<V>> {
        Some(TcamReader::new(self.board.view()?))
    }

    /// Gives out `slice`, with the filters that it has, what it was promised and its bound.
    ///
    /// # Errors
    ///
    /// [`TcamError::GivenOut`], [`TcamError::UnknownSlice`].
    pub fn writer(&mut self, slice: SliceId) -> Result<TcamWriter<V>, TcamError> {
        self.slice_mut(slice)?;
        let unknown = self.unknown(slice);
        let seat = self.slices.get_mut(usize::from(slice.0)).ok_or(unknown)?;
        let Seat::Here(writer) = seat else { return Err(TcamError::GivenOut(slice)) };
        let (writer, back, share) = writer.give_out();
        *seat = Seat::Out(back, share);
        Ok(writer)
    }

    /// Takes `slice` back, whoever has it: readers find nothing there any more, what it held
    /// and was promised is free for others, and its bound is that of the table. Its writer's
    /// updates are refused from now on; the slice can be given out again, and the memory of
    /// its filters is free, when that is dropped.
    pub fn revoke(&mut self, slice: SliceId) {
        // It may be back.
        let _ = self.slice_mut(slice);
        let at = usize::from(slice.0);
        match self.slices.get_mut(at) {
            Some(Seat::Here(writer)) => writer.reset(),
            Some(Seat::Out(_, share)) => {
                share.revoke(&self.shared);
                self.board.empty(at, |engine| engine.octets_before(None));
            }
            None => {}
        }
        self.reclaim();
    }

    /// Whether `slice` was given out, and its writer is not dropped yet.
    pub fn is_given_out(&self, slice: SliceId) -> bool {
        matches!(self.slices.get(usize::from(slice.0)), Some(Seat::Out(back, _)) if back.peek().is_none())
    }

    /// Promises `filters` to `slice`, those that it has included; what no slice was
    /// promised is anybody's. 0 takes a promise back.
    ///
    /// # Errors
    ///
    /// [`TcamError::Reserve`], [`TcamError::GivenOut`], [`TcamError::UnknownSlice`].
    pub fn reserve(&mut self, slice: SliceId, filters: usize) -> Result<(), TcamError> {
        self.slice_mut(slice)?.reserve(filters)
    }

    /// Sets what a lookup of `slice` may touch, in cache lines. Its filters are found anew
    /// if they take more as they are.
    ///
    /// # Errors
    ///
    /// [`TcamError::Cost`] if they take more then, too, [`TcamError::Deferred`],
    /// [`TcamError::GivenOut`], [`TcamError::UnknownSlice`].
    pub fn set_bound(&mut self, slice: SliceId, lines: u32) -> Result<(), TcamError> {
        self.slice_mut(slice)?.set_bound(lines)
    }

    /// [`insert`](TernaryUpdate::insert) of a filter with ranges.
    ///
    /// # Errors
    ///
    /// [`TcamError`]; the table is unchanged.
    pub fn insert_ranged(
        &mut self, rank: Rank, filter: RangedFilter, value: V,
    ) -> Result<Option<V>, TcamError> {
        self.slice_mut(filter.filter().slice())?.insert_ranged(rank, filter, value)
    }

    /// [`remove`](TernaryUpdate::remove) of a filter with ranges.
    pub fn remove_ranged(&mut self, rank: Rank, filter: &RangedFilter) -> Option<V> {
        self.slice_mut(filter.filter().slice()).ok()?.remove_ranged(rank, filter)
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
        self.slice_mut(slice)?.load(filters)
    }

    /// Removes all filters of `slice`, as [`load`](Self::load) of none; not those of a slice
    /// that is given out.
    pub fn clear(&mut self, slice: SliceId) {
        if let Ok(of) = self.slice_mut(slice) {
            of.clear();
        }
    }

    /// Filters of `slice`, given out or not.
    pub fn len(&self, slice: SliceId) -> usize {
        match self.slices.get(usize::from(slice.0)) {
            Some(Seat::Here(of)) => of.len(),
            Some(Seat::Out(_, share)) if !share.is_revoked() => share.filters(),
            _ => 0,
        }
    }

    /// Whether no slice has filters.
    pub fn is_empty(&self) -> bool {
        (0..=u16::MAX).take(self.slices.len()).all(|slice| self.len(SliceId(slice)) == 0)
    }

    /// Filters of `slice`, in no order.
    pub fn iter(&self, slice: SliceId) -> impl Iterator<Item = Entry<V>> {
        self.slice(slice).into_iter().flat_map(|of| of.iter())
    }

    /// What is stored with a filter.
    pub fn get(&self, rank: Rank, filter: &RangedFilter) -> Option<V> {
        self.slice(filter.filter().slice()).ok()?.get(rank, filter)
    }

    /// A number that is another after every update of `slice`.
    pub fn generation(&self, slice: SliceId) -> u64 {
        self.slice(slice).map_or(0, TcamWriter::generation)
    }

    /// Names a filter that is there.
    pub fn find(&self, rank: Rank, filter: &RangedFilter) -> Option<Handle> {
        self.slice(filter.filter().slice()).ok()?.find(rank, filter)
    }

    /// Removes the filter that `handle` names.
    ///
    /// # Errors
    ///
    /// [`TcamError::UnknownHandle`].
    pub fn remove_by(&mut self, handle: Handle) -> Result<V, TcamError> {
        self.slice_mut(handle.slice()).map_err(|_| TcamError::UnknownHandle)?.remove_by(handle)
    }

    /// Stores another value with the filter that `handle` names; returns the old one.
    ///
    /// # Errors
    ///
    /// [`TcamError::UnknownHandle`].
    pub fn replace_by(&mut self, handle: Handle, value: V) -> Result<V, TcamError> {
        self.slice_mut(handle.slice()).map_err(|_| TcamError::UnknownHandle)?.replace_by(handle, value)
    }

    /// Which engine finds the filters of `slice`, and what that costs.
    ///
    /// # Errors
    ///
    /// [`TcamError::GivenOut`], [`TcamError::UnknownSlice`].
    pub fn plan(&self, slice: SliceId) -> Result<Plan, TcamError> {
        self.slice(slice).map(|of| of.plan())
    }

    /// Which filters match `key`, best first, and what a lookup of its slice may touch.
    pub fn explain(&self, key: TableKey) -> Explanation<V> {
        let nothing = || Explanation { key, matches: Vec::new(), lines: 0 };
        self.slice(key.slice()).map_or_else(|_| nothing(), |of| of.explain(key.key()))
    }

    /// Filters of `slice` that can never win, each with the first that stands before it and
    /// matches all that it matches: see [`TcamWriter::shadowed`].
    pub fn shadowed(&self, slice: SliceId) -> Vec<Shadowed<V>> {
        self.slice(slice).map(TcamWriter::shadowed).unwrap_or_default()
    }

    /// Octets of memory in use by all slices that are not given out.
    pub fn octets(&self) -> usize {
        let slices = (0..=u16::MAX).take(self.slices.len());
        let used: usize = slices.filter_map(|at| Some(self.slice(SliceId(at)).ok()?.octets())).sum();
        used + self.slices.len() * (size_of::<Seat<V>>() + size_of::<usize>())
    }

    /// Octets of engines that were replaced and wait for readers, of all slices that are not
    /// given out.
    pub fn deferred(&self) -> usize {
        let slices = (0..=u16::MAX).take(self.slices.len());
        slices.filter_map(|at| Some(self.slice(SliceId(at)).ok()?.deferred())).sum::<usize>() + self.waiting
    }

    /// Frees what no reader sees any more, but of slices that are given out; updates do it
    /// by themselves for their slice. Returns the octets that wait still.
    pub fn reclaim(&mut self) -> usize {
        let waiting = self.board.reclaim();
        self.shared.waits(self.waiting, waiting);
        self.waiting = waiting;
        for at in (0..=u16::MAX).take(self.slices.len()) {
            let _ = self.slice_mut(SliceId(at)).map(|of| of.reclaim());
        }
        self.deferred()
    }

    const fn unknown(&self, slice: SliceId) -> TcamError {
        TcamError::UnknownSlice { slice, slices: self.slices.len() }
    }

    fn slice(&self, slice: SliceId) -> Result<&TcamWriter<V>, TcamError> {
        match self.slices.get(usize::from(slice.0)).ok_or(self.unknown(slice))? {
            Seat::Here(of) => Ok(of),
            Seat::Out(back, _) => back.peek().filter(|of| !of.is_revoked()).ok_or(TcamError::GivenOut(slice)),
        }
    }

    fn slice_mut(&mut self, slice: SliceId) -> Result<&mut TcamWriter<V>, TcamError> {
        let unknown = self.unknown(slice);
        let seat = self.slices.get_mut(usize::from(slice.0)).ok_or(unknown)?;
        if let Seat::Out(back, _) = seat
            && let Some(mut of) = back.take()
        {
            if of.is_revoked() {
                of.reset();
            }
            *seat = Seat::Here(of);
        }
        match seat {
            Seat::Here(of) => Ok(of),
            Seat::Out(..) => Err(TcamError::GivenOut(slice)),
        }
    }

    #[inline(always)]
    pub(super) fn engine(&self, slice: SliceId) -> Option<&Engine> {
        match self.slices.get(usize::from(slice.0))? {
            Seat::Here(of) => of.engine(slice),
            Seat::Out(..) => self.slice(slice).ok()?.engine(slice),
        }
    }
}

impl<V: Word> AllMatches for Tcam<V> {
    fn next_match(&self, key: TableKey, after: Option<Place>) -> Option<Hit<V>> {
        self.slice(key.slice()).ok()?.next_match(key, after)
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
