//! The read side: one key.
//!
//! All below an entry of the direct table is never changed, only replaced, the path down
//! from the entry with it. So a lookup that has read the entry sees the table as it was
//! then, however long it takes. Only the short prefixes stand elsewhere: a lookup that
//! falls back to them makes sure that theirs did not change while it was under way,
//! and else looks again.

use alloc::boxed::Box;
use core::num::NonZeroU32;
use core::sync::atomic::{AtomicU32, AtomicU64};

use super::PrefixTable;
use super::address::{Address, window};
use super::arena::word;
use super::block::{self, UNIT_WORDS, step};
use super::chunk::{CHILD, Chunk, STRIDE};
use super::zone::Zone;
use crate::arch::prefetch;

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
    /// The chunks.
    pub(super) words: Box<[AtomicU64]>,
    /// A [`Head`] for each unit at which a chunk begins.
    pub(super) heads: Box<[AtomicU64]>,
    /// Prefixes by chunk; lookups do not touch them.
    pub(super) own: Box<[AtomicU64]>,
    /// Changes of short prefixes that have begun, and that are done.
    pub(super) begun: AtomicU32,
    pub(super) done: AtomicU32,
}

/// Addresses of no more bits have leaves of 16 bits.
pub(super) const SHORT: u32 = 32;

/// What is known of a chunk besides its slots: the value of the longest prefix of the
/// level above that covers all of it in the low 32 bits, the list of its own prefixes in
/// the next 28, the units of its block in the top 4. Most lookups do not touch it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head(pub(super) u64);

impl Head {
    pub(super) fn new(above: u32, own: u32, units: u32) -> Self {
        Self(u64::from(above) | u64::from(own) << 32 | u64::from(units) << 60)
    }

    pub(super) fn above(self) -> u32 {
        self.0 as u32
    }

    pub(super) fn own(self) -> u32 {
        (self.0 >> 32) as u32 & 0x0fff_ffff
    }

    pub(super) fn units(self) -> u32 {
        (self.0 >> 60) as u32
    }
}

impl<A: Address> PrefixTable<A> for PrefixRead<A> {
    #[inline(always)]
    fn lookup(&self, address: A) -> Option<NonZeroU32> {
        let mut found = self.inside.entry(self.inside.index(address.high()));
        let mut at = self.inside.base();
        while found & CHILD != 0 && at < A::BITS {
            found = self.step(found, window(address, at));
            at += STRIDE;
        }
        match NonZeroU32::new(found) {
            None => self.lookup_covering(address),
            some => some,
        }
    }

    #[inline(always)]
    fn prefetch(&self, address: A) {
        if let Some(entry) = self.inside.direct.get(self.inside.index(address.high())) {
            prefetch(entry);
        }
    }

    #[inline]
    fn lookup_batch(&self, addresses: &[A], found: &mut [Option<NonZeroU32>]) {
        self.look_up_all(addresses, found);
    }
}

impl<A: Address> PrefixRead<A> {
    #[inline(always)]
    pub(super) fn zone(&self, key: A) -> &Zone {
        match &self.outside {
            Some(outside) if !self.inside.has(self.inside.index(key.high())) => outside,
            _ => &self.inside,
        }
    }

    /// What a chunk has for the slot at the top of `window`.
    #[inline(always)]
    pub(super) fn step(&self, entry: u32, window: u64) -> u32 {
        if A::BITS > SHORT {
            step::<true>(&self.words, entry, window)
        } else {
            step::<false>(&self.words, entry, window)
        }
    }

    pub(super) fn head(&self, entry: u32) -> Head {
        Head(word(&self.heads, block::begin(entry) / UNIT_WORDS))
    }

    pub(super) fn chunk(&self, entry: u32) -> Chunk {
        let head = self.head(entry);
        let slots = if A::BITS > SHORT {
            block::slots::<true>(&self.words, entry)
        } else {
            block::slots::<false>(&self.words, entry)
        };
        Chunk { slots, above: head.above(), own: head.own() }
    }

    /// The answer for a key that found nothing at the end of its way: it may fall under a
    /// prefix that ends two levels or more above the last chunk, under a short one, or into
    /// the other zone.
    ///
    /// Repeats only if a short prefix of `key` was changed in between.
    #[inline(never)]
    pub(super) fn lookup_covering(&self, key: A) -> Option<NonZeroU32> {
        let zone = self.zone(key);
        let index = zone.index(key.high());
        let mut short = zone.short_value(index);
        loop {
            let mut found = zone.entry(index);
            let (mut best, mut at) = (0, zone.base());
            while found & CHILD != 0 && at < A::BITS {
                let above = self.head(found).above();
                best = if above == 0 { best } else { above };
                found = self.step(found, window(key, at));
                at += STRIDE;
            }
            let found = if found == 0 { best } else { found };
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
