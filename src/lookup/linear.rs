//! The TCAM as the paper describes it: rows in the order of precedence, the first
//! match wins.
//!
//! Time O(filters), memory O(filters): 64 octets a row. Short on purpose, and the
//! reference that other tables are compared with. Up to some dozens of filters it is
//! also hard to beat.

use crate::key::TableKey;
use crate::lookup::{AllMatches, Filter, Hit, Place, Rank, TableErrorKind, TernaryTable, TernaryUpdate};
use crate::store::Store;

/// A filter in a table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Row<V> {
    place: Place,
    filter: Filter,
    value: V,
}

impl<V: Copy> Row<V> {
    pub(super) const fn new(place: Place, filter: Filter, value: V) -> Self {
        Self { place, filter, value }
    }

    pub(super) const fn place(&self) -> Place {
        self.place
    }

    pub(super) const fn value(&self) -> V {
        self.value
    }

    pub(super) fn replace(&mut self, value: V) -> V {
        core::mem::replace(&mut self.value, value)
    }

    pub(super) fn is(&self, rank: Rank, filter: &Filter) -> bool {
        self.place.rank() == rank && self.filter == *filter
    }

    pub(super) const fn parts(&self) -> (Rank, Filter, V) {
        (self.place.rank(), self.filter, self.value)
    }
}

/// Rows in order, scanned from the first.
///
/// `R` is the memory, `[Option<Row<V>>; N]` or any other [`Store`]; its length bounds
/// the filters and the cost of a lookup.
#[derive(Clone, Debug)]
pub struct LinearTcam<R> {
    /// Invariant: rows come first and in the order of their places.
    rows: R,
    inserted: u64,
}

impl<V: Copy, R: Store<Item = Option<Row<V>>>> LinearTcam<R> {
    /// An empty table.
    pub fn new(mut rows: R) -> Self {
        rows.items_mut().fill(None);
        Self { rows, inserted: 0 }
    }

    /// Filters in the table.
    pub fn len(&self) -> usize {
        self.rows().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows().next().is_none()
    }

    /// All filters with their ranks and values, in order of precedence.
    pub fn iter<'a>(&'a self) -> impl Iterator<Item = (Rank, Filter, V)>
    where
        V: 'a,
    {
        self.rows().map(Row::parts)
    }

    #[inline(always)]
    fn rows<'a>(&'a self) -> impl Iterator<Item = &'a Row<V>>
    where
        V: 'a,
    {
        self.rows.items().iter().map_while(Option::as_ref)
    }

    fn position(&self, rank: Rank, filter: &Filter) -> Option<usize> {
        self.rows().position(|row| row.is(rank, filter))
    }
}

impl<V: Copy, R: Store<Item = Option<Row<V>>>> TernaryTable for LinearTcam<R> {
    type Value = V;

    #[inline(always)]
    fn lookup(&self, key: TableKey) -> Option<V> {
        Some(self.rows().find(|row| row.filter.matches(key))?.value)
    }
}

impl<V: Copy, R: Store<Item = Option<Row<V>>>> AllMatches for LinearTcam<R> {
    fn next_match(&self, key: TableKey, after: Option<Place>) -> Option<Hit<V>> {
        let mut rows = self.rows().filter(|row| Some(row.place) > after);
        let row = rows.find(|row| row.filter.matches(key))?;
        Some(Hit { place: row.place, value: row.value })
    }
}

impl<V: Copy, R: Store<Item = Option<Row<V>>>> TernaryUpdate for LinearTcam<R> {
    type Error = TableErrorKind;

    fn insert(&mut self, rank: Rank, filter: Filter, value: V) -> Result<Option<V>, Self::Error> {
        if let Some(at) = self.position(rank, &filter) {
            let row = self.rows.items_mut().get_mut(at).and_then(Option::as_mut);
            return Ok(row.map(|row| row.replace(value)));
        }
        let rows = self.rows.items_mut();
        let free = rows.iter().position(Option::is_none).ok_or(TableErrorKind::Full)?;
        let place = Place::new(rank, self.inserted);
        self.inserted += 1;
        let behind = |row: &Option<Row<V>>| row.is_none_or(|row| row.place > place);
        let at = rows.iter().position(behind).unwrap_or(free);
        if let Some(moved) = rows.get_mut(at..=free) {
            moved.rotate_right(1);
        }
        if let Some(row) = rows.get_mut(at) {
            *row = Some(Row { place, filter, value });
        }
        Ok(None)
    }

    fn remove(&mut self, rank: Rank, filter: &Filter) -> Result<Option<V>, Self::Error> {
        let Some(at) = self.position(rank, filter) else { return Ok(None) };
        let rows = self.rows.items_mut();
        let removed = rows.get_mut(at).and_then(Option::take);
        if let Some(moved) = rows.get_mut(at..) {
            moved.rotate_left(1);
        }
        Ok(removed.map(|row| row.value))
    }
}
