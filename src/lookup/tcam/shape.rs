//! What a slice's filters look like, and so which engine finds them best.
//!
//! A pure function of the set: whatever the history, the same filters are found the same
//! way after a rebuild.

use crate::key::LookupKey;
use crate::lookup::{Place, RangedFilter, Rank};

/// So few filters are scanned, whatever they look like.
pub(super) const FEW: usize = 64;

/// Where prefixes stand in a key: they begin below bit `top` and have up to `width` bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Field {
    pub(super) top: u32,
    pub(super) width: u32,
}

/// What a set of filters looks like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    /// Few, or of no form that another engine takes.
    Any,
    /// Many of one mask and different values.
    Exact {
        /// The mask.
        mask: u128,
    },
    /// Prefixes of one field, the longest first; if they are many, maybe with other filters
    /// that all stand before them.
    Layers(Field),
}

/// A filter as a prefix of some field, if it is one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Prefix {
    /// The bit above its first one; 0 for the prefix of no bits, which any field has.
    pub(super) top: u32,
    pub(super) len: u32,
    /// Rank and length together: the same for all routes of a table.
    pub(super) sum: u64,
}

impl Prefix {
    /// `None` if the filter is no prefix, or its rank is none of [`Rank::longest_prefix`].
    pub(super) fn of(rank: Rank, filter: &RangedFilter) -> Option<Self> {
        let mask = filter.filter().mask() & LookupKey::MAX.bits();
        let len = mask.count_ones();
        let (top, end) = (128 - mask.leading_zeros(), mask.trailing_zeros().min(128));
        let contiguous = len == 0 || top - end == len;
        if !filter.is_ternary() || !contiguous || rank.0 < Rank::ROUTES {
            return None;
        }
        Some(Self { top: if len == 0 { 0 } else { top }, len, sum: u64::from(rank.0) + u64::from(len) })
    }
}

/// Looks at filters in order of precedence.
#[derive(Clone, Debug, Default)]
pub(super) struct Shaper {
    count: usize,
    mask: Option<u128>,
    one_mask: bool,
    routes: usize,
    route: Option<(u32, u64)>,
    longest: u32,
    /// Some filter with the rank of a route is none, or of another field.
    mixed: bool,
}

impl Shaper {
    /// Takes one more filter into account.
    pub(super) fn add(&mut self, place: Place, filter: &RangedFilter) {
        let mask = filter.filter().mask();
        let first = self.count == 0;
        self.count += 1;
        self.one_mask = (first || self.one_mask && self.mask == Some(mask)) && filter.is_ternary();
        self.mask = Some(mask);
        if place.rank().0 < Rank::ROUTES {
            return;
        }
        let Some(prefix) = Prefix::of(place.rank(), filter) else {
            self.mixed = true;
            return;
        };
        self.routes += 1;
        self.longest = self.longest.max(prefix.len);
        let (top, sum) = self.route.unwrap_or((prefix.top, prefix.sum));
        self.mixed |= sum != prefix.sum || (prefix.len > 0 && top > 0 && top != prefix.top);
        self.route = Some((top.max(prefix.top), sum));
    }

    /// The shape of what was added. `distinct` says whether no two filters of one mask have
    /// one value; it is asked only if there is one mask.
    pub(super) fn shape(&self, distinct: impl FnOnce() -> bool) -> Shape {
        let routes = self.routes > FEW || self.routes == self.count;
        if let Some((top, _)) = self.route.filter(|_| !self.mixed && routes) {
            return Shape::Layers(Field { top: top.max(1), width: self.longest });
        }
        if self.count <= FEW {
            return Shape::Any;
        }
        match self.mask {
            Some(mask) if self.one_mask && distinct() => Shape::Exact { mask },
            _ => Shape::Any,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code_option::ipv4::Ipv4Key;
    use crate::id::SliceId;
    use crate::lookup::Filter;

    fn shape(filters: &[(Rank, RangedFilter)]) -> Shape {
        let mut shaper = Shaper::default();
        for (order, (rank, filter)) in (0..).zip(filters) {
            shaper.add(Place::new(*rank, order), filter);
        }
        let distinct =
            || filters.iter().enumerate().all(|(at, one)| filters[..at].iter().all(|other| other.1 != one.1));
        shaper.shape(distinct)
    }

    fn route(destination: u32, len: u8) -> (Rank, RangedFilter) {
        let (value, mask) = Ipv4Key::route(destination, len);
        (Rank::longest_prefix(32, len), Filter::new(SliceId(1), value, mask).into())
    }

    fn routes(count: u32) -> std::vec::Vec<(Rank, RangedFilter)> {
        (0..count).map(|n| route(n << 12, 20)).collect()
    }

    #[test]
    fn routes_are_known_by_rank_and_mask() {
        let field = Field { top: 32, width: 20 };
        assert_eq!(shape(&routes(65)), Shape::Layers(field));
        assert_eq!(shape(&routes(1)), Shape::Layers(field), "few, and nothing else");
        let mut few = routes(64);
        few.push((Rank(7), route(9 << 12, 20).1));
        assert_eq!(shape(&few), Shape::Any, "few, and others");
        assert_eq!(shape(&[]), Shape::Any);
        let mut with_default = routes(65);
        with_default.insert(0, route(0, 0));
        assert_eq!(shape(&with_default), Shape::Layers(field));
        let mut with_policy = routes(65);
        with_policy.push((Rank(7), route(9 << 12, 20).1));
        assert_eq!(shape(&with_policy), Shape::Layers(field));
        let mut two_widths = routes(65);
        two_widths.push((Rank::longest_prefix(64, 20), route(9 << 12, 20).1));
        assert_eq!(shape(&two_widths), Shape::Any, "not the longest first");
        let source = Filter::new(SliceId(1), LookupKey::new(1 << 63), LookupKey::new(1 << 63));
        let mut two_fields = routes(65);
        two_fields.push((Rank::longest_prefix(32, 1), source.into()));
        assert_eq!(shape(&two_fields), Shape::Any);
    }

    #[test]
    fn one_mask_is_exact_match_if_no_value_comes_twice() {
        let mask = LookupKey::new(0xffff_00ff);
        let exact = |n: u32| {
            let value = LookupKey::new(u128::from(n & 0xff | (n >> 8) << 16));
            (Rank(n % 3), RangedFilter::from(Filter::new(SliceId(1), value, mask)))
        };
        let mut filters: std::vec::Vec<_> = (0..200).map(exact).collect();
        let bits = Filter::new(SliceId(1), LookupKey::new(0), mask).mask();
        assert_eq!(shape(&filters), Shape::Exact { mask: bits });
        filters.push((Rank(9), exact(5).1));
        assert_eq!(shape(&filters), Shape::Any, "the same value at two ranks");
    }
}
