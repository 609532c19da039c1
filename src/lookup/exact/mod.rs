//! Exact match: filters of one mask, found in two cache lines however many there are.
//!
//! Cuckoo hashing (R. Pagh, F. Rodler, "Cuckoo hashing", J. Algorithms 51(2), 2004) with
//! buckets (M. Dietzfelbinger, C. Weidling, "Balanced allocation and dictionaries with
//! tightly packed constant size bins", TCS 380, 2007): a filter stands in one of two
//! buckets of three, a cache line each, that a keyed [hash] of its value names. A
//! lookup reads these two lines, whatever is in the table and whoever chose it: its cost
//! is bounded and not only expected. Memory: 40 octets a filter for lookups, 24 for
//! control. An update costs some lines, and at times the move of a few filters.
//!
//! Made for one slice whose filters have all one mask, such as triggers of I3 or host
//! routes, from hundreds upwards; some dozens are scanned as fast.
//!
//! # Why so few in a bucket
//!
//! Buckets of three in two halves could be filled to 95 % by moving filters about. Here
//! the average is 1.6 of 3, because each move takes two epochs of the readers: the old
//! copy stays until all have passed one after the new was published, its slot waits for a
//! second. With 1.6 on average almost all filters fit by twos (up to 1.79 they do), and the
//! third slot is free for who comes next: a bucket that has become full sends one of its
//! filters off after the insertion, not before it, and nobody waits for readers.
//!
//! # Who chooses the filters
//!
//! Someone who does not know the seed cannot make filters collide but by chance; the
//! argument stands at the [hash]. Someone who learns it can: then six filters in the same
//! two buckets are all there can be, and the seventh is refused with
//! [`ExactError::RebuildDue`]. A rebuild under a new seed takes it. Lookups cost two lines
//! before, meanwhile and after, and six comparisons in them at worst.
//!
//! ```
//! use fastpath::epoch::Epochs;
//! use fastpath::id::SliceId;
//! use fastpath::key::{LookupKey, TableKey};
//! use fastpath::lookup::{ExactControl, ExactTable, Filter, Rank, TernaryTable, TernaryUpdate};
//!
//! // With one owner: a table like any other.
//! let slice = SliceId(3);
//! let mut table = ExactTable::new(slice, LookupKey::MAX, 1000, 0x5eed);
//! let trigger = |id| Filter::new(slice, LookupKey::new(id), LookupKey::MAX);
//! table.insert(Rank(0), trigger(7), 70u32)?;
//! assert_eq!(table.lookup(TableKey::new(slice, LookupKey::new(7))), Some(70));
//! assert_eq!(table.lookup(TableKey::new(slice, LookupKey::new(8))), None);
//!
//! // Both sides apart: one writes while others read.
//! let (mut control, read) = ExactControl::new(slice, LookupKey::MAX, 1000, 0x5eed);
//! let mut epochs = Epochs::new(4);
//! let mut reader = epochs.reader().unwrap();
//! control.insert(&read, &mut epochs, Rank(0), &trigger(7), 70)?;
//! assert_eq!(read.lookup(LookupKey::new(7)), Some(70));
//! reader.quiescent(); // the vector has ended
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod control;
mod hash;
#[cfg(test)]
#[cfg(loom)]
mod model;
mod read;
#[cfg(test)]
#[cfg(not(loom))]
mod readers;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

pub use control::ExactControl;
pub use read::{ExactRead, Probe as ExactProbe};

use core::marker::PhantomData;

use hash::Secret;

use crate::epoch::Epochs;
use crate::id::SliceId;
use crate::key::{LookupKey, TableKey};
use crate::lookup::{
    AllMatches, Filter, Hit, Place, Rank, TableError, TableErrorKind, TernaryTable, TernaryUpdate, Word,
};

/// Why an exact match table refused a filter. Lookups answer as before.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExactError {
    /// The slice, the mask or, for a filter that is here, the rank is not this table's: a
    /// general engine takes such a filter.
    #[error("the filter's slice, mask or rank is not this table's")]
    Unsupported,
    /// The table holds as many filters as it was made for.
    #[error("the table is full: rebuild it larger")]
    Full,
    /// Too much waits for readers to pass an epoch; it is worth trying again.
    #[error("too much waits for readers")]
    Busy,
    /// All places within reach are taken.
    #[error("no place within reach: rebuild the table under another seed")]
    RebuildDue,
}

impl TableError for ExactError {
    fn kind(&self) -> TableErrorKind {
        match self {
            Self::Unsupported | Self::RebuildDue => TableErrorKind::Unsupported,
            Self::Full => TableErrorKind::Full,
            Self::Busy => TableErrorKind::Busy,
        }
    }
}

/// Seeds tried in a row.
const SEEDS: u32 = 8;

