//! The read side: one key.
//!
//! All below an entry of the direct table is never changed, only replaced, the path down
//! from the entry with it. So a lookup that has read the entry sees the table as it was
//! then, however long it takes. Only the short prefixes stand elsewhere: a lookup that
//! falls back to them makes sure that theirs did not change while it was under way,
//! and else looks again.

use alloc::boxed::Box;
use core::num::NonZeroU32;
use core::sync::atomic::{AtomicU32, Ordering::*, fence};

use super::PrefixTable;
use super::address::{Address, window};
use super::arena::Line;
use super::block::{self, is_open, unit, walk};
use super::chunk::{CHILD, Chunk, STRIDE};
use super::flat::{BELOW, Flat, NOTHING};
use super::leaf::BELOW as BELOW_RANGES;
use super::ranges::Ranges;
use super::simd::Machine;
use super::zone::Zone;
use crate::arch::{prefetch, prefetch_line};

/// What readers share of a table: all of it goes by `&self`, from any number of threads.
///
/// It is changed through its [`PrefixControl`](super::PrefixControl). A reader must say
/// now and then that it has [passed](crate::epoch::Reader::quiescent), between lookups,
/// to the epochs that the updates are given.
#[derive(Debug)]
pub struct PrefixRead<A> {
    /// Keys whose top bits are `top`; all keys if there is no other zone.
    pub(super) inside: Zone,
    /// All other keys.
    pub(super) outside: Option<Zone>,
    pub(super) top: A,
    /// The first levels of the zone inside in one, for large tables; there is no other zone then.
    pub(super) flat: Option<Flat>,
    /// All of it for lookups, for large tables of wide addresses; there is no other zone and no flat
    /// table then.
    pub(super) ranges: Option<Ranges>,
    /// On so many levels chunks that lead to others are open.
    pub(super) open: usize,
    /// The chunks.
    pub(super) lines: Box<[Line]>,
    /// A [`Head`] for each unit at which a chunk begins, and behind that of an open one what
    /// covers it; only lookups of what nothing longer covers touch them.
    pub(super) heads: Box<[AtomicU32]>,
    /// Prefixes by chunk; lookups do not touch them.
    pub(super) own: Box<[Line]>,
    /// Changes of short prefixes that have begun, and that are done.
    pub(super) begun: AtomicU32,
    pub(super) done: AtomicU32,
    /// What batches are looked up with.
    pub(super) machine: Machine,
}

/// What updates need to know of a chunk: the list of its own prefixes in the low 28 bits,
/// the order of its block in the top 4.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head(pub(super) u32);

impl Head {
    pub(super) fn new(own: u32, order: u32) -> Self {
        Self(own | order << 28)
    }

    pub(super) fn own(self) -> u32 {
        self.0 & 0x0fff_ffff
    }

    pub(super) fn order(self) -> u32 {
        self.0 >> 28
    }
}

impl<A: Address> PrefixTable<A> for PrefixRead<A> {
    #[inline(always)]
    fn lookup(&self, address: A) -> Option<NonZeroU32> {
        if let Some(flat) = &self.flat {
            // Acquire: all of a change that is done is seen.
            let done = self.done.load(Acquire);
            let found = flat.value(address.top(flat.bits));
            fence(Acquire);
            // As in batches: no branch for those that short prefixes cover.
            if self.begun.load(Relaxed) != done {
                return self.lookup_covering(address);
            } else if found & CHILD == 0 {
                return NonZeroU32::new(found);
            }
        } else if let Some(ranges) = self.ranges_of() {
            return match self.machine.find(ranges, address) {
                0 => self.lookup_covering(address),
                BELOW_RANGES => self.walk_down(address),
                found => NonZeroU32::new(found),
            };
        }
        self.walk_down(address)
    }

    #[inline(always)]
    fn prefetch(&self, address: A) {
        if let Some(flat) = &self.flat {
            prefetch_line(&flat.lines, flat.line(address.top(flat.bits)), 0);
        } else if let Some(ranges) = self.ranges_of() {
            ranges.direct.get(ranges.index(address.high())).into_iter().for_each(prefetch);
        } else if let Some(entry) = self.inside.direct.get(self.inside.index(address.high())) {
            prefetch(entry);
        }
    }

    #[inline(always)]
    fn prefetch_deeper(&self, address: A) {
        if self.flat.is_some() || self.ranges_of().is_some() {
            return;
        }
        let entry = self.inside.direct.get(self.inside.index(address.high()));
        let entry = entry.map_or(0, |entry| entry.load(Relaxed));
        // Any line if there is no chunk: no branch, as nobody could guess it.
        prefetch_line(&self.lines, block::line(entry, slot(address, self.inside.base())).0, 0);
    }

    #[inline]
    fn lookup_batch(&self, addresses: &[A], found: &mut [Option<NonZeroU32>]) {
        if let Some(ranges) = self.ranges_of() {
            return self.machine.find_each(self, ranges, addresses, found);
        }
        self.lookup_each(addresses, found, |address| *address, |found, value| *found = value);
    }
}

