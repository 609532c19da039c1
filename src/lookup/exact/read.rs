//! What readers see: buckets of one cache line, and the two that a key may stand in.

use alloc::boxed::Box;
use core::array;

use crate::arch::prefetch_line;
use crate::epoch::sync::Ordering::{Acquire, Relaxed, Release};
use crate::epoch::sync::{AtomicU32, AtomicU64};
use crate::id::SliceId;
use crate::key::LookupKey;
use crate::lookup::Filter;

use super::hash::Secret;

/// Filters of a bucket: 3 of 18 octets and their tags in 4 are 58 of 64. With room for a
/// fourth, 16 octets would have to do for 112 bits of key and 32 of value, which are 18.
/// The model checker has one: what it tries is the same with fewer slots.
pub(super) const WAYS: usize = if cfg!(loom) { 1 } else { 3 };

/// Keys in flight in a batch: their 64 lines are what the second cache level can have
/// under way.
const LANES: usize = 32;

/// Bits of a slot's field in `tags`: 0 if it is free, else [`LIVE`] and 9 bits of hash.
const FIELD: u32 = 10;
const LIVE: u32 = 1 << (FIELD - 1);
/// The lowest bit of each field.
const ONES: u32 = 1 | 1 << FIELD | 1 << (2 * FIELD);

/// One cache line.
///
/// Invariant: while a slot's field is live, `low` and `high` are its filter's: they are
/// written before the field, which is stored with release, and not again before every
/// reader has passed an epoch that began after the field was cleared. The value may be
/// replaced meanwhile.
#[derive(Debug)]
#[repr(C, align(64))]
struct Bucket {
    /// The lower 64 bits of masked keys.
    low: [AtomicU64; WAYS],
    /// The upper 48.
    high: [AtomicU64; WAYS],
    value: [AtomicU32; WAYS],
    /// A field of each slot. What decides which are live.
    tags: AtomicU32,
}

const _: () = assert!(cfg!(loom) || size_of::<Bucket>() == 64);

impl Bucket {
    fn empty() -> Self {
        Self {
            low: array::from_fn(|_| AtomicU64::new(0)),
            high: array::from_fn(|_| AtomicU64::new(0)),
            value: array::from_fn(|_| AtomicU32::new(0)),
            tags: AtomicU32::new(0),
        }
    }

    /// The top bit of each field that equals `tag`, and now and then of one that does not
    /// but is live.
    #[inline(always)]
    fn candidates(&self, tag: u32) -> u32 {
        // Acquire: the slots are what their fields say.
        let differ = self.tags.load(Acquire) ^ (tag * ONES);
        // A field of zeroes borrows.
        differ.wrapping_sub(ONES) & !differ & (LIVE * ONES)
    }

    /// The value of the slot at `way` if it has the entry's key.
    #[inline(always)]
    fn value(&self, way: usize, entry: &Entry, between: impl FnOnce()) -> Option<u32> {
        let (low, high) = (self.low.get(way)?.load(Relaxed), self.high.get(way)?.load(Relaxed));
        if (low ^ entry.low) | (high ^ entry.high) != 0 {
            return None;
        }
        between();
        // Acquire: what the value names was written before it.
        Some(self.value.get(way)?.load(Acquire))
    }
}

/// The slot of the lowest bit that [`Bucket::candidates`] gave.
#[inline(always)]
const fn way(candidates: u32) -> usize {
    // Bits 9, 19 and 29.
    ((candidates.trailing_zeros() >> 3) as usize - 1) & 3
}

/// A masked key as it stands in a slot, and its tag.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    low: u64,
    high: u64,
    tag: u32,
}

impl Entry {
    pub(super) fn key(self) -> LookupKey {
        LookupKey::from_words(self.high, self.low)
    }
}

/// A place for one filter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Slot {
    pub(super) bucket: usize,
    pub(super) way: usize,
}

impl Slot {
    /// Below 2^31 * [`WAYS`] * 15 / 16, which 32 bits hold.
    pub(super) const fn number(self) -> usize {
        WAYS * self.bucket + self.way
    }

    pub(super) const fn numbered(number: u32) -> Self {
        Self { bucket: number as usize / WAYS, way: number as usize % WAYS }
    }
}

/// A lookup whose lines are on their way: what [`ExactRead::probe`] makes and
/// [`ExactRead::answer`] takes.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    entry: Entry,
    first: u32,
    second: u32,
}