/// Both sides of an exact match table, for one owner: nothing waits, and a rebuild that is
/// due is made.
#[derive(Debug)]
pub struct ExactTable<V> {
    read: ExactRead,
    control: ExactControl,
    /// Of no reader.
    epochs: Epochs,
    values: PhantomData<V>,
}

impl<V: Word> ExactTable<V> {
    /// An empty table of `slice`, with room for `capacity` filters of `mask`. See
    /// [`ExactControl::new`].
    pub fn new(slice: SliceId, mask: LookupKey, capacity: usize, seed: u128) -> Self {
        let (control, read) = ExactControl::new(slice, mask, capacity, seed);
        Self { read, control, epochs: Epochs::new(0), values: PhantomData }
    }

    /// Filters in the table.
    pub const fn len(&self) -> usize {
        self.control.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.control.is_empty()
    }

    /// Filters it has room for.
    pub const fn capacity(&self) -> usize {
        self.control.capacity()
    }

    /// Cache lines that a lookup touches: always two.
    pub const fn cost(&self) -> u32 {
        self.read.cost()
    }

    /// Octets of memory that lookups may touch.
    pub const fn lookup_octets(&self) -> usize {
        self.read.octets()
    }

    /// Octets of memory in all.
    pub fn octets(&self) -> usize {
        self.read.octets() + self.control.octets()
    }

    /// All filters with their places and values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Place, Filter, V)> {
        self.control.iter(&self.read).map(|(place, filter, word)| (place, filter, V::of(word)))
    }

    /// The read side.
    pub const fn read(&self) -> &ExactRead {
        &self.read
    }

    /// Makes room for `capacity` filters, under a new seed that follows from the old one.
    ///
    /// # Errors
    ///
    /// [`ExactError::Full`] if there are more; the table is unchanged.
    /// [`ExactError::RebuildDue`] if several seeds failed, which does not happen by chance.
    pub fn rebuild(&mut self, capacity: usize) -> Result<(), ExactError> {
        let mut seed = self.read.next_seed();
        for _ in 0..SEEDS {
            match self.control.rebuilt(&self.read, capacity, seed) {
                Ok((control, read)) => {
                    (self.control, self.read) = (control, read);
                    return Ok(());
                }
                Err(ExactError::RebuildDue) => seed = Secret::new(seed).next_seed(),
                Err(error) => return Err(error),
            }
        }
        Err(ExactError::RebuildDue)
    }

    /// The read side's key, if it is one of this slice.
    #[inline(always)]
    fn key(&self, key: TableKey) -> Option<LookupKey> {
        if key.slice() == self.read.slice() { Some(key.key()) } else { None }
    }
}

impl<V: Word> TernaryTable for ExactTable<V> {
    type Value = V;

    #[inline(always)]
    fn lookup(&self, key: TableKey) -> Option<V> {
        self.read.lookup(self.key(key)?).map(V::of)
    }
    #[inline(always)]
    fn prefetch(&self, key: TableKey) {
        self.read.prefetch(key.key());
    }
    fn lookup_batch(&self, keys: &[TableKey], found: &mut [Option<V>]) {
        let slice = self.read.slice();
        let answer = |key: &TableKey, word: Option<u32>| {
            if key.slice() == slice { word.map(V::of) } else { None }
        };
        self.read.batch(keys, found, |key| key.key(), answer);
    }
}

impl<V: Word> AllMatches for ExactTable<V> {
    fn next_match(&self, key: TableKey, after: Option<Place>) -> Option<Hit<V>> {
        let filter = Filter::new(self.read.slice(), self.key(key)?, self.read.mask());
        let (place, word) = self.control.get(&self.read, &filter)?;
        (Some(place) > after).then(|| Hit { place, value: V::of(word) })
    }
}

/// The same filter at another rank is refused as
/// [`Unsupported`](ExactError::Unsupported), like one of another mask.
impl<V: Word> TernaryUpdate for ExactTable<V> {
    type Error = TableErrorKind;

    fn insert(&mut self, rank: Rank, filter: Filter, value: V) -> Result<Option<V>, Self::Error> {
        if filter.slice() != self.read.slice() {
            return Err(TableErrorKind::UnknownSlice);
        }
        let insert = |table: &mut Self| {
            table.control.insert(&table.read, &mut table.epochs, rank, &filter, value.word())
        };
        let old = match insert(self) {
            Err(ExactError::RebuildDue) => self.rebuild(self.capacity()).and_then(|()| insert(self)),
            result => result,
        };
        old.map(|old| old.map(V::of)).map_err(|error| error.kind())
    }
    fn remove(&mut self, rank: Rank, filter: &Filter) -> Result<Option<V>, Self::Error> {
        let old = self.control.remove(&self.read, &mut self.epochs, rank, filter);
        Ok(old.map(V::of))
    }
}
