//! A table with one owner.

use core::num::NonZeroU32;

use super::PrefixTable;
use super::address::{Address, Prefix};
use super::build::{empty, try_load};
use super::control::{Octets, PrefixControl};
use super::form::{Form, InsertError, UpdateError};
use super::read::PrefixRead;
use crate::epoch::Epochs;

/// Prefixes and what is stored with them, in memory that grows.
///
/// For a table that others look up in while it changes take its halves apart:
/// [`into_halves`](Self::into_halves).
#[derive(Debug)]
pub struct PrefixTrie<A> {
    read: PrefixRead<A>,
    control: PrefixControl<A>,
    /// Without a seat: there is no reader but the owner.
    epochs: Epochs,
}

impl<A: Address> Default for PrefixTrie<A> {
    fn default() -> Self {
        Self::new(Form::default())
    }
}

impl<A: Address> PrefixTrie<A> {
    /// A table without prefixes.
    pub fn new(form: Form) -> Self {
        let (read, control) = empty(form);
        Self { read, control, epochs: Epochs::new(0) }
    }

    /// A table of `prefixes`, in any order; of the same prefix the last counts. Faster, and
    /// into less memory, than one by one.
    ///
    /// # Errors
    ///
    /// What [`insert`](Self::insert) refuses one of them for.
    pub fn load(
        prefixes: impl IntoIterator<Item = (Prefix<A>, u32)>, form: Form,
    ) -> Result<Self, InsertError> {
        let (read, control) = try_load(prefixes.into_iter().collect(), form)?;
        Ok(Self { read, control, epochs: Epochs::new(0) })
    }

    /// Stores `value`, 1 to [`MOST_VALUE`](super::MOST_VALUE), with `prefix`; returns what
    /// was stored with it.
    ///
    /// Copies some chunks of 32 to 512 octets; where the memory is used up, all of the table
    /// into a larger one.
    ///
    /// # Errors
    ///
    /// [`InsertError::Value`], and for a prefix that is not in the table
    /// [`InsertError::Full`] and [`InsertError::Cost`]. The table is unchanged.
    pub fn insert(&mut self, prefix: Prefix<A>, value: u32) -> Result<Option<u32>, InsertError> {
        loop {
            match self.control.insert(&self.read, &mut self.epochs, prefix, value) {
                Err(InsertError::Update(_)) => self.grow(prefix),
                done => return done,
            }
        }
    }

    /// Takes `prefix` out; returns what was stored with it. Never refused.
    pub fn remove(&mut self, prefix: Prefix<A>) -> Option<u32> {
        loop {
            match self.control.remove(&self.read, &mut self.epochs, prefix) {
                Ok(old) => return old,
                Err(UpdateError::Busy | UpdateError::RebuildDue | UpdateError::NotPaired) => {
                    self.grow(prefix)
                }
            }
        }
    }

    /// More room, and the form that `prefix` needs: each is what one update may lack.
    #[cold]
    fn grow(&mut self, prefix: Prefix<A>) {
        let form = self.control.larger(&self.read, prefix);
        (self.read, self.control) = self.control.rebuilt(&self.read, form);
    }

    /// What is stored with `prefix` itself.
    pub fn get(&self, prefix: Prefix<A>) -> Option<u32> {
        self.read.get(prefix)
    }

    /// All prefixes of `address`, longest first: length and value.
    pub fn matches(&self, address: A) -> impl Iterator<Item = (u32, u32)> {
        self.read.matches(address)
    }

    /// Prefixes and values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Prefix<A>, u32)> {
        self.read.iter()
    }

    /// Prefixes in the table.
    pub fn len(&self) -> usize {
        self.control.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.control.is_empty()
    }

    /// The most cache lines that a lookup touches now. Kept count of: O(1).
    pub fn cost(&self) -> u32 {
        self.control.cost(&self.read)
    }

    /// Octets, by what they are for.
    pub fn octets(&self) -> Octets {
        self.control.octets(&self.read)
    }

    /// Octets copied by the updates since the table was made or grew.
    pub fn copied(&self) -> u64 {
        self.control.copied()
    }

    /// The read side, for others to look up in, and what changes it.
    pub fn into_halves(self) -> (PrefixRead<A>, PrefixControl<A>) {
        (self.read, self.control)
    }
}

impl<A: Address> PrefixTable<A> for PrefixTrie<A> {
    #[inline(always)]
    fn lookup(&self, address: A) -> Option<NonZeroU32> {
        self.read.lookup(address)
    }
    #[inline(always)]
    fn prefetch(&self, address: A) {
        self.read.prefetch(address);
    }
    #[inline(always)]
    fn lookup_batch(&self, addresses: &[A], found: &mut [Option<NonZeroU32>]) {
        self.read.lookup_batch(addresses, found);
    }
}
