//! What a table says of itself.

use alloc::vec::Vec;

use crate::key::TableKey;
use crate::lookup::RangedFilter;
use crate::lookup::tcam::Entry;

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
    /// Octets of memory.
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

/// Filters that another one covers; O(filters^2).
pub(super) fn shadowed<V: Copy>(mut entries: Vec<Entry<V>>) -> Vec<Shadowed<V>> {
    entries.sort_by_key(|entry| entry.place);
    let mut found = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let before = entries.get(..at).unwrap_or_default();
        if let Some(by) = before.iter().find(|other| covers(&other.filter, &entry.filter)) {
            found.push(Shadowed { entry: *entry, by: *by });
        }
    }
    found
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
