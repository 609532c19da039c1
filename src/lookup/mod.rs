//! Lookup: a generic match of 128-bit keys, as the TCAM of section 4 offers.
//!
//! | table | when | cost of a lookup |
//! |---|---|---|
//! | `Tcam` (`alloc`) | many slices, filters of any form, updates while others read | what its engines cost; bounded |
//! | `Forest` (`alloc`) | one slice, filters of any form, with ranges | some 10 to 20 cache lines for 10,000 filters |
//! | `ExactTable` (`alloc`) | filters of one mask: identifiers, flows | two cache lines |
//! | [`prefix::PrefixTrie`](crate::prefix) (`alloc`) | longest prefix match, addresses of any width | one cache line to three for IPv4 |
//! | [`StrideTcam`] | up to some 1,024 filters, no allocator | 32 rows of bits, 32 octets each for 256 filters |
//! | [`LinearTcam`] | a dozen filters; the reference | O(filters) |
//!
//! [`Counted`] counts how often each filter answers. How the large ones work, what they
//! cost, and what was tried: `docs/lookup.md`.
//!
//! ```
//! use fastpath::id::SliceId;
//! use fastpath::key::{LookupKey, TableKey};
//! use fastpath::lookup::{Filter, LinearTcam, Rank, TernaryTable, TernaryUpdate};
//!
//! let mut tcam = LinearTcam::new([None; 16]);
//! let slice = SliceId(7);
//! let low_octet = LookupKey::new(0xff);
//! tcam.insert(Rank(10), Filter::new(slice, LookupKey::new(0x2a), low_octet), "answer")?;
//! tcam.insert(Rank(99), Filter::new(slice, LookupKey::new(0), LookupKey::new(0)), "default")?;
//!
//! let find = |slice, bits| tcam.lookup(TableKey::new(slice, LookupKey::new(bits)));
//! assert_eq!(find(slice, 0x12a), Some("answer"));
//! assert_eq!(find(slice, 0x100), Some("default"));
//! assert_eq!(find(SliceId(8), 0x12a), None, "another slice sees none of it");
//! # Ok::<(), fastpath::lookup::TableErrorKind>(())
//! ```

mod counted;
#[cfg(feature = "alloc")]
mod exact;
#[cfg(feature = "alloc")]
mod forest;
mod linear;
mod ranged;
mod stride;
#[cfg(feature = "alloc")]
mod tcam;
mod word;

pub use counted::Counted;
#[cfg(feature = "alloc")]
pub use exact::{ExactControl, ExactError, ExactProbe, ExactRead, ExactTable};
#[cfg(feature = "alloc")]
pub use forest::{Forest, Simd};
pub use linear::{LinearTcam, Row};
pub use ranged::{PortPrefix, PortPrefixes, RangedFilter, prefixes as port_prefixes};
pub use stride::{Block as StrideBlock, StrideTcam};
#[cfg(feature = "alloc")]
pub use tcam::{
    Entry, Explanation, Handle, Match, Plan, Shadowed, Tcam, TcamConfig, TcamError, TcamReader, TcamWriter,
};
pub use word::Word;

use core::fmt::{Debug, Display};

use crate::id::SliceId;
use crate::key::{LookupKey, TableKey};

/// A ternary pattern that belongs to one slice.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Filter {
    value: u128,
    mask: u128,
}

impl Filter {
    /// Matches keys of `slice` that equal `value` wherever `mask` is 1.
    ///
    /// Bits of `value` outside `mask` are cleared, so that equal filters compare
    /// equal.
    pub const fn new(slice: SliceId, value: LookupKey, mask: LookupKey) -> Self {
        let mask = TableKey::new(SliceId(u16::MAX), mask).bits();
        Self { value: TableKey::new(slice, value).bits() & mask, mask }
    }

    /// True if `key` falls under this filter.
    #[inline(always)]
    pub const fn matches(&self, key: TableKey) -> bool {
        key.bits() & self.mask == self.value
    }

    /// The slice it belongs to.
    pub const fn slice(&self) -> SliceId {
        SliceId((self.value >> LookupKey::BITS) as u16)
    }

