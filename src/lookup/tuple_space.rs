//! Tuple space search: one hash probe for each mask in use.
//!
//! V. Srinivasan, S. Suri, G. Varghese, "Packet Classification using Tuple Space
//! Search", SIGCOMM 1999. Time O(masks), memory about 100 octets a filter, all of it
//! taken at construction. Made for exact match and for rule sets with few different
//! masks: beyond some dozens of masks the number of probes is what a lookup costs, so
//! their number is bounded and filters beyond it are refused.

use alloc::vec::Vec;

use hashbrown::HashTable;

use crate::key::TableKey;
use crate::lookup::{AllMatches, Filter, Hit, Place, Rank, TableErrorKind, TernaryTable, TernaryUpdate};

const NONE: u32 = u32::MAX;

/// A hash table of all filters, probed once for each mask.
#[derive(Clone, Debug)]
pub struct TupleSpace<V> {
    /// Invariant: in the order of `best`, so that a search stops at the first tuple
    /// that cannot improve on its hit.
    tuples: Vec<Tuple>,
    /// Rows by filter: the first of those that share one.
    heads: HashTable<u32>,
    rows: Vec<Row<V>>,
    /// Rows that hold nothing.
    free: u32,
    inserted: u64,
    most_filters: usize,
    most_tuples: usize,
    seed: u64,
}

/// A mask in use.
#[derive(Clone, Copy, Debug)]
struct Tuple {
    mask: u128,
    /// No filter of the tuple has a lower rank.
    best: Rank,
    filters: u32,
}

#[derive(Clone, Debug)]
struct Row<V> {
    place: Place,
    filter: Filter,
    /// `None` if it holds nothing.
    value: Option<V>,
    /// The next with the same filter, in the order of places; or the next free one.
    next: u32,
}

impl<V: Copy> TupleSpace<V> {
    /// Room for `filters` filters of up to `masks` different masks.
    ///
    /// `seed` keys the hash: filters that collide under one seed don't under another.
    pub fn new(filters: u32, masks: usize, seed: u64) -> Self {
        Self {
            tuples: Vec::with_capacity(masks),
            heads: HashTable::with_capacity(filters as usize),
            rows: Vec::with_capacity(filters as usize),
            free: NONE,
            inserted: 0,
            most_filters: filters as usize,
            most_tuples: masks,
            seed,
        }
    }

    /// Filters in the table.
    pub fn len(&self) -> usize {
        self.tuples.iter().map(|tuple| tuple.filters as usize).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tuples.is_empty()
    }

    /// Masks in use: the probes of a lookup that finds nothing.
    pub fn masks(&self) -> usize {
        self.tuples.len()
    }

    #[inline(always)]
    fn hash(&self, value: u128, mask: u128) -> u64 {
        hash(self.seed, value, mask)
    }

    #[inline(always)]
    fn row(&self, at: u32) -> Option<&Row<V>> {
        self.rows.get(at as usize)
    }

    /// The first row with this filter.
    #[inline(always)]
    fn head(&self, value: u128, mask: u128) -> Option<u32> {
        let same = |at: &u32| {
            self.row(*at).is_some_and(|row| row.filter.value() == value && row.filter.mask() == mask)
        };
        self.heads.find(self.hash(value, mask), same).copied()
    }

    fn chain(&self, head: Option<u32>) -> impl Iterator<Item = (u32, &Row<V>)> {
        let at = |at: u32| self.row(at).map(|row| (at, row));
        core::iter::successors(head.and_then(at), move |(_, row)| at(row.next))
    }

    fn find(&self, rank: Rank, filter: &Filter) -> Option<u32> {
        let mut chain = self.chain(self.head(filter.value(), filter.mask()));
        chain.find(|(_, row)| row.place.rank() == rank).map(|(at, _)| at)
    }

    /// Puts the tuple at `at` where its `best` belongs.
    fn reorder(&mut self, at: usize) {
        let Some(tuple) = self.tuples.get(at).copied() else { return };
        self.tuples.remove(at);
        let to = self.tuples.partition_point(|other| other.best <= tuple.best);
        self.tuples.insert(to, tuple);
    }

