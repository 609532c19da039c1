//! A forest of bit-cut trees with vector leaves: any ternary filters, with ranges, and
//! updates under readers.
//!
//! Few selective bits of a key lead down a tree to a leaf of fifteen filters or a few more.
//! A vector instruction compares sixteen bits of the key, those that tell the leaf's filters
//! apart best, with the signatures of all of them; what is left, most often one filter, is
//! compared in full. Filters that leave the bits open on which a tree cuts would be copied
//! into many leaves; they stand in another tree that cuts on other bits, up to seven of
//! them. A search visits trees in the order of their best ranks and leaves off where nothing
//! better can follow.
//!
//! After CutSplit (W. Li, X. Li, H. Li, G. Xie, INFOCOM 2018), EffiCuts (B. Vamanan,
//! G. Voskuilen, T. N. Vijaykumar, SIGCOMM 2010) and HiCuts (P. Gupta, N. McKeown, Hot
//! Interconnects 1999); signatures before filters as in tag arrays and in "Scalable packet
//! classification" (F. Baboescu, G. Varghese, SIGCOMM 2001), where aggregated bits leave few
//! candidates. Time: some ten lines and 200 to 300 instructions a key for rule sets of 10,000,
//! fewer with AVX-512, at most the lines that [`cost`](Forest::cost) says; updates copy leaves
//! of 128 octets. Memory: 64 octets a filter and 9 to 20 for each leaf that it is in, 80 to 120 in all. Use it for
//! filters of any form; some dozens are one leaf, a list that is scanned.
//!
//! ```
//! use fastpath::id::SliceId;
//! use fastpath::key::{LookupKey, TableKey};
//! use fastpath::lookup::{Filter, Forest, RangedFilter, Rank, TernaryTable, TernaryUpdate};
//!
//! let slice = SliceId(7);
//! let any = Filter::new(slice, LookupKey::new(0), LookupKey::new(0));
//! let tcp = Filter::new(slice, LookupKey::new(6 << 96), LookupKey::new(0xff << 96));
//! let mut forest = Forest::new(slice, 1000, 128);
//! forest.insert(Rank(9), any, 0u32)?;
//! // TCP to ports 6000 to 6063: a range is one filter.
//! let x11 = RangedFilter::new(tcp, 6000..=6063, 0..=65535).unwrap();
//! forest.insert_ranged(Rank(1), x11, 42)?;
//!
//! let key = |port: u128| TableKey::new(slice, LookupKey::new(6 << 96 | port << 64));
//! assert_eq!(forest.lookup(key(6063)), Some(42));
//! assert_eq!(forest.lookup(key(6064)), Some(0));
//! assert_eq!(forest.remove_ranged(Rank(1), &x11), Some(42));
//! assert_eq!(forest.lookup(key(6063)), Some(0));
//! # Ok::<(), fastpath::lookup::TableErrorKind>(())
//! ```

mod arena;
mod block;
mod choose;
mod control;
mod memory;
#[cfg(target_arch = "x86_64")]
mod mixed;
mod node;
mod plan;
mod read;
mod row;
mod rule;
mod search;
mod signature;
mod simd;
#[cfg(all(test, not(loom)))]
mod stress;
#[cfg(all(test, not(loom)))]
mod tests;
mod update;
mod waves;
#[cfg(target_arch = "x86_64")]
mod wide;

pub(crate) use control::ForestControl;
pub(crate) use read::ForestRead;
pub(crate) use rule::Rule;
pub(crate) use simd::Machine;
pub use simd::Simd;
pub(crate) use update::Inserted;

use core::marker::PhantomData;

use crate::epoch::Epochs;
use crate::id::SliceId;
use crate::key::{LookupKey, TableKey};
use crate::lookup::{
    AllMatches, Filter, Hit, Place, RangedFilter, Rank, TableErrorKind, TernaryTable, TernaryUpdate, Word,
};
use waves::{BATCH, Forests, One};

/// The filters of one slice, in trees.
#[derive(Debug)]
pub struct Forest<V> {
    slice: SliceId,
    /// Most filters.
    filters: usize,
    /// Most lines of a lookup.
    bound: u32,
    read: ForestRead,
    control: ForestControl,
    /// Without seats: nobody reads while this is updated.
    epochs: Epochs,
    values: PhantomData<V>,
}