    /// The 128 bits a key must have where [`mask`](Self::mask) is 1.
    pub const fn value(&self) -> u128 {
        self.value
    }

    /// The 128 mask bits; the top 16, the slice's, are always 1.
    pub const fn mask(&self) -> u128 {
        self.mask
    }
}

/// Precedence of a filter within its slice: the lowest wins. Many filters may share
/// one; among them the first inserted wins.
///
/// A routing table uses [`Rank::longest_prefix`], which leaves the ranks below
/// 65,536 free for policy filters above the routes.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Rank(pub u32);

impl Rank {
    /// The first rank that routes use.
    pub const ROUTES: u32 = 1 << 16;

    /// The rank of a route to a prefix of `len` bits of an address of `width` bits:
    /// 65,536 + width - length, so that the longest prefix wins.
    pub const fn longest_prefix(width: u8, len: u8) -> Self {
        Self(Self::ROUTES + width.saturating_sub(len) as u32)
    }
}

/// Where a filter stands among all filters of its slice. No two are equal. Opaque:
/// a cursor of [`AllMatches`].
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    rank: Rank,
    order: u64,
}

impl Place {
    /// For implementors: the place of a filter that was the `order`th to come.
    pub const fn new(rank: Rank, order: u64) -> Self {
        Self { rank, order }
    }

    /// The filter's rank.
    pub const fn rank(self) -> Rank {
        self.rank
    }
}

/// A matching filter's place and what is stored with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hit<V> {
    /// Where the filter stands.
    pub place: Place,
    /// What was stored with it.
    pub value: V,
}

/// The read side of a ternary match table.
///
/// The packet path asks for the best value only, which an engine can keep in two
/// octets a prefix; who wants places and further matches asks [`AllMatches`].
///
/// Reads take `&self`: cores that forward share a `&T` of a table that stays as it is, or
/// each has a reader of its own of a table that is updated meanwhile.
///
/// # Contract
///
/// - `lookup(k)` is the value of the matching filter of `k`'s slice with the lowest
///   rank, the first inserted among equal ranks: what [`LinearTcam`] answers.
/// - `lookup_batch` is `lookup` of each key.
/// - Each answer is that of the table before or after any update that is under way.
/// - Filters of one slice cost another slice nothing.
/// - No method allocates, waits or panics.
///
/// Check an implementation with `conformance::ternary_table`.
pub trait TernaryTable {
    /// What is stored with a filter.
    type Value: Copy;

    /// What is stored with the best match.
    fn lookup(&self, key: TableKey) -> Option<Self::Value>;

    /// Starts fetching the first line `lookup(key)` will read. A hint: the pipeline
    /// gives it as soon as a key is known, and looks up when the keys of the whole
    /// vector are.
    #[inline(always)]
    fn prefetch(&self, _key: TableKey) {}

    /// Starts fetching what the lines lead to that [`prefetch`](Self::prefetch) asked for. A
    /// hint: the pipeline gives it when the keys of a whole vector are known, and looks them up
    /// in smaller groups after that, so that the lines of the later ones have time to arrive.
    #[inline(always)]
    fn prefetch_deeper(&self, _keys: &[TableKey]) {}

    /// `lookup` of each key; stops at the shorter of the two slices.
    ///
    /// An engine that reads several lines a key overrides this, and goes over the
    /// keys once for each line: two passes per miss.
    #[inline(always)]
    fn lookup_batch(&self, keys: &[TableKey], found: &mut [Option<Self::Value>]) {
        for (&key, found) in keys.iter().zip(found) {
            *found = self.lookup(key);
        }
    }

    /// Tells the table that a vector has ended: what was removed before may be reclaimed
    /// when every reader has said so.
    ///
    /// Whoever says so owns the table, or a reader of its own: through a `&T`, which
    /// others may be reading through, it does nothing. A table that is not updated while
    /// it is read needs none of this.
    #[inline(always)]
    fn quiescent(&mut self) {}
}

/// All matches of a key, best first: for multicast, diagnosis, explanation.
///
/// A hardware table may answer from the copy that its driver keeps.
pub trait AllMatches: TernaryTable {
    /// The best match after the place `after`, or the best of all.
    fn next_match(&self, key: TableKey, after: Option<Place>) -> Option<Hit<Self::Value>>;