/// The read side: any number of readers share it while an
/// [`ExactControl`](super::ExactControl) updates it.
///
/// A key stands in one of two buckets, one in each half of the table, of one cache line
/// each. A lookup reads both, the first first, and nothing else: there is no pointer and no
/// overflow area, and tags stand in the bucket. It is wait-free.
///
/// Readers that run beside a writer take seats with its
/// [`Epochs`](crate::epoch::Epochs) and say when a vector has ended.
#[derive(Debug)]
pub struct ExactRead {
    buckets: Box<[Bucket]>,
    /// Buckets in each half.
    half: u32,
    slice: SliceId,
    mask: LookupKey,
    secret: Secret,
}

impl ExactRead {
    /// Room for `half` buckets in each half, and 2^31 at most.
    pub(super) fn new(slice: SliceId, mask: LookupKey, half: u32, seed: u128) -> Self {
        let half = half.clamp(1, 1 << 30);
        let buckets = core::iter::repeat_with(Bucket::empty).take(2 * half as usize).collect();
        Self { buckets, half, slice, mask, secret: Secret::new(seed) }
    }

    /// The slice whose filters these are.
    pub const fn slice(&self) -> SliceId {
        self.slice
    }

    /// The mask of all filters.
    pub const fn mask(&self) -> LookupKey {
        self.mask
    }

    /// Cache lines that a lookup touches: always two.
    pub const fn cost(&self) -> u32 {
        2
    }

    /// Octets that lookups may touch.
    pub const fn octets(&self) -> usize {
        size_of::<Bucket>() * self.buckets.len()
    }

    /// What is stored with the filter that `key`, of this table's slice, falls under.
    #[inline(always)]
    pub fn lookup(&self, key: LookupKey) -> Option<u32> {
        self.answer(&self.locate(key))
    }

    /// Starts fetching both lines that `lookup(key)` will read.
    #[inline(always)]
    pub fn prefetch(&self, key: LookupKey) {
        self.probe(key);
    }

    /// Begins a lookup: hashes `key` and starts fetching both lines.
    #[inline(always)]
    pub fn probe(&self, key: LookupKey) -> Probe {
        let probe = self.locate(key);
        for bucket in [probe.first, probe.second] {
            prefetch_line(&self.buckets, bucket as usize, 0);
        }
        probe
    }

    /// Ends a lookup: reads both lines and compares.
    #[inline(always)]
    pub fn answer(&self, probe: &Probe) -> Option<u32> {
        self.answer_in_steps(probe, || ())
    }

    /// The same, with `between` called wherever the writer may come in between.
    #[inline(always)]
    pub(super) fn answer_in_steps(&self, probe: &Probe, mut between: impl FnMut()) -> Option<u32> {
        let first = self.buckets.get(probe.first as usize)?;
        let second = self.buckets.get(probe.second as usize)?;
        // In this order; see `ExactControl`. Both are read even if the first has the tag:
        // which of six slots it is cannot be foretold, so there is no branch on it.
        let one = first.candidates(probe.entry.tag);
        between();
        let two = second.candidates(probe.entry.tag);
        if one | two == 0 {
            return None;
        }
        between();
        let bucket = if one != 0 { first } else { second };
        let value = bucket.value(way(if one != 0 { one } else { two }), &probe.entry, between);
        if value.is_some() { value } else { others(first, second, one, two, &probe.entry) }
    }

    /// `lookup` of each key; stops at the shorter of the two.
    ///
    /// Two passes over 32 keys each: hash and start fetching, then compare.
    #[inline(always)]
    pub fn lookup_batch(&self, keys: &[LookupKey], found: &mut [Option<u32>]) {
        self.batch(keys, found, |key| *key, |_, word| word);
    }

    #[inline(always)]
    pub(crate) fn batch<K, T>(
        &self, keys: &[K], found: &mut [T], key: impl Fn(&K) -> LookupKey,
        finish: impl Fn(&K, Option<u32>) -> T,
    ) {
        // Without the masked keys, which are made again: fewer words to write and read.
        let mut places = [[0; 3]; LANES];
        for (keys, found) in keys.chunks(LANES).zip(found.chunks_mut(LANES)) {
            for (lookup, place) in keys.iter().zip(&mut places) {
                let Probe { entry, first, second } = self.probe(key(lookup));
                *place = [first, second, entry.tag];
            }
            for ((lookup, &[first, second, tag]), found) in keys.iter().zip(&places).zip(found) {
                let (low, high) = masked(key(lookup), self.mask);
                let probe = Probe { entry: Entry { low, high, tag }, first, second };
                *found = finish(lookup, self.answer(&probe));
            }
        }
    }