    /// Points whoever pointed at row `from` of `filter`'s chain at `to`.
    fn relink(&mut self, filter: &Filter, from: u32, to: u32) {
        let hash = self.hash(filter.value(), filter.mask());
        let head = self.head(filter.value(), filter.mask());
        let before = self.chain(head).find(|(_, row)| row.next == from).map(|(at, _)| at);
        if let Some(before) = before {
            if let Some(row) = self.rows.get_mut(before as usize) {
                row.next = to;
            }
            return;
        }
        let Self { heads, rows, seed, .. } = self;
        if let Ok(entry) = heads.find_entry(hash, |at| head == Some(*at)) {
            entry.remove();
        }
        if to != NONE {
            heads.insert_unique(hash, to, |at| {
                rows.get(*at as usize).map_or(0, |row| {
                    crate::lookup::tuple_space::hash(*seed, row.filter.value(), row.filter.mask())
                })
            });
        }
    }
}

/// A keyed hash of a masked key and its mask: two multiplications, folded.
#[inline(always)]
fn hash(seed: u64, value: u128, mask: u128) -> u64 {
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let mask = (mask as u64).rotate_left(23) ^ (mask >> 64) as u64;
    let high = fold((value >> 64) as u64 ^ seed, 0x9e37_79b9_7f4a_7c15 ^ mask);
    fold(value as u64 ^ high, seed.rotate_left(32) ^ 0xd6e8_feb8_6659_fd93)
}

impl<V: Copy> TernaryTable for TupleSpace<V> {
    type Value = V;

    #[inline]
    fn lookup(&self, key: TableKey) -> Option<V> {
        let mut best: Option<&Row<V>> = None;
        for tuple in &self.tuples {
            if best.is_some_and(|best| best.place.rank() < tuple.best) {
                break;
            }
            let Some(row) = self.head(key.bits() & tuple.mask, tuple.mask).and_then(|at| self.row(at)) else {
                continue;
            };
            if best.is_none_or(|best| row.place < best.place) {
                best = Some(row);
            }
        }
        best?.value
    }
}

impl<V: Copy> AllMatches for TupleSpace<V> {
    fn next_match(&self, key: TableKey, after: Option<Place>) -> Option<Hit<V>> {
        let next = |tuple: &Tuple| {
            let mut chain = self.chain(self.head(key.bits() & tuple.mask, tuple.mask));
            chain.find(|(_, row)| Some(row.place) > after).map(|(_, row)| row)
        };
        let row = self.tuples.iter().filter_map(next).min_by_key(|row| row.place)?;
        Some(Hit { place: row.place, value: row.value? })
    }
}

impl<V: Copy> TernaryUpdate for TupleSpace<V> {
    type Error = TableErrorKind;

    fn insert(&mut self, rank: Rank, filter: Filter, value: V) -> Result<Option<V>, Self::Error> {
        if let Some(row) = self.find(rank, &filter).and_then(|at| self.rows.get_mut(at as usize)) {
            return Ok(row.value.replace(value));
        }
        let tuple = self.tuples.iter().position(|tuple| tuple.mask == filter.mask());
        if tuple.is_none() && self.tuples.len() >= self.most_tuples {
            return Err(TableErrorKind::Unsupported);
        }
        let place = Place::new(rank, self.inserted);
        let row = Row { place, filter, value: Some(value), next: NONE };
        let at = if let Some(free) = self.rows.get_mut(self.free as usize) {
            let next = core::mem::replace(free, row).next;
            core::mem::replace(&mut self.free, next)
        } else if self.rows.len() < self.most_filters {
            // Within what was reserved: an insertion does not allocate.
            self.rows.push(row);
            self.rows.len() as u32 - 1
        } else {
            return Err(TableErrorKind::Full);
        };
        self.inserted += 1;
        let tuple = tuple.unwrap_or_else(|| {
            self.tuples.push(Tuple { mask: filter.mask(), best: rank, filters: 0 });
            self.tuples.len() - 1
        });
        if let Some(tuple) = self.tuples.get_mut(tuple) {
            tuple.filters += 1;
            tuple.best = tuple.best.min(rank);
        }
        self.reorder(tuple);
        // Behind all that share the filter and have a lower place.
        let head = self.head(filter.value(), filter.mask());
        let after = self.chain(head).find(|(_, row)| row.place > place).map(|(at, _)| at);
        match (head, after) {
            (Some(_), None) => self.relink(&filter, NONE, at),
            (_, after) => {
                if let Some(row) = self.rows.get_mut(at as usize) {
                    row.next = after.unwrap_or(NONE);
                }
                self.relink(&filter, after.unwrap_or(NONE), at);
            }
        }
        Ok(None)
    }