    /// All matches, best first.
    fn matches(&self, key: TableKey) -> impl Iterator<Item = Hit<Self::Value>>
    where
        Self: Sized,
    {
        let next = move |hit: &Hit<_>| self.next_match(key, Some(hit.place));
        core::iter::successors(self.next_match(key, None), next)
    }
}

macro_rules! table_behind {
    ($pointer:ty $(, $quiescent:item)?) => {
        impl<T: TernaryTable + ?Sized> TernaryTable for $pointer {
            type Value = T::Value;

            #[inline(always)]
            fn lookup(&self, key: TableKey) -> Option<Self::Value> {
                (**self).lookup(key)
            }
            #[inline(always)]
            fn prefetch(&self, key: TableKey) {
                (**self).prefetch(key);
            }
            #[inline(always)]
            fn prefetch_deeper(&self, keys: &[TableKey]) {
                (**self).prefetch_deeper(keys);
            }
            #[inline(always)]
            fn lookup_batch(&self, keys: &[TableKey], found: &mut [Option<Self::Value>]) {
                (**self).lookup_batch(keys, found);
            }
            $($quiescent)?
        }

        impl<T: AllMatches + ?Sized> AllMatches for $pointer {
            fn next_match(&self, key: TableKey, after: Option<Place>) -> Option<Hit<Self::Value>> {
                (**self).next_match(key, after)
            }
        }
    };
}

table_behind!(&T);
table_behind!(
    &mut T,
    #[inline(always)]
    fn quiescent(&mut self) {
        (**self).quiescent();
    }
);

/// What generic code may know of a failed update. An error of its own for tables
/// that have no more to say.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TableErrorKind {
    /// No entry is free.
    #[error("the table is full: remove filters, or reserve more")]
    Full,
    /// The slice's engine cannot hold such a filter, or not within its cost bound.
    #[error("the slice's engine cannot hold this filter")]
    Unsupported,
    /// The table has no room for filters of this slice at all.
    #[error("the slice has no table")]
    UnknownSlice,
    /// Too much memory waits for readers; there is room when they have passed an epoch or two.
    #[error("too much waits for readers: try again when each has said that it is quiescent")]
    Busy,
    /// The device refused; the error itself says more.
    #[error("the device refused")]
    Device,
}

/// An update error of some table.
pub trait TableError: Debug + Display {
    /// The part of it that every table shares.
    fn kind(&self) -> TableErrorKind;
}

impl TableError for TableErrorKind {
    fn kind(&self) -> TableErrorKind {
        *self
    }
}

/// The write side, used by the control plane only. A filter's identity is its rank
/// and the filter itself, which names its slice.
pub trait TernaryUpdate: TernaryTable {
    /// What can go wrong here.
    type Error: TableError;

    /// Stores `value` with `filter` at `rank`, and returns what was stored with the
    /// same filter at the same rank. Such a filter keeps its place.
    ///
    /// # Errors
    ///
    /// [`TableErrorKind::Full`], [`TableErrorKind::Unsupported`], or, where others read
    /// meanwhile, [`TableErrorKind::Busy`]; the table is unchanged. Replacing does not fail in
    /// software.
    fn insert(
        &mut self, rank: Rank, filter: Filter, value: Self::Value,
    ) -> Result<Option<Self::Value>, Self::Error>;

    /// Takes out `filter` at `rank`, if it is there.
    ///
    /// # Errors
    ///
    /// Only a device's; software never fails here.
    fn remove(&mut self, rank: Rank, filter: &Filter) -> Result<Option<Self::Value>, Self::Error>;
}

impl<T: TernaryUpdate + ?Sized> TernaryUpdate for &mut T {
    type Error = T::Error;

    fn insert(
        &mut self, rank: Rank, filter: Filter, value: Self::Value,
    ) -> Result<Option<Self::Value>, Self::Error> {
        (**self).insert(rank, filter, value)
    }
    fn remove(&mut self, rank: Rank, filter: &Filter) -> Result<Option<Self::Value>, Self::Error> {
        (**self).remove(rank, filter)
    }
}