    /// Which buckets, and what to look for there.
    #[inline(always)]
    pub(super) fn locate(&self, key: LookupKey) -> Probe {
        let (low, high) = masked(key, self.mask);
        let hash = self.secret.hash(low, high);
        // 32 random bits times the number of buckets, over 2^32: no division. Their upper
        // bits decide; the tag takes lower ones.
        let of = |bits: u64| ((bits * u64::from(self.half)) >> 32) as u32;
        let (first, second) = (of(hash >> 32), self.half + of(hash & u64::from(u32::MAX)));
        Probe { entry: Entry { low, high, tag: hash as u32 & (LIVE - 1) | LIVE }, first, second }
    }
}

/// The lower 64 and the upper 48 bits of a key that count.
#[inline(always)]
fn masked(key: LookupKey, mask: LookupKey) -> (u64, u64) {
    let masked = key.bits() & mask.bits();
    (masked as u64, (masked >> 64) as u64)
}

/// The remaining candidates, where the first had the tag but not the key: one lookup in
/// some hundred.
#[cold]
fn others(first: &Bucket, second: &Bucket, one: u32, two: u32, entry: &Entry) -> Option<u32> {
    [(first, one), (second, two)].into_iter().find_map(|(bucket, candidates)| {
        let ways = (0..WAYS).filter(|way| candidates >> (*way as u32 * FIELD) & LIVE != 0);
        ways.into_iter().find_map(|way| bucket.value(way, entry, || ()))
    })
}

/// What control needs of it.
impl ExactRead {
    pub(super) fn buckets(&self) -> usize {
        self.buckets.len()
    }

    pub(super) fn next_seed(&self) -> u128 {
        self.secret.next_seed()
    }

    pub(super) fn filter(&self, entry: Entry) -> Filter {
        Filter::new(self.slice, entry.key(), self.mask)
    }

    /// The key of `filter` and its buckets, if it is one of this slice and mask.
    pub(super) fn entry(&self, filter: &Filter) -> Option<(Entry, [usize; 2])> {
        let key = LookupKey::new(filter.value());
        if *filter != Filter::new(self.slice, key, self.mask) {
            return None;
        }
        let Probe { entry, first, second } = self.locate(key);
        Some((entry, [first as usize, second as usize]))
    }

    /// The bucket in which `entry`, which stands in `bucket`, may stand as well.
    pub(super) fn other(&self, entry: Entry, bucket: usize) -> usize {
        let Probe { first, second, .. } = self.locate(entry.key());
        if first as usize == bucket { second as usize } else { first as usize }
    }

    /// Where in `bucket` `entry` stands.
    pub(super) fn find(&self, entry: &Entry, bucket: usize) -> Option<Slot> {
        let mut slots = (0..WAYS).map(|way| Slot { bucket, way });
        slots.find(|slot| self.get(*slot).is_some_and(|(known, _)| known == *entry))
    }

    /// What stands in a slot.
    pub(super) fn get(&self, slot: Slot) -> Option<(Entry, u32)> {
        let bucket = self.buckets.get(slot.bucket)?;
        let tag = bucket.tags.load(Relaxed) >> (slot.way as u32 * FIELD) & (2 * LIVE - 1);
        if tag == 0 {
            return None;
        }
        let (low, high) = (bucket.low.get(slot.way)?.load(Relaxed), bucket.high.get(slot.way)?.load(Relaxed));
        Some((Entry { low, high, tag }, bucket.value.get(slot.way)?.load(Relaxed)))
    }

    /// Writes a free slot that no reader can be reading: its field last.
    pub(super) fn publish(&self, slot: Slot, entry: Entry, word: u32) {
        let Some(bucket) = self.buckets.get(slot.bucket) else { return };
        let (low, high) = (bucket.low.get(slot.way), bucket.high.get(slot.way));
        if let (Some(low), Some(high), Some(value)) = (low, high, bucket.value.get(slot.way)) {
            low.store(entry.low, Relaxed);
            high.store(entry.high, Relaxed);
            value.store(word, Relaxed);
            // Release: the slot before its field, and also what the value names.
            bucket.set_field(slot.way, entry.tag);
        }
    }

    /// Replaces the value of a slot.
    pub(super) fn replace(&self, slot: Slot, word: u32) {
        if let Some(value) = self.buckets.get(slot.bucket).and_then(|bucket| bucket.value.get(slot.way)) {
            value.store(word, Release);
        }
    }

    /// Takes a slot out of sight.
    pub(super) fn clear(&self, slot: Slot) {
        if let Some(bucket) = self.buckets.get(slot.bucket) {
            bucket.set_field(slot.way, 0);
        }
    }
}

impl Bucket {
    /// By the one writer there is.
    fn set_field(&self, way: usize, field: u32) {
        let at = way as u32 * FIELD;
        let others = self.tags.load(Relaxed) & !((2 * LIVE - 1) << at);
        self.tags.store(others | field << at, Release);
    }
}