impl<V: Word> Forest<V> {
    /// A forest without a tree, for at most `filters` filters of `slice`.
    ///
    /// No lookup may read more than `bound` cache lines; a filter with which one would is
    /// refused. 128 is enough for all rule sets of 10,000 that we know.
    pub fn new(slice: SliceId, filters: usize, bound: u32) -> Self {
        Self::on(Machine::detect(), slice, filters, bound)
    }

    fn on(machine: Machine, slice: SliceId, filters: usize, bound: u32) -> Self {
        let (read, control) = ForestControl::empty(machine);
        Self { slice, filters, bound, read, control, epochs: Epochs::new(0), values: PhantomData }
    }

    /// A forest of whole rule sets at once, much faster than one filter after the other.
    /// Of equal ranks the first wins; of equal filters the last value counts.
    ///
    /// # Errors
    ///
    /// As [`insert`](TernaryUpdate::insert)'s.
    pub fn build(
        slice: SliceId, filters: usize, bound: u32, all: impl IntoIterator<Item = (Rank, RangedFilter, V)>,
    ) -> Result<Self, TableErrorKind> {
        Self::build_on(Machine::detect(), slice, filters, bound, all)
    }

    fn build_on(
        machine: Machine, slice: SliceId, filters: usize, bound: u32,
        all: impl IntoIterator<Item = (Rank, RangedFilter, V)>,
    ) -> Result<Self, TableErrorKind> {
        let mut forest = Self::on(machine, slice, filters, bound);
        let rules = all.into_iter().map(|(rank, filter, value)| forest.rule(rank, &filter, value));
        let rules = control::in_precedence(rules.collect::<Result<_, _>>()?);
        if rules.len() > filters {
            return Err(TableErrorKind::Full);
        }
        let built = ForestRead::build(forest.read.machine(), &rules, bound);
        forest.take(built)?;
        Ok(forest)
    }

    /// Filters in the forest.
    pub fn len(&self) -> usize {
        self.control.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cache lines that a lookup of any key reads at most.
    pub fn cost(&self) -> u32 {
        self.control.cost()
    }

    /// Cache lines that a lookup of `key` reads at most.
    pub fn cost_of(&self, key: LookupKey) -> u32 {
        self.read.cost_of(key.bits())
    }

    /// Octets of memory that are in use, or were since the last rebuild.
    pub fn bytes(&self) -> usize {
        self.control.bytes()
    }

    /// All filters with their ranks and values, in order of precedence.
    pub fn iter(&self) -> impl Iterator<Item = (Rank, RangedFilter, V)> {
        self.control
            .rules(&self.read)
            .into_iter()
            .map(|rule| (rule.place().rank(), rule.filter(self.slice), V::of(rule.word())))
    }

    /// [`insert`](TernaryUpdate::insert) of a filter with ranges.
    ///
    /// # Errors
    ///
    /// As `insert`'s.
    pub fn insert_ranged(
        &mut self, rank: Rank, filter: RangedFilter, value: V,
    ) -> Result<Option<V>, TableErrorKind> {
        let rule = self.rule(rank, &filter, value)?;
        if let Some(old) = self.control.replace(&self.read, &rule) {
            return Ok(Some(V::of(old)));
        }
        if self.len() >= self.filters {
            return Err(TableErrorKind::Full);
        }
        if !self.control.is_stale()
            && let Inserted::Done(_) =
                self.control.insert_new(&self.read, &mut self.epochs, &rule, self.bound)
        {
            return Ok(None);
        }
        self.take(self.control.rebuilt(&self.read, Some(&rule), self.bound))?;
        Ok(None)
    }

    /// [`remove`](TernaryUpdate::remove) of a filter with ranges.
    pub fn remove_ranged(&mut self, rank: Rank, filter: &RangedFilter) -> Option<V> {
        if filter.filter().slice() != self.slice {
            return None;
        }
        let removed = self.control.remove(&self.read, &mut self.epochs, &Rule::new(rank, filter, 0));
        removed.map(V::of)
    }

    /// [`lookup_batch`](TernaryTable::lookup_batch) of keys of several slices, each in the
    /// forest that `forest` says, all in flight together.
    #[inline(always)]
    pub fn lookup_batch_in<'a>(
        forest: impl Fn(SliceId) -> Option<&'a Self> + Copy, keys: &[TableKey], found: &mut [Option<V>],
    ) where
        V: 'a,
    {
        for (keys, found) in keys.chunks(BATCH).zip(found.chunks_mut(BATCH)) {
            let mut forests = [None; BATCH];
            for (to, key) in forests.iter_mut().zip(keys) {
                *to = forest(key.slice()).filter(|of| of.slice == key.slice()).map(|forest| &forest.read);
            }
            lookup_each(&forests, keys, found);
        }
    }

