//! How often each filter answered: a layer over any table, for who wants to know.

use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

use crate::key::TableKey;
use crate::lookup::{AllMatches, Hit, Place, TernaryTable};
use crate::store::Store;

/// A table whose filters bear numbers, the value of each number, and how often each
/// number answered.
///
/// Who does not count uses the table inside and pays nothing. Counting costs a load and a
/// store of a counter and a load of a value for each lookup that finds something. Each
/// core has a layer of its own, and another thread adds their counters up at any time; two
/// cores that share one lose counts.
///
/// ```
/// use fastpath::id::SliceId;
/// use fastpath::key::{LookupKey, TableKey};
/// use fastpath::lookup::{Counted, Filter, LinearTcam, Rank, TernaryTable, TernaryUpdate};
/// use std::sync::atomic::AtomicU64;
///
/// let mut tcam = LinearTcam::new([None; 2]);
/// let any = Filter::new(SliceId(1), LookupKey::new(0), LookupKey::new(0));
/// tcam.insert(Rank(0), any, 1u32)?;
/// let hits = [const { AtomicU64::new(0) }; 2];
/// let counted = Counted { table: tcam, values: ["none", "any"], hits: &hits[..] };
/// let found = counted.lookup(TableKey::new(SliceId(1), LookupKey::new(9)));
/// assert_eq!((found, hits[1].load(std::sync::atomic::Ordering::Relaxed)), (Some("any"), 1));
/// # Ok::<(), fastpath::lookup::TableErrorKind>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Counted<T, S, H> {
    /// Finds the number of the filter that wins.
    pub table: T,
    /// What is stored with each number; a number without one finds nothing.
    pub values: S,
    /// How often each number answered; numbers without a counter are not counted.
    pub hits: H,
}

impl<T, S: Store<Item: Copy>, H: AsRef<[AtomicU64]>> Counted<T, S, H> {
    #[inline(always)]
    fn value(&self, number: u32) -> Option<S::Item> {
        self.values.items().get(number as usize).copied()
    }

    #[inline(always)]
    fn count(&self, number: u32) {
        if let Some(hits) = self.hits.as_ref().get(number as usize) {
            // One writer: no read-modify-write is needed.
            hits.store(hits.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }
}

/// So many keys are looked up and then counted.
const GROUP: usize = 32;

impl<T, S, H> TernaryTable for Counted<T, S, H>
where
    T: TernaryTable<Value = u32>,
    S: Store<Item: Copy>,
    H: AsRef<[AtomicU64]>,
{
    type Value = S::Item;

    #[inline(always)]
    fn lookup(&self, key: TableKey) -> Option<S::Item> {
        let number = self.table.lookup(key)?;
        self.count(number);
        self.value(number)
    }
    #[inline(always)]
    fn prefetch(&self, key: TableKey) {
        self.table.prefetch(key);
    }
    #[inline(always)]
    fn prefetch_deeper(&self, keys: &[TableKey]) {
        self.table.prefetch_deeper(keys);
    }
    fn lookup_batch(&self, keys: &[TableKey], found: &mut [Option<S::Item>]) {
        for (keys, found) in keys.chunks(GROUP).zip(found.chunks_mut(GROUP)) {
            let mut numbers = [None; GROUP];
            self.table.lookup_batch(keys, &mut numbers);
            for ((_, found), number) in keys.iter().zip(found).zip(numbers) {
                *found = number.and_then(|number| {
                    self.count(number);
                    self.value(number)
                });
            }
        }
    }
    fn quiescent(&mut self) {
        self.table.quiescent();
    }
}

impl<T, S, H> AllMatches for Counted<T, S, H>
where
    T: AllMatches + TernaryTable<Value = u32>,
    S: Store<Item: Copy>,
    H: AsRef<[AtomicU64]>,
{
    /// Not counted: this is for diagnosis. Numbers without a value are passed over.
    fn next_match(&self, key: TableKey, mut after: Option<Place>) -> Option<Hit<S::Item>> {
        loop {
            let Hit { place, value } = self.table.next_match(key, after)?;
            if let Some(value) = self.value(value) {
                return Some(Hit { place, value });
            }
            after = Some(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SliceId;
    use crate::key::LookupKey;
    use crate::lookup::{Filter, LinearTcam, Rank, TernaryUpdate};

    #[test]
    fn each_answer_is_counted_and_each_batch_as_its_keys() {
        let mut table = LinearTcam::new([None; 4]);
        for n in 0..4u32 {
            let filter = Filter::new(SliceId(1), LookupKey::new(n.into()), LookupKey::new(7));
            table.insert(Rank(n), filter, n).unwrap();
        }
        // Number 3 has neither value nor counter.
        let hits: std::vec::Vec<_> = (0..3).map(|_| AtomicU64::new(0)).collect();
        let counted = Counted { table, values: ['a', 'b', 'c'], hits: &hits };
        let key = |n: u32| TableKey::new(SliceId(1), LookupKey::new(n.into()));
        let keys: std::vec::Vec<_> = (0..100).map(|n| key(n % 6)).collect();
        let mut found = std::vec![None; 100];
        counted.lookup_batch(&keys, &mut found);
        for (key, found) in keys.iter().zip(&found) {
            assert_eq!(counted.lookup(*key), *found);
        }
        assert_eq!(found[..6], [Some('a'), Some('b'), Some('c'), None, None, None]);
        let hits: std::vec::Vec<_> = hits.iter().map(|hits| hits.load(Relaxed)).collect();
        assert_eq!(hits, [34, 34, 34], "17 of each, once in the batch and once alone");
        assert_eq!(counted.matches(key(1)).next().unwrap().value, 'b');
        assert!(counted.matches(key(3)).next().is_none());
    }
}
