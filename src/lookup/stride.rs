//! A table of fixed capacity: a bit for each filter, a row of bits for each value of each
//! four bits of a key.
//!
//! T. Ganegedara, W. Jiang, V. Prasanna, "A Scalable and Modular Architecture for
//! High-Performance Packet Classification", IEEE TPDS 25(5), 2014 (StrideBV), after
//! T. V. Lakshman, D. Stiliadis, "High-Speed Policy-Based Packet Forwarding Using
//! Efficient Multi-dimensional Range Matching", SIGCOMM 1998. The 32 rows that a key
//! selects are joined by AND; the first bit that is left is the best match, as bits stand
//! in the order of precedence.
//!
//! For whoever has no allocator, or must know the cost of every lookup: filters of any
//! form, up to some 1,024. Memory: 64 octets a filter and the rows. A lookup reads 32 rows
//! of each block until it has a match: 32 octets each for the 256 filters of a `Block<4>`,
//! some 60 instructions with vectors of 256 bits. An update moves half of all bits: some
//! microseconds with 1,024 filters.

use crate::key::TableKey;
use crate::lookup::{AllMatches, Filter, Hit, Place, Rank, Row, TableErrorKind, TernaryTable, TernaryUpdate};
use crate::store::Store;

/// Groups of four bits in a key, and the values of each.
const COLUMNS: usize = 32;
const VALUES: usize = 16;

/// Bits of `64 * W` filters: 512 * W words.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct Block<const W: usize = 4>([[[u64; W]; VALUES]; COLUMNS]);

impl<const W: usize> Block<W> {
    /// No filter.
    pub const NEW: Self = Self([[[0; W]; VALUES]; COLUMNS]);

    /// Filters that a block has room for.
    pub const FILTERS: usize = 64 * W;

    /// Which of the block's filters match.
    #[inline(always)]
    fn matches(&self, key: u128) -> [u64; W] {
        let mut left = [u64::MAX; W];
        let halves = [key as u64, (key >> 64) as u64];
        for (columns, mut bits) in self.0.chunks(COLUMNS / 2).zip(halves) {
            for column in columns {
                if let Some(row) = column.get((bits & 15) as usize) {
                    for (left, row) in left.iter_mut().zip(row) {
                        *left &= row;
                    }
                }
                bits >>= 4;
            }
        }
        left
    }

    /// The number of the first filter from `from` on that matches.
    #[inline(always)]
    fn first(&self, key: u128, from: usize) -> Option<usize> {
        let words = self.matches(key).into_iter().enumerate();
        for (at, word) in words {
            let before = from.saturating_sub(64 * at).min(64) as u32;
            let word = word & u64::MAX.checked_shl(before).unwrap_or(0);
            if word != 0 {
                return Some(64 * at + word.trailing_zeros() as usize);
            }
        }
        None
    }
}

/// Filters in order, found by their bits.
///
/// `B` is memory for [`Block`]s, `R` for as many rows as they have bits, or fewer: the
/// shorter bounds the filters.
///
/// ```
/// use fastpath::id::SliceId;
/// use fastpath::key::{LookupKey, TableKey};
/// use fastpath::lookup::{Filter, Rank, StrideBlock, StrideTcam, TernaryTable, TernaryUpdate};
///
/// // 64 filters on the stack.
/// let mut tcam = StrideTcam::new([const { StrideBlock::<1>::NEW }; 1], [None; 64]);
/// let low_octet = LookupKey::new(0xff);
/// tcam.insert(Rank(1), Filter::new(SliceId(7), LookupKey::new(0x2a), low_octet), "answer")?;
/// let found = tcam.lookup(TableKey::new(SliceId(7), LookupKey::new(0x32a)));
/// assert_eq!(found, Some("answer"));
/// # Ok::<(), fastpath::lookup::TableErrorKind>(())
/// ```
#[derive(Clone, Debug)]
pub struct StrideTcam<B, R> {
    /// Invariant: bit n of the rows that a key selects, joined, says whether the filter of
    /// row n matches it; bits without a row are 0.
    blocks: B,
    /// Invariant: rows come first and in the order of their places.
    rows: R,
    len: usize,
    inserted: u64,
}