    fn remove(&mut self, rank: Rank, filter: &Filter) -> Result<Option<V>, Self::Error> {
        let Some(at) = self.find(rank, filter) else { return Ok(None) };
        let next = self.row(at).map_or(NONE, |row| row.next);
        self.relink(filter, at, next);
        let free = core::mem::replace(&mut self.free, at);
        let row = self.rows.get_mut(at as usize);
        let removed = row.and_then(|row| {
            row.next = free;
            row.value.take()
        });
        if let Some(tuple) = self.tuples.iter().position(|tuple| tuple.mask == filter.mask()) {
            let left = self.tuples.get_mut(tuple).map_or(0, |tuple| {
                tuple.filters -= 1;
                tuple.filters
            });
            // `best` may be too low now, which costs a probe and no answer.
            if left == 0 {
                self.tuples.remove(tuple);
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SliceId;
    use crate::key::LookupKey;
    use crate::lookup::LinearTcam;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u32, u128, u128),
        Remove(u32, u128, u128),
    }

    fn op() -> impl Strategy<Value = Op> {
        let parts = (0u32..3, 0u128..16, 0u128..16);
        prop_oneof![
            3 => parts.clone().prop_map(|(rank, value, mask)| Op::Insert(rank, value, mask)),
            1 => parts.prop_map(|(rank, value, mask)| Op::Remove(rank, value, mask)),
        ]
    }

    fn filter(value: u128, mask: u128) -> Filter {
        Filter::new(SliceId(1), LookupKey::new(value), LookupKey::new(mask))
    }

    proptest! {
        /// Whatever the history, the table answers as the scan does.
        #[test]
        fn tuple_space_is_a_linear_scan(history in prop::collection::vec(op(), 1..200), seed: u64) {
            let mut fast = TupleSpace::new(16, 16, seed);
            let mut model = LinearTcam::new([None; 16]);
            for (n, op) in history.into_iter().enumerate() {
                match op {
                    Op::Insert(rank, value, mask) => {
                        let filter = filter(value, mask);
                        prop_assert_eq!(fast.insert(Rank(rank), filter, n), model.insert(Rank(rank), filter, n));
                    }
                    Op::Remove(rank, value, mask) => {
                        let filter = filter(value, mask);
                        prop_assert_eq!(fast.remove(Rank(rank), &filter), model.remove(Rank(rank), &filter));
                    }
                }
                prop_assert_eq!(fast.len(), model.len());
                for bits in 0..16 {
                    let key = TableKey::new(SliceId(1), LookupKey::new(bits));
                    prop_assert_eq!(fast.lookup(key), model.lookup(key));
                    let values = |hit: Hit<usize>| (hit.place.rank(), hit.value);
                    prop_assert!(fast.matches(key).map(values).eq(model.matches(key).map(values)));
                }
            }
        }
    }

    #[test]
    fn masks_are_bounded_and_nothing_changes_at_the_bound() {
        let mut table = TupleSpace::new(2, 1, 7);
        assert_eq!(table.insert(Rank(0), filter(1, 1), 1), Ok(None));
        assert_eq!(table.insert(Rank(0), filter(1, 3), 2), Err(TableErrorKind::Unsupported));
        assert_eq!(table.insert(Rank(0), filter(0, 1), 3), Ok(None));
        assert_eq!(table.insert(Rank(1), filter(0, 1), 4), Err(TableErrorKind::Full));
        assert_eq!((table.len(), table.masks()), (2, 1));
    }
}
