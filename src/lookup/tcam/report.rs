//! What a table says of itself.

use alloc::vec::Vec;

use crate::id::SliceId;
use crate::key::{LookupKey, TableKey};
use crate::lookup::tcam::TcamWriter;
use crate::lookup::tcam::engine::{Upper, UpperControl};
use crate::lookup::{AllMatches, Place, RangedFilter, Rank, Word};

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
    pub(super) rank: Rank,
    pub(super) filter: RangedFilter,
}

impl Handle {
    /// The slice of the filter.
    pub const fn slice(&self) -> SliceId {
        self.filter.filter().slice()
    }
}

/// How a slice's filters are found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Plan {
    /// The engine of all filters that are no routes, or of all filters; `None` if there are
    /// none.
    pub upper: Option<&'static str>,
    /// Whether routes stand below in a prefix engine.
    pub routes: bool,
    /// Filters of the slice.
    pub filters: usize,
    /// Cache lines that a lookup may touch.
    pub lines: u32,
    /// Octets of memory that were in use at some time since the engine was built. A forest
    /// has room for twice as much, which it does not touch before.
    pub octets: usize,
}

impl Plan {
    pub(super) const NONE: Self = Self { upper: None, routes: false, filters: 0, lines: 1, octets: 0 };
}

/// Why a key finds what it finds.
#[derive(Clone, Debug)]
pub struct Explanation<V> {
    /// The key.
    pub key: TableKey,
    /// All filters that match it, best first.
    pub matches: Vec<Match<V>>,
    /// Cache lines that its lookup touches.
    pub lines: u32,
}

/// A filter that matches a key.
#[derive(Clone, Copy, Debug)]
pub struct Match<V> {
    /// The filter.
    pub entry: Entry<V>,
    /// Whether it is the one that the lookup answers with; if not, the first one stands
    /// before it by rank, or by order of insertion where ranks are equal.
    pub wins: bool,
}

/// A filter that can never win.
#[derive(Clone, Copy, Debug)]
pub struct Shadowed<V> {
    /// The filter.
    pub entry: Entry<V>,
    /// One that stands before it and matches all that it matches.
    pub by: Entry<V>,
}

impl<V: Word> TcamWriter<V> {
    /// Which engine finds the filters, and what that costs.
    pub fn plan(&self) -> Plan {
        let Some((control, engine)) = self.parts() else { return Plan::NONE };
        let upper = match (&control.upper, engine.upper.as_deref()) {
            (Some(UpperControl::Exact(_)), _) => Some("exact match"),
            (_, Some(Upper::Forest(forest))) if forest.is_list() => Some("scan"),
            (Some(UpperControl::Forest(_)), _) => Some("forest"),
            (None, _) => None,
        };
        Plan {
            upper,
            routes: engine.routes.is_some(),
            filters: self.len(),
            lines: control.cost(engine),
            octets: control.octets(engine),
        }
    }

    /// Which filters match `key`, best first, and what a lookup of it may touch.
    pub fn explain(&self, key: LookupKey) -> Explanation<V> {
        let key = TableKey::new(self.slice(), key);
        let matches = self.iter().filter(|entry| entry.filter.matches(key));
        let mut matches: Vec<_> = matches.map(|entry| Match { entry, wins: false }).collect();
        matches.sort_by_key(|found| found.entry.place);
        if let Some(first) = matches.first_mut() {
            first.wins = true;
        }
        let lines = self.parts().map_or(0, |(control, engine)| control.cost_of(engine, key.bits()));
        Explanation { key, matches, lines }
    }

    /// Filters that can never win, each with the first that stands before it and matches all
    /// that it matches. One that several others cover together is not found.
    ///
    /// O(filters * filters that match a key): whatever covers a filter matches its lowest key.
    pub fn shadowed(&self) -> Vec<Shadowed<V>> {
        let mut entries: Vec<Entry<V>> = self.iter().collect();
        // Routes of one length share their place and their mask.
        let at = |entry: &Entry<V>| (entry.place, entry.filter.filter().value());
        entries.sort_by_key(at);
        let entry_at = |place: Place, key: TableKey| {
            let first = entries.get(entries.partition_point(|entry| entry.place < place))?;
            let value = first.filter.filter().mask() & key.bits();
            let found = entries.binary_search_by_key(&(place, value), at);
            entries.get(found.unwrap_or_else(|_| entries.partition_point(|entry| entry.place < place)))
        };
        let mut found = Vec::new();
        for entry in &entries {
            let key = lowest_key(&entry.filter);
            let before = self.matches(key).take_while(|hit| hit.place < entry.place);
            let mut before = before.filter_map(|hit| entry_at(hit.place, key));
            if let Some(by) = before.find(|by| covers(&by.filter, &entry.filter)) {
                found.push(Shadowed { entry: *entry, by: *by });
            }
        }
        found
    }

    /// Octets of memory that the filters take: [`Plan::octets`].
    pub fn octets(&self) -> usize {
        self.parts().map_or(0, |(control, engine)| control.octets(engine))
    }
}

/// The lowest of the keys that a filter matches.
fn lowest_key(filter: &RangedFilter) -> TableKey {
    let fields = filter.ranges().into_iter().zip(RangedFilter::FIELDS);
    let bits = fields.fold(filter.filter().value(), |bits, ((low, _), at)| bits | u128::from(low) << at);
    TableKey::new(filter.filter().slice(), LookupKey::new(bits))
}

/// Whether all keys of `inner` are keys of `outer`.
fn covers(outer: &RangedFilter, inner: &RangedFilter) -> bool {
    // Each field as a range or a pattern; a range never covers by its mask, and a pattern
    // with open bits covers a range only if it is a prefix that holds it.
    let (a, b) = (outer.filter(), inner.filter());
    let fields = outer.ranges().into_iter().zip(inner.ranges()).zip(RangedFilter::FIELDS);
    let mut mask = a.mask();
    for ((wide, narrow), at) in fields {
        let field = 0xffffu128 << at;
        let (low, high) = if narrow == RangedFilter::ALL {
            let (value, open) = ((b.value() >> at) as u16, !(b.mask() >> at) as u16);
            (value, value | open)
        } else {
            narrow
        };
        if wide != RangedFilter::ALL {
            if low < wide.0 || wide.1 < high {
                return false;
            }
        } else if narrow != RangedFilter::ALL {
            // Its ends agree in all bits that the pattern asks for, and all between do:
            // the pattern's bits are on top of where they part.
            let part = 16 - (low ^ high).leading_zeros();
            let asked = (a.mask() >> at) as u16;
            if u32::from(asked).trailing_zeros().min(16) < part
                || (low ^ (a.value() >> at) as u16) & asked != 0
            {
                return false;
            }
            mask &= !field;
        }
    }
    mask & !b.mask() == 0 && (b.value() ^ a.value()) & mask == 0
}

#[cfg(test)]
#[cfg(all(feature = "conformance", not(loom)))]
mod tests;
