//! Routes of a slice: prefixes of one field of its keys, found by the prefix engine.

use alloc::vec::Vec;
use core::hint::select_unpredictable;
use core::num::NonZeroU32;

use crate::epoch::Epochs;
use crate::id::SliceId;
use crate::key::{LookupKey, TableKey};
use crate::lookup::tcam::row::{Changed, Row};
use crate::lookup::tcam::shape::{self, Field};
use crate::lookup::{Filter, Hit, Place, RangedFilter, Rank, Word};
use crate::prefix::{
    Address, Form, InsertError, MOST_VALUE, Octets, Prefix, PrefixControl, PrefixRead, PrefixTable,
    PrefixTrie, UpdateError,
};

/// The read side. The field's first bit is moved to the top of an address; addresses of up
/// to 32 bits take the smaller and faster table.
#[derive(Debug)]
pub(super) struct Routes {
    field: Field,
    sum: u64,
    slice: SliceId,
    /// So few that what lookups read stays in the nearest cache: one key after the other is
    /// found faster than many at once. It is a guess: updates may have added many.
    near: bool,
    trie: Trie<PrefixRead<u32>, PrefixRead<u128>>,
}

/// The write side, and bits of the longest prefix that there has been.
#[derive(Debug)]
pub(super) struct RoutesControl(Trie<PrefixControl<u32>, PrefixControl<u128>>, u32);

#[derive(Debug)]
enum Trie<N, W> {
    Narrow(N),
    Wide(W),
}

/// Routes: lookups among so many read some 8 KB.
const NEAR: usize = 512;

/// The highest word that can be stored: the trie's values begin at 1.
const MOST_WORD: u32 = MOST_VALUE - 1;

impl Routes {
    /// A table of these rows, of which lookups touch at most `form.bound` lines. `None` if one
    /// is no route of `field`, or they are too many lines.
    pub(super) fn build(
        slice: SliceId, field: Field, rows: &[Row], form: Form,
    ) -> Option<(Self, RoutesControl)> {
        let sum = shape::Prefix::of(rows.first()?.place.rank(), &rows.first()?.filter)?.sum;
        let mut routes: Vec<(u128, u32, u32)> = Vec::with_capacity(rows.len());
        for row in rows {
            let prefix = of(field, sum, row.place.rank(), &row.filter).filter(|_| row.word <= MOST_WORD)?;
            routes.push((prefix.0, prefix.1, row.word + 1));
        }
        let routes = routes.into_iter();
        let (trie, control) = if field.width <= 32 {
            let (read, control) =
                load(routes.map(|(bits, len, word)| ((bits >> 96) as u32, len, word)), form)?;
            (Trie::Narrow(read), Trie::Narrow(control))
        } else {
            let (read, control) = load(routes, form)?;
            (Trie::Wide(read), Trie::Wide(control))
        };
        let near = rows.len() <= NEAR;
        Some((Self { field, sum, slice, near, trie }, RoutesControl(control, field.width)))
    }

    /// The prefix that a filter is here, if it is one.
    fn prefix(&self, rank: Rank, filter: &RangedFilter) -> Option<(u128, u32)> {
        let most = match self.trie {
            Trie::Narrow(_) => 32,
            Trie::Wide(_) => 128,
        };
        of(self.field, self.sum, rank, filter).filter(|(_, len)| *len <= most)
    }

    /// The address in a key.
    #[inline(always)]
    fn address(&self, key: u128) -> u128 {
        key << (128 - self.field.top)
    }

    /// Whether what lookups read stays in the nearest cache.
    pub(super) const fn is_near(&self) -> bool {
        self.near
    }

    /// Whether lookups go on from the first line to others, mostly.
    pub(super) const fn goes_deeper(&self) -> bool {
        match &self.trie {
            Trie::Narrow(trie) => !trie.has_codes(),
            Trie::Wide(trie) => !trie.has_codes(),
        }
    }

    /// The address of up to 32 bits in a key.
    #[inline(always)]
    fn short(&self, key: u128) -> u32 {
        match self.field.top {
            // Where IPv4 keys have their destinations: one word, no shift across two.
            top @ 0..=64 => ((key as u64) << ((64 - top) & 63) >> 32) as u32,
            _ => (self.address(key) >> 96) as u32,
        }
    }