    fn rule(&self, rank: Rank, filter: &RangedFilter, value: V) -> Result<Rule, TableErrorKind> {
        let ours = filter.filter().slice() == self.slice;
        ours.then(|| Rule::new(rank, filter, value.word())).ok_or(TableErrorKind::UnknownSlice)
    }

    /// Takes a forest that was built, if it is within the bound.
    fn take(&mut self, built: Option<(ForestRead, ForestControl)>) -> Result<(), TableErrorKind> {
        let built = built.filter(|(_, control)| control.cost() <= self.bound);
        (self.read, self.control) = built.ok_or(TableErrorKind::Unsupported)?;
        Ok(())
    }
}

impl ForestRead {
    /// Values of keys of `slice`, many at once; of other keys none.
    #[inline(always)]
    pub(crate) fn lookup_batch<V: Word>(&self, slice: SliceId, keys: &[TableKey], found: &mut [Option<V>]) {
        let version = self.version();
        let Some(list) = self.list() else {
            return self.machine().lookup_batch(One::new(self, slice), keys, found);
        };
        self.machine().lookup_list(self, list, slice, keys, found);
        if !self.saw_one_table(version) {
            for (&key, found) in keys.iter().zip(found) {
                let word = (key.slice() == slice).then(|| self.lookup_again(key.bits()));
                *found = word.flatten().map(V::of);
            }
        }
    }
}

/// Values of up to [`BATCH`] keys, each in a forest of its own or in none.
#[inline(always)]
pub(crate) fn lookup_each<V: Word>(forests: &Forests<'_>, keys: &[TableKey], found: &mut [Option<V>]) {
    // All forests of a program are of one machine.
    match forests.iter().find_map(|forest| *forest) {
        Some(any) => any.machine().lookup_each(forests, keys, found),
        None => found.iter_mut().zip(keys).for_each(|(found, _)| *found = None),
    }
}

impl<V: Word> TernaryTable for Forest<V> {
    type Value = V;

    #[inline(always)]
    fn lookup(&self, key: TableKey) -> Option<V> {
        if key.slice() != self.slice {
            return None;
        }
        self.read.lookup(key.bits()).map(V::of)
    }

    #[inline(always)]
    fn prefetch(&self, _key: TableKey) {
        self.read.prefetch();
    }

    #[inline(always)]
    fn lookup_batch(&self, keys: &[TableKey], found: &mut [Option<V>]) {
        self.read.lookup_batch(self.slice, keys, found);
    }
}

impl<V: Word> AllMatches for Forest<V> {
    fn next_match(&self, key: TableKey, after: Option<Place>) -> Option<Hit<V>> {
        if key.slice() != self.slice {
            return None;
        }
        let Hit { place, value } = self.read.next_match(key.bits(), after)?;
        Some(Hit { place, value: V::of(value) })
    }
}

impl<V: Word> TernaryUpdate for Forest<V> {
    type Error = TableErrorKind;

    fn insert(&mut self, rank: Rank, filter: Filter, value: V) -> Result<Option<V>, TableErrorKind> {
        self.insert_ranged(rank, filter.into(), value)
    }
    fn remove(&mut self, rank: Rank, filter: &Filter) -> Result<Option<V>, TableErrorKind> {
        Ok(self.remove_ranged(rank, &(*filter).into()))
    }
}