impl<V, B, R, const W: usize> StrideTcam<B, R>
where
    V: Copy,
    B: Store<Item = Block<W>>,
    R: Store<Item = Option<Row<V>>>,
{
    /// An empty table.
    pub fn new(mut blocks: B, mut rows: R) -> Self {
        blocks.items_mut().fill(Block::NEW);
        rows.items_mut().fill(None);
        Self { blocks, rows, len: 0, inserted: 0 }
    }

    /// Filters in the table.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Filters that the table has room for.
    pub fn capacity(&self) -> usize {
        self.rows.items().len().min(self.blocks.items().len() * Block::<W>::FILTERS)
    }

    /// All filters with their ranks and values, in order of precedence.
    pub fn iter<'a>(&'a self) -> impl Iterator<Item = (Rank, Filter, V)>
    where
        V: 'a,
    {
        self.rows.items().iter().map_while(Option::as_ref).map(Row::parts)
    }

    fn row(&self, at: usize) -> Option<&Row<V>> {
        self.rows.items().get(at)?.as_ref()
    }

    /// The row of the first filter from row `from` on that matches.
    #[inline(always)]
    fn first(&self, key: TableKey, from: usize) -> Option<&Row<V>> {
        let first = from / Block::<W>::FILTERS;
        let blocks = self.blocks.items().get(first..).unwrap_or_default();
        let blocks = blocks.iter().zip((first * Block::<W>::FILTERS..self.len).step_by(Block::<W>::FILTERS));
        for (block, start) in blocks {
            if let Some(at) = block.first(key.bits(), from.saturating_sub(start)) {
                return self.row(start + at);
            }
        }
        None
    }

    fn position(&self, rank: Rank, filter: &Filter) -> Option<usize> {
        self.rows.items().iter().map_while(Option::as_ref).position(|row| row.is(rank, filter))
    }

    /// Moves the bits from `at` on up by one, in all rows, and puts those of `filter` in
    /// the gap.
    fn open(&mut self, at: usize, filter: &Filter) {
        let (first, within) = (at / Block::<W>::FILTERS, at % Block::<W>::FILTERS);
        let blocks = self.blocks.items_mut().get_mut(first..).unwrap_or_default();
        for column in 0..COLUMNS {
            let (value, mask) = (filter.value() >> (4 * column), filter.mask() >> (4 * column));
            for nibble in 0..VALUES {
                let matches = (nibble as u128 ^ value) & mask & 15 == 0;
                let rows = blocks.iter_mut().filter_map(|block| block.0.get_mut(column)?.get_mut(nibble));
                let mut carry = u64::from(matches);
                let mut skip = within;
                for word in rows.flatten() {
                    // Bits of the first word below the gap stay.
                    let Some(kept) = 1u64.checked_shl(skip as u32).map(|gap| gap - 1).filter(|_| skip < 64)
                    else {
                        skip -= 64;
                        continue;
                    };
                    let out = *word >> 63;
                    *word = *word & kept | (*word & !kept) << 1 | carry << skip;
                    (carry, skip) = (out, 0);
                }
            }
        }
    }

    /// Moves the bits behind `at` down by one, in all rows.
    fn close(&mut self, at: usize) {
        let (first, within) = (at / Block::<W>::FILTERS, at % Block::<W>::FILTERS);
        let blocks = self.blocks.items_mut().get_mut(first..).unwrap_or_default();
        for column in 0..COLUMNS {
            for nibble in 0..VALUES {
                // From the last word to the first, so that what goes out of one is known
                // when the next is moved.
                let row = |block: &mut Block<W>| block.0.get(column)?.get(nibble).copied();
                let mut carry = 0;
                for (number, block) in blocks.iter_mut().enumerate().rev() {
                    let Some(mut words) = row(block) else { continue };
                    for (at, word) in words.iter_mut().enumerate().rev() {
                        let skip = if number == 0 { within.saturating_sub(64 * at) } else { 0 };
                        let Some(kept) = 1u64.checked_shl(skip as u32).map(|gap| gap - 1) else { break };
                        let out = *word >> skip & 1;
                        *word = *word & kept | (*word >> 1) & !kept | carry << 63;
                        carry = out;
                        if skip > 0 {
                            break;
                        }
                    }
                    if let Some(row) = block.0.get_mut(column).and_then(|column| column.get_mut(nibble)) {
                        *row = words;
                    }
                }
            }
        }
    }
}

impl<V, B, R, const W: usize> TernaryTable for StrideTcam<B, R>
where
    V: Copy,
    B: Store<Item = Block<W>>,
    R: Store<Item = Option<Row<V>>>,
{
    type Value = V;

    #[inline(always)]
    fn lookup(&self, key: TableKey) -> Option<V> {
        Some(self.first(key, 0)?.value())
    }
}

impl<V, B, R, const W: usize> AllMatches for StrideTcam<B, R>
where
    V: Copy,
    B: Store<Item = Block<W>>,
    R: Store<Item = Option<Row<V>>>,
{
    fn next_match(&self, key: TableKey, after: Option<Place>) -> Option<Hit<V>> {
        let rows = self.rows.items().get(..self.len)?;
        let from = rows.partition_point(|row| row.as_ref().map(Row::place) <= after && after.is_some());
        let row = self.first(key, from)?;
        Some(Hit { place: row.place(), value: row.value() })
    }
}