    #[inline(always)]
    pub(super) fn lookup(&self, key: u128) -> Option<u32> {
        let found = match &self.trie {
            Trie::Narrow(trie) => trie.lookup(self.short(key)),
            Trie::Wide(trie) => trie.lookup(self.address(key)),
        };
        found.map(word)
    }

    #[inline(always)]
    pub(super) fn prefetch(&self, key: u128) {
        match &self.trie {
            Trie::Narrow(trie) => trie.prefetch(self.short(key)),
            Trie::Wide(trie) => trie.prefetch(self.address(key)),
        }
    }

    #[inline(always)]
    pub(super) fn prefetch_deeper(&self, key: u128) {
        match &self.trie {
            Trie::Narrow(trie) => trie.prefetch_deeper(self.short(key)),
            Trie::Wide(trie) => trie.prefetch_deeper(self.address(key)),
        }
    }

    /// Looks up as many keys as there are places in `found`; `put` is told the place and what is
    /// stored.
    #[inline(always)]
    pub(super) fn lookup_each<V: Word, F>(
        &self, keys: &[TableKey], found: &mut [F], put: impl Fn(&mut F, Option<V>) + Copy,
    ) {
        let put = |found: &mut F, value| put(found, of_value(value));
        match &self.trie {
            // Where IPv4 keys have their destinations: no shift for each.
            Trie::Narrow(trie) if self.field.top == u32::BITS => {
                trie.lookup_each(keys, found, |key| key.bits() as u32, put);
            }
            Trie::Narrow(trie) => trie.lookup_each(keys, found, |key| self.short(key.bits()), put),
            Trie::Wide(trie) => trie.lookup_each(keys, found, |key| self.address(key.bits()), put),
        }
    }

    /// The best match after `after`.
    pub(super) fn next_match(&self, key: u128, after: Option<Place>) -> Option<Hit<u32>> {
        // The longest length that comes after a place; places of equal rank have one order.
        let most = match after {
            Some(place) => u32::try_from(self.sum.checked_sub(u64::from(place.rank().0) + 1)?).ok()?,
            None => 128,
        };
        let address = self.address(key);
        let (len, value) = match &self.trie {
            Trie::Narrow(trie) => trie.longest((address >> 96) as u32, most.min(32)),
            Trie::Wide(trie) => trie.longest(address, most.min(128)),
        }?;
        Some(Hit { place: Place::new(Rank((self.sum - u64::from(len)) as u32), 0), value: value - 1 })
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        let narrow = match &self.trie {
            Trie::Narrow(trie) => Some(trie.iter().map(|(p, v)| (u128::from(p.bits()) << 96, p.len(), v))),
            Trie::Wide(_) => None,
        };
        let wide = match &self.trie {
            Trie::Wide(trie) => Some(trie.iter().map(|(p, v)| (p.bits(), p.len(), v))),
            Trie::Narrow(_) => None,
        };
        let all = narrow.into_iter().flatten().chain(wide.into_iter().flatten());
        all.map(|(bits, len, value)| {
            let mask = if len == 0 { 0 } else { u128::MAX << (128 - len) };
            let down = |bits: u128| LookupKey::new(bits >> (128 - self.field.top));
            let filter = Filter::new(self.slice, down(bits), down(mask)).into();
            let place = Place::new(Rank((self.sum - u64::from(len)) as u32), 0);
            Row { place, filter, word: value - 1 }
        })
    }
}

impl RoutesControl {
    pub(super) fn cost(&self, read: &Routes) -> u32 {
        match (&self.0, &read.trie) {
            (Trie::Narrow(control), Trie::Narrow(trie)) => control.cost(trie),
            (Trie::Wide(control), Trie::Wide(trie)) => control.cost(trie),
            _ => 0,
        }
    }

    /// What lookups touch at most if a route is added: as before if it is no longer than
    /// another, else what prefixes of its length take in a table of the least form.
    pub(super) fn most_lines(&self, read: &Routes, rank: Rank, filter: &RangedFilter) -> u32 {
        let len = read.prefix(rank, filter).map_or(0, |(_, len)| len);
        let now = self.cost(read);
        if len <= self.1 { now } else { now.max(3 + 3 * len.div_ceil(6)) }
    }

    pub(super) fn octets(&self, read: &Routes) -> usize {
        self.all_octets(read).total
    }

    pub(super) fn waiting(&self, read: &Routes) -> usize {
        self.all_octets(read).waiting
    }