impl<A: Address> PrefixRead<A> {
    /// Looks up what `address` makes of each key, as many as there are places in `found`; `put`
    /// is told the place and what was found. For who has addresses within larger keys: both
    /// become part of the loops.
    #[inline(always)]
    pub(crate) fn lookup_each<K, F>(
        &self, keys: &[K], found: &mut [F], address: impl Fn(&K) -> A + Copy,
        put: impl Fn(&mut F, Option<NonZeroU32>) + Copy,
    ) {
        self.machine.lookup_each(self, keys, found, address, put);
    }

    /// Only wide addresses have them.
    #[inline(always)]
    pub(super) fn ranges_of(&self) -> Option<&Ranges> {
        if A::BITS > 32 { self.ranges.as_ref() } else { None }
    }

    /// Whether most lookups find their answer in the first line.
    pub(crate) const fn has_codes(&self) -> bool {
        self.flat.is_some()
    }

    /// What stands for a key in the direct table and below.
    #[inline(always)]
    fn walk_down(&self, key: A) -> Option<NonZeroU32> {
        let mut found = self.inside.entry(self.inside.index(key.high()));
        if found & CHILD != 0 {
            found = self.machine.descend(self, found, key);
        }
        match NonZeroU32::new(found) {
            None => self.lookup_covering(key),
            some => some,
        }
    }

    /// The same for one of a batch.
    #[inline(never)]
    pub(super) fn lookup_below(&self, key: A) -> u32 {
        self.walk_down(key).map_or(0, NonZeroU32::get)
    }

    #[inline(always)]
    pub(super) fn zone(&self, key: A) -> &Zone {
        match &self.outside {
            Some(outside) if !self.inside.has(self.inside.index(key.high())) => outside,
            _ => &self.inside,
        }
    }

    /// What stands for `key` below an entry from bit `at` on: that of its last slot or, if
    /// that is empty, the last that covered a whole chunk on the way, `best` before it. What
    /// covers an open chunk is not looked at: 0 below one says nothing.
    #[inline(always)]
    pub(super) fn descend(&self, mut entry: u32, mut best: u32, key: A, mut at: u32) -> u32 {
        let mut rest = key.after(at);
        while entry & CHILD != 0 && at < A::BITS {
            let (next, above) = walk(&self.lines, entry, (rest.high() >> 58) as usize);
            best = if above == 0 && !is_open(entry) { best } else { above };
            (entry, rest, at) = (next, rest.after(STRIDE), at + STRIDE);
        }
        if entry == 0 { best } else { entry }
    }

    /// The same, also below open chunks.
    pub(super) fn descend_covered(&self, mut entry: u32, key: A, mut at: u32) -> u32 {
        if self.open == 0 {
            return self.descend(entry, 0, key, at);
        }
        let mut best = 0;
        while entry & CHILD != 0 && at < A::BITS {
            let (next, above) = walk(&self.lines, entry, slot(key, at));
            let above = if is_open(entry) { self.above(entry) } else { above };
            best = if above == 0 { best } else { above };
            (entry, at) = (next, at + STRIDE);
        }
        if entry == 0 { best } else { entry }
    }

    /// Where the way of a key in a zone begins: its entry of the direct table, or what its code
    /// or its range says in the place of that.
    fn first(&self, zone: &Zone, key: A, index: usize) -> u32 {
        if let Some(ranges) = self.ranges_of() {
            let found = ranges.find(key);
            return if found == BELOW_RANGES { zone.entry(index) } else { found };
        }
        let flat = self.flat.as_ref().map(|flat| (flat, flat.code(key.top(flat.bits))));
        fence(Acquire);
        match flat {
            None | Some((_, BELOW)) => zone.entry(index),
            Some((_, NOTHING)) => 0,
            Some((flat, code)) => flat.meaning(code, 0),
        }
    }

    pub(super) fn head(&self, entry: u32) -> Head {
        Head(self.heads.get(unit(entry)).map_or(0, |head| head.load(Relaxed)))
    }

    pub(super) fn above(&self, entry: u32) -> u32 {
        if is_open(entry) {
            return self.heads.get(unit(entry) + 1).map_or(0, |above| above.load(Relaxed));
        }
        block::above(&self.lines, entry)
    }

    pub(super) fn chunk(&self, entry: u32) -> Chunk {
        let slots = block::slots(&self.lines, entry);
        Chunk { slots, above: self.above(entry), own: self.head(entry).own() }
    }

    /// The answer for a key that found nothing at the end of its way: it may fall under a
    /// short prefix, or into the other zone.
    ///
    /// Repeats only if a short prefix of `key` was changed in between.
    #[inline(never)]
    pub(super) fn lookup_covering(&self, key: A) -> Option<NonZeroU32> {
        let zone = self.zone(key);
        let index = zone.index(key.high());
        let mut short = zone.short_value(index);
        loop {
            let first = self.first(zone, key, index);
            let found = self.descend_covered(first, key, zone.base());
            if found != 0 {
                return NonZeroU32::new(found);
            }
            // `short` stood both before and after the entry was read, so when it was read.
            let now = zone.short_value(index);
            if now == short {
                return NonZeroU32::new(short as u32);
            }
            short = now;
        }
    }
}

/// The six bits of a key from bit `at` on.
#[inline(always)]
pub(super) fn slot<A: Address>(key: A, at: u32) -> usize {
    (window(key, at) >> 58) as usize
}