impl<V, B, R, const W: usize> TernaryUpdate for StrideTcam<B, R>
where
    V: Copy,
    B: Store<Item = Block<W>>,
    R: Store<Item = Option<Row<V>>>,
{
    type Error = TableErrorKind;

    fn insert(&mut self, rank: Rank, filter: Filter, value: V) -> Result<Option<V>, Self::Error> {
        if let Some(at) = self.position(rank, &filter) {
            let row = self.rows.items_mut().get_mut(at).and_then(Option::as_mut);
            return Ok(row.map(|row| row.replace(value)));
        }
        let len = self.len;
        if len >= self.capacity() {
            return Err(TableErrorKind::Full);
        }
        let place = Place::new(rank, self.inserted);
        let rows = self.rows.items_mut().get_mut(..=len).unwrap_or_default();
        let at = rows.partition_point(|row| row.as_ref().is_some_and(|row| row.place() < place));
        if let Some(moved) = rows.get_mut(at..) {
            moved.rotate_right(1);
        }
        if let Some(row) = rows.get_mut(at) {
            *row = Some(Row::new(place, filter, value));
        }
        self.open(at, &filter);
        (self.len, self.inserted) = (len + 1, self.inserted + 1);
        Ok(None)
    }

    fn remove(&mut self, rank: Rank, filter: &Filter) -> Result<Option<V>, Self::Error> {
        let Some(at) = self.position(rank, filter) else { return Ok(None) };
        self.close(at);
        self.len -= 1;
        let rows = self.rows.items_mut().get_mut(at..).unwrap_or_default();
        let removed = rows.first_mut().and_then(Option::take);
        rows.rotate_left(1);
        Ok(removed.map(|row| row.value()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SliceId;
    use crate::key::LookupKey;
    use crate::lookup::LinearTcam;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the history, it answers as the linear scan does; three blocks of 64.
        #[test]
        fn it_is_a_linear_scan(
            history in prop::collection::vec((0u32..4, 0u128..8, 0u128..8, any::<bool>(), 0u32..100), 1..400),
        ) {
            let mut fast = StrideTcam::new([const { Block::<1>::NEW }; 3], [None; 150]);
            let mut model = LinearTcam::new([None; 150]);
            for (number, (rank, value, mask, top, at)) in (0u32..).zip(history) {
                // Low bits or high ones, so that all columns take part.
                let shift = if top { 108 } else { u32::from(rank == 3) * 62 };
                let part = |bits: u128| LookupKey::new(bits << shift);
                let filter = Filter::new(SliceId(5), part(value), part(mask));
                if at < 70 || model.is_empty() {
                    prop_assert_eq!(
                        fast.insert(Rank(rank), filter, number),
                        model.insert(Rank(rank), filter, number)
                    );
                } else {
                    let at = at as usize % model.len();
                    let (rank, filter, _) = model.iter().nth(at).unwrap();
                    prop_assert_eq!(fast.remove(rank, &filter), model.remove(rank, &filter));
                }
                prop_assert_eq!(fast.len(), model.len());
            }
            prop_assert!(fast.iter().eq(model.iter()));
            for low in 0..8 {
                for high in 0..8 {
                    for middle in 0..4 {
                        let bits = low | high << 108 | middle << 62;
                        for slice in [SliceId(5), SliceId(6)] {
                            let key = TableKey::new(slice, LookupKey::new(bits));
                            prop_assert_eq!(fast.lookup(key), model.lookup(key));
                            prop_assert!(fast.matches(key).eq(model.matches(key)));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn it_is_full_at_the_last_row_or_the_last_bit() {
        let mut by_rows = StrideTcam::new([const { Block::<1>::NEW }; 1], [None; 5]);
        let mut by_bits = StrideTcam::new([const { Block::<1>::NEW }; 1], [None; 100]);
        let filter = |n: u32| Filter::new(SliceId(1), LookupKey::new(n.into()), LookupKey::MAX);
        for n in 0..64 {
            let expected = if n < 5 { Ok(None) } else { Err(TableErrorKind::Full) };
            assert_eq!(by_rows.insert(Rank(n), filter(n), n), expected);
            assert_eq!(by_bits.insert(Rank(100 - n), filter(n), n), Ok(None));
        }
        assert_eq!(by_bits.insert(Rank(0), filter(64), 64), Err(TableErrorKind::Full));
        assert_eq!((by_rows.capacity(), by_bits.capacity()), (5, 64));
        for n in 0..64 {
            assert_eq!(by_bits.lookup(TableKey::new(SliceId(1), LookupKey::new(n.into()))), Some(n));
        }
    }
}