    fn all_octets(&self, read: &Routes) -> Octets {
        match (&self.0, &read.trie) {
            (Trie::Narrow(control), Trie::Narrow(trie)) => control.octets(trie),
            (Trie::Wide(control), Trie::Wide(trie)) => control.octets(trie),
            _ => Octets::default(),
        }
    }

    pub(super) fn get(&self, read: &Routes, rank: Rank, filter: &RangedFilter) -> Option<u32> {
        let (bits, len) = read.prefix(rank, filter)?;
        let value = match &read.trie {
            Trie::Narrow(trie) => trie.get(Prefix::new((bits >> 96) as u32, len)?),
            Trie::Wide(trie) => trie.get(Prefix::new(bits, len)?),
        };
        value.map(|value| value - 1)
    }

    pub(super) fn insert(
        &mut self, read: &Routes, epochs: &mut Epochs, rank: Rank, filter: &RangedFilter, word: u32,
    ) -> Changed {
        let Some((bits, len)) = read.prefix(rank, filter).filter(|_| word <= MOST_WORD) else {
            return Changed::Misfit;
        };
        let inserted = match (&mut self.0, &read.trie) {
            (Trie::Narrow(control), Trie::Narrow(trie)) => {
                let Some(prefix) = Prefix::new((bits >> 96) as u32, len) else { return Changed::Misfit };
                control.insert(trie, epochs, prefix, word + 1)
            }
            (Trie::Wide(control), Trie::Wide(trie)) => {
                let Some(prefix) = Prefix::new(bits, len) else { return Changed::Misfit };
                control.insert(trie, epochs, prefix, word + 1)
            }
            _ => return Changed::Misfit,
        };
        match inserted {
            Ok(old) => {
                self.1 = self.1.max(len);
                Changed::Done(old.map(|old| old - 1))
            }
            Err(InsertError::Update(UpdateError::Busy)) => Changed::Busy,
            Err(InsertError::Cost { needed, .. }) => Changed::Cost(needed),
            Err(_) => Changed::RebuildDue,
        }
    }

    pub(super) fn remove(
        &mut self, read: &Routes, epochs: &mut Epochs, rank: Rank, filter: &RangedFilter,
    ) -> Changed {
        let Some((bits, len)) = read.prefix(rank, filter) else { return Changed::Done(None) };
        let removed = match (&mut self.0, &read.trie) {
            (Trie::Narrow(control), Trie::Narrow(trie)) => {
                Prefix::new((bits >> 96) as u32, len).map(|prefix| control.remove(trie, epochs, prefix))
            }
            (Trie::Wide(control), Trie::Wide(trie)) => {
                Prefix::new(bits, len).map(|prefix| control.remove(trie, epochs, prefix))
            }
            _ => None,
        };
        match removed {
            None => Changed::Done(None),
            Some(Ok(old)) => Changed::Done(old.map(|old| old - 1)),
            Some(Err(UpdateError::Busy)) => Changed::Busy,
            Some(Err(_)) => Changed::RebuildDue,
        }
    }
}

fn load<A: Address>(
    routes: impl Iterator<Item = (A, u32, u32)>, form: Form,
) -> Option<(PrefixRead<A>, PrefixControl<A>)> {
    let prefixes: Option<Vec<_>> =
        routes.map(|(bits, len, value)| Some((Prefix::new(bits, len)?, value))).collect();
    Some(PrefixTrie::load(prefixes?, form).ok()?.into_halves())
}

/// A filter as a prefix at the top of an address, if it is a route of `field` and `sum`.
fn of(field: Field, sum: u64, rank: Rank, filter: &RangedFilter) -> Option<(u128, u32)> {
    let prefix = shape::Prefix::of(rank, filter)?;
    let here = prefix.sum == sum && (prefix.len == 0 || prefix.top == field.top);
    here.then(|| ((filter.filter().value() & LookupKey::MAX.bits()) << (128 - field.top), prefix.len))
}

#[inline(always)]
fn word(value: NonZeroU32) -> u32 {
    value.get() - 1
}

/// What is stored with a route. Not a branch: whether there is one nobody can guess, and so it is
/// many at a time.
#[inline(always)]
fn of_value<V: Word>(value: Option<NonZeroU32>) -> Option<V> {
    let value = value.map_or(0, NonZeroU32::get);
    select_unpredictable(value != 0, Some(V::of(value.wrapping_sub(1))), None)
}
